"""What names, folders and tables say of a set."""

from __future__ import annotations

import io
import json
import os
import tarfile
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from ganforge.base.errors import DataError, InputError
from ganforge.cleaning.clean import clean
from ganforge.cli import main
from ganforge.preparing.prepare import prepare, prepare_shard
from ganforge.sources.layout import natural, of_names
from ganforge.sources.source import open_source
from ganforge.store.exports import write as export
from ganforge.store.store import Store
from ganforge.store.stream import Stream
from synthetic import write_pictures


def png(seed: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (12, 12, 3), dtype=np.uint8)).save(file, "PNG")
    return file.getvalue()


def make(place: Path, names: list[str], kind: str = "folder") -> Path:
    """Pictures of these names, in a folder, a zip or a tar; other files hold their own name."""
    files = {name: png(zlib.crc32(name.encode())) if name.endswith(".png") else name.encode() for name in names}
    if kind == "zip":
        with zipfile.ZipFile(place.with_suffix(".zip"), "w") as archive:
            for name, data in files.items():
                archive.writestr(name, data)
        return place.with_suffix(".zip")
    if kind == "tar":
        with tarfile.open(place.with_suffix(".tar"), "w") as tar:
            for name, data in files.items():
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
        return place.with_suffix(".tar")
    for name, data in files.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(data)
    return place


def several(*folders: str, count: int = 6) -> list[str]:
    return [f"{folder}/{n}.png" for folder in folders for n in range(count)]


LAYOUTS = {
    "classes": (several("cat", "dog"), "2 classes, no given split"),
    "wrapped": (several("set/cat", "set/dog"), "2 classes, no given split"),
    "wrapped twice": ([*several("set/set/cat", "set/set/dog"), "set/README.txt"], "2 classes, no given split"),
    "split": (several("train/cat", "train/dog", "test/cat", "test/dog"), "2 classes, given split"),
    "wrapped split": (several("set/Train/cat", "set/Train/dog", "set/val/cat", "set/val/dog"),
                      "2 classes, given split"),
    "split below classes": (several("cat/train", "cat/test", "dog/train", "dog/test"), "2 classes, given split"),
    "folders inside a split": (several("train/images/cat", "train/images/dog", "test/images/cat"),
                               "2 classes, given split"),
    "only train": (several("train/cat", "train/dog"), "2 classes, no given split"),
    "no classes": (several("train", "test"), "no classes, given split"),
    "own folders a side": (several("train/train_images", "test/test_images"), "no classes, given split"),
    "flat in a folder": (several("set", count=12), "no classes, no given split"),
}  # fmt: skip


@pytest.mark.parametrize("kind", ["folder", "zip", "tar"])
@pytest.mark.parametrize("name", LAYOUTS)
def test_one_rule_for_folder_zip_and_tar(tmp_path, name, kind):
    names, said = LAYOUTS[name]
    made = prepare(make(tmp_path / "in", names, kind), tmp_path / "store", resolution=8)
    assert made.notes[0] == f"read as: {said}"
    rows = pq.read_table(tmp_path / "store" / "meta.parquet").to_pylist()
    pictures = [row for row in rows if row["file"].endswith(".png")]
    assert len(pictures) == sum(n.endswith(".png") for n in names)
    labels = {row["label"] for row in pictures}
    assert labels == ({"cat", "dog"} if said.startswith("2") else {None})
    if "given split" in said and "no given" not in said:
        for row in pictures:
            assert row["split"] == ("train" if "train" in row["file"].lower() else "heldout")


def test_the_line_is_said_by_prepare_audit_and_collect(tmp_path, capsys):
    names, said = LAYOUTS["wrapped split"]
    source = make(tmp_path / "in", names)
    assert main(["prepare", str(source), "-o", str(tmp_path / "store"), "--resolution", "8"]) == 0
    assert f"read as: {said}" in capsys.readouterr().out
    assert main(["audit", str(source), "-o", str(tmp_path / "audit")]) == 0
    assert f"read as: {said}" in capsys.readouterr().out
    assert main(["collect", str(source), "-o", str(tmp_path / "collected")]) == 0
    assert f"read as: {said}" in capsys.readouterr().out


def test_what_is_not_taken_for_a_split_or_classes_is_said(tmp_path):
    assert "lie beside the folders" in of_names([*several("cat", "dog"), "1.png", "2.png"]).notes[0]
    few = of_names([*several("cat", "dog", count=20), "1.png"])
    assert (few.classes, few.label("1.png")) == (("cat", "dog"), None)
    assert "left out: 1 of 41" in few.notes[0]
    mixed = of_names(several("train", "test", "extra"))
    assert mixed.classes == ("extra", "test", "train") and "'extra' lies beside them" in mixed.notes[0]
    assert "all of one side" in of_names(several("val/cat", "test/cat", "val/dog")).notes[0]


