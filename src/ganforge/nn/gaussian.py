"""A normal distribution fitted to codes while they are learned."""

from __future__ import annotations

import torch
from torch import Tensor, nn

HORIZON = 100  # batches that count; older ones fade


class Gaussian(nn.Module):
    """Running mean and covariance of codes, and samples from the normal distribution that has them.

    The first batches count alike, later ones with a weight of 1 / HORIZON, since the codes change as their encoder
    learns. All of it are buffers: saved, resumed and averaged as weights are. An average of covariances is one again.
    """

    mean: Tensor
    covariance: Tensor
    batches: Tensor

    def __init__(self, latent: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(latent))
        self.register_buffer("covariance", torch.eye(latent))
        self.register_buffer("batches", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def fit(self, codes: Tensor) -> None:
        """Take in a batch of codes, (N, Z)."""
        with torch.autocast(codes.device.type, enabled=False):
            codes = codes.float()
            self.batches += 1
            weight = 1 / self.batches.clamp(max=HORIZON)
            step = codes.mean(0) - self.mean
            centred = codes - codes.mean(0)
            spread = centred.T @ centred / len(codes) + (1 - weight) * torch.outer(step, step)
            self.covariance.lerp_(spread, weight)  # West 1979: the mean's own move is part of the spread
            self.mean.add_(weight * step)

    def forward(self, normal: Tensor) -> Tensor:
        """Standard normal numbers -> numbers distributed as the codes are: (N, Z) -> (N, Z), by the symmetric root of
        the covariance."""
        values, vectors = torch.linalg.eigh(self.covariance)
        root: Tensor = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
        return self.mean + normal @ root
