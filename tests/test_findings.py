"""A store is known by its content alone."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq

from ganforge.base.images import write_image
from ganforge.cli import main
from ganforge.preparing.prepare import prepare
from ganforge.store.split import joined
from ganforge.store.store import root_hash
from synthetic import natural


def save(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_image(path, natural(seed, 32))


def test_groups_of_the_audit_and_of_a_table_are_joined():
    said = joined({"a": "0", "b": "0", "c": "1", "d": "1"}, {"b": "film", "e": "film", "f": "other"})
    assert said["a"] == said["b"] == said["e"]
    assert len({said["a"], said["c"], said["f"]}) == 3 and said["c"] == said["d"]
    chain = joined({"a": "0", "b": "0", "c": "1"}, {"b": "x", "c": "x"})
    assert len(set(chain.values())) == 1


# ------------------------------------------------------------------------------------------------------- the root hash


def test_the_same_pictures_elsewhere_give_the_same_hash_and_no_place_is_told(tmp_path):
    roots = set()
    for place in ("here/private-name", "there/other"):
        for n in range(12):
            save(tmp_path / place / ("cat" if n % 2 else "dog") / f"{n}.png", n)
        store = prepare(tmp_path / place, tmp_path / place.replace("/", "-"), resolution=16).store
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
