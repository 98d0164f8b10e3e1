"""Captions of pictures: from tables, from texts beside them, from containers; and what is said where they are wrong."""

from __future__ import annotations

import csv
import io
import json
import shutil
import tarfile
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from ganforge.base.errors import DataError
from ganforge.preparing.prepare import prepare
from ganforge.store.exports import write as export
from ganforge.store.store import Store
from ganforge.store.stream import Stream
from synthetic import write_pictures

COUNT = 20


@pytest.fixture
def pictures(tmp_path):
    return write_pictures(tmp_path / "in", "a", "b", count=COUNT // 2)


def names(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.png"))


def write_table(path, rows, fields=("file", "caption")):
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([fields, *rows])


def captions(store):
    """The captions of each file of a store."""
    table = pq.read_table(store.path / "meta.parquet").to_pylist()
    return {row["file"]: store.captions_of(row["row"]) for row in table if row["row"] >= 0}


def test_a_table_names_the_pictures_and_may_name_one_twice(pictures, tmp_path):
    rows = [(name, f"Picture {n} of {name[0]}!") for n, name in enumerate(names(pictures))]
    write_table(pictures / "captions.csv", [*rows, (rows[0][0], "the first one"), ("nowhere.png", "lost")])
    prepared = prepare(pictures, tmp_path / "store", resolution=16)
    store = prepared.store
    assert store.captions.shape == (COUNT, 2, 4) and store.captions.dtype == np.uint16
    assert captions(store)[rows[0][0]] == ["picture 0 of a", "the first one"]
    assert captions(store)[rows[7][0]] == ["picture 7 of a"]
    notes = "\n".join(prepared.notes)
    assert f"captions of {COUNT} of {COUNT} pictures, from captions.csv" in notes
    assert "1 rows in captions.csv name no picture, or several: 'nowhere.png'" in notes
    assert store.spec.classes == ("a", "b"), "folders stay classes"
    assert prepare(pictures, tmp_path / "again", resolution=16).store.root == store.root
    (tmp_path / "again" / "captions.npy").write_bytes(b"")
    with pytest.raises(Exception, match="was cut short or edited"):
        Store(tmp_path / "again")


def test_texts_beside_the_pictures_in_a_folder_and_in_a_zip(pictures, tmp_path):
    for n, name in enumerate(names(pictures)):
        (pictures / name).with_suffix(".txt").write_text(f"picture {n}\n\nline two\n", "utf-8")
    (pictures / "a" / "notes.txt").write_text("of no picture")
    prepared = prepare(pictures, tmp_path / "store", resolution=16)
    assert captions(prepared.store)[names(pictures)[3]] == ["picture 3", "line two"]
    assert [file for file, _ in prepared.skipped] == ["a/notes.txt"]
    with zipfile.ZipFile(tmp_path / "in.zip", "w") as archive:
        for path in sorted(pictures.rglob("*.*")):
            archive.write(path, path.relative_to(pictures).as_posix())
    zipped = prepare(tmp_path / "in.zip", tmp_path / "zipped", resolution=16).store
    assert captions(zipped) == captions(prepared.store)


def test_lists_of_boxes_beside_pictures_are_no_captions(pictures, tmp_path):
    for name in names(pictures):
        (pictures / name).with_suffix(".txt").write_text("0 0.5 0.5 0.25 0.25\n")
    store = prepare(pictures, tmp_path / "store", resolution=16).store
    assert store.captions is None and store.spec.captions is None


def test_metadata_of_an_image_folder(pictures, tmp_path):
    with (pictures / "metadata.jsonl").open("w") as file:
        for n, name in enumerate(names(pictures)):
            file.write(json.dumps({"file_name": name, "text": f"picture {n}"}) + "\n")
    assert captions(prepare(pictures, tmp_path / "store", resolution=16).store)[names(pictures)[5]] == ["picture 5"]


def test_few_without_one_are_left_out_and_many_mean_none(pictures, tmp_path):
    rows = [(name, "some words") for name in names(pictures)]
    write_table(pictures / "captions.csv", rows[1:])
    prepared = prepare(pictures, tmp_path / "one", resolution=16)
    assert prepared.skipped == [(rows[0][0], "no caption")] and len(prepared.store) == COUNT - 1
    write_table(pictures / "captions.csv", [*rows[2:], (rows[0][0], ""), (rows[1][0], "12 34")])
    prepared = prepare(pictures, tmp_path / "two", resolution=16)
    assert prepared.store.captions is None and len(prepared.store) == COUNT
    assert any(note.startswith(f"no captions, since only {COUNT - 2} of {COUNT}") for note in prepared.notes)


def test_a_caption_that_is_too_long_is_named(pictures, tmp_path):
    rows = [(name, "some words") for name in names(pictures)]
    write_table(pictures / "captions.csv", [*rows[1:], (rows[0][0], "word " * 10_000)])
    prepared = prepare(pictures, tmp_path / "store", resolution=16)
    assert prepared.skipped == [(rows[0][0], "a caption of 10,000 words; at most 64 are read")]


@pytest.mark.parametrize(
    ("data", "sentence"),
    [(b"name,words\na,b\n", "needs the columns file and caption"), (b"\xff\xff", "cannot be read as a CSV")],
)
def test_tables_that_cannot_be_read(data, sentence, pictures, tmp_path):
    (pictures / "captions.csv").write_bytes(data)
    with pytest.raises(DataError, match=sentence):
        prepare(pictures, tmp_path / "store", resolution=16)
    assert not (tmp_path / "store").exists()


def test_containers_bring_captions_and_exports_keep_them(pictures, tmp_path):
    write_table(pictures / "captions.csv", [(name, f"Picture {n}, red.") for n, name in enumerate(names(pictures))])
    store = prepare(pictures, tmp_path / "store", resolution=16).store
    wanted = sorted(map(tuple, captions(store).values()))
    for kind in ("webdataset", "parquet", "folder"):
        export(store, tmp_path / kind, kind)
        back = prepare(tmp_path / kind, tmp_path / f"{kind}-store").store
        assert sorted(map(tuple, captions(back).values())) == wanted, kind
    again = prepare(tmp_path / "store", tmp_path / "again", resolution=8).store
    assert sorted(map(tuple, captions(again).values())) == wanted


def test_containers_of_others(pictures, tmp_path):
    with tarfile.open(tmp_path / "in.tar", "w") as tar:
        for n, name in enumerate(names(pictures)):
            for suffix, data in (("png", (pictures / name).read_bytes()), ("txt", f"picture {n}".encode())):
                info = tarfile.TarInfo(f"{n:05d}.{suffix}")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    store = prepare(tmp_path / "in.tar", tmp_path / "tar", resolution=16).store
    assert captions(store)["00003.png"] == ["picture 3"]
    images = [{"bytes": (pictures / name).read_bytes()} for name in names(pictures)]
    texts = [[f"picture {n}", "seen again"] for n in range(COUNT)]
    pq.write_table(pa.table({"image": images, "caption": texts}), tmp_path / "in.parquet")
    store = prepare(tmp_path / "in.parquet", tmp_path / "table", resolution=16).store
    assert captions(store)["in.parquet/0000003"] == ["picture 3", "seen again"]


def test_a_stream_shows_one_caption_of_each_picture(pictures, tmp_path):
    rows = [(name, f"{word} {name[0]}") for name in names(pictures) for word in ("first", "second")]
    write_table(pictures / "captions.csv", rows)
    store = prepare(pictures, tmp_path / "store", resolution=16, heldout=0.0).store
    batch = Stream(store, 0, torch.device("cpu")).batch(0, 5 * COUNT)
    shown = [store.spec.captions.text(row) for row in batch.captions.tolist()]
    assert all(text.endswith(("a", "b")[label]) for text, label in zip(shown, batch.labels.tolist(), strict=True))
    share = np.mean([text.startswith("first") for text in shown])
    assert 0.3 < share < 0.7, "now this, now that one"


def test_captions_go_with_cleaned_pictures(pictures, tmp_path):
    from ganforge.cleaning.clean import clean

    write_table(pictures / "captions.csv", [(name, f"picture {n}") for n, name in enumerate(names(pictures))])
    clean(pictures, tmp_path / "clean", filters=["median"])
    shutil.rmtree(pictures)
    store = prepare(tmp_path / "clean", tmp_path / "store", resolution=16).store
    assert len(captions(store)) == COUNT and store.captions is not None
