"""A folder, a zip or a collected set -> a store: one shape, one colour mode, split, hashed."""

from __future__ import annotations

import hashlib
import os
import statistics
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from ganforge.data.decode import decode, fit_channels, probe
from ganforge.data.sources import EXTENSIONS, Entry, Skip, Source, open_source
from ganforge.data.store import Meta, Store, Writer
from ganforge.data.transform import FITS, fit
from ganforge.device import keep_memory
from ganforge.errors import DataError, InputError, StoreError, did_you_mean
from ganforge.images import ImageSpec, Pixels

SMALLEST, LARGEST = 8, 1024
FEWEST = 8
PROBED = 256
CHUNK = 32
RUN_BYTES = 4 << 20
RESIZE = "torch bicubic, antialiased"


@dataclass(frozen=True)
class Prepared:
    """What `prepare` made, and of what."""

    store: Store
    skipped: list[tuple[str, str]]
    """(file, reason), the first thousand."""
    skipped_count: int
    notes: list[str]
    """Sentences that the user should read."""


@dataclass(frozen=True)
class _Plan:
    spec: ImageSpec
    fit: str
    background: tuple[int, int, int]
    heldout: float

    @cached_property
    def fill(self) -> tuple[int, ...]:
        """The background in the store's channels."""
        if self.spec.channels == 4:
            return (*self.background, 0)
        pixel = np.array([[self.background]], np.uint8)
        return tuple(int(v) for v in fit_channels(pixel, self.spec.channels)[0, 0])


def prepare(
    source: str | Path,
    out: str | Path | None = None,
    *,
    resolution: str | int | None = None,
    channels: int | None = None,
    fit: str = "crop",
    background: str = "white",
    labels: str | Path | None = None,
    heldout: float = 0.1,
    progress: Callable[[int], None] | None = None,
) -> Prepared:
    """Make a store of every picture in `source` that can be read; the others are named with a reason and left out.

    `resolution` is 64 or "48x64" (height x width); without it the pictures' own where they agree, else 32, 64 or 128
    after the median. `channels` is 1, 3 or 4; without it 1 where all are grey, else 3, transparency laid over
    `background`. A share `heldout` is kept from training, chosen by a hash of the stored pixels, so that equal pictures
    are on the same side; where the source brings its own split, that one stands. `progress` is told how many were looked at.
    """
    path = Path(source)
    opened = open_source(path, Path(labels) if labels else None)
    out = Path(out) if out else Path("stores") / opened.name
    if out.exists():
        raise StoreError(f"{out} exists already. Choose another name with --out, or remove it first.")
    if fit not in FITS:
        raise InputError(f"There is no way to fit called {fit!r}.{did_you_mean(fit, FITS)}")
    if not 0 <= heldout < 1:
        raise InputError(f"heldout is {heldout}; it takes a share from 0 to less than 1.")
    plan, notes = _make_plan(opened, resolution, channels, fit, background, heldout)
    recipe = {
        "source": str(path.resolve()), "fit": fit, "background": list(plan.background), "heldout": heldout,
        "resize": RESIZE, "torch": torch.__version__,
    }  # fmt: skip
    skipped: list[tuple[str, str]] = []
    reasons: Counter[str] = Counter()
    counts = Counter[str]()
    keep_memory()
    threads, before = os.cpu_count() or 1, torch.get_num_threads()
    with Writer(out, plan.spec, recipe) as writer:
        torch.set_num_threads(1)  # the pictures are shared out among threads; within one, more threads only wait
        try:
            heldout_hashes: set[bytes] = set()
            for pictures, metas in _converted(opened.entries(), plan, threads):
                pictures, metas = _keep_apart(pictures, metas, heldout_hashes)
                writer.add(pictures, metas)
                if progress:
                    progress(counts.total() + len(metas))
                for meta in metas:
                    counts[(meta.dropped and "dropped") or str(meta.split)] += 1
                    if meta.dropped:
                        reasons[meta.dropped.split(":")[0]] += 1
                        if len(skipped) < 1000:
                            skipped.append((meta.file, meta.dropped))
        finally:
            torch.set_num_threads(before)
        usable = counts["train"] + counts["heldout"]
        if usable < FEWEST:
            why = "; ".join(f"{file}: {reason}" for file, reason in skipped[:3])
            raise DataError(
                f"{path} has {usable} usable {'picture' if usable == 1 else 'pictures'}; at least {FEWEST} are needed."
                + (f" Left out: {why}." if why else " Is this the right folder?")
            )
    if plan.spec.classes:
        more = "…" if len(plan.spec.classes) > 12 else ""
        notes.append(f"classes: {', '.join(plan.spec.classes[:12])}{more}")
    return Prepared(Store(out), skipped, counts["dropped"], notes)


def _keep_apart(pictures: list[Pixels], metas: list[Meta], heldout: set[bytes]) -> tuple[list[Pixels], list[Meta]]:
    """Drop a training picture that the source's own held-out part, which comes first, has as well."""
    kept, rest = [], iter(pictures)
    for meta in metas:
        if meta.dropped is not None:
            continue
        picture = next(rest)
        if meta.split == "heldout-by-source":
            heldout.add(meta.pixels_sha256)
            meta.split = "heldout"
        elif meta.pixels_sha256 in heldout:
            meta.split, meta.dropped = None, "equal to a held-out picture"
            continue
        kept.append(picture)
    return kept, metas


