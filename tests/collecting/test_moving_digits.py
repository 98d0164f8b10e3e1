"""Digits that move: straight on, off the edges, the same ones every time."""

from __future__ import annotations

import gzip

import numpy as np
import pytest

from ganforge.base.errors import DataError
from ganforge.cli import main
from ganforge.collecting import moving_digits
from ganforge.collecting.moving_digits import DIRECTIONS, bouncing
from ganforge.media import clip
from ganforge.preparing.prepare import prepare

DOT = np.full((2, 4, 4), 200, np.uint8)


def paths(seed: int, frames: int = 40, side: int = 20) -> tuple[np.ndarray, str]:
    """(frames, 2) corners of a square that moves by 1.5 to 2 pixels a frame, and where it set out."""
    pixels, _, (direction,) = bouncing(DOT, np.random.default_rng(seed), 1, frames, side, (1.5, 2.0))
    corners = [np.argwhere(frame).min(0) for frame in pixels]
    assert all((frame > 0).sum() == 16 for frame in pixels), "the whole square is in every frame"
    return np.array(corners), direction


@pytest.mark.parametrize("seed", range(8))
def test_a_digit_moves_straight_on_until_it_bounces(seed):
    corners, direction = paths(seed)
    steps = np.diff(corners, axis=0)
    inside = ((corners[:-1] > 2) & (corners[:-1] < 14) & (corners[1:] > 2) & (corners[1:] < 14)).all(1)
    speeds = np.abs(steps[inside])
    assert (speeds <= 2).all() and np.ptp(speeds, 0).max() <= 1, "one speed, rounded to pixels"
    for axis in (0, 1):
        turns = np.flatnonzero(np.diff(np.sign(steps[:, axis][steps[:, axis] != 0])))
        assert len(turns) <= 40 * 2 / 14, "it turns at the edges only"
    words = {"right": (1, 1), "left": (1, -1), "down": (0, 1), "up": (0, -1)}
    for word in direction.split("-"):
        axis, sign = words[word]
        if 2 < corners[0, axis] < 14:
            assert sign * steps[:2, axis].sum() >= 0, (direction, steps[:2])


def test_directions_follow_the_clock():
    assert len(DIRECTIONS) == 8
    found = {paths(seed, 3)[1] for seed in range(100)}
    assert found == set(DIRECTIONS)


@pytest.fixture
def originals(tmp_path):
    """Files like those of MNIST, of eight squares that are as bright as their labels."""
    labels = np.arange(8, dtype=np.uint8) % 4
    pictures = np.zeros((8, 28, 28), np.uint8)
    pictures[:, 6:22, 6:22] = 60 * (labels + 1)[:, None, None]
    folder = tmp_path / "originals"
    folder.mkdir()
    for name, head, array in (("images-idx3", 16, pictures), ("labels-idx1", 8, labels)):
        (folder / f"train-{name}-ubyte.gz").write_bytes(gzip.compress(bytes(head) + array.tobytes()))
    return folder


def test_clips_stand_in_a_folder_a_digit_and_are_the_same_every_time(originals, tmp_path, monkeypatch):
    monkeypatch.setattr(moving_digits, "CLIPS", 24)
    outs = [tmp_path / "a", tmp_path / "b"]
    tables = []
    for out in outs:
        out.mkdir()
        tables.append(moving_digits.make(originals, out))
    assert tables[0] == tables[1] and len(tables[0]) == 24
    for row in tables[0]:
        data = (outs[0] / row["file"]).read_bytes()
        assert data == (outs[1] / row["file"]).read_bytes()
        frames = np.stack(list(clip.frames(data, 10.0)))
        assert frames.shape == (16, 32, 32, 4)
        assert abs(int(frames[..., 0].max()) - 60 * (int(row["label"]) + 1)) <= 20, "the digit of its folder"
    store = prepare(outs[0], tmp_path / "store", medium="clip", frames=8).store
    assert store.spec.classes == ("0", "1", "2", "3") and len(store) == 48
    assert store.spec.medium.rate == 10


def test_files_that_are_no_digits_are_named(originals):
    (originals / "train-images-idx3-ubyte.gz").write_bytes(b"no gzip")
    with pytest.raises(DataError, match="MNIST"):
        moving_digits.make(originals, originals)


def test_moving_digits_are_collected_from_mnist(real_data, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(moving_digits, "CLIPS", 10)
    out = tmp_path / "moving"
    assert main(["collect", "moving-digits", "--from", str(real_data / "mnist"), "--out", str(out)]) == 0
    assert f"ganforge prepare {out} --medium clip" in capsys.readouterr().out
    assert len(list(out.rglob("*.webp"))) == 10 and not list(out.rglob("*.gz"))
    lines = (out / "provenance.csv").read_text("utf-8").splitlines()
    assert len(lines) == 11 and "moving-digits" in lines[1] and "CC BY-SA" in lines[1]
    assert main(["collect", "moving-digits", "--from", str(real_data), "--out", str(tmp_path / "no")]) == 1
    assert "has no train-images" in capsys.readouterr().err
