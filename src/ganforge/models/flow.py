"""flow: rectified flow, which is no GAN: a network learns the velocity from noise to pictures, and samples follow it.

Liu et al. 2023, "Flow Straight and Fast: Learning to Generate and Transfer Data with Rectified Flow"; Lipman et al.
2023, "Flow Matching for Generative Modeling". Times of training are logit-normal (Esser et al. 2024, "Scaling
Rectified Flow Transformers for High-Resolution Image Synthesis", section 3.1). What the network sees and returns has
variance 1 at all times (Karras et al. 2022, "Elucidating the Design Space of Diffusion-Based Generative Models",
section 5 and appendix B.6, carried over to velocities). Samples are integrated by Heun's method.
With `conditional`, classifier-free guidance (Ho and Salimans 2021); its weight 1 is none. With a degradation, or with a
store of pairs, the network is also shown what is given, and restores by the same integration: each seed is another
answer."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ganforge.base.config import setting
from ganforge.base.errors import InputError
from ganforge.base.seeds import key
from ganforge.image_to_image import ImageToImage, degradation, random_crops
from ganforge.media.pair import Pair
from ganforge.media.spec import PICTORIAL, Spec
from ganforge.nn.unet import ANY, UNet
from ganforge.system import Adam, Batch, Phase

FREQUENCIES, VECTOR, WITHOUT = 32, 128, 0.1  # the last: share of training pictures that are shown without their class
DEVIATION = 0.7  # of the values of pictures, about


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of the rectified flow."""

    width: int = setting(
        64, "channels at half of the resolution, doubled by each halving up to 4 times", low=4, high=1024
    )
    depth: int = setting(2, "halvings after the first", low=1, high=3)
    blocks: int = setting(4, "residual blocks at the coarsest scale", low=1, high=64)
    steps: int = setting(16, "steps of Heun's method for a sample, each of two evaluations", low=1, high=1000)
    guidance: float = setting(1.0, "weight of classifier-free guidance; 1: none", low=0.0, high=100.0)
    degradation: str = setting("", "what is given of a picture to be restored, such as 'down 4'; empty: nothing")
    patch: int = setting(64, "side in pixels of the random crops that are restored in training", low=8, high=1024)
    conditional: bool = setting(False, "generate by class; needs a store with labels")
    lr: float = setting(1e-3, "learning rate", low=0.0, high=1.0)


PRESETS: dict[str, dict[str, Any]] = {
    "small": {"width": 32, "depth": 1, "blocks": 3, "lr": 2e-3, "train.batch": 32},
    "medium": {},
    "large": {"width": 128, "depth": 3, "blocks": 8, "lr": 2e-4, "train.images": 25_000_000},
}
TRAIN: dict[str, Any] = {"batch": 64, "cooldown": 0.5}


class Velocity(nn.Module):
    """x (N, C, H, W) at times (N,) from 0 to 1, what is given (N, G, H, W) or None, labels (N,) from 0 to `classes`,
    which stands for no class, or None -> the velocity (N, C, H, W).

    x = t picture + (1 - t) noise has the variance s^2 = t^2 d^2 + (1 - t)^2, where d is DEVIATION. The best linear
    estimate of the velocity from it is x (t d^2 - (1 - t)) / s^2, with an error of the variance (d / s)^2: the network
    is shown x / s, and returns the rest in units of d / s."""

    def __init__(self, config: Config, channels: int, given: int, classes: int) -> None:
        super().__init__()
        self.frequencies: Tensor
        self.register_buffer("frequencies", 2 * math.pi * torch.logspace(-1, 2, FREQUENCIES, 2), persistent=False)
        self.time = nn.Sequential(nn.Linear(2 * FREQUENCIES, VECTOR), nn.SiLU(), nn.Linear(VECTOR, VECTOR))
        self.embedding = nn.Embedding(classes + 1, VECTOR) if classes else None
        self.unet = UNet(channels + given, channels, config.width, config.depth, config.blocks, vector=VECTOR)

    def forward(self, x: Tensor, times: Tensor, given: Tensor | None, labels: Tensor | None) -> Tensor:
        t, s = times[:, None, None, None], spread(times)[:, None, None, None]
        angles = times[:, None] * self.frequencies
        vector = self.time(torch.cat([angles.cos(), angles.sin()], 1))
        if self.embedding is not None:
            vector = vector + self.embedding(labels)
        seen = x / s if given is None else torch.cat([x / s, given], 1)
        velocity: Tensor = x * (t * DEVIATION**2 - (1 - t)) / s**2 + self.unet(seen, F.silu(vector)) * DEVIATION / s
        return velocity


def spread(times: Tensor) -> Tensor:
    """Times (N,) -> the standard deviation of x then, (N,)."""
    return ((DEVIATION * times) ** 2 + (1 - times) ** 2).sqrt()


