"""Captions: sentences that say what a picture shows, and their words as numbers."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from ganforge.base.errors import InputError, check_text
from ganforge.base.seeds import permuted

MOST_WORDS, MOST_CAPTIONS = 64, 10
"""Words of a caption, and captions of a picture, at most."""
MOST_KNOWN = 16_384
"""Words of a set at most, the most frequent ones."""
EXAMPLES = 64
_WORD = re.compile(r"\w+(?:['’]\w+)*")
Numbers = npt.NDArray[np.uint16]


def words_of(text: str) -> list[str]:
    """The words of a caption, in lower case; none where it has no letters, as lists of numbers have none."""
    words = _WORD.findall(text.lower())
    return words if any(char.isalpha() for char in text) else []


@dataclass(frozen=True)
class Captions:
    """The words that the captions of a set are made of. Row k of what a network learns of words stands for
    `words[k - 1]`; number 0 is after the end of a caption."""

    words: tuple[str, ...]
    """The most frequent first."""
    length: int
    """Words of the longest caption."""
    examples: tuple[str, ...]
    """Some of the captions, for samples of which nobody says what they are to show."""

    def __post_init__(self) -> None:
        """ValueError where they cannot be of captions, as values of an edited file may."""
        for name in ("words", "examples"):
            texts = getattr(self, name)
            if not all(isinstance(text, str) for text in texts):
                raise ValueError(f"{name} of captions are no list of texts")
            object.__setattr__(self, name, tuple(texts))  # a list where it was read from a file
        if not 1 <= len(self.words) <= MOST_KNOWN or len(set(self.words)) < len(self.words) or not self.examples:
            raise ValueError(f"{len(self.words):,} words and {len(self.examples)} examples of captions")
        if type(self.length) is not int or not 1 <= self.length <= MOST_WORDS:
            raise ValueError(f"captions of {self.length!r} words")

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {word: number for number, word in enumerate(self.words, 1)}

    def _named(self, word: str) -> str:
        """An unknown word, with the nearest known one."""
        near = difflib.get_close_matches(word, self.words, n=1)
        return f"{word!r} (did you mean {near[0]!r}?)" if near else repr(word)

    def row(self, text: str) -> Numbers:
        """(length,) uint16: the numbers of the words of a caption, without those that are not known."""
        row = np.zeros(self.length, np.uint16)
        numbers = [self._numbers[word] for word in words_of(text) if word in self._numbers][: self.length]
        row[: len(numbers)] = numbers
        return row

    def text(self, numbers: Iterable[int]) -> str:
        """The words of a row, in lower case and without what stands between them."""
        return " ".join(self.words[number - 1] for number in numbers if number)

    def rows(self, texts: Sequence[str], holder: object) -> npt.NDArray[np.int64]:
        """Sentences that a user writes -> (N, L) int64, L as long as the longest of them needs, at least `length`.
        InputError for a word that `holder` did not learn, with the nearest one that it did, and for none or too
        many."""
        known: list[list[int]] = []
        for text in texts:
            check_text(text)
            words = words_of(text)
            if not 1 <= len(words) <= MOST_WORDS:
                what = f"{len(words):,} words" if words else "no words"
                raise InputError(f"The text has {what}; it takes 1 to {MOST_WORDS}, such as: {self.examples[0]}")
            if strange := [word for word in dict.fromkeys(words) if word not in self._numbers]:
                named = ", ".join(map(self._named, strange[:5]))
                raise InputError(
                    f"{holder} never saw the word{'s' * (len(strange) > 1)} {named}. It knows {len(self.words):,}: "
                    f"{', '.join(self.words[:24])}{', …' if len(self.words) > 24 else ''}."
                )
            known.append([self._numbers[word] for word in words])
        out = np.zeros((len(known), max(self.length, *map(len, known))), np.int64)
        for row, numbers in zip(out, known, strict=True):
            row[: len(numbers)] = numbers
        return out


def of_texts(texts: Iterable[Sequence[str]]) -> tuple[Captions, npt.NDArray[np.uint16]]:
    """The captions of all pictures, several of each, one at least -> their words, and (N, K, L) uint16: K of each
    picture, as many as most have; rows of zeros where there are fewer."""
    all_texts = [list(some) for some in texts]
    counts: Counter[str] = Counter()
    lengths = {0}
    for some in all_texts:
        for text in some:
            words = words_of(text)
            counts.update(words)
            lengths.add(len(words))
    known = sorted(counts, key=lambda word: (-counts[word], word))[:MOST_KNOWN]
    distinct = sorted({text for some in all_texts for text in some})
    chosen = permuted(0, "captions", len(distinct), np.arange(min(EXAMPLES, len(distinct))))
    captions = Captions(tuple(known), max(lengths), tuple(distinct[n] for n in chosen))
    rows = np.zeros((len(all_texts), max(map(len, all_texts)), captions.length), np.uint16)
    for row, some in zip(rows, all_texts, strict=True):
        for number, text in enumerate(some):
            row[number] = captions.row(text)
    return captions, rows
