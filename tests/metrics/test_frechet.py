"""The Fréchet distance against closed forms and SciPy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from ganforge.metrics import frechet
from samples import gaussian


def exact(mean: torch.Tensor, covariance: torch.Tensor) -> frechet.Moments:
    moments = frechet.Moments(len(mean))
    moments.count, moments.mean, moments.scatter = 2, mean.double(), covariance.double()
    return moments


def test_frechet_of_two_shifted_gaussians():
    size = 16
    a = exact(torch.zeros(size), torch.eye(size) * 4)
    b = exact(torch.full((size,), 0.5), torch.eye(size) * 9)
    assert frechet.distance(a, b) == pytest.approx(size * 0.25 + size * (2 - 3) ** 2, rel=1e-9)


def test_frechet_of_commuting_covariances_in_any_basis():
    q, _ = torch.linalg.qr(gaussian(12, 12, 0))
    one, two = torch.rand(12, dtype=torch.float64) * 5, torch.rand(12, dtype=torch.float64) * 5
    a, b = (exact(torch.zeros(12), q @ torch.diag(v) @ q.T) for v in (one, two))
    assert frechet.distance(a, b) == pytest.approx(float((one.sqrt() - two.sqrt()).square().sum()), rel=1e-6)


def test_frechet_is_symmetric_zero_for_equal_sets_and_survives_few_samples():
    x, y = gaussian(20, 64, 1), gaussian(30, 64, 2, mean=1)
    a, b = frechet.Moments(64).add(x), frechet.Moments(64).add(y)
    assert frechet.distance(a, a) == pytest.approx(0, abs=1e-3)
    assert frechet.distance(a, b) == pytest.approx(frechet.distance(b, a), rel=1e-4)
    assert frechet.distance(a, b) > 32


def test_frechet_agrees_with_scipy_on_full_rank():
    linalg = pytest.importorskip("scipy.linalg")
    x, y = gaussian(500, 10, 1) @ gaussian(10, 10, 3), gaussian(500, 10, 2, 0.3)
    a, b = frechet.Moments(10).add(x), frechet.Moments(10).add(y)
    ca, cb = np.cov(x.numpy().T), np.cov(y.numpy().T)
    root = linalg.sqrtm(ca @ cb).real
    expected = ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(ca + cb - 2 * root)
    assert frechet.distance(a, b) == pytest.approx(float(expected), rel=1e-8)


@pytest.mark.parametrize("portion", [1, 7, 100])
def test_moments_do_not_depend_on_the_portions(portion):
    x = gaussian(100, 5, 4, mean=1000.0)
    whole, parts = frechet.Moments(5), frechet.Moments(5)
    whole.add(x)
    for part in x.split(portion):
        parts.merge(frechet.Moments(5).add(part))
    assert parts.count == 100
    torch.testing.assert_close(parts.covariance, torch.cov(x.T), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(parts.mean, whole.mean)


def test_a_distance_and_its_floor_are_of_equally_many_pictures():
    """One law on both sides: few pictures are far from the reference by chance alone, and as far as other few."""
    size = 32
    reference = frechet.Moments(size).add(gaussian(20_000, size, 1))
    many, few = gaussian(4_000, size, 2), gaussian(300, size, 3)
    floor, floor_spread = frechet.estimate(reference, few, 300)
    fair, spread = frechet.estimate(reference, many, 300)
    unfair = frechet.estimate(reference, many, 4_000)[0]
    assert unfair < 0.3 * floor
    assert abs(fair - floor) < 3 * math.hypot(floor_spread, spread)


@pytest.mark.parametrize("count", [300, 700, 3000])
def test_the_spread_of_a_distance_is_that_of_other_choices(count):
    reference = frechet.Moments(16).add(gaussian(20_000, 16, 1))
    fresh = [frechet.distance(reference, frechet.Moments(16).add(gaussian(300, 16, 100 + n, 0.3))) for n in range(60)]
    value, spread = frechet.estimate(reference, gaussian(count, 16, 7, 0.3), 300)
    assert value == pytest.approx(np.mean(fresh), abs=4 * np.std(fresh))
    assert 0.5 < spread / np.std(fresh) < 2
