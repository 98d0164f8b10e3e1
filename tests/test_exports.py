"""What is known of a picture goes along: into the store, its card, every export, and back."""

from __future__ import annotations

import csv
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
from ganforge.store import card, history, provenance
from ganforge.store.exports import write
from ganforge.store.meta import counts
from ganforge.store.store import Store, root_hash
from ganforge.testing import make_store

LICENCES = ("CC-BY-4.0", "CC0-1.0", "")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    """Two classes, one with a name that no path can hold, some names twice, with licences and authors."""
    root = tmp_path_factory.mktemp("rights") / "set"
    rng = np.random.default_rng(0)
    rows = []
    for n in range(40):
        path = root / ("cat", "dog & co")[n % 2] / ("ä b", "c")[n // 2 % 2] / f"{n // 4:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(path)
        if n:
            address = f"https://{('a', 'b')[n % 2]}.example/{n}.png" if n > 1 else "http://[no address"
            author = f"<b>N. {n % 3}</b> | *x*"
            rows.append((path.relative_to(root).as_posix(), address, LICENCES[n % 3], author))
    with (root / "provenance.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("file", "address", "licence", "author"), *rows])
    return root


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
def test_names_licences_and_authors_come_back(pictures, tmp_path, kind, zipped):
    first = prepare(pictures, tmp_path / "s", heldout=0.2).store
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
    assert made.skipped == [], "cards, histories and tables are no pictures"
    assert known(made.store) == known(first)
    assert len(made.store.heldout) == len(first.heldout)
    again = tmp_path / "again"
    write(made.store, again, "folder")
    assert known(prepare(again, tmp_path / "twice").store) == known(first), "nor are they lost on the way back"


def test_exports_say_it_in_their_own_way(pictures, tmp_path):
    store = prepare(pictures, tmp_path / "s", heldout=0.2).store
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


def test_the_card(pictures, tmp_path, capsys):
    assert main(["prepare", str(pictures), "-o", str(tmp_path / "s"), "--resolution", "16", "--per-class", "10"]) == 0
    text = (tmp_path / "s" / "README.md").read_text("utf-8")
    _, header, body = text.split("---\n", 2)
    values = {line.split(": ", 1)[0]: json.loads(line.split(": ", 1)[1]) for line in header.splitlines()}
    assert values["license"] == ["cc-by-4.0", "cc0-1.0", "unknown"]
    assert values["size_categories"] == ["n<1K"] and values["pretty_name"] == "s"
    store = Store(tmp_path / "s")
    found = counts(store)
    used = len(store.train) + len(store.heldout)
    assert used < 40 and sum(found.licences.values()) == sum(found.authors.values()) == used
    assert f"| CC-BY-4.0 | {found.licences['CC-BY-4.0']} |" in body
    assert f"| not stated | {found.licences['']} |" in body
    assert "| a.example |" in body and "| dog &amp; co |" in body
    assert r"| &lt;b&gt;N. 1&lt;/b&gt; \| \*x\* |" in body, "what strangers wrote is text"
    assert "prepare: " in body and "over the cap of its class" in body
    assert str(pictures) not in text and str(tmp_path) not in text, "and no private path"
    capsys.readouterr()
    assert main(["show", str(tmp_path / "s")]) == 0
    shown = capsys.readouterr().out
    assert "licences   " in shown and f"CC-BY-4.0 {found.licences['CC-BY-4.0']}" in shown and "not stated" in shown
    for kind in ("webdataset", "folder"):
        out = tmp_path / kind
        assert main(["prepare", str(tmp_path / "s"), "-o", str(out), "--format", kind]) == 0
        assert "CC-BY-4.0" in (out / "README.md").read_text("utf-8")
        assert [step["verb"] for step in history.read(out)] == ["prepare", "prepare", "export"]
        assert str(tmp_path) not in (out / "history.jsonl").read_text("utf-8")


def test_collected_sets_keep_their_licences_in_zips_and_containers(tmp_path, pictures, real_data):
    from ganforge.collecting.collect import collect

    zipped = Path(shutil.make_archive(str(tmp_path / "z"), "zip", pictures.parent, pictures.name))
    assert sum(counts(prepare(zipped, tmp_path / "s", resolution=16).store).licences.values()) == 40
    assert counts(Store(tmp_path / "s")).licences["CC-BY-4.0"] == 13
    mnist = prepare(collect("mnist", tmp_path / "mnist", real_data / "mnist"), tmp_path / "m").store
    assert set(counts(mnist).licences) != {""}, "a picture has the licence of the file that it lies in"


def test_collecting_from_an_export_keeps_the_rights(pictures, tmp_path):
    write(prepare(pictures, tmp_path / "s").store, tmp_path / "out", "folder")
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


@pytest.mark.parametrize("kind", ["folder", "original"])
def test_cleaning_keeps_labels_licences_and_authors(pictures, tmp_path, kind):
    source = pictures
    if kind == "folder":
        write(prepare(pictures, tmp_path / "s", heldout=0.2).store, tmp_path / "out", "folder")
        source = tmp_path / "out"
    before, after = tmp_path / "before", tmp_path / "after"
    assert main(["clean", str(source), "-o", str(tmp_path / "clean"), "--filter", "median"]) == 0
    one, two = counts(prepare(source, before).store), counts(prepare(tmp_path / "clean", after).store)
    assert one == two and one.licences["CC-BY-4.0"] == 13
    assert Store(before).spec == Store(after).spec


@pytest.mark.parametrize("kind", ["webdataset", "parquet"])
def test_cleaning_does_not_part_pictures_from_labels_in_tars(pictures, tmp_path, fails, kind):
    write(prepare(pictures, tmp_path / "s").store, tmp_path / "out", kind)
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
    labels.carry(root, tmp_path / "out", names, {name: name.replace("jpg", "png") for name in names[:-1]})
    rows = list(csv.DictReader((tmp_path / "out" / "labels.csv").open()))
    assert [(row["file"], row["label"]) for row in rows] == [
        ("a.png", "one"),
        ("sub/a.png", "two"),
        ("sub/b.png", "three"),
    ]
    assert (tmp_path / "out" / "sub" / "metadata.jsonl").read_text() == '{"file_name": "a.png", "licence": "CC0"}\n'
    assert json.loads((tmp_path / "out" / "dataset.json").read_text()) == {"labels": [["a.png", 3]]}
