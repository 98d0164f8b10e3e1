"""Unfinished parts, and stores that take the place of others."""

from __future__ import annotations

import shutil
import tarfile

import numpy as np
import pytest

from ganforge.base.errors import DataError, StoreError
from ganforge.cli import main
from ganforge.media.spec import Spec
from ganforge.preparing.parts import Meta, new_part
from ganforge.preparing.prepare import prepare, prepare_shard
from ganforge.store.store import Store
from synthetic import write_pictures


def test_a_part_is_whole_or_not_there_and_the_first_of_two_workers_stays(tmp_path):
    spec, path = Spec(8, 8, 1), tmp_path / "parts" / "part-00000"
    picture, digest = np.zeros((8, 8, 1), np.uint8), bytes(32)
    with pytest.raises(KeyboardInterrupt), new_part(path, spec) as writer:
        writer.add([picture], [Meta("a.png", pixels_sha256=digest)])
        raise KeyboardInterrupt
    assert list(path.parent.iterdir()) == []
    with new_part(path, spec) as slow:
        with new_part(path, spec) as fast:
            fast.add([picture], [Meta("a.png", pixels_sha256=digest)])
        before = {file.name: file.read_bytes() for file in path.iterdir()}
        slow.add([picture], [Meta("a.png", pixels_sha256=digest)])
    assert [item.name for item in path.parent.iterdir()] == [path.name]
    assert before == {file.name: file.read_bytes() for file in path.iterdir()}
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DataError, match="cannot be written"), new_part(tmp_path / "file" / "part-00000", spec):
        pass


def test_unfinished_parts_are_shown(tmp_path, capsys):
    root = write_pictures(tmp_path / "in", "cat", "dog", count=20)
    prepare_shard(root, tmp_path / "s", 0, 2, resolution=16, part_size=10)
    for path in (tmp_path / "s", tmp_path / ".s.parts"):
        assert main(["show", str(path)]) == 0
        assert "s: unfinished, 2 of 4 parts are there" in capsys.readouterr().out
    prepare(root, tmp_path / "s", resolution=16, part_size=10)
    assert main(["show", str(tmp_path / "s")]) == 0
    assert "unfinished," not in capsys.readouterr().out
    prepare_shard(root, tmp_path / "s", 0, 2, resolution=8, part_size=10, overwrite=True)
    assert main(["show", str(tmp_path / "s")]) == 0
    out = capsys.readouterr().out
    assert "a store of" in out and "unfinished, 2 of 4 parts" in out


def test_overwrite_replaces_a_store_when_the_new_one_is_finished(tmp_path, fails, capsys):
    root = write_pictures(tmp_path / "in", "cat", "dog")
    first = prepare(root, tmp_path / "s", resolution=16).store.root
    assert "replace it with --overwrite" in fails("prepare", root, "-o", tmp_path / "s", "--resolution", "8")
    write_pictures(tmp_path / "few", ".", count=3)
    assert "3 usable" in fails("prepare", tmp_path / "few", "-o", tmp_path / "s", "--overwrite")
    assert Store(tmp_path / "s").root == first, "a new one that cannot be made leaves the old one"
    prepare_shard(root, tmp_path / "s", 0, 2, resolution=24, part_size=10, overwrite=True)
    assert main(["show", str(tmp_path / "s")]) == 0  # writes a sheet into it
    assert main(["prepare", str(root), "-o", str(tmp_path / "s"), "--resolution", "8", "--overwrite"]) == 0
    assert Store(tmp_path / "s").spec.height == 8
    assert {path.name for path in tmp_path.iterdir()} == {"in", "few", "s"}


def test_overwrite_does_not_read_another_set_by_the_layout_of_the_one_before(tmp_path):
    for name, folders in (("old", ("cat", "dog")), ("new", ("car", "bus", "tram"))):
        with tarfile.open(tmp_path / f"{name}.tar", "w") as tar:
            tar.add(write_pictures(tmp_path / name, *folders), ".")
    prepare_shard(tmp_path / "old.tar", tmp_path / "s", 0, 1, resolution=16)
    made = prepare(tmp_path / "new.tar", tmp_path / "s", resolution=16, overwrite=True)
    assert made.store.spec.classes == ("bus", "car", "tram") and not made.skipped


def test_overwrite_spares_what_is_no_store_or_holds_more(tmp_path):
    root = write_pictures(tmp_path / "in", "cat", "dog")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(StoreError, match="is no store, so it is not overwritten"):
        prepare(root, tmp_path / "mine", overwrite=True)
    store = prepare(root, tmp_path / "s", resolution=16).store.path
    (store / "letter.txt").write_text("dear")
    with pytest.raises(StoreError, match=r"holds other files too \('letter\.txt'\)"):
        prepare(root, store, resolution=8, overwrite=True)
    assert (store / "letter.txt").read_text() == "dear"


@pytest.mark.parametrize("content", [b"", b"[1]", b"[" * 100_000, b'{"rows": 1}', None])
def test_a_damaged_part_is_one_sentence_and_is_made_again(tmp_path, fails, content):
    words = ("prepare", write_pictures(tmp_path / "in", "."), "-o", tmp_path / "s")
    assert main([*map(str, words), "--shard", "0/1"]) == 0
    part = tmp_path / ".s.parts" / "part-00000"
    if content is None:
        (part / "meta.parquet").unlink()
    else:
        (part / "part.json").write_bytes(content)
    assert "part-00000 is damaged. Remove it" in fails(*words)
    shutil.rmtree(part)
    assert main([*map(str, words)]) == 0
