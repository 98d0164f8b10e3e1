"""stylegan2: a generator with styles, and a residual discriminator.

Karras et al. 2020, "Analyzing and Improving the Image Quality of StyleGAN": modulated convolutions, a generator of
skips, regularisation now and then (appendix B), path length regularisation (section 3.2). Two simplifications for small
pictures are Karras et al. 2020's, "Training Generative Adversarial Networks with Limited Data", appendix C: a short
mapping network and R1 by resolution and batch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from ganforge.base.config import setting
from ganforge.media.spec import Spec
from ganforge.nn import augment, losses
from ganforge.nn.equal import EqualConv, EqualLinear, activate, deviation_map
from ganforge.nn.penalties import gamma_for, gradients, squared_gradient
from ganforge.nn.resample import double, halve
from ganforge.nn.style import Mapping, ModulatedConv, Noise, mixed
from ganforge.system import Adam, Batch, Phase, StyleSystem, base_grid, crop, pad

R1_EVERY, PATH_EVERY = 16, 4


@dataclass(frozen=True)
class Config:
    """Settings of StyleGAN2."""

    latent: int = setting(128, "numbers in a latent", low=1, high=4096)
    style: int = setting(128, "numbers in a style", low=1, high=4096)
    mapping: int = setting(2, "layers of the mapping network", low=1, high=16)
    width: int = setting(
        32, "channels at the full resolution; each halving doubles them, up to 8 times", low=4, high=1024
    )
    lr: float = setting(2.5e-3, "learning rate of both networks", low=0.0, high=1.0)
    gamma: float = setting(0.0, "weight of R1; 0: 0.0002 x height x width / batch", low=0.0, high=1e6)
    path: float = setting(
        1.0, "weight of the path length, in multiples of the paper's; 0 leaves it out", low=0.0, high=1e6
    )
    mixing: float = setting(0.9, "share of training pictures painted with two styles", low=0.0, high=1.0)
    conditional: bool = setting(False, "make pictures by class; the store has to have labels")
    augment: str = setting("", augment.HELP)

    def __post_init__(self) -> None:
        augment.parse(self.augment)


PRESETS: dict[str, dict[str, Any]] = {
    "small": {"width": 16, "latent": 64, "style": 64, "path": 0.0, "gamma": 0.1, "lr": 5e-3},
    "medium": {},
    "large": {"width": 64, "latent": 512, "style": 512, "mapping": 8},
}
TRAIN: dict[str, Any] = {"batch": 32, "ema_images": 10_000}


class Layer(nn.Module):
    """Modulated convolution, noise, bias, leaky ReLU."""

    def __init__(self, style: int, inputs: int, outputs: int, step: str = "") -> None:
        super().__init__()
        self.conv = ModulatedConv(style, inputs, outputs, 3, step)
        self.strength = nn.Parameter(torch.zeros(()))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor, style: Tensor, noise: Noise, code: Tensor | None) -> Tensor:
        y = self.conv(x, style)
        grain = noise(y, code, turn=self.conv.step == "")
        return activate(y + self.bias.to(y.dtype)[:, None, None] + self.strength.to(y.dtype) * grain)


class Generator(nn.Module):
    """Latents -> styles -> (N, C, H', W') before cropping; every resolution adds its part of the colours."""

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__()
        height, width, doublings = base_grid(spec)
        widths = [config.width * min(2**n, 8) for n in range(doublings, -1, -1)]
        self.layers = 1 + 2 * doublings
        self.mapping = Mapping(
            config.latent, config.style, config.mapping, len(spec.classes) if config.conditional else 0
        )
        self.constant = nn.Parameter(torch.randn(1, widths[0], height, width))
        self.noise = Noise(height * 2**doublings, width * 2**doublings)
        self.paint = nn.ModuleList([Layer(config.style, widths[0], widths[0])])
        for before, after in pairwise(widths):
            self.paint += [Layer(config.style, before, after, "up"), Layer(config.style, after, after)]
        self.colours = nn.ModuleList(ModulatedConv(config.style, w, spec.channels, 1, demodulate=False) for w in widths)
        self.bias = nn.Parameter(torch.zeros(spec.channels))

    def forward(self, styles: Tensor, code: Tensor | None = None) -> Tensor:
        """(N, L, W), and the noise's code or None for new noise -> (N, C, H', W')."""
        x = self.constant.expand(styles.shape[0], -1, -1, -1)
        x = self.paint[0](x, styles[:, 0], self.noise, code)
        image: Tensor = self.colours[0](x, styles[:, 0])
        for n, colour in enumerate(self.colours[1:]):
            x = self.paint[2 * n + 1](x, styles[:, 2 * n + 1], self.noise, code)
            x = self.paint[2 * n + 2](x, styles[:, 2 * n + 2], self.noise, code)
            image = double(image) + colour(x, styles[:, 2 * n + 2])
        return torch.tanh(image + self.bias.to(image.dtype)[:, None, None])


