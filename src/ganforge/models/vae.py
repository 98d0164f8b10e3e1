"""vae: a convolutional variational autoencoder with a weight of its prior (beta-VAE).

Kingma and Welling 2014, "Auto-Encoding Variational Bayes"; the weight is beta of Higgins et al. 2017. The decoder's
likelihood is a Gaussian whose variance is the batch's own mean squared error (Rybkin et al. 2021, "Simple and
Effective VAE Training with Calibrated Decoders", eq. 5), so that beta = 1 is the evidence lower bound at any
resolution. New pictures are decoded from a mixture of Gaussians, which is fitted to the codes of training pictures
(Ghosh et al. 2020, "From Variational to Deterministic Autoencoders", section 4). By class: the one-hot label is
concatenated with the encoder's features and with the code, and each class has its own weights of the mixture (Sohn et
al. 2015, "Learning Structured Output Representation using Deep Conditional Generative Models")."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ganforge.base.config import setting
from ganforge.media.spec import Spec
from ganforge.nn import losses
from ganforge.nn.layers import Down, Up
from ganforge.nn.mixture import Mixture
from ganforge.system import Adam, Batch, CodeSystem, Phase, base_grid, crop, with_label


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of the VAE."""

    latent: int = setting(64, "numbers in a latent", low=1, high=4096)
    width: int = setting(
        32, "channels at the largest inner grid; each halving doubles them, up to 8 times", low=4, high=512
    )
    beta: float = setting(
        1.0,
        "weight of the prior; 1 is the evidence lower bound, more gives coarser reconstructions",
        low=0.0,
        high=1000.0,
    )
    lr: float = setting(1e-3, "learning rate", low=0.0, high=1.0)
    conditional: bool = setting(False, "generate by class; needs a store with labels")


PRESETS: dict[str, dict[str, Any]] = {
    "small": {"width": 16, "latent": 32},
    "medium": {},
    "large": {"width": 64, "latent": 128},
}
TRAIN: dict[str, Any] = {}


class Autoencoder(nn.Module):
    """Encoder and decoder, trained by one loss."""

    def __init__(self, config: Config, spec: Spec, classes: int) -> None:
        super().__init__()
        self.spec, self.classes = spec, classes
        height, width, doublings = base_grid(spec)
        widths = [config.width * 2 ** min(n, 3) for n in range(doublings)]
        top = widths[-1] if widths else config.width
        self.grid = (top, height, width)
        self.pad = (width * 2**doublings - spec.width, height * 2**doublings - spec.height)
        encoder: list[nn.Module] = []
        before = spec.channels
        for after in widths:
            encoder += [Down(before, after), nn.LeakyReLU(0.2)]
            before = after
        self.encoder = nn.Sequential(*encoder)
        self.to_latent = nn.Linear(before * height * width + classes, 2 * config.latent)
        self.from_latent = nn.Linear(config.latent + classes, math.prod(self.grid))
        decoder: list[nn.Module] = []
        before = top
        for after in widths[-2::-1]:
            decoder += [nn.LeakyReLU(0.2), Up(before, after)]
            before = after
        last = Up(before, spec.channels) if widths else nn.Conv2d(before, spec.channels, 3, 1, 1)
        self.decoder = nn.Sequential(*decoder, nn.LeakyReLU(0.2), last)

    def encode(self, images: Tensor, labels: Tensor | None) -> tuple[Tensor, Tensor]:
        """(N, C, H, W) -> mean and log-variance, (N, Z) float32 each."""
        right, bottom = self.pad
        x = F.pad(images, (right // 2, right - right // 2, bottom // 2, bottom - bottom // 2), mode="replicate")
        features = with_label(self.encoder(x).flatten(1), labels, self.classes)
        mean, log_variance = self.to_latent(features).float().chunk(2, 1)
        return mean, log_variance.clamp(-12, 12)

    def decode(self, latents: Tensor, labels: Tensor | None) -> Tensor:
        """(N, Z) -> (N, C, H, W) in [-1, 1]."""
        x = (
            self.from_latent(with_label(latents, labels, self.classes))
            .unflatten(1, self.grid)
            .contiguous(memory_format=torch.channels_last)
        )
        return torch.tanh(crop(self.decoder(x), self.spec))


class VAE(CodeSystem):
    """Pictures -> a normal distribution of latents -> pictures."""

    averaged = ("autoencoder",)
    config: Config

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        self.autoencoder = Autoencoder(config, spec, self.classes)
        self.prior = Mixture(config.latent, self.classes)
        self.restores = not self.classes  # the class of a picture to restore is unknown

    def adam(self) -> dict[str, Adam]:
        return {"autoencoder": Adam(self.config.lr, 0.9, 0.999)}

    def phases(self) -> list[Phase]:
        return [Phase("autoencoder", ("autoencoder",), self.loss)]

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """The negative evidence lower bound (Kingma and Welling 2014, eq. 3), in nats per number of the picture."""
        mean, log_variance = self.autoencoder.encode(batch.images, batch.labels)
        latents = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
        error = (self.autoencoder.decode(latents, batch.labels).float() - batch.images).square().mean()
        kl = losses.gaussian_kl(mean, log_variance).mean()
        reconstruction = 0.5 * error.clamp_min(1e-6).log()
        return {
            "loss": reconstruction + self.config.beta * kl / self.spec.pixels,
            "error": error,
            "kl": kl,
        }

    def decode(self, codes: Tensor, labels: Tensor | None) -> Tensor:
        return self.autoencoder.decode(codes, labels)

    def codes(self, images: Tensor, labels: Tensor | None) -> tuple[Tensor, Tensor | None]:
        return self.autoencoder.encode(images, labels)


SYSTEM = VAE
