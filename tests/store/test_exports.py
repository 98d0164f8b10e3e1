"""Stores in other tools' formats, with licences and authors."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from ganforge.base.files import file_sha256
from ganforge.cli import main
from ganforge.collecting.collect import collect_pictures
from ganforge.media.spec import Spec
from ganforge.preparing.prepare import prepare
from ganforge.store import card, provenance
from ganforge.store.exports import write
from ganforge.store.meta import counts
from ganforge.store.store import Store, root_hash
from ganforge.testing import make_store
from synthetic import write_pictures


def test_a_format_that_has_no_place_is_refused_before_the_work(tmp_path, fails):
    root = write_pictures(tmp_path / "in", "cat", "dog")
    (tmp_path / "o").mkdir()
    assert "exists already" in fails("prepare", root, "-o", tmp_path / "o", "--format", "folder")
    assert {path.name for path in tmp_path.iterdir()} == {"in", "o"}
    (tmp_path / "o").rmdir()
    prepare(root, tmp_path / ".o.store", resolution=8)  # left behind by a call that was killed
    assert main(["prepare", str(root), "-o", str(tmp_path / "o"), "--format", "folder", "--resolution", "16"]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"in", "o"}


LICENCES = ("CC-BY-4.0", "CC0-1.0", "")


def known(store: Store) -> dict[bytes, tuple]:
    """By the stored pixels: first name, source, licence, author, label."""
    rows = pq.read_table(store.path / "meta.parquet").to_pylist()
    return {
        row["pixels_sha256"]: (
            row["original"] or row["file"],
            row["source"],
            row["licence"],
            row["author"],
            row["label"],
        )
        for row in rows
        if row["row"] >= 0
    }


@pytest.mark.parametrize("kind", ["webdataset", "parquet", "folder", "store"])
@pytest.mark.parametrize("zipped", [False, True])
def test_names_licences_and_authors_come_back(licensed, tmp_path, kind, zipped):
    first = prepare(licensed, tmp_path / "s", heldout=0.2).store
    assert sum(1 for facts in known(first).values() if facts[2]) > 20
    if kind == "store":
        shutil.copytree(first.path, tmp_path / "out")
    else:
        write(first, tmp_path / "out", kind)
    source = tmp_path / "out"
    if zipped and kind != "folder":
        pytest.skip("only folders are read out of a zip")
    if zipped:
        source = Path(shutil.make_archive(str(tmp_path / "packed"), "zip", source))
    made = prepare(source, tmp_path / "back")
    assert made.skipped == [], "cards, histories and tables are no licensed"
    assert known(made.store) == known(first)
    assert len(made.store.heldout) == len(first.heldout)
    again = tmp_path / "again"
    write(made.store, again, "folder")
    assert known(prepare(again, tmp_path / "twice").store) == known(first), "nor are they lost on the way back"


def test_exports_say_it_in_their_own_way(licensed, tmp_path):
    store = prepare(licensed, tmp_path / "s", heldout=0.2).store
    write(store, tmp_path / "folder", "folder")
    rows = [json.loads(line) for line in (tmp_path / "folder" / "train" / "metadata.jsonl").read_text().splitlines()]
    assert len(rows) == len(store.train)
    assert all((tmp_path / "folder" / "train" / row["file_name"]).is_file() for row in rows)
    row = next(row for row in rows if row["original_file"] == "cat/c/01.png")
    assert row["file_name"].startswith("cat/01") and row["label"] == "cat" and row["author"].startswith("<b>N.")
    write(store, tmp_path / "parquet", "parquet")
    table = pq.read_table(next((tmp_path / "parquet").glob("train-*.parquet")))
    features = json.loads(table.schema.metadata[b"huggingface"])["info"]["features"]
    assert set(table.column_names) == set(features) >= {"image", "label", "original_file", "licence", "author"}


def test_a_licence_in_anybodys_columns_is_read(tmp_path):
    (tmp_path / "hf").mkdir()
    with (tmp_path / "hf" / "metadata.csv").open("w") as file:
        file.write("file_name,license,author\n" + "".join(f"{n}.png,cc-by-4.0,A{n}\n" for n in range(12)))
    for n in range(12):
        pixels = np.random.default_rng(n).integers(0, 256, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "hf" / f"{n}.png")
    found = counts(prepare(tmp_path / "hf", tmp_path / "s").store)
    assert found.licences == {"cc-by-4.0": 12}
    assert len(found.authors) == 12


def test_collected_sets_keep_their_licences_in_zips_and_containers(tmp_path, licensed, real_data):
    from ganforge.collecting.collect import collect

    zipped = Path(shutil.make_archive(str(tmp_path / "z"), "zip", licensed.parent, licensed.name))
    assert sum(counts(prepare(zipped, tmp_path / "s", resolution=16).store).licences.values()) == 40
    assert counts(Store(tmp_path / "s")).licences["CC-BY-4.0"] == 13
    mnist = prepare(collect("mnist", tmp_path / "mnist", real_data / "mnist"), tmp_path / "m").store
    assert set(counts(mnist).licences) != {""}, "a picture has the licence of the file that it lies in"


def test_collecting_from_an_export_keeps_the_rights(licensed, tmp_path):
    write(prepare(licensed, tmp_path / "s").store, tmp_path / "out", "folder")
    made = collect_pictures([str(tmp_path / "out")], tmp_path / "mixed", unknown_rights="mix")
    rows = list(provenance.read(made.folder).values())
    assert sorted(row["licence"] for row in rows) == sorted(["CC-BY-4.0"] * 13 + ["CC0-1.0"] * 13 + [""] * 14)


def test_files_on_somebodys_disk_are_not_told(tmp_path):
    from ganforge.preparing.parts import Meta
    from ganforge.store.provenance import Origin
    from ganforge.testing import store_of

    pixels = np.random.default_rng(0).integers(0, 256, (12, 8, 8, 1), np.uint8)
    metas = [Meta(f"{n}.png", origin=Origin(source=f"file:///home/me/secret/{n}.png")) for n in range(12)]
    store = store_of(tmp_path / "s", Spec(8, 8, 1), pixels, metas)
    assert counts(store).sources == {"": 12}
    write(store, tmp_path / "out", "folder")
    assert not any(b"secret" in path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file())


def test_a_store_of_an_earlier_version_has_no_first_names(tmp_path):
    store = make_store(tmp_path / "s", Spec(8, 8, 1), 20)
    path = store.path / "meta.parquet"
    pq.write_table(pq.read_table(path).drop_columns(["original"]), path)
    manifest = json.loads((store.path / "manifest.json").read_text())
    manifest["files"]["meta.parquet"]["sha256"] = file_sha256(path)
    manifest["root"] = root_hash(manifest)
    (store.path / "manifest.json").write_text(json.dumps(manifest))
    assert card.licences(counts(Store(store.path))) == "not stated 20"
    assert write(Store(store.path), tmp_path / "out", "webdataset") == 20


def test_classes_whose_names_no_folder_can_tell_apart_have_folders_of_their_own(tmp_path):
    classes = ("a/b", "a:b", "A_B", "...", "metadata.jsonl", "x")
    store = make_store(tmp_path / "s", Spec(8, 8, 3, classes), 40)
    write(store, tmp_path / "out", "folder")
    folders = {path.name.casefold() for path in (tmp_path / "out" / "train").iterdir() if path.is_dir()}
    assert len(folders) == 6
    back = prepare(tmp_path / "out", tmp_path / "back").store
    assert set(back.spec.classes) == set(classes) and len(back.train) == len(store.train)
