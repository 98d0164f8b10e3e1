"""Metrics against closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from ganforge.metrics import features, frechet, kernel, neighbours, pixels, pyramid, sliced, twosample


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
    limit = neighbours.yardstick(neighbours.nearest(heldout, train)[0][:, 0])

    def rate(samples: torch.Tensor) -> float:
        found, places = neighbours.nearest(samples, train)
        return neighbours.Copies(places[:, 0], found[:, 0], limit).rate

    assert rate(train[:500] + 1e-4) == 1
    assert rate(fresh) < 0.03
    assert 0.45 < rate(torch.cat([train[:500], fresh[:500]])) < 0.56


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


def test_sliced_distance_of_two_shifted_gaussians():
    """A shift by m is seen as |m . d| from direction d, on average |m| G(D/2) / (sqrt(pi) G((D+1)/2)) (uniform
    directions)."""
    size, count = 48, 20_000
    shift = torch.zeros(size)
    shift[3] = 0.5
    a, b = gaussian(count, size, 1).float(), gaussian(count, size, 2).float() + shift
    expected = 0.5 * math.gamma(size / 2) / (math.sqrt(math.pi) * math.gamma((size + 1) / 2))
    assert sliced.distances([a], [b])[0] == pytest.approx(1000 * expected, rel=0.15)
    assert sliced.distances([a], [a])[0] == 0


def photographs(count: int, seed: int, side: int = 32) -> np.ndarray:
    """Coloured blobs, (count, side, side, 3) uint8: as many different pictures as are asked for."""
    rng = np.random.default_rng(seed)
    small = torch.from_numpy(rng.normal(128, 60, (count, 3, 6, 6)))
    big = torch.nn.functional.interpolate(small, (side, side), mode="bicubic")
    return big.clamp(0, 255).byte().permute(0, 2, 3, 1).contiguous().numpy()


def spoilt(real: np.ndarray, how: str, strength: float) -> np.ndarray:
    rng = np.random.default_rng(0)
    x = real.astype(np.float64)
    if how == "blur":
        kept = torch.from_numpy(x).permute(0, 3, 1, 2)
        kept = torch.nn.functional.avg_pool2d(kept, 3, 1, 1, count_include_pad=False)
        x = (1 - strength) * x + strength * kept.permute(0, 2, 3, 1).numpy()
    if how == "speckle":
        x += rng.choice([-80, 80], x.shape[:3])[..., None] * (rng.random(x.shape[:3]) < strength)[..., None]
    if how == "checkerboard":
        y, z = np.mgrid[: x.shape[1], : x.shape[2]]
        x += strength * (2 * ((y + z) % 2) - 1)[None, ..., None]
    return x.round().clip(0, 255).astype(np.uint8)


KINDS = [("blur", (0.3, 0.6, 1.0)), ("speckle", (0.01, 0.04, 0.2)), ("checkerboard", (3, 8, 20))]


@pytest.mark.parametrize(("how", "strengths"), KINDS)
def test_patches_at_full_size_rank_what_is_wrong_with_a_surface(how, strengths):
    reference, others = sliced.patches(photographs(400, 1)), photographs(400, 2)
    found = [sliced.distances(reference, sliced.patches(spoilt(others, how, s)))[0] for s in (0, *strengths)]
    assert found == sorted(found)
    assert found[-1] > 2 * found[0]


@pytest.mark.parametrize(("how", "strengths"), KINDS)
def test_surface_statistics_rank_what_is_wrong_with_a_surface(how, strengths):
    def statistics(pixels: np.ndarray) -> torch.Tensor:
        return pyramid.statistics(torch.from_numpy(pixels).permute(0, 3, 1, 2).float())

    plain, others = statistics(photographs(400, 1)), photographs(400, 2)
    reference = frechet.Moments(plain.shape[1]).add(plain)
    found = [
        frechet.distance(reference, frechet.Moments(plain.shape[1]).add(statistics(spoilt(others, how, s))))
        for s in (0, *strengths)
    ]
    assert found == sorted(found)
    lighter = torch.from_numpy(photographs(10, 3)).permute(0, 3, 1, 2).float()
    torch.testing.assert_close(pyramid.statistics(lighter), pyramid.statistics(lighter + 20), rtol=1e-3, atol=1e-3)


def test_two_samples_of_one_kind_cannot_be_told_apart_and_two_of_two_can():
    real, unseen = photographs(600, 1), photographs(300, 2)
    same = twosample.accuracy(real, photographs(600, 3), unseen, photographs(300, 4))
    assert same == pytest.approx(0.5, abs=4 * math.sqrt(1 / 2400))
    spoiling = [spoilt(photographs(n, seed), "speckle", 0.02) for n, seed in ((600, 3), (300, 4))]
    assert twosample.accuracy(real, spoiling[0], unseen, spoiling[1]) > 0.95


@pytest.mark.parametrize("side", [20, 32, 64, 128])
def test_copies_are_found_in_pixels_though_shifted_mirrored_and_noisy(side):
    train, heldout = photographs(800, 1, side), photographs(200, 2, side)
    thumbnails = pixels.thumbnails(train)
    limit = neighbours.yardstick(pixels.nearest(heldout, thumbnails, lambda rows: train[rows])[0])
    rng = np.random.default_rng(0)
    some = np.arange(0, 800, 8)
    noise = rng.normal(0, 6, train[some].shape)
    changed = {
        "as it is": train[some],
        "one pixel": np.roll(train[some], 1, 2),
        "one pixel either way": np.roll(train[some], (1, -1), (1, 2)),
        "mirrored": train[some][:, :, ::-1],
        "noisy": (train[some] + noise).clip(0, 255).astype(np.uint8),
        "all": (np.roll(train[some][:, :, ::-1], 1, 2) + noise).clip(0, 255).astype(np.uint8),
    }
    for what, copies in changed.items():
        distance, places = pixels.nearest(copies, thumbnails, lambda rows: train[rows])
        assert neighbours.Copies(places, distance, limit).rate > 0.98, what
        assert (places.numpy() == some).mean() > 0.98, what
    distance, places = pixels.nearest(photographs(200, 3, side), thumbnails, lambda rows: train[rows])
    assert neighbours.Copies(places, distance, limit).rate < 0.05


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
    plain = extract([pictures[rows]])
    size = plain.shape[1]
    reference = frechet.Moments(size).add(plain)
    assert float(plain.double().var(0).sum()) == pytest.approx(2 * features.HIDDEN, rel=0.2)
    rng = np.random.default_rng(1)
    noises = [rng.normal(0, sigma, pictures[test].shape) for sigma in (0, 25, 50, 100)]
    scores = []
    for noise in noises:
        worse = (pictures[test] + noise).clip(0, 255).astype(np.uint8)
        scores.append(frechet.distance(reference, frechet.Moments(size).add(extract([worse]))))
    assert scores == sorted(scores)
    again = features.load(tmp_path / "extractor.safetensors")
    assert again.name == extract.name
    torch.testing.assert_close(again([pictures[:300]])[17], again([pictures[17:18]])[0], rtol=1e-4, atol=1e-4)
