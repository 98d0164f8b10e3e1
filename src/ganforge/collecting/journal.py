"""The state of a collection: one SQLite file, so that it can be stopped at any moment and hold millions of items.

An item is `new` -> `picked` (for this round) -> `fetched` -> `kept` or `duplicate`; or `skipped` by its row alone,
`refused` for good, or `failed` for now. Decisions are made between rounds in the order of (source, rank), never in the
order in which the network answers, so that the same seed and sources give the same collection."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ganforge.base import seeds
from ganforge.base.errors import DataError, InputError
from ganforge.base.files import cannot_write
from ganforge.store.provenance import safe_label

_SCHEMA = """
CREATE TABLE IF NOT EXISTS setting (name TEXT PRIMARY KEY, value TEXT);
CREATE TABLE IF NOT EXISTS item (
  source INTEGER, n INTEGER, rank INTEGER, address TEXT, label TEXT, split TEXT, licence TEXT, author TEXT,
  apart INTEGER, state TEXT, reason TEXT, sha256 TEXT, kind TEXT, bytes INTEGER, retrieved TEXT, file TEXT,
  PRIMARY KEY (source, n));
CREATE INDEX IF NOT EXISTS item_state ON item (state, source, rank, n);
CREATE INDEX IF NOT EXISTS item_sha256 ON item (sha256) WHERE sha256 IS NOT NULL;
CREATE INDEX IF NOT EXISTS item_address ON item (source, address);
"""
_COLUMNS = "source, n, address, label, split, licence, author, apart, sha256, kind, retrieved, file"
_MOVED_AT_ONCE = 1000
_READ_AT_ONCE = 512
_NO_LIMIT = 1 << 62

NOT_COLLECTED = "state IN ('skipped', 'refused', 'failed')"
"""The condition on items that are missing for a reason."""


@dataclass(frozen=True)
class Item:
    """One picture, listed or already collected."""

    source: int
    """The source's position in the recipe."""
    n: int
    """Its position in the source."""
    address: str
    label: str | None
    split: str | None
    licence: str
    author: str
    apart: int
    """1 where its rights are unknown and it goes into a folder of its own."""
    sha256: str | None
    kind: str | None
    """The suffix of its format, such as `jpg`."""
    retrieved: str | None
    file: str | None
    """Its name inside the folder that it was moved into."""


