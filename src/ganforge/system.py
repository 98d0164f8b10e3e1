"""The contract of a system: what the training loop, sampling and measuring know of it, and no more."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ganforge.base.seeds import key
from ganforge.media.medium import Medium
from ganforge.media.spec import MEDIA, Spec
from ganforge.nn.style import Mapping, grain


@dataclass
class Batch:
    """What a phase's loss sees of one training step."""

    images: Tensor
    """(N, C, H, W) float32 in [-1, 1], channels_last."""
    labels: Tensor | None
    """(N,) int64, or None for an unlabelled set."""
    seen: int
    """Images shown before this step; schedules and growth depend on it alone."""
    shared: dict[str, Tensor] = field(default_factory=dict)
    """What one phase hands to the next within the same step, such as the fakes that it has made already."""


@dataclass(frozen=True)
class Adam:
    """Settings of the optimizer of one submodule."""

    lr: float
    beta1: float = 0.5
    beta2: float = 0.99
    eps: float = 1e-8


@dataclass(frozen=True)
class Phase:
    """One part of a training step: a loss, and the submodules that learn from it."""

    name: str
    learns: tuple[str, ...]
    """Names of the submodules; the others' weights stand still, and only gradients that these need are computed."""
    loss: Callable[[Batch], dict[str, Tensor]]
    """Scalars by name: `loss` is minimised, the rest is reported."""
    every: int = 1
    """Runs in every n-th step only."""


