"""Colours under an ICC profile -> sRGB, by Pillow's ImageCms (LittleCMS)."""

from __future__ import annotations

import io
from functools import lru_cache

import numpy as np
from PIL import Image, ImageCms

from ganforge.base.images import Pixels

NOTICEABLE = 2
"""Levels: a profile that moves no colour further is sRGB by another name."""
_ICC = b"ICC_PROFILE\0"


class UnusableProfile(Exception):
    """A profile that is damaged, or for another kind of picture."""


def of_jpeg(data: bytes) -> tuple[bool, bytes]:
    """Whether a JPEG has an EXIF block, and its profile (b"": none), by walking its segments; True where they make no
    sense."""
    at, exif, parts = 2, False, list[bytes]()
    while at + 4 <= len(data) and data[at] == 0xFF:
        kind, end = data[at + 1], at + 2 + int.from_bytes(data[at + 2 : at + 4])
        if kind == 0xDA:  # the scan begins
            return exif, b"".join(part[2:] for part in sorted(parts))
        if kind == 0xE1 and data[at + 4 : at + 8] == b"Exif":
            exif = True
        elif kind == 0xE2 and data[at + 4 : at + 16] == _ICC:
            parts.append(data[at + 16 : end])  # its number, how many there are, and its bytes
        at = end
    return True, b""


def differs(profile: bytes, mode: str) -> bool:
    """Whether a profile is another one than sRGB, for a picture of Pillow's `mode`. Raises UnusableProfile."""
    return bool(profile) and _transform(profile, _kind(mode)) is not None


def to_srgb(image: Image.Image, profile: bytes, short_side: int = 1 << 20) -> Image.Image:
    """A picture of any mode as sRGB: the very same where its profile is none, sRGB or unusable, else L, RGB or RGBA,
    which may come back smaller, down to twice `short_side`, as converting takes as long as decoding. Lab has its own
    colours, profile or not."""
    if not profile and image.mode != "LAB":
        return image
    try:
        transform = _transform(profile, _kind(image.mode))
    except UnusableProfile:
        return image
    if transform is None:
        return image
    if image.mode in ("P", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
    if image.mode == "1":
        image = image.convert("L")
    if (step := min(image.size) // (2 * short_side)) > 1:
        image = image.reduce(step)
    alpha = image.getchannel("A") if image.mode in ("LA", "RGBA") else None
    grey = image.mode in ("L", "LA")
    converted = transform.apply(image.convert(_kind(image.mode)))
    converted = converted.convert("L") if grey else converted
    if alpha is not None:
        converted.putalpha(alpha)
    return converted


def pixels_to_srgb(pixels: Pixels, profile: bytes) -> Pixels:
    """(H, W, 1 or 3) uint8 -> the same in sRGB."""
    before = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    after = to_srgb(before, profile)
    return pixels if after is before else np.asarray(after).reshape(pixels.shape)


def _kind(mode: str) -> str:
    """The mode in which a profile for pictures of this one works."""
    return {"1": "L", "LA": "L", "L": "L", "CMYK": "CMYK", "LAB": "LAB"}.get(mode, "RGB")


@lru_cache(64)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """From a profile to sRGB, None where it is that already."""
    try:
        source = ImageCms.createProfile("LAB") if mode == "LAB" else ImageCms.ImageCmsProfile(io.BytesIO(profile))
        transform = ImageCms.buildTransform(
            source,
            ImageCms.createProfile("sRGB"),
            mode,
            "RGB",
            flags=ImageCms.Flags.NOCACHE,  # shared by threads
        )
    except (ImageCms.PyCMSError, OSError, ValueError) as error:
        raise UnusableProfile(str(error)) from None
    if mode in ("CMYK", "LAB"):
        return transform
    steps = np.linspace(0, 255, 9).round().astype(np.uint8)
    colours = np.stack(np.meshgrid(*[steps] * (1 if mode == "L" else 3)), -1).reshape(1, -1, 1 if mode == "L" else 3)
    probe = Image.fromarray(colours[..., 0] if mode == "L" else colours)
    moved = np.abs(np.asarray(transform.apply(probe)).astype(int) - colours)
    return transform if moved.max() > NOTICEABLE else None
