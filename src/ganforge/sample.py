"""Seeds in, pictures out: the same seed gives the same picture in any company."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ganforge.errors import DataError, InputError
from ganforge.images import Pixels, grid, to_float, to_uint8, write_png
from ganforge.models.base import System
from ganforge.run import Run, weights_hash

CHUNK = 32  # always this many at a time: another batch size may round differently


@torch.no_grad()
def pictures(system: System, seeds: Sequence[int]) -> Iterator[Pixels]:
    """(n, H, W, C) uint8 for the seeds in order, in portions of at most CHUNK. The system is put into evaluation mode."""
    check_generates(system)
    system.eval()
    device = next(system.parameters()).device
    for start in range(0, len(seeds), CHUNK):
        part = list(seeds[start : start + CHUNK])
        padded = part + [0] * (CHUNK - len(part))
        images = system.generate(system.latents(padded).to(device))
        yield to_uint8(images[: len(part)], system.spec).cpu().numpy()


def check_generates(system: System) -> None:
    """InputError for a system that makes no pictures of its own."""
    if not system.generates:
        raise InputError(
            f"{type(system).__name__} cleans pictures and makes none of its own. Use: ganforge restore RUN FOLDER -o OUT"
        )


@torch.no_grad()
def examples(system: System, originals: Pixels) -> Pixels:
    """What a system that makes no pictures of its own does with some: (N, H, W, C) uint8 -> (N*K, H, W, C), see `System.examples`."""
    system.eval()
    device = next(system.parameters()).device
    shown = system.examples(to_float(torch.from_numpy(originals).to(device), system.spec))
    return to_uint8(shown.flatten(0, 1), system.spec).cpu().numpy()


def sample(run: Run, seeds: Sequence[int]) -> Pixels:
    """One picture for each seed: (N, H, W, C) uint8. RunError where the run has no checkpoint."""
    system = run.build()
    if not len(seeds):
        return np.zeros((0, system.spec.height, system.spec.width, system.spec.channels), np.uint8)
    return np.concatenate(list(pictures(system, check_seeds(seeds))))


def check_seeds(seeds: Sequence[int]) -> Sequence[int]:
    """InputError unless every seed is a whole number from 0 to 2^32-1."""
    for seed in seeds:
        if not 0 <= seed < 2**32:
            raise InputError(f"The seed {seed} is out of range; it takes whole numbers from 0 to {2**32 - 1}.")
    return seeds


def write(run: Run, seeds: Sequence[int], out: Path, as_grid: bool) -> list[Path]:
    """Samples as PNG: one sheet at `out`, or single files seed-N.png in the folder `out`. Each says what made it."""
    system = run.build()
    check_generates(system)
    seeds = check_seeds(seeds)
    made_by: dict[str, Any] = {
        "run": run.path.name,
        "system": run.system_name,
        "weights": weights_hash(system.state_dict()),
    }
    try:
        (out.parent if as_grid else out).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(
            f"{out} cannot be written: {error.strerror or error}. Choose another place with --out."
        ) from error
    if as_grid:
        sheet = grid(np.concatenate(list(pictures(system, seeds))))
        write_png(out, sheet, {**made_by, "seeds": list(seeds)})
        return [out]
    written = []
    portions = pictures(system, seeds)
    for start in range(0, len(seeds), CHUNK):
        for seed, picture in zip(seeds[start : start + CHUNK], next(portions), strict=True):
            written.append(out / f"seed-{seed:06d}.png")
            write_png(written[-1], picture, {**made_by, "seeds": [seed]})
    return written
