"""PSNR and SSIM against their definitions and against scikit-image."""

from __future__ import annotations

import numpy as np
import pytest

from ganforge.metrics.fidelity import EQUAL, psnr, ssim


def pair(height: int, width: int, channels: int, sigma: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A smooth picture, and the same with Gaussian noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    picture = np.stack([128 + 90 * np.sin(y / 5 + c) * np.cos(x / 7 - c) for c in range(channels)], -1)
    noisy = picture + rng.normal(0, sigma, picture.shape)
    return picture.round().astype(np.uint8), noisy.round().clip(0, 255).astype(np.uint8)


def flat(level: int, channels: int = 1, side: int = 8) -> np.ndarray:
    return np.full((side, side, channels), level, np.uint8)


@pytest.mark.parametrize("step", [1, 5, 100])
def test_psnr_of_a_constant_difference(step):
    assert psnr(flat(100), flat(100 + step)) == pytest.approx(20 * np.log10(255 / step))
    assert psnr(flat(100 + step), flat(100)) == psnr(flat(100), flat(100 + step))


def test_psnr_has_an_end():
    assert psnr(flat(7), flat(7)) == EQUAL
    one = flat(7, side=500)
    one[3, 3] = 8
    assert psnr(one, flat(7, side=500)) == EQUAL  # 102 dB, but no picture is nearer to another than to itself


@pytest.mark.parametrize(("a", "b"), [(100, 110), (0, 255), (17, 17)])
def test_ssim_of_two_constants(a, b):
    """Without variances the index is that of the means alone, (2 a b + C1) / (a^2 + b^2 + C1)."""
    stable = (0.01 * 255) ** 2
    assert ssim(flat(a, 3), flat(b, 3)) == pytest.approx((2 * a * b + stable) / (a * a + b * b + stable))


def test_ssim_of_one_window_is_the_formula():
    x, y = pair(7, 7, 1, 20, 0)
    a, b = x.astype(float).ravel(), y.astype(float).ravel()
    (xx, xy), (_, yy) = np.cov(a, b)
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    means, variances = a.mean() ** 2 + b.mean() ** 2 + c1, xx + yy + c2
    assert ssim(x, y) == pytest.approx((2 * a.mean() * b.mean() + c1) * (2 * xy + c2) / (means * variances))


def test_ssim_is_the_mean_over_windows_and_channels():
    x, y = pair(9, 8, 2, 20, 1)
    parts = [
        ssim(x[i : i + 7, j : j + 7, c : c + 1], y[i : i + 7, j : j + 7, c : c + 1])
        for i in range(3)
        for j in range(2)
        for c in range(2)
    ]
    assert ssim(x, y) == pytest.approx(np.mean(parts))


@pytest.mark.parametrize(("height", "width", "channels"), [(40, 30, 3), (7, 7, 1), (6, 20, 4), (3, 3, 1)])
def test_ssim_and_psnr_are_those_of_scikit_image(height, width, channels):
    metrics = pytest.importorskip("skimage.metrics")
    window = min(7, height - 1 + height % 2)
    for seed in range(5):
        x, y = pair(height, width, channels, 30, seed)
        options = {"win_size": window, "channel_axis": -1, "data_range": 255}
        assert ssim(x, y) == metrics.structural_similarity(x, y, **options)
        assert psnr(x, y) == pytest.approx(metrics.peak_signal_noise_ratio(y, x), rel=1e-12)


def test_ssim_of_tiny_pictures_only_knows_equal_ones():
    x, y = pair(2, 9, 3, 30, 0)
    assert (ssim(x, x), ssim(x, y)) == (1.0, 0.0)
