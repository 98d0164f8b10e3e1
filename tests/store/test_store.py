"""A store on disk: rows, damage, stamps."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from defects import save
from ganforge.base import files
from ganforge.base.errors import DataError, StoreError
from ganforge.cli import main
from ganforge.measuring.measure import measure
from ganforge.measuring.reference import extractor
from ganforge.media.spec import Spec
from ganforge.preparing.prepare import prepare
from ganforge.runs import RunFolder
from ganforge.store import stamps
from ganforge.store.store import Store, root_hash
from ganforge.testing import make_store


def test_a_store_is_plain_numpy_with_one_byte_range_a_picture(tmp_path):
    store = make_store(tmp_path / "s", Spec(8, 10, 3), 20)
    plain = np.load(tmp_path / "s" / "images-00000.npy")
    assert plain.shape == (20, 8, 10, 3)
    raw = (tmp_path / "s" / "images-00000.npy").read_bytes()
    assert raw[4096 + 7 * 240 : 4096 + 8 * 240] == plain[7].tobytes()
    assert np.array_equal(store.read(np.array([7, 3])), plain[[7, 3]])
    assert store.manifest["mean"] == pytest.approx(plain.mean((0, 1, 2)).tolist())
    assert store.manifest["deviation"] == pytest.approx(plain.std((0, 1, 2)).tolist())


def test_shards_read_as_one(tmp_path):
    whole = make_store(tmp_path / "one", Spec(8, 8, 1), 50)
    parts = make_store(tmp_path / "many", Spec(8, 8, 1), 50, shards=8)
    assert len(parts.shards) == 8
    rows = np.random.default_rng(0).permutation(50)
    assert np.array_equal(whole.read(rows), parts.read(rows))
    parts.verify()


def _edit(path: Path, offset: int) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    "damage",
    [
        lambda s: (s / "images-00000.npy").write_bytes((s / "images-00000.npy").read_bytes()[:-1]),
        lambda s: _edit(s / "images-00000.npy", 60),
        lambda s: _edit(s / "labels.npy", -1),
        lambda s: (s / "splits.npy").unlink(),
        lambda s: (s / "manifest.json").write_text(
            (s / "manifest.json").read_text().replace('"rows": 20', '"rows": 21', 1)
        ),
        lambda s: (s / "manifest.json").write_text("{"),
        lambda s: (s / "manifest.json").write_text("[]"),
        lambda s: (s / "manifest.json").unlink(),
    ],
)
def test_a_damaged_store_is_refused(tmp_path, damage):
    make_store(tmp_path / "s", Spec(8, 8, 1), 20)
    damage(tmp_path / "s")
    with pytest.raises(StoreError):
        Store(tmp_path / "s")


def test_one_changed_pixel_is_found(tmp_path, fails):
    store = make_store(tmp_path / "s", Spec(8, 8, 1), 20)
    store.verify()
    _edit(tmp_path / "s" / "images-00000.npy", 4096 + 500)
    assert "images-00000.npy has another SHA-256" in fails("show", tmp_path / "s")


@pytest.fixture
def place(tmp_path) -> Path:
    """A store of three shards."""
    make_store(tmp_path / "s", Spec(16, 16, 1), 60, shards=3)
    _older(tmp_path / "s")
    return tmp_path / "s"


@pytest.fixture
def read(monkeypatch) -> list[str]:
    """The names of files whose SHA-256 is computed from now on."""
    names: list[str] = []

    def noted(path: Path, skip: int = 0) -> str:
        names.append(path.name)
        return files.file_sha256(path, skip)

    monkeypatch.setattr(stamps, "file_sha256", noted)
    return names


def _older(folder: Path) -> None:
    """As if written an hour ago: what changed this very moment may change again within the clock's grain."""
    for path in folder.iterdir():
        info = path.stat()
        os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns - 3600 * 10**9))


def _flip(path: Path, offset: int = 4096 + 77) -> None:
    """One bit, and the times as they were."""
    info = path.stat()
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))


def _shards(names: list[str]) -> set[str]:
    return {name for name in names if name.startswith("images-")}


def test_a_flipped_bit_does_not_train(place, tmp_path, fails):
    _flip(place / "images-00001.npy")
    said = fails("train", "gan", place, "--images", 64, "--out", tmp_path / "run")
    assert "images-00001.npy has another SHA-256" in said
    assert not (tmp_path / "run").exists()
    with pytest.raises(StoreError, match="images-00001"):
        Store(place).read(np.arange(60))


def test_a_flipped_bit_is_found_after_a_check_too(place, tmp_path, fails):
    words = ["train", "gan", place, "--size", "small", "--images", "64", "--out", tmp_path / "run"]
    assert main([str(word) for word in words]) == 0
    _flip(place / "images-00002.npy")
    assert "images-00002.npy" in fails("train", tmp_path / "run", "--images", 128)
    assert "images-00002.npy" in fails("measure", tmp_path / "run", "--samples", 40)
    assert "images-00002.npy" in fails("show", place)


