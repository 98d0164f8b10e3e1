"""Captions: words as numbers and back, and sentences that cannot be read."""

from __future__ import annotations

import numpy as np
import pytest

from ganforge.base.errors import InputError
from ganforge.media.captions import MOST_KNOWN, Captions, of_texts, words_of
from ganforge.media.spec import Spec, spec_from

TEXTS = [["A red ring above a blue square."], ["a Blue ring!", "the ring is blue"], ["красный круг"]]


def test_words_are_in_lower_case_and_lists_of_numbers_have_none():
    assert words_of("An artist's  BLUE-green fish, 2 of them") == [
        "an", "artist's", "blue", "green", "fish", "2", "of", "them",
    ]  # fmt: skip
    assert words_of("0 0.51 0.25 0.1 0.2\n3 0.1 0.1 0.2 0.2") == []
    assert words_of("") == []


def test_the_most_frequent_words_come_first_and_several_captions_stand_beside_each_other():
    captions, rows = of_texts(TEXTS)
    assert captions.words[:3] == ("a", "blue", "ring") and captions.length == 7
    assert rows.shape == (3, 2, 7) and rows.dtype == np.uint16
    assert captions.text(rows[0, 0]) == "a red ring above a blue square"
    assert captions.text(rows[1, 1]) == "the ring is blue" and not rows[0, 1].any()
    assert captions.text(captions.row("красный круг")) == "красный круг"
    assert set(captions.examples) == {text for some in TEXTS for text in some}


def test_no_more_words_are_known_than_a_row_can_name():
    captions, rows = of_texts([[f"w{n} a"] for n in range(MOST_KNOWN + 9)])
    assert len(captions.words) == MOST_KNOWN and captions.words[0] == "a"
    assert captions.text(rows[0, 0]) == "w0 a" and captions.text(rows[9_999, 0]) == "a"


def test_a_sentence_becomes_as_long_as_it_needs():
    captions, _ = of_texts(TEXTS)
    rows = captions.rows(["a ring", "a blue ring above a red ring above a blue square"], "RUN")
    assert rows.shape == (2, 11) and rows.dtype == np.int64
    assert captions.text(rows[1]) == "a blue ring above a red ring above a blue square"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a purpel rings", "RUN never saw the words 'purpel', 'rings' (did you mean 'ring'?). It knows 10: a, blue"),
        ("", "no words"),
        ("!!!", "no words"),
        ("a " * 10_000, "10,000 words; it takes 1 to 64"),
        ("a \udc80 ring", "UTF-8"),
    ],
)
def test_sentences_that_cannot_be_read(text, sentence):
    captions, _ = of_texts(TEXTS)
    with pytest.raises(InputError) as error:
        captions.rows([text], "RUN")
    assert sentence in str(error.value)


def test_they_go_through_plain_values():
    captions, _ = of_texts(TEXTS)
    spec = Spec(8, 8, 3, captions=captions)
    assert spec_from(spec.to_plain()) == spec
    assert "captions" not in Spec(8, 8, 3).to_plain()
    assert str(spec) == "8x8 RGB, captions of 10 words"


@pytest.mark.parametrize(
    "values",
    [
        {"words": [], "length": 3, "examples": ["a"]},
        {"words": ["a", "a"], "length": 3, "examples": ["a"]},
        {"words": ["a", 1], "length": 3, "examples": ["a"]},
        {"words": ["a"], "length": 65, "examples": ["a"]},
        {"words": ["a"], "length": True, "examples": ["a"]},
        {"words": ["a"], "length": 1, "examples": []},
    ],
)
def test_values_that_are_no_captions(values):
    with pytest.raises(ValueError, match="captions"):
        Captions(**values)
