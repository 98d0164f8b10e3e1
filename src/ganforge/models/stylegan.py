"""stylegan: a style-based generator, grown progressively from the base grid.

Karras et al. 2019, "A Style-Based Generator Architecture for Generative Adversarial Networks": mapping network,
adaptive instance normalisation, per-pixel noise, a learned constant as input, style mixing; discriminator and
progressive growing are those of Karras et al. 2018. The loss is the logistic one with R1 in every 16th step (lazy
regularisation, Karras et al. 2020, appendix B)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from ganforge.base.config import setting
from ganforge.media.spec import Spec
from ganforge.nn import grow, losses
from ganforge.nn.equal import EqualConv, EqualLinear, activate
from ganforge.nn.penalties import gamma_for, squared_gradient
from ganforge.nn.resample import repeat
from ganforge.nn.style import MappingNetwork, NoiseFields, mix_styles
from ganforge.system import (
    Adam,
    Batch,
    Phase,
    StyleSystem,
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


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of StyleGAN."""

    latent: int = setting(128, "numbers in a latent", low=1, high=4096)
    style: int = setting(128, "numbers in a style", low=1, high=4096)
    mapping: int = setting(8, "layers of the mapping network", low=1, high=16)
    width: int = setting(
        32, "channels at the full resolution; each halving doubles them, up to widest", low=4, high=1024
    )
    widest: int = setting(0, "most channels of a grid; 0: 8 x width", low=0, high=4096)
    grow_images: int = setting(
        50_000, "images over which a resolution fades in, and as many before the next; 0: all at once", low=0
    )
    first: int = setting(0, "doublings of the smallest grid that training begins with", low=0, high=12)
    gamma: float = setting(0.0, "weight of R1; 0: 0.0002 x height x width / batch, of the stage", low=0.0, high=1e6)
    lr: float = setting(1e-3, "learning rate of both networks", low=0.0, high=1.0)
    mixing: float = setting(0.9, "probability of style mixing in training", low=0.0, high=1.0)
    augment: str = setting("", augment.HELP)

    def __post_init__(self) -> None:
        augment.parse(self.augment)


PRESETS: dict[str, dict[str, Any]] = {
    "small": {
        "width": 16,
        "latent": 64,
        "style": 64,
        "mapping": 4,
        "grow_images": growth(5_000, 0.5),
        "gamma": 1.0,
        "lr": 8e-3,
    },
    "medium": {
        "width": width_by(8192, 32),
        "widest": 256,
        "grow_images": growth(50_000, 0.5),
        "gamma": gamma_by_side(),
        "train.images": 5_000_000,
    },
    "large": {
        "width": width_by(16384, 512),
        "widest": 512,
        "latent": 512,
        "style": 512,
        "grow_images": growth(600_000, 0.8),
        "gamma": gamma_by_side(),
        "lr": rate_by_side(),
        "train.images": 25_000_000,
    },
}
TRAIN: dict[str, Any] = {"batch": 32, "ema_images": 10_000}


class Layer(nn.Module):
    """Convolution (none in the first layer), noise, bias, leaky ReLU, and adaptive instance normalisation by the style:
    (N, I, H, W), styles (N, W) -> (N, O, H', W')."""

    def __init__(self, style: int, inputs: int, outputs: int, step: str | None = "") -> None:
        super().__init__()
        self.turn = step == ""
        self.conv = None if step is None else EqualConv(inputs, outputs, step=step, smooth=True)
        self.strength = nn.Parameter(torch.zeros(outputs))
        self.affine = EqualLinear(style, 2 * outputs, gain=1.0)

    def forward(self, x: Tensor, style: Tensor, noise: NoiseFields, noise_seed: Tensor | None) -> Tensor:
        if self.conv is not None:
            x = self.conv(x)
        x = activate(x + self.strength.to(x.dtype)[:, None, None] * noise(x, noise_seed, self.turn))
        return adain(x, self.affine(style))


def adain(x: Tensor, style: Tensor) -> Tensor:
    """Adaptive instance normalisation (equation 1): each channel of each picture of (N, C, H, W) gets a standard
    deviation of 1 + the first half of `style` (N, 2C), and the second half as its mean."""
    scale, mean = style.to(x.dtype)[:, :, None, None].chunk(2, 1)
    x = x - x.mean((2, 3), keepdim=True)
    return x * ((1 + scale) * (x.square().mean((2, 3), keepdim=True) + 1e-8).rsqrt()) + mean


