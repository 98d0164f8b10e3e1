"""One table of picture formats, one rule for more than eight bits, and one for colour profiles, for all verbs."""

from __future__ import annotations

import io
import json
import re
import struct
import sys
import tomllib
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image, ImageCms

from ganforge import doctor
from ganforge.auditing.audit import audit
from ganforge.auditing.checks import of_file
from ganforge.auditing.facts import look
from ganforge.cli import main
from ganforge.collecting.collect import collect_pictures
from ganforge.preparing.prepare import prepare
from ganforge.sources import formats, profiles, survey
from ganforge.sources.decode import Skip, decode, identify
from ganforge.sources.entry import is_picture
from ganforge.sources.source import open_source
from ganforge.store.store import Store
from hostile import encoded, photo

ROOT = Path(__file__).parents[1]
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


def one_of_each() -> dict[str, bytes]:
    """A file of each format that is read, by its usual suffix, and an MPO."""
    import pillow_heif

    pillow_heif.register_heif_opener()
    picture = photo(3, (48, 40))
    out = {kind.suffixes[0]: encoded(picture, kind.name) for kind in formats.KINDS if kind.read and kind.name != "PSD"}
    planes = np.asarray(picture).transpose(2, 0, 1).tobytes()
    out[".psd"] = b"8BPS" + struct.pack(">H6xHIIHH", 1, 3, 40, 48, 8, 3) + bytes(14) + planes
    exif = Image.Exif()
    exif[0x0112] = 6
    out[".mpo"] = encoded(picture, "MPO", save_all=True, append_images=[photo(4, (48, 40))])
    out[".turned.mpo"] = encoded(picture, "MPO", save_all=True, append_images=[photo(4, (48, 40))], exif=exif)
    return out


# ----------------------------------------------------------------------------------------------------------- the table


def test_the_page_and_doctor_print_the_table(capsys):
    page = (ROOT / "docs/formats.md").read_text("utf-8")
    shown = re.findall(r"^\| ([^|]+) \| (`\.[^|]+) \| (.+) \|$", page, re.M)
    assert [(title, suffixes.replace("`", ""), what) for title, suffixes, what in shown] == formats.table()
    assert main(["doctor"]) == 0
    said = capsys.readouterr().out
    assert all(kind.title in said and " ".join(kind.suffixes) in said for kind in formats.KINDS)
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    assert doctor.EXTRAS.keys() == extras.keys() - {"test", "docs"}


