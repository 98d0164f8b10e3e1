"""Measuring runs and folders: floors, protocols, and what is printed of them."""

from __future__ import annotations

import copy
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ganforge.base.errors import InputError
from ganforge.base.files import intact
from ganforge.base.images import write_image
from ganforge.cli import main
from ganforge.collecting.collect import collect
from ganforge.measuring.measure import as_json, measure_folder, measure_system, read_folder
from ganforge.measuring.reference import Reference
from ganforge.media.spec import Spec
from ganforge.metrics import copies, frechet, kernel
from ganforge.models import load
from ganforge.preparing.prepare import prepare
from ganforge.store.store import Store
from ganforge.testing import make_store
from synthetic import write_pictures

PAGE = (Path(__file__).parents[2] / "docs" / "measure.md").read_text("utf-8")
KEYS = {
    *("distance", "distance_spread", "floor", "floor_spread", "kernel", "kernel_spread", "kernel_floor", "precision"),
    *("recall", "density", "coverage", "precision_floor", "recall_floor", "density_floor", "coverage_floor", "scales"),
    *("sliced", "sliced_floor", "told_apart", "told_apart_spread", "copies", "copies_by_features", "copies_by_pixels"),
    *("copies_by_pixels_floor", "asked", "compared", "samples", "train", "heldout", "extractor", "accuracy", "made_by"),
    *("store", "resize", "machine", "seconds"),
}
"""Names in JSON, which programs read: none may go."""


def strict(text: str) -> dict:
    """JSON as the standard has it: NaN and Infinity are refused."""

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    numbers: dict = json.loads(text, parse_constant=refuse)
    return numbers


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, Path]:
    """Two thirds of the embedded digits as a store, the last third as a folder of class folders that the store never
    saw."""
    path = tmp_path_factory.mktemp("digits")
    whole = prepare(collect("digits", path / "originals"), path / "whole", resolution=16, heldout=0).store
    pixels, labels = whole.read(np.arange(len(whole))), whole.labels
    for n, (picture, label) in enumerate(zip(pixels, labels, strict=True)):
        folder = path / ("unseen" if n % 3 == 2 else "seen") / whole.spec.classes[label]
        folder.mkdir(parents=True, exist_ok=True)
        write_image(folder / f"{n:04d}.png", picture)
    return prepare(path / "seen", path / "store", heldout=0.4).store, path / "unseen"


def test_real_pictures_that_nobody_has_seen_measure_at_their_floor(digits):
    store, unseen = digits
    measured, skipped = measure_folder(unseen, store)
    assert not skipped
    assert measured.samples == 599
    assert measured.compared == min(599, len(store.heldout))
    assert abs(measured.distance - measured.floor) < 3 * math.hypot(measured.distance_spread, measured.floor_spread)
    assert measured.told_apart == pytest.approx(0.5, abs=4 * measured.told_apart_spread)
    for ours, real in zip(measured.sliced, measured.sliced_floor, strict=True):
        assert ours < 2 * real
    for name in ("precision", "recall", "coverage"):
        assert getattr(measured, name) == pytest.approx(getattr(measured, f"{name}_floor"), abs=0.12)
    assert measured.copies < 0.05
    assert measured.asked > 0.8  # its folders bear the classes' names
    assert "at its floor" in measured.above_floor
    assert measured["label_accuracy"].floor == measured.accuracy
    for row in measured.rows:
        assert measured[row.name] is row
        assert row.value is not None
        assert row.floor is not None
    for row in measured.printed:  # one line a row, here and in the page about the numbers
        assert re.search(rf"^{row.title} +{re.escape(row.shown)} +{re.escape(row.floor_shown)}", str(measured), re.M)
        title = re.sub(r"\d+ px", "N px", row.title)
        best = row.better if isinstance(row.better, str) else f"{row.better:.0%}" if "%" in row.form else row.better
        assert f"| {title} | {row.says} | {best} |" in PAGE


def test_a_folder_of_training_pictures_is_found_out(digits, tmp_path):
    store, _ = digits
    for n, picture in enumerate(store.read(store.train[:200])):
        write_image(tmp_path / f"{n}.png", picture)
    assert measure_folder(tmp_path, store)[0].copies > 0.98


def test_a_folder_from_the_command_line(digits, tmp_path, capsys, fails):
    store, unseen = digits
    (tmp_path / "some").mkdir()
    for n, file in enumerate(sorted(unseen.rglob("*.png"))[:60]):
        (tmp_path / "some" / f"{n}.png").write_bytes(file.read_bytes())
    assert main(["measure", str(tmp_path / "some"), "--store", str(store.path), "--json"]) == 0
    numbers = strict(capsys.readouterr().out)
    assert (numbers["samples"], numbers["asked"]) == (60, None)
    assert numbers.keys() == KEYS
    assert "--store" in fails("measure", tmp_path / "some")
    assert "belong to a run" in fails("measure", tmp_path / "some", "--store", store.path, "--samples", "50")
    (tmp_path / "some" / "notes.png").write_bytes(b"no picture")
    assert main(["measure", str(tmp_path / "some"), "--store", str(store.path)]) == 2
    assert "notes.png" in capsys.readouterr().err
    (tmp_path / "few").mkdir()
    for n in range(9):
        write_image(tmp_path / "few" / f"{n}.png", np.full((16, 16, 1), 20 * n, np.uint8))
    assert "at least 16" in fails("measure", tmp_path / "few", "--store", store.path)


