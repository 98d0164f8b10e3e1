"""Pictures become parts of a store."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from ganforge.base.errors import DataError
from ganforge.media.spec import Spec
from ganforge.preparing.prepare import prepare
from hostile import encoded
from synthetic import picture


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twenty good pictures of two classes, of many kinds and sizes, and files that are none."""
    root = tmp_path / "mess"
    for name in ("cats", "dogs"):
        (root / name).mkdir(parents=True)
        for n in range(6):
            picture(n + 100 * (name == "dogs"), 30 + 5 * n, 60).save(root / name / f"{n}.png")
    cats = root / "cats"
    picture(20).convert("L").save(cats / "grey.png")
    picture(21).convert("P").save(cats / "palette.gif")
    picture(22).convert("CMYK").save(cats / "cmyk.jpg")
    picture(23).save(cats / "photo.jpg", quality=90)
    Image.fromarray((np.arange(2500).reshape(50, 50) * 26).astype(np.uint16)).save(cats / "deep.png")
    rgba = picture(24).convert("RGBA")
    rgba.putalpha(Image.linear_gradient("L").resize(rgba.size))
    rgba.save(cats / "ghost.png")
    picture(25).save(cats / "turned.webp")
    picture(26).save(cats / "Ünïcode, name.bmp")
    (cats / "empty.png").write_bytes(b"")
    (cats / "words.txt").write_text("no picture")
    (cats / "page.jpg").write_text("<html>404</html>")
    (cats / "cut.jpg").write_bytes(encoded(picture(27, 200, 200), "JPEG")[:-900])
    (cats / "cut.png").write_bytes(encoded(picture(28))[:300])
    (root / "cats" / ".hidden.png").write_bytes(b"x")
    return root


def test_a_messy_folder_becomes_a_store(folder, tmp_path):
    made = prepare(folder, tmp_path / "store", resolution="24x32")
    assert made.store.spec == Spec(24, 32, 3, ("cats", "dogs"))
    assert len(made.store) == 20
    reasons = {Path(name).name: reason for name, reason in made.skipped}
    assert reasons.keys() == {"empty.png", "words.txt", "page.jpg", "cut.jpg", "cut.png"}
    assert reasons["empty.png"] == "empty file"
    assert reasons["page.jpg"] == "not an image that can be read"
    assert reasons["cut.jpg"].startswith("damaged")
    assert sum("transparency" in note for note in made.notes) == 1
    assert np.bincount(made.store.labels).tolist() == [14, 6]
    rows = pq.read_table(tmp_path / "store" / "meta.parquet").to_pylist()
    assert len(rows) == 25
    assert [row["row"] for row in rows if row["dropped"] is None] == list(range(20))
    deep = next(row for row in rows if row["file"].endswith("deep.png"))
    assert (deep["height"], deep["width"], deep["label"]) == (50, 50, "cats")
    assert {path.name for path in tmp_path.iterdir()} == {"mess", "store"}, "something was left behind"


def test_folder_zip_and_csv_give_the_same_pictures(folder, tmp_path):
    archive = tmp_path / "mess.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as out:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                out.write(path, path.relative_to(tmp_path))
    one = prepare(folder, tmp_path / "one", resolution=16).store
    two = prepare(archive, tmp_path / "two", resolution=16).store
    assert two.spec == one.spec
    assert np.array_equal(one.read(np.arange(20)), two.read(np.arange(20)))
    assert np.array_equal(one.labels, two.labels)
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.png"))
    table = tmp_path / "labels.csv"
    table.write_text("file,label\n" + "".join(f'"{n}",{"odd" if i % 2 else "even"}\n' for i, n in enumerate(names)))
    three = prepare(folder, tmp_path / "three", resolution=16, labels=table)
    assert three.store.spec.classes == ("even", "odd")
    assert "no label" in {reason for _, reason in three.skipped}


@pytest.mark.parametrize("threads", [1, 3])
def test_preparing_again_gives_the_same_bytes(folder, tmp_path, threads, monkeypatch):
    one = prepare(folder, tmp_path / "one", resolution=16).store
    monkeypatch.setattr(os, "cpu_count", lambda: threads)
    two = prepare(folder, tmp_path / "two", resolution=16).store
    assert one.manifest == two.manifest


def test_a_full_disk_leaves_nothing(folder, tmp_path):
    code = f"""
import resource, sys
from ganforge.cli import main
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
sys.exit(main(["prepare", {str(folder)!r}, "-o", {str(tmp_path / "out")!r}, "--resolution", "64"]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert "cannot be written" in done.stderr
    assert "Traceback" not in done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"mess"}


def test_errors_of_prepare(tmp_path):
    (tmp_path / "one").mkdir()
    picture(0).save(tmp_path / "one" / "a.png")
    with pytest.raises(DataError, match="1 usable picture; at least 8"):
        prepare(tmp_path / "one", tmp_path / "o")
    assert json.dumps([p.name for p in tmp_path.iterdir()]) == '["one"]'


def test_a_folder_whose_pictures_have_no_suffix_is_no_class_of_another(tmp_path):
    """Its label was stored as -1, which is the last class."""
    for name in ("cat", "dog", "plain"):
        (tmp_path / "in" / name).mkdir(parents=True)
        for n in range(6):
            suffix = "" if name == "plain" else ".png"
            (tmp_path / "in" / name / f"{n}{suffix}").write_bytes(encoded(picture(n + 10 * len(name), 16, 16)))
    prepared = prepare(tmp_path / "in", tmp_path / "s", resolution=16)
    assert np.bincount(prepared.store.labels).tolist() == [6, 6]
    assert {reason for _, reason in prepared.skipped} == {"no class: 'plain'"} and prepared.unusable == 6
