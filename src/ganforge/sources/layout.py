"""What the names of a set's files say: folders around everything, a split, classes; and tables of labels that stand
beside them.

One rule for folders, zips and tars. Layer by layer from the top, a folder that holds everything is passed over; folders
named train and test (or val, ...) are the split; the next folders are the classes. A split may lie below the classes as
well."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from typing import Any

from ganforge.base.errors import DataError
from ganforge.base.tables import read_csv, read_json, recorded

SPLITS = {"train": "train", "training": "train", "test": "heldout", "val": "heldout", "valid": "heldout",
          "validation": "heldout", "heldout": "heldout"}  # fmt: skip
ASTRAY = 20
"""Folders are classes where at most one picture in so many lies beside them."""


@dataclass(frozen=True)
class Layout:
    """How the names of a set's files are to be read."""

    classes: tuple[str, ...] = ()
    _: KW_ONLY
    label_at: int | None = None
    """Which of a name's folders is its class, 0 the outermost."""
    split_at: int | None = None
    """Which of a name's folders is its side of the split."""
    table: str = ""
    """The table that says the labels instead, where there is one."""
    labels: Mapping[str, str] = field(default_factory=dict)
    groups: Mapping[str, str] = field(default_factory=dict)
    """Name -> what must stay together when the set is split."""
    captions: Mapping[str, str] = field(default_factory=dict)
    """Name -> its captions, a line each; of files that have names."""
    captioned: bool = False
    """Whether the pictures have captions."""
    notes: tuple[str, ...] = ()
    """Sentences that the user should read."""

    def label(self, name: str) -> str | None:
        """The class of a file."""
        return self.labels.get(name) if self.table else _folder(name, self.label_at)

    def split(self, name: str) -> str | None:
        """`train` or `heldout`, where folders say so."""
        return SPLITS.get((_folder(name, self.split_at) or "").lower())


def _folder(name: str, at: int | None) -> str | None:
    folders = name.split("/")[:-1] if at is not None else ()
    return folders[at] if at is not None and at < len(folders) else None


def natural(word: str) -> tuple[float, str]:
    """A sort key by which 2 comes before 10, and numbers before words. Numbers of more than 4,000 digits are words:
    Python reads none of 4,301."""
    return (int(word), "") if len(word) <= 4000 and word.isdecimal() else (math.inf, word)


def of_names(names: Sequence[str]) -> Layout:
    """The layout of pictures with these names, relative and with forward slashes."""
    folders = [name.split("/")[:-1] for name in names]
    notes: list[str] = []
    depth, split_at = 0, None
    while True:
        tops = {path[depth] for path in folders if len(path) > depth}
        if not tops:
            return Layout(split_at=split_at, notes=tuple(notes))
        if len(tops) == 1 or _a_folder_a_side(folders, depth, split_at):
            depth += 1
            continue
        beside = [name for name, path in zip(names, folders, strict=True) if len(path) <= depth]
        astray = f"{len(beside):,} of {len(names):,} pictures ({some(beside)})"
        if len(beside) * ASTRAY > len(names):
            notes.append(
                f"no classes, since {astray} lie beside the folders; move them, or name the classes with --labels"
            )
            return Layout(split_at=split_at, notes=tuple(notes))
        sides = {SPLITS.get(top.lower()) for top in tops}
        if split_at is not None or None in sides:
            break
        if len(sides) == 2:
            split_at = depth
            if beside:
                notes.append(f"{astray} lie beside the folders of the split; they are for training")
        else:
            notes.append(f"no given split, since the folders {some(sorted(tops))} are all of one side")
        depth += 1
    if {"train", "heldout"} <= sides:
        words = [top for top in sorted(tops) if top.lower() in SPLITS]
        others = [top for top in sorted(tops) if top.lower() not in SPLITS]
        notes.append(
            f"the folders {some(words)} are taken for classes, since {some(others)} lies beside them; "
            "move it away for a split"
        )
    if beside:
        notes.append(f"left out: {astray}, in no folder of a class")
    if split_at is None and _is_split(folders, depth + 1):
        split_at = depth + 1
    return Layout(tuple(sorted(tops, key=natural)), label_at=depth, split_at=split_at, notes=tuple(notes))


def _a_folder_a_side(folders: list[list[str]], depth: int, split_at: int | None) -> bool:
    """Whether each side of the split has one folder around all that it holds, with a name of its own."""
    if split_at is None:
        return False
    inside = {(SPLITS[path[split_at].lower()], path[depth]) for path in folders if len(path) > depth}
    return len(inside) == 2 == len({side for side, _ in inside}) == len({top for _, top in inside})


def _is_split(folders: list[list[str]], depth: int) -> bool:
    """Whether every class has its pictures in folders of a split, and both sides are there."""
    sides = {SPLITS.get(path[depth].lower()) if len(path) > depth else None for path in folders if len(path) >= depth}
    return sides == {"train", "heldout"}


# ----------------------------------------------------------------------------------------------------- tables of labels

