"""What is missing of a picture: what is fully transparent in it, or white in a mask, a picture of its own."""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

from ganforge.base.images import Pixels
from ganforge.sources.decode import decode_whole, fit_channels, probe
from ganforge.sources.entry import Entry, Skip

Holes = npt.NDArray[np.bool_]


def transparent(pixels: Pixels) -> Holes:
    """(H, W, C) uint8 -> (H, W), True where nothing is visible. Raises Skip where nothing is missing."""
    holes: Holes = pixels[..., 3] == 0 if pixels.shape[2] == 4 else np.zeros(pixels.shape[:2], bool)
    if not holes.any():
        raise Skip("nothing of it is fully transparent, so nothing is missing")
    return holes


def read(mask: Entry | None, pixels: Pixels) -> Holes:
    """The mask of a picture (H, W, C) -> (H, W), True where it is white. Raises Skip where there is none, or it
    cannot be read, or has several frames, another size, transparency, more than two levels or no white."""
    if mask is None:
        raise Skip("there is no mask of that name")
    try:
        data = mask.read()
        if isinstance(data, bytes) and probe(data).animated:
            raise Skip("it has several frames; save the one that is meant as a PNG of its own")
        levels = decode_whole(data)
    except Skip as skip:
        raise Skip(f"its mask {mask.name!r}: {skip}") from skip
    if levels.shape[:2] != pixels.shape[:2]:
        size, own = (f"{shape[0]}x{shape[1]}" for shape in (levels.shape, pixels.shape))
        raise Skip(f"its mask {mask.name!r} has {size} pixels, and it has {own}")
    if levels.shape[2] == 4 and (levels[..., 3] < 255).any():
        raise Skip(f"its mask {mask.name!r} is transparent; a mask is opaque, white where something is missing")
    grey = fit_channels(levels[..., :3], 1)[..., 0]
    values = np.unique(grey)
    if len(values) > 2:
        raise Skip(f"its mask {mask.name!r} has {len(values)} levels; a mask has two, and JPEG does not keep them")
    holes: Holes = grey > (127 if len(values) == 1 else values[0])
    if not holes.any():
        raise Skip(f"its mask {mask.name!r} is black, so nothing is missing")
    return holes


def digest(holes: Holes) -> str:
    """16 hexadecimal digits of a mask, for the mark of a picture."""
    return hashlib.sha256(np.packbits(holes).tobytes()).hexdigest()[:16]
