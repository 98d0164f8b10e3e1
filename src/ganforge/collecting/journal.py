"""What a collection has done so far: one SQLite file, so that it can be stopped at any moment and hold millions of
rows.

An item is `new` -> `picked` (this round's) -> `fetched` -> `kept` or `duplicate`; or `skipped` by its row alone,
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

_TABLES = """
CREATE TABLE IF NOT EXISTS setting (name TEXT PRIMARY KEY, value TEXT);
CREATE TABLE IF NOT EXISTS item (
  source INTEGER, n INTEGER, rank INTEGER, address TEXT, label TEXT, split TEXT, licence TEXT, author TEXT, apart INTEGER,
  state TEXT, reason TEXT, sha256 TEXT, kind TEXT, bytes INTEGER, retrieved TEXT, file TEXT, PRIMARY KEY (source, n));
CREATE INDEX IF NOT EXISTS item_state ON item (state, source, rank, n);
CREATE INDEX IF NOT EXISTS item_sha256 ON item (sha256) WHERE sha256 IS NOT NULL;
CREATE INDEX IF NOT EXISTS item_address ON item (source, address);
"""
_ITEM = "source, n, address, label, split, licence, author, apart, sha256, kind, retrieved, file"


@dataclass(frozen=True)
class Item:
    """One picture, wanted or there."""

    source: int
    n: int
    address: str
    label: str | None
    split: str | None
    licence: str
    author: str
    apart: int
    """1 where its rights are unknown."""
    sha256: str | None
    kind: str | None
    """The suffix of its format, such as `jpg`."""
    retrieved: str | None
    file: str | None
    """Its name inside the folder that it was put into."""


class Journal:
    """The journal of one folder. One process at a time holds it."""

    def __init__(self, path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, timeout=1, isolation_level=None, check_same_thread=False)
            self._db.execute("PRAGMA locking_mode=EXCLUSIVE")
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            self._db.executescript(_TABLES)
            self._db.execute("BEGIN EXCLUSIVE")
            self._db.execute("COMMIT")
        except (OSError, sqlite3.Error) as error:
            if "locked" in str(error):
                raise DataError(
                    f"{path.parent.parent} is being collected by another process. Wait for it, or choose another folder."
                ) from error
            raise cannot_write(path.parent.parent, error) from error

    def close(self) -> None:
        """Let another process have it."""
        self._db.close()

    # ---------------------------------------------------------------------------------------------------------- settings

    def get(self, name: str) -> Any:
        """A remembered value, or None."""
        row = self._db.execute("SELECT value FROM setting WHERE name = ?", (name,)).fetchone()
        return json.loads(row[0]) if row else None

    def put(self, name: str, value: Any) -> None:
        """Remember a value (JSON)."""
        self._db.execute("INSERT OR REPLACE INTO setting VALUES (?, ?)", (name, json.dumps(value)))

    def begin(self, what: Any, how: Any) -> None:
        """Start, or go on. `what` says which pictures: it must not change. Where `how` they are fetched changed, what
        was refused is tried again; what failed is so in any case."""
        what, how = json.loads(json.dumps(what)), json.loads(json.dumps(how))
        if self.get("what") not in (None, what):
            if self.count("sha256 IS NOT NULL"):
                raise InputError(
                    "The folder was collected from other sources, or with other settings. Choose another folder with --out."
                )
            self._db.executescript("DELETE FROM item; DELETE FROM setting")
        again = ("failed", "refused") if self.get("how") != how else ("failed", "failed")
        with self._db:
            self._db.execute("BEGIN")
            self._db.execute("UPDATE item SET state = 'new', reason = NULL WHERE state IN (?, ?)", again)
            self.put("what", what)
            self.put("how", how)

    # ----------------------------------------------------------------------------------------------------------- listing

    def listed(self, source: int) -> bool:
        """Whether all rows of a source are here."""
        return bool(self.get(f"listed/{source}"))

    def add(self, source: int, seed: int, name: str, rows: Iterable[dict[str, Any]], then: dict[str, Any]) -> None:
        """Add rows of a source, all or none, and remember `then`. A row holds `address` and, where known, `label`,
        `split`, `licence`, `author`, `apart`, and `problem`, for which it is skipped. Equal addresses count once."""
        start = self.count("source = ?", source)
        self._db.execute("BEGIN")
        try:
            for n, row in enumerate(rows, start):
                problem = row.get("problem")
                address = row["address"]
                if (
                    not problem
                    and self._db.execute(
                        "SELECT 1 FROM item WHERE source = ? AND address = ?", (source, address)
                    ).fetchone()
                ):
                    problem = "the same address as an earlier row"
                self._db.execute(
                    "INSERT INTO item (source, n, rank, address, label, split, licence, author, apart, state, reason) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (source, n, seeds.key(seed, f"collect/{name}", n), address, safe_label(row.get("label")), row.get("split"),
                     row.get("licence") or "", row.get("author") or "", int(row.get("apart") or 0),
                     "skipped" if problem else "new", problem or None),
                )  # fmt: skip
            for key, value in then.items():
                self.put(key, value)
            self._db.execute("COMMIT")
        except BaseException:
            self._db.execute("ROLLBACK")
            raise

    # ------------------------------------------------------------------------------------------------------------ rounds

    def pick(self, source: int, room: int | None, room_of: Callable[[str], int] | None) -> int:
        """Choose the next ones by rank: at most `room`, and of each label at most `room_of(label)`. Returns how
        many."""
        self._db.create_function("room_of", 1, room_of or (lambda label: 1 << 62))
        self._db.execute(
            """UPDATE item SET state = 'picked' WHERE source = ?1 AND n IN (
              SELECT n FROM (SELECT n, rank, label, ROW_NUMBER() OVER (PARTITION BY label ORDER BY rank, n) AS place
                             FROM item WHERE source = ?1 AND state = 'new')
              WHERE label IS NULL OR place <= room_of(label) ORDER BY rank, n LIMIT ?2)""",
            (source, -1 if room is None else max(0, room)),
        )
        return self.count("source = ? AND state = 'picked'", source)

    def picked(self, source: int) -> Iterator[Item]:
        """This round's, by rank. They may change their state meanwhile."""
        rank, n = -1, -1
        while found := self._db.execute(
            f"SELECT {_ITEM}, rank FROM item WHERE state = 'picked' AND source = ? AND (rank, n) > (?, ?) ORDER BY rank, n LIMIT 512",
            (source, rank, n),
        ).fetchall():
            for row in found:
                yield Item(*row[:-1])
            rank, n = found[-1][-1], found[-1][1]

    def fetched(self, item: Item, sha256: str, kind: str, size: int) -> None:
        """Its bytes are there."""
        now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        self._db.execute(
            "UPDATE item SET state = 'fetched', sha256 = ?, kind = ?, bytes = ?, retrieved = ? WHERE source = ? AND n = ?",
            (sha256, kind, size, now, item.source, item.n),
        )

    def failed(self, item: Item, reason: str, *, final: bool) -> None:
        """Its bytes are not there, and why."""
        state = "refused" if final else "failed"
        self._db.execute(
            "UPDATE item SET state = ?, reason = ? WHERE source = ? AND n = ?",
            (state, reason[:500], item.source, item.n),
        )

    def settle(self, source: int) -> None:
        """Of equal bytes keep the first by (source, rank): sources are worked off one after another."""
        with self._db:
            self._db.execute("BEGIN")
            rows = self._db.execute(
                "SELECT n, sha256 FROM item WHERE state = 'fetched' AND source = ? ORDER BY rank, n", (source,)
            ).fetchall()
            for n, sha256 in rows:
                known = self._db.execute("SELECT 1 FROM item WHERE sha256 = ? AND state = 'kept'", (sha256,)).fetchone()
                state = "duplicate" if known else "kept"
                self._db.execute("UPDATE item SET state = ? WHERE source = ? AND n = ?", (state, source, n))

    # ----------------------------------------------------------------------------------------------------------- results

    def count(self, where: str, *values: Any) -> int:
        """The number of items."""
        return int(self._db.execute(f"SELECT COUNT(*) FROM item WHERE {where}", values).fetchone()[0])

    def total(self, column: str, by: str, where: str) -> dict[Any, int]:
        """Sums (`SUM(bytes)`) or counts (`COUNT(*)`) by a column."""
        return dict(self._db.execute(f"SELECT {by}, {column} FROM item WHERE {where} GROUP BY {by} ORDER BY 2 DESC, 1"))

    def kept(self) -> Iterator[tuple[Item, list[tuple[int, str]]]]:
        """What is kept, in order, each with (source, address) of its duplicates."""
        for row in self._db.execute(f"SELECT {_ITEM} FROM item WHERE state = 'kept' ORDER BY source, rank, n"):
            item = Item(*row)
            also = self._db.execute(
                "SELECT source, address FROM item WHERE sha256 = ? AND state = 'duplicate' ORDER BY source, rank, n LIMIT 10",
                (item.sha256,),
            ).fetchall()
            yield item, also

    def skipped(self) -> Iterator[tuple[int, str, str | None, str]]:
        """(source, address, label, reason) of all that is not there for a reason."""
        yield from self._db.execute(
            "SELECT source, address, label, reason FROM item WHERE state IN ('skipped', 'refused', 'failed') ORDER BY source, n"
        )

    def place(self, blobs: Path, where: Callable[[Item], tuple[Path, str]]) -> int:
        """Move what is kept and not placed yet from `blobs` to its (folder, name inside). Returns how many."""
        rows = self._db.execute(
            f"SELECT {_ITEM} FROM item WHERE state = 'kept' AND file IS NULL ORDER BY source, rank, n"
        ).fetchall()
        for start in range(0, len(rows), 1000):
            with self._db:
                self._db.execute("BEGIN")
                for item in (Item(*row) for row in rows[start : start + 1000]):
                    folder, name = where(item)
                    blob, target = blobs / str(item.sha256), folder / name
                    target.parent.mkdir(parents=True, exist_ok=True)
                    if blob.exists() or not target.exists():  # else it was moved before an interruption
                        blob.replace(target)
                    self._db.execute("UPDATE item SET file = ? WHERE source = ? AND n = ?", (name, item.source, item.n))
        return len(rows)
