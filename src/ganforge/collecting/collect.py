"""The verb `collect`: public sets, folders, zips, lists of addresses and APIs become one folder of originals."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganforge.base.errors import DataError, Stopped
from ganforge.base.files import cannot_write
from ganforge.collecting import recipe as recipes
from ganforge.collecting.collection import Collection
from ganforge.collecting.folder import Collected, finish, journal_path
from ganforge.collecting.public_set import collect_public_set
from ganforge.collecting.recipe import CollectionRecipe
from ganforge.sources.source import keep_apart
from ganforge.web import public

if TYPE_CHECKING:
    from ganforge.web.guard import Resolve

Progress = Callable[[str], None]
"""Takes lines of text."""


def collect(
    name: str | Path | Sequence[str | Path],
    out: str | Path | None = None,
    source: str | Path | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> Path:
    """Collect into the folder `out` (`data/NAME` by default) and return it.

    The name of a public set alone puts its original files there; `source` is a folder that has them already; a finished
    one is left as it is. Anything else becomes a folder of pictures: see `collect_pictures`, which takes `options`.
    Raises InputError and DataError.
    """
    words = [name] if isinstance(name, (str, Path)) else list(name)
    if is_public(words) and not options:
        return collect_public_set(str(words[0]), _folder(words, out), source)
    return collect_pictures(words, out, source=source, progress=progress, **options).folder


def is_public(words: Sequence[str | Path]) -> bool:
    """Whether this is one word that is no file: the name of a public set, or one that is misspelled."""
    word = str(words[0]) if len(words) == 1 else ""
    return word in public.SETS or (word.isidentifier() and not Path(word).exists())


def collect_pictures(
    sources: Sequence[str | Path],
    out: str | Path | None = None,
    *,
    source: str | Path | None = None,
    progress: Progress | None = None,
    resolve: Resolve | None = None,
    **options: Any,
) -> Collected:
    """Collect the pictures of several sources into one folder, each original once, named by its own hash.

    `sources` are public sets, folders, zips, lists of addresses and recipes; `options` are those of
    `ganforge.collecting.settings.Settings`: seed, total, cap, cap_per_class, licence, unknown_rights, allow_host,
    contact. `source` is a folder that has the files of a public set already. `resolve` replaces the system's resolver
    of names. The same call again fetches what is missing. Raises InputError, DataError where nothing can be collected,
    and Stopped on Ctrl-C.
    """
    recipe = recipes.read(sources, options)
    folder = _folder(sources, out)
    _check_folder(folder, recipe)
    originals = Path(source) if source else None
    collection = Collection(recipe, folder, originals=originals, progress=progress or _silent, resolve=resolve)
    try:
        _run(collection)
        if not collection.journal.count("1"):
            names = ", ".join(source.name for source in recipe.sources)
            raise DataError(f"There is nothing to collect in {names}.")
        collected = finish(recipe, collection.journal, folder, notes=collection.notes, unfinished=collection.unfinished)
    except KeyboardInterrupt:
        raise Stopped(f"{folder}: stopped. The same command goes on from here.") from None
    except (OSError, sqlite3.Error) as error:
        raise cannot_write(folder, error) from error
    finally:
        collection.close()
    if not collected.apart_count and not any(collected.kept.values()):
        reasons = "; ".join(f"{count:,} {reason}" for reason, count in list(collected.reasons.items())[:3])
        raise DataError(
            f"Nothing was collected into {folder}: {reasons or 'no picture was chosen'}. See {folder / 'skipped.csv'}."
        )
    return collected


def _folder(sources: Sequence[str | Path], out: str | Path | None) -> Path:
    return Path(out) if out else Path("data") / Path(sources[0]).stem


def _run(collection: Collection) -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        asyncio.run(collection.run())
    else:  # a notebook: its loop is running already
        with ThreadPoolExecutor(1) as pool:
            pool.submit(asyncio.run, collection.run()).result()


def _check_folder(folder: Path, recipe: CollectionRecipe) -> None:
    """DataError where the folder holds something else, or lies inside a source."""
    if folder.exists() and not journal_path(folder).is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise DataError(f"{folder} exists and holds something else. Choose another place with --out.")
    for source in recipe.sources:
        if source.kind == "local":
            keep_apart(source.path, folder)


def _silent(line: str) -> None:
    pass
