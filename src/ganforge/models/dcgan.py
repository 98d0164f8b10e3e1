"""dcgan: a convolutional GAN with a spectrally normalised discriminator and the hinge loss.

Radford et al. 2016, "Unsupervised Representation Learning with Deep Convolutional GANs", for the generator and the
classic discriminator; Miyato et al. 2018, "Spectral Normalization for GANs", for the default one. By class: the one-hot
label is concatenated with the latent, and the discriminator is a projection discriminator (Miyato and Koyama 2018,
"cGANs with Projection Discriminator")."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrize import register_parametrization

from ganforge.base.config import setting
from ganforge.media.spec import Spec
from ganforge.nn import losses
from ganforge.nn.layers import Down, SpectralNorm, Up
from ganforge.nn.schedules import Decay
from ganforge.system import Adam, Batch, Phase, System, base_grid, channels, crop, width_by, with_label
from ganforge.transforms import augment


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of the DCGAN."""

    latent: int = setting(32, "numbers in a latent", low=1, high=4096)
    width: int = setting(
        64, "channels at the largest inner grid; each halving doubles them, up to widest", low=4, high=1024
    )
    widest: int = setting(0, "most channels of a grid; 0: 8 x width", low=0, high=4096)
    discriminator: str = setting(
        "spectral", "spectral (norm, hinge) or classic (batch norm, cross-entropy)", choices=("spectral", "classic")
    )
    bound: float = setting(1.0, "largest singular value of each of the discriminator's weights", low=0.1, high=100.0)
    lr: float = setting(
        2e-3, "learning rate of both networks; the classic discriminator takes a tenth", low=0.0, high=1.0
    )
    hold: int = setting(
        0, "images after which the learning rates fall in inverse proportion to the images shown; 0: never", low=0
    )
    beta1: float = setting(0.0, "beta1 of Adam, the decay of the mean gradient; 0.5 for classic", low=0.0, high=0.999)
    augment: str = setting("", augment.HELP)
    conditional: bool = setting(False, "generate by class; needs a store with labels")

    def __post_init__(self) -> None:
        augment.parse(self.augment)


HOLD = 1_000_000  # a longer run at a constant rate moves about without becoming better
PRESETS: dict[str, dict[str, Any]] = {
    "small": {"width": 32, "latent": 16, "hold": HOLD},
    "medium": {"hold": HOLD, "train.images": 2_500_000},
    "large": {
        "width": width_by(8192, 128),
        "widest": 1024,
        "latent": 64,
        "hold": HOLD,
        "train.images": 6_400_000,
    },
}
TRAIN: dict[str, Any] = {"batch": 64}


class Generator(nn.Module):
    """(N, Z + classes) -> (N, C, H, W) in [-1, 1]: a dense layer to the base grid, then transposed convolutions."""

    def __init__(self, config: Config, spec: Spec, classes: int) -> None:
        super().__init__()
        self.spec = spec
        height, width, doublings = base_grid(spec)
        widths = channels(config.width, config.widest, max(doublings - 1, 0))[::-1]
        self.grid = (height, width, widths[0])
        self.dense = nn.Linear(config.latent + classes, height * width * widths[0], bias=False)
        self.norms = nn.ModuleList(nn.BatchNorm2d(w) for w in widths)
        self.ups = nn.ModuleList(Up(a, b, bias=False) for a, b in pairwise(widths))
        self.last = Up(widths[-1], spec.channels) if doublings else nn.Conv2d(widths[-1], spec.channels, 3, 1, 1)
        for layer in (self.dense, *self.ups, self.last):
            nn.init.normal_(layer.weight, 0, 0.02)

    def forward(self, latents: Tensor) -> Tensor:
        x = self.dense(latents).unflatten(1, self.grid).permute(0, 3, 1, 2)  # channels last in memory
        x = F.relu_(self.norms[0](x))
        for layer, norm in zip(self.ups, self.norms[1:], strict=True):
            x = F.relu_(norm(layer(x)))
        return torch.tanh(crop(self.last(x), self.spec))


