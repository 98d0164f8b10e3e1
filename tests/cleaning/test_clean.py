"""Cleaning: the verb on real folders, the proposal on planted noise."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from ganforge.auditing.checks import CHECKS
from ganforge.base.errors import DataError, InputError
from ganforge.base.files import locked
from ganforge.base.images import Pixels
from ganforge.cleaning import clean as cleaning
from ganforge.cleaning import filters as F
from ganforge.cleaning import noise
from ganforge.cleaning.clean import clean
from ganforge.cleaning.filters import chain
from ganforge.cleaning.preview import preview, suggest
from ganforge.cleaning.recipe import read, text
from ganforge.cli import main
from ganforge.metrics.fidelity import psnr
from ganforge.store import history
from synthetic import natural, noisy, peppered, write_pictures


def save(path: Path, pixels: Pixels) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(path)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Good pictures of many kinds, flat ones that a median leaves alone, files that are none, and the side files."""
    root = tmp_path / "in"
    for n in range(4):
        save(root / "a" / f"{n}.png", peppered(natural(n, 40), 0.05, n))
        save(root / "b" / f"{n}.jpg", noisy(natural(n + 10, 40), 10, n))
    save(root / "b" / "3.png", natural(3, 40))  # beside 3.jpg
    save(root / "a" / "flat.jpg", np.full((20, 20, 3), 90, np.uint8))
    save(root / "a" / "ghost.webp", np.dstack([natural(20, 40), np.full((40, 40), 128, np.uint8)]))
    (root / "a" / "cut.png").write_bytes((root / "a" / "0.png").read_bytes()[:500])
    (root / "a" / "words.txt").write_text("no picture")
    rows = [f"a/{n}.png,from-{n},CC0\n" for n in range(4)] + [f"b/{n}.jpg,from-b{n},CC0\n" for n in range(4)]
    (root / "provenance.csv").write_text("file,source,licence\n" + "".join(rows) + "a/cut.png,gone,CC0\n")
    (root / "labels.csv").write_text("file,label,note\nb/0.jpg,first,x\nwords.txt,second,y\n")
    history.record(root, "collect", source="somewhere")
    return root


def test_a_folder_becomes_a_clean_folder(folder, tmp_path, capsys):
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    out = tmp_path / "out"
    assert main(["clean", str(folder), "-o", str(out), "--filter", "median:size=3"]) == 2
    said = capsys.readouterr()
    assert "10 pictures filtered, 1 as they were, 2 files left out" in said.out
    assert {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()} == before, "an original was touched"
    names = {p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file()}
    assert names == {
        *(f"a/{n}.png" for n in range(4)), *(f"b/{n}.png" for n in range(4)), "b/3.jpg.png", "a/flat.jpg",
        "a/ghost.png", "provenance.csv", "labels.csv", "history.jsonl", "dropped.csv",
    }  # fmt: skip
    assert (out / "a" / "flat.jpg").read_bytes() == (folder / "a" / "flat.jpg").read_bytes()
    pixels = np.asarray(Image.open(folder / "a" / "0.png"))
    assert np.array_equal(np.asarray(Image.open(out / "a" / "0.png")), F.Median(3)(pixels))
    assert Image.open(out / "a" / "ghost.png").mode == "RGBA"
    rows = list(csv.DictReader((out / "provenance.csv").open()))
    assert [row["file"] for row in rows] == [
        *(f"a/{n}.png" for n in range(4)),
        "b/0.png",
        "b/1.png",
        "b/2.png",
        "b/3.jpg.png",
    ]
    assert rows[4] == {"file": "b/0.png", "source": "from-b0", "licence": "CC0"}
    assert list(csv.DictReader((out / "labels.csv").open())) == [{"file": "b/0.png", "label": "first", "note": "x"}]
    gone = list(csv.DictReader((out / "dropped.csv").open()))
    assert {row["file"] for row in gone} == {"a/cut.png", "a/words.txt"}
    assert gone[0]["reason"].startswith("damaged") and gone[1]["reason"] == "not a picture: .txt file"
    steps = history.read(out)
    assert [step["verb"] for step in steps] == ["collect", "clean"]
    assert steps[1]["filters"] == [{"kind": "median", "size": 3}]
    assert (steps[1]["changed"], steps[1]["copied"], steps[1]["dropped"]) == (10, 1, 2)
    assert {p.name for p in tmp_path.iterdir()} == {"in", "out"}, "something was left behind"


