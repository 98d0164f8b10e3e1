"""An HTTP API that answers in JSON, page by page: a few settings say where in its answers the pictures stand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urljoin

import httpx

from ganforge.web import guard
from ganforge.web.fetch import Client
from ganforge.web.lists import ListedPicture, listed_picture
from ganforge.web.settings import Api, Fields, Refused

MAX_PAGES = 100_000
PageRequest = dict[str, str]
"""What distinguishes the request of one page: its parameters, or `link`, its address."""


def first(api: Api) -> PageRequest:
    """The request of the first page."""
    numbered = api.paging.by in ("page", "offset")
    return {api.paging.parameter: str(api.paging.start)} if numbered else {}


async def page(client: Client, api: Api, request: PageRequest) -> tuple[list[ListedPicture], PageRequest | None]:
    """The items of one page, and the request of the next, or None at the end. Raises Refused and Failed."""
    try:
        url = httpx.URL(request.get("link") or api.endpoint)
        if "link" not in request:
            url = url.copy_merge_params({**dict(api.parameters), **request})
        endpoint = httpx.URL(api.endpoint)
    except httpx.InvalidURL as error:
        raise Refused(f"not an address: {error}") from None
    own_host = guard.origin(url) == guard.origin(endpoint)
    try:
        answer, final = await client.json(str(url), api.secret.headers() if own_host else {})
    except Refused as refused:
        if refused.status in (400, 404) and request != first(api):  # how some APIs say that the pages have ended
            return [], None
        raise
    items = value_at(answer, api.fields.items)
    if isinstance(items, Mapping):
        items = list(items.values())
    if not isinstance(items, list):
        if request == first(api):
            path = api.fields.items or "its top"
            raise Refused(f"the answer has no list at {path!r}; it has {_outline(answer)}")
        items = []
    listed = [_item(item, api.fields, final) for item in items]
    return listed, _next(api, request, answer, len(items), final) if items else None


def _item(item: Any, fields: Fields, base: str) -> ListedPicture:
    address = value_at(item, fields.address)
    if isinstance(address, str) and address:
        try:
            address = urljoin(base, address.strip())
        except ValueError:
            return ListedPicture(address[:300], problem="not an address")
    others = (value_at(item, path) if path else "" for path in (fields.label, fields.licence, fields.author))
    return listed_picture(address, *others)


def _next(api: Api, request: PageRequest, answer: Any, count: int, base: str) -> PageRequest | None:
    paging = api.paging
    if paging.by in ("page", "offset"):
        step = 1 if paging.by == "page" else count
        return {paging.parameter: str(int(request[paging.parameter]) + step)}
    following = value_at(answer, paging.next) if paging.by != "none" else None
    if isinstance(following, Mapping):
        following = {str(name): str(value) for name, value in following.items()}
    elif isinstance(following, (str, int)) and not isinstance(following, bool) and following != "":
        if paging.by == "link":
            following = {"link": urljoin(base, str(following))}
        else:
            following = {paging.parameter: str(following)}
    else:
        following = None
    return following if following != request else None  # an API that goes round in circles


def value_at(value: Any, path: str) -> Any:
    """The value at a dotted path, or None.

    >>> value_at({"a": [{"b": 7}]}, "a.0.b")
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
