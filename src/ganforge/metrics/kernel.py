"""Kernel distance, the unbiased squared MMD with a cubic kernel (Binkowski et al. 2018, "Demystifying MMD GANs")."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ganforge.base.seeds import key
from ganforge.metrics.features import HIDDEN
from ganforge.metrics.metric import RealPictures, Row, Samples

SUBSET = 1000


def floor(real: RealPictures, size: int) -> list[float]:
    """Distance and spread of the held-out pictures."""
    return list(_of_hidden(real.train, real.heldout, size))


def rows(real: RealPictures, samples: Samples, size: int, floor: Sequence[float] | None) -> list[Row]:
    """The distance of the samples from the training pictures."""
    value, spread = _of_hidden(real.train, samples.features, size)
    return [
        Row(
            name="kernel",
            title="kernel distance",
            says="the squared maximum mean discrepancy of the classifier's features",
            value=value,
            spread=spread,
            floor=floor[0] if floor else None,
            better="lower",
            keys=("kernel", "kernel_spread", "kernel_floor"),
            times=1000,
            note="x 1000",
        )
    ]


def _of_hidden(train: Tensor, others: Tensor, size: int) -> tuple[float, float]:
    """Of the classifier's features alone: the cube of an outlier's amplitudes would drown all others."""
    return distance(train[:, :HIDDEN], others[:, :HIDDEN], size=min(SUBSET, size))


def unbiased_mmd(x: Tensor, y: Tensor) -> float:
    """k(a, b) = (a.b / D + 1)^3 between (m, D) and (n, D); pairs of a picture with itself are left out of the two inner
    means (Gretton et al. 2012, eq. 3)."""
    x, y = x.double(), y.double()
    size = x.shape[1]

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        return (a @ b.T / size + 1) ** 3

    def inner(a: Tensor) -> Tensor:
        k = kernel(a, a)
        return (k.sum() - k.diagonal().sum()) / (len(a) * (len(a) - 1))

    return float(inner(x) + inner(y) - 2 * kernel(x, y).mean())


def distance(x: Tensor, y: Tensor, subsets: int = 50, size: int = SUBSET, seed: int = 0) -> tuple[float, float]:
    """Mean over random subsets, and their standard deviation (a spread, not an error of the mean). (m, D), (n, D)."""
    size = min(size, len(x), len(y))
    if size < 2:
        return float("nan"), float("nan")
    rng = np.random.default_rng(key(seed, "kernel distance"))
    values = []
    for _ in range(subsets):
        a = torch.from_numpy(rng.choice(len(x), size, replace=False))
        b = torch.from_numpy(rng.choice(len(y), size, replace=False))
        values.append(unbiased_mmd(x[a], y[b]))
    return float(np.mean(values)), float(np.std(values))