def test_several_tars_in_folders_of_a_split(tmp_path):
    for side in ("train", "test"):
        (tmp_path / "in" / side).mkdir(parents=True)
        for n in range(2):
            make(
                tmp_path / "in" / side / f"{n}",
                [f"cat/{side}{n}.png", f"dog/{side}{n}.png", f"dog/{side}{n}b.png"],
                "tar",
            )
    made = prepare(tmp_path / "in", tmp_path / "store", resolution=8)
    assert made.notes[0] == "read as: 2 classes, given split"
    assert (len(made.store.train), len(made.store.heldout)) == (6, 6)
    files = pq.read_table(tmp_path / "store" / "meta.parquet")["file"].to_pylist()
    assert len(set(files)) == 12 and "train/0.tar/cat/train0.png" in files


def test_jobs_read_tars_of_folders_alike(tmp_path):
    make(tmp_path / "in", several("set/train/cat", "set/train/dog", "set/test/cat", "set/test/dog"), "tar")
    prepare_shard(tmp_path / "in.tar", tmp_path / "a", 0, 2, resolution=8)
    joined = prepare(tmp_path / "in.tar", tmp_path / "a", resolution=8).store
    assert joined.manifest == prepare(tmp_path / "in.tar", tmp_path / "b", resolution=8).store.manifest
    assert joined.spec.classes == ("cat", "dog")


def test_a_tar_names_what_it_does_not_use(tmp_path):
    path = tmp_path / "in.tar"
    with tarfile.open(path, "w") as tar:
        for n in range(10):
            info = tarfile.TarInfo(f"./cat/{n}.png")
            info.size = len(png(n))
            tar.addfile(info, io.BytesIO(png(n)))
        link = tarfile.TarInfo("cat/link.png")
        link.type, link.linkname = tarfile.LNKTYPE, "cat/1.png"
        tar.addfile(link)
        text = tarfile.TarInfo(os.fsdecode(b"cat/caf\xe9.docx"))
        tar.addfile(text)
        tar.addfile(tarfile.TarInfo("cat/._1.png"))
    made = prepare(path, tmp_path / "store", resolution=8)
    assert dict(made.skipped) == {
        "cat/link.png": "a link inside the tar", "cat/caf\\xe9.docx": "not a picture: .docx file",
    }  # fmt: skip
    assert len(made.store) == 10


@pytest.mark.parametrize("cut", ["data", "header", "end"])
def test_a_tar_that_is_cut_short_loses_nothing_in_silence(tmp_path, cut):
    path = make(tmp_path / "in", several("cat", "dog", count=10), "tar")
    data = bytearray(path.read_bytes())
    with tarfile.open(path) as tar:
        member = tar.getmembers()[15]
    if cut == "data":
        del data[member.offset_data + 100 :]
    elif cut == "header":
        data[member.offset + 10] ^= 0xFF
    else:
        del data[member.offset :]
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"cannot be read as a tar: .*Copy or fetch it again"):
        prepare(path, tmp_path / "store")


def csv(place: Path, *rows: str, columns: str = "file,label") -> Path:
    place.write_text("\n".join([columns, *rows]) + "\n")
    return place


def labels_of(store: Path) -> dict[str, str | None]:
    table = pq.read_table(store / "meta.parquet").to_pylist()
    return {row["file"]: row["label"] for row in table}


@pytest.mark.parametrize("kind", ["folder", "zip", "tar"])
def test_whole_paths_come_before_base_names_and_leftovers_are_named(tmp_path, kind, capsys):
    names = ["p1.png", "p2.png", "sub/p2.png", "sub/p3.png", "a/p4.png", "b/p4.png", *several("more")]
    rows = ["p1.png,x", "p2.png,y", "p3.png,z", "p4.png,w", "gone.png,x", *(f"more/{n}.png,x" for n in range(6))]
    table = csv(tmp_path / "l.csv", *rows)
    source = make(tmp_path / "in", names, kind)
    assert main(["prepare", str(source), "-o", str(tmp_path / "s"), "--labels", str(table)]) == 2
    said = capsys.readouterr().out
    found = labels_of(tmp_path / "s")
    assert (found["p1.png"], found["p2.png"], found["sub/p3.png"]) == ("x", "y", "z")
    assert found["sub/p2.png"] is None and found["a/p4.png"] is None
    assert f"read as: 3 classes from {table}, no given split" in said
    assert f"1 of 11 rows in {table} name no picture: 'gone.png'" in said
    assert f"1 rows in {table} fit several pictures and are not used; write whole paths: 'p4.png'" in said
    assert f"left out: 3 of 12 pictures without a label in {table}" in said


