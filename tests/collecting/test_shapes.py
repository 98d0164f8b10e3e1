"""Made shapes: keyed, in one piece, inside the cube, of the volumes that their formulas say."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import label

from ganforge.collecting import shapes


@pytest.mark.parametrize("kind", shapes.KINDS)
def test_shapes_are_keyed_whole_and_inside(kind):
    rows = np.stack([shapes.shape(kind, number) for number in range(12)])
    assert np.array_equal(rows[5], shapes.shape(kind, 5))
    assert len({row.tobytes() for row in rows}) == len(rows)
    for row in rows:
        assert label(row > 127)[1] == 1
        assert not any(np.take(row, end, axis).any() for axis in range(3) for end in (0, -1))
        assert 0.004 < (row > 127).mean() < 0.35


def test_a_ball_is_round_and_stairs_rise():
    ball = shapes.shape("ball", 3) / 255
    volume, places = ball.sum(), np.argwhere(np.ones_like(ball))
    centre = (places * ball.reshape(-1, 1)).sum(0) / volume
    spread = (((places - centre) ** 2).sum(1) * ball.ravel()).sum() / volume
    radius = (volume * 3 / 4 / np.pi) ** (1 / 3)
    assert spread == pytest.approx(3 / 5 * radius**2, rel=0.02), "the mean square distance in a ball"
    layers = (shapes.shape("stairs", 3) > 127).sum((0, 1))
    areas = layers[layers > 0]
    assert (np.diff(areas) <= 0).all() and areas[0] > 2 * areas[-1], "each step is smaller than the one below"


def test_another_side_is_the_same_shape():
    coarse, fine = shapes.shape("chair", 1, 16), shapes.shape("chair", 1, 32)
    means = fine.reshape(16, 2, 16, 2, 16, 2).mean((1, 3, 5))
    assert np.abs(means - coarse).mean() < 4
