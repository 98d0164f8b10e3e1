"""Restore pictures: denoise, reconstruct, enlarge, fill or translate them with a system that has `restore`; and missing
frames of clips."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ganforge import models
from ganforge.base import marks
from ganforge.base.errors import DataError, InputError, did_you_mean
from ganforge.base.files import resolved, writing
from ganforge.base.images import SUFFIXES, Pixels, write_image
from ganforge.base.seeds import check_seeds
from ganforge.image_to_image import ImageToImage
from ganforge.media.clip import Clip
from ganforge.media.pair import Pair
from ganforge.media.picture import Picture
from ganforge.metrics.fidelity import WINDOW, psnr, ssim
from ganforge.restoring import clips, masks
from ganforge.restoring.call import Call, Restored, Scores, report, stem
from ganforge.restoring.clips import ClipCall
from ganforge.restoring.masks import Holes
from ganforge.restoring.tiles import Restorer
from ganforge.runs import RunFolder, weights_hash
from ganforge.sources import labels, maps, survey
from ganforge.sources.decode import decode_whole, fit_channels, probe
from ganforge.sources.depth import Levels
from ganforge.sources.entry import Entry, Skip, digest, read_file
from ganforge.sources.formats import has_picture_suffix, refusal
from ganforge.sources.layout import some
from ganforge.sources.source import keep_apart, open_source
from ganforge.sources.transform import resize
from ganforge.system import System


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
    missing: Sequence[int] | None = None,
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

    For a run of clips that has learned to fill in missing frames, the files are animations (GIF, WebP, PNG) or folders
    of frames, of any size and of as many frames as the run has learned or more, and the result is NAME.webp. `missing`
    are the numbers of the missing frames, from 0, of each of them; a frame that is shown n times as long as the
    shortest of its file counts n times. All others are written as they were.

    `reference` is a folder or zip of the same pictures without noise, in full size, for PSNR and SSIM. Tables of
    labels, licences and authors are copied. Files in `out` with the mark of the same weights and options are kept, so
    that an interrupted call can be repeated. `progress` is called with the number of files done, and parts of one.

    InputError for a system that does not restore, or that cannot use an option, or an `out` inside the source;
    DataError where nothing can be read or written."""
    run = run if isinstance(run, RunFolder) else RunFolder(run)
    source, out = Path(source), Path(out)
    system = run.build(device_name)
    medium = run.spec.medium
    options = {
        "--mask": mask, "--holes": holes, "--strength": strength, "--seeds": seeds, "--to": to,
        "--missing": missing, "--reference": reference,
    }  # fmt: skip
    if isinstance(medium, Clip):
        numbers = clips.check(run, system, medium, options)
    elif not (isinstance(system, ImageToImage) and isinstance(medium, Pair)):
        run.spec.need_pictures("ganforge restore", run.path)
    if not system.restores:
        raise InputError(
            f"{run.system_name} makes pictures and restores none. Train one that does, such as dae or vae."
        )
    _check_options(run.system_name, system, options)
    if out.suffix.lower() in SUFFIXES and not out.is_dir():
        raise InputError(f"{out} is the name of a file; what is restored keeps its own name. Name a folder with --out.")
    if source.is_file() and resolved(out) == resolved(source).parent:
        raise InputError(f"{out} is where the originals are. Choose another folder with --out.")
    if source.is_dir():
        keep_apart(source, out)
    origin: dict[str, Any] = {
        "run": run.path.name,
        "system": run.system_name,
        "weights": weights_hash(system.state_dict()),
    }
    origin |= ({} if strength is None else {"strength": strength}) | ({} if to is None else {"to": to})
    label = None if to is None else system.spec.classes.index(to)
    restorer, names = Restorer(system, strength, label), list[str]()
    call: Call[Any, Any]
    if isinstance(medium, Clip):
        call = ClipCall(out, restorer, seeds, origin, missing=numbers)
    else:
        call = PictureCall(out, restorer, seeds, origin, transparent=holes is not None)
        call.open_sources(source, mask, reference)
    result = call.result
    for count, entry in enumerate(_entries(source, Clip.kind if isinstance(medium, Clip) else Picture.kind)):
        names.append(entry.name)
        try:
            call.restore(entry, partial(report, progress, count, 1))
        except Skip as skip:
            result.skipped.append((entry.name, str(skip)))
        if progress:
            progress(count + 1)
    if not names:
        raise DataError(f"{source} holds no files. Name a picture, or a folder or a zip of them.")
    if source.is_dir():
        with writing(out):
            labels.carry(source, out, names, call.outputs)
    result.notes += call.notes()
    return result


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
    if options["--missing"] is not None and not isinstance(system.spec.medium, Clip):
        raise InputError(f"--missing says which frames of clips are missing, and {name} was trained on no clips.")
    if system.fills and options["--mask"] is None and options["--holes"] is None and options["--missing"] is None:
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


