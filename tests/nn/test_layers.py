"""Convolutions and normalisations against their plain definitions."""

from __future__ import annotations

import threading

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.parametrize import register_parametrization

from ganforge.nn.layers import (
    ConditionalBatchNorm,
    SpectralNorm,
    _by_weight,
    _windows,
    down,
    leaky,
    only_inputs,
    same,
    spectral,
    up,
)

torch.manual_seed(0)


def test_batch_norm_by_class_is_plain_batch_norm_with_the_classs_gain_and_offset():
    ours, theirs = ConditionalBatchNorm(4, 3).double(), nn.BatchNorm2d(4, affine=False).double()
    nn.init.normal_(ours.gain.weight)
    nn.init.normal_(ours.offset.weight)
    x, labels = torch.randn(9, 4, 5, 6, dtype=torch.float64) * 3 + 1, torch.arange(9) % 3
    plain = theirs(x)
    expected = [
        plain[n] * ours.gain.weight[y][:, None, None] + ours.offset.weight[y][:, None, None]
        for n, y in enumerate(labels)
    ]
    torch.testing.assert_close(ours(x, labels), torch.stack(expected))


def test_spectral_norm_of_an_averaged_weight_is_near_its_bound():
    """Averaging shortens the kept vectors; the estimate must not shrink with them."""
    torch.manual_seed(0)
    layer = spectral(nn.Linear(30, 20), bound=1.0)
    layer.parametrizations.weight[0].u.mul_(0.5)
    layer.parametrizations.weight[0].v.mul_(0.5)
    layer.eval()
    assert torch.linalg.matrix_norm(layer.weight, 2).item() == pytest.approx(1.0, rel=0.1)


@pytest.mark.parametrize(("ours", "theirs", "flip"), [(down, F.conv2d, False), (up, F.conv_transpose2d, True)])
@pytest.mark.parametrize("shape", [(3, 5, 8, 8), (2, 1, 6, 10), (70, 4, 14, 14)])
def test_strided_convolutions_are_torchs(ours, theirs, flip, shape):
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    weight = torch.randn((shape[1], 6, 4, 4) if flip else (6, shape[1], 4, 4), dtype=torch.float64, requires_grad=True)
    bias = torch.randn(6, dtype=torch.float64, requires_grad=True)
    a, b = ours(x, weight, bias), theirs(x, weight, bias, 2, 1)
    torch.testing.assert_close(a, b)
    probe = torch.randn_like(a)
    for one, two in zip(
        torch.autograd.grad(a, (x, weight, bias), probe), torch.autograd.grad(b, (x, weight, bias), probe), strict=True
    ):
        torch.testing.assert_close(one, two)


