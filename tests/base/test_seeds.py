"""Randomness as a pure function."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ganforge.base.seeds import key, permuted, uniform


@given(st.integers(1, 3000), st.integers(0, 2**32))
def test_a_permutation_hits_everything_once(size, seed):
    assert np.array_equal(np.sort(permuted(seed, "order", size, np.arange(size))), np.arange(size))


def test_any_part_of_a_permutation_is_the_same_as_in_the_whole():
    whole = permuted(3, "order", 1000, np.arange(1000))
    assert np.array_equal(permuted(3, "order", 1000, np.array([999, 5, 17])), whole[[999, 5, 17]])
    assert not np.array_equal(permuted(4, "order", 1000, np.arange(1000)), whole)


def test_values_do_not_change_between_versions_and_machines():
    assert key(0, "step", 128) == 2467627176591616271
    assert permuted(7, "order/0", 60_000, np.arange(4)).tolist() == [57836, 22546, 5043, 9063]
    assert uniform(7, "mirror", np.arange(2)) == pytest.approx([0.9241875, 0.80653362])


def test_a_permutation_looks_random():
    order = permuted(0, "order", 60_000, np.arange(60_000)).astype(float)
    assert abs(np.corrcoef(order[:-1], order[1:])[0, 1]) < 0.015
    assert abs(np.corrcoef(np.arange(60_000), order)[0, 1]) < 0.015


def test_uniform_numbers_are_uniform():
    values = uniform(1, "mirror", np.arange(100_000))
    assert abs(values.mean() - 0.5) < 0.004
    assert abs(values.var() - 1 / 12) < 0.002
