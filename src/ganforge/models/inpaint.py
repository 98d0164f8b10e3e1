"""inpaint: fills what is missing of pictures, or missing frames of clips.

A U-Net of gated convolutions (Yu et al. 2019, "Free-Form Image Inpainting with Gated Convolution") whose coarsest scale
sees the whole picture by Fourier units (Suvorov et al. 2022, "Resolution-robust Large Mask Inpainting with Fourier
Convolutions"). It adds to a smooth filling from coarser and coarser averages of what is known (pull-push, Gortler et
al. 1996, "The Lumigraph", section 3.4), missing frames to the interpolation of their neighbours. The discriminator of
patches sees the composite, what is given where it is given, and judges the patches that touch a hole."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ganforge.base.config import setting
from ganforge.base.errors import InputError
from ganforge.image_to_image import Interpolated, random_crops
from ganforge.media.clip import Clip
from ganforge.media.picture import Picture
from ganforge.media.spec import Spec
from ganforge.nn.losses import decibels
from ganforge.nn.patch import PatchDiscriminator, feature_matching
from ganforge.nn.schedules import Cosine
from ganforge.nn.unet import UNet
from ganforge.system import Adam, Batch, Phase, later_phases
from ganforge.transforms import degrade


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of inpainting."""

    degradation: str = setting("strokes 0.05..0.4, boxes 1..2", degrade.HELP)
    width: int = setting(
        48, "channels at half of the resolution, doubled by each halving up to 4 times", low=4, high=512
    )
    depth: int = setting(2, "halvings after the first", low=1, high=3)
    blocks: int = setting(4, "residual blocks at the coarsest scale", low=1, high=64)
    patch: int = setting(
        128, "side in pixels of the random crops that larger pictures are trained on", low=16, high=1024
    )
    alone: int = setting(500_000, "images of the phase without the discriminator", low=0)
    adversarial: float = setting(0.05, "weight of the adversarial loss", low=0.0, high=100.0)
    matching: float = setting(0.5, "weight of feature matching", low=0.0, high=100.0)
    lr: float = setting(1e-3, "learning rate of the first phase at first; the second has half of it", low=0.0, high=1.0)
    lr_discriminator: float = setting(2e-4, "learning rate of the discriminator", low=0.0, high=1.0)


SMOOTHED = 8, 2  # times that a filling is averaged with its neighbours, at coarse scales and at the finest
PRESETS: dict[str, dict[str, Any]] = {
    "small": {"width": 32, "patch": 64, "alone": later_phases(0.5)},
    "medium": {"alone": later_phases(0.5)},
    "large": {"width": 96, "depth": 3, "blocks": 9, "patch": 256, "alone": later_phases(0.5)},
}
TRAIN: dict[str, Any] = {"batch": 16, "ema_images": 10_000, "cooldown": 0.5}


