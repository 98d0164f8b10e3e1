"""Numbers that change in the course of training: functions of the images seen alone, so that a resumed run is exact."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol


class Schedule(Protocol):
    """A number that depends on the images seen."""

    def at(self, seen: int) -> float:
        """The number after `seen` images."""


@dataclass(frozen=True)
class Cosine:
    """From `first` to `last` along half a period of a cosine, over `span` images (at least 1); `last` from then on."""

    first: float
    last: float
    span: int

    def at(self, seen: int) -> float:
        done = min(1.0, seen / self.span)
        return self.last + (self.first - self.last) * (1 + math.cos(math.pi * done)) / 2


@dataclass(frozen=True)
class Decay:
    """`first` over the first `hold` images (at least 1), then in inverse proportion to the images seen."""

    first: float
    hold: int

    def at(self, seen: int) -> float:
        return self.first * self.hold / max(self.hold, seen)


def at(value: float | Schedule, seen: int) -> float:
    """The number itself, or that of the schedule after `seen` images."""
    return value if isinstance(value, (int, float)) else value.at(seen)
