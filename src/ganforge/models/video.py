"""video: clips of a content that stays and a motion that recurs, judged frame by frame and as a whole.

Tulyakov et al. 2018, "MoCoGAN: Decomposing Motion and Content for Video Generation": one content for a clip, one step
of a gated recurrent unit for each frame (section 3), and two critics, of single frames and of clips (section 3.2). The
critic of clips is recurrent, too, and sees them at half the resolution, as in Clark et al. 2019, "Adversarial Video
Generation on Complex Datasets" (DVD-GAN, section 3.2)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ganforge.base.config import setting
from ganforge.media.clip import Clip
from ganforge.media.spec import Spec
from ganforge.nn import losses
from ganforge.nn.layers import Down, Up, spectral
from ganforge.nn.schedules import Decay
from ganforge.system import Adam, Batch, Phase, System, base_grid, channels, crop, width_by, with_label
from ganforge.transforms import augment


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of the video GAN."""

    latent: int = setting(32, "numbers of the content of a clip", low=1, high=4096)
    motion: int = setting(8, "numbers of noise for each frame", low=1, high=1024)
    units: int = setting(64, "units of the recurrent layer that makes the motion", low=1, high=4096)
    width: int = setting(
        64, "channels at the largest inner grid; each halving doubles them, up to widest", low=4, high=1024
    )
    widest: int = setting(0, "most channels of a grid; 0: 8 x width", low=0, high=4096)
    memory: int = setting(128, "units of the recurrent layer of the clips' critic", low=1, high=4096)
    bound: float = setting(1.5, "largest singular value of each of the critics' weights", low=0.1, high=100.0)
    lr: float = setting(2e-3, "learning rate of all networks", low=0.0, high=1.0)
    hold: int = setting(
        0, "clips after which the learning rates fall in inverse proportion to the clips shown; 0: never", low=0
    )
    augment: str = setting("", augment.HELP)
    conditional: bool = setting(False, "generate by class; needs a store with labels")

    def __post_init__(self) -> None:
        augment.parse(self.augment)


PRESETS: dict[str, dict[str, Any]] = {
    "small": {"width": 32, "latent": 16},
    "medium": {},
    "large": {"width": width_by(8192, 128), "latent": 64, "units": 128, "memory": 256},
}
TRAIN: dict[str, Any] = {"batch": 32}


class Generator(nn.Module):
    """(N, Z + classes) and (N, T, M) -> (N, T, C, H, W) in [-1, 1]: a content, and noise for the motion of each frame.

    The content gives the first state of the recurrent layer. Each frame is a picture of the content and the state."""

    def __init__(self, config: Config, spec: Spec, classes: int, colours: int) -> None:
        super().__init__()
        self.spec = spec
        content = config.latent + classes
        self.first = nn.Linear(content, config.units)
        self.motion = nn.GRU(config.motion, config.units, batch_first=True)
        nn.init.normal_(self.first.weight, 0, 1.5 / content**0.5)
        for weight in self.motion.parameters():
            if weight.ndim > 1:  # large enough that frames differ from the beginning
                nn.init.normal_(weight, 0, 1.5 / weight.shape[1] ** 0.5)
        height, width, doublings = base_grid(spec)
        widths = channels(config.width, config.widest, max(doublings - 1, 0))[::-1]
        self.grid = (height, width, widths[0])
        self.dense = nn.Linear(content + config.units, height * width * widths[0], bias=False)
        self.norms = nn.ModuleList(nn.BatchNorm2d(w) for w in widths)
        self.ups = nn.ModuleList(Up(a, b, bias=False) for a, b in pairwise(widths))
        self.last = Up(widths[-1], colours) if doublings else nn.Conv2d(widths[-1], colours, 3, 1, 1)
        for layer in (self.dense, *self.ups, self.last):
            nn.init.normal_(layer.weight, 0, 0.02)

    def forward(self, content: Tensor, noise: Tensor) -> Tensor:
        states, _ = self.motion(noise, torch.tanh(self.first(content))[None].to(noise.dtype))
        codes = torch.cat([content[:, None].expand(-1, noise.shape[1], -1), states], 2).flatten(0, 1)
        x = self.dense(codes).unflatten(1, self.grid).permute(0, 3, 1, 2)  # channels last in memory
        x = F.relu_(self.norms[0](x))
        for layer, norm in zip(self.ups, self.norms[1:], strict=True):
            x = F.relu_(norm(layer(x)))
        frames: Tensor = torch.tanh(crop(self.last(x), self.spec)).unflatten(0, noise.shape[:2])
        return frames


