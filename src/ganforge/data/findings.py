"""What an audit found, for those who act on it: `pictures.parquet` and `findings.parquet` in the audit's folder."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Collection, Iterable
from pathlib import Path

from ganforge.errors import DataError, InputError, did_you_mean

DUPLICATE = "duplicate"  # a code with this word in it is about a group of pictures, of which one is to stay


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
            rows = pq.read_table(pictures, columns=["file", "verdict", "reasons", "group"]).to_pylist()
            codes = pq.read_table(findings, columns=["file", "code"]).to_pylist()
            self.sha256 = hashlib.sha256(pictures.read_bytes() + findings.read_bytes()).hexdigest()
        except (OSError, pa.ArrowException, KeyError) as error:
            raise DataError(f"{path} cannot be read: {str(error).splitlines()[0]}. Make the audit again.") from error
        self.rejected = {r["file"]: ", ".join(r["reasons"] or []) for r in rows if r["verdict"] == "reject"}
        self.group = {r["file"]: int(r["group"] if r["group"] is not None else -1) for r in rows}
        self.codes: dict[str, set[str]] = defaultdict(set)
        for row in codes:
            self.codes[row["file"]].add(row["code"])

    def _going(self, drop: Collection[str], keep: Collection[str]) -> set[str]:
        """The codes that go: those of `drop`, or with `keep` all others. InputError for a code that nothing has."""
        known = {code for codes in self.codes.values() for code in codes}
        for word in (*drop, *keep):
            if word not in known:
                raise InputError(
                    f"The audit {self.path} found nothing called {word!r}.{did_you_mean(word, sorted(known))}"
                )
        return set(drop) if drop else known - set(keep) if keep else set()

    def left_out(self, names: Iterable[str], drop: Collection[str] = (), keep: Collection[str] = ()) -> dict[str, str]:
        """Reasons by name for what goes on its own account: rejected, found to be so, or not looked at by the audit."""
        going = {code for code in self._going(drop, keep) if DUPLICATE not in code}
        out = {}
        for name in names:
            if name not in self.group:
                out[name] = "not in the audit"
            elif name in self.rejected:
                out[name] = f"audit: {self.rejected[name]}"
            elif codes := self.codes[name] & going if name in self.codes else None:
                out[name] = f"audit: {', '.join(sorted(codes))}"
        return out

    def groups(
        self, without: Collection[str], drop: Collection[str] = (), keep: Collection[str] = ()
    ) -> list[list[str]]:
        """The duplicate groups, of each of which one picture is to stay; `without` are gone already."""
        going = {code for code in self._going(drop, keep) if DUPLICATE in code}
        meant = {self.group[name] for name, codes in self.codes.items() if codes & going and name in self.group} - {-1}
        members: dict[int, list[str]] = defaultdict(list)
        for name, group in self.group.items():
            if group in meant and name not in without:
                members[group].append(name)
        return [sorted(group) for group in members.values() if len(group) > 1]
