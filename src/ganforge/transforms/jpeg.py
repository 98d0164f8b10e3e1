"""What a JPEG file of some quality keeps of a picture, for a batch of pictures with a quality each.

ITU-T T.81: discrete cosine transform of blocks of 8x8 pixels, rounded to multiples of the tables of annex K, which the
quality scales as in the library of the Independent JPEG Group. Colour is halved in both directions (4:2:0)."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

LUMINANCE = (
    (16, 11, 10, 16, 24, 40, 51, 61), (12, 12, 14, 19, 26, 58, 60, 55), (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62), (18, 22, 37, 56, 68, 109, 103, 77), (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101), (72, 92, 95, 98, 112, 100, 103, 99),
)  # fmt: skip
CHROMINANCE = (
    (17, 18, 24, 47, 99, 99, 99, 99), (18, 21, 26, 66, 99, 99, 99, 99), (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99), *((99,) * 8,) * 4,
)  # fmt: skip
_TO_YCC = ((0.299, 0.587, 0.114), (-0.168735892, -0.331264108, 0.5), (0.5, -0.418687589, -0.081312411))
_FROM_YCC = ((1, 0, 1.402), (1, -0.344136286, -0.714136286), (1, 1.772, 0))


def table(base: tuple[tuple[int, ...], ...], quality: Tensor) -> Tensor:
    """The quantisation tables of qualities (N,) from 1 to 100: (N, 8, 8) float32, whole numbers from 1 to 255."""
    quality = quality.round().clamp(1, 100)
    scale = torch.where(quality < 50, (5000 / quality).floor(), 200 - 2 * quality)[:, None, None]
    numbers = torch.tensor(base, dtype=torch.float32, device=quality.device)
    return ((numbers * scale + 50) / 100).floor().clamp(1, 255)


def jpeg(pixels: Tensor, quality: Tensor) -> Tensor:
    """Whole numbers 0..255, (N, 1 or 3, H, W) float32, and a quality for each picture, (N,) from 1 to 100 -> the same
    shape and range, after encoding and decoding."""
    height, width = pixels.shape[2:]
    if pixels.shape[1] != 3:
        x = F.pad(pixels, (0, -width % 8, 0, -height % 8), mode="replicate")
        return _coded(x, table(LUMINANCE, quality))[:, :, :height, :width]
    x = F.pad(pixels, (0, -width % 16, 0, -height % 16), mode="replicate")
    y, blue, red = _matrix(x, _TO_YCC).split(1, 1)
    halved = F.avg_pool2d(torch.cat([blue, red], 1).round(), 2) + 128
    # halves are rounded down and up in turns, as the library does
    colour = (halved + 0.25 + 0.25 * (torch.arange(halved.shape[3], device=halved.device) % 2)).floor()
    y = _coded(y.round(), table(LUMINANCE, quality))
    colour = _coded(colour, table(CHROMINANCE, quality)) - 128
    colour = F.interpolate(colour, scale_factor=2, mode="bilinear", align_corners=False).round()
    rgb = _matrix(torch.cat([y, colour], 1), _FROM_YCC)
    return rgb.round().clamp(0, 255)[:, :, :height, :width]


def _matrix(x: Tensor, rows: tuple[tuple[float, ...], ...]) -> Tensor:
    return torch.einsum("ij,njhw->nihw", torch.tensor(rows, dtype=x.dtype, device=x.device), x)


def _coded(planes: Tensor, tables: Tensor) -> Tensor:
    """Planes (N, C, 8h, 8w) in 0..255 after rounding of their blocks' coefficients to multiples of the tables
    (N, 8, 8)."""
    n = torch.arange(8, dtype=torch.float32, device=planes.device)
    cosine = (math.pi / 8 * n[:, None] * (n + 0.5)).cos() * math.sqrt(2 / 8)
    cosine[0] *= math.sqrt(0.5)
    count, channels, height, width = planes.shape
    blocks = (planes - 128).reshape(count, channels, height // 8, 8, width // 8, 8).transpose(3, 4)
    steps = tables[:, None, None, None]
    coefficients = (cosine @ blocks @ cosine.T / steps).round() * steps
    blocks = (cosine.T @ coefficients @ cosine).transpose(3, 4)
    return (blocks.reshape(planes.shape) + 128).round().clamp(0, 255)
