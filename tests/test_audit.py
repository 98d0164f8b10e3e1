"""The audit: every file ends with a verdict and a reason, and originals stay as they are."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path
from urllib.parse import quote, unquote_to_bytes

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from ganforge.auditing import gallery as galleries
from ganforge.auditing.audit import Audited, audit
from ganforge.auditing.checks import CHECKS, SEVERITIES
from ganforge.auditing.tables import FILES, compare
from ganforge.cleaning.clean import clean
from ganforge.cli import main
from ganforge.preparing.prepare import prepare
from ganforge.sources.entry import MAX_FILE_BYTES

BY_HAND = {"unreadable", "text", "outlier"}  # codes that have a test of their own below


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


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes with one file a defect, duplicates of several kinds, and twelve good pictures."""
    root = tmp_path_factory.mktemp("audited") / "set"
    for label in ("cats", "dogs"):
        (root / label).mkdir(parents=True)
    for name, data in defects().values():
        (root / "cats" / name).write_bytes(data)
    for n in range(12):
        (root / ("cats" if n % 2 else "dogs") / f"good-{n:02d}.jpg").write_bytes(
            encoded(photo(100 + n), "JPEG", quality=92)
        )
    good = (root / "dogs" / "good-00.jpg").read_bytes()
    (root / "dogs" / "again.jpg").write_bytes(good)
    (root / "cats" / "also-a-cat.jpg").write_bytes((root / "dogs" / "good-02.jpg").read_bytes())
    (root / "dogs" / "near.jpg").write_bytes(encoded(photo(104).crop((3, 2, 126, 125)), "JPEG", quality=60))
    (root / "dogs" / "turned-round.png").write_bytes(encoded(photo(106).transpose(Image.Transpose.FLIP_LEFT_RIGHT)))
    return root


