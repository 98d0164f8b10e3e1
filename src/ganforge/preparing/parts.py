"""Writing a store: independent parts, each committed by one rename, then joined.

A part is a folder with `images.npy`, `meta.parquet` and `part.json`, written last. Whoever writes it, in whatever order
and however often, its bytes are the same; joining reads the side files only and gives the pictures a second name."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ganforge.base.errors import DataError
from ganforge.base.files import atomic_folder, cannot_write, file_sha256, writing
from ganforge.base.images import Pixels
from ganforge.base.tables import read_json
from ganforge.media.captions import MOST_CAPTIONS, of_texts
from ganforge.media.clip import Clip
from ganforge.media.medium import Medium
from ganforge.media.spec import Spec
from ganforge.media.text import Text
from ganforge.store.provenance import NOWHERE, Origin
from ganforge.store.split import ASIDE, HELDOUT, TRAIN, Splits, split, with_gaps
from ganforge.store.store import HEADER, SCHEMA, npy_header, root_hash

ROW_GROUP = 8192

_PART = pa.schema(
    [
        ("row", pa.int64()),  # within the part; -1: dropped
        ("file", pa.string()),
        ("label", pa.string()),
        ("split", pa.string()),  # what the source said; in the store: train, heldout or nothing
        ("height", pa.int32()),
        ("width", pa.int32()),
        ("sha256", pa.binary()),  # of the original's bytes
        ("pixels_sha256", pa.binary()),  # of the stored pixels
        ("dropped", pa.string()),
        *((name, pa.string()) for name in Origin._fields),
    ]
)
_META = pa.schema([*_PART, ("group", pa.int64()), ("fold", pa.int8())])
_CAPTION = pa.field("caption", pa.string())  # a line each; a column where pictures have captions


@dataclass
class Meta:
    """One picture's row in `meta.parquet`."""

    file: str
    label: str | None = None
    split: str | None = None
    height: int = 0
    width: int = 0
    sha256: bytes = b""
    pixels_sha256: bytes = b""
    dropped: str | None = None
    origin: Origin = NOWHERE
    caption: str | None = None
    remark: str = ""
    """What is to be said of the file, which is stored all the same; it is no column."""


class TooFew(DataError):
    """Hardly any picture could be used."""


@contextlib.contextmanager
def new_part(path: Path, spec: Spec, captioned: bool = False) -> Iterator[PartWriter]:
    """A writer of the part `path`, which is there when the context ends; where an exception ends it, nothing is left.
    DataError where it cannot be written, unless another worker has finished it meanwhile: its bytes are the same."""
    try:
        with atomic_folder(path) as folder:
            writer = PartWriter(folder, spec, captioned)
            try:
                yield writer
                writer.finish()
            finally:
                writer.images.close()
    except OSError as error:
        if not finished(path):
            raise cannot_write(path, error) from error


