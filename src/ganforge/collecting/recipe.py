"""What `collect` is asked for: sources by word or by TOML, their shares, and what is allowed."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ganforge.base.config import build, read_toml, setting
from ganforge.base.errors import DataError, InputError, did_you_mean
from ganforge.store import licences
from ganforge.web.lists import SUFFIXES
from ganforge.web.public import SETS
from ganforge.web.terms import Api, Fields, Limits, Paging, Secret

T = TypeVar("T")


@dataclass(frozen=True)
class Settings:
    """What holds for all sources: the options of the command line, and the first lines of a recipe."""

    seed: int = setting(0, "decides which pictures are chosen where a cap leaves some out", low=0)
    total: int | None = setting(None, "pictures of all sources together, shared out by their weights", low=1)
    cap: int | None = setting(None, "pictures of one source at most", low=1)
    cap_per_class: int | None = setting(None, "pictures of one class at most, over all sources", low=1)
    licence: str = setting("", "licences that are allowed, such as cc0,cc-by (all)")
    unknown_rights: str = setting(
        "apart", "pictures of unknown rights: apart (a folder beside), leave-out or mix", choices=("apart", "leave-out", "mix")
    )  # fmt: skip
    allow_host: str = setting("", "hosts, HOST or HOST:PORT, that may be private and without TLS")
    contact: str = setting("", "an e-mail or web address that is told to the servers")


@dataclass(frozen=True)
class Source:
    """One source, as it stands in a recipe."""

    place: str = setting("", "a public set, a folder, a zip, or a list of addresses (CSV, TSV, TXT, Parquet)")
    endpoint: str = setting("", "the address of an API, instead of a place")
    name: str = setting("", "its name in provenance.csv (that of the place)")
    label: str = setting("", "the label of pictures that have none of their own")
    licence: str = setting("", "the licence of pictures that state none; own for pictures of your own")
    author: str = setting("", "the author of pictures that state none")
    labels: str = setting("", "CSV with the columns file and label, for a folder or zip")
    originals: str = setting("", "a folder that has the files of a public set already")
    cap: int | None = setting(None, "pictures of this source at most", low=1)
    weight: float = setting(1.0, "its share of the total", low=0.001, high=1000)
    limit: int = setting(10_000, "items that an API is asked for at most", low=1, high=10_000_000)


@dataclass(frozen=True)
class Asked:
    """One source, understood."""

    kind: str
    """`public`, `local`, `list` or `api`."""
    name: str
    path: Path
    source: Source
    cap: int | None
    api: Api | None = None


@dataclass(frozen=True)
class Recipe:
    """All that a collection depends on."""

    sources: tuple[Asked, ...]
    settings: Settings
    limits: Limits
    licences: tuple[str, ...]

    def what(self) -> dict[str, Any]:
        """Which pictures are asked for, as plain values; another answer is another collection."""
        settings = dataclasses.asdict(self.settings)
        kept = {name: settings[name] for name in ("seed", "cap_per_class", "unknown_rights")}
        sources = [dataclasses.asdict(asked) | {"path": str(asked.path)} for asked in self.sources]
        return {"sources": sources, "licences": list(self.licences), **kept}

    def how(self) -> dict[str, Any]:
        """What may be fetched: where this has changed, what was refused may be tried again."""
        return dataclasses.asdict(self.limits) | {"allow_host": self.settings.allow_host}


def read(words: Sequence[str | Path], options: Mapping[str, Any]) -> Recipe:
    """Sources as on the command line: public sets, folders, zips, lists, and recipes (TOML), whose sources are put in.
    `options` are values of `Settings` and override a recipe's. Raises InputError and DataError."""
    top: dict[str, Any] = {}
    limits: dict[str, Any] = {}
    found: list[tuple[dict[str, Any], Path]] = []
    recipes = 0
    for word in words:
        if Path(word).suffix.lower() != ".toml":
            found.append(({"place": str(word)}, Path()))
            continue
        recipes += 1
        if recipes > 1:
            raise InputError("collect takes one recipe (TOML); put the sources of both into one.")
        top = read_toml(Path(word))
        limits = _table(top, "limits", str(word))
        for table in _tables(top, str(word)):
            found.append((table, Path(word).parent))
    top |= {name: value for name, value in options.items() if value is not None}
    for name in ("licence", "allow_host"):
        if isinstance(top.get(name), (list, tuple)):
            top[name] = ",".join(str(one) for one in top[name])
    settings = build(Settings, top, "collect")
    if not found:
        raise InputError(
            "collect needs a source: a public set, a folder, a zip, a list of addresses or a recipe (TOML)."
        )
    sources = _unlike([_asked(table, base) for table, base in found])
    wanted = licences.wanted(word for word in settings.licence.replace(",", " ").split() if word)
    return Recipe(_shares(sources, settings), settings, build(Limits, limits, "limits"), wanted)


