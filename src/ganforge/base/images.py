"""Pictures as arrays of bytes: sheets of them, and files."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageDraw, ImageFont, PngImagePlugin

from ganforge.base import marks
from ganforge.base.errors import InputError
from ganforge.base.files import atomic_file, writing

Pixels = npt.NDArray[np.uint8]

MODES = {1: "L", 3: "RGB", 4: "RGBA"}
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
"""Kinds of picture files that can carry a mark."""
SIDES = {".jpg": 65_500, ".jpeg": 65_500, ".webp": 16_383}
"""Pixels that a side of a picture has at most in these kinds of files."""


def grid(pixels: Pixels, columns: int | None = None, gap: int = 2) -> Pixels:
    """(N, H, W, C) uint8 -> one sheet (rows*(H+gap)-gap, columns*(W+gap)-gap, C) uint8; white between and after."""
    count, height, width, channels = pixels.shape
    columns = columns or max(1, math.ceil(math.sqrt(count * height / width)))
    rows = math.ceil(count / columns)
    sheet = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, channels), 255, np.uint8)
    for n, picture in enumerate(pixels):
        top, left = n // columns * (height + gap), n % columns * (width + gap)
        sheet[top : top + height, left : left + width] = picture
    return sheet


def name_rows(sheet: Pixels, names: Sequence[str], gap: int = 2) -> Pixels:
    """A sheet (H, W, C) of as many rows as names, from `grid`, with each row's name at its left, in as many lines as
    there is room for: (H, W', C), black on white."""
    step = (len(sheet) + gap) / len(names)
    lines = 1 if max(map(len, names)) <= 24 else 3
    size = min(14, max(8, (step - gap - 2) / (1.3 * lines - 0.3)))
    font, most = ImageFont.load_default(size), max(1, int((step - gap) / (1.3 * size)))
    short = [textwrap.wrap(name, 24, max_lines=most, placeholder="…") or [""] for name in names]
    margin = Image.new("L", (math.ceil(max(font.getlength(line) for own in short for line in own)) + 8, len(sheet)))
    margin.paste(255, (0, 0, *margin.size))
    for n, own in enumerate(short):
        middle = n * step + (step - gap) / 2
        text = "\n".join(own)
        ImageDraw.Draw(margin).multiline_text((4, middle), text, fill="black", font=font, anchor="lm", spacing=2)
    grey = np.asarray(margin)[..., None]
    alpha = np.full_like(grey, 255)
    beside = [grey] if sheet.shape[-1] == 1 else [grey] * 3 + [alpha] * (sheet.shape[-1] - 3)
    return np.concatenate([np.concatenate(beside, 2), sheet], 1)


def enlarge(pixels: Pixels, short_side: int = 64) -> Pixels:
    """Whole-number enlargement of small pictures, so that a sheet of them can be looked at. (N, H, W, C) -> same."""
    times = max(1, round(short_side / min(pixels.shape[1:3])))
    return pixels.repeat(times, axis=1).repeat(times, axis=2)


def as_image(pixels: Pixels) -> Image.Image:
    """(H, W, C) uint8 with C of 1, 3 or 4 -> a Pillow image."""
    return Image.fromarray(np.ascontiguousarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels))


def check_suffix(path: Path, channels: int = 3) -> None:
    """InputError where `write_image` could not write a picture of so many channels at `path`."""
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(f"{path} is no picture that can be written: its name has to end in {', '.join(SUFFIXES)}.")
    if channels == 4 and suffix in (".jpg", ".jpeg"):
        raise InputError(f"{path} cannot hold transparency, since JPEG knows none. Let it end in .png or .webp.")


def write_image(path: Path, pixels: Pixels, made_by: dict[str, Any] | None = None, mark: str = "generated") -> None:
    """Write (H, W, C) uint8 as PNG, JPEG or lossless WebP, by the suffix, whole or not at all.

    `made_by` marks a picture that is `generated` or `restored` (see marks.py), so that a program can tell what it is
    and where it came from: in XMP and, for people's programs, as PNG's text `ganforge` or EXIF's description.
    InputError for another suffix and for a picture or a mark too large for the format, DataError where it cannot be
    written."""
    check_suffix(path, pixels.shape[-1])
    suffix, options = path.suffix.lower(), dict[str, Any]()
    height, width = pixels.shape[:2]
    if max(height, width) > (limit := SIDES.get(suffix, 1 << 31)):
        raise InputError(
            f"{path} would have {width:,} x {height:,} pixels, and {suffix} holds {limit:,} a side. Let it end in .png."
        )
    if suffix == ".webp":
        options |= {"lossless": True}
    elif suffix != ".png":
        options |= {"quality": 95, "subsampling": 0}
    if made_by is not None:
        description, packet = marks.text(made_by, mark), marks.packet(made_by, mark)
        if suffix == ".png":
            info = PngImagePlugin.PngInfo()
            info.add_text("ganforge", description)
            info.add_itxt("XML:com.adobe.xmp", packet)
            options["pnginfo"] = info
        elif suffix != ".webp" and len(packet) > marks.JPEG_BYTES:
            raise InputError(f"{path} cannot hold the mark of so many seeds. Let it end in .png or .webp.")
        else:
            exif = Image.Exif()
            exif[ExifTags.Base.ImageDescription], exif[ExifTags.Base.Software] = description, "ganforge"
            options |= {"xmp": packet.encode(), "exif": exif}
    with writing(path), atomic_file(path) as partial:
        as_image(pixels).save(partial, **options)
