"""Metrics against closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from ganforge.metrics import features, frechet, kernel, neighbours


def gaussian(count: int, size: int, seed: int, mean: float = 0.0, scale: float = 1.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, size, generator=generator, dtype=torch.float64) * scale + mean


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


def test_coverage_of_equal_distributions_is_the_expected_one():
    count, k = 1000, 5
    expected = 1 - math.prod((count - i) / (2 * count - i) for i in range(1, k + 1))
    found = neighbours.manifold(gaussian(count, 8, 1), gaussian(count, 8, 2), k)
    assert found.coverage == pytest.approx(expected, abs=0.02)
    assert found.density == pytest.approx(1, abs=0.1)
    assert found.precision == pytest.approx(found.recall, abs=0.05)


def test_precision_and_recall_tell_narrow_from_far():
    real = gaussian(800, 4, 1)
    narrow = neighbours.manifold(real, gaussian(800, 4, 2, scale=0.2))
    far = neighbours.manifold(real, gaussian(800, 4, 3, mean=50))
    assert narrow.precision > 0.95
    assert narrow.recall < 0.5
    assert (far.precision, far.recall, far.density, far.coverage) == (0, 0, 0, 0)


def test_neighbours_in_slices_are_those_of_the_plain_definition():
    x, y = gaussian(2100, 3, 1), gaussian(300, 3, 2)
    found, places = neighbours.nearest(x, y, 4)
    expected = torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist").sort(1)
    torch.testing.assert_close(found, expected.values[:, :4])
    assert torch.equal(places, expected.indices[:, :4])
    assert (neighbours.nearest(x, x, 1, same=True)[0] > 0).all()


def test_copies_are_flagged_and_heldout_pictures_are_not():
    train, heldout, fresh = gaussian(3000, 6, 1), gaussian(1000, 6, 2), gaussian(1000, 6, 3)
    assert neighbours.copies(train[:500] + 1e-4, train, heldout).rate == 1
    assert neighbours.copies(fresh, train, heldout).rate < 0.03
    half = torch.cat([train[:500], fresh[:500]])
    assert 0.45 < neighbours.copies(half, train, heldout).rate < 0.56


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    """Six kinds of stripes, 20x20 grey, with noise."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:20, :20]
    waves = [np.sin((x * math.cos(t) + y * math.sin(t)) * 1.2) for t in np.arange(6) * math.pi / 6]
    made = np.stack([waves[n % 6] * 90 + 128 + rng.normal(0, 15, (20, 20)) for n in range(600)])
    return made.clip(0, 255).astype(np.uint8)[..., None]


@pytest.mark.parametrize("labelled", [True, False])
def test_a_trained_extractor_ranks_worse_pictures_as_worse(pictures, labelled, tmp_path):
    rows = np.arange(500)
    labels = (rows % 6).astype(np.int64) if labelled else None
    test = np.arange(500, 600)
    made = features.train(lambda r: pictures[r], rows, labels, test, (test % 6).astype(np.int64) if labelled else None)
    assert made.accuracy > (0.9 if labelled else 0.2)
    extract = features.save(made, tmp_path / "extractor.safetensors")
    reference = frechet.Moments(features.SIZE).add(extract([pictures[rows]]))
    assert float(extract([pictures[rows]]).double().var(0).sum()) == pytest.approx(features.SIZE, rel=0.05)
    rng = np.random.default_rng(1)
    noises = [rng.normal(0, sigma, pictures[test].shape) for sigma in (0, 25, 50, 100)]
    scores = []
    for noise in noises:
        worse = (pictures[test] + noise).clip(0, 255).astype(np.uint8)
        scores.append(frechet.distance(reference, frechet.Moments(features.SIZE).add(extract([worse]))))
    assert scores == sorted(scores)
    again = features.load(tmp_path / "extractor.safetensors")
    assert again.name == extract.name
    torch.testing.assert_close(again([pictures[:300]])[17], again([pictures[17:18]])[0])
