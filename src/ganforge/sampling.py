"""Seeds in, pictures out: the same seed gives the same picture in any company."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ganforge.base.errors import InputError, did_you_mean
from ganforge.base.files import writing
from ganforge.base.images import SUFFIXES, Pixels, check_suffix, grid, name_rows, write_png
from ganforge.base.seeds import uniform
from ganforge.media.spec import Spec, to_float, to_uint8
from ganforge.runs import Run, weights_hash
from ganforge.system import StyleSystem, System

Labels = str | int | Sequence[str | int] | None
CHUNK = 32  # always this many at a time: another batch size may round differently


@torch.no_grad()
def pictures(
    system: System, seeds: Sequence[int], labels: Sequence[int] | None = None, truncation: float = 1.0
) -> Iterator[Pixels]:
    """(n, H, W, C) uint8 for the seeds in order, in portions of at most CHUNK. The system is put into evaluation mode.

    `labels` are as many as seeds, for a system that makes pictures by class; without them each seed draws its own.
    `truncation` pulls styles towards their mean: 1 leaves them, 0 is the mean's own picture. InputError where there are
    no styles."""
    check_generates(system)
    check_truncation(system, truncation)
    generate: Callable[..., Tensor] = system.generate
    if truncation != 1:
        generate = partial(generate, truncation=truncation)
    system.eval()
    device = next(system.parameters()).device
    if labels is None and system.classes:
        labels = drawn(seeds, np.ones(system.classes))
    for start in range(0, len(seeds), CHUNK):
        part = list(seeds[start : start + CHUNK])
        rest = [0] * (CHUNK - len(part))
        asked = torch.tensor([*labels[start : start + CHUNK], *rest], device=device) if labels is not None else None
        images = generate(system.latents(part + rest).to(device), asked)
        yield to_uint8(images[: len(part)], system.spec).cpu().numpy()


def drawn(seeds: Sequence[int], weights: npt.NDArray[Any]) -> list[int]:
    """A label for each seed, a function of the seed alone, with chances in proportion to `weights` (classes,)."""
    chance = uniform(0, "label", np.asarray(seeds, np.int64))
    bounds = np.cumsum(weights) / np.sum(weights)
    return np.minimum(np.searchsorted(bounds, chance, side="right"), len(bounds) - 1).tolist()  # type: ignore[no-any-return]


def crossed(seeds: Sequence[int], labels: Sequence[int]) -> tuple[list[int], list[int]]:
    """Every seed with every label, label by label: a sheet of len(seeds) columns has one row a class."""
    return list(seeds) * len(labels), [label for label in labels for _ in seeds]


def check_generates(system: System) -> None:
    """InputError for a system that makes no pictures of its own."""
    if not system.generates:
        raise InputError(
            f"{type(system).__name__} cleans pictures and makes none of its own. Use: ganforge restore RUN FOLDER -o OUT"
        )


@torch.no_grad()
def examples(system: System, originals: Pixels) -> Pixels:
    """What a system that makes no pictures of its own does with some: (N, H, W, C) uint8 -> (N*K, H, W, C), see
    `System.examples`."""
    system.eval()
    device = next(system.parameters()).device
    shown = system.examples(to_float(torch.from_numpy(originals).to(device), system.spec))
    return to_uint8(shown.flatten(0, 1), system.spec).cpu().numpy()


def sample(
    run: Run, seeds: Sequence[int], labels: Labels = None, truncation: float = 1.0, device_name: str = "auto"
) -> Pixels:
    """One picture for each seed: (N, H, W, C) uint8. RunError where the run has no checkpoint. For labels see
    `paired`."""
    system = run.build(device_name)
    if not len(seeds):
        return np.zeros((0, system.spec.height, system.spec.width, system.spec.channels), np.uint8)
    return np.concatenate(list(pictures(system, *paired(run, system, check_seeds(seeds), labels), truncation)))


def paired(run: Run, system: System, seeds: Sequence[int], labels: Labels) -> tuple[Sequence[int], list[int] | None]:
    """(seeds, labels) of equal length.

    One label, a number or a class's name, is for all seeds; several belong to one seed each, or all to one seed; "all"
    is every class with every seed, class by class. None leaves it to the seeds. InputError where they do not fit or a
    class does not exist."""
    if labels is None:
        return seeds, None
    if not system.classes:
        why = "its store has no labels" if not system.spec.classes else "it learned without labels (model.conditional)"
        raise InputError(f"{run.path} makes no pictures by class: {why}. Leave the labels out.")
    if every_class(labels, system.spec):
        return crossed(seeds, range(system.classes))
    asked = list(labels) if isinstance(labels, Iterable) and not isinstance(labels, str) else [labels]
    numbers = [_number(label, system.spec.classes) for label in asked]
    if len(numbers) == 1:
        return seeds, numbers * len(seeds)
    if len(seeds) == 1:
        return list(seeds) * len(numbers), numbers
    if len(numbers) != len(seeds):
        raise InputError(
            f"{len(numbers)} labels do not fit {len(seeds)} seeds: give one label for all, one a seed, or 'all'."
        )
    return seeds, numbers


def every_class(labels: Labels, spec: Spec) -> bool:
    """Whether they are the word "all"; a class of that name comes first."""
    return isinstance(labels, str) and labels == "all" and "all" not in spec.classes


def _number(label: str | int, classes: tuple[str, ...]) -> int:
    """The number of a class, by its name first."""
    if isinstance(label, str):
        if label in classes:
            return classes.index(label)
        if not label.strip().isdecimal():
            raise InputError(f"There is no class {label!r}.{did_you_mean(label, classes)}")
    if not isinstance(label, (str, int, np.integer)) or not 0 <= int(label) < len(classes):
        raise InputError(
            f"There is no class {label}; they are numbered from 0 to {len(classes) - 1}: {', '.join(classes[:20])}."
        )
    return int(label)


def marked(spec: Spec, labels: Sequence[int] | None) -> dict[str, Any]:
    """What a picture's mark says of its labels: their names."""
    return {} if labels is None else {"labels": [spec.classes[label] for label in labels]}


