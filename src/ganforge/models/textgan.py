"""textgan: a recurrent generator of characters against a recurrent and convolutional critic.

De Masson d'Autume et al. 2019, "Training Language GANs from Scratch", for the recurrent generator with one z at all
steps and the score at every position; Nie et al. 2019, "RelGAN: Relational Generative Adversarial Networks for Text
Generation", for straight-through Gumbel-softmax. The generator first learns from a teacher: cross-entropy of the next
character. With `teacher` 0 it learns from the critic alone, as in Press et al. 2017, "Language Generation with
Recurrent Generative Adversarial Networks without Pre-training": what it makes follows on real beginnings, and grows
from one character to whole passages.

The critic scores every character that could follow on those before it. Its logistic loss makes a score the logarithm of
a ratio, that of the character's probability in the data to the generator's, so the mean score with its sign changed is
an estimate of KL(generator | data), character by character. From scratch, behind a real beginning, the generator aims
at its own probabilities times these ratios (Che et al. 2017, "Maximum-Likelihood Augmented Discrete Generative
Adversarial Networks", eq. 7): the gradient of the mean score would vanish where it is sure of a wrong character."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ganforge.base.config import setting
from ganforge.base.errors import InputError
from ganforge.base.seeds import key
from ganforge.media.medium import Medium
from ganforge.media.spec import Spec
from ganforge.media.text import Text, planes, tokens
from ganforge.nn.layers import spectral
from ganforge.system import Adam, Batch, Phase, System, later_phases

TAPS = 5  # characters that a convolution of the critic sees
STEEPEST = 1.0
"""Norm at most of the gradient, by a made character, of the scores of its passage. A critic that is sure of itself
would else drown what the teacher says, and the generator forgets."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of textgan."""

    latent: int = setting(32, "numbers in z, which all steps see", low=1, high=4096)
    width: int = setting(512, "units of the generator's GRU", low=4, high=8192)
    embedding: int = setting(64, "numbers that stand for a character", low=1, high=1024)
    critic: int = setting(128, "units of the critic's GRU and channels of its convolutions", low=4, high=4096)
    teacher: float = setting(
        1.0, "weight of the cross-entropy beside the critic; 0: no teacher at all, from scratch", low=0.0, high=100.0
    )
    adversary: float = setting(
        0.1, "weight of the critic's scores beside the teacher; 0: the teacher alone", low=0.0, high=100.0
    )
    alone: int = setting(600_000, "images before the critic begins; from scratch 0", low=0)
    growth: int = setting(600_000, "from scratch: images over which made passages grow from 1 character", low=1)
    sharpness: float = setting(1.0, "inverse temperature of Gumbel-softmax's gradient", low=0.01, high=1000.0)
    dropout: float = setting(0.1, "share of what the critic's GRU sees that is set to 0 in training", low=0.0, high=0.9)
    lr: float = setting(2e-3, "learning rate of the generator", low=0.0, high=1.0)
    lr_critic: float = setting(1e-3, "learning rate of the critic", low=0.0, high=1.0)


PRESETS: dict[str, dict[str, Any]] = {
    "small": {"width": 256, "lr": 4e-3, "alone": later_phases(0.6), "growth": later_phases(0.6)},
    "medium": {"alone": later_phases(0.6), "growth": later_phases(0.6)},
    "large": {"width": 1024, "critic": 256, "lr": 1e-3, "alone": later_phases(0.6), "growth": later_phases(0.6)},
}
TRAIN: dict[str, Any] = {"batch": 64, "precision": "fp32", "cooldown": 0.5}


