"""Words with numbers and ranges."""

from __future__ import annotations

import pytest

from ganforge.base.errors import InputError
from ganforge.base.words import ranges, terms


def test_words_with_numbers_and_ranges():
    assert terms("flip, rotate 20", {"flip": None, "rotate": 5.0}, "here") == {"flip": None, "rotate": 20.0}
    expected = {"blur": (0.2, 3.0), "down": (4.0, 4.0), "grey": None}
    assert ranges("blur 0.2..3,down 4, grey,", expected, "here") == expected
    assert list(ranges("grey, down 2", expected, "here")) == ["grey", "down"]


@pytest.mark.parametrize("text", ["blur 3..1", "blur a", "blur 1..", "blur ..1", "blur 1 2", "blur nan", "blur 0..inf"])
def test_what_is_no_range(text):
    with pytest.raises(InputError, match=r"here says .* smaller number first: blur 2 or blur 1\.\.3"):
        ranges(text, ["blur"], "here")


@pytest.mark.parametrize("read", [terms, ranges])
def test_words_that_are_unknown_or_repeated(read):
    with pytest.raises(InputError, match="here names 'blurr'"):
        read("blurr 1", {"blur": 1.0}, "here")
    with pytest.raises(InputError, match="names blur twice"):
        read("blur 1, blur 2", {"blur": 1.0}, "here")
