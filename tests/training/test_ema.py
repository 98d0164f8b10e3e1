"""The exponential moving average of weights."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ganforge.training import ema

torch.manual_seed(0)


def test_average_of_weights_follows_its_half_life():
    one, other = nn.BatchNorm1d(1), nn.BatchNorm1d(1)
    nn.init.zeros_(one.weight)
    for _ in range(10):
        ema.update(one, other, ema.keep(ema.half_life(1000, 1.0, 0, 10**9), 100))
    assert one.weight.item() == pytest.approx(0.5, rel=1e-5)
    assert ema.keep(ema.half_life(1000, 0.05, 0, 100), 100) == pytest.approx(0.5**20)
    assert ema.keep(0.0, 100) == 0


def test_half_life_grows_by_the_images_seen_or_along_a_cosine():
    assert [ema.half_life(1000, 0.05, 0, seen) for seen in (0, 10_000, 10**6)] == [0, 500, 1000]
    grown = [ema.half_life(1000, 0.05, 400, seen) for seen in (0, 100, 200, 400, 10**6)]
    assert grown == pytest.approx([0, 146.4466, 500, 1000, 1000])