Row = tuple[str, str, str]
"""File, label, group; label or group may be empty."""
TABLES = ("labels.csv", "metadata.jsonl", "metadata.csv", "dataset.json")
"""What may lie in a set and say its labels, the first one first."""


def arranged(
    names: Sequence[str],
    source: str,
    tables: Mapping[str, Callable[[], bytes]],
    labels: tuple[str, bytes] | None = None,
) -> Layout:
    """The layout and the labels of pictures with these names: from the table `labels` (its name and bytes), from
    `tables` in the set itself (name -> a function that reads it), or from the folders. DataError where a table cannot
    be read, contradicts itself, or names none of the pictures."""
    if labels:
        return _labelled(names, source, labels[0], _csv(labels[0], labels[1]))
    for kind in TABLES:
        rows = [
            (table[: -len(kind)] + file, label, group)
            for table, read in tables.items()
            if table.rsplit("/", 1)[-1] == kind
            for file, label, group in _READERS[kind](f"{table} in {source}", read())
        ]
        if rows:
            return _labelled(names, source, kind, rows)
    return of_names(names)


def finder(names: Sequence[str]) -> Callable[[str], Sequence[str]]:
    """A function from the file that a row of a table names to the `names` that it means: the one that is equal, else
    those that end with it."""
    known = set(names)
    ends: dict[str, list[str]] = {}
    for name in names:
        ends.setdefault(name.rsplit("/", 1)[-1], []).append(name)

    def meant(file: str) -> Sequence[str]:
        if file in known:
            return (file,)
        file = file.replace("\\", "/").removeprefix("./")
        return (
            (file,) if file in known else [n for n in ends.get(file.rsplit("/", 1)[-1], ()) if n.endswith("/" + file)]
        )

    return meant


def _labelled(names: Sequence[str], source: str, table: str, rows: list[Row]) -> Layout:
    meant = finder(names)
    by_name: dict[str, Row] = {}
    lost: list[str] = []
    several: list[str] = []
    for row in rows:
        fitting = meant(row[0])
        if len(fitting) != 1:
            (several if fitting else lost).append(row[0])
            continue
        before = by_name.setdefault(fitting[0], row)
        for kind, one, other in (("labels", before[1], row[1]), ("groups", before[2], row[2])):
            if one != other:
                raise DataError(
                    f"{table} has two rows for {fitting[0]!r} with the {kind} {one!r} and {other!r}. Keep one of them."
                )
    if not by_name:
        why = f"{some(several)} would fit several" if several else f"its rows are like {some(lost)}"
        raise DataError(
            f"No row of {table} names one of the {len(names):,} pictures in {source}: {why}, the pictures like "
            f"{some(names) or 'none'}. Write their paths inside {source}."
        )
    notes = [f"{len(lost):,} of {len(rows):,} rows in {table} name no picture: {some(lost)}"] if lost else []
    if several:
        notes.append(
            f"{len(several):,} rows in {table} fit several pictures and are not used; "
            f"write whole paths: {some(several)}"
        )
    labels = {name: row[1] for name, row in by_name.items() if row[1]}
    groups = {name: row[2] for name, row in by_name.items() if row[2]}
    if not labels and not groups:
        raise DataError(f"No row of {table} says a label. Write one into each, or leave {table} out.")
    if not labels:  # only groups: the folders are the classes
        layout = of_names(names)
        return replace(layout, groups=groups, notes=(*layout.notes, *notes))
    without = [name for name in names if name not in labels]
    if without:
        notes.append(
            f"left out: {len(without):,} of {len(names):,} pictures without a label in {table}: {some(without)}"
        )
    classes = tuple(sorted(set(labels.values()), key=natural))
    layout = of_names(names)
    about_split = (note for note in layout.notes if not note.startswith(("no classes", "left out")))
    return Layout(
        classes,
        split_at=layout.split_at,
        table=table,
        labels=labels,
        groups=groups,
        notes=(*about_split, *notes),
    )


def _csv(name: str, data: bytes) -> list[Row]:
    """`file`, `label`, and `group` where there is such a column."""
    rows = _table(name, data)
    if not rows or not {"file", "label"} <= rows[0].keys():
        columns = ", ".join(str(name) for name in rows[0]) if rows else "none"
        raise DataError(f"{name} needs the columns file and label; it has {columns}.")
    return _rows(rows, "file")


def _metadata_csv(name: str, data: bytes) -> list[Row]:
    return _rows([row for row in _table(name, data) if row.get("label") is not None], "file_name")


def _metadata_jsonl(name: str, data: bytes) -> list[Row]:
    try:
        rows = [read_json(line) for line in data.decode("utf-8-sig").splitlines() if line.strip()]
        return _rows([row for row in rows if row.get("label") is not None], "file_name")
    except (ValueError, AttributeError) as error:
        raise DataError(f"{name} cannot be read: {error}.") from error


