"""Restore pictures: denoise or reconstruct them with a system that has `restore`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganforge.base import marks
from ganforge.base.errors import DataError, InputError
from ganforge.base.files import resolved, writing
from ganforge.base.images import Pixels, write_image
from ganforge.media.spec import to_float, to_uint8
from ganforge.metrics.fidelity import WINDOW, psnr, ssim
from ganforge.runs import RunFolder, weights_hash
from ganforge.sources import labels, survey
from ganforge.sources.decode import FULL_SIZE, WHITE, decode, decode_whole, fit_channels
from ganforge.sources.depth import Levels
from ganforge.sources.entry import Entry, Skip, read_file
from ganforge.sources.formats import has_picture_suffix, refusal
from ganforge.sources.source import keep_apart, open_source
from ganforge.sources.transform import resize
from ganforge.system import System

TILE = 512  # side in pixels of a tile without its margins; a multiple of every stride
_ALIGN = 16

Pair = tuple[float, float]


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
    scores: dict[str, Pair] = field(default_factory=dict)
    """With a reference: (mean PSNR in dB, mean SSIM) of `before`, `restored` and `median 3x3`."""
    compared: int = 0
    """Number of pictures with a reference."""
    notes: list[str] = field(default_factory=list)
    """Sentences for the user."""

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
    device_name: str = "auto",
    progress: Callable[[int], None] | None = None,
) -> Restored:
    """Restore the pictures of a folder, a zip or one file with `run`, and write them as PNG under their own names into
    `out`.

    Pictures may have any size: a system of convolutions alone takes them as they are, large ones in overlapping tiles;
    for other systems they are resized to the size of the system and the result is resized back. A grey system restores
    each colour channel separately; transparency stays as it is unless the system has learned it. `reference` is a
    folder or zip of the same pictures without noise, for PSNR and SSIM. Tables of labels, licences and authors are
    copied. Files in `out` with the mark of the same weights are kept, so that an interrupted call can be repeated.
    `progress` is called with the number of files read so far.

    InputError for a system that does not restore, or an `out` inside the source; DataError where nothing can be read or
    written."""
    run = run if isinstance(run, RunFolder) else RunFolder(run)
    source, out = Path(source), Path(out)
    run.spec.need_pictures("ganforge restore", run.path)
    system = run.build(device_name)
    if not system.restores:
        raise InputError(
            f"{run.system_name} makes pictures and restores none. Train one that does, such as dae or vae."
        )
    if source.is_file() and resolved(out) == resolved(source).parent:
        raise InputError(f"{out} is where the originals are. Choose another folder with --out.")
    if source.is_dir():
        keep_apart(source, out)
    origin = {"run": run.path.name, "system": run.system_name, "weights": weights_hash(system.state_dict())}
    clean = {_stem(entry.name): entry for entry in _entries(Path(reference))} if reference else None
    result, count = Restored(), 0
    sums = np.zeros((3, 2))
    taken: set[str] = set()
    names: list[str] = []
    outputs: dict[str, str] = {}
    levels = None
    if not _is_one(source):
        levels, note = survey.levels("auto", open_source(source))
        result.notes += [note] if note else []
    for entry in _entries(source):
        count += 1
        names.append(entry.name)
        try:
            target = _target(out, entry.name, taken)
            before = _read(entry, levels)
            mark = {**origin, "file": entry.name}
            after = _one(system, before, target, mark, result)
            outputs[entry.name] = target.relative_to(out).as_posix()
            if clean is not None:
                sums += _compare(before, after, clean, entry.name, levels)
                result.compared += 1
        except Skip as skip:
            result.skipped.append((entry.name, str(skip)))
        if progress:
            progress(count)
    if not count:
        raise DataError(f"{source} holds no files. Name a picture, or a folder or a zip of them.")
    if source.is_dir():
        with writing(out):
            labels.carry(source, out, names, outputs)
    if result.compared:
        means = (sums / result.compared).tolist()
        result.scores = {
            name: (row[0], row[1]) for name, row in zip(("before", "restored", "median 3x3"), means, strict=True)
        }
    return result


def _one(system: System, before: Pixels, target: Path, mark: dict[str, Any], result: Restored) -> Pixels:
    """Restore and write one picture, unless an earlier call did: the restored pixels (H, W, C) uint8. Raises Skip."""
    if target.exists():
        try:
            same = marks.read(target) == {"restored": True, **mark}
            done = decode(target.read_bytes(), before.shape[2], WHITE, FULL_SIZE)[0] if same else None
        except (OSError, ValueError, Skip):
            done = None
        if done is None or done.shape != before.shape:
            raise Skip(f"{target} exists already and is something else")
        result.kept += 1
        return done
    after = restored(system, before)
    result.resized += not system.receptive_radius and before.shape[:2] != (system.spec.height, system.spec.width)
    with writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
    write_image(target, after, mark, "restored")
    result.written += 1
    return after


def restored(system: System, pixels: Pixels) -> Pixels:
    """One picture, (H, W, C) uint8 with C of 1, 3 or 4 and any size -> the same shape, restored."""
    channels, own = pixels.shape[2], system.spec.channels
    if own == 4:
        return fit_channels(_whole(system, fit_channels(pixels, 4)[None])[0], channels)
    colour, alpha = pixels[..., :3], pixels[..., 3:]
    if own == 1:
        planes = np.ascontiguousarray(colour.transpose(2, 0, 1)[..., None])
        colour = _whole(system, planes)[..., 0].transpose(1, 2, 0)
    elif channels == 1:
        colour = fit_channels(_whole(system, fit_channels(colour, 3)[None])[0], 1)
    else:
        colour = _whole(system, np.ascontiguousarray(colour)[None])[0]
    return np.ascontiguousarray(np.concatenate([colour, alpha], 2))


def _whole(system: System, pixels: Pixels) -> Pixels:
    """(N, H, W, C) uint8 in the system's channels, any size -> the same shape."""
    pixels = np.require(pixels, requirements=["C", "W"])
    device = next(system.parameters()).device
    if system.receptive_radius:
        images = to_float(torch.from_numpy(pixels).to(device), system.spec)
        return to_uint8(tiled(system, images), system.spec).cpu().numpy()
    height, width = pixels.shape[1:3]
    batch = torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()
    small = resize(batch, system.spec.height, system.spec.width).permute(0, 2, 3, 1)
    with torch.no_grad():
        output: Tensor = system.restore(to_float(small.to(device), system.spec))
    back = to_uint8(output, system.spec).cpu().permute(0, 3, 1, 2).contiguous()
    return resize(back, height, width).permute(0, 2, 3, 1).contiguous().numpy()