class Generator(nn.Module):
    """Characters so far and z -> logits of the next one."""

    def __init__(self, config: Config, characters: int) -> None:
        super().__init__()
        self.embedding = nn.Linear(characters, config.embedding, bias=False)
        self.gru = nn.GRU(config.embedding + config.latent, config.width, batch_first=True)
        self.logits = nn.Linear(config.width, characters)

    def forward(self, before: Tensor, z: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(N, T, K), one-hot or all 0 where nothing is before, (N, Z), and the state (1, N, W) after what was before
        these -> logits (N, T, K) of each next character, and the state after the last."""
        steps = z[:, None].expand(-1, before.shape[1], -1)
        seen, state = self.gru(torch.cat([self.embedding(before), steps], 2), state)
        return self.logits(seen), state


class Critic(nn.Module):
    """Characters so far -> a score of each that may come next; it sees no character that it scores."""

    def __init__(self, config: Config, characters: int) -> None:
        super().__init__()
        width = config.critic
        self.embedding = nn.Linear(characters, config.embedding, bias=False)
        self.convolutions = nn.ModuleList(
            spectral(nn.Conv1d(channels, width, TAPS), 2.0) for channels in (config.embedding, width)
        )
        self.dropout = nn.Dropout(config.dropout)
        self.gru = nn.GRU(width, width, batch_first=True)
        self.scores = nn.Linear(2 * width, characters)

    def forward(self, before: Tensor) -> Tensor:
        """(N, T, K) -> scores (N, T, K)."""
        x = self.embedding(before).transpose(1, 2)
        for convolution in self.convolutions:
            x = F.leaky_relu(convolution(F.pad(x, (TAPS - 1, 0))), 0.2)
        x = self.dropout(x.transpose(1, 2))
        scores: Tensor = self.scores(torch.cat([x, self.gru(x)[0]], 2))
        return scores


class TextGAN(System):
    """Passages of text, character by character."""

    averaged = ("generator",)
    media: ClassVar[tuple[type[Medium], ...]] = (Text,)
    prompts = True
    config: Config

    @classmethod
    def check(cls, config: Config, spec: Spec) -> None:
        if not config.teacher and not config.adversary:
            raise InputError("With model.teacher 0 and model.adversary 0 nothing is learned. Say one of them.")

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        assert isinstance(spec.medium, Text)
        self.characters = len(spec.medium.alphabet)
        self.generator = Generator(config, self.characters)
        self.critic = Critic(config, self.characters)

    def adam(self) -> dict[str, Adam]:
        c = self.config
        adam = {"generator": Adam(c.lr, 0.9 if c.teacher else 0.5, 0.99), "critic": Adam(c.lr_critic, 0.5, 0.99)}
        return adam if c.adversary else {"generator": adam["generator"]}

    def phases(self) -> list[Phase]:
        generator = Phase("generator", ("generator",), self.generator_loss)
        critic = Phase("critic", ("critic",), self.critic_loss, since=self.config.alone if self.config.teacher else 0)
        return [generator, critic] if self.config.adversary else [generator]

    def generator_loss(self, batch: Batch) -> dict[str, Tensor]:
        """The teacher's cross-entropy, in bits a character, and the mean score of what is made."""
        c = self.config
        real = tokens(batch.images)
        hot = F.one_hot(real, self.characters).to(torch.float32)
        z = torch.randn(len(real), c.latent, device=real.device)
        report: dict[str, Tensor] = {}
        with torch.autocast(real.device.type, enabled=False):  # bf16 ruins what is added up over many steps
            logits, _ = self.generator(shifted(hot), z)
            if c.teacher:
                report["bits"] = mean(-F.log_softmax(logits, 2).gather(2, real[..., None])[..., 0], real) / math.log(2)
                report["loss"] = c.teacher * math.log(2) * report["bits"]
                if not c.adversary or batch.seen < c.alone:
                    return report
                made, scored = self.made(z, hot, 0, hot.shape[1])
                held = clipped(made, c.adversary * STEEPEST / made.argmax(2).count_nonzero())
                report["score"] = mean((held * self.critic(shifted(held))).sum(2), made.argmax(2))
                batch.shared |= {"made": made.detach(), "scored": scored}
                report["loss"] = report["loss"] - c.adversary * report["score"]
                return report
            chances = F.softmax(logits, 2)
            scores = self.critic(shifted(hot))
            better = F.softmax((logits + scores).detach(), 2)
            helped = mean(-(better * F.log_softmax(logits, 2)).sum(2), real)
            most = 1 + round((hot.shape[1] - 1) * min(1.0, batch.seen / c.growth))
            length = int(torch.randint(1, most + 1, ()))
            start = int(torch.randint(0, hot.shape[1] - length + 1, ()))
            made, scored = self.made(z, hot, start, length)
            score = (made * self.critic(shifted(made))).sum(2)
            score = (score * scored * inside(made.argmax(2))).sum() / (scored * inside(made.argmax(2))).sum()
            batch.shared |= {"made": made.detach(), "scored": scored, "chances": chances.detach()}
            return {
                "loss": helped - c.adversary * score,
                "helped": mean((chances * scores).sum(2), real),
                "score": score,
            }

    def critic_loss(self, batch: Batch) -> dict[str, Tensor]:
        """The logistic loss of each character, real and made, after those before it. From scratch also of what the
        generator would have made of the next character of a real beginning, in the mean over its choice."""
        real, made, scored = tokens(batch.images), batch.shared["made"], batch.shared["scored"]
        hot = F.one_hot(real, self.characters).to(torch.float32)
        with torch.autocast(real.device.type, enabled=False):
            of_real = self.critic(shifted(hot))
            fake = (made * self.critic(shifted(made))).sum(2)
        right = of_real.gather(2, real[..., None])[..., 0]
        weights = scored * inside(made.argmax(2))
        loss = mean(F.softplus(-right), real) + (F.softplus(fake) * weights).sum() / weights.sum()
        if "chances" in batch.shared:
            helped = mean((batch.shared["chances"] * F.softplus(of_real)).sum(2), real)
            loss = loss + helped + mean(F.softplus(-right), real)
        return {"loss": loss, "real": mean(right, real), "fake": (fake * weights).sum() / weights.sum()}

    def made(self, z: Tensor, hot: Tensor, start: int, length: int) -> tuple[Tensor, Tensor]:
        """Passages that begin as the real ones (N, T, K) do, with `length` made characters from `start` on: (N, T, K),
        one-hot, with the gradient of Gumbel-softmax (Jang et al. 2017, section 2.2, straight-through); and which places
        are made (T,)."""
        before, state = shifted(hot)[:, : start + 1], None
        chosen = [hot[:, :start]]
        for _ in range(length):
            logits, state = self.generator(before, z, state)
            noise = -torch.empty_like(logits[:, -1]).exponential_().log()
            soft = F.softmax((logits[:, -1] + noise) * self.config.sharpness, 1)
            hard = F.one_hot(soft.argmax(1), self.characters).to(soft.dtype)
            chosen.append((hard + soft - soft.detach())[:, None])
            before = hard[:, None]  # without a gradient: over many steps it grows without bounds
        made = torch.cat([*chosen, hot[:, start + length :]], 1)
        scored = torch.zeros(hot.shape[1], device=hot.device)
        scored[start : start + length] = 1
        return made, scored

    def latents(self, seeds: Iterable[int]) -> Tensor:
        """z, and for each character a number that chooses it: (N, Z + T) float32."""
        numbers = self.config.latent + self.spec.width
        generators = (torch.Generator().manual_seed(key(seed, "latent")) for seed in seeds)
        return torch.stack([torch.randn(numbers, generator=generator) for generator in generators])

    def generate(self, latents: Tensor, labels: Tensor | None = None, prompt: Tensor | None = None) -> Tensor:
        """(N, Z + T), and the numbers (P,) int64 of characters that all passages begin with -> (N, 1, 1, P + T) in
        [-1, 1]."""
        prompt = torch.zeros(0, dtype=torch.int64, device=latents.device) if prompt is None else prompt
        z, choices = latents.split([self.config.latent, self.spec.width], 1)
        hot = F.one_hot(prompt, self.characters).to(z.dtype).expand(len(z), -1, -1)
        before = torch.cat([torch.zeros_like(z[:, :1, None]).expand(-1, -1, self.characters), hot], 1)
        made, state, ended = [prompt.expand(len(z), -1)], None, torch.zeros(len(z), dtype=torch.bool, device=z.device)
        for choice in choices.unbind(1):
            logits, state = self.generator(before, z, state)
            chances = F.softmax(logits[:, -1].double(), 1)
            if len(made) == 1 and not len(prompt):
                chances[:, 0] = 0  # no passage is empty
            bounds = chances.cumsum(1)
            level = (0.5 * torch.erfc(-choice.double() / math.sqrt(2)))[:, None] * bounds[:, -1:]
            number = (level >= bounds).sum(1).clamp(max=self.characters - 1) * ~ended
            ended = ended | (number == 0)
            made.append(number[:, None])
            before = F.one_hot(number, self.characters).to(z.dtype)[:, None]
        return planes(torch.cat(made, 1))


def shifted(hot: Tensor) -> Tensor:
    """(N, T, K) -> what is before each character, the last one left out: nothing, then the first to the last but
    one."""
    return F.pad(hot, (0, 0, 1, 0))[:, :-1]


def clipped(values: Tensor, norm: Tensor) -> Tensor:
    """(N, T, K) -> the same; the gradient of each of the (N, T) vectors is no longer than `norm`, a scalar."""
    held = values.clone()
    if held.requires_grad:
        held.register_hook(lambda gradient: gradient * (norm / gradient.norm(dim=2, keepdim=True)).clamp(max=1.0))
    return held


def inside(numbers: Tensor) -> Tensor:
    """(N, T) int64 -> (N, T) float32, 1 up to the first end of a passage, which is the number 0, and 0 behind it."""
    ends = (numbers == 0).float()
    return (ends.cumsum(1) - ends == 0).float()


def mean(values: Tensor, numbers: Tensor) -> Tensor:
    """The mean of (N, T) over what is inside of the passages (N, T). Scalar."""
    weights = inside(numbers)
    return (values * weights).sum() / weights.sum()


SYSTEM = TextGAN
