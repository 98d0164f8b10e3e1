"""Self-attention against its formula."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from ganforge.nn.attention import SelfAttention


@pytest.mark.parametrize("sides", [(6, 8), (5, 7)])
def test_attention_is_its_formula(sides):
    """Softmax over places of query.key, times the values, in float64 and place by place."""
    layer = SelfAttention(16).double()
    nn.init.constant_(layer.share, 0.7)
    x = torch.randn(2, 16, *sides, dtype=torch.float64)
    for n in range(2):
        one = x[n : n + 1]
        query = F.conv2d(one, layer.query.weight)[0].flatten(1)
        key = F.max_pool2d(F.conv2d(one, layer.key.weight), 2, ceil_mode=True)[0].flatten(1)
        value = F.max_pool2d(F.conv2d(one, layer.value.weight), 2, ceil_mode=True)[0].flatten(1)
        result = torch.zeros(8, sides[0] * sides[1], dtype=torch.float64)
        for place in range(result.shape[1]):
            weights = (query[:, place] @ key).exp()
            result[:, place] = value @ (weights / weights.sum())
        expected = one + 0.7 * F.conv2d(result.reshape(1, 8, *sides), layer.out.weight)
        torch.testing.assert_close(layer(x)[n : n + 1], expected)
    nn.init.zeros_(layer.share)
    assert torch.equal(layer(x), x)
