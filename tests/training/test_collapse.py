"""Each rule on rows that were made for it, and on the rows of runs that learn."""

from __future__ import annotations

import re

import pytest

from ganforge.training import collapse

HEALTHY = [
    {"seen": 20_000 * n, "diversity": 0.8, "untrained": 50.0, "distance": 40 / n, "recall": 0.05 * n, "d/real": 0.5,
     "d/fake": -0.5, "r1/gradient": 0.1}
    for n in range(1, 11)
]  # fmt: skip


def then(count: int, **values: float) -> list[dict[str, float]]:
    """Healthy reports, and `count` more with these values."""
    last = HEALTHY[-1]
    return HEALTHY + [{**last, "seen": last["seen"] + 20_000 * (n + 1), **values} for n in range(count)]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"diversity": 0.05}, "alike"),
        ({"distance": 13.0, "untrained": 20.0}, "13, and of untrained weights 20"),
        ({"distance": 60.0}, "rose to 60, after 4"),
        ({"recall": 0.01}, "recall fell to 0.010, after 0.50"),
        ({"r1/gradient": 2_000.0}, "jumped to 2e\\+03"),
        ({"d/real": 90.0, "d/fake": -90.0}, "180 apart"),
    ],
)
def test_a_rule_speaks_at_the_second_report_in_a_row(values, words):
    assert collapse.alarm(then(1, **values)) is None
    assert re.search(words, str(collapse.alarm(then(2, **values))))
    assert not collapse.healthy(then(1, **values))


def test_no_rule_speaks_of_a_run_that_learns():
    for n in range(1, len(HEALTHY) + 1):
        assert collapse.alarm(HEALTHY[:n]) is None
        assert collapse.healthy(HEALTHY[:n])


def test_early_reports_and_rows_without_scores_are_no_collapse():
    grey = [{"seen": 1_000 * n, "diversity": 0.0, "distance": 50.0, "untrained": 50.0} for n in range(1, 40)]
    assert collapse.alarm(grey) is None
    assert collapse.alarm([{"seen": 100_000.0}, {"seen": 200_000.0}]) is None


def test_one_bad_score_between_good_ones_is_no_divergence():
    rows = then(1, distance=60.0) + then(1, distance=4.5)[-1:] + then(1, distance=60.0)[-1:]
    assert collapse.alarm(rows) is None
