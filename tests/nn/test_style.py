"""Modulated convolution, noise and style mixing against their definitions."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from ganforge.nn import resample, style
from tiny import new


@pytest.mark.parametrize("step", ["", "up"])
@pytest.mark.parametrize("demodulate", [True, False])
def test_modulated_convolution_is_the_plain_one_of_each_picture(step, demodulate):
    layer = style.ModulatedConv(5, 6, 7, 3, step, demodulate).double()
    x, w = torch.randn(3, 6, 4, 5, dtype=torch.float64), torch.randn(3, 5, dtype=torch.float64)
    for n in range(3):
        kernel = layer.weight * layer.scale * layer.affine(w)[n][None, :, None, None]
        if demodulate:
            kernel = kernel * (2 / (kernel.square().sum((1, 2, 3), keepdim=True) + 1e-8)).sqrt()
        if step:
            plain = resample.blur(F.conv2d(resample.repeat(x[n : n + 1]), kernel, padding=1))
        else:
            plain = F.conv2d(x[n : n + 1], kernel, padding=1)
        torch.testing.assert_close(layer(x, w)[n : n + 1], plain, rtol=1e-10, atol=1e-10)


def test_noise_belongs_to_the_seed():
    system = new("stylegan2")
    latents = system.latents(range(40))
    styles = system.styles(latents[:1]).expand(40, -1, -1)
    output = system.synthesis(styles, style.noise_seed(latents))
    assert len(output.flatten(1).unique(dim=0)) == 40
    torch.testing.assert_close(system.synthesis(styles[:2], style.noise_seed(latents[7:9])), output[7:9])
    fields = style.NoiseFields(32, 32)(torch.zeros(200, 5, 32, 32), style.noise_seed(torch.randn(200, 16)))
    assert fields.shape == (200, 1, 32, 32)
    assert fields.std().item() == pytest.approx(1, abs=0.02)


def test_mixed_styles_change_once():
    first, second = torch.zeros(500, 3), torch.ones(500, 3)
    torch.manual_seed(0)
    out = style.mix_styles(first, second, 6, 0.9)
    assert out.shape == (500, 6, 3)
    steps = out[:, 1:, 0] - out[:, :-1, 0]
    assert (steps >= 0).all() and (steps.sum(1) <= 1).all() and (out[:, 0] == 0).all()
    assert (steps.sum(1) == 1).float().mean().item() == pytest.approx(0.9, abs=0.05)
