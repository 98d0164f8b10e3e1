"""Work on threads: in order, bounded, stopped early."""

import threading
import time

import pytest

from ganforge.base.pool import AHEAD, chunks, ordered


def test_results_come_in_order():
    assert list(ordered(lambda n: time.sleep(0.01 * (n % 3)) or n * n, range(40), 4)) == [n * n for n in range(40)]
    assert list(ordered(str, [])) == []


def test_a_bounded_number_is_taken_ahead():
    taken = []

    def endless():
        while True:
            taken.append(len(taken))
            yield taken[-1]

    results = ordered(lambda n: n, endless(), 2)
    for n in range(100):
        assert next(results) == n
        assert len(taken) <= n + 2 + AHEAD * 2
    results.close()


def test_several_threads_work_at_once():
    both = threading.Barrier(2, timeout=30)
    list(ordered(lambda n: both.wait(), range(2), 2))


def test_an_exception_comes_in_its_turn_and_ends_the_rest():
    done = []

    def work(n):
        if n == 3:
            raise ValueError(n)
        done.append(n)
        time.sleep(0.01)
        return n

    results = ordered(work, range(1000), 2)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="3"):
        next(results)
    assert len(done) < 50


def test_chunks_hold_everything_once():
    assert list(chunks(range(7), 3)) == [[0, 1, 2], [3, 4, 5], [6]]
    assert list(chunks([], 3)) == []
