"""Before `clean` is applied: a sheet of a few pictures before and after, and a recipe for the noise that they have."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ganforge.base.errors import DataError, InputError
from ganforge.base.images import Pixels, write_image
from ganforge.base.seeds import permuted
from ganforge.cleaning import comparison, noise
from ganforge.cleaning import filters as steps
from ganforge.cleaning import recipe as recipes
from ganforge.cleaning.clean import check_folder
from ganforge.cleaning.settings import Settings
from ganforge.sources import survey
from ganforge.sources.decode import decode_whole
from ganforge.sources.entry import Skip
from ganforge.sources.formats import EXTENSIONS, refusal
from ganforge.sources.source import open_source

SAMPLE = 64


def preview(
    source: str | Path,
    sheet: str | Path,
    *,
    filters: Sequence[str | Mapping[str, Any]] = (),
    recipe: str | Path | Settings | None = None,
    reference: str | Path | None = None,
    pictures: int = 6,
) -> list[dict[str, Any]]:
    """Write a sheet (PNG) of a few pictures before and after each filter, and its numbers beside it (JSON); nothing
    else.

    Returns the numbers, a row a stage: `stage`, `ms_per_picture`, and with clean pictures of the same names under
    `reference` also `psnr` in dB and `ssim`, means over the pictures shown.
    """
    path, sheet = check_folder(source), Path(sheet)
    settings = recipes.read(recipe, {"filters": filters})
    if not settings.filters and recipe is None:
        raise InputError("There is nothing to show: name a filter, such as --filter median:size=3, or a recipe.")
    if sheet.suffix.lower() != ".png":
        raise InputError(f"The sheet is a PNG, so its name ends in .png; {sheet} does not.")
    if not 1 <= pictures <= 1000:
        raise InputError(f"A sheet of {pictures} pictures is not to be had; it takes 1 to 1,000.")
    names, shown = _sample(path, "preview", pictures)
    references = [_reference(Path(reference), name) for name in names] if reference else None
    if references and not any(r is not None for r in references):
        raise DataError(f"{reference} has none of the pictures {', '.join(names[:3])}; it takes the same names.")
    stages = comparison.stages(shown, steps.chain(settings.filters), references)
    numbers = [stage.row() for stage in stages]
    facts = {"pictures": names, "recipe": recipes.text(settings), "stages": numbers}
    write_image(sheet, comparison.sheet(stages, references))
    sheet.with_suffix(".json").write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n", "utf-8")
    return numbers


def _sample(path: Path, purpose: str, count: int) -> tuple[list[str], list[Pixels]]:
    """Up to `count` pictures that can be read, chosen by key. DataError where there is none."""
    opened = open_source(path)
    levels, _ = survey.levels("auto", opened)
    entries = [entry for entry in opened.entries() if not refusal(entry.name)]
    names, pictures = [], []
    for n in permuted(0, purpose, max(len(entries), 1), np.arange(len(entries))):
        with contextlib.suppress(Skip):
            pictures.append(decode_whole(entries[n].read(), levels))
            names.append(entries[n].name)
        if len(names) == count:
            break
    if not names:
        raise DataError(f"{path} has no picture that can be read. Is this the right folder?")
    return names, pictures


def _reference(folder: Path, name: str) -> Pixels | None:
    """The clean picture of the same name, whatever its format."""
    for path in (folder / name, *((folder / name).with_suffix(suffix) for suffix in sorted(EXTENSIONS))):
        if path.is_file():
            with contextlib.suppress(Skip):
                return decode_whole(path.read_bytes())
    return None


def suggest(source: str | Path) -> tuple[Settings, list[str]]:
    """A recipe for the noise that SAMPLE keyed pictures have, empty where they are clean, and the reasons in words."""
    names, pictures = _sample(check_folder(source), "suggest", SAMPLE)
    estimated = noise.median([noise.estimate(pixels) for pixels in pictures])
    chain, reasons = noise.remedy(estimated)
    return Settings(filters=tuple(map(steps.short, chain))), [
        f"of {len(names)} pictures, the median: {estimated}",
        *reasons,
    ]