@pytest.fixture(scope="module")
def made(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Audited:
    return audit(folder, tmp_path_factory.mktemp("out") / "audit")


def rows(path: Path, name: str = "pictures") -> list[dict[str, object]]:
    return pq.read_table(path / f"{name}.parquet").to_pylist()


def reasons(path: Path) -> dict[str, set[str]]:
    return {Path(str(row["file"])).name: set(row["reasons"]) for row in rows(path)}  # type: ignore[call-overload]


def test_every_code_is_found_where_it_is_and_nowhere_else(made):
    found = reasons(made.path)
    for code, (name, _) in defects().items():
        assert code in found[name], f"{name}: {found[name]}"
        also = {"moving.gif"} if code == "mode" else set()  # it has a palette
        assert not {n for n, codes in found.items() if code in codes} - {name} - also, code
    assert "exact_duplicate" in found["again.jpg"] | found["good-00.jpg"]
    assert "label_conflict" in found["also-a-cat.jpg"]
    assert "label_conflict" in found["good-02.jpg"]
    assert "near_duplicate" in found["near.jpg"]
    assert "mirrored" in found["turned-round.png"] | found["good-06.jpg"]
    untouched = [f"good-{n:02d}.jpg" for n in (1, 3, 5, 7, 8, 9, 10, 11)]
    assert not any(found[name] for name in untouched), {n: found[n] for n in untouched}
    covered = set().union(*found.values()) | BY_HAND | {"no_label"}
    assert covered == set(CHECKS)


def test_verdicts_groups_and_columns(made, folder):
    table = {Path(str(row["file"])).name: row for row in rows(made.path)}
    for row in table.values():
        severities = [CHECKS[code].severity for code in row["reasons"]]
        assert row["verdict"] in SEVERITIES
        assert bool(row["reasons"]) == (row["verdict"] != "ok")
        assert not severities or SEVERITIES.index(row["verdict"]) <= max(map(SEVERITIES.index, severities))
    assert table["again.jpg"]["group"] == table["good-00.jpg"]["group"] >= 0
    assert table["near.jpg"]["group"] == table["good-04.jpg"]["group"] >= 0
    assert [table[n]["mirrored"] for n in ("good-06.jpg", "turned-round.png")].count(True) == 1
    assert table["good-01.jpg"]["group"] == -1
    good = (folder / "cats" / "good-01.jpg").read_bytes()
    assert table["good-01.jpg"]["sha256"] == hashlib.sha256(good).digest()
    assert (table["good-01.jpg"]["bytes"], table["good-01.jpg"]["format"]) == (len(good), "JPEG")
    luma = np.asarray(Image.open(io.BytesIO(good)).convert("L"), float)
    assert abs(table["good-01.jpg"]["brightness"] - luma.mean()) < 1
    assert abs(table["good-01.jpg"]["contrast"] - luma.std()) < 1
    assert table["empty.png"]["brightness"] is None
    assert table["turned.jpg"]["width"] == table["turned.jpg"]["height"] == 128
    assert table["moving.gif"]["frames"] == 2
    found = rows(made.path, "findings")
    assert all(row["remedy"] == CHECKS[row["code"]].remedy for row in found)
    assert len((made.path / "findings.csv").read_text("utf-8").splitlines()) == len(found) + 1


def test_originals_stay_as_they_are_and_runs_repeat(folder, tmp_path):
    def state() -> dict[str, tuple[str, int]]:
        return {
            str(p): (hashlib.sha256(p.read_bytes()).hexdigest(), p.stat().st_mtime_ns)
            for p in folder.rglob("*") if p.is_file()
        }  # fmt: skip

    before = state()
    one, two = audit(folder, tmp_path / "one"), audit(folder, tmp_path / "two")
    assert state() == before
    assert rows(one.path) == rows(two.path)
    assert {p.name for p in tmp_path.iterdir()} == {"one", "two"}
    assert {p.name for p in one.path.iterdir()} == set(FILES)
    assert not compare(one.path, two.path)


def test_a_zip_and_a_store_are_audited_too(folder, made, tmp_path):
    archive = tmp_path / "set.zip"
    with zipfile.ZipFile(archive, "w") as out:
        for path in sorted(folder.rglob("*.*")):
            out.write(path, path.relative_to(folder))
    zipped = audit(archive, tmp_path / "zipped")
    assert not compare(made.path, zipped.path)
    store = prepare(folder, tmp_path / "store", resolution=64).store
    stored = audit(store.path, tmp_path / "stored")
    assert stored.pictures == len(store)
    assert stored.unreadable == 0
    found = reasons(stored.path)
    assert "exact_duplicate" in found["again.jpg"] | found["good-00.jpg"]
    assert {row["label"] for row in rows(stored.path)} == {"cats", "dogs"}


def test_hostile_names_and_files(tmp_path):
    root = tmp_path / "set"
    root.mkdir()
    names = [
        "a\nb.png",
        "<script>alert(1)<>.png",
        "quo'te\".png",
        "\u202egnp.exe.png",
        "=1+1.png",
        os.fsdecode(b"latin-\xe9.png"),
    ]
    for n, name in enumerate(names):
        (root / name).write_bytes(encoded(photo(n)))
    (root / "words.txt").write_text("no picture")
    (root / "loop.png").symlink_to(root / "loop.png")
    (root / "gone.png").symlink_to(root / "nowhere")
    os.mkfifo(root / "pipe.png")
    with (root / "huge.png").open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    made = audit(root, tmp_path / "out")
    found = {row["file"]: row for row in rows(made.path)}
    assert len(found) == len(names) + 5
    assert found["latin-\\xe9.png"]["verdict"] == "ok"
    assert found["a\nb.png"]["verdict"] == "ok"
    for name, code in (
        ("loop.png", "unreadable"),
        ("gone.png", "unreadable"),
        ("pipe.png", "unreadable"),
        ("huge.png", "too_large"),
        ("words.txt", "not_a_picture"),
    ):
        assert found[name]["reasons"] == [code]
    page = (made.path / "report.html").read_text("utf-8")
    assert "<script>alert" not in page
    assert "\u202e" not in page
    assert "a\nb" not in page
    assert not re.search(r"data-name='[^']*quo'te", page)
    assert page.count("<script") == 1
    text = (made.path / "findings.csv").read_text("utf-8")
    assert not re.search(r"(^|,)=1", text, re.M)
    assert made.unreadable == 4


def test_labels_missing(tmp_path):
    root = tmp_path / "set"
    root.mkdir()
    for n in range(4):
        (root / f"{n}.png").write_bytes(encoded(photo(n)))
    (root / "labels.csv").write_text("file,label\n0.png,a\n1.png,b\n2.png,a\n")
    found = reasons(audit(root, tmp_path / "out").path)
    assert found == {"0.png": set(), "1.png": set(), "2.png": set(), "3.png": {"no_label"}}


def test_comparing_two_audits(folder, made, tmp_path, capsys):
    root = tmp_path / "set"
    for path in sorted(folder.rglob("*.*")):
        (root / path.parent.name).mkdir(parents=True, exist_ok=True)
        (root / path.relative_to(folder)).write_bytes(path.read_bytes())
    (root / "dogs" / "again.jpg").unlink()
    (root / "cats" / "good-01.jpg").write_bytes(b"")
    (root / "cats" / "new.png").write_bytes(encoded(photo(500)))
    new = audit(root, tmp_path / "new")
    found = compare(made.path, new.path)
    assert (found.appeared, found.vanished) == (["cats/new.png"], ["dogs/again.jpg"])
    assert ("cats/good-01.jpg", "ok", "reject (empty)") in found.changed
    assert main(["audit", "--diff", str(made.path), str(new.path)]) == 0
    said = capsys.readouterr().out
    assert "appeared  cats/new.png" in said
    assert "changed   cats/good-01.jpg: ok -> reject (empty)" in said


def test_mistakes_on_the_command_line(folder, tmp_path, fails, capsys, monkeypatch):
    assert main(["audit", str(folder), "-o", str(tmp_path / "a")]) == 2, "some files could not be read"
    assert "report.html" in capsys.readouterr().out
    assert "exists already" in fails("audit", folder, "-o", tmp_path / "a")
    assert main(["audit", str(folder), "-o", str(tmp_path / "a"), "--overwrite"]) == 2
    capsys.readouterr()
    (tmp_path / "a" / "notes.txt").write_text("mine")
    assert "not overwritten" in fails("audit", folder, "-o", tmp_path / "a", "--overwrite")
    assert (tmp_path / "a" / "notes.txt").read_text() == "mine"
    assert "does not exist" in fails("audit", tmp_path / "nowhere")
    (tmp_path / "none").mkdir()
    assert "no files" in fails("audit", tmp_path / "none", "-o", tmp_path / "b")
    assert "no audit" in fails("audit", "--diff", tmp_path / "a" / "..", tmp_path / "none")
    assert "--diff" in fails("audit")
    (tmp_path / "file").write_text("")
    assert "cannot be written" in fails("audit", folder, "-o", tmp_path / "file" / "x")
    monkeypatch.setitem(sys.modules, "pytesseract", None)
    assert "ganforge[ocr]" in fails("audit", folder, "-o", tmp_path / "b", "--ocr")
    assert not (tmp_path / "b").exists()


def test_the_page_and_the_summary(made):
    page = (made.path / "report.html").read_text("utf-8")
    assert len(page) < 12_000_000
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "https://" not in page
    for code in made.findings:
        assert f"id={code} " in page
    summary = json.loads((made.path / "summary.json").read_text("utf-8"))
    assert summary["pictures"] == made.pictures == sum(summary["verdicts"].values())
    assert set(summary["classes"]) == {"cats", "dogs"}
    assert summary["diversity"]["distinct"] < summary["readable"] < summary["pictures"]
    assert 20 < summary["diversity"]["bits apart"] < 40
    assert made.unreadable == 5


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
    made = audit(root, tmp_path / "audits" / "one")
    entries = gallery(made.path)
    for row in rows(made.path, "findings"):
        names = {str(picture[0]) for entry in entries[str(row["code"])] for picture in entry}
        assert row["file"] in names
    counts = {code: len(found) for code, found in entries.items() if code != "noisy"}
    assert counts == {"mode": 69, "empty": 1, "exact_duplicate": 1}
    assert len(entries["exact_duplicate"][0]) == 9, "the whole group, with the one that is kept"
    page = (made.path / "report.html").read_text("utf-8")
    known = json.loads(page.split("<script>const AUDIT=")[1].split("\n")[0])
    assert known["codes"]["mode"] == {
        "entries": 69, "parts": 5, "starts": [0, 16, 32, 48, 64], "grouped": False, "severity": "convert"
    }  # fmt: skip
    assert "Thumbnails were made of 20, the worst of each finding; the other 50 are shown from their own files" in page
    numbers = {picture[6] for found in entries.values() for entry in found for picture in entry}
    assert numbers - {0, -1} == {int(path.stem) for path in (made.path / "page").glob("*.jpg")}
    assert entries["empty"][0][0][6] == -1
    for found in entries["mode"]:
        (picture,) = found
        end = picture[8] if len(picture) > 8 else quote(str(picture[0]))
        place = os.fsencode(made.path) + b"/" + unquote_to_bytes(known["base"] + str(end))
        assert Path(os.fsdecode(place)).is_file(), "the address of the file"
    archive = tmp_path / "set.zip"
    with zipfile.ZipFile(archive, "w") as out:
        for path in sorted(root.rglob("100*.png")):
            out.write(path, path.relative_to(root))
    page = (audit(archive, tmp_path / "audits" / "two").path / "report.html").read_text("utf-8")
    assert '"base":null' in page
    assert "the other 40 are named without one" in page


@pytest.mark.skipif(shutil.which("chromium") is None, reason="Chromium is not installed")
def test_the_page_works_from_disk_in_a_browser(folder, tmp_path):
    made = audit(folder, tmp_path / "out")
    page = made.path / "report.html"
    words = "$('word').value = 'GOOD'; search(); setTimeout(() => document.querySelector('#exact_duplicate figure').click(), 2000)"
    page.write_text(page.read_text("utf-8").replace("</script></body>", f";{words}</script></body>"), "utf-8")
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
               f"--user-data-dir={tmp_path / 'home'}", "--virtual-time-budget=9000", "--dump-dom", page.as_uri()]  # fmt: skip
    seen = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    shown = dict(re.findall(r"<section class=\"code\" id=\"(\w+)\"([^>]*)>", seen))
    assert {code for code, rest in shown.items() if "hidden" not in rest} == {
        "exact_duplicate", "near_duplicate", "mirrored", "label_conflict",
    }  # fmt: skip
    assert "open the file" in seen
    assert re.search(r"<dialog[^>]* open", seen)


