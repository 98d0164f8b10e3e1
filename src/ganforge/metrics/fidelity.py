"""How near a picture is to its reference, pixel by pixel: PSNR, and SSIM (Wang et al. 2004, "Image Quality Assessment:
From Error Visibility to Structural Similarity")."""

from __future__ import annotations

import numpy as np
import torch

from ganforge.base.images import Pixels
from ganforge.nn.losses import decibels

PEAK = 255
EQUAL = 100.0
"""PSNR in dB of two equal pictures, and the most that is ever given."""
WINDOW = 7
"""Pixels of a side of the window in which SSIM takes its means, variances and covariance."""
_K1, _K2 = 0.01, 0.03


def psnr(pixels: Pixels, reference: Pixels) -> float:
    """Peak signal-to-noise ratio in dB, 10 log10(255^2 / mean squared error), over all values of two (H, W, C) uint8.
    Equal pictures have 100 dB, and no others have more."""
    error = np.square(pixels.astype(np.float64) - reference).mean(keepdims=True)
    return float(decibels(torch.from_numpy(error), PEAK).clamp(max=EQUAL))


def ssim(pixels: Pixels, reference: Pixels) -> float:
    """Structural similarity of two (H, W, C) uint8, at most 1: eq. 13 with K1 = 0.01, K2 = 0.03 and a range of 255, the
    mean over all windows that lie inside the picture, then over the channels.

    Windows are uniform, of 7x7 pixels, with sample variances: the default of scikit-image, with which the numbers agree
    to the bit. (The paper ends with Gaussian windows of 11x11, sigma 1.5; these give other numbers.) A picture with
    less than 7 pixels a side has a window of its own size; below 3 pixels the result is 1 for equal pictures, else 0.
    """
    from scipy.ndimage import uniform_filter

    side = min(WINDOW, *pixels.shape[:2])
    if side < 3:
        return float(np.array_equal(pixels, reference))
    side -= 1 - side % 2
    inside, count = side // 2, side * side
    stable_means, stable_variances = (_K1 * PEAK) ** 2, (_K2 * PEAK) ** 2
    values = []
    for channel in range(pixels.shape[2]):
        x, y = (image[..., channel].astype(np.float64) for image in (pixels, reference))
        mean_x, mean_y = uniform_filter(x, side), uniform_filter(y, side)
        unbiased = count / (count - 1)
        variance_x = unbiased * (uniform_filter(x * x, side) - mean_x * mean_x)
        variance_y = unbiased * (uniform_filter(y * y, side) - mean_y * mean_y)
        covariance = unbiased * (uniform_filter(x * y, side) - mean_x * mean_y)
        above = (2 * mean_x * mean_y + stable_means) * (2 * covariance + stable_variances)
        below = (mean_x**2 + mean_y**2 + stable_means) * (variance_x + variance_y + stable_variances)
        similarity = (above / below)[inside : len(x) - inside, inside : x.shape[1] - inside]
        values.append(similarity.mean(dtype=np.float64))
    return float(np.mean(values))
