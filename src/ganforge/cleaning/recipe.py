"""A recipe: the settings of `clean` as a TOML file.

    [select]                    # needs an audit
    drop = ["blurred", "near-duplicate"]

    [[filter]]                  # any number, in this order
    kind = "median"
    size = 3

[select] takes `audit` too, the folder of an audit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ganforge.base.config import build, read_toml, to_toml
from ganforge.base.errors import InputError, did_you_mean
from ganforge.cleaning import filters
from ganforge.cleaning.settings import Settings

SELECT = ("audit", "drop", "keep")


def read(recipe: str | Path | Settings | None = None, options: Mapping[str, Any] | None = None) -> Settings:
    """The settings of a recipe, a TOML file or settings read from one; `options` replace its parts.

    `filters` may be texts such as "median:size=3" or tables such as {"kind": "median", "size": 3}; `drop` and `keep`
    are one part. InputError for a mistake, with the path of the file that holds it."""
    settings = recipe if isinstance(recipe, Settings) else _read(Path(recipe)) if recipe else Settings()
    given = {name: value for name, value in (options or {}).items() if value or name not in (*SELECT, "filters")}
    if "filters" in given:
        given["filters"] = tuple(step if isinstance(step, str) else _text(step) for step in given["filters"])
    if given.keys() & {"drop", "keep"}:
        settings = replace(settings, drop=(), keep=())
    return build(Settings, {**vars(settings), **given}, "clean")


def _read(path: Path) -> Settings:
    sections = read_toml(path)
    if not sections:
        raise InputError(f"{path} holds no recipe. One that changes nothing says: filter = []")
    select, tables = sections.get("select", {}), sections.get("filter", [])
    for name in sections:
        if name not in ("select", "filter"):
            raise InputError(f"{path} has a section {name}.{did_you_mean(name, ('select', 'filter'))}")
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise InputError(f"{path}: filters are written as [[filter]], with two brackets on each side.")
    if not isinstance(select, dict):
        raise InputError(f"{path}: select is {select!r}; it takes a section, [select].")
    for name in select:
        if name not in SELECT:
            raise InputError(f"{path}: there is no setting select.{name}.{did_you_mean(name, SELECT)}")
    try:
        return build(Settings, {**select, "filters": tuple(map(_text, tables))}, "select")
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _text(table: Mapping[str, Any]) -> str:
    return filters.short(filters.make(table))


def text(settings: Settings) -> str:
    """The settings as a file that `read` takes."""
    select = {name: value for name in SELECT if (value := getattr(settings, name))}
    parts = [to_toml({"select": select})] if select else []
    parts += [to_toml({"[filter]": filters.describe(filters.parse(step))}) for step in settings.filters]
    return "\n".join(parts) or "filter = []\n"  # written out, so that it differs from an empty file
