"""cgan: a convolutional GAN that generates pictures of a given class.

Mirza and Osindero 2014, "Conditional Generative Adversarial Nets", for labels in both networks; Miyato and Koyama 2018,
"cGANs with Projection Discriminator", for the default discriminator. The class is embedded and concatenated with the
latent."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ganforge.base.config import setting
from ganforge.media.spec import Spec
from ganforge.nn import losses
from ganforge.nn.layers import Down, Up, spectral
from ganforge.nn.schedules import Decay
from ganforge.system import Adam, Batch, Phase, System, base_grid, channels, crop, width_by
from ganforge.transforms import augment


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of the conditional GAN."""

    latent: int = setting(32, "numbers in a latent", low=1, high=4096)
    embedding: int = setting(32, "numbers in the embedding of a class", low=1, high=4096)
    width: int = setting(
        64, "channels at the largest inner grid; each halving doubles them, up to widest", low=4, high=1024
    )
    widest: int = setting(0, "most channels of a grid; 0: 8 x width", low=0, high=4096)
    condition: str = setting(
        "projection",
        "how the discriminator uses the class: projection of its features, or concatenation with the picture",
        choices=("projection", "concatenation"),
    )
    bound: float = setting(1.5, "largest singular value of each of the discriminator's weights", low=0.1, high=100.0)
    lr: float = setting(2e-3, "learning rate of both networks", low=0.0, high=1.0)
    hold: int = setting(
        0, "images after which the learning rates fall in inverse proportion to the images shown; 0: never", low=0
    )
    augment: str = setting("", augment.HELP)

    def __post_init__(self) -> None:
        augment.parse(self.augment)


HOLD = 1_000_000  # a longer run at a constant rate moves about without becoming better
PRESETS: dict[str, dict[str, Any]] = {
    "small": {"width": 32, "latent": 16, "embedding": 16, "hold": HOLD},
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
    """(N, Z) and (N,) int64 -> (N, C, H, W) in [-1, 1]: a dense layer to the base grid, then transposed
    convolutions."""

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__()
        self.spec = spec
        height, width, doublings = base_grid(spec)
        widths = channels(config.width, config.widest, max(doublings - 1, 0))[::-1]
        self.grid = (height, width, widths[0])
        self.embedding = nn.Embedding(len(spec.classes), config.embedding)
        self.dense = nn.Linear(config.latent + config.embedding, height * width * widths[0], bias=False)
        self.norms = nn.ModuleList(nn.BatchNorm2d(w) for w in widths)
        self.ups = nn.ModuleList(Up(a, b, bias=False) for a, b in pairwise(widths))
        self.last = Up(widths[-1], spec.channels) if doublings else nn.Conv2d(widths[-1], spec.channels, 3, 1, 1)
        for layer in (self.dense, *self.ups, self.last):
            nn.init.normal_(layer.weight, 0, 0.02)

    def forward(self, latents: Tensor, labels: Tensor) -> Tensor:
        x = self.dense(torch.cat([latents, self.embedding(labels)], 1))
        x = x.unflatten(1, self.grid).permute(0, 3, 1, 2)  # channels last in memory
        x = F.relu_(self.norms[0](x))
        for layer, norm in zip(self.ups, self.norms[1:], strict=True):
            x = F.relu_(norm(layer(x)))
        return torch.tanh(crop(self.last(x), self.spec))


class Discriminator(nn.Module):
    """(N, C, H, W) and (N,) int64 -> scores (N,) float32. No layer mixes the pictures of a batch.

    With projection (Miyato and Koyama 2018, eq. 3) the score is w.h + e(class).h of the features h; with concatenation
    it is w.h, and a learned plane of the class is a further channel of the picture."""

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__()
        self.projects, classes = config.condition == "projection", len(spec.classes)
        self.plane = (1, spec.height, spec.width)
        layers: list[nn.Module] = []
        widest = config.widest or 8 * config.width
        height, width, after = spec.height, spec.width, min(config.width, widest)
        before = spec.channels + (not self.projects)
        while min(height, width) >= 6:
            layers += [Down(before, after), nn.ReLU()]
            height, width, before, after = -(-height // 2), -(-width // 2), after, min(2 * after, widest)
        self.features = nn.Sequential(*layers)
        self.score = nn.Linear(before * height * width, 1)
        self.embedding = nn.Embedding(classes, before * height * width if self.projects else spec.height * spec.width)
        if not self.projects:
            nn.init.normal_(self.embedding.weight, 0, 0.5)  # of a picture's own size
        for layer in (*self.features, self.score, *([self.embedding] if self.projects else [])):
            if not isinstance(layer, nn.ReLU):
                nn.init.normal_(layer.weight, 0, 0.02)  # type: ignore[arg-type]
                spectral(layer, config.bound)

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        embedded = self.embedding(labels)
        if not self.projects:
            images = torch.cat([images, embedded.unflatten(1, self.plane).to(images.dtype)], 1)
        features = self.features(images).permute(0, 2, 3, 1).flatten(1)
        scores: Tensor = self.score(features)[:, 0].float()
        return scores + (embedded * features).sum(1) if self.projects else scores


class CGAN(System):
    """Convolutional generator and discriminator, both conditioned on the class."""

    averaged = ("generator",)
    config: Config

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        self.generator = Generator(config, spec)
        self.discriminator = Discriminator(config, spec)
        self.augment = augment.Augment(config.augment)

    @classmethod
    def needs_labels(cls, config: Config) -> bool:
        """True."""
        return True

    def adam(self) -> dict[str, Adam]:
        hold = self.config.hold
        adam = Adam(Decay(self.config.lr, hold) if hold else self.config.lr, 0.0, 0.99)
        return {"generator": adam, "discriminator": adam}

    def phases(self) -> list[Phase]:
        return [Phase("both", ("generator", "discriminator"), self.loss)]

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """One-stage training: one pass for both networks. The generated images have the classes of the real ones."""
        assert batch.labels is not None
        fakes = self.generator(self.noise(batch), batch.labels)
        images = torch.cat([batch.images.to(fakes.dtype), fakes])
        real, fake = self.discriminator(self.augment(images), batch.labels.repeat(2)).chunk(2)
        return losses.one_stage_hinge(real, fake, fakes) | self.augment.update(real, batch)

    def generate(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        images: Tensor = self.generator(latents, labels)
        return images


SYSTEM = CGAN
