"""Clips: the channels of a row are those of its frames, one frame after the other.

A row of 16 grey frames has 16 channels, one of 16 RGB frames has 48: (H, W, T x C), so that every network that takes
channels takes clips. `frames` reads an animation; frames that are files of their own are read as pictures are."""

from __future__ import annotations

import contextlib
import io
import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from PIL import Image, UnidentifiedImageError

from ganforge.base import marks
from ganforge.base.files import atomic_file, writing
from ganforge.base.images import MODES, Pixels, as_image, enlarge, grid
from ganforge.media import video
from ganforge.media.medium import Medium, Unusable
from ganforge.media.video import AnimationHeader

SUFFIXES = frozenset((".gif", ".webp", ".png", ".apng"))
"""Of pictures that may hold several frames; for video files see `video`."""
FRAMES = (2, 64)
"""Frames that a clip may have."""
RATE = 10.0
"""Frames a second where a file does not say."""
MOST_FRAMES, MOST_PIXELS, MOST_IN_ALL = 10_000, 16_000_000, 1 << 31
"""Frames that a file may have, pixels that one of them may have, and all of them together."""
_GAP = 1


@dataclass(frozen=True)
class Clip(Medium):
    """How the rows of a set of clips are read: a row has `frames` times 1 (grey) or 3 (RGB) channels."""

    frames: int
    rate: float
    """Frames a second."""

    kind: ClassVar[str] = "clip"
    plural: ClassVar[str] = "clips"
    suffix: ClassVar[str] = ".webp"
    alternatives: ClassVar[tuple[str, ...]] = (".mp4",)
    augmentations: ClassVar[frozenset[str] | None] = frozenset(
        (
            *("flip", "upside", "rotate", "shift", "scale", "crop", "perspective"),
            *("translation", "cutout", "turn", "stretch", "move"),
        )
    )

    def check(self, height: int, width: int, channels: int) -> None:
        if type(self.frames) is not int or not FRAMES[0] <= self.frames <= FRAMES[1]:
            raise ValueError(f"frames {self.frames!r} is no whole number from {FRAMES[0]} to {FRAMES[1]}")
        if not 0 < self.rate <= 1000:
            raise ValueError(f"rate {self.rate!r} is not from 0 to 1,000 frames a second")
        if channels not in (self.frames, 3 * self.frames):
            raise ValueError(f"{channels} channels are not {self.frames} frames of 1 or 3")

    def describe(self, height: int, width: int, channels: int) -> str:
        colours = "grey" if channels == self.frames else "RGB"
        return f"{height}x{width} {colours}, {self.frames} frames at {self.rate:g} a second"

    def row(self, frames: Sequence[Pixels]) -> Pixels:
        """`frames` pictures (H, W, C) -> a row (H, W, frames x C)."""
        return np.concatenate(frames, 2)

    def split(self, rows: Pixels) -> Pixels:
        """(N, H, W, frames x C) -> (N, frames, H, W, C)."""
        count, height, width, channels = rows.shape
        return np.moveaxis(rows.reshape(count, height, width, self.frames, channels // self.frames), 3, 1)

    def starts(self, count: int, stride: int) -> range:
        """Where clips begin in a file of `count` frames, one every `stride` frames. Unusable where it is too short."""
        if count < self.frames:
            raise Unusable(f"too short: {count} frame{'s' * (count != 1)}, and a row has {self.frames}")
        return range(0, count - self.frames + 1, stride)

    def as_pictures(self, rows: Pixels) -> Pixels:
        """The frames of each clip from left to right, with a white line between."""
        frames = self.split(rows)
        count, _, height, _, channels = frames.shape
        line = np.full((count, height, _GAP, channels), 255, np.uint8)
        parts = [part for n in range(self.frames) for part in (line, frames[:, n])]
        return np.concatenate(parts[1:], 2)

    def write(self, path: Path, rows: Pixels, made_by: dict[str, Any] | None = None) -> None:
        """One clip as it is, several as a sheet that moves, enlarged to be seen; in MP4, which loses what is finer than
        some pixels, one clip is enlarged, too."""
        self.check_file(path, len(rows))
        frames = self.split(rows)
        sheets = [frames[0, n] if len(rows) == 1 else grid(enlarge(frames[:, n], 56)) for n in range(self.frames)]
        if path.suffix.lower() == self.suffix:
            write_webp(path, sheets, [float(round(1000 / self.rate))] * self.frames, made_by)
            return
        colours = enlarge(np.stack(sheets), 224).repeat(3 // sheets[0].shape[2], 3)
        with writing(path), atomic_file(path) as partial:
            video.write_mp4(partial, list(colours), self.rate)
            if made_by is not None:
                marks.add_to_mp4(partial, made_by)


def write_webp(
    path: Path,
    frames: Sequence[Pixels],
    durations: Sequence[float],
    made_by: dict[str, Any] | None,
    mark: str = "generated",
) -> None:
    """Frames (H, W, C), each shown for so many milliseconds, as a looping lossless WebP; written beside its place and
    renamed. `made_by` marks it as `generated` or `restored`. DataError."""
    options: dict[str, Any] = {} if made_by is None else {"xmp": marks.packet(made_by, mark).encode()}
    first, *rest = (as_image(frame) for frame in frames)
    with writing(path), atomic_file(path) as partial:
        first.save(
            partial, "WEBP", save_all=True, append_images=rest, loop=0, duration=list(durations), lossless=True,
            minimize_size=False, allow_mixed=False, kmin=0, **options,
        )  # fmt: skip


# ------------------------------------------------------------------------------------------------------ files -> frames


def probe(data: bytes) -> AnimationHeader:
    """Frames, size and rate of an animation or a video; Unusable where it is none that can be read. The rate is that of
    an animation's first frame, RATE where the file does not say."""
    if video.is_video(data):
        return video.probe(data, RATE)
    with _opened(data) as image:
        return _header(image)


def frames(data: bytes, rate: float) -> Iterator[Pixels]:
    """What an animation or a video shows at `rate` moments a second: (H, W, 4) uint8, RGBA, one after the other.

    A frame that is shown for longer comes several times, one that is shown for less than half a moment may not come at
    all. A still picture comes once. Unusable where the file is damaged or over the limits."""
    still = probe(data).frames == 1
    milliseconds, shown = 0.0, 0
    for frame, duration in _stored(data):
        milliseconds += duration
        until = 1 if still else _nearest(milliseconds * rate / 1000)
        _check_count(until)
        for _ in range(shown, until):
            yield frame
        shown = max(shown, until)


def all_frames(data: bytes) -> tuple[list[Pixels], list[float]]:
    """All frames of an animation or a video, (H, W, 4) uint8, RGBA, and for how many milliseconds each is shown.

    A frame that is shown n times as long as the shortest one comes n times: writers of WebP and GIF join equal
    frames. Unusable where the file is damaged or over the limits."""
    stored: list[tuple[Pixels, float]] = []
    pixels = 0
    for frame, duration in _stored(data):
        stored.append((frame, duration))
        pixels += frame.shape[0] * frame.shape[1]
        if pixels > MOST_IN_ALL:  # of a video, whose frames are not all kept elsewhere
            raise Unusable(f"over the limit of {MOST_IN_ALL:,} pixels in all frames")
    shortest = min(duration for _, duration in stored)
    frames: list[Pixels] = []
    durations: list[float] = []
    for frame, duration in stored:
        times = _nearest(duration / shortest)
        _check_count(len(frames) + times)
        frames += [frame] * times
        durations += [duration / times] * times
    return frames, durations


def laid(frame: Pixels, background: tuple[int, int, int], channels: int) -> Pixels:
    """A frame (H, W, 4) laid over the background, in grey or RGB: (H, W, channels)."""
    image = Image.fromarray(frame)
    opaque = Image.alpha_composite(Image.new("RGBA", image.size, (*background, 255)), image).convert("RGB")
    return np.asarray(opaque.convert(MODES[channels])).reshape(*frame.shape[:2], channels)


def _stored(data: bytes) -> Iterator[tuple[Pixels, float]]:
    """The frames as the file holds them, (H, W, 4) uint8, RGBA, and the milliseconds of each."""
    if video.is_video(data):
        yield from video.stored(data, RATE)
        return
    with _opened(data) as image:
        for number in range(_header(image).frames):
            try:
                image.seek(number)
                frame = np.asarray(image.convert("RGBA"))
                duration = float(image.info.get("duration") or 0) or 1000 / RATE
            except Exception as error:  # Pillow's plugins raise whatever damaged bytes lead them to
                raise Unusable(f"cut short or damaged: frame {number}: {_first_line(error)}") from error
            yield frame, duration


def _nearest(number: float) -> int:
    """Rounded, halves always up: `round` goes to the even one, and every other frame would come too early."""
    return math.floor(number + 0.5)


def _check_count(count: int) -> None:
    if count > MOST_FRAMES:
        raise Unusable(f"over the limit of {MOST_FRAMES:,} frames, counted by how long each is shown")


@contextlib.contextmanager
def _opened(data: bytes) -> Iterator[Image.Image]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            image = Image.open(io.BytesIO(data), formats=("GIF", "WEBP", "PNG"))
        except UnidentifiedImageError:
            raise Unusable("not a GIF, WebP, PNG or video that can be read") from None
        except Exception as error:
            raise Unusable(f"damaged: {_first_line(error)}") from error
        with image:
            yield image


def _header(image: Image.Image) -> AnimationHeader:
    width, height = image.size
    try:
        count = int(getattr(image, "n_frames", 1))
        size = width * height
        if count <= MOST_FRAMES and size <= MOST_PIXELS and count * size <= MOST_IN_ALL:
            image.load()  # a WebP knows the duration of a frame when it has been decoded
            milliseconds = float(image.info.get("duration") or 0)
            return AnimationHeader(count, height, width, round(1000 / milliseconds, 3) if milliseconds else RATE)
    except Exception as error:
        raise Unusable(f"damaged: {_first_line(error)}") from error
    raise Unusable(
        f"{count:,} frames of {width:,} x {height:,} pixels, over the limits of {MOST_FRAMES:,} frames, "
        f"{MOST_PIXELS:,} pixels a frame and {MOST_IN_ALL:,} in all"
    )


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
