"""Colour profiles."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image, ImageCms

from ganforge.auditing.facts import look
from ganforge.preparing.prepare import prepare
from ganforge.sources import profiles
from ganforge.sources.decode import decode
from hostile import encoded, photo

P3 = ((0.5151, 0.2412, -0.0011), (0.2919, 0.6922, 0.0419), (0.1572, 0.0666, 0.7841))


SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def profile(primaries: tuple[tuple[float, float, float], ...] = P3, gamma: float = 2.2, name: str = "wide") -> bytes:
    """An ICC profile of three primaries (XYZ under D50) and one gamma."""

    def fixed(*values: float) -> bytes:
        return b"".join(struct.pack(">i", round(v * 65536)) for v in values)

    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"
    text = name.encode() + b"\0"
    described = b"desc\0\0\0\0" + struct.pack(">I", len(text)) + text + bytes(78)
    tags = {b"desc": described + bytes(-len(described) % 4), b"wtpt": b"XYZ \0\0\0\0" + fixed(0.9642, 1, 0.8249)}
    tags |= {
        word: b"XYZ \0\0\0\0" + fixed(*xyz) for word, xyz in zip((b"rXYZ", b"gXYZ", b"bXYZ"), primaries, strict=True)
    }
    tags |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)
    table, body, start = b"", b"", 132 + 12 * len(tags)
    for word, data in tags.items():
        table += word + struct.pack(">II", start + len(body), len(data))
        body += data
    head = struct.pack(">I", start + len(body)) + b"none" + struct.pack(">I", 0x02400000) + b"mntrRGB XYZ " + bytes(12)
    head += b"acsp" + bytes(28) + fixed(0.9642, 1, 0.8249) + bytes(48)
    return head + struct.pack(">I", len(tags)) + table + body


def converted(picture: Image.Image, mode: str = "RGB") -> np.ndarray:
    """What ImageCms says, told directly."""
    source = ImageCms.ImageCmsProfile(io.BytesIO(picture.info["icc_profile"]))
    return np.asarray(ImageCms.profileToProfile(picture, source, ImageCms.createProfile("sRGB"), outputMode=mode))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "EXIF", "TIFF", "WEBP", "AVIF"])
def test_profiles_are_converted_to_srgb(kind):
    exif = Image.Exif()
    exif[0x0112] = 1
    options = {"exif": exif} if kind == "EXIF" else {"lossless": True} if kind == "WEBP" else {}
    data = encoded(photo(3, (40, 30)), "JPEG" if kind == "EXIF" else kind, icc_profile=profile(), **options)
    with Image.open(io.BytesIO(data)) as opened:
        truth = converted(opened)
        assert abs(truth.astype(int) - np.asarray(opened.convert("RGB"))).mean() > 5
    pixels, _ = decode(data, 3, (0, 0, 0), 64)
    assert abs(pixels.astype(int) - truth).mean() < 1
    grey, _ = decode(data, 1, (0, 0, 0), 64)
    assert abs(grey[..., 0].astype(int) - np.asarray(Image.fromarray(truth).convert("L"))).mean() < 1
    facts, thumbnail, _ = look(data, "a.png")
    assert facts.profile == "converted to sRGB" and thumbnail is not None


def test_alpha_stays_under_a_profile_and_other_modes_are_converted():
    glass = photo(3, (40, 30)).convert("RGBA")
    glass.putalpha(Image.linear_gradient("L").resize(glass.size))
    pixels, _ = decode(encoded(glass, "PNG", icc_profile=profile()), 4, (0, 0, 0), 64)
    opaque, _ = decode(encoded(photo(3, (40, 30)), "PNG", icc_profile=profile()), 3, (0, 0, 0), 64)
    assert np.array_equal(pixels[..., 3], np.asarray(glass.getchannel("A"))) and np.array_equal(pixels[..., :3], opaque)
    lab = ImageCms.profileToProfile(
        photo(3, (40, 30)), ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
    )
    back, _ = decode(encoded(lab, "TIFF"), 3, (0, 0, 0), 64)
    assert abs(back.astype(int) - np.asarray(photo(3, (40, 30)))).mean() < 3


def test_what_needs_no_conversion_keeps_its_bytes():
    plain, _ = decode(encoded(photo(3), "PNG"), 3, (0, 0, 0), 64)
    for block in (SRGB, b"no profile at all" * 9):
        pixels, _ = decode(encoded(photo(3), "PNG", icc_profile=block), 3, (0, 0, 0), 64)
        assert np.array_equal(pixels, plain)
    assert not profiles.differs(SRGB, "RGB") and profiles.differs(profile(), "RGB")
    linear = profile(((0.4361, 0.2225, 0.0139), (0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7141)), 1.0, "linear sRGB")
    assert profiles.differs(linear, "RGB"), "its name is no proof"


def test_prepare_says_that_profiles_were_converted(tmp_path):
    (tmp_path / "in").mkdir()
    for n in range(8):
        (tmp_path / "in" / f"{n}.jpg").write_bytes(encoded(photo(n), "JPEG", icc_profile=profile() if n < 3 else SRGB))
    made = prepare(tmp_path / "in", tmp_path / "store")
    assert "3 of 8 pictures looked at have another colour profile than sRGB and are converted to sRGB" in made.notes
