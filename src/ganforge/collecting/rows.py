"""The rows of a collection's journal: what each source says of its pictures, and whether their rights allow them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from ganforge.collecting.recipe import CollectionRecipe, RecipeSource
from ganforge.sources.entry import Source
from ganforge.sources.formats import refusal
from ganforge.store import provenance
from ganforge.store.licences import OWN, is_among, spdx
from ganforge.web import public
from ganforge.web.lists import ListedPicture


def row_of_listed(recipe: CollectionRecipe, source: RecipeSource, listed: ListedPicture) -> dict[str, Any]:
    """The row of a picture of a list or an API; see `CollectionJournal.add`."""
    settings = source.settings
    row = _rights(recipe, listed.licence or settings.licence, listed.author or settings.author, own=False)
    return row | {
        "address": listed.address,
        "label": listed.label or settings.label,
        "problem": listed.problem or row["problem"],
    }


def rows_of_files(recipe: CollectionRecipe, source: RecipeSource, opened: Source) -> Iterator[dict[str, Any]]:
    """The rows of a folder, zip or public set; the `provenance.csv` of an earlier collection stays true."""
    settings, path = source.settings, source.path
    public_set = public.SETS.get(str(path)) if source.kind == "public" else None
    known = provenance.read(path) if source.kind == "local" and path.is_dir() else {}
    base = f"{path}#" if public_set else path.as_uri() + ("/" if path.is_dir() else "!/")
    for entry in opened.entries():
        before = known.get(entry.name, {})
        licence = before.get("licence") or entry.origin.licence or settings.licence
        author = before.get("author") or entry.origin.author or settings.author
        if public_set:
            licence, author = licence or public_set.licence, author or public_set.author
        row = _rights(recipe, licence, author, own=not (before or public_set or any(entry.origin)))
        row["problem"] = refusal(entry.name) or row["problem"]
        address = before.get("address") or base + quote(os.fsencode(entry.name), safe="/")
        yield row | {"address": address, "label": entry.label or settings.label, "split": entry.split}


def _rights(recipe: CollectionRecipe, licence: str, author: str, *, own: bool) -> dict[str, Any]:
    """What is known of the rights, and whether they are enough. `own`: a picture of the user's own folders of which
    nothing is stated; it is kept unless the recipe allows certain licences only."""
    name = spdx(licence)
    row: dict[str, Any] = {"licence": name or licence, "author": author, "apart": 0, "problem": ""}
    if recipe.licences:
        if name is None:
            row["problem"] = f"the licence {licence!r} is not known" if licence else "no licence is stated"
        elif name != OWN and not is_among(name, recipe.licences):
            row["problem"] = f"the licence {name} is not allowed"
    elif name is None and (licence or not own):
        unknown_rights = recipe.settings.unknown_rights
        row["apart"] = int(unknown_rights == "apart")
        row["problem"] = "its rights are unknown" if unknown_rights == "leave-out" else ""
    return row
