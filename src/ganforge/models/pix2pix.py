"""pix2pix: pictures from pictures, learned from pairs.

Isola et al. 2017, "Image-to-Image Translation with Conditional Adversarial Networks": a U-Net, and a discriminator of
patches that sees both halves of a pair. Nothing is normalised by batches and nothing is dropped, so that a picture does
not depend on its company; feature matching (Wang et al. 2018, "High-Resolution Image Synthesis and Semantic
Manipulation with Conditional GANs") holds the adversary's texture to the wanted one. Pairs are those of a store, or are
made on the fly, such as grey -> colour. Where what is given is the wanted picture made worse, the network returns the
difference; colours keep the given brightness."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ganforge.base.config import setting
from ganforge.image_to_image import Interpolated, random_crops
from ganforge.media.spec import Spec
from ganforge.nn.losses import decibels, hinge
from ganforge.nn.patch import PatchDiscriminator, feature_matching
from ganforge.nn.schedules import Cosine
from ganforge.nn.unet import UNet
from ganforge.system import Adam, Batch, Phase, later_phases
from ganforge.transforms import degrade


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of pix2pix."""

    degradation: str = setting("", degrade.HELP + "; empty for a store of pairs")
    width: int = setting(
        48, "channels at half of the resolution, doubled by each halving up to 4 times", low=4, high=512
    )
    depth: int = setting(3, "halvings after the first", low=1, high=3)
    blocks: int = setting(4, "residual blocks at the coarsest scale", low=1, high=64)
    patch: int = setting(
        128, "side in pixels of the random crops that larger pictures are trained on", low=16, high=1024
    )
    alone: int = setting(100_000, "images before the discriminator begins", low=0)
    error: float = setting(10.0, "weight of the mean absolute error; the adversarial loss has 1", low=0.0, high=1000.0)
    matching: float = setting(10.0, "weight of feature matching", low=0.0, high=1000.0)
    lr: float = setting(1e-3, "learning rate of the first phase at first; the second has half of it", low=0.0, high=1.0)
    lr_discriminator: float = setting(4e-4, "learning rate of the discriminator", low=0.0, high=1.0)


PRESETS: dict[str, dict[str, Any]] = {
    "small": {"width": 32, "patch": 64, "alone": later_phases(0.5)},
    "medium": {"alone": later_phases(0.5)},
    "large": {"width": 96, "blocks": 9, "patch": 256, "alone": later_phases(0.5)},
}
TRAIN: dict[str, Any] = {"batch": 16, "ema_images": 10_000, "cooldown": 0.5}


class Pix2Pix(Interpolated):
    """What is given -> what is wanted. `faithful` is trained for the error alone, `generator` goes on from it."""

    revision = 2  # two networks
    config: Config

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        self.faithful, self.generator = (
            UNet(self.shown, self.wanted, config.width, config.depth, config.blocks) for _ in range(2)
        )
        self.follow()
        self.discriminator = PatchDiscriminator(self.wanted, config.width, self.shown)
        self.receptive_radius = math.ceil(self.faithful.receptive_radius / self.scale)
        words = self.degrade.terms
        self.coloured = list(words) == ["grey"] and self.wanted == 3
        self.adds = bool(words) and "edges" not in words and self.wanted in (3, self.given)

    def adam(self) -> dict[str, Adam]:
        c = self.config
        return {
            "faithful": Adam(Cosine(c.lr, c.lr / 50, max(1, c.alone)), 0.9, 0.99),
            "generator": Adam(c.lr / 2, 0.9, 0.99),
            "discriminator": Adam(c.lr_discriminator, 0.5, 0.99),
        }

    def phases(self) -> list[Phase]:
        alone = self.config.alone
        return [
            Phase("faithful", ("faithful",), self.faithful_loss, until=alone),
            Phase("generator", ("generator",), self.generator_loss, since=alone),
            Phase("discriminator", ("discriminator",), self.discriminator_loss, since=alone),
        ]

    def faithful_loss(self, batch: Batch) -> dict[str, Tensor]:
        """The mean absolute error."""
        self.follow()
        report, *_ = self._translated(batch, self.faithful)
        return report

    def generator_loss(self, batch: Batch) -> dict[str, Tensor]:
        """The mean absolute error, the mean score of what was made, and feature matching."""
        report, shown, made, wanted = self._translated(batch, self.generator)
        batch.shared |= {"wanted": wanted, "made": made.detach(), "shown": shown}
        score, maps = self.discriminator(made, shown)
        with torch.no_grad():
            _, real_maps = self.discriminator(wanted, shown)
        report |= {"matching": feature_matching(real_maps, maps), "adversarial": -score.mean()}
        report["loss"] = report["loss"] + report["adversarial"] + self.config.matching * report["matching"]
        return report

    def _translated(self, batch: Batch, network: nn.Module) -> tuple[dict[str, Tensor], Tensor, Tensor, Tensor]:
        """The error of a network on random crops; what the networks see, what was made, and what is wanted."""
        given, wanted, _ = self.pair(random_crops(batch.images, self.config.patch))
        shown = self._shown(given)
        made = self._made(shown, network)
        error = (made - wanted).abs().mean()
        decibel = decibels((made.detach().clamp(-1, 1) - wanted).square().mean().clamp(min=1e-10), peak=2)
        return {"loss": self.config.error * error, "db": decibel}, shown, made, wanted

    def discriminator_loss(self, batch: Batch) -> dict[str, Tensor]:
        """The hinge loss, on what the generator's phase of this step has made."""
        s = batch.shared
        real, fake = (self.discriminator(s[name], s["shown"])[0] for name in ("wanted", "made"))
        return {"loss": hinge(real, fake), "real": real.mean(), "fake": fake.mean()}

    def restore(self, images: Tensor, *, strength: float | None = None) -> Tensor:
        """(N, given, h, w) in [-1, 1] -> (N, wanted, scale h, scale w) in [-1, 1]; for `strength` see
        `Interpolated.network`."""
        return self._made(self._shown(images), self.network(strength)).clamp(-1, 1)

    def _made(self, shown: Tensor, network: Callable[..., Tensor]) -> Tensor:
        """What the networks see -> (N, wanted, scale h, scale w), not bounded."""
        made = network(shown)
        if self.adds:
            made = made + shown
        return made + shown - degrade.brightness(made) if self.coloured else made

    def _shown(self, given: Tensor) -> Tensor:
        """What the networks see: a map of ids as one plane an id, small pictures enlarged."""
        shown = self.encoded(given)
        return F.interpolate(shown, scale_factor=self.scale) if self.scale > 1 else shown


SYSTEM = Pix2Pix
