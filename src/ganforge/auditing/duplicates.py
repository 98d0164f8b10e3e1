"""Which pictures of a set are the same, nearly the same, or mirror images of one another."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ganforge.auditing import hashes
from ganforge.auditing.checks import ALIKE, Finding
from ganforge.base.images import Pixels

EXACT, NEAR, MIRRORED = 0, 1, 2
CODES = ("exact_duplicate", "near_duplicate", "mirrored")
"""The finding for each kind of link."""
MIRROR_RADIUS = 11
"""Beyond it, round flowers match mirror images of each other."""
_KEPT = (1.0, 0.985, 0.97, 0.955, 0.94)
_PORTION = 256

Integers = npt.NDArray[np.int64]
Links = Integers


@dataclass(kw_only=True)
class Records:
    """What is known of N pictures, in their order."""

    names: list[str]
    usable: npt.NDArray[np.bool_]
    uniform: npt.NDArray[np.bool_]
    sha256: npt.NDArray[np.uint8]
    """(N, 32)."""
    phash: hashes.Hashes
    mirror: hashes.Hashes
    grey: Pixels
    """(N, 32, 32)."""
    labels: Integers
    """-1: none."""
    defects: Integers
    """Findings of its own that are a fault of the picture."""
    area: Integers
    """Pixels."""
    bytes: Integers


@dataclass
class Duplicates:
    """Groups of alike pictures among N."""

    group: Integers
    """(N,) from 0 on, -1 outside any."""
    rank: Integers
    """(N,) order in the group, 0 for the one to keep, -1 outside any."""
    mirrored: npt.NDArray[np.bool_]
    """(N,)."""
    links: Links
    """(M, 4): i, j, kind, distance in bits."""
    findings: list[Finding]


def radius_for(count: int) -> int:
    """The largest distance that is looked for: 15 bits, so that a crop of 5 % is found; fewer where the search, which
    grows with count squared, would take minutes."""
    return 15 if count <= 200_000 else 11 if count <= 1_000_000 else 7


def find(records: Records) -> Duplicates:
    """Links, groups and findings.

    In each group the picture to keep, of rank 0, has no finding of its own. Of equal bytes one is no exact duplicate,
    so that a picture that is only almost the same as another is not lost with them."""
    position = _order(records)
    exact, heads = _exact(records, position)
    rows = heads[~records.uniform[heads]]
    near = np.concatenate(_near(records, rows))
    links = np.concatenate([exact, near])
    group = hashes.groups(len(records.names), links[:, :2])
    rank = _ranks(group, position)
    findings, mirrored = _findings(records, exact, near, group, rank)
    return Duplicates(group, rank, mirrored, links, _conflicts(records, links, group) + findings)


def _findings(
    records: Records, exact: Links, near: Links, group: Integers, rank: Integers
) -> tuple[list[Finding], npt.NDArray[np.bool_]]:
    """One finding for each linked picture but the keepers, about its nearest partner, the keeper first; and who is
    mirrored, (N,)."""
    keeper = rank == 0
    directed = np.concatenate([exact[:, [1, 0, 2, 3]], near, near[:, [1, 0, 2, 3]]])
    rows, partners, kinds, distances = directed.T
    ranked = directed[np.lexsort((partners, distances, ~keeper[partners], kinds, rows))]
    first = np.unique(ranked[:, 0], return_index=True)[1]
    mirrored, findings = np.zeros(len(keeper), bool), []
    for row, partner, kind, distance in ranked[first].tolist():
        if not keeper[row]:
            mirrored[row] = kind == MIRRORED
            detail = f"of {records.names[partner]}"
            findings.append(Finding(row, CODES[kind], distance, detail, group=int(group[row])))
    return findings, mirrored


def _order(records: Records) -> Integers:
    """Each picture's position (N,) from the best on: fewest defects, most pixels, most bytes (least compressed), the
    first. The one rule by which one of a group is kept."""
    position = np.empty(len(records.usable), np.int64)
    position[np.lexsort((-records.bytes, -records.area, records.defects))] = np.arange(len(position))
    return position


def _exact(records: Records, position: Integers) -> tuple[Links, Integers]:
    """Links of equal bytes to the best of them, and the rows of all best ones."""
    rows = np.flatnonzero(records.usable)
    rows = rows[np.argsort(position[rows])]
    keys = np.ascontiguousarray(records.sha256[rows]).view("V32")[:, 0]
    _, first, which = np.unique(keys, return_index=True, return_inverse=True)
    head = rows[first][which]
    again = head != rows
    zero = np.zeros(int(again.sum()), np.int64)
    return np.stack([head[again], rows[again], zero + EXACT, zero], 1), np.sort(rows[first])


def _near(records: Records, rows: Integers) -> tuple[Links, Links]:
    """Links between `rows` by hash, straight and mirrored, after a look at their thumbnails."""
    phash, mirror = records.phash[rows], records.mirror[rows]
    radius = radius_for(len(rows))
    straight = _by_hash(phash, None, radius)
    flipped = _by_hash(phash, mirror, min(radius, MIRROR_RADIUS))
    known = straight[:, 0] * len(rows) + straight[:, 1]
    flipped = flipped[~np.isin(flipped[:, 0] * len(rows) + flipped[:, 1], known)]
    out = []
    for pairs, other, kind in ((straight, phash, NEAR), (flipped, mirror, MIRRORED)):
        pairs = pairs[_alike(records.grey, rows[pairs], kind == MIRRORED)]
        distance = np.bitwise_count(phash[pairs[:, 0]] ^ other[pairs[:, 1]]).astype(np.int64)
        out.append(np.column_stack([rows[pairs], np.full(len(pairs), kind), distance]))
    return out[0], out[1]


def _by_hash(left: hashes.Hashes, right: hashes.Hashes | None, radius: int) -> hashes.Pairs:
    """Pairs i < j within the radius. Equal hashes are searched for as one, and each goes with the first of them."""
    values, first, which = np.unique(left, return_index=True, return_inverse=True)
    if right is None:
        equal = np.stack([first[which], np.arange(len(left))], 1)
        pairs = np.concatenate([first[hashes.pairs(values, radius=radius)], equal])
    else:
        others, first_other = np.unique(right, return_index=True)
        near = hashes.pairs(values, others, radius)
        pairs = np.stack([first[near[:, 0]], first_other[near[:, 1]]], 1)
    pairs = np.sort(pairs, 1)
    return np.unique(pairs[pairs[:, 0] < pairs[:, 1]], axis=0)


def _alike(grey: Pixels, pairs: hashes.Pairs, mirrored: bool) -> npt.NDArray[np.bool_]:
    """Whether the thumbnails of each pair show the same: one of them, or a window of it, correlates with the other."""
    good = np.zeros(len(pairs), bool)
    for start in range(0, len(pairs), _PORTION):
        part = pairs[start : start + _PORTION]
        left, right = (grey[part[:, side]].astype(np.float32) for side in (0, 1))
        right = right[:, :, ::-1] if mirrored else right
        score = (_normal(left) * _normal(right)).sum((1, 2))
        near = np.flatnonzero((score < ALIKE) & (score > 0.4))
        if len(near):
            a, b = left[near], right[near]
            score[near] = np.maximum(_best_window(a, b), _best_window(b, a))
        good[start : start + _PORTION] = score >= ALIKE
    return good


def _best_window(left: npt.NDArray[np.float32], right: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The highest correlation of `right` (N, S, S) with any window of `left` that keeps 94 to 100 % of each side.

    A window is R L C' with samplings R of its lines and C of its columns. Neither its product with the target T nor its
    deviation needs it: <R L C', T> = <R L, T C>, and |R L C'|^2 = <(R L)'(R L), C'C>.
    """
    views, count, size = _windows(), len(left), hashes.SIDE
    lines = (views.reshape(-1, size) @ (left - left.mean((1, 2), keepdims=True))).reshape(count, -1, size, size)
    columns = (_normal(right) @ views.transpose(1, 0, 2).reshape(size, -1)).reshape(count, size, -1, size)
    product = lines.reshape(count, len(views), -1) @ columns.transpose(0, 1, 3, 2).reshape(count, -1, len(views))
    squares = (lines.transpose(0, 1, 3, 2) @ lines).reshape(count, len(views), -1)
    squares = squares @ (views.transpose(0, 2, 1) @ views).reshape(len(views), -1).T
    sums = lines.sum(2) @ views.sum(1).T
    deviation = np.sqrt(np.maximum(squares - (sums / size) ** 2, 1e-12))
    best: npt.NDArray[np.float32] = (product / np.maximum(deviation, 1e-6)).max((1, 2))
    return best


