"""Perceptual hashes: 64 signs of a cosine transform a picture, and the exact search for near ones among millions.

A picture's grey thumbnail of 32x32 is transformed (DCT-II, orthonormal); each of the 64 lowest frequencies but the
mean, in order of u + v, gives one bit: whether its coefficient is above `DEAD`. A mirrored picture has the same
coefficients with the sign changed in the odd columns, so its hash costs no second transform. The idea of signs of low
frequencies is that of Zauner 2010, "Implementation and Benchmarking of Perceptual Image Hash Functions".

Near pairs are found by the pigeonhole principle (Manku, Jain and Das Sarma 2007, "Detecting near-duplicates for web
crawling"): of four bands of 16 bits, two hashes that differ in at most 4f + 3 bits have one that differs in at most f.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import combinations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

SIDE = 32
BITS = 64
DEAD = 4.0
"""A wave of a quarter of a grey level: below it the sign is noise, as of a symmetric picture's odd columns."""

_BANDS, _WIDTH = 4, 16
_PORTION = 1 << 18
_FEW = 1 << 22  # pairs that are compared one by one: the probes alone would take longer
_LOW = 12

Hashes = npt.NDArray[np.uint64]
Pairs = npt.NDArray[np.int64]


def order() -> list[tuple[int, int]]:
    """The 64 frequencies (row, column) in the order of their bits, the highest bit first."""
    frequencies = [(u, v) for u in range(_LOW) for v in range(_LOW) if u + v]
    return sorted(frequencies, key=lambda f: (f[0] + f[1], f[0]))[:BITS]


@cache
def _basis() -> tuple[Tensor, Tensor, Tensor]:
    """(LOW, SIDE) of the transform, which of LOW * LOW coefficients count, and their signs in a mirror."""
    u, x = torch.arange(_LOW, dtype=torch.float64)[:, None], torch.arange(SIDE, dtype=torch.float64)[None]
    waves = torch.cos(torch.pi * (2 * x + 1) * u / (2 * SIDE)) * (2 / SIDE) ** 0.5
    waves[0] /= 2**0.5
    frequencies = order()
    return (
        waves.float(),
        torch.tensor([u * _LOW + v for u, v in frequencies]),
        torch.tensor([1.0 - 2 * (v % 2) for _, v in frequencies]),
    )


def hashes(grey: Tensor) -> tuple[Hashes, Hashes]:
    """(N, 32, 32) grey thumbnails, values 0 to 255 -> the hashes (N,) uint64 of the pictures and of their mirror
    images."""
    waves, kept, mirror = _basis()
    low = (waves @ grey.float() @ waves.T).flatten(1)[:, kept]
    return _pack(low > DEAD), _pack(low * mirror > DEAD)


def _pack(bits: Tensor) -> Hashes:
    packed: Hashes = np.packbits(bits.numpy(), axis=1).view(">u8")[:, 0].astype(np.uint64)
    return packed


def pairs(left: Hashes, right: Hashes | None = None, radius: int = 6) -> Pairs:
    """All (i, j) whose hashes differ in at most `radius` bits: (M, 2) int64, sorted. Exact.

    Among one set, i < j. Between two, i counts in `left` and j in `right`. Work grows with N * N / 65,536 and with the
    number of probes: 1, 17, 137, 697 a band for a radius up to 3, 7, 11, 15. Of equal hashes only
    one should be given.
    """
    itself = right is None
    right = left if right is None else right
    if not len(left) or not len(right):
        return np.zeros((0, 2), np.int64)
    if len(left) * len(right) <= _FEW:
        near = np.bitwise_count(left[:, None] ^ right[None]) <= radius
        return np.argwhere(np.triu(near, 1) if itself else near)
    codes = [np.zeros(0, np.int64)]
    for band in range(_BANDS):
        shift = np.uint64(band * _WIDTH)
        table = _Table(right, shift)
        probes = table if itself else _Table(left, shift)
        for flip in _flips(radius // _BANDS):
            for i, j in _near(probes, table, flip, radius, itself):
                if itself:
                    i, j = np.minimum(i, j), np.maximum(i, j)
                codes.append(i * len(right) + j)
    return np.stack(np.divmod(np.unique(np.concatenate(codes)), len(right)), 1)


class _Table:
    """Hashes sorted by one band, and where each of the band's 65,536 values starts."""

    def __init__(self, hashes: Hashes, shift: np.uint64) -> None:
        band = ((hashes >> shift) & np.uint64(0xFFFF)).astype(np.uint16)
        self.rows = np.argsort(band, kind="stable")  # a radix sort
        self.band = band[self.rows].astype(np.int64)
        self.hashes = hashes[self.rows]
        self.start = np.searchsorted(self.band, np.arange((1 << _WIDTH) + 1))


def _flips(most: int) -> Iterator[int]:
    """All numbers of 16 bits with at most `most` ones."""
    for count in range(most + 1):
        for bits in combinations(range(_WIDTH), count):
            yield sum(1 << bit for bit in bits)


def _near(probes: _Table, table: _Table, flip: int, radius: int, itself: bool) -> Iterator[tuple[Pairs, Pairs]]:
    """Pairs within the radius whose bands differ by exactly `flip`, in portions that stay in the cache."""
    other = probes.band ^ flip
    first, end = table.start[other], table.start[other + 1]
    if itself:  # each pair once: within a value those behind; between two values from the lower one
        first = np.arange(1, len(other) + 1) if flip == 0 else np.where(probes.band < other, first, end)
    counts = end - first
    rows = np.flatnonzero(counts)
    first, counts = first[rows], counts[rows]
    ends = np.cumsum(counts)
    start, done = 0, 0
    while start < len(rows):
        stop = max(start + 1, int(np.searchsorted(ends, done + _PORTION, side="right")))
        part = counts[start:stop]
        candidates = np.arange(done, ends[stop - 1]) + np.repeat(first[start:stop] - ends[start:stop] + part, part)
        differ = np.repeat(probes.hashes[rows[start:stop]], part)
        differ ^= table.hashes[candidates]
        hits = np.flatnonzero(np.bitwise_count(differ) <= radius)
        if len(hits):
            which = np.searchsorted(ends[start:stop], hits + done, side="right") + start
            yield probes.rows[rows[which]], table.rows[candidates[hits]]
        done, start = int(ends[stop - 1]), stop


def groups(count: int, pairs: Pairs) -> npt.NDArray[np.int64]:
    """Connected components of `count` pictures: (count,) numbers from 0 by first appearance, -1 for those without a
    pair."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(pairs), np.int8), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    part = connected_components(graph, directed=False)[1]
    inside = np.zeros(count, bool)
    inside[pairs.ravel()] = True
    out = np.full(count, -1, np.int64)
    _, firsts, numbers = np.unique(part[inside], return_index=True, return_inverse=True)
    out[inside] = np.argsort(np.argsort(firsts))[numbers]
    return out
