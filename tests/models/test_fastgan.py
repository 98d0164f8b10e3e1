"""FastGAN: skip-layer excitation and reconstruction."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from ganforge.media.spec import Spec
from ganforge.models import fastgan


def test_skip_layer_excitation_is_its_formula():
    torch.manual_seed(0)
    block = fastgan.Excitation(6, 5)
    small, large = torch.randn(3, 6, 8, 8), torch.randn(3, 5, 32, 32)
    first, second = block.gates[1].weight, block.gates[3].weight
    pooled = small.unflatten(3, (4, 2)).unflatten(2, (4, 2)).mean((3, 5))
    hidden = F.leaky_relu(torch.einsum("ncij,ocij->no", pooled, first), 0.1)
    gates = torch.sigmoid(hidden @ second[:, :, 0, 0].T)
    torch.testing.assert_close(block(small, large), large * gates[:, :, None, None])
    assert block(torch.randn(2, 6, 9, 7), large[:2]).shape == (2, 5, 32, 32)


@pytest.mark.parametrize(("side", "skip", "drawn"), [(64, 2, 32), (256, 3, 128), (28, 1, 14), (16, 1, 8)])
def test_grids_of_fastgan(side, skip, drawn):
    system = fastgan.FastGAN(fastgan.Config(latent=8, width=4), Spec(side, side, 3))
    assert system.generator.skip == skip
    scores, large, small = system.discriminator(torch.rand(2, 3, side, side))
    assert large.shape[2] == 2 * small.shape[2]
    assert system.discriminator.whole(small).shape[2] == drawn
    assert scores.shape == (2, 25 if side in (64, 256, 16) else 16)


def test_windows_and_the_distance_of_redrawn_pictures():
    x = torch.arange(2 * 36.0).view(2, 1, 6, 6)
    cut = fastgan.windows(x, torch.tensor([0, 3]), torch.tensor([2, 1]), 2, 3)
    assert torch.equal(cut[0, 0], x[0, 0, 0:2, 2:5]) and torch.equal(cut[1, 0], x[1, 0, 3:5, 1:4])
    target = torch.rand(2, 3, 8, 8)
    assert fastgan.multiscale_l1(target, target) == 0
    assert fastgan.multiscale_l1(target + 0.3, target).item() == pytest.approx(0.3, rel=1e-5)
    board = (torch.arange(8)[:, None] + torch.arange(8)) % 2 * 2.0 - 1  # vanishes at half scale
    assert fastgan.multiscale_l1(target + board, target).item() == pytest.approx(1 / 3, rel=1e-5)


def test_redrawing_compares_the_same_part_of_picture_and_features():
    """With features that are the picture itself at half size, drawn by enlarging, nothing is left wherever the part
    lies."""
    discriminator = fastgan.FastGAN(fastgan.Config(latent=8, width=4), Spec(32, 32, 3)).discriminator
    large = torch.rand(6, 3, 16, 16)
    images = F.interpolate(large, scale_factor=2)
    discriminator.part = torch.nn.Upsample(scale_factor=2)
    discriminator.whole = torch.nn.Upsample(scale_factor=2)
    small = F.avg_pool2d(images, 32 // discriminator.grid[0])
    assert discriminator.redraw(F.interpolate(small, (32, 32)), F.interpolate(small, (16, 16)), small) < 1e-6
    whole_only = discriminator.redraw(images, large, small)
    discriminator.part = torch.nn.Upsample(scale_factor=2, mode="bilinear")
    assert discriminator.redraw(images, large, small) > whole_only + 0.01


def test_samples_of_fastgan_are_made_without_noise():
    system = fastgan.FastGAN(fastgan.Config(latent=8, width=4), Spec(16, 16, 1))
    torch.nn.init.ones_(system.generator.ups[0][2].weight)
    z = system.latents([1, 2])
    system.eval()
    assert torch.equal(system.generate(z), system.generate(z))
    system.train()
    assert not torch.equal(system.generate(z), system.generate(z))