def _stylegan(name: str, data: bytes) -> list[Row]:
    """`dataset.json` of StyleGAN's tools: {"labels": [[file, number], ...]} or null."""
    try:
        content = read_json(data)
        rows = content.get("labels") if isinstance(content, dict) else None
        return [(str(name), recorded(str(label)), "") for name, label in rows or ()]
    except (ValueError, TypeError) as error:
        raise DataError(f"{name} cannot be read: {error}.") from error


_READERS = dict(zip(TABLES, (_csv, _metadata_jsonl, _metadata_csv, _stylegan), strict=True))


def _table(name: str, data: bytes) -> list[dict[str, Any]]:
    try:
        return read_csv(data)
    except (ValueError, csv.Error) as error:
        raise DataError(f"{name} cannot be read as a CSV: {error}.") from error


def _rows(rows: Iterable[Mapping[str, Any]], column: str) -> list[Row]:
    def word(row: Mapping[str, Any], name: str) -> str:
        value = row.get(name)
        return "" if value is None else recorded(str(value).strip())

    return [
        (str(row[column]).removeprefix("./"), word(row, "label"), word(row, "group")) for row in rows if row.get(column)
    ]


# ------------------------------------------------------------------------------------------------------------- captions

CAPTIONS = "captions.csv"
_CAPTION_COLUMNS = {CAPTIONS: ("file", ("caption", "text")), "metadata.csv": ("file_name", ("text", "caption")),
                    "metadata.jsonl": ("file_name", ("text", "caption"))}  # fmt: skip


def with_captions(
    layout: Layout, names: Sequence[str], source: str, tables: Mapping[str, Callable[[], bytes]],
    beside: Mapping[str, Callable[[], bytes]],
) -> Layout:  # fmt: skip
    """The layout of pictures with these names, with their captions: from `tables` in the set (captions.csv with the
    columns file and caption, or metadata of Hugging Face with a column text), several rows of a picture being several
    captions; else from `beside`, picture -> what reads the text file of the same name. None where more than one in
    twenty pictures has none, which a note says. DataError where a table cannot be read."""
    texts: dict[str, list[str]] = {}
    meant = finder(names)
    where, lost = "", list[str]()
    for table, read in tables.items():
        folder, _, kind = table.rpartition("/")
        if kind not in _CAPTION_COLUMNS:
            continue
        file, columns = _CAPTION_COLUMNS[kind]
        for row in _captioned_rows(f"{table} in {source}", kind, read()):
            text = next((row[name] for name in columns if row.get(name) is not None), None)
            if text is None or not row.get(file):
                continue
            where, fitting = kind, meant(f"{folder}/{row[file]}".lstrip("/"))
            if len(fitting) == 1:
                texts.setdefault(fitting[0], []).extend(joined_captions(text).splitlines())
            else:
                lost.append(str(row[file]))
    if not where:
        where = "text files beside the pictures"
        for name, read in beside.items():
            texts[name] = read().decode("utf-8-sig", "replace").splitlines()
    captions = {name: joined for name, lines in texts.items() if (joined := _joined(lines))}
    if not captions:
        return layout
    count = f"{len(captions):,} of {len(names):,} pictures"
    notes = [f"{len(lost):,} rows in {where} name no picture, or several: {some(lost)}"] if lost else []
    without = [name for name in names if name not in captions]
    if len(without) * ASTRAY > len(names):
        note = f"no captions, since only {count} have one ({where}); without one is {some(without)}"
        return replace(layout, notes=(*layout.notes, note, *notes))
    notes.append(f"captions of {count}, from {where}")
    return replace(layout, captions=captions, captioned=True, notes=(*layout.notes, *notes))


def joined_captions(value: Any) -> str:
    """The captions that a cell or a member of a container holds, a text or a list of texts, as lines."""
    lines = value.splitlines() if isinstance(value, str) else value if isinstance(value, list) else ()
    return _joined(line for line in lines if isinstance(line, str))


def _joined(lines: Iterable[str]) -> str:
    """Those lines that have letters, each once, as lines: the captions of one picture."""
    kept = [" ".join(recorded(line).split()) for line in lines if any(map(str.isalpha, line))]
    return "\n".join(dict.fromkeys(kept))


def _captioned_rows(name: str, kind: str, data: bytes) -> Iterable[Mapping[str, Any]]:
    if not kind.endswith(".jsonl"):
        rows = _table(name, data)
        if kind == CAPTIONS and not (rows and rows[0].keys() >= {"file", "caption"}):
            columns = ", ".join(map(str, rows[0])) if rows else "none"
            raise DataError(f"{name} needs the columns file and caption; it has {columns}.")
        return rows
    try:
        rows = [read_json(line) for line in data.decode("utf-8-sig").splitlines() if line.strip()]
    except ValueError as error:
        raise DataError(f"{name} cannot be read: {error}.") from error
    return [row for row in rows if isinstance(row, dict)]


def some(names: Sequence[str]) -> str:
    """The first three, for a message."""
    return ", ".join(map(repr, names[:3])) + (", …" if len(names) > 3 else "")
