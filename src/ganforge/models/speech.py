"""speech: sounds of a given class by recurrent networks, frame after frame of their log-mel spectrograms.

Mogren 2016, "C-RNN-GAN: Continuous recurrent neural networks with adversarial training", for a recurrent generator, a
bidirectional discriminator and feature matching (its section 3). The class is in the generator's input and, by
projection (Miyato and Koyama 2018, "cGANs with Projection Discriminator"), in the discriminator's score."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ganforge.base.config import setting
from ganforge.base.seeds import key
from ganforge.media.sound import Sound
from ganforge.media.spec import Spec
from ganforge.nn.layers import spectral
from ganforge.nn.losses import hinge
from ganforge.system import Adam, Batch, Phase, System


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of the recurrent generator of sounds."""

    latent: int = setting(64, "numbers in the latent of a sound", low=1, high=4096)
    noise: int = setting(8, "numbers that a step of the generator draws for itself", low=0, high=1024)
    labels: str = setting(
        "auto", "auto: by class where the store has labels; none: without classes", choices=("auto", "none")
    )
    embedding: int = setting(64, "numbers in the embedding of a class, and of a moment", low=1, high=4096)
    width: int = setting(256, "numbers in the state of the generator", low=4, high=4096)
    frames: int = setting(4, "frames that a step of the generator makes", low=1, high=64)
    channels: int = setting(128, "channels of the convolutions after it", low=1, high=1024)
    critic: int = setting(
        128, "channels of the discriminator, and numbers in its state in each direction", low=4, high=4096
    )
    bound: float = setting(
        3.0, "largest singular value of the discriminator's linear and convolutional weights", low=0.1, high=100.0
    )
    matching: float = setting(10.0, "weight of feature matching", low=0.0, high=1000.0)
    lr: float = setting(1e-3, "learning rate of the generator", low=0.0, high=1.0)
    lr_discriminator: float = setting(1e-3, "learning rate of the discriminator", low=0.0, high=1.0)
    shift: int = setting(
        4, "frames by which the discriminator's input is shifted at random, earlier or later", low=0, high=256
    )


PRESETS: dict[str, dict[str, Any]] = {
    "small": {},
    "medium": {"width": 384, "channels": 192, "critic": 192},
    "large": {"width": 512, "channels": 256, "critic": 256},
}
TRAIN: dict[str, Any] = {"batch": 32, "cooldown": 0.3}


