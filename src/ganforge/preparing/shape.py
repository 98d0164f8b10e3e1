"""The shape of a store: height, width, channels and levels, as set or as the pictures themselves suggest."""

from __future__ import annotations

import statistics

from ganforge.base.errors import InputError
from ganforge.media.spec import LARGEST, Spec
from ganforge.sources import survey
from ganforge.sources.decode import PictureHeader, probe, span
from ganforge.sources.depth import Levels, Span
from ganforge.sources.entry import Skip, Source

SMALLEST = 8


def choose(
    source: Source, resolution: str | int | None, channels: int | None, background: str, levels: str
) -> tuple[Spec, Levels, list[str]]:
    """Look at the headers of some pictures and decide what is not set; also what the user should know of that."""
    headers: list[PictureHeader] = []
    spans: list[Span | None] = []
    for entry in survey.sample(source):
        try:
            data = entry.read()
            if isinstance(data, bytes):
                headers.append(probe(data))
                spans.append(span(data))
            else:
                height, width, own = data.shape
                headers.append(PictureHeader(height, width, own >= 3, own == 4, False))
        except Skip:
            continue
    notes: list[str] = []
    looked = f"of {len(headers):,} pictures looked at"
    coloured, transparent = sum(h.coloured for h in headers), sum(h.transparent for h in headers)
    if channels is None:
        channels = 3 if coloured else 1
        if 0 < coloured < len(headers):
            notes.append(
                f"{len(headers) - coloured:,} {looked} are grey, {coloured:,} in colour: all become RGB; "
                "--channels 1 greys them"
            )
    elif channels == 1 and coloured:
        notes.append(f"{coloured:,} {looked} are in colour, greyed by --channels 1")
    if transparent and channels in (1, 3):
        notes.append(f"{transparent:,} {looked} have transparency, laid over {background}; --channels 4 keeps it")
    if animated := sum(h.animated for h in headers):
        notes.append(
            f"{animated:,} {looked} are animations, of which the first frame is taken; --medium clip takes all"
        )
    if profiles := sum(h.profile for h in headers):
        notes.append(f"{profiles:,} {looked} have another colour profile than sRGB and are converted to sRGB")
    if channels not in (1, 3, 4):
        raise InputError(f"channels is {channels}; it takes 1 (grey), 3 (RGB) or 4 (RGBA).")
    chosen, note = survey.levels(levels, source, spans)
    notes += [f"{note}; --levels sets it"] if note else []
    if resolution is None:
        height, width = propose([(h.height, h.width) for h in headers])
        notes.append(f"resolution {height}x{width}; --resolution sets it")
    else:
        height, width = parse_resolution(resolution)
    return Spec(height, width, channels, source.classes), chosen, notes


def propose(sizes: list[tuple[int, int]]) -> tuple[int, int]:
    """The height and width that suit pictures of these sizes: their own where they agree and are moderate, else a
    square by their median side."""
    if not sizes:
        return 64, 64
    if len(set(sizes)) == 1 and min(sizes[0]) >= SMALLEST and max(sizes[0]) <= 256:
        return sizes[0]
    median = statistics.median(min(size) for size in sizes)
    side = max((side for side in (32, 64, 128) if side <= median), default=32)
    return side, side


def parse_resolution(text: str | int) -> tuple[int, int]:
    """64 -> (64, 64); "48x64" -> (48, 64), height first. InputError outside SMALLEST..LARGEST."""
    try:
        sides = [int(side) for side in str(text).lower().split("x")]
        height, width = sides if len(sides) == 2 else (*sides, *sides)
    except ValueError:
        raise InputError(
            f"The resolution {text!r} is not understood; it takes 64, or 48x64 (height x width)."
        ) from None
    if not (SMALLEST <= height <= LARGEST and SMALLEST <= width <= LARGEST):
        raise InputError(f"The resolution {height}x{width} is out of range; sides go from {SMALLEST} to {LARGEST}.")
    return height, width


def parse_color(text: str) -> tuple[int, int, int]:
    """Red, green and blue of a name or of `#rrggbb`. InputError where it is no colour."""
    from PIL import ImageColor

    try:
        return ImageColor.getrgb(text)[:3]
    except ValueError:
        raise InputError(f"The background {text!r} is no colour; it takes a name such as white, or #rrggbb.") from None