def test_every_format_is_read_by_every_verb(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    files = one_of_each()
    for suffix, data in files.items():
        (folder / f"picture{suffix}").write_bytes(data)
    for n in range(4):
        (folder / f"other-{n}.png").write_bytes(encoded(photo(50 + n), "PNG"))
    made = audit(folder, tmp_path / "audit")
    rows = pq.read_table(made.path / "pictures.parquet").to_pylist()
    wrong = {"wrong_suffix", "unreadable", "not_a_picture", "damaged", "truncated"}
    assert not [row for row in rows if set(row["reasons"]) & wrong]
    assert not prepare(folder, tmp_path / "store", resolution=16).skipped
    mixed = collect_pictures([str(folder)], tmp_path / "collected")
    assert mixed.skipped == 0 and mixed.kept == {"in": len(rows)} and mixed.duplicates == 0
    out = tmp_path / "clean"
    assert main(["clean", str(folder), "-o", str(out), "--filter", "median:size=3"]) == 0
    assert len(list(out.glob("*.png"))) == len(rows)


@pytest.mark.parametrize("suffix", [".avif", ".heic", ".jp2", ".ico", ".psd", ".mpo", ".turned.mpo"])
def test_pixels_and_content_of_the_newer_formats(suffix):
    data = one_of_each()[suffix]
    truth = np.asarray(photo(3, (48, 40)))
    pixels, size = decode(data, 3, (255, 255, 255), 1000)
    if "turned" in suffix:
        truth = np.rot90(truth, -1)
    if suffix == ".ico":  # the largest that fits into the usual sizes of icons
        assert size == (27, 32)
    else:
        assert size == truth.shape[:2] and abs(pixels.astype(int) - truth).mean() < 7
    assert look(data, f"a{suffix}")[0].format == ("JPEG" if "mpo" in suffix else formats.of_content(data).name)
    assert identify(data) == ("jpg" if "mpo" in suffix else suffix[1:])
    with pytest.raises(Skip, match="damaged"):
        decode(data[: len(data) // (9 if "mpo" in suffix else 2)], 3, (255, 255, 255), 1000)


NAMED = {
    "a.jxl": (b"\xff\x0a" + bytes(90), "JPEG XL is not read"),
    "b.jxl": (b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(90), "JPEG XL is not read"),
    "c.svg": (b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>', "SVG is not read"),
    "d.png": (b"<svg width='3'/>", "SVG is not read"),
    "e.jpg": (b"\xff\x0a" + bytes(90), "JPEG XL is not read"),
    "f.txt": (b"words", "not a picture: .txt file"),
    "g.png": (b"<html><svg></html>", "not an image that can be read"),
}


def test_what_is_not_read_is_named_for_what_it_is(tmp_path, capsys):
    folder = tmp_path / "in"
    folder.mkdir()
    for n in range(9):
        (folder / f"{n}.png").write_bytes(encoded(photo(n), "PNG"))
    for name, (data, _) in NAMED.items():
        (folder / name).write_bytes(data)
    assert main(["prepare", str(folder), "--out", str(tmp_path / "store")]) == 2
    said = capsys.readouterr().out
    made = prepare(folder, tmp_path / "again")
    reasons = dict(made.skipped)
    for name, (_, reason) in NAMED.items():
        assert reasons[name].startswith(reason) and f"'{name}': {reason}" in said
    assert main(["clean", str(folder), "-o", str(tmp_path / "clean"), "--filter", "median"]) == 2
    audited = audit(folder, tmp_path / "audit")
    assert audited.unreadable == 6, "all but words"
    rows = pq.read_table(audited.path / "findings.parquet").to_pylist()
    details = {row["file"]: row["detail"] for row in rows if row["severity"] == "reject"}
    assert all(details[name].startswith(NAMED[name][1]) for name in ("a.jxl", "b.jxl", "c.svg", "d.png", "e.jpg"))


def test_heic_without_its_extra_says_what_to_install(tmp_path, monkeypatch, capsys):
    data = one_of_each()[".heic"]
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    for call in (lambda: decode(data, 3, (0, 0, 0), 32), lambda: identify(data)):
        with pytest.raises(Skip, match=re.escape('HEIC needs pip install "ganforge[heic]"')):
            call()
    facts, *_ = look(data, "a.heic")
    assert facts.code == "unreadable" and "ganforge[heic]" in facts.detail
    main(["doctor"])
    assert re.search(r"HEIC +no ", capsys.readouterr().out)


def test_an_icon_that_holds_a_bomb_is_not_decoded():
    png = (
        b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + b"IHDR" + struct.pack(">IIBBBBB", 90_000, 90_000, 8, 2, 0, 0, 0)
    )
    dib = struct.pack("<IiiHH", 40, 90_000, 180_000, 1, 24) + bytes(24)
    for inner in (png, dib):
        data = b"\0\0\1\0\1\0" + struct.pack("<BBBBHHII", 16, 16, 0, 0, 1, 24, len(inner), 22) + inner
        with pytest.raises(Skip, match="over the limit"):
            decode(data, 3, (0, 0, 0), 32)


def test_suffixes_are_of_one_format_each():
    suffixes = [suffix for kind in formats.KINDS for suffix in kind.suffixes]
    assert len(suffixes) == len(set(suffixes))
    assert is_picture("a.mpo") and is_picture("A.AVIF") and is_picture("train/00001") and not is_picture("a.svg")


# ------------------------------------------------------------------------------------------- a spread of the whole set


def test_colour_late_in_the_set_is_not_greyed(tmp_path):
    """The first 300 of 400 are grey."""
    folder = tmp_path / "in"
    folder.mkdir()
    for n in range(400):
        (folder / f"{n:03d}.png").write_bytes(encoded(photo(n, (12, 12)).convert("L" if n < 300 else "RGB"), "PNG"))
    made = prepare(folder, tmp_path / "store")
    assert made.store.spec.channels == 3 and not made.skipped
    assert any("are grey" in note and "--channels 1 greys them" in note for note in made.notes)
    grey = prepare(folder, tmp_path / "grey", channels=1)
    assert grey.store.spec.channels == 1 and any("greyed by --channels 1" in note for note in grey.notes)


def test_colour_that_was_not_looked_at_is_left_out_by_name(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for n in range(400):
        (folder / f"{n:03d}.png").write_bytes(encoded(photo(n, (12, 12)).convert("L"), "PNG"))
    seen = {entry.name for entry in survey.sample(open_source(folder))}
    assert len(seen) == survey.LOOKED_AT and {name[0] for name in seen} == set("0123")
    missed = sorted({f"{n:03d}.png" for n in range(400)} - seen)
    (folder / missed[0]).write_bytes(encoded(photo(7, (12, 12)), "PNG"))
    (folder / missed[1]).write_bytes(
        encoded(photo(8, (12, 12)).convert("L").convert("RGB"), "JPEG")
    )  # grey, written as RGB
    made = prepare(folder, tmp_path / "store")
    assert [name for name, _ in made.skipped] == [missed[0]] and "--channels 3" in made.skipped[0][1]
    assert made.unusable == 1


# ------------------------------------------------------------------------------------------------- more than eight bits


def deep_set(folder: Path, bits: int, suffix: str = ".png", count: int = 10) -> None:
    """Ramps that reach up to n tenths of the bits."""
    folder.mkdir()
    ramp = np.linspace(0, 1, 256).reshape(16, 16)
    for n in range(1, count + 1):
        values = (ramp * n / count * (2**bits - 1)).round().astype(np.uint16)
        (folder / f"{n:02d}{suffix}").write_bytes(
            encoded(Image.fromarray(values), "PNG" if suffix == ".png" else "TIFF")
        )


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
def test_bits_in_files_of_16_become_bytes_for_the_whole_set(tmp_path, bits):
    deep_set(tmp_path / "in", bits)
    made = prepare(tmp_path / "in", tmp_path / "store", heldout=0)
    assert any(f"0 becomes black, {2**bits - 1:,} white" in note for note in made.notes)
    pictures = made.store.read(np.arange(10))
    truth = np.linspace(0, 1, 256).reshape(16, 16) * 255
    for n, picture in enumerate(pictures, 1):
        assert abs(picture[..., 0] - truth * n / 10).max() <= 0.65
    facts = pq.read_table(audit(tmp_path / "in", tmp_path / "audit").path / "pictures.parquet").to_pylist()
    assert [row["high"] for row in facts] == sorted(row["high"] for row in facts) and facts[-1]["high"] > 240


def test_levels_that_are_said(tmp_path, capsys, fails):
    deep_set(tmp_path / "in", 12)
    full = prepare(tmp_path / "in", tmp_path / "full", levels="full", heldout=0).store.read(np.arange(10))
    assert full.max() == 16
    window = prepare(tmp_path / "in", tmp_path / "window", levels="1000,2000", heldout=0).store.read(np.arange(10))
    assert window[1].max() == 0 and window[9].min() == 0 and window[9].max() == 255
    for wrong in ("all", "5", "7,7", "9,1", "0,inf", "a,b"):
        assert "such as 0,4095" in fails("prepare", tmp_path / "in", "--out", tmp_path / "x", "--levels", wrong)


def test_float_tiffs_share_their_levels(tmp_path):
    """Picture by picture the dim one would be as bright as the bright one."""
    (tmp_path / "in").mkdir()
    ramp = np.linspace(0, 1, 256, dtype=np.float32).reshape(16, 16)
    for n in range(1, 11):
        (tmp_path / "in" / f"{n:02d}.tif").write_bytes(encoded(Image.fromarray(ramp * n * 100 - 50), "TIFF"))
    made = prepare(tmp_path / "in", tmp_path / "store", heldout=0)
    said = "more than 8 bits: -50 becomes black, 950 white in 10 pictures of floats, less than an eighth of that in 1 of them"
    assert f"{said}; --levels sets it" in made.notes
    assert any("-50 becomes black" in note for note in audit(tmp_path / "in", tmp_path / "audit").notes)
    assert (
        main(["prepare", str(tmp_path / "in"), "-o", str(tmp_path / "said"), "--levels=-50,950", "--heldout", "0"]) == 0
    )
    assert np.array_equal(Store(tmp_path / "said").read(np.arange(10)), made.store.read(np.arange(10)))
    brightest = made.store.read(np.arange(10)).max((1, 2, 3))
    assert brightest.tolist() == [round(n * 25.5) for n in range(1, 11)]
    out = tmp_path / "clean"
    assert main(["clean", str(tmp_path / "in"), "-o", str(out), "--filter", "median:size=3"]) == 0
    assert [int(np.asarray(Image.open(path)).max()) for path in sorted(out.glob("*.png"))] == pytest.approx(
        brightest, abs=3
    )


def test_sixteen_bits_of_colour_keep_their_lower_ones():
    import imagecodecs

    values = np.random.default_rng(0).integers(0, 4096, (20, 30, 3)).astype(np.uint16)
    tiff = imagecodecs.tiff_encode(values, photometric="rgb") if hasattr(imagecodecs, "tiff_encode") else None
    for data in filter(None, (imagecodecs.png_encode(values), tiff)):
        pixels, _ = decode(data, 3, (0, 0, 0), 32)
        assert abs(pixels - values * (255 / 4095)).max() <= 0.5
        facts, *_ = look(data, "a.png")
        assert facts.mode == "RGB;16" and [f.code for f in of_file(0, facts, "a.png", False)][-1:] == ["mode"]
    see_through = np.concatenate([values, np.full((20, 30, 1), 65535, np.uint16)], 2)
    pixels, _ = decode(imagecodecs.png_encode(see_through), 4, (0, 0, 0), 32)
    assert (pixels[..., 3] == 255).all() and abs(pixels[..., :3] - values * (255 / 4095)).max() <= 0.5


def test_deep_pictures_that_were_not_looked_at(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for n in range(400):
        (folder / f"{n:03d}.png").write_bytes(encoded(photo(n, (12, 12)).convert("L"), "PNG"))
    missed = sorted({f"{n:03d}.png" for n in range(400)} - {entry.name for entry in survey.sample(open_source(folder))})
    ramp = np.linspace(0, 1, 144).reshape(12, 12)
    for name, top in zip(missed, (4095, 65535), strict=False):
        (folder / name).write_bytes(encoded(Image.fromarray((ramp * top).astype(np.uint16)), "PNG"))
    made = prepare(folder, tmp_path / "store")
    assert [name for name, _ in made.skipped] == [missed[0]] and "--levels" in made.skipped[0][1]


def test_shards_joined_share_the_levels(tmp_path):
    deep_set(tmp_path / "in", 12)
    words = ["prepare", str(tmp_path / "in"), "--out", str(tmp_path / "store"), "--part-size", "4"]
    assert main([*words, "--shard", "0/2"]) == 0 and main(words) == 0
    at_once = prepare(tmp_path / "in", tmp_path / "again", part_size=4)
    assert np.array_equal(Store(tmp_path / "store").read(np.arange(10)), at_once.store.read(np.arange(10)))
    assert json.loads((tmp_path / "store" / "manifest.json").read_text())["recipe"]["depth"] == "integers 0 to 4,095"


# ------------------------------------------------------------------------------------------------------ colour profiles


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
