"""Bytes of a picture file become pixels, or a reason why not."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image, ImageOps, ImageSequence
from PIL.PngImagePlugin import PngInfo

from ganforge.preparing.prepare import prepare
from ganforge.sources.decode import decode, decode_frames, identify, open_image, orientation_of
from ganforge.sources.entry import Entry, Skip
from hostile import encoded
from synthetic import picture


def test_content_decides_the_suffix():
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "JPEG")
    assert identify(buffer.getvalue(), ".png") == "jpg"
    for data in (
        b"",
        b"<svg/>",
        b"MZ not",
        b"\x89PNG\r\n\x1a\n",
        b"RIFF\0\0\0\0WEBPVP8 ",
        b"II*\0" + bytes(50),
        b"P6\n99999999 99999999 255\n",
    ):
        with pytest.raises(Skip):
            identify(data)


WHITE = (255, 255, 255)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_exif_rotation_is_applied(kind, orientation):
    upright = np.zeros((40, 24, 3), np.uint8)
    upright[:20, :12] = (250, 10, 10)
    undo = {2: 2, 3: 3, 4: 4, 5: 5, 6: 8, 7: 7, 8: 6}
    image = Image.fromarray(upright)
    if orientation in undo:
        from ganforge.sources.decode import TRANSPOSE

        image = image.transpose(TRANSPOSE[undo[orientation]])
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels, size = decode(encoded(image, kind, exif=exif), 3, WHITE, 64)
    assert size == (40, 24)
    assert np.abs(pixels.astype(int) - upright).mean() < 4


def test_transparency_is_laid_over_the_background_or_kept():
    ghost = Image.new("RGBA", (20, 20), (200, 0, 0, 0))
    data = encoded(ghost)
    assert decode(data, 3, (0, 0, 255), 20)[0][0, 0].tolist() == [0, 0, 255]
    assert decode(data, 4, (0, 0, 255), 20)[0][0, 0, 3] == 0
    assert decode(encoded(picture(0)), 4, WHITE, 20)[0][0, 0, 3] == 255


def test_sixteen_bits_keep_their_brightness():
    ramp = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    pixels, _ = decode(encoded(Image.fromarray(ramp)), 1, WHITE, 16)
    assert np.abs(pixels[..., 0].astype(int).ravel() - np.arange(256)).max() <= 1


def test_a_huge_header_is_refused_before_decoding():
    import struct
    import zlib

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
    data = (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 1000))
        + chunk(b"IEND", b"")
    )
    with pytest.raises(Skip, match="400 megapixels"):
        decode(data, 3, WHITE, 64)


def test_real_emoji_keep_their_alpha(real_data, tmp_path):
    mosaic = Image.open(real_data / "emoji" / "emoji_0.webp").convert("RGBA")
    (tmp_path / "in").mkdir()
    for n in range(40):
        left, top = n % 30 * 128, n // 30 * 128
        mosaic.crop((left, top, left + 128, top + 128)).save(tmp_path / "in" / f"{n}.png")
    store = prepare(tmp_path / "in", tmp_path / "store", resolution=32, channels=4).store
    pixels = store.read(np.arange(40))
    assert pixels[..., 3].min() == 0
    assert pixels[..., 3].max() == 255
    flat = prepare(tmp_path / "in", tmp_path / "flat", resolution=32, background="#00ff00")
    assert flat.store.read(np.array([0]))[0, 0, 0].tolist() == [0, 255, 0]
    assert any("--channels 4" in note for note in flat.notes)


def _text(keyword: str, value: str) -> PngInfo:
    info = PngInfo()
    info.add_itxt(keyword, value)
    return info


TURNED = '<x:xmpmeta xmlns:tiff="http://ns.adobe.com/tiff/1.0/"><rdf tiff:Orientation="6"/></x:xmpmeta>'


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "1", "LA"])
@pytest.mark.parametrize(
    ("options", "upright"),
    [
        ({}, True), ({"dpi": (72, 72)}, True), ({"pnginfo": _text("Software", "a pencil")}, True),
        ({"pnginfo": _text("Comment", "x" * 70_000)}, True), ({"pnginfo": _text("XML:com.adobe.xmp", TURNED)}, False),
        ({"optimize": True}, True), ({"compress_level": 0}, True),
    ],
)  # fmt: skip
def test_every_png_has_pillows_pixels(mode, options, upright):
    coarse = Image.fromarray(np.random.default_rng(3).integers(0, 256, (9, 14, 3), np.uint8)).resize((90, 140))
    data = encoded(coarse.convert(mode), **options)
    with Image.open(io.BytesIO(data)) as file:
        assert (orientation_of(file) == 1) == upright
        wanted = ImageOps.exif_transpose(file)
        wanted = wanted.convert("RGBA")
        wanted = Image.alpha_composite(Image.new("RGBA", wanted.size, "white"), wanted).convert("RGB")
    pixels, size = decode(data, 3, WHITE, 64)
    assert size == ((140, 90) if upright else (90, 140))
    assert np.array_equal(pixels, np.asarray(wanted))


def test_an_icon_that_holds_a_bomb_is_not_decoded():
    png = (
        b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + b"IHDR" + struct.pack(">IIBBBBB", 90_000, 90_000, 8, 2, 0, 0, 0)
    )
    dib = struct.pack("<IiiHH", 40, 90_000, 180_000, 1, 24) + bytes(24)
    for inner in (png, dib):
        data = b"\0\0\1\0\1\0" + struct.pack("<BBBBHHII", 16, 16, 0, 0, 1, 24, len(inner), 22) + inner
        with pytest.raises(Skip, match="over the limit"):
            decode(data, 3, (0, 0, 0), 32)


@pytest.mark.parametrize("frame", [0, 1])
def test_frames_of_a_gif_are_held_to_the_limit(frame):
    """Pillow makes room for a frame as soon as it has read its extent: 4 GB for these 60 bytes."""
    data = b"GIF89a" + struct.pack("<2H3B", 8, 8, 0x80, 0, 0) + bytes(3) + b"\xff\xff\xff"
    for number in range(2):
        side = 65_535 if number == frame else 8
        data += b"!\xf9\4\x08\x0a\0\0\0" + b"," + struct.pack("<4HB", 0, 0, side, side, 0)  # the background comes back
        data += b"\x02\x0a" + b"\x84\x8f\xa9\xcb\xed\x0f\xa3\x9c\xb4\xda" + b"\0"
    with pytest.raises(Skip, match="65535x65535 is 4295 megapixels, over the limit of 64"):
        list(ImageSequence.Iterator(open_image(data + b";")))


def test_frames_of_a_clip_are_of_one_size():
    small, large = (encoded(Image.new("RGB", (8, side))) for side in (8, 9))
    frames = list(decode_frames(Entry("a", bytes, frames=(lambda: small, lambda: small)), 8))
    assert [(data, frame.shape) for data, frame in frames] == [(small, (8, 8, 4))] * 2
    with pytest.raises(Skip, match="frames of several sizes: 8x8, 9x8"):
        list(decode_frames(Entry("a", bytes, frames=(lambda: small, lambda: large)), 8))
    with pytest.raises(Skip, match="over the limit of 10,000"):
        next(decode_frames(Entry("a", bytes, frames=(lambda: small,) * 10_001), 8))
