"""What an audit knows of each picture, as columns; the tables and numbers it writes; two audits compared."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from ganforge.auditing import checks, duplicates
from ganforge.auditing.checks import CHECKS, LIMITS, SEVERITIES, Finding
from ganforge.auditing.facts import Facts
from ganforge.auditing.findings import check_columns
from ganforge.auditing.hashes import SIDE
from ganforge.auditing.numbers import COLUMNS, UNIFORM
from ganforge.base.errors import DataError, InputError
from ganforge.base.seeds import key
from ganforge.base.tables import recorded, write_csv
from ganforge.sources.entry import Entry

FILES = ("pictures.parquet", "findings.parquet", "findings.csv", "summary.json", "report.html", "page")
_PAIRS = 20_000
_ORDER = {code: n for n, code in enumerate(CHECKS)}


@dataclass(kw_only=True)
class Chunk:
    """What is known of n pictures after one look at each."""

    names: list[str]
    labels: list[str | None]
    splits: list[str | None]
    facts: list[Facts]
    bytes: npt.NDArray[np.int64]
    """Sizes of the files, (n,)."""
    sha256: npt.NDArray[np.uint8]
    """(n, 32)."""
    stats: npt.NDArray[np.float32]
    """(n, len(COLUMNS)); NaN where there are no pixels."""
    phash: npt.NDArray[np.uint64]
    mirror: npt.NDArray[np.uint64]
    grey: npt.NDArray[np.uint8]
    """(n, SIDE, SIDE) luma."""
    findings: list[Finding]
    total: npt.NDArray[np.float64]
    """(64, 64, 3) sum of the pictures that can be read."""

    @classmethod
    def of(cls, entries: Sequence[Entry]) -> Chunk:
        """Names, labels and splits of `entries`; nothing is known of their bytes yet."""
        count = len(entries)
        return cls(
            names=[entry.name for entry in entries],
            labels=[entry.label for entry in entries],
            splits=[entry.split for entry in entries],
            facts=[],
            bytes=np.zeros(count, np.int64),
            sha256=np.zeros((count, 32), np.uint8),
            stats=np.full((count, len(COLUMNS)), np.nan, np.float32),
            phash=np.zeros(count, np.uint64),
            mirror=np.zeros(count, np.uint64),
            grey=np.zeros((count, SIDE, SIDE), np.uint8),
            findings=[],
            total=np.zeros((64, 64, 3)),
        )


class Pictures:
    """All chunks joined: a few hundred bytes a picture, and their grey thumbnails in a file of their own."""

    def __init__(self, grey: BinaryIO) -> None:
        self.names: list[str] = []
        self.labels: list[str | None] = []
        self.splits: list[str | None] = []
        self.formats: list[str] = []
        self.modes: list[str] = []
        self.findings: list[Finding] = []
        self.total = np.zeros((64, 64, 3))
        self._arrays: dict[str, list[Any]] = {n: [] for n in ("shape", "bytes", "sha256", "stats", "phash", "mirror")}
        self._grey = grey

    def add(self, chunk: Chunk) -> None:
        """Append the next chunk, in order."""
        for finding in chunk.findings:
            finding.row += len(self.names)
        self.findings += chunk.findings
        self.names += chunk.names
        self.labels += chunk.labels
        self.splits += chunk.splits
        self.formats += [f.format for f in chunk.facts]
        self.modes += [f.mode for f in chunk.facts]
        shape = np.array([(f.width, f.height, f.frames) for f in chunk.facts], np.int64).reshape(-1, 3)
        for name, array in self._arrays.items():
            array.append(shape if name == "shape" else getattr(chunk, name))
        self._grey.write(np.ascontiguousarray(chunk.grey).data)
        self.total += chunk.total

    def close(self) -> None:
        """After the last chunk: the columns become arrays, and each picture gets `usable`, `group` and the like."""
        self._grey.flush()
        empty = {"shape": (0, 3), "sha256": (0, 32), "stats": (0, len(COLUMNS))}
        kinds = {"sha256": np.uint8, "stats": np.float32, "phash": np.uint64, "mirror": np.uint64}
        for name, array in self._arrays.items():
            none = np.zeros(empty.get(name, (0,)), kinds.get(name, np.int64))
            setattr(self, name, np.concatenate([none, *array]))
        self._arrays.clear()
        self.usable = ~np.isnan(self.stats[:, 0])
        self.outlier = np.full(len(self), np.nan, np.float32)
        self.group = np.full(len(self), -1, np.int64)
        self.rank = np.full(len(self), -1, np.int64)
        self.mirrored = np.zeros(len(self), bool)

    shape: npt.NDArray[np.int64]
    """(N, 3): width, height, frames."""
    bytes: npt.NDArray[np.int64]
    sha256: npt.NDArray[np.uint8]
    stats: npt.NDArray[np.float32]
    phash: npt.NDArray[np.uint64]
    mirror: npt.NDArray[np.uint64]

    def __len__(self) -> int:
        return len(self.names)

    def stat(self, name: str) -> npt.NDArray[np.float32]:
        """One of COLUMNS, (N,)."""
        return self.stats[:, list(COLUMNS).index(name)]

    def compare(self) -> None:
        """Find duplicates and conflicting labels, and judge by what only the whole set tells."""
        count = len(self)
        grey = (
            np.memmap(self._grey.name, np.uint8, "r", shape=(count, SIDE, SIDE))
            if count
            else np.zeros((0, SIDE, SIDE), np.uint8)
        )
        classes = {label: n for n, label in enumerate(sorted({label for label in self.labels if label is not None}))}
        spread = self.stat("high") - self.stat("low")
        duplicate = duplicates.find(
            duplicates.Records(
                names=self.names,
                usable=self.usable,
                uniform=~(spread >= UNIFORM),
                sha256=self.sha256,
                phash=self.phash,
                mirror=self.mirror,
                grey=grey,
                labels=np.array([-1 if label is None else classes[label] for label in self.labels], np.int64),
                defects=self._defects(),
                area=self.shape[:, 0] * self.shape[:, 1],
                bytes=self.bytes,
            )
        )
        self.group, self.rank, self.mirrored = duplicate.group, duplicate.rank, duplicate.mirrored
        self.findings += duplicate.findings
        self.findings += checks.of_set(self)

    def _defects(self) -> npt.NDArray[np.int64]:
        """Findings so far that are more than a conversion, (N,)."""
        rows = [f.row for f in self.findings if SEVERITIES.index(f.severity) > SEVERITIES.index("convert")]
        return np.bincount(np.array(rows, np.int64), minlength=len(self)).astype(np.int64)

    def judge(self) -> tuple[list[str], list[list[str]]]:
        """Each picture's verdict, the worst of its findings, and its reasons, the worst first."""
        self.findings.sort(key=lambda f: (_ORDER[f.code], f.row))
        self.findings.sort(key=lambda f: -SEVERITIES.index(f.severity))
        verdicts, reasons = ["ok"] * len(self), [[] for _ in range(len(self))]  # type: list[str], list[list[str]]
        for finding in self.findings:
            if not reasons[finding.row]:
                verdicts[finding.row] = finding.severity
            reasons[finding.row].append(finding.code)
            finding.group = int(self.group[finding.row])
        return verdicts, reasons


