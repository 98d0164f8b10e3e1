"""Points of a latent space in files: what `project` writes, and what `sample --points` makes pictures of."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ganforge.base.errors import DataError, InputError
from ganforge.base.files import atomic_file, writing
from ganforge.base.images import SUFFIXES, check_suffix, grid, write_image
from ganforge.base.tables import read_json
from ganforge.runs import RunFolder
from ganforge.sampling import Points, Shift, check_generates, check_weights, chosen, made_by, portions, render
from ganforge.sampling import points as points_of
from ganforge.system import System

ENDING = "-point.safetensors"


def save(path: Path, point: Points, facts: Mapping[str, Any]) -> None:
    """Write one point, with facts about it as JSON. DataError where it cannot be written."""
    with writing(path, problems=(OSError, SafetensorError)):
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(path) as partial:
            tensors = {name: value.cpu().contiguous() for name, value in point.items()}
            save_file(tensors, partial, {"point": json.dumps(dict(facts))})


def load(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """(tensors, facts) of one file; no facts in one of an earlier version. DataError where it is damaged or something
    else."""
    try:
        with safe_open(path, framework="pt") as file:
            facts = read_json((file.metadata() or {}).get("point", "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        if not isinstance(facts, dict):
            raise ValueError("it says nothing of its origin")
    except (OSError, SafetensorError, ValueError) as error:
        raise DataError(
            f"{path} is no point, or damaged: {error}. Make one with: ganforge project RUN PICTURE"
        ) from error
    return tensors, facts


def _known(system: System, captions: Tensor) -> bool:
    """Whether all numbers are those of words."""
    known = system.spec.captions
    return known is not None and bool(((captions >= 0) & (captions <= len(known.words))).all())


def read(path: Path, run: RunFolder, system: System) -> tuple[list[str], Points]:
    """(names, points on the device of the system) of one file, or of all in a folder and its folders.

    DataError for what is no point of such a system, InputError for a point of other weights."""
    files = sorted(path.rglob(f"*{ENDING}")) if path.is_dir() else [path]
    if not files:
        raise DataError(f"{path} holds no points. Make them with: ganforge project RUN PICTURES -o {path}")
    check_generates(system)
    origin, known = made_by(run, system), points_of(system, [0])
    loaded = []
    for file in files:
        point, facts = load(file)
        if "weights" in facts:
            check_weights(f"{file} was projected and its numbers", str(facts["weights"]), origin, "Project it again")
        if (
            point.keys() != known.keys()
            or any(point[n].shape != known[n].shape or point[n].dtype != known[n].dtype for n in known)
            or not all(value.isfinite().all() for value in point.values())
            or ("labels" in point and not 0 <= int(point["labels"]) < system.classes)
            or ("captions" in point and not _known(system, point["captions"]))
        ):
            raise DataError(f"{file} does not fit {run.path}. Make a point of this run: ganforge project RUN PICTURE")
        loaded.append(point)
    device = next(system.parameters()).device
    joined = {name: torch.cat([point[name] for point in loaded]).to(device) for name in known}
    root = path if path.is_dir() else path.parent
    return [file.relative_to(root).as_posix().removesuffix(ENDING) for file in files], joined


def write(
    run: RunFolder, path: Path, out: Path, as_grid: bool, shift: Shift | None = None, device_name: str = "auto"
) -> list[Path]:
    """Write the pictures of the points at `path`, shifted: one sheet at `out`, or files of their names in the folder
    `out`. Returns the paths."""
    run.spec.need_pictures("sample --points", run.path)
    system = run.build(device_name)
    names, start = read(path, run, system)
    mark = made_by(run, system)
    if shift:
        shift.check(mark)
        start, mark = shift.of(start), {**mark, **shift.mark}
    if as_grid:
        check_suffix(out, system.spec.shown_channels)
    elif out.suffix.lower() in SUFFIXES:
        raise InputError(f"{out} is the name of a file; single files go into a folder. Name one, or make a sheet.")
    pictures = np.concatenate(list(portions(system, len(names), lambda n: render(system, chosen(start, n)))))
    files = [out] if as_grid else [out / f"{name}.png" for name in names]
    for n, file in enumerate(files):
        with writing(file):
            file.parent.mkdir(parents=True, exist_ok=True)
        content, of = (grid(pictures), names) if as_grid else (pictures[n], names[n : n + 1])
        write_image(file, content, {**mark, "projected": of})
    return files
