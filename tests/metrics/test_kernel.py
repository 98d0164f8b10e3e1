"""The kernel distance against closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from ganforge.metrics import kernel
from samples import gaussian


def test_kernel_distance_of_constant_features():
    x, y = torch.full((5, 4), 1.0), torch.full((6, 4), 3.0)
    expected = (1 + 1) ** 3 + (9 + 1) ** 3 - 2 * (3 + 1) ** 3
    assert kernel.unbiased_mmd(x, y) == pytest.approx(expected)


def test_kernel_distance_of_two_shifted_gaussians():
    """E k(x, y) for x ~ N(0, I), y ~ N(m, I), with a = |m|^2 and c = 1 + a / D, from the moments of the normal law."""
    size, shift = 8, 0.7
    a = size * shift**2
    c = 1 + a / size
    inner_x = 1 + 3 / size
    inner_y = c**3 + 3 * c * (2 * a + size) / size**2 + 6 * a / size**3
    cross = 1 + 3 * (size + a) / size**2
    mean, spread = kernel.distance(gaussian(40_000, size, 1), gaussian(40_000, size, 2, shift), subsets=30, size=2000)
    assert mean == pytest.approx(inner_x + inner_y - 2 * cross, rel=0.03)
    assert spread < 0.1 * mean


def test_kernel_distance_is_unbiased():
    values = [kernel.unbiased_mmd(gaussian(50, 4, 2 * n), gaussian(50, 4, 2 * n + 1)) for n in range(200)]
    assert abs(np.mean(values)) < 3 * np.std(values) / math.sqrt(len(values))
