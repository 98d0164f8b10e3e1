"""The scripts and thumbnails beside the page."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import zipfile
from pathlib import Path
from urllib.parse import quote, unquote_to_bytes

import numpy as np
from PIL import Image

from defects import encoded, photo, rows
from ganforge.auditing import gallery as galleries
from ganforge.auditing.audit import audit


def gallery(out: Path) -> dict[str, list[list[list[object]]]]:
    """What the scripts beside the page hold: by code its entries, lists of pictures."""
    entries: dict[str, list[list[list[object]]]] = {}
    for path in sorted((out / "page").glob("*.js"), key=lambda p: int(p.stem.rsplit("-", 1)[1])):
        code, number, rows_ = json.loads(f"[{path.read_text('ascii').strip().removeprefix('part(').removesuffix(')')}]")
        assert path.stem == f"{code}-{number}"
        entries.setdefault(code, []).extend(rows_)
    return entries


def test_the_page_covers_every_picture_of_every_finding(tmp_path, monkeypatch):
    """Search and filter read the scripts beside the page; pictures after the last thumbnail are shown from their own
    files."""
    root = tmp_path / "set"
    for label in ("a b", "c#d"):
        (root / label).mkdir(parents=True)
    for n in range(60):
        (root / ("a b", "c#d")[n % 2] / f"100 % {n:02d}?.png").write_bytes(encoded(photo(n, 32, 32).convert("P")))
    for n in range(8):
        (root / "c#d" / f"again {n}.png").write_bytes((root / "c#d" / "100 % 01?.png").read_bytes())
    (root / "a b" / os.fsdecode(b"latin-\xe9.png")).write_bytes(encoded(photo(99, 32, 32).convert("P")))
    (root / "a b" / "empty.png").write_bytes(b"")
    monkeypatch.setattr(galleries, "THUMBNAILS", 20)
    monkeypatch.setattr(galleries, "PART", 16)
    result = audit(root, tmp_path / "audits" / "one")
    entries = gallery(result.path)
    for row in rows(result.path, "findings"):
        names = {str(picture[0]) for entry in entries[str(row["code"])] for picture in entry}
        assert row["file"] in names
    counts = {code: len(found) for code, found in entries.items() if code != "noisy"}
    assert counts == {"mode": 69, "empty": 1, "exact_duplicate": 1}
    assert len(entries["exact_duplicate"][0]) == 9, "the whole group, with the one that is kept"
    page = (result.path / "report.html").read_text("utf-8")
    known = json.loads(page.split("<script>const AUDIT=")[1].split("\n")[0])
    assert known["codes"]["mode"] == {
        "entries": 69, "parts": 5, "starts": [0, 16, 32, 48, 64], "grouped": False, "severity": "convert"
    }  # fmt: skip
    assert "Thumbnails were made of 20, the worst of each finding; the other 50 are shown from their own files" in page
    numbers = {picture[6] for of_code in entries.values() for entry in of_code for picture in entry}
    assert numbers - {0, -1} == {int(path.stem) for path in (result.path / "page").glob("*.jpg")}
    assert entries["empty"][0][0][6] == -1
    for entry in entries["mode"]:
        (picture,) = entry
        end = picture[8] if len(picture) > 8 else quote(str(picture[0]))
        path = os.fsencode(result.path) + b"/" + unquote_to_bytes(known["base"] + str(end))
        assert Path(os.fsdecode(path)).is_file(), "the address of the file"
    archive = tmp_path / "set.zip"
    with zipfile.ZipFile(archive, "w") as out:
        for path in sorted(root.rglob("100*.png")):
            out.write(path, path.relative_to(root))
    page = (audit(archive, tmp_path / "audits" / "two").path / "report.html").read_text("utf-8")
    assert '"base":null' in page
    assert "the other 40 are named without one" in page


def test_thumbnails_of_more_than_eight_bits_are_made_by_the_levels_of_the_set(tmp_path):
    """A dark picture of twelve bits stays dark, though its own values would fit into eight bits."""
    (tmp_path / "set").mkdir()
    for n in range(12):
        ramp = np.tile(np.linspace(0, 4095 if n else 255, 64).astype(np.uint16), (64, 1))
        Image.fromarray(np.roll(ramp, n, 1)).save(tmp_path / "set" / f"{n}.png")
    page = (audit(tmp_path / "set", tmp_path / "audit").path / "report.html").read_text("utf-8")
    jpegs = re.findall(r"data:image/jpeg;base64,([^\"]+)", page)
    _, *sheet = (np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))).max() for data in jpegs)
    assert sum(brightest < 40 for brightest in sheet) == 1 and sum(brightest > 200 for brightest in sheet) == 11
