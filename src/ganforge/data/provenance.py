"""`provenance.csv` and `skipped.csv`: where each picture came from, and why others are not there."""

from __future__ import annotations

import csv
import re
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path

from ganforge.errors import DataError

NAME = "provenance.csv"
FIELDS = ("file", "source", "address", "retrieved", "licence", "author", "sha256", "label", "also")
"""`also` names the other places where the same bytes were found."""
SKIPPED = "skipped.csv"
SKIPPED_FIELDS = ("source", "address", "label", "reason")

_MAX_CELL = 4096
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


def cell(text: str) -> str:
    """Text for one cell: one line, of bounded length, and nothing that a spreadsheet takes for a formula."""
    text = "".join(c if c.isprintable() else " " for c in text[:_MAX_CELL])
    return "'" + text if text.lstrip()[:1] in ("=", "+", "-", "@") else text


def write(path: Path, fields: Iterable[str], rows: Iterable[Mapping[str, str]]) -> int:
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


def read(folder: Path) -> dict[str, dict[str, str]]:
    """The rows of a folder's table by file; none where there is no table that can be read."""
    try:
        with (folder / NAME).open(newline="", encoding="utf-8") as file:
            rows = csv.DictReader(file)
            return {
                row["file"]: {k: v or "" for k, v in row.items() if isinstance(k, str)}
                for row in rows
                if row.get("file")
            }
    except (OSError, UnicodeDecodeError, csv.Error):
        return {}


def safe_label(text: str | None) -> str | None:
    """A label that is a folder's name on every system, whoever wrote it; None where nothing is left.

    >>> safe_label("../T-shirt/top"), safe_label("con"), safe_label(" . ")
    ('_T-shirt_top', '_con', None)
    """
    text = unicodedata.normalize("NFC", text or "")
    text = "".join("_" if c in '/\\:*?"<>|' or not c.isprintable() else c for c in text).strip(" .")
    text = text.encode()[:120].decode(errors="ignore").strip(" .")
    if not text.strip("_"):
        return None
    return "_" + text if text[0] in "=+-@" or _RESERVED.fullmatch(text) else text
