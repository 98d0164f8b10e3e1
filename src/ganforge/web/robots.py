"""What a site forbids programs: robots.txt (RFC 9309), and the headers that keep pictures out of training."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import quote, unquote_to_bytes

MAX_BYTES = 500 << 10  # RFC 9309, 2.5: at least as much must be read
NOT_FOR_TRAINING = {"noai", "noimageai"}
_VALUED = {"unavailable_after", "max-snippet", "max-image-preview", "max-video-preview"}


@dataclass(frozen=True)
class Rules:
    """The rules of one site for one program."""

    rules: tuple[tuple[str, bool], ...] = ()
    """(pattern, allowed)"""
    delay: float = 0.0
    """Seconds between requests that the site asks for (Crawl-delay, which is no part of the RFC)."""

    def allow(self, target: str) -> bool:
        """Whether a path with its query may be fetched: the longest pattern that fits decides, `allow` in a tie."""
        target = _plain(target) or "/"
        if target == "/robots.txt":
            return True
        best = max(((len(pattern), allowed) for pattern, allowed in self.rules if _fits(pattern, target)), default=None)
        return best is None or best[1]


def parse(text: str, agent: str) -> Rules:
    """The rules for the product token `agent` (lower case): those of all its groups, else those of all groups for
    `*`."""
    groups: dict[str, list[tuple[str, bool]]] = {}
    delays: dict[str, float] = {}
    names: list[str] = []
    naming = False
    for line in re.split(r"\r\n|\r|\n", text.removeprefix("\ufeff")):
        key, colon, value = (part.strip() for part in line.partition("#")[0].partition(":"))
        key = key.lower()
        if not colon:
            continue
        if key == "user-agent":
            name = match[0].lower() if (match := re.match(r"[A-Za-z_-]+|\*", value)) else ""
            names = [*names, name] if naming else [name]
            groups.setdefault(name, [])
            naming = True
        elif key in ("allow", "disallow"):
            naming = False
            if value:
                for name in names:
                    groups[name].append((_plain(value), key == "allow"))
        elif key == "crawl-delay":
            naming = False
            if re.fullmatch(r"\d{1,6}(\.\d{1,6})?", value):
                delays.update(dict.fromkeys(names, float(value)))
    group = agent if agent in groups else "*"
    return Rules(tuple(groups.get(group, ())), delays.get(group, 0.0))


def _plain(path: str) -> str:
    """One spelling of percent-encoding on both sides; `*` and `$` keep their meaning in a pattern, and so does %2F."""
    pieces = re.split(r"(%2[fF]|%2[aA]|%24)", path)
    return "".join(
        piece.upper() if n % 2 else quote(unquote_to_bytes(piece), safe="/*$!&'()+,;=:@?~-._")
        for n, piece in enumerate(pieces)
    )


def _fits(pattern: str, target: str) -> bool:
    """Whether a pattern matches the beginning of a path: `*` stands for any characters, a last `$` for the end. Matched
    piece by piece from the left, in linear time whatever the pattern."""
    ends = pattern.endswith("$")
    first, *rest = pattern.removesuffix("$").split("*")
    if not target.startswith(first):
        return False
    if not rest:
        return not ends or target == first
    matched = len(first)
    for piece in rest[:-1] if ends else rest:
        start = target.find(piece, matched)
        if start < 0:
            return False
        matched = start + len(piece)
    return not ends or (target.endswith(rest[-1]) and len(target) - len(rest[-1]) >= matched)


def opted_out(headers: Iterable[tuple[str, str]], agent: str) -> str | None:
    """The header by which a server keeps an answer out of training, or None: X-Robots-Tag with noai or noimageai, for
    all programs or for `agent`, or TDM-Reservation: 1 (the W3C community group's TDMRep)."""
    for name, value in headers:
        if name.lower() == "tdm-reservation" and value.strip() == "1":
            return "TDM-Reservation: 1"
        if name.lower() != "x-robots-tag":
            continue
        who, colon, rest = value.partition(":")
        if colon and "," not in who and who.strip().lower() not in _VALUED:
            if who.strip().lower() not in ("*", agent):
                continue
            value = rest
        for word in value.lower().split(","):
            if word.strip() in NOT_FOR_TRAINING:
                return f"X-Robots-Tag: {word.strip()}"
    return None