@torch.no_grad()
def tiled(system: System, images: Tensor, tile: int = TILE) -> Tensor:
    """`system.restore` of (N, C, H, W) in tiles with margins of the receptive field radius: equal to that of the
    whole up to rounding. `tile`, in pixels, is a multiple of all strides of the network."""
    margin = math.ceil(system.receptive_radius / _ALIGN) * _ALIGN
    height, width = images.shape[2:]
    out = torch.empty_like(images)
    for top in range(0, height, tile):
        for left in range(0, width, tile):
            bottom, right = min(top + tile, height), min(left + tile, width)
            y, x = max(top - margin, 0), max(left - margin, 0)
            part: Tensor = system.restore(images[:, :, y : bottom + margin, x : right + margin])
            out[:, :, top:bottom, left:right] = part[:, :, top - y : bottom - y, left - x : right - x]
    return out


def _entries(path: Path) -> Iterator[Entry]:
    """The entries of one file, or of any source that `prepare` takes."""
    if _is_one(path):
        return iter([Entry(path.name, lambda: read_file(path))])
    return open_source(path).entries()


def _is_one(path: Path) -> bool:
    return path.is_file() and has_picture_suffix(path.name)


def _read(entry: Entry, levels: Levels | None) -> Pixels:
    """(H, W, C) uint8, upright, with the channels of the file. Raises Skip."""
    if why := refusal(entry.name):
        raise Skip(why)
    return decode_whole(entry.read(), levels)


def _stem(name: str) -> str:
    return str(PurePosixPath(name).with_suffix("")) if PurePosixPath(name).name else name


def _target(out: Path, name: str, taken: set[str]) -> Path:
    """The path of the restored picture: the same name as PNG; a second file of that name keeps its suffix. Raises
    Skip."""
    file = f"{_stem(name)}.png"
    if file.lower() in taken:
        file = f"{name}.png"
    taken.add(file.lower())
    target = out / file
    if "\0" in name or not resolved(target).is_relative_to(resolved(out)):
        raise Skip("its name leads out of the folder")
    if len(target.name.encode("utf-8", "surrogateescape")) > 250:
        raise Skip("its name is too long")
    return target


def _compare(before: Pixels, after: Pixels, clean: dict[str, Entry], name: str, levels: Levels | None) -> Any:
    """PSNR and SSIM of the picture before, restored, and median-filtered: (3, 2) float64. Raises Skip."""
    from scipy.ndimage import median_filter

    entry = clean.get(_stem(name))
    if entry is None:
        raise Skip("restored, but not compared: the reference has no file of that name")
    truth = fit_channels(_read(entry, levels and replace(levels, clip=True)), before.shape[2])
    if truth.shape != before.shape:
        size, other = f"{before.shape[0]}x{before.shape[1]}", f"{truth.shape[0]}x{truth.shape[1]}"
        raise Skip(f"restored, but not compared: it is {size}, its reference {other}")
    if min(truth.shape[:2]) < WINDOW:
        raise Skip(f"restored, but not compared: SSIM needs {WINDOW} pixels each way")
    versions = (before, after, median_filter(before, size=(3, 3, 1)))
    return np.array([(psnr(v, truth), ssim(v, truth)) for v in versions])
