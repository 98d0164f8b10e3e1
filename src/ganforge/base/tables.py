"""Tables as spreadsheets read and write them."""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ganforge.base.errors import DataError

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
    """Write a table beside and rename it; returns the number of rows. DataError where it cannot be written."""
    partial = path.with_name(f".{path.name}.partial")
    count = 0
    try:
        with partial.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(fields), restval="")
            writer.writeheader()
            for row in rows:
                writer.writerow({name: cell(value) for name, value in row.items()})
                count += 1
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise DataError(f"{path} cannot be written: {error.strerror or error}. Free some space.") from error
    return count
