"""The classification accuracy score: copies, noise, a missing class, and what is refused."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ganforge.base.images import Pixels, write_image
from ganforge.cli import main
from ganforge.collecting.collect import collect
from ganforge.measuring.classification import ClassificationScores, Trained, classification_scores_of_folder
from ganforge.preparing.prepare import prepare
from ganforge.store.store import Store
from ganforge.training.train import train


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half as long a training does for digits of 8x8 pixels."""
    monkeypatch.setattr("ganforge.measuring.classification.LEAST", 3_200)
    monkeypatch.setattr("ganforge.measuring.classification.IMAGES", 3_200)


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The embedded digits at 8x8."""
    path = tmp_path_factory.mktemp("digits")
    return prepare(collect("digits", path / "originals"), path / "store", resolution=8, heldout=0.3).store


def folder(path: Path, pixels: Pixels, classes: list[str]) -> Path:
    """Pictures in class folders."""
    for n, (picture, name) in enumerate(zip(pixels, classes, strict=True)):
        (path / name).mkdir(parents=True, exist_ok=True)
        write_image(path / name / f"{n:04d}.png", picture)
    return path


def some(store: Store, count: int) -> tuple[Pixels, list[str]]:
    """Training pictures of all classes and the names of these."""
    rows = store.train[:: len(store.train) // count][:count]
    return store.read(rows), [store.spec.classes[n] for n in store.labels[rows]]


def test_copies_teach_what_the_real_pictures_teach_and_are_named_and_a_missing_class_is(digits, tmp_path, logged):
    pixels, classes = some(digits, 300)
    keep = [n for n, name in enumerate(classes) if name != "3"]
    scores, skipped = classification_scores_of_folder(
        folder(tmp_path / "copies", pixels[keep], [classes[n] for n in keep]), digits
    )
    assert not skipped
    assert [scores.real.pictures, scores.samples.pictures, scores.both.pictures] == [
        len(keep),
        len(keep),
        2 * len(keep),
    ]
    assert scores.copies > 0.98
    assert (scores.absent, scores.weak) == (("3",), ())
    three = digits.spec.classes.index("3")
    assert scores.samples.recall[three] == 0
    assert scores.real.recall[three] > 0.7
    others = [kind.recall[:three] + kind.recall[three + 1 :] for kind in (scores.real, scores.samples)]
    assert np.mean(others[1]) == pytest.approx(np.mean(others[0]), abs=0.08)
    assert scores.differ(scores.samples, scores.real)
    text = str(scores)
    assert "Samples alone teach worse than real pictures" in text
    assert "Missing: no sample is of 3." in text
    assert "Copies: " in text
    assert any("training 12 classifiers: about" in line for line in logged)


def test_noise_teaches_nothing(digits, tmp_path, capsys):
    noise = np.random.default_rng(0).integers(0, 256, (120, 8, 8, 1), dtype=np.uint8)
    source = folder(tmp_path / "noise", noise, [digits.spec.classes[n % 10] for n in range(120)])
    (source / "0" / "torn.png").write_bytes(b"no picture")
    assert main(["measure", str(source), "--store", str(digits.path), "--as-training-data", "--json"]) == 2
    out, err = capsys.readouterr()
    assert "torn.png" in err
    scores = json.loads(out, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    assert scores["real"]["accuracy"] > 0.75
    assert scores["samples"]["accuracy"] < 0.3
    assert scores["samples"]["accuracy"] == pytest.approx(np.mean(scores["samples"]["accuracies"]))
    assert scores["samples"]["spread"] == pytest.approx(np.std(scores["samples"]["accuracies"], ddof=1))
    assert len(scores["real"]["accuracies"]) == scores["seeds"] == 3
    assert scores["copies"] < 0.05
    assert len(scores["weak"]) >= 5
    assert not scores["absent"]


def test_a_run_from_the_command_line(digits, tmp_path, capsys, fails, monkeypatch):
    monkeypatch.setattr("ganforge.measuring.classification.LEAST", 64)  # what it learns does not matter here
    monkeypatch.setattr("ganforge.measuring.classification.IMAGES", 64)
    loop = {"images": 32, "batch": 16, "precision": "fp32"}
    model = {"width": 8, "latent": 8, "conditional": True}
    run = train("gan", digits, tmp_path / "run", device_name="cpu", overrides={"train": loop, "model": model})
    words = ["measure", str(run.path), "--as-training-data"]
    assert main([*words, "--samples", "64"]) == 0
    out = capsys.readouterr().out
    rows = [line.split("  ")[0] for line in out.splitlines()]
    at = rows.index("learned from")
    assert rows[at + 1 : at + 5] == [
        "real pictures", "samples alone", "real pictures and samples", "real pictures, augmented",
    ]  # fmt: skip
    assert "seeds from 1000000" in out
    kept = json.loads((run.path / "worth.jsonl").read_text())
    assert [kept[name]["pictures"] for name in ("real", "samples", "both", "augmented")] == [64, 64, 128, 64]
    assert f"16 to {len(digits.train):,}" in fails(*words, "--samples", len(digits.train) + 1)
    assert "16 to" in fails(*words, "--samples", "3")
    assert "--report" in fails(*words, "--report")


def test_what_cannot_be_taught_is_one_sentence(digits, tmp_path, fails):
    loop = {"images": 16, "batch": 16, "precision": "fp32"}
    overrides = {"train": loop, "model": {"width": 8, "latent": 8}}
    run = train("gan", digits, tmp_path / "run", device_name="cpu", overrides=overrides)
    assert "model.conditional" in fails("measure", run.path, "--as-training-data")
    pixels, classes = some(digits, 40)
    flat = tmp_path / "flat"
    flat.mkdir()
    for n, picture in enumerate(pixels):
        write_image(flat / f"{n}.png", picture)
    words = ("--store", digits.path, "--as-training-data")
    assert "put them into folders named as the store's classes: 0, 1" in fails("measure", flat, *words)
    one = folder(tmp_path / "one", pixels, ["7"] * len(pixels))
    assert "put them into folders" in fails("measure", one, *words)
    other = folder(tmp_path / "other", pixels, [f"{name}x" for name in classes])
    assert "a class '0x'" in fails("measure", other, *words)
    bare = prepare(flat, tmp_path / "bare", resolution=8).store
    assert "no labels" in fails("measure", other, "--store", bare.path, "--as-training-data")
    whole = prepare(folder(tmp_path / "named", pixels, classes), tmp_path / "whole", resolution=8, heldout=0).store
    assert "--heldout" in fails("measure", tmp_path / "named", "--store", whole.path, "--as-training-data")
    assert "--store" in fails("measure", tmp_path / "named", "--as-training-data")
    assert "--device" in fails("measure", tmp_path / "named", *words, "--device", "cuda")


def test_words_say_only_what_exceeds_the_spread():
    def trained(accuracy: float, spread: float) -> Trained:
        return Trained(1000, (accuracy,) * 3, accuracy, spread, (accuracy, None))

    scores = ClassificationScores(
        real=trained(0.9, 0.01),
        samples=trained(0.8, 0.01),
        both=trained(0.905, 0.01),
        augmented=trained(0.95, 0.002),
        classes=("cat", "dog"),
        absent=(),
        weak=(),
        copies=0.01,
        chance=0.5,
        tested=2000,
        shown=6400,
        seeds=3,
        made_by="nobody",
        store="none",
        machine="none",
        seconds=1.0,
    )
    assert scores.findings == [
        "Samples alone teach worse than real pictures: 80.0% against 90.0%.",
        "Real pictures and samples against real pictures: no difference beyond the spread.",
        "Real pictures, augmented teach better than real pictures: 95.0% against 90.0%.",
        "Real pictures and samples teach worse than real pictures, augmented: 90.5% against 95.0%.",
    ]
    assert not scores.warnings
    assert re.search(r"^dog( +-){4}$", str(scores), re.M)  # of which nothing is held out
    # held-out pictures are few: what they can tell apart is less
    assert not replace(scores, tested=20).differ(scores.samples, scores.real)
    many = replace(scores, classes=tuple(map(str, range(30))))
    many = replace(
        many,
        **{name: replace(getattr(many, name), recall=(0.5,) * 30) for name in ("real", "samples", "both", "augmented")},
    )
    assert "recall of 12 of 30 classes" in str(many)
