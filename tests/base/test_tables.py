"""Tables as spreadsheets read and write them."""

import csv
import io

import pytest

from ganforge.base.tables import cell, read_csv, read_json, recorded, write_csv, write_rows


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("by", [",", ";", "\t"])
def test_tables_of_every_spreadsheet_are_read(encoding, by):
    text = f'file{by}label\r\na.png{by}"größe{by} 2"\r\n'
    assert read_csv(text.encode(encoding)) == [{"file": "a.png", "label": f"größe{by} 2"}]


def test_what_is_no_table():
    with pytest.raises(ValueError, match="UTF-8"):
        read_csv("größe".encode("latin-1"))


def test_no_cell_is_a_formula_or_two_lines():
    for text in ("=1+1", "+1", "-1", "@SUM", " =1", "\t=1", "\n@x"):
        assert cell(text)[0] == "'"
    assert cell("a\nb\u202ec") == "a b c"
    assert cell("plain, text") == "plain, text"
    assert len(cell("x" * 10_000)) == 4096


def test_a_table_comes_back(tmp_path):
    path = tmp_path / "t.csv"
    rows = [{"file": 'a "b", c.png', "group": -1}, {"file": "=1", "group": 7}]
    assert write_csv(path, ("file", "group", "more"), rows) == 2
    assert path.read_bytes() == b'file,group,more\r\n"a ""b"", c.png",-1,\r\n\'=1,7,\r\n'
    assert [row["file"] for row in read_csv(path.read_bytes())] == ['a "b", c.png', "'=1"]
    assert list(tmp_path.iterdir()) == [path]


def test_a_table_that_cannot_be_written_leaves_the_older_one(tmp_path):
    path = tmp_path / "t.csv"
    write_csv(path, ("a",), [{"a": "1"}])

    def rows():
        yield {"a": "2"}
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError):
        write_csv(path, ("a",), rows())
    assert path.read_bytes() == b"a\r\n1\r\n" and list(tmp_path.iterdir()) == [path]


def test_rows_as_they_are():
    file = io.StringIO(newline="")
    write_rows(file, ("file", "label"), [{"file": "=1.png", "label": "a\nb", None: ["x"]}])
    assert list(csv.reader(io.StringIO(file.getvalue(), newline=""))) == [["file", "label"], ["=1.png", "a\nb"]]


def test_json_of_strangers():
    assert read_json(b'{"a": 1}') == {"a": 1}
    for text in ("{", "[" * 200_000):
        with pytest.raises(ValueError):
            read_json(text)


def test_names_as_tables_can_hold_them():
    assert recorded("größe") == "größe"
    assert recorded("a\udc80") == "a\\udc80"
