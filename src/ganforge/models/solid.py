"""solid: a GAN of three-dimensional convolutions for solids, by class where the store has labels.

Wu et al. 2016, "Learning a Probabilistic Latent Space of Object Shapes via 3D Generative-Adversarial Modeling"; with
Miyato et al. 2018, "Spectral Normalization for GANs", and the hinge loss, both networks learn at one rate, and no step
of the discriminator has to be left out. Blocks of 2x2x2 voxels are channels at both ends (Shi et al. 2016, "Real-Time
Single Image and Video Super-Resolution Using an Efficient Sub-Pixel Convolutional Neural Network", in three
dimensions), so that an eighth of the sites has to be computed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ganforge.base.config import setting
from ganforge.media.solid import Solid as SolidMedium
from ganforge.media.spec import Spec
from ganforge.nn import losses
from ganforge.nn.layers import spectral
from ganforge.nn.schedules import Decay
from ganforge.system import Adam, Batch, Phase, System, channels
from ganforge.transforms import augment


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of the GAN of solids."""

    latent: int = setting(64, "numbers in a latent", low=1, high=4096)
    embedding: int = setting(32, "numbers in the embedding of a class", low=1, high=4096)
    width: int = setting(
        32, "channels at half the resolution; each halving doubles them, up to widest", low=4, high=1024
    )
    widest: int = setting(0, "most channels of a grid; 0: 8 x width", low=0, high=4096)
    labels: str = setting(
        "auto", "auto: by class where the store has labels; none: without classes", choices=("auto", "none")
    )
    bound: float = setting(1.5, "largest singular value of each of the discriminator's weights", low=0.1, high=100.0)
    lr: float = setting(2e-3, "learning rate of both networks", low=0.0, high=1.0)
    hold: int = setting(
        0, "images after which the learning rates fall in inverse proportion to the images shown; 0: never", low=0
    )
    augment: str = setting("", augment.HELP)

    def __post_init__(self) -> None:
        augment.parse(self.augment)


PRESETS: dict[str, dict[str, Any]] = {
    "small": {"width": 16},
    "medium": {"train.batch": 32, "train.images": 1_000_000},
    "large": {"width": 64, "latent": 128, "train.batch": 64, "train.images": 4_000_000},
}
TRAIN: dict[str, Any] = {"batch": 16, "cooldown": 0.3}
_LAYOUT = torch.channels_last_3d  # twice as fast as the other one on a CPU


def base_cube(spec: Spec) -> tuple[int, int]:
    """(side, doublings): the cube that a generator starts from, and how often it doubles up to half the resolution. The
    fewest doublings for which its side is at most 4, rounded up: 32 -> 4, 2; 24 -> 3, 2; 18 -> 3, 2."""
    half, doublings = math.ceil(spec.height / 2), 0
    while half / 2**doublings > 4.5:
        doublings += 1
    return math.ceil(half / 2**doublings), doublings


