"""Public sets, folders, zips, lists of addresses and APIs -> one folder of originals with `provenance.csv`."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganforge.base.errors import DataError, Stopped
from ganforge.base.files import cannot_write
from ganforge.collecting import recipe as recipes
from ganforge.collecting.collection import WORK, Collected, Collection, Say, originals
from ganforge.collecting.recipe import Recipe
from ganforge.sources.source import keep_apart
from ganforge.web import public

if TYPE_CHECKING:
    from ganforge.web.guard import Resolve


def collect(
    name: str | Path | Sequence[str | Path], out: str | Path | None = None, source: str | Path | None = None,
    progress: Say | None = None, **options: Any,
) -> Path:  # fmt: skip
    """Collect into the folder `out` (`data/NAME` by default) and return it.

    The name of a public set alone puts its original files there; `source` is a folder that has them already; a finished
    one is left as it is. Anything else is a mix of sources, see `mix`, which takes `options`.
    """
    words = [name] if isinstance(name, (str, Path)) else list(name)
    if is_public(words) and not options:
        return originals(str(words[0]), Path(out) if out else Path("data") / str(words[0]), source)
    return mix(words, out, source=source, progress=progress, **options).folder


def is_public(words: Sequence[str | Path]) -> bool:
    """Whether this is one word that is no file: the name of a public set, or a slip of the pen."""
    word = str(words[0]) if len(words) == 1 else ""
    return word in public.SETS or (word.isidentifier() and not Path(word).exists())


def mix(
    sources: Sequence[str | Path], out: str | Path | None = None, *, source: str | Path | None = None,
    progress: Say | None = None, resolve: Resolve | None = None, **options: Any,
) -> Collected:  # fmt: skip
    """Collect pictures of several sources into one folder, each original once, named by its own hash.

    `sources` are public sets, folders, zips, lists of addresses and recipes; `options` are those of
    `ganforge.collecting.recipe.Settings`: seed, total, cap, cap_per_class, licence, unknown_rights, allow_host,
    contact. `source` is a folder that has the files of a public set already. `resolve` replaces the system's resolver
    of names. The same call again fetches what is missing. Raises InputError, DataError where nothing can be had, and
    Stopped on Ctrl-C."""
    recipe = recipes.read(sources, options)
    folder = Path(out) if out else Path("data") / Path(sources[0]).stem
    _check_place(folder, recipe)
    collection = Collection(recipe, folder, Path(source) if source else None, progress or (lambda line: None), resolve)
    try:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            asyncio.run(collection.work())
        else:  # a notebook: its loop is running already
            with ThreadPoolExecutor(1) as pool:
                pool.submit(asyncio.run, collection.work()).result()
        if not collection.journal.count("1"):
            raise DataError(f"There is nothing to collect in {', '.join(asked.name for asked in recipe.sources)}.")
        made = collection.finish()
    except KeyboardInterrupt:
        raise Stopped(f"{folder}: stopped. The same command goes on from here.") from None
    except (OSError, sqlite3.Error) as error:
        raise cannot_write(folder, error) from error
    finally:
        collection.clean()
    if not made.apart_count and not any(made.kept.values()):
        why = "; ".join(f"{count:,} {reason}" for reason, count in list(made.reasons.items())[:3])
        raise DataError(
            f"Nothing was collected into {folder}: {why or 'nothing was asked for'}. See {folder / 'skipped.csv'}."
        )
    return made


def _check_place(folder: Path, recipe: Recipe) -> None:
    if (
        folder.exists()
        and not (folder / WORK / "journal.sqlite").is_file()
        and (not folder.is_dir() or any(folder.iterdir()))
    ):
        raise DataError(f"{folder} exists and holds something else. Choose another place with --out.")
    for asked in recipe.sources:
        if asked.kind == "local":
            keep_apart(asked.path, folder)