def shown(name: str) -> str:
    """A name that cannot disturb a page or a terminal: line ends, control and direction marks are written as
    \\u202e."""
    if name.isprintable():
        return name
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in recorded(name))


def write_tables(folder: Path, pictures: Pictures, verdicts: list[str], reasons: list[list[str]]) -> None:
    """pictures.parquet, findings.parquet and findings.csv."""
    names = [recorded(name) for name in pictures.names]
    labels = [None if label is None else recorded(label) for label in pictures.labels]
    columns: dict[str, Any] = {
        "file": pa.array(names, pa.string()),
        "label": pa.array(labels, pa.string()),
        "split": pa.array(pictures.splits, pa.string()),
        "verdict": pa.array(verdicts, pa.string()),
        "reasons": pa.array(reasons, pa.list_(pa.string())),
        "group": pictures.group,
        "rank": pictures.rank,
        "mirrored": pictures.mirrored,
        "width": pictures.shape[:, 0].astype(np.int32),
        "height": pictures.shape[:, 1].astype(np.int32),
        "mode": pa.array(pictures.modes, pa.string()),
        "format": pa.array(pictures.formats, pa.string()),
        "frames": pictures.shape[:, 2].astype(np.int32),
        "bytes": pictures.bytes,
        "sha256": pa.array([row.tobytes() for row in pictures.sha256], pa.binary()),
        "phash": pa.array(pictures.phash, pa.uint64(), mask=~pictures.usable),
    }
    columns |= {name: pa.array(pictures.stat(name), from_pandas=True) for name in COLUMNS}
    columns["outlier"] = pa.array(pictures.outlier, from_pandas=True)
    _write(pa.table(columns), folder / "pictures.parquet")
    findings = pictures.findings
    table = {
        "file": pa.array([names[f.row] for f in findings], pa.string()),
        "label": pa.array([labels[f.row] for f in findings], pa.string()),
        "code": pa.array([f.code for f in findings], pa.string()),
        "severity": pa.array([f.severity for f in findings], pa.string()),
        "value": pa.array([f.value for f in findings], pa.float64()),
        "remedy": pa.array([CHECKS[f.code].remedy for f in findings], pa.string()),
        "detail": pa.array([recorded(f.detail) for f in findings], pa.string()),
        "group": pa.array([f.group for f in findings], pa.int64()),
    }
    _write(pa.table(table), folder / "findings.parquet")
    rows = (
        {
            "file": names[f.row],
            "label": labels[f.row] or "",
            "code": f.code,
            "severity": f.severity,
            "value": "" if f.value is None else f"{f.value:.6g}",
            "remedy": CHECKS[f.code].remedy,
            "detail": recorded(f.detail),
            "group": f.group,
        }
        for f in findings
    )
    write_csv(folder / "findings.csv", table, rows)


