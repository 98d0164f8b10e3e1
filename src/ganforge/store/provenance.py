"""`provenance.csv` and `skipped.csv`: where each picture came from, and why others are not there."""

from __future__ import annotations

import csv
import re
import unicodedata
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ganforge.base.errors import DataError
from ganforge.base.tables import MAX_CELL, read_csv, read_json

NAME = "provenance.csv"
FIELDS = ("file", "source", "address", "retrieved", "licence", "author", "sha256", "label", "also")
"""`also` names the other places where the same bytes were found."""
SKIPPED = "skipped.csv"
SKIPPED_FIELDS = ("source", "address", "label", "reason")


ORIGINS = ("original_file", "address", "source", "licence", "license", "author")
"""Columns, or names in a record, that say where a picture came from."""


class Origin(NamedTuple):
    """Where a picture came from, as far as its source says; "" where it does not."""

    original: str = ""
    """The name of the file before it was exported."""
    source: str = ""
    licence: str = ""
    author: str = ""


NOWHERE = Origin()
"""Of a picture whose source says nothing."""


def public(address: str) -> str:
    """An address as it may be published: "" for a file on somebody's disk."""
    return "" if address.lower().startswith("file:") else address


def origin(row: Mapping[str, Any]) -> Origin:
    """The origin in one row of a table, or in one record of a tar or a Parquet file. Values that are no text count as
    missing."""

    def word(*names: str) -> str:
        value = next((row[name] for name in names if isinstance(row.get(name), str) and row[name]), "")
        return "".join(c if c.isprintable() else " " for c in value[:MAX_CELL])

    source = public(word("address")) or public(word("source"))
    return Origin(word("original_file"), source, word("licence", "license"), word("author"))


_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


TABLES = (NAME, "metadata.jsonl", "metadata.csv")
"""What may lie in a set and say where its pictures come from, the first one first."""


def origins(tables: Mapping[str, Callable[[], bytes]]) -> dict[str, Origin]:
    """The origins of the pictures of a folder or an archive, by name. `tables` are the functions that read its tables,
    by name too. DataError where one cannot be read."""
    by_name: dict[str, Origin] = {}
    for kind, column in zip(TABLES, ("file", "file_name", "file_name"), strict=True):
        for table, read in tables.items():
            if table.rsplit("/", 1)[-1] == kind:
                for row in _records(table, read()):
                    name, known = row.get(column), origin(row)
                    if isinstance(name, str) and name and any(known):
                        by_name.setdefault(table[: -len(kind)] + name.removeprefix("./"), known)
    return by_name


def _records(table: str, data: bytes) -> list[dict[str, Any]]:
    try:
        if table.endswith(".csv"):
            return read_csv(data)
        rows = [read_json(line) for line in data.decode("utf-8-sig").splitlines() if line.strip()]
        return [row for row in rows if isinstance(row, dict)]
    except (ValueError, csv.Error) as error:
        raise DataError(f"{table} cannot be read: {error}. Repair or remove it.") from error


def read(folder: Path) -> dict[str, dict[str, str]]:
    """The rows of a folder's table by file; none where there is no table that can be read."""
    try:
        rows = _records(NAME, (folder / NAME).read_bytes())
    except (OSError, DataError):
        return {}
    return {row["file"]: {k: v or "" for k, v in row.items() if isinstance(k, str)} for row in rows if row.get("file")}


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