@pytest.mark.parametrize("verb", ["prepare", "audit"])
def test_labels_that_match_nothing_are_a_mistake(tmp_path, fails, verb):
    source = make(tmp_path / "in", several("cat", "dog"))
    table = csv(tmp_path / "l.csv", "x1.png,a", "x2.png,b")
    said = fails(verb, source, "-o", tmp_path / "out", "--labels", table)
    assert "No row of" in said and "its rows are like 'x1.png', 'x2.png', the pictures like 'cat/0.png'" in said
    assert not (tmp_path / "out").exists()
    csv(source / "labels.csv", "x1.png,a")
    assert "No row of labels.csv" in fails(verb, source, "-o", tmp_path / "out")


def test_labels_without_a_label_are_a_mistake(tmp_path, fails):
    source = make(tmp_path / "in", several("cat", "dog"))
    table = csv(tmp_path / "l.csv", *(f"cat/{n}.png, " for n in range(6)))
    assert "No row of" in fails("prepare", source, "-o", tmp_path / "out", "--labels", table)
    assert not (tmp_path / "out").exists()


def test_tables_as_spreadsheets_write_them(tmp_path, fails):
    """UTF-8 with and without its mark, UTF-16; commas, semicolons, tabs; line ends of Windows."""
    source = make(tmp_path / "in", several("pictures"))
    rows = ["file,label", *(f"{n}.png,{'blüte' if n % 2 else 'blatt'}" for n in range(10))]
    for n, (by, end, encoding) in enumerate(
        ((",", "\n", "utf-8-sig"), (";", "\r\n", "utf-8"), ("\t", "\r\n", "utf-16"))
    ):
        table = tmp_path / f"{n}.csv"
        table.write_bytes(end.join(row.replace(",", by) for row in rows).encode(encoding))
        assert open_source(source, table).classes == ("blatt", "blüte")
    table.write_bytes("\n".join(rows).encode("latin-1"))
    assert "it is not in UTF-8; save it as CSV UTF-8" in fails("prepare", source, "--labels", table)


@pytest.mark.parametrize("what", ["run.toml", "findings.parquet"])
def test_runs_and_audits_are_no_pictures(tmp_path, fails, what):
    source = make(tmp_path / "in", [*several("samples"), what])
    for words in (("prepare",), ("audit",), ("clean", "--filter", "median")):
        assert f"{what} in it, and no set of pictures" in fails(*words, source, "-o", tmp_path / "out")


@pytest.mark.parametrize("verb", ["prepare", "audit"])
def test_two_rows_that_contradict_each_other_are_a_mistake(tmp_path, fails, verb):
    source = make(tmp_path / "in", several("a"))
    table = csv(tmp_path / "l.csv", "a/1.png,cat", "a/2.png,dog", "2.png,cat")
    assert "two rows for 'a/2.png' with the labels 'dog' and 'cat'" in fails(
        verb, source, "-o", tmp_path / "o", "--labels", table
    )
    table = csv(tmp_path / "l.csv", *(f"a/{n}.png,cat," for n in range(6)), "a/2.png,cat,g", columns="file,label,group")
    assert "with the groups" in fails(verb, source, "-o", tmp_path / "o", "--labels", table)


def test_the_same_row_twice_is_one(tmp_path):
    source = make(tmp_path / "in", several("a", "b"))
    rows = [f"{name},{n % 2}" for n, name in enumerate(several("a", "b"))]
    made = prepare(source, tmp_path / "s", resolution=8, labels=csv(tmp_path / "l.csv", *rows, *rows))
    assert made.store.spec.classes == ("0", "1") and not made.skipped


def test_groups_follow_their_rows_whether_by_path_or_by_name(tmp_path):
    names = several("a", "b", count=20)
    rows = [f"b/{n}.png,,film{n // 10}" for n in range(20)] + [f"only-{n}.png,,film0" for n in range(5)]
    source = make(tmp_path / "in", [*names, *(f"c/only-{n}.png" for n in range(5))])
    made = prepare(
        source,
        tmp_path / "s",
        resolution=8,
        heldout=0.4,
        labels=csv(tmp_path / "l.csv", *rows, columns="file,label,group"),
    )
    assert made.store.spec.classes == ("a", "b", "c"), "without labels in the table, folders are the classes"
    table = pq.read_table(tmp_path / "s" / "meta.parquet").to_pylist()
    for film in (
        {f"b/{n}.png" for n in range(10)} | {f"c/only-{n}.png" for n in range(5)},
        {f"b/{n}.png" for n in range(10, 20)},
    ):
        assert len({row["group"] for row in table if row["file"] in film}) == 1
        assert len({row["split"] for row in table if row["file"] in film}) == 1