def test_what_is_damaged_is_named_where_no_filter_is_to_read_it(tmp_path, capsys):
    (tmp_path / "in").mkdir()
    whole = save(tmp_path / "in" / "whole.png", np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8))
    (tmp_path / "in" / "cut.png").write_bytes(whole.read_bytes()[:400])
    (tmp_path / "in" / "empty.png").touch()
    (tmp_path / "none.toml").write_text("filter = []\n")
    words = ["clean", str(tmp_path / "in"), "--recipe", str(tmp_path / "none.toml"), "-o", str(tmp_path / "out")]
    assert main(words) == 2
    printed = capsys.readouterr().out
    assert "'cut.png': " in printed and "'empty.png': empty file" in printed
    assert (tmp_path / "out" / "whole.png").read_bytes() == whole.read_bytes()
    assert not (tmp_path / "out" / "cut.png").exists()


def test_cleaning_again_gives_the_same_bytes_with_any_number_of_threads(folder, tmp_path, monkeypatch):
    clean(folder, tmp_path / "one", filters=["bilateral"])
    monkeypatch.setattr(os, "cpu_count", lambda: 5)
    clean(folder, tmp_path / "two", filters=[{"kind": "bilateral"}])
    one, two = (
        {p.relative_to(root): p.read_bytes() for p in root.rglob("*") if p.is_file() and p.suffix != ".jsonl"}
        for root in (tmp_path / "one", tmp_path / "two")
    )
    assert one == two
    hashes = [history.read(tmp_path / name)[-1]["sha256"] for name in ("one", "two")]
    assert hashes[0] == hashes[1]


def test_killed_and_run_again_it_goes_on(tmp_path):
    for n in range(150):
        save(tmp_path / "in" / f"{n:03d}.png", noisy(natural(n % 5, 96), 20, n))
    words = ["clean", str(tmp_path / "in"), "-o", str(tmp_path / "out"), "--filter", "nlm:sigma=20"]
    process = subprocess.Popen([sys.executable, "-m", "ganforge.cli", *words], stderr=subprocess.DEVNULL)
    deadline, lines = time.monotonic() + 60, 0
    while lines < 16 and time.monotonic() < deadline:
        time.sleep(0.05)
        lines = sum(len(p.read_bytes().splitlines()) for p in tmp_path.glob(".out.partial-*/.journal.jsonl"))
    process.send_signal(signal.SIGKILL)
    process.wait(20)
    assert 16 <= lines < 150
    assert not (tmp_path / "out").exists()
    (partial,) = tmp_path.glob(".out.partial-*")
    with (partial / ".journal.jsonl").open("a") as journal:
        journal.write('{"file": "cut')
    done = {p: p.stat().st_mtime_ns for p in partial.glob("*.png")}
    (partial / "149.png").write_bytes(b"half")
    first = [json.loads(line)["file"] for line in (partial / ".journal.jsonl").read_text().splitlines()[:16]]
    assert main(words) == 0
    assert not list(tmp_path.glob(".out*"))
    assert len(list((tmp_path / "out").glob("*.png"))) == 150
    for name in first:
        assert (tmp_path / "out" / name).stat().st_mtime_ns == done[partial / name], "made again"
    pixels = np.asarray(Image.open(tmp_path / "in" / "149.png"))
    assert np.array_equal(np.asarray(Image.open(tmp_path / "out" / "149.png")), F.NonLocalMeans(20.0)(pixels))


def test_another_recipe_does_not_go_on_with_the_first(folder, tmp_path):
    stale = tmp_path / ".out.partial-0123456789ab"
    stale.mkdir()
    clean(folder, tmp_path / "out", filters=["median"])
    assert not stale.exists()


