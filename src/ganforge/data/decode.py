"""Bytes of an image file -> pixels. Every way that a file can be wrong ends as a `Skip` with its reason."""

from __future__ import annotations

import io
import re
import warnings
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import simplejpeg
from PIL import Image, UnidentifiedImageError

from ganforge.data.sources import Skip
from ganforge.images import MODES, Pixels

MAX_PIXELS = 64_000_000
TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE, 8: Image.Transpose.ROTATE_90,
}  # fmt: skip
PNG = b"\x89PNG\r\n\x1a\n"
_PNG_PIXELS = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"fdAT"}
_PNG_PLAIN = {b"IHDR", b"IDAT", b"gAMA", b"cHRM", b"sRGB", b"sBIT", b"pHYs", b"tIME", b"bKGD", b"tEXt"}
_PNG_TEXT = {b"tEXt", b"zTXt", b"iTXt"}
_PNG_TURNS = re.compile(
    rb"(?i)XML:com\.adobe\.xmp|Raw profile"
)  # texts in which Pillow looks for an orientation or a profile
_MANY = 4_000_000
_PLAIN = {"Gray", "RGB", "YCbCr"}
DEEP = {"I;16", "I;16B", "I;16L", "I", "F"}
_MAGIC = {
    "PNG": rb"\x89PNG\r\n\x1a\n", "JPEG": rb"\xff\xd8\xff", "GIF": rb"GIF8[79]a", "WEBP": rb"RIFF....WEBP", "BMP": rb"BM",
    "TIFF": rb"II\*\0|MM\0\*", "PPM": rb"P[1-6]\s",
}  # fmt: skip
_SUFFIX = {"JPEG": "jpg", "TIFF": "tif"}

Image.MAX_IMAGE_PIXELS = None  # our own limit, read from the header before anything is decoded, takes its place


