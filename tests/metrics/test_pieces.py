"""Solids in one piece: real ones are, and what must fail does."""

from __future__ import annotations

import numpy as np
import pytest

from ganforge.collecting import shapes
from ganforge.metrics import pieces
from ganforge.metrics.metric import Samples

REAL = np.stack([shapes.shape(kind, number, 16) for number in range(6) for kind in shapes.KINDS])


def share(solids: np.ndarray) -> float:
    return float((pieces.largest_shares(solids) >= 1 - pieces.DUST).mean())


def test_pieces_are_counted_by_their_voxels():
    solid = np.zeros((1, 8, 8, 8), np.uint8)
    assert pieces.largest_shares(solid)[0] == 0
    solid[0, 0, 0, :3] = solid[0, 5, 5, 5] = 255
    assert pieces.largest_shares(solid)[0] == pytest.approx(3 / 4)
    solid[0, 1, 1, 3] = 200  # touches by an edge only
    assert pieces.largest_shares(solid)[0] == pytest.approx(3 / 5)
    solid[0, 0, 1, 2:4] = 128
    assert pieces.largest_shares(solid)[0] == pytest.approx(6 / 7)


def test_made_shapes_are_whole_and_what_must_fail_fails():
    random = np.random.default_rng(0)
    assert share(REAL) == 1
    assert share(random.integers(0, 256, REAL.shape).astype(np.uint8)) == 0
    shuffled = np.stack([solid[..., random.permutation(16)] for solid in REAL])
    assert share(shuffled) < 0.4, "most are cut when their slices are shuffled"
    salted = np.where(random.random(REAL.shape) < 0.01, 255 - REAL, REAL).astype(np.uint8)
    assert share(salted) < 0.05


class Real:
    """Held-out solids."""

    def heldout_pixels(self, count: int) -> np.ndarray:
        return REAL[:count]


def test_rows_and_their_floors():
    samples = Samples(None, REAL // 2 + 64 * (REAL > 250), None)  # type: ignore[arg-type]
    floor = pieces.floor(Real(), 8)  # type: ignore[arg-type]
    one_piece, filled = pieces.rows(Real(), samples, 8, floor)  # type: ignore[arg-type]
    assert (one_piece.floor, floor[0]) == (1, 1)
    assert one_piece.floor_shown == "100.0%"
    assert filled.floor == pytest.approx((REAL > 127).mean())
    assert filled.better == filled.floor
    assert set(filled.fields) == {"filled", "filled_spread", "filled_floor", "filled_floor_spread"}
    alone, _ = pieces.rows(Real(), samples, 8, None)  # type: ignore[arg-type]
    assert alone.floor is None
