"""Seeds in, pictures out: the same seed gives the same picture in any company."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganforge.errors import DataError, InputError
from ganforge.images import Pixels, grid, to_uint8, write_png
from ganforge.models.base import StyleSystem, System
from ganforge.run import Run, weights_hash

CHUNK = 32  # always this many at a time: another batch size may round differently


@torch.no_grad()
def pictures(system: System, seeds: Sequence[int], truncation: float = 1.0) -> Iterator[Pixels]:
    """(n, H, W, C) uint8 for the seeds in order, in portions of at most CHUNK. The system is put into evaluation mode.

    `truncation` pulls styles towards their mean: 1 leaves them, 0 is the mean's own picture. InputError where there are no styles.
    """
    check_truncation(system, truncation)
    generate: Callable[..., Tensor] = system.generate
    if truncation != 1:
        generate = partial(generate, truncation=truncation)
    system.eval()
    device = next(system.parameters()).device
    for start in range(0, len(seeds), CHUNK):
        part = list(seeds[start : start + CHUNK])
        padded = part + [0] * (CHUNK - len(part))
        images = generate(system.latents(padded).to(device))
        yield to_uint8(images[: len(part)], system.spec).cpu().numpy()


def sample(run: Run, seeds: Sequence[int], truncation: float = 1.0) -> Pixels:
    """One picture for each seed: (N, H, W, C) uint8. RunError where the run has no checkpoint."""
    system = run.build()
    if not len(seeds):
        return np.zeros((0, system.spec.height, system.spec.width, system.spec.channels), np.uint8)
    return np.concatenate(list(pictures(system, check_seeds(seeds), truncation=truncation)))


def check_seeds(seeds: Sequence[int]) -> Sequence[int]:
    """InputError unless every seed is a whole number from 0 to 2^32-1."""
    for seed in seeds:
        if not 0 <= seed < 2**32:
            raise InputError(f"The seed {seed} is out of range; it takes whole numbers from 0 to {2**32 - 1}.")
    return seeds


def check_truncation(system: System, truncation: float) -> None:
    """InputError where the system has no styles, or the number is out of range."""
    if truncation != 1 and not isinstance(system, StyleSystem):
        raise InputError(
            "This system has no styles, so nothing can be truncated. Train stylegan2 or stylegan, or leave out --truncation."
        )
    if not 0 <= truncation <= 2:
        raise InputError(
            f"The truncation is {truncation:g}; it takes 0 (the mean picture) to 1 (as trained), at most 2."
        )


def made_by(run: Run, system: System) -> dict[str, Any]:
    """What a generated picture says of its origin: run, system, and a hash of the weights."""
    return {"run": run.path.name, "system": run.system_name, "weights": weights_hash(system.state_dict())}


def write(run: Run, seeds: Sequence[int], out: Path, as_grid: bool, truncation: float = 1.0) -> list[Path]:
    """Samples as PNG: one sheet at `out`, or single files seed-N.png in the folder `out`. Each says what made it."""
    system = run.build()
    seeds = check_seeds(seeds)
    said = made_by(run, system) | ({} if truncation == 1 else {"truncation": truncation})
    try:
        (out.parent if as_grid else out).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(
            f"{out} cannot be written: {error.strerror or error}. Choose another place with --out."
        ) from error
    if as_grid:
        sheet = grid(np.concatenate(list(pictures(system, seeds, truncation=truncation))))
        write_png(out, sheet, {**said, "seeds": list(seeds)})
        return [out]
    written = []
    portions = pictures(system, seeds, truncation=truncation)
    for start in range(0, len(seeds), CHUNK):
        for seed, picture in zip(seeds[start : start + CHUNK], next(portions), strict=True):
            written.append(out / f"seed-{seed:06d}.png")
            write_png(written[-1], picture, {**said, "seeds": [seed]})
    return written
