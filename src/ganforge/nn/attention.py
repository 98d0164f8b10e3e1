"""Self-attention over the pixels of a feature map."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class SelfAttention(nn.Module):
    """x + gamma * attention(x): (N, C, H, W) -> the same shape (Zhang et al. 2019, "Self-Attention Generative
    Adversarial Networks", eqs. 1 to 3).

    Queries and keys have C/8 channels, values C/2; keys and values are max-pooled over 2x2, as in the paper's code.
    `share` is the paper's gamma, which starts at 0: a network begins as a plain convolutional one. Each picture attends
    to itself alone."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner, half = max(1, channels // 8), max(1, channels // 2)
        self.query = nn.Conv2d(channels, inner, 1, bias=False)
        self.key = nn.Conv2d(channels, inner, 1, bias=False)
        self.value = nn.Conv2d(channels, half, 1, bias=False)
        self.out = nn.Conv2d(half, channels, 1, bias=False)
        self.share = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        query = self.query(x)
        key, value = (F.max_pool2d(part, 2, ceil_mode=True) for part in (self.key(x), self.value(x)))
        query, key, value = (part.flatten(2) for part in (query, key, value))  # (N, channels, pixels)
        weights = torch.softmax(query.transpose(1, 2) @ key, 2).to(value.dtype)
        attended = (weights @ value.transpose(1, 2)).transpose(1, 2).unflatten(2, x.shape[2:])
        added: Tensor = self.share.to(x.dtype) * self.out(attended)
        return x + added
