"""translate: a picture of one class becomes a picture of another, learned without pairs.

Park et al. 2020, "Contrastive Learning for Unpaired Image-to-Image Translation" (CUT): one generator, an adversary, and
a contrastive loss by which each patch of a translated picture has to tell the patch that it was made from among others
of that picture. For comparison, cycle consistency (Zhu et al. 2017, "Unpaired Image-to-Image Translation using
Cycle-Consistent Adversarial Networks"). The classes of a labelled store are the domains: one U-Net, told the wanted
class, translates from each to each, and one discriminator of patches judges them by class (Miyato and Koyama 2018,
"cGANs with Projection Discriminator")."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ganforge.base.config import setting
from ganforge.base.errors import InputError, did_you_mean
from ganforge.image_to_image import ImageToImage
from ganforge.media.picture import Picture
from ganforge.media.spec import Spec
from ganforge.nn.layers import spectral
from ganforge.nn.losses import hinge
from ganforge.nn.patch import PatchDiscriminator
from ganforge.nn.unet import UNet
from ganforge.system import Adam, Batch, Phase

TEMPERATURE = 0.07
CYCLE, IDENTITY = 1.0, 0.5  # a tenth of Zhu et al. 2017, sections 4 and 5.2: here the scores' slope is bounded
SHOWN = 8  # classes on a sheet, at most


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of unpaired translation."""

    classes: tuple[str, ...] = setting((), "the classes that are translated into each other; none: all", split=",")
    keep: str = setting("patches", "what holds a picture to the one it is made of", choices=("patches", "cycle"))
    content: float = setting(1.0, "weight of that; the adversarial loss has 1", low=0.0, high=1000.0)
    width: int = setting(
        48, "channels at half of the resolution, doubled by each halving up to 4 times", low=4, high=512
    )
    depth: int = setting(2, "halvings after the first", low=1, high=3)
    blocks: int = setting(4, "residual blocks at the coarsest scale", low=1, high=64)
    head: int = setting(256, "numbers in the vector of a patch", low=4, high=4096)
    patches: int = setting(256, "most patches of a map that are told from each other", low=2, high=65536)
    lr: float = setting(2e-4, "learning rate of all networks", low=0.0, high=1.0)


PRESETS: dict[str, dict[str, Any]] = {
    "small": {"width": 32, "blocks": 3, "head": 64, "patches": 64},
    "medium": {},
    "large": {"width": 96, "depth": 3, "blocks": 9},
}
TRAIN: dict[str, Any] = {"batch": 16, "ema_images": 10_000, "cooldown": 0.5}


