"""Gradient penalties against closed forms and float64, and under torch.compile."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ganforge.nn.layers import Down
from ganforge.nn.penalties import gamma_for, squared_gradient


def test_the_weight_of_r1_follows_resolution_and_batch():
    assert gamma_for(0, torch.zeros(64, 3, 32, 32)) == pytest.approx(0.0002 * 32**2 / 64)
    assert gamma_for(3.0, torch.zeros(64, 3, 32, 32)) == 3.0


@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
def test_compiling_never_drops_a_penalty_in_silence(backend):
    """A compiled penalty either raises or teaches the weights what the eager one does."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(6, 16), nn.Softplus(), nn.Linear(16, 1))
    inputs = torch.randn(5, 6)

    def loss(x):
        return squared_gradient(network(x)[:, 0], x).mean()

    loss(inputs.clone().requires_grad_(True)).backward()
    eager = [p.grad.clone() for p in network.parameters() if p.grad is not None]
    assert any(gradient.abs().sum() > 0 for gradient in eager)
    network.zero_grad()
    torch._dynamo.reset()
    scores = torch.compile(lambda x: network(x)[:, 0], backend=backend)
    x = inputs.clone().requires_grad_(True)
    try:
        report = squared_gradient(scores(x), x).mean()
        report.backward()
    except RuntimeError as error:
        if "compiler" in str(error).lower() and "double" not in str(error):
            pytest.skip(f"no compiler here: {str(error).splitlines()[0]}")
        return
    finally:
        torch._dynamo.reset()
    compiled = [p.grad for p in network.parameters() if p.grad is not None]
    assert len(compiled) == len(eager), "torch.compile dropped the penalty's gradient without a word"
    for one, two in zip(compiled, eager, strict=True):
        torch.testing.assert_close(one, two)


def test_of_a_quadratic_form():
    matrix = torch.randn(6, 6, dtype=torch.float64)
    x = torch.randn(5, 6, dtype=torch.float64, requires_grad=True)
    scores = ((x @ matrix) * x).sum(1)
    expected = ((x.detach() @ (matrix + matrix.T)) ** 2).sum(1)
    assert torch.allclose(squared_gradient(scores, x), expected)


def test_its_own_gradient_in_float32_is_that_of_float64():
    torch.manual_seed(0)
    network = torch.nn.Sequential(
        Down(3, 8), torch.nn.LeakyReLU(0.2), Down(8, 8), torch.nn.Flatten(), torch.nn.Linear(128, 1)
    )
    result = {}
    images = torch.randn(4, 3, 16, 16)
    for dtype in (torch.float32, torch.float64):
        x = images.to(dtype).requires_grad_(True)
        network.to(dtype).zero_grad()
        squared_gradient(network(x)[:, 0], x).mean().backward()
        result[dtype] = [p.grad.double().clone() for p in network.parameters() if p.grad is not None]
    for single, double in zip(*result.values(), strict=True):
        assert (single - double).norm() <= 1e-4 * double.norm().clamp(min=1e-12)
