"""The specification of every row of a store, and the only two ways between bytes and floats."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganforge.base.errors import InputError
from ganforge.base.images import Pixels, enlarge, grid
from ganforge.media.captions import Captions
from ganforge.media.clip import Clip
from ganforge.media.medium import Medium
from ganforge.media.pair import Pair
from ganforge.media.picture import Picture
from ganforge.media.solid import Solid
from ganforge.media.sound import Sound
from ganforge.media.text import Text

PICTURE = Picture()
MEDIA: tuple[type[Medium], ...] = (Picture, Sound, Clip, Pair, Solid, Text)
"""All media."""
PICTORIAL = tuple(medium for medium in MEDIA if medium is not Text)
"""Those whose numbers are levels: what lies between two of them means something."""
LARGEST = 1024
"""Numbers that a side of a store's rows has at most."""


@dataclass(frozen=True)
class Spec:
    """The shape and the meaning of every row in a data set, decided once by `prepare`; it travels inside the system."""

    height: int
    width: int
    channels: int
    classes: tuple[str, ...] = ()
    levels: tuple[tuple[float, float], ...] = ()
    """The byte values that stand for -1 and for +1, a pair a channel; empty: 0 and 255. They may lie outside of
    0..255."""
    medium: Medium = PICTURE
    """What the numbers of a row mean."""
    captions: Captions | None = None
    """The words of the captions, where pictures have some."""

    def __str__(self) -> str:
        kind = self.medium.describe(self.height, self.width, self.channels)
        labels = f", {len(self.classes)} classes" if self.classes else ""
        words = f", captions of {len(self.captions.words):,} words" if self.captions else ""
        return f"{kind}{labels}{words}"

    @property
    def pixels(self) -> int:
        """Numbers in one row: height x width x channels."""
        return self.height * self.width * self.channels

    @property
    def shown_channels(self) -> int:
        """Channels of its rows as pictures: 1, 3 or 4."""
        rows = np.zeros((1, self.height, self.width, self.channels), np.uint8)
        return int(self.medium.as_pictures(rows).shape[-1])

    @property
    def is_picture(self) -> bool:
        """Whether its rows are pictures."""
        return isinstance(self.medium, Picture)

    def to_plain(self) -> dict[str, Any]:
        """As plain values for JSON or TOML; `spec_from` is the inverse. The medium stands there where it is none of
        pictures, captions where there are some."""
        plain = asdict(self)
        del plain["medium"]
        if self.captions is None:
            del plain["captions"]
        return plain if self.is_picture else {**plain, "medium": self.medium.to_plain()}

    def need_pictures(self, verb: str, holder: object) -> None:
        """InputError where its rows are no pictures: `verb` works with nothing else, and `holder` has these."""
        if not self.is_picture:
            raise InputError(f"{verb} works with pictures, and {holder} is of {self.medium.plural}.")

    def sheet(self, rows: Pixels, columns: int | None = None, side: int = 56) -> Pixels:
        """Rows (N, H, W, C) uint8 as one picture to be looked at, (H', W', C') uint8, small ones enlarged to `side`."""
        return grid(enlarge(self.medium.as_pictures(rows), side), columns)


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
    medium = _medium_from(values.get("medium", {"kind": Picture.kind}))
    captions = Captions(**values["captions"]) if "captions" in values else None
    classes = tuple(values["classes"])
    spec = Spec(values["height"], values["width"], values["channels"], classes, levels, medium, captions)
    for name, side in (("height", spec.height), ("width", spec.width)):
        if type(side) is not int or not 1 <= side <= LARGEST:
            raise ValueError(f"{name} {side!r} is no whole number from 1 to {LARGEST:,}")
    if type(spec.channels) is not int:
        raise ValueError(f"channels {spec.channels!r} is no whole number")
    medium.check(spec.height, spec.width, spec.channels)
    if not all(isinstance(name, str) for name in spec.classes):
        raise ValueError("classes are no list of names")
    if levels and (len(levels) != spec.channels or any(low >= high for low, high in levels)):
        raise ValueError(f"levels {levels}")
    return spec


def _medium_from(values: Mapping[str, Any]) -> Medium:
    """A medium from the plain values of `Medium.to_plain`. KeyError, TypeError or ValueError where they are none."""
    kinds = {medium.kind: medium for medium in MEDIA}
    if values["kind"] not in kinds:
        raise ValueError(f"medium {values['kind']!r} is none of {', '.join(kinds)}; a newer version may know it")
    return kinds[values["kind"]](**{name: value for name, value in values.items() if name != "kind"})
