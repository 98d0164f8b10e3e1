"""Texts: the alphabet and the length of their passages, and the passages of their files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ganforge.base.errors import DataError
from ganforge.base.images import Pixels
from ganforge.base.pool import ordered
from ganforge.media import text
from ganforge.media.medium import Unusable
from ganforge.media.spec import Spec
from ganforge.media.text import END, MOST, Text
from ganforge.preparing.parts import Meta
from ganforge.preparing.settings import Settings
from ganforge.sources.entry import Entry, Skip, Source

if TYPE_CHECKING:
    from ganforge.preparing.convert import Plan

LENGTH = 64
"""Characters of a passage."""
WHOLE_FROM = 20
"""Texts from which on whole texts are held out; of fewer, blocks of passages are."""
BLOCK = 16
"""Passages, side by side, in such a block."""
_AT_ONCE = 4096  # passages
_COUNTED = 1 << 20  # characters


def choose_text(source: Source, settings: Settings) -> tuple[Spec, int, list[str]]:
    """The spec of a set of texts, how many characters of a text stay on one side of the split (0: all), and what the
    user should know. All texts are read: a character that is not in the alphabet could not be learned. DataError where
    none can be read."""
    width = settings.length or LENGTH
    points, counts, usable, problem = _characters(source)
    if not usable:
        raise DataError(f"{source.name} holds no texts that can be read: {problem}.")
    notes = [f"passages of {width} characters; --length sets it"]
    if settings.alphabet is not None:
        points = np.array(sorted(map(ord, settings.alphabet)), np.int64)
    elif len(points) >= MOST:
        kept = np.sort(np.lexsort((points, -counts))[: MOST - 1])
        rare = counts.sum() - counts[kept].sum()
        notes.append(
            f"an alphabet of the {MOST - 1} most frequent of {len(points):,} characters; passages with others, which "
            f"are {rare / counts.sum():.2%} of all, are left out"
        )
        points = points[kept]
    alphabet = END + "".join(map(chr, points.tolist()))
    block = 0 if usable >= WHOLE_FROM else BLOCK * width
    return Spec(1, width, 1, source.classes, medium=Text(alphabet)), block, notes


def _characters(source: Source) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], int, str]:
    """The code points of all texts, in order, how often each stands there, how many texts can be used, and why one
    cannot."""
    total: dict[int, int] = {}
    waiting: list[str] = []
    usable, problem = 0, "none is there"

    def count() -> None:
        points, counts = np.unique(np.frombuffer("".join(waiting).encode("utf-32-le"), "<u4"), return_counts=True)
        for point, number in zip(points.tolist(), counts.tolist(), strict=True):
            total[point] = total.get(point, 0) + number
        waiting.clear()

    entries = (entry for entry in source.entries() if not source.refusal(entry))
    for content, reason in ordered(_content, entries):
        usable += not reason
        problem = reason or problem
        waiting.append(content)
        if sum(map(len, waiting)) > _COUNTED:
            count()
    count()
    points = np.array(sorted(total), np.int64)
    return points, np.array([total[point] for point in points.tolist()], np.int64), usable, problem


def _content(entry: Entry) -> tuple[str, str]:
    """The text of a file, or why it has none."""
    try:
        return _read(entry)[0], ""
    except (Skip, Unusable) as reason:
        return "", str(reason)


def _read(entry: Entry) -> tuple[str, bytes]:
    """The text of a file, and its SHA-256. Skip or Unusable."""
    data = entry.read()
    if not isinstance(data, bytes):
        raise Skip("not a text")
    return text.decode(data), hashlib.sha256(data).digest()


def portions(entries: Iterator[Entry], plan: Plan) -> Iterator[tuple[list[Pixels], list[Meta]]]:
    """The passages of texts, some at a time, named by their first character: NAME#0, NAME#64. A text that cannot be
    used, and a passage with a character that the alphabet has not, has a row without a passage."""
    rows: list[Pixels] = []
    metas: list[Meta] = []
    for entry in entries:
        for row, meta in _passages(entry, plan):
            rows += [] if row is None else [row]
            metas.append(meta)
            if len(metas) >= _AT_ONCE:
                yield rows, metas
                rows, metas = [], []
    yield rows, metas


def _passages(entry: Entry, plan: Plan) -> Iterator[tuple[Pixels | None, Meta]]:
    medium = plan.spec.medium
    assert isinstance(medium, Text)
    try:
        if reason := text.missing(entry.name):
            raise Skip(reason)
        plan.check_label(entry)
        content, digest = _read(entry)
    except (Skip, Unusable) as reason:
        yield None, Meta(entry.name, entry.label, entry.split, dropped=str(reason), origin=entry.origin)
        return
    for start, row in medium.rows(content, plan.spec.width, plan.stride):
        meta = Meta(
            f"{entry.name}#{start}", entry.label, entry.split, 1, min(plan.spec.width, len(content) - start), digest,
            origin=entry.origin,
        )  # fmt: skip
        if isinstance(row, str):
            meta.dropped = row
            yield None, meta
        else:
            meta.pixels_sha256 = hashlib.sha256(row.data).digest()
            yield row, meta
