"""Restore pictures: denoise, reconstruct, enlarge, fill or translate them with a system that has `restore`."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch

from ganforge import models
from ganforge.base import marks
from ganforge.base.errors import DataError, InputError, did_you_mean
from ganforge.base.files import resolved, writing
from ganforge.base.images import Pixels, write_image
from ganforge.base.seeds import check_seeds
from ganforge.image_to_image import ImageToImage
from ganforge.media.pair import Pair
from ganforge.metrics.fidelity import WINDOW, psnr, ssim
from ganforge.restoring import masks
from ganforge.restoring.masks import Holes
from ganforge.restoring.tiles import TILE, Restorer
from ganforge.runs import RunFolder, weights_hash
from ganforge.sources import labels, maps, survey
from ganforge.sources.decode import decode_whole, fit_channels
from ganforge.sources.depth import Levels
from ganforge.sources.entry import Entry, Skip, digest, read_file
from ganforge.sources.formats import has_picture_suffix, refusal
from ganforge.sources.source import keep_apart, open_source
from ganforge.sources.transform import resize
from ganforge.system import System

LARGE = 1 << 28
"""Bytes that a picture may have without a look at the free space; a PNG is hardly ever larger than its pixels."""
Scores = tuple[float, ...]


@dataclass
class Restored:
    """The result of `restore`."""

    written: int = 0
    kept: int = 0
    """Number of files that an earlier call with the same weights has written."""
    skipped: list[tuple[str, str]] = field(default_factory=list)
    """(file, reason)."""
    resized: int = 0
    """Number of pictures that were resized to the size of the system and back."""
    scores: dict[str, Scores] = field(default_factory=dict)
    """With a reference: (mean PSNR in dB, mean SSIM) of `before`, `restored` and `median 3x3`, or `bicubic` and
    `restored`."""
    compared: int = 0
    """Number of pictures with a reference."""
    notes: list[str] = field(default_factory=list)
    """Sentences for the user."""

    def compare(self, scores: Mapping[str, Scores]) -> None:
        """Take the scores of one more picture into the means."""
        self.compared += 1
        for name, new in scores.items():
            mean = self.scores.get(name, (0.0, 0.0))
            self.scores[name] = tuple(a + (b - a) / self.compared for a, b in zip(mean, new, strict=True))

    def __str__(self) -> str:
        if not self.scores:
            return ""
        lines = [f"{name:<12} {psnr:8.2f} dB   SSIM {ssim:.4f}" for name, (psnr, ssim) in self.scores.items()]
        return "\n".join(
            [*lines, f"means over {self.compared:,} pictures, in 8 bits; SSIM of Wang et al. 2004, windows of 7x7"]
        )


def restore(
    run: str | Path | RunFolder,
    source: str | Path,
    out: str | Path,
    *,
    reference: str | Path | None = None,
    mask: str | Path | None = None,
    holes: str | None = None,
    strength: float | None = None,
    seeds: Sequence[int] | None = None,
    to: str | None = None,
    device_name: str = "auto",
    progress: Callable[[float], None] | None = None,
) -> Restored:
    """Restore the pictures of a folder, a zip or one file with `run`, and write them as PNG under their own names into
    `out`, so many times larger as the system has `scale`.

    Pictures may have any size: a system of convolutions alone takes them as they are, large ones in overlapping tiles;
    for other systems they are resized to the size of the system and the result is resized back. A system that returns
    what it takes restores a picture in the picture's own channels. Transparency stays as it is, enlarged as a grey
    picture, unless the system has learned it.

    For a system that fills holes: `mask`, a folder or zip of pictures of the same stem and size, white where something
    is missing (for one picture: one mask), or `holes="transparent"`: what is fully transparent is missing. All other
    pixels are written as they were. `strength`, from 0 to 1, is for a system that has one; with `seeds`, a system that
    has several answers writes NAME-seed0007.png for each (without: the answer of seed 0). `to` is the name of the class
    into which a system that translates has to translate.

    `reference` is a folder or zip of the same pictures without noise, in full size, for PSNR and SSIM. Tables of
    labels, licences and authors are copied. Files in `out` with the mark of the same weights and options are kept, so
    that an interrupted call can be repeated. `progress` is called with the number of files done, and parts of one.

    InputError for a system that does not restore, or that cannot use an option, or an `out` inside the source;
    DataError where nothing can be read or written."""
    run = run if isinstance(run, RunFolder) else RunFolder(run)
    source, out = Path(source), Path(out)
    system = run.build(device_name)
    if not (isinstance(system, ImageToImage) and isinstance(run.spec.medium, Pair)):
        run.spec.need_pictures("ganforge restore", run.path)
    if not system.restores:
        raise InputError(
            f"{run.system_name} makes pictures and restores none. Train one that does, such as dae or vae."
        )
    options = {"--mask": mask, "--holes": holes, "--strength": strength, "--seeds": seeds, "--to": to}
    _check_options(run.system_name, system, options)
    if source.is_file() and resolved(out) == resolved(source).parent:
        raise InputError(f"{out} is where the originals are. Choose another folder with --out.")
    if source.is_dir():
        keep_apart(source, out)
    label = None if to is None else system.spec.classes.index(to)
    call = _Call(system, out, Restorer(system, strength, label), seeds)
    call.origin = {"run": run.path.name, "system": run.system_name, "weights": weights_hash(system.state_dict())}
    call.origin |= {} if strength is None else {"strength": strength}
    call.origin |= {} if to is None else {"to": to}
    if mask is not None:
        call.masks = {}
        for entry in _entries(Path(mask)):
            other = call.masks.setdefault(_stem(entry.name), entry)
            if other is not entry:
                raise DataError(f"{other.name!r} and {entry.name!r} are masks of one picture. Take one of them out.")
        if _is_one(source) and _is_one(Path(mask)):  # they belong together, whatever their names
            call.masks = {_stem(source.name): entry for entry in call.masks.values()}
    call.transparent = holes is not None
    if reference:
        call.clean = {_stem(entry.name): entry for entry in _entries(Path(reference))}
    result, names = call.result, list[str]()
    if isinstance(run.spec.medium, Pair) and run.spec.medium.palette:
        call.map = run.spec.medium
    elif not _is_one(source):
        call.levels, note = survey.levels("auto", open_source(source))
        result.notes += [note] if note else []
    for count, entry in enumerate(_entries(source)):
        names.append(entry.name)
        try:
            call.restore(entry, partial(_report, progress, count, 1))
        except Skip as skip:
            result.skipped.append((entry.name, str(skip)))
        if progress:
            progress(count + 1)
    if not names:
        raise DataError(f"{source} holds no files. Name a picture, or a folder or a zip of them.")
    if source.is_dir():
        with writing(out):
            labels.carry(source, out, names, call.outputs)
    if call.restorer.tile < TILE:
        result.notes.append(f"Memory was short, so tiles of {call.restorer.tile} pixels were used, not {TILE}.")
    return result


def _report(progress: Callable[[float], None] | None, done: float, part: float, share: float) -> None:
    if progress:
        progress(done + part * share)


def _check_options(name: str, system: System, options: Mapping[str, Any]) -> None:
    """InputError for an option that the system cannot use, or a number that is out of range."""
    doors = {
        "--mask": "fills",
        "--holes": "fills",
        "--strength": "strengths",
        "--seeds": "answers",
        "--to": "translates",
    }
    for option, door in doors.items():
        if options[option] is not None and not getattr(system, door):
            able = [other for other in models.names() if getattr(models.load(other).system, door)]
            there = f"Those that may: {', '.join(able)}." if able else "No system of this version does."
            raise InputError(f"{name}, as it was trained, takes no {option}. {there}")
    if options["--mask"] is not None and options["--holes"] is not None:
        raise InputError("A mask and transparent holes were given; say one of them.")
    if system.fills and options["--mask"] is None and options["--holes"] is None:
        raise InputError(f"{name} fills what is missing. Say where that is: --mask FOLDER or --holes transparent.")
    if options["--holes"] not in (None, "transparent"):
        raise InputError(f"The holes are {options['--holes']!r}; there is: transparent.")
    if not 0 <= (options["--strength"] or 0) <= 1:
        raise InputError(f"The strength is {options['--strength']:g}; it takes 0 to 1.")
    if options["--seeds"] is not None and not len(check_seeds(options["--seeds"])):
        raise InputError("No seeds were given; it takes one or more, such as 0-3.")
    classes = [system.spec.classes[label] for label in system.learned]
    if system.translates and options["--to"] is None:
        raise InputError(f"{name} translates into a class. Say which with --to; it has learned {', '.join(classes)}.")
    if options["--to"] is not None and options["--to"] not in classes:
        raise InputError(f"{name} has not learned a class {options['--to']!r}.{did_you_mean(options['--to'], classes)}")


@dataclass
class _Call:
    """What stays the same from picture to picture of one call."""

    system: System
    out: Path
    restorer: Restorer
    seeds: Sequence[int] | None
    origin: dict[str, Any] = field(default_factory=dict)
    masks: dict[str, Entry] | None = None
    transparent: bool = False
    clean: dict[str, Entry] | None = None
    levels: Levels | None = None
    map: Pair | None = None
    """The medium, where what is given are maps of ids."""
    taken: set[str] = field(default_factory=set)
    outputs: dict[str, list[str]] = field(default_factory=dict)
    """The paths in `out` of the answers for each file."""
    result: Restored = field(default_factory=Restored)

    def restore(self, entry: Entry, progress: Callable[[float], None]) -> None:
        """Restore and write the answers for one picture. Raises Skip."""
        stem = free_stem(self.out, entry.name, self.taken)
        before = self._read(entry)
        mark, holes = {**self.origin, "file": entry.name, "given": digest(before).hex()}, None
        if self.masks is not None:
            holes = masks.read(self.masks.get(_stem(entry.name)), before)
            mark["holes"] = masks.digest(holes)
        elif self.transparent:
            holes = masks.transparent(before)
            mark["holes"] = "transparent"
        outputs = self.outputs.setdefault(entry.name, [])
        for n, seed in enumerate([None] if self.seeds is None else self.seeds):
            target = self.out / (f"{stem}.png" if seed is None else f"{stem}-seed{seed:04d}.png")
            part = 1 / len(self.seeds or (0,))
            after = self._one(
                before, holes, seed, target, mark if seed is None else {**mark, "seed": seed},
                partial(_report, progress, n * part, part),
            )  # fmt: skip
            outputs.append(target.relative_to(self.out).as_posix())
            if self.clean is not None:
                self._compare(before, after, entry.name)

    def _one(
        self, before: Pixels, holes: Holes | None, seed: int | None, target: Path, mark: dict[str, Any],
        progress: Callable[[float], None],
    ) -> Pixels:  # fmt: skip
        """Restore and write one picture, unless an earlier call did: the restored pixels (H, W, C) uint8. Raises
        Skip."""
        if target.exists():
            try:
                same = marks.read(target) == {"restored": True, **mark}
                with marks.open_marked(target) as image:
                    done = np.asarray(image) if same else None
            except (OSError, ValueError, SyntaxError):
                done = None
            if done is None:
                raise Skip(f"{target} exists already and is something else")
            self.result.kept += 1
            return done[..., None] if done.ndim == 2 else done
        with writing(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            free = shutil.disk_usage(target.parent).free
        largest = before.shape[0] * before.shape[1] * max(before.shape[2], self.system.wanted) * self.system.scale**2
        if largest > max(free, LARGE):
            raise Skip(f"its answer may take {largest / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free")
        after = self.restorer(before, holes, seed, progress)
        own = (self.system.spec.height, self.system.spec.width)
        self.result.resized += self.system.receptive_radius == 0 and before.shape[:2] != own
        write_image(target, after, mark, "restored")
        self.result.written += 1
        return after

    def _read(self, entry: Entry) -> Pixels:
        """(H, W, C) uint8, upright, with the channels of the file; of a map of ids its numbers. Raises Skip."""
        if why := refusal(entry.name):
            raise Skip(why)
        return maps.numbers(maps.read(entry.read()), self.map) if self.map else decode_whole(entry.read(), self.levels)

    def _compare(self, before: Pixels, after: Pixels, name: str) -> None:
        """Take a picture into the scores. Raises Skip where it has no reference that fits."""
        entry = (self.clean or {}).get(_stem(name))
        if entry is None:
            raise Skip("restored, but not compared: the reference has no file of that name")
        if why := refusal(entry.name):
            raise Skip(f"restored, but not compared: its reference is {why}")
        truth = decode_whole(entry.read(), self.levels and replace(self.levels, clip=True))
        self.result.compare(_scores(None if self.map else before, after, truth))


def _scores(before: Pixels | None, after: Pixels, truth: Pixels) -> dict[str, Scores]:
    """(PSNR, SSIM) of the picture before, restored, and after a median filter; of one that was enlarged, bicubic in
    place of the first and the last; of a map of ids (None) of the restored one alone. Raises Skip."""
    from scipy.ndimage import median_filter

    truth = fit_channels(truth, after.shape[2])
    if truth.shape != after.shape:
        size, other = f"{after.shape[0]}x{after.shape[1]}", f"{truth.shape[0]}x{truth.shape[1]}"
        raise Skip(f"restored, but not compared: it is {size}, its reference {other}")
    if min(truth.shape[:2]) < WINDOW:
        raise Skip(f"restored, but not compared: SSIM needs {WINDOW} pixels each way")
    versions = {"restored": after}
    if before is not None and before.shape[:2] == after.shape[:2]:
        before = fit_channels(before, after.shape[2])
        versions = {"before": before, **versions, "median 3x3": median_filter(before, size=(3, 3, 1))}
    elif before is not None:
        planes = torch.tensor(fit_channels(before, after.shape[2])).permute(2, 0, 1)[None].contiguous()
        versions = {"bicubic": resize(planes, *after.shape[:2])[0].permute(1, 2, 0).numpy(), **versions}
    return {name: (psnr(version, truth), ssim(version, truth)) for name, version in versions.items()}


def _entries(path: Path) -> Iterator[Entry]:
    """The entries of one file, or of any source that `prepare` takes."""
    if _is_one(path):
        return iter([Entry(path.name, lambda: read_file(path))])
    return open_source(path).entries()


def _is_one(path: Path) -> bool:
    return path.is_file() and has_picture_suffix(path.name)


def _stem(name: str) -> str:
    return str(PurePosixPath(name).with_suffix("")) if PurePosixPath(name).name else name


def free_stem(out: Path, name: str, taken: set[str]) -> str:
    """The path of what is made of a file in `out`, without its suffix: that of the file; a second file of that name
    keeps its suffix. Raises Skip."""
    stem = _stem(name)
    if stem.lower() in taken:
        stem = name
    taken.add(stem.lower())
    if "\0" in name or not resolved(out / stem).is_relative_to(resolved(out)):
        raise Skip("its name leads out of the folder")
    if len((out / stem).name.encode("utf-8", "surrogateescape")) > 230:
        raise Skip("its name is too long")
    return stem
