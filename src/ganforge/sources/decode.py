"""Bytes of an image file -> pixels. Every way that a file can be wrong ends as a `Skip` with its reason."""

from __future__ import annotations

import io
import re
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import imagecodecs
import numpy as np
import simplejpeg
from PIL import Image, UnidentifiedImageError
from PIL.GifImagePlugin import GifImageFile

from ganforge.base.images import MODES, Pixels
from ganforge.media import clip
from ganforge.sources import depth, formats, profiles
from ganforge.sources.entry import Entry, Skip
from ganforge.sources.formats import JPEG, PNG

MAX_PIXELS = 64_000_000
WHITE = (255, 255, 255)
FULL_SIZE = 1 << 20
"""A short side so long that no picture comes back smaller than it is."""
TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # fmt: skip
_PNG_PIXELS = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"fdAT"}
_PNG_PLAIN = {b"IHDR", b"IDAT", b"gAMA", b"cHRM", b"sRGB", b"sBIT", b"pHYs", b"tIME", b"bKGD", b"tEXt"}
_PNG_TEXT = {b"tEXt", b"zTXt", b"iTXt"}
_PNG_TURNS = re.compile(
    rb"(?i)XML:com\.adobe\.xmp|Raw profile"
)  # texts in which Pillow looks for an orientation or a profile
_MANY = 4_000_000
_PLAIN = {"Gray", "RGB", "YCbCr"}
JPEGS = {"JPEG", "MPO"}  # of several pictures in one file, the first
_DEEP = {"PNG", "TIFF", "JPEG2000", "PPM"}
UNKNOWN = "not an image that can be read"

Image.MAX_IMAGE_PIXELS = None  # our own limit, read from the header before anything is decoded, takes its place
Image.init()  # else Pillow knows only five formats until one of them fails


class _Gif(GifImageFile):
    """A GIF whose frames are held to the limit: Pillow makes room for each as soon as it has read its extent."""

    @property
    def _size(self) -> tuple[int, int]:
        return self._extent

    @_size.setter
    def _size(self, size: tuple[int, int]) -> None:
        check_size(*size)
        self._extent = size


Image.register_open("GIF", _Gif, Image.OPEN["GIF"][1])


class PictureHeader(NamedTuple):
    """What a file says of its picture before it is decoded; height and width are upright."""

    height: int
    width: int
    coloured: bool
    transparent: bool
    profile: bool
    """It has a colour profile other than sRGB."""
    animated: bool = False
    """It has several frames, of which the first is the picture."""

    @property
    def channels(self) -> int:
        """1, 3 or 4: as many as it takes to lose nothing."""
        return 4 if self.transparent else 3 if self.coloured else 1


def decode(
    data: bytes,
    channels: int,
    background: tuple[int, int, int],
    short_side: int,
    levels: depth.Levels | None = None,
) -> tuple[Pixels, tuple[int, int]]:
    """Decode one file to (H, W, channels) uint8 in sRGB, upright by its EXIF orientation, and its true (height, width).

    `channels` is 1, 3 or 4, or 0 for what the picture is: grey or RGB. Transparency is laid over `background` unless
    `channels` is 4. A JPEG (its decoder halves for almost nothing) and a picture with a profile may come back smaller
    than they are, down to twice `short_side`, never smaller than that. More than eight bits become bytes by `levels`,
    without them as in a picture that stands alone. Raises Skip with the reason."""
    if not data:
        raise Skip("empty file")
    with decoding():
        if data[:3] == JPEG:
            exif, profile = profiles.of_jpeg(data)
            height, width, colours, _ = (0, 0, "", "") if exif else simplejpeg.decode_jpeg_header(data)
            if colours in _PLAIN:  # no need of Pillow, whose opening costs as much as decoding a small picture
                check_size(width, height)
                mode = "L" if colours == "Gray" else "RGB"
                return decode_jpeg(data, mode, 1, channels, short_side, profile), (height, width)
        chunks = check_png(data) if data[:8] == PNG else set()
        if (plain := plain_png(data, chunks)) is not None:
            return fit_channels(plain, channels), (plain.shape[0], plain.shape[1])
        with open_image(data) as file:
            image: Image.Image = file
            width, height = image.size
            check_size(width, height)
            orientation = orientation_of(image)
            size = (width, height) if orientation >= 5 else (height, width)
            if image.format in JPEGS and image.mode in ("RGB", "L"):
                profile = image.info.get("icc_profile") or b""
                return decode_jpeg(data, image.mode, orientation, channels, short_side, profile), size
            image = upright(in_bytes(image, data, short_side, levels), orientation)
            return _convert(image, channels, background), size


