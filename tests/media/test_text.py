"""Texts as rows: every character comes back, and what is no text is said to be none."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ganforge.base import marks
from ganforge.base.errors import InputError
from ganforge.media.medium import Unusable
from ganforge.media.spec import Spec, spec_from, to_float, to_uint8
from ganforge.media.text import BETWEEN, COLUMNS, END, Text, decode, planes, tokens

ALPHABET = END + "\n !ABCabc\u00e9\u65e5\U0001f600"
TEXT = Text(ALPHABET)


def rows_of(text: str, width: int = 8, stride: int = 8) -> list:
    return list(TEXT.rows(text, width, stride))


def test_tokens_are_exact_for_all_256_values():
    numbers = torch.arange(256).reshape(2, 128)
    assert torch.equal(tokens(planes(numbers)), numbers)
    assert planes(numbers).min() == -1 and planes(numbers).max() == 1
    pixels = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 256, 1)
    assert torch.equal(tokens(to_float(pixels)), pixels[:, 0, :, 0].long())
    assert torch.equal(to_uint8(planes(tokens(to_float(pixels)))), pixels)
    half = to_float(pixels).to(torch.bfloat16).float()
    assert (tokens(half) - numbers.reshape(1, 256)).abs().max() <= 1, "of numbers that were rounded, the nearest"


def test_every_character_comes_back():
    text = ALPHABET[1:] * 3
    passages = rows_of(text)
    assert [start for start, _ in passages] == list(range(0, len(text), 8))
    assert all(row.shape == (1, 8, 1) and row.dtype == np.uint8 for _, row in passages)
    assert "".join(TEXT.text(row) for _, row in passages) == text


@pytest.mark.parametrize(
    ("length", "stride", "starts"),
    [(0, 8, [0]), (3, 8, [0]), (8, 8, [0]), (9, 8, [0, 8]), (16, 4, [0, 4, 8]), (17, 8, [0, 8, 16])],
)
def test_where_passages_begin(length, stride, starts):
    """The last one is filled up with the sign for the end."""
    passages = rows_of("a" * length, stride=stride)
    assert [start for start, _ in passages] == starts
    assert [len(TEXT.text(row)) for _, row in passages] == [min(8, length - start) for start in starts]


def test_a_character_outside_of_the_alphabet_is_named():
    (_, row), (_, reason) = rows_of("abcabcabx#y$z")
    assert TEXT.text(row) == "abcabcab"
    assert reason == "outside of the alphabet: '#' (U+0023), '$' (U+0024), 'x' (U+0078), …"
    assert TEXT.outside("cab") == ""
    assert TEXT.outside("a\0") == "outside of the alphabet: '\\x00' (U+0000)", "the sign for the end stands in no text"


def test_a_passage_ends_with_the_first_end_and_shows_what_it_cannot_know():
    row = np.array([4, 5, 0, 6, 200], np.uint8)[None, :, None]
    assert TEXT.text(row) == "AB"
    row[0, 2] = 255
    assert TEXT.text(row) == "AB\ufffdC\ufffd"


def test_all_255_characters_are_exact():
    medium = Text(END + "".join(chr(0x4E00 + n) for n in range(255)))
    text = medium.alphabet[1:]
    assert sorted(medium.numbers(text).tolist()) == list(range(1, 256))
    assert "".join(medium.text(row) for _, row in medium.rows(text, 15, 15)) == text


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"one\r\ntwo\rthree\n", "one\ntwo\nthree\n"),
        ("é".encode(), "é"),
        ("\ufeffé".encode(), "é"),
        ("日本".encode("utf-16"), "日本"),
        ("\ufeff日本".encode("utf-16-be"), "日本"),
    ],
)
def test_texts_are_read_in_utf_8_and_utf_16(data, text):
    assert decode(data) == text


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b" \n\t", "empty"),
        (b"\x89PNG\r\n\x1a\n\0\0", "bytes of 0"),
        ("é".encode("latin-1"), "no text in UTF-8: byte 0xe9 at 0; convert it"),
        (b"\xff\xfea", "no text in UTF-8"),
        ("a\0b".encode("utf-16"), "bytes of 0"),
    ],
)
def test_what_is_no_text_says_why(data, reason):
    with pytest.raises(Unusable, match=reason):
        decode(data)


def test_passages_are_drawn_line_by_line():
    """A line break in the text is one in the picture, and what does not fit ends in an ellipsis."""
    rows = np.concatenate([row for _, row in rows_of("ab\nc", 64, 64)] * 2)[:, None].reshape(2, 1, 64, 1)
    drawn = TEXT.as_pictures(rows)
    assert drawn.shape == (2, 6 * 14 + 12, COLUMNS * 8 + 12, 1) and drawn.dtype == np.uint8
    inked = (drawn[0, 6:-6, 6:-6, 0] < 128).reshape(6, 14, COLUMNS, 8).any((1, 3))
    assert np.argwhere(inked).tolist() == [[0, 0], [0, 1], [1, 0]]
    assert np.array_equal(drawn[0], drawn[1])
    breaks = np.ones((1, 1, 64, 1), np.uint8)
    assert (TEXT.as_pictures(breaks)[0, -20:-6] < 128).any(), "an ellipsis in the last line"


def test_passages_are_written_with_a_mark_beside_them(tmp_path):
    rows = np.stack([row for _, row in rows_of("ab\n cABCa!é日")])
    one, several = tmp_path / "one.txt", tmp_path / "several.txt"
    TEXT.write(one, rows[:1], {"seeds": [1]})
    TEXT.write(several, rows)
    assert one.read_bytes() == b"ab\n cABC"
    assert several.read_text("utf-8") == f"ab\n cABC{BETWEEN}a!é日"
    assert marks.read(one) == {"generated": True, "seeds": [1]}
    assert not (tmp_path / "several.txt.json").exists()
    with pytest.raises(InputError, match=r"cannot hold passages\. Let its name end in \.txt"):
        TEXT.write(tmp_path / "one.png", rows)


def test_the_alphabet_travels_with_the_spec():
    spec = Spec(1, 64, 1, medium=TEXT)
    assert spec_from(spec.to_plain()) == spec
    assert str(spec) == f"64 characters of {len(ALPHABET) - 1}"
    assert not spec.is_picture and spec.shown_channels == 1


@pytest.mark.parametrize(
    ("shape", "alphabet"),
    [
        ((2, 64, 1), ALPHABET),
        ((1, 64, 3), ALPHABET),
        ((1, 64, 1), "abc"),
        ((1, 64, 1), END),
        ((1, 64, 1), END + "aa"),
        ((1, 64, 1), END + "".join(map(chr, range(1, 257)))),
        ((1, 64, 1), 7),
    ],
)
def test_rows_that_cannot_be_passages(shape, alphabet):
    height, width, channels = shape
    values = {"height": height, "width": width, "channels": channels, "classes": []}
    with pytest.raises(ValueError, match=r"passage|alphabet"):
        spec_from({**values, "medium": {"kind": "text", "alphabet": alphabet}})
