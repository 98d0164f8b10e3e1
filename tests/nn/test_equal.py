"""Layers with an equalised learning rate, pixel normalisation and the minibatch standard deviation."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from ganforge.nn import equal, resample


def test_strided_convolutions_are_a_resize_and_a_convolution():
    x, weight = torch.randn(2, 6, 8, 8, dtype=torch.float64), torch.randn(5, 6, 3, 3, dtype=torch.float64)
    bias = torch.randn(5, dtype=torch.float64)
    plain = F.conv2d(x, weight, bias, padding=1)
    torch.testing.assert_close(equal.convolve(x, weight, bias, "down"), F.avg_pool2d(plain, 2))
    repeated = F.conv2d(resample.repeat(x), weight, bias, padding=1)
    torch.testing.assert_close(equal.convolve(x, weight, bias, "up"), repeated)
    inside = (slice(None), slice(None), slice(2, -2), slice(2, -2))
    smooth = F.conv2d(resample.double(x), weight, bias, padding=1)
    torch.testing.assert_close(equal.convolve(x, weight, bias, "up", smooth=True)[inside], smooth[inside])


@pytest.mark.parametrize("lr", [1.0, 0.01])
def test_equalised_layers_keep_the_variance(lr):
    torch.manual_seed(0)
    x = torch.randn(2000, 256)
    assert equal.EqualLinear(256, 300, gain=1.0, lr=lr)(x).std().item() == pytest.approx(1, abs=0.03)
    hidden = equal.activate(equal.EqualLinear(256, 300, lr=lr)(x))
    assert hidden.square().mean().sqrt().item() == pytest.approx(1, abs=0.05)
    planes = equal.EqualConv(64, 64, gain=1.0)(torch.randn(16, 64, 12, 12))[:, :, 1:-1, 1:-1]
    assert planes.std().item() == pytest.approx(1, abs=0.05)


def test_a_learning_rate_factor_is_one_of_the_step():
    """Adam moves an effective weight by the factor times what it moves one without."""
    moved = {}
    for lr in (1.0, 0.01):
        torch.manual_seed(0)
        layer = equal.EqualLinear(8, 4, lr=lr)
        optimizer = torch.optim.Adam(layer.parameters(), 1e-3)
        before = layer(torch.eye(8)).detach()
        layer(torch.eye(8)).sum().backward()
        optimizer.step()
        moved[lr] = (layer(torch.eye(8)) - before).abs().mean().item()
    assert moved[0.01] == pytest.approx(0.01 * moved[1.0], rel=0.01)


@pytest.mark.parametrize("count", [1, 3, 7, 8])
def test_minibatch_stddev_of_any_batch(count):
    x = torch.randn(count, 3, 2, 2, dtype=torch.float64)
    groups = -(-count // 4)
    out = equal.minibatch_stddev(x)
    assert torch.equal(out[:, :3], x)
    for n in range(count):
        members = x[n % groups :: groups]
        expected = (members.var(0, unbiased=False) + 1e-8).sqrt().mean()
        torch.testing.assert_close(out[n, 3], expected.expand(2, 2))


def test_pixel_norm_and_adain():
    from ganforge.models.stylegan import adain

    x = torch.randn(4, 6, 5, 5, dtype=torch.float64) * 3 + 1
    torch.testing.assert_close(equal.pixel_norm(x).square().mean(1), torch.ones(4, 5, 5, dtype=torch.float64))
    target = torch.randn(4, 12, dtype=torch.float64)
    out = adain(x, target)
    torch.testing.assert_close(out.mean((2, 3)), target[:, 6:])
    torch.testing.assert_close(out.var((2, 3), unbiased=False).sqrt(), (1 + target[:, :6]).abs())
