"""The store: one prepared data set, in open formats that numpy alone can read.

    manifest.json       spec, recipe, counts, rows and SHA-256 of each file, one root hash of these; on what it was made
    images-00000.npy    (rows, H, W, C) uint8, its header padded to 4,096 bytes; further shards beside it
    labels.npy          (N,) int64; -1 everywhere for an unlabelled set
    splits.npy          (N,) uint8: 0 train, 1 held out, 2 set aside
    folds.npy           (N,) int8, only with --folds
    captions.npy        (N, K, L) uint16, only where pictures have captions: K of each, of L words at most, whose
                        numbers `media.captions.Captions` explains; zeros where there are fewer
    meta.parquet        a row a picture, the dropped ones with their reason

A folder without its manifest is unfinished and is not read. `history.jsonl` beside them says how it came to be.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import json
import logging
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ganforge.base.errors import DataError, StoreError
from ganforge.base.files import resolved
from ganforge.base.images import Pixels
from ganforge.base.pool import ordered
from ganforge.base.tables import read_json
from ganforge.media.spec import spec_from
from ganforge.store.remote import Cache, is_address
from ganforge.store.split import HELDOUT, TRAIN
from ganforge.store.stamps import Stamps

log = logging.getLogger(__name__)

SCHEMA = 2
HEADER = 4096
LARGE = 1 << 30
"""Bytes from which on checking takes so long that progress is logged."""
TRIES = 16  # to fetch a shard before another process, for whom it has to make room, removes it again


class Store:
    """A finished store, read memory-mapped: a folder, or an address such as s3://bucket/name, whose shards are fetched
    into a bounded cache when they are needed. StoreError where it is missing, cut short or edited.

    Opening compares everything but the shards with the manifest; a shard is compared when it is first read, unless its
    stamp says that it was before. `check` does all of them at once."""

    def __init__(self, path: str | Path) -> None:
        self.cache = Cache(str(path)) if is_address(path) else None
        self.path = self.cache.folder if self.cache else Path(path)
        self.stamps = self.cache.stamps if self.cache else Stamps(self.path)
        self.compared: set[int] = set()
        self.address = str(path) if self.cache else str(resolved(self.path))
        self.name = self.address.rstrip("/").rsplit("/", 1)[-1] if self.cache else self.path.name
        if self.cache:
            self.cache.get("manifest.json", required=False)
        manifest = self.path / "manifest.json"
        if not manifest.is_file():
            why = "is unfinished or no store" if self.path.is_dir() else "does not exist"
            raise StoreError(
                f"{path} {why}: there is no manifest.json in it. Make one with: ganforge prepare FOLDER -o {path}"
            )
        try:
            self.manifest: dict[str, Any] = read_json(manifest.read_text("utf-8"))
            self.root: str = self.manifest["root"]
            if self.manifest["schema"] != SCHEMA:
                raise ValueError(f"its schema is {self.manifest['schema']}, this version reads {SCHEMA}")
            if self.root != root_hash(self.manifest):
                raise ValueError("its root hash does not fit")
            self.spec = spec_from(self.manifest["spec"])
            self.files: dict[str, dict[str, Any]] = self.manifest["files"]
            if any(Path(name).name != name for name in self.files):
                raise ValueError("a file lies elsewhere")
            self.shards = sorted(name for name in self.files if name.startswith("images-"))
            self.starts = np.cumsum([0, *(self.files[name]["rows"] for name in self.shards)])
            self.labels: npt.NDArray[np.int64] = self._small("labels.npy")
            self.splits: npt.NDArray[np.uint8] = self._small("splits.npy")
            self.folds: npt.NDArray[np.int8] | None = self._small("folds.npy") if "folds.npy" in self.files else None
            self.captions: npt.NDArray[np.uint16] | None = self._small("captions.npy") if self.spec.captions else None
            if self.captions is not None and (len(self.captions) != len(self.labels) or self.captions.ndim != 3):
                raise ValueError("its files differ in length")
            if not self.starts[-1] == len(self.labels) == len(self.splits) == self.manifest["rows"]:
                raise ValueError("its files differ in length")
            if (
                self.spec.classes
                and len(self)
                and not 0 <= self.labels.min() <= self.labels.max() < len(self.spec.classes)
            ):
                raise ValueError("it has pictures of none of its classes")
            self.maps: dict[int, npt.NDArray[np.uint8]] = {}
            if not self.cache:
                self.maps = {n: self._map(n) for n in range(len(self.shards))}
        except (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise StoreError(
                f"{path} was cut short or edited: {error}. Prepare it again from the originals."
            ) from error
        self.train = np.flatnonzero(self.splits == TRAIN)
        self.heldout = np.flatnonzero(self.splits == HELDOUT)
        self.fold_suffix = ""

    def fold(self, number: int) -> Store:
        """The same store with fold `number` of its training pictures held out instead. StoreError where it has none."""
        if self.folds is None or not 0 <= number < self.manifest["folds"]:
            raise StoreError(
                f"{self.address} has {self.manifest['folds'] or 'no'} folds, not fold {number}. "
                "Prepare it with --folds K; the first is 0."
            )
        other = copy.copy(self)
        other.train = np.flatnonzero((self.folds >= 0) & (self.folds != number))
        other.heldout = np.flatnonzero(self.folds == number)
        other.fold_suffix = f"-fold{number}"
        return other

    def of_classes(self, labels: Sequence[int]) -> Store:
        """The same store with the pictures of these classes only, training and held out; with none named itself.
        DataError where one of them has no training pictures."""
        if not labels:
            return self
        counts = np.bincount(self.labels[self.train], minlength=len(self.spec.classes))
        for label in labels:
            if not counts[label]:
                raise DataError(
                    f"{self.address} holds no training pictures of {self.spec.classes[label]!r}. Leave that class out."
                )
        other = copy.copy(self)
        other.train, other.heldout = (rows[np.isin(self.labels[rows], labels)] for rows in (self.train, self.heldout))
        other.fold_suffix += "-of" + "-".join(map(str, sorted(labels)))
        return other

    def _small(self, name: str) -> npt.NDArray[Any]:
        if self.cache:
            self.cache.get(name, self.files[name]["sha256"])
        self.stamps.compare(name, self.files[name]["sha256"], again=True)
        array: npt.NDArray[Any] = np.load(self.path / name, allow_pickle=False)
        return array

    def _map(self, number: int) -> npt.NDArray[np.uint8]:
        name = self.shards[number]
        path, shape = self.path / name, (self.files[name]["rows"], *self.shape)
        if path.stat().st_size != HEADER + int(np.prod(shape)):
            raise ValueError(f"{name} has {path.stat().st_size:,} bytes instead of {HEADER + int(np.prod(shape)):,}")
        with path.open("rb") as file:
            if file.read(HEADER) != npy_header(shape):
                raise ValueError(f"{name} has another header")
        return np.memmap(path, np.uint8, "r", HEADER, shape)

    def _compare(self, name: str, again: bool = False) -> None:
        """StoreError where a file is not the one that the manifest names."""
        facts = self.files[name]
        try:
            skip = HEADER if "rows" in facts else 0
            if self.cache:
                self.cache.get(name, facts["sha256"], skip, again=again)
            else:
                self.stamps.compare(name, facts["sha256"], skip, again)
        except (OSError, ValueError) as error:
            raise StoreError(
                f"{self.address} is damaged: {error}. Copy it here again, or prepare it again from the originals."
            ) from error

    @property
    def shape(self) -> tuple[int, int, int]:
        """(H, W, C) of a picture."""
        return self.spec.height, self.spec.width, self.spec.channels

    @property
    def window(self) -> int:
        """How many shards a stream should stay within: all of a folder, half the cache of a remote store."""
        if not self.cache or len(self.shards) < 2:
            return len(self.shards)
        largest = max(int(self.files[name]["rows"]) for name in self.shards) * self.spec.pixels
        return max(1, min(len(self.shards), self.cache.limit // 2 // largest))

    def fetch(self, numbers: npt.NDArray[np.int64]) -> None:
        """Bring shards of a remote store into its cache."""
        for number in numbers:
            self._shard(int(number))

    def check(self, again: bool = False) -> None:
        """Compare every file of a folder with its SHA-256, on all cores, unless its stamp says that this was done, or
        `again`; StoreError names the first that was changed. Shards of a remote store are compared as they come."""
        if self.cache:
            return
        try:
            sizes = {
                name: (self.path / name).stat().st_size
                for name, facts in self.files.items()
                if again or not self.stamps.fit(name, facts["sha256"])
            }
        except OSError as error:
            raise StoreError(f"{self.address} was cut short: {error}. Copy it here again.") from error
        total, done = sum(sizes.values()), 0
        level = logging.INFO if total >= LARGE else logging.DEBUG
        log.log(level, f"checking {total / 1e9:,.1f} GB of {self.path} against its SHA-256{'' if again else ', once'}")
        compared = ordered(partial(self._compare, again=again), sizes, min(8, os.cpu_count() or 1))
        for name, _ in zip(sizes, compared, strict=True):
            before, done = done, done + sizes[name]
            if total > done and 10 * done // total > 10 * before // total:
                log.log(level, f"checked {done / total:.0%}")

    def verify(self) -> None:
        """Read everything, whatever the stamps say; StoreError names the file that was changed."""
        self.check(again=True)
        if self.cache:
            for name in self.files:  # one after the other, since the cache may not hold them all
                self._compare(name, again=True)

    def compared_file(self, name: str) -> Path:
        """The path of a file of the store, after it was compared with its SHA-256. StoreError where it is another."""
        self._compare(name)
        return self.path / name

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def labelled(self) -> bool:
        """Whether every picture has a class."""
        return bool(self.spec.classes)

    def captions_of(self, row: int) -> list[str]:
        """The captions of a picture, in the words that are known; none where pictures have none."""
        if self.captions is None or self.spec.captions is None:
            return []
        return [text for numbers in self.captions[row] if (text := self.spec.captions.text(numbers))]

    def _shard(self, number: int) -> npt.NDArray[np.uint8]:
        name = self.shards[number]
        if not self.cache:
            if number not in self.compared:
                self._compare(name)
                self.compared.add(number)
            return self.maps[number]
        with self.cache.lock:
            for _ in range(TRIES):
                if number in self.maps:
                    self.cache.touch(name)
                    return self.maps[number]
                dropped = self.cache.get(name, self.files[name]["sha256"], HEADER)
                self.maps = {n: m for n, m in self.maps.items() if self.shards[n] not in dropped}
                with contextlib.suppress(FileNotFoundError):  # another process needed its room at once
                    try:
                        self.maps[number] = self._map(number)
                    except ValueError as error:
                        raise StoreError(
                            f"{self.address} is damaged: {error}. Remove {self.path / name} to have it fetched again."
                        ) from error
        raise StoreError(
            f"{self.cache.folder} is too small for the processes that share it. "
            f"Set GANFORGE_CACHE_BYTES to more than {self.cache.limit:,}."
        )

    def read(self, rows: npt.NDArray[np.int64]) -> Pixels:
        """(N,) row numbers, in any order -> (N, H, W, C) uint8, a copy."""
        if len(self.shards) == 1:
            return self._shard(0)[rows]
        out = np.empty((len(rows), *self.shape), np.uint8)
        shard_of = np.searchsorted(self.starts, rows, side="right") - 1
        for n in np.unique(shard_of):
            selected = shard_of == n
            out[selected] = self._shard(int(n))[rows[selected] - self.starts[n]]
        return out


def npy_header(shape: tuple[int, ...]) -> bytes:
    """A version 1.0 .npy header of exactly HEADER bytes, so that row i is one byte range."""
    text = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape!r}, }}"
    return b"\x93NUMPY\x01\x00" + (HEADER - 10).to_bytes(2, "little") + text.encode().ljust(HEADER - 11) + b"\n"


def root_hash(manifest: dict[str, Any]) -> str:
    """One hash over everything that the manifest says of the pictures, and so over every file, but not over `made`,
    which says on what the store was made. Where a file has the hash of its content, that one stands for bytes that
    differ from one writer to the next."""
    hashed = {name: value for name, value in manifest.items() if name not in ("root", "made")}
    hashed["files"] = {
        name: {n: v for n, v in facts.items() if n != "sha256" or "content" not in facts}
        for name, facts in manifest["files"].items()
    }
    return hashlib.sha256(json.dumps(hashed, sort_keys=True).encode()).hexdigest()
