"""The picture formats, in one table: what every verb reads, by which suffixes and first bytes a format is known, and
what is only named. `docs/formats.md` and `ganforge doctor` print it."""

from __future__ import annotations

import re
from importlib.util import find_spec
from typing import NamedTuple

from ganforge.base.files import suffix_of


class Kind(NamedTuple):
    """One format."""

    name: str
    """As Pillow calls it."""
    title: str
    suffixes: tuple[str, ...]
    """Lower case, with the dot; the first is the usual one."""
    magic: bytes
    """A pattern that the first HEAD bytes match; empty for a format that has none and is known by its suffix alone."""
    note: str
    """What is read of it; of a format that is not read, what to do instead."""
    needs: str = ""
    """The extra that brings its decoder."""
    read: bool = True


JPEG, PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
"""The first bytes of every file of these formats."""
HEAD = 512
"""As many first bytes of a file tell its format."""
_BOX = rb"....ftyp"  # of the ISO base media file format: a brand, a version, and compatible brands follow

KINDS = (
    Kind("JPEG", "JPEG", (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"), re.escape(JPEG),
         "grey, RGB, CMYK; of several pictures in one file (MPO) the first"),
    Kind("PNG", "PNG", (".png", ".apng"), re.escape(PNG), "1 to 16 bits, alpha; of an animation the first frame"),
    Kind("WEBP", "WebP", (".webp",), rb"RIFF....WEBP", "alpha; of an animation the first frame"),
    Kind("AVIF", "AVIF", (".avif", ".avifs"), _BOX + rb"(?:avi[fs]|(?:mif1|msf1).{4}(?:.{4})*?avi[fs])",
         "alpha; 10 and 12 bits become 8"),
    Kind("HEIF", "HEIC", (".heic", ".heif", ".hif"), _BOX + rb"(?:he[iv][cmsx]|mif1|msf1)",
         "alpha; 10 and 12 bits become 8", needs="heic"),
    Kind("JPEG2000", "JPEG 2000", (".jp2", ".j2k", ".jpc", ".jpf", ".jpx", ".j2c"),
         rb"\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51", "8 to 16 bits, alpha"),
    Kind("TIFF", "TIFF", (".tif", ".tiff"), rb"II[*+]\0|MM\0[*+]",
         "1 to 32 bits, float, CMYK, Lab, alpha; of several pages the first"),
    Kind("GIF", "GIF", (".gif",), rb"GIF8[79]a", "the first frame"),
    Kind("BMP", "BMP", (".bmp", ".dib"), rb"BM", "1 to 32 bits"),
    Kind("PPM", "PPM, PGM, PBM", (".ppm", ".pgm", ".pbm", ".pnm"), rb"P[1-6]\s", "1 to 16 bits"),
    Kind("ICO", "ICO", (".ico",), rb"\0\0\x01\0", "the largest icon of the file"),
    Kind("PSD", "PSD", (".psd",), rb"8BPS\0\x01", "the flattened picture, 8 bits a channel"),
    Kind("TGA", "TGA", (".tga",), b"", "known by its suffix alone, as it has no first bytes of its own"),
    Kind("JXL", "JPEG XL", (".jxl",), rb"\0\0\0\x0cJXL \r\n\x87\n|\xff\x0a", "convert it to PNG or JPEG", read=False),
    Kind("SVG", "SVG", (".svg", ".svgz"), rb"(?:\xef\xbb\xbf)?\s*<(?:svg\b|(?:\?xml|!--|!DOCTYPE svg).*?<svg\b)",
         "a drawing, not pixels; export it as PNG", read=False),
)  # fmt: skip
EXTENSIONS = frozenset(suffix for kind in KINDS if kind.read for suffix in kind.suffixes)
"""Of the formats that are read."""
BY_NAME = {kind.name: kind for kind in KINDS}
_BY_SUFFIX = {suffix: kind for kind in KINDS for suffix in kind.suffixes}
_MAGIC = [(kind, re.compile(kind.magic, re.DOTALL)) for kind in KINDS if kind.magic]


def of_content(data: bytes, suffix: str = "") -> Kind | None:
    """The format that a file's first bytes announce; where they tell nothing and `suffix` is of a format without any,
    that one."""
    head = bytes(data[:HEAD])
    for kind, pattern in _MAGIC:
        if pattern.match(head):
            return kind
    named = _BY_SUFFIX.get(suffix.lower())
    return named if named and not named.magic and head else None


def suits(name: str, format: str) -> bool:
    """Whether the suffix of `name` is one of the format's; pictures out of binary files and stores have no format."""
    kind = BY_NAME.get(format)
    return kind is None or suffix_of(name) in kind.suffixes


def has_picture_suffix(name: str) -> bool:
    """Whether the suffix of `name` is that of a picture format that is read."""
    return suffix_of(name) in EXTENSIONS


def refusal(name: str) -> str:
    """Why a file is not tried as a picture, by its name alone. "" where it is tried: its suffix is a picture's, or it
    has none, as pictures out of binary files."""
    suffix = suffix_of(name)
    if suffix in ("", ".") or suffix in EXTENSIONS:
        return ""
    kind = of_name(name)
    return not_read(kind) if kind else f"not a picture: {suffix} file"


def of_name(name: str) -> Kind | None:
    """The format that a name's suffix stands for, read or not."""
    return _BY_SUFFIX.get(suffix_of(name))


def not_read(kind: Kind) -> str:
    """Why a picture of this format is not read; "" where it is."""
    if not kind.read:
        return f"{kind.title} is not read: {kind.note}"
    return "" if available(kind) else f'{kind.title} needs pip install "ganforge[{kind.needs}]"'


def available(kind: Kind) -> bool:
    """Whether pictures of this format can be read here and now."""
    return kind.read and (not kind.needs or find_spec({"heic": "pillow_heif"}[kind.needs]) is not None)


def table() -> list[tuple[str, str, str]]:
    """(format, suffixes, what is read of it) of each, as `docs/formats.md` shows them."""
    rows = []
    for kind in KINDS:
        needs = f'needs `pip install "ganforge[{kind.needs}]"`; ' if kind.needs else ""
        rows.append((kind.title, " ".join(kind.suffixes), ("" if kind.read else "not read; ") + needs + kind.note))
    return rows
