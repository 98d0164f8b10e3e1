"""The exponential moving average of weights."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ganforge.nn import ema

torch.manual_seed(0)


def test_average_of_weights_follows_its_half_life():
    one, other = nn.BatchNorm1d(1), nn.BatchNorm1d(1)
    nn.init.zeros_(one.weight)
    for _ in range(10):
        ema.update(one, other, ema.keep(1000, 1.0, 10**9, 100))
    assert one.weight.item() == pytest.approx(0.5, rel=1e-5)
    assert ema.keep(1000, 0.05, 100, 100) == pytest.approx(0.5**20)