def _write(table: pa.Table, path: Path) -> None:
    """With a checksum a page, so that no flipped bit changes a verdict."""
    pq.write_table(table, path, compression="zstd", row_group_size=65_536, write_page_checksum=True)


# ---------------------------------------------------------------------------------------------------------- the summary


def summarise(pictures: Pictures, verdicts: list[str], settings: dict[str, Any]) -> dict[str, Any]:
    """Counts, spreads, classes, diversity and the settings, for summary.json. Keyed by the seed among the settings."""
    usable = pictures.usable
    codes = Counter(f.code for f in pictures.findings)
    verdict_counts = Counter(verdicts)
    sides = {"width": pictures.shape[usable, 0], "height": pictures.shape[usable, 1]}
    spreads = {name: _spread(values) for name, values in sides.items()}
    spreads |= {name: _spread(pictures.stat(name)[usable]) for name in COLUMNS}
    top = Counter(zip(sides["width"].tolist(), sides["height"].tolist(), strict=True)).most_common(10)
    classes = Counter(recorded(label) for label in pictures.labels if label is not None)
    return {
        "pictures": len(pictures),
        "readable": int(usable.sum()),
        "bytes": int(pictures.bytes.sum()),
        "verdicts": {name: verdict_counts[name] for name in SEVERITIES},
        "findings": {code: codes[code] for code in CHECKS if codes[code]},
        "severities": {code: CHECKS[code].severity for code in CHECKS if codes[code]},
        "groups": int(pictures.group.max(initial=-1)) + 1,
        "classes": dict(sorted(classes.items())),
        "balance": _balance(classes),
        "splits": dict(Counter(split for split in pictures.splits if split is not None)),
        "formats": dict(Counter(f for f in pictures.formats if f).most_common()),
        "modes": dict(Counter(m for m in pictures.modes if m).most_common()),
        "sizes": {f"{width}x{height}": count for (width, height), count in top},
        "spreads": spreads,
        "diversity": _diversity(pictures, int(settings["seed"])),
        "limits": LIMITS | {"RADIUS": duplicates.radius_for(int(usable.sum()))},
        "settings": settings,
    }