def test_outliers_by_features(tmp_path):
    root = tmp_path / "set"
    rng = np.random.default_rng(0)
    for label, (low, high) in {"thin": (1, 2), "thick": (7, 9)}.items():
        (root / label).mkdir(parents=True)
        for n in range(150):
            canvas = np.full((32, 32, 3), 230, np.uint8)
            width, place = rng.integers(low, high + 1), rng.integers(0, 22)
            canvas[:, place : place + width] = rng.integers(0, 60, 3)
            Image.fromarray(canvas).save(root / label / f"{n:03d}.png")
    photo(3, 32, 32).save(root / "thin" / "stranger.png")
    made = audit(root, tmp_path / "out", features=True)
    scores = {row["file"]: row["outlier"] for row in rows(made.path)}
    assert max(scores, key=lambda name: scores[name]) == "thin/stranger.png"
    assert "outlier" in reasons(made.path)["stranger.png"]


@pytest.mark.skipif(shutil.which("tesseract") is None, reason="Tesseract is not installed")
def test_text_is_found_where_it_is(tmp_path):
    pytest.importorskip("pytesseract")
    (tmp_path / "in").mkdir()
    rng = np.random.default_rng(0)
    for n in range(8):
        image = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).resize((300, 200))
        if n < 3:
            draw = ImageDraw.Draw(image)
            draw.rectangle((10, 60, 290, 140), fill="white")
            draw.text((20, 70), "COPYRIGHT 2026", fill="black", font=ImageFont.load_default(32))
        image.save(tmp_path / "in" / f"{n}.png")
    made = audit(tmp_path / "in", tmp_path / "out", ocr=True)
    found = {row["file"] for row in rows(made.path) if "text" in row["reasons"]}
    assert found == {"0.png", "1.png", "2.png"}


