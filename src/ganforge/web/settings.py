"""Settings of fetching, and the exceptions by which a fetch ends. Nothing heavy is imported here: no network."""

from __future__ import annotations

import os
from dataclasses import dataclass

from ganforge.base.config import setting
from ganforge.base.errors import InputError


@dataclass(frozen=True)
class Limits:
    """What one collection may cost, and how many requests a host gets."""

    bytes: int = setting(32 << 20, "bytes of one file", low=1, high=1 << 32)
    total_bytes: int = setting(100 << 30, "bytes of all files", low=1)
    seconds: float = setting(60.0, "seconds for one file, from the connection to the last byte", low=0.1, high=3600)
    pixels: int = setting(64_000_000, "pixels that a picture's header may declare", low=1, high=64_000_000)
    redirects: int = setting(5, "redirects that are followed", low=0, high=20)
    tries: int = setting(4, "tries for one file", low=1, high=10)
    wait: float = setting(60.0, "longest wait in seconds for a host that asks to come back later", low=0, high=3600)
    rate: float = setting(10.0, "requests a second to one host; 0 for no limit", low=0)
    per_host: int = setting(4, "requests to one host at the same time", low=1, high=64)
    at_once: int = setting(32, "requests at the same time", low=1, high=256)


@dataclass(frozen=True)
class Paging:
    """How the next page of an API is requested."""

    by: str = setting(
        "none",
        "page (1, 2, 3), offset (0, 50, 100), cursor (a value or a table in the answer) or link (an address in it)",
        choices=("none", "page", "offset", "cursor", "link"),
    )
    parameter: str = setting("page", "the parameter of the page, offset or cursor")
    start: int = setting(1, "the first page number or offset", low=0)
    next: str = setting("", "where in the answer the cursor or link stands; without one the pages end")


@dataclass(frozen=True)
class Fields:
    """Where in an answer the values stand: dotted paths such as data.items, with numbers for positions in a list."""

    items: str = setting("", "the list (or table) of items in an answer; the whole answer where it is empty")
    address: str = setting("url", "an item's address")
    label: str = setting("", "an item's label")
    licence: str = setting("", "an item's licence: a name or an address")
    author: str = setting("", "an item's author")


@dataclass(frozen=True)
class Secret:
    """A header whose value stands in the environment; it is sent to the endpoint's own host alone."""

    name: str = setting("Authorization", "the header")
    variable: str = setting("", "the environment variable")
    prefix: str = setting("", "what comes before the value, such as 'Bearer '")

    def headers(self) -> dict[str, str]:
        """The header with its value, {} where no variable is named; InputError where the variable is not set."""
        if not self.variable:
            return {}
        value = os.environ.get(self.variable, "")
        if not value or not (value.isascii() and value.isprintable()):
            raise InputError(
                f"The environment variable {self.variable} is empty. Put the value of the header {self.name} into it."
            )
        return {self.name: self.prefix + value}


@dataclass(frozen=True)
class Api:
    """One API."""

    endpoint: str
    parameters: tuple[tuple[str, str], ...]
    paging: Paging
    fields: Fields
    secret: Secret
    limit: int
    """Items to list at most."""


class Refused(Exception):
    """Not fetched, and not to be tried again: the reason."""

    def __init__(self, reason: str, status: int | None = None) -> None:
        super().__init__(reason)
        self.status = status
        """The HTTP status, where the server refused."""


class Failed(Exception):
    """Not fetched, but a later try may succeed: the reason."""


class LimitReached(Exception):
    """The limit on the bytes of all files together is reached."""
