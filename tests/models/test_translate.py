"""Unpaired translation: the contrastive loss, what it learns from, what it makes of a toy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from ganforge.base.errors import DataError, InputError
from ganforge.media.spec import Spec, to_float
from ganforge.models import translate
from ganforge.preparing.parts import Meta
from ganforge.runs import RunFolder
from ganforge.system import Batch
from ganforge.testing import check_system, store_of
from ganforge.training.train import Trainer, plan, train

SPEC = Spec(16, 16, 1, ("dark", "other", "bright"))
TINY = {"width": 8, "depth": 1, "blocks": 1, "head": 8, "patches": 16}


def two_brightnesses(folder, count=240):
    """Squares at random places on black, grey or white by class; every fourth picture is of the class between."""
    rng = np.random.default_rng(0)
    pictures, metas = np.zeros((count, 16, 16, 1), np.uint8), []
    for n in range(count):
        label = (0, 2, 0, 2, 1)[n % 5]
        top, left = rng.integers(0, 9, 2)
        pictures[n, top : top + 8, left : left + 8] = (90, 150, 240)[label]
        metas.append(Meta(f"{n}.png", SPEC.classes[label], "train" if n % 6 else "heldout"))
    return store_of(folder, SPEC, pictures, metas)


def test_the_contrastive_loss_in_closed_form():
    same = torch.nn.functional.normalize(torch.ones(2, 5, 3), dim=2)
    assert translate.patch_nce(same, same).item() == pytest.approx(math.log(5))
    apart = torch.eye(5)[None].expand(2, -1, -1)
    right = math.exp(1 / translate.TEMPERATURE)
    assert translate.patch_nce(apart, apart).item() == pytest.approx(-math.log(right / (right + 4)), abs=1e-6)
    assert translate.patch_nce(apart, apart, 1.0).item() == pytest.approx(-math.log(math.e / (math.e + 4)))
    swapped = translate.patch_nce(apart, apart.roll(1, 1), 1.0).item()
    assert swapped == pytest.approx(-math.log(1 / (math.e + 4)))
    with torch.autocast("cpu", torch.bfloat16):
        assert translate.patch_nce(apart, apart).dtype == torch.float32


def test_patches_of_a_picture_are_told_from_others_of_that_picture_alone():
    queries, keys = (torch.nn.functional.normalize(torch.randn(3, 6, 4), dim=2) for _ in range(2))
    each = torch.stack([translate.patch_nce(queries[n : n + 1], keys[n : n + 1]) for n in range(3)])
    assert translate.patch_nce(queries, keys).item() == pytest.approx(each.mean().item(), rel=1e-5)


@pytest.mark.parametrize("keep", ["patches", "cycle"])
def test_the_last_quarter_of_a_batch_keeps_its_class(keep):
    torch.manual_seed(0)
    system = translate.Translate(translate.Config(classes=("bright", "dark"), keep=keep, **TINY), SPEC)
    assert system.learned == (0, 2)
    labels = torch.tensor([0, 2] * 6)
    batch = Batch(torch.rand(12, 1, 16, 16), labels, 0)
    losses = system.generator_loss(batch)
    assert torch.equal(batch.shared["wanted"], 2 - labels[:9])
    assert torch.equal(batch.shared["translated"], batch.images[:9]), "at first a picture stays as it is"
    assert all(value.isfinite() for value in {**losses, **system.discriminator_loss(batch)}.values())
    one = Batch(batch.images[:1], labels[:1], 0)
    assert system.generator_loss(one)["loss"].isfinite()


def test_classes_are_drawn_evenly_from_the_others():
    torch.manual_seed(0)
    system = translate.Translate(translate.Config(**TINY), SPEC)
    assert system.learned == (0, 1, 2)
    own = torch.arange(3).repeat(2000)
    others = system._others(own)
    counts = torch.bincount(3 * own + others, minlength=9).reshape(3, 3)
    assert not counts.diagonal().any()
    assert (counts + 1000 * torch.eye(3) - 1000).abs().max() < 120


@pytest.mark.parametrize("model", [{"keep": "cycle"}, {"classes": ("c", "a")}])
def test_translate_keeps_the_contract_with_other_settings(model, tmp_path):
    check_system("translate", Spec(17, 13, 4, ("a", "b", "c")), tmp_path, {**TINY, **model})


@pytest.mark.parametrize(("keep", "steps"), [("patches", 300), ("cycle", 160)])
def test_it_learns_to_change_the_brightness_and_keeps_the_rest(keep, steps, tmp_path):
    store = two_brightnesses(tmp_path / "s")
    model = {**TINY, "classes": ("dark", "bright"), "keep": keep, "lr": 2e-3}
    loop = {"images": 16 * steps, "batch": 16, "precision": "fp32"}
    run = train("translate", store, tmp_path / "r", device_name="cpu", overrides={"model": model, "train": loop})
    system = run.build()
    rows = store.heldout[store.labels[store.heldout] != 1]
    images, labels = to_float(torch.from_numpy(store.read(rows))), torch.from_numpy(store.labels[rows])
    squares = images > -1

    def brightness(made):
        """Mean of the squares' pixels, from 0 to 255, of the dark and of the bright ones."""
        return [float((made[labels == n][squares[labels == n]] + 1).mean() * 127.5) for n in (0, 2)]

    assert brightness(images) == pytest.approx([90, 240])
    made = system.restore(images, labels=2 - labels)
    dark, bright = brightness(made)
    assert dark > 150 and bright < 140, "each is more like the other class"
    assert ((made > -0.7) == squares).float().mean() > 0.7, "in its place"
    dark, bright = brightness(system.restore(images, labels=labels))
    assert dark < 120 and bright > 220, "its own class changes little"


def test_it_learns_from_its_classes_alone(tmp_path):
    store = two_brightnesses(tmp_path / "s")
    overrides = {"model": {**TINY, "classes": ("bright", "dark")}, "train": {"images": 64, "batch": 16}}
    run = RunFolder(tmp_path / "r")
    run.begin(plan("translate", store, run.path, overrides=overrides))
    trainer = Trainer(run, store, "cpu")
    labels = torch.cat([trainer.stream.batch(seen, 16).labels for seen in range(0, 400, 16)])
    assert labels.unique().tolist() == [0, 2]


def test_classes_that_cannot_be(tmp_path, fails):
    store = two_brightnesses(tmp_path / "s")
    words = ("train", "translate", store.path, "--out", tmp_path / "r", "--images", 64, "--model.classes")
    assert "there is no class 'drk'. Did you mean dark?" in fails(*words, "drk, bright")
    assert "two classes or more, and there is only 'dark'" in fails(*words, "dark, dark")
    with pytest.raises(InputError, match="only 'a'"):
        translate.Translate.check(translate.Config(), Spec(8, 8, 1, ("a",)))
    store.labels[store.train[store.labels[store.train] == 2]] = 0
    with pytest.raises(DataError, match="no training pictures of 'bright'"):
        store.of_classes((0, 2))
    assert not (tmp_path / "r").exists()


def test_the_sheet_shows_each_class():
    torch.manual_seed(0)
    system = translate.Translate(translate.Config(classes=("dark", "bright"), **TINY), SPEC).eval()
    torch.nn.init.normal_(system.generator.unet.last.weight, 0, 0.3)
    images = torch.rand(2, 1, 16, 16)
    given, dark, bright = system.examples(images).unbind(1)
    assert torch.equal(given, images)
    assert torch.equal(dark, system.restore(images, labels=torch.tensor([0, 0])))
    assert torch.equal(bright, system.restore(images, labels=torch.tensor([2, 2])))
