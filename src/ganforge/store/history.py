"""What was done to a folder of pictures: `history.jsonl` beside them, one line a step, only ever added to."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ganforge.base.files import writing
from ganforge.base.tables import read_json
from ganforge.version import __version__

NAME = "history.jsonl"


def carry(to: Path, *sources: Path) -> None:
    """Begin the history of `to` with those of the folders `sources`. DataError where it cannot be written."""
    with writing(to / NAME, "Free some space."), (to / NAME).open("w", encoding="utf-8") as file:
        file.writelines(
            json.dumps(_public(step), ensure_ascii=False) + "\n" for source in sources for step in read(source)
        )


def _public(value: Any) -> Any:
    """Values without the folders of somebody's disk, of which only the last name is kept: histories are published."""
    if isinstance(value, dict):
        return {name: _public(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_public(part) for part in value]
    if isinstance(value, str) and re.match(r"/|file:|[A-Za-z]:[\\/]", value):
        return re.split(r"[\\/]", value.rstrip("\\/"))[-1]
    return value


def step(verb: str, **facts: Any) -> dict[str, Any]:
    """One step: the verb, when (UTC), by which version, and facts: settings, counts, hashes."""
    return {"verb": verb, "at": datetime.now(UTC).isoformat(timespec="seconds"), "ganforge": __version__, **facts}


def record(folder: Path, verb: str, **facts: Any) -> None:
    """Add one step to the folder's history, with the last names of paths. DataError where it cannot be written."""
    with writing(folder / NAME, "Free some space."), (folder / NAME).open("a", encoding="utf-8") as file:
        file.write(json.dumps(step(verb, **_public(facts)), ensure_ascii=False) + "\n")


def read(folder: Path) -> list[dict[str, Any]]:
    """The folder's steps, the first one first; lines that were damaged are left out."""
    steps = []
    try:
        lines = (folder / NAME).read_text("utf-8", errors="replace").splitlines()
    except OSError:
        return []
    for line in lines:
        try:
            entry = read_json(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and {"verb", "at"} <= entry.keys():
            steps.append(entry)
    return steps