class PartWriter:
    """Writes the files of one part into an empty folder; see `new_part`. OSError."""

    def __init__(self, folder: Path, spec: Spec, captioned: bool) -> None:
        self.folder, self.spec = folder, spec
        self.schema = pa.schema([*_PART, _CAPTION]) if captioned else _PART
        self.rows, self.dropped = 0, 0
        self.hash = hashlib.sha256()
        self.histogram = np.zeros((spec.channels, 256), np.int64)
        self.pending: list[pa.Table] = []
        self.remarks: dict[str, list[str]] = {}
        self.images: BinaryIO = (folder / "images.npy").open("wb")
        self.images.write(b"\0" * HEADER)
        self.meta = pq.ParquetWriter(folder / "meta.parquet", self.schema, compression="zstd")

    def add(self, pictures: Sequence[Pixels], metas: Sequence[Meta]) -> None:
        """Pictures (H, W, C) uint8 with their rows; a row with `dropped` set has no picture and keeps only its row."""
        rows = iter(range(self.rows, self.rows + len(pictures)))
        columns: dict[str, list[Any]] = {"row": [next(rows) if m.dropped is None else -1 for m in metas]}
        for name in self.schema.names[1:]:
            columns[name] = [
                getattr(m.origin, name) or None if name in Origin._fields else getattr(m, name) for m in metas
            ]
        self.pending.append(pa.table(columns, schema=self.schema))
        if sum(map(len, self.pending)) >= ROW_GROUP:
            self._write_meta()
        self.rows += len(pictures)
        self.dropped += len(metas) - len(pictures)
        for meta in metas:
            if meta.remark:
                self.remarks.setdefault(meta.remark, []).append(meta.file)
        if pictures:
            block = np.ascontiguousarray(np.stack(pictures))  # of views, numpy keeps their order in memory
            self.images.write(block.data)
            self.hash.update(block.data)
            for channel, counts in enumerate(self.histogram):
                counts += np.bincount(block[..., channel].ravel(), minlength=256)

    def _write_meta(self) -> None:
        if self.pending:
            self.meta.write_table(pa.concat_tables(self.pending))
            self.pending = []

    def finish(self) -> None:
        """Complete the files; `part.json` comes last."""
        self._write_meta()
        self.meta.close()
        self.images.seek(0)
        self.images.write(npy_header((self.rows, self.spec.height, self.spec.width, self.spec.channels)))
        _flush(self.images)
        facts = {
            "rows": self.rows, "dropped": self.dropped, "sha256": self.hash.hexdigest(),
            "meta_sha256": file_sha256(self.folder / "meta.parquet"), "histogram": self.histogram.tolist(),
            **({"remarks": self.remarks} if self.remarks else {}),
        }  # fmt: skip
        write_json(self.folder / "part.json", facts)


def unfinished(store: Path) -> Path:
    """The folder of a store's parts, beside its place."""
    return store.parent / f".{store.name}.parts"


