"""What `meta.parquet` says of a store's pictures: where each came from, and how many are of which licence, author and
source."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ganforge.base.errors import StoreError
from ganforge.store.provenance import Origin, public
from ganforge.store.store import Store

_COLUMNS = ("row", "file", "original", "source", "licence", "author", "dropped")


@dataclass
class Counts:
    """How many of the pictures that are for training or held out have each licence, author and source; "" stands for
    none stated."""

    licences: Counter[str] = field(default_factory=Counter)
    authors: Counter[str] = field(default_factory=Counter)
    sources: Counter[str] = field(default_factory=Counter)
    """By host where it is an address."""
    dropped: Counter[str] = field(default_factory=Counter)
    """Reasons why pictures of the source are not among them."""


class Origins:
    """Where a store's pictures come from. StoreError where its `meta.parquet` cannot be read."""

    def __init__(self, store: Store) -> None:
        stored = [table.filter(pc.greater_equal(table["row"], 0)) for table in _tables(store)]
        self.table = pa.concat_tables(stored).drop_columns(["row", "dropped"]) if stored else pa.table({})
        if len(self.table) != len(store):
            raise StoreError(f"{store.address} is damaged: its meta.parquet does not have a row for each picture.")

    def __getitem__(self, rows: Sequence[int]) -> list[tuple[str, Origin]]:
        """(file, origin) of each row; `file` is the name in the source that the store was prepared from."""
        pairs = []
        for row in self.table.take(pa.array(rows, pa.int64())).to_pylist():
            words = {name: value or "" for name, value in row.items()}
            pairs.append((words.pop("file"), Origin(**words)))
        return pairs


def counts(store: Store) -> Counts:
    """Counts of all rows, a portion at a time."""
    total = Counts()
    for table in _tables(store):
        used = table.filter(pc.and_(pc.greater_equal(table["row"], 0), pc.is_null(table["dropped"])))
        for counter, name in ((total.licences, "licence"), (total.authors, "author"), (total.sources, "source")):
            for pair in used[name].value_counts().to_pylist():
                word = pair["values"] or ""
                counter[_host(word) if name == "source" else word] += pair["counts"]
        for pair in table["dropped"].drop_null().value_counts().to_pylist():
            total.dropped[pair["values"].split(":")[0]] += pair["counts"]
    return total


def _host(source: str) -> str:
    with contextlib.suppress(ValueError):  # no address
        return urlsplit(public(source)).netloc or public(source)
    return source


def _tables(store: Store) -> Iterator[pa.Table]:
    """The columns of `meta.parquet` that are used here, one row group at a time. Columns that an earlier version did
    not write are empty."""
    path = store.compared_file("meta.parquet")
    try:
        with pq.ParquetFile(path) as file:
            columns = [name for name in _COLUMNS if name in file.schema_arrow.names]
            for n in range(file.num_row_groups):
                table = file.read_row_group(n, columns)
                for name in _COLUMNS:
                    if name not in columns:
                        table = table.append_column(name, pa.nulls(len(table), pa.string()))
                yield table.select(_COLUMNS)
    except (pa.ArrowException, OSError) as error:
        raise StoreError(f"{path} cannot be read: {error}. Prepare the store again from the originals.") from error
