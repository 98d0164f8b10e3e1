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
from ganforge.base.tables import delimiter, encoding

SUFFIXES = {".csv", ".tsv", ".txt", ".parquet"}
_MAX_LINE = 1 << 16
_COLUMN_NAMES = {
    "address": ("url", "address", "image_url", "link"),
    "label": ("label", "class"),
    "licence": ("licence", "license"),
    "author": ("author", "creator"),
}


@dataclass(frozen=True)
class ListedPicture:
    """One picture of a list or an API; `problem` says why it cannot be fetched, where it cannot."""

    address: str
    label: str = ""
    licence: str = ""
    author: str = ""
    problem: str = ""


def read(path: Path) -> Iterator[ListedPicture]:
    """The rows of a list. A row that cannot be used comes with its `problem`; DataError for a file
    that cannot be read or has no column of addresses."""
    try:
        if path.suffix.lower() == ".parquet":
            yield from _parquet(path)
            return
        with path.open("rb") as start:
            kind = encoding(start.read(2))
        with path.open(encoding=kind, errors="replace", newline="") as file:
            lines = _lines(file)
            yield from _text(lines) if path.suffix.lower() == ".txt" else _csv(path, lines)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from error


def listed_picture(address: Any, label: Any = "", licence: Any = "", author: Any = "") -> ListedPicture:
    """What a list or an API says of one picture, whatever its types, as text of bounded length. Some APIs write
    licences and authors in HTML: its tags are taken out."""
    address, label = _clean(address), _clean(label)
    licence, author = (
        html.unescape(re.sub(r"<[^<>]*>", "", _clean(value)[:4096])).strip() for value in (licence, author)
    )
    problem = "" if re.match(r"https?://[^\s/]", address, re.IGNORECASE) else "not an address"
    return ListedPicture(address[: _MAX_LINE // 8], label[:200], licence[:300], author[:300], problem)


def _clean(value: Any) -> str:
    text = "" if value is None or isinstance(value, (dict, list)) else str(value)
    return "".join(c for c in text if c.isprintable() or c == " ").strip()


def _lines(file: TextIO) -> Iterator[str]:
    """Lines of bounded length: a longer one comes as one that cannot be an address."""
    while line := file.readline(_MAX_LINE):
        if len(line) == _MAX_LINE and not line.endswith("\n"):
            while line and not line.endswith("\n"):
                line = file.readline(_MAX_LINE)
            line = "\0\n"
        yield line


def _text(lines: Iterator[str]) -> Iterator[ListedPicture]:
    for line in lines:
        if (line := line.strip()) and not line.startswith("#"):
            yield listed_picture(line)


def _csv(path: Path, lines: Iterator[str]) -> Iterator[ListedPicture]:
    header = next(lines, "")
    by = delimiter(header)
    columns = _columns(path, next(csv.reader([header], delimiter=by), []))
    rows = csv.reader(lines, delimiter=by)
    while True:
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            yield ListedPicture("", problem=f"a row that cannot be read: {error}")
            continue
        if row:
            yield listed_picture(**{name: row[n] if n < len(row) else "" for name, n in columns.items()})


def _parquet(path: Path) -> Iterator[ListedPicture]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            names = file.schema_arrow.names
            columns = {name: names[n] for name, n in _columns(path, names).items()}
            for batch in file.iter_batches(batch_size=4096, columns=list(columns.values())):
                for row in batch.to_pylist():
                    yield listed_picture(**{name: row[column] for name, column in columns.items()})
    except (pa.ArrowException, ValueError) as error:
        raise DataError(f"{path} cannot be read as Parquet: {str(error).splitlines()[0]}.") from error


def _columns(path: Path, header: list[str]) -> dict[str, int]:
    """The positions of the known columns by name. DataError where there is no column of addresses."""
    names = [name.strip().lower() for name in header]
    columns = {}
    for name, spellings in _COLUMN_NAMES.items():
        position = next((names.index(spelling) for spelling in spellings if spelling in names), None)
        if position is not None:
            columns[name] = position
    if "address" not in columns:
        first = ", ".join(name[:30] for name in names[:8]) or "nothing"
        raise DataError(
            f"{path} needs a column url, and may have label, licence and author; its first line has {first}."
        )
    return columns
