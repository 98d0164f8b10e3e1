"""How well pictures are translated: every number in a closed form."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from ganforge.base.errors import DataError
from ganforge.cli import main
from ganforge.measuring.measure import measure_system
from ganforge.measuring.reference import Reference
from ganforge.measuring.translation import measure_translation, translated, translations
from ganforge.media.spec import Spec
from ganforge.models import translate
from ganforge.preparing.parts import Meta
from ganforge.testing import make_store, store_of
from ganforge.training.score import Scorer
from ganforge.training.train import train

SPEC = Spec(16, 16, 1, ("a", "b", "c"))
TINY = {"width": 4, "depth": 1, "blocks": 1, "head": 4, "patches": 8, "classes": ("a", "c")}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("three") / "store", SPEC, 240)


class Same(translate.Translate):
    """Returns what it is given."""

    def restore(self, images, *, labels=None):
        return images


def test_translations_are_of_other_classes_and_as_many_real_ones(store):
    torch.manual_seed(0)
    system = translate.Translate(translate.Config(**TINY), SPEC).eval()
    torch.nn.init.normal_(system.generator.unet.last.weight, 0, 0.3)
    pictures, classes = store.read(store.heldout), store.labels[store.heldout]
    labels = {row.tobytes(): label for row, label in zip(pictures, classes, strict=True)}
    for one, (other, label) in zip(translations(system, store, 20), ((2, 0), (0, 2)), strict=True):
        assert one.label == label and len(one.given) == len(one.wanted) == 10
        assert {labels[row.tobytes()] for row in one.given} == {other}
        assert {labels[row.tobytes()] for row in one.wanted} == {label}
        assert np.array_equal(one.made, translated(system, one.given, label))


def test_few_samples_are_at_least_eight_of_a_class_and_the_class_with_too_few_is_named(store, tmp_path):
    system = Same(translate.Config(**TINY), SPEC)
    assert [len(one.given) for one in translations(system, store, 4)] == [8, 8]
    metas = [Meta(f"{n}.png", "a" if n < 80 else "b", "heldout" if n % 2 else "train") for n in range(90)]
    pixels = np.random.default_rng(0).integers(0, 256, (90, 16, 16, 1), dtype=np.uint8)
    spec = Spec(16, 16, 1, ("a", "b"))
    few = store_of(tmp_path / "few", spec, pixels, metas)
    system = Same(translate.Config(**TINY | {"classes": ()}), spec)
    with pytest.raises(DataError, match="holds out 5 pictures of 'b'"):
        measure_system(system, few)
    assert not (few.path / "features").exists()


def test_a_system_that_changes_nothing_has_the_numbers_of_what_it_is_given(store):
    system, real = Same(translate.Config(**TINY), SPEC), Reference(store)
    table = measure_translation(system, real, 1000)
    given, made, wanted = (table[name] for name in ("as given", "translated", "wanted"))
    assert made.distance == given.distance > 2 * wanted.distance
    assert made.label_accuracy == given.label_accuracy < wanted.label_accuracy
    assert made.consistency == 100 and given.consistency is None
    assert Scorer(store, torch.device("cpu"), 1.0).score(system) == {"distance": round(made.distance, 4)}
    assert table.verdict.startswith("translated: a distance of ") and "PSNR" not in table.verdict


def test_too_few_held_out_pictures_of_a_class(tmp_path):
    few = make_store(tmp_path / "s", SPEC, 60)
    with pytest.raises(DataError, match=r"holds out 4 pictures of 'a'.*at least 8 of each class"):
        measure_translation(Same(translate.Config(**TINY), SPEC), Reference(few), 1000)


def test_measure_prints_the_table_of_a_run_that_translates(store, tmp_path, capsys):
    loop = {"images": 32, "batch": 16, "precision": "fp32"}
    run = train("translate", store, tmp_path / "r", device_name="cpu", overrides={"model": TINY, "train": loop})
    assert main(["measure", str(run.path)]) == 0
    assert "translated" in capsys.readouterr().out
    assert (run.path / "restored.png").is_file()
    assert main(["measure", str(run.path), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["restoration"]["rows"]
    assert list(rows) == ["as given", "translated", "wanted"] and rows["translated"]["psnr"] is None
