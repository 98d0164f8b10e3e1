"""The finished folder: names, bytes, labels, splits, tables."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from ganforge.base.errors import Stopped
from ganforge.base.tables import cell
from ganforge.collecting.collect import collect_pictures
from ganforge.preparing.prepare import prepare
from ganforge.sources.source import open_source
from served import claims, folder_of, png, reasons, table, write_list


def test_stopped_while_the_pictures_are_put_in_place(tmp_path, monkeypatch):
    local = folder_of(tmp_path / "mine", {"cat": range(4), "dog": range(10, 14)})
    plain, moves = Path.replace, []

    def replace(self: Path, target: Path) -> Path:
        moves.append(target)
        done = plain(self, target)
        if len(moves) == 8 + 3:  # into the blobs, then three into their places
            raise KeyboardInterrupt
        return done

    monkeypatch.setattr(Path, "replace", replace)
    with pytest.raises(Stopped):
        collect_pictures([local], tmp_path / "o")
    monkeypatch.undo()
    assert collect_pictures([local], tmp_path / "o").kept == {"mine": 8}
    assert {path.read_bytes() for path in (tmp_path / "o").rglob("*.png")} == {
        path.read_bytes() for path in local.rglob("*.png")
    }
    assert len(table(tmp_path / "o" / "provenance.csv")) == 8


def test_folders_and_zips_keep_bytes_and_labels(tmp_path):
    local = folder_of(tmp_path / "mine", {"cat": range(4), "dog": range(10, 13)})
    (local / "cat" / "notes.txt").write_text("no picture")
    (local / "cat" / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    (local / "cat" / "wide.png").write_bytes(claims(60_000, 60_000))
    with zipfile.ZipFile(tmp_path / "more.zip", "w") as archive:
        for label, seed in (("=evil", 20), ("../up", 22), ("cat", 21), ("dog", 3)):  # 3 is there already, as a cat
            archive.writestr(f"{label}/{seed}.png", png(seed))
    out = tmp_path / "o"
    collected = collect_pictures([local, tmp_path / "more.zip"], out)
    assert collected.kept == {"mine": 7, "more": 2}
    rows = {row["sha256"]: row for row in table(out / "provenance.csv")}
    assert collected.duplicates == 1
    assert sum("more: file:" in row["also"] for row in rows.values()) == 1
    for row in rows.values():
        path = out / row["file"]
        assert path.resolve().is_relative_to(out.resolve())
        assert hashlib.sha256(path.read_bytes()).hexdigest() == row["sha256"]
        assert row["address"].startswith("file:///") and row["retrieved"].endswith("Z")
    assert {png(n) for n in (0, 3, 10, 21)} <= {path.read_bytes() for path in out.rglob("*.png")}
    why = reasons(out)
    assert why["notes.txt"] == "not a picture: .txt file" and "megapixels" in why["wide.png"] and "bad.png" in why
    assert json.loads((out / "history.jsonl").read_text())["verb"] == "collect"
    assert {row["label"] for row in rows.values()} == {"cat", "dog", "_=evil"}


def test_a_split_is_kept_where_all_have_one(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "cifar").mkdir()
    for name in ("data_batch_1", "test_batch"):
        records = rng.integers(0, 256, (20, 3073), dtype=np.uint8)
        records[:, 0] %= 10
        (tmp_path / "cifar" / f"{name}.bin").write_bytes(records.tobytes())
    collect_pictures([tmp_path / "cifar"], tmp_path / "o")
    store = prepare(tmp_path / "o", tmp_path / "store").store
    assert (len(store.train), len(store.heldout)) == (20, 20)


def test_some_labels_missing_and_cells_that_are_formulas(tmp_path, site):
    rows = [
        {"url": site.url(f"/p/{n}.png"), "label": "=cmd" if n % 2 else "", "author": "@SUM(A1)", "licence": "cc0"}
        for n in range(6)
    ]
    collected = collect_pictures([write_list(tmp_path / "l.csv", rows)], tmp_path / "o", allow_host=site.host)
    assert any("3 pictures have no label" in note for note in collected.notes)
    assert {row["label"] for row in table(tmp_path / "o" / "labels.csv")} == {"_=cmd"}
    assert {row["author"] for row in table(tmp_path / "o" / "provenance.csv")} == {"'@SUM(A1)"}
    found = list(open_source(tmp_path / "o").entries())
    assert Counter(entry.label for entry in found) == {None: 3, "_=cmd": 3}
    for text in ("=1", "+1", "-1", "@x", " =1", "\t=1", "\r=1"):
        assert cell(text)[0] == "'"
    assert cell("a\nb") == "a b"
