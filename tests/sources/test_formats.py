"""One table of picture formats."""

from __future__ import annotations

import re
import struct
import sys
import tomllib
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from ganforge import doctor
from ganforge.auditing.audit import audit
from ganforge.auditing.facts import look
from ganforge.cli import main
from ganforge.collecting.collect import collect_pictures
from ganforge.preparing.prepare import prepare
from ganforge.sources import formats
from ganforge.sources.decode import Skip, decode, identify
from hostile import encoded, photo

ROOT = Path(__file__).parents[2]


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


def test_suffixes_are_of_one_format_each():
    suffixes = [suffix for kind in formats.KINDS for suffix in kind.suffixes]
    assert len(suffixes) == len(set(suffixes))
    assert not any(map(formats.refusal, ("a.mpo", "A.AVIF", "train/00001", "a."))) and formats.refusal("a.svg")
    assert formats.has_picture_suffix("b/A.AVIF") and not formats.has_picture_suffix("train.png/00001")
