"""What `collect` takes: sources, named by words or in a recipe (TOML), their shares, and settings for all of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ganforge.base.config import build, read_toml
from ganforge.base.errors import DataError, InputError, did_you_mean
from ganforge.collecting.settings import Settings, SourceSettings
from ganforge.store import licences
from ganforge.web.lists import SUFFIXES
from ganforge.web.public import SETS
from ganforge.web.settings import Api, Fields, Limits, Paging, Secret


@dataclass(frozen=True)
class RecipeSource:
    """One source, with its kind, its path and its share worked out."""

    kind: str
    """`public`, `local`, `list` or `api`."""
    name: str
    path: Path
    """Of a folder, zip or list; the name of a public set."""
    settings: SourceSettings
    cap: int | None
    """Pictures at most, by its own cap, the common one and its share of the total."""
    api: Api | None = None


@dataclass(frozen=True)
class CollectionRecipe:
    """All that a collection depends on."""

    sources: tuple[RecipeSource, ...]
    settings: Settings
    limits: Limits
    licences: tuple[str, ...]
    """SPDX identifiers or families that are allowed; all where it is empty."""

    def selection(self) -> dict[str, Any]:
        """All that decides which pictures are chosen, as plain values: with another selection the folder would be
        another collection. It stands in the journal and in `history.jsonl`, so its names cannot change."""
        sources = [
            {
                "kind": source.kind,
                "name": source.name,
                "path": str(source.path),
                "source": dataclasses.asdict(source.settings),
                "cap": source.cap,
                "api": dataclasses.asdict(source.api) if source.api else None,
            }
            for source in self.sources
        ]
        settings = {name: getattr(self.settings, name) for name in ("seed", "cap_per_class", "unknown_rights")}
        return {"sources": sources, "licences": list(self.licences), **settings}

    def permissions(self) -> dict[str, Any]:
        """What may be fetched, as plain values: where this has changed, what was refused is tried again."""
        return dataclasses.asdict(self.limits) | {"allow_host": ",".join(self.settings.allow_host)}


def read(words: Sequence[str | Path], options: Mapping[str, Any]) -> CollectionRecipe:
    """The recipe of a command line.

    `words` are public sets, folders, zips, lists of addresses, and at most one recipe (TOML), whose sources are put in.
    `options` are values of `Settings` and override the recipe's. Raises InputError, and DataError for a path that does
    not exist.
    """
    top: dict[str, Any] = {}
    limits: dict[str, Any] = {}
    tables: list[tuple[dict[str, Any], Path]] = []
    recipes = 0
    for word in words:
        path = Path(word)
        if path.suffix.lower() != ".toml":
            tables.append(({"place": str(word)}, Path()))
            continue
        recipes += 1
        if recipes > 1:
            raise InputError("collect takes one recipe (TOML); put the sources of both into one.")
        top = read_toml(path)
        limits = _table(top, "limits", str(word))
        tables += [(table, path.parent) for table in _source_tables(top, str(word))]
    top |= {name: value for name, value in options.items() if value is not None}
    for name in ("licence", "allow_host"):
        if name in top:
            top[name] = _words(top[name])
    settings = build(Settings, top, "collect")
    if not tables:
        raise InputError(
            "collect needs a source: a public set, a folder, a zip, a list of addresses or a recipe (TOML)."
        )
    sources = _with_names_of_their_own([_source(table, base) for table, base in tables])
    allowed = licences.identifiers(settings.licence)
    return CollectionRecipe(_with_shares(sources, settings), settings, build(Limits, limits, "limits"), allowed)


def _words(value: Any) -> Any:
    """A text or a list of texts as the words in it, between commas and spaces; other values as they are."""
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, (list, tuple)) or not all(isinstance(text, str) for text in texts):
        return value
    return tuple(" ".join(texts).replace(",", " ").split())


def _source_tables(top: dict[str, Any], recipe: str) -> list[dict[str, Any]]:
    tables = top.pop("source", [])
    if not isinstance(tables, list) or not tables or not all(isinstance(table, dict) for table in tables):
        raise InputError(f"{recipe} needs at least one [[source]] with a place or an endpoint.")
    return tables


def _table(values: dict[str, Any], name: str, parent: str) -> dict[str, Any]:
    """A table, taken out of the values of `parent`; {} where there is none."""
    table = values.pop(name, {})
    if not isinstance(table, dict):
        raise InputError(f"{parent}: {name} is {table!r}; it takes a table, [{name}].")
    return table


def _source(table: dict[str, Any], base: Path) -> RecipeSource:
    """A [[source]] of a recipe in the folder `base`."""
    parts = {name: _table(table, name, "source") for name in ("parameters", "paging", "fields", "secret")}
    settings = build(SourceSettings, table, "source")
    if bool(settings.place) == bool(settings.endpoint):
        raise InputError("A [[source]] takes either a place or an endpoint.")
    if settings.endpoint:
        name = settings.name or settings.endpoint.split("//")[-1].split("/")[0].split("@")[-1]
        api = Api(
            endpoint=settings.endpoint,
            parameters=tuple((key, _parameter(value)) for key, value in parts["parameters"].items()),
            paging=build(Paging, parts["paging"], "paging"),
            fields=build(Fields, parts["fields"], "fields"),
            secret=build(Secret, parts["secret"], "secret"),
            limit=settings.limit,
        )
        return RecipeSource("api", name, Path(), settings, settings.cap, api)
    if extra := [name for name, values in parts.items() if values]:
        raise InputError(f"The source {settings.place} has a table {extra[0]}, which only an API has.")
    return _source_of_a_place(settings, base)


def _source_of_a_place(settings: SourceSettings, base: Path) -> RecipeSource:
    place = settings.place
    path = (base / place).expanduser()
    if place in SETS:
        return RecipeSource("public", settings.name or place, Path(place), settings, settings.cap)
    if not path.exists():
        if place.isidentifier() or did_you_mean(place, SETS).startswith(" Did"):
            raise InputError(f"There is no public set {place!r}, nor a folder or file.{did_you_mean(place, SETS)}")
        raise DataError(f"{path} does not exist. Name a public set, a folder, a zip, a list of addresses or a recipe.")
    kind = "list" if path.is_file() and path.suffix.lower() in SUFFIXES else "local"
    if settings.labels:
        settings = dataclasses.replace(settings, labels=str((base / settings.labels).resolve()))
    return RecipeSource(kind, settings.name or path.resolve().stem, path.resolve(), settings, settings.cap)


def _parameter(value: Any) -> str:
    """A parameter of an API as text."""
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, (str, int, float)):
        raise InputError(f"The parameter {value!r} is not understood; it takes a text or a number.")
    return str(value)


def _with_names_of_their_own(sources: list[RecipeSource]) -> list[RecipeSource]:
    """Of sources that share a name, all but the first get a number: photos, photos-2."""
    names: set[str] = set()
    renamed = []
    for source in sources:
        name, n = source.name, 1
        while name in names:
            n += 1
            name = f"{source.name}-{n}"
        names.add(name)
        renamed.append(dataclasses.replace(source, name=name))
    return renamed


def _with_shares(sources: list[RecipeSource], settings: Settings) -> tuple[RecipeSource, ...]:
    """Each source's cap: the least of its own, the common one, and its share of the total by weight (largest
    remainders, in order)."""
    shares: list[int | None] = [None] * len(sources)
    if settings.total is not None:
        weights = sum(source.settings.weight for source in sources)
        exact = [settings.total * source.settings.weight / weights for source in sources]
        rest = settings.total - sum(int(share) for share in exact)
        order = sorted(range(len(sources)), key=lambda n: (int(exact[n]) - exact[n], n))
        shares = [int(share) + (order.index(n) < rest) for n, share in enumerate(exact)]
    elif any(source.settings.weight != 1 for source in sources):
        raise InputError("Weights share out a total. Say total = 10000 in the recipe, or use cap instead.")
    caps = (
        min((cap for cap in (source.cap, settings.cap, share) if cap is not None), default=None)
        for source, share in zip(sources, shares, strict=True)
    )
    return tuple(dataclasses.replace(source, cap=cap) for source, cap in zip(sources, caps, strict=True))