def _tables(top: dict[str, Any], where: str) -> list[dict[str, Any]]:
    tables = top.pop("source", [])
    if not isinstance(tables, list) or not tables or not all(isinstance(table, dict) for table in tables):
        raise InputError(f"{where} needs at least one [[source]] with a place or an endpoint.")
    return tables


def _table(values: dict[str, Any], name: str, where: str) -> dict[str, Any]:
    """A table out of the values; {} where there is none."""
    found = values.pop(name, {})
    if not isinstance(found, dict):
        raise InputError(f"{where}: {name} is {found!r}; it takes a table, [{name}].")
    return found


def _asked(table: dict[str, Any], base: Path) -> Asked:
    """One [[source]], understood."""
    parts = {name: _table(table, name, "source") for name in ("parameters", "paging", "fields", "secret")}
    source = build(Source, table, "source")
    if bool(source.place) == bool(source.endpoint):
        raise InputError("A [[source]] takes either a place or an endpoint.")
    if source.endpoint:
        name = source.name or source.endpoint.split("//")[-1].split("/")[0].split("@")[-1]
        api = Api(
            source.endpoint, tuple((key, _text(value)) for key, value in parts["parameters"].items()),
            build(Paging, parts["paging"], "paging"), build(Fields, parts["fields"], "fields"),
            build(Secret, parts["secret"], "secret"), source.limit,
        )  # fmt: skip
        return Asked("api", name, Path(), source, source.cap, api)
    if extra := [name for name, values in parts.items() if values]:
        raise InputError(f"The source {source.place} has a table {extra[0]}, which only an API has.")
    return _place(source, base)


def _place(source: Source, base: Path) -> Asked:
    place = source.place
    path = (base / place).expanduser()
    if place in SETS:
        return Asked("public", source.name or place, Path(place), source, source.cap)
    if not path.exists():
        if place.isidentifier() or did_you_mean(place, SETS).startswith(" Did"):
            raise InputError(f"There is no public set {place!r}, nor a folder or file.{did_you_mean(place, SETS)}")
        raise DataError(f"{path} does not exist. Name a public set, a folder, a zip, a list of addresses or a recipe.")
    kind = "list" if path.is_file() and path.suffix.lower() in SUFFIXES else "local"
    source = dataclasses.replace(source, labels=str((base / source.labels).resolve())) if source.labels else source
    return Asked(kind, source.name or path.resolve().stem, path.resolve(), source, source.cap)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, (str, int, float)):
        raise InputError(f"The parameter {value!r} is not understood; it takes a text or a number.")
    return str(value)


def _unlike(sources: list[Asked]) -> list[Asked]:
    """Two sources of one name get a number each."""
    names: set[str] = set()
    out = []
    for asked in sources:
        name, n = asked.name, 1
        while name in names:
            n += 1
            name = f"{asked.name}-{n}"
        names.add(name)
        out.append(dataclasses.replace(asked, name=name))
    return out


def _shares(sources: list[Asked], settings: Settings) -> tuple[Asked, ...]:
    """Each source's cap: its own, the common one, and its share of the total by weight (largest remainders, in
    order)."""
    shares: list[int | None] = [None] * len(sources)
    if settings.total is not None:
        whole = sum(asked.source.weight for asked in sources)
        exact = [settings.total * asked.source.weight / whole for asked in sources]
        rest = settings.total - sum(int(part) for part in exact)
        order = sorted(range(len(sources)), key=lambda n: (int(exact[n]) - exact[n], n))
        shares = [int(part) + (order.index(n) < rest) for n, part in enumerate(exact)]
    elif any(asked.source.weight != 1 for asked in sources):
        raise InputError("Weights share out a total. Say total = 10000 in the recipe, or use cap instead.")
    caps = (
        min((cap for cap in (asked.cap, settings.cap, share) if cap is not None), default=None)
        for asked, share in zip(sources, shares, strict=True)
    )
    return tuple(dataclasses.replace(asked, cap=cap) for asked, cap in zip(sources, caps, strict=True))