class Discriminator(nn.Module):
    """(N, C, H, W), and labels (N,) int64 where there are classes -> scores (N,) float32.

    Strided convolutions down to a grid of about 4, a dense layer and, with classes, a projection."""

    def __init__(self, config: Config, spec: Spec, classes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        widest = config.widest or 8 * config.width
        height, width, before, after = spec.height, spec.width, spec.channels, min(config.width, widest)
        while min(height, width) >= 6:
            layers += [Down(before, after)]
            if config.discriminator == "classic" and before != spec.channels:
                layers += [nn.BatchNorm2d(after)]
            layers += [nn.LeakyReLU(0.2) if config.discriminator == "classic" else nn.ReLU()]
            height, width, before, after = -(-height // 2), -(-width // 2), after, min(2 * after, widest)
        self.features = nn.Sequential(*layers)
        self.score = nn.Linear(before * height * width, 1)
        self.classes = nn.Embedding(classes, before * height * width) if classes else None
        for layer in (*self.features, self.score, self.classes):
            if isinstance(layer, (nn.Conv2d, nn.Linear, nn.Embedding)):
                nn.init.normal_(layer.weight, 0, 0.02)
                if config.discriminator == "spectral":
                    register_parametrization(layer, "weight", SpectralNorm(layer.weight, config.bound))

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        features = self.features(images).permute(0, 2, 3, 1).flatten(1)
        scores: Tensor = self.score(features)[:, 0].float()
        return scores if self.classes is None else scores + (self.classes(labels) * features).sum(1)


class DCGAN(System):
    """Convolutional generator and discriminator."""

    averaged = ("generator",)
    config: Config

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        self.generator = Generator(config, spec, self.classes)
        self.discriminator = Discriminator(config, spec, self.classes)
        self.augment = augment.Augment(config.augment)

    def adam(self) -> dict[str, Adam]:
        classic, hold = self.config.discriminator == "classic", self.config.hold
        rate = self.config.lr / 10 if classic else self.config.lr
        lr = Decay(rate, hold) if hold else rate
        adam = Adam(lr, 0.5, 0.999) if classic else Adam(lr, self.config.beta1, 0.99)  # Radford et al. 2016, section 4
        return {"generator": adam, "discriminator": adam}

    def phases(self) -> list[Phase]:
        if self.config.discriminator == "spectral":
            return [Phase("both", ("generator", "discriminator"), self.loss)]
        return [
            Phase("generator", ("generator",), self.classic_generator_loss),
            Phase("discriminator", ("discriminator",), self.classic_discriminator_loss),
        ]

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """One-stage training: one pass for both networks. The generated images have the classes of the real ones."""
        fakes = self.generate(self.noise(batch), batch.labels)
        images = torch.cat([batch.images.to(fakes.dtype), fakes])
        labels = batch.labels.repeat(2) if batch.labels is not None else None
        real, fake = self.discriminator(self.augment(images), labels).chunk(2)
        return losses.one_stage_hinge(real, fake, fakes) | self.augment.update(real, batch)

    def classic_generator_loss(self, batch: Batch) -> dict[str, Tensor]:
        """Batch normalisation mixes the pictures of a batch, so each network has a pass of its own here."""
        fakes = self.generate(self.noise(batch), batch.labels)
        batch.shared["fakes"] = fakes.detach()
        return {"loss": losses.non_saturating(self.discriminator(self.augment(fakes), batch.labels))}

    def classic_discriminator_loss(self, batch: Batch) -> dict[str, Tensor]:
        """Real and generated images in separate batches, each normalised by itself (Radford et al. 2016, section 3)."""
        real = self.discriminator(self.augment(batch.images), batch.labels)
        fake = self.discriminator(self.augment(batch.shared["fakes"]), batch.labels)
        report = {"loss": losses.logistic(real, fake), "real": real.mean(), "fake": fake.mean()}
        return report | self.augment.update(real, batch)

    def generate(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        images: Tensor = self.generator(with_label(latents, labels, self.classes))
        return images


SYSTEM = DCGAN
