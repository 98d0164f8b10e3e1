"""Geometric and colour transformations as small matrices, multiplied into one before the pixels are resampled.

A geometric matrix (N, 3, 3) maps the homogeneous coordinates (x, y, 1) of an output pixel, in pixels from the
centre, to those of the input. `fold` of such matrices in the order of application is the matrix of all. A colour
matrix (N, 4, 4) maps (red, green, blue, 1) to the new colour; `fold` takes these in the opposite order. Products are
computed from single multiplications and additions, never by a batched matrix product, so that the numbers of a
picture do not depend on the batch that it is in."""

from __future__ import annotations

from functools import reduce

import torch
from torch import Tensor
from torch.nn import functional as F


def matrix(rows: list[list[Tensor | float]]) -> Tensor:
    """Entries of (N,) or plain numbers, at least one of them (N,) -> (N, rows, columns)."""
    like = next(entry for row in rows for entry in row if isinstance(entry, Tensor))
    filled = [[e if isinstance(e, Tensor) else torch.full_like(like, e) for e in row] for row in rows]
    return torch.stack([torch.stack(row, -1) for row in filled], -2)


def fold(*matrices: Tensor) -> Tensor:
    """The product of (N, K, K) matrices, from left to right."""
    return reduce(lambda a, b: sum_of(a[:, :, k, None] * b[:, k, None, :] for k in range(a.shape[2])), matrices)


def sum_of(parts: object) -> Tensor:
    """The sum of tensors one after the other: the same rounding for every batch."""
    total: Tensor = reduce(torch.add, parts)  # type: ignore[call-overload]
    return total


def shift(dx: Tensor, dy: Tensor) -> Tensor:
    """By (N,) pixels to the right and downwards."""
    return matrix([[1.0, 0.0, -dx], [0.0, 1.0, -dy], [0.0, 0.0, 1.0]])


def scale(sx: Tensor, sy: Tensor) -> Tensor:
    """By (N,) factors about the centre; negative ones mirror."""
    return matrix([[1 / sx, 0.0, 0.0], [0.0, 1 / sy, 0.0], [0.0, 0.0, 1.0]])


def rotate(angle: Tensor) -> Tensor:
    """By (N,) radians about the centre, clockwise as seen (y points down)."""
    cos, sin = angle.cos(), angle.sin()
    return matrix([[cos, sin, 0.0], [-sin, cos, 0.0], [0.0, 0.0, 1.0]])


def tilt(gx: Tensor, gy: Tensor) -> Tensor:
    """Perspective: distances at (x, y) shrink by the factor 1 + gx x + gy y, with (N,) slopes per pixel."""
    return matrix([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [gx, gy, 1.0]])


def warp(images: Tensor, matrices: Tensor) -> Tensor:
    """(N, C, H, W) float and matrices (N, 3, 3) -> the same shape, by one bilinear resampling; reflection padding."""
    height, width = images.shape[2:]
    m = matrices.to(images.dtype)[:, :, :, None, None]
    x = (torch.arange(width, device=images.device) - (width - 1) / 2)[None, None, :]
    y = (torch.arange(height, device=images.device) - (height - 1) / 2)[None, :, None]
    from_x, from_y, w = (m[:, row, 0] * x + m[:, row, 1] * y + m[:, row, 2] for row in range(3))
    points = torch.stack([from_x / w * (2 / width), from_y / w * (2 / height)], -1)
    return F.grid_sample(images, points, "bilinear", "reflection", align_corners=False)


def recolour(images: Tensor, matrices: Tensor) -> Tensor:
    """(N, C, H, W) float and matrices (N, 4, 4) -> the same shape. A grey picture counts as one with three equal
    colours; alpha stays."""
    m = matrices.to(images.dtype)[:, :, :, None, None]
    if images.shape[1] == 1:
        return images * m[:, :1, :3].sum(2) + m[:, :1, 3]
    mixed = [sum_of(m[:, row, k] * images[:, k] for k in range(3)) + m[:, row, 3] for row in range(3)]
    return torch.cat([torch.stack(mixed, 1), images[:, 3:]], 1)


def brighten(by: Tensor) -> Tensor:
    """Adds (N,) to each colour."""
    return matrix([[1.0, 0.0, 0.0, by], [0.0, 1.0, 0.0, by], [0.0, 0.0, 1.0, by], [0.0, 0.0, 0.0, 1.0]])


def contrast(by: Tensor) -> Tensor:
    """Multiplies each colour by (N,)."""
    return matrix([[by, 0.0, 0.0, 0.0], [0.0, by, 0.0, 0.0], [0.0, 0.0, by, 0.0], [0.0, 0.0, 0.0, 1.0]])


def about_grey(along: Tensor, across: Tensor, angle: Tensor) -> Tensor:
    """Multiplies the component of a colour along the grey axis by `along` and the component across it by `across`, and
    rotates the latter by `angle` radians; (N,) each.

    `along` of -1 is the luma flip, `across` the saturation, `angle` the hue (Karras et al. 2020, "Training Generative
    Adversarial Networks with Limited Data", appendix B: all about the axis (1, 1, 1))."""
    cos, sin = across * angle.cos(), across * angle.sin() / 3**0.5
    same, before, after = (along + 2 * cos) / 3, (along - cos) / 3 - sin, (along - cos) / 3 + sin
    return matrix(
        [[same, before, after, 0.0], [after, same, before, 0.0], [before, after, same, 0.0], [0.0, 0.0, 0.0, 1.0]]
    )
