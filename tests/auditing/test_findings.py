"""An audit is used for the pictures that it looked at, by name and content."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from defects import EMPTY, encoded, photo, save
from ganforge.auditing.audit import audit
from ganforge.base.errors import DataError
from ganforge.cli import main
from ganforge.preparing.prepare import prepare, prepare_shard
from ganforge.store.store import Store


@pytest.fixture
def audited(tmp_path: Path) -> tuple[Path, Path]:
    """Two classes of ten, one picture of them damaged, and their audit."""
    root = tmp_path / "in"
    for n in range(20):
        save(root / ("cat" if n % 2 else "dog") / f"{n:02d}.png", n)
    damaged = root / "dog" / "04.png"
    damaged.write_bytes(damaged.read_bytes()[:200])
    return root, audit(root, tmp_path / "audit").path


@pytest.mark.parametrize("verb", ["prepare", "clean"])
def test_new_changed_and_gone_are_named_and_nothing_is_made(audited, tmp_path, fails, verb):
    root, audit_path = audited
    save(root / "cat" / "new.png", 50)
    save(root / "cat" / "03.png", 51)
    (root / "dog" / "08.png").unlink()
    message = fails(verb, root, "-o", tmp_path / "out", "--audit", audit_path)
    assert "1 new: 'cat/new.png'; 1 changed: 'cat/03.png'; 1 gone: 'dog/08.png'" in message
    assert f"ganforge audit {root} -o {audit_path} --overwrite" in message
    assert {path.name for path in tmp_path.iterdir()} == {"in", "audit"}


@pytest.mark.parametrize("verb", ["prepare", "clean"])
def test_a_repaired_file_is_not_dropped_in_silence(audited, tmp_path, fails, verb):
    root, audit_path = audited
    save(root / "dog" / "04.png", 4)
    assert "1 changed: 'dog/04.png'" in fails(verb, root, "-o", tmp_path / "out", "--audit", audit_path)


def test_an_audit_of_another_folder_is_refused(audited, tmp_path, fails):
    _, audit_path = audited
    for n in range(12):
        save(tmp_path / "other" / f"{n}.png", n)
    message = fails("prepare", tmp_path / "other", "-o", tmp_path / "s", "--audit", audit_path)
    assert "it is about other files, such as 'cat/01.png'" in message


def test_what_fits_is_obeyed_wherever_the_same_pictures_lie(audited, tmp_path):
    root, audit_path = audited
    (root / "notes.txt").write_text("not a picture, so of no interest")
    prepared = prepare(root, tmp_path / "a", resolution=16, audit=audit_path)
    assert len(prepared.store) == 19
    assert ("dog/04.png", "refused by the audit: truncated") in prepared.skipped
    shutil.copytree(root, tmp_path / "elsewhere")
    assert (
        prepare(tmp_path / "elsewhere", tmp_path / "b", resolution=16, audit=audit_path).store.root
        == prepared.store.root
    )
    with zipfile.ZipFile(tmp_path / "in.zip", "w") as archive:
        for path in sorted(root.rglob("*.png")):
            archive.write(path, path.relative_to(tmp_path))
    assert len(prepare(tmp_path / "in.zip", tmp_path / "c", resolution=16, audit=audit_path).store) == 19


def test_jobs_compare_their_own_parts(audited, tmp_path):
    root, audit_path = audited
    settings = {"resolution": 16, "audit": audit_path, "part_size": 10}
    save(root / "dog" / "18.png", 60)
    assert prepare_shard(root, tmp_path / "s", 0, 2, **settings) == (1, 2)
    with pytest.raises(DataError, match=r"1 changed: 'dog/18\.png'"):
        prepare_shard(root, tmp_path / "s", 1, 2, **settings)
    (root / "dog" / "18.png").unlink()
    with pytest.raises(DataError, match=r"1 gone: 'dog/18\.png'"):
        prepare_shard(root, tmp_path / "s", 0, 2, **settings)


def test_a_verdict_about_another_label_does_not_hold(tmp_path):
    root = tmp_path / "in"
    for n in range(45):
        save(root / ("cat" if n % 2 else "dog") / f"{n}.png", n)
    save(root / "astray.png", 99)
    audit_path = audit(root, tmp_path / "audit").path
    names = sorted(path.relative_to(root).as_posix() for path in root.rglob("*.png"))
    (tmp_path / "l.csv").write_text("file,label\n" + "".join(f"{name},{n % 3}\n" for n, name in enumerate(names)))
    with pytest.raises(DataError, match=r"1 changed: 'astray\.png'"):
        prepare(root, tmp_path / "s", audit=audit_path, labels=tmp_path / "l.csv")
    again = audit(root, tmp_path / "again", labels=tmp_path / "l.csv").path
    assert len(Store(prepare(root, tmp_path / "s", audit=again, labels=tmp_path / "l.csv").store.path)) == 46


def test_a_flipped_bit_in_an_audit_changes_no_verdict(audited, tmp_path, fails):
    """Every column that is acted on: a flipped bit in its pages is found."""
    pictures, audit_path = audited
    for table, columns in (
        ("pictures.parquet", ("file", "sha256", "rank")),
        ("findings.parquet", ("code", "severity")),
    ):
        whole = (audit_path / table).read_bytes()
        group = pq.ParquetFile(audit_path / table).metadata.row_group(0)
        for n in range(group.num_columns):
            column = group.column(n)
            if column.path_in_schema in columns:
                data = bytearray(whole)
                first = column.dictionary_page_offset or column.data_page_offset
                data[first + column.total_compressed_size - 3] ^= 4
                (audit_path / table).write_bytes(data)
                assert "cannot be read" in fails("prepare", pictures, "--audit", audit_path, "-o", tmp_path / "store")
        (audit_path / table).write_bytes(whole)
    assert not (tmp_path / "store").exists()


def test_keep_and_drop_overrule_the_audit(tmp_path, capsys, fails):
    (tmp_path / "in").mkdir()
    for name, image in EMPTY.items():
        (tmp_path / "in" / f"{name}.png").write_bytes(encoded(image))
    for n in range(10):
        (tmp_path / "in" / f"{n}.png").write_bytes(encoded(photo(n)))
    (tmp_path / "in" / "twin.png").write_bytes(encoded(photo(3)))
    audit_path = audit(tmp_path / "in", tmp_path / "audit").path
    words = ["prepare", str(tmp_path / "in"), "--audit", str(audit_path), "--resolution", "16"]

    def left_out(name: str, *more: str) -> set[str]:
        assert main([*words, "-o", str(tmp_path / name), *more]) == 0
        rows = pq.read_table(tmp_path / name / "meta.parquet").to_pylist()
        return {row["file"] for row in rows if row["dropped"]}

    empty = {f"{name}.png" for name in EMPTY}
    assert left_out("a") == empty | {"twin.png"}
    assert left_out("b", "--keep", "near-uniform") == {"twin.png"}
    assert left_out("c", "--keep", "near-uniform,exact-duplicate", "--drop", "transparent") == {
        "clear.png",
        "glass.png",
    }
    assert "Did you mean near_uniform?" in fails(*words, "-o", tmp_path / "d", "--keep", "near-unifrm")
    assert "needs an audit" in fails(*words[:2], "-o", tmp_path / "d", "--keep", "near-uniform")
    capsys.readouterr()


@pytest.mark.parametrize("column", ["file", "label", "sha256", "group", "rank"])
def test_a_table_of_other_types_is_one_sentence(audited, tmp_path, fails, column):
    root, path = audited
    table = pq.read_table(path / "pictures.parquet")
    at = table.schema.get_field_index(column)
    numbers = pa.array([0.5] * len(table))
    pq.write_table(table.set_column(at, column, numbers), path / "pictures.parquet")
    assert f"the column {column} is not as the audit wrote it" in fails("prepare", root, "--audit", path)
    if column == "file":
        assert "not as the audit wrote it" in fails("audit", "--diff", path, path)
