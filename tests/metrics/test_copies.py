"""Copies of training pictures are found, by features and by pixels."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ganforge.metrics import copies
from ganforge.metrics.neighbours import nearest
from samples import gaussian, photographs


def test_copies_are_flagged_and_heldout_pictures_are_not():
    train, heldout, fresh = gaussian(3000, 6, 1), gaussian(1000, 6, 2), gaussian(1000, 6, 3)
    limit = copies.yardstick(nearest(heldout, train)[0][:, 0])

    def rate(samples: torch.Tensor) -> float:
        distance, indices = nearest(samples, train)
        return copies.Copies(indices[:, 0], distance[:, 0], limit).rate

    assert rate(train[:500] + 1e-4) == 1
    assert rate(fresh) < 0.03
    assert 0.45 < rate(torch.cat([train[:500], fresh[:500]])) < 0.56


@pytest.mark.parametrize("side", [20, 32, 64, 128])
def test_copies_are_found_in_pixels_though_shifted_mirrored_and_noisy(side):
    train, heldout = photographs(800, 1, side), photographs(200, 2, side)
    thumbnails = copies.thumbnails(train)
    limit = copies.yardstick(copies.nearest_by_pixels(heldout, thumbnails, lambda rows: train[rows])[0])
    rng = np.random.default_rng(0)
    some = np.arange(0, 800, 8)
    noise = rng.normal(0, 6, train[some].shape)
    changed = {
        "as it is": train[some],
        "one pixel": np.roll(train[some], 1, 2),
        "one pixel either way": np.roll(train[some], (1, -1), (1, 2)),
        "mirrored": train[some][:, :, ::-1],
        "noisy": (train[some] + noise).clip(0, 255).astype(np.uint8),
        "all": (np.roll(train[some][:, :, ::-1], 1, 2) + noise).clip(0, 255).astype(np.uint8),
    }
    for change, pictures in changed.items():
        distance, indices = copies.nearest_by_pixels(pictures, thumbnails, lambda rows: train[rows])
        assert copies.Copies(indices, distance, limit).rate > 0.98, change
        assert (indices.numpy() == some).mean() > 0.98, change
    distance, indices = copies.nearest_by_pixels(photographs(200, 3, side), thumbnails, lambda rows: train[rows])
    assert copies.Copies(indices, distance, limit).rate < 0.05