class Generator(nn.Module):
    """Pictures (N, C, H, W), and the wanted classes (N,) int64 -> (N, C, H, W) float32, at first the pictures
    themselves."""

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__()
        vector = 4 * config.width
        self.embedding = nn.Embedding(len(spec.classes), vector)
        self.unet = UNet(spec.channels, spec.channels, config.width, config.depth, config.blocks, vector=vector)

    def forward(self, images: Tensor, labels: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The pictures in these classes, and the maps of `UNet.encode`."""
        vector, (height, width) = self.embedding(labels), images.shape[2:]
        maps = self.unet.encode(images, vector)
        return images + self.unet.decode(maps, height, width, vector), maps

    def encode(self, images: Tensor, labels: Tensor) -> list[Tensor]:
        """The maps alone."""
        return self.unet.encode(images, self.embedding(labels))


class Discriminator(nn.Module):
    """Pictures (N, C, H, W), and the classes that they are to be of, (N,) int64 -> scores (N, 1, h, w) float32, one a
    patch: w.h + e(class).h of its features h (Miyato and Koyama 2018, eq. 3)."""

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__()
        self.patches = PatchDiscriminator(spec.channels, config.width)
        self.embedding = spectral(nn.Embedding(len(spec.classes), self.patches.score.in_channels))

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        scores, maps = self.patches(images)
        projected = (self.embedding(labels)[:, :, None, None] * maps[-1].float()).sum(1, keepdim=True)
        total: Tensor = scores + projected
        return total


class Heads(nn.ModuleList):
    """Maps of the generator (N, C, h, w) -> vectors of length 1 of some of their pixels, (N, P, head) float32, by two
    layers for each map (Park et al. 2020, section 3.2). `pixels` has the numbers of these, (P,) for each map."""

    def __init__(self, widths: Sequence[int], head: int) -> None:
        super().__init__(nn.Sequential(nn.Linear(w, head), nn.ReLU(), nn.Linear(head, head)) for w in widths)

    def forward(self, maps: Sequence[Tensor], pixels: Sequence[Tensor]) -> list[Tensor]:
        chosen = [x.flatten(2)[:, :, numbers].mT for x, numbers in zip(maps, pixels, strict=True)]
        return [F.normalize(head(x).float(), dim=2) for head, x in zip(self, chosen, strict=True)]


def patch_nce(queries: Tensor, keys: Tensor, temperature: float = TEMPERATURE) -> Tensor:
    """The contrastive loss of patches (Park et al. 2020, eq. 2 and 3): vectors of length 1 of the patches of translated
    pictures and of those that they were made from, (N, P, D) each -> scalar. A query has to choose its own key among
    the P of its picture: log P where all are alike."""
    with torch.autocast(queries.device.type, enabled=False):
        similar = queries @ keys.mT / temperature
    own = torch.arange(similar.shape[1], device=similar.device).expand(len(similar), -1)
    return F.cross_entropy(similar.flatten(0, 1), own.flatten())


class Translate(ImageToImage):
    """Pictures of the classes in `learned` -> the same in another of these classes."""

    averaged = ("generator",)
    media = (Picture,)
    translates = True
    config: Config

    @classmethod
    def needs_labels(cls, config: Config) -> bool:
        """True."""
        return True

    @classmethod
    def check(cls, config: Config, spec: Spec) -> None:
        """InputError for classes that the store does not have, and for fewer than two."""
        super().check(config, spec)
        for name in config.classes:
            if name not in spec.classes:
                raise InputError(f"model.classes: there is no class {name!r}.{did_you_mean(name, spec.classes)}")
        if len(set(config.classes or spec.classes)) < 2:
            raise InputError(
                f"translate takes two classes or more, and there is only {(config.classes or spec.classes)[0]!r}. "
                'Name others with --model.classes "ONE, OTHER", or take a store with more.'
            )

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        self.learned = tuple(n for n, name in enumerate(spec.classes) if name in (config.classes or spec.classes))
        self.generator = Generator(config, spec)
        self.discriminator = Discriminator(config, spec)
        if config.keep == "patches":
            self.heads = Heads(self.generator.unet.widths, config.head)
        self.receptive_radius = self.generator.unet.receptive_radius

    def adam(self) -> dict[str, Adam]:
        adam = Adam(self.config.lr, 0.5, 0.99)
        return dict.fromkeys((*self._learners(), "discriminator"), adam)

    def phases(self) -> list[Phase]:
        return [
            Phase("generator", self._learners(), self.generator_loss),
            Phase("discriminator", ("discriminator",), self.discriminator_loss),
        ]

    def generator_loss(self, batch: Batch) -> dict[str, Tensor]:
        """The mean score of pictures translated into other classes, drawn at random, and what holds them to the given
        ones. The last quarter of the batch is translated into its own class: these are to stay as they are."""
        assert batch.labels is not None
        images, own = batch.images, batch.labels
        count = len(own) - len(own) // 4
        wanted = torch.cat([self._others(own[:count]), own[count:]])
        made, maps = self.generator(images, wanted)
        batch.shared |= {"translated": made[:count].detach(), "wanted": wanted[:count]}
        adversarial = -self.discriminator(made[:count], wanted[:count]).mean()
        if self.config.keep == "patches":
            content = self._contrast(maps, self.generator.encode(made, wanted))
        else:
            back, _ = self.generator(made[:count], own[:count])
            content = CYCLE * (back - images[:count]).abs().mean()
            if count < len(own):
                content = content + IDENTITY * (made[count:] - images[count:]).abs().mean()
        return {"loss": adversarial + self.config.content * content, "adversarial": adversarial, "content": content}

    def discriminator_loss(self, batch: Batch) -> dict[str, Tensor]:
        """The hinge loss, on what the generator's phase of this step has made."""
        assert batch.labels is not None
        real = self.discriminator(batch.images, batch.labels)
        fake = self.discriminator(batch.shared["translated"], batch.shared["wanted"])
        return {"loss": hinge(real, fake), "real": real.mean(), "fake": fake.mean()}

    def restore(self, images: Tensor, *, labels: Tensor | None = None) -> Tensor:
        """(N, C, H, W) in [-1, 1], of any size, and the wanted classes (N,) -> the same shape, in these classes."""
        assert labels is not None
        made: Tensor = self.generator(images, labels)[0]
        return made.clamp(-1, 1)

    def pair(self, images: Tensor, strength: float | None = None) -> tuple[Tensor, Tensor, None]:
        """(N, C, H, W) -> the pictures, twice: of what is wanted there are no pairs."""
        return images, images, None

    def examples(self, images: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, 1 + K, C, H, W): the picture, and its translation into each of the first K classes."""
        shown = [images]
        for label in self.learned[:SHOWN]:
            shown.append(self.restore(images, labels=torch.full((len(images),), label, device=images.device)))
        return torch.stack(shown, 1)

    def _learners(self) -> tuple[str, ...]:
        """The names of what learns with the generator."""
        return ("generator", "heads") if self.config.keep == "patches" else ("generator",)

    def _others(self, own: Tensor) -> Tensor:
        """A class for each picture, (N,) int64, drawn evenly from the others that are learned."""
        learned = torch.tensor(self.learned, device=own.device)
        step = torch.randint(1, len(learned), own.shape, device=own.device)
        return learned[(torch.searchsorted(learned, own) + step) % len(learned)]

    def _contrast(self, given: Sequence[Tensor], made: Sequence[Tensor]) -> Tensor:
        """`patch_nce`, averaged over the maps; no gradient reaches those of the given pictures."""
        pixels = [torch.randperm(math.prod(x.shape[2:]), device=x.device)[: self.config.patches] for x in given]
        with torch.no_grad():
            keys = self.heads(given, pixels)
        terms = [patch_nce(query, key) for query, key in zip(self.heads(made, pixels), keys, strict=True)]
        return torch.stack(terms).mean()


SYSTEM = Translate
