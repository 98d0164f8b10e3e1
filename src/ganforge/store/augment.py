"""Augmentation of a data set as one list of words: `"flip, rotate 10, shift 0.1, brightness 0.2"`.

What happens to picture n of a stream is a pure function of (seed, n). All of the geometry is one sampling, with the
picture mirrored beyond its edge; flips are exact. What is shown is what is learned: a generator makes flipped pictures
if it saw some. Changes that must not show in samples are the discriminator's matter (`--model.augment ada`)."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from ganforge.base import words
from ganforge.base.errors import InputError
from ganforge.base.seeds import Indices, key, uniform
from ganforge.media.spec import Spec, to_float
from ganforge.transforms import warp

KINDS: dict[str, tuple[float, float, str]] = {
    "flip": (0.5, 1, "share of pictures mirrored sideways"),
    "upside": (0.5, 1, "share of pictures mirrored top to bottom"),
    "rotate": (10, 180, "degrees, at most, either way"),
    "shift": (0.1, 1, "share of each side, at most, either way"),
    "scale": (0.1, 3, "larger or smaller by at most this share"),
    "crop": (0.2, 0.9, "share of each side cut off, at most, somewhere; the rest fills the picture"),
    "perspective": (0.1, 0.8, "how much nearer one side may be than the middle"),
    "brightness": (0.2, 1, "share of the range from black to white, at most, either way"),
    "contrast": (0.2, 1, "more or less by at most this share"),
    "saturation": (0.2, 1, "more or less by at most this share; grey pictures stay"),
    "noise": (0.05, 1, "deviation of each number, as a share of the range from black to white"),
}
"""By word: the number where none is given, the largest, and what it means."""

Changes = dict[str, float]


def parse(text: str, where: str, spec: Spec) -> Changes:
    """The words of a list with their numbers. InputError for unknown words, for numbers out of range, and for words
    that make no sense for the medium of `spec`."""
    numbers = words.terms(text, {word: default for word, (default, _, _) in KINDS.items()}, where)
    changes = {word: float(value or 0) for word, value in numbers.items()}
    for word, value in changes.items():
        _, most, meaning = KINDS[word]
        if value > most:
            raise InputError(f"{where} says {word} {value:g}; it takes at most {most:g}: {meaning}.")
    spec.medium.check_augmentations(changes, KINDS, where)
    return changes


def apply(images: Tensor, changes: Changes, seed: int, numbers: Indices, spec: Spec) -> Tensor:
    """Pictures `numbers` (N,) of a stream, (N, C, H, W) float32 -> the same shape, channels_last, within the range of
    bytes."""

    def draw(purpose: str) -> Tensor:
        return torch.from_numpy(uniform(seed, purpose, numbers))

    def even(purpose: str, most: float) -> Tensor:
        """From -most to most."""
        return most * (2 * draw(f"augment/{purpose}") - 1)

    for word, purpose, side in (("flip", "mirror", 3), ("upside", "augment/upside", 2)):
        if word in changes:
            turned = (draw(purpose) < changes[word]).to(images.device)[:, None, None, None]
            images = torch.where(turned, images.flip(side), images)
    transforms = [_GEOMETRY[word](changes[word], spec, even) for word in changes if word in _GEOMETRY]
    if transforms:
        images = warp.warp(images, warp.fold(*transforms).float().to(images.device))
    colours = [_COLOURS[word](even(word, changes[word])) for word in changes if word in _COLOURS]
    if colours:
        images = warp.recolour(images, warp.fold(*colours[::-1]).float().to(images.device))
    if "noise" in changes:
        images = images + 2 * changes["noise"] * _noise(images, seed, numbers)
    if colours or "noise" in changes:
        bytes_ = torch.tensor([0, 255], dtype=torch.uint8)[:, None, None, None].expand(2, 1, 1, spec.channels)
        low, high = to_float(bytes_.to(images.device), spec)
        images = images.clamp(low, high)
    return images.contiguous(memory_format=torch.channels_last)


Even = Callable[[str, float], Tensor]


def _rotate(most: float, spec: Spec, even: Even) -> Tensor:
    return warp.rotate(even("rotate", math.radians(most)))


def _shift(most: float, spec: Spec, even: Even) -> Tensor:
    return warp.shift(spec.width * even("shift/x", most), spec.height * even("shift/y", most))


def _scale(most: float, spec: Spec, even: Even) -> Tensor:
    factor = even("scale", math.log1p(most)).exp()
    return warp.scale(factor, factor)


def _crop(most: float, spec: Spec, even: Even) -> Tensor:
    cut = (even("crop", most) + most) / 2
    dx, dy = (
        cut * side / 2 * even(f"crop/{side_name}", 1) for side, side_name in ((spec.width, "x"), (spec.height, "y"))
    )
    return warp.fold(warp.shift(dx, dy), warp.scale(1 / (1 - cut), 1 / (1 - cut)))


def _perspective(most: float, spec: Spec, even: Even) -> Tensor:
    return warp.tilt(even("perspective/x", most) / spec.width, even("perspective/y", most) / spec.height)


_GEOMETRY = {"rotate": _rotate, "shift": _shift, "scale": _scale, "crop": _crop, "perspective": _perspective}
_COLOURS: dict[str, Callable[[Tensor], Tensor]] = {
    "brightness": lambda by: warp.brighten(2 * by),
    "contrast": lambda by: warp.contrast(1 + by),
    "saturation": lambda by: warp.about_grey(torch.ones_like(by), 1 + by, torch.zeros_like(by)),
}


def _noise(images: Tensor, seed: int, numbers: Indices) -> Tensor:
    """Normal with variance 1, none for alpha."""
    colours = min(images.shape[1], 3)
    rows = []
    for number in numbers:
        generator = torch.Generator().manual_seed(key(seed, "augment/noise", int(number)))
        rows.append(torch.randn(colours, *images.shape[2:], generator=generator))
    noise = torch.stack(rows).to(images.device)
    return torch.cat([noise, torch.zeros_like(images[:, colours:])], 1)
