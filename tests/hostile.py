"""A folder of everything that can be wrong with a picture or an archive, made by script, with what is to become of
each."""

from __future__ import annotations

import io
import os
import struct
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

SIDE = 32
NO_IMAGE, DAMAGED, OVER = "not an image that can be read", "damaged: ", r"\d+x\d+ is \d+ megapixels, over the limit"


@dataclass(frozen=True)
class Expectation:
    """What becomes of a file: used where `reason` is None, else left out with a reason that this pattern begins."""

    reason: str | None = None


USED = Expectation()


def photo(seed: int, size: tuple[int, int] = (SIDE, SIDE)) -> Image.Image:
    """A smooth RGB picture."""
    small = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    return Image.fromarray(small).resize(size, Image.Resampling.BICUBIC)


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    """The bytes of a file."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def damaged(data: bytes, seed: int, changes: int) -> bytes:
    """The beginning of `data`, of any length, with at most `changes` of its bytes changed."""
    rng = np.random.default_rng(seed)
    out = bytearray(data[: rng.integers(0, len(data) + 1)])
    for at in rng.integers(0, max(1, len(out)), changes):
        if len(out):
            out[at] = rng.integers(256)
    return bytes(out)


def chunk(kind: bytes, body: bytes) -> bytes:
    """One chunk of a PNG."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, depth: int, data: bytes, *between: bytes) -> bytes:
    """A grey PNG with these dimensions, whatever `data` is, and chunks between header and data."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(between) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def one_bit(side: int) -> bytes:
    """A white PNG of side x side, a few kilobytes."""
    return png(side, side, 1, zlib.compress((b"\0" + b"\xff" * ((side + 7) // 8)) * side))


def build(folder: Path) -> dict[str, Expectation]:
    """Make the files; their names below `folder`, as a source shows them, and what is to become of each.

    Files that are not to be looked at all (hidden ones) have no entry. Mode bits say nothing to root, who gets none of
    those."""
    folder.mkdir(parents=True)
    out: dict[str, Expectation] = {}

    def put(name: str | bytes, data: bytes, reason: str | None = None) -> None:
        (folder / os.fsdecode(name)).write_bytes(data)
        out[os.fsencode(name).decode("utf-8", "backslashreplace")] = Expectation(reason)

    _damaged(put)
    _huge(put)
    _kinds(put)
    _chunks(put)
    _names(put)
    out.update(_places(folder))
    return out


def _damaged(put) -> None:
    put("empty.png", b"", "empty file")
    put("empty.jpg", b"", "empty file")
    put("one-byte.png", b"\x89", NO_IMAGE)
    put("zeros.jpg", bytes(5000), NO_IMAGE)
    put("page.jpg", b"<html>404</html>", NO_IMAGE)
    put("program.png", b"\x7fELF" + bytes(200), NO_IMAGE)
    put("signature-only.png", b"\x89PNG\r\n\x1a\n", f"{NO_IMAGE}|{DAMAGED}")
    put("start-only.jpg", b"\xff\xd8\xff", f"{NO_IMAGE}|{DAMAGED}")
    put("words.txt", b"no picture", "not a picture: .txt file")
    put("archive.zip", b"PK\x05\x06" + bytes(18), "not a picture: .zip file")
    large = photo(1, (200, 200))
    for kind, suffix in (("JPEG", "jpg"), ("PNG", "png"), ("GIF", "gif"), ("WEBP", "webp"), ("TIFF", "tif")):
        data = encoded(large, kind)
        put(f"cut-half.{suffix}", data[: len(data) // 2], f"{DAMAGED}|{NO_IMAGE}")
        put(f"cut-header.{suffix}", data[:14], f"{DAMAGED}|{NO_IMAGE}")
    put("cut-end.jpg", encoded(large, "JPEG")[:-300], DAMAGED)
    for kind, suffix in (("JPEG", "jpg"), ("PNG", "png")):
        flipped = bytearray(encoded(large, kind))
        for place in range(len(flipped) // 2, len(flipped) - 50, 7):
            flipped[place] ^= 0x5A
        put(f"flipped.{suffix}", bytes(flipped), DAMAGED)
    put("really-a.jpg", encoded(photo(2), "PNG"))
    put("really-b.png", encoded(photo(3), "JPEG"))
    put("really-c.gif", encoded(photo(4), "WEBP"))
    put("nothing-behind-the-dot.", encoded(photo(5), "PNG"))
    put("trailing-words.png", encoded(photo(6), "PNG") + b"<?php echo 1; ?>" * 1000)


def _huge(put) -> None:
    for side in (9000, 12000, 14000):
        put(f"mega-{side}.png", one_bit(side), OVER)
    put("within-the-limit.png", one_bit(5000))
    million = 1_000_000
    put("tera.png", png(million, million, 8, zlib.compress(bytes(100))), OVER)
    info = struct.pack("<IiiHHIIiiII", 40, million, million, 1, 24, 0, 0, 0, 0, 0, 0)
    put("tera.bmp", b"BM" + struct.pack("<IHHI", 154, 0, 0, 54) + info + bytes(100), OVER)
    tags = [(256, 4, million), (257, 4, million), (258, 3, 8), (259, 3, 1), (262, 3, 1), (273, 4, 8), (277, 3, 1),
            (278, 4, million), (279, 4, 100)]  # fmt: skip
    directory = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", t, k, 1, v) for t, k, v in tags) + bytes(4)
    put("tera.tif", b"II*\0" + struct.pack("<I", 8) + directory + bytes(100), OVER)
    screen = b"GIF89a" + struct.pack("<HHBBB", 65535, 65535, 0, 0, 0)
    frame = b"\x2c" + struct.pack("<HHHHB", 0, 0, 65535, 65535, 0)
    put("giga.gif", screen + frame + b"\x02\x02\x4c\x01\x00\x3b", OVER)
    canvas = struct.pack("<I", 10) + b"\0\0\0\0" + (65534).to_bytes(3, "little") + (65534).to_bytes(3, "little")
    put(
        "giga.webp",
        b"RIFF" + struct.pack("<I", 4 + 4 + len(canvas)) + b"WEBPVP8X" + canvas,
        f"{NO_IMAGE}|{DAMAGED}|{OVER}",
    )
    put("point.png", encoded(photo(7, (1, 1)), "PNG"))
    put("tall.png", encoded(photo(8).resize((1, 20000)), "PNG"))
    put("wide.png", encoded(photo(9).resize((20000, 1)), "PNG"))
    put("zero-wide.png", png(0, 10, 8, zlib.compress(b"")), f"{DAMAGED}|{NO_IMAGE}")


def _kinds(put) -> None:
    deep = np.random.default_rng(0).integers(0, 65536, (SIDE, SIDE)).astype(np.uint16)
    put("deep.png", encoded(Image.fromarray(deep), "PNG"))
    put("deep.tif", encoded(Image.fromarray(deep), "TIFF"))
    put("float.tif", encoded(Image.fromarray(deep.astype(np.float32) - 1000), "TIFF"))
    nan = deep.astype(np.float32)
    nan[3], nan[4] = np.nan, np.inf
    put("float-nan.tif", encoded(Image.fromarray(nan), "TIFF"))
    put("bits.png", encoded(photo(10).convert("1"), "PNG"))
    put("grey-alpha.png", encoded(photo(11).convert("LA"), "PNG"))
    ghost = photo(12).convert("RGBA")
    ghost.putalpha(Image.linear_gradient("L").resize(ghost.size))
    put("ghost.png", encoded(ghost, "PNG"))
    palette = photo(13).quantize(16)
    put("palette-alpha.png", encoded(palette, "PNG", transparency=bytes(range(0, 256, 16))))
    put("palette-alpha.gif", encoded(palette, "GIF", transparency=3))
    cmyk = encoded(photo(14).convert("CMYK"), "JPEG")
    put("cmyk.jpg", cmyk)
    put("ycck.jpg", cmyk.replace(b"Adobe\0\x64\0\0\0\0\0", b"Adobe\0\x64\0\0\0\0\x02"))
    put("progressive.jpg", encoded(photo(15), "JPEG", progressive=True))
    frames = [photo(n) for n in range(16, 20)]
    for kind, suffix in (("GIF", "gif"), ("WEBP", "webp"), ("PNG", "png")):
        put(f"moving.{suffix}", encoded(frames[0], kind, save_all=True, append_images=frames[1:], duration=50))
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        put(f"turned-{orientation}.jpg", encoded(photo(20 + orientation, (40, 24)), "JPEG", exif=exif))
    jpeg = encoded(photo(30), "JPEG")
    for name, body in (
        ("exif-words", b"Exif\0\0words instead of tags"),
        ("exif-loop", b"Exif\0\0II*\0\x08\0\0\0\x01\0\x69\x87\x04\0\x01\0\0\0\x08\0\0\0"),
    ):
        put(f"{name}.jpg", jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + jpeg[2:])
    put("icc-damaged.jpg", encoded(photo(31), "JPEG", icc_profile=b"no profile at all" * 9))
    put("icc-damaged.png", encoded(photo(32), "PNG", icc_profile=b"no profile at all" * 9))


def _chunks(put) -> None:
    bomb = zlib.compress(bytes(65 << 20), 9)
    rows = zlib.compress((b"\0" + bytes(range(SIDE))) * SIDE)
    put("text-bomb.png", png(SIDE, SIDE, 8, rows, chunk(b"zTXt", b"Comment\0\0" + bomb)), f"{DAMAGED}|{NO_IMAGE}")
    put("utf-bomb.png", png(SIDE, SIDE, 8, rows, chunk(b"iTXt", b"Comment\0\1\0\0\0" + bomb)), f"{DAMAGED}|{NO_IMAGE}")
    put("icc-bomb.png", png(SIDE, SIDE, 8, rows, chunk(b"iCCP", b"icc\0\0" + bomb)), DAMAGED)
    put("data-bomb.png", png(SIDE, SIDE, 8, bomb))
    put("many-chunks.png", png(SIDE, SIDE, 8, rows, chunk(b"abCd", b"") * 50_000))
    put("many-texts.png", png(SIDE, SIDE, 8, rows, chunk(b"tEXt", b"k\0v") * 50_000))
    length = struct.pack(">I", len(rows)) + b"IDAT"
    lie = png(SIDE, SIDE, 8, rows).replace(length, b"\x7f\xff\xff\xffIDAT")
    put("length-lie.png", lie, f"{DAMAGED}|{NO_IMAGE}")


def _names(put) -> None:
    names: list[str | bytes] = [
        "new\nline.png", "tab\tand\x1bescape.png", "'quotes\" and `ticks`.png", "-rf.png", "--out.png",
        "$(touch evil).png",
        "; rm -rf $HOME.png", "caf\u00e9.png", "cafe\u0301.png", "\u202egnp.exe.png", "\u05e9\u05dc\u05d5\u05dd.png",
        b"not-utf-\xff\xfe.png", "x" * 251 + ".png",
        "y" * 251 + ".jpg", "comma, and = sign.png", "CON.png", "back\\slash.png", "%2e%2e%2fup.png", "...png", " .png",
    ]  # fmt: skip
    for n, name in enumerate(names):
        if not os.fsencode(name).startswith(b"."):
            put(name, encoded(photo(100 + n), "JPEG" if os.fsencode(name).endswith(b".jpg") else "PNG"))


def _places(folder: Path) -> dict[str, Expectation]:
    """Hidden files, links, pipes and modes."""
    (folder / ".hidden.png").write_bytes(b"x")
    (folder / ".hidden").mkdir()
    (folder / ".hidden" / "deep.png").write_bytes(b"x")
    outside = folder.parent / "outside"
    outside.mkdir()
    (outside / "there.png").write_bytes(encoded(photo(200), "PNG"))
    (outside / "secret.txt").write_text("secret")
    out = {}
    for name, target, reason in (
        ("link-to-itself.png", "link-to-itself.png", "cannot be read"),
        ("link-to-nothing.png", "nowhere.png", "cannot be read"),
        ("link-to-picture.png", "../outside/there.png", None),
        ("link-to-secret.png", "../outside/secret.txt", NO_IMAGE),
        ("link-to-here", ".", "a link to a folder that it lies in"),
        ("link-to-folder.png", "../outside", "a link to a folder outside of the source"),
        ("link-to-device.png", "/dev/zero", "not a regular file"),
    ):  # fmt: skip
        (folder / name).symlink_to(target)
        out[name + "/" * (folder / name).is_dir()] = Expectation(reason)
    os.mkfifo(folder / "pipe.png")
    out["pipe.png"] = Expectation("not a regular file")
    if os.geteuid() != 0:
        (folder / "locked.png").write_bytes(encoded(photo(201), "PNG"))
        (folder / "locked.png").chmod(0)
        out["locked.png"] = Expectation("cannot be read")
    deep = folder / Path(*["deeper"] * 20)
    deep.mkdir(parents=True)
    (deep / "bottom.png").write_bytes(encoded(photo(202), "PNG"))
    out["deeper/" * 20 + "bottom.png"] = USED
    (folder / "folder.png").mkdir()
    return out


# --------------------------------------------------------------------------------------------------------- the archives


@dataclass(frozen=True)
class Archive:
    """What becomes of a zip: refused with a sentence that has this in it, or read, each member with its expectation."""

    refused: str | None = None
    members: dict[str, Expectation] | None = None


def build_zips(folder: Path) -> dict[str, Archive]:
    """Make hostile zips, ten good pictures in each that can be read; what is to become of each."""
    folder.mkdir(parents=True)
    good = {f"{n}.png": encoded(photo(300 + n), "PNG") for n in range(10)}
    used = dict.fromkeys(good, USED)
    out: dict[str, Archive] = {}

    def put(
        name: str, more: dict[str, bytes], expected: dict[str, Expectation], method: int = zipfile.ZIP_DEFLATED
    ) -> Path:
        path = folder / name
        with zipfile.ZipFile(path, "w", method) as archive:
            for inner, data in (good | more).items():
                archive.writestr(zipfile.ZipInfo(inner), data, method)
        out[name] = Archive(members=used | expected)
        return path

    evil = encoded(photo(400), "PNG")
    escapes = ("../up.png", "../../up.png", "/tmp/absolute.png", "a/../../b.png", "C:\\windows.png", "..\\back.png")
    shown = [name for name in escapes if not any(part.startswith(".") for part in name.split("/"))]  # no hidden ones
    put("escapes.zip", dict.fromkeys(escapes, evil), dict.fromkeys(shown, USED))
    put("ratio.zip", {"bomb.png": bytes(50 << 20)}, {"bomb.png": Expectation("unpacks from")})
    put("nested.zip", {"inner.zip": encoded(photo(1), "PNG")}, {"inner.zip": Expectation("not a picture: .zip file")})
    many = {f"texts/{n}.txt": b"" for n in range(100_000)}
    put("many.zip", many, dict.fromkeys(many, Expectation("not a picture: .txt file")), zipfile.ZIP_STORED)
    _links(folder / "links.zip", good)
    out["links.zip"] = Archive(members=used | {"link.png": Expectation(NO_IMAGE)})
    _patched(put, folder, out, used)
    (folder / "cut.zip").write_bytes((folder / "nested.zip").read_bytes()[:-60])
    out["cut.zip"] = Archive("cut short")
    data = bytearray((folder / "nested.zip").read_bytes())
    data[data.rindex(b"PK\x01\x02") + 2] ^= 0xFF
    (folder / "directory.zip").write_bytes(data)
    out["directory.zip"] = Archive("cannot be opened as a zip")
    return out


def _links(path: Path, good: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in good.items():
            archive.writestr(name, data)
        link = zipfile.ZipInfo("link.png")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")


def _patched(put, folder: Path, out: dict[str, Archive], used: dict[str, Expectation]) -> None:
    """Archives that zipfile does not write of itself."""
    path = put("encrypted.zip", {"secret.png": b"S" * 50}, {"secret.png": Expectation("encrypted inside the zip")})
    data = bytearray(path.read_bytes())
    data[data.rindex(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    path = put(
        "lying.zip",
        {"lying.png": bytes(9000)},
        {"lying.png": Expectation("cannot be unpacked|longer than|damaged|not an image")},
    )
    data = bytearray(path.read_bytes())
    data[data.rindex(b"PK\x01\x02") + 24 :][:4] = struct.pack("<I", 100)
    place = data.rindex(b"PK\x01\x02") + 24
    data[place : place + 4] = struct.pack("<I", 100)
    path.write_bytes(data)
    with zipfile.ZipFile(folder / "twice.zip", "w") as archive:
        import warnings

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for n in range(10):
                for seed in (500, 600):
                    archive.writestr(f"{n}.png", encoded(photo(seed + n), "PNG"))
    out["twice.zip"] = Archive(members=used)