def to_blocks(x: Tensor) -> Tensor:
    """(N, C, 2D, 2H, 2W) -> (N, 8C, D, H, W)."""
    count, size, deep, high, wide = x.shape
    x = x.reshape(count, size, deep // 2, 2, high // 2, 2, wide // 2, 2)
    return x.permute(0, 1, 3, 5, 7, 2, 4, 6).reshape(count, 8 * size, deep // 2, high // 2, wide // 2)


def from_blocks(x: Tensor) -> Tensor:
    """(N, 8C, D, H, W) -> (N, C, 2D, 2H, 2W), the inverse of `to_blocks`."""
    count, size, deep, high, wide = x.shape
    x = x.reshape(count, size // 8, 2, 2, 2, deep, high, wide)
    return x.permute(0, 1, 5, 2, 6, 3, 7, 4).reshape(count, size // 8, 2 * deep, 2 * high, 2 * wide)


def blur(x: Tensor) -> Tensor:
    """(N, C, D, H, W) -> the same: the binomial filter 1 2 1 along each axis, with the border repeated."""
    for axis in (2, 3, 4):
        size = x.shape[axis]
        ends = x.narrow(axis, 0, 1), x.narrow(axis, size - 1, 1)
        padded = torch.cat([ends[0], x, ends[1]], axis)
        x = (padded.narrow(axis, 0, size) + padded.narrow(axis, 2, size)) / 4 + x / 2
    return x


class Generator(nn.Module):
    """(N, Z), and (N,) int64 where there are classes -> (N, slices, H, W) in [-1, 1]: a dense layer to a small cube,
    transposed convolutions up to half the resolution, a convolution to blocks of voxels, and a low-pass filter (Karras
    et al. 2019, "A Style-Based Generator Architecture for Generative Adversarial Networks", appendix C)."""

    def __init__(self, config: Config, spec: Spec, classes: int) -> None:
        super().__init__()
        self.side = spec.height
        base, doublings = base_cube(spec)
        widths = channels(config.width, config.widest, doublings)[::-1]
        self.cube = (widths[0], base, base, base)
        self.embedding = nn.Embedding(classes, config.embedding) if classes else None
        inputs = config.latent + (config.embedding if classes else 0)
        self.dense = nn.Linear(inputs, math.prod(self.cube), bias=False)
        self.norms = nn.ModuleList(nn.BatchNorm3d(width) for width in widths)
        self.ups = nn.ModuleList(nn.ConvTranspose3d(a, b, 4, 2, 1, bias=False) for a, b in pairwise(widths))
        self.last = nn.Conv3d(widths[-1], 8, 3, 1, 1)
        for layer in (self.dense, *self.ups, self.last):
            nn.init.normal_(layer.weight, 0, 0.02)
        with torch.no_grad():  # at first all voxels of a block are alike, and most of them empty
            self.last.weight.copy_(self.last.weight[:1].expand_as(self.last.weight))
            nn.init.constant_(self.last.bias, -1.0)  # type: ignore[arg-type]

    def forward(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        if self.embedding is not None:
            latents = torch.cat([latents, self.embedding(labels)], 1)
        x = self.dense(latents).unflatten(1, self.cube).contiguous(memory_format=_LAYOUT)
        x = F.relu_(self.norms[0](x))
        for layer, norm in zip(self.ups, self.norms[1:], strict=True):
            x = F.relu_(norm(layer(x)))
        x = blur(from_blocks(self.last(x)).float())[:, 0]  # without it, a lattice of voxels stays for long
        start = (x.shape[1] - self.side) // 2
        inside = slice(start, start + self.side)
        return torch.tanh(x[:, inside, inside, inside])


class Discriminator(nn.Module):
    """(N, slices, H, W), and labels (N,) int64 where there are classes -> scores (N,) float32.

    A convolution of blocks of voxels, strided ones down to a cube of about 4, a dense layer and, with classes, a
    projection (Miyato and Koyama 2018, "cGANs with Projection Discriminator", eq. 3)."""

    def __init__(self, config: Config, spec: Spec, classes: int) -> None:
        super().__init__()
        side = math.ceil(spec.height / 2)
        _, halvings = base_cube(spec)
        widths = channels(config.width, config.widest, halvings)
        layers: list[nn.Module] = [nn.Conv3d(8, widths[0], 3, 1, 1), nn.ReLU()]
        for before, after in pairwise(widths):
            layers += [nn.Conv3d(before, after, 4, 2, 1), nn.ReLU()]
            side //= 2
        self.features = nn.Sequential(*layers)
        self.score = nn.Linear(widths[-1] * side**3, 1)
        self.embedding = nn.Embedding(classes, widths[-1] * side**3) if classes else None
        for layer in (*self.features, self.score, self.embedding):
            if isinstance(layer, (nn.Conv3d, nn.Linear, nn.Embedding)):
                nn.init.normal_(layer.weight, 0, 0.02)
                spectral(layer, config.bound)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        odd = images.shape[1] % 2
        voxels = F.pad(images, (0, odd, 0, odd, 0, odd), value=-1.0) if odd else images
        blocks = to_blocks(voxels[:, None]).contiguous(memory_format=_LAYOUT)
        features = self.features(blocks).flatten(1)
        scores: Tensor = self.score(features)[:, 0].float()
        return scores if self.embedding is None else scores + (self.embedding(labels) * features).sum(1)


class Solid(System):
    """Generator and discriminator of three-dimensional convolutions."""

    averaged = ("generator",)
    media = (SolidMedium,)
    config: Config

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        self.classes = len(spec.classes) if config.labels == "auto" else 0
        self.generator = Generator(config, spec, self.classes)
        self.discriminator = Discriminator(config, spec, self.classes)
        self.augment = augment.Augment(config.augment)

    def adam(self) -> dict[str, Adam]:
        hold = self.config.hold
        adam = Adam(Decay(self.config.lr, hold) if hold else self.config.lr, 0.0, 0.99)
        return {"generator": adam, "discriminator": adam}

    def phases(self) -> list[Phase]:
        return [Phase("both", ("generator", "discriminator"), self.loss)]

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """One-stage training: one pass for both networks. The generated solids have the classes of the real ones."""
        fakes = self.generate(self.noise(batch), batch.labels)
        solids = torch.cat([batch.images.to(fakes.dtype), fakes])
        labels = batch.labels.repeat(2) if batch.labels is not None else None
        real, fake = self.discriminator(self.augment(solids), labels).chunk(2)
        return losses.one_stage_hinge(real, fake, fakes) | self.augment.update(real, batch)

    def generate(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        solids: Tensor = self.generator(latents, labels)
        return solids


SYSTEM = Solid