@pytest.mark.parametrize("kind", ["folder", "zip", "tar"])
@pytest.mark.parametrize("table", ["labels.csv", "metadata.csv", "metadata.jsonl", "dataset.json"])
def test_tables_in_the_set_are_read_alike(tmp_path, kind, table):
    names = several("set/pictures", count=12)
    source = make(tmp_path / "in", [*names, "set/labels"])
    (source / "set" / "labels").unlink()
    rows = [(f"pictures/{n}.png", "odd" if n % 2 else "even") for n in range(12)]
    text = {
        "labels.csv": "file,label\n" + "\n".join(",".join(row) for row in rows),
        "metadata.csv": "file_name,label\n" + "\n".join(",".join(row) for row in rows),
        "metadata.jsonl": "\n".join(f'{{"file_name": "{name}", "label": "{label}"}}' for name, label in rows),
        "dataset.json": '{"labels": [' + ", ".join(f'["{name}", "{label}"]' for name, label in rows) + "]}",
    }[table]
    (source / "set" / table).write_text(text)
    if kind == "zip":
        with zipfile.ZipFile(tmp_path / "in.zip", "w") as archive:
            for path in sorted(source.rglob("*.*")):
                archive.write(path, path.relative_to(source))
        source = tmp_path / "in.zip"
    elif kind == "tar":
        with tarfile.open(tmp_path / "in.tar", "w") as tar:
            tar.add(source / "set", "set")
        source = tmp_path / "in.tar"
    opened = open_source(source)
    assert opened.notes == [f"read as: 2 classes from {table}, no given split"]
    assert {entry.label for entry in opened.entries()} == {"odd", "even"}


def test_labels_for_files_without_names_are_refused(tmp_path):
    made = prepare(make(tmp_path / "in", several("cat", "dog")), tmp_path / "s", resolution=8)
    with pytest.raises(InputError, match="brings its own labels"):
        prepare(made.store.path, tmp_path / "t", labels=csv(tmp_path / "l.csv", "a,b"))


@pytest.mark.parametrize("name", ["metadata.jsonl", "dataset.json"])
def test_json_that_is_nested_too_deeply_is_one_sentence(tmp_path, fails, name):
    make(tmp_path / "in", ["a.png"])
    (tmp_path / "in" / name).write_text("[" * 200_000)
    for verb in ("prepare", "audit"):
        assert f"{name} in" in fails(verb, tmp_path / "in", "-o", tmp_path / "out")


def test_labels_that_are_no_text_or_no_number_of_python(tmp_path):
    """Half of a pair of UTF-16, as cut-off captions end, and a number of more digits than Python reads."""
    names = [f"{n}.png" for n in range(12)]
    make(tmp_path / "in", names)
    labels = ["b", "\ud83d", "9" * 5000]
    rows = (json.dumps({"file_name": name, "label": labels[n % 3]}) + "\n" for n, name in enumerate(names))
    (tmp_path / "in" / "metadata.jsonl").write_text("".join(rows))
    store = prepare(tmp_path / "in", tmp_path / "s").store
    assert store.spec.classes == ("9" * 5000, "\\ud83d", "b") and np.bincount(store.labels).tolist() == [4, 4, 4]


def test_numbers_come_before_words_in_their_order():
    words = ["x", "10", "9" * 30, "2", "\u0663", "9" * 5000]
    assert sorted(words, key=natural) == ["2", "\u0663", "10", "9" * 30, "9" * 5000, "x"]


# captions

COUNT = 20


@pytest.fixture
def pictures(tmp_path):
    return write_pictures(tmp_path / "in", "a", "b", count=COUNT // 2)


def names(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.png"))


def write_table(path, rows):
    csv(path, *(f'"{file}","{caption}"' for file, caption in rows), columns="file,caption")


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


@pytest.mark.parametrize("beside", [False, True])
def test_captions_go_with_cleaned_pictures(beside, pictures, tmp_path):
    if beside:
        for n, name in enumerate(names(pictures)):
            (pictures / name).with_suffix(".txt").write_text(f"picture {n}", "utf-8")
    else:
        write_table(pictures / "captions.csv", [(name, f"picture {n}") for n, name in enumerate(names(pictures))])
    clean(pictures, tmp_path / "clean", filters=["median"])
    store = prepare(tmp_path / "clean", tmp_path / "store", resolution=16).store
    assert len(captions(store)) == COUNT and store.captions is not None
