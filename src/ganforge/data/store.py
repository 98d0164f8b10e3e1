"""The store: one prepared data set, in open formats that numpy alone can read.

    manifest.json       spec, recipe, counts, rows and SHA-256 of each file, one root hash; written last
    images-00000.npy    (rows, H, W, C) uint8, its header padded to 4,096 bytes; further shards beside it
    labels.npy          (N,) int64; -1 everywhere for an unlabelled set
    splits.npy          (N,) uint8: 0 train, 1 held out
    meta.parquet        a row a picture, the dropped ones with their reason

A folder without its manifest is unfinished and is not read.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from array import array
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from ganforge.errors import DataError, StoreError
from ganforge.images import ImageSpec, Pixels

SCHEMA = 1
HEADER = 4096
SHARD_BYTES = 256 << 20
ROW_GROUP = 8192
TRAIN, HELDOUT = 0, 1

_META = pa.schema(
    [
        ("row", pa.int64()),  # -1: dropped
        ("file", pa.string()),
        ("label", pa.string()),
        ("split", pa.string()),
        ("height", pa.int32()),
        ("width", pa.int32()),
        ("sha256", pa.binary()),  # of the original's bytes
        ("pixels_sha256", pa.binary()),  # of the stored pixels
        ("dropped", pa.string()),
    ]
)


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


class Writer:
    """Writes a store beside its final place and renames it there when `close` has finished; else nothing is left."""

    def __init__(self, path: Path, spec: ImageSpec, recipe: dict[str, Any]) -> None:
        if path.exists():
            raise StoreError(f"{path} exists already. Choose another name, or remove it first.")
        self.path, self.spec, self.recipe = path, spec, recipe
        self.partial = path.with_name(f".{path.name}.partial-{os.getpid()}")
        self.rows_per_shard = max(1, SHARD_BYTES // spec.pixels)
        self.labels, self.splits = array("q"), array("B")
        self.shards: list[dict[str, Any]] = []
        self.shard: BinaryIO | None = None
        self.histogram = np.zeros((spec.channels, 256), np.int64)
        self.pending: list[pa.Table] = []
        try:
            self.partial.mkdir(parents=True)
            self.meta = pq.ParquetWriter(self.partial / "meta.parquet", _META, compression="zstd")
        except OSError as error:
            shutil.rmtree(self.partial, ignore_errors=True)
            raise _cannot_write(path, error) from error

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes on success; on any error removes what was written."""
        try:
            if kind is None:
                self._close()
        except OSError as problem:
            raise _cannot_write(self.path, problem) from problem
        finally:
            if self.shard is not None:
                self.shard.close()
            shutil.rmtree(self.partial, ignore_errors=True)
        if isinstance(error, OSError):
            raise _cannot_write(self.path, error) from error

    def add(self, pictures: Sequence[Pixels], metas: Sequence[Meta]) -> None:
        """Pictures (H, W, C) uint8 with their rows; a row with `dropped` set has no picture and keeps only its row."""
        kept = [m for m in metas if m.dropped is None]
        rows = iter(range(len(self.labels), len(self.labels) + len(kept)))
        columns: dict[str, list[Any]] = {"row": [next(rows) if m.dropped is None else -1 for m in metas]}
        for name in _META.names[1:]:
            columns[name] = [getattr(m, name) for m in metas]
        self.pending.append(pa.table(columns, schema=_META))
        if sum(map(len, self.pending)) >= ROW_GROUP:
            self._write_meta()
        if pictures:
            self._append(np.stack(pictures))
        classes = {name: n for n, name in enumerate(self.spec.classes)}
        self.labels.extend(classes[m.label] if m.label is not None and classes else -1 for m in kept)
        self.splits.extend(HELDOUT if m.split == "heldout" else TRAIN for m in kept)

    def _write_meta(self) -> None:
        if self.pending:
            self.meta.write_table(pa.concat_tables(self.pending))
            self.pending = []

    def _append(self, block: Pixels) -> None:
        for channel, counts in enumerate(self.histogram):
            counts += np.bincount(block[..., channel].ravel(), minlength=256)
        while len(block):
            if self.shard is None:
                self.shard = (self.partial / f"images-{len(self.shards):05d}.npy").open("wb")
                self.shard.write(b"\0" * HEADER)
                self.shards.append({"rows": 0, "hash": hashlib.sha256()})
            shard = self.shards[-1]
            part = np.ascontiguousarray(block[: self.rows_per_shard - shard["rows"]])
            self.shard.write(part.data)
            shard["hash"].update(part.data)
            shard["rows"] += len(part)
            block = block[len(part) :]
            if shard["rows"] == self.rows_per_shard:
                self._close_shard()

    def _close_shard(self) -> None:
        if self.shard is None:
            return
        shard = self.shards[-1]
        self.shard.seek(0)
        self.shard.write(_npy_header((shard["rows"], self.spec.height, self.spec.width, self.spec.channels)))
        _flush(self.shard)
        self.shard.close()
        self.shard = None

    def _close(self) -> None:
        self._close_shard()
        self._write_meta()
        self.meta.close()
        np.save(self.partial / "labels.npy", np.array(self.labels, np.int64))
        np.save(self.partial / "splits.npy", np.array(self.splits, np.uint8))
        count = len(self.labels)
        levels, numbers = np.arange(256), max(1, count * self.spec.height * self.spec.width)
        mean = self.histogram @ levels / numbers
        deviation = np.sqrt(np.maximum(self.histogram @ levels**2 / numbers - mean**2, 0))
        files = {
            f"images-{n:05d}.npy": {"rows": s["rows"], "sha256": s["hash"].hexdigest()}
            for n, s in enumerate(self.shards)
        }
        files |= {
            name: {"sha256": _sha256(self.partial / name)} for name in ("labels.npy", "splits.npy", "meta.parquet")
        }
        manifest = {
            "schema": SCHEMA,
            "spec": asdict(self.spec),
            "rows": count,
            "train": self.splits.count(TRAIN),
            "heldout": self.splits.count(HELDOUT),
            "mean": mean.tolist(),
            "deviation": deviation.tolist(),
            "recipe": self.recipe,
            "files": files,
        }
        manifest["root"] = _root(manifest)
        with (self.partial / "manifest.json").open("wb") as file:
            file.write(json.dumps(manifest, indent=1, ensure_ascii=False).encode())
            _flush(file)
        self.partial.rename(self.path)