def check_seeds(seeds: Sequence[int]) -> Sequence[int]:
    """InputError unless every seed is a whole number from 0 to 2^32-1."""
    for seed in seeds:
        if not isinstance(seed, (int, np.integer)) or not 0 <= seed < 2**32:
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


def write(
    run: Run,
    seeds: Sequence[int],
    out: Path,
    as_grid: bool,
    labels: Labels = None,
    truncation: float = 1.0,
    device_name: str = "auto",
) -> list[Path]:
    """Samples: one sheet at `out` (PNG, JPEG or WebP), or single files seed-N.png in the folder `out`. Each says what
    made it.

    Sounds and clips have their own files: seed-N.wav and seed-N.webp, and all samples of a sheet in one beside it.
    With labels (see `paired`) the files are seed-N-class-K.png, and the sheet of "all" has one row a class, with its
    name."""
    system = run.build(device_name)
    check_generates(system)
    spec, medium = system.spec, system.spec.medium
    together = None if spec.is_picture else out.with_suffix(medium.suffix)
    if as_grid:
        out = out.with_suffix(".png") if out == together else out
        check_suffix(out, spec.channels if spec.is_picture else 3)
    elif out.suffix.lower() in (*SUFFIXES, medium.suffix):
        raise InputError(f"{out} is the name of a file; single files go into a folder. Name one, or make a sheet.")
    columns = len(seeds) if every_class(labels, system.spec) else None
    seeds, numbers = paired(run, system, check_seeds(seeds), labels)
    if numbers is None and system.classes:
        numbers = drawn(seeds, np.ones(system.classes))
    said = made_by(run, system) | ({} if truncation == 1 else {"truncation": truncation})
    with writing(out):
        (out.parent if as_grid else out).mkdir(parents=True, exist_ok=True)
    if as_grid:
        rows = np.concatenate(list(pictures(system, seeds, numbers, truncation)))
        sheet = grid(medium.as_pictures(rows), columns)
        if columns:
            sheet = name_rows(sheet, system.spec.classes)
        said |= {"seeds": list(seeds), **marked(spec, numbers)}
        write_png(out, sheet, said)
        if together is None:
            return [out]
        medium.write(together, rows, said)
        return [out, together]
    written = []
    made = (picture for portion in pictures(system, seeds, numbers, truncation) for picture in portion)
    for n, picture in enumerate(made):
        label = None if numbers is None else numbers[n : n + 1]
        written.append(out / (f"seed-{seeds[n]:06d}" + (f"-class-{label[0]}" if label else "") + medium.suffix))
        medium.write(written[-1], picture[None], {**said, "seeds": [seeds[n]], **marked(system.spec, label)})
    return written