class System(nn.Module):
    """Base of all systems; a subclass names `averaged` and says its phases.

    Its file also holds `Config` (a frozen dataclass with at least `latent: int`), `PRESETS` (settings of `small`,
    `medium` and `large` that differ from Config's defaults), `TRAIN` (the loop's settings that suit it, where they
    differ from the loop's defaults), and `SYSTEM`, the subclass."""

    averaged: ClassVar[tuple[str, ...]]
    """Submodules whose moving average makes the samples."""
    classes: int
    """How many classes pictures can be asked of; 0: none, and `generate` goes without labels."""
    generates: ClassVar[bool] = True
    """False for a system that has `restore` and `examples` only, neither `latents` nor `generate`."""
    restores: bool = False
    """Whether it has `restore`."""
    media: ClassVar[tuple[type[Medium], ...]] = MEDIA
    """What it can learn from."""
    reach: ClassVar[int] = 0
    """0 where `restore` takes pictures of the spec's size alone; otherwise any size will do, and no pixel of the answer
    depends on one that is more than so many away."""

    @classmethod
    def check(cls, config: Any, spec: Spec) -> None:
        """InputError where these settings cannot make such pictures; asked before a run begins."""

    def __init__(self, config: Any, spec: Spec) -> None:
        super().__init__()
        self.config, self.spec = config, spec
        self.classes = len(spec.classes) if self.needs_labels(config) else 0

    @classmethod
    def needs_labels(cls, config: Any) -> bool:
        """Whether it makes pictures by class and so takes a labelled store only: with its setting `conditional`, if
        there is one."""
        return bool(getattr(config, "conditional", False))

    @classmethod
    def least_batch(cls, config: Any, spec: Spec) -> int:
        """How few images a step may have: 2 where single numbers, not pictures, are normalised over the batch."""
        return 1

    def phases(self) -> list[Phase]:
        """The phases in the order of one step."""
        raise NotImplementedError

    def adam(self) -> dict[str, Adam]:
        """Optimizer settings by the name of the submodule that learns."""
        raise NotImplementedError

    def generate(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        """(N, Z) float32, and (N,) int64 where `classes` is not 0 -> (N, C, H, W) in [-1, 1]."""
        raise NotImplementedError

    def latents(self, seeds: Iterable[int]) -> Tensor:
        """One seed, one latent, whatever else is in the batch: (N, Z) float32 on the CPU, normal with variance 1."""
        rows = []
        for seed in seeds:
            generator = torch.Generator().manual_seed(key(seed, "latent"))
            rows.append(torch.randn(self.config.latent, generator=generator))
        return torch.stack(rows)

    def restore(self, images: Tensor) -> Tensor:
        """(N, C, H, W) in [-1, 1] -> the same shape and range: cleaned, or as a code remembers it."""
        raise NotImplementedError

    def examples(self, images: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, K, C, H, W): what the sheets of a system that makes no pictures of its own show of
        each."""
        raise NotImplementedError

    def noise(self, batch: Batch) -> Tensor:
        """Latents for a training step: (N, Z) float32 on the batch's device, from torch's generator."""
        return torch.randn(len(batch.images), self.config.latent, device=batch.images.device)


def with_label(x: Tensor, labels: Tensor | None, classes: int) -> Tensor:
    """Labels as further numbers, 1 at the class and 0 elsewhere: (N, D) and (N,) int64 -> (N, D + classes). With 0
    classes, x."""
    if labels is None or not classes:
        return x
    return torch.cat([x, F.one_hot(labels, classes).to(x.dtype)], 1)


class StyleSystem(System):
    """A system that paints with a vector a layer, its style: these can be truncated, mixed and searched.

    Its generator holds `mapping`, and `layers`, the number of styles that a picture takes.
    """

    generator: nn.Module

    @property
    def layers(self) -> int:
        """How many styles a picture takes, the coarsest first."""
        return int(self.generator.layers)  # type: ignore[arg-type]

    def centre(self) -> Tensor:
        """(W,), the mean of the styles."""
        return self._mapping().centre

    def styles(self, latents: Tensor, labels: Tensor | None = None, truncation: float = 1.0) -> Tensor:
        """(N, Z) -> (N, L, W), one style for all layers; each is pulled towards the centre, to which 0 brings all of
        them."""
        styles: Tensor = self._mapping()(latents, labels)
        if truncation != 1:
            styles = self.centre().lerp(styles, truncation)
        return styles[:, None].expand(-1, self.layers, -1)

    def paint(self, styles: Tensor, grain: Tensor) -> Tensor:
        """(N, L, W), and (N, K) from `nn.style.grain`, which chooses the noise -> (N, C, H, W) in [-1, 1]."""
        raise NotImplementedError

    def generate(self, latents: Tensor, labels: Tensor | None = None, truncation: float = 1.0) -> Tensor:
        return self.paint(self.styles(latents, labels, truncation), grain(latents, truncation))

    def _mapping(self) -> Mapping:
        mapping = self.generator.mapping
        assert isinstance(mapping, Mapping)
        return mapping


def base_grid(spec: Spec, smallest: int = 7) -> tuple[int, int, int]:
    """(height, width, doublings): the grid that a convolutional generator starts from.

    As few doublings as bring the shorter side to `smallest` or less; where the grid does not divide, it is rounded up
    and the generator cuts the rest off. 28x28 -> 7, 7, 2; 32x32 -> 4, 4, 3; 48x64 -> 6, 8, 3; 30x30 -> 8, 8, 2."""
    short = min(spec.height, spec.width)
    doublings = 0
    while short / 2**doublings > smallest + 0.5:
        doublings += 1
    return math.ceil(spec.height / 2**doublings), math.ceil(spec.width / 2**doublings), doublings


def crop(images: Tensor, spec: Spec) -> Tensor:
    """(N, C, H', W') -> (N, C, H, W), the centre."""
    top, left = (images.shape[2] - spec.height) // 2, (images.shape[3] - spec.width) // 2
    return images[:, :, top : top + spec.height, left : left + spec.width]


def pad(images: Tensor, spec: Spec) -> Tensor:
    """(N, C, H, W) -> (N, C, H', W'), the grid that `crop` undoes; what is added repeats the edge."""
    height, width, doublings = base_grid(spec)
    down, right = height * 2**doublings - spec.height, width * 2**doublings - spec.width
    if not down and not right:
        return images
    return F.pad(images, (right // 2, right - right // 2, down // 2, down - down // 2), mode="replicate")