class Features(nn.Sequential):
    """(N, C, H, W) -> (N, D): strided convolutions down to a grid of about 4, all numbers of which are the features."""

    def __init__(self, colours: int, height: int, width: int, wide: int, widest: int, bound: float) -> None:
        layers: list[nn.Module] = []
        before, after = colours, min(wide, widest)
        while min(height, width) >= 6:
            layers += [_bounded(Down(before, after), bound), nn.ReLU()]
            height, width, before, after = -(-height // 2), -(-width // 2), after, min(2 * after, widest)
        super().__init__(*layers, nn.Flatten())
        self.size = before * height * width


class FrameCritic(nn.Module):
    """Frames (N, C, H, W), and labels (N,) int64 where there are classes -> scores (N,) float32."""

    def __init__(self, config: Config, spec: Spec, classes: int, colours: int) -> None:
        super().__init__()
        sides = spec.height, spec.width
        self.features = Features(colours, *sides, config.width, config.widest or 8 * config.width, config.bound)
        self.score = _bounded(nn.Linear(self.features.size, 1), config.bound)
        self.classes = _bounded(nn.Embedding(classes, self.features.size), config.bound) if classes else None

    def forward(self, frames: Tensor, labels: Tensor | None) -> Tensor:
        features = self.features(frames)
        scores: Tensor = self.score(features)[:, 0].float()
        return scores if self.classes is None else scores + (self.classes(labels) * features).sum(1)


class ClipCritic(nn.Module):
    """Clips (N, T, C, H, W) -> scores (N,) float32: features of every two neighbouring frames, then a gated recurrent
    unit (Cho et al. 2014), and the mean of a score after every step.

    All weights but those of the score are bounded."""

    def __init__(self, config: Config, spec: Spec, colours: int) -> None:
        super().__init__()
        sides, units = (-(-spec.height // 2), -(-spec.width // 2)), config.memory
        self.features = Features(2 * colours, *sides, config.width, config.widest or 8 * config.width, config.bound)
        self.inputs = _bounded(nn.Linear(self.features.size, 3 * units), config.bound)
        self.recurrent = _bounded(nn.Linear(units, 3 * units), config.bound)
        self.score = nn.Linear(units, 1)

    def forward(self, clips: Tensor) -> Tensor:
        pairs = torch.cat([clips[:, :-1], clips[:, 1:]], 2)
        steps = self.inputs(self.features(pairs.flatten(0, 1))).unflatten(0, pairs.shape[:2])
        weight, bias = self.recurrent.weight, self.recurrent.bias  # one step of power iteration for all frames
        state = steps.new_zeros(len(clips), weight.shape[1])
        states = []
        for step in steps.unbind(1):
            reset, update, new = step.chunk(3, 1)
            own_reset, own_update, own_new = F.linear(state, weight, bias).chunk(3, 1)
            candidate = torch.tanh(new + torch.sigmoid(reset + own_reset) * own_new)
            state = torch.lerp(candidate, state, torch.sigmoid(update + own_update))
            states.append(state)
        scores: Tensor = self.score(torch.stack(states, 1)).mean((1, 2)).float()
        return scores


def _bounded(layer: Any, bound: float) -> Any:
    nn.init.normal_(layer.weight, 0, 0.02)
    return spectral(layer, bound)


class Critics(nn.Module):
    """The critics of frames and of clips."""

    def __init__(self, config: Config, spec: Spec, classes: int, colours: int) -> None:
        super().__init__()
        self.frames = FrameCritic(config, spec, classes, colours)
        self.clips = ClipCritic(config, spec, colours)


class Video(System):
    """A generator with a recurrent layer, a critic of frames and a recurrent critic of clips."""

    averaged = ("generator",)
    media = (Clip,)
    config: Config

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        assert isinstance(spec.medium, Clip)
        self.frames = spec.medium.frames
        colours = spec.channels // self.frames
        self.generator = Generator(config, spec, self.classes, colours)
        self.critics = Critics(config, spec, self.classes, colours)
        self.augment = augment.Augment(config.augment)

    @property
    def latent(self) -> int:
        """The content, then the noise of each frame: a seed is a clip."""
        return int(self.config.latent + self.frames * self.config.motion)

    def adam(self) -> dict[str, Adam]:
        hold = self.config.hold
        adam = Adam(Decay(self.config.lr, hold) if hold else self.config.lr, 0.0, 0.99)
        return {"generator": adam, "critics": adam}

    def phases(self) -> list[Phase]:
        return [Phase("both", ("generator", "critics"), self.loss)]

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """One-stage training by both critics. Of each clip, real or generated, one random frame is judged by itself;
        whole clips are judged at half the resolution."""
        fakes = self.generate(self.noise(batch), batch.labels)
        both = self.augment(torch.cat([batch.images.to(fakes.dtype), fakes])).unflatten(1, (self.frames, -1))
        numbers = torch.randint(self.frames, (len(both),), device=both.device)
        frames = both[torch.arange(len(both), device=both.device), numbers]
        clips = F.avg_pool2d(both.flatten(0, 1), 2, ceil_mode=True).unflatten(0, both.shape[:2])
        labels = batch.labels.repeat(2) if batch.labels is not None else None
        by_frame = _hinge(lambda x: self.critics.frames(x, labels), frames)
        by_clip = _hinge(self.critics.clips, clips)
        report = {f"clip {name}": value for name, value in by_clip.items() if name != "loss"}
        return by_frame | report | {"loss": by_frame["loss"] + by_clip["loss"]}

    def generate(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        content, noise = latents.split([self.config.latent, self.latent - self.config.latent], 1)
        frames: Tensor = self.generator(
            with_label(content, labels, self.classes), noise.unflatten(1, (self.frames, -1))
        )
        return frames.flatten(1, 2)


def _hinge(critic: Callable[[Tensor], Tensor], both: Tensor) -> dict[str, Tensor]:
    """One-stage losses of what one critic sees: (2N, ...), N real and N generated."""
    reals, fakes = both.chunk(2)
    real, fake = critic(torch.cat([reals, fakes])).chunk(2)
    return losses.one_stage_hinge(real, fake, fakes)


SYSTEM = Video
