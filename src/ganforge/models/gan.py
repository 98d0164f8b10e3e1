"""gan: the first GAN, two stacks of dense layers.

Goodfellow et al. 2014, "Generative Adversarial Nets", with the usual additions of textbooks: leaky ReLU, batch
normalisation in the generator, and one-sided label smoothing (Salimans et al. 2016, section 3.4). By class: the one-hot
label is concatenated with the input of both networks (Mirza and Osindero 2014, "Conditional Generative Adversarial
Nets")."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from ganforge.base.config import setting
from ganforge.media.spec import Spec
from ganforge.nn import losses
from ganforge.system import Adam, Batch, Phase, System, with_label


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of the dense GAN."""

    latent: int = setting(100, "numbers in a latent", low=1, high=4096)
    width: int = setting(256, "units of the narrowest layer; the others have 2 and 4 times as many", low=8, high=4096)
    lr: float = setting(2e-4, "learning rate of both networks", low=0.0, high=1.0)
    beta1: float = setting(0.5, "beta1 of Adam, the decay of the mean gradient", low=0.0, high=0.999)
    smooth: float = setting(
        0.9, "target of the discriminator for real pictures (one-sided label smoothing)", low=0.5, high=1.0
    )
    conditional: bool = setting(False, "generate by class; needs a store with labels")


PRESETS: dict[str, dict[str, Any]] = {"small": {"width": 128}, "medium": {}, "large": {"width": 512}}
TRAIN: dict[str, Any] = {}


class Generator(nn.Sequential):
    """(N, Z + classes) -> (N, pixels) in [-1, 1]."""

    def __init__(self, config: Config, pixels: int, classes: int) -> None:
        widths = [config.latent + classes, config.width, 2 * config.width, 4 * config.width]
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [nn.Linear(before, after), nn.BatchNorm1d(after), nn.LeakyReLU(0.2)]
        super().__init__(*layers, nn.Linear(widths[-1], pixels), nn.Tanh())


class Discriminator(nn.Sequential):
    """(N, pixels + classes) -> logits (N, 1)."""

    def __init__(self, config: Config, pixels: int, classes: int) -> None:
        widths = [pixels + classes, 4 * config.width, 2 * config.width, config.width]
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [nn.Linear(before, after), nn.LeakyReLU(0.2)]
        super().__init__(*layers, nn.Linear(widths[-1], 1))


class GAN(System):
    """Dense generator and discriminator."""

    averaged = ("generator",)
    config: Config

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        self.generator = Generator(config, spec.pixels, self.classes)
        self.discriminator = Discriminator(config, spec.pixels, self.classes)

    @classmethod
    def least_batch(cls, config: Config, spec: Spec) -> int:
        return 2

    def adam(self) -> dict[str, Adam]:
        adam = Adam(self.config.lr, self.config.beta1, 0.999)
        return {"generator": adam, "discriminator": adam}

    def phases(self) -> list[Phase]:
        return [Phase("both", ("generator", "discriminator"), self.loss)]

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """One-stage training: one pass for both networks. The generated images have the classes of the real ones."""
        fakes = self.generator(with_label(self.noise(batch), batch.labels, self.classes))
        reals = batch.images.permute(0, 2, 3, 1).flatten(1).to(fakes.dtype)
        inputs = [with_label(images, batch.labels, self.classes) for images in (reals, fakes)]
        real, fake = self.discriminator(torch.cat(inputs))[:, 0].float().chunk(2)
        return losses.one_stage_logistic(real, fake, fakes, self.config.smooth)

    def generate(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        flat: Tensor = self.generator(with_label(latents, labels, self.classes))
        shape = (self.spec.height, self.spec.width, self.spec.channels)
        return flat.unflatten(1, shape).permute(0, 3, 1, 2)  # type: ignore[no-any-return]


SYSTEM = GAN
