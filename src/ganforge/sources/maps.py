"""Files that are maps of classes: a grey picture whose values are ids, or one with a palette whose indices are.

Nothing here converts colours or mixes pixels: an id is a name, not an amount."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ganforge.base.errors import DataError
from ganforge.base.images import Pixels
from ganforge.base.pool import ordered
from ganforge.media.pair import Pair
from ganforge.sources import depth
from ganforge.sources.decode import JPEGS, check_png, check_size, decoding, open_image, orientation_of, upright
from ganforge.sources.entry import Entry, Skip
from ganforge.sources.formats import PNG

_GREY = ("1", "L", *(depth.GREY - {"F"}))
_INEXACT = JPEGS | {"GIF"}  # writers of GIFs number the colours anew
_SHOWN = 8
"""Ids in a message."""


@dataclass(frozen=True)
class ClassMap:
    """One file's map."""

    ids: Pixels
    """(H, W) uint8."""
    palette: dict[int, str]
    """The colour of each id that occurs, as #rrggbb, where the file has a palette."""

    def present(self) -> npt.NDArray[np.int64]:
        """(256,) int64: pixels of each id."""
        return np.bincount(self.ids.ravel(), minlength=256)


def read(data: bytes | Pixels) -> ClassMap:
    """The map in a file. Raises Skip where it holds colours, or values that are no ids from 0 to 255."""
    if not isinstance(data, bytes):
        raise Skip("no file of a map")
    if not data:
        raise Skip("empty file")
    with decoding():
        if data[:8] == PNG:
            check_png(data)
        with open_image(data) as image:
            check_size(*image.size)
            if image.format in _INEXACT:
                raise Skip(f"no map of ids: a {image.format} does not keep them; save it as PNG")
            if image.mode not in (*_GREY, "P"):
                raise Skip(f"no map of ids but {image.mode}: save it as a PNG that is grey or has a palette")
            image.load()
            values = np.asarray(upright(image, orientation_of(image)))
            colours = image.getpalette("RGB") if image.mode == "P" else None
    if values.min() < 0 or values.max() > 255:
        raise Skip(f"ids out of range: {values.min()} to {values.max()}, and a map takes 0 to 255")
    ids = values.astype(np.uint8)
    known = colours or []
    named = {n: "#{:02x}{:02x}{:02x}".format(*known[3 * n : 3 * n + 3]) for n in np.unique(ids).tolist()
             if 3 * n + 3 <= len(known)}  # fmt: skip
    return ClassMap(ids, named)


def palette(entries: Iterable[Entry], most: int) -> tuple[str, ...]:
    """The palette of a set of maps, see `Pair.palette`: every id that occurs in one of them, in the colour that most
    files give it, or, without palettes, in that of Pascal VOC. All maps are read; those that cannot be, or that have
    more than `most` ids alone, do not count. DataError where none is left, or where they have one id or more than
    `most` ids together."""

    def counted(entry: Entry) -> tuple[str, npt.NDArray[np.int64], dict[int, str]] | str:
        try:
            class_map = read(entry.read())
        except Skip as skip:
            return f"{entry.name!r}: {skip}"
        present = class_map.present()
        own = int(np.count_nonzero(present))
        return (entry.name, present, class_map.palette) if own <= most else f"{entry.name!r}: {_many(own, most)}"

    pixels, where = np.zeros(256, np.int64), dict[int, str]()
    votes: Counter[tuple[int, str]] = Counter()
    problem = "there is none"
    for result in ordered(counted, entries):
        if isinstance(result, str):
            problem = result if problem == "there is none" else problem
            continue
        name, present, colours = result
        pixels += present
        for n in np.flatnonzero(present).tolist():
            where.setdefault(n, name)
        votes.update(colours.items())
    ids = np.flatnonzero(pixels).tolist()
    if not ids:
        raise DataError(f"None of the given pictures is a map of at most {most} ids: {problem}.")
    if len(ids) == 1:
        raise DataError(f"The given maps hold one id alone, {ids[0]}. Name the folder of the maps first, or see --ids.")
    if len(ids) > most:
        rare = sorted(ids, key=lambda n: (pixels[n], n))[:_SHOWN]
        rarest = ", ".join(f"{n} ({pixels[n]:,} pixels, first in {where[n]!r})" for n in rare[:3])
        raise DataError(
            f"The given maps have {len(ids)} ids, more than the {most} of --ids; the rarest are {rarest}. Say "
            f"--ids {len(ids)} if all of them are classes; where edges were smoothed, make the maps again without that."
        )
    chosen: dict[int, str] = {}
    for (n, colour), _ in sorted(votes.items(), key=lambda vote: (-vote[1], vote[0])):
        chosen.setdefault(n, colour)
    return tuple(f"{n} {chosen.get(n) or _colour(n)}" for n in ids)


def numbers(class_map: ClassMap, pair: Pair) -> Pixels:
    """A map's ids as the numbers of `pair.palette`: (H, W, 1) uint8. Raises Skip where it has an id that the palette
    has not, or another colour for one."""
    present = class_map.present()
    strange = [n for n in np.flatnonzero(present).tolist() if n not in pair.ids]
    if (own := int(np.count_nonzero(present))) > len(pair.ids):
        raise Skip(_many(own, len(pair.ids)))
    if strange:
        raise Skip(f"ids that no other map has: {_some(strange)}")
    for entry in pair.palette:
        n, colour = int(entry.split()[0]), entry.split()[1]
        if class_map.palette.get(n, colour) != colour:
            raise Skip(f"another palette: its id {n} is {class_map.palette[n]}, and {colour} in most maps")
    table = np.zeros(256, np.uint8)
    table[list(pair.ids)] = np.arange(len(pair.ids))
    return table[class_map.ids][..., None]


def _many(own: int, most: int) -> str:
    return f"too many ids: {own}, more than {most}; smoothed edges, or no map of ids"


def _some(ids: list[int]) -> str:
    return ", ".join(map(str, ids[:_SHOWN])) + (", …" if len(ids) > _SHOWN else "")


def _colour(n: int) -> str:
    """The colour of an id in the maps of Pascal VOC (its development kit, `VOClabelcolormap`): bits of the id dealt to
    red, green and blue, from their highest bit on."""
    channels = [sum((n >> (3 * bit + c) & 1) << (7 - bit) for bit in range(3)) for c in range(3)]
    return "#{:02x}{:02x}{:02x}".format(*channels)
