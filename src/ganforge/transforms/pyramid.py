"""Pictures by scales: what is lost from each size to half of it (Burt and Adelson 1983, the Laplacian pyramid)."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

SMALLEST = 14


def scales(height: int, width: int) -> list[int]:
    """The shorter side of each level, the full size first: halved while at least 14 pixels are left."""
    side = min(height, width)
    sides: list[int] = []
    while not sides or side >= SMALLEST:
        sides.append(side)
        side //= 2
    return sides


def bands(images: Tensor, levels: int) -> Iterator[tuple[Tensor, Tensor]]:
    """(N, C, H, W) float -> at each level what its reduction to half the size loses, and the level itself, both (N, C,
    h, w)."""
    for _ in range(levels):
        half = max(1, images.shape[2] // 2), max(1, images.shape[3] // 2)
        small = F.interpolate(images, half, mode="bilinear", antialias=True)
        yield images - F.interpolate(small, images.shape[2:], mode="bilinear"), images
        images = small


def statistics(images: Tensor) -> Tensor:
    """What the surface of (N, C, H, W) pictures in 0..255 is like: of each band of brightness and of each difference of
    colour from it the means of the first, second and fourth power of its absolute value, as amplitudes (their roots),
    (N, 3 * C * levels).

    Such marginal statistics describe a texture (Portilla and Simoncelli 2000): blur lowers them, noise and lattices
    raise the first, speckle the last. A constant change of colour leaves them alone."""
    if images.shape[1] in (3, 4):
        grey = images[:, :3].mean(1, keepdim=True)
        images = torch.cat([grey, images[:, :1] - grey, images[:, 2:3] - grey, images[:, 3:]], 1)
    amplitudes = []
    for band, _ in bands(images, len(scales(*images.shape[2:]))):
        square = band.square()
        amplitudes += [band.abs().mean((2, 3)), square.mean((2, 3)).sqrt(), square.square().mean((2, 3)).sqrt().sqrt()]
    return torch.cat(amplitudes, 1)
