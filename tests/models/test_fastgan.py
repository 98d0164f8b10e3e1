"""FastGAN: skip-layer excitation and reconstruction."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from ganforge.media.spec import Spec
from ganforge.models import fastgan


def test_skip_layer_excitation_is_its_formula():
    torch.manual_seed(0)
    block = fastgan.Excitation(6, 5).eval()
    small, large = torch.randn(3, 6, 8, 8), torch.randn(3, 5, 32, 32)
    first, second = block.gates[1].weight, block.gates[3].weight
    pooled = small.unflatten(3, (4, 2)).unflatten(2, (4, 2)).mean((3, 5))
    hidden = F.leaky_relu(torch.einsum("ncij,ocij->no", pooled, first), 0.1)
    gates = torch.sigmoid(hidden @ second[:, :, 0, 0].T)
    torch.testing.assert_close(block(small, large), large * gates[:, :, None, None])
    assert block(torch.randn(2, 6, 9, 7), large[:2]).shape == (2, 5, 32, 32)


@pytest.mark.parametrize(("side", "skip", "low"), [(64, 2, 32), (256, 4, 128), (28, 1, 14), (30, 1, 15)])
def test_grids_of_fastgan(side, skip, low):
    spec = Spec(side, side, 3)
    system = fastgan.FastGAN(fastgan.Config(latent=8, width=4), spec)
    with torch.no_grad():
        large, small = system.generator(torch.rand(2, 8))
        scores, grids = system.discriminator(large, small)
        whole = system.discriminator.whole(grids[-1])
    assert system.generator.skip == skip
    assert large.shape == (2, 3, side, side) and small.shape == (2, 3, low, low)
    assert [a.shape[2] for a in grids] == [grids[-1].shape[2] * 2**n for n in range(len(grids))][::-1]
    assert whole.shape[2] in (low, low + low % 2)
    assert scores.shape[1] > 25


def test_the_generators_small_picture_is_of_the_same_thing():
    """It comes from a grid on the way to the large one."""
    system = fastgan.FastGAN(fastgan.Config(latent=8, width=4), Spec(32, 32, 3)).eval()
    with torch.no_grad():
        system.generator.last_low.parametrizations.weight.original.mul_(-1)
        before = system.generator(system.latents([1]))
        system.generator.ups[-1][1].parametrizations.weight.original.mul_(0.5)  # of the last grid alone
        system.generator.ups[0][1].parametrizations.weight.original[0].zero_()
        after = system.generator(system.latents([1]))
    assert not torch.equal(before[0], after[0]) and not torch.equal(before[1], after[1])


def test_every_layer_but_the_decoders_is_spectrally_normalised():
    system = fastgan.FastGAN(fastgan.Config(latent=8, width=4, deep=True), Spec(64, 64, 3))
    kinds = torch.nn.Conv2d | torch.nn.ConvTranspose2d
    plain = [n for n, m in system.named_modules() if isinstance(m, kinds) and not hasattr(m, "parametrizations")]
    assert plain and all(n.startswith(("discriminator.whole", "discriminator.part")) for n in plain)


def test_channels_are_those_of_the_paper():
    config = fastgan.Config(width=64)
    assert [fastgan._channels(config, 2**n) for n in range(2, 11)] == [1024, 512, 256, 128, 128, 64, 32, 16, 8]


def test_the_critic_does_not_learn_from_the_difference_of_features():
    """Else it would make all pictures look alike."""
    discriminator = fastgan.FastGAN(fastgan.Config(latent=8, width=4), Spec(32, 32, 3)).discriminator
    drawn, targets = torch.rand(4, 3, 16, 16, requires_grad=True), torch.rand(4, 3, 16, 16)
    discriminator.difference(drawn, targets).backward()
    assert drawn.grad.abs().sum() > 0
    assert all(p.grad is None for p in discriminator.parameters())
    assert discriminator.difference(targets, targets) < 1e-6


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
    small = F.avg_pool2d(images, 32 // discriminator.large.grid[0])
    same = [F.interpolate(small, (16, 16)), small]
    assert discriminator.redraw(F.interpolate(small, (32, 32)), same) < 1e-5
    whole_only = discriminator.redraw(images, [large, small])
    discriminator.part = torch.nn.Upsample(scale_factor=2, mode="bilinear")
    assert discriminator.redraw(images, [large, small]) > whole_only + 0.01


def test_samples_of_fastgan_are_made_without_noise():
    system = fastgan.FastGAN(fastgan.Config(latent=8, width=4), Spec(16, 16, 1))
    torch.nn.init.ones_(system.generator.ups[0][2].weight)
    z = system.latents([1, 2])
    system.eval()
    assert torch.equal(system.generate(z), system.generate(z))
    system.train()
    assert not torch.equal(system.generate(z), system.generate(z))