def heun(velocity: Callable[[Tensor, float], Tensor], x: Tensor, steps: int) -> Tensor:
    """x at time 0 -> x at time 1, dx/dt = velocity(x, t), by so many equal steps of Heun's method, of order 2."""
    step = 1 / steps
    for n in range(steps):
        first = velocity(x, n * step)
        second = velocity(x + step * first, (n + 1) * step)
        x = x + step / 2 * (first + second)
    return x


def restores(config: Config, spec: Spec) -> bool:
    """Whether something is given: by a degradation, or in the rows of a store of pairs."""
    return bool(degradation(config)) or isinstance(spec.medium, Pair)


class Flow(ImageToImage):
    """Noise -> pictures, or noise and what is given -> restored pictures."""

    averaged = ("velocity",)
    media = PICTORIAL
    generates = True
    fills = True
    answers = True
    config: Config

    @classmethod
    def check(cls, config: Config, spec: Spec) -> None:
        if restores(config, spec):
            super().check(config, spec)
            if config.conditional:
                raise InputError(
                    "A flow generates by class or restores. Say --model.conditional false, or no degradation."
                )
        if config.guidance != 1 and not config.conditional:
            raise InputError(
                f"model.guidance is {config.guidance:g}, which takes a flow that generates by class. Say "
                "--model.conditional true, or --model.guidance 1."
            )

        if config.patch != Config().patch and not restores(config, spec):
            raise InputError(
                f"model.patch is {config.patch}, which takes a flow that restores. Say what it is given, such as "
                f'--model.degradation "down 4", or --model.patch {Config().patch}.'
            )

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        self.restores = restores(config, spec)
        self.generates = not self.restores
        self.receptive_radius = ANY if self.restores else 0
        missing = self.given if "frames" in self.degrade.terms else 1  # frames are channels
        shown = self.restores * (self.shown + self.fills * missing)
        self.velocity = Velocity(config, self.wanted, shown, self.classes)

    def adam(self) -> dict[str, Adam]:
        return {"velocity": Adam(self.config.lr, 0.9, 0.99)}

    def phases(self) -> list[Phase]:
        return [Phase("velocity", ("velocity",), self.loss)]

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """The mean squared error of the velocity at x = (1 - t) noise + t picture (Liu et al. 2023, eq. 1), in units of
        the error of the best linear estimate."""
        given, wanted, labels = None, batch.images, batch.labels if self.classes else None
        if self.restores:
            small, wanted, holes = self.pair(random_crops(batch.images, self.config.patch))
            given = self._shown(small, holes)
        noise, times = torch.randn_like(wanted), torch.randn(len(wanted), device=wanted.device).sigmoid()
        if labels is not None:
            labels = labels.where(torch.rand(len(labels), device=labels.device) >= WITHOUT, self.classes)
        x = noise.lerp(wanted, times[:, None, None, None])
        error = (self.velocity(x, times, given, labels) - (wanted - noise)).square().mean((1, 2, 3))
        return {"loss": (error * (spread(times) / DEVIATION) ** 2).mean()}

    def latents(self, seeds: Iterable[int]) -> Tensor:
        """Seeds, 0 to 2^32-1, -> noise (N, C x H x W) float32 on the CPU."""
        draws = (torch.Generator().manual_seed(key(seed, "latent")) for seed in seeds)
        return torch.stack([torch.randn(self.spec.pixels, generator=generator) for generator in draws])

    def generate(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        noise = latents.unflatten(1, (self.spec.channels, self.spec.height, self.spec.width))
        return self._integrated(noise, None, labels if self.classes else None)

    def restore(self, images: Tensor, *, holes: Tensor | None = None, latents: Tensor | None = None) -> Tensor:
        assert latents is not None
        made = self._integrated(latents, self._shown(images, holes), None)
        return made if holes is None else torch.where(holes > 0, made, images)

    def _integrated(self, noise: Tensor, given: Tensor | None, labels: Tensor | None) -> Tensor:
        nobody = None if labels is None else torch.full_like(labels, self.classes)
        weight = self.config.guidance

        def velocity(x: Tensor, time: float) -> Tensor:
            times = torch.full((len(x),), time, device=x.device)
            v: Tensor = self.velocity(x, times, given, labels)
            return v if nobody is None or weight == 1 else self.velocity(x, times, given, nobody).lerp(v, weight)

        return heun(velocity, noise, self.config.steps).clamp(-1, 1)

    def _shown(self, given: Tensor, holes: Tensor | None) -> Tensor:
        """What the network is shown beside x: (N, G, H, W), enlarged by `scale`, without what is in the holes."""
        shown = self.encoded(given)
        if holes is not None:
            shown = torch.cat([shown * (1 - holes), holes], 1)
        return F.interpolate(shown, scale_factor=self.scale) if self.scale > 1 else shown


SYSTEM = Flow