@pytest.mark.parametrize(("side", "groups"), [(1, 1), (3, 1), (3, 2), (5, 4)])
def test_convolutions_that_keep_the_sides_are_torchs(side, groups):
    x = torch.randn(3, 4, 5, 6, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(8, 4 // groups, side, side, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(8, dtype=torch.float64, requires_grad=True)
    ours, theirs = same(x, weight, bias, groups), F.conv2d(x, weight, bias, padding=side // 2, groups=groups)
    torch.testing.assert_close(ours, theirs)
    probe = torch.randn_like(ours)
    firsts = [torch.autograd.grad(y, (x, weight, bias), probe, create_graph=True) for y in (ours, theirs)]
    torch.testing.assert_close(*firsts)
    seconds = [torch.autograd.grad(sum(g.pow(3).sum() for g in first), (x, weight)) for first in firsts]
    torch.testing.assert_close(*seconds)
    assert torch.autograd.gradgradcheck(lambda a, b, c: same(a, b, c, groups), (x, weight, bias))


def test_leaky_passes_nothing_back_in_a_second_derivative():
    x, weight = torch.randn(4, 3, 5, 5, dtype=torch.float64, requires_grad=True), torch.randn(6, 3, 3, 3).double()
    ours, theirs = leaky(same(x, weight, None)), F.leaky_relu(F.conv2d(x, weight, padding=1), 0.2)
    torch.testing.assert_close(ours, theirs)
    probe = torch.randn_like(ours, requires_grad=True)
    (first,) = torch.autograd.grad(ours, x, probe, create_graph=True)
    torch.testing.assert_close(first, torch.autograd.grad(theirs, x, probe)[0])
    by_probe, by_x = torch.autograd.grad(first.sum(), (probe, x), allow_unused=True)
    assert by_probe.abs().sum() > 0
    assert by_x is None


@pytest.mark.parametrize("layer", [same, down, up])
def test_gradients_by_inputs_alone_compute_no_others(layer):
    x = torch.randn(2, 6, 4, 4, requires_grad=True)
    weight = torch.randn(6, 6, *[3 if layer is same else 4] * 2, requires_grad=True)
    probe = torch.randn_like(layer(x, weight, None))
    (whole,) = torch.autograd.grad(layer(x, weight, None), x, probe)
    with only_inputs():
        result, none = torch.autograd.grad(layer(x, weight, None), (x, weight), probe, allow_unused=True)
        elsewhere = threading.Thread(target=lambda: layer(x, weight, None).backward(probe))
        elsewhere.start()
        elsewhere.join()
    torch.testing.assert_close(result, whole)
    assert none is None
    assert weight.grad is not None and weight.grad.abs().sum() > 0, "another thread's pass is not concerned"
    assert torch.autograd.grad(layer(x, weight, None), weight, probe)[0].abs().sum() > 0, "and outside as ever"


def test_a_bias_learns_where_its_weight_does_not():
    x, bias = torch.randn(2, 3, 4, 4), torch.zeros(5, requires_grad=True)
    same(x, torch.randn(5, 3, 3, 3), bias).sum().backward()
    torch.testing.assert_close(bias.grad, torch.full((5,), 32.0))


@pytest.mark.parametrize("ours", [down, up])
def test_strided_convolutions_are_differentiable_twice(ours):
    x = torch.randn(2, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(3, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda a, b: ours(a, b, None), (x, weight))
    assert torch.autograd.gradgradcheck(lambda a, b: ours(a, b, None), (x, weight))


def test_both_weight_gradients_are_the_same(monkeypatch):
    large = torch.randn(9, 3, 8, 8, dtype=torch.float64, requires_grad=True)
    small = torch.randn(9, 5, 4, 4, dtype=torch.float64, requires_grad=True)
    whole = _by_weight(large, small, torch.empty(5, 3, 4, 4, dtype=torch.float64))
    torch.testing.assert_close(_windows(large, small), whole)
    assert torch.autograd.gradcheck(_windows, (large[:2, :2], small[:2, :2]))
    monkeypatch.setattr("ganforge.nn.layers._UNFOLD_BYTES", 5000)
    torch.testing.assert_close(_windows(large, small), whole)


@pytest.mark.parametrize("ours", [down, up])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_weight_gradient_of_each_precision(ours, dtype, monkeypatch):
    """fp32 learns from torch's own, which is the faster one there, and bf16 from the product over windows."""
    x = torch.randn(8, 8, 8, 8, dtype=dtype)
    weight = torch.randn(8, 8, 4, 4, dtype=dtype, requires_grad=True)
    taken: list[torch.dtype] = []

    def noted(large, small):
        taken.append(large.dtype)
        return _windows(large, small)

    monkeypatch.setattr("ganforge.nn.layers._windows", noted)
    (result,) = torch.autograd.grad(ours(x, weight, None).float().square().sum(), weight)
    exact = weight.detach().double().requires_grad_()
    (expected,) = torch.autograd.grad(ours(x.double(), exact, None).square().sum(), exact)
    assert (result - expected).norm() < (1e-5 if dtype == torch.float32 else 2e-2) * expected.norm()
    assert taken == ([] if dtype == torch.float32 else [dtype])


@pytest.mark.parametrize("layer", [nn.Linear(30, 20), nn.Conv2d(4, 8, 4)])
def test_spectral_norm_converges_to_the_true_value(layer):
    register_parametrization(layer, "weight", SpectralNorm(layer.weight, bound=2.0))
    layer.train()
    for _ in range(200):
        weight = layer.weight
    assert torch.linalg.matrix_norm(weight.detach().flatten(1), 2).item() == pytest.approx(2.0, rel=1e-3)
    layer.eval()
    assert torch.equal(layer.weight, layer.weight)
