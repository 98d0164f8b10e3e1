"""What a licence is called: common spellings and Creative Commons addresses -> SPDX identifiers."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from ganforge.base.errors import InputError, did_you_mean

OWN = "LicenseRef-own"
"""Pictures that belong to the person who collects them."""

_PLAIN = {
    "cc0": "CC0-1.0", "cc-0": "CC0-1.0", "cc0-1.0": "CC0-1.0", "cc-zero": "CC0-1.0", "cc0-1.0-universal": "CC0-1.0",
    "zero": "CC0-1.0", "pdm": "CC-PDM-1.0", "pdm-1.0": "CC-PDM-1.0", "cc-pdm-1.0": "CC-PDM-1.0", "pd": "CC-PDM-1.0",
    "public-domain": "CC-PDM-1.0", "public-domain-mark": "CC-PDM-1.0", "public-domain-mark-1.0": "CC-PDM-1.0",
    "cc-pddc": "CC-PDDC", "mit": "MIT", "mit-0": "MIT-0", "apache": "Apache-2.0", "apache-2": "Apache-2.0",
    "apache-2.0": "Apache-2.0", "bsd-2-clause": "BSD-2-Clause", "bsd-3-clause": "BSD-3-Clause", "0bsd": "0BSD",
    "unlicense": "Unlicense", "wtfpl": "WTFPL", "isc": "ISC", "zlib": "Zlib", "odbl": "ODbL-1.0",
    "odbl-1.0": "ODbL-1.0", "pddl": "PDDL-1.0", "pddl-1.0": "PDDL-1.0", "odc-by": "ODC-By-1.0",
    "odc-by-1.0": "ODC-By-1.0", "gfdl": "GFDL-1.3-or-later", "gfdl-1.2": "GFDL-1.2-only", "gfdl-1.3": "GFDL-1.3-only",
    "gpl-2.0": "GPL-2.0-only", "gpl-3.0": "GPL-3.0-only", "ofl-1.1": "OFL-1.1", "fal": "LAL-1.3", "lal-1.3": "LAL-1.3",
    "free-art": "LAL-1.3", "ogl-uk-3.0": "OGL-UK-3.0", "etalab-2.0": "etalab-2.0", "own": OWN, "licenseref-own": OWN,
}  # fmt: skip
_KNOWN = {spdx.lower(): spdx for spdx in _PLAIN.values()}
_WORDS = (
    (r"creative[ -]?commons", "cc"), (r"attribution", "by"), (r"non-?commercial", "nc"), (r"share-?alike", "sa"),
    (r"no-?deriv(?:ative)?(?:ative)?s?(?:-works)?", "nd"),
    (r"\b(?:the|licen[cs]es?|licen[cs]ed|international|unported|generic)\b", ""),
)  # fmt: skip
_CC = re.compile(r"(?:cc-)?(by(?:-nc)?(?:-sa|-nd)?)(?:-(1\.0|2\.0|2\.1|2\.5|3\.0|4\.0))?(?:-([a-z]{2,3}))?")
_ADDRESS = re.compile(
    r"(?:https?:)?(?://)?(?:www\.)?creativecommons\.org/(?:licenses|publicdomain)/"
    r"([a-z-]+)(?:/(\d\.\d))?(?:/([a-z]{2,3}))?(?:/.*)?"
)
_PORTS = {  # the jurisdictions that have an identifier of their own; the others go by the licence that they port
    "CC-BY-2.5-AU", "CC-BY-3.0-AT", "CC-BY-3.0-AU", "CC-BY-3.0-DE", "CC-BY-3.0-IGO", "CC-BY-3.0-NL", "CC-BY-3.0-US",
    "CC-BY-NC-3.0-DE", "CC-BY-NC-ND-3.0-DE", "CC-BY-NC-ND-3.0-IGO", "CC-BY-NC-SA-2.0-DE", "CC-BY-NC-SA-2.0-FR",
    "CC-BY-NC-SA-2.0-UK", "CC-BY-NC-SA-3.0-DE", "CC-BY-NC-SA-3.0-IGO", "CC-BY-ND-3.0-DE", "CC-BY-SA-2.0-UK",
    "CC-BY-SA-2.1-JP", "CC-BY-SA-3.0-AT", "CC-BY-SA-3.0-DE", "CC-BY-SA-3.0-IGO",
}  # fmt: skip


@lru_cache(4096)
def spdx(text: str | None) -> str | None:
    """The SPDX identifier of a licence as people write it, or None where it is not known for certain.

    A Creative Commons licence without a version becomes its family, such as CC-BY. Remarks in brackets are left out.

    >>> spdx("https://creativecommons.org/licenses/by-sa/4.0/deed.en"), spdx("CC BY 2.0"), spdx("all rights reserved")
    ('CC-BY-SA-4.0', 'CC-BY-2.0', None)
    """
    text = re.sub(r"\([^()]*\)", " ", (text or "")[:300].lower()).strip().split("?")[0].split("#")[0]
    address = _ADDRESS.fullmatch(text)
    if address:
        name, version, port = address.groups()
        plain = {"zero": "CC0-1.0", "mark": "CC-PDM-1.0", "certification": "CC-PDDC"}.get(name)
        return plain or _commons(name, version, port)
    text = re.sub(r"[\s_/,]+", "-", text.strip(" ."))
    for pattern, short in _WORDS:
        text = re.sub(pattern, short, text)
    text = re.sub(r"^-|-$|(?<=-)v(?=\d\.\d)", "", re.sub(r"-+", "-", text))
    text = re.sub(r"^cc-(?:cc-)?", "cc-", text)
    if text in _PLAIN or text in _KNOWN:
        return _PLAIN.get(text) or _KNOWN[text]
    commons = _CC.fullmatch(text)
    return _commons(*commons.groups()) if commons else None


def _commons(name: str, version: str | None, port: str | None) -> str | None:
    if not _CC.fullmatch(f"{name}-{version}" if version else name):
        return None
    family = f"CC-{name.upper()}"
    plain = f"{family}-{version}" if version else family
    ported = f"{plain}-{port.upper()}" if port else plain
    return ported if ported in _PORTS else plain


def identifiers(words: Iterable[str]) -> tuple[str, ...]:
    """Licences as a user lists them -> identifiers; InputError for a word that is none."""
    names = []
    for word in words:
        name = spdx(word)
        if name is None:
            known = [*sorted(_PLAIN), "cc-by", "cc-by-sa", "cc-by-nc", "cc-by-nd", "cc-by-nc-sa", "cc-by-nc-nd"]
            raise InputError(
                f"The licence {word!r} is not known.{did_you_mean(word.lower(), known)} "
                "It takes names such as cc0, cc-by, cc-by-sa-4.0."
            )
        names.append(name)
    return tuple(dict.fromkeys(names))


def is_among(name: str, allowed: Iterable[str]) -> bool:
    """Whether an identifier is one of the allowed ones; a family such as CC-BY takes in all its versions and no
    other."""
    return any(name == one or re.fullmatch(re.escape(one) + r"-\d\.\d(-[A-Z]+)?", name) for one in allowed)
