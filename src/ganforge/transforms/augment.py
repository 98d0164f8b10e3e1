"""Differentiable augmentations of the discriminator's input, of real and generated images alike.

`color`, `translation` and `cutout` are always applied: Zhao et al. 2020, "Differentiable Augmentation for
Data-Efficient GAN Training". `ada` and its twelve augmentations are applied with a probability p that adapts: Karras
et al. 2020, "Training Generative Adversarial Networks with Limited Data". As long as p stays below LIMIT, the
augmentations are non-leaking (section 2.2): a generator whose augmented images have the distribution of the
augmented real ones has the distribution of the real ones. Each picture draws its own numbers from torch's global
generator, which the training loop seeds for every step."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ganforge.base import words
from ganforge.base.errors import InputError
from ganforge.transforms import warp

if TYPE_CHECKING:
    from ganforge.system import Batch

KINDS = ("color", "translation", "cutout")
GEOMETRY = ("flip", "turn", "shift", "scale", "rotate", "stretch", "move")
COLOURS = ("brightness", "contrast", "invert", "hue", "saturation")
WORDS = (*KINDS, *GEOMETRY, *COLOURS)
HELP = (
    f"augmentations of the discriminator's input: {', '.join(KINDS)} always; ada with an adapting probability, ada 0.3 "
    f"with a fixed one, or only some of {', '.join(GEOMETRY + COLOURS)}; separated by commas; none; or auto: ada for "
    "fewer than 10,000 training pictures, else none"
)
FEW = 10_000  # training pictures; with fewer of them `auto` is ada
LIMIT = 0.8
_EVERY = 4  # steps between two adjustments of p


def for_set(pictures: int) -> str:
    """What `auto` is for a set of so many training pictures."""
    return "ada" if pictures < FEW else ""


def parse(kinds: str) -> tuple[tuple[str, ...], frozenset[str], float | None]:
    """`"color, ada 0.3"` -> (augmentations that are always applied, those of ADA, p where it is fixed).

    `auto` has none until the set is known (`for_set`). InputError for an unknown word or a number that does not fit."""
    parts = GEOMETRY + COLOURS
    if kinds in ("auto", "none"):
        kinds = ""
    terms = words.terms(kinds, dict.fromkeys((*KINDS, "ada", *parts)), "model.augment")
    always = tuple(kind for kind in terms if kind in KINDS)
    chances = {value for kind, value in terms.items() if kind not in KINDS}
    if len(chances) > 1 or any(terms[kind] is not None for kind in always) or not all((c or 0) <= 1 for c in chances):
        raise InputError(
            f"model.augment is {kinds!r}; one number from 0 to 1 may stand behind ada, or the same behind each of its "
            "parts."
        )
    chosen = parts if "ada" in terms else tuple(kind for kind in terms if kind in parts)
    return always, frozenset(chosen), next(iter(chances), None)


class Augment(nn.Module):
    """The augmentations in `kinds`, as a module: (N, C, H, W) in [-1, 1] -> the same shape, float32 with ADA.

    `update` adapts p of ADA, a buffer, so that a resumed run continues exactly: up while the mean sign of the
    discriminator's scores of real images (r_t of section 3) is above `target`, else down, at a speed of 1 in `speed`
    images. The paper uses 500,000 of its 25 million images; the default suits shorter runs."""

    p: Tensor
    signs: Tensor

    def __init__(self, kinds: str, target: float = 0.6, speed: float = 100_000) -> None:
        super().__init__()
        self.always, self.parts, self.fixed = parse(kinds)
        self.adapts, self.target, self.speed = bool(self.parts) and self.fixed is None, target, speed
        if self.parts:
            self.register_buffer("p", torch.tensor(self.fixed or 0.0))
            self.register_buffer("signs", torch.zeros(2))

    def forward(self, images: Tensor) -> Tensor:
        if self.parts:
            with torch.autocast(images.device.type, enabled=False):
                images = self.ada(images.float())
        return diff_augment(images, self.always)

    def ada(self, images: Tensor) -> Tensor:
        """Geometric augmentations as one resampling, colour augmentations as one matrix."""
        if geometry := _geometry(images, self.p, self.parts):
            images = warp.warp(images, warp.fold(*geometry))
        if colours := _colours(images, self.p, self.parts):
            images = warp.recolour(images, warp.fold(*colours[::-1]))
        return images.contiguous(memory_format=torch.channels_last)

    @torch.no_grad()
    def grow(self, share: float) -> None:
        """Set p, where it is fixed, to this share of its number, from 0 to 1: for a schedule."""
        if self.fixed is not None:
            self.p.fill_(share * self.fixed)

    @torch.no_grad()
    def update(self, real_scores: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Take the scores of a step's real images, of any shape, into account; adjust p at every fourth step. Returns
        {"p": p} for the report where p adapts, else {}."""
        if not self.adapts or not self.training:
            return {}
        self.signs += torch.stack([real_scores.sign().sum(), torch.ones_like(real_scores).sum()]).float()
        if batch.seen // len(batch.images) % _EVERY == _EVERY - 1:
            direction = (self.signs[0] / self.signs[1] - self.target).sign()
            self.p.add_(direction * (_EVERY * len(batch.images) / self.speed)).clamp_(0, LIMIT)
            self.signs.zero_()
        return {"p": self.p.clone()}


