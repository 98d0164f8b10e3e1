"""The time that work will take."""

from __future__ import annotations

import time

from ganforge.measuring.progress import Remaining


def test_a_slow_first_portion_is_not_taken_for_the_rest(logged):
    remaining = Remaining("looking", 1000)
    time.sleep(0.2)
    for _ in range(1000):
        remaining.add(1)
    assert not logged
