"""A look at some pictures of a source, a keyed spread over the whole of it, before all of them are converted."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Iterator
from itertools import islice

import numpy as np

from ganforge.base.errors import InputError
from ganforge.base.pool import ordered
from ganforge.base.seeds import key, permuted
from ganforge.sources.decode import span
from ganforge.sources.depth import BITS, Levels, Pair, Span, proposed
from ganforge.sources.entry import Entry, Skip, Source
from ganforge.sources.formats import refusal

LOOKED_AT = 256
_PORTION = 16
_FAINT = 8  # a picture that uses less than such a part of the levels is probably not meant by them


def sample(source: Source, count: int = LOOKED_AT) -> Iterator[Entry]:
    """About `count` entries that are pictures by their names, or all there are, chosen by key over the whole source."""
    portions = source.portions(_PORTION)
    each = math.ceil(count / max(1, len(portions)))

    def chosen() -> Iterator[Entry]:
        for number in permuted(0, "look", max(1, len(portions)), np.arange(len(portions))).tolist():
            pictures = enumerate(entry for entry in portions[number]() if not source.refusal(entry))
            for _, entry in heapq.nsmallest(each, pictures, lambda pair: key(number, "look", pair[0])):  # noqa: B023
                yield entry

    return islice(chosen(), count)


def levels(setting: str, source: Source, looked_at: Iterable[Span | None] | None = None) -> tuple[Levels, str]:
    """Which values of pictures of more than eight bits become black and white in this set, and a line that says so, or
    "".

    `setting` is `full` (as their formats say), LOW,HIGH, or `auto`: as `depth.proposed` for the values of all pictures.
    Whether there are any is seen on those `looked_at`, else on `sample`. InputError for another `setting`."""
    pair = parse_levels(setting)
    seen = [one for one in (map(_span, sample(source)) if looked_at is None else looked_at) if one]
    if pair or setting == "full":
        words = _words(pair) if pair else "as their formats say"
        return Levels(pair, pair, clip=True), f"more than 8 bits: {words}" if seen else ""
    if any(one.floats or one.low < 0 or one.high < 2 ** BITS[-2] for one in seen):  # else they use all 16 bits
        seen = list(_all(source))
    pairs: dict[bool, Pair | None] = {True: None, False: None}
    notes = []
    for floats in {one.floats for one in seen}:
        some = [one for one in seen if one.floats == floats]
        low, high = pairs[floats] = proposed(Span(min(f.low for f in some), max(f.high for f in some), floats))
        faint = sum(one.high - low < (high - low) / _FAINT for one in some)
        note = (
            f"more than 8 bits: {_words((low, high))} in {len(some):,} pictures of {'floats' if floats else 'integers'}"
        )
        notes.append(note + (f", less than an eighth of that in {faint:,} of them" if faint else ""))
    return Levels(pairs[False], pairs[True]), "; ".join(notes)


def _words(pair: Pair) -> str:
    return f"{pair[0]:,.6g} becomes black, {pair[1]:,.6g} white"


def parse_levels(text: str) -> Pair | None:
    """0,4095 -> (0.0, 4095.0); None for auto and full. InputError for anything else."""
    if text in ("auto", "full"):
        return None
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        low = high = math.nan
    if not -math.inf < low < high < math.inf:
        raise InputError(
            f"The levels {text!r} are not understood; they are auto, full, or the values that become black and white, "
            "such as 0,4095."
        )
    return low, high


def _span(entry: Entry) -> Span | None:
    try:
        data = entry.read()
    except Skip:
        return None
    return span(data) if isinstance(data, bytes) else None


def _all(source: Source) -> Iterator[Span]:
    """Of all pictures."""
    entries = (entry for entry in source.entries() if not refusal(entry.name))
    return filter(None, ordered(_span, entries))
