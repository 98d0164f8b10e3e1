"""Tables as spreadsheets read and write them."""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ganforge.base.files import atomic_file

MAX_CELL = 4096


def read_csv(data: bytes) -> list[dict[str, Any]]:
    """The rows of a table as spreadsheets write it: UTF-8, or UTF-16 with its mark; commas, semicolons or tabs, by its
    first line. ValueError or csv.Error where it is none."""
    try:
        text = data.decode("utf-16" if data[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError("it is not in UTF-8; save it as CSV UTF-8") from error
    by = max(",;\t", key=text.partition("\n")[0].count)
    return list(csv.DictReader(io.StringIO(text, newline=""), delimiter=by))


def cell(text: str) -> str:
    """Text for one cell: one line, of bounded length, and nothing that a spreadsheet takes for a formula."""
    text = "".join(c if c.isprintable() else " " for c in text[:MAX_CELL])
    return "'" + text if text.lstrip()[:1] in ("=", "+", "-", "@") else text


def write_csv(path: Path, fields: Iterable[str], rows: Iterable[Mapping[str, str]]) -> int:
    """Write a table, each value as one `cell`; returns the number of rows. OSError where it cannot be written."""
    count = 0
    with atomic_file(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(fields), restval="")
        writer.writeheader()
        for row in rows:
            writer.writerow({name: cell(value) for name, value in row.items()})
            count += 1
    return count
