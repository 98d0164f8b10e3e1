"""Systems that map pictures to pictures: what they are given, and what is wanted of it.

Super-resolution, inpainting, image-to-image translation: what is given is made from clean pictures by a degradation
(`ganforge.transforms.degrade`), the setting `degradation` of the system, or it is the first half of the rows of a store
of pairs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from ganforge.base.errors import InputError
from ganforge.base.seeds import key
from ganforge.media.clip import Clip
from ganforge.media.medium import Medium
from ganforge.media.pair import Pair
from ganforge.media.picture import Picture
from ganforge.media.spec import Spec
from ganforge.system import System
from ganforge.transforms.degrade import Degrade


class ImageToImage(System):
    """Base of the systems that restore or translate pictures and generate none. A subclass implements `phases`, `adam`
    and `restore`, and learns from what `pair` returns.

    Its Config has `degradation: str`; one without that setting overrides `pair`. `scale`, `given`, `wanted` and, for a
    class that can fill holes, `fills` follow from the degradation or from the store of pairs."""

    generates = False
    restores = True
    media: ClassVar[tuple[type[Medium], ...]] = (Picture, Pair)

    @classmethod
    def check(cls, config: Any, spec: Spec) -> None:
        """InputError where the degradation cannot be understood, does not fit the pictures or is not for this
        system."""
        if not hasattr(config, "degradation"):
            return
        text = degradation(config)
        name = cls.__module__.rpartition(".")[2]
        if isinstance(spec.medium, Pair):
            if text:
                raise InputError(
                    f"The store holds pairs, which say what is given, and model.degradation is {text!r}. Say "
                    "--model.degradation none, or train on single pictures."
                )
            return
        if not text:
            pairs = ", or prepare pairs" if Pair in cls.media else ""
            usual = type(config)().degradation or "down 4"
            raise InputError(
                f"{name} is given nothing of the single pictures of this store. Say what, such as --model.degradation "
                f'"{usual}"{pairs}.'
            )
        if spec.levels:
            raise InputError(f"{name} learns from plain bytes. Prepare the pictures without normalisation.")
        degrade = _degrade(text, spec)
        if degrade.holes and not cls.fills:
            raise InputError(f"model.degradation is {text!r}, and {name} fills no holes. Leave those words out.")
        if min(spec.height, spec.width) < degrade.scale:
            raise InputError(f"model.degradation is {text!r}, and the pictures have {spec.height}x{spec.width} pixels.")

    @classmethod
    def continued(cls, config: Any, spec: Spec, seen: int, to: Spec) -> dict[str, Any] | None:
        """As `System.continued`. A system that begins without its discriminator goes on in the phase that it has
        reached: what is left of its `alone` images."""
        settings = super().continued(config, spec, seen, to)
        if settings is not None and hasattr(config, "alone"):
            settings |= {"alone": max(0, config.alone - seen)}
        return settings

    def __init__(self, config: Any, spec: Spec) -> None:
        super().__init__(config, spec)
        self.degrade = _degrade(degradation(config), spec)
        pair = isinstance(spec.medium, Pair)
        self.given = spec.medium.given if isinstance(spec.medium, Pair) else self.degrade.given
        self.wanted = spec.channels - self.given if pair else spec.channels
        self.shown = len(spec.medium.palette) if isinstance(spec.medium, Pair) and spec.medium.palette else self.given
        """Channels of `encoded`."""
        self.scale = self.degrade.scale
        self.fills = self.fills and self.degrade.holes

    def pair(self, images: Tensor, strength: float | None = None) -> tuple[Tensor, Tensor, Tensor | None]:
        """Rows of the store (N, C, H, W) in [-1, 1] -> what is given (N, given, h, w), what is wanted (N, wanted,
        scale h, scale w), both in [-1, 1], and the holes in what is given, (N, 1, h, w) or, for missing frames,
        (N, C, h, w), 1 where it is missing, or None. Sides that are no multiple of `scale` are cut at the end.

        Of a degradation every picture draws its own strength, from torch's global generator on the CPU, unless
        `strength` says it, from 0, the mildest, to 1. Pairs are as they are."""
        if isinstance(self.spec.medium, Pair):
            return images[:, : self.given], images[:, self.given :], None
        height, width = (side // self.scale * self.scale for side in images.shape[2:])
        wanted = images[:, :, :height, :width]
        given, holes = self.degrade(wanted, strength)
        return given, wanted, holes

    def encoded(self, given: Tensor) -> Tensor:
        """What a network is to see of what is given: of maps of ids, (N, 1, H, W), a plane for each id of the palette,
        (N, K, H, W), 1 or 0; of anything else itself."""
        if not (isinstance(self.spec.medium, Pair) and self.spec.medium.palette):
            return given
        numbers = ((given[:, 0] + 1) * 127.5).round().long().clamp(0, len(self.spec.medium.palette) - 1)
        return F.one_hot(numbers, len(self.spec.medium.palette)).movedim(3, 1).to(given.dtype)

    def fields(self, seeds: Iterable[int], height: int, width: int) -> Tensor:
        """Seeds, 0 to 2^32-1, -> the latents with which `restore` answers a picture of this size: (N, wanted,
        scale height, scale width) float32 on the CPU, from N(0, I). Row n is a function of seed n and the size
        alone."""
        rows = []
        for seed in seeds:
            generator = torch.Generator().manual_seed(key(seed, "field"))
            rows.append(torch.randn(self.wanted, self.scale * height, self.scale * width, generator=generator))
        return torch.stack(rows)

    def options(self, given: Tensor, holes: Tensor | None) -> dict[str, Any]:
        """The keyword arguments of `restore` for examples and measurement: the holes where it fills them, the latents
        of seeds 0 to N-1 where it has several answers, and where it translates the classes in turn."""
        options: dict[str, Any] = {"holes": holes} if self.fills else {}
        if self.translates:
            turns = torch.arange(len(given), device=given.device) % len(self.learned)
            options["labels"] = torch.tensor(self.learned, device=given.device)[turns]
        if self.answers:
            options["latents"] = self.fields(range(len(given)), *given.shape[2:]).to(given.device)
        return options

    def examples(self, images: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, 3, C, H, W): given (at the hardest end of the degradation, always the same), made,
        wanted. Of pairs (N, 2, C, H, W): given and made, given and wanted, each as a row of the store."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(key(0, "examples"))
            given, wanted, holes = (None if x is None else x.to(images.device) for x in self.pair(images.cpu(), 1.0))
        assert given is not None and wanted is not None
        restore: Any = self.restore
        made = restore(given, **self.options(given, holes))
        if isinstance(self.spec.medium, Pair):
            return torch.stack([torch.cat([given, made], 1), torch.cat([given, wanted], 1)], 1)
        shown = F.interpolate(given, wanted.shape[2:])
        if shown.shape[1] < self.wanted:
            opaque = torch.ones_like(shown[:, :1])
            shown = torch.cat([*[shown] * min(3, self.wanted), *[opaque] * (self.wanted - 3)], 1)
        down, right = (side - inner for side, inner in zip(images.shape[2:], wanted.shape[2:], strict=True))
        return F.pad(torch.stack([shown, made, wanted], 1), (0, right, 0, down))


class Interpolated(ImageToImage):
    """Base of the systems that train two networks: `faithful` for the error alone, then `generator`, which goes on from
    it, against a discriminator. `strength` interpolates their weights (Wang et al. 2018, "ESRGAN", section 3.4).

    A subclass makes both alike, calls `follow` at the beginning and in every step of the first phase, and restores by
    `network`."""

    averaged = ("faithful", "generator")
    strengths = True
    faithful: nn.Module
    generator: nn.Module

    @torch.no_grad()
    def follow(self) -> None:
        """The generator becomes equal to the faithful network, so that the second phase begins with it."""
        for mine, theirs in zip(self.generator.parameters(), self.faithful.parameters(), strict=True):
            mine.copy_(theirs)

    def network(self, strength: float | None) -> Callable[..., Tensor]:
        """The network at a strength: 0 is the faithful one, 1 or None the generator."""
        if strength is None or strength == 1:
            return self.generator
        other = dict(self.generator.named_parameters())
        weights = {name: p.lerp(other[name], strength) for name, p in self.faithful.named_parameters()}
        return lambda *inputs: functional_call(self.generator, weights, inputs)


def degradation(config: Any) -> str:
    """The degradation of a Config; empty where there is none."""
    text: str = getattr(config, "degradation", "").strip()
    return "" if text == "none" else text


def _degrade(text: str, spec: Spec) -> Degrade:
    return Degrade(text, spec.channels, spec.medium.frames if isinstance(spec.medium, Clip) else 0)


def random_crops(images: Tensor, side: int) -> Tensor:
    """A random crop of each picture, of at most `side` pixels each way: (N, C, H, W) -> (N, C, h, w)."""
    count, _, height, width = images.shape
    if max(height, width) <= side:
        return images
    inner_y, inner_x = min(height, side), min(width, side)
    draw = torch.rand(2, count, 1, device=images.device)
    rows = (draw[0] * (height - inner_y + 1)).long() + torch.arange(inner_y, device=images.device)
    columns = (draw[1] * (width - inner_x + 1)).long() + torch.arange(inner_x, device=images.device)
    n = torch.arange(count, device=images.device)[:, None, None]
    return images.permute(0, 2, 3, 1)[n, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
