"""An audit read back by those who act on it: `pictures.parquet` and `findings.parquet` in the audit's folder."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ganforge.auditing.checks import CHECKS
from ganforge.base.errors import DataError, InputError, did_you_mean
from ganforge.base.pool import ordered
from ganforge.sources.entry import Entry, Skip, digest
from ganforge.sources.formats import refusal
from ganforge.sources.layout import some

if TYPE_CHECKING:
    import pyarrow as pa

UNREAD = bytes(32)  # an audit's hash of a file that cannot be read
WARN = "warn"
ABOUT_LABEL = {check.code for check in CHECKS.values() if check.about_label}
ONE_STAYS = {check.code for check in CHECKS.values() if check.one_stays}


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
            kinds = {"file": pa.string(), "sha256": pa.binary(), "rank": pa.int64()}
            columns = [*kinds, "label", "group"]
            table = pq.read_table(pictures, columns=columns, page_checksum_verification=True)
            check_columns(table, {**kinds, "group": pa.int64(), "label": pa.string()}, full=kinds)
            rows = table.to_pylist()
            kinds = dict.fromkeys(("file", "code", "severity"), pa.string())
            table = pq.read_table(findings, columns=list(kinds), page_checksum_verification=True)
            check_columns(table, kinds, full=kinds)
            finding_rows = table.to_pylist()
            self.sha256 = hashlib.sha256(pictures.read_bytes() + findings.read_bytes()).hexdigest()
        except (OSError, ValueError, pa.ArrowException, KeyError) as error:
            raise DataError(f"{path} cannot be read: {str(error).splitlines()[0]}. Make the audit again.") from error
        self.group = {r["file"]: int(r["group"] if r["group"] is not None else -1) for r in rows}
        self.rank = {r["file"]: int(r["rank"]) for r in rows}
        self.content = {r["file"]: r["sha256"] for r in rows}
        self.label = {r["file"]: r["label"] for r in rows}
        self.codes: dict[str, dict[str, str]] = defaultdict(dict)
        """File -> its findings with their severities, the worst first."""
        self.severity: dict[str, str] = {}
        for row in finding_rows:
            self.codes[row["file"]].setdefault(row["code"], row["severity"])
            self.severity[row["code"]] = row["severity"]

    def check(self, source: Path, names: Iterable[str], entries: Iterable[Entry]) -> None:
        """DataError where the audit is not about the pictures in `source` as they are: of `names` (all of them) some
        are new or gone, or of `entries` some have other bytes, or another label where the audit found fault with it."""
        present = {name for name in names if not refusal(name)}
        known = {name for name in self.content if not refusal(name)}
        if known and not present & known:
            problem = f"it is about other files, such as {some(sorted(known))}"
        else:
            hashed = _hashed(entry for entry in entries if entry.name in known)
            changed = [entry.name for entry, sha256 in hashed if self._differs(entry, sha256)]
            parts = (("new", sorted(present - known)), ("changed", changed), ("gone", sorted(known - present)))
            problem = "; ".join(f"{len(files):,} {word}: {some(files)}" for word, files in parts if files)
        if problem:
            raise DataError(
                f"The audit {self.path} does not fit {source}: {problem}. "
                f"Make it again: ganforge audit {source} -o {self.path} --overwrite"
            )

    def _differs(self, entry: Entry, sha256: bytes) -> bool:
        judged = entry.label is not None and self.codes.get(entry.name, {}).keys() & ABOUT_LABEL
        return self.content[entry.name] != sha256 or bool(judged and self.label[entry.name] != entry.label)

    def absent(self, words: Iterable[str]) -> list[str]:
        """Sentences about findings that no picture has, which may be a mistake."""
        return [f"No picture was found to be {code}." for code in chosen(words) if code not in {*self.severity, WARN}]

    def left_out(self, drop: Collection[str] = (), keep: Collection[str] = ()) -> dict[str, str]:
        """Reasons by name: what the audit rejects and what `drop` names goes, `keep` overrules them. Of a group of
        duplicates the one stays that the audit ranks first. InputError for words that are no findings, and for one that
        is to be dropped and kept."""
        going, staying = set(chosen(drop)), set(chosen(keep))
        if contrary := going & staying:
            raise InputError(f"The finding {min(contrary)} is to be dropped and kept; say one of them.")
        if WARN in going:
            going |= {code for code, how in self.severity.items() if how == "warn"} - staying
        out = {}
        for name, codes in self.codes.items():
            wrong = [c for c, how in codes.items() if c not in staying and (how == "reject" or c in going - ONE_STAYS)]
            if wrong:
                out[name] = ", ".join(wrong)
        for best, *rest in self._groups(out, going):
            out |= dict.fromkeys(rest, f"like {best}, which is kept")
        return out

    def _groups(self, without: Collection[str], going: set[str]) -> list[list[str]]:
        """Pictures of which one is to stay, the first of each list: those of a group that have such a finding, and
        those that have none because the audit took them for the one to keep, in the audit's order. `without` are gone
        already."""
        members: dict[int, list[str]] = defaultdict(list)
        for name, group in self.group.items():
            codes = self.codes.get(name, {}).keys() & ONE_STAYS
            if group >= 0 and name not in without and (codes & going or not codes):
                members[group].append(name)
        wanted = members.values() if going & ONE_STAYS else ()
        return [sorted(group, key=lambda name: self.rank[name]) for group in wanted if len(group) > 1]


def check_columns(table: pa.Table, kinds: Mapping[str, pa.DataType], full: Collection[str]) -> None:
    """ValueError where a column is of another kind than the audit wrote, or where one of `full` has gaps."""
    for name, kind in kinds.items():
        column = table[name]
        if (column.null_count and name in full) or (column.null_count < len(column) and column.type != kind):
            raise ValueError(f"the column {name} is not as the audit wrote it")


def chosen(words: Iterable[str]) -> tuple[str, ...]:
    """Findings as the user names them, such as near-duplicate, -> their codes; `warn` stands for all warnings.
    InputError for others."""
    codes = tuple(word.strip().replace("-", "_") for word in words)
    for word, code in zip(words, codes, strict=True):
        if code not in (*CHECKS, WARN):
            raise InputError(f"There is no finding {word!r}.{did_you_mean(code, (*CHECKS, WARN))}")
    return codes


def _hashed(entries: Iterable[Entry]) -> Iterator[tuple[Entry, bytes]]:
    """Each with the SHA-256 that an audit has for it."""

    def hashed(entry: Entry) -> tuple[Entry, bytes]:
        try:
            return entry, digest(entry.read())
        except Skip:
            return entry, UNREAD

    return ordered(hashed, entries)
