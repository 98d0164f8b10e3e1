"""The denoising autoencoder: statistics of its noise, and what it removes."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.ndimage import median_filter

from ganforge.base.seeds import key
from ganforge.media.spec import Spec, to_float, to_uint8
from ganforge.metrics.fidelity import psnr
from ganforge.models import dae
from ganforge.testing import make_store
from ganforge.training.train import train


@pytest.mark.parametrize("strength", [0.05, 0.3])
@pytest.mark.parametrize("kind", dae.KINDS)
def test_noise_has_the_stated_statistics(kind, strength):
    torch.manual_seed(0)
    images = torch.full((8, 4, 128, 128), -0.2)
    noisy = dae.corrupt(images, kind, torch.full((8,), strength))
    assert torch.equal(noisy[:, 3], images[:, 3]), "alpha was touched"
    colour = noisy[:, :3]
    assert colour.abs().max() <= 1
    if kind in ("gaussian", "speckle"):
        deviation = 2 * strength if kind == "gaussian" else strength * 0.8
        if deviation < 0.3:
            assert (colour + 0.2).std().item() == pytest.approx(deviation, rel=0.02)
            assert colour.mean().item() == pytest.approx(-0.2, abs=0.002)
        sure = math.erf(0.3 / deviation / math.sqrt(2))  # within 0.3, which nothing clips
        assert ((colour + 0.2).abs() < 0.3).float().mean().item() == pytest.approx(sure, abs=0.01)
    else:
        black, white = (colour == -1).float().mean().item(), (colour == 1).float().mean().item()
        expected = (strength / 2, strength / 2) if kind == "salt_pepper" else (strength, 0.0)
        assert (black, white) == pytest.approx(expected, abs=0.01)
        assert torch.equal(colour[:, 0], colour[:, 2]), "a pixel is hit in all its colours"
        assert ((colour == -0.2) | (colour.abs() == 1)).all()


def test_strengths_are_drawn_by_picture():
    noisy = dae.corrupt(torch.zeros(2, 1, 64, 64), "gaussian", torch.tensor([0.0, 0.1]))
    assert not noisy[0].any()
    assert noisy[1].std().item() == pytest.approx(0.2, rel=0.05)


def test_noise_of_one_pixel_stays_within_the_receptive_radius():
    torch.manual_seed(0)
    system = dae.DAE(dae.Config(width=8), Spec(32, 32, 3)).double().eval()
    torch.nn.init.normal_(system.denoiser.last[2].weight, 0, 0.1)
    images = torch.rand(1, 3, 100, 150, dtype=torch.float64) * 2 - 1
    far = images.clone()
    far[:, :, 0, 0] += 1
    with torch.no_grad():
        whole = system.restore(images)
        changed = (system.restore(far) - whole).abs().amax((0, 1))
    assert (whole - images).abs().max() > 0.01, "the network does nothing"
    near = max(changed.nonzero().max().item(), 0)
    assert system.receptive_radius / 2 < near <= system.receptive_radius, near


def test_examples_are_noisy_restored_and_clean():
    system = dae.DAE(dae.Config(width=8, strength=0.3), Spec(16, 16, 3)).eval()
    images = torch.rand(2, 3, 16, 16) * 2 - 1
    noisy, _, clean = system.examples(images).unbind(1)
    assert torch.equal(clean, images)
    with torch.random.fork_rng():
        torch.manual_seed(key(0, "examples"))
        assert torch.equal(noisy, dae.corrupt(images, "gaussian", torch.full((2,), 0.3)))


def test_the_denoiser_beats_the_noise_and_the_median(tmp_path):
    store = make_store(tmp_path / "s", Spec(32, 32, 1), 256)
    loop = {"images": 16 * 120, "batch": 16, "precision": "fp32", "ema_ramp": 0.01}
    run = train(
        "dae", store, tmp_path / "r", size="small", device_name="cpu", overrides={"train": loop, "model": {"width": 16}}
    )
    system = run.build()
    truth = store.read(store.heldout)
    torch.manual_seed(1)
    noisy = to_uint8(dae.corrupt(to_float(torch.from_numpy(truth)), "gaussian", torch.full((len(truth),), 0.15)))
    cleaned = to_uint8(system.restore(to_float(noisy))).numpy()
    before, after = psnr(noisy.numpy(), truth), psnr(cleaned, truth)
    median = psnr(median_filter(noisy.numpy(), (1, 3, 3, 1)), truth)
    assert before < median < after
    assert after > before + 6
