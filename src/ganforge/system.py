"""The contract of a system: all that the training loop, sampling and measuring know of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ganforge.base.seeds import key
from ganforge.media.medium import Medium
from ganforge.media.spec import PICTORIAL, Spec, to_float
from ganforge.nn import grow, losses
from ganforge.nn.mixture import Mixture
from ganforge.nn.schedules import Schedule
from ganforge.nn.style import MappingNetwork, noise_seed

JUDGED = 512  # pictures that the evidence lower bound of a report is estimated from


@dataclass
class Batch:
    """What one training step gives to the loss of each phase."""

    images: Tensor
    """(N, C, H, W) float32 in [-1, 1], channels_last."""
    labels: Tensor | None
    """(N,) int64, or None for an unlabelled set."""
    seen: int
    """Images shown before this step; schedules and progressive growing depend on this number alone."""
    caution: float = 1.0
    """Factor of the weights of gradient penalties: 1, and more after training has gone back from a collapse."""
    captions: Tensor | None = None
    """(N, L) int64, the numbers of the words of a caption of each picture, 0 after its end; None for a set without."""
    shared: dict[str, Tensor] = field(default_factory=dict)
    """Tensors that one phase leaves to the next one of the same step, such as the generated images ("fakes")."""


@dataclass(frozen=True)
class Adam:
    """Settings of the optimizer of one submodule; a schedule is evaluated at every step."""

    lr: float | Schedule
    beta1: float | Schedule = 0.5
    beta2: float | Schedule = 0.99
    eps: float = 1e-8


@dataclass(frozen=True)
class Rule:
    """A value of a preset that follows from the pictures and from the length of the run."""

    text: str
    """The rule in words, for the help."""
    value: Callable[[Spec, int], Any]
    """(spec, images of the whole run) -> the value of the setting."""
    by_length: bool = False
    """Whether the value depends on the images. Where the length is in minutes, they are estimated from the time of a
    few steps; without this they are 0."""
    begins: float = 0.0
    """The share of the run after which more phases begin; the steps before it take another time than those after."""


@dataclass(frozen=True)
class Phase:
    """One part of a training step: a loss, and the submodules that learn from it."""

    name: str
    learns: tuple[str, ...]
    """Names of the submodules that learn; the weights of all others are frozen during this phase."""
    loss: Callable[[Batch], dict[str, Tensor]]
    """Batch -> scalar tensors by name: `loss` is minimised, all of them are reported."""
    every: int = 1
    """Runs in every n-th step only."""
    since: int = 0
    """Runs from so many images on,"""
    until: int = 2**62
    """and before so many."""


class System(nn.Module):
    """Base class of all systems. A subclass names the submodules in `averaged` and implements at least `phases`,
    `adam` and `generate` (or `restore` and `examples`).

    The file of a system also holds `Config` (a frozen dataclass with at least `latent: int`), `PRESETS` (the settings
    of `small`, `medium` and `large` that differ from the defaults of Config; a key with the prefix `train.` is one of
    the training loop, a value may be a Rule), `TRAIN` (the settings of the training loop that differ from its defaults
    in all sizes), and `SYSTEM`, the subclass."""

    revision: ClassVar[int] = 1
    """Raised by a change after which weights trained before would make other pictures; run.toml records it, and runs of
    another revision are refused."""
    averaged: ClassVar[tuple[str, ...]]
    """Names of the submodules whose exponential moving average is used for samples."""
    renamed: ClassVar[Mapping[str, str]] = {}
    """Parts of the names of tensors in checkpoints of earlier versions -> the same parts today."""
    classes: int
    """Number of classes of a system that generates by class; 0 for one whose `generate` takes no labels."""
    generates: bool = True
    """False for a system that has only `restore` and `examples`, neither `latents` nor `generate`."""
    restores: bool = False
    """Whether the system has `restore`."""
    fitted: tuple[str, ...] = ()
    """Names of the submodules that `fit` sets; no gradient reaches them, and they are not averaged."""
    media: ClassVar[tuple[type[Medium], ...]] = PICTORIAL
    """The media that it can be trained on."""
    receptive_radius: int = 0
    """Radius of the receptive field of `restore` in pixels of what it is given, which may then have any size and is
    restored in tiles; 0 where `restore` takes pictures of the size in the spec only; `ganforge.nn.unet.ANY` where they
    may have any size, but only in one piece."""
    scale: int = 1
    """How many times longer the sides are that `restore` returns."""
    given: int
    """Channels that `restore` takes; those of the spec, unless it is given something else than it makes."""
    wanted: int
    """Channels that `restore` returns, likewise."""
    fills: bool = False
    """Whether `restore` takes `holes`. Of a class: whether it can, with the right settings; likewise the next ones."""
    strengths: bool = False
    """Whether `restore` takes a `strength`."""
    answers: bool = False
    """Whether `restore` takes `latents`, and has several answers for one picture."""
    prompts: bool = False
    """Whether `generate` takes a `prompt`, the numbers of the characters (P,) int64 that passages begin with, and makes
    rows (N, 1, 1, P + T)."""
    captioned: bool = False
    """Whether `generate` takes `captions` (N, L) int64, as `Batch` has them."""
    translates: bool = False
    """Whether `restore` takes `labels`, and translates pictures into these classes."""
    learned: tuple[int, ...] = ()
    """The numbers of the classes whose pictures it learns from; empty: all pictures."""

    @classmethod
    def check(cls, config: Any, spec: Spec) -> None:
        """InputError where these settings cannot produce pictures of `spec`. Called before a run begins."""

    def __init__(self, config: Any, spec: Spec) -> None:
        super().__init__()
        self.config, self.spec = config, spec
        self.classes = len(spec.classes) if self.needs_labels(config) else 0
        self.given = self.wanted = spec.channels

    @classmethod
    def needs_labels(cls, config: Any) -> bool:
        """Whether the system generates by class and therefore needs a labelled store; by default the setting
        `conditional`, where there is one."""
        return bool(getattr(config, "conditional", False))

    @classmethod
    def least_batch(cls, config: Any, spec: Spec) -> int:
        """The smallest batch: 2 where a layer normalises vectors over the batch, since one vector has no variance."""
        return 1

    @classmethod
    def least_images(cls, config: Any, spec: Spec) -> int:
        """The fewest images of a run: those until a growing system has its full size. 0 for one that does not grow."""
        return 0

    @classmethod
    def continued(cls, config: Any, spec: Spec, seen: int, to: Spec) -> dict[str, Any] | None:
        """Settings with which weights for `spec`, after `seen` images with `config`, are the beginning of a system for
        `to`; None where they are not, by default for pictures of another shape."""
        same = (spec.height, spec.width, spec.channels, spec.medium) == (to.height, to.width, to.channels, to.medium)
        return {} if same else None

    def phases(self) -> list[Phase]:
        """The phases in the order of one step."""
        raise NotImplementedError

    def adam(self) -> dict[str, Adam]:
        """Optimizer settings by the name of the submodule that learns."""
        raise NotImplementedError

    def generate(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        """(N, Z) float32, and (N,) int64 where `classes` is not 0 -> (N, C, H, W) in [-1, 1]."""
        raise NotImplementedError

    @property
    def latent(self) -> int:
        """Numbers in a latent, Z."""
        return int(self.config.latent)

    def latents(self, seeds: Iterable[int]) -> Tensor:
        """Seeds, 0 to 2^32-1, -> latents z: (N, Z) float32 on the CPU, from N(0, I).

        Row n is a function of seed n alone, whatever else is in the batch."""
        rows = []
        for seed in seeds:
            generator = torch.Generator().manual_seed(key(seed, "latent"))
            rows.append(torch.randn(self.latent, generator=generator))
        return torch.stack(rows)

    def restore(self, images: Tensor) -> Tensor:
        """(N, given, H, W) in [-1, 1] -> (N, wanted, scale H, scale W) in [-1, 1]: denoised, reconstructed from a code,
        enlarged, filled, translated.

        A system takes, as keyword arguments, `holes` (N, 1, H, W), 1 where the picture is missing, else 0, where it
        `fills`; `strength`, a number from 0 to 1, or None for its own default, where it has `strengths`; `latents`, a
        row of `ganforge.image_to_image.ImageToImage.fields` for each picture, where it has `answers`; `labels` (N,)
        int64, the wanted classes, of those in `learned`, where it `translates`. The pictures of a batch do not depend
        on each other."""
        raise NotImplementedError

    def pair(self, images: Tensor, strength: float | None = None) -> tuple[Tensor, Tensor, Tensor | None]:
        """Rows of the store (N, C, H, W) in [-1, 1] -> what `restore` is given of them, what is wanted of it, and the
        holes, or None: see `ganforge.image_to_image.ImageToImage.pair`. Here the pictures themselves, which are to be
        reconstructed."""
        return images, images, None

    def examples(self, images: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, K, C, H, W): K pictures that show what `restore` does with each image. For the sheets
        of a system that does not generate."""
        raise NotImplementedError

    def fit(self, learned: Iterable[Batch], held: Iterable[Batch]) -> dict[str, float]:
        """Set the submodules in `fitted` by training pictures; those in `held` are not among the others. Called on the
        system with averaged weights before each checkpoint. Returns numbers for the report by name.

        What it sets is a function of its arguments, the averaged weights and torch's global generator."""
        return {}

    def noise(self, batch: Batch) -> Tensor:
        """Latents z of a training step: (N, Z) float32 on the device of the batch, from torch's global generator."""
        return torch.randn(len(batch.images), self.latent, device=batch.images.device)


