"""Every hostile file ends as used or with a reason, in little memory, and nothing is written but the target."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from ganforge.base.tables import cell
from ganforge.store.store import Store
from hostile import Archive, Expectation, build, build_zips

LIMIT = 1 << 30
RUN = """
import contextlib, io, json, sys
from ganforge.cli import main
done = []
for words in json.loads(sys.argv[2]):
    with contextlib.redirect_stderr(io.StringIO()) as said:
        done.append((main(words), said.getvalue()))
with open("/proc/self/status") as status, open(sys.argv[1], "w") as out:
    peak = next(line.split()[1] for line in status if line.startswith("VmHWM"))
    json.dump({"kilobytes": int(peak), "done": done}, out)
"""

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is measured through /proc")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> tuple[Path, dict[str, Expectation]]:
    place = tmp_path_factory.mktemp("hostile")
    return place, build(place / "world" / "in")


@pytest.fixture(scope="module")
def archives(tmp_path_factory) -> tuple[Path, dict[str, Archive]]:
    place = tmp_path_factory.mktemp("zips")
    return place, build_zips(place / "world" / "in")


def tree(root: Path) -> dict[Path, tuple[int, int, str]]:
    """Mode, time of change and content of everything below."""
    out = {}
    for folder, folders, files in os.walk(root):
        for name in folders + files:
            path = Path(folder) / name
            info = path.lstat()
            plain = stat.S_ISREG(info.st_mode) and os.access(path, os.R_OK)
            content = hashlib.sha256(path.read_bytes()).hexdigest() if plain else ""
            out[path] = info.st_mode, info.st_mtime_ns if not stat.S_ISDIR(info.st_mode) else 0, content
    return out


def run(place: Path, *commands: list[str]) -> list[tuple[int, str]]:
    """Commands in a process of their own, in the folder `world`, whose home and scratch are in it -> exit codes and
    stderr.

    What all promise is checked: no traceback, little memory, nothing written or changed outside `world/out`.
    """
    world, facts = place / "world", place / "facts.json"
    for name in ("home", "scratch"):
        (world / name).mkdir(exist_ok=True)
    shutil.rmtree(world / "out", ignore_errors=True)
    before = tree(world)
    environment = {"HOME": str(world / "home"), "TMPDIR": str(world / "scratch"), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", RUN, str(facts), json.dumps(commands)]
    done = subprocess.run(
        command, cwd=world, env=os.environ | environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(facts.read_text())
    assert found["kilobytes"] * 1024 < LIMIT, f"{found['kilobytes'] / 1024:.0f} MiB"
    assert not any("Traceback" in said for _, said in found["done"])
    after = tree(world)
    assert {path: facts for path, facts in after.items() if path in before} == before, "something was touched"
    assert not [path for path in after if path not in before and not path.is_relative_to(world / "out")]
    return [(code, said) for code, said in found["done"]]


def compare(expected: dict[str, Expectation], used: set[str], reasons: dict[str, str]) -> None:
    assert used | reasons.keys() == expected.keys()
    assert not used & reasons.keys()
    wrong = []
    for name, expectation in expected.items():
        found = reasons.get(name)
        if (expectation.reason is None) != (found is None) or (found and not re.match(expectation.reason or "", found)):
            wrong.append(f"{name!r}: {found!r}, not {expectation.reason!r}")
    assert not wrong, "\n".join(wrong)


def rows(store: Path) -> tuple[set[str], dict[str, str]]:
    table = pq.read_table(store / "meta.parquet", columns=["file", "dropped"]).to_pylist()
    assert len({row["file"] for row in table}) == len(table)
    return {r["file"] for r in table if r["dropped"] is None}, {r["file"]: r["dropped"] for r in table if r["dropped"]}


def test_the_corpus_is_large_and_small_on_disk(corpus):
    place, expected = corpus
    assert len(expected) >= 100
    assert sum(e.reason is None for e in expected.values()) >= 40
    assert sum(p.lstat().st_size for p in (place / "world").rglob("*")) < 20_000_000


def test_prepare_survives_it(corpus):
    place, expected = corpus
    ((code, said),) = run(place, ["prepare", "in", "-o", "out", "--resolution", "32"])
    assert code == 2, said
    compare(expected, *rows(place / "world" / "out"))
    store = Store(place / "world" / "out")
    store.verify()
    assert store.read(np.arange(len(store))).shape[1:] == (32, 32, 3)


def test_clean_survives_it(corpus):
    place, expected = corpus
    ((code, said),) = run(
        place, ["clean", "in", "-o", "out", "--filter", "median:size=3", "--filter", "upscale:side=24"]
    )
    assert code == 2, said
    out = place / "world" / "out"
    with (out / "dropped.csv").open(newline="") as file:
        named = {cell(name): name for name in expected}
        reasons = {named[row["file"]]: row["reason"] for row in csv.DictReader(file)}
    made = [path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()]
    kept = {name for name in made if name not in ("dropped.csv", "history.jsonl")}
    assert len(kept) == len(expected) - len(reasons)
    compare(expected, expected.keys() - reasons.keys(), reasons)
    assert not [path for path in out.rglob("*") if path.is_symlink()]


def test_audit_survives_it(corpus):
    place, expected = corpus
    ((code, said),) = run(place, ["audit", "in", "-o", "out"])
    assert code == 2, said
    table = pq.read_table(
        place / "world" / "out" / "pictures.parquet", columns=["file", "verdict", "reasons"]
    ).to_pylist()
    found = {row["file"]: row for row in table}
    assert found.keys() == expected.keys()
    for name, expectation in expected.items():
        if expectation.reason is not None:
            assert found[name]["verdict"] == "reject", (name, found[name])
            assert found[name]["reasons"], name


def test_prepare_survives_the_archives(archives):
    place, expected = archives
    commands = [["prepare", f"in/{name}", "-o", f"out/{name}", "--resolution", "32"] for name in expected]
    for (name, archive), (code, said) in zip(expected.items(), run(place, *commands), strict=True):
        out = place / "world" / "out" / name
        lost = any(member.reason for member in (archive.members or {}).values())
        assert code == (1 if archive.refused else 2 if lost else 0), (name, said)
        if archive.refused:
            assert archive.refused in said, (name, said)
            assert len(said.strip().splitlines()) == 1
            assert not out.exists()
        else:
            compare(archive.members or {}, *rows(out))
