"""Augmentation of what the discriminator sees, reals and fakes alike, which gradients pass.

`color`, `translation` and `cutout` are always on: Zhao et al. 2020, "Differentiable Augmentation for Data-Efficient GAN
Training". `ada` and its twelve parts are on with a chance p that adapts: Karras et al. 2020, "Training Generative
Adversarial Networks with Limited Data". Each part can be undone on average, and as long as p stays below LIMIT a
picture as it is remains the likeliest thing to see, so that a generator can only match the augmented reals by making
what they were made of (section 2.2): nothing leaks. Each picture draws its own numbers from torch's generator, which
the training loop seeds for every step."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ganforge.base import words
from ganforge.base.errors import InputError
from ganforge.nn import warp

if TYPE_CHECKING:
    from ganforge.system import Batch

KINDS = ("color", "translation", "cutout")
GEOMETRY = ("flip", "turn", "shift", "scale", "rotate", "stretch", "move")
COLOURS = ("brightness", "contrast", "invert", "hue", "saturation")
WORDS = (*KINDS, *GEOMETRY, *COLOURS)
HELP = (
    f"what D sees is changed: {', '.join(KINDS)} always; ada with an adapting chance, ada 0.3 with a fixed one, or only its parts "
    f"{', '.join(GEOMETRY + COLOURS)}; with commas between"
)
LIMIT = 0.8
_EVERY = 4


def parse(kinds: str) -> tuple[tuple[str, ...], frozenset[str], float | None]:
    """`"color, ada 0.3"` -> the kinds that are always on, ADA's parts, and their chance where it is fixed. InputError
    if it is odd."""
    parts = GEOMETRY + COLOURS
    found = words.terms(kinds, dict.fromkeys((*KINDS, "ada", *parts)), "model.augment")
    always = tuple(kind for kind in found if kind in KINDS)
    chances = {value for kind, value in found.items() if kind not in KINDS}
    if len(chances) > 1 or any(found[kind] is not None for kind in always) or not all((c or 0) <= 1 for c in chances):
        raise InputError(
            f"model.augment is {kinds!r}; one number from 0 to 1 may stand behind ada, or the same behind each of its parts."
        )
    chosen = parts if "ada" in found else tuple(kind for kind in found if kind in parts)
    return always, frozenset(chosen), next(iter(chances), None)


class Augment(nn.Module):
    """The changes named by `kinds`, as a module: (N, C, H, W) -> the same shape, float32 where ADA is among them.

    `update` adapts ADA's chance p, a buffer, so that a resumed run goes on exactly: up while the discriminator's scores
    of reals are positive more often than `target` says (their mean sign, r_t of section 3), else down, from 0 to 1 in
    `speed` images. The paper takes 500,000 of its 25 million; the default suits shorter runs."""

    p: Tensor
    signs: Tensor

    def __init__(self, kinds: str, target: float = 0.6, speed: float = 100_000) -> None:
        super().__init__()
        self.always, self.parts, fixed = parse(kinds)
        self.adapts, self.target, self.speed = bool(self.parts) and fixed is None, target, speed
        if self.parts:
            self.register_buffer("p", torch.tensor(fixed or 0.0))
            self.register_buffer("signs", torch.zeros(2))

    def forward(self, images: Tensor) -> Tensor:
        if self.parts:
            with torch.autocast(images.device.type, enabled=False):
                images = self.ada(images.float())
        return diff_augment(images, self.always)

    def ada(self, images: Tensor) -> Tensor:
        """One sampling for all of the geometry, one matrix for all of the colours."""
        if places := _geometry(images, self.p, self.parts):
            images = warp.warp(images, warp.fold(*places))
        if colours := _colours(images, self.p, self.parts):
            images = warp.recolour(images, warp.fold(*colours[::-1]))
        return images.contiguous(memory_format=torch.channels_last)

    @torch.no_grad()
    def update(self, real_scores: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Take note of a step's scores of reals, (N,) or more; adapt at every fourth. Returns p to be reported, if it
        adapts."""
        if not self.adapts or not self.training:
            return {}
        self.signs += torch.stack([real_scores.sign().sum(), torch.ones_like(real_scores).sum()]).float()
        if batch.seen // len(batch.images) % _EVERY == _EVERY - 1:
            way = (self.signs[0] / self.signs[1] - self.target).sign()
            self.p.add_(way * (_EVERY * len(batch.images) / self.speed)).clamp_(0, LIMIT)
            self.signs.zero_()
        return {"p": self.p.clone()}


