"""The only resize of pictures in the house, one for maps of ids, and the ways to fit a picture of one shape into
another."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import interpolate, pad

from ganforge.base.images import Pixels
from ganforge.transforms.resize import resized


def resize(pixels: Tensor, height: int, width: int) -> Tensor:
    """Antialiased bicubic resize. (N, C, H, W) uint8 -> (N, C, height, width) uint8.

    Of four channels the fourth is alpha, and the colours are weighted by it: what is invisible does not bleed into
    edges."""
    if pixels.shape[-2:] == (height, width):
        return pixels
    if pixels.shape[1] != 4:
        return interpolate(pixels, (height, width), mode="bicubic", antialias=True, align_corners=False)
    return resized(pixels.float(), height, width, transparent=True).round_().clamp_(0, 255).to(torch.uint8)


def nearest(pixels: Tensor, height: int, width: int) -> Tensor:
    """The nearest number to each centre, none mixed, for maps of ids. (N, C, H, W) uint8 -> (N, C, height, width)."""
    return interpolate(pixels, (height, width), mode="nearest-exact")


def fit(
    pixels: Pixels,
    height: int,
    width: int,
    mode: str,
    background: tuple[int, ...],
    resized: Callable[[Tensor, int, int], Tensor] = resize,
) -> Pixels:
    """(N, H, W, C) uint8 -> (N, height, width, C) uint8.

    `crop` scales until the target is covered and cuts the centre, `smart` cuts where most is to be seen; `letterbox`
    scales until it is inside and fills the rest with `background` (C numbers); `pad` does so without enlarging;
    `stretch` ignores proportions. `resized` is `resize`, or `nearest`."""
    if pixels.shape[1:3] == (height, width):
        return pixels
    if mode == "crop":
        pixels = cut(pixels, height / width)
    if mode == "smart":
        pixels = np.concatenate([cut(picture[None], height / width, saliency(picture)) for picture in pixels])
    scale = min(height / pixels.shape[1], width / pixels.shape[2])
    if mode == "pad":
        scale = min(scale, 1.0)
    if mode in ("crop", "smart", "stretch"):
        inner = height, width
    else:
        inner = max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[2] * scale))
    batch = torch.from_numpy(np.require(pixels, requirements=["C", "W"])).permute(0, 3, 1, 2)
    out = resized(batch, *inner)
    if inner != (height, width):
        top, left = (height - inner[0]) // 2, (width - inner[1]) // 2
        sides = (left, width - inner[1] - left, top, height - inner[0] - top)
        out = torch.cat([pad(out[:, c : c + 1], sides, value=background[c]) for c in range(out.shape[1])], 1)
    return out.permute(0, 2, 3, 1).contiguous().numpy()


def cut(pixels: Pixels, ratio: float, weight: npt.NDArray[np.float64] | None = None) -> Pixels:
    """The largest window whose height is `ratio` times its width: the centred one, or the one that holds most of
    `weight`."""
    height, width = pixels.shape[1:3]
    if height > width * ratio:
        inner = max(1, math.floor(width * ratio + 0.5))
        top = (height - inner) // 2 if weight is None else _heaviest(weight.sum(1), inner / height, height - inner)
        return pixels[:, top : top + inner]
    inner = max(1, math.floor(height / ratio + 0.5))
    left = (width - inner) // 2 if weight is None else _heaviest(weight.sum(0), inner / width, width - inner)
    return pixels[:, :, left : left + inner]


def _heaviest(profile: npt.NDArray[np.float64], share: float, room: int) -> int:
    """Where in 0..room a window of `share` of the side holds most of the profile; the middle one of equals."""
    total = np.interp(
        np.linspace(0, len(profile), 20 * len(profile) + 1), np.arange(len(profile) + 1), np.r_[0, np.cumsum(profile)]
    )
    width = max(1, round(share * (len(total) - 1)))
    sums = total[width:] - total[:-width]
    best = np.flatnonzero(sums >= sums.max() * (1 - 1e-6))
    return round(room * float(best[np.abs(best - (len(sums) - 1) / 2).argmin()]) / max(1, len(sums) - 1))


def saliency(picture: Pixels) -> npt.NDArray[np.float64]:
    """Where a picture differs from what its surroundings promise: (H, W, C) uint8 -> (64, 64) float64, not negative.

    The spectral residual (Hou and Zhang 2007, "Saliency Detection: A Spectral Residual Approach", eq. 3 to 5) of its
    brightness."""
    from scipy.ndimage import gaussian_filter, uniform_filter

    grey = torch.from_numpy(np.require(picture[..., :3], requirements=["C", "W"])).permute(2, 0, 1)[None]
    small = resize(grey.contiguous(), 64, 64)[0].double().mean(0).numpy()
    spectrum = np.fft.fft2(small)
    amplitude = np.log(np.abs(spectrum) + 1e-9)
    residual = amplitude - uniform_filter(amplitude, 3, mode="wrap")
    smoothed: npt.NDArray[np.float64] = gaussian_filter(
        np.abs(np.fft.ifft2(np.exp(residual + 1j * np.angle(spectrum)))) ** 2, 2.5
    )
    return smoothed


def stretch(pixels: Pixels) -> Pixels:
    """Each picture's darkest number to 0 and its brightest to 255, alpha left alone. (N, H, W, C) uint8 -> the same."""
    colour = pixels[..., :3].astype(np.float32)
    low, high = colour.min((1, 2, 3), keepdims=True), colour.max((1, 2, 3), keepdims=True)
    out = ((colour - low) * (255 / np.maximum(high - low, 1))).round().astype(np.uint8)
    return np.concatenate([out, pixels[..., 3:]], 3)