def progress(store: Path) -> tuple[int, int] | None:
    """Parts finished and parts in all of a store that is not joined yet; None where there is no such thing."""
    try:
        plan = read_json((unfinished(store) / "plan.json").read_text("utf-8"))
        return sum(finished(path) for path in unfinished(store).glob("part-*")), int(plan["parts"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def finished(path: Path) -> bool:
    """Whether a part was committed."""
    return (path / "part.json").is_file()


@dataclass(frozen=True)
class Sides:
    """How pictures are split when parts are joined; see `split.split`."""

    heldout: float = 0.1
    stratify: bool = False
    folds: int = 0
    per_class: int = 0
    block: int = 0
    """Of texts: characters of a text that stay together; 0: all."""


def remarks(parts: Sequence[Path]) -> dict[str, list[str]]:
    """What is to be said of files that are stored, and their names. DataError where a part is damaged."""
    files: dict[str, list[str]] = {}
    for part in parts:
        for remark, names in _facts(part).get("remarks", {}).items():
            files.setdefault(remark, []).extend(names)
    return files


def join(
    parts: Sequence[Path],
    out: Path,
    spec: Spec,
    *,
    recipe: Mapping[str, Any],
    sides: Sides,
    groups: Mapping[str, int] | None = None,
    levels: str = "bytes",
    fewest: int = 0,
    versions: Mapping[str, str] | None = None,
    overwrite: bool = False,
) -> dict[str, int]:
    """Make the store `out` of finished parts, whose pictures it shares until they are removed; returns the counts of
    reasons for dropping.

    `groups` are by file; `versions` are noted outside the root hash. `overwrite` puts the store in the place of
    an older one. TooFew where fewer than `fewest` pictures are usable. Whatever goes wrong, the parts stay as they are.
    """
    facts = [_facts(part) for part in parts]
    advice = "Its parts are kept: free some space, and the same command goes on."
    with writing(out, advice), atomic_folder(out, overwrite) as final:
        labels, splits, group_numbers = _decide(parts, spec, sides, groups or {})
        if (splits.sides != ASIDE).sum() < fewest:
            raise TooFew(_too_few(parts, int((splits.sides != ASIDE).sum()), fewest, spec.medium))
        if sides.heldout and not (splits.sides == TRAIN).any():
            raise TooFew(f"With {sides.heldout:g} held out, nothing is left for training. Hold out less: --heldout 0.1")
        reasons, content = _write_meta(parts, final / "meta.parquet", splits, group_numbers)
        np.save(final / "labels.npy", labels)
        np.save(final / "splits.npy", splits.sides)
        names = ["labels.npy", "splits.npy", "meta.parquet"]
        if _captioned(parts):
            captions, numbers = of_texts(_captions(parts))
            spec = replace(spec, captions=captions)
            np.save(final / "captions.npy", numbers)
            names.append("captions.npy")
        if sides.folds:
            np.save(final / "folds.npy", splits.folds)
            names.append("folds.npy")
        files: dict[str, dict[str, Any]] = {}
        shards: list[tuple[Path, Path]] = []
        for part, fact in zip(parts, facts, strict=True):
            if fact["rows"]:
                name = f"images-{len(shards):05d}.npy"
                files[name] = {"rows": fact["rows"], "sha256": fact["sha256"]}
                shards.append((part / "images.npy", final / name))
        files |= {name: {"sha256": file_sha256(final / name)} for name in names}
        files["meta.parquet"]["content"] = content  # Parquet's bytes differ from one version of its writer to the next
        histogram = np.sum([fact["histogram"] for fact in facts], 0, dtype=np.int64).reshape(spec.channels, 256)
        mean, deviation = moments(histogram)
        manifest = {
            "schema": SCHEMA,
            "spec": replace(spec, levels=choose_levels(levels, histogram)).to_plain(),
            "rows": len(labels),
            "train": int((splits.sides == TRAIN).sum()),
            "heldout": int((splits.sides == HELDOUT).sum()),
            "folds": sides.folds,
            "mean": mean.tolist(),
            "deviation": deviation.tolist(),
            "recipe": dict(recipe),
            "made": dict(versions or {}),
            "files": files,
        }
        manifest["root"] = root_hash(manifest)
        for source, target in shards:
            _share(source, target)
        write_json(final / "manifest.json", manifest)
    return reasons


def _facts(part: Path) -> dict[str, Any]:
    """What `part.json` says. DataError where it or `meta.parquet` is damaged or missing."""
    try:
        facts = read_json((part / "part.json").read_bytes())
        sound = facts.keys() >= {"rows", "dropped", "sha256", "histogram"}
        if sound and file_sha256(part / "meta.parquet") == facts["meta_sha256"]:
            return dict(facts)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        pass
    raise DataError(f"{part} is damaged. Remove it, and the same command makes it again.")


def _share(source: Path, target: Path) -> None:
    """A second name for a file, or a copy where the file system knows no such thing."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _decide(
    parts: Sequence[Path], spec: Spec, sides: Sides, groups: Mapping[str, int]
) -> tuple[npt.NDArray[np.int64], Splits, npt.NDArray[np.int64]]:
    """Labels, splits and groups (-1 where a picture stands alone) of all stored rows."""
    class_numbers = {name: n for n, name in enumerate(spec.classes)}
    side_codes = {"train": TRAIN, "heldout": HELDOUT}
    several, texts = isinstance(spec.medium, (Clip, Text)), isinstance(spec.medium, Text)
    group_of = _file_groups(groups, sides.block) if several else lambda name: groups.get(name, -1)
    numbers: dict[str, int] = {}
    places = [np.zeros((0, 2), np.int64)]
    keys, group_numbers, labels, own_sides = [], [], [], []
    for part in parts:
        for table in _tables(part / "meta.parquet", ["row", "file", "label", "split", "pixels_sha256"]):
            stored = table.filter(pc.greater_equal(table["row"], 0))
            if not len(stored):
                continue
            digests = b"".join(digest[:8] for digest in stored["pixels_sha256"].to_pylist())
            keys.append(np.frombuffer(digests, ">u8").astype(np.uint64))
            names = stored["file"].to_pylist()
            group_numbers.append(np.array([group_of(name) for name in names], np.int64))
            if texts:
                pairs = [(numbers.setdefault(file, len(numbers)), start) for file, start in map(_place, names)]
                places.append(np.array(pairs, np.int64))
            labels.append(np.array([class_numbers.get(label, -1) for label in stored["label"].to_pylist()], np.int64))
            own_sides.append(np.array([side_codes.get(side, -1) for side in stored["split"].to_pylist()], np.int8))
    if not keys:
        none = np.zeros(0, np.int64)
        return none, Splits(none.astype(np.uint8), none.astype(np.int8), {}), none
    all_labels, all_groups = np.concatenate(labels), np.concatenate(group_numbers)
    splits = split(
        np.concatenate(keys), all_groups, all_labels, np.concatenate(own_sides), heldout=sides.heldout,
        stratify=sides.stratify, folds=sides.folds, per_class=sides.per_class,
    )  # fmt: skip
    if texts:
        passages = np.concatenate(places)
        splits = with_gaps(splits, passages[:, 0], passages[:, 1], spec.width)
    return all_labels, splits, all_groups


def _captioned(parts: Sequence[Path]) -> bool:
    return any(_CAPTION.name in pq.read_schema(part / "meta.parquet").names for part in parts[:1])


def _captions(parts: Sequence[Path]) -> list[list[str]]:
    """The captions of each stored row."""
    captions: list[list[str]] = []
    for part in parts:
        for table in _tables(part / "meta.parquet", ["row", _CAPTION.name]):
            stored = table.filter(pc.greater_equal(table["row"], 0))
            captions += [text.splitlines()[:MOST_CAPTIONS] for text in stored[_CAPTION.name].to_pylist()]
    return captions


def _file_groups(groups: Mapping[str, int], block: int) -> Callable[[str], int]:
    """The group of a clip or a passage by its name, FILE#START: that of its file, or a number that all rows of the file
    share; with `block`, all that begin in the same so many characters of it."""
    numbers = dict(groups)
    first_new = max(groups.values(), default=-1) + 1

    def of(name: str) -> int:
        file, start = _place(name)
        if block and file not in groups:
            file = f"{file}#{start // block}"
        return numbers.setdefault(file, first_new + len(numbers))

    return of


def _place(name: str) -> tuple[str, int]:
    """FILE#START -> the file, and where in it a clip or a passage begins."""
    file, mark, start = name.rpartition("#")
    return (file, int(start)) if mark else (name, 0)


def _write_meta(
    parts: Sequence[Path],
    path: Path,
    splits: Splits,
    groups: npt.NDArray[np.int64],
) -> tuple[dict[str, int], str]:
    """All rows of all parts with what was decided; returns how many were dropped for which reason, and a SHA-256 of the
    rows."""
    reasons: dict[str, int] = {}
    digest = hashlib.sha256()
    start = 0
    schema = pa.schema([*_META, _CAPTION]) if _captioned(parts) else _META
    with pq.ParquetWriter(path, schema, compression="zstd") as out:
        for part in parts:
            for table in _tables(part / "meta.parquet"):
                columns = table.to_pydict()
                stored = np.array(columns["row"]) >= 0
                rows = np.where(stored, start + np.cumsum(stored) - 1, -1).tolist()
                start += int(stored.sum())
                sides = {TRAIN: "train", HELDOUT: "heldout"}
                columns["row"] = rows
                columns["split"] = [sides.get(int(splits.sides[row])) if row >= 0 else None for row in rows]
                columns["fold"] = [int(splits.folds[row]) if row >= 0 else None for row in rows]
                columns["group"] = [int(groups[row]) if row >= 0 else None for row in rows]
                columns["dropped"] = [
                    splits.reasons.get(row) if row >= 0 else reason
                    for row, reason in zip(rows, columns["dropped"], strict=True)
                ]
                for reason in filter(None, columns["dropped"]):
                    kind = reason.split(":")[0]
                    reasons[kind] = reasons.get(kind, 0) + 1
                out.write_table(pa.table(columns, schema=schema))
                for row in zip(*(columns[name] for name in schema.names), strict=True):
                    digest.update(repr(row).encode())
    return reasons, digest.hexdigest()


def _tables(path: Path, columns: list[str] | None = None) -> Iterator[pa.Table]:
    """A Parquet file a row group at a time."""
    with pq.ParquetFile(path) as file:
        for n in range(file.num_row_groups):
            yield file.read_row_group(n, columns)


def dropped(parts: Sequence[Path], limit: int) -> list[tuple[str, str]]:
    """(file, reason) of the first `limit` pictures that were not stored."""
    files: list[tuple[str, str]] = []
    for part in parts:
        for table in _tables(part / "meta.parquet", ["file", "dropped"]):
            rows = table.filter(table["dropped"].is_valid()).to_pylist()
            files += [(row["file"], row["dropped"]) for row in rows]
            if len(files) >= limit:
                return files[:limit]
    return files


def _too_few(parts: Sequence[Path], usable: int, fewest: int, medium: Medium) -> str:
    reasons = "; ".join(f"{file}: {reason}" for file, reason in dropped(parts, 3))
    return f"{usable} usable {medium.kind if usable == 1 else medium.plural}; at least {fewest} are needed." + (
        f" Left out: {reasons}." if reasons else " Is this the right folder?"
    )


def moments(histogram: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Mean and deviation of each channel in 0..255, from (C, 256) counts. (C,) float64 each."""
    levels, numbers = np.arange(256), np.maximum(1, histogram.sum(1))
    mean = histogram @ levels / numbers
    return mean, np.sqrt(np.maximum(histogram @ levels**2 / numbers - mean**2, 0))


def choose_levels(name: str, histogram: npt.NDArray[np.int64]) -> tuple[tuple[float, float], ...]:
    """The byte values that a network sees as -1 and as +1, a pair a channel; see `Spec.levels`.

    `bytes` is 0..255; `unit` puts 0..255 on 0..1; `range` stretches what the set uses to -1..1; `centre` puts the set's
    mean on 0; `standard` does so channel by channel with equal deviations, as wide as -1..1 allows."""
    if name == "bytes":
        return ()
    if name == "unit":
        return ((-255.0, 255.0),) * len(histogram)
    used = [np.flatnonzero(counts) for counts in histogram]
    low, high = min(int(u[0]) for u in used), max(int(u[-1]) for u in used)
    if name == "range":
        return ((float(low), float(max(high, low + 1))),) * len(histogram)
    mean, deviation = moments(histogram)
    if name == "centre":
        reach = [max(m - u[0], u[-1] - m, 1.0) for m, u in zip(mean, used, strict=True)]
        return tuple((float(m - max(reach)), float(m + max(reach))) for m in mean)
    reach = [max(m - u[0], u[-1] - m, 1.0) / max(d, 1e-6) for m, d, u in zip(mean, deviation, used, strict=True)]
    return tuple((float(m - max(reach) * max(d, 1e-6)), float(m + max(reach) * max(d, 1e-6)))
                 for m, d in zip(mean, deviation, strict=True))  # fmt: skip


def write_json(path: Path, value: Any) -> None:
    """JSON, synced to the disk."""
    with path.open("wb") as file:
        file.write(json.dumps(value, indent=1, ensure_ascii=False).encode("utf-8", "backslashreplace"))
        _flush(file)


def _flush(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())
