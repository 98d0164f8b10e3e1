"""Antialiased bicubic resize of floats, with transparency."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import interpolate


def resized(x: Tensor, height: int, width: int, transparent: bool = False) -> Tensor:
    """(N, C, H, W) float -> (N, C, height, width); bicubic, so it may overshoot the range by a little.

    `transparent`: numbers from 0 to 255, of which the fourth channel is alpha; the colours are weighted by it, so that
    what is invisible does not bleed into edges, and alpha is clamped to 0..255."""
    if transparent:
        x = torch.cat([x[:, :3] * x[:, 3:], x[:, 3:]], 1)
    x = interpolate(x, (height, width), mode="bicubic", antialias=True, align_corners=False)
    if not transparent:
        return x
    alpha = x[:, 3:].clamp(0, 255)
    return torch.cat([torch.where(alpha > 0.5, x[:, :3] / alpha.clamp(min=0.5), 0), alpha], 1)
