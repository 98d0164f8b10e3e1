"""Lists of addresses: CSV, TSV, TXT and Parquet, read row by row, however long they are."""

from __future__ import annotations

import csv
import html
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from ganforge.base.errors import DataError

SUFFIXES = {".csv", ".tsv", ".txt", ".parquet"}
_MAX_LINE = 1 << 16
_NAMES = {
    "address": ("url", "address", "image_url", "link"), "label": ("label", "class"),
    "licence": ("licence", "license"), "author": ("author", "creator"),
}  # fmt: skip


@dataclass(frozen=True)
class Wanted:
    """One picture to fetch; `problem` says why it cannot be."""

    address: str
    label: str = ""
    licence: str = ""
    author: str = ""
    problem: str = ""


def read(path: Path) -> Iterator[Wanted]:
    """The rows of a list. A row that makes no sense comes with its `problem`; DataError where the file makes none."""
    try:
        if path.suffix.lower() == ".parquet":
            yield from _parquet(path)
            return
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            lines = _lines(file)
            yield from _text(lines) if path.suffix.lower() == ".txt" else _csv(path, lines)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from error


def wanted(address: Any, label: Any = "", licence: Any = "", author: Any = "") -> Wanted:
    """What a list or an API says of one picture, whatever types it has there, as text of bounded length.
    Some APIs write licences and authors in HTML: its marks are taken out."""
    address, label = _word(address), _word(label)
    licence, author = (
        html.unescape(re.sub(r"<[^<>]*>", "", _word(value)[:4096])).strip() for value in (licence, author)
    )
    problem = "" if re.match(r"https?://[^\s/]", address, re.IGNORECASE) else "not an address"
    return Wanted(address[: _MAX_LINE // 8], label[:200], licence[:300], author[:300], problem)


def _word(value: Any) -> str:
    text = "" if value is None or isinstance(value, (dict, list)) else str(value)
    return "".join(c for c in text if c.isprintable() or c == " ").strip()


def _lines(file: TextIO) -> Iterator[str]:
    """Lines of bounded length: what is longer comes as an empty one."""
    while line := file.readline(_MAX_LINE):
        if len(line) == _MAX_LINE and not line.endswith("\n"):
            while line and not line.endswith("\n"):
                line = file.readline(_MAX_LINE)
            line = "\0\n"
        yield line


def _text(lines: Iterator[str]) -> Iterator[Wanted]:
    for line in lines:
        if (line := line.strip()) and not line.startswith("#"):
            yield wanted(line)


def _csv(path: Path, lines: Iterator[str]) -> Iterator[Wanted]:
    header = next(lines, "")
    delimiter = max(",;\t", key=header.count)
    columns = _columns(path, next(csv.reader([header], delimiter=delimiter), []))
    rows = csv.reader(lines, delimiter=delimiter)
    while True:
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            yield Wanted("", problem=f"a row that cannot be read: {error}")
            continue
        if row:
            yield wanted(**{name: row[at] if at < len(row) else "" for name, at in columns.items()})


def _parquet(path: Path) -> Iterator[Wanted]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            names = file.schema_arrow.names
            columns = {name: names[at] for name, at in _columns(path, names).items()}
            for batch in file.iter_batches(batch_size=4096, columns=list(columns.values())):
                for row in batch.to_pylist():
                    yield wanted(**{name: row[column] for name, column in columns.items()})
    except (pa.ArrowException, ValueError) as error:
        raise DataError(f"{path} cannot be read as Parquet: {str(error).splitlines()[0]}.") from error


def _columns(path: Path, header: list[str]) -> dict[str, int]:
    """Where the known columns stand."""
    names = [name.strip().lower() for name in header]
    found = {}
    for name, spellings in _NAMES.items():
        at = next((names.index(spelling) for spelling in spellings if spelling in names), None)
        if at is not None:
            found[name] = at
    if "address" not in found:
        has = ", ".join(name[:30] for name in names[:8]) or "nothing"
        raise DataError(f"{path} needs a column url, and may have label, licence and author; its first line has {has}.")
    return found
