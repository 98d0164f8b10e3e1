"""How long work will take, logged once, when some of it is done."""

from __future__ import annotations

import logging
import math
import time

log = logging.getLogger(__name__)


class Remaining:
    """Logs once, when some of the work is done, how long all of it takes; nothing where that is under three seconds."""

    def __init__(self, work: str, total: int) -> None:
        self.work, self.total = work, total
        self.done, self.started, self.logged = 0, 0.0, False

    def add(self, count: int) -> None:
        """So much more is done. The first call only starts the clock: a first step is no measure of the next."""
        now = time.perf_counter()
        if not self.started:
            self.started = now
            return
        self.done += count
        spent = now - self.started
        if not self.logged and (self.done >= 0.05 * self.total or spent > 2):
            self.logged = True
            whole = spent / self.done * self.total
            if whole > 3:
                log.info(f"{self.work}: about {seconds(whole)}")


def seconds(duration: float) -> str:
    """12 s, 3 min."""
    return f"{math.ceil(duration)} s" if duration < 100 else f"{math.ceil(duration / 60)} min"
