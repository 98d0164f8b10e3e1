"""Lists of addresses in every format, damaged and long ones too."""

from __future__ import annotations

import tracemalloc

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ganforge.base.errors import DataError
from ganforge.web import lists
from served import write_list


def test_lists_in_all_formats_and_rows_that_make_no_sense(tmp_path):
    rows = [{"url": f"https://a.example/{n}.png", "label": "x", "licence": "cc0", "author": "=1+1"} for n in range(3)]
    plain = [lists.ListedPicture(row["url"], "x", "cc0", "=1+1") for row in rows]
    assert list(lists.read(write_list(tmp_path / "a.csv", rows))) == plain
    pq.write_table(
        pa.Table.from_pylist([{**row, "URL": row.pop("url"), "other": 1} for row in [dict(r) for r in rows]]),
        tmp_path / "a.parquet",
    )
    assert list(lists.read(tmp_path / "a.parquet")) == plain
    (tmp_path / "b.tsv").write_text("Label\tURL\nx\thttps://a.example/0.png\n\nonly\n")
    assert [found.problem for found in lists.read(tmp_path / "b.tsv")] == ["", "not an address"]
    (tmp_path / "c.csv").write_bytes(b"url,label\nhttps://a/" + b"x" * 200_000 + b",y\n\xff\xfe,z\nhttps://a/ok,w\n")
    found = list(lists.read(tmp_path / "c.csv"))
    assert [bool(one.problem) for one in found] == [True, True, False]
    (tmp_path / "d.csv").write_text("file,label\n")
    with pytest.raises(DataError, match="column url"):
        list(lists.read(tmp_path / "d.csv"))
    (tmp_path / "e.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(DataError, match="Parquet"):
        list(lists.read(tmp_path / "e.parquet"))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_lists_as_spreadsheets_encode_them(tmp_path, encoding):
    (tmp_path / "a.csv").write_text("url\tauthor\nhttps://a.example/0.png\tJosé\n", encoding)
    assert list(lists.read(tmp_path / "a.csv")) == [lists.ListedPicture("https://a.example/0.png", author="José")]


def test_a_long_list_is_not_held_in_memory(tmp_path):
    with (tmp_path / "long.txt").open("w") as file:
        for n in range(30_000):
            file.write(f"https://pictures.example/{n:08d}/{'x' * 80}.png\n")
    tracemalloc.start()
    assert sum(1 for _ in lists.read(tmp_path / "long.txt")) == 30_000
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()