def with_label(x: Tensor, labels: Tensor | None, classes: int) -> Tensor:
    """x and the one-hot labels, concatenated: (N, D) and (N,) int64 -> (N, D + classes). x itself for 0 classes."""
    if labels is None or not classes:
        return x
    return torch.cat([x, F.one_hot(labels, classes).to(x.dtype)], 1)


class CodeSystem(System):
    """An autoencoder that makes new pictures of a mixture of Gaussians, which is fitted to its codes."""

    fitted: tuple[str, ...] = ("prior",)
    prior: Mixture

    def decode(self, codes: Tensor, labels: Tensor | None) -> Tensor:
        """Codes (N, Z), and (N,) int64 where `classes` is not 0 -> (N, C, H, W) in [-1, 1]."""
        raise NotImplementedError

    def codes(self, images: Tensor, labels: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """(N, C, H, W) -> codes (N, Z) float32 and None; of a variational autoencoder the means of the codes and their
        log-variances."""
        raise NotImplementedError

    @torch.no_grad()
    def fit(self, learned: Iterable[Batch], held: Iterable[Batch]) -> dict[str, float]:
        """Fit `prior` to the codes; `components` of the report are its components. For `bits` see `bits`."""
        codes, labels, _ = self._drawn(learned)
        unknown, unknown_labels, images = self._drawn(held)
        self.prior.fit(codes, unknown, labels, unknown_labels)
        numbers = {"components": float(len(self.prior.means))}
        if images is not None and (bits := self.bits(images, unknown_labels)) is not None:
            numbers["bits"] = bits
        return numbers

    def _drawn(self, batches: Iterable[Batch]) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """(codes (N, Z), labels (N,) or None, the first images), of a variational autoencoder one draw of each
        picture's distribution; codes and labels on the CPU."""
        codes = [torch.zeros(0, self.config.latent)]
        labels: list[Tensor] = []
        images: list[Tensor] = []
        for batch in batches:
            mean, log_variance = self.codes(batch.images, batch.labels)
            deviation = 0.0 if log_variance is None else (0.5 * log_variance).exp()
            codes.append((mean + torch.randn_like(mean) * deviation).cpu())
            labels += [] if batch.labels is None or not self.classes else [batch.labels.cpu()]
            images += [batch.images] if sum(len(some) for some in images) < JUDGED else []
        return torch.cat(codes), torch.cat(labels) if labels else None, torch.cat(images)[:JUDGED] if images else None

    @torch.no_grad()
    def bits(self, images: Tensor, labels: Tensor | None) -> float | None:
        """An estimate of the negative evidence lower bound (Kingma and Welling 2014, eq. 2) in bits per dimension, that
        is per number of a picture; None where codes have no distribution. Images (N, C, H, W) in [-1, 1].

        The likelihood is of bytes: a Gaussian whose mean is the decoder's output, integrated over the width of a byte
        (`ganforge.nn.losses.discretised_gaussian`). Its deviation is the root mean square error of these images, for
        which 32 bits are added. One code is drawn for each image; its prior is the fitted mixture."""
        mean, log_variance = self.codes(images, labels)
        if log_variance is None:
            return None
        normal = torch.randn_like(mean)
        codes = mean + normal * (0.5 * log_variance).exp()
        posterior = -0.5 * (normal.square() + log_variance + math.log(2 * math.pi)).sum(1)
        rate = posterior - self.prior.log_density(codes, labels)
        ends = torch.tensor([0, 255], dtype=torch.uint8, device=images.device)
        low, high = to_float(ends[:, None, None, None].expand(-1, 1, 1, self.spec.channels), self.spec)
        decoded = self.decode(codes, labels).float()
        deviation = (decoded - images).square().mean().sqrt()
        likelihood = losses.discretised_gaussian(images, decoded, deviation, low, high).flatten(1).sum(1)
        return float((rate - likelihood).mean() / math.log(2) + 32 / len(images)) / self.spec.pixels

    def generate(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.decode(self.prior(latents, labels), labels)

    def encode(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """(N, C, H, W), and (N,) int64 where `classes` is not 0 -> latents (N, Z), of which `generate` makes these
        pictures, as far as the codes can tell them."""
        return self.prior.inverse(self.codes(images, labels)[0], labels)

    def restore(self, images: Tensor) -> Tensor:
        """(N, C, H, W) in [-1, 1] -> the same, reconstructed from their codes."""
        return self.decode(self.codes(images, None)[0], None)


class StyleSystem(System):
    """A style-based system (Karras et al. 2019, "A Style-Based Generator Architecture for Generative Adversarial
    Networks"): a mapping network takes the latent z to the intermediate latent w, and a synthesis network takes one w
    for each layer, the styles, which can be truncated, mixed and inverted.

    Its generator has `mapping`, a MappingNetwork, and `layers`, the number of styles of a picture."""

    renamed: ClassVar[Mapping[str, str]] = {
        "generator.paint.": "generator.synthesis.",
        "generator.colours.": "generator.to_rgb.",
        "generator.mapping.centre": "generator.mapping.w_avg",
        "discriminator.colours.": "discriminator.from_rgb.",
    }
    generator: nn.Module

    @property
    def layers(self) -> int:
        """Number of styles of a picture, L; the first is of the coarsest layer."""
        return int(self.generator.layers)  # type: ignore[arg-type]

    def w_avg(self) -> Tensor:
        """(W,) float32, the running mean of w."""
        return self._mapping().w_avg

    def styles(self, latents: Tensor, labels: Tensor | None = None, truncation: float = 1.0) -> Tensor:
        """Latents (N, Z) -> styles (N, L, W), the same w for all layers.

        `truncation` is psi of Karras et al. 2019, appendix B: w_avg + psi (w - w_avg); 1 changes nothing, 0 gives
        w_avg for every latent."""
        styles: Tensor = self._mapping()(latents, labels)
        if truncation != 1:
            styles = self.w_avg().lerp(styles, truncation)
        return styles[:, None].expand(-1, self.layers, -1)

    def synthesis(self, styles: Tensor, noise_seed: Tensor) -> Tensor:
        """Styles (N, L, W), and (N, K) from `ganforge.nn.style.noise_seed` -> (N, C, H, W) in [-1, 1]."""
        raise NotImplementedError

    def generate(self, latents: Tensor, labels: Tensor | None = None, truncation: float = 1.0) -> Tensor:
        return self.synthesis(self.styles(latents, labels, truncation), noise_seed(latents, truncation))

    def _mapping(self) -> MappingNetwork:
        mapping = self.generator.mapping
        assert isinstance(mapping, MappingNetwork)
        return mapping


def base_grid(spec: Spec, smallest: int = 7) -> tuple[int, int, int]:
    """(height, width, doublings): the grid that a convolutional generator starts from.

    The fewest doublings for which the shorter side of the grid is at most `smallest`. A side that does not divide is
    rounded up, and the generator crops its output. 28x28 -> 7, 7, 2; 32x32 -> 4, 4, 3; 48x64 -> 6, 8, 3; 30x30 -> 8,
    8, 2."""
    short = min(spec.height, spec.width)
    doublings = 0
    while short / 2**doublings > smallest + 0.5:
        doublings += 1
    return math.ceil(spec.height / 2**doublings), math.ceil(spec.width / 2**doublings), doublings


def growth(most: int, share: float) -> Rule:
    """The rule of `grow_images` (see `ganforge.nn.grow`): the networks have grown after `share` of the run, and no
    resolution takes more than `most` images to fade in."""

    def value(spec: Spec, images: int) -> int:
        return min(most, int(share * images / max(1, 2 * base_grid(spec)[2])))

    return Rule(f"{share:.0%} of the run / steps of growth, at most {most:,}", value, by_length=True)


def later_phases(share: float) -> Rule:
    """The rule of a number of images, see `Phase.since`: this share of the run."""
    return Rule(
        f"{share:.0%} of the run", lambda spec, images: max(1, round(share * images)), by_length=True, begins=share
    )


def grown_further(config: Any, spec: Spec, seen: int, to: Spec) -> dict[str, Any] | None:
    """`System.continued` of a system that grows: for pictures whose sides are those of `spec`, doubled any number of
    times. It goes on from the stage that was reached, with the channels that each resolution had."""
    (*grid, doublings), (*grid_to, doublings_to) = base_grid(spec), base_grid(to)
    more = doublings_to - doublings
    if (grid, spec.channels, spec.medium) != (grid_to, to.channels, to.medium) or more < 0 or config.width >> more < 4:
        return None
    settings = {"first": grow.stage_at(seen, config.grow_images, doublings, config.first)[0]}
    return settings | ({"width": config.width >> more, "widest": config.widest or 8 * config.width} if more else {})


def channels(width: int, widest: int, halvings: int) -> list[int]:
    """Channels of the grids, the largest grid first: `width`, doubled by each halving, at most `widest` or, where that
    is 0, 8 x width."""
    return [min(width * 2**n, widest or 8 * width) for n in range(halvings + 1)]


def width_by(base: int, most: int) -> Rule:
    """Channels at the full resolution by a channel base: `base` over the side, a multiple of 8, at most `most`."""

    def value(spec: Spec, images: int) -> int:
        return min(most, max(8, base // min(spec.height, spec.width) // 8 * 8))

    return Rule(f"{base:,} / side, at most {most}", value)


def gamma_by_side() -> Rule:
    """The weight of R1 of growing networks: 10 at 1024 px, as Karras et al. 2019, appendix C; at least 1."""
    return Rule("side / 100, from 1 to 10", lambda spec, _: max(1.0, min(10.0, min(spec.height, spec.width) / 100)))


def rate_by_side() -> Rule:
    """The learning rate of growing networks with batches of 32, as in the code of Karras et al. 2019."""

    def value(spec: Spec, images: int) -> float:
        side = min(spec.height, spec.width)
        return 0.003 if side >= 512 else 0.002 if side >= 256 else 0.0015 if side >= 128 else 0.001

    return Rule("0.001, from 128 px 0.0015, from 256 px 0.002, from 512 px 0.003", value)


def crop(images: Tensor, spec: Spec) -> Tensor:
    """(N, C, H', W') -> (N, C, H, W), the centre crop."""
    top, left = (images.shape[2] - spec.height) // 2, (images.shape[3] - spec.width) // 2
    return images[:, :, top : top + spec.height, left : left + spec.width]


def pad(images: Tensor, spec: Spec) -> Tensor:
    """(N, C, H, W) -> (N, C, H', W'), padded by replication to a multiple of the base grid; `crop` undoes it."""
    height, width, doublings = base_grid(spec)
    down, right = height * 2**doublings - spec.height, width * 2**doublings - spec.width
    if not down and not right:
        return images
    return F.pad(images, (right // 2, right - right // 2, down // 2, down - down // 2), mode="replicate")
