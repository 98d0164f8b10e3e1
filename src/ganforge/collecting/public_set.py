"""The original files of one public set, as they were published."""

from __future__ import annotations

import logging
from pathlib import Path
from tempfile import TemporaryDirectory

from ganforge.base.errors import DataError, InputError, did_you_mean
from ganforge.base.files import atomic_folder, writing
from ganforge.base.tables import write_csv
from ganforge.collecting import captioned_shapes, moving_digits, shapes
from ganforge.store import history, provenance
from ganforge.web import public

log = logging.getLogger(__name__)


def collect_public_set(name: str, out: Path, originals: str | Path | None) -> Path:
    """Put the original files of a public set into the folder `out`, with `provenance.csv`; a finished one stays as it
    is. `originals` is a folder that has the files already. InputError for an unknown name, DataError where the files
    cannot be had or written."""
    if name not in public.SETS:
        raise InputError(f"There is no public set {name!r}, nor a folder or file.{did_you_mean(name, public.SETS)}")
    if (out / provenance.NAME).is_file():
        log.info(f"{out} is there already.")
        return out
    if out.exists() and any(out.iterdir()):
        raise DataError(f"{out} exists and holds something else. Choose another place with --out.")
    with writing(out), atomic_folder(out) as partial:
        rows = _fetch(name, partial, Path(originals) if originals else None)
        write_csv(partial / provenance.NAME, provenance.FIELDS, rows)
        history.record(partial, "collect", sources=[name], files=len(rows))
        if out.exists():
            out.rmdir()
    public_set = public.SETS[name]
    log.info(f"{out}: {public_set.title}. Licence: {public_set.licence}.")
    return out


_MAKERS = {"shapes": shapes.make, "captioned-shapes": captioned_shapes.make}


def _fetch(name: str, out: Path, originals: Path | None) -> list[dict[str, str]]:
    """The files of a set, in the folder `out`, and their rows for `provenance.csv`; of a set that is made here, what is
    made."""
    if name in _MAKERS:
        return [public.row(name, **made) for made in _MAKERS[name](out)]
    if name != "moving-digits":
        return public.fetch(name, out, originals)
    with TemporaryDirectory(dir=out) as files:
        fetched = public.fetch(name, Path(files), originals)
        made = moving_digits.make(Path(files), out)
    return [{**fetched[0], **row} for row in made]