class Store:
    """A finished store, read memory-mapped. StoreError where it is missing, cut short or edited."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        manifest = self.path / "manifest.json"
        if not manifest.is_file():
            what = "is unfinished or no store" if self.path.is_dir() else "does not exist"
            raise StoreError(
                f"{self.path} {what}: there is no manifest.json in it. Make one with: ganforge prepare FOLDER -o {self.path}"
            )
        try:
            self.manifest: dict[str, Any] = json.loads(manifest.read_text("utf-8"))
            spec = self.manifest["spec"]
            self.spec = ImageSpec(spec["height"], spec["width"], spec["channels"], tuple(spec["classes"]))
            self.root: str = self.manifest["root"]
            if self.manifest["schema"] != SCHEMA or self.root != _root(self.manifest):
                raise ValueError("its root hash does not fit")
            names = sorted(name for name in self.manifest["files"] if name.startswith("images-"))
            shape = (spec["height"], spec["width"], spec["channels"])
            self.shards = [self._shard(name, (self.manifest["files"][name]["rows"], *shape)) for name in names]
            self.labels: npt.NDArray[np.int64] = np.load(self.path / "labels.npy", allow_pickle=False)
            self.splits: npt.NDArray[np.uint8] = np.load(self.path / "splits.npy", allow_pickle=False)
            for name in ("labels.npy", "splits.npy"):
                self._compare(name, _sha256(self.path / name))
            if not sum(map(len, self.shards)) == len(self.labels) == len(self.splits) == self.manifest["rows"]:
                raise ValueError("its files differ in length")
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise StoreError(
                f"{self.path} was cut short or edited: {error}. Prepare it again from the originals."
            ) from error
        self.starts = np.cumsum([0, *map(len, self.shards)])
        self.train = np.flatnonzero(self.splits == TRAIN)
        self.heldout = np.flatnonzero(self.splits == HELDOUT)

    def _shard(self, name: str, shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
        if Path(name).name != name:
            raise ValueError(f"{name} is not a file name")
        path = self.path / name
        if path.stat().st_size != HEADER + int(np.prod(shape)):
            raise ValueError(f"{name} has {path.stat().st_size:,} bytes instead of {HEADER + int(np.prod(shape)):,}")
        with path.open("rb") as file:
            if file.read(HEADER) != _npy_header(shape):
                raise ValueError(f"{name} has another header")
        return np.memmap(path, np.uint8, "r", HEADER, shape)

    def _compare(self, name: str, found: str) -> None:
        if found != self.manifest["files"][name]["sha256"]:
            raise ValueError(f"{name} has another SHA-256 than the manifest says")

    def verify(self) -> None:
        """Read everything once and compare its SHA-256; StoreError names the file that was changed."""
        try:
            for name, facts in self.manifest["files"].items():
                self._compare(name, _sha256(self.path / name, HEADER if "rows" in facts else 0))
        except (OSError, ValueError) as error:
            raise StoreError(f"{self.path} was edited: {error}. Prepare it again from the originals.") from error

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def labelled(self) -> bool:
        """Whether every picture has a class."""
        return bool(self.spec.classes)

    def read(self, rows: npt.NDArray[np.int64]) -> Pixels:
        """(N,) row numbers, in any order -> (N, H, W, C) uint8, a copy."""
        if len(self.shards) == 1:
            return self.shards[0][rows]
        out = np.empty((len(rows), *self.shards[0].shape[1:]), np.uint8)
        shard_of = np.searchsorted(self.starts, rows, side="right") - 1
        for n in np.unique(shard_of):
            here = shard_of == n
            out[here] = self.shards[n][rows[here] - self.starts[n]]
        return out


def _npy_header(shape: tuple[int, ...]) -> bytes:
    """A version 1.0 .npy header of exactly HEADER bytes, so that row i is one byte range."""
    text = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape!r}, }}"
    return b"\x93NUMPY\x01\x00" + (HEADER - 10).to_bytes(2, "little") + text.encode().ljust(HEADER - 11) + b"\n"


def _sha256(path: Path, skip: int = 0) -> str:
    with path.open("rb") as file:
        file.seek(skip)
        return hashlib.file_digest(file, "sha256").hexdigest()


def _root(manifest: dict[str, Any]) -> str:
    """One hash over everything that the manifest says, and so over every file."""
    said = {name: value for name, value in manifest.items() if name != "root"}
    return hashlib.sha256(json.dumps(said, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def _flush(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _cannot_write(path: Path, error: OSError) -> DataError:
    return DataError(
        f"{path} cannot be written: {error.strerror or error}. Nothing is left of it; choose another place or free some space."
    )