def _spread(values: npt.NDArray[Any]) -> dict[str, float]:
    if not len(values):
        return {}
    at = np.percentile(values, [0, 1, 25, 50, 75, 99, 100])
    return {
        name: round(float(v), 4)
        for name, v in zip(("least", "1%", "25%", "median", "75%", "99%", "most"), at, strict=True)
    }


def _balance(classes: Counter[str]) -> dict[str, float]:
    """Largest class over smallest, and the entropy of the shares against that of equal ones: 1 is balanced."""
    if len(classes) < 2:
        return {}
    shares = np.array(list(classes.values())) / classes.total()
    entropy = float(-(shares * np.log(shares)).sum() / np.log(len(shares)))
    return {"largest over smallest": round(float(shares.max() / shares.min()), 3), "evenness": round(entropy, 4)}


def _diversity(pictures: Pictures, seed: int) -> dict[str, float]:
    """Pictures left with one of each group, and how unlike random pairs are: differing bits of 64; unrelated ones have
    32."""
    rows = np.flatnonzero(pictures.usable)
    if len(rows) < 2:
        return {}
    inside = pictures.group[rows] >= 0
    distinct = int((~inside).sum()) + len(np.unique(pictures.group[rows][inside]))
    rng = np.random.default_rng(key(seed, "diversity"))
    i, j = rng.integers(0, len(rows), (2, _PAIRS))
    apart = np.bitwise_count(pictures.phash[rows[i]] ^ pictures.phash[rows[j]])[i != j]
    return {
        "distinct": distinct,
        "share distinct": round(distinct / len(rows), 4),
        "bits apart": round(float(apart.mean()), 2),
    }


# ----------------------------------------------------------------------------------------------------------- comparison


@dataclass(frozen=True)
class Diff:
    """What changed between two audits: files, by name."""

    appeared: list[str] = field(default_factory=list)
    vanished: list[str] = field(default_factory=list)
    changed: list[tuple[str, str, str]] = field(default_factory=list)
    """(file, before, after), each a verdict with its reasons."""

    def __bool__(self) -> bool:
        return bool(self.appeared or self.vanished or self.changed)


def compare(old: Path, new: Path) -> Diff:
    """Files that appeared, vanished, or have another verdict or other reasons. DataError where one is no audit."""
    before, after = _verdicts(old), _verdicts(new)
    return Diff(
        sorted(after.keys() - before.keys()),
        sorted(before.keys() - after.keys()),
        [(n, before[n], after[n]) for n in sorted(before.keys() & after.keys()) if before[n] != after[n]],
    )


def _verdicts(path: Path) -> dict[str, str]:
    file = path / "pictures.parquet" if path.is_dir() else path
    if not file.is_file():
        raise InputError(
            f"{path} is no audit: there is no pictures.parquet in it. Make one with: ganforge audit FOLDER -o {path}"
        )
    try:
        table = pq.read_table(file, columns=["file", "verdict", "reasons"], page_checksum_verification=True)
        texts = {"file": pa.string(), "verdict": pa.string()}
        check_columns(table, texts | {"reasons": pa.list_(pa.string())}, full=texts)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise DataError(f"{file} cannot be read: {str(error).splitlines()[0]}. Audit the pictures again.") from error
    columns = (table[name].to_pylist() for name in ("file", "verdict", "reasons"))
    return {
        name: f"{verdict} ({', '.join(sorted(set(reasons)))})" if reasons else verdict
        for name, verdict, reasons in zip(*columns, strict=True)
    }


def write_json(path: Path, facts: dict[str, Any]) -> None:
    """Indented, readable by anything."""
    path.write_text(json.dumps(facts, indent=1, ensure_ascii=False), "utf-8")
