"""Pairs: the first channels of a row are the picture that is given, the others the one that is wanted of it.

What is given may be a map of classes: then its one channel holds numbers of ids, and `palette` says which id and which
colour each number stands for."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from PIL import ImageColor

from ganforge.base.errors import InputError
from ganforge.base.images import MODES, Pixels, grid, write_image
from ganforge.media.medium import Medium
from ganforge.media.picture import NAMES

_ENTRY = re.compile(r"(\d{1,3}) (#[0-9a-f]{6})")
_EXACT = frozenset(("flip", "upside", "translation"))
_GAP = 1


@dataclass(frozen=True)
class Pair(Medium):
    """How the rows of a set of pairs are read: `given` channels (1, 3 or 4), then those of the wanted picture."""

    given: int
    palette: tuple[str, ...] = ()
    """Empty, or for each number in the one given channel the id of a class and its colour, such as `15 #c08080`; ids
    rise."""

    kind: ClassVar[str] = "pair"
    plural: ClassVar[str] = "pairs"
    suffix: ClassVar[str] = ".png"
    augmentations: ClassVar[frozenset[str] | None] = frozenset(
        (
            *("flip", "upside", "rotate", "shift", "scale", "crop", "perspective"),
            *("translation", "cutout", "turn", "stretch", "move"),
        )
    )

    def __post_init__(self) -> None:
        object.__setattr__(self, "palette", tuple(self.palette))  # a list where it was read from a file

    def check(self, height: int, width: int, channels: int) -> None:
        if self.given not in MODES or channels - self.given not in MODES:
            raise ValueError(f"{channels} channels are not 1, 3 or 4 given ({self.given!r}) and 1, 3 or 4 wanted")
        if self.palette:
            if self.given != 1:
                raise ValueError(f"a map of ids has 1 channel, not {self.given}")
            if not all(isinstance(entry, str) and _ENTRY.fullmatch(entry) for entry in self.palette):
                raise ValueError("the palette has other entries than such as '15 #c08080'")
            if not all(a < b for a, b in zip((-1, *self.ids), (*self.ids, 256), strict=True)):
                raise ValueError("the ids of the palette do not rise from 0 to 255")

    @cached_property
    def ids(self) -> tuple[int, ...]:
        """The id that each number of a map stands for; empty without a palette."""
        return tuple(int(entry.split()[0]) for entry in self.palette)

    @cached_property
    def colours(self) -> Pixels:
        """(K, 3) uint8: the colour of each number of a map."""
        return np.array([ImageColor.getrgb(entry.split()[1]) for entry in self.palette], np.uint8).reshape(-1, 3)

    def describe(self, height: int, width: int, channels: int) -> str:
        given = f"{len(self.palette)} ids" if self.palette else NAMES[self.given]
        return f"{height}x{width}, {given} given, {NAMES[channels - self.given]} wanted"

    def row(self, given: Pixels, wanted: Pixels) -> Pixels:
        """(..., given) and (..., wanted) uint8 of one size -> (..., given + wanted)."""
        return np.concatenate([given, wanted], -1)

    def split(self, rows: Pixels) -> tuple[Pixels, Pixels]:
        """(..., given + wanted) -> (..., given), (..., wanted)."""
        return rows[..., : self.given], rows[..., self.given :]

    def coloured(self, given: Pixels) -> Pixels:
        """(..., given) uint8 as it is looked at: a map of ids (..., 1) in the colours of its palette, (..., 3)."""
        return self.colours[np.minimum(given[..., 0], len(self.palette) - 1)] if self.palette else given

    def beside(self, rows: Pixels, gap: int = 0) -> Pixels:
        """(N, H, W, given + wanted) uint8 -> (N, H, 2 W + gap, C), given at the left, a white gap, wanted at the right;
        C is 1, 3 or 4, as many as both need."""
        given, wanted = self.split(rows)
        given = self.coloured(given)
        channels = max(given.shape[-1], wanted.shape[-1])
        line = np.full((*rows.shape[:2], gap, channels), 255, np.uint8)
        return np.concatenate([_in_channels(given, channels), line, _in_channels(wanted, channels)], 2)

    def as_pictures(self, rows: Pixels) -> Pixels:
        return self.beside(rows, _GAP)

    def write(self, path: Path, rows: Pixels, made_by: dict[str, Any] | None = None) -> None:
        """One pair as a picture twice as wide, without a gap, so that it can be cut in the middle; several as a
        sheet."""
        write_image(path, self.beside(rows)[0] if len(rows) == 1 else grid(self.as_pictures(rows)), made_by)

    def check_augmentations(self, words: Iterable[str], known: Iterable[str], where: str) -> None:
        words, known = list(words), list(known)
        super().check_augmentations(words, known, where)
        if self.palette and (refused := [word for word in words if word not in _EXACT]):
            allowed = ", ".join(word for word in known if word in _EXACT) or "none"
            raise InputError(
                f"{where} has {', '.join(refused)}, which would mix the ids of neighbouring pixels. For maps of ids "
                f"there is: {allowed}."
            )


def _in_channels(pixels: Pixels, channels: int) -> Pixels:
    """(..., C) with C of 1, 3 or 4 -> (..., channels), no fewer; what is added to be opaque."""
    own = pixels.shape[-1]
    if own == 1 and channels > 1:
        pixels = pixels.repeat(3, -1)
    if channels == 4 and own < 4:
        pixels = np.concatenate([pixels, np.full_like(pixels[..., :1], 255)], -1)
    return pixels