class Generator(nn.Module):
    """Mapping and synthesis network. `shown` is the number of images seen by training, which decides the stage that
    samples are generated with."""

    shown: Tensor

    def __init__(self, config: Config, spec: Spec, widths: list[int]) -> None:
        super().__init__()
        height, width, doublings = base_grid(spec)
        self.layers = 2 * len(widths)
        self.mapping = MappingNetwork(config.latent, config.style, config.mapping)
        self.constant = nn.Parameter(torch.ones(1, widths[0], height, width))
        self.noise = NoiseFields(height * 2**doublings, width * 2**doublings)
        top = widths[0]
        self.synthesis = nn.ModuleList([Layer(config.style, top, top, None), Layer(config.style, top, top)])
        for before, after in pairwise(widths):
            self.synthesis += [Layer(config.style, before, after, "up"), Layer(config.style, after, after)]
        self.to_rgb = nn.ModuleList(EqualConv(width, spec.channels, 1, gain=1.0) for width in widths)
        self.register_buffer("shown", torch.zeros((), dtype=torch.int64))

    def forward(self, styles: Tensor, noise_seed: Tensor | None, stage: int, alpha: float = 1.0) -> Tensor:
        """Styles (N, L, W), of which a stage takes the first 2 (stage + 1), and a noise seed (N, K) or None for new
        noise -> (N, C, H', W') in [-1, 1]."""
        x = self.constant.expand(styles.shape[0], -1, -1, -1)
        before = x
        for n in range(2 * (stage + 1)):
            before = x if n == 2 * stage else before
            x = self.synthesis[n](x, styles[:, n], self.noise, noise_seed)
        image = torch.tanh(self.to_rgb[stage](x))
        if alpha < 1:
            image = grow.fade(repeat(torch.tanh(self.to_rgb[stage - 1](before))), image, alpha)
        return image


class StyleGAN(StyleSystem):
    """A style-based generator that grows together with its discriminator, by a schedule over the images seen."""

    averaged = ("generator",)
    config: Config
    generator: Generator

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        height, width, self.doublings = base_grid(spec)
        widths = channels(config.width, config.widest, self.doublings)[::-1]
        self.generator = Generator(config, spec, widths)
        self.discriminator = grow.GrowingDiscriminator(widths, (height, width), spec.channels, smooth=True)
        self.augment = augment.Augment(config.augment)

    @classmethod
    def least_images(cls, config: Config, spec: Spec) -> int:
        return grow.grown_after(config.grow_images, base_grid(spec)[2], config.first)

    @classmethod
    def continued(cls, config: Config, spec: Spec, seen: int, to: Spec) -> dict[str, Any] | None:
        return grown_further(config, spec, seen, to)

    def adam(self) -> dict[str, Adam]:
        c = R1_EVERY / (R1_EVERY + 1)  # compensates for the steps of R1
        rate = self.config.lr
        return {"generator": Adam(rate, 0.0, 0.99), "discriminator": Adam(rate * c, 0.0, 0.99**c)}

    def phases(self) -> list[Phase]:
        return [
            Phase("generator", ("generator",), self.generator_loss),
            Phase("discriminator", ("discriminator",), self.discriminator_loss),
            Phase("r1", ("discriminator",), self.r1_loss, R1_EVERY),
        ]

    def stage(self, seen: int) -> tuple[int, float]:
        """(stage, alpha) after `seen` images, see `ganforge.nn.grow.stage_at`."""
        return grow.stage_at(seen, self.config.grow_images, self.doublings, self.config.first)

    def generator_loss(self, batch: Batch) -> dict[str, Tensor]:
        """The non-saturating logistic loss, with style mixing (Karras et al. 2019, section 3.1)."""
        self.generator.shown.fill_(batch.seen)
        stage, alpha = self.stage(batch.seen)
        first, second = (self.generator.mapping(self.noise(batch)) for _ in range(2))
        self.generator.mapping.track(first)
        fakes = self.generator(mix_styles(first, second, 2 * (stage + 1), self.config.mixing), None, stage, alpha)
        batch.shared["fakes"] = fakes.detach()
        return {"loss": losses.non_saturating(self._score(fakes, batch))}

    def discriminator_loss(self, batch: Batch) -> dict[str, Tensor]:
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

    def synthesis(self, styles: Tensor, noise_seed: Tensor) -> Tensor:
        stage, alpha = self.stage(int(self.generator.shown))
        images = self.generator(styles, noise_seed, stage, alpha)
        return crop(grow.enlarge_to(images, self.doublings - stage), self.spec)

    def _reals(self, batch: Batch) -> Tensor:
        return grow.reals_at(pad(batch.images, self.spec), *self.stage(batch.seen), self.doublings)

    def _score(self, images: Tensor, batch: Batch) -> Tensor:
        scores: Tensor = self.discriminator(self.augment(images), *self.stage(batch.seen))
        return scores


SYSTEM = StyleGAN