@contextmanager
def decoding() -> Iterator[None]:
    """Inside this context, whatever a file's decoder raises is a Skip with the reason, and its warnings are silent."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except Skip:
        raise
    except MemoryError:
        raise Skip("does not fit into memory") from None
    except Exception as error:  # Pillow's plugins raise whatever a damaged header leads them to
        raise Skip(f"damaged: {str(error).splitlines()[0] if str(error) else type(error).__name__}") from None


def decode_whole(data: bytes | Pixels, levels: depth.Levels | None = None) -> Pixels:
    """(H, W, C) uint8 in full size, with as many channels as the picture has: 1, 3 or 4. Otherwise as `decode`; pixels
    are returned as they are. Raises Skip."""
    if not isinstance(data, bytes):
        return np.ascontiguousarray(data)
    try:
        channels = probe(data).channels
    except Skip:
        channels = 3  # decode says what is wrong
    return decode(data, channels, WHITE, FULL_SIZE, levels)[0]


def decode_frames(entry: Entry, short_side: int) -> Iterator[tuple[bytes, Pixels]]:
    """The frames of a clip that are files of their own: the bytes of each, and (H, W, 4) uint8, RGBA; for `short_side`
    see `decode`. Raises Skip, also where they differ in size or are too many."""
    if len(entry.frames) > clip.MOST_FRAMES:
        raise Skip(f"{len(entry.frames):,} frames, over the limit of {clip.MOST_FRAMES:,}")
    size = None
    for read in entry.frames:
        data = read()
        frame, own = decode(data, 4, WHITE, short_side)
        if own != (size := size or own):
            raise Skip(f"frames of several sizes: {size[0]}x{size[1]}, {own[0]}x{own[1]}")
        yield data, frame


def open_image(data: bytes) -> Image.Image:
    """A file in one of the formats of `formats`, opened by Pillow's decoder of that format and no other.

    Raises Skip where it is in none of them, and whatever Pillow's decoder raises.
    """
    kind = formats.of_content(data)
    if kind and (why := formats.not_read(kind)):
        raise Skip(why)
    if kind and kind.needs:
        _with_heif()
    if kind and kind.name == "ICO":
        _check_ico(data)
    try:
        return Image.open(io.BytesIO(data), formats=[kind.name if kind else "TGA"])
    except UnidentifiedImageError:
        raise Skip(f"damaged: no {kind.title} that can be read, or a rare kind of it" if kind else UNKNOWN) from None


def _with_heif() -> None:
    import pillow_heif

    pillow_heif.register_heif_opener(thumbnails=False)


def _check_ico(data: bytes) -> None:
    """Raises Skip where an icon is too large: Pillow decodes when it opens these, whatever their directory says."""
    for at in range(6, 6 + 16 * int.from_bytes(data[4:6], "little"), 16):
        icon = data[(start := int.from_bytes(data[at + 12 : at + 16], "little")) : start + 24]
        if icon[:8] == PNG:
            check_size(int.from_bytes(icon[16:20]), int.from_bytes(icon[20:24]))
        else:
            check_size(int.from_bytes(icon[4:8], "little"), int.from_bytes(icon[8:12], "little") // 2)


def in_bytes(image: Image.Image, data: bytes, short_side: int, levels: depth.Levels | None = None) -> Image.Image:
    """The picture in one of Pillow's modes of eight bits or fewer, in sRGB. `image` is `data` opened; the rest as for
    `decode`."""
    profile = image.info.get("icc_profile") or b""
    samples = depth.deep(image, data)
    if samples is None:
        image.load()
    else:
        pair = levels.of(samples) if levels else depth.proposed(samples.span())
        image = Image.fromarray(depth.to_bytes(samples, pair))
    return profiles.to_srgb(image, profile, short_side)


def span(data: bytes) -> depth.Span | None:
    """The values of a picture of more than eight bits, None for others, and for those that cannot be read."""
    kind = formats.of_content(data)
    if kind is None or kind.name not in _DEEP or (kind.name == "PNG" and data[24:25] != b"\x10"):
        return None  # the others need not be opened
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with open_image(data) as image:
                check_size(*image.size)
                samples = depth.deep(image, data)
                return samples.span() if samples else None
    except Exception:  # whoever decodes it says what is wrong with it
        return None


def probe(data: bytes) -> PictureHeader:
    """What the header alone says. Raises Skip."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with open_image(data) as image:
                width, height = image.size
                check_size(width, height)  # before the orientation, for which Pillow decodes a whole PNG
                if orientation_of(image) >= 5:
                    width, height = height, width
                transparent = image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info
                grey = image.mode in ("1", "L", "LA", "La") or image.mode in depth.GREY
                animated = image.format in ("GIF", "WEBP", "PNG") and getattr(image, "is_animated", False)
                return PictureHeader(height, width, not grey, transparent, other_profile(image), animated)
    except Skip:
        raise
    except Exception as error:
        raise Skip(str(error)) from None


def other_profile(image: Image.Image) -> bool:
    """Whether an opened picture has a colour profile other than sRGB that can be used."""
    try:
        return profiles.differs(image.info.get("icc_profile") or b"", image.mode)
    except profiles.UnusableProfile:
        return False


def magic(head: bytes) -> str:
    """The format that a file's first bytes announce, such as "JPEG". Raises Skip where it is none of a picture that is
    read."""
    if not head:
        raise Skip("empty file")
    kind = formats.of_content(head)
    if kind is None:
        raise Skip("not a picture but a page" if head.lstrip()[:1] == b"<" else "not a picture of a known format")
    if why := formats.not_read(kind):
        raise Skip(why)
    return kind.name


