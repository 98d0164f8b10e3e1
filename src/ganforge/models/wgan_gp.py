"""wgan_gp: a convolutional GAN whose critic estimates the Wasserstein distance, with a gradient penalty.

Gulrajani et al. 2017, "Improved Training of Wasserstein GANs": a critic without batch normalisation, algorithm 1 with
its settings. Each step trains the critic on one batch of real pictures, and every fifth one the generator as well, so
the generator has a fifth of the steps."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ganforge.base.config import setting
from ganforge.media.spec import Spec
from ganforge.nn.layers import Down, Leaky, Up
from ganforge.nn.penalties import squared_gradient
from ganforge.system import Adam, Batch, Phase, System, base_grid, channels, crop, width_by


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of the WGAN with gradient penalty."""

    latent: int = setting(128, "numbers in a latent", low=1, high=4096)
    width: int = setting(
        64, "channels at the largest inner grid; each halving doubles them, up to widest", low=4, high=1024
    )
    widest: int = setting(0, "most channels of a grid; 0: 8 x width", low=0, high=4096)
    penalty: float = setting(10.0, "weight of the gradient penalty", low=0.0, high=1000.0)
    critic_steps: int = setting(5, "steps of the critic for one of the generator", low=1, high=100)
    lr: float = setting(1e-4, "learning rate of both networks", low=0.0, high=1.0)


PRESETS: dict[str, dict[str, Any]] = {
    "small": {"width": 32, "latent": 32, "lr": 1e-3, "critic_steps": 2},
    "medium": {"train.images": 5_000_000},
    "large": {"width": width_by(8192, 128), "widest": 1024, "train.images": 32_000_000},
}
TRAIN: dict[str, Any] = {"batch": 64}


class Generator(nn.Module):
    """(N, Z) -> (N, C, H, W) in [-1, 1]: a dense layer to the base grid, then transposed convolutions."""

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__()
        self.spec = spec
        height, width, doublings = base_grid(spec)
        widths = channels(config.width, config.widest, max(doublings - 1, 0))[::-1]
        self.grid = (height, width, widths[0])
        self.dense = nn.Linear(config.latent, height * width * widths[0], bias=False)
        self.norms = nn.ModuleList(nn.BatchNorm2d(w) for w in widths)
        self.ups = nn.ModuleList(Up(a, b, bias=False) for a, b in pairwise(widths))
        self.last = Up(widths[-1], spec.channels) if doublings else nn.Conv2d(widths[-1], spec.channels, 3, 1, 1)

    def forward(self, latents: Tensor) -> Tensor:
        x = self.dense(latents).unflatten(1, self.grid).permute(0, 3, 1, 2)  # channels last in memory
        x = F.relu_(self.norms[0](x))
        for layer, norm in zip(self.ups, self.norms[1:], strict=True):
            x = F.relu_(norm(layer(x)))
        return torch.tanh(crop(self.last(x), self.spec))


class Critic(nn.Module):
    """(N, C, H, W) -> scores (N,) float32: strided convolutions and a dense layer. No layer mixes the pictures of a
    batch."""

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        widest = config.widest or 8 * config.width
        height, width, before, after = spec.height, spec.width, spec.channels, min(config.width, widest)
        while min(height, width) >= 6:
            layers += [Down(before, after), Leaky()]
            height, width, before, after = -(-height // 2), -(-width // 2), after, min(2 * after, widest)
        self.features = nn.Sequential(*layers)
        self.score = nn.Linear(before * height * width, 1)

    def forward(self, images: Tensor) -> Tensor:
        scores: Tensor = self.score(self.features(images).permute(0, 2, 3, 1).flatten(1))[:, 0]
        return scores.float()


class WGANGP(System):
    """Convolutional generator and critic."""

    averaged = ("generator",)
    config: Config

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        self.generator = Generator(config, spec)
        self.critic = Critic(config, spec)

    def adam(self) -> dict[str, Adam]:
        adam = Adam(self.config.lr, 0.0, 0.9)
        return {"critic": adam, "generator": adam}

    def phases(self) -> list[Phase]:
        return [
            Phase("critic", ("critic",), self.critic_loss),
            Phase("generator", ("generator",), self.generator_loss, every=self.config.critic_steps),
        ]

    def critic_loss(self, batch: Batch) -> dict[str, Tensor]:
        """Minus the estimated distance, plus the gradient penalty (eq. 3)."""
        fakes = self.generator(self.noise(batch)).to(batch.images.dtype)
        real, fake = self.critic(torch.cat([batch.images, fakes])).chunk(2)
        penalty = self.penalty(batch.images, fakes)
        distance = real.mean() - fake.mean()
        weight = batch.caution * self.config.penalty
        return {"loss": weight * penalty - distance, "distance": distance, "penalty": penalty}

    def penalty(self, reals: Tensor, fakes: Tensor) -> Tensor:
        """Mean of (|gradient of the critic| - 1)^2 at random points between real and generated images. Scalar,
        float32."""
        share = torch.rand(len(reals), 1, 1, 1, dtype=reals.dtype, device=reals.device)
        between = torch.lerp(reals, fakes.detach(), share).requires_grad_(True)
        norm = (squared_gradient(self.critic(between), between) + 1e-12).sqrt()
        return (norm - 1).square().mean()

    def generator_loss(self, batch: Batch) -> dict[str, Tensor]:
        """Minus the mean score of generated images."""
        return {"loss": -self.critic(self.generator(self.noise(batch))).mean()}

    def generate(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        images: Tensor = self.generator(latents)
        return images


SYSTEM = WGANGP
