"""Fixtures that several tests share."""

from __future__ import annotations

import csv
import logging
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ganforge import models
from ganforge.cli import main
from ganforge.testing import make_store
from ganforge.training.train import train
from served import Site
from tiny import FOUR_CLASSES, THREE_CLASSES, TINY_OPTIONS, TWO_CLASSES

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


@pytest.fixture(scope="module")
def every_door() -> Iterator[str]:
    """The name of a small picture-to-picture system that takes everything that `restore` may take."""
    with pytest.MonkeyPatch.context() as patch:
        known = models.names()
        patch.setattr(models, "__path__", [*models.__path__, str(Path(__file__).parent / "systems")])
        patch.setattr(models, "names", lambda: [*known, "every_door"])
        yield "every_door"


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


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    """Three classes of 60, 30 and 10 noisy pictures, of two sizes, one of them twice."""
    root = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for name, count in (("many", 60), ("some", 30), ("few", 10)):
        (root / name).mkdir()
        for n in range(count):
            side = 24 if n % 3 else 32
            pixels = rng.integers(20, 200, (side, side, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / f"{n:02d}.png")
    shutil.copy(root / "many" / "00.png", root / "many" / "00 again.png")
    return root


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """120 pictures of TWO_CLASSES."""
    make_store(tmp_path / "store", TWO_CLASSES, 120)
    return tmp_path / "store"


@pytest.fixture
def run(store: Path, tmp_path: Path) -> Path:
    """A run of `gan` on `store`."""
    words = ["train", "gan", str(store), "--out", str(tmp_path / "run"), "--images", "64", *TINY_OPTIONS]
    assert main(words) == 0
    return tmp_path / "run"


@pytest.fixture(scope="module")
def labelled_store(tmp_path_factory) -> Path:
    """160 pictures of FOUR_CLASSES."""
    path: Path = tmp_path_factory.mktemp("labels") / "store"
    make_store(path, FOUR_CLASSES, 160)
    return path


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A folder with a `store` of THREE_CLASSES, a `run` that knows them, and `vae`, a run that restores."""
    folder: Path = tmp_path_factory.mktemp("runs")
    make_store(folder / "store", THREE_CLASSES, 60)
    loop = {"images": 32, "batch": 16, "precision": "fp32"}
    model = {"width": 8, "latent": 8}
    conditional = {**model, "conditional": True}
    train("gan", folder / "store", folder / "run", device_name="cpu", overrides={"train": loop, "model": conditional})
    train("vae", folder / "store", folder / "vae", device_name="cpu", overrides={"train": loop, "model": model})
    return folder
