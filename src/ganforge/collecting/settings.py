"""What a collection takes from all sources together, and from each of them."""

from __future__ import annotations

from dataclasses import dataclass

from ganforge.base.config import setting


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What holds for all sources: the options of the command line, and the first lines of a recipe."""

    seed: int = setting(0, "decides which pictures are chosen where a cap leaves some out", low=0)
    total: int | None = setting(None, "pictures of all sources together, shared out by their weights", low=1)
    cap: int | None = setting(None, "pictures of one source at most", low=1)
    cap_per_class: int | None = setting(None, "pictures of one class at most, over all sources", low=1)
    licence: tuple[str, ...] = setting(
        (), "licences that are allowed, such as cc0,cc-by; all where none is named", split=",", metavar="LICENCE,…"
    )
    unknown_rights: str = setting(
        "apart",
        "pictures of unknown rights: apart (a folder beside), leave-out or mix",
        choices=("apart", "leave-out", "mix"),
    )
    allow_host: tuple[str, ...] = setting(
        (), "a host that may be private and without TLS: an intranet, a test", split="", metavar="HOST[:PORT]"
    )
    contact: str = setting("", "an e-mail or web address that is told to the servers")


@dataclass(frozen=True, kw_only=True)
class SourceSettings:
    """One [[source]] as it stands in a recipe."""

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
    limit: int = setting(10_000, "items that an API lists at most", low=1, high=10_000_000)
