"""Pictures of more than eight bits a sample -> bytes, by one black and one white value for a whole set
(`survey.levels`).

A file of 16 bits often holds 10, 12 or 14 of them, and floats may mean anything; one picture alone does not tell.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import imagecodecs
import numpy as np
import numpy.typing as npt
from PIL import Image

from ganforge.base.images import Pixels
from ganforge.sources.entry import Skip

Pair = tuple[float, float]

GREY = {"I;16", "I;16B", "I;16L", "I", "F"}
BITS = (8, 10, 12, 14, 16)
_BITS_PER_SAMPLE, _SAMPLE_FORMAT, _SIGNED = 258, 339, 2


class Span(NamedTuple):
    """The smallest and the largest finite value of a picture, or of several."""

    low: float
    high: float
    floats: bool


@dataclass(frozen=True)
class Deep:
    """The samples of a picture of more than eight bits."""

    values: npt.NDArray[Any]
    """(H, W) or (H, W, C) with C of 2 to 4, integers or floats; of 2 and of 4 the last is alpha."""
    full: Pair
    """What its format calls black and white: the ends of its integers, 0 and 1 for floats."""

    @property
    def colours(self) -> npt.NDArray[Any]:
        """The values without alpha."""
        return self.values[..., :-1] if self.values.ndim == 3 and self.values.shape[2] != 3 else self.values

    def span(self) -> Span:
        """Alpha does not count; (0, 0) where no value is finite."""
        values, floats = self.colours, self.values.dtype.kind == "f"
        if floats:
            values = values[np.isfinite(values)]
        return Span(float(values.min()), float(values.max()), floats) if values.size else Span(0.0, 0.0, floats)


@dataclass(frozen=True)
class Levels:
    """Which values become the bytes 0 and 255: a pair for integers and one for floats.

    Without `clip` a picture with values beyond its pair is left out. None: none was looked at, and a picture counts as
    its format says; without `clip` only if it uses more than half of that."""

    integers: Pair | None = None
    floats: Pair | None = None
    clip: bool = False

    def __str__(self) -> str:
        pairs = {"integers": self.integers, "floats": self.floats}
        words = [f"{kind} {pair[0]:,.6g} to {pair[1]:,.6g}" for kind, pair in pairs.items() if pair]
        return ", ".join(words) or "as their formats say"

    def of(self, samples: Deep) -> Pair:
        """The pair for one picture. Raises Skip where none fits."""
        least, most, floats = samples.span()
        pair = self.floats if floats else self.integers
        low, high = pair or samples.full
        if not self.clip and pair is None and most <= (low + high) / 2:
            raise Skip(
                f"more than 8 bits, with values up to {most:,.6g} of {high:,.6g}, unlike the pictures looked at; "
                "prepare takes --levels"
            )
        if not self.clip and (least < low or most > high):
            raise Skip(
                f"values from {least:,.6g} to {most:,.6g}, beyond the levels {low:,.6g} to {high:,.6g}; "
                "prepare takes --levels"
            )
        return low, high


def proposed(span: Span) -> Pair:
    """Integers from 0 to the largest number of 8, 10, 12, 14 or 16 bits that holds them, floats from 0 to 1 where they
    stay in there; what is neither from the smallest value to the largest."""
    low, high, floats = span
    if low >= 0 and high <= (1 if floats else 2 ** BITS[-1] - 1):
        return (0.0, 1.0) if floats else (0.0, float(min(2**bits - 1 for bits in BITS if high < 2**bits)))
    return low, high if high > low else low + 1.0


def deep(image: Image.Image, data: bytes) -> Deep | None:
    """The samples of a picture that has more than eight bits of them, else None. `image` is `data` opened by Pillow."""
    if image.mode in GREY:
        tags: Any = getattr(image, "tag_v2", {})
        image.load()
        values = np.asarray(image)
        if image.mode == "F":
            return Deep(values, (0.0, 1.0))
        bits = max(tags.get(_BITS_PER_SAMPLE) or (16,))
        signed = _SIGNED in (tags.get(_SAMPLE_FORMAT) or ())
        full = (-(2.0 ** (bits - 1)), 2.0 ** (bits - 1) - 1) if signed else (0.0, 2.0**bits - 1)
        clear = image.info.get("transparency")  # the one value that is see-through
        if isinstance(clear, int):
            values = np.stack([values, np.where(values == clear, 0, 65535).astype(values.dtype)], 2)
        return Deep(values, full)
    if not halved(image, data):
        return None
    try:
        values = (imagecodecs.png_decode if image.format == "PNG" else imagecodecs.tiff_decode)(data)
    except Exception:  # an unusual layout: what Pillow makes of it
        return None
    fits = values.dtype == np.uint16 and values.shape[:2] == (image.height, image.width) and values.shape[2:] > (1,)
    return Deep(values, (0.0, 65535.0)) if fits else None


def halved(image: Image.Image, data: bytes) -> bool:
    """Whether Pillow keeps only the upper eight of sixteen bits of this picture."""
    if image.mode in GREY:
        return False
    if image.format == "PNG":
        return data[24] == 16
    tags: Any = getattr(image, "tag_v2", {})
    return image.mode in ("RGB", "RGBA") and max(tags.get(_BITS_PER_SAMPLE) or (8,)) == 16


def to_bytes(samples: Deep, pair: Pair) -> Pixels:
    """(H, W) or (H, W, C) uint8: `pair` becomes 0 and 255, what is beyond is clipped, NaN becomes 0."""
    colours = samples.colours
    out: Pixels
    if colours.dtype == np.uint16:  # by a table: a large picture as floats would fill the memory
        out = _scaled(np.arange(65536, dtype=np.float64), pair)[colours]
    else:
        out = np.empty(colours.shape, np.uint8)
        rows = max(1, (1 << 20) // max(1, colours[:1].size))
        for top in range(0, len(colours), rows):
            out[top : top + rows] = _scaled(colours[top : top + rows].astype(np.float64), pair)
    if colours is samples.values:
        return out
    alpha = (samples.values[..., -1:] >> 8).astype(np.uint8)
    return np.asarray(np.concatenate([out.reshape(*out.shape[:2], -1), alpha], 2))


def _scaled(values: npt.NDArray[np.float64], pair: Pair) -> Pixels:
    low, high = pair
    with np.errstate(invalid="ignore", over="ignore"):
        scaled = ((values - low) * (255 / (high - low))).round().clip(0, 255)
    return np.asarray(np.nan_to_num(scaled, nan=0.0), np.uint8)
