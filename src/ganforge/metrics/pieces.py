"""Whether solids hold together: the share of their voxels in one connected piece, and the share of the cube that they
fill. Voxels touch by their faces; a byte above the middle is inside."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ganforge.base.images import Pixels
from ganforge.media.surface import LEVEL
from ganforge.metrics.metric import PICTURES, RealPictures, Row, Samples

DUST = 0.01
"""The share of the voxels of a solid that may lie apart from its largest piece."""


def floor(real: RealPictures, size: int) -> list[float]:
    """The numbers of held-out solids: whole, filled, and the spread of the second."""
    return _numbers(real.heldout_pixels(PICTURES))


def rows(real: RealPictures, samples: Samples, size: int, floor: Sequence[float] | None) -> list[Row]:
    """The share of solids in one piece and the share of voxels that are inside."""
    whole, filled, spread = _numbers(samples.pixels[:PICTURES])
    floors: Sequence[float | None] = floor or (None, None, None)
    return [
        Row(
            name="one_piece",
            title="in one piece",
            says=f"share of solids of which one connected piece holds {1 - DUST:.0%} of the voxels inside",
            value=whole,
            floor=floors[0],
            better="higher",
            keys=("one_piece", None, "one_piece_floor"),
            form=".1%",
        ),
        Row(
            name="filled",
            title="voxels inside",
            says="share of the cube that a solid fills, with the standard deviation among solids",
            value=filled,
            spread=spread,
            floor=floors[1],
            floor_spread=floors[2],
            better=floors[1] if floors[1] is not None else "higher",
            keys=("filled", "filled_spread", "filled_floor", "filled_floor_spread"),
            form=".1%",
        ),
    ]


def largest_shares(solids: Pixels) -> npt.NDArray[np.float64]:
    """(N, X, Y, Z) uint8 -> (N,), the share of the voxels inside that the largest connected piece of each has; 0 of an
    empty one."""
    from scipy.ndimage import label

    shares = []
    for inside in solids > LEVEL:
        sizes = np.bincount(label(inside)[0].ravel())[1:]
        shares.append(sizes.max() / sizes.sum() if len(sizes) else 0.0)
    return np.array(shares)


def _numbers(solids: Pixels) -> list[float]:
    filled = (solids > LEVEL).mean((1, 2, 3))
    whole = (largest_shares(solids) >= 1 - DUST).mean()
    return [float(whole), float(filled.mean()), float(filled.std())]
