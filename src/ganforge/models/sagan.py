"""sagan: residual networks with self-attention, both spectrally normalised.

Zhang et al. 2019, "Self-Attention Generative Adversarial Networks"; with labels, the generator has conditional batch
normalisation and the discriminator is a projection discriminator (Miyato and Koyama 2018, "cGANs with Projection
Discriminator"). An unlabelled store counts as one class. The blocks resample by strided 4x4 convolutions, which are
fast on a CPU, where the paper has 3x3 ones and a plain resize."""

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
from ganforge.nn.attention import SelfAttention
from ganforge.nn.layers import ConditionalBatchNorm, Down, Up, spectral
from ganforge.system import Adam, Batch, Phase, System, base_grid, channels, crop, width_by
from ganforge.transforms import augment


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of the self-attention GAN."""

    latent: int = setting(128, "numbers in a latent", low=1, high=4096)
    width: int = setting(
        32, "channels at the largest inner grid; each halving doubles them, up to widest", low=4, high=1024
    )
    widest: int = setting(0, "most channels of a grid; 0: 8 x width", low=0, high=4096)
    labels: str = setting(
        "auto", "auto: by class where the store has labels; none: without classes", choices=("auto", "none")
    )
    bound: float = setting(1.0, "largest singular value of each weight", low=0.1, high=100.0)
    lr: float = setting(1e-4, "learning rate of the generator", low=0.0, high=1.0)
    faster: float = setting(4.0, "factor of the discriminator's learning rate", low=0.01, high=100.0)
    augment: str = setting("", augment.HELP)

    def __post_init__(self) -> None:
        augment.parse(self.augment)


PRESETS: dict[str, dict[str, Any]] = {
    "small": {"width": 16, "latent": 32, "bound": 3.0, "lr": 1e-3, "faster": 2.0},
    "medium": {"train.images": 16_000_000},
    "large": {
        "width": width_by(8192, 256),
        "widest": 1024,
        "train.batch": 256,
        "train.images": 256_000_000,
        "train.ema_images": 500_000,
    },
}
TRAIN: dict[str, Any] = {"batch": 64}


class UpBlock(nn.Module):
    """(N, C, H, W) and (N,) int64 -> (N, out, 2H, 2W), residual."""

    def __init__(self, channels: int, out: int, classes: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList([ConditionalBatchNorm(channels, classes), ConditionalBatchNorm(out, classes)])
        self.up, self.conv = Up(channels, out, bias=False), nn.Conv2d(out, out, 3, 1, 1)
        self.shortcut = nn.Conv2d(channels, out, 1)

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        normed = F.relu_(self.norms[0](x, labels))
        y: Tensor = self.conv(F.relu_(self.norms[1](self.up(normed), labels)))
        return y + F.interpolate(self.shortcut(x), scale_factor=2.0, mode="nearest")


class DownBlock(nn.Module):
    """(N, C, H, W) -> (N, out, ceil(H/2), ceil(W/2)), residual."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.conv, self.down = nn.Conv2d(channels, channels, 3, 1, 1), Down(channels, out)
        self.shortcut = nn.Conv2d(channels, out, 1)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.down(F.relu(self.conv(F.relu(x))))
        shortcut: Tensor = self.shortcut(F.avg_pool2d(x, 2, ceil_mode=True))
        return y + shortcut


