"""Gradient penalties against closed forms and float64."""

from __future__ import annotations

import torch

from ganforge.nn.layers import Down
from ganforge.nn.penalties import squared_gradient


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
    found = {}
    images = torch.randn(4, 3, 16, 16)
    for dtype in (torch.float32, torch.float64):
        x = images.to(dtype).requires_grad_(True)
        network.to(dtype).zero_grad()
        squared_gradient(network(x)[:, 0], x).mean().backward()
        found[dtype] = [p.grad.double().clone() for p in network.parameters() if p.grad is not None]
    for single, double in zip(*found.values(), strict=True):
        assert (single - double).norm() <= 1e-4 * double.norm().clamp(min=1e-12)
