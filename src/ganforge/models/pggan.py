"""pggan: a GAN whose networks grow from the base grid to the full resolution during training.

Karras et al. 2018, "Progressive Growing of GANs for Improved Quality, Stability, and Variation": equalised learning
rates, pixel normalisation, minibatch standard deviation, and either the Wasserstein loss with a gradient penalty
(Gulrajani et al. 2017) or the logistic loss with R1 (Mescheder et al. 2018) in every 16th step (lazy regularisation,
Karras et al. 2020, appendix B)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from ganforge.base.config import setting
from ganforge.media.spec import Spec
from ganforge.nn import grow, losses
from ganforge.nn.equal import EqualConv, EqualLinear, activate, pixel_norm
from ganforge.nn.penalties import gamma_for, squared_gradient
from ganforge.nn.resample import repeat
from ganforge.system import (
    Adam,
    Batch,
    Phase,
    System,
    base_grid,
    channels,
    crop,
    gamma_by_side,
    grown_further,
    growth,
    pad,
    rate_by_side,
    width_by,
)
from ganforge.transforms import augment

R1_EVERY = 16
GRADIENT, DRIFT = 10.0, 0.001  # weights of the Wasserstein loss's penalties (appendix A.1)


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of the progressive GAN."""

    latent: int = setting(128, "numbers in a latent", low=1, high=4096)
    width: int = setting(
        32, "channels at the full resolution; each halving doubles them, up to widest", low=4, high=1024
    )
    widest: int = setting(0, "most channels of a grid; 0: 8 x width", low=0, high=4096)
    grow_images: int = setting(
        50_000, "images over which a resolution fades in, and as many before the next; 0: all at once", low=0
    )
    first: int = setting(0, "doublings of the smallest grid that training begins with", low=0, high=12)
    loss: str = setting("wgan-gp", "wgan-gp or logistic (with R1)", choices=("wgan-gp", "logistic"))
    gamma: float = setting(0.0, "weight of R1; 0: 0.0002 x height x width / batch, of the stage", low=0.0, high=1e6)
    lr: float = setting(1e-3, "learning rate of both networks", low=0.0, high=1.0)
    augment: str = setting("", augment.HELP)

    def __post_init__(self) -> None:
        augment.parse(self.augment)


PRESETS: dict[str, dict[str, Any]] = {
    "small": {
        "width": 16,
        "latent": 64,
        "grow_images": growth(5_000, 0.5),
        "loss": "logistic",
        "gamma": 1.0,
        "lr": 1.2e-2,
    },
    "medium": {
        "width": width_by(8192, 32),
        "widest": 256,
        "grow_images": growth(50_000, 0.5),
        "gamma": gamma_by_side(),
        "train.images": 4_000_000,
    },
    "large": {
        "width": width_by(16384, 512),
        "widest": 512,
        "latent": 512,
        "grow_images": growth(600_000, 0.8),
        "gamma": gamma_by_side(),
        "lr": rate_by_side(),
        "train.images": 12_000_000,
    },
}
TRAIN: dict[str, Any] = {"batch": 32, "ema_images": 10_000}


class Generator(nn.Module):
    """Latents (N, Z) -> (N, C, H', W') of a stage. `shown` is the number of images seen by training, which decides the
    stage that samples are generated with."""

    shown: Tensor

    def __init__(self, config: Config, spec: Spec, widths: list[int]) -> None:
        super().__init__()
        height, width, _ = base_grid(spec)
        self.grid = (height, width, widths[0])
        self.dense = EqualLinear(config.latent, height * width * widths[0])
        self.first = EqualConv(widths[0], widths[0])
        self.blocks = nn.ModuleList(
            nn.ModuleList([EqualConv(before, after, step="up"), EqualConv(after, after)])
            for before, after in pairwise(widths)
        )
        self.to_rgb = nn.ModuleList(EqualConv(width, spec.channels, 1, gain=1.0) for width in widths)
        self.register_buffer("shown", torch.zeros((), dtype=torch.int64))

    def forward(self, latents: Tensor, stage: int, alpha: float = 1.0) -> Tensor:
        x = self.dense(pixel_norm(latents)).unflatten(1, self.grid).permute(0, 3, 1, 2)  # channels last in memory
        x = pixel_norm(activate(self.first(pixel_norm(activate(x)))))
        before = x
        for block in self.blocks[:stage]:
            before = x
            for layer in block.children():
                x = pixel_norm(activate(layer(x)))
        image = torch.tanh(self.to_rgb[stage](x))
        if alpha < 1:
            image = grow.fade(repeat(torch.tanh(self.to_rgb[stage - 1](before))), image, alpha)
        return image


