"""Degradations: what a system that maps pictures to pictures is given, made from clean pictures by a list of words.

`"blur 0.2..3, down 4, noise 0..0.1, jpeg 30..95"` is applied from left to right. Every picture draws its own strength
for each word from torch's global generator on the CPU, which the training loop seeds for every step, so that the draws
do not depend on the device. What is given is rounded to 8 bits, as a file of it would be."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ganforge.base import words
from ganforge.base.errors import InputError
from ganforge.transforms import holes
from ganforge.transforms.jpeg import jpeg
from ganforge.transforms.real import real
from ganforge.transforms.resize import resized

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in the brightness (ITU-R BT.601)."""


@dataclass(frozen=True)
class Word:
    """What may stand behind a word: numbers from `low` to `high`, `whole` ones or not, and what they mean."""

    low: float
    high: float
    meaning: str
    whole: bool = False


KINDS = {
    "down": Word(2, 8, "so many times smaller, antialiased bicubic", whole=True),
    "real": Word(2, 8, "so many times smaller, after two rounds of blur, resize, noise and JPEG", whole=True),
    "blur": Word(0, 20, "standard deviation of a Gaussian in pixels"),
    "noise": Word(0, 1, "standard deviation of normal noise, as a share of the range from black to white"),
    "jpeg": Word(1, 100, "quality of a JPEG file, chroma halved", whole=True),
    "grey": Word(0, 0, "brightness alone"),
    "edges": Word(0, 1, "black lines where the gradient exceeds this share of the largest"),
    "strokes": Word(0, 0.9, "share of the picture missing under brush strokes"),
    "boxes": Word(1, 16, "rectangles missing", whole=True),
    "centre": Word(0, 0.9, "share of the picture missing in its middle"),
    "frames": Word(1, 63, "frames of a clip missing", whole=True),
}
SCALES = ("down", "real")
"""Words that make what is given smaller, by one number."""
HOLES = ("strokes", "boxes", "centre", "frames")
"""Words of what is missing."""
ONE_CHANNEL = ("grey", "edges")
"""Words that leave one channel."""
HELP = (
    f"what is given, made from clean pictures from left to right: {', '.join(KINDS)}; each but grey with a number or a "
    'range, such as "blur 0.2..3, down 4, noise 0..0.1, jpeg 30..95" or "strokes 0.15..0.65"'
)


def parse(text: str, where: str = "model.degradation") -> dict[str, tuple[float, float]]:
    """`"down 4, noise 0..0.1"` -> {"down": (4.0, 4.0), "noise": (0.0, 0.1)}, in the order of the text; `grey` has
    (0, 0).

    InputError for unknown words, and for numbers that are missing, out of range or not whole where they have to be."""
    terms = {}
    for word, numbers in words.ranges(text, KINDS, where).items():
        kind = KINDS[word]
        if numbers is None and kind.low < kind.high:
            raise InputError(f"{where} says {word} alone; it takes a number or a range, {_bounds(word)}.")
        first, last = numbers or (0.0, 0.0)
        fits = kind.low <= first and last <= kind.high and not (kind.whole and (first % 1 or last % 1))
        if not fits or (numbers and kind.low == kind.high):
            takes = f"takes {_bounds(word)}" if kind.low < kind.high else "takes no number"
            raise InputError(f"{where} says {word} {first:g}..{last:g}; {word} {takes}.")
        if word in SCALES and first != last:
            raise InputError(f"{where} says {word} {first:g}..{last:g}; a system has one scale: {word} {last:g}.")
        terms[word] = (first, last)
    return terms


def _bounds(word: str) -> str:
    kind = KINDS[word]
    return f"{'whole numbers ' if kind.whole else ''}from {kind.low:g} to {kind.high:g}: {kind.meaning}"


