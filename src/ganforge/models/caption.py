"""caption: pictures from sentences; a recurrent network reads the sentence in the generator and in the discriminator.

Reed et al. 2016, "Generative Adversarial Text to Image Synthesis": the discriminator sees the sentence, too, and
learns that a real picture beside the sentence of another one is wrong (GAN-CLS, algorithm 1). Both networks read with a
gated recurrent unit of their own (Cho et al. 2014) that is trained with them. The generator's code scales and shifts
every normalised grid (Dumoulin et al. 2017, "A Learned Representation For Artistic Style"; the code in the place of a
class), the discriminator's is projected onto the picture's features (Miyato and Koyama 2018, "cGANs with Projection
Discriminator", eq. 3). Hinge loss, one pass for both networks, as in `cgan`. A sentence has one real picture or few, so
that latents would soon mean nothing: the generator is asked to make other pictures of other latents (Mao et al. 2019,
"Mode Seeking Generative Adversarial Networks for Diverse Image Synthesis", eq. 3)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ganforge.base.config import setting
from ganforge.base.errors import InputError
from ganforge.media.medium import Medium
from ganforge.media.picture import Picture
from ganforge.media.spec import Spec
from ganforge.nn import losses
from ganforge.nn.layers import Down, Up, spectral
from ganforge.nn.schedules import Decay
from ganforge.system import Adam, Batch, Phase, System, base_grid, channels, crop, width_by
from ganforge.transforms import augment


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of the GAN that draws what sentences say."""

    latent: int = setting(32, "numbers in a latent, for what the sentence leaves open", low=1, high=4096)
    embedding: int = setting(64, "numbers that stand for a word", low=1, high=1024)
    units: int = setting(128, "units of the recurrent layers that read a sentence", low=1, high=4096)
    width: int = setting(
        64, "channels at the largest inner grid; each halving doubles them, up to widest", low=4, high=1024
    )
    widest: int = setting(0, "most channels of a grid; 0: 8 x width", low=0, high=4096)
    wrong: float = setting(0.5, "weight of real pictures beside the sentences of others", low=0.0, high=100.0)
    diverse: float = setting(
        0.02, "weight of what keeps pictures of one sentence apart, as their latents are", low=0.0, high=100.0
    )
    bound: float = setting(1.0, "largest singular value of each of the discriminator's weights", low=0.1, high=100.0)
    lr: float = setting(2e-3, "learning rate of both networks", low=0.0, high=1.0)
    hold: int = setting(
        0, "images after which the learning rates fall in inverse proportion to the images shown; 0: never", low=0
    )
    augment: str = setting("translation", augment.HELP)

    def __post_init__(self) -> None:
        augment.parse(self.augment)


PRESETS: dict[str, dict[str, Any]] = {
    "small": {"width": 32, "latent": 16},
    "medium": {"train.images": 2_500_000},
    "large": {"width": width_by(8192, 128), "latent": 64, "units": 256, "train.images": 6_400_000},
}
TRAIN: dict[str, Any] = {"batch": 64}


class Reader(nn.Module):
    """The numbers of the words (N, L) int64, 0 after the end -> the state of a recurrent layer after the last word, and
    the mean of those after each word, which early words reach, too: (N, 2 U) in [-1, 1]."""

    def __init__(self, config: Config, words: int) -> None:
        super().__init__()
        self.words = nn.Embedding(words + 1, config.embedding)
        self.gru = nn.GRU(config.embedding, config.units, batch_first=True)

    def forward(self, captions: Tensor) -> Tensor:
        states, _ = self.gru(self.words(captions))
        within = (captions != 0)[..., None].to(states.dtype)
        count = within.sum(1).clamp(min=1)
        last = states.gather(1, (count.long() - 1)[..., None].expand(-1, -1, states.shape[2]))[:, 0]
        return torch.cat([last, (states * within).sum(1) / count], 1)


class Modulated(nn.Module):
    """Batch normalisation of (N, C, H, W), then a gain and an offset that a code (N, D) says."""

    def __init__(self, channels: int, size: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)
        self.gain, self.offset = nn.Linear(size, channels), nn.Linear(size, channels)
        for layer in (self.gain, self.offset):
            nn.init.normal_(layer.weight, 0, 0.1)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        gain, offset = self.gain(code).to(x.dtype), self.offset(code).to(x.dtype)
        return torch.addcmul(offset[:, :, None, None], 1 + gain[:, :, None, None], self.norm(x))


class Generator(nn.Module):
    """(N, Z) and captions (N, L) int64 -> (N, C, H, W) in [-1, 1]: a dense layer to the base grid, then transposed
    convolutions."""

    def __init__(self, config: Config, spec: Spec, words: int) -> None:
        super().__init__()
        self.spec = spec
        self.reader = Reader(config, words)
        height, width, doublings = base_grid(spec)
        widths = channels(config.width, config.widest, max(doublings - 1, 0))[::-1]
        self.grid = (height, width, widths[0])
        self.dense = nn.Linear(config.latent + 2 * config.units, height * width * widths[0], bias=False)
        self.norms = nn.ModuleList(Modulated(w, 2 * config.units) for w in widths)
        self.ups = nn.ModuleList(Up(a, b, bias=False) for a, b in pairwise(widths))
        self.last = Up(widths[-1], spec.channels) if doublings else nn.Conv2d(widths[-1], spec.channels, 3, 1, 1)
        for layer in (self.dense, *self.ups, self.last):
            nn.init.normal_(layer.weight, 0, 0.02)

    def forward(self, latents: Tensor, captions: Tensor) -> Tensor:
        code = self.reader(captions)
        x = self.dense(torch.cat([latents, code], 1)).unflatten(1, self.grid)
        x = F.relu_(self.norms[0](x.permute(0, 3, 1, 2), code))  # channels last in memory
        for layer, norm in zip(self.ups, self.norms[1:], strict=True):
            x = F.relu_(norm(layer(x), code))
        return torch.tanh(crop(self.last(x), self.spec))


