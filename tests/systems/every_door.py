"""every_door: a picture-to-picture system of a few layers with everything that `restore` may take; for tests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ganforge.base.config import setting
from ganforge.image_to_image import ImageToImage, random_crops
from ganforge.media.spec import Spec
from ganforge.nn.unet import UNet
from ganforge.system import Adam, Batch, Phase
from ganforge.transforms import degrade


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings."""

    degradation: str = setting("down 2", degrade.HELP)
    width: int = setting(8, "channels", low=1, high=64)
    patch: int = setting(16, "side in pixels of the random crops", low=4, high=1024)
    spectral: bool = setting(False, "whether every pixel sees all pixels")


PRESETS: dict[str, dict[str, Any]] = {"small": {"width": 4}, "medium": {}, "large": {"width": 16}}
TRAIN: dict[str, Any] = {}


class EveryDoor(ImageToImage):
    """What is given, the holes and the latents through a U-Net, and added to what is given."""

    averaged = ("network",)
    fills = strengths = answers = True

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        inputs, outputs = self.given + 1 + self.wanted, self.wanted * self.scale**2
        self.network = UNet(inputs, outputs, config.width, 1, 1, spectral=config.spectral)
        torch.nn.init.normal_(self.network.last.weight, 0, 0.3)
        self.receptive_radius = self.network.receptive_radius

    def adam(self) -> dict[str, Adam]:
        return {"network": Adam(1e-3)}

    def phases(self) -> list[Phase]:
        return [Phase("network", ("network",), self.loss)]

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        given, wanted, holes = self.pair(random_crops(batch.images, self.config.patch))
        latents = torch.randn_like(wanted)
        return {"loss": (self.restore(given, holes=holes, latents=latents) - wanted).square().mean()}

    def restore(
        self,
        images: Tensor,
        *,
        holes: Tensor | None = None,
        strength: float | None = None,
        latents: Tensor | None = None,
    ) -> Tensor:
        holes = torch.zeros_like(images[:, :1]) if holes is None else holes
        given = images * (1 - holes)
        assert latents is not None
        made = self.network(torch.cat([given, holes, F.avg_pool2d(latents, self.scale)], 1))
        plain = given if self.given == self.wanted else given.mean(1, keepdim=True)
        share = 0.5 if strength is None else strength
        return (F.interpolate(plain, scale_factor=self.scale) + share * F.pixel_shuffle(made, self.scale)).clamp(-1, 1)


SYSTEM = EveryDoor