class Degrade:
    """A list of words as a function of clean pictures. No word: they are given as they are.

    `channels` are those of the clean pictures, `frames` those of a clip, 0 for pictures. InputError for words that
    cannot be understood, or that pictures of so many channels cannot have."""

    def __init__(self, text: str, channels: int, frames: int = 0) -> None:
        self.terms = parse(text)
        self.frames = frames
        self.scale = math.prod(round(self.terms[word][0]) for word in SCALES if word in self.terms)
        """Sides of the clean picture over those of what is given."""
        self.holes = any(word in self.terms for word in HOLES)
        """Whether something is missing of what is given."""
        single = [word for word in ONE_CHANNEL if word in self.terms]
        self.given = 1 if single else channels
        """Channels of what is given."""
        if "grey" in self.terms and channels < 3:
            raise InputError("model.degradation says grey, and the pictures are grey already. Prepare coloured ones.")
        if "frames" in self.terms and self.terms["frames"][1] >= frames:
            raise InputError(
                f"model.degradation says frames {self.terms['frames'][1]:g}; that takes clips of more frames, and "
                f"these have {frames}." if frames else "model.degradation says frames; only clips have frames."
            )  # fmt: skip
        if frames and (others := [word for word in self.terms if word in ("grey", "edges", "jpeg", "real")]):
            raise InputError(f"model.degradation says {', '.join(others)}, which is for pictures and not for clips.")
        if self.holes and self.scale > 1:
            raise InputError("model.degradation makes pictures smaller and holes in them; say one of the two.")
        if self.holes and single:
            raise InputError(
                f"model.degradation says {single[0]} and makes holes, around which pictures stay as they are given; "
                "say one of the two."
            )

    @torch.no_grad()
    def __call__(self, clean: Tensor, strength: float | None = None) -> tuple[Tensor, Tensor | None]:
        """Clean pictures (N, C, H, W) in [-1, 1] whose sides are multiples of `scale` -> what is given,
        (N, given, H / scale, W / scale) float32 in [-1, 1], 0 where it is missing, and where that is: (N, 1, H, W),
        for missing frames (N, C, H, W), 1 or 0; None where nothing is.

        `strength` from 0, the mildest, to 1, the hardest end of each range, holds for all words and pictures; None
        lets each picture draw its own for each word."""
        with torch.autocast(clean.device.type, enabled=False):
            x = (clean.float() + 1) * 127.5
            missing: Tensor | None = None
            for word, (low, high) in self.terms.items():
                drawn = torch.rand(len(x)) if strength is None else torch.full((len(x),), float(strength))
                if word == "jpeg":  # the hardest is the lowest quality
                    drawn = 1 - drawn
                if KINDS[word].whole:
                    value = (low + (drawn * (high - low + 1)).floor()).clamp(max=high)
                else:
                    value = low + drawn * (high - low)
                if word == "real":
                    x = real(x, round(low), strength)
                elif word in HOLES:
                    hole = self._hole(word, x, value).to(x.device)
                    missing = hole if missing is None else torch.maximum(missing, hole)
                else:
                    x = self._changed(word, x, value)
            given = x.round().clamp(0, 255) / 127.5 - 1
            return (given, None) if missing is None else (given * (1 - missing), missing)

    def _changed(self, word: str, x: Tensor, value: Tensor) -> Tensor:
        """Pictures (N, C, H, W) float32 in 0..255 after one word, with a number (N,) each, on the CPU."""
        colour, alpha = (x, x[:, :0]) if self.frames else (x[:, :3], x[:, 3:])
        if word == "down":
            height, width = (side // round(float(value[0])) for side in x.shape[2:])
            return resized(x, height, width, transparent=alpha.shape[1] == 1)
        if word == "grey":
            return brightness(colour)
        if word == "blur":
            return blur(x, value)
        value = value.to(x.device)
        if word == "edges":
            return edges(colour, value)
        if word == "noise":
            normal = torch.randn(colour.shape).to(x.device)
            return torch.cat([(colour + 255 * value[:, None, None, None] * normal).clamp(0, 255), alpha], 1)
        return torch.cat([jpeg(colour.round().clamp(0, 255), value), alpha], 1)

    def _hole(self, word: str, x: Tensor, value: Tensor) -> Tensor:
        channels, height, width = x.shape[1:]
        if word == "strokes":
            return holes.strokes(value, height, width)
        if word == "boxes":
            return holes.boxes(value, height, width)
        if word == "centre":
            return holes.centre(value, height, width)
        frames = holes.frames(value, self.frames)
        return frames.repeat_interleave(channels // self.frames, 1)[:, :, None, None].expand(-1, -1, height, width)


def brightness(colour: Tensor) -> Tensor:
    """(N, 1 or 3, H, W) -> (N, 1, H, W), the weighted sum of red, green and blue."""
    if colour.shape[1] == 1:
        return colour
    weights = torch.tensor(LUMA, device=colour.device)
    return (colour * weights[:, None, None]).sum(1, keepdim=True)


def edges(colour: Tensor, threshold: Tensor) -> Tensor:
    """(N, 1 or 3, H, W) in 0..255 -> (N, 1, H, W): 0 where the length of Sobel's gradient of the brightness exceeds
    `threshold` (N,), a share of what a step from black to white has, else 255."""
    grey = F.pad(brightness(colour), (1, 1, 1, 1), mode="replicate")
    sobel = torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]], device=colour.device) / (4 * 255)
    gradient = F.conv2d(grey, torch.stack([sobel, sobel.T])[:, None])
    return 255.0 * (gradient.square().sum(1, keepdim=True).sqrt() <= threshold[:, None, None, None])


def blur(x: Tensor, deviation: Tensor) -> Tensor:
    """(N, C, H, W) -> the same shape, each picture after a Gaussian of its own standard deviation in pixels, (N,) on
    the CPU; the edge is replicated."""
    count, channels, height, width = x.shape
    radius = max(1, math.ceil(3 * float(deviation.max())))
    offsets = torch.arange(-radius, radius + 1)
    kernel = (-0.5 * (offsets / deviation.clamp(min=1e-3)[:, None]).square()).exp().to(x.device)
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(channels, 0)[:, None]  # (N C, 1, K)
    planes = x.reshape(1, count * channels, height, width)
    planes = F.conv2d(F.pad(planes, (radius, radius, 0, 0), mode="replicate"), kernel[:, :, None], groups=len(kernel))
    planes = F.conv2d(F.pad(planes, (0, 0, radius, radius), mode="replicate"), kernel[..., None], groups=len(kernel))
    return planes.view(x.shape)