def decode(
    data: bytes, channels: int, background: tuple[int, int, int], short_side: int
) -> tuple[Pixels, tuple[int, int]]:
    """Decode one file to (H, W, channels) uint8, upright by its EXIF orientation, and its true (height, width).

    Transparency is laid over `background` unless `channels` is 4. A JPEG may come back smaller than it is, down to
    twice `short_side` (its decoder halves for almost nothing), never smaller than that. Raises Skip with the reason.
    """
    if not data:
        raise Skip("empty file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if data[:3] == b"\xff\xd8\xff" and not has_exif(data):
                height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
                if colours in _PLAIN:  # no need of Pillow, whose opening costs as much as decoding a small picture
                    check_size(width, height)
                    mode = "L" if colours == "Gray" else "RGB"
                    return decode_jpeg(data, mode, 1, channels, short_side), (height, width)
            kinds = check_png(data) if data[:8] == PNG else set()
            if (plain := plain_png(data, kinds)) is not None:
                return fit_channels(plain, channels), (plain.shape[0], plain.shape[1])
            with Image.open(io.BytesIO(data)) as file:
                image: Image.Image = file
                width, height = image.size
                check_size(width, height)
                orientation = orientation_of(image)
                if file.format == "JPEG" and image.mode in ("RGB", "L"):
                    size = (width, height) if orientation >= 5 else (height, width)
                    return decode_jpeg(data, image.mode, orientation, channels, short_side), size
                image.load()
                if orientation in TRANSPOSE:
                    image = image.transpose(TRANSPOSE[orientation])
                pixels = _convert(image, channels, background)
                return pixels, (pixels.shape[0], pixels.shape[1])
    except Skip:
        raise
    except UnidentifiedImageError:
        raise Skip("not an image that can be read") from None
    except MemoryError:
        raise Skip("does not fit into memory") from None
    except Exception as error:  # Pillow's plugins raise whatever a damaged header leads them to
        raise Skip(f"damaged: {str(error).splitlines()[0] if str(error) else type(error).__name__}") from None


def probe(data: bytes) -> tuple[int, int, bool, bool]:
    """(height, width, coloured, transparent) from the header alone, upright. Raises Skip."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data)) as image:
                width, height = image.size
                check_size(width, height)  # before the orientation, for which Pillow decodes a whole PNG
                if orientation_of(image) >= 5:
                    width, height = height, width
                transparent = image.mode in ("LA", "La", "RGBA", "RGBa", "PA") or "transparency" in image.info
                grey = image.mode in ("1", "L", "LA", "La") or image.mode in DEEP
                return height, width, not grey, transparent
    except Skip:
        raise
    except Exception as error:
        raise Skip(str(error)) from None


def magic(head: bytes) -> str:
    """The format that a file's first bytes announce, such as "JPEG". Raises Skip where it is none of a picture."""
    for name, pattern in _MAGIC.items():
        if re.match(pattern, head, re.DOTALL):
            return name
    if not head:
        raise Skip("empty file")
    raise Skip("not a picture but a page" if head.lstrip()[:1] == b"<" else "not a picture of a known format")


def identify(file: bytes | Path, suffix: str = "", most: int = MAX_PIXELS) -> str:
    """The suffix that fits a picture's content, such as `jpg`, by its header alone, of `most` pixels at most. Raises Skip.

    TGA, which has no first bytes of its own, is only looked for where the file's own `suffix` says so.
    """
    try:
        with io.BytesIO(file) if isinstance(file, bytes) else file.open("rb") as data:
            name = "TGA" if suffix.lower() == ".tga" else magic(data.read(64))
            data.seek(0)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                with Image.open(data, formats=[name]) as image:
                    check_size(*image.size, most)
        return _SUFFIX.get(name, name.lower())
    except Skip:
        raise
    except UnidentifiedImageError:
        raise Skip("not an image that can be read") from None
    except Exception as error:  # Pillow's plugins raise whatever a damaged header leads them to
        raise Skip(f"damaged: {str(error).splitlines()[0] if str(error) else type(error).__name__}") from None


def check_size(width: int, height: int, most: int = MAX_PIXELS) -> None:
    """Raises Skip over `most` pixels."""
    if width * height > most:
        pixels, limit = width * height / 1e6, most / 1e6
        raise Skip(f"{width}x{height} is {pixels:.0f} megapixels, over the limit of {limit:.0f}")


def has_exif(jpeg: bytes) -> bool:
    """Whether a JPEG has an EXIF block, by walking its segments; True where they make no sense."""
    at = 2
    while at + 4 <= len(jpeg) and jpeg[at] == 0xFF:
        kind = jpeg[at + 1]
        if kind == 0xDA:  # the scan begins
            return False
        if kind == 0xE1 and jpeg[at + 4 : at + 8] == b"Exif":
            return True
        at += 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big")
    return True


def check_png(data: bytes) -> set[bytes]:
    """The kinds of chunks up to IEND, with tEXt for any text that says nothing of how to show the picture and eXIf for others;
    empty where IEND is missing. Raises Skip where a checksum does not fit: Pillow leaves out those of the pixels, and shows
    what is left of damaged ones."""
    place = 8
    kinds: set[bytes] = set()
    while place + 12 <= len(data):
        kind, end = data[place + 4 : place + 8], place + 8 + int.from_bytes(data[place : place + 4])
        if kind == b"IEND":
            return kinds
        if kind in _PNG_PIXELS and zlib.crc32(memoryview(data)[place + 4 : end]) != int.from_bytes(data[end : end + 4]):
            raise Skip(f"damaged: wrong checksum of {kind.decode()}")
        if kind in _PNG_TEXT:
            harmless = end - place < 1 << 16 and not _PNG_TURNS.match(data, place + 8)
            kind = b"tEXt" if harmless else b"eXIf"
        kinds.add(kind)
        place = end + 4
    return set()


def plain_png(data: bytes, kinds: set[bytes]) -> Pixels | None:
    """(H, W, 1 or 3) of an opaque PNG of 8-bit grey or RGB that no other chunk turns or changes, by libpng in two thirds of
    Pillow's time; None for others, and for large ones, which two threads shall not hold at once. `kinds` is `check_png`'s."""
    width, height = int.from_bytes(data[16:20]), int.from_bytes(data[20:24])
    if not kinds or kinds - _PNG_PLAIN or data[12:16] != b"IHDR" or width * height > _MANY:
        return None
    if data[24] != 8 or data[25] not in (0, 2) or data[26:29] != bytes(3):
        return None
    pixels: Pixels = imagecodecs.png_decode(data)
    return pixels.reshape(height, width, -1)


def orientation_of(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1 where there is none."""
    try:
        return int(image.getexif().get(0x0112, 1))
    except Exception:  # a damaged EXIF block is no reason to lose the picture
        return 1


def decode_jpeg(data: bytes, mode: str, orientation: int, channels: int, short_side: int) -> Pixels:
    """Strict and fast: a truncated or corrupted scan is an error here, where Pillow would fill it with grey."""
    wanted = 2 * short_side
    pixels: Pixels = simplejpeg.decode_jpeg(
        data,
        "GRAY" if mode == "L" or channels == 1 else "RGB",
        min_height=wanted,
        min_width=wanted,
        min_factor=1,
        strict=True,
    )
    if orientation in TRANSPOSE:
        image = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
        pixels = np.asarray(image.transpose(TRANSPOSE[orientation]))
        pixels = pixels.reshape(*pixels.shape[:2], -1)
    return fit_channels(pixels, channels)


def _convert(image: Image.Image, channels: int, background: tuple[int, int, int]) -> Pixels:
    """Any of Pillow's modes -> L, RGB or RGBA; 16-bit grey keeps its upper eight bits."""
    if image.mode in DEEP:
        image = deep_grey(image)
    if image.mode in ("LA", "La", "PA", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
    if image.mode == "RGBA" and channels != 4:
        image = Image.alpha_composite(Image.new("RGBA", image.size, (*background, 255)), image).convert("RGB")
    pixels = np.asarray(image.convert(MODES[channels]))
    return pixels.reshape(*pixels.shape[:2], channels)


def deep_grey(image: Image.Image) -> Image.Image:
    """More than eight bits of grey -> mode L: 0..65535 to 0..255, floats and negative numbers by their own range."""
    values = np.asarray(image).astype(np.float64)
    if image.mode == "F" or values.min(initial=0) < 0:
        low, high = values.min(), values.max()
        values = (values - low) * (255 / max(high - low, 1e-12))
    elif values.max(initial=0) > 255:
        values = values / 257  # 0..65535 -> 0..255
    return Image.fromarray(values.round().clip(0, 255).astype(np.uint8))


def fit_channels(pixels: Pixels, channels: int) -> Pixels:
    """Grey, RGB or RGBA (H, W, C) without transparency to care for -> (H, W, channels)."""
    if pixels.shape[-1] == channels:
        return pixels
    image = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    out = np.asarray(image.convert(MODES[channels]))
    return out.reshape(*out.shape[:2], channels)
