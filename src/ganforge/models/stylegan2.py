"""stylegan2: a style-based generator with skip connections, and a residual discriminator.

Karras et al. 2020, "Analyzing and Improving the Image Quality of StyleGAN": modulated convolutions, a generator of
skips, lazy regularisation (appendix B), path length regularisation (section 3.2). Two simplifications for small
pictures are those of Karras et al. 2020, "Training Generative Adversarial Networks with Limited Data", appendix C: a
short mapping network, and a weight of R1 that depends on resolution and batch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from ganforge.base.config import setting
from ganforge.media.spec import Spec
from ganforge.nn import losses
from ganforge.nn.equal import EqualConv, EqualLinear, activate, minibatch_stddev
from ganforge.nn.penalties import gamma_for, gradients, squared_gradient
from ganforge.nn.resample import double, halve
from ganforge.nn.style import MappingNetwork, ModulatedConv, NoiseFields, mix_styles
from ganforge.system import Adam, Batch, Phase, Rule, StyleSystem, base_grid, channels, crop, pad, width_by
from ganforge.transforms import augment

R1_EVERY, PATH_EVERY = 16, 4


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of StyleGAN2."""

    latent: int = setting(128, "numbers in a latent", low=1, high=4096)
    style: int = setting(128, "numbers in a style", low=1, high=4096)
    mapping: int = setting(2, "layers of the mapping network", low=1, high=16)
    width: int = setting(32, "channels at the full resolution; each halving doubles them", low=4, high=1024)
    widest: int = setting(0, "most channels of a layer; 0: 8 x width", low=0, high=4096)
    lr: float = setting(2.5e-3, "learning rate of both networks", low=0.0, high=1.0)
    gamma: float = setting(0.0, "weight of R1; 0: 0.0002 x height x width / batch", low=0.0, high=1e6)
    path: float = setting(
        1.0, "weight of path length regularisation, in multiples of the paper's; 0: none", low=0.0, high=1e6
    )
    mixing: float = setting(0.9, "probability of style mixing in training", low=0.0, high=1.0)
    conditional: bool = setting(False, "generate by class; needs a store with labels")
    augment: str = setting("auto", augment.HELP)

    def __post_init__(self) -> None:
        augment.parse(self.augment)


def _side(spec: Spec) -> int:
    return min(spec.height, spec.width)


LOW, HIGH = width_by(16_384, 512), width_by(32_768, 512)
PRESETS: dict[str, dict[str, Any]] = {
    "small": {"width": 16, "latent": 64, "style": 64, "path": 0.0, "gamma": 0.1, "lr": 5e-3},
    "medium": {},
    "large": {
        "width": Rule(
            "16,384 / side, from 512 px 32,768 / side, at most 512",
            lambda spec, images: (LOW if _side(spec) < 512 else HIGH).value(spec, images),
        ),
        "widest": 512,
        "latent": 512,
        "style": 512,
        "mapping": 8,
        "lr": Rule("0.0025, from 1,024 px 0.002", lambda spec, _: 2.5e-3 if _side(spec) < 1024 else 2e-3),
        "gamma": Rule("1, from 512 px 10", lambda spec, _: 1.0 if _side(spec) < 512 else 10.0),
        "train.images": 25_000_000,
    },
}
TRAIN: dict[str, Any] = {"batch": 32, "ema_images": 10_000}


class Layer(nn.Module):
    """Modulated convolution, noise, bias, leaky ReLU: (N, I, H, W), styles (N, W) -> (N, O, H', W')."""

    def __init__(self, style: int, inputs: int, outputs: int, step: str = "") -> None:
        super().__init__()
        self.conv = ModulatedConv(style, inputs, outputs, 3, step)
        self.strength = nn.Parameter(torch.zeros(()))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor, style: Tensor, noise: NoiseFields, noise_seed: Tensor | None) -> Tensor:
        y = self.conv(x, style)
        added = noise(y, noise_seed, turn=self.conv.step == "")
        return activate(y + self.bias.to(y.dtype)[:, None, None] + self.strength.to(y.dtype) * added)


