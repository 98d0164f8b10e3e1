"""Precision, recall, density and coverage by nearest neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import Literal

import torch
from torch import Tensor

from ganforge.metrics.metric import NEIGHBOURS, RealPictures, Row, Samples

_ROWS = 1024
_SAYS: dict[str, tuple[Literal["higher"] | float, str]] = {
    "precision": ("higher", "share of samples within the real pictures' neighbourhoods"),
    "recall": ("higher", "share of real pictures within the samples' neighbourhoods"),
    "density": (1.0, "how deep samples lie in the real pictures' neighbourhoods"),
    "coverage": ("higher", "share of real neighbourhoods that hold a sample"),
}


def floor(real: RealPictures, size: int) -> list[float]:
    """The four numbers of held-out pictures, in the order of `Manifold`."""
    return list(_manifold(real, real.heldout, size))


def rows(real: RealPictures, samples: Samples, size: int, floor: Sequence[float] | None) -> list[Row]:
    """The four numbers of the samples."""
    values = _manifold(real, samples.features, size)
    return [
        Row(
            name=name,
            title=name,
            says=says,
            value=values[n],
            floor=floor[n] if floor else None,
            better=better,
            keys=(name, None, f"{name}_floor"),
        )
        for n, (name, (better, says)) in enumerate(_SAYS.items())
    ]


def _manifold(real: RealPictures, others: Tensor, size: int) -> tuple[float, ...]:
    count = min(NEIGHBOURS, size, len(real.train))
    return astuple(manifold(real.train_features(count), others[:count]))


@dataclass(frozen=True)
class Manifold:
    """Shares from 0 to 1, except density, which has no upper limit."""

    precision: float
    recall: float
    density: float
    coverage: float


def distances(x: Tensor, y: Tensor) -> Tensor:
    """Euclidean, (m, D) and (n, D) -> (m, n) float64. By differences of squares on centred rows in float64, whose error
    for equal rows is below 1e-6 of the typical distance."""
    centre = y.double().mean(0)
    a, b = x.double() - centre, y.double() - centre
    squares = a.square().sum(1)[:, None] + b.square().sum(1)[None] - 2 * (a @ b.T)
    return squares.clamp_(min=0).sqrt_()


def nearest(x: Tensor, y: Tensor, k: int = 1, same: bool = False) -> tuple[Tensor, Tensor]:
    """The k nearest rows of y for each row of x: distances (m, k) float64 and indices (m, k), the nearest first.

    `same` says that x is y itself: a row is not its own neighbour then. Candidates are found in float32, a few more
    than asked for, and measured in float64. Memory is bounded by slices of x."""
    centre = y.double().mean(0)
    a, b = (x.double() - centre).float(), (y.double() - centre).float()
    squares, more = b.square().sum(1), min(k if k == 1 else k + 2, len(y) - same)
    exact_distances, indices = [], []
    for start in range(0, len(x), _ROWS):
        block = torch.addmm(squares, a[start : start + _ROWS], b.T, alpha=-2)
        if same:
            rows = torch.arange(len(block))
            block[rows, rows + start] = float("inf")
        candidates = block.argmin(1, keepdim=True) if k == 1 else block.topk(more, largest=False).indices
        exact = (x[start : start + _ROWS, None].double() - y[candidates].double()).square().sum(2).sqrt()
        values, order = exact.sort(1)
        exact_distances.append(values[:, :k])
        indices.append(candidates.gather(1, order[:, :k]))
    return torch.cat(exact_distances), torch.cat(indices)


def manifold(real: Tensor, fake: Tensor, k: int = 3) -> Manifold:
    """Precision and recall (Kynkäänniemi et al. 2019, eq. 2 and 3), density and coverage (Naeem et al. 2020, eq. 3 and
    4).

    (m, D) and (n, D). A ball around each picture reaches to its k-th neighbour among its own kind; its border counts.
    For two equal distributions of n each, coverage is expected at 1 - (n-1)...(n-k) / ((2n-1)...(2n-k)).
    """
    k = min(k, len(real) - 1, len(fake) - 1)
    real_radius = nearest(real, real, k, same=True)[0][:, -1]
    fake_radius = nearest(fake, fake, k, same=True)[0][:, -1]
    inside_any = torch.zeros(len(fake), dtype=torch.bool)
    balls = torch.zeros(len(fake))
    covered = torch.zeros(len(real), dtype=torch.bool)
    recalled = torch.zeros(len(real), dtype=torch.bool)
    for start in range(0, len(real), _ROWS):
        rows = slice(start, start + _ROWS)
        block = distances(real[rows], fake)
        inside = block <= real_radius[rows, None]
        inside_any |= inside.any(0)
        balls += inside.sum(0)
        covered[rows] = inside.any(1)
        recalled[rows] = (block <= fake_radius[None]).any(1)
    return Manifold(
        float(inside_any.float().mean()),
        float(recalled.float().mean()),
        float(balls.mean()) / k,
        float(covered.float().mean()),
    )