def write_audit(place: Path, rows: list[tuple[str, str, list[str], int]]) -> Path:
    """(file, verdict, codes, group) of files in the folder `in` beside, the best of a group first -> an audit's two
    tables."""
    place.mkdir()
    files, verdicts, codes, groups = (list(column) for column in zip(*rows, strict=True))
    ranks = [groups[:n].count(group) if group >= 0 else -1 for n, group in enumerate(groups)]
    hashes = [hashlib.sha256((place.parent / "in" / file).read_bytes()).digest() for file in files]
    labels = pa.array([None] * len(files), pa.string())
    pictures = {
        "file": files,
        "label": labels,
        "sha256": hashes,
        "verdict": verdicts,
        "reasons": codes,
        "group": groups,
        "rank": ranks,
    }
    pq.write_table(pa.table(pictures), place / "pictures.parquet")
    found = [(file, code, CHECKS[code].severity, group) for file, verdict, some, group in rows for code in some]
    columns = dict(zip(("file", "code", "severity", "group"), map(list, zip(*found, strict=True)), strict=True))
    pq.write_table(pa.table(columns), place / "findings.parquet")
    return place


@pytest.fixture
def audited(tmp_path: Path) -> tuple[Path, Path]:
    root = tmp_path / "in"
    base = natural(1, 48)
    save(root / "ok.png", natural(2, 48))
    save(root / "broken.png", natural(3, 48))
    save(root / "soft.png", natural(4, 48))
    save(root / "z-large.png", natural(1, 96))
    save(root / "small.png", base)
    save(root / "pair-1.png", F.Gaussian(2)(natural(8, 48)))
    save(root / "pair-2.png", natural(8, 48))
    save(root / "twin-b.png", natural(9, 48))
    save(root / "twin-a.png", natural(9, 48))
    audit = write_audit(tmp_path / "audit", [
        ("ok.png", "convert", ["mode"], -1), ("broken.png", "reject", ["truncated"], -1),
        ("soft.png", "warn", ["blurred"], -1),
        ("z-large.png", "ok", [], 0), ("small.png", "warn", ["near_duplicate"], 0),
        ("pair-2.png", "warn", ["near_duplicate"], 1), ("pair-1.png", "warn", ["near_duplicate", "blurred"], 1),
        ("twin-a.png", "warn", ["near_duplicate"], 2), ("twin-b.png", "warn", ["near_duplicate"], 2),
    ])  # fmt: skip
    return root, audit


def test_findings_decide_what_stays(audited, tmp_path):
    root, audit = audited

    def left(name: str, **words: object) -> set[str]:
        made = clean(root, tmp_path / name, audit=audit, **words)
        assert made.unreadable == 0
        kept = {p.name for p in (tmp_path / name).glob("*.png")}
        assert kept | {file for file, _ in made.dropped} == {p.name for p in root.glob("*")}
        return kept

    everything = {p.name for p in root.glob("*")} - {"broken.png"}
    assert left("rejects") == everything
    assert left("blurred", drop=["blurred"]) == everything - {"soft.png", "pair-1.png"}
    best = everything - {"small.png", "pair-1.png", "twin-b.png"}
    assert left("near", drop=["near-duplicate"]) == best
    assert left("both", drop=["near_duplicate", "blurred"]) == best - {"soft.png"}
    assert left("keep", keep=["near-duplicate"]) == everything
    assert left("but-near", drop=["warn"], keep=["near-duplicate"]) == everything - {"soft.png", "pair-1.png"}
    assert left("but-blurred", drop=["warn"], keep=["blurred"]) == best
    reasons = dict(clean(root, tmp_path / "again", audit=audit, drop=["near-duplicate"]).dropped)
    assert reasons == {
        "broken.png": "audit: truncated", "small.png": "audit: like z-large.png, which is kept",
        "pair-1.png": "audit: like pair-2.png, which is kept", "twin-b.png": "audit: like twin-a.png, which is kept",
    }  # fmt: skip