def _geometry(images: Tensor, p: Tensor, parts: frozenset[str]) -> list[Tensor]:
    """Matrices (N, 3, 3) in the order of application (Karras et al. 2020, appendix B, with its constants)."""
    _, _, height, width = images.shape
    one = torch.ones(len(images), device=images.device)
    zero = torch.zeros_like(one)
    rotation = 1 - (1 - p).sqrt()  # one before and one after the stretch: together of probability p

    def by_probability(value: Tensor, neutral: Tensor, probability: Tensor = p) -> Tensor:
        return torch.where(torch.rand_like(one) < probability, value, neutral)

    def whole(choices: int) -> Tensor:
        return (torch.rand_like(one) * choices).floor()

    def even() -> Tensor:
        return torch.rand_like(one) * 2 - 1

    out = []
    if "flip" in parts:
        out.append(warp.scale(by_probability(1 - 2 * whole(2), one), one))
    if "turn" in parts:  # pictures that are not square only upside down
        quarters = whole(4) if height == width else 2 * whole(2)
        out.append(warp.rotate(by_probability(quarters * (math.pi / 2), zero)))
    if "shift" in parts:
        dx, dy = (even() * (side / 8) for side in (width, height))
        moved = torch.rand_like(one) < p
        out.append(warp.shift(torch.where(moved, dx.round(), zero), torch.where(moved, dy.round(), zero)))
    if "scale" in parts:
        factor = by_probability(torch.exp2(0.2 * torch.randn_like(one)), one)
        out.append(warp.scale(factor, factor))
    if "rotate" in parts:
        out.append(warp.rotate(by_probability(math.pi * even(), zero, rotation)))
    if "stretch" in parts:
        factor = by_probability(torch.exp2(0.2 * torch.randn_like(one)), one)
        out.append(warp.scale(factor, 1 / factor))
        if "rotate" in parts:
            out.append(warp.rotate(by_probability(math.pi * even(), zero, rotation)))
    if "move" in parts:
        dx, dy = (torch.randn_like(one) * (side / 8) for side in (width, height))
        moved = torch.rand_like(one) < p
        out.append(warp.shift(torch.where(moved, dx, zero), torch.where(moved, dy, zero)))
    return out


def _colours(images: Tensor, p: Tensor, parts: frozenset[str]) -> list[Tensor]:
    """Matrices (N, 4, 4) in the order of application, likewise. Hue and saturation leave grey pictures as they are."""
    one = torch.ones(len(images), device=images.device)
    zero = torch.zeros_like(one)

    def by_probability(value: Tensor, neutral: Tensor) -> Tensor:
        return torch.where(torch.rand_like(one) < p, value, neutral)

    out = []
    if "brightness" in parts:
        out.append(warp.brighten(by_probability(0.2 * torch.randn_like(one), zero)))
    if "contrast" in parts:
        out.append(warp.contrast(by_probability(torch.exp2(0.5 * torch.randn_like(one)), one)))
    if "invert" in parts:
        out.append(warp.about_grey(by_probability(1 - 2 * (torch.rand_like(one) * 2).floor(), one), one, zero))
    if "hue" in parts:
        out.append(warp.about_grey(one, one, by_probability(math.pi * (2 * torch.rand_like(one) - 1), zero)))
    if "saturation" in parts:
        out.append(warp.about_grey(one, by_probability(torch.exp2(torch.randn_like(one)), one), zero))
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
    """A shift by whole pixels, up to an eighth of the side each way; the edge is replicated."""
    _, _, height, width = images.shape
    most_y, most_x = max(1, height // 8), max(1, width // 8)
    draw = _uniform(images, 2)
    dy = (draw[:, 0] * (2 * most_y + 1)).long() - most_y
    dx = (draw[:, 1] * (2 * most_x + 1)).long() - most_x
    rows = (torch.arange(height, device=images.device)[None] + dy[:, None]).clamp(0, height - 1)
    columns = (torch.arange(width, device=images.device)[None] + dx[:, None]).clamp(0, width - 1)
    n = torch.arange(len(images), device=images.device)[:, None, None]
    return images.permute(0, 2, 3, 1)[n, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def cutout(images: Tensor) -> Tensor:
    """A window with half of each side, anywhere, set to zero (mid-grey)."""
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