@pytest.mark.parametrize("verb", ["prepare", "audit"])
@pytest.mark.parametrize("name", ["images-00000.npy", "labels.npy", "splits.npy", "meta.parquet"])
def test_a_damaged_store_is_no_source(place, tmp_path, fails, verb, name):
    _flip(place / name, -1 if name != "meta.parquet" else 40)
    assert f"{name} has another SHA-256" in fails(verb, place, "-o", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_next_start_reads_nothing(place, read):
    Store(place).check()
    assert _shards(read) == {f"images-0000{n}.npy" for n in range(3)}
    read.clear()
    stamped = stamps.Stamps(place).file
    before = stamped.read_bytes()
    store = Store(place)
    store.check()
    store.read(np.arange(60))
    assert not _shards(read)
    store.verify()
    assert len(_shards(read)) == 3
    assert stamped.read_bytes() == before, "nor is anything noted twice"
    read.clear()
    shutil.copy(place / "images-00001.npy", place / "copy")
    (place / "copy").replace(place / "images-00001.npy")
    Store(place).check()
    assert _shards(read) == {"images-00001.npy"}, "what was written anew is compared anew"


def test_without_a_word_a_shard_is_compared_when_it_is_first_read(place, read):
    store = Store(place)
    for _ in range(3):
        store.read(np.arange(30))
    assert sorted(name for name in read if name.startswith("images-")) == ["images-00000.npy", "images-00001.npy"]


def test_a_folder_that_cannot_be_written_and_damaged_stamps_are_no_hindrance(place, tmp_path, read, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("GANFORGE_CACHE", str(tmp_path / "file"))
    for _ in range(2):
        read.clear()
        Store(place).check()
        assert len(_shards(read)) == 3
    monkeypatch.setenv("GANFORGE_CACHE", str(tmp_path / "cache"))
    Store(place).check()
    (stamped,) = (tmp_path / "cache" / "checked").iterdir()
    text = stamped.read_text()
    stamped.write_bytes(b'\xff\n[1]\n{}\n["images-00000.npy", "x"]\n' + text.encode()[:-20])
    read.clear()
    Store(place).check()
    assert 1 <= len(set(read) - {"labels.npy", "splits.npy"}) < 4  # three shards and meta.parquet are stamped


def test_a_large_store_says_that_it_is_checked(place, monkeypatch, logged):
    from ganforge.store import store

    monkeypatch.setattr(store, "LARGE", 1000)
    Store(place).check()
    assert "against its SHA-256, once" in logged[0]
    assert logged[1:], "and how far it is"
    logged.clear()
    Store(place).check()
    assert not logged


def test_what_was_damaged_in_the_cache_is_fetched_again(place, tmp_path, monkeypatch, read):
    pytest.importorskip("fsspec")
    monkeypatch.setenv("GANFORGE_CACHE", str(tmp_path / "cache"))
    wanted = Store(place).read(np.arange(60))
    far = Store(place.as_uri())
    assert np.array_equal(far.read(np.arange(60)), wanted)
    read.clear()
    assert np.array_equal(Store(place.as_uri()).read(np.arange(60)), wanted)
    assert not _shards(read), "compared when they came"
    for name in ("images-00001.npy", "labels.npy"):
        _flip(far.path / name, -1)
    assert np.array_equal(Store(place.as_uri()).read(np.arange(60)), wanted)
    _flip(far.path / "images-00002.npy", 70)  # in its header
    with pytest.raises(StoreError, match=r"another header. Remove .* fetched again"):
        Store(place.as_uri()).read(np.arange(60))
    _flip(place / "images-00000.npy")
    (far.path / "images-00000.npy").unlink()
    with pytest.raises(StoreError, match="images-00000"):
        Store(place.as_uri()).read(np.arange(20))


def test_features_and_extractor_are_compared_too(place, tmp_path):
    words = ["train", "gan", place, "--size", "small", "--images", "64", "--out", tmp_path / "run"]
    assert main([str(word) for word in words]) == 0
    run, store = RunFolder(tmp_path / "run"), Store(place)
    whole = measure(run, store, 40)
    kept = sorted(path for path in (place / "features").iterdir() if path.suffix in (".json", ".npy"))
    assert [path.name.split("-")[0] for path in kept] == ["floors", "heldout", "thumbnails", "train"]
    before = kept[0].read_bytes()
    for path in kept:
        _flip(path, -1)
    (kept[1].with_name(kept[1].name + ".sha256")).write_bytes(b"\xff")
    again = measure(run, store, 40)
    assert (again.distance, again.floor) == (whole.distance, whole.floor)
    assert kept[0].read_bytes() == before
    _flip(place / "features" / "extractor-v3.safetensors", -1)
    with pytest.raises(StoreError, match=r"extractor-v3\.safetensors is damaged"):
        extractor(store)


# ------------------------------------------------------------------------------------------------------- the root hash


def test_the_same_pictures_elsewhere_give_the_same_hash_and_no_place_is_told(tmp_path):
    roots = set()
    for folder in ("here/private-name", "there/other"):
        for n in range(12):
            save(tmp_path / folder / ("cat" if n % 2 else "dog") / f"{n}.png", n)
        store = prepare(tmp_path / folder, tmp_path / folder.replace("/", "-"), resolution=16).store
        assert str(tmp_path) not in (store.path / "manifest.json").read_text()
        assert "private-name" not in (store.path / "manifest.json").read_text()
        roots.add(store.root)
    assert len(roots) == 1


def test_no_private_path_comes_along_from_collecting_and_cleaning(tmp_path):
    for n in range(12):
        save(tmp_path / "mine" / ("cat" if n % 2 else "dog") / f"{n}.png", n)
    assert main(["collect", str(tmp_path / "mine"), "-o", str(tmp_path / "set")]) == 0
    words = ["clean", str(tmp_path / "set"), "-o", str(tmp_path / "cleaned"), "--filter", "median"]
    assert main(words) == 0
    store = prepare(tmp_path / "cleaned", tmp_path / "store", resolution=16).store
    rows = pq.read_table(store.path / "meta.parquet").to_pylist()
    assert {row["source"] for row in rows} == {"mine"}
    steps = [json.loads(line)["verb"] for line in (store.path / "history.jsonl").read_text().splitlines()]
    assert steps == ["collect", "clean", "prepare"]
    for path in store.path.iterdir():
        assert str(tmp_path).encode() not in path.read_bytes(), path


def test_the_root_hash_is_that_of_the_content_whatever_wrote_the_tables(tmp_path):
    for n in range(12):
        save(tmp_path / "in" / f"{n}.png", n)
    store = prepare(tmp_path / "in", tmp_path / "store", resolution=16).store
    manifest = json.loads(json.dumps(store.manifest))
    manifest["made"]["torch"] = "another"
    manifest["files"]["meta.parquet"]["sha256"] = "bytes of another writer"
    assert root_hash(manifest) == store.root
    manifest["files"]["meta.parquet"]["content"] = "other rows"
    assert root_hash(manifest) != store.root


def test_some_of_the_classes(tmp_path):
    store = make_store(tmp_path / "s", Spec(8, 8, 1, ("a", "b", "c")), 60)
    assert store.of_classes(()) is store
    some = store.of_classes((2, 0))
    for rows, before in ((some.train, store.train), (some.heldout, store.heldout)):
        assert rows.tolist() == [row for row in before if store.labels[row] != 1]
    store.train = store.train[store.labels[store.train] != 2]
    with pytest.raises(DataError, match="no training pictures of 'c'"):
        store.of_classes((0, 2))


def test_a_label_that_is_no_class_is_refused(tmp_path):
    """-1 would be the last class."""
    store = make_store(tmp_path / "s", Spec(8, 8, 1, ("cat", "dog")), 40)
    labels = store.labels.copy()
    labels[3] = -1
    np.save(store.path / "labels.npy", labels)
    manifest = store.manifest | {"files": store.files | {"labels.npy": {}}}
    manifest["files"]["labels.npy"] = {"sha256": files.file_sha256(store.path / "labels.npy")}
    (store.path / "manifest.json").write_text(json.dumps(manifest | {"root": root_hash(manifest)}))
    with pytest.raises(StoreError, match="none of its classes"):
        Store(store.path)


@pytest.mark.parametrize("first", [b"PK\3\4", b"\x93NUMPY\1\0\x76\0{'descr': ((((", b"\x80\4"])
def test_a_labels_file_of_any_bytes_is_one_sentence(tmp_path, fails, first):
    store = make_store(tmp_path / "s", Spec(8, 8, 1), 40)
    data = (store.path / "labels.npy").read_bytes()
    (store.path / "labels.npy").write_bytes(first + data[len(first) :])
    assert "another SHA-256" in fails("show", store.path)


def test_a_link_that_leads_to_itself_is_one_sentence(tmp_path, fails):
    (tmp_path / "loop").symlink_to("loop")
    assert "does not exist" in fails("train", "dcgan", tmp_path / "loop")
    assert "does not exist" in fails("prepare", tmp_path / "loop")
    (tmp_path / "in").mkdir()
    save(tmp_path / "in" / "a.png", 0)
    fails("prepare", tmp_path / "in", "-o", tmp_path / "loop")


@pytest.mark.parametrize("content", ["[" * 100_000, "[]", "{}", '{"root": 1, "schema": 2}'])
def test_a_manifest_of_anything_is_one_sentence(tmp_path, fails, content):
    store = make_store(tmp_path / "s", Spec(8, 8, 1), 40)
    (store.path / "manifest.json").write_text(content)
    for words in (("show", store.path), ("train", "gan", store.path), ("prepare", store.path, "-o", tmp_path / "o")):
        assert "was cut short or edited" in fails(*words)