def identify(file: bytes | Path, suffix: str = "", most: int = MAX_PIXELS) -> str:
    """The suffix that fits a picture's content, such as `jpg`, by its header alone, of `most` pixels at most. Raises
    Skip.

    TGA, which has no first bytes of its own, is only looked for where the file's own `suffix` says so.
    """
    try:
        with io.BytesIO(file) if isinstance(file, bytes) else file.open("rb") as data:
            head = data.read(formats.HEAD)
            kind = formats.of_content(head, suffix)
            name = kind.name if kind and kind.read and not kind.magic else magic(head)
            if formats.BY_NAME[name].needs:
                _with_heif()
            data.seek(0)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                with Image.open(data, formats=[name]) as image:
                    check_size(*image.size, most)
        return formats.BY_NAME[name].suffixes[0].removeprefix(".")
    except Skip:
        raise
    except UnidentifiedImageError:
        raise Skip(UNKNOWN) from None
    except Exception as error:  # Pillow's plugins raise whatever a damaged header leads them to
        raise Skip(f"damaged: {str(error).splitlines()[0] if str(error) else type(error).__name__}") from None


def check_size(width: int, height: int, most: int = MAX_PIXELS) -> None:
    """Raises Skip over `most` pixels."""
    if width * height > most:
        pixels, limit = width * height / 1e6, most / 1e6
        raise Skip(f"{width}x{height} is {pixels:.0f} megapixels, over the limit of {limit:.0f}")


def check_png(data: bytes) -> set[bytes]:
    """The kinds of chunks up to IEND, with tEXt for any text that says nothing of how to show the picture and eXIf for
    others; empty where IEND is missing. Raises Skip where a checksum does not fit: Pillow leaves out those of the
    pixels, and shows what is left of damaged ones."""
    at = 8
    kinds: set[bytes] = set()
    while at + 12 <= len(data):
        kind, end = data[at + 4 : at + 8], at + 8 + int.from_bytes(data[at : at + 4])
        if kind == b"IEND":
            return kinds
        if kind in _PNG_PIXELS and zlib.crc32(memoryview(data)[at + 4 : end]) != int.from_bytes(data[end : end + 4]):
            raise Skip(f"damaged: wrong checksum of {kind.decode()}")
        if kind in _PNG_TEXT:
            harmless = end - at < 1 << 16 and not _PNG_TURNS.match(data, at + 8)
            kind = b"tEXt" if harmless else b"eXIf"
        kinds.add(kind)
        at = end + 4
    return set()


def plain_png(data: bytes, kinds: set[bytes]) -> Pixels | None:
    """(H, W, 1 or 3) of an opaque PNG of 8-bit grey or RGB that no other chunk turns or changes, by libpng in two
    thirds of Pillow's time; None for others, and for large ones, which two threads shall not hold at once. `kinds` is
    `check_png`'s."""
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


def decode_jpeg(
    data: bytes, mode: str, orientation: int, channels: int, short_side: int, profile: bytes = b""
) -> Pixels:
    """Strict and fast: a truncated or corrupted scan is an error here, where Pillow would fill it with grey."""
    wanted = 2 * short_side
    pixels: Pixels = simplejpeg.decode_jpeg(
        data,
        "GRAY" if mode == "L" or (channels == 1 and not profile) else "RGB",
        min_height=wanted,
        min_width=wanted,
        min_factor=1,
        strict=True,
    )
    if profile:
        pixels = profiles.pixels_to_srgb(pixels, profile)
    if orientation in TRANSPOSE:
        image = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
        pixels = np.asarray(upright(image, orientation))
        pixels = pixels.reshape(*pixels.shape[:2], -1)
    return fit_channels(pixels, channels)


def upright(image: Image.Image, orientation: int) -> Image.Image:
    """Turned as its EXIF orientation says."""
    return image.transpose(TRANSPOSE[orientation]) if orientation in TRANSPOSE else image


def _convert(image: Image.Image, channels: int, background: tuple[int, int, int]) -> Pixels:
    """Any of Pillow's modes of up to eight bits -> L, RGB or RGBA."""
    channels = channels or (1 if image.mode in ("1", "L", "LA", "La") else 3)
    if image.mode in ("LA", "La", "PA", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
    if image.mode == "RGBA" and channels != 4:
        image = Image.alpha_composite(Image.new("RGBA", image.size, (*background, 255)), image).convert("RGB")
    pixels = np.asarray(image.convert(MODES[channels]))
    return pixels.reshape(*pixels.shape[:2], -1)


def fit_channels(pixels: Pixels, channels: int) -> Pixels:
    """Grey, RGB or RGBA (H, W, C) without transparency to care for -> (H, W, channels); 0 channels are those it has."""
    if channels in (0, pixels.shape[-1]):
        return pixels
    image = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    out = np.asarray(image.convert(MODES[channels]))
    return out.reshape(*out.shape[:2], channels)
