"""An HTTP API that answers in JSON, page by page: a few settings say where in its answers the pictures stand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urljoin

import httpx

from ganforge.web import guard
from ganforge.web.fetch import Client
from ganforge.web.lists import Wanted, wanted
from ganforge.web.terms import Api, Fields, Refused

MAX_PAGES = 100_000
Place = dict[str, str]
"""What the next page is asked with: parameters, or `link`, its address."""


def first(api: Api) -> Place:
    """What the first page is asked with."""
    numbered = api.paging.by in ("page", "offset")
    return {api.paging.parameter: str(api.paging.start)} if numbered else {}


async def page(client: Client, api: Api, place: Place) -> tuple[list[Wanted], Place | None]:
    """The items of one page, and what to ask for the next, or None at the end. Raises Refused and Failed."""
    try:
        url = httpx.URL(place.get("link") or api.endpoint)
        if "link" not in place:
            url = url.copy_merge_params({**dict(api.parameters), **place})
        endpoint = httpx.URL(api.endpoint)
    except httpx.InvalidURL as error:
        raise Refused(f"not an address: {error}") from None
    home = (url.scheme, url.host, guard.port_of(url)) == (endpoint.scheme, endpoint.host, guard.port_of(endpoint))
    try:
        answer, final = await client.json(str(url), api.secret.headers() if home else {})
    except Refused as refused:
        if refused.status in (400, 404) and place != first(api):  # how some APIs say that the pages have ended
            return [], None
        raise
    items = at(answer, api.fields.items)
    if isinstance(items, Mapping):
        items = list(items.values())
    if not isinstance(items, list):
        if place == first(api):
            raise Refused(f"the answer has no list at {api.fields.items or 'its top'!r}; it has {_outline(answer)}")
        items = []
    found = [_item(item, api.fields, final) for item in items]
    return found, _next(api, place, answer, len(items), final) if items else None


def _item(item: Any, fields: Fields, base: str) -> Wanted:
    address = at(item, fields.address)
    if isinstance(address, str) and address:
        try:
            address = urljoin(base, address.strip())
        except ValueError:
            return Wanted(address[:300], problem="not an address")
    others = (at(item, path) if path else "" for path in (fields.label, fields.licence, fields.author))
    return wanted(address, *others)


def _next(api: Api, place: Place, answer: Any, count: int, base: str) -> Place | None:
    paging = api.paging
    if paging.by in ("page", "offset"):
        step = 1 if paging.by == "page" else count
        return {paging.parameter: str(int(place[paging.parameter]) + step)}
    found = at(answer, paging.next) if paging.by != "none" else None
    if isinstance(found, Mapping):
        found = {str(name): str(value) for name, value in found.items()}
    elif isinstance(found, (str, int)) and not isinstance(found, bool) and found != "":
        found = {"link": urljoin(base, str(found))} if paging.by == "link" else {paging.parameter: str(found)}
    else:
        found = None
    return found if found != place else None  # an API that goes round in circles


def at(value: Any, path: str) -> Any:
    """The value at a dotted path, or None.

    >>> at({"a": [{"b": 7}]}, "a.0.b")
    7
    """
    for step in path.split(".") if path else ():
        if isinstance(value, Mapping):
            value = value.get(step)
        elif isinstance(value, list) and step.isdecimal() and int(step) < len(value):
            value = value[int(step)]
        else:
            return None
    return value


def _outline(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(str(name)[:30] for name in list(value)[:8]) or "nothing"
    return f"a {type(value).__name__}"
