"""What an audit found, for those who act on it: `pictures.parquet` and `findings.parquet` in the audit's folder."""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

from ganforge.data.layout import some
from ganforge.data.sources import Entry, Skip, digest, is_picture
from ganforge.errors import DataError, did_you_mean

UNREAD = bytes(32)  # an audit's hash of a file that cannot be read
LABELLED = {"no_label", "label_conflict"}  # about the label that a picture had
GROUPED = {"exact_duplicate", "near_duplicate", "mirrored"}  # about a group of pictures, of which one is to stay


class Findings:
    """An audit's tables in memory. DataError where they are missing or damaged."""

    def __init__(self, path: Path) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        self.path = path
        pictures, findings = path / "pictures.parquet", path / "findings.parquet"
        if not pictures.is_file() or not findings.is_file():
            raise DataError(
                f"{path} has no pictures.parquet and findings.parquet. Make them with: ganforge audit FOLDER"
            )
        try:
            columns = ["file", "label", "sha256", "verdict", "reasons", "group", "rank"]
            rows = pq.read_table(pictures, columns=columns).to_pylist()
            found = pq.read_table(findings, columns=["file", "code", "severity"]).to_pylist()
            self.sha256 = hashlib.sha256(pictures.read_bytes() + findings.read_bytes()).hexdigest()
        except (OSError, pa.ArrowException, KeyError) as error:
            raise DataError(f"{path} cannot be read: {str(error).splitlines()[0]}. Make the audit again.") from error
        self.rejected = {r["file"]: ", ".join(r["reasons"] or []) for r in rows if r["verdict"] == "reject"}
        self.group = {r["file"]: int(r["group"] if r["group"] is not None else -1) for r in rows}
        self.rank = {r["file"]: int(r["rank"]) for r in rows}
        self.content = {r["file"]: r["sha256"] for r in rows}
        self.label = {r["file"]: r["label"] for r in rows}
        self.codes: dict[str, set[str]] = defaultdict(set)
        self.severity: dict[str, str] = {}
        for row in found:
            self.codes[row["file"]].add(row["code"])
            self.severity[row["code"]] = row["severity"]

    def check(self, source: Path, names: Iterable[str], entries: Iterable[Entry]) -> None:
        """DataError where the audit is not about the pictures in `source` as they are: of `names` (all of them) some are new or gone, or
        of `entries` some have other bytes, or another label where the audit found fault with it."""
        there = {name for name in names if is_picture(name)}
        known = {name for name in self.content if is_picture(name)}
        if known and not there & known:
            what = f"it is about other files, such as {some(sorted(known))}"
        else:
            changed = [e.name for e, found in _hashed(e for e in entries if e.name in known) if self._differs(e, found)]
            parts = (("new", sorted(there - known)), ("changed", changed), ("gone", sorted(known - there)))
            what = "; ".join(f"{len(which):,} {word}: {some(which)}" for word, which in parts if which)
        if what:
            raise DataError(
                f"The audit {self.path} does not fit {source}: {what}. Make it again: ganforge audit {source} -o {self.path} --overwrite"
            )

    def _differs(self, entry: Entry, found: bytes) -> bool:
        judged = entry.label is not None and self.codes.get(entry.name, set()) & LABELLED
        return self.content[entry.name] != found or bool(judged and self.label[entry.name] != entry.label)

    def going(self, drop: Collection[str] = (), keep: Collection[str] = ()) -> set[str]:
        """The codes that go: those of `drop`, or with `keep` all warnings but these. `near-duplicate` means near_duplicate."""
        asked = {_code(word) for word in (*drop, *keep)}
        return asked if not keep else {code for code, how in self.severity.items() if how == "warn"} - asked

    def unknown(self, words: Iterable[str]) -> list[str]:
        """Sentences about words that no picture has, which may be a mistake in writing."""
        absent = (word for word in words if _code(word) not in self.severity)
        return [
            f"No picture was found to be {word!r}.{did_you_mean(_code(word), sorted(self.severity))}" for word in absent
        ]

    def left_out(self, names: Iterable[str], going: set[str]) -> dict[str, str]:
        """Reasons by name for what goes on its own account: rejected, or found to be so."""
        out = {}
        for name in names:
            codes = self.codes.get(name, set()) & going - GROUPED
            if name in self.rejected:
                out[name] = f"audit: {self.rejected[name]}"
            elif codes:
                out[name] = f"audit: {', '.join(sorted(codes))}"
        return out

    def groups(self, without: Collection[str], going: set[str]) -> list[list[str]]:
        """Pictures of which one is to stay, the first of each list: those of a group that have such a finding, and those that
        have none because the audit took them for the one to keep, in the audit's order. `without` are gone already."""
        members: dict[int, list[str]] = defaultdict(list)
        for name, group in self.group.items():
            codes = self.codes.get(name, set()) & GROUPED
            if group >= 0 and name not in without and (codes & going or not codes):
                members[group].append(name)
        return [sorted(group, key=lambda name: self.rank[name]) for group in members.values() if len(group) > 1]


def _hashed(entries: Iterable[Entry]) -> Iterator[tuple[Entry, bytes]]:
    """Each with the SHA-256 that an audit has for it; a bounded number under way at once."""
    entries = iter(entries)
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        while chunk := list(islice(entries, 256)):
            yield from zip(chunk, pool.map(_hash, chunk), strict=True)


def _hash(entry: Entry) -> bytes:
    try:
        return digest(entry.read())
    except Skip:
        return UNREAD


def _code(word: str) -> str:
    return word.strip().replace("-", "_")
