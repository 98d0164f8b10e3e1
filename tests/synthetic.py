"""Pictures with the statistics of photographs, and known noise for them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from ganforge.base.images import Pixels, write_image


def natural(seed: int, side: int = 96) -> Pixels:
    """A picture with the 1/f spectrum of photographs and some flat, sharp-edged things. (side, side, 3) uint8."""
    rng = np.random.default_rng(seed)
    fy, fx = np.meshgrid(np.fft.fftfreq(side), np.fft.rfftfreq(side), indexing="ij")
    fall = 1 / np.maximum(np.hypot(fy, fx), 1 / side) ** 1.7
    planes = [np.fft.irfft2(np.fft.rfft2(rng.standard_normal((side, side))) * fall, (side, side)) for _ in range(3)]
    picture = np.dstack([planes[0] + 0.4 * plane for plane in planes])
    picture = 128 + 40 * (picture - picture.mean()) / picture.std()
    for _ in range(4):
        top, left = rng.integers(0, side - 20, 2)
        picture[top : top + 20, left : left + 14] = rng.integers(30, 220, 3)
    return np.asarray(picture.round().clip(4, 251), np.uint8)


def noisy(pixels: Pixels, sigma: float, seed: int) -> Pixels:
    noise_ = np.random.default_rng(seed).normal(0, sigma, pixels.shape)
    return np.asarray((pixels + noise_).round().clip(0, 255), np.uint8)


def peppered(pixels: Pixels, share: float, seed: int) -> Pixels:
    draw = np.random.default_rng(seed).random(pixels.shape)
    return np.where(draw < share / 2, 0, np.where(draw > 1 - share / 2, 255, pixels)).astype(np.uint8)


def off(one: Pixels, two: Pixels) -> int:
    return int(np.abs(one.astype(int) - two.astype(int)).max())


def picture(seed: int, height: int = 40, width: int = 50) -> Image.Image:
    """A smooth RGB picture."""
    small = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


def write_pictures(root: Path, *folders: str, count: int = 10, first: int = 0) -> Path:
    """A folder of `folders` with `count` PNG files each."""
    for f, folder in enumerate(folders):
        (root / folder).mkdir(parents=True, exist_ok=True)
        for n in range(count):
            write_image(root / folder / f"{n}.png", natural(first + 100 * f + n, 24))
    return root