class Generator(nn.Module):
    """Latents (N, latent + steps x noise) and (N,) int64 -> (N, 1, bands, frames) in [-1, 1].

    A step makes some frames from the state of a GRU (Cho et al. 2014), which is given the latent, the class, the moment
    and some noise; convolutions over time make frames of the states."""

    def __init__(self, config: Config, spec: Spec, classes: int, steps: int) -> None:
        super().__init__()
        self.latent, self.frames = config.latent, spec.width
        self.embedding = nn.Embedding(classes, config.embedding)
        self.moments = nn.Parameter(torch.randn(steps, config.embedding))
        given = config.latent + config.embedding
        self.begin = nn.Linear(given, config.width)
        self.gru = nn.GRU(given + config.embedding + config.noise, config.width, batch_first=True)
        inner, frames = config.channels, config.frames
        self.layers = nn.Sequential(
            nn.ConvTranspose1d(config.width, inner, 2 * frames, frames, frames // 2),
            nn.LeakyReLU(0.2),
            nn.Conv1d(inner, inner, 5, padding=2),
            nn.LeakyReLU(0.2),
            nn.Conv1d(inner, spec.height, 5, padding=2),
        )

    def forward(self, latents: Tensor, labels: Tensor) -> Tensor:
        steps, sound = len(self.moments), latents[:, : self.latent]
        with torch.autocast(latents.device.type, enabled=False):
            given = torch.cat([sound, self.embedding(labels)], 1)
            each = [given[:, None].expand(-1, steps, -1), self.moments[None].expand(len(latents), -1, -1)]
            each.append(latents[:, self.latent :].reshape(len(latents), steps, -1))
            states, _ = self.gru(torch.cat(each, 2), torch.tanh(self.begin(given))[None])
        x: Tensor = self.layers(states.transpose(1, 2))[:, None, :, : self.frames]
        return torch.tanh(x.float())


class Discriminator(nn.Module):
    """(N, 1, bands, frames) and (N,) int64 -> scores (N,) float32, and the maps of the layers before them.

    Convolutions over time, whose channels are the bands at first, then a GRU in both directions; the score is w.h +
    e(class).h of the mean h of its states."""

    def __init__(self, config: Config, spec: Spec, classes: int) -> None:
        super().__init__()
        width = config.critic
        self.layers = nn.ModuleList(
            [
                spectral(nn.Conv1d(spec.height, width, 5, padding=2), config.bound),
                spectral(nn.Conv1d(width, width, 5, 2, padding=2), config.bound),
                spectral(nn.Conv1d(width, width, 5, 2, padding=2), config.bound),
            ]
        )
        self.gru = nn.GRU(width, width, batch_first=True, bidirectional=True)
        self.score = spectral(nn.Linear(2 * width, 1), config.bound)
        self.embedding = spectral(nn.Embedding(classes, 2 * width), config.bound)

    def forward(self, sounds: Tensor, labels: Tensor) -> tuple[Tensor, list[Tensor]]:
        x, maps = sounds[:, 0], []
        for layer in self.layers:
            x = F.leaky_relu(layer(x), 0.2)
            maps.append(x)
        with torch.autocast(sounds.device.type, enabled=False):
            states, _ = self.gru(x.float().transpose(1, 2))
            features = states.mean(1)
            maps.append(features)
            scores = self.score(features)[:, 0] + (self.embedding(labels) * features).sum(1)
        return scores, maps


class Speech(System):
    """Recurrent generator and discriminator of sounds, both conditioned on the class where there are classes."""

    averaged = ("generator",)
    media = (Sound,)
    config: Config

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        steps = math.ceil(spec.width / config.frames)
        self.numbers = config.latent + steps * config.noise
        self.classes = len(spec.classes) if config.labels == "auto" else 0
        self.generator = Generator(config, spec, max(1, self.classes), steps)
        self.discriminator = Discriminator(config, spec, max(1, self.classes))

    @classmethod
    def least_batch(cls, config: Config, spec: Spec) -> int:
        """2, since the loss has deviations over a batch."""
        return 2

    def adam(self) -> dict[str, Adam]:
        c = self.config
        return {"generator": Adam(c.lr, 0.0, 0.99), "discriminator": Adam(c.lr_discriminator, 0.0, 0.99)}

    def phases(self) -> list[Phase]:
        return [
            Phase("generator", ("generator",), self.generator_loss),
            Phase("discriminator", ("discriminator",), self.discriminator_loss),
        ]

    def generator_loss(self, batch: Batch) -> dict[str, Tensor]:
        """The mean score of sounds of the classes of the real ones, and feature matching."""
        labels = self._labels(batch.images, batch.labels)
        fakes = self.generator(self.noise(batch), labels)
        batch.shared["fakes"] = fakes.detach()
        score, maps = self.discriminator(self._shifted(fakes), labels)
        with torch.no_grad():
            _, real_maps = self.discriminator(self._shifted(batch.images), labels)
        adversarial, matched = -score.mean(), matching(real_maps, maps)
        loss = adversarial + self.config.matching * matched
        return {"loss": loss, "adversarial": adversarial, "matching": matched}

    def discriminator_loss(self, batch: Batch) -> dict[str, Tensor]:
        """The hinge loss, on what the generator's phase of this step has made."""
        labels = self._labels(batch.images, batch.labels)
        sounds = torch.cat([batch.images, batch.shared["fakes"]])
        real, fake = self.discriminator(self._shifted(sounds), labels.repeat(2))[0].chunk(2)
        return {"loss": hinge(real, fake), "real": real.mean(), "fake": fake.mean()}

    def _shifted(self, sounds: Tensor) -> Tensor:
        """Each by so many frames of its own, what is beyond an end as it is at the end: a discriminator that knows
        the training sounds by heart is no use."""
        count, _, bands, frames = sounds.shape
        by = torch.randint(-self.config.shift, self.config.shift + 1, (count, 1), device=sounds.device)
        taken = (torch.arange(frames, device=sounds.device) + by).clamp(0, frames - 1)
        return sounds.gather(3, taken[:, None, None].expand(-1, 1, bands, -1))

    def _labels(self, like: Tensor, labels: Tensor | None) -> Tensor:
        """The labels, or zeros where there are no classes."""
        if labels is None or not self.classes:
            return torch.zeros(len(like), dtype=torch.int64, device=like.device)
        return labels

    def noise(self, batch: Batch) -> Tensor:
        return torch.randn(len(batch.images), self.numbers, device=batch.images.device)

    def latents(self, seeds: Iterable[int]) -> Tensor:
        """Seeds, 0 to 2^32-1, -> (N, latent + steps x noise) float32 on the CPU, the latent of the sound first."""
        draws = (torch.Generator().manual_seed(key(seed, "latent")) for seed in seeds)
        return torch.stack([torch.randn(self.numbers, generator=generator) for generator in draws])

    def generate(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        sounds: Tensor = self.generator(latents, self._labels(latents, labels))
        return sounds


def matching(real: Sequence[Tensor], fake: Sequence[Tensor]) -> Tensor:
    """Mean absolute difference of the means and of the standard deviations over a batch of a discriminator's maps,
    averaged over its layers. Scalar.

    Salimans et al. 2016, "Improved Techniques for Training GANs", section 3.1, match the means alone; a generator that
    makes one sound of each class does that, too."""
    terms = []
    for pair in zip(real, fake, strict=True):
        a, b = (maps.float() for maps in pair)
        spread_a, spread_b = ((x.var(0) + 1e-8).sqrt() for x in (a, b))  # without a slope of infinity at 0
        terms.append((a.mean(0) - b.mean(0)).abs().mean() + (spread_a - spread_b).abs().mean())
    return torch.stack(terms).mean()


SYSTEM = Speech
