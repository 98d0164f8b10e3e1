"""Numbers that depend on the images seen."""

from __future__ import annotations

import pytest

from ganforge.nn.schedules import Cosine, Decay, at


def test_a_cosine_goes_from_its_first_to_its_last_number():
    schedule = Cosine(2e-4, 5e-5, 1000)
    numbers = [schedule.at(seen) for seen in (0, 250, 500, 1000, 5000)]
    assert numbers == pytest.approx([2e-4, 1.780330e-4, 1.25e-4, 5e-5, 5e-5])


def test_a_decay_holds_its_first_number_and_then_falls_as_one_over_the_images():
    assert [Decay(8.0, 100).at(seen) for seen in (0, 100, 200, 800)] == [8, 8, 4, 1]


def test_a_plain_number_is_its_own_schedule():
    assert at(0.5, 10**9) == 0.5
    assert at(Cosine(1.0, 0.0, 10), 5) == pytest.approx(0.5)
