"""Lists of words, some with a number or a range behind them, such as `"flip, rotate 10"` or `"blur 0.2..3, grey"`:
the syntax of augmentations and degradations."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping

from ganforge.base.errors import InputError, did_you_mean


def terms(text: str, defaults: Mapping[str, float | None], where: str) -> dict[str, float | None]:
    """`"flip, rotate 20"` -> {"flip": its default, "rotate": 20.0}: known words, each at most once, each
    with a number behind it or without.

    InputError for a word that is not in `defaults`, and for a number that is none or below 0.
    """
    values: dict[str, float | None] = {}
    for term, word, number in _split(text, defaults, where):
        value = _number(number) if number else defaults[word]
        if value is not None and not 0 <= value < math.inf:
            raise InputError(f"{where} says {term!r}; it takes a word and perhaps a number from 0 on: {word} 0.1.")
        values[word] = value
    return values


def ranges(text: str, known: Collection[str], where: str) -> dict[str, tuple[float, float] | None]:
    """`"down 4, blur 0.2..3, grey"` -> {"down": (4.0, 4.0), "blur": (0.2, 3.0), "grey": None}: known words, each at
    most once, in the order of the text.

    InputError for a word that is not in `known`, and for what is neither a number nor a range from a number to one
    that is not smaller."""
    values: dict[str, tuple[float, float] | None] = {}
    for term, word, number in _split(text, known, where):
        values[word] = None
        if number:
            low, dots, high = number.partition("..")
            values[word] = first, last = _number(low), _number(high if dots else low)
            if not first <= last < math.inf:
                raise InputError(
                    f"{where} says {term!r}; behind a word stands a number or a range, smaller number first: "
                    f"{word} 2 or {word} 1..3."
                )
    return values


def _split(text: str, known: Collection[str], where: str) -> Iterator[tuple[str, str, str]]:
    """(term, word, what stands behind the word) of each term. InputError for unknown words and for repeated ones."""
    words: set[str] = set()
    for term in filter(None, (part.strip() for part in text.split(","))):
        word, *numbers = term.split()
        if word not in known:
            raise InputError(f"{where} names {word!r}.{did_you_mean(word, known)}")
        if word in words:
            raise InputError(f"{where} names {word} twice; once is enough.")
        words.add(word)
        yield term, word, " ".join(numbers)


def _number(text: str) -> float:
    """NaN where it is none."""
    try:
        return float(text)
    except ValueError:
        return math.nan
