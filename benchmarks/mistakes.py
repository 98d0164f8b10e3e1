"""Mistakes that people make and damage that happens, planted in a copy of a real set, and what the tool says of each.

    python benchmarks/mistakes.py --data FOLDER [--only PATTERN] [--jobs 2] [--keep DIR]

FOLDER holds `flowers/flowers128.zip`, of which 300 photographs of five classes are taken. Each mistake is planted by
itself, and the command line is run in a process of its own. What is expected was written down before: an exit code, a
word in what is said, what has to be left as it was, and what may not have been made. A traceback is always wrong. Root
may read everything, so as root the program gives up that right."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import common
from mistakes_data import audits, layouts, pictures, tables
from mistakes_ground import Ground, Mistake, command, content
from mistakes_use import options, places, runs, stores

PARTS = (options, runs, audits, tables, layouts, pictures, places, stores)


def judge(mistake: Mistake, code: int, said: str, before: str | None) -> list[str]:
    """What is not as it should be."""
    wrong = [] if code == mistake.code else [f"exit code {code}, not {mistake.code}"]
    if not re.search(mistake.says, said, re.I | re.S):
        wrong.append(f"nothing is said of {mistake.says!r}")
    if "Traceback" in said:
        wrong.append("a traceback")
    if mistake.spared and content(mistake.spared) != before:
        wrong.append(f"{mistake.spared.name} is not as it was")
    if mistake.absent and mistake.absent.exists():
        wrong.append(f"{mistake.absent.name} was made")
    return wrong


def sentence(mistake: Mistake, said: str) -> str:
    """The line that says it."""
    lines = [line.strip() for line in said.splitlines() if line.strip()] or [""]
    for line in lines:
        if line.startswith("ganforge: ") or re.search(mistake.says, line, re.I):
            return line
    return lines[-1]


def plant(ground: Ground, part: Callable[[Ground], Iterable[Mistake]]) -> list[dict[str, Any]]:
    """One mistake after the other, what was said of it, and whether that is as it should be."""
    rows: list[dict[str, Any]] = []
    ground.part = part.__name__
    for mistake in part(ground):
        before = content(mistake.spared) if mistake.spared else None
        code, said = command(mistake.words, ground.room(), mistake.room)
        wrong = judge(mistake, code, said, before)
        line = sentence(mistake, said).replace(f"{ground.place}/", "")
        rows.append(
            {
                "part": part.__name__,
                "planted": mistake.planted,
                "verb": mistake.words[0],
                "exit": code,
                "said": line,
                "expected": [mistake.code, mistake.says],
                "wrong": wrong,
            }
        )
        print(f"{'WRONG' if wrong else 'right':5}  {code}  {mistake.planted:48.48}  {line[:240]}", flush=True)
        for reason in wrong:
            print(f"{'':9}{reason}", flush=True)
    return rows


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--data", type=Path, required=True)
    words.add_argument("--only", default="", help="parts whose names fit this pattern alone; nothing is written")
    words.add_argument("--jobs", type=int, default=2, help="parts at once (2)")
    words.add_argument("--keep", type=Path, help="a folder for what is planted, which is kept")
    asked = words.parse_args()
    if os.geteuid() == 0 and "MISTAKES_PLAIN" not in os.environ:
        os.environ["MISTAKES_PLAIN"] = "1"
        os.execvp("setpriv", ["setpriv", "--bounding-set", "-dac_override,-dac_read_search", sys.executable, *sys.argv])
    place = asked.keep or Path(tempfile.mkdtemp())
    place.mkdir(exist_ok=True)
    ground = Ground(place, asked.data / "flowers" / "flowers128.zip")
    start = time.perf_counter()
    parts = [part for part in PARTS if re.search(asked.only, part.__name__)]
    with ProcessPoolExecutor(asked.jobs, get_context("fork")) as pool:
        rows = [row for rows in pool.map(plant, [ground] * len(parts), parts) for row in rows]
    right = sum(not row["wrong"] for row in rows)
    print(f"{right} of {len(rows)} as they should be")
    if not asked.only:
        common.write(
            "mistakes",
            {"seconds": round(time.perf_counter() - start), "planted": len(rows), "right": right, "mistakes": rows},
        )
    if not asked.keep:
        shutil.rmtree(place)


if __name__ == "__main__":
    main()
