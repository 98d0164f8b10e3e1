"""Samples by seed and label, on the command line and in Python."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ganforge.api import Run
from ganforge.base import marks
from ganforge.base.errors import InputError
from ganforge.base.images import as_image
from ganforge.cli import main
from ganforge.measuring.measure import FIRST_SEED
from ganforge.media.clip import Clip
from ganforge.media.solid import Solid
from ganforge.media.sound import Sound
from ganforge.media.spec import Spec
from ganforge.media.text import END, Text
from ganforge.sampling import drawn
from ganforge.testing import make_store
from tiny import FOUR_CLASSES, TINY_OPTIONS


@pytest.fixture(scope="module")
def run(labelled_store: Path) -> Path:
    out = labelled_store.with_name("run")
    assert main(["train", "cgan", str(labelled_store), "--out", str(out), *TINY_OPTIONS, "--images", "64"]) == 0
    return out


def test_words_and_python_give_the_same_pictures(run, tmp_path):
    each = ["--each", "--out", str(tmp_path)]
    assert main(["sample", str(run), "--seeds", "5,6", "--labels", "dog", *each]) == 0
    assert {p.name for p in tmp_path.iterdir()} == {"seed-000005-class-1.png", "seed-000006-class-1.png"}
    mark = marks.read(tmp_path / "seed-000006-class-1.png")
    assert mark is not None
    assert (mark["seeds"], mark["labels"]) == ([6], ["dog"])
    samples = Run(run).sample([5, 6], labels="dog")
    with Image.open(tmp_path / "seed-000006-class-1.png") as image:
        assert np.array_equal(np.asarray(image), np.asarray(as_image(samples[1])))
    assert np.array_equal(samples, Run(run).sample([5, 6], labels=[1, 1]))
    assert np.array_equal(samples[1:], Run(run).sample([9, 6, 3], labels=[0, "dog", 3])[1:2])
    assert np.array_equal(samples[:1], Run(run).sample([5], labels=["cat", "dog"])[1:])


def test_all_is_a_row_a_class(run, capsys):
    assert main(["sample", str(run), "--labels", "all"]) == 0
    mark = marks.read(run / "samples.png")
    assert mark is not None
    assert mark["seeds"] == [*range(8)] * 4
    assert mark["labels"] == [name for name in FOUR_CLASSES.classes for _ in range(8)]
    with Image.open(run / "samples.png") as image:
        assert image.height == 4 * 10 - 2
        names = image.crop((0, 0, image.width - (8 * 10 - 2), image.height))
        assert all(names.crop((0, row * 10, names.width, row * 10 + 8)).getextrema()[0] < 100 for row in range(4))
    assert len(Run(run).sample([1, 2], labels="all")) == 8
    assert np.array_equal(Run(run).sample([1, 2], labels="all")[3], Run(run).sample([2], labels=1)[0])
    assert main(["sample", str(run), "--labels", "cat,T-shirt/top"]) == 0  # as many seeds as labels
    assert (marks.read(run / "samples.png") or {})["labels"] == ["cat", "T-shirt/top"]


def test_a_name_comes_before_a_number(run):
    assert np.array_equal(Run(run).sample([1], labels="2"), Run(run).sample([1], labels=2))
    assert np.array_equal(Run(run).sample([1], labels="3"), Run(run).sample([1], labels="T-shirt/top"))


def test_without_labels_each_seed_draws_its_own(run):
    seeds = range(40)
    labels = drawn(seeds, np.ones(4))
    assert set(labels) == {0, 1, 2, 3}
    assert np.array_equal(Run(run).sample(seeds), Run(run).sample(seeds, labels=labels))
    assert drawn([7], np.ones(4)) == labels[7:8]


def test_drawn_labels_are_in_the_proportions_of_the_weights():
    weights = np.array([600, 0, 300, 100])
    shares = np.bincount(drawn(range(FIRST_SEED, FIRST_SEED + 20_000), weights), minlength=4) / 20_000
    assert shares[1] == 0
    assert np.abs(shares - weights / 1000).max() < 4 * (0.25 / 20_000) ** 0.5


def test_labels_that_a_run_cannot_make(run, labelled_store, tmp_path, fails):
    assert "Did you mean dog?" in fails("sample", run, "--labels", "dogg")
    assert "numbered from 0 to 3: cat, dog" in fails("sample", run, "--labels", "9")
    assert "2 labels do not fit 3 seeds" in fails("sample", run, "--seeds", "1-3", "--labels", "cat,dog")
    with pytest.raises(InputError, match="no class -1"):
        Run(run).sample([1], labels=-1)
    words = ["--out", str(tmp_path), *TINY_OPTIONS, "--images", "64"]
    assert main(["train", "gan", str(labelled_store), *words]) == 0
    assert "learned without labels" in fails("sample", tmp_path, "--labels", "cat")


def test_labels_of_a_run_whose_store_has_none(tmp_path, fails):
    make_store(tmp_path / "store", Spec(8, 8, 1), 40)
    words = ["--out", str(tmp_path / "run"), *TINY_OPTIONS, "--images", "64"]
    assert main(["train", "sagan", str(tmp_path / "store"), *words]) == 0
    assert "its store has no labels" in fails("sample", tmp_path / "run", "--labels", "0")


OTHER_MEDIA = {
    ".wav": ("gan", Spec(8, 8, 1, medium=Sound.of_rate(8000))),
    ".webp or .mp4": ("gan", Spec(8, 8, 4, medium=Clip(4, 10.0))),
    ".npy or .stl": ("gan", Spec(8, 8, 8, medium=Solid())),
    ".txt": ("textgan", Spec(1, 12, 1, medium=Text(END + "abcd"))),
}


@pytest.mark.parametrize("own", OTHER_MEDIA)
def test_the_files_of_each_medium_are_named(own, tmp_path, fails):
    system, spec = OTHER_MEDIA[own]
    make_store(tmp_path / "store", spec, 40)
    words = ["--out", str(tmp_path / "run"), *TINY_OPTIONS, "--images", "64", "--train.precision", "fp32"]
    assert main(["train", system, str(tmp_path / "store"), *words]) == 0
    for name in ("a.ogg", "a.gltf", "a"):
        message = fails("sample", tmp_path / "run", "--count", "1", "-o", tmp_path / name)
        assert f"cannot hold {spec.medium.plural}. Let its name end in {own}; or in .png" in message
    assert "single files go into a folder" in fails(
        "sample", tmp_path / "run", "--each", "-o", tmp_path / f"a{own.split()[0]}"
    )
    assert not list(tmp_path.glob("a*"))
    for suffix in set(own.split(" or ")) - {".mp4"}:
        out = tmp_path / f"one{suffix}"
        assert main(["sample", str(tmp_path / "run"), "--count", "1", "-o", str(out)]) == 0
        assert out.stat().st_size > 0 and out.with_suffix(".png").is_file()
    if suffix := spec.medium.several:
        out = tmp_path / f"two{spec.medium.suffix}"
        assert f"Let its name end in {suffix}." in fails("sample", tmp_path / "run", "--count", "2", "-o", out)
        assert not list(tmp_path.glob("two*"))