# ------------------------------------------------------------------------------------------------------------- the plan


def _make_plan(
    source: Source, resolution: str | int | None, channels: int | None, how: str, background: str, heldout: float
) -> tuple[_Plan, list[str]]:
    """Look at the first few headers and decide what was not said."""
    sizes: list[tuple[int, int]] = []
    coloured = transparent = 0
    for entry in _spread(source):
        try:
            data = entry.read()
            if isinstance(data, bytes):
                height, width, colour, alpha = probe(data)
            else:
                height, width, colour, alpha = *data.shape[:2], data.shape[2] >= 3, data.shape[2] == 4
        except Skip:
            continue
        sizes.append((height, width))
        coloured, transparent = coloured + colour, transparent + alpha
    notes = []
    if channels is None:
        channels = 3 if coloured else 1
        if transparent:
            notes.append(
                f"{transparent} of {len(sizes)} pictures looked at have transparency, laid over {background}; --channels 4 keeps it"
            )
    if channels not in (1, 3, 4):
        raise InputError(f"channels is {channels}; it takes 1 (grey), 3 (RGB) or 4 (RGBA).")
    if resolution is None:
        height, width = _propose(sizes)
        notes.append(f"resolution {height}x{width}; --resolution sets it")
    else:
        height, width = parse_resolution(resolution)
    return _Plan(ImageSpec(height, width, channels, source.classes), how, _color(background), heldout), notes


def _spread(source: Source) -> Iterator[Entry]:
    """Up to PROBED entries."""
    return islice((entry for entry in source.entries() if _is_picture(entry)), PROBED)


def _is_picture(entry: Entry) -> bool:
    """By its suffix; pictures out of a binary file have none."""
    suffix = os.path.splitext(entry.name)[1].lower()  # noqa: PTH122 (a Path costs more than the rest of this)
    return not suffix or suffix in EXTENSIONS


def _propose(sizes: list[tuple[int, int]]) -> tuple[int, int]:
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


def _color(text: str) -> tuple[int, int, int]:
    from PIL import ImageColor

    try:
        return ImageColor.getrgb(text)[:3]
    except ValueError:
        raise InputError(f"The background {text!r} is no colour; it takes a name such as white, or #rrggbb.") from None


# ------------------------------------------------------------------------------------------------------- the conversion


def _converted(entries: Iterator[Entry], plan: _Plan, threads: int) -> Iterator[tuple[list[Pixels], list[Meta]]]:
    """Chunks in the source's order, a bounded number of them under way at once, so that memory stays flat."""
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future[tuple[list[Pixels], list[Meta]]]] = deque()
        try:
            while chunk := list(islice(entries, CHUNK)):
                waiting.append(pool.submit(_convert_chunk, chunk, plan))
                if len(waiting) > 4 * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _convert_chunk(chunk: list[Entry], plan: _Plan) -> tuple[list[Pixels], list[Meta]]:
    """Pictures of one size that follow each other are fitted together: small ones cost more in calls than in pixels."""
    pictures: list[Pixels] = []
    metas: list[Meta] = []
    run: list[tuple[Pixels, Meta]] = []
    for entry in chunk:
        meta = Meta(entry.name, entry.label)
        metas.append(meta)
        try:
            pixels = _decode(entry, meta, plan)
        except Skip as skip:
            meta.dropped = str(skip)
            continue
        if run and (run[0][0].shape != pixels.shape or len(run) * pixels.nbytes > RUN_BYTES):
            pictures += _fit(run, plan)
            run = []
        run.append((pixels, meta))
        meta.split = {"heldout": "heldout-by-source"}.get(entry.split or "", entry.split)
    return (pictures + _fit(run, plan) if run else pictures), metas


def _decode(entry: Entry, meta: Meta, plan: _Plan) -> Pixels:
    """One picture in the store's channels and its own size; fills in its row. Raises Skip."""
    spec = plan.spec
    if not _is_picture(entry):
        raise Skip(f"not a picture: {Path(entry.name).suffix} file")
    if spec.classes and entry.label is None:
        raise Skip("no label")
    data = entry.read()
    if isinstance(data, bytes):
        meta.sha256 = hashlib.sha256(data).digest()
        pixels, (meta.height, meta.width) = decode(data, spec.channels, plan.background, max(spec.height, spec.width))
        return pixels
    meta.height, meta.width = data.shape[:2]
    meta.sha256 = hashlib.sha256(np.ascontiguousarray(data).data).digest()
    return fit_channels(data, spec.channels)


def _fit(run: list[tuple[Pixels, Meta]], plan: _Plan) -> list[Pixels]:
    """Pictures of one size to the store's, and each one's side of the split."""
    spec = plan.spec
    pictures = list(fit(np.stack([pixels for pixels, _ in run]), spec.height, spec.width, plan.fit, plan.fill))
    for picture, (_, meta) in zip(pictures, run, strict=True):
        meta.pixels_sha256 = hashlib.sha256(np.ascontiguousarray(picture).data).digest()
        share = int.from_bytes(meta.pixels_sha256[:8], "big") / 2**64
        meta.split = meta.split or ("heldout" if share < plan.heldout else "train")
    return pictures
