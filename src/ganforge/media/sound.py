"""Sounds: a row is a log-mel spectrogram, high notes at the top, time from left to right.

A byte is the level of one band at one moment: 0 is `floor` decibels or less, 255 is a full-scale tone. The phase is not
kept; `Sound.wave` finds one by fast Griffin-Lim (Perraudin, Balazs and Søndergaard, "A fast Griffin-Lim algorithm",
2013). docs/media.md says how far a sound that went through a row differs from itself."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ganforge.base.images import Pixels
from ganforge.media.medium import Medium
from ganforge.media.waves import RATES, Wave, write_wav

PEAK = 0.95
"""Each sound is made so loud that its largest sample is this share of full scale."""
PAUSE = 0.2
"""Seconds of silence between sounds of one file."""
ROUNDS, MOMENTUM = 32, 0.99
PORTION = 32
"""Sounds whose phases are found at once."""


@dataclass(frozen=True)
class Sound(Medium):
    """How the rows of a set of sounds are read: height is the number of mel bands, width the number of frames."""

    rate: int
    """Samples a second."""
    hop: int
    """Samples from one frame to the next."""
    window: int
    """Samples in the Hann window of a frame."""
    fft: int
    """Samples in the Fourier transform of a frame, which is padded with zeros; a power of two."""
    low: float
    """Hertz where the lowest band begins."""
    high: float
    """Hertz where the highest band ends."""
    floor: float = -80.0
    """Decibels below a full-scale tone that the byte 0 stands for."""

    kind: ClassVar[str] = "sound"
    plural: ClassVar[str] = "sounds"
    suffix: ClassVar[str] = ".wav"
    lossless: ClassVar[bool] = False
    augmentations: ClassVar[frozenset[str] | None] = frozenset(
        ("shift", "scale", "crop", "translation", "cutout", "stretch", "move")
    )

    @staticmethod
    def of_rate(rate: int) -> Sound:
        """The usual settings for `rate` samples a second: a frame about every 16 ms, windows of two hops."""
        hop = 2 ** round(math.log2(rate * 0.016))
        return Sound(rate, hop, 2 * hop, 4 * hop, 40.0, rate / 2)

    def check(self, height: int, width: int, channels: int) -> None:
        if channels != 1:
            raise ValueError(f"a sound has 1 channel, not {channels}")
        for name in ("rate", "hop", "window", "fft"):
            if type(getattr(self, name)) is not int or getattr(self, name) < 1:
                raise ValueError(f"{name} {getattr(self, name)!r} is no whole number from 1 on")
        if not RATES[0] <= self.rate <= RATES[1]:
            raise ValueError(f"rate {self.rate} is not from {RATES[0]} to {RATES[1]}")
        if not (2 * self.hop <= self.window <= self.fft <= 1 << 16):
            raise ValueError(f"window {self.window} is not from two hops of {self.hop} to the FFT of {self.fft}")
        if not (0 <= self.low < self.high <= self.rate / 2 and -200 <= self.floor < 0):
            raise ValueError(f"low {self.low}, high {self.high}, floor {self.floor}")

    def describe(self, height: int, width: int, channels: int) -> str:
        return f"{height}x{width} log-mel, {self.seconds(width):.3g} s at {self.rate:,} Hz"

    def seconds(self, width: int) -> float:
        """The length of a sound of so many frames."""
        return self.samples(width) / self.rate

    def samples(self, width: int) -> int:
        """Samples in a sound of so many frames: the first frame is centred on the first sample, the last on the end."""
        return self.hop * (width - 1)

    def width(self, seconds: float) -> int:
        """As many frames as hold so many seconds, a multiple of 8."""
        return 8 * math.ceil((seconds * self.rate / self.hop + 1) / 8)

    # ---------------------------------------------------------------------------------------------- wave -> row -> wave

    def row(self, wave: Wave, height: int, width: int) -> Pixels:
        """A sound of at most `samples(width)` samples, at `rate`, -> its row (height, width, 1) uint8.

        Made as loud as PEAK and followed by silence up to the end of the row."""
        padded = np.zeros((1, self.samples(width)), np.float32)
        padded[0, : len(wave)] = wave
        row: Pixels = self._rows(padded, height)[0]
        return row

    def _rows(self, waves: Wave, height: int) -> Pixels:
        """(N, samples) float32, written over, -> (N, height, frames, 1) uint8."""
        waves *= PEAK / np.abs(waves).max(1, keepdims=True, initial=0).clip(1e-9)
        levels = self._filters(height) @ self._transform(torch.from_numpy(waves)).abs()
        decibels = 20 * torch.log10(levels.clamp(min=1e-9))
        scaled = ((decibels / -self.floor + 1) * 255).round().clamp(0, 255)
        return scaled.to(torch.uint8).flip(1).contiguous().numpy()[..., None]

    def wave(self, row: Pixels) -> Wave:
        """A row (H, W, 1) uint8 -> the sound: (samples(W),) float32, at most as loud as PEAK. The same row gives the
        same sound."""
        wave: Wave = self._waves(row[None])[0]
        return wave

    def _waves(self, rows: Pixels) -> Wave:
        """(N, H, W, 1) uint8 -> (N, samples(W)) float32, each sound by itself."""
        height, width = rows.shape[1:3]
        bytes_ = torch.from_numpy(np.ascontiguousarray(rows[:, ::-1, :, 0])).float()
        levels = torch.where(bytes_ > 0, 10 ** ((bytes_ / 255 - 1) * (-self.floor / 20)), torch.zeros(()))
        magnitude = (self._inverse(height) @ levels).clamp(min=0)
        turn = torch.rand(magnitude.shape[1:], generator=torch.Generator().manual_seed(0)) * (2 * math.pi)
        phase = torch.polar(torch.ones_like(turn), turn).expand_as(magnitude)
        before = torch.zeros_like(phase)
        for _ in range(ROUNDS):
            rebuilt = self._transform(self._back(magnitude * phase, width))
            ahead = rebuilt - (MOMENTUM / (1 + MOMENTUM)) * before
            before, phase = rebuilt, ahead / (ahead.abs() + 1e-16)
        waves: Wave = self._back(magnitude * phase, width).numpy()
        waves *= PEAK / np.abs(waves).max(1, keepdims=True, initial=0).clip(PEAK)
        return waves

    def as_written(self, rows: Pixels) -> Pixels:
        """What comes back when a row is made a sound and that a row again: what can be heard of it."""
        parts = (rows[n : n + PORTION] for n in range(0, len(rows), PORTION))
        return np.concatenate([rows[:0], *(self._rows(self._waves(part), rows.shape[1]) for part in parts)])

    def _transform(self, wave: Tensor) -> Tensor:
        """(N, samples) -> (N, fft / 2 + 1, frames) complex; a full-scale tone between two bins is about 1."""
        window = torch.hann_window(self.window)
        frames = torch.stft(
            wave, self.fft, self.hop, self.window, window, center=True, pad_mode="constant", return_complex=True
        )
        return frames / (self.window / 4)

    def _back(self, frames: Tensor, width: int) -> Tensor:
        """(N, fft / 2 + 1, frames) complex -> (N, samples), the sounds whose transforms are nearest (least squares)."""
        window = torch.hann_window(self.window)
        return torch.istft(
            frames * (self.window / 4), self.fft, self.hop, self.window, window, center=True, length=self.samples(width)
        )

    def _filters(self, bands: int) -> Tensor:
        return _filters(self, bands)

    def _inverse(self, bands: int) -> Tensor:
        return _inverse(self, bands)

    # ---------------------------------------------------------------------------------------------------- rows -> files

    def as_pictures(self, rows: Pixels) -> Pixels:
        return rows

    def write(self, path: Path, rows: Pixels, made_by: dict[str, Any] | None = None) -> None:
        self.check_file(path, len(rows))
        pause = np.zeros(round(PAUSE * self.rate), np.float32)
        pieces = [piece for row in rows for piece in (pause, self.wave(row))]
        write_wav(path, np.concatenate(pieces[1:]), self.rate, made_by)


@lru_cache(16)
def _filters(sound: Sound, bands: int) -> Tensor:
    """(bands, fft / 2 + 1) float32, rows that sum to 1: triangles whose corners are evenly spaced in mel, 2595 log10(1
    + f / 700). A triangle between two bins takes the nearer one."""
    lowest, highest = (2595 * math.log10(1 + hertz / 700) for hertz in (sound.low, sound.high))
    corners = np.linspace(lowest, highest, bands + 2)
    edges = 700 * (10 ** (corners / 2595) - 1)
    bins = np.arange(sound.fft // 2 + 1) * (sound.rate / sound.fft)
    rising = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
    weights = np.minimum(rising, falling).clip(0)
    empty = np.flatnonzero(weights.sum(1) == 0)
    weights[empty, np.abs(bins - edges[1:-1][empty, None]).argmin(1)] = 1
    return torch.from_numpy(weights / weights.sum(1, keepdims=True)).float()


@lru_cache(16)
def _inverse(sound: Sound, bands: int) -> Tensor:
    """(fft / 2 + 1, bands) float32, the pseudo-inverse."""
    return torch.from_numpy(np.linalg.pinv(_filters(sound, bands).double().numpy())).float()
