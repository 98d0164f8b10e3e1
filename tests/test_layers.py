"""Layers and losses against their plain definitions."""

from __future__ import annotations

import threading

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.parametrize import register_parametrization

from ganforge.nn import augment, ema, losses
from ganforge.nn.layers import SpectralNorm, _by_weight, _windows, down, leaky, only_inputs, same, up

torch.manual_seed(0)


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
        found, none = torch.autograd.grad(layer(x, weight, None), (x, weight), probe, allow_unused=True)
        elsewhere = threading.Thread(target=lambda: layer(x, weight, None).backward(probe))
        elsewhere.start()
        elsewhere.join()
    torch.testing.assert_close(found, whole)
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
    (found,) = torch.autograd.grad(ours(x, weight, None).float().square().sum(), weight)
    exact = weight.detach().double().requires_grad_()
    (expected,) = torch.autograd.grad(ours(x.double(), exact, None).square().sum(), exact)
    assert (found - expected).norm() < (1e-5 if dtype == torch.float32 else 2e-2) * expected.norm()
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


def test_losses_against_their_formulas():
    real, fake = torch.tensor([2.0, 0.0]), torch.tensor([-3.0, 1.0])
    assert losses.hinge(real, fake).item() == pytest.approx((0 + 1) / 2 + (0 + 2) / 2)
    sigmoid = torch.sigmoid
    expected = -(0.9 * sigmoid(real).log() + 0.1 * (1 - sigmoid(real)).log()).mean() - (1 - sigmoid(fake)).log().mean()
    assert losses.logistic(real, fake, 0.9).item() == pytest.approx(expected.item(), rel=1e-5)
    assert losses.non_saturating(fake).item() == pytest.approx(-sigmoid(fake).log().mean().item(), rel=1e-5)
    mean, log_variance = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    p = torch.distributions.Normal(mean, (log_variance / 2).exp())
    kl = torch.distributions.kl_divergence(p, torch.distributions.Normal(0.0, 1.0)).sum(1)
    torch.testing.assert_close(losses.gaussian_kl(mean, log_variance), kl)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("kind", augment.KINDS)
def test_augmentations_keep_shape_differ_by_picture_and_pass_gradients(kind, channels):
    x = torch.rand(16, channels, 16, 24, requires_grad=True)
    y = augment.diff_augment(x, (kind,))
    assert y.shape == x.shape
    assert len({row.numpy().tobytes() for row in (y - x).detach()}) > 3
    y.sum().backward()
    assert x.grad is not None and x.grad.abs().sum() > 0


def test_colour_leaves_alpha_alone():
    x = torch.rand(4, 4, 8, 8)
    assert torch.equal(augment.color(x)[:, 3], x[:, 3])


def test_average_of_weights_follows_its_half_life():
    one, other = nn.BatchNorm1d(1), nn.BatchNorm1d(1)
    nn.init.zeros_(one.weight)
    for _ in range(10):
        ema.update(one, other, ema.keep(1000, 1.0, 10**9, 100))
    assert one.weight.item() == pytest.approx(0.5, rel=1e-5)
    assert ema.keep(1000, 0.05, 100, 100) == pytest.approx(0.5**20)


@pytest.mark.parametrize("name", ["hinge", "logistic"])
def test_one_pass_gives_both_players_their_own_gradients(name):
    """Against two separate losses with a pass each, in float64; fakes beyond the hinge's margin among them."""
    torch.manual_seed(1)
    generator = nn.Linear(3, 6, dtype=torch.float64)
    discriminator = nn.Sequential(nn.Linear(6, 16), nn.LeakyReLU(0.2), nn.Linear(16, 1)).double()
    z, reals = torch.randn(40, 3, dtype=torch.float64), torch.randn(40, 6, dtype=torch.float64)

    def score(x):
        return 20 * discriminator(x)[:, 0] - 7

    fakes = generator(z)
    real, fake = score(torch.cat([reals, fakes])).chunk(2)
    assert (fake < -1).any() and (fake > -1).any()
    shared = {"hinge": losses.hinge_for_both, "logistic": losses.logistic_for_both}[name]
    said = shared(real, fake, fakes)
    said["loss"].backward()
    ours = [p.grad.clone() for p in (*generator.parameters(), *discriminator.parameters())]
    alone = {"hinge": lambda s: -s.mean(), "logistic": losses.non_saturating}[name](score(generator(z)))
    expected = list(torch.autograd.grad(alone, list(generator.parameters())))
    loss = {"hinge": losses.hinge, "logistic": losses.logistic}[name](score(reals), score(generator(z).detach()))
    expected += torch.autograd.grad(loss, list(discriminator.parameters()))
    assert said["generator"].item() == pytest.approx(alone.item())
    for n, (one, two) in enumerate(zip(ours, expected, strict=True)):
        exact = name == "logistic" or n < 2
        torch.testing.assert_close(one, two, rtol=1e-5 if exact else 5e-3, atol=1e-6 if exact else 5e-3)