class Generator(nn.Module):
    """Mapping and synthesis network; the outputs of to_rgb of all resolutions are added up (figure 7b)."""

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__()
        height, width, doublings = base_grid(spec)
        widths = channels(config.width, config.widest, doublings)[::-1]
        self.layers = 1 + 2 * doublings
        self.mapping = MappingNetwork(
            config.latent, config.style, config.mapping, len(spec.classes) if config.conditional else 0
        )
        self.constant = nn.Parameter(torch.randn(1, widths[0], height, width))
        self.noise = NoiseFields(height * 2**doublings, width * 2**doublings)
        self.synthesis = nn.ModuleList([Layer(config.style, widths[0], widths[0])])
        for before, after in pairwise(widths):
            self.synthesis += [Layer(config.style, before, after, "up"), Layer(config.style, after, after)]
        self.to_rgb = nn.ModuleList(ModulatedConv(config.style, w, spec.channels, 1, demodulate=False) for w in widths)
        self.bias = nn.Parameter(torch.zeros(spec.channels))

    def forward(self, styles: Tensor, noise_seed: Tensor | None = None) -> Tensor:
        """Styles (N, L, W), and a noise seed (N, K) or None for new noise -> (N, C, H', W') in [-1, 1]. The
        outputs of to_rgb are added in float32, where a small one does not vanish beside the sum; the paper's output is
        linear, and learns more slowly."""
        x = self.constant.expand(styles.shape[0], -1, -1, -1)
        x = self.synthesis[0](x, styles[:, 0], self.noise, noise_seed)
        image = _single(self.to_rgb[0](x, styles[:, 0]))
        for n, to_rgb in enumerate(self.to_rgb[1:]):
            x = self.synthesis[2 * n + 1](x, styles[:, 2 * n + 1], self.noise, noise_seed)
            x = self.synthesis[2 * n + 2](x, styles[:, 2 * n + 2], self.noise, noise_seed)
            image = double(image) + _single(to_rgb(x, styles[:, 2 * n + 2]))
        return torch.tanh(image + self.bias[:, None, None])


def _single(x: Tensor) -> Tensor:
    """In float32, or in float64 where it is."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


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
    """(N, C, H', W') -> logits (N,) float32; with classes, a projection discriminator (Miyato and Koyama 2018)."""

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__()
        height, width, doublings = base_grid(spec)
        widths = channels(config.width, config.widest, doublings)
        self.from_rgb = EqualConv(spec.channels, widths[0], 1)
        self.blocks = nn.ModuleList(Block(a, b) for a, b in pairwise(widths))
        self.last = EqualConv(widths[-1] + 1, widths[-1])
        self.dense = EqualLinear(widths[-1] * height * width, widths[-1])
        self.score = EqualLinear(widths[-1], 1, gain=1.0)
        self.embedding = nn.Embedding(len(spec.classes), widths[-1]) if config.conditional else None

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        x = activate(self.from_rgb(images))
        for block in self.blocks:
            x = block(x)
        x = activate(self.last(minibatch_stddev(x)))
        x = activate(self.dense(x.permute(0, 2, 3, 1).flatten(1)))
        scores: Tensor = self.score(x)[:, 0].float()
        if self.embedding is not None:
            scores = scores + (self.embedding(labels) * x).sum(1) / math.sqrt(x.shape[1])
        return scores


class StyleGAN2(StyleSystem):
    """Skip generator and residual discriminator, with lazy path length regularisation and R1."""

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
        """Settings of Adam that compensate for the additional steps of the lazy penalties (appendix B)."""
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
        """The non-saturating logistic loss, with style mixing (Karras et al. 2019, section 3.1)."""
        labels = self._labels(batch)
        first, second = (self.generator.mapping(self.noise(batch), labels) for _ in range(2))
        self.generator.mapping.track(first)
        fakes = self.generator(mix_styles(first, second, self.layers, self.config.mixing))
        batch.shared["fakes"] = fakes.detach()
        return {"loss": losses.non_saturating(self.discriminator(self.augment(fakes), labels))}

    def path_loss(self, batch: Batch) -> dict[str, Tensor]:
        """Path length regularisation (equation 4), on half a batch."""
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
        """The logistic loss, on the images that the generator's phase of this step has generated."""
        labels = self._labels(batch)
        real = self.discriminator(self.augment(pad(batch.images, self.spec)), labels)
        fake = self.discriminator(self.augment(batch.shared["fakes"]), labels)
        report = {"loss": losses.logistic(real, fake), "real": real.mean(), "fake": fake.mean()}
        return report | self.augment.update(real, batch)

    def r1_loss(self, batch: Batch) -> dict[str, Tensor]:
        """R1 of the unaugmented real images; its gradient passes through the augmentation."""
        with torch.autocast(batch.images.device.type, enabled=False):
            reals = pad(batch.images, self.spec).detach().requires_grad_(True)
            penalty = squared_gradient(self.discriminator(self.augment(reals), self._labels(batch)), reals).mean()
        weight = batch.caution * gamma_for(self.config.gamma, reals)
        return {"loss": R1_EVERY * weight / 2 * penalty, "gradient": penalty}

    def synthesis(self, styles: Tensor, noise_seed: Tensor) -> Tensor:
        return crop(self.generator(styles, noise_seed), self.spec)

    def _labels(self, batch: Batch) -> Tensor | None:
        return batch.labels if self.config.conditional else None


def path_lengths(images: Tensor, styles: Tensor, directions: Tensor) -> Tensor:
    """|J^T y| of equation 4: images (N, C, H, W) generated from w (N, W), and directions y (N, C, H, W) -> (N,),
    differentiable."""
    (gradient,) = gradients(images * directions, styles)
    return gradient.square().sum(1).sqrt()


SYSTEM = StyleGAN2
