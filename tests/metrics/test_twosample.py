"""The two-sample test by a small network."""

from __future__ import annotations

import math

import pytest

from ganforge.metrics import twosample
from samples import photographs, spoilt


def test_two_samples_of_one_kind_cannot_be_told_apart_and_two_of_two_can():
    real, unseen = photographs(600, 1), photographs(300, 2)
    same = twosample.accuracy(real, photographs(600, 3), unseen, photographs(300, 4))
    assert same == pytest.approx(0.5, abs=4 * math.sqrt(1 / 2400))
    spoiling = [spoilt(photographs(n, seed), "speckle", 0.02) for n, seed in ((600, 3), (300, 4))]
    assert twosample.accuracy(real, spoiling[0], unseen, spoiling[1]) > 0.95
