"""Training batches: picture n of the stream is a pure function of (seed, n), whatever the batch size or the device."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from ganforge.base.errors import DataError
from ganforge.base.seeds import Indices, permuted, uniform
from ganforge.media.spec import to_float
from ganforge.store import augment
from ganforge.store.store import Store
from ganforge.system import Batch

_BLOCK = 8192
RESIDENT_BYTES = 1 << 30


class Stream:
    """The training pictures of a store in keyed order, on a device, with the `changes` of store/augment.py; `mirror`
    is its flip.

    Every epoch is its own permutation. `balance` from 0 to 1 moves the classes' shares from what they are to equal: a
    class that is shown r times as often has each picture floor(r) times in an epoch, and a keyed choice of them once
    more. A remote store is shown window by window: shards in keyed order, as many at a time as the cache holds, their
    pictures in keyed order. Sets up to RESIDENT_BYTES live on an accelerator as uint8; on a CPU, and above that,
    batches are gathered from the memory map."""

    def __init__(
        self,
        store: Store,
        seed: int,
        device: torch.device,
        mirror: bool = False,
        balance: float = 0.0,
        changes: str = "",
    ) -> None:
        if not len(store.train):
            raise DataError(f"{store.address} holds no training pictures. Prepare it with a smaller --heldout.")
        self.store, self.seed, self.device = store, seed, device
        self.changes = ({"flip": 0.5} if mirror else {}) | augment.parse(changes, "train.augment", store.spec)
        self.windowed = store.window < len(store.shards)
        if balance and (self.windowed or not store.labelled):
            why = "it has no labels" if not store.labelled else "it is larger than the cache"
            raise DataError(f"{store.address} cannot be balanced: {why}. Leave out --train.balance.")
        self.by_class = _by_class(store, balance) if balance else []
        self.size = sum(shown for _, shown in self.by_class) if balance else len(store.train)
        self.block: tuple[int, Indices] = (-1, np.zeros(0, np.int64))
        self.ahead: tuple[tuple[int, int], Future[None] | None] = ((-1, -1), None)
        self.resident: Tensor | None = None
        if device.type != "cpu" and len(store.train) * store.spec.pixels <= RESIDENT_BYTES:
            self.resident = torch.from_numpy(store.read(store.train)).to(device)
        if self.windowed:
            shard_of = np.searchsorted(store.starts, store.train, side="right") - 1
            self.in_shard = np.bincount(shard_of, minlength=len(store.shards))
            self.first = np.searchsorted(shard_of, np.arange(len(store.shards)))
            self.fetcher = ThreadPoolExecutor(1)

    def order(self, start: int, count: int) -> Indices:
        """Which training picture (0..len(train)-1) stands at positions start..start+count-1 of the endless stream."""
        parts = []
        while count:
            number, offset = divmod(start, _BLOCK)
            if self.block[0] != number:
                self.block = number, self._order(number * _BLOCK)
            part = self.block[1][offset : offset + count]
            parts.append(part)
            start, count = start + len(part), count - len(part)
        return np.concatenate(parts)

    def _order(self, start: int) -> Indices:
        positions = np.arange(start, start + _BLOCK)
        out = np.empty(_BLOCK, np.int64)
        epochs = positions // self.size
        for epoch in np.unique(epochs):
            selected = epochs == epoch
            inside = positions[selected] - epoch * self.size
            if self.windowed:
                out[selected] = self._in_windows(int(epoch), inside)
            else:
                shuffled = permuted(self.seed, f"order/{epoch}", self.size, inside)
                out[selected] = self._balanced(int(epoch), shuffled) if self.by_class else shuffled
        return out

    def _balanced(self, epoch: int, positions: Indices) -> Indices:
        """Positions of an epoch that shows class after class -> training pictures."""
        out = np.empty(len(positions), np.int64)
        start = 0
        for number, (members, shown) in enumerate(self.by_class):
            selected = (positions >= start) & (positions < start + shown)
            offset = positions[selected] - start
            whole = shown // len(members) * len(members)
            again = permuted(self.seed, f"balance/{epoch}/{number}", len(members), offset % len(members))
            out[selected] = members[np.where(offset < whole, offset % len(members), again)]
            start += shown
        return out

    def _in_windows(self, epoch: int, positions: Indices) -> Indices:
        """Positions of an epoch -> training pictures, a window of shards after the other."""
        windows = self._windows(epoch)
        ends = np.cumsum([self.in_shard[shards].sum() for shards in windows])
        out = np.empty(len(positions), np.int64)
        window_of = np.searchsorted(ends, positions, side="right")
        for number in np.unique(window_of):
            shards, selected = windows[number], window_of == number
            size = int(self.in_shard[shards].sum())
            inside = positions[selected] - (ends[number] - size)
            shuffled = permuted(self.seed, f"order/{epoch}/{number}", size, inside)
            bounds = np.cumsum(self.in_shard[shards])
            shard = np.searchsorted(bounds, shuffled, side="right")
            out[selected] = self.first[shards][shard] + shuffled - (bounds - self.in_shard[shards])[shard]
        self._fetch_ahead(epoch, int(window_of[-1]), windows)
        return out

    def _windows(self, epoch: int) -> list[Indices]:
        shards = permuted(self.seed, f"shards/{epoch}", len(self.store.shards), np.arange(len(self.store.shards)))
        return [shards[i : i + self.store.window] for i in range(0, len(shards), self.store.window)]

    def _fetch_ahead(self, epoch: int, number: int, windows: list[Indices]) -> None:
        """Bring the next window into the cache while this one is shown. What went wrong there is met again when it is
        needed."""
        if self.ahead[0] != (epoch, number):
            following = windows[number + 1] if number + 1 < len(windows) else self._windows(epoch + 1)[0]
            self.ahead = (epoch, number), self.fetcher.submit(self.store.fetch, following)

    def batch(self, seen: int, count: int) -> Batch:
        """Pictures seen..seen+count-1 of the stream."""
        return self._batch(np.arange(seen, seen + count), self.order(seen, count))

    def parts(self, seen: int, count: int, size: int = 256) -> tuple[Iterator[Batch], Iterator[Batch]]:
        """At most `count` pictures of an epoch around `seen` in two parts, about four fifths and a fifth, in batches of
        `size`. Equal pictures are in the same part."""
        count, epoch = min(count, self.size), seen // self.size * self.size
        start = min(max(seen - count, epoch), epoch + self.size - count)
        chosen = self.order(start, count)
        portions = (self.store.read(self.store.train[chosen[n : n + size]]) for n in range(0, count, size))
        sums = [zlib.crc32(picture.data) for portion in portions for picture in portion]
        apart = uniform(self.seed, "part", np.array(sums)) < 0.2

        def batches(rows: Indices) -> Iterator[Batch]:
            for first in range(0, len(rows), size):
                part = rows[first : first + size]
                yield self._batch(start + part, chosen[part])

        return batches(np.flatnonzero(~apart)), batches(np.flatnonzero(apart))

    def _batch(self, positions: Indices, chosen: Indices) -> Batch:
        """The training pictures `chosen`, which stand at these positions of the stream."""
        rows = self.store.train[chosen]
        if self.resident is not None:
            pixels = self.resident[torch.from_numpy(chosen).to(self.device)]
        else:
            pixels = torch.from_numpy(self.store.read(rows)).to(self.device)
        images = to_float(pixels, self.store.spec)
        if self.changes:
            images = augment.apply(images, self.changes, self.seed, positions, self.store.spec)
        labels = torch.from_numpy(self.store.labels[rows]).to(self.device) if self.store.labelled else None
        return Batch(images, labels, int(positions[0]), captions=self._captions(positions, rows))

    def _captions(self, positions: Indices, rows: Indices) -> Tensor | None:
        """(N, L) int64: one of the captions of each of these pictures, another one when it is shown again."""
        if self.store.captions is None:
            return None
        captions = self.store.captions[rows]
        several = np.maximum((captions != 0).any(2).sum(1), 1)
        chosen = (uniform(self.seed, "caption", positions) * several).astype(np.int64)
        return torch.from_numpy(captions[np.arange(len(rows)), chosen].astype(np.int64)).to(self.device)


def _by_class(store: Store, balance: float) -> list[tuple[Indices, int]]:
    """For each class its training pictures, and how many of them an epoch shows: the largest class each picture
    once."""
    labels = store.labels[store.train]
    members = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    largest = max(map(len, members))
    return [(rows, round(len(rows) * (largest / len(rows)) ** balance)) for rows in members]
