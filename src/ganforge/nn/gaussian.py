"""A normal distribution fitted to codes while they are learned."""

from __future__ import annotations

import torch
from torch import Tensor, nn

HORIZON = 100  # batches that the running averages cover


class FittedGaussian(nn.Module):
    """Running mean and covariance of codes, and samples from the normal distribution that has them.

    The first HORIZON batches have equal weights, later ones a weight of 1 / HORIZON, since the codes change while the
    encoder learns. Mean and covariance are buffers: saved, resumed and averaged like weights."""

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
        """Update mean and covariance by a batch of codes, (N, Z)."""
        with torch.autocast(codes.device.type, enabled=False):
            codes = codes.float()
            self.batches += 1
            weight = 1 / self.batches.clamp(max=HORIZON)
            step = codes.mean(0) - self.mean
            centred = codes - codes.mean(0)
            spread = centred.T @ centred / len(codes) + (1 - weight) * torch.outer(step, step)
            self.covariance.lerp_(spread, weight)  # West 1979: the change of the mean is part of the covariance
            self.mean.add_(weight * step)

    def forward(self, normal: Tensor) -> Tensor:
        """Standard normal (N, Z) -> (N, Z) with the mean and covariance of the codes, by the symmetric square root of
        the covariance."""
        values, vectors = torch.linalg.eigh(self.covariance)
        root: Tensor = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
        return self.mean + normal @ root