def test_of_near_duplicates_the_better_one_is_kept_by_audit_and_clean_alike(tmp_path):
    """Of one size the one with more bytes, else the larger one, but none with a defect before one without."""
    root = tmp_path / "set"
    root.mkdir()
    first, second, third, fourth = (photo(n, 120, 120) for n in range(700, 704))
    framed = third.resize((240, 216), Image.Resampling.BICUBIC)
    bars = Image.new("RGB", (240, 240))
    bars.paste(framed, (0, 12))
    files = {
        "1-small.jpg": encoded(first, "JPEG", quality=40), "1-whole.jpg": encoded(first, "JPEG", quality=92),
        "2-half.png": encoded(second.resize((60, 60), Image.Resampling.BOX)), "2-whole.jpg": encoded(second, "JPEG", quality=80),
        "3-bars.png": encoded(bars), "3-plain.jpg": encoded(third, "JPEG", quality=90),
        "4-again.jpg": encoded(fourth, "JPEG", quality=60), "4-also.jpg": encoded(fourth, "JPEG", quality=60),
        "4-best.jpg": encoded(fourth, "JPEG", quality=95),
    }  # fmt: skip
    for name, data in files.items():
        (root / name).write_bytes(data)
    made = audit(root, tmp_path / "out")
    table = {str(row["file"]): row for row in rows(made.path)}
    kept = {name for name, row in table.items() if row["rank"] == 0}
    assert kept == {"1-whole.jpg", "2-whole.jpg", "3-plain.jpg", "4-best.jpg"}
    found = reasons(made.path)
    assert not any(found[name] & {"near_duplicate", "exact_duplicate"} for name in kept)
    assert found["4-again.jpg"] == {"near_duplicate"}, "equal bytes: one of them is only a near duplicate"
    assert found["4-also.jpg"] == {"exact_duplicate"}
    clean(root, tmp_path / "clean", audit=made.path, drop=["near-duplicate"])
    assert {path.name for path in (tmp_path / "clean").glob("?-*")} == kept


