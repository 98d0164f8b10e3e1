"""Which pictures train, which are held out, and in which fold: decided by content, so that no order and no machine
matters.

Pictures of one group (equal pixels, near-duplicates of an audit, a patient) are never on two sides.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ganforge.base.errors import InputError
from ganforge.base.seeds import uniform

TRAIN, HELDOUT, ASIDE = 0, 1, 2
EQUAL, CAPPED = "equal to a held-out picture", "over the cap of its class"
ADJACENT = "beside a held-out passage"


@dataclass(frozen=True)
class Splits:
    """One number a picture, and why it was set aside."""

    sides: npt.NDArray[np.uint8]
    """(N,) TRAIN, HELDOUT or ASIDE."""
    folds: npt.NDArray[np.int8]
    """(N,) 0..K-1 for training pictures, -1 elsewhere and without folds."""
    reasons: dict[int, str]
    """Row -> EQUAL, CAPPED or ADJACENT."""


def joined(one: Mapping[str, str], other: Mapping[str, str]) -> dict[str, int]:
    """Merge two groupings (name -> group) into one (name -> number from 0 on): groups that share a name become one."""
    above: dict[tuple[int, str], tuple[int, str]] = {}

    def top(group: tuple[int, str]) -> tuple[int, str]:
        while (higher := above.get(group, group)) != group:
            group = higher
        return group

    for name in sorted(one.keys() & other.keys()):
        high, low = sorted((top((0, one[name])), top((1, other[name]))))
        above[low] = high
    tops = {name: top((n, group)) for n, names in enumerate((one, other)) for name, group in names.items()}
    numbers = {group: n for n, group in enumerate(sorted(set(tops.values())))}
    return {name: numbers[group] for name, group in tops.items()}


def split(
    keys: npt.NDArray[np.uint64],
    groups: npt.NDArray[np.int64],
    labels: npt.NDArray[np.int64],
    given: npt.NDArray[np.int8],
    *,
    heldout: float,
    stratify: bool = False,
    folds: int = 0,
    per_class: int = 0,
) -> Splits:
    """Split N pictures.

    `keys` (N,) are hashes of the pixels; `groups` (N,) are numbers that pictures which belong together share, -1 for
    the others, which are grouped by their key; `labels` (N,) are classes, -1 without; `given` (N,) is what the source
    says: TRAIN, HELDOUT, or -1. Without given sides a share `heldout` of the groups is held out: by a hash of the
    group's smallest key, or with `stratify` that share of every class as exactly as groups allow. At most `per_class`
    training pictures of a class are kept (0: all), those with the smallest keys. With `folds` the training pictures are
    dealt into that many parts."""
    group = _number(keys, groups)
    smallest = np.full(group.max(initial=-1) + 1, np.iinfo(np.uint64).max, np.uint64)
    np.minimum.at(smallest, group, keys)
    rank = uniform(0, "split", smallest.view(np.int64))  # hashed again: the smallest of many keys is no fair draw
    reasons: dict[int, str] = {}
    if (given >= 0).any():
        sides = np.where(given == HELDOUT, HELDOUT, TRAIN).astype(np.uint8)
        leaks = (sides == TRAIN) & np.isin(group, group[sides == HELDOUT])
        sides[leaks] = ASIDE
        reasons |= dict.fromkeys(np.flatnonzero(leaks).tolist(), EQUAL)
    elif stratify:
        sides = _stratified(rank[group], group, labels, heldout)
    else:
        sides = np.where(rank[group] < heldout, HELDOUT, TRAIN).astype(np.uint8)
    if per_class:
        for label in np.unique(labels):
            rows = np.flatnonzero((labels == label) & (sides == TRAIN))
            over = rows[np.lexsort((keys[rows], rank[group[rows]]))][per_class:]
            sides[over] = ASIDE
            reasons |= dict.fromkeys(over.tolist(), CAPPED)
    return Splits(sides, _folds(rank, group, labels, sides, folds), reasons)


def with_gaps(splits: Splits, texts: npt.NDArray[np.int64], starts: npt.NDArray[np.int64], width: int) -> Splits:
    """Set the training passages aside that lie less than a passage from a held-out one of the same text.

    `texts` (N,) are numbers of the texts, `starts` (N,) where in them the passages begin, of `width` characters each;
    the passages of a text stand side by side, in order."""
    sides, reasons = splits.sides.copy(), dict(splits.reasons)
    for n in range(1, len(sides)):
        near = (texts[n:] == texts[:-n]) & (starts[n:] - starts[:-n] < 2 * width)
        if not near.any():
            break
        one, other = splits.sides[:-n], splits.sides[n:]
        for beside in (np.flatnonzero(near & (one == HELDOUT) & (other == TRAIN)) + n,
                       np.flatnonzero(near & (one == TRAIN) & (other == HELDOUT))):  # fmt: skip
            sides[beside] = ASIDE
            reasons |= dict.fromkeys(beside.tolist(), ADJACENT)
    return Splits(sides, np.where(sides == TRAIN, splits.folds, -1).astype(np.int8), reasons)


def _number(keys: npt.NDArray[np.uint64], groups: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Groups as 0..G-1. Equal keys join the groups that they stand in: two groups that share a picture are one."""
    if (groups < 0).all():
        return np.unique(keys, return_inverse=True)[1]
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    same = np.unique(keys, return_inverse=True)[1]
    named = np.unique(groups, return_inverse=True)[1] + same.max() + 1
    inside = groups >= 0
    nodes = int(named.max()) + 1
    links = coo_array((np.ones(inside.sum(), np.int8), (same[inside], named[inside])), shape=(nodes, nodes))
    numbers = connected_components(links, directed=False)[1][same]
    return np.unique(numbers, return_inverse=True)[1]


