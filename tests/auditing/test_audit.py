"""Every file ends with a verdict, originals stay as they are, and mistakes are one sentence."""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
import zipfile

from defects import encoded, photo, reasons, rows
from ganforge.auditing.audit import audit
from ganforge.auditing.tables import FILES, compare
from ganforge.cli import main
from ganforge.preparing.prepare import prepare
from ganforge.sources.entry import MAX_FILE_BYTES


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


def test_a_zip_and_a_store_are_audited_too(folder, audited, tmp_path):
    archive = tmp_path / "set.zip"
    with zipfile.ZipFile(archive, "w") as out:
        for path in sorted(folder.rglob("*.*")):
            out.write(path, path.relative_to(folder))
    zipped = audit(archive, tmp_path / "zipped")
    assert not compare(audited.path, zipped.path)
    store = prepare(folder, tmp_path / "store", resolution=64).store
    stored = audit(store.path, tmp_path / "stored")
    assert stored.pictures == len(store)
    assert stored.unreadable == 0
    by_name = reasons(stored.path)
    assert "exact_duplicate" in by_name["again.jpg"] | by_name["good-00.jpg"]
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
    result = audit(root, tmp_path / "out")
    table = {row["file"]: row for row in rows(result.path)}
    assert len(table) == len(names) + 5
    assert table["latin-\\xe9.png"]["verdict"] == "ok"
    assert table["a\nb.png"]["verdict"] == "ok"
    for name, code in (
        ("loop.png", "unreadable"),
        ("gone.png", "unreadable"),
        ("pipe.png", "unreadable"),
        ("huge.png", "too_large"),
        ("words.txt", "not_a_picture"),
    ):
        assert table[name]["reasons"] == [code]
    page = (result.path / "report.html").read_text("utf-8")
    assert "<script>alert" not in page
    assert "\u202e" not in page
    assert "a\nb" not in page
    assert not re.search(r"data-name='[^']*quo'te", page)
    assert page.count("<script") == 1
    text = (result.path / "findings.csv").read_text("utf-8")
    assert not re.search(r"(^|,)=1", text, re.M)
    assert result.unreadable == 4


def test_labels_missing(tmp_path):
    root = tmp_path / "set"
    root.mkdir()
    for n in range(4):
        (root / f"{n}.png").write_bytes(encoded(photo(n)))
    (root / "labels.csv").write_text("file,label\n0.png,a\n1.png,b\n2.png,a\n")
    by_name = reasons(audit(root, tmp_path / "out").path)
    assert by_name == {"0.png": set(), "1.png": set(), "2.png": set(), "3.png": {"no_label"}}


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


def test_no_private_path_stands_in_an_audit(tmp_path):
    (tmp_path / "private" / "set").mkdir(parents=True)
    for n in range(4):
        (tmp_path / "private" / "set" / f"{n}.png").write_bytes(encoded(photo(n)))
    table = tmp_path / "private" / "labels.csv"
    table.write_text("file,label\n" + "".join(f"{n}.png,{'ab'[n % 2]}\n" for n in range(4)))
    out = audit(tmp_path / "private" / "set", tmp_path / "private" / "audit", labels=table).path
    settings = json.loads((out / "summary.json").read_text("utf-8"))["settings"]
    assert (settings["source"], settings["labels"]) == ("set", "labels.csv")
    for path in out.rglob("*"):
        assert path.is_dir() or b"private" not in path.read_bytes(), path