class Discriminator(nn.Module):
    """Pictures (N, C, H, W) and captions (N, L) int64 -> scores (N,) float32: w.h + e(caption).h of the features h of a
    picture. No layer mixes the pictures of a batch."""

    def __init__(self, config: Config, spec: Spec, words: int) -> None:
        super().__init__()
        self.reader = Reader(config, words)
        layers: list[nn.Module] = []
        widest = config.widest or 8 * config.width
        height, width, before, after = spec.height, spec.width, spec.channels, min(config.width, widest)
        while min(height, width) >= 6:
            layers += [Down(before, after), nn.ReLU()]
            height, width, before, after = -(-height // 2), -(-width // 2), after, min(2 * after, widest)
        self.layers = nn.Sequential(*layers)
        self.score = nn.Linear(before * height * width, 1)
        self.projection = nn.Linear(2 * config.units, before * height * width)
        for layer in (*self.layers, self.score, self.projection):
            if not isinstance(layer, nn.ReLU):
                nn.init.normal_(layer.weight, 0, 0.02)  # type: ignore[arg-type]
                spectral(layer, config.bound)

    def features(self, images: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, D)."""
        features: Tensor = self.layers(images).permute(0, 2, 3, 1).flatten(1)
        return features

    def scores(self, features: Tensor, codes: Tensor) -> Tensor:
        """Features (N, D) of pictures and what was read (N, 2 U) -> scores (N,) float32."""
        score: Tensor = self.score(features)[:, 0] + (self.projection(codes) * features).sum(1)
        return score.float()

    def forward(self, images: Tensor, captions: Tensor) -> Tensor:
        return self.scores(self.features(images), self.reader(captions))


class Caption(System):
    """Convolutional generator and discriminator, each with a recurrent layer that reads the caption."""

    averaged = ("generator",)
    captioned = True
    media: ClassVar[tuple[type[Medium], ...]] = (Picture,)
    config: Config

    @classmethod
    def check(cls, config: Config, spec: Spec) -> None:
        if spec.captions is None:
            raise InputError(
                "caption learns from sentences, and these pictures have none. Write them into captions.csv (columns "
                "file and caption) or a text file beside each picture, and prepare the set again."
            )

    @classmethod
    def continued(cls, config: Config, spec: Spec, seen: int, to: Spec) -> dict[str, Any] | None:
        words = [one.captions.words for one in (spec, to) if one.captions]
        return super().continued(config, spec, seen, to) if words[:1] == words[1:] else None

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        assert spec.captions is not None
        words = len(spec.captions.words)
        self.generator = Generator(config, spec, words)
        self.discriminator = Discriminator(config, spec, words)
        self.augment = augment.Augment(config.augment)

    @classmethod
    def least_batch(cls, config: Config, spec: Spec) -> int:
        """2: one picture has no other's caption."""
        return 2

    def adam(self) -> dict[str, Adam]:
        hold = self.config.hold
        adam = Adam(Decay(self.config.lr, hold) if hold else self.config.lr, 0.0, 0.99)
        return {"generator": adam, "discriminator": adam}

    def phases(self) -> list[Phase]:
        return [Phase("both", ("generator", "discriminator"), self.loss)]

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """One-stage training: one pass for both networks. The generated images have the captions of the real ones; each
        real one is judged beside the next one's caption, too, where that is another one."""
        assert batch.captions is not None
        noise = self.noise(batch)
        made = self.generator(noise, batch.captions)
        fakes = made.clone()  # whose gradient, and not that of `made`, is that of the discriminator's loss turned round
        images = self.augment(torch.cat([batch.images.to(fakes.dtype), fakes]))
        features, codes = self.discriminator.features(images), self.discriminator.reader(batch.captions)
        real, fake = self.discriminator.scores(features, codes.repeat(2, 1)).chunk(2)
        wrong = self.discriminator.scores(features[: len(codes)], codes.roll(1, 0))
        others = (batch.captions != batch.captions.roll(1, 0)).any(1).float()
        values = losses.one_stage_hinge(real, fake, fakes) | self.augment.update(real, batch)
        values["loss"] = values["loss"] + self.config.wrong * (others * F.relu(1 + wrong)).mean()
        values["wrong"] = wrong.mean()
        if self.config.diverse:
            values["apart"] = self._apart(made, noise, batch.captions)
            values["loss"] = values["loss"] + self.config.diverse / (values["apart"] + 1e-3)
        return values

    def _apart(self, made: Tensor, noise: Tensor, captions: Tensor) -> Tensor:
        """How far pictures of the same captions are apart, in the mean over their numbers, by how far their latents
        are: of the first quarter of those that were made, and of others beside them."""
        few = max(1, len(made) // 4)
        again = torch.randn_like(noise[:few])
        others = self.generator(again, captions[:few])
        apart: Tensor = (made[:few].float() - others.float()).abs().mean() / (noise[:few] - again).abs().mean()
        return apart

    def generate(self, latents: Tensor, labels: Tensor | None = None, captions: Tensor | None = None) -> Tensor:
        images: Tensor = self.generator(latents, captions)
        return images


SYSTEM = Caption
