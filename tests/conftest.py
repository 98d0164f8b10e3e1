"""Fixtures that several tests share."""

from __future__ import annotations

import csv
import logging
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ganforge.cli import main
from served import Site

# a shell's background job ignores it, and so would its children
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory) -> None:
    """Stamps and shards of stores in the tests stay out of the user's cache."""
    os.environ["GANFORGE_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data sets, where the environment names one."""
    folder = os.environ.get("GANFORGE_TEST_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("GANFORGE_TEST_DATA does not name the folder of real data sets")
    return Path(folder)


@pytest.fixture
def logged() -> Iterator[list[str]]:
    """The lines that ganforge logs during a test."""
    logger, handler, lines = logging.getLogger("ganforge"), logging.Handler(logging.INFO), []
    handler.emit = lambda record: lines.append(record.getMessage())
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield lines
    logger.removeHandler(handler)
    logger.setLevel(logging.NOTSET)


@pytest.fixture
def fails(capsys):
    """Run a command that must fail with one helpful sentence; returns the message."""

    def run(*words: object, code: int = 1) -> str:
        assert main([str(word) for word in words]) == code
        message = capsys.readouterr().err
        assert message.startswith("ganforge: ")
        assert "Traceback" not in message
        assert len(message.strip().splitlines()) == 1
        return message

    return run


@pytest.fixture
def site() -> Iterator[Site]:
    server = Site()
    yield server
    server.server.shutdown()
    server.server.server_close()


@pytest.fixture
def fast(tmp_path: Path, site: Site) -> Callable[..., Path]:
    """Write a recipe around sources, with limits that suit a test."""

    def write(*sources: str, limits: str = "", top: str = "", name: str = "recipe.toml") -> Path:
        path = tmp_path / name
        tables = "\n".join(f"[[source]]\n{source}" for source in sources)
        usual = "".join(
            f"{line}\n" for line in ("rate = 0", "per_host = 16", "wait = 2.0") if line.split()[0] not in limits
        )
        head = f"allow_host = '{site.host}'\nlicence = []\nunknown_rights = 'mix'\n{top}\n"
        path.write_text(f"{head}[limits]\n{usual}{limits}\n{tables}\n")
        return path

    return write


@pytest.fixture(scope="session")
def licensed(tmp_path_factory) -> Path:
    """Two classes, one with a name that no path can hold, some names twice, with licences and authors."""
    root = tmp_path_factory.mktemp("rights") / "set"
    rng = np.random.default_rng(0)
    rows = []
    for n in range(40):
        path = root / ("cat", "dog & co")[n % 2] / ("ä b", "c")[n // 2 % 2] / f"{n // 4:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(path)
        if n:
            address = f"https://{('a', 'b')[n % 2]}.example/{n}.png" if n > 1 else "http://[no address"
            author = f"<b>N. {n % 3}</b> | *x*"
            rows.append((path.relative_to(root).as_posix(), address, ("CC-BY-4.0", "CC0-1.0", "")[n % 3], author))
    with (root / "provenance.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("file", "address", "licence", "author"), *rows])
    return root
