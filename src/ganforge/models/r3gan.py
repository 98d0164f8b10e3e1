"""r3gan: a relativistic loss, two gradient penalties, and plain modern residual blocks.

Huang et al. 2024, "The GAN is dead; long live the GAN! A Modern GAN Baseline". No layer normalises; generator and
discriminator mirror each other. Learning rate, beta2, penalties, averaging and augmentation follow one cosine over the
first `span` images. With `conditional`, the class is embedded and concatenated with the latent, and the
discriminator is a projection discriminator (Miyato and Koyama 2018)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ganforge.base.config import setting
from ganforge.media.spec import Spec
from ganforge.nn import penalties
from ganforge.nn.layers import Same, leaky, same
from ganforge.nn.schedules import Cosine
from ganforge.system import Adam, Batch, Phase, Rule, System, base_grid, channels, crop, pad, width_by
from ganforge.transforms import augment


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of R3GAN."""

    latent: int = setting(64, "numbers in a latent, and in the embedding of a class", low=1, high=4096)
    width: int = setting(64, "channels at the full resolution; each halving doubles them", low=8, high=1024)
    widest: int = setting(0, "most channels of a grid; 0: 8 x width", low=0, high=4096)
    blocks: int = setting(2, "residual blocks at each grid", low=1, high=16)
    group: int = setting(16, "channels in a group of the 3x3 convolutions, about", low=1, high=1024)
    gamma: float = setting(
        0.0,
        "weight of both gradient penalties at first; 0: 2 (sqrt(height x width) / 64)^3",
        low=0.0,
        high=10000.0,
    )
    gamma_end: float = setting(0.1, "that weight in the end, as a share of the first", low=0.0, high=1.0)
    lr: float = setting(2e-4, "learning rate of both networks at first", low=0.0, high=1.0)
    lr_end: float = setting(0.25, "that rate in the end, as a share of the first", low=0.0, high=1.0)
    beta2: float = setting(0.9, "beta2 of Adam at first, the decay of the mean squared gradient", low=0.0, high=0.9999)
    beta2_end: float = setting(0.99, "beta2 in the end", low=0.0, high=0.9999)
    span: int = setting(1_000_000, "images over which all of these change, along a cosine", low=1)
    augment: str = setting("", augment.HELP + "; a fixed probability grows from 0 over `span`")
    conditional: bool = setting(False, "generate by class; needs a store with labels")

    def __post_init__(self) -> None:
        augment.parse(self.augment)


PUBLISHED = {32: 0.05, 64: 2.0, 256: 150.0}  # side -> gamma at first, for CIFAR-10 and faces of 64 and 256 px


def _gamma(spec: Spec) -> float:
    return PUBLISHED.get(round(math.sqrt(spec.height * spec.width)), 0.0)


def _by_resolution(spec: Spec) -> float:
    """A power law through the published weights for faces, 2 at 64 px and 150 at 256."""
    return 2 * (math.sqrt(spec.height * spec.width) / 64) ** 3


def _ada(spec: Spec) -> str:
    if spec.medium.augmentations is not None:
        return ""
    return "ada 0.55" if max(spec.height, spec.width) <= 32 else "ada 0.3"


