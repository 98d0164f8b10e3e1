"""Sliced Wasserstein distance between patches of two sets of pictures, one number a scale (Karras et al. 2018, section
5).

It needs no labels and learns nothing. On a Laplacian pyramid each level holds the detail of one scale only, so the
number of the largest scale sees speckle, checkerboards and blur, that of the smallest the layout and the colours."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ganforge.base.images import Pixels
from ganforge.base.seeds import key
from ganforge.metrics.metric import PICTURES, RealPictures, Row, Samples
from ganforge.transforms.pyramid import bands, scales

SIDE = 7
PATCHES = 32_768
PROJECTIONS = 128


def floor(real: RealPictures, size: int) -> list[float]:
    """The distance of held-out pictures at each scale."""
    count = min(PICTURES, size)
    return distances(patches(real.train_pixels(count)), patches(real.heldout_pixels(count)))


def rows(real: RealPictures, samples: Samples, size: int, floor: Sequence[float] | None) -> list[Row]:
    """The distance of the samples' patches from those of training pictures, a row a scale."""
    count = min(PICTURES, size)
    values = distances(patches(real.train_pixels(count)), patches(samples.pixels[:count]))
    return [
        Row(
            name=f"sliced_{side}",
            title=f"patches, {side} px",
            says="how far 7x7 patches are from real ones at that scale",
            value=value,
            floor=floor[n] if floor else None,
            better="lower",
            keys=("sliced[]", None, "sliced_floor[]"),
            form=".1f",
            note="sliced Wasserstein x 1000",
        )
        for n, (side, value) in enumerate(zip(scales(*samples.pixels.shape[1:3]), values, strict=True))
    ]


def patches(pixels: Pixels, seed: int = 0) -> list[Tensor]:
    """(N, H, W, C) uint8 -> for each scale (PATCHES, C * SIDE * SIDE) float32, 7x7 windows at keyed positions of the
    Laplacian pyramid.

    Equally many windows come from each picture, one more from some where PATCHES is not a multiple of N.
    """
    levels = scales(*pixels.shape[1:3])
    rng = np.random.default_rng(key(seed, "patches"))
    owners = np.sort(np.arange(PATCHES) % len(pixels))
    positions = [rng.random((2, PATCHES)) for _ in levels]
    windows: list[list[Tensor]] = [[] for _ in levels]
    for start in range(0, len(pixels), 500):
        part = torch.from_numpy(np.ascontiguousarray(pixels[start : start + 500]))
        mine = np.flatnonzero((owners >= start) & (owners < start + len(part)))
        for n, (band, whole) in enumerate(bands(part.permute(0, 3, 1, 2).float(), len(levels))):
            level = whole if n == len(levels) - 1 else band
            height, width = level.shape[2:]
            rows, columns = min(SIDE, height), min(SIDE, width)
            top = torch.from_numpy((positions[n][0, mine] * (height - rows + 1)).astype(np.int64))
            left = torch.from_numpy((positions[n][1, mine] * (width - columns + 1)).astype(np.int64))
            y = (top[:, None] + torch.arange(rows))[:, :, None]
            x = (left[:, None] + torch.arange(columns))[:, None, :]
            owner = torch.from_numpy(owners[mine] - start)[:, None, None]
            windows[n].append(level.permute(0, 2, 3, 1)[owner, y, x].flatten(1))
    return [torch.cat(parts) for parts in windows]


def distances(reference: list[Tensor], other: list[Tensor], seed: int = 0) -> list[float]:
    """For each scale the mean distance of sorted projections onto random directions, in thousandths of the reference's
    deviation.

    Both sets are shifted and scaled by the reference's mean and deviation, so that a wrong colour or contrast counts
    (Karras et al. normalise each set by itself)."""
    values = []
    for n, (a, b) in enumerate(zip(reference, other, strict=True)):
        mean, deviation = a.mean(), a.std().clamp(min=1e-6)
        directions = torch.randn(
            a.shape[1], PROJECTIONS, generator=torch.Generator().manual_seed(key(seed, "directions", n))
        )
        directions /= directions.norm(dim=0)
        # numpy sorts float32 ten times as fast as torch
        one, two = (np.sort((((x - mean) / deviation) @ directions).T.contiguous().numpy()) for x in (a, b))
        values.append(1000 * float(np.abs(one - two).mean(dtype=np.float64)))
    return values
