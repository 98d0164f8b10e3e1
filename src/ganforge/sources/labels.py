"""The tables among a set's files that say labels, groups, captions and origins, and texts beside its pictures, carried
to a folder that is made of them."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from ganforge.base.errors import DataError
from ganforge.base.tables import read_csv, read_json, write_rows
from ganforge.sources.layout import CAPTIONS, finder

_COLUMNS = {"provenance.csv": "file", "labels.csv": "file", CAPTIONS: "file", "metadata.csv": "file_name",
            "metadata.jsonl": "file_name", "dataset.json": "file"}  # fmt: skip


def carry(source: Path, to: Path, names: Sequence[str], kept: Mapping[str, Sequence[str]]) -> None:
    """Write into the folder `to` the tables of the folder `source`, whose files are `names`, with the rows of those
    files that are keys of `kept`, once for each name that `kept` gives them in `to`. Which file a row means is decided
    as in layout.py. DataError where a table cannot be read, OSError where none can be written."""
    meant = finder(names)
    folders = {""}
    for name in names:
        name = name.removesuffix("/")  # a folder that cannot be listed
        while (name := name.rpartition("/")[0]) and f"{name}/" not in folders:
            folders.add(f"{name}/")
    for folder in sorted(folders):
        for kind, column in _COLUMNS.items():
            table = source / folder / kind
            if not table.is_file():
                continue
            rows = []
            for row in _read(table):
                matches = meant(folder + row[column]) if isinstance(row.get(column), str) and row[column] else ()
                if len(matches) == 1 and matches[0] in kept:
                    rows += [row | {column: name.removeprefix(folder)} for name in kept[matches[0]]]
            if rows:
                (to / folder).mkdir(parents=True, exist_ok=True)
                with (to / folder / kind).open("w", encoding="utf-8", newline="") as file:
                    _write(file, kind, rows)
    for name, made in kept.items():
        text = (source / name).with_suffix(".txt")
        for one in made if text.is_file() else ():
            shutil.copyfile(text, (to / one).with_suffix(".txt"))


def _read(path: Path) -> list[dict[str, Any]]:
    try:
        if path.suffix == ".csv":
            return read_csv(path.read_bytes())
        text = path.read_text("utf-8-sig")
        if path.suffix == ".jsonl":
            return [row for line in text.splitlines() if line.strip() and isinstance(row := read_json(line), dict)]
        content = read_json(text)
        rows = content.get("labels") if isinstance(content, dict) else None
        return [{"file": name, "label": label} for name, label in rows or ()]
    except (OSError, ValueError, TypeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read: {error}. Repair or remove it; the same command goes on.") from error


def _write(file: TextIO, kind: str, rows: list[dict[str, Any]]) -> None:
    """The values as they are: each row has to name its file exactly."""
    if kind.endswith(".jsonl"):
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    elif kind.endswith(".json"):
        json.dump({"labels": [[row["file"], row["label"]] for row in rows]}, file)
    else:
        write_rows(file, [name for name in rows[0] if name is not None], rows)