def bar(image: Image.Image, *box: int) -> Image.Image:
    out = image.copy()
    out.paste((0, 0, 0), box)
    return out


def flag(*stripes: str, emblem: str = "", upright: bool = False) -> Image.Image:
    """Stripes of one width, and perhaps a disc, drawn without a jagged edge."""
    image = Image.new("RGB", (512, 512))
    draw = ImageDraw.Draw(image)
    for n, colour in enumerate(stripes):
        low, high = 512 * n // len(stripes), 512 * (n + 1) // len(stripes)
        draw.rectangle((low, 0, high, 512) if upright else (0, low, 512, high), fill=colour)
    if emblem:
        draw.ellipse((190, 190, 322, 322), fill=emblem)
    return image.resize((128, 128), Image.Resampling.LANCZOS)


def pressed(image: Image.Image, quality: int) -> Image.Image:
    """After a JPEG of that quality."""
    return Image.open(io.BytesIO(encoded(image, "JPEG", quality=quality))).convert("RGB")


FOUND = {
    "half, left": ("border", lambda: bar(photo(800), 0, 0, 64, 128)),
    "half, below": ("border", lambda: bar(photo(801), 0, 64, 128, 128)),
    "half, on two sides": ("border", lambda: bar(bar(photo(802), 0, 0, 128, 32), 0, 96, 128, 128)),
    "8-fold, nearest, JPEG": ("upscaled", lambda: pressed(photo(803, 16, 16).resize((128, 128), Image.Resampling.NEAREST), 90)),
    "3-fold, nearest": ("upscaled", lambda: photo(804, 40, 40).resize((120, 120), Image.Resampling.NEAREST)),
    "8-fold, bicubic": ("upscaled", lambda: photo(805, 64, 64).resize((512, 512), Image.Resampling.BICUBIC)),
    "8-fold, bilinear": ("upscaled", lambda: photo(806, 64, 64).resize((512, 512), Image.Resampling.BILINEAR)),
    "JPEG at 3, now a PNG": ("compressed", lambda: pressed(photo(807), 3)),
    "grey with an alpha": ("grey_as_rgb", lambda: photo(808).convert("LA").convert("RGBA")),
    "grey, JPEG": ("grey_as_rgb", lambda: pressed(photo(809).convert("L").convert("RGB"), 60)),
    "tricolour": (None, lambda: flag("#ce1126", "#ffffff", "#009a44")),
    "upright": (None, lambda: flag("#ce1126", "#fcd116", "#ce1126", upright=True)),
    "with a disc": (None, lambda: flag("#75aadb", "#ffffff", "#75aadb", emblem="#fcd116")),
    "stripes": (None, lambda: pressed(flag(*["#8d1b3d", "#ffffff"] * 6, "#8d1b3d"), 85)),
    "a photograph": (None, lambda: photo(810, 512, 512)),
    "grey": (None, lambda: photo(811).convert("L")),
    "JPEG at 60": (None, lambda: pressed(photo(812), 60)),
}  # fmt: skip