def _windows() -> npt.NDArray[np.float32]:
    """Bilinear samplings (K, S, S) of a line: scaled, and at the start, in the middle, at the end."""
    size, out = hashes.SIDE, []
    for kept in _KEPT:
        for offset in np.unique([0, (1 - kept) / 2, 1 - kept]):
            at = ((np.arange(size) + 0.5) * kept + offset * size - 0.5).clip(0, size - 1)
            low = np.minimum(at.astype(int), size - 2)
            view = np.zeros((size, size), np.float32)
            view[np.arange(size), low] = 1 - (at - low)
            view[np.arange(size), low + 1] += at - low
            out.append(view)
    return np.array(out)


def _normal(pictures: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    centred = pictures - pictures.mean((1, 2), keepdims=True)
    length = np.sqrt((centred * centred).sum((1, 2), keepdims=True))
    out: npt.NDArray[np.float32] = centred / np.maximum(length, 1e-6)
    return out


def _ranks(group: Integers, position: Integers) -> Integers:
    """The order by position within each group, -1 outside any, (N,)."""
    rows = np.flatnonzero(group >= 0)
    ranked = rows[np.lexsort((position[rows], group[rows]))]
    _, first, sizes = np.unique(group[ranked], return_index=True, return_counts=True)
    rank = np.full(len(group), -1, np.int64)
    rank[ranked] = np.arange(len(ranked)) - np.repeat(first, sizes)
    return rank


def _conflicts(records: Records, links: Links, group: Integers) -> list[Finding]:
    """Linked pictures under two labels: one finding a picture, of equal bytes where there are some."""
    left, right = records.labels[links[:, 0]], records.labels[links[:, 1]]
    findings: dict[int, Finding] = {}
    for i, j, kind, distance in links[(left != right) & (left >= 0) & (right >= 0)].tolist():
        severity, likeness = ("reject", "the same bytes as") if kind == EXACT else ("warn", "almost")
        for row, partner in ((i, j), (j, i)):
            if row not in findings:
                detail = f"{likeness} {records.names[partner]}"
                findings[row] = Finding(row, "label_conflict", distance, detail, severity, int(group[row]))
    return list(findings.values())
