"""Precision, recall, density and coverage against their definitions."""

from __future__ import annotations

import math

import pytest
import torch

from ganforge.metrics import neighbours
from samples import gaussian


def test_coverage_of_equal_distributions_is_the_expected_one():
    count, k = 1000, 5
    expected = 1 - math.prod((count - i) / (2 * count - i) for i in range(1, k + 1))
    result = neighbours.manifold(gaussian(count, 8, 1), gaussian(count, 8, 2), k)
    assert result.coverage == pytest.approx(expected, abs=0.02)
    assert result.density == pytest.approx(1, abs=0.1)
    assert result.precision == pytest.approx(result.recall, abs=0.05)


def test_precision_and_recall_tell_narrow_from_far():
    real = gaussian(800, 4, 1)
    narrow = neighbours.manifold(real, gaussian(800, 4, 2, scale=0.2))
    far = neighbours.manifold(real, gaussian(800, 4, 3, mean=50))
    assert narrow.precision > 0.95
    assert narrow.recall < 0.5
    assert (far.precision, far.recall, far.density, far.coverage) == (0, 0, 0, 0)


def test_neighbours_in_slices_are_those_of_the_plain_definition():
    x, y = gaussian(2100, 3, 1), gaussian(300, 3, 2)
    result, indices = neighbours.nearest(x, y, 4)
    expected = torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist").sort(1)
    torch.testing.assert_close(result, expected.values[:, :4])
    assert torch.equal(indices, expected.indices[:, :4])
    assert (neighbours.nearest(x, x, 1, same=True)[0] > 0).all()
