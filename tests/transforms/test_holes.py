"""Areas and places of holes."""

from __future__ import annotations

import pytest
import torch

from ganforge.transforms import holes


def test_strokes_cover_exactly_their_share():
    torch.manual_seed(0)
    share = torch.linspace(0, 0.9, 12)
    hole = holes.strokes(share, 37, 53)
    assert hole.shape == (12, 1, 37, 53) and set(hole.unique().tolist()) == {0.0, 1.0}
    assert hole.sum((1, 2, 3)).tolist() == (share.double() * 37 * 53).round().tolist()
    assert len(hole.flatten(1).unique(dim=0)) == 12


def test_strokes_are_connected_bands_not_specks():
    torch.manual_seed(0)
    hole = holes.strokes(torch.full((8,), 0.2), 64, 64)
    border = (hole[..., 1:] != hole[..., :-1]).sum((1, 2, 3)) + (hole[..., 1:, :] != hole[..., :-1, :]).sum((1, 2, 3))
    assert (border < 0.7 * hole.sum((1, 2, 3))).all(), border


def test_boxes_are_rectangles_of_the_stated_sides():
    torch.manual_seed(0)
    hole = holes.boxes(torch.ones(50), 100, 200)[:, 0]
    height, width = hole.amax(2).sum(1), hole.amax(1).sum(1)
    assert torch.equal(hole.sum((1, 2)), height * width)
    assert height.min() >= 12 and height.max() <= 59 and width.min() >= 24 and width.max() <= 118
    more = holes.boxes(torch.tensor([1.0, 16.0]), 64, 64).sum((1, 2, 3))
    assert more[0] <= (0.59 * 64) ** 2 + 64 and more[1] > more[0]


def test_the_centre():
    hole = holes.centre(torch.tensor([0.0, 0.25]), 12, 20)
    assert not hole[0].any()
    assert hole[1].sum() == 60 and hole[1, 0, 3:9, 5:15].all()


@pytest.mark.parametrize("number", [1, 3])
def test_frames(number):
    torch.manual_seed(0)
    hole = holes.frames(torch.full((64,), float(number)), 8)
    assert hole.shape == (64, 8) and (hole.sum(1) == number).all() and hole.any(0).all()
