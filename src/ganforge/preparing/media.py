"""Sounds, clips and solids: the shape of their rows, as asked or as the files suggest, and the rows of one file."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from statistics import quantiles
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ganforge.base.errors import DataError, InputError
from ganforge.base.images import Pixels
from ganforge.media import clip, voxels, waves
from ganforge.media.clip import Clip
from ganforge.media.medium import Unusable
from ganforge.media.solid import SIDES, Solid
from ganforge.media.sound import Sound
from ganforge.media.spec import LARGEST, Spec
from ganforge.preparing.parts import Meta
from ganforge.preparing.settings import Settings
from ganforge.preparing.shape import parse_resolution, propose
from ganforge.sources import survey
from ganforge.sources.decode import decode_frames, probe
from ganforge.sources.entry import Entry, Skip, Source, clip_refusal
from ganforge.sources.transform import fit
from ganforge.store.store import Store

if TYPE_CHECKING:
    from ganforge.preparing.convert import Plan

BANDS = 64
MOST_RATE = 16_000
"""Samples a second that a set of sounds has at most, unless more are asked for."""
MOST_FRAMES = 256
"""Frames of a row of sound at most, unless more are asked for."""
LOOKED_AT = 64
"""Frames of an animation that are looked at for colours."""
NEUTRAL = 8
"""Levels between the channels of a grey that some writers leave."""
FRAMES = 16
"""Frames of a clip at most, unless more are asked for."""
SIDE, MOST_SIDE = 32, 64
"""Voxels a side of a solid where meshes are read, and at most, unless more are asked for."""


_OF_TEXTS = ("length", "alphabet", "column")
_WITHOUT_EFFECT = {
    "picture": ("rate", "seconds", "frames", "stride", *_OF_TEXTS),
    "sound": ("channels", "fit", "background", "levels", "frames", "stride", *_OF_TEXTS),
    "clip": ("levels", "seconds", *_OF_TEXTS),
    "pair": ("rate", "seconds", "frames", "stride", *_OF_TEXTS),
    "solid": ("channels", "fit", "background", "levels", "rate", "seconds", "frames", "stride", *_OF_TEXTS),
    "text": (
        *("resolution", "channels", "fit", "background", "levels", "normalise", "rate", "seconds", "frames"),
        *("audit", "drop", "keep"),
    ),
}


def check_settings(medium: str, settings: Settings) -> None:
    """InputError for a setting that has no effect on files of this medium."""
    usual = Settings()
    for name in _WITHOUT_EFFECT[medium]:
        if getattr(settings, name) != getattr(usual, name):
            raise InputError(
                f"--{name} has no effect on files that are read as {medium}s. Leave it out, or see --medium."
            )
    if medium != "picture" and settings.normalise == "image":
        raise InputError(f"--normalise image is for pictures, and these files are read as {medium}s. Leave it out.")


def choose_sound(source: Source, settings: Settings) -> tuple[Spec, list[str]]:
    """The spec of a set of sounds, and what the user should know. InputError where what is asked for is out of range or
    says two things, DataError where none of the files looked at can be read."""
    resolution, rate, seconds = settings.resolution, settings.rate, settings.seconds
    headers = []
    problem = "none is there"
    for entry in survey.sample(source):
        try:
            data = entry.read()
            headers.append(waves.probe(data if isinstance(data, bytes) else b""))
        except (Skip, Unusable) as error:
            problem = str(error)
    if not headers:
        problem = _refused(source) or problem
        raise DataError(f"{source.name} holds no sounds that can be read: {problem}.")
    commonest = Counter(header.rate for header in headers).most_common(1)[0][0]
    if rate is not None and (rate != int(rate) or not waves.RATES[0] <= rate <= waves.RATES[1]):
        raise InputError(
            f"rate is {rate:g}; of sounds it takes a whole number from {waves.RATES[0]:,} to {waves.RATES[1]:,} Hz."
        )
    sound = Sound.of_rate(int(rate) if rate is not None else min(commonest, MOST_RATE))
    if resolution is not None and seconds is not None:
        raise InputError("--resolution BANDSxFRAMES and --seconds are two lengths of a row; say one of them.")
    if resolution is not None:
        bands, width = parse_resolution(resolution)
    else:
        lengths = [header.seconds for header in headers]
        usual = quantiles(lengths, n=20)[-1] if len(lengths) > 1 else lengths[0]
        bands, width = BANDS, sound.width(usual if seconds is None else seconds)
        width = min(width, MOST_FRAMES) if seconds is None else width
        if width > LARGEST:
            most = sound.seconds(LARGEST)
            raise InputError(f"seconds is {seconds:g}; at {sound.rate:,} Hz it takes at most {most:.1f}.")
    long = sum(header.samples / header.rate > sound.seconds(width) for header in headers)
    note = (
        f"rows of {sound.seconds(width):.3g} s; {long:,} of {len(headers):,} sounds looked at are longer and are left "
        "out; --seconds sets it"
    )
    return Spec(bands, width, 1, source.classes, medium=sound), [note]


def resampled(store: Store, rate: int) -> list[str]:
    """What the user should know of the sounds in a store that had another rate than `rate`."""
    rows = pq.read_table(store.path / "meta.parquet", columns=["row", "height"])
    own = Counter(rows["height"].filter(pc.greater_equal(rows["row"], 0)).to_pylist())
    others = [f"{count:,} of {own_rate:,} Hz" for own_rate, count in sorted(own.items()) if own_rate != rate]
    return [f"resampled to {rate:,} Hz: {', '.join(others)}; --rate sets it"] if others else []


def choose_clip(source: Source, settings: Settings) -> tuple[Spec, list[str]]:
    """The spec of a set of clips, and what the user should know; `channels` are those of a frame. InputError where what
    is asked for is out of range, DataError where none of the files looked at can be read."""
    rate, channels, resolution = settings.rate, settings.channels, settings.resolution
    if rate is not None and rate > 1000:
        raise InputError(f"rate is {rate:g}; of clips it takes at most 1,000 frames a second.")
    if channels == 4:
        raise InputError(f"channels is {channels}; a frame of a clip takes 1 (grey) or 3 (RGB).")
    sizes, rates, lengths, coloured, problem = [], [], [], 0, "none is there"
    for entry in survey.sample(source):
        try:
            data = entry.frames[0]() if entry.frames else entry.read()
            if not isinstance(data, bytes):
                raise Skip("not a clip")
            if entry.frames:
                still = probe(data)
                size, own_rate, colours = (still.height, still.width), clip.RATE, still.coloured
                length = len(entry.frames)
            else:
                animation = clip.probe(data)
                size, own_rate = (animation.height, animation.width), animation.rate
                looks = [_has_colours(frame) for frame in islice(clip.frames(data, own_rate), LOOKED_AT)]
                colours, length = any(looks), max(animation.frames, len(looks))
        except (Skip, Unusable) as error:
            problem = str(error)
            continue
        sizes.append(size)
        rates.append(own_rate)
        lengths.append((length, None if entry.frames else own_rate))
        coloured += colours
    if not sizes:
        problem = _refused(source) or problem
        raise DataError(f"{source.name} holds no clips that can be read: {problem}.")
    notes: list[str] = []
    commonest = Counter(rates).most_common(1)[0][0] if rate is None else rate
    if others := sum(own_rate != commonest for own_rate in rates):
        notes.append(
            f"{others:,} of {len(rates):,} clips looked at have another rate than {commonest:g} frames a second; "
            "--rate sets it"
        )
    if channels is None:
        channels = 3 if coloured else 1
    if resolution is None:
        height, width = propose(sizes)
        notes.append(f"resolution {height}x{width}; --resolution sets it")
    else:
        height, width = parse_resolution(resolution)
    count = _usual(lengths, commonest) if settings.frames is None else settings.frames
    medium = Clip(count, float(commonest))
    notes.append(f"clips of {count} frames at {commonest:g} a second; --frames and --rate set it")
    return Spec(height, width, count * channels, source.classes, medium=medium), notes


def _refused(source: Source) -> str:
    """Why the first of the files that are not tried is not."""
    return next(filter(None, map(source.refusal, source.entries())), "")


def _usual(lengths: Sequence[tuple[int, float | None]], rate: float) -> int:
    """Frames that 95 % of what moves has, at most FRAMES. `lengths` are frames of files, with the frames a second of
    those that have a rate of their own and are shown at another."""
    moving = [(length, own_rate) for length, own_rate in lengths if length > 1]
    counts = sorted(length if own_rate is None else round(length * rate / own_rate) for length, own_rate in moving)
    return max(clip.FRAMES[0], min(FRAMES, counts[len(counts) // 20])) if counts else FRAMES


def _has_colours(frame: Pixels) -> bool:
    return bool(np.ptp(frame[..., :3], 2).max(initial=0) > NEUTRAL)


def choose_solid(source: Source, settings: Settings) -> tuple[Spec, list[str]]:
    """The spec of a set of solids, and what the user should know. InputError where what is asked for is out of range,
    DataError where none of the files looked at can be read."""
    longest, problem = [], "none is there"
    for entry in survey.sample(source):
        try:
            longest.append(max(voxels.probe(_bytes(entry, "solid"), entry.name).sides))
        except (Skip, Unusable) as error:
            problem = str(error)
    if not longest:
        raise DataError(f"{source.name} holds no solids that can be read: {problem}.")
    if settings.resolution is not None:
        height, width = parse_resolution(settings.resolution)
        if height != width or not SIDES[0] <= height <= SIDES[1]:
            raise InputError(
                f"resolution is {settings.resolution}; of solids it takes the side of a cube, {SIDES[0]} to {SIDES[1]}."
            )
        return Spec(height, height, height, source.classes, medium=Solid()), []
    usual = Counter(longest).most_common(1)[0][0]
    side = min(max(usual, SIDES[0]), MOST_SIDE) if usual else SIDE
    notes = [f"resolution {side}; --resolution sets it"]
    if others := sum(0 < own != side for own in longest):
        notes.append(f"{others:,} of {len(longest):,} solids looked at have another longest side and are scaled")
    return Spec(side, side, side, source.classes, medium=Solid()), notes


def rows(entry: Entry, plan: Plan) -> Iterator[tuple[Pixels, Meta]]:
    """The rows of one file, and what `meta.parquet` says of each. Skip or Unusable where it cannot be used."""
    spec = plan.spec
    plan.check_label(entry)
    if isinstance(spec.medium, Sound):
        yield _sound(entry, spec, spec.medium)
    elif isinstance(spec.medium, Clip):
        yield from _clips(entry, plan, spec.medium)
    elif isinstance(spec.medium, Solid):
        yield from _solids(entry, spec)


def _bytes(entry: Entry, kind: str) -> bytes:
    data = entry.read()
    if not isinstance(data, bytes):
        raise Skip(f"not a {kind}")
    return data


def _sound(entry: Entry, spec: Spec, sound: Sound) -> tuple[Pixels, Meta]:
    """Of a sound, `height` and `width` in its row are its rate and its samples."""
    if reason := waves.missing(entry.name):
        raise Skip(reason)
    data = _bytes(entry, "sound")
    wave, header = waves.read(data, sound.rate, sound.samples(spec.width), sound.window)
    row = sound.row(wave, spec.height, spec.width)
    meta = Meta(
        entry.name, entry.label, entry.split, header.rate, header.samples, hashlib.sha256(data).digest(),
        hashlib.sha256(row.data).digest(), origin=entry.origin,
    )  # fmt: skip
    return row, meta


def _clips(entry: Entry, plan: Plan, medium: Clip) -> Iterator[tuple[Pixels, Meta]]:
    """Every clip of a file or of a folder of frames, named by its first frame: NAME#0, NAME#16."""
    digest = hashlib.sha256()
    if not entry.frames and (reason := clip_refusal(entry.name)):
        raise Skip(reason)
    frames: list[Pixels] = []
    size = 0, 0
    for frame in _frames(entry, plan, medium, digest):
        size = frame.shape[0], frame.shape[1]
        flat = clip.laid(frame, plan.background, plan.spec.channels // medium.frames)
        frames.append(fit(flat[None], plan.spec.height, plan.spec.width, plan.fit, plan.fill)[0])
    for start in medium.starts(len(frames), plan.stride):
        row = medium.row(frames[start : start + medium.frames])
        yield row, Meta(
            f"{entry.name}#{start}", entry.label, entry.split, *size, digest.digest(),
            hashlib.sha256(row.data).digest(), origin=entry.origin,
        )  # fmt: skip


def _frames(entry: Entry, plan: Plan, medium: Clip, digest: hashlib._Hash) -> Iterator[Pixels]:
    """(H, W, 4) uint8, RGBA."""
    if entry.frames:
        for read, frame in decode_frames(entry, max(plan.spec.height, plan.spec.width)):
            digest.update(read)
            yield frame
        return
    data = _bytes(entry, "clip")
    digest.update(data)
    yield from clip.frames(data, medium.rate)


def _solids(entry: Entry, spec: Spec) -> Iterator[tuple[Pixels, Meta]]:
    """The solids of a file; several are named by their numbers, NAME#0, NAME#1. `height` and `width` in their rows are
    the voxels along x and y, 0 of a mesh."""
    if reason := voxels.missing(entry.name):
        raise Skip(reason)
    data = _bytes(entry, "solid")
    digest, several = hashlib.sha256(data).digest(), voxels.probe(data, entry.name).count > 1
    for number, solid in enumerate(voxels.read(data, entry.name, spec.height)):
        row = np.ascontiguousarray(solid.voxels)
        yield row, Meta(
            f"{entry.name}#{number}" if several else entry.name, entry.label, entry.split, *solid.sides[:2], digest,
            hashlib.sha256(row.data).digest(), origin=entry.origin, remark=solid.remark,
        )  # fmt: skip
