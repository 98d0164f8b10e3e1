"""Video files, by PyAV (the extra `video`): their frames with the time that each is shown, and MP4 files of frames."""

from __future__ import annotations

import importlib.util
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from ganforge.base.errors import InputError
from ganforge.base.files import suffix_of
from ganforge.base.images import Pixels
from ganforge.media.medium import Unusable

SUFFIXES = frozenset((".mp4", ".m4v", ".mov", ".webm", ".mkv", ".avi"))
MOST_FRAMES, MOST_PIXELS, MOST_IN_ALL = 100_000, 16_000_000, 1 << 36
"""Frames that a file may have, pixels that one of them may have, and all of them together."""
NEEDS = 'pip install "ganforge[video]"'
_KINDS = (
    (re.compile(rb"\x1a\x45\xdf\xa3"), "matroska"),
    (re.compile(rb"RIFF....AVI ", re.DOTALL), "avi"),
    (re.compile(rb"....(?:ftyp(?!avi[fs]|mif1|msf1|he[iv])|moov|mdat|wide|free|skip)", re.DOTALL), "mov"),
)
"""First bytes, and the one demuxer of FFmpeg that is tried: others may open more files than the one that they are
given."""
_SHARE, _FRAMES = 0.05, 2.5
"""What may be missing of the length that a file announces, as a share of it or in frames; else it was cut short."""


@dataclass(frozen=True)
class AnimationHeader:
    """What a file of several frames says of itself."""

    frames: int
    """0 where it does not say."""
    height: int
    width: int
    rate: float
    """Frames a second."""


def missing(name: str) -> str:
    """Why a video of this name cannot be read here; "" where it can."""
    return "" if importlib.util.find_spec("av") else f"{suffix_of(name)} needs {NEEDS}"


def is_video(data: bytes) -> bool:
    """Whether the first bytes are those of a video file."""
    return _kind(data) is not None


def _kind(data: bytes) -> str | None:
    return next((kind for pattern, kind in _KINDS if pattern.match(data)), None)


def probe(data: bytes, unknown: float) -> AnimationHeader:
    """Frames, size and rate of a video, `unknown` where it does not say the rate. Unusable where it cannot be read or
    is over the limits."""
    with _opened(data) as container:
        stream = container.streams.video[0]
        rate = stream.average_rate or stream.guessed_rate
        rate = float(rate) if rate else unknown
        count = stream.frames or round(_seconds(container, stream) * rate)
        _check(count, stream.width, stream.height)
        return AnimationHeader(count, stream.height, stream.width, round(rate, 3))


def stored(data: bytes, unknown: float) -> Iterator[tuple[Pixels, float]]:
    """The frames of a video, upright, (H, W, 4) uint8, RGBA, and for how many milliseconds each is shown. Unusable
    where it is damaged, cut short or over the limits."""
    with _opened(data) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        step = 1 / float(stream.average_rate or unknown)
        waiting: tuple[Pixels, float] | None = None
        start, seconds = 0.0, 0.0
        for count, frame in enumerate(_decoded(container, stream), 1):
            _check(count, frame.width, frame.height)
            if frame.time is not None:
                seconds = max(seconds, frame.time)
            if waiting is None:
                start = seconds
            else:
                yield waiting[0], 1000 * (seconds - waiting[1])
            waiting = _upright(frame), seconds
            seconds += step
        if waiting is None:
            raise Unusable("cut short or damaged: a video without frames")
        length = _seconds(container, stream)
        if length - (seconds - start) > max(_SHARE * length, _FRAMES * step):
            raise Unusable(f"cut short: {seconds - start:.1f} of {length:.1f} seconds")
        yield waiting[0], 1000 * step


def _seconds(container: Any, stream: Any) -> float:
    """The length that the file announces; 0 where it does not say."""
    if stream.duration:
        return float(stream.duration * stream.time_base)
    return container.duration / 1e6 if container.duration and len(container.streams) == 1 else 0.0


def _decoded(container: Any, stream: Any) -> Iterator[Any]:
    import av

    try:
        for packet in container.demux(stream):
            if packet.is_corrupt:
                raise Unusable("cut short or damaged")
            yield from packet.decode()
    except Unusable:
        raise
    except (av.FFmpegError, ValueError, MemoryError) as error:
        raise Unusable(f"cut short or damaged: {_reason(error)}") from error


def _upright(frame: Any) -> Pixels:
    """(H, W, 4) uint8, turned as the file says."""
    rgb = frame.to_ndarray(format="rgba")
    return np.ascontiguousarray(np.rot90(rgb, round(frame.rotation / 90)))


def _opened(data: bytes) -> Any:
    """An open container with a video stream that can be decoded."""
    try:
        import av
    except ImportError:
        raise Unusable(f"a video needs {NEEDS}") from None
    try:
        container = av.open(io.BytesIO(data), format=_kind(data), metadata_errors="replace")
    except (av.FFmpegError, ValueError, MemoryError) as error:
        raise Unusable(f"damaged, or no video that can be read: {_reason(error)}") from error
    if not container.streams.video or not container.streams.video[0].codec_context:
        container.close()
        raise Unusable("damaged, without pictures, or in a codec that cannot be read")
    return container


def _check(count: int, width: int, height: int) -> None:
    size = width * height
    if not size:
        raise Unusable("damaged: frames without pixels")
    if count > MOST_FRAMES or size > MOST_PIXELS or count * size > MOST_IN_ALL:
        raise Unusable(
            f"{count:,} frames of {width:,} x {height:,} pixels, over the limits of {MOST_FRAMES:,} frames, "
            f"{MOST_PIXELS:,} pixels a frame and {MOST_IN_ALL:,} in all"
        )


def _reason(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def write_mp4(path: Path, frames: Sequence[Pixels], rate: float) -> None:
    """Write frames (H, W, 3) uint8 of one size as H.264 in MP4, at `rate` frames a second; an odd side gets one more
    row or column. InputError where PyAV is not installed, OSError where it cannot be written."""
    try:
        import av
    except ImportError:
        raise InputError(f"MP4 needs an encoder: {NEEDS}, or let the name end in .webp.") from None
    height, width = (side + side % 2 for side in frames[0].shape[:2])
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", Fraction(rate).limit_denominator(1001), options={"crf": "15"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.thread_count = 1
        for frame in frames:
            even = np.pad(frame, ((0, height - frame.shape[0]), (0, width - frame.shape[1]), (0, 0)), "edge")
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(even), format="rgb24")))
        container.mux(stream.encode())