SPAN = Rule("4/5 of the run, at most 20,000,000", lambda spec, images: min(20_000_000, -(-images * 4 // 5)), True)
PRESETS: dict[str, dict[str, Any]] = {
    "small": {
        "width": 16,
        "blocks": 1,
        "gamma": Rule("2.5, or by the rule of 0 where that is more", lambda spec, _: max(2.5, _by_resolution(spec))),
        "lr": 1e-3,
        "span": SPAN,
        "train.batch": 16,
    },
    "medium": {"span": SPAN},
    "large": {
        "width": width_by(24_576, 768),
        "widest": 768,
        "gamma": Rule("0.05 at 32 px, 2 at 64, 150 at 256, else by the rule of 0", lambda spec, _: _gamma(spec)),
        "augment": Rule("ada 0.55 up to 32 px, else ada 0.3; for pictures only", lambda spec, _: _ada(spec)),
        "span": SPAN,
        "train.images": 25_000_000,
        "train.batch": Rule(
            "256 up to 64 px, else 32", lambda spec, _: 256 if spec.height * spec.width <= 64**2 else 32
        ),
        "train.ema_images": 500_000,
        "train.ema_span": SPAN,
    },
}
TRAIN: dict[str, Any] = {"batch": 32}


class Point(Same):
    """Convolution 1x1, which changes the channels only."""

    def __init__(self, channels: int, out: int, bias: bool = True) -> None:
        super().__init__(channels, out, 1, bias=bias)


class Block(nn.Module):
    """x + 1x1(3x3 in groups(1x1(x))), twice as wide inside: (N, C, H, W) -> the same shape.

    Initialised by Fixup (Zhang et al. 2019, "Fixup Initialization", section 3): the last layer is zero, the others are
    scaled by L^(-1/4), for three layers a block and L = `blocks` in the whole network."""

    def __init__(self, channels: int, group: int, blocks: int) -> None:
        super().__init__()
        inner = 2 * channels
        self.widen = Point(channels, inner)
        self.mix = Same(inner, inner, groups=math.gcd(inner, max(1, inner // group)))
        self.narrow = Point(inner, channels, bias=False)
        for layer in (self.widen, self.mix):
            _initialise(layer, blocks**-0.25)
        nn.init.zeros_(self.narrow.weight)

    def forward(self, x: Tensor, one: Tensor | None = None) -> Tensor:
        """`one` (N, 1, 1, 1), if given, is multiplied with the biases."""
        y = leaky(_biased(self.widen, x, one))
        y = leaky(_biased(self.mix, y, one))
        return x + self.narrow(y)  # type: ignore[no-any-return]


def _biased(layer: Same, x: Tensor, one: Tensor | None) -> Tensor:
    if one is None:
        return layer(x)  # type: ignore[no-any-return]
    y = same(x, layer.weight, None, layer.groups)
    return y + (one * layer.bias[:, None, None]).to(y.dtype)  # type: ignore[index]


def _initialise(layer: nn.Module, gain: float = 1.0) -> None:
    """He initialisation (He et al. 2015) for leaky ReLU, times `gain`; biases zero."""
    nn.init.kaiming_normal_(layer.weight, 0.2)  # type: ignore[arg-type]
    with torch.no_grad():
        layer.weight.mul_(gain)  # type: ignore[operator]
        if layer.bias is not None:
            layer.bias.zero_()  # type: ignore[operator]


def _plan(config: Config, spec: Spec) -> tuple[int, int, list[int]]:
    """(height, width, widths): the sides of the smallest grid, and the channels of each grid, the smallest first."""
    height, width, doublings = base_grid(spec)
    return height, width, channels(config.width, config.widest, doublings)[::-1]


def _change(before: int, after: int) -> nn.Module:
    """From one number of channels to another; nothing where they are equal."""
    return nn.Identity() if before == after else Point(before, after, bias=False)


def _start(layer: nn.Module) -> None:
    """Weights that keep the variance, for a layer that no activation follows."""
    if isinstance(layer, nn.Conv2d | nn.Linear):
        nn.init.normal_(layer.weight, 0, layer.weight[0].numel() ** -0.5)


class Generator(nn.Module):
    """(N, Z), and (N,) int64 where there are classes -> (N, C, H, W): a learned grid whose channels are scaled by the
    latent, then stages of residual blocks, each after a bilinear upsampling."""

    def __init__(self, config: Config, spec: Spec, classes: int) -> None:
        super().__init__()
        self.spec = spec
        height, width, widths = _plan(config, spec)
        total = config.blocks * len(widths)
        self.embedding = nn.Embedding(classes, config.latent) if classes else None
        self.grid = nn.Parameter(torch.randn(widths[0], height, width))
        self.weigh = nn.Linear(config.latent * (2 if classes else 1), widths[0], bias=False)
        nn.init.normal_(self.weigh.weight, 0, self.weigh.in_features**-0.5)
        self.stages = nn.ModuleList(
            nn.Sequential(*(Block(width, config.group, total) for _ in range(config.blocks))) for width in widths
        )
        self.changes = nn.ModuleList(_change(a, b) for a, b in pairwise(widths))
        self.last = Point(widths[-1], spec.channels, bias=False)
        for layer in (*self.changes, self.last):
            _start(layer)

    def forward(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        if self.embedding is not None:
            latents = torch.cat([latents, self.embedding(labels)], 1)
        x = self.weigh(latents)[:, :, None, None] * self.grid
        x = self.stages[0](x.contiguous(memory_format=torch.channels_last))
        for change, stage in zip(self.changes, self.stages[1:], strict=True):
            x = stage(F.interpolate(change(x), scale_factor=2, mode="bilinear"))
        return crop(self.last(x), self.spec)


class Discriminator(nn.Module):
    """(N, C, H, W), and (N,) int64 where there are classes -> scores (N,) float32: the generator mirrored."""

    def __init__(self, config: Config, spec: Spec, classes: int) -> None:
        super().__init__()
        self.spec = spec
        height, width, widths = _plan(config, spec)
        total = config.blocks * len(widths)
        self.first = Point(spec.channels, widths[-1], bias=False)
        self.stages = nn.ModuleList(
            nn.ModuleList(Block(width, config.group, total) for _ in range(config.blocks)) for width in widths[::-1]
        )
        self.changes = nn.ModuleList(_change(a, b) for a, b in pairwise(widths[::-1]))
        self.gather = nn.Parameter(torch.randn(widths[0], height, width) * (height * width) ** -0.5)
        self.score = nn.Linear(widths[0], config.latent if classes else 1, bias=False)
        self.embedding = nn.Embedding(classes, config.latent) if classes else None
        for layer in (self.first, *self.changes, self.score):
            _start(layer)

    def forward(self, images: Tensor, labels: Tensor | None = None, one: Tensor | None = None) -> Tensor:
        """`one` (N, 1, 1, 1), if given, is multiplied with the biases: the score is then homogeneous in (images,
        one), it is t times as large for (t images, t one), t > 0."""
        x = self.first(pad(images, self.spec).contiguous(memory_format=torch.channels_last))
        for change, stage in zip((None, *self.changes), self.stages, strict=True):
            if change is not None:
                # not average pooling: in a second derivative torch would send zeros back through all layers
                x = change(F.interpolate(x, scale_factor=0.5, mode="bilinear"))
            for block in stage.children():
                x = block(x, one)
        scores: Tensor = self.score((x * self.gather).sum((2, 3)))
        if self.embedding is None:
            return scores[:, 0].float()
        return (scores * self.embedding(labels)).sum(1).float() * scores.shape[1] ** -0.5  # type: ignore[no-any-return]


class R3GAN(System):
    """Generator and discriminator of residual blocks."""

    averaged = ("generator",)
    revision = 2
    config: Config

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        self.classes = len(spec.classes) if config.conditional else 0
        self.generator = Generator(config, spec, self.classes)
        self.discriminator = Discriminator(config, spec, self.classes)
        self.augment = augment.Augment(config.augment)

    def adam(self) -> dict[str, Adam]:
        c = self.config
        adam = Adam(Cosine(c.lr, c.lr * c.lr_end, c.span), 0.0, Cosine(c.beta2, c.beta2_end, c.span))
        return {"generator": adam, "discriminator": adam}

    def phases(self) -> list[Phase]:
        return [Phase("both", ("generator", "discriminator"), self.loss)]

    def gamma(self, seen: int) -> float:
        """The weight of both penalties after `seen` images."""
        c = self.config
        first = c.gamma or _by_resolution(self.spec)
        return Cosine(first, first * c.gamma_end, c.span).at(seen)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Both losses and both penalties from one gradient g of the scores with respect to the images.

        The discriminator minimises softplus(fake - real) over pairs + gamma / 2 (R1 + R2) (section 2), the generator
        softplus(real - fake), whose derivative with respect to a generated image is -sigmoid(real - fake) g. The
        discriminator is homogeneous in (image, one), so by Euler's theorem a score equals <image, g> + one d score /
        d one, and so do their derivatives with respect to the weights: one backward pass through g gives the
        discriminator's gradient of scores and penalties. In the precision of the run, as in the paper's code; scores
        and g leave the network in float32. The scores of a relativistic loss have no zero, so the augmentation
        adapts to the sign of real - fake."""
        labels = batch.labels if self.classes else None
        self.augment.grow(Cosine(0.0, 1.0, self.config.span).at(batch.seen))
        fakes = self.generator(self.noise(batch), labels).float()
        count = len(fakes)
        images = torch.cat([batch.images, fakes.detach()]).requires_grad_()
        augmented, one = self.augment(images), images.new_ones(2 * count, 1, 1, 1, requires_grad=True)
        scores = self.discriminator(augmented, None if labels is None else labels.repeat(2), one)
        gradient, by_augmented, by_one = penalties.gradients(scores, images, augmented, one)
        scores = scores.detach()
        margin = scores[:count] - scores[count:]
        r1, r2 = gradient.square().flatten(1).sum(1).view(2, count).mean(1)
        push = torch.sigmoid(-margin) / count
        euler = (augmented.detach() * by_augmented).flatten(1).sum(1) + by_one.flatten()  # equal to the scores
        learned = (torch.cat([-push, push]) * euler).sum()
        loss = (
            learned
            - learned.detach()
            + F.softplus(-margin).mean()
            + batch.caution * self.gamma(batch.seen) / 2 * (r1 + r2)
        )
        pull = -torch.sigmoid(margin)[:, None, None, None] * gradient[count:] / count
        carried = (fakes * pull.detach()).sum()
        report = {"loss": loss + carried - carried.detach(), "generator": F.softplus(margin).mean()}
        return report | {"margin": margin.mean(), "r1": r1, "r2": r2} | self.augment.update(margin, batch)

    def generate(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        images: Tensor = self.generator(latents, labels if self.classes else None)
        return images.clamp(-1, 1)


SYSTEM = R3GAN