class PGGAN(System):
    """A generator and a discriminator that grow together, by a schedule over the images seen."""

    averaged = ("generator",)
    renamed = {"generator.colours.": "generator.to_rgb.", "discriminator.colours.": "discriminator.from_rgb."}
    config: Config

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        height, width, self.doublings = base_grid(spec)
        widths = channels(config.width, config.widest, self.doublings)[::-1]
        self.generator = Generator(config, spec, widths)
        self.discriminator = grow.GrowingDiscriminator(widths, (height, width), spec.channels)
        self.augment = augment.Augment(config.augment)

    @classmethod
    def least_images(cls, config: Config, spec: Spec) -> int:
        return grow.grown_after(config.grow_images, base_grid(spec)[2], config.first)

    @classmethod
    def continued(cls, config: Config, spec: Spec, seen: int, to: Spec) -> dict[str, Any] | None:
        return grown_further(config, spec, seen, to)

    def adam(self) -> dict[str, Adam]:
        c = R1_EVERY / (R1_EVERY + 1) if self.config.loss == "logistic" else 1.0  # compensates for the steps of R1
        rate = self.config.lr
        return {"generator": Adam(rate, 0.0, 0.99), "discriminator": Adam(rate * c, 0.0, 0.99**c)}

    def phases(self) -> list[Phase]:
        generator = Phase("generator", ("generator",), self.generator_loss)
        if self.config.loss == "wgan-gp":
            return [generator, Phase("discriminator", ("discriminator",), self.wasserstein_loss)]
        return [
            generator,
            Phase("discriminator", ("discriminator",), self.logistic_loss),
            Phase("r1", ("discriminator",), self.r1_loss, R1_EVERY),
        ]

    def stage(self, seen: int) -> tuple[int, float]:
        """(stage, alpha) after `seen` images, see `ganforge.nn.grow.stage_at`."""
        return grow.stage_at(seen, self.config.grow_images, self.doublings, self.config.first)

    def generator_loss(self, batch: Batch) -> dict[str, Tensor]:
        """The loss of the discriminator's scores of new generated images."""
        self.generator.shown.fill_(batch.seen)
        fakes = self.generator(self.noise(batch), *self.stage(batch.seen))
        batch.shared["fakes"] = fakes.detach()
        score = self._score(fakes, batch)
        return {"loss": -score.mean() if self.config.loss == "wgan-gp" else losses.non_saturating(score)}

    def wasserstein_loss(self, batch: Batch) -> dict[str, Tensor]:
        """The Wasserstein loss, the gradient penalty (Gulrajani et al. 2017, eq. 3) in float32, and the drift
        penalty of appendix A.1."""
        reals, fakes = self._reals(batch), batch.shared["fakes"].float()
        real, fake = self._score(reals, batch), self._score(fakes, batch)
        with torch.autocast(reals.device.type, enabled=False):
            between = reals.lerp(fakes, torch.rand(len(reals), 1, 1, 1, device=reals.device)).requires_grad_(True)
            slope = squared_gradient(self._score(between, batch), between).clamp(min=1e-12).sqrt()
        penalty = (slope - 1).square().mean()
        loss = fake.mean() - real.mean() + batch.caution * GRADIENT * penalty + DRIFT * real.square().mean()
        report = {"loss": loss, "real": real.mean(), "fake": fake.mean(), "gradient": slope.mean()}
        return report | self.augment.update(real, batch)

    def logistic_loss(self, batch: Batch) -> dict[str, Tensor]:
        """The logistic loss, on the images that the generator's phase of this step has generated."""
        real, fake = self._score(self._reals(batch), batch), self._score(batch.shared["fakes"], batch)
        report = {"loss": losses.logistic(real, fake), "real": real.mean(), "fake": fake.mean()}
        return report | self.augment.update(real, batch)

    def r1_loss(self, batch: Batch) -> dict[str, Tensor]:
        """R1 of the real images, in float32."""
        with torch.autocast(batch.images.device.type, enabled=False):
            reals = self._reals(batch).detach().requires_grad_(True)
            penalty = squared_gradient(self._score(reals, batch), reals).mean()
        weight = batch.caution * R1_EVERY * gamma_for(self.config.gamma, reals) / 2
        return {"loss": weight * penalty, "gradient": penalty}

    def generate(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        stage, alpha = self.stage(int(self.generator.shown))
        images = self.generator(latents, stage, alpha)
        return crop(grow.enlarge_to(images, self.doublings - stage), self.spec)

    def _reals(self, batch: Batch) -> Tensor:
        return grow.reals_at(pad(batch.images, self.spec), *self.stage(batch.seen), self.doublings)

    def _score(self, images: Tensor, batch: Batch) -> Tensor:
        scores: Tensor = self.discriminator(self.augment(images), *self.stage(batch.seen))
        return scores


SYSTEM = PGGAN
