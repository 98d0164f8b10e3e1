"""How good passages of text are, by counting runs of n characters (n-grams): their bits a character under the counts of
the training passages, the divergence of their 4-grams, how many of their 8-grams are distinct, and copies.

No number says enough alone: one passage repeated has few bits, counts that are replayed have no divergence, and copied
passages have neither. A passage ends with its first END, the number 0, which counts as its last character; what follows
it is not looked at. Rows are (N, T) uint8, numbers of characters below `size`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ganforge.base.images import Pixels

ORDER = 5
"""Characters of the longest n-grams in the bits a character, the predicted one among them."""
COMPARED, REPEATED = 4, 8
"""Characters of the n-grams that are compared, and of those that are to be distinct."""
RATE = 0.01
"""Share of held-out passages that are over the limit of copies."""
_FACTOR = np.uint64(0x9E3779B97F4A7C15)  # of the hash of a substring; odd
_PORTION = 8192  # passages whose substrings are in memory at once

Keys = npt.NDArray[np.int64]
Bits = npt.NDArray[np.float64]


@dataclass(frozen=True)
class _OneLength:
    """The n-grams of one length, and what stands before their last characters."""

    grams: Keys
    """(M,) in order."""
    counts: Keys
    contexts: Keys
    """(C,) the n-grams without their last characters, in order."""
    totals: Keys
    """How often each context is followed by anything,"""
    kinds: Keys
    """and by how many different characters."""


class NgramCounts:
    """The n-grams of passages, of 1 to `order` characters."""

    def __init__(self, rows: Pixels, size: int, order: int = ORDER) -> None:
        self.size, self.order = size, order
        self.tables: list[_OneLength] = []
        for n in range(1, order + 1):
            grams, counts = counted(rows, n, size)
            contexts, first = np.unique(grams // size, return_index=True)
            totals = np.add.reduceat(counts, first) if len(first) else counts
            kinds = np.diff(np.append(first, len(grams)))
            self.tables.append(_OneLength(grams, counts, contexts, totals, kinds))

    def _refined(self, table: _OneLength, grams: Keys, before: Bits) -> Bits:
        """Interpolated Witten-Bell probabilities (Witten and Bell 1991, "The zero-frequency problem"; Chen and Goodman
        1999, section 2.6): of the last character of each of `grams` after the others, given the probabilities `before`
        of it after one fewer."""
        context, number = _looked_up(table.contexts, grams // self.size)
        gram, there = _looked_up(table.grams, grams)
        totals, kinds = table.totals[context] * number, table.kinds[context] * number
        counts = table.counts[gram] * there
        return np.where(totals > 0, (counts + kinds * before) / np.maximum(totals + kinds, 1), before)

    def bits(self, rows: Pixels) -> float:
        """Bits a character of these passages, each character predicted from those before it in its passage."""
        probabilities = np.full(rows.shape, 1 / self.size)
        for n, table in enumerate(self.tables[: rows.shape[1]], 1):
            probabilities[:, n - 1 :] = self._refined(table, _grams(rows, n, self.size), probabilities[:, n - 1 :])
        return float(-np.log2(probabilities[_inside(rows)]).mean())

    def drawn(self, count: int, length: int, order: int, seed: int = 0) -> Pixels:
        """Passages that are drawn from these counts up to n-grams of `order` characters: (count, length) uint8."""
        rng = np.random.default_rng(seed)
        rows = np.zeros((count, length), np.uint8)
        following = np.arange(self.size)
        for t in range(length):
            probabilities = np.full((count, self.size), 1 / self.size)
            for n, table in enumerate(self.tables[: min(order, t + 1)], 1):
                context = _grams(rows[:, t - n + 1 : t + 1], n, self.size) // self.size * self.size
                probabilities = self._refined(table, context + following, probabilities)
            bounds = probabilities.cumsum(1)
            chosen = (rng.random((count, 1)) * bounds[:, -1:] >= bounds).sum(1)
            rows[:, t] = np.where((rows[:, :t] == 0).any(1), 0, chosen.clip(max=self.size - 1))
        return rows


def counted(rows: Pixels, n: int, size: int) -> tuple[Keys, Keys]:
    """The n-grams of passages in order, and how often each occurs."""
    grams, counts = np.unique(_grams(rows, n, size)[_inside(rows)[:, n - 1 :]], return_counts=True)
    return grams, counts


def divergence(one: tuple[Keys, Keys], other: tuple[Keys, Keys]) -> float:
    """Jensen-Shannon divergence of two distributions, in bits, from 0 (equal) to 1 (nothing in common); each is given
    as its n-grams in order and their counts."""
    both = np.union1d(one[0], other[0])
    shares = np.zeros((2, len(both)))
    for share, (grams, counts) in zip(shares, (one, other), strict=True):
        share[np.searchsorted(both, grams)] = counts / counts.sum()
    mean = shares.mean(0)
    terms = np.where(shares > 0, shares * np.log2(np.maximum(shares, 1e-300) / mean), 0)
    return float(terms.sum() / 2)


def distinct(rows: Pixels) -> float:
    """The share of REPEATED-grams of passages that are distinct: 1 where none comes twice, near 0 where one passage is
    repeated, or where none has one."""
    places = _Substrings(rows)
    for _ in range(REPEATED):
        places.lengthen()
    return len(np.unique(places.hashes)) / max(1, len(places.hashes))


def longest_common(rows: Pixels, train: Pixels) -> Keys:
    """For each passage, how many characters of it follow each other in one training passage, too: (N,) int64."""
    longest = np.zeros(len(rows), np.int64)
    for start in range(0, len(train), _PORTION):
        ours, known = _Substrings(rows), _Substrings(train[start : start + _PORTION])
        for length in range(1, min(rows.shape[1], train.shape[1]) + 1):  # longer ones begin where shorter ones did
            for substrings in (ours, known):
                substrings.lengthen()
            known.keep(ours.hashes)
            ours.keep(known.hashes)
            if not len(ours.hashes):
                break
            longest[ours.numbers] = np.maximum(longest[ours.numbers], length)
    return longest


def nearest(row: Pixels, train: Pixels) -> int:
    """The training passage that has the longest substring in common with one passage (T,): its number."""
    best, number = 0, 0
    for start in range(0, len(train), _PORTION):
        ours, known = _Substrings(row[None]), _Substrings(train[start : start + _PORTION])
        while len(known.hashes):
            if known.length > best:
                best, number = known.length, start + int(known.numbers[0])
            for substrings in (ours, known):
                substrings.lengthen()
            known.keep(ours.hashes)
            ours.keep(known.hashes)
    return number


class _Substrings:
    """Substrings of one length, at first 0, that lie inside their passages."""

    def __init__(self, rows: Pixels) -> None:
        self.characters, self.length = rows.ravel(), 0
        self.numbers: Keys
        """The passage of each,"""
        self.numbers, columns = np.nonzero(_inside(rows))
        self.starts: Keys = self.numbers * rows.shape[1] + columns
        """and where it begins among all characters."""
        ends = np.arange(len(rows)) * rows.shape[1] + _inside(rows).sum(1)
        self.ends: Keys = ends[self.numbers]
        self.hashes: npt.NDArray[np.uint64] = np.zeros(len(self.starts), np.uint64)

    def lengthen(self) -> None:
        """Make each a character longer, and leave out those that end with their passages."""
        self._choose(self.starts + self.length < self.ends)
        following = self.characters[self.starts + self.length].astype(np.uint64)
        self.hashes = self.hashes * _FACTOR + following + np.uint64(1)
        self.length += 1

    def keep(self, hashes: npt.NDArray[np.uint64]) -> None:
        """Leave out those that are not among `hashes`."""
        self._choose(np.isin(self.hashes, hashes))

    def _choose(self, chosen: npt.NDArray[np.bool_]) -> None:
        self.numbers, self.starts, self.ends = self.numbers[chosen], self.starts[chosen], self.ends[chosen]
        self.hashes = self.hashes[chosen]


def _grams(rows: Pixels, n: int, size: int) -> Keys:
    """(N, T) -> the n-gram that ends at each place, as a number: (N, T - n + 1)."""
    keys = np.zeros((len(rows), rows.shape[1] - n + 1), np.int64)
    for i in range(n):
        keys = keys * size + rows[:, i : rows.shape[1] - n + 1 + i]
    return keys


def _inside(rows: Pixels) -> npt.NDArray[np.bool_]:
    """(N, T): whether each character belongs to its passage, the first END included."""
    ended = np.zeros(rows.shape, bool)
    ended[:, 1:] = (rows[:, :-1] == 0).cumsum(1) > 0
    return ~ended


def _looked_up(known: Keys, wanted: Keys) -> tuple[Keys, npt.NDArray[np.bool_]]:
    """Where `wanted` would stand among the ordered keys, and whether it is there."""
    at = np.searchsorted(known, wanted).clip(max=len(known) - 1)
    return at, known[at] == wanted
