"""Samples of labels, given in words and in Python."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ganforge import models
from ganforge.api import Run
from ganforge.base import marks
from ganforge.base.errors import InputError
from ganforge.base.images import as_image
from ganforge.cli import main
from ganforge.measuring.measure import FIRST_SEED, measure_system
from ganforge.measuring.reference import extractor
from ganforge.media.spec import Spec, to_float
from ganforge.metrics.label_accuracy import accuracy
from ganforge.sampling import crossed, drawn, pictures
from ganforge.store.store import Store
from ganforge.system import System, with_label
from ganforge.testing import make_store

SPEC = Spec(8, 8, 1, ("cat", "dog", "2", "T-shirt/top"))
TINY = ["--model.width", "8", "--model.latent", "8", "--train.batch", "16", "--images", "64"]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tmp_path_factory.mktemp("labels") / "store"
    make_store(path, SPEC, 160)
    return path


@pytest.fixture(scope="module")
def run(store: Path) -> Path:
    out = store.with_name("run")
    assert main(["train", "cgan", str(store), "--out", str(out), *TINY]) == 0
    return out


def test_words_and_python_give_the_same_pictures(run, tmp_path):
    each = ["--each", "--out", str(tmp_path)]
    assert main(["sample", str(run), "--seeds", "5,6", "--labels", "dog", *each]) == 0
    assert {p.name for p in tmp_path.iterdir()} == {"seed-000005-class-1.png", "seed-000006-class-1.png"}
    mark = marks.read(tmp_path / "seed-000006-class-1.png")
    assert mark is not None
    assert (mark["seeds"], mark["labels"]) == ([6], ["dog"])
    made = Run(run).sample([5, 6], labels="dog")
    from PIL import Image

    with Image.open(tmp_path / "seed-000006-class-1.png") as image:
        assert np.array_equal(np.asarray(image), np.asarray(as_image(made[1])))
    assert np.array_equal(made, Run(run).sample([5, 6], labels=[1, 1]))
    assert np.array_equal(made[1:], Run(run).sample([9, 6, 3], labels=[0, "dog", 3])[1:2])
    assert np.array_equal(made[:1], Run(run).sample([5], labels=["cat", "dog"])[1:])


def test_all_is_a_row_a_class(run, capsys):
    assert main(["sample", str(run), "--labels", "all"]) == 0
    mark = marks.read(run / "samples.png")
    assert mark is not None
    assert mark["seeds"] == [*range(8)] * 4
    assert mark["labels"] == [name for name in SPEC.classes for _ in range(8)]
    from PIL import Image

    with Image.open(run / "samples.png") as image:
        assert image.height == 4 * 10 - 2
        names = image.crop((0, 0, image.width - (8 * 10 - 2), image.height))
        assert all(names.crop((0, row * 10, names.width, row * 10 + 8)).getextrema()[0] < 100 for row in range(4))
    assert len(Run(run).sample([1, 2], labels="all")) == 8
    assert np.array_equal(Run(run).sample([1, 2], labels="all")[3], Run(run).sample([2], labels=1)[0])
    assert (
        main(["sample", str(run), "--labels", "cat,T-shirt/top"]) == 0
    )  # as many seeds as labels, where none are said
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


def test_drawn_labels_are_in_the_proportions_asked():
    weights = np.array([600, 0, 300, 100])
    found = np.bincount(drawn(range(FIRST_SEED, FIRST_SEED + 20_000), weights), minlength=4) / 20_000
    assert found[1] == 0
    assert np.abs(found - weights / 1000).max() < 4 * (0.25 / 20_000) ** 0.5


def test_the_trainers_sheet_has_a_row_a_class(run):
    mark = marks.read(run / "samples" / "000000064.png")
    assert mark is not None
    assert (mark["seeds"], mark["labels"]) == (
        crossed(range(8), range(4))[0],
        [name for name in SPEC.classes for _ in range(8)],
    )


def test_labels_that_a_run_cannot_make(run, store, tmp_path, fails, capsys):
    assert "Did you mean dog?" in fails("sample", run, "--labels", "dogg")
    assert "numbered from 0 to 3: cat, dog" in fails("sample", run, "--labels", "9")
    assert "2 labels do not fit 3 seeds" in fails("sample", run, "--seeds", "1-3", "--labels", "cat,dog")
    with pytest.raises(InputError, match="no class -1"):
        Run(run).sample([1], labels=-1)
    plain = tmp_path / "plain"
    assert main(["train", "gan", str(store), "--out", str(plain), *TINY]) == 0
    assert "learned without labels" in fails("sample", plain, "--labels", "cat")
    assert "model.conditional = False" in fails(
        "train", "gan", store, "--out", plain, *TINY, "--model.conditional", "yes"
    )
    make_store(tmp_path / "nameless", Spec(8, 8, 1), 40)
    for words in (["cgan"], ["gan", "--model.conditional", "true"]):
        said = fails("train", words[0], tmp_path / "nameless", "--out", tmp_path / "r", *words[1:])
        assert "has no labels" in said
        assert "dcgan" in said.split("Without labels do")[1]
        assert "cgan," not in said.split("Without labels do")[1].replace("dcgan,", "")
    assert not (tmp_path / "r").exists()
    assert main(["train", "sagan", str(tmp_path / "nameless"), "--out", str(tmp_path / "s"), *TINY]) == 0
    assert "its store has no labels" in fails("sample", tmp_path / "s", "--labels", "0")


class Oracle(System):
    """Hands out the store's own pictures of the class that is asked, as its classifier sees them; or of a class off by
    `shift`."""

    averaged = ()

    def __init__(self, store: Store, shift: bool = False) -> None:
        super().__init__(models.load("gan").config(latent=2), store.spec)
        self.classes, self.still = len(store.spec.classes), nn.Parameter(torch.zeros(1))
        pixels, extract = store.read(store.train), extractor(store)
        self.images = to_float(torch.from_numpy(pixels))
        self.named = extract.classify(extract([pixels]))
        self.shuffled = shift

    def generate(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        assert labels is not None
        place = (latents[:, 0].abs() * 1000).long()
        if self.shuffled:
            return self.images[place % len(self.images)]
        rows = [torch.nonzero(self.named == label)[:, 0] for label in range(self.classes)]
        return torch.stack(
            [self.images[rows[label][n % len(rows[label])]] for label, n in zip(labels, place, strict=True)]
        )


def test_the_asked_class_is_hit_by_an_oracle_and_by_chance_otherwise(store):
    found = Store(store)
    assert measure_system(Oracle(found), found, 400).asked == 1.0
    chance = measure_system(Oracle(found, shift=True), found, 2000)
    assert chance.asked == pytest.approx(1 / 4, abs=4 * (3 / 16 / 2000) ** 0.5)
    assert "label accuracy" in str(chance)


def test_no_class_asked_and_none_known_is_no_number(store):
    found = Store(store)
    extract = extractor(found)
    features = extract([found.read(found.train)])
    assert accuracy(extract, features, None) is None
    assert accuracy(extract, features, found.labels[found.train].tolist()) > 0.5
    assert accuracy(replace(extract, kind="clusters"), features, [0] * len(features)) is None
    loaded = models.load("gan")
    unconditional = measure_system(loaded.system(loaded.config(width=8, latent=8), SPEC), found, 50)
    assert unconditional.asked is None
    assert "label accuracy" not in str(unconditional)


def test_a_label_as_numbers():
    x = torch.tensor([[0.5], [2.0]])
    assert with_label(x, torch.tensor([2, 0]), 3).tolist() == [[0.5, 0, 0, 1], [2.0, 1, 0, 0]]
    assert with_label(x, torch.tensor([2, 0]), 0) is x


@pytest.mark.parametrize("name", ["gan", "vae", "dcgan"])
def test_a_system_learns_what_a_label_means(name, store, tmp_path):
    """Classes of the test's pictures differ in brightness; after a little training so do samples of different
    labels."""
    words = ["--model.conditional", "true", "--model.width", "8", "--model.latent", "8", "--train.batch", "32"]
    more = ["--model.lr", "3e-3", "--images", "4800", "--train.report", "4800"]
    assert main(["train", name, str(store), "--out", str(tmp_path / "r"), *words, *more]) == 0
    system = Run(tmp_path / "r").build()
    bright = [
        np.concatenate(list(pictures(system, range(64), [label] * 64))).mean() for label in range(len(SPEC.classes))
    ]
    assert bright[3] - bright[0] > 20, bright
