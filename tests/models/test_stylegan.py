"""StyleGAN and PGGAN: progressive growing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from ganforge.base.errors import InputError
from ganforge.media.spec import Spec
from ganforge.nn import grow, resample, style
from ganforge.runs import RunFolder
from ganforge.sampling import sample
from ganforge.system import Batch
from ganforge.testing import check_system, make_store
from ganforge.training.train import Trainer, plan
from tiny import GREY, TINY, new


@pytest.mark.parametrize("name", ["pggan", "stylegan"])
def test_a_resolution_fades_in_from_the_one_below(name):
    system = new(name)
    latents = system.latents(range(3))
    given = (latents,) if name == "pggan" else (system.styles(latents), style.noise_seed(latents))
    small, large = system.generator(*given, 0), system.generator(*given, 1)
    assert small.shape[2] * 2 == large.shape[2]
    torch.testing.assert_close(system.generator(*given, 1, 0.0), resample.repeat(small))
    torch.testing.assert_close(system.generator(*given, 1, 0.25), 0.75 * resample.repeat(small) + 0.25 * large)
    assert torch.equal(system.generator(*given, 1, 1.0), large)
    doubled = resample.repeat(small)
    torch.testing.assert_close(system.discriminator(doubled, 1, 0.0), system.discriminator(small, 0))
    images = torch.randn(2, 1, 16, 16)
    torch.testing.assert_close(grow.reals_at(images, 1, 1.0, 1), images)
    torch.testing.assert_close(grow.reals_at(images, 1, 0.0, 1), resample.repeat(F.avg_pool2d(images, 2)))


@pytest.mark.parametrize("name", ["pggan", "stylegan"])
def test_growing_run_keeps_the_contract(name, tmp_path):
    """Resumed in the middle of a fade."""
    check_system(name, Spec(20, 17, 3), tmp_path, {**TINY, "grow_images": 20}, steps=5)


@pytest.mark.parametrize("name", ["pggan", "stylegan"])
def test_what_is_not_grown_yet_is_not_touched(name, tmp_path):
    store = make_store(tmp_path / "store", GREY)
    overrides = {"model": {**TINY, "grow_images": 1000}, "train": {"images": 4000, "batch": 16, "precision": "fp32"}}
    run = RunFolder(tmp_path / "run")
    run.begin(plan(name, store, run.path, "small", overrides))
    trainer = Trainer(run, store, "cpu")
    for _ in range(3):
        trainer.step()
    trainer.save()
    tensors, _ = run.load()
    above = [k for k in tensors if "optimizer" in k and (".to_rgb.1." in k or ".blocks." in k or ".synthesis.2." in k)]
    assert not above
    assert any("optimizer.generator.to_rgb.0." in k for k in tensors)
    picture = sample(run, [3])[0, :, :, 0]
    assert np.array_equal(picture, picture[::2, ::2].repeat(2, 0).repeat(2, 1))


@pytest.mark.parametrize("name", ["pggan", "stylegan"])
@pytest.mark.parametrize("size", ["small", "medium", "large"])
def test_growth_follows_the_length_of_the_run(name, size, tmp_path):
    store = make_store(tmp_path / "store", GREY)
    for images in (1, 64, 1_000_000, 25_000_000):
        grown = plan(name, store, tmp_path, size, {"train": {"images": images}})["model"]["grow_images"]
        assert 4 * grown <= 0.8 * images
    assert grown == {"small": 5_000, "medium": 50_000, "large": 600_000}[size]
    with pytest.raises(
        InputError, match=r"after 4,000 images here, and a run of 3,999 images .* --images 4000 or more"
    ):
        plan(name, store, tmp_path, size, {"model": {"grow_images": 1000}, "train": {"images": 3999}})


@pytest.mark.parametrize(("name", "phase"), [("pggan", "r1_loss"), ("stylegan", "r1_loss"), ("wgan_gp", "critic_loss")])
def test_caution_multiplies_the_penalty(name, phase):
    system = new(name).requires_grad_(True)
    losses = []
    for caution in (1.0, 2.0, 3.0):
        torch.manual_seed(0)
        batch = Batch(torch.randn(4, 1, 16, 16), None, 10**9, caution=caution)
        losses.append(getattr(system, phase)(batch)["loss"].item())
    assert losses[2] - losses[1] == pytest.approx(losses[1] - losses[0], rel=1e-3)
    assert losses[1] > losses[0]
    if phase == "r1_loss":
        assert losses[1] == pytest.approx(2 * losses[0])