def _stratified(
    rank: npt.NDArray[np.float64], group: npt.NDArray[np.int64], labels: npt.NDArray[np.int64], share: float
) -> npt.NDArray[np.uint8]:
    """Whole groups in the order of their keys, until each class has given its share; a group counts for its first
    class."""
    sides = np.full(len(group), TRAIN, np.uint8)
    first = np.full(group.max(initial=-1) + 1, -1, np.int64)
    first[group[::-1]] = labels[::-1]
    for label in np.unique(labels):
        rows = np.flatnonzero(first[group] == label)
        rows = rows[np.argsort(rank[rows], kind="stable")]
        starts = (
            np.flatnonzero(np.r_[True, group[rows][1:] != group[rows][:-1]]) if len(rows) else np.zeros(0, np.int64)
        )
        if len(starts):
            cut = starts[min(int(np.searchsorted(starts, round(share * len(rows)))), len(starts) - 1)]
            sides[rows[:cut]] = HELDOUT
    return sides


def _folds(
    rank: npt.NDArray[np.float64],
    group: npt.NDArray[np.int64],
    labels: npt.NDArray[np.int64],
    sides: npt.NDArray[np.uint8],
    folds: int,
) -> npt.NDArray[np.int8]:
    """scikit-learn's stratified folds that keep groups whole, over rows in the order of their keys."""
    out = np.full(len(group), -1, np.int8)
    rows = np.flatnonzero(sides == TRAIN)
    if not folds or not len(rows):
        return out
    from sklearn.model_selection import StratifiedGroupKFold

    alone, largest = len(np.unique(group[rows])), int(np.unique(labels[rows], return_counts=True)[1].max())
    if folds > min(alone, largest):
        which = "training pictures, or groups of them," if folds > alone else "training pictures of the largest class"
        raise InputError(f"{min(alone, largest):,} {which} cannot be dealt into {folds} folds. Say fewer --folds.")
    rows = rows[np.argsort(rank[group[rows]], kind="stable")]
    numbers = np.unique(rank[group[rows]], return_inverse=True)[1]
    for fold, (_, part) in enumerate(StratifiedGroupKFold(folds).split(rows, labels[rows], numbers)):
        out[rows[part]] = fold
    return out