def test_what_was_missed_is_found_and_flat_drawings_have_no_border(tmp_path):
    root = tmp_path / "set"
    root.mkdir()
    for name, (_, make) in FOUND.items():
        make().save(root / f"{name}.png")
    found = reasons(audit(root, tmp_path / "out").path)
    about = {"border", "upscaled", "compressed", "grey_as_rgb"}
    assert {name: found[f"{name}.png"] & about for name in FOUND} == {n: {c} - {None} for n, (c, _) in FOUND.items()}


def test_new_checks_have_few_findings_in_photographs_and_drawings(tmp_path, real_data):
    """Of 306 photographs and 360 drawings over white: no plain stripe of a drawing is a border, and nothing is
    blocks."""
    with zipfile.ZipFile(real_data / "flowers" / "flowers128.zip") as archive:
        for n, name in enumerate(sorted(name for name in archive.namelist() if name.endswith(".jpg"))[::12]):
            (tmp_path / "flowers").mkdir(exist_ok=True)
            (tmp_path / "flowers" / f"{n}.jpg").write_bytes(archive.read(name))
    sheet = Image.open(real_data / "emoji" / "emoji_0.webp").convert("RGBA").crop((0, 0, 30 * 128, 12 * 128))
    (tmp_path / "emoji").mkdir()
    for n in range(360):
        tile = sheet.crop((n % 30 * 128, n // 30 * 128, n % 30 * 128 + 128, n // 30 * 128 + 128))
        Image.alpha_composite(Image.new("RGBA", tile.size, "white"), tile).convert("RGB").save(
            tmp_path / "emoji" / f"{n}.png"
        )
    flowers = audit(tmp_path / "flowers", tmp_path / "a").findings
    assert flowers.get("upscaled", 0) == flowers.get("compressed", 0) == 0
    assert flowers["border"] <= 8
    drawings = audit(tmp_path / "emoji", tmp_path / "b").findings
    assert drawings.get("border", 0) == drawings.get("upscaled", 0) == drawings.get("compressed", 0) == 0


# --------------------------------------------------------------------------------------------------- icons and textures


def icon(mode: str, ground: object, colour: object) -> Image.Image:
    """A disk and a bar."""
    image = Image.new(mode, (128, 128), ground)
    draw = ImageDraw.Draw(image)
    draw.ellipse((32, 32, 96, 96), fill=colour)
    draw.rectangle((10, 10, 50, 24), fill=colour)
    return image


ICONS = {
    "white-on-clear": icon("RGBA", (255, 255, 255, 0), (255, 255, 255, 255)),
    "black-on-clear": icon("RGBA", (0, 0, 0, 0), (0, 0, 0, 255)),
    "white-on-clear-grey": icon("LA", (255, 0), (255, 255)),
    "white-on-clear-palette": icon("RGBA", (255, 255, 255, 0), (255, 255, 255, 255)).quantize(4),
    "faint-white-on-clear": icon("RGBA", (255, 255, 255, 0), (255, 255, 255, 90)),
    "red-on-green": icon("RGB", (0, 130, 0), (255, 0, 0)),
    "blue-on-black": icon("RGB", (0, 0, 0), (0, 0, 60)),
    "chequers": Image.fromarray((np.indices((512, 512)).sum(0) % 2 * 255).astype(np.uint8)),
    "stripes": Image.fromarray(np.tile([[0, 120]], (256, 128)).astype(np.uint8)),
}
EMPTY = {
    "plain": Image.new("RGB", (128, 128), (3, 90, 8)),
    "clear": Image.fromarray(np.dstack([np.random.default_rng(0).integers(0, 256, (64, 64, 3)), np.zeros((64, 64))]).astype(np.uint8)),
    "glass": Image.new("RGBA", (64, 64), (255, 0, 0, 128)),
    "wall": Image.fromarray((200 + np.random.default_rng(0).normal(0, 5, (300, 300, 3))).clip(0, 255).astype(np.uint8)),
}  # fmt: skip


def test_only_what_is_plain_in_every_channel_is_near_uniform(tmp_path):
    (tmp_path / "in").mkdir()
    for name, image in (ICONS | EMPTY).items():
        (tmp_path / "in" / f"{name}.png").write_bytes(encoded(image))
    rows = pq.read_table(audit(tmp_path / "in", tmp_path / "out").path / "pictures.parquet").to_pylist()
    assert {row["file"][:-4] for row in rows if "near_uniform" in row["reasons"]} == set(EMPTY)
    about_light = {"dark", "bright", "low_contrast", "blurred", "noisy"}
    assert not [row for row in rows if about_light & set(row["reasons"])]


def test_keep_and_drop_overrule_the_audit(tmp_path, capsys, fails):
    (tmp_path / "in").mkdir()
    for name, image in EMPTY.items():
        (tmp_path / "in" / f"{name}.png").write_bytes(encoded(image))
    for n in range(10):
        (tmp_path / "in" / f"{n}.png").write_bytes(encoded(photo(n)))
    (tmp_path / "in" / "twin.png").write_bytes(encoded(photo(3)))
    made = audit(tmp_path / "in", tmp_path / "audit").path
    words = ["prepare", str(tmp_path / "in"), "--audit", str(made), "--resolution", "16"]

    def left_out(name: str, *more: str) -> set[str]:
        assert main([*words, "-o", str(tmp_path / name), *more]) == 0
        rows = pq.read_table(tmp_path / name / "meta.parquet").to_pylist()
        return {row["file"] for row in rows if row["dropped"]}

    empty = {f"{name}.png" for name in EMPTY}
    assert left_out("a") == empty | {"twin.png"}
    assert left_out("b", "--keep", "near-uniform") == {"twin.png"}
    assert left_out("c", "--keep", "near-uniform,exact-duplicate", "--drop", "transparent") == {
        "clear.png",
        "glass.png",
    }
    assert "Did you mean near_uniform?" in fails(*words, "-o", tmp_path / "d", "--keep", "near-unifrm")
    assert "needs an audit" in fails(*words[:2], "-o", tmp_path / "d", "--keep", "near-uniform")
    capsys.readouterr()


def test_plain_backgrounds_of_small_photographs_are_no_border(tmp_path, real_data):
    """Of 10,000 pictures of 32x32 those with bars: 26, of which 19 are true by eye; before bars had to end in one line,
    121."""
    sheet = np.asarray(Image.open(real_data / "cifar10" / "test.webp").convert("RGB"))
    tiles = sheet.reshape(100, 32, 100, 32, 3).swapaxes(1, 2).reshape(-1, 32, 32, 3)[:2500]
    (tmp_path / "set").mkdir()
    for n, tile in enumerate(tiles):
        Image.fromarray(tile).save(tmp_path / "set" / f"{n:05d}.png", compress_level=1)
    found = audit(tmp_path / "set", tmp_path / "out").findings
    assert found["border"] <= 10
    assert found.get("compressed", 0) <= 2
    assert found.get("upscaled", 0) == 0
