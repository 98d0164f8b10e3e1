"""Adversarial losses on the discriminator's scores, (N,) each, and the one for VAEs."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def hinge(real: Tensor, fake: Tensor) -> Tensor:
    """The discriminator's hinge loss (Lim and Ye 2017; Miyato et al. 2018, eq. 16). Scalar."""
    return F.relu(1 - real).mean() + F.relu(1 + fake).mean()


def logistic(real: Tensor, fake: Tensor, target: float = 1.0) -> Tensor:
    """The discriminator's cross-entropy (Goodfellow et al. 2014, eq. 1); reals aim at `target`. Scalar.

    A target of 0.9 is one-sided label smoothing (Salimans et al. 2016, section 3.4).
    """
    return F.binary_cross_entropy_with_logits(real, torch.full_like(real, target)) + F.softplus(fake).mean()


def non_saturating(fake: Tensor) -> Tensor:
    """The generator's loss that keeps its gradient when it loses (Goodfellow et al. 2014, section 3). Scalar."""
    return F.softplus(-fake).mean()


def gradient_penalty(scores: Tensor, images: Tensor) -> Tensor:
    """R1: the mean over pictures of the squared norm of the scores' gradient (Mescheder et al. 2018, eq. 9).

    Scores (N,) and the images (N, C, H, W), which require a gradient -> scalar, differentiable. Without the factor
    gamma / 2.
    """
    (gradient,) = torch.autograd.grad(scores.sum(), images, create_graph=True)
    return gradient.float().square().sum((1, 2, 3)).mean()


def gaussian_kl(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(mean, exp(log_variance)) || N(0, 1)) in nats, (N, Z) each -> (N,) (Kingma and Welling 2014, appendix B)."""
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1)