class Generator(nn.Module):
    """(N, Z) and (N,) int64 -> (N, C, H, W) in [-1, 1]: a dense layer to the base grid, then residual blocks with
    self-attention midway."""

    def __init__(self, config: Config, spec: Spec, classes: int) -> None:
        super().__init__()
        self.spec = spec
        height, width, doublings = base_grid(spec)
        widths = channels(config.width, config.widest, doublings)[::-1]
        self.grid = (height, width, widths[0])
        # no bias: it would dominate the output of the bounded weight
        self.dense = nn.Linear(config.latent, height * width * widths[0], bias=False)
        self.blocks = nn.ModuleList(UpBlock(a, b, classes) for a, b in pairwise(widths))
        self.midway = (doublings - 1) // 2
        self.attention = SelfAttention(widths[self.midway + 1] if doublings else widths[0])
        self.norm = nn.BatchNorm2d(widths[-1])
        self.last = nn.Conv2d(widths[-1], spec.channels, 3, 1, 1)
        _normalise(self, config.bound)

    def forward(self, latents: Tensor, labels: Tensor) -> Tensor:
        x = self.dense(latents).unflatten(1, self.grid).permute(0, 3, 1, 2)  # channels last in memory
        if not self.blocks:
            x = self.attention(x)
        for n, block in enumerate(self.blocks):
            x = block(x, labels)
            if n == self.midway:
                x = self.attention(x)
        return torch.tanh(crop(self.last(F.relu_(self.norm(x))), self.spec))


class Discriminator(nn.Module):
    """(N, C, H, W) and (N,) int64 -> scores (N,) float32: residual blocks with self-attention midway, a sum over the
    pixels, and a projection."""

    def __init__(self, config: Config, spec: Spec, classes: int) -> None:
        super().__init__()
        doublings = base_grid(spec)[2]
        widths = channels(config.width, config.widest, max(1, doublings))
        self.stem = Down(spec.channels, widths[0])
        self.blocks = nn.ModuleList(DownBlock(a, b) for a, b in pairwise(widths))
        self.midway = max(0, doublings // 2 - 1)
        self.attention = SelfAttention(widths[self.midway])
        self.score = nn.Linear(widths[-1], 1)
        self.classes = nn.Embedding(classes, widths[-1])
        _normalise(self, config.bound)

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        x = self.stem(images)
        for n, block in enumerate(self.blocks):
            if n == self.midway:
                x = self.attention(x)
            x = block(x)
        features = F.relu(x).float().sum((2, 3))
        scores: Tensor = self.score(features)[:, 0].float()
        projected: Tensor = (self.classes(labels) * features).sum(1)
        return scores + projected


def _normalise(network: nn.Module, bound: float) -> None:
    """Spectral normalisation of every weight but those of batch normalisation."""
    inside = [m for norm in network.modules() if isinstance(norm, ConditionalBatchNorm) for m in norm.modules()]
    for layer in list(network.modules()):
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear, nn.Embedding)) and layer not in inside:
            nn.init.orthogonal_(layer.weight)
            spectral(layer, bound)


class SAGAN(System):
    """Residual generator and discriminator with attention."""

    averaged = ("generator",)
    renamed = {".straight.": ".shortcut."}
    config: Config

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        self.classes = len(spec.classes) if config.labels == "auto" else 0
        self.generator = Generator(config, spec, max(1, self.classes))
        self.discriminator = Discriminator(config, spec, max(1, self.classes))
        self.augment = augment.Augment(config.augment)

    def adam(self) -> dict[str, Adam]:
        lr = self.config.lr
        return {"generator": Adam(lr, 0.0, 0.9), "discriminator": Adam(lr * self.config.faster, 0.0, 0.9)}

    def phases(self) -> list[Phase]:
        return [Phase("both", ("generator", "discriminator"), self.loss)]

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """One-stage training: one pass for both networks. The generated images have the classes of the real ones."""
        labels = self._labels(batch.images, batch.labels)
        fakes = self.generator(self.noise(batch), labels)
        images = torch.cat([batch.images.to(fakes.dtype), fakes])
        real, fake = self.discriminator(self.augment(images), labels.repeat(2)).chunk(2)
        return losses.one_stage_hinge(real, fake, fakes) | self.augment.update(real, batch)

    def _labels(self, like: Tensor, labels: Tensor | None) -> Tensor:
        """Class 0 for all where there are none."""
        if labels is None or not self.classes:
            return torch.zeros(len(like), dtype=torch.int64, device=like.device)
        return labels

    def generate(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        images: Tensor = self.generator(latents, self._labels(latents, labels))
        return images


SYSTEM = SAGAN