def test_recipes_in_a_file_and_dry_run(audited, tmp_path, capsys, fails):
    root, audit = audited
    words = ["clean", str(root), "--filter", "median", "--filter", "unsharp:amount=1.5", "--drop", "blurred"]
    assert main([*words, "--dry-run"]) == 0
    printed = capsys.readouterr().out
    (tmp_path / "clean.toml").write_text(printed)
    settings = read(tmp_path / "clean.toml")
    assert chain(settings.filters) == (F.Median(3), F.Unsharp(1.0, 1.5))
    assert settings.drop == ("blurred",)
    assert text(settings) == printed
    assert read(tmp_path / "clean.toml", {"filters": ["otsu"]}).filters == ("otsu",)
    assert read(settings, {"keep": ["near-duplicate"]}).keep == ("near_duplicate",)
    assert read(settings, {"keep": ["near-duplicate"]}).drop == ()
    for bad, said in {
        '[[filter]]\nkind = "medain"': "Did you mean median?", "[filter]\nkind = 'median'": "two brackets",
        "[[filters]]\nkind = 'median'": "Did you mean filter?", "[select]\ndorp = ['x']": "Did you mean drop?",
        "[select]\ndrop = 'x'": "takes a list", "[[filter": "cannot be read as TOML",
        "[[filter]]\nsize = 3": "no filter ''",
        "[select]\nkeep=['dark', 'blured']": "There is no finding 'blured'. Did you mean blurred?",
    }.items():  # fmt: skip
        (tmp_path / "bad.toml").write_text(bad)
        assert said in fails("clean", root, "-o", tmp_path / "o", "--recipe", tmp_path / "bad.toml")
    words = ["clean", str(root), "-o", str(tmp_path / "o"), "--audit", str(audit)]
    assert "Did you mean near_duplicate?" in fails(*words, "--drop", "near-duplicat")
    assert "to be dropped and kept" in fails(*words, "--drop", "blurred", "--keep", "blurred")
    assert main([*words[:3], str(tmp_path / "none-so"), *words[4:], "--drop", "noisy"]) == 0
    assert "No picture was found to be noisy." in capsys.readouterr().out
    assert "needs an audit" in fails("clean", root, "-o", tmp_path / "o", "--drop", "blurred")
    assert "nothing to do" in fails("clean", root, "-o", tmp_path / "o")
    assert "has no pictures.parquet" in fails("clean", root, "-o", tmp_path / "o", "--audit", root)
    assert "lie in each other" in fails("clean", root, "-o", root / "o", "--filter", "median")
    assert "exists already" in fails("clean", root, "-o", audit, "--filter", "median")
    assert "name the folder" in fails("clean", root, "--filter", "median")
    assert "takes a folder" in fails("clean", root / "ok.png", "-o", tmp_path / "o", "--filter", "median")
    assert "does not exist" in fails("clean", tmp_path / "none", "-o", tmp_path / "o", "--filter", "median")
    (tmp_path / "none").mkdir()
    assert "Nothing of" in fails("clean", tmp_path / "none", "-o", tmp_path / "o", "--filter", "median")
    assert "cannot be written" in fails("clean", root, "-o", audit / "findings.parquet" / "o", "--filter", "median")
    assert not (tmp_path / "o").exists()
    assert not list(tmp_path.glob(".o.partial*"))


