"""Tables and records that others wrote, and CSV tables as spreadsheets read them."""

from __future__ import annotations

import codecs
import csv
import io
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TextIO

from ganforge.base.files import atomic_file

MAX_CELL = 4096


def encoding(head: bytes) -> str:
    """The encoding of a table by its first bytes: UTF-16 where it begins with that one's mark, else UTF-8."""
    return "utf-16" if head[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8-sig"


def delimiter(header: str) -> str:
    """What stands between the cells, by the first line of a table: commas, semicolons or tabs."""
    return max(",;\t", key=header.count)


def read_csv(data: bytes) -> list[dict[str, Any]]:
    """The rows of a table by the names in its first line, as `csv.DictReader` gives them. ValueError or csv.Error where
    it is none."""
    try:
        text = data.decode(encoding(data))
    except UnicodeDecodeError as error:
        raise ValueError("it is not in UTF-8; save it as CSV UTF-8") from error
    return list(csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter(text.partition("\n")[0])))


def read_json(text: str | bytes) -> Any:
    """The value of JSON that others wrote or damaged. ValueError where it is none, or is nested too deeply."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def recorded(name: str) -> str:
    """A name as tables can hold it: what is no UTF-8 is written as \\udc80 and the like."""
    return name.encode("utf-8", "backslashreplace").decode()


def cell(text: str) -> str:
    """Text for one cell: one line, of bounded length, and nothing that a spreadsheet takes for a formula."""
    text = "".join(c if c.isprintable() else " " for c in text[:MAX_CELL])
    return "'" + text if text.lstrip()[:1] in ("=", "+", "-", "@") else text


def write_rows(file: TextIO, fields: Iterable[str], rows: Iterable[Mapping[str, Any]]) -> int:
    """Write a table to an open file, its values as they are, and return the number of rows. The file is opened with
    newline="". Values of other names than `fields` are left out."""
    writer = csv.DictWriter(file, list(fields), restval="", extrasaction="ignore")
    writer.writeheader()
    count = 0
    for row in rows:
        writer.writerow(row)
        count += 1
    return count


def write_csv(path: Path, fields: Iterable[str], rows: Iterable[Mapping[str, Any]]) -> int:
    """Write a table whole or not at all, each text as one `cell`, and return the number of rows. OSError where it
    cannot be written."""
    cells = ({name: cell(value) if isinstance(value, str) else value for name, value in row.items()} for row in rows)
    with atomic_file(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        return write_rows(file, fields, cells)
