"""Adversarial losses of scores (N,), divergence and likelihood of VAEs, and an error in decibels."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

SLOPE = 1e-3  # of the one-stage hinge loss beyond its margin


def hinge(real: Tensor, fake: Tensor) -> Tensor:
    """The discriminator's hinge loss (Lim and Ye 2017; Miyato et al. 2018, eq. 16). Scalar."""
    return F.relu(1 - real).mean() + F.relu(1 + fake).mean()


def logistic(real: Tensor, fake: Tensor, target: float = 1.0) -> Tensor:
    """The discriminator's cross-entropy (Goodfellow et al. 2014, eq. 1); reals aim at `target`. Scalar.

    A target of 0.9 is one-sided label smoothing (Salimans et al. 2016, section 3.4).
    """
    return F.binary_cross_entropy_with_logits(real, torch.full_like(real, target)) + F.softplus(fake).mean()


def non_saturating(fake: Tensor) -> Tensor:
    """The generator's non-saturating loss (Goodfellow et al. 2014, section 3). Scalar."""
    return F.softplus(-fake).mean()


def one_stage_hinge(real: Tensor, fake: Tensor, fakes: Tensor) -> dict[str, Tensor]:
    """The hinge losses of discriminator and generator from one forward and one backward pass (see `_rescale`).

    Scores `real` and `fake` (N,), and the generated images `fakes` (N, ...) that were scored -> scalars by name. Beyond
    the margin the discriminator's loss of fakes keeps the slope SLOPE, since the generator's gradient is computed from
    it."""
    own = torch.where(fake > -1, 1.0, SLOPE)
    _rescale(fakes, own, torch.full_like(own, -1.0))
    loss = F.relu(1 - real).mean() + F.leaky_relu(1 + fake, SLOPE).mean()
    return {"loss": loss, "generator": -fake.detach().mean(), "real": real.mean(), "fake": fake.mean()}


def one_stage_logistic(real: Tensor, fake: Tensor, fakes: Tensor, target: float = 1.0) -> dict[str, Tensor]:
    """`logistic` and `non_saturating` from one forward and one backward pass, likewise; exact, without a SLOPE."""
    score = fake.detach().clamp(min=-60)
    _rescale(fakes, torch.sigmoid(score), -torch.sigmoid(-score))
    return {
        "loss": logistic(real, fake, target),
        "generator": non_saturating(fake.detach()),
        "real": real.mean(),
        "fake": fake.mean(),
    }


def _rescale(fakes: Tensor, own: Tensor, generator: Tensor) -> None:
    """Turn the gradient of the discriminator's loss with respect to `fakes` into that of the generator's loss.

    Where no layer of the discriminator mixes the pictures of a batch, the gradients of the two losses with respect to
    one generated image differ by a factor, generator / own, the ratio of the derivatives with respect to its score,
    (N,) each (Shen et al. 2021, "Training Generative Adversarial Networks in One Stage", section 3). So one backward
    pass trains both networks."""
    factor = (generator / own).reshape(-1, *[1] * (fakes.ndim - 1))
    if fakes.requires_grad:
        fakes.register_hook(lambda gradient: gradient * factor.to(gradient.dtype))


def gaussian_kl(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(mean, exp(log_variance)) || N(0, 1)) in nats, (N, Z) each -> (N,) (Kingma and Welling 2014, appendix B)."""
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1)


def discretised_gaussian(values: Tensor, mean: Tensor, deviation: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Logarithm, in nats, of the probability of bytes under N(mean, deviation^2) integrated over the width of a byte
    (Salimans et al. 2017, "PixelCNN++", section 2.1, with a Gaussian in place of a logistic distribution).

    `values` (N, C, H, W) are the floats of bytes, `low` and `high` (C, 1, 1) those of 0 and 255, which take the rest of
    the distribution. Of the same shape as `values`; the probabilities of all 256 bytes sum to 1."""
    width = (high - low) / 255
    below, above = (values - width / 2 - mean) / deviation, (values + width / 2 - mean) / deviation
    below = torch.where(values < low + width / 2, -torch.inf, below)
    above = torch.where(values > high - width / 2, torch.inf, above)
    mirrored = below > 0  # logarithms are accurate in the lower tail only
    below, above = torch.where(mirrored, -above, below), torch.where(mirrored, -below, above)
    upper = torch.special.log_ndtr(above)
    mass: Tensor = upper + (-torch.expm1(torch.special.log_ndtr(below) - upper)).clamp(min=1e-37).log()
    return mass


def decibels(error: Tensor, peak: float) -> Tensor:
    """Mean squared errors of any shape -> peak signal-to-noise ratios in dB, 10 log10(peak^2 / error), with `peak` the
    range of the values: 255 for bytes, 2 for pictures in [-1, 1]. Infinite where there is no error."""
    return 10 * (peak**2 / error).log10()
