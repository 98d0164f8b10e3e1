"""The Fréchet distance between two sets of features (Dowson and Landau 1982; Heusel et al. 2017, "GANs Trained by a Two
Time-Scale Update Rule Converge to a Local Nash Equilibrium", eq. 6)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ganforge.base.seeds import key
from ganforge.metrics.metric import RealPictures, Row, Samples


def floor(real: RealPictures, size: int) -> list[float]:
    """Distance and spread of `size` held-out pictures."""
    return list(estimate(moments(real.train), real.heldout, size))


def rows(real: RealPictures, samples: Samples, size: int, floor: Sequence[float] | None) -> list[Row]:
    """The distance of the samples' features from the training pictures'."""
    value, spread = estimate(moments(real.train), samples.features, size)
    return [
        Row(
            name="distance",
            title="Fréchet distance",
            says="how far mean and covariance of the features are apart",
            value=value,
            spread=spread,
            floor=floor[0] if floor else None,
            floor_spread=floor[1] if floor else None,
            better="lower",
            keys=("distance", "distance_spread", "floor", "floor_spread"),
            note=f"{size:,} pictures each",
            conclusion=_conclusion(value, spread, size, floor),
        )
    ]


def _conclusion(value: float, spread: float, size: int, floor: Sequence[float] | None) -> str:
    """How far the distance is from the floor."""
    if floor is None:
        return f"Fréchet distance {value:.2f}; too few pictures are held out, so there is no floor to compare it with."
    gap, margin = value - floor[0], math.hypot(spread, floor[1])
    beside = f"held-out real pictures get {floor[0]:.2f}, from {size:,} pictures each"
    if gap < -2 * margin:
        nearer = f"Fréchet distance {value:.2f}, nearer to the training pictures than reality"
        return f"{nearer} ({beside}): look at the copies."
    if gap < 2 * margin:
        return f"Fréchet distance {value:.2f}, at its floor within the spread of {margin:.2f}: {beside}."
    return f"Fréchet distance {value:.2f}, {gap:.2f} (± {margin:.2f}) above its floor: {beside}."


class Moments:
    """Mean and covariance of features that arrive in batches, in float64.

    `add` takes (n, D), `merge` another Moments (Chan et al. 1979, "Updating formulae": exact whatever the order).
    """

    def __init__(self, size: int) -> None:
        self.count = 0
        self.mean = torch.zeros(size, dtype=torch.float64)
        self.scatter = torch.zeros(size, size, dtype=torch.float64)

    def add(self, features: Tensor) -> Moments:
        """(n, D) of any floating type."""
        block = Moments(len(self.mean))
        x = features.detach().cpu().double()
        if len(x):
            block.count, block.mean = len(x), x.mean(0)
            centred = x - block.mean
            block.scatter = centred.T @ centred
        return self.merge(block)

    def merge(self, other: Moments) -> Moments:
        """Take in the other's features, as if they had been added here."""
        total = self.count + other.count
        if total:
            shift = other.mean - self.mean
            self.scatter = self.scatter + other.scatter + torch.outer(shift, shift) * (self.count * other.count / total)
            self.mean = self.mean + shift * (other.count / total)
        self.count = total
        return self

    @property
    def covariance(self) -> Tensor:
        """(D, D), unbiased."""
        return self.scatter / max(self.count - 1, 1)


def moments(features: Tensor) -> Moments:
    """The moments of features, (N, D)."""
    return Moments(features.shape[1]).add(features)


def distance(a: Moments, b: Moments) -> float:
    """|mean_a - mean_b|^2 + tr(A + B - 2 (A B)^(1/2)), with A and B the covariances.

    Symmetric form: the trace of (A B)^(1/2) is that of (A^(1/2) B A^(1/2))^(1/2), whose eigenvalues are real and not
    negative, so rank-deficient covariances (fewer pictures than features) need no special care.
    """
    values, vectors = torch.linalg.eigh(a.covariance)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    product = torch.linalg.eigvalsh(root @ b.covariance @ root).clamp(min=0).sqrt().sum()
    gap = (a.mean - b.mean).square().sum()
    return max(0.0, float(gap + a.covariance.trace() + b.covariance.trace() - 2 * product))


def estimate(reference: Moments, features: Tensor, size: int, seed: int = 0) -> tuple[float, float]:
    """The distance of `size` of the features, (N, D), from the reference; and its spread.

    A distance is too large by an amount that falls with the number of pictures (Chong and Forsyth 2020), so only
    distances of equally many pictures can be compared. The first number is the mean over up to eight keyed choices of
    `size` rows, which do not overlap where N is large enough. The spread is the standard deviation that one such choice
    has: that of sixteen choices of half the size, corrected for size and overlap (the delete-d jackknife; Shao and Wu
    1989)."""
    count = len(features)
    generator = torch.Generator().manual_seed(key(seed, "subsets"))
    order = torch.randperm(count, generator=generator)
    times = min(8, max(1, count // size)) if count >= 2 * size else 8 if count > size else 1
    chosen = (
        list(order[: times * size].split(size))
        if count >= times * size
        else [torch.randperm(count, generator=generator)[:size] for _ in range(times)]
    )
    values = [distance(reference, moments(features[rows])) for rows in chosen]
    half = size // 2
    if half < 2:
        return sum(values) / len(values), float("nan")
    subsets = (torch.randperm(count, generator=generator)[:half] for _ in range(16))
    halves = torch.tensor([distance(reference, moments(features[rows])) for rows in subsets])
    correction = (1 / size) / (1 / half - 1 / count)
    return sum(values) / len(values), float(halves.std()) * correction**0.5
