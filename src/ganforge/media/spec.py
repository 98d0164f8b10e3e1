"""The specification of every row of a store, and the only two ways between bytes and floats."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ganforge.base.images import MODES

LARGEST = 1024
"""Pixels that a side of a store's pictures has at most."""


@dataclass(frozen=True)
class Spec:
    """The shape of every picture in a data set, decided once by `prepare`; it travels inside the system."""

    height: int
    width: int
    channels: int
    classes: tuple[str, ...] = ()
    levels: tuple[tuple[float, float], ...] = ()
    """The byte values that stand for -1 and for +1, a pair a channel; empty: 0 and 255. They may lie outside of
    0..255."""

    def __str__(self) -> str:
        kind = {1: "grey", 3: "RGB", 4: "RGBA"}[self.channels]
        labels = f", {len(self.classes)} classes" if self.classes else ""
        return f"{self.height}x{self.width} {kind}{labels}"

    @property
    def pixels(self) -> int:
        """Numbers in one picture: height x width x channels."""
        return self.height * self.width * self.channels


def to_float(pixels: Tensor, spec: Spec | None = None) -> Tensor:
    """(N, H, W, C) uint8 in 0..255 -> (N, C, H, W) float32 in [-1, 1], a channels_last view."""
    if spec is None or not spec.levels:
        return (pixels.to(torch.float32) / 127.5 - 1.0).permute(0, 3, 1, 2)
    low, high = torch.tensor(spec.levels, device=pixels.device).unbind(1)
    return ((pixels - low) * (2 / (high - low)) - 1).permute(0, 3, 1, 2)


def to_uint8(images: Tensor, spec: Spec | None = None) -> Tensor:
    """(N, C, H, W) float in [-1, 1] -> (N, H, W, C) uint8, rounded to the nearest and clamped."""
    scaled = (images.detach().float() + 1.0).permute(0, 2, 3, 1)
    if spec is None or not spec.levels:
        scaled = scaled * 127.5
    else:
        low, high = torch.tensor(spec.levels, device=images.device).unbind(1)
        scaled = scaled * ((high - low) / 2) + low
    return scaled.round_().clamp_(0, 255).to(torch.uint8).contiguous()


def spec_from(values: Mapping[str, Any]) -> Spec:
    """A Spec from the plain values of a TOML or JSON file. KeyError, TypeError or ValueError where they are none."""
    levels = tuple((float(low), float(high)) for low, high in values.get("levels", ()))
    spec = Spec(values["height"], values["width"], values["channels"], tuple(values["classes"]), levels)
    for name, side in (("height", spec.height), ("width", spec.width)):
        if type(side) is not int or not 1 <= side <= LARGEST:
            raise ValueError(f"{name} {side!r} is no whole number from 1 to {LARGEST:,}")
    if type(spec.channels) is not int or spec.channels not in MODES:
        raise ValueError(f"channels {spec.channels!r} is not 1, 3 or 4")
    if not all(isinstance(name, str) for name in spec.classes):
        raise ValueError("classes are no list of names")
    if levels and (len(levels) != spec.channels or any(low >= high for low, high in levels)):
        raise ValueError(f"levels {levels}")
    return spec
