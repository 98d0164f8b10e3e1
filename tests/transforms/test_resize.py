"""Resizing floats."""

from __future__ import annotations

import torch

from ganforge.transforms.resize import resized


def test_a_constant_stays_and_a_block_is_averaged():
    assert torch.allclose(resized(torch.full((1, 3, 12, 8), 7.0), 3, 2), torch.tensor(7.0))
    checkers = (torch.arange(16)[:, None] + torch.arange(16)) % 2 * 255.0
    assert (resized(checkers[None, None], 4, 4) - 127.5).abs().max() < 2


def test_what_is_invisible_does_not_bleed():
    x = torch.full((1, 4, 8, 8), 255.0)
    x[:, :3, :, 4:], x[:, 3, :, 4:] = 0, 0
    out = resized(x, 4, 4, transparent=True)
    assert (
        (out[:, :3, :, :2] - 255).abs().max() < 5
        and out[:, :3].min() >= 0
        and (out[:, 3] >= 0).all()
        and (out[:, 3] <= 255).all()
    )
