"""The only resize in the house, and the three ways to fit a picture of one shape into another."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate, pad

from ganforge.images import Pixels

FITS = ("crop", "pad", "letterbox", "stretch")


def resize(pixels: Tensor, height: int, width: int) -> Tensor:
    """Antialiased bicubic resize. (N, C, H, W) uint8 -> (N, C, height, width) uint8.

    Of four channels the fourth is alpha, and the colours are weighted by it: what is invisible does not bleed into edges.
    """
    if pixels.shape[-2:] == (height, width):
        return pixels
    if pixels.shape[1] != 4:
        return interpolate(pixels, (height, width), mode="bicubic", antialias=True, align_corners=False)
    alpha = pixels[:, 3:].float()
    weighted = torch.cat([pixels[:, :3].float() * alpha, alpha], 1)
    out = interpolate(weighted, (height, width), mode="bicubic", antialias=True, align_corners=False)
    alpha = out[:, 3:].clamp(0, 255)
    colour = torch.where(alpha > 0.5, out[:, :3] / alpha.clamp(min=0.5), 0)
    return torch.cat([colour, alpha], 1).round_().clamp_(0, 255).to(torch.uint8)


def fit(pixels: Pixels, height: int, width: int, how: str, background: tuple[int, ...]) -> Pixels:
    """(N, H, W, C) uint8 -> (N, height, width, C) uint8.

    `crop` scales until the target is covered and cuts the centre; `letterbox` scales until it is inside and fills the
    rest with `background` (C numbers); `pad` does so without enlarging; `stretch` ignores proportions.
    """
    if pixels.shape[1:3] == (height, width):
        return pixels
    if how == "crop":
        pixels = _cut(pixels, height / width)
    scale = min(height / pixels.shape[1], width / pixels.shape[2])
    if how == "pad":
        scale = min(scale, 1.0)
    if how in ("crop", "stretch"):
        inner = height, width
    else:
        inner = max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[2] * scale))
    batch = torch.from_numpy(np.require(pixels, requirements=["C", "W"])).permute(0, 3, 1, 2)
    out = resize(batch, *inner)
    if inner != (height, width):
        top, left = (height - inner[0]) // 2, (width - inner[1]) // 2
        sides = (left, width - inner[1] - left, top, height - inner[0] - top)
        out = torch.cat([pad(out[:, c : c + 1], sides, value=background[c]) for c in range(out.shape[1])], 1)
    return out.permute(0, 2, 3, 1).contiguous().numpy()


def _cut(pixels: Pixels, ratio: float) -> Pixels:
    """The largest centred window whose height is `ratio` times its width."""
    height, width = pixels.shape[1:3]
    if height > width * ratio:
        inner = max(1, math.floor(width * ratio + 0.5))
        top = (height - inner) // 2
        return pixels[:, top : top + inner]
    inner = max(1, math.floor(height / ratio + 0.5))
    left = (width - inner) // 2
    return pixels[:, :, left : left + inner]
