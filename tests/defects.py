"""Pictures with and without defects, and the tables of an audit."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from PIL import Image, ImageFilter

from ganforge.base.images import write_image
from synthetic import natural


def photo(seed: int, height: int = 128, width: int = 128) -> Image.Image:
    """Something with the spectrum of a photograph and a few sharp edges."""
    rng = np.random.default_rng(seed)
    fy, fx = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None]
    amplitude = 1 / np.maximum(np.hypot(fy, fx), 1 / 256) ** 1.3
    shape = (3, *amplitude.shape)
    phase = rng.standard_normal(shape) + 1j * rng.standard_normal(shape)
    plane = np.fft.irfft2(amplitude * (0.3 * phase + phase[:1]), (height, width))
    plane = plane / plane.std((1, 2), keepdims=True) * 45 + 128
    image = Image.fromarray(plane.clip(0, 255).astype(np.uint8).transpose(1, 2, 0).copy())
    for _ in range(5):
        y, x = rng.integers(0, (height * 3 // 4, width * 3 // 4))
        image.paste(tuple(int(v) for v in rng.integers(0, 256, 3)), (x, y, x + width // 5, y + height // 5))
    return image


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def pressed(image: Image.Image, quality: int) -> Image.Image:
    """After a JPEG of that quality."""
    return Image.open(io.BytesIO(encoded(image, "JPEG", quality=quality))).convert("RGB")


def bar(image: Image.Image, *box: int) -> Image.Image:
    out = image.copy()
    out.paste((0, 0, 0), box)
    return out


def claims(width: int, height: int) -> bytes:
    """A PNG of a few bytes that claims to be large."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + b"IHDR" + head + struct.pack(">I", zlib.crc32(b"IHDR" + head))
    return b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", 0) + b"IEND" + struct.pack(">I", zlib.crc32(b"IEND"))


def defects() -> dict[str, tuple[str, bytes]]:
    """For each code one file (name, bytes) that has it."""
    grey = np.random.default_rng(0).normal(0, 30, (128, 128, 1))
    noisy = (np.asarray(photo(1).filter(ImageFilter.GaussianBlur(2)), float) + grey).clip(0, 255).astype(np.uint8)
    framed = photo(2)
    framed.paste((0, 0, 0), (0, 0, 128, 14))
    framed.paste((0, 0, 0), (0, 114, 128, 128))
    glass = photo(3).convert("RGBA")
    glass.putalpha(Image.linear_gradient("L").resize(glass.size))
    frames = [photo(4), photo(5)]
    exif = Image.Exif()
    exif[0x0112] = 6
    deep = Image.fromarray(np.asarray(photo(6).convert("L"), np.uint16) * 257)
    broken = bytearray(encoded(photo(7)))
    broken[len(broken) // 2] ^= 0xFF
    return {
        "empty": ("empty.png", b""),
        "not_a_picture": ("page.jpg", b"<html>404</html>"),
        "too_large": ("bomb.png", claims(1_000_000, 1_000_000)),
        "truncated": ("cut.jpg", encoded(photo(8), "JPEG")[:-700]),
        "damaged": ("broken.png", bytes(broken)),
        "too_small": ("small.png", encoded(photo(9, 12, 14))),
        "extreme_aspect": ("long.png", encoded(photo(10, 60, 400))),
        "near_uniform": ("plain.png", encoded(Image.new("RGB", (128, 128), (90, 120, 60)))),
        "blurred": ("soft.jpg", encoded(photo(11).filter(ImageFilter.GaussianBlur(4)), "JPEG", quality=90)),
        "noisy": ("noisy.png", encoded(Image.fromarray(noisy))),
        "dark": ("night.png", encoded(photo(12).point(lambda v: v * 0.15))),
        "bright": ("fog.png", encoded(photo(13).point(lambda v: 195 + v * 0.2))),
        "low_contrast": ("flat.png", encoded(photo(14).point(lambda v: 100 + v * 0.15))),
        "border": ("framed.jpg", encoded(framed, "JPEG", quality=90)),
        "upscaled": ("large.png", encoded(photo(18, 16, 16).resize((128, 128), Image.Resampling.NEAREST))),
        "compressed": ("blocks.jpg", encoded(photo(19), "JPEG", quality=3)),
        "grey_as_rgb": ("grey.png", encoded(photo(20).convert("L").convert("RGB"))),
        "wrong_suffix": ("really-png.jpg", encoded(photo(15))),
        "animated": ("moving.gif", encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])),
        "transparent": ("glass.png", encoded(glass)),
        "mode": ("deep.png", encoded(deep)),
        "exif_rotation": ("turned.jpg", encoded(photo(16), "JPEG", exif=exif)),
        "icc_profile": ("profile.png", encoded(photo(17), icc_profile=b"Display P3" * 20)),
    }


EMPTY = {
    "plain": Image.new("RGB", (128, 128), (3, 90, 8)),
    "clear": Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 4), np.uint8) * np.uint8([1, 1, 1, 0])),
    "glass": Image.new("RGBA", (64, 64), (255, 0, 0, 128)),
    "wall": Image.fromarray((200 + np.random.default_rng(0).normal(0, 5, (300, 300, 3))).clip(0, 255).astype(np.uint8)),
}  # fmt: skip


def rows(path: Path, name: str = "pictures") -> list[dict[str, object]]:
    return pq.read_table(path / f"{name}.parquet").to_pylist()


def reasons(path: Path) -> dict[str, set[str]]:
    return {Path(str(row["file"])).name: set(row["reasons"]) for row in rows(path)}  # type: ignore[call-overload]


def save(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_image(path, natural(seed, 32))
