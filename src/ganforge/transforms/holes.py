"""Where a picture is missing: strokes, boxes, the centre, frames of a clip. Drawn from torch's global generator on the
CPU; 1 where something is missing, else 0."""

from __future__ import annotations

import math

import torch
from torch import Tensor

SEGMENTS = 16  # of all strokes of a picture that is covered by half or more
_STROKE = 4  # segments of one stroke
_LENGTH = (0.1, 0.5)  # of a segment, in shorter sides of the picture
_WIDTH = (0.5, 1.5)  # of a segment, relative to the others
_BOX = (0.12, 0.59)  # sides of a box, in sides of the picture: 30 to 150 of 256 (Suvorov et al. 2022, "LaMa")


def strokes(share: Tensor, height: int, width: int) -> Tensor:
    """Brush strokes that cover exactly round(share x height x width) pixels: (N,) -> (N, 1, height, width) float32.

    A stroke is a chain of segments, each turned against the one before (Yu et al. 2019, "Free-Form Image Inpainting
    with Gated Convolution", algorithm 1). The pixels nearest to the segments are covered, in units of their widths,
    so that the area is exact; larger shares have more segments."""
    count, side = len(share), min(height, width)
    draw = torch.rand(SEGMENTS, 5, count)
    turn = torch.randn(SEGMENTS, count)
    y, x = torch.arange(height)[:, None] + 0.5, torch.arange(width) + 0.5
    nearest = torch.full((count, height, width), math.inf)
    used = (2 * share.clamp(max=0.5) * SEGMENTS).ceil().clamp(min=2)
    for n in range(SEGMENTS):
        if n % _STROKE == 0:
            from_y, from_x, angle = draw[n, 0] * height, draw[n, 1] * width, draw[n, 2] * 2 * math.pi
        else:
            angle = angle + turn[n]
        length = (_LENGTH[0] + draw[n, 3] * (_LENGTH[1] - _LENGTH[0])) * side
        to_y = (from_y + length * angle.sin()).clamp(0, height)
        to_x = (from_x + length * angle.cos()).clamp(0, width)
        distance = _distance(y, x, from_y, from_x, to_y, to_x)
        distance = distance / (_WIDTH[0] + draw[n, 4] * (_WIDTH[1] - _WIDTH[0])).square()[:, None, None]
        nearest = torch.where((n < used)[:, None, None], torch.minimum(nearest, distance), nearest)
        from_y, from_x = to_y, to_x
    covered = (share.double() * height * width).round().long()
    order = nearest.flatten(1).argsort(stable=True)
    first = (torch.arange(height * width) < covered[:, None]).float()
    return torch.zeros_like(first).scatter_(1, order, first).view(count, 1, height, width)


def _distance(y: Tensor, x: Tensor, from_y: Tensor, from_x: Tensor, to_y: Tensor, to_x: Tensor) -> Tensor:
    """Squared distance of each pixel from a segment of each picture: (N, H, W)."""
    along_y, along_x = (to_y - from_y)[:, None, None], (to_x - from_x)[:, None, None]
    off_y, off_x = y - from_y[:, None, None], x - from_x[:, None, None]
    square = (along_y.square() + along_x.square()).clamp(min=1e-6)
    at = ((off_y * along_y + off_x * along_x) / square).clamp(0, 1)
    return (off_y - at * along_y).square() + (off_x - at * along_x).square()


def boxes(number: Tensor, height: int, width: int) -> Tensor:
    """`number` (N,) rectangles anywhere, each with its own sides; they may overlap: (N, 1, height, width) float32."""
    most, count = round(float(number.max())), len(number)
    draw = torch.rand(4, most, count)
    hole = torch.zeros(count, height, width)
    for n in range(most):
        rows = _span(draw[0, n], draw[1, n], height)
        columns = _span(draw[2, n], draw[3, n], width)
        box = rows[:, :, None] & columns[:, None, :] & (n < number)[:, None, None]
        hole = torch.maximum(hole, box.float())
    return hole[:, None]


def _span(length: Tensor, start: Tensor, side: int) -> Tensor:
    """A span of a box's side anywhere inside, from draws (N,) in [0, 1): (N, side) bool."""
    pixels = ((_BOX[0] + length * (_BOX[1] - _BOX[0])) * side).round().clamp(min=1)
    first = (start * (side - pixels + 1)).floor()
    n = torch.arange(side)
    return (n >= first[:, None]) & (n < (first + pixels)[:, None])


def centre(share: Tensor, height: int, width: int) -> Tensor:
    """A rectangle in the middle with this share (N,) of the picture, in its proportions: (N, 1, height, width)
    float32."""
    hole = torch.zeros(len(share), 1, height, width)
    for n, part in enumerate(share.sqrt().tolist()):
        inner_y, inner_x = round(part * height), round(part * width)
        top, left = (height - inner_y) // 2, (width - inner_x) // 2
        hole[n, :, top : top + inner_y, left : left + inner_x] = 1
    return hole


def frames(number: Tensor, frames: int) -> Tensor:
    """`number` (N,) frames anywhere of a clip's `frames`: (N, frames) float32."""
    rank = torch.rand(len(number), frames).argsort(1).argsort(1)
    return (rank < number[:, None]).float()
