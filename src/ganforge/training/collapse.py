"""Collapse and divergence, recognised by the rows of `stats.jsonl` alone, so that a resumed run judges alike."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence

Row = Mapping[str, float]

FROM = 50_000  # images before which samples may be alike, since nothing is learned yet
ALIKE = 0.1  # diversity below which samples are all alike
WORSE = 3.0  # a distance of so many times the best one, and more than MARGIN above it
MARGIN = 10.0
STUCK = 0.5  # distance, as a share of that of untrained weights, above which nothing was learned
LOST, HAD = 0.02, 0.2  # recall that fell below the first from above the second
STEEP = 1000.0  # a gradient norm of so many times its median, and above LEAST
APART = 20.0  # likewise the margin between the scores of real and generated pictures
LEAST = 100.0
TIMES = 2  # reports in a row


def alarm(rows: Sequence[Row]) -> str | None:
    """The reason for which training has gone wrong at the last TIMES of these reports, or None."""
    for rule in RULES:
        reasons = [rule(rows[: len(rows) - n]) for n in range(TIMES)] if len(rows) >= TIMES else [None]
        if all(reasons):
            return reasons[0]
    return None


def healthy(rows: Sequence[Row]) -> bool:
    """Whether no rule speaks at the last of these reports, not even for the first time."""
    return not any(rule(rows) for rule in RULES)


def _alike(rows: Sequence[Row]) -> str | None:
    row = rows[-1]
    if row["seen"] < FROM or row.get("diversity", 1.0) >= ALIKE:
        return None
    return f"the samples are alike: they differ by {row['diversity']:.1%} of what real pictures differ by"


def _stuck(rows: Sequence[Row]) -> str | None:
    row = rows[-1]
    if row["seen"] < FROM or row.get("distance", 0.0) <= STUCK * row.get("untrained", math.inf):
        return None
    return f"the Fréchet distance is {row['distance']:.3g}, and of untrained weights {row['untrained']:.3g}"


def _worse(rows: Sequence[Row]) -> str | None:
    known = [row["distance"] for row in rows if "distance" in row]
    if "distance" not in rows[-1] or known[-1] <= max(WORSE * min(known), min(known) + MARGIN):
        return None
    return f"the Fréchet distance rose to {known[-1]:.3g}, after {min(known):.3g}"


def _lost(rows: Sequence[Row]) -> str | None:
    known = [row["recall"] for row in rows if "recall" in row]
    if "recall" not in rows[-1] or known[-1] >= LOST or max(known) < HAD:
        return None
    return f"recall fell to {known[-1]:.3f}, after {max(known):.2f}: most kinds of pictures are made no more"


def _steep(rows: Sequence[Row]) -> str | None:
    for name, value in rows[-1].items():
        norm = name.endswith(("/gradient", "/r1", "/r2", "/penalty"))
        if norm and _jumped([row.get(name) for row in rows], STEEP):
            return f"the discriminator's gradient norm ({name}) jumped to {value:.3g}"
    return None


def _apart(rows: Sequence[Row]) -> str | None:
    margins = [_margin(row) for row in rows]
    if margins[-1] is None or not _jumped(margins, APART):
        return None
    return f"the discriminator scores real and generated pictures {margins[-1]:.3g} apart, far more than before"


def _margin(row: Row) -> float | None:
    """The mean score of real pictures less that of generated ones, whatever the phase is called."""
    for name in row:
        if name.endswith("/margin"):
            return row[name]
        if name.endswith("/real") and (fake := name.removesuffix("real") + "fake") in row:
            return row[name] - row[fake]
    return None


def _jumped(values: Sequence[float | None], times: float) -> bool:
    """Whether the last value is above LEAST and `times` the median of those before the last TIMES."""
    before = [abs(value) for value in values[:-TIMES] if value is not None]
    last = values[-1]
    return last is not None and len(before) >= TIMES and abs(last) > max(LEAST, times * statistics.median(before))


RULES = (_alike, _worse, _lost, _stuck, _steep, _apart)
