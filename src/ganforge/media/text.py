"""Texts: a row is a passage, the numbers of its characters in the alphabet of the set, (1, T, 1).

Every system and the whole loop hand rows on as floats in [-1, 1]; `tokens` and `planes` lead from these to numbers of
characters and back, exactly for all 256 values."""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ganforge.base import marks
from ganforge.base.files import atomic_file, suffix_of, writing
from ganforge.base.images import Pixels
from ganforge.media.medium import Medium, Unusable

SUFFIXES = frozenset((".txt",))
END = "\0"
"""What follows the last character of a passage that is shorter than a row, up to the end of the row. No text that is
read holds it."""
MOST = 256
"""Characters of an alphabet, END among them."""
BETWEEN = f"\n{'-' * 32}\n"
"""What stands between the passages of one file."""
COLUMNS = 32
"""Characters in a line of a passage that is drawn."""
_CELL = 14, 8  # pixels of a character that is drawn: height, width
_MARGIN, _FRAME = 6, 192  # pixels around a passage that is drawn, the outermost of this grey


@dataclass(frozen=True)
class Text(Medium):
    """How the rows of a set of texts are read: the bytes of a row are places in `alphabet`."""

    alphabet: str
    """The characters in order, END first; at most MOST."""

    kind: ClassVar[str] = "text"
    plural: ClassVar[str] = "passages"
    suffix: ClassVar[str] = ".txt"
    augmentations: ClassVar[frozenset[str] | None] = frozenset()

    def check(self, height: int, width: int, channels: int) -> None:
        if (height, channels) != (1, 1):
            raise ValueError(f"a passage has height 1 and 1 channel, not {height} and {channels}")
        if not isinstance(self.alphabet, str) or not 2 <= len(self.alphabet) <= MOST:
            raise ValueError(f"the alphabet is no text of 2 to {MOST} characters")
        if self.alphabet[0] != END or len(set(self.alphabet)) != len(self.alphabet):
            raise ValueError("the alphabet does not begin with its sign for the end, or has a character twice")

    def describe(self, height: int, width: int, channels: int) -> str:
        return f"{width} characters of {len(self.alphabet) - 1}"

    # ---------------------------------------------------------------------------------------------------- text <-> rows

    @cached_property
    def _table(self) -> npt.NDArray[np.int64]:
        """Code points in the order of their size, and the place of each in the alphabet: (2, K)."""
        points = _points(self.alphabet).astype(np.int64)
        order = np.argsort(points)
        return np.stack([points[order], order])

    def numbers(self, text: str) -> npt.NDArray[np.int64]:
        """The place of each character in the alphabet, (len(text),) int64; -1 for one that is not in it, and for
        END."""
        points, places = self._table
        given = _points(text).astype(np.int64)
        at = np.searchsorted(points, given).clip(max=len(points) - 1)
        return np.where((points[at] == given) & (given != 0), places[at], -1)

    def rows(self, text: str, width: int, stride: int) -> Iterator[tuple[int, Pixels | str]]:
        """The passages of a text, one every `stride` characters: where each begins, and its row (1, width, 1) uint8 or,
        where it cannot have one, the reason. What is left at the end of the text is a passage too."""
        numbers = self.numbers(text)
        for start in range(0, max(1, len(text) - width + stride), stride):
            part = numbers[start : start + width]
            if (part < 0).any():
                yield start, self.outside(text[start : start + width])
                continue
            row = np.zeros((1, width, 1), np.uint8)
            row[0, : len(part), 0] = part
            yield start, row

    def outside(self, text: str) -> str:
        """A few words about the characters of a text that are not in the alphabet; "" where all are."""
        strange = sorted({char for char, number in zip(text, self.numbers(text).tolist(), strict=True) if number < 0})
        named = ", ".join(f"{char!r} (U+{ord(char):04X})" for char in strange[:3])
        return f"outside of the alphabet: {named}{', …' * (len(strange) > 3)}" if strange else ""

    def text(self, row: Pixels) -> str:
        """The passage of a row (1, T, 1) uint8, up to the first END. A number beyond the alphabet, as systems of
        pictures would make it, is the sign for what cannot be shown, U+FFFD."""
        chars = [self.alphabet[n] if n < len(self.alphabet) else "\ufffd" for n in row[0, :, 0].tolist()]
        return "".join(chars).partition(END)[0]

    # ---------------------------------------------------------------------------------------------------- rows -> files

    def as_pictures(self, rows: Pixels) -> Pixels:
        """Each passage drawn in Pillow's own font, in lines of COLUMNS characters, black on white; a line break in the
        text is one in the picture. What does not fit ends in an ellipsis."""
        height, width = _CELL
        lines = 2 * -(-rows.shape[2] // COLUMNS) + 2
        glyphs: dict[str, Pixels] = {}
        page = np.full((lines * height, COLUMNS * width), 255, np.uint8)
        page = np.pad(np.pad(page, _MARGIN - 1, constant_values=255), 1, constant_values=_FRAME)[..., None]
        pictures = np.repeat(page[None], len(rows), 0)
        for picture, row in zip(pictures[:, _MARGIN:, _MARGIN:], rows, strict=True):
            for y, line in enumerate(_lines(self.text(row), lines)):
                for x, char in enumerate(line):
                    if char not in glyphs:
                        glyphs[char] = _glyph(char)
                    picture[y * height : (y + 1) * height, x * width : (x + 1) * width] = glyphs[char]
        return pictures

    def write(self, path: Path, rows: Pixels, made_by: dict[str, Any] | None = None) -> None:
        """One passage as it is, several with BETWEEN between them, in UTF-8. The mark stands in a file beside it."""
        self.check_file(path, len(rows))
        with writing(path), atomic_file(path) as partial:
            partial.write_text(BETWEEN.join(map(self.text, rows)), "utf-8", newline="")
        marks.write_beside(path, made_by)


def tokens(images: Tensor) -> Tensor:
    """Rows as floats, (N, 1, 1, T) in [-1, 1] -> numbers of characters, (N, T) int64 in 0..255; exact for all of
    them."""
    return ((images[:, 0, 0].float() + 1) * 127.5).round().clamp(0, 255).long()


def planes(numbers: Tensor) -> Tensor:
    """Numbers of characters, (N, T) int64 in 0..255 -> rows as floats, (N, 1, 1, T) float32 in [-1, 1], the inverse of
    `tokens`."""
    return (numbers.float() / 127.5 - 1)[:, None, None]


def decode(data: bytes) -> str:
    """The text of a file: UTF-8, or UTF-16 with its mark; line ends of all kinds become "\\n". Unusable where it is
    none."""
    if not data:
        raise Unusable("empty")
    wide = data[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    if not wide and END.encode() in data:
        raise Unusable("no text: it holds bytes of 0")
    try:
        text = data.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        where = f"byte 0x{data[error.start]:02x} at {error.start:,}" if not wide else f"at {error.start:,}"
        raise Unusable(f"no text in UTF-8: {where}; convert it first") from None
    return plain(text)


def plain(text: str) -> str:
    """A text with line ends of all kinds as "\\n". Unusable where nothing is in it, or END is."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if not text.strip():
        raise Unusable("empty")
    if END in text:
        raise Unusable("no text: it holds bytes of 0")
    return text


def missing(name: str) -> str:
    """Why a file of this name cannot be read as a text; "" where it can."""
    suffix = suffix_of(name)
    return "" if suffix in SUFFIXES or suffix in ("", ".") else f"not a text: {suffix} file"


def _points(text: str) -> npt.NDArray[np.uint32]:
    """Code points, (len(text),)."""
    return np.frombuffer(text.encode("utf-32-le"), "<u4")


def _lines(text: str, most: int) -> Sequence[str]:
    """The text in at most so many lines of at most COLUMNS characters."""
    parts = [line[i : i + COLUMNS] for line in text.split("\n") for i in range(0, max(1, len(line)), COLUMNS)]
    if len(parts) <= most:
        return parts
    return [*parts[: most - 1], f"{parts[most - 1][: COLUMNS - 1]}…"]


def _glyph(char: str) -> Pixels:
    """A character in its cell, (height, width, 1) uint8."""
    height, width = _CELL
    cell = Image.new("L", (width, height), 255)
    if char.isprintable():
        font = ImageFont.load_default(height - 3)
        ImageDraw.Draw(cell).text((width / 2, height - 4), char, fill=0, font=font, anchor="ms")
    return np.asarray(cell)[..., None]