@dataclass(frozen=True)
class Given:
    """A picture (H, W, C) uint8, or a map of ids, and what is missing of it."""

    pixels: Pixels
    holes: Holes | None = None


@dataclass
class PictureCall(Call[Given, Pixels]):
    """Files of pictures, and of maps of ids."""

    transparent: bool = False
    """Whether what is transparent is missing."""
    masks: dict[str, Entry] | None = None
    clean: dict[str, list[Entry]] | None = None
    levels: Levels | None = None
    map: Pair | None = None
    """The medium, where what is given are maps of ids."""
    animated: int = 0
    """Number of files with several frames."""

    suffix = Picture.suffix

    def open_sources(self, source: Path, mask: str | Path | None, reference: str | Path | None) -> None:
        """Find masks and references, and the levels of the source. DataError where one of them cannot be used."""
        if mask is not None:
            self.masks = {}
            for name, (entry, *others) in _by_stem(Path(mask)).items():
                self.masks[name] = entry
                if others:
                    raise DataError(
                        f"{entry.name!r} and {others[0].name!r} are masks of one picture. Take one of them out."
                    )
            if _is_one(source) and _is_one(Path(mask)):  # they belong together, whatever their names
                self.masks = {stem(source.name): entry for entry in self.masks.values()}
        if reference:
            self.clean = _by_stem(Path(reference))
        medium = self.restorer.system.spec.medium
        if isinstance(medium, Pair) and medium.palette:
            self.map = medium
        elif not _is_one(source):
            self.levels, note = survey.levels("auto", open_source(source))
            self.result.notes += [note] if note else []

    def read(self, entry: Entry) -> tuple[Given, dict[str, Any]]:
        if why := refusal(entry.name):
            raise Skip(why)
        data = entry.read()
        pixels = maps.numbers(maps.read(data), self.map) if self.map else decode_whole(data, self.levels)
        self.animated += isinstance(data, bytes) and probe(data).animated
        facts: dict[str, Any] = {"given": digest(pixels).hex()}
        if self.masks is not None:
            holes = masks.read(self.masks.get(stem(entry.name)), pixels)
            return Given(pixels, holes), {**facts, "holes": masks.digest(holes)}
        if self.transparent:
            return Given(pixels, masks.transparent(pixels)), {**facts, "holes": "transparent"}
        return Given(pixels), facts

    def notes(self) -> list[str]:
        frames = [f"{self.animated:,} are animations, of which the first frame was taken."] if self.animated else []
        return super().notes() + frames

    def size(self, given: Given) -> int:
        (height, width, channels), system = given.pixels.shape, self.restorer.system
        largest: int = height * width * max(channels, system.wanted) * system.scale**2
        return largest

    def answer(self, given: Given, seed: int | None, progress: Callable[[float], None]) -> Pixels:
        system = self.restorer.system
        after = self.restorer(given.pixels, given.holes, seed, progress)
        own = (system.spec.height, system.spec.width)
        self.result.resized += system.receptive_radius == 0 and given.pixels.shape[:2] != own
        return after

    def write(self, target: Path, made: Pixels, mark: dict[str, Any]) -> None:
        write_image(target, made, mark, "restored")

    def written(self, target: Path) -> Pixels:
        with marks.open_marked(target) as image:
            done = np.asarray(image)
        return done[..., None] if done.ndim == 2 else done

    def compare(self, given: Given, made: Pixels, name: str) -> None:
        if self.clean is None:
            return
        entries = self.clean.get(stem(name), [])
        entries = [entry for entry in entries if entry.name == name] or entries
        if not entries:
            raise Skip("restored, but not compared: the reference has no file of that name")
        if len(entries) > 1:
            raise Skip(f"restored, but not compared: {some([entry.name for entry in entries])} may be its reference")
        try:
            truth = decode_whole(entries[0].read(), self.levels and replace(self.levels, clip=True))
        except Skip as skip:
            raise Skip(f"restored, but not compared: its reference {entries[0].name!r}: {skip}") from skip
        self.result.compare(_scores(None if self.map else given.pixels, made, truth))


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


def _entries(path: Path, medium: str = Picture.kind) -> Iterator[Entry]:
    """The entries of one file, or of any source that `prepare` takes."""
    if _is_one(path):
        return iter([Entry(path.name, lambda: read_file(path))])
    return open_source(path, medium=medium).entries()


def _by_stem(path: Path) -> dict[str, list[Entry]]:
    """The pictures of a source by their names without suffix."""
    entries: dict[str, list[Entry]] = {}
    for entry in _entries(path):
        if not refusal(entry.name):
            entries.setdefault(stem(entry.name), []).append(entry)
    return entries


def _is_one(path: Path) -> bool:
    return path.is_file() and has_picture_suffix(path.name)
