"""Missing frames of clips of any length and size, filled in by a system that has learned clips of a few frames."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from ganforge import models
from ganforge.base.errors import InputError
from ganforge.base.images import SIDES, Pixels
from ganforge.image_to_image import ImageToImage
from ganforge.media import clip
from ganforge.media.clip import Clip
from ganforge.media.medium import Unusable
from ganforge.restoring.call import Call, report
from ganforge.runs import RunFolder
from ganforge.sources.decode import FULL_SIZE, WHITE, decode_frames, fit_channels
from ganforge.sources.entry import Entry, Skip, clip_refusal
from ganforge.system import System

_SAME_RATE = 0.05
"""Difference of two rates, as a share, up to which they count as one: files have whole milliseconds."""


@dataclass(frozen=True)
class Moving:
    """The frames of a clip, (H, W, 4) uint8 each, and for how many milliseconds each is shown."""

    frames: list[Pixels]
    durations: list[float]


def check(run: RunFolder, system: System, medium: Clip, options: Mapping[str, Any]) -> frozenset[int]:
    """The missing frames, as the option `--missing` says them. InputError where the run has not learned to fill in
    frames, for options of pictures, and for numbers that cannot be."""
    if not isinstance(system, ImageToImage) or "frames" not in system.degrade.terms:
        kinds = {name: models.load(name).system for name in models.names()}
        able = [name for name, kind in kinds.items() if Clip in kind.media and kind.fills]
        raise InputError(
            f"Of clips, restore fills in missing frames, and {run.path} has not learned that. Train {' or '.join(able)}"
            ' with --model.degradation "frames 1..3".'
        )
    for option in ("--mask", "--holes", "--reference"):
        if options[option] is not None:
            raise InputError(
                f"{option} is for pictures, and {run.path} is of clips. Say which frames are missing: --missing 3-5."
            )
    if options["--missing"] is None:
        raise InputError(f"{run.path} fills in missing frames of clips. Say which are missing: --missing 3-5.")
    for number in options["--missing"]:
        if not isinstance(number, (int, np.integer)) or number < 0:
            raise InputError(f"The missing frame {number} cannot be; they are whole numbers from 0 on, such as 3-5.")
    missing = frozenset(map(int, options["--missing"]))
    if not missing:
        raise InputError("No missing frames were given; it takes one or more, such as 3-5.")
    if (longest := max(map(len, _spans(missing)))) >= medium.frames:
        raise InputError(
            f"{longest:,} missing frames in a row are too many: {run.path} has learned clips of {medium.frames}, of "
            f"which one frame at least has to be known."
        )
    return missing


def windows(count: int, frames: int, missing: Collection[int]) -> dict[int, list[int]]:
    """Where windows of `frames` frames begin in a clip of `count`, and which of the missing frames each of them fills.

    Frames that are missing in a row are filled by one window, of those that have all of them in it the one with most
    known frames; of several the one that has them nearest to its middle."""
    chosen: dict[int, list[int]] = {}
    for span in _spans(missing):

        def rank(start: int, span: list[int] = span) -> tuple[int, int, int]:
            holes = sum(number in missing for number in range(start, start + frames))
            return holes, abs(2 * start + frames - 1 - span[0] - span[-1]), start

        starts = range(max(0, span[-1] - frames + 1), min(span[0], count - frames) + 1)
        chosen.setdefault(min(starts, key=rank), []).extend(span)
    return chosen


def _spans(numbers: Collection[int]) -> list[list[int]]:
    """1, 3, 4 -> [[1], [3, 4]]."""
    groups = groupby(enumerate(sorted(numbers)), lambda pair: pair[1] - pair[0])
    return [[number for _, number in group] for _, group in groups]


@dataclass
class ClipCall(Call[Moving, Moving]):
    """Files of clips. `missing` are the same frames of each of them."""

    missing: frozenset[int] = frozenset()
    _of_another_rate: int = 0
    _most: int = 0
    """Missing frames that a window had at most."""

    suffix = Clip.suffix

    @property
    def medium(self) -> Clip:
        """What the system has learned."""
        medium = self.restorer.system.spec.medium
        assert isinstance(medium, Clip)
        return medium

    def read(self, entry: Entry) -> tuple[Moving, dict[str, Any]]:
        try:
            moving, digest = self._moving(entry)
            self.medium.starts(len(moving.frames), 1)
        except Unusable as reason:
            raise Skip(str(reason)) from reason
        count, rate, last = len(moving.frames), 1000 / min(moving.durations), max(self.missing)
        if last >= count:
            raise Skip(
                f"it has {count:,} frames, 0 to {count - 1:,}, at {rate:.4g} a second, and frame {last:,} is to be "
                "filled in"
            )
        height, width = moving.frames[0].shape[:2]
        if max(height, width) > (limit := SIDES[self.suffix]):
            raise Skip(f"{width:,} x {height:,} pixels, and {self.suffix} holds {limit:,} a side")
        self._of_another_rate += abs(rate / self.medium.rate - 1) > _SAME_RATE
        return moving, {"given": digest, "missing": sorted(self.missing)}

    def _moving(self, entry: Entry) -> tuple[Moving, str]:
        """All frames, those of files of their own at the rate that the system has learned, and the digest of the bytes.
        Raises Skip or Unusable."""
        sha256 = hashlib.sha256()
        if entry.frames:
            frames: list[Pixels] = []
            for data, frame in decode_frames(entry, FULL_SIZE):
                sha256.update(data)
                frames.append(frame)
                if frame.shape[0] * frame.shape[1] * len(entry.frames) > clip.MOST_IN_ALL:
                    raise Skip(f"over the limit of {clip.MOST_IN_ALL:,} pixels in all frames")
            durations = [1000 / self.medium.rate] * len(frames)
        else:
            if why := clip_refusal(entry.name):
                raise Skip(why)
            bytes_ = entry.read()
            if not isinstance(bytes_, bytes):
                raise Skip("not a clip")
            sha256.update(bytes_)
            frames, durations = clip.all_frames(bytes_)
        if len(frames) == 1:
            raise Skip("a still picture, and frames are missing of clips alone")
        return Moving(frames, durations), sha256.hexdigest()

    def size(self, given: Moving) -> int:
        return sum(frame.nbytes for frame in given.frames)

    def answer(self, given: Moving, seed: int | None, progress: Callable[[float], None]) -> Moving:
        """The missing frames are opaque, and grey where all others are; a system of grey clips fills each colour for
        itself. What is transparent in the others is white for the system."""
        frames, length = list(given.frames), self.medium.frames
        grey = not any(np.ptp(frame[..., :3], 2).any() for n, frame in enumerate(frames) if n not in self.missing)
        chosen = windows(len(frames), length, self.missing)
        for done, (start, filled) in enumerate(chosen.items()):
            numbers = range(start, start + length)
            shown = np.stack([clip.laid(given.frames[n], WHITE, 3) for n in numbers])
            gone = np.array([n in self.missing for n in numbers])
            self._most = max(self._most, int(gone.sum()))
            part = partial(report, progress, done / len(chosen), 1 / len(chosen))
            made = self._window(shown[..., :1] if grey else shown, gone, seed, part)
            for n in filled:
                picture = made[n - start]
                frames[n] = fit_channels(fit_channels(picture, 1) if grey else picture, 4)
        return Moving(frames, given.durations)

    def _window(
        self, shown: Pixels, gone: np.ndarray[Any, np.dtype[np.bool_]], seed: int | None,
        progress: Callable[[float], None],
    ) -> Pixels:  # fmt: skip
        """The frames (T, H, W, 1 or 3) of a window, of which those in `gone` (T,) are missing -> all of them,
        (T, H, W, 1 or 3) uint8."""
        medium, colours = self.medium, self.restorer.system.spec.channels // self.medium.frames
        holes = np.broadcast_to(gone.repeat(colours), (*shown.shape[1:3], len(gone) * colours))
        if colours == 1:  # each colour is a grey clip
            planes = self.restorer.run(shown.transpose(3, 1, 2, 0), holes, seed, progress)
            return planes.transpose(3, 1, 2, 0)
        row = medium.row([fit_channels(frame, colours) for frame in shown])
        made: Pixels = medium.split(self.restorer.run(row[None], holes, seed, progress))[0]
        return made

    def write(self, target: Path, made: Moving, mark: dict[str, Any]) -> None:
        opaque = all((frame[..., 3] == 255).all() for frame in made.frames)
        frames = [frame[..., :3] for frame in made.frames] if opaque else made.frames
        clip.write_webp(target, frames, made.durations, mark, "restored")

    def written(self, target: Path) -> Moving:
        return Moving(*clip.all_frames(target.read_bytes()))

    def notes(self) -> list[str]:
        notes = super().notes()
        if self._of_another_rate:
            notes.append(
                f"{self._of_another_rate:,} have another rate than the {self.medium.rate:g} frames a second that the "
                "system has learned; what moves faster or slower than it knows may be filled in worse."
            )
        system = self.restorer.system
        assert isinstance(system, ImageToImage)
        if self._most > (learned := round(system.degrade.terms["frames"][1])):
            notes.append(
                f"Up to {self._most} of {self.medium.frames} frames were missing at once; the system has learned with "
                f"{learned} at most."
            )
        return notes
