"""Real rows as the reference: sounds as they come back from a wave, and what the judge of sounds has to find."""

from __future__ import annotations

import os

import numpy as np
import pytest

from ganforge.base.seeds import permuted
from ganforge.measuring.measure import Measurement, measure_folder
from ganforge.measuring.reference import Reference
from ganforge.media import waves
from ganforge.media.sound import Sound
from ganforge.preparing.prepare import prepare
from ganforge.store.meta import Origins
from ganforge.store.store import Store

RATE = 8000


@pytest.fixture(scope="module")
def sounds(tmp_path_factory) -> Store:
    """Tones that rise from a low note and tones that fall to a lower one, fading."""
    folder, rng = tmp_path_factory.mktemp("sounds"), np.random.default_rng(0)
    for label, way in (("rising", 2500), ("falling", -1500)):
        (folder / "files" / label).mkdir(parents=True)
        for n in range(80):
            seconds = np.arange(rng.integers(2300, 2900)) / RATE
            hertz = rng.normal(1200, 80) + way * seconds + rng.normal(0, 80)
            wave = np.sin(2 * np.pi * np.cumsum(hertz) / RATE) * np.exp(-6 * seconds) * rng.uniform(0.2, 0.9)
            waves.write_wav(folder / "files" / label / f"{n}.wav", wave.astype(np.float32), RATE)
    return prepare(folder / "files", folder / "store", resolution="32x24", heldout=0.4).store


@pytest.fixture(scope="module")
def real(sounds) -> Reference:
    return Reference(sounds)


def test_real_sounds_go_through_a_wave_once(sounds, real):
    heard = sounds.spec.medium.as_written(sounds.read(np.arange(len(sounds))))
    some = np.array([3, 0, 7])
    assert np.array_equal(real.read_train(some), heard[sounds.train[some]])
    assert np.array_equal(np.sort(real.heldout_pixels(999), 0), np.sort(heard[sounds.heldout], 0))
    assert np.allclose(real.train[some], real.extract([heard[sounds.train[some]]]), atol=1e-4)
    kept = next((sounds.path / "features").glob("written-*.npy"))
    before = kept.stat().st_mtime_ns
    os.utime(kept, ns=(before, before))
    again = Reference(sounds)
    assert kept.stat().st_mtime_ns == before
    assert np.array_equal(again.train, real.train)


def test_the_judge_of_sounds_finds_what_is_none(sounds, real):
    """White noise, sounds backwards, frames in another order and wrong labels, each beside held-out sounds."""
    medium, labels = sounds.spec.medium, sounds.labels[sounds.heldout]
    assert isinstance(medium, Sound)
    rows = sounds.read(sounds.heldout)
    rng = np.random.default_rng(1)
    noise = rng.normal(0, 0.3, (len(rows), medium.samples(24))).astype(np.float32)
    order = permuted(0, "frames", 24, np.arange(24))
    cases = {
        "held out": (rows, labels),
        "noise": (np.stack([medium.row(wave, 32, 24) for wave in noise]), labels),
        "backwards": (np.stack([medium.row(medium.wave(row)[::-1].copy(), 32, 24) for row in rows]), labels),
        "shuffled": (rows[:, :, order], labels),
        "wrong labels": (rows, 1 - labels),
    }
    results = {
        name: Measurement(real, len(rows), name).add([case]).result(name, list(of), 0.0, None)
        for name, (case, of) in cases.items()
    }
    floor = results["held out"]
    assert floor.distance == pytest.approx(floor.floor, abs=0.01)
    assert floor.asked > 0.9
    for name in ("noise", "backwards", "shuffled"):
        spread = np.hypot(results[name].distance_spread, floor.floor_spread)
        assert results[name].distance > floor.floor + 6 * spread, name
        assert results[name].kernel > results[name].kernel_floor + 6 * results[name].kernel_spread, name
    for name in ("noise", "backwards"):  # frames in another order keep the notes of a class
        assert results[name].asked < floor.asked - 0.15, name
    assert results["wrong labels"].asked < 0.1


def test_files_of_training_sounds_are_found_out(sounds, tmp_path):
    files = sounds.path.parent / "files"
    for n, (name, _) in enumerate(Origins(sounds)[sounds.train.tolist()]):
        (tmp_path / f"{n}.wav").write_bytes((files / name).read_bytes())
    assert measure_folder(tmp_path, sounds)[0].copies > 0.98
