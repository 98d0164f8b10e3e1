"""Settings as TOML and back."""

from __future__ import annotations

import os
import shutil
import tomllib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ganforge.auditing.settings import Settings as AuditSettings
from ganforge.base import config
from ganforge.base.config import to_toml
from ganforge.base.errors import InputError
from ganforge.media.spec import Spec
from ganforge.testing import make_store

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
VALUES = st.one_of(TEXTS, st.integers(), st.booleans(), st.floats(allow_nan=False), st.lists(TEXTS, max_size=3))


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from("abc"), VALUES))
def test_plain_values_come_back(values):
    assert tomllib.loads(to_toml({"section": values})) == {"section": values}


def test_notes_are_comments_and_none_is_left_out():
    text = to_toml({"a": {"x": 1, "y": None, "z": None}}, {"a": {"x": "a number", "y": "nothing"}})
    assert text.splitlines() == ["[a]", f"{'x = 1':<32}  # a number", f"{'# y =':<32}  # nothing"]


def test_delete_is_escaped():
    assert to_toml({"a": {"x": "\x7f"}}) == '[a]\nx = "\\u007f"\n'


def test_a_store_whose_name_is_no_utf8_is_one_sentence(tmp_path, fails):
    with pytest.raises(InputError, match="no UTF-8"):
        to_toml({"a": {"x": ["\udcff"]}})
    make_store(tmp_path / "store", Spec(8, 8, 1), 40)
    odd = os.fsdecode(os.fsencode(tmp_path) + b"/st\xff")
    try:
        shutil.copytree(tmp_path / "store", odd)
    except OSError:
        pytest.skip("the file system takes names of UTF-8 alone")
    said = fails("train", "gan", odd, "-o", tmp_path / "run", "--images", "16", "--train.batch", "8")
    assert "no UTF-8" in said


def test_whole_numbers_keep_all_their_digits():
    """As a float, 2^53 + 1 is 2^53."""
    assert config.parse(AuditSettings, "seed", "9_007_199_254_740_993", "audit") == 2**53 + 1
    assert config.parse(AuditSettings, "seed", "1e3", "audit") == 1000
    for text in ("1.5", "nan", "inf", "-", "9" * 5000, "\u00b2"):
        with pytest.raises(InputError):
            config.parse(AuditSettings, "seed", text, "audit")


def test_no_path_holds_the_character_0(tmp_path, fails):
    (tmp_path / "c.toml").write_text('[audit]\nlabels = "a\\u0000b"\n')
    assert "the character 0" in fails("audit", tmp_path, "--config", tmp_path / "c.toml")
