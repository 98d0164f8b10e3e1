"""Clips of handwritten digits that move straight on and bounce off the edges, made of MNIST."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from ganforge.base.errors import DataError
from ganforge.base.files import file_sha256
from ganforge.base.images import Pixels
from ganforge.base.seeds import key
from ganforge.media.clip import write_webp
from ganforge.transforms.resize import resized

CLIPS, FRAMES, SIDE, DIGIT = 6_000, 16, 32, 16
"""Files, frames of each, and the sides of a frame and of a digit in pixels."""
SPEED = 1.0, 3.0
"""Pixels that a digit moves from frame to frame."""
RATE = 10
"""Frames a second."""
DIRECTIONS = ("right", "down-right", "down", "down-left", "left", "up-left", "up", "up-right")


def bouncing(
    digits: Pixels, random: np.random.Generator, count: int, frames: int, side: int, speed: tuple[float, float]
) -> tuple[Pixels, list[int], list[str]]:
    """A clip (frames, side, side) uint8 of `count` of the `digits` (N, D, D) uint8, their numbers, and the directions
    in which they set out.

    Digits, positions, directions and speeds are drawn from `random`; positions are rounded to whole pixels, and where
    digits overlap the brighter pixel is seen."""
    clip, room = np.zeros((frames, side, side), np.uint8), side - digits.shape[1]
    numbers: list[int] = []
    directions: list[str] = []
    for _ in range(count):
        numbers.append(int(random.integers(len(digits))))
        position, angle = random.uniform(0, room, 2), random.uniform(0, 2 * np.pi)
        directions.append(DIRECTIONS[round(angle / (np.pi / 4)) % 8])
        step = random.uniform(*speed) * np.array([np.sin(angle), np.cos(angle)])
        for frame in clip:
            top, left = np.rint(position).astype(int)
            window = frame[top : top + digits.shape[1], left : left + digits.shape[1]]
            np.maximum(window, digits[numbers[-1]], out=window)
            position = position + step
            step = np.where((position < 0) | (position > room), -step, step)
            position = position.clip(0, room)
    return clip, numbers, directions


def make(originals: Path, out: Path) -> list[dict[str, str]]:
    """Write the clips of MNIST's training digits in the folder `originals` into `out`: DIGIT/NUMBER-DIRECTION.webp.
    Returns `file`, `sha256` and `label` of each. The same originals always give the same bytes. DataError where they
    are damaged, OSError where `out` cannot be written."""
    pictures, labels = read_mnist(originals)
    small = resized(torch.from_numpy(pictures.copy())[:, None].float(), DIGIT, DIGIT)
    digits, rows = small[:, 0].round().clamp(0, 255).byte().numpy(), []
    for number in range(CLIPS):
        random = np.random.default_rng(key(0, "moving digits", number))
        clip, (digit,), (direction,) = bouncing(digits, random, 1, FRAMES, SIDE, SPEED)
        label = str(labels[digit])
        path = out / label / f"{number:04d}-{direction}.webp"
        path.parent.mkdir(exist_ok=True)
        write_webp(path, list(clip[..., None]), [1000 / RATE] * FRAMES, None)
        rows.append({"file": path.relative_to(out).as_posix(), "sha256": file_sha256(path), "label": label})
    return rows


def read_mnist(folder: Path) -> tuple[Pixels, npt.NDArray[np.uint8]]:
    """MNIST's training digits, (60000, 28, 28) uint8, and their labels (60000,) uint8. DataError where the folder does
    not hold them."""
    try:
        pictures, labels = (
            np.frombuffer(gzip.decompress((folder / f"train-{name}-ubyte.gz").read_bytes()), np.uint8, offset=offset)
            for name, offset in (("images-idx3", 16), ("labels-idx1", 8))
        )
        return pictures.reshape(len(labels), 28, 28), labels
    except (OSError, EOFError, ValueError) as error:
        raise DataError(f"{folder} does not hold MNIST's training digits: {error}.") from error
