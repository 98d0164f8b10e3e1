"""How much processor time other programs take, and shorter spinning of OpenMP's threads while they do."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import torch

SECONDS = 1.0  # between looks
WANTED = 0.2  # of a processor: other programs that take more slow us down where no more than IDLE is idle
IDLE = 0.3
GONE = 0.1  # of a processor: other programs that take less have gone


@dataclass(frozen=True)
class Times:
    """Seconds since some moment: by the clock, of the processors that we may use in all and idle, and our own."""

    wall: float
    total: float
    idle: float
    own: float


def times() -> Times | None:
    """Read them from the system, or None where it does not tell (all but Linux)."""
    try:
        mine = {f"cpu{n}" for n in os.sched_getaffinity(0)}
        lines = [line.split() for line in Path("/proc/stat").read_text("ascii").splitlines()]
        ticks = [[int(word) for word in line[1:9]] for line in lines if line[0] in mine]
        second = os.sysconf("SC_CLK_TCK")
    except (AttributeError, OSError, ValueError, IndexError):
        return None
    idle = sum(line[3] + line[4] for line in ticks) / second  # waiting for disks is idle, too
    return Times(time.perf_counter(), sum(map(sum, ticks)) / second, idle, time.process_time())


class Busy:
    """A context that looks now and then whether other programs want the processors that this process computes with.

    OpenMP's threads spin while they wait for each other. On processors of their own that is the fastest way; where
    others want them too, a thread spins away the time that the one it waits for would need. libgomp spins briefly when
    it has more threads than there are processors. So while others are busy, some more threads are kept, which sleep:
    the work, and each bit of it, stays with as many threads as before (measured with two threads and others on the same
    two processors: 5 times as fast)."""

    def __init__(self) -> None:
        self.before = times()
        self.looked = time.perf_counter()
        self.taken, self.passed = 0.0, 0.0
        self.sleepers: list[threading.Thread] = []
        self.leave = threading.Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._spin()

    def look(self) -> None:
        """Called after each step; does something once a second."""
        if time.perf_counter() - self.looked < SECONDS:
            return
        self.looked, before, now = time.perf_counter(), self.before, times()
        self.before = now
        if before is None or now is None or (wall := now.wall - before.wall) <= 0:
            return
        idle = (now.idle - before.idle) / wall
        others = max(0.0, (now.total - before.total) / wall - idle - (now.own - before.own) / wall)
        self.passed += now.total - before.total
        if self.sleepers or idle < IDLE:
            self.taken += others * wall
        if not self.sleepers and others > WANTED and idle < IDLE:
            self.crowd()
        elif self.sleepers and others < GONE:
            self._spin()

    def share(self) -> float:
        """Share of the processors' time that other programs took from this one since the last call, from 0 to 1."""
        share = self.taken / self.passed if self.passed else _by_load() if self.before is None else 0.0
        self.taken, self.passed = 0.0, 0.0
        return share

    def crowd(self) -> None:
        """Have libgomp count more threads than processors, until `look` finds nobody else there, or the end."""
        threads = torch.get_num_threads()
        if threads < 2 or self.before is None:
            return
        self.leave = threading.Event()
        for _ in range((len(os.sched_getaffinity(0)) - threads) // (threads - 1) + 1):
            ready = threading.Event()
            thread = threading.Thread(target=_sleep, args=(ready, self.leave), daemon=True)
            thread.start()
            ready.wait()
            self.sleepers.append(thread)

    def _spin(self) -> None:
        self.leave.set()
        for thread in self.sleepers:
            thread.join()
        self.sleepers = []


@contextlib.contextmanager
def noticed() -> Iterator[None]:
    """As `Busy`, for work that is no loop of steps: a thread calls `look` once a second."""
    done = threading.Event()
    with Busy() as busy:

        def watch() -> None:
            while not done.wait(SECONDS):
                busy.look()

        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()


def _sleep(ready: threading.Event, leave: threading.Event) -> None:
    torch.zeros(1 << 20).add_(1)  # in parallel, so that this thread gets as many helpers as any
    ready.set()
    leave.wait()


def _by_load() -> float:
    """A rough share, from the system's load average over the last minute; 0 where it has none."""
    with contextlib.suppress(AttributeError, OSError):
        load = os.getloadavg()[0]
        others = load - torch.get_num_threads()
        if load > (os.cpu_count() or 1) and others > 0.5:
            return others / load
    return 0.0
