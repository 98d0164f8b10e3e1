"""Geometric and colour matrices against transformations one after the other."""

from __future__ import annotations

import math

import pytest
import torch

from ganforge.transforms import warp


def smooth(count: int, channels: int, height: int, width: int) -> torch.Tensor:
    """Pictures without fine detail, which sampling twice blurs little."""
    coarse = torch.rand(count, channels, 4, 4) * 2 - 1
    return torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic").clamp(-1, 1)


@pytest.mark.parametrize("shape", [(3, 3, 16, 16), (2, 1, 12, 20), (2, 4, 9, 13)])
def test_whole_changes_are_exact(shape):
    x = torch.rand(shape)
    n = torch.ones(shape[0])
    close = {"atol": 2e-5, "rtol": 0.0}
    torch.testing.assert_close(warp.warp(x, warp.scale(n, n)), x, **close)
    torch.testing.assert_close(warp.warp(x, warp.scale(-n, n)), x.flip(3), **close)
    torch.testing.assert_close(warp.warp(x, warp.scale(n, -n)), x.flip(2), **close)
    torch.testing.assert_close(warp.warp(x, warp.rotate(math.pi * n)), x.flip(2, 3), **close)
    moved = warp.warp(x, warp.shift(3 * n, -2 * n))
    torch.testing.assert_close(moved[:, :, :-2, 3:], x[:, :, 2:, :-3], **close)
    torch.testing.assert_close(moved[:, :, :-2, :3], x[:, :, 2:, :3].flip(3), **close)  # mirrored beyond the edge
    if shape[2] == shape[3]:
        torch.testing.assert_close(warp.warp(x, warp.rotate(math.pi / 2 * n)), x.rot90(-1, (2, 3)), **close)


def test_a_fold_is_its_parts_one_after_the_other():
    x = smooth(6, 3, 96, 96)
    parts = [
        warp.rotate(torch.linspace(-0.3, 0.3, 6)),
        warp.scale(torch.linspace(0.9, 1.2, 6), torch.linspace(1.1, 0.8, 6)),
        warp.shift(torch.linspace(-4, 5, 6), torch.linspace(3.5, -2, 6)),
        warp.tilt(torch.linspace(-1e-3, 1e-3, 6), torch.linspace(1e-3, 0, 6)),
    ]
    one_by_one = x
    for part in parts:
        one_by_one = warp.warp(one_by_one, part)
    inside = (slice(None), slice(None), slice(24, -24), slice(24, -24))
    folded = warp.warp(x, warp.fold(*parts))[inside]
    backwards = warp.warp(x, warp.fold(*parts[::-1]))[inside]
    assert (folded - one_by_one[inside]).abs().mean() < 0.004
    assert (backwards - one_by_one[inside]).abs().mean() > 0.02


def test_a_sampled_picture_may_be_differentiated_twice():
    x = torch.rand(2, 1, 5, 6, dtype=torch.float64, requires_grad=True)
    places = warp.fold(warp.rotate(torch.tensor([0.3, -0.5])), warp.shift(torch.tensor([0.7, 1.2]), torch.zeros(2)))
    torch.manual_seed(0)

    def squares(images: torch.Tensor) -> torch.Tensor:
        return warp.warp(images, places).square().sum()

    assert torch.autograd.gradgradcheck(squares, (x,))


def test_colour_matrices():
    x = torch.rand(5, 3, 8, 8) * 2 - 1
    one, zero = torch.ones(5), torch.zeros(5)
    grey = x.mean(1, keepdim=True)
    torch.testing.assert_close(warp.recolour(x, warp.about_grey(one, one, zero)), x)
    torch.testing.assert_close(warp.recolour(x, warp.about_grey(one, 0 * one, zero)), grey.expand_as(x))
    torch.testing.assert_close(warp.recolour(x, warp.about_grey(-one, one, zero)), x - 2 * grey)  # luma flip
    turned = warp.recolour(x, warp.about_grey(one, one, 2 * math.pi / 3 * one))
    torch.testing.assert_close(turned, x.roll(1, 1))  # a third of a turn takes red to green
    hue = warp.about_grey(one, one, torch.linspace(-3, 3, 5))
    torch.testing.assert_close(hue[:, :3, :3] @ hue[:, :3, :3].mT, torch.eye(3).expand(5, 3, 3))
    torch.testing.assert_close(warp.recolour(warp.recolour(x, hue), hue.inverse()), x)
    both = warp.fold(warp.contrast(2 * one), warp.brighten(0.1 * one))
    torch.testing.assert_close(warp.recolour(x, both), 2 * (x + 0.1))  # the right one comes first


def test_grey_counts_as_three_equal_colours_and_alpha_stays():
    x = torch.rand(4, 1, 6, 6) * 2 - 1
    m = warp.fold(
        warp.about_grey(-torch.ones(4), torch.rand(4), torch.rand(4)),
        warp.contrast(torch.rand(4)),
        warp.brighten(torch.rand(4)),
    )
    torch.testing.assert_close(warp.recolour(x, m).expand(4, 3, 6, 6), warp.recolour(x.expand(4, 3, 6, 6), m))
    four = torch.rand(4, 4, 6, 6)
    assert torch.equal(warp.recolour(four, m)[:, 3], four[:, 3])