def test_nothing_held_out_is_null_and_no_nan(tmp_path):
    spec = Spec(8, 8, 1)
    make_store(tmp_path / "store", spec, 60)
    store = Store(tmp_path / "store")
    store.train, store.heldout = np.arange(len(store)), np.arange(0)
    gan = load("gan")
    torch.manual_seed(0)
    measured = measure_system(gan.system(gan.config(width=8, latent=8), spec), store, 64)
    numbers = strict(as_json(measured))
    assert (numbers["floor"], numbers["copies"], numbers["told_apart"], numbers["sliced_floor"]) == (None,) * 4
    assert numbers.keys() == KEYS
    assert "there is no floor" in str(measured)
    assert not re.search(r"\bnan\b|None", str(measured))


def test_the_same_run_gives_the_same_numbers(digits):
    store, _ = digits
    gan = load("gan")
    torch.manual_seed(0)
    system = gan.system(gan.config(width=8, latent=8), store.spec)
    one, two = (json.loads(as_json(measure_system(system, store, 200))) for _ in range(2))
    assert {**one, "seconds": 0} == {**two, "seconds": 0}


def test_a_number_by_its_name(digits):
    store, unseen = digits
    measured, _ = measure_folder(unseen, store)
    row = measured["distance"]
    assert (measured.distance, measured.floor) == (row.value, row.floor)
    assert (measured.distance_spread, measured.floor_spread) == (row.spread, row.floor_spread)
    assert measured.sliced == tuple(measured[f"sliced_{side}"].value for side in measured.scales)
    assert measured.asked == measured["label_accuracy"].value
    assert copy.deepcopy(measured) == measured
    with pytest.raises(KeyError, match="Did you mean distance"):
        measured["distnce"]
    with pytest.raises(AttributeError, match="Did you mean recall"):
        _ = measured.recal


def test_a_metric_more_only_adds_to_the_floors_that_are_kept(digits, monkeypatch):
    """The floors of other metrics stay as they are; a damaged file is made again."""
    store, _ = digits
    reference = Reference(store)
    size = reference.compared(300)
    path = store.path / "features" / f"floors-{size}-{reference.extract.digest[:16]}-v3.json"
    first = reference.floors((frechet, copies), size)
    assert json.loads(path.read_text()).keys() >= {"frechet", "copies"}
    monkeypatch.setattr(frechet, "floor", lambda real, size: pytest.fail("is measured again"))
    assert reference.floors((frechet, copies, kernel), size)[:2] == first
    assert intact(path)
    monkeypatch.undo()
    path.write_text(path.read_text().replace("frechet", "Frechet"))
    assert reference.floors((frechet, copies), size) == first


def test_a_folder_is_read_by_the_whole_recipe_of_the_store(tmp_path):
    """Stretched picture by picture, and by the levels of the set: the same files are the same bytes."""
    rng = np.random.default_rng(0)
    for n in range(40):
        (tmp_path / "in").mkdir(exist_ok=True)
        values = rng.integers(0, 1000 + 50 * n, (16, 16)).astype(np.uint16)
        Image.fromarray(values).save(tmp_path / "in" / f"{n}.png")
        if n < 20:
            (tmp_path / "some").mkdir(exist_ok=True)
            Image.fromarray(values).save(tmp_path / "some" / f"{n}.png")
    for options in ({"normalise": "image"}, {"levels": "100,3000"}, {"levels": "full"}, {"levels": "auto"}):
        whole = prepare(tmp_path / "in", tmp_path / f"{options}", **options).store
        some = read_folder(tmp_path / "some", whole, tmp_path / f"of {options}").store
        rows = {row.tobytes() for row in whole.read(np.arange(len(whole)))}
        assert len(some) == 20 and all(row.tobytes() in rows for row in some.read(np.arange(20))), options


def test_a_folder_that_brings_its_own_split_is_measured(tmp_path):
    store = prepare(write_pictures(tmp_path / "in", "train", "test", count=20), tmp_path / "s", resolution=8).store
    assert measure_folder(tmp_path / "in", store)[0].samples == 40
    assert measure_folder(store.path, store)[0].samples == 40
    one = next((tmp_path / "in" / "test").rglob("*.png"))
    (next((tmp_path / "in" / "train").rglob("*.png")).parent / "again.png").write_bytes(one.read_bytes())
    measured, skipped = measure_folder(tmp_path / "in", store)
    assert (measured.samples, skipped) == (41, [])  # one that is on both sides of that split counts, too


def test_samples_are_not_endless(tmp_path):
    store = make_store(tmp_path / "s", Spec(8, 8, 1))
    loaded = load("gan")
    with pytest.raises(InputError, match="16 to 1,000,000"):
        measure_system(loaded.system(loaded.config(width=8, latent=8), store.spec), store, 10**20)
