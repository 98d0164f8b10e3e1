"""Bytes of one file -> what its header says, and a thumbnail of its pixels, decoded whole and once.

`prepare` only asks whether a file can be used (`decode.py`); here every peculiarity is noted, and what cannot be used
has a code. Sizes are read from the header, before anything is allocated."""

from __future__ import annotations

import math
import threading
import warnings
from bisect import bisect_right
from dataclasses import dataclass
from pathlib import PurePath

import numpy as np
import numpy.typing as npt
import simplejpeg
import torch
from PIL import Image
from torch import Tensor

from ganforge.base.images import Pixels
from ganforge.sources import depth, formats, profiles
from ganforge.sources.decode import (
    JPEGS,
    UNKNOWN,
    check_png,
    check_size,
    decode,
    decode_jpeg,
    fit_channels,
    in_bytes,
    open_image,
    orientation_of,
    plain_png,
    upright,
)
from ganforge.sources.entry import Entry, Skip
from ganforge.sources.transform import resize

SIDE = 128
"""Statistics are taken at this size, about that at which pictures are trained on; smaller pictures keep a smaller power
of two."""
MAX_FRAMES = 1000
FAINT = 60
"""Levels by which something has to differ from white to be seen on it."""
_EDGE = 16  # levels; without a larger step sharpness is not judged
_LUMA = (
    16, 11, 10, 16, 24, 40, 51, 61,
    12, 12, 14, 19, 26, 58, 60, 55,
    14, 13, 16, 24, 40, 57, 69, 56,
    14, 17, 22, 29, 51, 87, 80, 62,
    18, 22, 37, 56, 68, 109, 103, 77,
    24, 35, 55, 64, 81, 104, 113, 92,
    49, 64, 78, 87, 103, 121, 120, 101,
    72, 92, 95, 98, 112, 100, 103, 99,
)  # fmt: skip
"""Steps of quality 50 for luma, of the JPEG standard's annex K."""
_TOTALS = [
    -sum(min(max((step * (5000 // q if q < 50 else 200 - 2 * q) + 50) // 100, 1), 255) for step in _LUMA)
    for q in range(1, 101)
]
_LARGE = 4_000_000
_one_large_picture = threading.Lock()  # a 64-megapixel PNG takes 0.5 GB to decode: never two at once


@dataclass(kw_only=True)
class Facts:
    """What one file is. Height and width are upright; `code` says why it cannot be used, with `detail` in words."""

    format: str = ""
    mode: str = ""
    height: int = 0
    width: int = 0
    frames: int = 1
    orientation: int = 1
    profile: str = ""
    """In words, where it has a colour profile other than sRGB."""
    transparent: bool = False
    quality: int = 0
    """Of a JPEG, 1 to 100, by its own table of steps; 0 where there is none."""
    sharpness: float = math.nan
    """Of a picture whose thumbnail is half its size or less: that of its edges before it is made smaller (see
    `_sharpness`)."""
    code: str = ""
    detail: str = ""


def look(
    data: bytes | Pixels, name: str, levels: depth.Levels | None = None
) -> tuple[Facts, Tensor | None, Tensor | None]:
    """The facts of one file, its thumbnail (3, s, s) uint8 in sRGB, and a window (s, s) uint8 of its green pixels as
    they are, whose corner lies on a multiple of 8; None and None where it cannot be used.

    s is the largest power of two from 8 to SIDE that the shorter side has; a thumbnail's proportions are not kept. What
    is see-through is laid over white, or over black where nothing would be seen on white. More than eight bits become
    bytes by the set's `levels`."""
    facts = Facts()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            pixels = _decode(data, facts, levels) if isinstance(data, bytes) else _array(data, facts)
            facts.sharpness = _sharpness(pixels)
            thumbnail = _thumbnail(pixels)
            return facts, thumbnail, _window(pixels, thumbnail)
    except Skip as skip:
        facts.code, facts.detail = code_of(skip), str(skip)
        if facts.detail.startswith("damaged"):
            facts.code = "truncated" if _cut_short(bytes(data), facts.detail) else "damaged"
        elif facts.detail == UNKNOWN:
            suffix = PurePath(name).suffix
            facts.code = "not_a_picture"
            named = formats.has_picture_suffix(name)
            facts.detail = f"a {suffix} file without the start of one" if named else "no picture format"
    except MemoryError:
        facts.code, facts.detail = "too_large", "does not fit into memory"
    except Exception as error:  # decoders raise whatever a damaged file leads them to
        message = (str(error) or type(error).__name__).splitlines()[0]
        facts.code = "truncated" if _cut_short(bytes(data), message) else "damaged"
        facts.detail = message
    return facts, None, None


def code_of(skip: Skip) -> str:
    """The code of a file that its source or the limits refused."""
    text = str(skip)
    return "empty" if text == "empty file" else "too_large" if "over the limit" in text else "unreadable"


def _array(data: Pixels, facts: Facts) -> Pixels:
    facts.height, facts.width = data.shape[:2]
    facts.mode = {1: "L", 3: "RGB", 4: "RGBA"}[data.shape[2]]
    if facts.mode == "RGBA":
        facts.transparent = bool(data[..., 3].min(initial=255) < 255)
        return _over_plain(Image.fromarray(np.ascontiguousarray(data)))
    return data


def _decode(data: bytes, facts: Facts, levels: depth.Levels | None) -> Pixels:
    if not data:
        raise Skip("empty file")
    if data[:3] == formats.JPEG:
        exif, profile = profiles.of_jpeg(data)
        facts.quality = _quality(data)
        if not exif:
            facts.height, facts.width, colours, _ = simplejpeg.decode_jpeg_header(data)
            facts.format, facts.mode = "JPEG", {"Gray": "L", "RGB": "RGB", "YCbCr": "RGB"}.get(colours, "")
            check_size(facts.width, facts.height)
            if facts.mode:  # no need of Pillow, whose opening costs as much as decoding a small picture
                facts.profile = _profile(profile, facts.mode)
                return decode_jpeg(data, facts.mode, 1, 1 if facts.mode == "L" else 3, SIDE, profile)
    chunks = check_png(data) if data[:8] == formats.PNG else set()
    if (plain := plain_png(data, chunks)) is not None:
        facts.height, facts.width, channels = plain.shape
        facts.format, facts.mode = "PNG", "L" if channels == 1 else "RGB"
        return _pixels(Image.fromarray(plain.squeeze(2) if channels == 1 else plain), facts)
    with open_image(data) as image:
        facts.width, facts.height = image.size
        facts.format, facts.mode = "JPEG" if image.format in JPEGS else image.format or "", image.mode
        check_size(facts.width, facts.height)
        facts.orientation = orientation_of(image)
        if facts.orientation >= 5:
            facts.height, facts.width = facts.width, facts.height
        profile = image.info.get("icc_profile") or b""
        facts.profile = _profile(profile, image.mode)
        if facts.format == "JPEG" and image.mode in ("RGB", "L"):
            return decode_jpeg(data, image.mode, facts.orientation, 1 if image.mode == "L" else 3, SIDE, profile)
        facts.frames = 1 if facts.format == "JPEG" else _frames(image)
        if depth.halved(image, data):
            facts.mode += ";16"
        if facts.width * facts.height > _LARGE:
            with _one_large_picture:
                return _pixels(in_bytes(image, data, 2 * SIDE, levels), facts)
        return _pixels(in_bytes(image, data, 2 * SIDE, levels), facts)


def _profile(profile: bytes, mode: str) -> str:
    try:
        return "converted to sRGB" if profiles.differs(profile, mode) else ""
    except profiles.UnusableProfile:
        return "it cannot be used, so the colours are taken for sRGB"


def _pixels(image: Image.Image, facts: Facts) -> Pixels:
    """The first frame, upright, (H, W, 1 or 3); of a large one as few pixels as the thumbnail needs."""
    step = max(1, min(image.size) // (4 * SIDE))
    if step > 1 and image.mode in ("L", "RGB", "RGBA"):
        image = image.reduce(step)
    image = upright(image, facts.orientation)
    if image.mode in ("LA", "La", "PA", "RGBa", "RGBA") or "transparency" in image.info:
        image = image.convert("RGBA")
        facts.transparent = bool(np.asarray(image.getchannel("A")).min(initial=255) < 255)
        return _over_plain(image)
    if image.mode in ("1", "L"):
        return np.asarray(image.convert("L"))[..., None]
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


def _over_plain(image: Image.Image) -> Pixels:
    """Over white, or over black where nothing of the picture is seen on white."""
    for colour in ("white", "black"):
        pixels = np.asarray(Image.alpha_composite(Image.new("RGBA", image.size, colour), image).convert("RGB"))
        if pixels.min(initial=255) < 255 - FAINT:
            break
    return pixels


def spread(entry: Entry, levels: depth.Levels | None = None) -> float:
    """How much is to be seen in a picture that looks plain: levels between the 1st and the 99th percentile at 32x32, in
    the channel, alpha among them, where that is most; or a quarter of that at its own size, where textures are, and
    noise. 0 where it cannot be read."""
    try:
        data = entry.read()
        pixels = decode(data, 4, (0, 0, 0), 1 << 20, levels)[0] if isinstance(data, bytes) else fit_channels(data, 4)
    except Skip:
        return 0.0
    seen = pixels.copy()
    for top in range(0, len(seen), 256):  # colours that are not seen do not count
        block = seen[top : top + 256]
        block[..., :3] = block[..., :3].astype(np.uint16) * block[..., 3:] // 255
    planes = torch.from_numpy(seen).permute(2, 0, 1)[:, None]
    return max(_between(resize(planes.contiguous(), 32, 32)), _between(planes) / 4)


def _between(planes: Tensor) -> float:
    """(C, 1, H, W) uint8 -> the largest distance of the 1st and the 99th percentile."""
    counts = np.array([Image.fromarray(plane[0].numpy()).histogram() for plane in planes]).cumsum(1)
    low, high = ((counts < share * counts[:, -1:]).sum(1) for share in (0.01, 0.99))
    return float((high - low).max())


def _thumbnail(pixels: Pixels) -> Tensor:
    height, width = pixels.shape[:2]
    side = min(SIDE, max(8, 1 << (min(height, width).bit_length() - 1)))
    batch = torch.from_numpy(np.require(pixels, requirements=["C", "W"])).permute(2, 0, 1)[None]
    return resize(batch, side, side)[0].expand(3, side, side)


def _window(pixels: Pixels, thumbnail: Tensor) -> Tensor:
    """The middle of the picture; of one too small for a window, or of its size, the thumbnail."""
    side = thumbnail.shape[-1]
    top, left = ((length - side) // 16 * 8 for length in pixels.shape[:2])
    if min(top, left) < 0 or pixels.shape[:2] == (side, side):
        return thumbnail[1]
    window = pixels[top : top + side, left : left + side, pixels.shape[2] // 2]
    return torch.from_numpy(np.require(window, requirements=["C", "W"]))


def _sharpness(pixels: Pixels) -> float:
    """Largest curvature over largest difference across 8 pixels, along some lines in both directions, each that of the
    upper tenth of pieces of 8 pixels; NaN of a picture whose thumbnail tells as much, or without an edge."""
    if min(pixels.shape[:2]) < 2 * SIDE:
        return math.nan
    green = pixels[..., pixels.shape[2] // 2]
    every = max(1, min(green.shape) // 16)
    curves, steps = [], []
    for part in (green[every // 2 :: every], green[:, every // 2 :: every].T):
        line = part.astype(np.int16)
        step = np.abs(line[:, 8:] - line[:, :-8])
        curve = np.abs(line[:, 3:-5] + line[:, 5:-3] - 2 * line[:, 4:-4])
        steps.append(_eighths(step))
        curves.append(_eighths(curve))
    curve, step = (np.concatenate(some) for some in (curves, steps))
    tenth = int(0.9 * (len(step) - 1))
    largest = float(np.partition(step, tenth)[tenth])
    return float(np.partition(curve, tenth)[tenth]) / largest if largest >= _EDGE else math.nan


def _eighths(lines: npt.NDArray[np.int16]) -> npt.NDArray[np.int16]:
    """The largest of each 8 values of each line, piece by piece, by halves."""
    some = lines[:, : lines.shape[1] // 8 * 8].ravel()
    for _ in range(3):
        some = np.maximum(some[::2], some[1::2])
    return some


def _quality(jpeg: bytes) -> int:
    """The quality at which libjpeg would write such a table for luma; 0 where it finds none."""
    at = 2
    while at + 69 <= len(jpeg) and jpeg[at] == 0xFF and jpeg[at + 1] != 0xDA:
        if jpeg[at + 1] == 0xDB and jpeg[at + 4] == 0:
            return max(1, bisect_right(_TOTALS, -sum(jpeg[at + 5 : at + 69])))
        at += 2 + int.from_bytes(jpeg[at + 2 : at + 4])
    return 0


def _frames(image: Image.Image) -> int:
    """Frames or pages, counted no further than MAX_FRAMES."""
    if image.format in ("WEBP", "PNG", "AVIF"):
        return int(getattr(image, "n_frames", 1))
    frames = 1
    if image.format in ("GIF", "TIFF"):
        try:
            while frames < MAX_FRAMES:
                image.seek(frames)
                frames += 1
        except Exception:  # the end, or a damaged frame: only the first one is used
            pass
        image.seek(0)
    return frames


def _cut_short(data: bytes, message: str) -> bool:
    """Whether a file that could not be decoded lacks its end, by its own marks or by the decoder's message."""
    if data[:8] == formats.PNG:
        return b"IEND" not in data[-64:]
    if data[:3] == formats.JPEG:
        return b"\xff\xd9" not in data[-64:]
    if data[:4] == b"RIFF":
        return int.from_bytes(data[4:8], "little") + 8 > len(data)
    if data[4:8] == b"ftyp":
        at = 0
        while at + 8 <= len(data) and (size := int.from_bytes(data[at : at + 4])) >= 8:
            at += size
        return at > len(data)
    return any(word in message.lower() for word in ("truncat", "premature", "not enough", "end of", "eof"))