def _geometry(images: Tensor, p: Tensor, parts: frozenset[str]) -> list[Tensor]:
    """Matrices in the order of application (Karras et al. 2020, appendix B, with its numbers)."""
    _, _, height, width = images.shape
    one = torch.ones(len(images), device=images.device)
    zero = torch.zeros_like(one)
    rotation = 1 - (1 - p).sqrt()  # before and after the stretch: together as likely as p

    def by_chance(value: Tensor, neutral: Tensor, chance: Tensor = p) -> Tensor:
        return torch.where(torch.rand_like(one) < chance, value, neutral)

    def whole(choices: int) -> Tensor:
        return (torch.rand_like(one) * choices).floor()

    def even() -> Tensor:
        return torch.rand_like(one) * 2 - 1

    out = []
    if "flip" in parts:
        out.append(warp.scale(by_chance(1 - 2 * whole(2), one), one))
    if "turn" in parts:  # pictures that are not square only upside down
        quarters = whole(4) if height == width else 2 * whole(2)
        out.append(warp.rotate(by_chance(quarters * (math.pi / 2), zero)))
    if "shift" in parts:
        dx, dy = (even() * (side / 8) for side in (width, height))
        moved = torch.rand_like(one) < p
        out.append(warp.shift(torch.where(moved, dx.round(), zero), torch.where(moved, dy.round(), zero)))
    if "scale" in parts:
        factor = by_chance(torch.exp2(0.2 * torch.randn_like(one)), one)
        out.append(warp.scale(factor, factor))
    if "rotate" in parts:
        out.append(warp.rotate(by_chance(math.pi * even(), zero, rotation)))
    if "stretch" in parts:
        factor = by_chance(torch.exp2(0.2 * torch.randn_like(one)), one)
        out.append(warp.scale(factor, 1 / factor))
        if "rotate" in parts:
            out.append(warp.rotate(by_chance(math.pi * even(), zero, rotation)))
    if "move" in parts:
        dx, dy = (torch.randn_like(one) * (side / 8) for side in (width, height))
        moved = torch.rand_like(one) < p
        out.append(warp.shift(torch.where(moved, dx, zero), torch.where(moved, dy, zero)))
    return out


def _colours(images: Tensor, p: Tensor, parts: frozenset[str]) -> list[Tensor]:
    """Matrices in the order of application, likewise. For grey pictures hue and saturation change nothing."""
    one = torch.ones(len(images), device=images.device)
    zero = torch.zeros_like(one)

    def by_chance(value: Tensor, neutral: Tensor) -> Tensor:
        return torch.where(torch.rand_like(one) < p, value, neutral)

    out = []
    if "brightness" in parts:
        out.append(warp.brighten(by_chance(0.2 * torch.randn_like(one), zero)))
    if "contrast" in parts:
        out.append(warp.contrast(by_chance(torch.exp2(0.5 * torch.randn_like(one)), one)))
    if "invert" in parts:
        out.append(warp.about_grey(by_chance(1 - 2 * (torch.rand_like(one) * 2).floor(), one), one, zero))
    if "hue" in parts:
        out.append(warp.about_grey(one, one, by_chance(math.pi * (2 * torch.rand_like(one) - 1), zero)))
    if "saturation" in parts:
        out.append(warp.about_grey(one, by_chance(torch.exp2(torch.randn_like(one)), one), zero))
    return out


def diff_augment(images: Tensor, kinds: tuple[str, ...]) -> Tensor:
    """(N, C, H, W) -> the same shape, changed by each of `kinds` in turn."""
    for kind in kinds:
        images = {"color": color, "translation": translation, "cutout": cutout}[kind](images)
    return images


def color(images: Tensor) -> Tensor:
    """Brightness +-0.5, saturation x0 to x2 (three channels and more), contrast x0.5 to x1.5. Alpha is left alone."""
    alpha = images[:, 3:]
    x = images[:, :3]
    brightness, saturation, contrast = _uniform(x, 3).unbind(1)
    x = x + (brightness - 0.5)[:, None, None, None]
    if x.shape[1] == 3:
        grey = x.mean(1, keepdim=True)
        x = (x - grey) * (2 * saturation)[:, None, None, None] + grey
    mean = x.mean((1, 2, 3), keepdim=True)
    x = (x - mean) * (contrast + 0.5)[:, None, None, None] + mean
    return torch.cat([x, alpha], 1) if alpha.shape[1] else x


def translation(images: Tensor) -> Tensor:
    """A whole-pixel shift of up to an eighth of the side each way; what comes in repeats the edge."""
    _, _, height, width = images.shape
    reach_y, reach_x = max(1, height // 8), max(1, width // 8)
    draw = _uniform(images, 2)
    dy = (draw[:, 0] * (2 * reach_y + 1)).long() - reach_y
    dx = (draw[:, 1] * (2 * reach_x + 1)).long() - reach_x
    rows = (torch.arange(height, device=images.device)[None] + dy[:, None]).clamp(0, height - 1)
    columns = (torch.arange(width, device=images.device)[None] + dx[:, None]).clamp(0, width - 1)
    n = torch.arange(len(images), device=images.device)[:, None, None]
    return images.permute(0, 2, 3, 1)[n, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def cutout(images: Tensor) -> Tensor:
    """A window of half the sides, anywhere, set to zero (mid-grey)."""
    _, _, height, width = images.shape
    draw = _uniform(images, 2)
    top = (draw[:, 0, None] * (height + 1)).long() - height // 4
    left = (draw[:, 1, None] * (width + 1)).long() - width // 4
    y, x = torch.arange(height, device=images.device), torch.arange(width, device=images.device)
    inside_y = (y >= top) & (y < top + height // 2)
    inside_x = (x >= left) & (x < left + width // 2)
    hole = inside_y[:, :, None] & inside_x[:, None, :]
    return images * (~hole)[:, None].to(images.dtype)


def _uniform(images: Tensor, numbers: int) -> Tensor:
    return torch.rand(len(images), numbers, device=images.device)
