"""The Fréchet distance between two sets of features (Dowson and Landau 1982; Heusel et al. 2017, eq. 6)."""

from __future__ import annotations

import torch
from torch import Tensor

from ganforge.base.seeds import key


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
    values = [distance(reference, Moments(features.shape[1]).add(features[rows])) for rows in chosen]
    half = size // 2
    if half < 2:
        return sum(values) / len(values), float("nan")
    halves = torch.tensor(
        [
            distance(
                reference, Moments(features.shape[1]).add(features[torch.randperm(count, generator=generator)[:half]])
            )
            for _ in range(16)
        ]
    )
    correction = (1 / size) / (1 / half - 1 / count)
    return sum(values) / len(values), float(halves.std()) * correction**0.5
