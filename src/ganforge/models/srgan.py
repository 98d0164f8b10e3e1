"""srgan: super-resolution, at first by the mean absolute error alone, then against a discriminator of patches.

Ledig et al. 2017, "Photo-Realistic Single Image Super-Resolution Using a Generative Adversarial Network", and Wang et
al. 2018, "ESRGAN": the adversarial phase starts from the network trained for the error (section 3.2), nothing is
normalised by batches (section 3.1), and both sets of weights are interpolated (section 3.4, network interpolation),
which is the `strength` of `restore`. The network is the compact one of Wang et al. 2021, "Real-ESRGAN": convolutions at
low resolution, then one pixel shuffle. In place of a loss by features of another network there is feature matching."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ganforge.base.config import setting
from ganforge.image_to_image import Interpolated, random_crops
from ganforge.media.picture import Picture
from ganforge.media.spec import Spec
from ganforge.nn.losses import decibels, hinge
from ganforge.nn.patch import PatchDiscriminator, feature_matching
from ganforge.nn.schedules import Cosine
from ganforge.system import Adam, Batch, Phase, later_phases
from ganforge.transforms import degrade
from ganforge.transforms.resize import resized


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of super-resolution."""

    degradation: str = setting("down 4", degrade.HELP)
    width: int = setting(64, "channels of every convolution", low=4, high=512)
    depth: int = setting(16, "convolutions between the first and the last", low=1, high=64)
    patch: int = setting(
        64, "side in pixels of the random crops that larger pictures are trained on", low=16, high=1024
    )
    alone: int = setting(500_000, "images of the phase without the discriminator", low=0)
    adversarial: float = setting(
        0.03, "weight of the adversarial loss; the mean absolute error has 1", low=0.0, high=100.0
    )
    matching: float = setting(0.1, "weight of feature matching", low=0.0, high=100.0)
    lr: float = setting(1e-3, "learning rate of the first phase at first", low=0.0, high=1.0)
    lr_adversarial: float = setting(2e-4, "learning rate of the second phase, of both networks", low=0.0, high=1.0)


PRESETS: dict[str, dict[str, Any]] = {
    "small": {"width": 48, "depth": 8, "alone": later_phases(0.6)},
    "medium": {"alone": later_phases(0.6)},
    "large": {"depth": 32, "patch": 128, "alone": later_phases(0.6)},
}
TRAIN: dict[str, Any] = {"batch": 16, "ema_images": 10_000}


class Enlarger(nn.Module):
    """(N, C, h, w) -> (N, C, scale h, scale w): bicubic interpolation, and what convolutions at low resolution add."""

    def __init__(self, config: Config, given: int, wanted: int, scale: int) -> None:
        super().__init__()
        self.scale = scale
        layers: list[nn.Module] = [nn.Conv2d(given, config.width, 3, 1, 1), nn.PReLU(config.width)]
        for _ in range(config.depth):
            layers += [nn.Conv2d(config.width, config.width, 3, 1, 1), nn.PReLU(config.width)]
        self.body = nn.Sequential(*layers)
        self.last = nn.Conv2d(config.width, wanted * scale**2, 3, 1, 1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)  # type: ignore[arg-type]

    def forward(self, images: Tensor) -> Tensor:
        added = F.pixel_shuffle(self.last(self.body(images.contiguous(memory_format=torch.channels_last))), self.scale)
        return resized(images, *added.shape[2:]) + added.float()


class SRGAN(Interpolated):
    """Small pictures -> large ones. `faithful` is trained for the error alone, `generator` goes on from it."""

    media = (Picture,)
    config: Config

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        self.faithful, self.generator = (Enlarger(config, self.given, self.wanted, self.scale) for _ in range(2))
        self.follow()
        self.discriminator = PatchDiscriminator(self.wanted, config.width, self.given)
        self.receptive_radius = config.depth + 2  # pixels of what is given

    def adam(self) -> dict[str, Adam]:
        c = self.config
        second = Adam(c.lr_adversarial, 0.9, 0.99)
        first = Adam(Cosine(c.lr, c.lr / 50, max(1, c.alone)), 0.9, 0.99)
        return {"faithful": first, "generator": second, "discriminator": second}

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
        given, wanted, _ = self.pair(random_crops(batch.images, self.config.patch))
        made = self.faithful(given)
        return {"loss": (made - wanted).abs().mean(), "db": _db(made, wanted)}

    def generator_loss(self, batch: Batch) -> dict[str, Tensor]:
        """The mean absolute error, feature matching, and the mean score of what was made."""
        given, wanted, _ = self.pair(random_crops(batch.images, self.config.patch))
        made, shown = self.generator(given), F.interpolate(given, scale_factor=self.scale)
        batch.shared |= {"wanted": wanted, "made": made.detach(), "given": shown}
        score, maps = self.discriminator(made, shown)
        with torch.no_grad():
            _, real_maps = self.discriminator(wanted, shown)
        matching, adversarial = feature_matching(real_maps, maps), -score.mean()
        error, c = (made - wanted).abs().mean(), self.config
        loss = error + c.adversarial * adversarial + c.matching * matching
        return {"loss": loss, "db": _db(made, wanted), "matching": matching, "adversarial": adversarial}

    def discriminator_loss(self, batch: Batch) -> dict[str, Tensor]:
        """The hinge loss, on what the generator's phase of this step has made."""
        s = batch.shared
        real, fake = (self.discriminator(s[name], s["given"])[0] for name in ("wanted", "made"))
        return {"loss": hinge(real, fake), "real": real.mean(), "fake": fake.mean()}

    def restore(self, images: Tensor, *, strength: float | None = None) -> Tensor:
        """(N, C, h, w) -> (N, C, scale h, scale w) in [-1, 1]. `strength` 0 takes the weights of the first phase, 1 or
        None those of the second, a number between interpolates them."""
        made: Tensor = self.network(strength)(images)
        return made.clamp(-1, 1)


def _db(made: Tensor, wanted: Tensor) -> Tensor:
    """PSNR in dB."""
    return decibels((made.detach().clamp(-1, 1) - wanted).square().mean().clamp(min=1e-10), peak=2)


SYSTEM = SRGAN
