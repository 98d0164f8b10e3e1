"""Fixtures that several tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ganforge.cli import main


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data sets, where the environment names one."""
    place = os.environ.get("GANFORGE_TEST_DATA")
    if not place or not Path(place).is_dir():
        pytest.skip("GANFORGE_TEST_DATA does not name the folder of real data sets")
    return Path(place)


@pytest.fixture
def fails(capsys):
    """Run a command that must fail with one helpful sentence; returns what it said."""

    def run(*words: object, code: int = 1) -> str:
        assert main([str(word) for word in words]) == code
        said = capsys.readouterr().err
        assert said.startswith("ganforge: ")
        assert "Traceback" not in said
        assert len(said.strip().splitlines()) == 1
        return said

    return run