class CollectionJournal:
    """The journal of one folder. One process at a time holds it."""

    def __init__(self, path: Path) -> None:
        """Open or create it. DataError where another process holds it, or where it cannot be written."""
        folder = path.parent.parent
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, timeout=1, isolation_level=None, check_same_thread=False)
            self._db.execute("PRAGMA locking_mode=EXCLUSIVE")
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            self._db.executescript(_SCHEMA)
            self._db.execute("BEGIN EXCLUSIVE")
            self._db.execute("COMMIT")
        except (OSError, sqlite3.Error) as error:
            if hasattr(self, "_db"):
                self._db.close()
            if "locked" in str(error):
                raise DataError(
                    f"{folder} is being collected by another process. Wait for it, or choose another folder."
                ) from error
            raise cannot_write(folder, error) from error

    def close(self) -> None:
        """Let another process have it."""
        self._db.close()

    # --------------------------------------------------------------------------------------------------------- settings

    def get(self, name: str) -> Any:
        """A remembered value, or None."""
        row = self._db.execute("SELECT value FROM setting WHERE name = ?", (name,)).fetchone()
        return json.loads(row[0]) if row else None

    def put(self, name: str, value: Any) -> None:
        """Remember a value (JSON)."""
        self._db.execute("INSERT OR REPLACE INTO setting VALUES (?, ?)", (name, json.dumps(value)))

    def begin(self, selection: Any, permissions: Any) -> None:
        """Start a collection, or go on with it.

        `selection` decides which pictures are chosen: it must not change once there are pictures (InputError). Items
        that failed are tried again in any case, refused ones where `permissions` have changed.
        """
        selection, permissions = json.loads(json.dumps(selection)), json.loads(json.dumps(permissions))
        if self.get("what") not in (None, selection):
            if self.count("sha256 IS NOT NULL"):
                raise InputError(
                    "The folder was collected from other sources, or with other settings. "
                    "Choose another folder with --out."
                )
            self._db.executescript("DELETE FROM item; DELETE FROM setting")
        again = ("failed", "refused") if self.get("how") != permissions else ("failed", "failed")
        with self._db:
            self._db.execute("BEGIN")
            self._db.execute("UPDATE item SET state = 'new', reason = NULL WHERE state IN (?, ?)", again)
            self.put("what", selection)
            self.put("how", permissions)

    # ---------------------------------------------------------------------------------------------------------- listing

    def listed(self, source: int) -> bool:
        """Whether all rows of a source are here."""
        return bool(self.get(f"listed/{source}"))

    def add(
        self, source: int, *, seed: int, name: str, rows: Iterable[dict[str, Any]], remember: dict[str, Any]
    ) -> None:
        """Add rows of a source, and remember values by name: all or nothing.

        A row holds `address` and, where known, `label`, `split`, `licence`, `author`, `apart`, and `problem`, for which
        it is skipped. An item's rank follows from the seed, the source's name and its position; of equal addresses the
        first one counts.
        """
        start = self.count("source = ?", source)
        self._db.execute("BEGIN")
        try:
            for n, row in enumerate(rows, start):
                problem, address = row.get("problem"), row["address"]
                if not problem and self._any("source = ? AND address = ?", source, address):
                    problem = "the same address as an earlier row"
                self._db.execute(
                    "INSERT INTO item (source, n, rank, address, label, split, licence, author, apart, state, reason)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (
                        source,
                        n,
                        seeds.key(seed, f"collect/{name}", n),
                        address,
                        safe_label(row.get("label")),
                        row.get("split"),
                        row.get("licence") or "",
                        row.get("author") or "",
                        int(row.get("apart") or 0),
                        "skipped" if problem else "new",
                        problem or None,
                    ),
                )
            for key, value in remember.items():
                self.put(key, value)
            self._db.execute("COMMIT")
        except BaseException:
            self._db.execute("ROLLBACK")
            raise

    # ----------------------------------------------------------------------------------------------------------- rounds

    def pick(self, source: int, most: int | None, most_of_label: Callable[[str], int] | None) -> int:
        """Pick the next items of a source by rank: at most `most`, and of each label at most `most_of_label(label)`.
        Returns how many."""
        self._db.create_function("most_of_label", 1, most_of_label or (lambda label: _NO_LIMIT))
        self._db.execute(
            """UPDATE item SET state = 'picked' WHERE source = ?1 AND n IN (
              SELECT n FROM (SELECT n, rank, label, ROW_NUMBER() OVER (PARTITION BY label ORDER BY rank, n) AS nth
                             FROM item WHERE source = ?1 AND state = 'new')
              WHERE label IS NULL OR nth <= most_of_label(label) ORDER BY rank, n LIMIT ?2)""",
            (source, -1 if most is None else max(0, most)),
        )
        return self.count("source = ? AND state = 'picked'", source)

    def picked(self, source: int) -> Iterator[Item]:
        """This round's items by rank. They may change their state meanwhile."""
        rank, n = -1, -1
        while rows := self._db.execute(
            f"""SELECT {_COLUMNS}, rank FROM item WHERE state = 'picked' AND source = ? AND (rank, n) > (?, ?)
                ORDER BY rank, n LIMIT {_READ_AT_ONCE}""",
            (source, rank, n),
        ).fetchall():
            for row in rows:
                yield Item(*row[:-1])
            rank, n = rows[-1][-1], rows[-1][1]

    def fetched(self, item: Item, sha256: str, kind: str, size: int) -> None:
        """Its bytes are among the blobs."""
        now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        self._db.execute(
            "UPDATE item SET state = 'fetched', sha256 = ?, kind = ?, bytes = ?, retrieved = ?"
            " WHERE source = ? AND n = ?",
            (sha256, kind, size, now, item.source, item.n),
        )

    def failed(self, item: Item, reason: str, *, final: bool) -> None:
        """Its bytes are not there, and why; `final` where another try would be in vain."""
        state = "refused" if final else "failed"
        self._db.execute(
            "UPDATE item SET state = ?, reason = ? WHERE source = ? AND n = ?",
            (state, reason[:500], item.source, item.n),
        )

    def settle(self, source: int) -> None:
        """Of equal bytes keep the first by (source, rank): sources are collected one after another."""
        with self._db:
            self._db.execute("BEGIN")
            rows = self._db.execute(
                "SELECT n, sha256 FROM item WHERE state = 'fetched' AND source = ? ORDER BY rank, n", (source,)
            ).fetchall()
            for n, sha256 in rows:
                state = "duplicate" if self._any("sha256 = ? AND state = 'kept'", sha256) else "kept"
                self._db.execute("UPDATE item SET state = ? WHERE source = ? AND n = ?", (state, source, n))

    # ---------------------------------------------------------------------------------------------------------- results

    def count(self, where: str, *values: Any) -> int:
        """The number of items."""
        return int(self._db.execute(f"SELECT COUNT(*) FROM item WHERE {where}", values).fetchone()[0])

    def _any(self, where: str, *values: Any) -> bool:
        """Whether there is such an item: unlike `count`, this stops at the first one."""
        return self._db.execute(f"SELECT 1 FROM item WHERE {where} LIMIT 1", values).fetchone() is not None

    def total(self, aggregate: str, by: str, where: str) -> dict[Any, int]:
        """Sums (`SUM(bytes)`) or counts (`COUNT(*)`) by a column."""
        return dict(
            self._db.execute(f"SELECT {by}, {aggregate} FROM item WHERE {where} GROUP BY {by} ORDER BY 2 DESC, 1")
        )

    def kept(self) -> Iterator[tuple[Item, list[tuple[int, str]]]]:
        """The items that are kept, in order, each with (source, address) of its duplicates, ten at most."""
        for row in self._db.execute(f"SELECT {_COLUMNS} FROM item WHERE state = 'kept' ORDER BY source, rank, n"):
            item = Item(*row)
            duplicates = self._db.execute(
                "SELECT source, address FROM item WHERE sha256 = ? AND state = 'duplicate'"
                " ORDER BY source, rank, n LIMIT 10",
                (item.sha256,),
            ).fetchall()
            yield item, duplicates

    def skipped(self) -> Iterator[tuple[int, str, str | None, str]]:
        """(source, address, label, reason) of all items that are missing for a reason."""
        yield from self._db.execute(
            f"SELECT source, address, label, reason FROM item WHERE {NOT_COLLECTED} ORDER BY source, n"
        )

    def move_files(self, blobs: Path, target: Callable[[Item], tuple[Path, str]]) -> int:
        """Move the files of items that are kept and not moved yet from the folder `blobs` to their
        (folder, name inside). Returns how many. OSError where a file cannot be moved."""
        rows = self._db.execute(
            f"SELECT {_COLUMNS} FROM item WHERE state = 'kept' AND file IS NULL ORDER BY source, rank, n"
        ).fetchall()
        for start in range(0, len(rows), _MOVED_AT_ONCE):
            with self._db:
                self._db.execute("BEGIN")
                for item in (Item(*row) for row in rows[start : start + _MOVED_AT_ONCE]):
                    folder, name = target(item)
                    blob, path = blobs / str(item.sha256), folder / name
                    path.parent.mkdir(parents=True, exist_ok=True)
                    if blob.exists() or not path.exists():  # else it was moved before an interruption
                        blob.replace(path)
                    self._db.execute("UPDATE item SET file = ? WHERE source = ? AND n = ?", (name, item.source, item.n))
        return len(rows)
