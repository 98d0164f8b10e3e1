"""Work on many items with threads: in order, and a bounded number of them at once."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

AHEAD = 4  # results a thread that wait for their turn, at most


def ordered(work: Callable[[T], R], items: Iterable[T], threads: int | None = None) -> Iterator[R]:
    """As `map(work, items)`, on `threads` threads, by default one a processor.

    The results come in the order of `items`, which are taken one by one, in the thread of the caller, as there is
    room: at most AHEAD a thread are under way or wait for their turn, so that memory stays flat however many there are.
    What `work` raises is raised here in its turn. When the caller stops before the end, what has not begun is left out.
    """
    threads = threads or os.cpu_count() or 1
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future[R]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) > AHEAD * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of `size` items that follow each other; the last may be shorter. For work on one that is so brief that
    handing it over would take longer."""
    rest = iter(items)
    while chunk := list(islice(rest, size)):
        yield chunk
