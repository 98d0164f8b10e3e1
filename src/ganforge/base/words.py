"""Lists of words, some with a number behind them, such as `"flip, rotate 10"`: the syntax of augmentations."""

from __future__ import annotations

import math
from collections.abc import Mapping

from ganforge.base.errors import InputError, did_you_mean


def terms(text: str, defaults: Mapping[str, float | None], where: str) -> dict[str, float | None]:
    """`"flip, rotate 20"` -> {"flip": its default, "rotate": 20.0}: known words, each at most once, each
    with a number behind it or without.

    InputError for a word that is not in `defaults`, and for a number that is none or below 0.
    """
    values: dict[str, float | None] = {}
    for term in filter(None, (part.strip() for part in text.split(","))):
        word, *numbers = term.split()
        if word not in defaults:
            raise InputError(f"{where} names {word!r}.{did_you_mean(word, defaults)}")
        if word in values:
            raise InputError(f"{where} names {word} twice; once is enough.")
        value = defaults[word]
        try:
            value = float(" ".join(numbers)) if numbers else value
        except ValueError:
            value = math.nan
        if value is not None and not 0 <= value < math.inf:
            raise InputError(f"{where} says {term!r}; it takes a word and perhaps a number from 0 on: {word} 0.1.")
        values[word] = value
    return values