class Inpaint(Interpolated):
    """Pictures with holes -> whole ones. `faithful` is trained for the error alone, `generator` goes on from it."""

    revision = 2  # two networks

    media = (Picture, Clip)
    fills = True
    config: Config

    @classmethod
    def check(cls, config: Config, spec: Spec) -> None:
        super().check(config, spec)
        terms = degrade.parse(config.degradation)
        if isinstance(spec.medium, Clip) and "frames" not in terms:
            raise InputError(
                f"model.degradation is {config.degradation!r}; of clips inpaint fills whole frames. Say "
                '--model.degradation "frames 1" or more.'
            )
        if not any(word in terms for word in degrade.HOLES):
            raise InputError(
                f"model.degradation is {config.degradation!r}, which makes no holes, and inpaint learns to fill them. "
                f"Say one or more of {', '.join(degrade.HOLES)}, such as {Config().degradation!r}."
            )

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        missing = self.given if "frames" in self.degrade.terms else 1  # frames are channels
        channels, c = self.given + missing, config
        self.faithful, self.generator = (
            UNet(channels, self.wanted, c.width, c.depth, c.blocks, gated=True, spectral=True) for _ in range(2)
        )
        self.follow()
        self.discriminator = PatchDiscriminator(self.wanted, config.width, halvings=2)  # small patches: in or out
        self.receptive_radius = self.faithful.receptive_radius

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
        """The mean absolute error in the holes."""
        self.follow()
        report, *_ = self._filled(batch, self.faithful)
        return report

    def generator_loss(self, batch: Batch) -> dict[str, Tensor]:
        """The mean absolute error in the holes, feature matching and the scores of the patches that touch a hole."""
        report, wanted, composite, holes = self._filled(batch, self.generator)
        batch.shared |= {"wanted": wanted, "composite": composite.detach(), "holes": holes}
        score, maps = self.discriminator(composite)
        with torch.no_grad():
            _, real_maps = self.discriminator(wanted)
        touched, c = self._touched(holes, score), self.config
        report["matching"] = feature_matching(real_maps, maps)
        report["adversarial"] = -(score * touched).sum() / touched.sum().clamp(min=1)
        report["loss"] = report["loss"] + c.adversarial * report["adversarial"] + c.matching * report["matching"]
        return report

    def _filled(self, batch: Batch, network: nn.Module) -> tuple[dict[str, Tensor], Tensor, Tensor, Tensor]:
        """The error of a network in holes of random crops; what is wanted, the composite, and the holes."""
        given, wanted, holes = self.pair(random_crops(batch.images, self.config.patch))
        assert holes is not None
        made, where = self._made(given, holes, network), holes.expand_as(wanted)
        error = ((made - wanted).abs() * where).sum() / where.sum().clamp(min=1)
        report = {"loss": error, "hole": _hole_db(made, wanted, holes)}
        return report, wanted, given.lerp(made, holes), holes

    def discriminator_loss(self, batch: Batch) -> dict[str, Tensor]:
        """The hinge loss, of a composite on the patches that touch a hole. (To count the others as real, as Suvorov et
        al. do, taught the discriminator in short runs to call everything real.)"""
        s = batch.shared
        real, fake = self.discriminator(s["wanted"])[0], self.discriminator(s["composite"])[0]
        touched = self._touched(s["holes"], fake)
        count = touched.sum().clamp(min=1)
        loss = F.relu(1 - real).mean() + (F.relu(1 + fake) * touched).sum() / count
        return {"loss": loss, "real": real.mean(), "fake": (fake * touched).sum() / count}

    def restore(self, images: Tensor, *, holes: Tensor | None = None, strength: float | None = None) -> Tensor:
        """(N, C, H, W) in [-1, 1], and `holes` (N, 1 or C, H, W), 1 where it is missing -> the same, filled; for
        `strength` see `Interpolated.network`."""
        assert holes is not None
        made = self._made(images * (1 - holes), holes, self.network(strength))
        return torch.where(holes > 0, made.clamp(-1, 1), images)

    def _made(self, given: Tensor, holes: Tensor, network: Callable[..., Tensor]) -> Tensor:
        """Given (N, C, H, W), 0 in the holes -> the whole picture, known parts too."""
        frames = "frames" in self.degrade.terms
        smooth = between(given, holes, self.degrade.frames) if frames else pull_push(given, holes)
        return smooth + network(torch.cat([smooth, holes], 1))

    def _touched(self, holes: Tensor, score: Tensor) -> Tensor:
        """(N, 1 or C, H, W) -> 1 where the patch of a score has a part of a hole in its middle, (N, 1, h, w)."""
        return F.adaptive_max_pool2d(holes.amax(1, keepdim=True), score.shape[2:])


def between(given: Tensor, holes: Tensor, frames: int) -> Tensor:
    """Given clips (N, frames x C, H, W), 0 in the missing frames, (N, frames x C, H, W) 1, -> the same, where missing
    frames are interpolated between the nearest known one before and the nearest one after, or are that one of them
    which there is."""
    clips: Tensor = given.unflatten(1, (frames, -1))
    known = holes.unflatten(1, (frames, -1))[:, :, 0, 0, 0] < 0.5
    number = torch.arange(frames, device=given.device).expand(len(given), -1)
    before = number.where(known, -1).cummax(1).values
    after = number.where(known, frames).flip(1).cummin(1).values.flip(1)
    first = before.where(before >= 0, after).clamp(max=frames - 1)
    last = after.where(after < frames, before).clamp(min=0)
    share = (number - first) / (last - first).clamp(min=1)

    def of(index: Tensor) -> Tensor:
        return clips.gather(1, index[:, :, None, None, None].expand_as(clips))

    filled = of(first).lerp(of(last), share[:, :, None, None, None].to(clips.dtype))
    whole: Tensor = filled.where(~known[:, :, None, None, None], clips).flatten(1, 2)
    return whole


def pull_push(given: Tensor, holes: Tensor) -> Tensor:
    """Given (N, C, H, W), 0 in the holes (N, 1 or C, H, W), -> the same, where holes have the average of what is known
    at the finest scale at which anything is: halved as often as possible, then enlarged bilinearly, and made smoother
    at each scale."""
    known = (1 - holes).expand_as(given)
    levels = [(given, known)]
    while min(levels[-1][0].shape[2:]) > 1:
        colour, weight = (F.avg_pool2d(x, 2, ceil_mode=True, count_include_pad=False) for x in levels[-1])
        levels.append((colour / weight.clamp(min=1e-6) * (weight > 0), (weight > 0).to(weight.dtype)))
    filled = levels.pop()[0]
    while levels:
        colour, weight = levels.pop()
        filled = F.interpolate(filled, size=colour.shape[2:], mode="bilinear").lerp(colour, weight)
        for _ in range(SMOOTHED[not levels]):
            around = F.avg_pool2d(F.pad(filled, (1, 1, 1, 1), mode="replicate"), 3, 1)
            filled = around.lerp(colour, weight)
    return filled


def _hole_db(made: Tensor, wanted: Tensor, holes: Tensor) -> Tensor:
    """PSNR in dB over the holes alone."""
    missing = holes.expand_as(wanted)
    error = ((made.detach().clamp(-1, 1) - wanted).square() * missing).sum() / missing.sum().clamp(min=1)
    return decibels(error.clamp(min=1e-10), peak=2)


SYSTEM = Inpaint