class Block(nn.Module):
    """(N, I, 2H, 2W) -> (N, O, H, W), residual."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = EqualConv(inputs, inputs)
        self.second = EqualConv(inputs, outputs, step="down", smooth=True, gain=1.0)  # HE, over sqrt 2 for the sum
        self.skip = EqualConv(inputs, outputs, 1, gain=math.sqrt(0.5))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.skip(halve(x))
        return activate(self.second(activate(self.first(x)))) + y


class Discriminator(nn.Module):
    """(N, C, H', W') -> (N,), a logit; with classes plus a projection of what it saw on the class (Miyato and Koyama
    2018)."""

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__()
        height, width, doublings = base_grid(spec)
        widths = [config.width * min(2**n, 8) for n in range(doublings + 1)]
        self.colours = EqualConv(spec.channels, widths[0], 1)
        self.blocks = nn.ModuleList(Block(a, b) for a, b in pairwise(widths))
        self.last = EqualConv(widths[-1] + 1, widths[-1])
        self.dense = EqualLinear(widths[-1] * height * width, widths[-1])
        self.score = EqualLinear(widths[-1], 1, gain=1.0)
        self.embedding = nn.Embedding(len(spec.classes), widths[-1]) if config.conditional else None

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        x = activate(self.colours(images))
        for block in self.blocks:
            x = block(x)
        x = activate(self.last(deviation_map(x)))
        x = activate(self.dense(x.permute(0, 2, 3, 1).flatten(1)))
        scores: Tensor = self.score(x)[:, 0].float()
        if self.embedding is not None:
            scores = scores + (self.embedding(labels) * x).sum(1) / math.sqrt(x.shape[1])
        return scores


class StyleGAN2(StyleSystem):
    """Skip generator and residual discriminator, with both penalties now and then."""

    averaged = ("generator",)
    config: Config
    generator: Generator
    path_mean: Tensor

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        self.generator = Generator(config, spec)
        self.discriminator = Discriminator(config, spec)
        self.register_buffer("path_mean", torch.zeros(()))
        self.augment = augment.Augment(config.augment)

    def adam(self) -> dict[str, Adam]:
        """Settings that leave the step as it was although a penalty has a step of its own now and then (appendix B)."""
        shares = {
            "generator": PATH_EVERY / (PATH_EVERY + bool(self.config.path)),
            "discriminator": R1_EVERY / (R1_EVERY + 1),
        }
        return {name: Adam(self.config.lr * c, 0.0, 0.99**c) for name, c in shares.items()}

    def phases(self) -> list[Phase]:
        path = [Phase("path", ("generator",), self.path_loss, PATH_EVERY)] if self.config.path else []
        return [
            Phase("generator", ("generator",), self.generator_loss),
            *path,
            Phase("discriminator", ("discriminator",), self.discriminator_loss),
            Phase("r1", ("discriminator",), self.r1_loss, R1_EVERY),
        ]

    def generator_loss(self, batch: Batch) -> dict[str, Tensor]:
        """The logistic loss that does not saturate, on fakes of which most have two styles."""
        labels = self._labels(batch)
        first, second = (self.generator.mapping(self.noise(batch), labels) for _ in range(2))
        self.generator.mapping.track(first)
        fakes = self.generator(mixed(first, second, self.layers, self.config.mixing))
        batch.shared["fakes"] = fakes.detach()
        return {"loss": losses.non_saturating(self.discriminator(self.augment(fakes), labels))}

    def path_loss(self, batch: Batch) -> dict[str, Tensor]:
        """Equation 4: how far a step in style space moves the picture should be the same everywhere. On half a
        batch."""
        labels = self._labels(batch)
        count = max(1, len(batch.images) // 2)
        with torch.autocast(batch.images.device.type, enabled=False):
            styles = self.generator.mapping(self.noise(batch)[:count], None if labels is None else labels[:count])
            images = self.generator(styles[:, None].expand(-1, self.layers, -1))
            lengths = path_lengths(images, styles, torch.randn_like(images))
            mean = self.path_mean.lerp(lengths.mean().detach(), 0.01)
            self.path_mean.copy_(mean)
            penalty = (lengths - mean).square().mean()
        side = math.sqrt(images.shape[2] * images.shape[3])
        weight = self.config.path * math.log(2) / (side**2 * (math.log(side) - math.log(2)))  # appendix B
        return {"loss": PATH_EVERY * weight * penalty, "length": mean}

    def discriminator_loss(self, batch: Batch) -> dict[str, Tensor]:
        """The logistic loss; the generator's fakes of this step serve again."""
        labels = self._labels(batch)
        real = self.discriminator(self.augment(pad(batch.images, self.spec)), labels)
        fake = self.discriminator(self.augment(batch.shared["fakes"]), labels)
        said = {"loss": losses.logistic(real, fake), "real": real.mean(), "fake": fake.mean()}
        return said | self.augment.update(real, batch)

    def r1_loss(self, batch: Batch) -> dict[str, Tensor]:
        """R1 on the reals as they are, so its gradient passes through the augmentation."""
        with torch.autocast(batch.images.device.type, enabled=False):
            reals = pad(batch.images, self.spec).detach().requires_grad_(True)
            penalty = squared_gradient(self.discriminator(self.augment(reals), self._labels(batch)), reals).mean()
        return {"loss": R1_EVERY * gamma_for(self.config.gamma, reals) / 2 * penalty, "gradient": penalty}

    def paint(self, styles: Tensor, grain: Tensor) -> Tensor:
        return crop(self.generator(styles, grain), self.spec)

    def _labels(self, batch: Batch) -> Tensor | None:
        return batch.labels if self.config.conditional else None


def path_lengths(images: Tensor, styles: Tensor, directions: Tensor) -> Tensor:
    """|J^T y| of equation 4: images (N, C, H, W) made of styles (N, W), and y of the images' shape -> (N,),
    differentiable."""
    (gradient,) = gradients(images * directions, styles)
    return gradient.square().sum(1).sqrt()


SYSTEM = StyleGAN2