def test_a_full_disk_is_one_sentence_and_the_next_call_goes_on(folder, tmp_path):
    code = f"""
import resource, sys
from ganforge.cli import main
resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, 2_000))
sys.exit(main(["clean", {str(folder)!r}, "-o", {str(tmp_path / "out")!r}, "--filter", "median"]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "cannot be written" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()
    assert clean(folder, tmp_path / "out", filters=["median"]).changed == 10


def test_the_preview_is_a_sheet_and_its_numbers(tmp_path, capsys):
    for n in range(5):
        save(tmp_path / "clean" / f"{n}.png", natural(n))
        save(tmp_path / "noisy" / f"{n}.png", noisy(natural(n), 25, n))
    words = ["clean", str(tmp_path / "noisy"), "--preview", str(tmp_path / "sheet.png"), "--pictures", "3"]
    steps = ["--filter", "bilateral:color=50,space=2", "--filter", "upscale:factor=2"]
    assert main([*words, *steps, "--reference", str(tmp_path / "clean")]) == 0
    said = capsys.readouterr().out
    assert "psnr" in said and "bilateral:color=50.0,space=2.0" in said
    facts = json.loads((tmp_path / "sheet.json").read_text())
    before, after, large = facts["stages"]
    assert len(facts["pictures"]) == 3
    n = [int(Path(name).stem) for name in facts["pictures"]]
    assert before["psnr"] == pytest.approx(np.mean([psnr(noisy(natural(i), 25, i), natural(i)) for i in n]), abs=1e-3)
    assert after["psnr"] > before["psnr"] + 3
    assert large["psnr"] is None
    assert after["ms_per_picture"] > 0
    sheet = Image.open(tmp_path / "sheet.png")
    assert sheet.size[0] > sheet.size[1] > 700
    assert {p.name for p in tmp_path.iterdir()} == {"clean", "noisy", "sheet.png", "sheet.json"}
    with pytest.raises(DataError, match="same names"):
        preview(tmp_path / "noisy", tmp_path / "s.png", filters=["median"], reference=tmp_path)
    with pytest.raises(InputError, match="nothing to show"):
        preview(tmp_path / "noisy", tmp_path / "s.png")


# --------------------------------------------------------------------------------------------------------- the proposal


@pytest.mark.parametrize("sigma", [3, 10, 25, 40])
def test_noise_is_estimated_on_a_plane_and_on_natural_pictures(sigma):
    plane = np.linspace(100, 150, 200)[:, None, None] + np.linspace(-20, 20, 200)[None, :, None]
    assert noise.estimate(noisy(plane.astype(np.uint8), sigma, 1)).sigma == pytest.approx(sigma, rel=0.12)
    found = noise.median([noise.estimate(noisy(natural(n), sigma, n)) for n in range(8)])
    assert found.sigma == pytest.approx(sigma, rel=0.3)


def test_salt_and_pepper_and_blocks_are_counted():
    found = noise.estimate(peppered(natural(0), 0.05, 0))
    assert found.impulses == pytest.approx(0.05, rel=0.4)
    assert noise.estimate(natural(0)).impulses < 0.002
    assert noise.estimate(np.full((16, 16, 3), 9, np.uint8)).sigma == 0

    def pressed(quality: int) -> float:
        file = io.BytesIO()
        Image.fromarray(natural(0)).save(file, "JPEG", quality=quality)
        return noise.estimate(np.asarray(Image.open(file))).blocks

    assert pressed(8) > 1.5 > pressed(95)


def _proposal(pictures: list[Pixels], spoil: object, tmp_path: Path) -> tuple[list[str], float]:
    """The kinds proposed for spoilt pictures, and the gain in PSNR against the originals."""
    spoilt = [spoil(pixels, n) for n, pixels in enumerate(pictures)]
    for n, pixels in enumerate(spoilt):
        save(tmp_path / "spoilt" / f"{n}.png", pixels)
    recipe, reasons = suggest(tmp_path / "spoilt")
    assert len(reasons) >= 2
    gain = [psnr(F.apply(chain(recipe.filters), s), p) - psnr(s, p) for s, p in zip(spoilt, pictures, strict=True)]
    return [F.describe(step)["kind"] for step in chain(recipe.filters)], float(np.mean(gain))


CASES = {
    "clean": (lambda p, n: p, [], 0.0),
    "sigma 10": (lambda p, n: noisy(p, 10, n), ["bilateral"], 2.0),
    "sigma 25": (lambda p, n: noisy(p, 25, n), ["bilateral"], 4.0),
    "salt and pepper 5 %": (lambda p, n: peppered(p, 0.05, n), ["median"], 5.0),
    "both": (lambda p, n: peppered(noisy(p, 15, n), 0.05, n), ["median", "bilateral"], 5.0),
}


@pytest.mark.parametrize("case", CASES)
def test_the_proposal_is_right_on_pictures_of_natural_spectrum(case, tmp_path):
    spoil, kinds, gain = CASES[case]
    found = _proposal([natural(n) for n in range(16)], spoil, tmp_path)
    assert found[0] == kinds
    assert found[1] >= gain


@pytest.mark.parametrize("case", CASES)
def test_the_proposal_is_right_on_photographs(case, tmp_path, real_data):
    with zipfile.ZipFile(real_data / "flowers" / "flowers128.zip") as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".jpg"))[::120]
        pictures = [np.asarray(Image.open(io.BytesIO(archive.read(name))).convert("RGB")) for name in names]
    spoil, kinds, gain = CASES[case]
    found = _proposal(pictures, spoil, tmp_path)
    assert found[0] == kinds
    assert found[1] >= gain


def test_the_proposal_on_the_command_line_is_a_recipe(tmp_path, capsys):
    for n in range(6):
        save(tmp_path / "in" / f"{n}.png", noisy(natural(n), 25, n))
    assert main(["clean", str(tmp_path / "in"), "--suggest"]) == 0
    (tmp_path / "clean.toml").write_text(capsys.readouterr().out)
    (step,) = chain(read(tmp_path / "clean.toml").filters)
    assert isinstance(step, F.Bilateral)
    assert clean(tmp_path / "in", tmp_path / "out", recipe=tmp_path / "clean.toml").changed == 6


def test_the_proposal_for_clean_pictures_is_a_recipe_too(tmp_path, capsys, fails):
    for n in range(6):
        save(tmp_path / "in" / f"{n}.png", natural(n))
    recipe = tmp_path / "clean.toml"
    assert main(["clean", str(tmp_path / "in"), "--suggest"]) == 0
    recipe.write_text(capsys.readouterr().out)
    assert read(recipe).filters == ()
    assert main(["clean", str(tmp_path / "in"), "--recipe", str(recipe), "--preview", str(tmp_path / "sheet.png")]) == 0
    assert main(["clean", str(tmp_path / "in"), "--recipe", str(recipe), "-o", str(tmp_path / "out")]) == 0
    assert "0 pictures filtered, 6 as they were" in capsys.readouterr().out
    assert (tmp_path / "out" / "0.png").read_bytes() == (tmp_path / "in" / "0.png").read_bytes()
    recipe.write_text("# of a proposal that failed")
    assert "holds no recipe" in fails("clean", tmp_path / "in", "--recipe", recipe, "-o", tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_two_at_once_do_not_write_the_same_files(tmp_path):
    folder = write_pictures(tmp_path / "in", ".", count=3)
    with locked(tmp_path / ".out.lock"), pytest.raises(DataError, match="another process"):
        clean(folder, tmp_path / "out", filters=["median:size=3"])
    (tmp_path / ".o.partial-1").mkdir()
    clean(folder, tmp_path / "[a-z]", filters=["median:size=3"])
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"in", "[a-z]", ".out.lock", ".o.partial-1"}


def test_a_damaged_line_of_the_journal_costs_one_file_its_turn(tmp_path, monkeypatch):
    folder, finish = write_pictures(tmp_path / "in", ".", count=5), cleaning._finish

    def stop(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cleaning, "_finish", stop)
    with pytest.raises(KeyboardInterrupt):
        clean(folder, tmp_path / "out", filters=["median:size=3"])
    (journal,) = tmp_path.glob(f".out.partial-*/{cleaning.JOURNAL}")
    others = journal.read_bytes().splitlines(keepends=True)[3:]
    journal.write_bytes(b"\xff\n" + b"[" * 100_000 + b'\n[1]\n{"file": "0.png"}\n' + b"".join(others))
    monkeypatch.setattr(cleaning, "_finish", finish)
    cleaned = clean(folder, tmp_path / "out", filters=["median:size=3"])
    assert cleaned.changed == 5 and len(list((tmp_path / "out").glob("*.png"))) == 5
