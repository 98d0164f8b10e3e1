"""What cameras, programs and web sites do to pictures, twice: blur, resize, noise, JPEG.

Wang et al. 2021, "Real-ESRGAN: Training Real-World Blind Super-Resolution with Pure Synthetic Data", sections 3.1 to
3.4, with the ranges of its code. On the CPU, picture by picture, by torch's global generator."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ganforge.transforms.jpeg import jpeg
from ganforge.transforms.resize import resized

_RADIUS = 10  # of blur kernels
_MODES = ("area", "bilinear", "bicubic")


@dataclass(frozen=True)
class _Round:
    """The ranges of one round, each from its mildest to its hardest end."""

    blurred: float
    deviation: tuple[float, float]
    enlarged: tuple[float, float]
    """The probability, and the largest factor."""
    reduced: tuple[float, float]
    """The probability, and the smallest factor."""
    gaussian: tuple[float, float]
    poisson: tuple[float, float]


_ROUNDS = (
    _Round(1.0, (0.2, 3.0), (0.2, 1.5), (0.7, 0.15), (1, 30), (0.05, 3)),
    _Round(0.8, (0.2, 1.5), (0.3, 1.2), (0.4, 0.3), (1, 25), (0.05, 2.5)),
)


def real(pixels: Tensor, scale: int, strength: float | None) -> Tensor:
    """(N, C, H, W) float32 in 0..255, with C of 1, 3 or 4 -> (N, C, H / scale, W / scale), rounded; transparency is
    only resized.

    `strength` from 0 to 1 fixes the position in every range; None lets each number of each picture be drawn. Kinds of
    blur, resize and noise are always drawn."""
    height, width = (side // scale for side in pixels.shape[2:])
    colour = torch.cat([_one(picture[None, :3], scale, strength) for picture in pixels.cpu()]).to(pixels.device)
    if pixels.shape[1] < 4:
        return colour
    return torch.cat([colour, resized(pixels[:, 3:], height, width).round().clamp(0, 255)], 1)


def _one(x: Tensor, scale: int, strength: float | None) -> Tensor:
    height, width = x.shape[2:]
    small = (height // scale, width // scale)
    for ranges, (rows, columns) in zip(_ROUNDS, ((height, width), small), strict=True):
        if _happens(ranges.blurred):
            x = _filtered(x, _sinc(strength) if _happens(0.1) else _blur(ranges.deviation, strength))
        kind = _uniform()
        factor = 1.0
        if kind < ranges.enlarged[0]:
            factor = _between((1, ranges.enlarged[1]), strength)
        elif kind < ranges.enlarged[0] + ranges.reduced[0]:
            factor = _between((1, ranges.reduced[1]), strength)
        x = _resized(x, max(1, round(rows * factor)), max(1, round(columns * factor)))
        x = _noisy(x, ranges, strength)
        if ranges is _ROUNDS[0]:
            x = _compressed(x, strength)
    last = _happens(0.5)
    if last:
        x = _compressed(x, strength)
    x = _resized(x, *small)
    if _happens(0.8):
        x = _filtered(x, _sinc(strength))
    return x.round().clamp(0, 255) if last else _compressed(x, strength)


def _uniform() -> float:
    return float(torch.rand(()))


def _happens(probability: float) -> bool:
    return _uniform() < probability


def _between(ends: tuple[float, float], strength: float | None) -> float:
    drawn = _uniform()
    return ends[0] + (drawn if strength is None else strength) * (ends[1] - ends[0])


def _grid() -> tuple[Tensor, Tensor]:
    side = torch.arange(-_RADIUS, _RADIUS + 1.0)
    return side[:, None], side[None]


def _blur(deviation: tuple[float, float], strength: float | None) -> Tensor:
    """A Gaussian, generalised Gaussian or plateau, round or elliptic: (K, K), of sum 1."""
    kind, elliptic = _uniform(), _happens(0.3)
    across = _between(deviation, strength)
    along, angle = (_between(deviation, strength), math.pi * _uniform()) if elliptic else (across, 0.0)
    y, x = _grid()
    u, v = math.cos(angle) * x + math.sin(angle) * y, math.cos(angle) * y - math.sin(angle) * x
    square = (u / across).square() + (v / along).square()
    if kind < 0.7:
        kernel = (-0.5 * square).exp()
    elif kind < 0.85:
        kernel = (-0.5 * square.pow(_between((4, 0.5), None))).exp()
    else:
        kernel = 1 / (1 + square.pow(_between((1, 2), None)))
    return kernel / kernel.sum()


def _sinc(strength: float | None) -> Tensor:
    """A circular low-pass filter, which rings (section 3.4): (K, K), of sum 1."""
    cutoff = _between((math.pi, math.pi / 5), strength)
    y, x = _grid()
    radius = (x.square() + y.square()).sqrt().clamp(min=1e-3)
    kernel = cutoff * torch.special.bessel_j1(cutoff * radius) / (2 * math.pi * radius)
    normed: Tensor = kernel / kernel.sum()
    return normed


def _filtered(x: Tensor, kernel: Tensor) -> Tensor:
    planes = F.pad(x, (_RADIUS,) * 4, mode="replicate").transpose(0, 1)
    return F.conv2d(planes, kernel[None, None]).transpose(0, 1).clamp(0, 255)


def _resized(x: Tensor, height: int, width: int) -> Tensor:
    mode = _MODES[int(_uniform() * len(_MODES))]
    return F.interpolate(x, (height, width), mode=mode).clamp(0, 255)


def _noisy(x: Tensor, ranges: _Round, strength: float | None) -> Tensor:
    """Normal or Poisson noise, the same for all colours or not."""
    normal, grey = _happens(0.5), _happens(0.4)
    source = x.mean(1, keepdim=True) if grey else x
    if normal:
        noise = _between(ranges.gaussian, strength) * torch.randn(source.shape)
    else:
        levels = 2 ** math.ceil(math.log2(max(2, source.round().unique().numel())))
        photons = source / 255 * levels
        noise = _between(ranges.poisson, strength) * (torch.poisson(photons) - photons) * (255 / levels)
    return (x + noise).clamp(0, 255)


def _compressed(x: Tensor, strength: float | None) -> Tensor:
    return jpeg(x.round(), torch.tensor([_between((95, 30), strength)]).round())
