"""Tables of labels that go along with cleaned pictures."""

from __future__ import annotations

import csv
import json

import pytest

from ganforge.cli import main
from ganforge.preparing.prepare import prepare
from ganforge.store.exports import write
from ganforge.store.meta import counts
from ganforge.store.store import Store

LICENCES = ("CC-BY-4.0", "CC0-1.0", "")


@pytest.mark.parametrize("kind", ["folder", "original"])
def test_cleaning_keeps_labels_licences_and_authors(licensed, tmp_path, kind):
    source = licensed
    if kind == "folder":
        write(prepare(licensed, tmp_path / "s", heldout=0.2).store, tmp_path / "out", "folder")
        source = tmp_path / "out"
    before, after = tmp_path / "before", tmp_path / "after"
    assert main(["clean", str(source), "-o", str(tmp_path / "clean"), "--filter", "median"]) == 0
    one, two = counts(prepare(source, before).store), counts(prepare(tmp_path / "clean", after).store)
    assert one == two and one.licences["CC-BY-4.0"] == 13
    assert Store(before).spec == Store(after).spec


@pytest.mark.parametrize("kind", ["webdataset", "parquet"])
def test_cleaning_does_not_part_pictures_from_labels_in_tars(licensed, tmp_path, fails, kind):
    write(prepare(licensed, tmp_path / "s").store, tmp_path / "out", kind)
    assert "beside its label" in fails("clean", tmp_path / "out", "-o", tmp_path / "clean", "--filter", "median")
    assert not (tmp_path / "clean").exists()


def test_rows_of_tables_go_to_the_files_that_they_mean(tmp_path):
    from ganforge.sources import labels

    root = tmp_path / "in"
    (root / "sub").mkdir(parents=True)
    (root / "labels.csv").write_text("file,label\na.jpg,one\nsub/a.jpg,two\nb.jpg,three\nc.jpg,four\nd.jpg,five\n")
    (root / "sub" / "metadata.jsonl").write_text(
        '{"file_name": "a.jpg", "licence": "CC0"}\n{"file_name": "gone.jpg"}\n'
    )
    (root / "dataset.json").write_text('{"labels": [["a.jpg", 3], ["d.jpg", 4]]}')
    names = ["a.jpg", "sub/a.jpg", "sub/b.jpg", "x/c.jpg", "y/c.jpg", "d.jpg"]
    labels.carry(root, tmp_path / "out", names, {name: [name.replace("jpg", "png")] for name in names[:-1]})
    rows = list(csv.DictReader((tmp_path / "out" / "labels.csv").open()))
    assert [(row["file"], row["label"]) for row in rows] == [
        ("a.png", "one"),
        ("sub/a.png", "two"),
        ("sub/b.png", "three"),
    ]
    assert (tmp_path / "out" / "sub" / "metadata.jsonl").read_text() == '{"file_name": "a.png", "licence": "CC0"}\n'
    assert json.loads((tmp_path / "out" / "dataset.json").read_text()) == {"labels": [["a.png", 3]]}
