"""Other tools' ways to keep a data set as a source: WebDataset tars, Hugging Face Parquet files; and a store.
store/exports.py writes them."""

from __future__ import annotations

import csv
import os
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ganforge.base.errors import DataError
from ganforge.base.images import Pixels
from ganforge.base.tables import read_csv, read_json, recorded
from ganforge.sources.entry import (
    MAX_FILE_BYTES,
    SIDE_FILES,
    Entry,
    Portion,
    Skip,
    Source,
    Table,
    in_portions,
    plain_name,
    read_file,
)
from ganforge.sources.formats import has_picture_suffix
from ganforge.sources.layout import ASTRAY, SPLITS, TABLES, Layout, arranged, joined_captions, natural, of_names
from ganforge.store.meta import Origins
from ganforge.store.provenance import NOWHERE, ORIGINS, Origin, origin
from ganforge.store.split import ASIDE, HELDOUT, TRAIN
from ganforge.store.store import Store

MAX_SIDE_BYTES = 1 << 20
MAX_GROUP_BYTES = 1 << 30
"""Of a table of texts: bytes of the rows of Parquet that are stored together."""
_LABELS = ("label", "labels", "class")
_CAPTIONS = ("caption", "captions", "text")


# ----------------------------------------------------------------------------------------------------------- WebDataset


def from_tars(
    name: str,
    tars: dict[str, Path],
    labels: Table | None = None,
    known: Layout | None = None,
    origins: Mapping[str, Origin] | None = None,
) -> Source:
    """WebDataset: members of one key belong together; the class is in `.cls`, or `label` of `.json`, a caption in
    `.txt`, or `caption` of `.json`. Where no member has a class, tables and folders in the tars say the classes, as in
    a folder. Nothing is unpacked to disk.

    `tars` are the files by their relative names, "" for one alone. Each is a portion. Names of tars or their folders
    that begin with train, test, val or valid say the split, where both sides are there. `origins` are of whole tars;
    those in the `.json` of a picture come first."""
    split_of = _splits(tars)
    layout = known if known and not labels else _tar_layout(name, tars, labels)

    def portion(tar: str) -> Iterator[Entry]:
        common = (origins or {}).get(tar, NOWHERE)
        for member, label, own, caption in _samples(tars[tar]):
            inner = _inner(tar, member.name)
            given = label if layout.label_at is None and not layout.table else layout.label(inner)
            side = split_of[tar] if split_of else layout.split(inner)
            shown = f"{tar}/{_shown(member.name)}" if tar else inner
            read = partial(_read_member, tars[tar], member)
            known = own if any(own) else common
            named = given if layout.classes else None
            yield Entry(shown, read, label=named, split=side, origin=known, caption=caption)

    portions: list[Portion] = [partial(portion, tar) for tar in tars]
    return Source(name, lambda size: portions, layout, bool(split_of) or layout.split_at is not None)


Sample = tuple[tarfile.TarInfo, str | None, Origin, str]
"""A member of a tar, its label, origin and captions."""


def _tar_layout(name: str, tars: dict[str, Path], labels: Table | None) -> Layout:
    """Reads through all tars."""
    names: list[str] = []
    words: set[str] = set()
    tables: dict[str, Callable[[], bytes]] = {}
    without = 0
    for tar, path in tars.items():
        for member, label, _, caption in _samples(path, tables, tar):
            if has_picture_suffix(member.name):
                names.append(_inner(tar, member.name))
                words |= {label} if label is not None else set()
                without += not caption
    captioned = bool(names) and without * ASTRAY <= len(names)
    if words and not labels and not tables:
        classes = tuple(sorted(words, key=natural)) if len(words) > 1 else ()
        return Layout(classes, split_at=of_names(names).split_at, captioned=captioned)
    return replace(arranged(names, name, tables, labels), captioned=captioned)


def _inner(tar: str, member: str) -> str:
    """The name of a member as if its tar were a folder's content unpacked in place."""
    return f"{tar.rpartition('/')[0]}/{_shown(member)}".lstrip("/")


def _shown(name: str) -> str:
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace").removeprefix("./")


def _samples(path: Path, tables: dict[str, Callable[[], bytes]] | None = None, tar_name: str = "") -> Iterator[Sample]:
    """Each picture of a tar with what is said of it; members of one key stand together, as the format demands. Where
    a key has no picture, what it has instead. Tables of labels are put into `tables`, under their inner names."""
    try:
        with tarfile.open(path, "r:") as tar:
            key, record = "", dict[str, Any]()
            pictures, others = list[tarfile.TarInfo](), list[tarfile.TarInfo]()
            for member in tar:
                folder, base = os.path.split(member.name)
                if member.isdir() or not plain_name(_shown(member.name)):
                    continue
                stem, _, suffix = base.partition(".")
                if f"{folder}/{stem}" != key:
                    yield from _described(pictures or others, record)
                    key, pictures, others, record = f"{folder}/{stem}", [], [], {}
                if base in TABLES:
                    if tables is not None:
                        tables[_inner(tar_name, member.name)] = partial(_read_member, path, member)
                elif has_picture_suffix(base):
                    pictures.append(member)
                elif suffix in ("cls", "txt", "json") and member.size <= MAX_SIDE_BYTES:
                    record |= _record(suffix, tar.extractfile(member).read())  # type: ignore[union-attr]
                    others.append(member)
                elif base not in SIDE_FILES:
                    others.append(member)
            yield from _described(pictures or others, record)
            with path.open("rb") as file:  # a damaged header ends the walk without a word, and so does a missing end
                file.seek(tar.offset)
                if file.read(512) != bytes(512):
                    raise tarfile.ReadError(f"it ends, or is damaged, after {tar.offset:,} bytes")
    except (tarfile.TarError, OSError, EOFError) as error:
        raise DataError(f"{path} cannot be read as a tar: {error}. Copy or fetch it again.") from error


def _described(members: list[tarfile.TarInfo], record: dict[str, Any]) -> Iterator[Sample]:
    label = record.get("label")
    caption = joined_captions(next((record[name] for name in _CAPTIONS if name in record), None))
    for member in members:
        yield member, None if label is None else recorded(str(label)), origin(record), caption


def _record(suffix: str, data: bytes) -> dict[str, Any]:
    """What `.cls`, `.txt` or `.json` says of the pictures of its key."""
    text = data.decode("utf-8", "replace").strip()
    if suffix != "json":
        return {{"cls": "label", "txt": "caption"}[suffix]: text} if text else {}
    try:
        values = read_json(text)
    except ValueError:
        return {}
    return {name: value for name, value in values.items() if value is not None} if isinstance(values, dict) else {}


def _read_member(path: Path, member: tarfile.TarInfo) -> bytes:
    if not member.isreg():
        raise Skip("a link inside the tar" if member.islnk() or member.issym() else "not a regular file")
    if member.size > MAX_FILE_BYTES:
        raise Skip(f"file of {member.size >> 20} MiB, over the limit of {MAX_FILE_BYTES >> 20}")
    try:
        with path.open("rb") as file:
            file.seek(member.offset_data)
            return file.read(member.size)
    except OSError as error:
        raise Skip(f"cannot be read: {error.strerror or error}") from error


# -------------------------------------------------------------------------------------------------------------- Parquet


def from_parquet(
    name: str,
    files: dict[str, Path],
    sheets: Mapping[str, Path],
    origins: Mapping[str, Origin] | None = None,
    medium: str | None = "picture",
    column: str | None = None,
) -> Source:
    """Hugging Face Parquet: a column of encoded images (bytes, or a struct with `bytes`), and `label` where there is
    one.

    `files` are by their relative names; each is a portion. Names of classes come from the file's own metadata, else
    they are the numbers or words themselves. A column `caption` or `text` has captions, one or a list of them. Names of
    files or folders say the split, as for tars. `origins` are of
    whole files; columns such as `licence` and `author` say them of each picture.

    Where texts are wanted, or any medium and there are no images, `column` has a text in each row, here and in the
    `sheets` beside them; see `texts`."""
    paths = list(files.values())
    try:
        schema = pq.read_schema(paths[0])
        image = next((f.name for f in schema if _holds_images(f)), None)
        if medium == "text" or column or (medium is None and image is None):
            return texts(name, {**files, **sheets}, column)
        label = next((word for word in _LABELS if word in schema.names), None)
        if image is None:
            raise DataError(f"{paths[0]} has no column of images; its columns are {', '.join(schema.names)}.")
        told = next((word for word in _CAPTIONS if word in schema.names), None)
        names = _class_names(schema, label) if label else ()
        words: set[str] = set(names)
        if label and not names:
            for path in paths:
                values = pq.read_table(path, columns=[label])[label].unique().to_pylist()
                words |= {word for value in values if (word := _word(value)) is not None}
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{paths[0]} cannot be read as Parquet: {error}.") from error
    classes = names or tuple(sorted(words, key=natural))
    split_of = _splits(files)

    def portion(file_name: str) -> Iterator[Entry]:
        common = (origins or {}).get(file_name, NOWHERE)
        with pq.ParquetFile(files[file_name]) as file:
            row = 0
            named = [name for name in ORIGINS if name in file.schema_arrow.names]
            columns = [image, *(name for name in (label, told) if name), *named]
            for batch in file.iter_batches(64, columns=columns):
                for record in batch.to_pylist():
                    picture = record[image]
                    own = origin(record)
                    data = picture.get("bytes") if isinstance(picture, dict) else picture
                    text, side = _word(record[label], names) if label else None, split_of.get(file_name)
                    known, read = own if any(own) else common, partial(_given, data)
                    caption = joined_captions(record[told]) if told else ""
                    yield Entry(f"{file_name}/{row:07d}", read, label=text, split=side, origin=known, caption=caption)
                    row += 1

    portions: list[Portion] = [partial(portion, file_name) for file_name in files]
    layout = Layout(classes if len(classes) > 1 else (), captioned=bool(told))
    return Source(name, lambda size: portions, layout, bool(split_of))


def _holds_images(field: pa.Field) -> bool:
    kind = field.type
    if pa.types.is_struct(kind):
        return bool(kind.get_field_index("bytes") >= 0)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind)) and field.name in (
        "image",
        "img",
        "picture",
        "bytes",
    )


def _class_names(schema: pa.Schema, label: str) -> tuple[str, ...]:
    try:
        info = read_json((schema.metadata or {})[b"huggingface"])
        return tuple(info["info"]["features"][label]["names"])
    except (KeyError, ValueError, TypeError):
        return ()


def _word(value: Any, names: Sequence[str] = ()) -> str | None:
    """The class that a value in a column of labels stands for. None where it has none: Hugging Face writes -1, pandas
    NaN, and a number may have no name."""
    if value is None or value != value:
        return None
    if names and isinstance(value, int):
        return names[value] if 0 <= value < len(names) else None
    return str(value)


def _given(data: bytes | None) -> bytes:
    if not data:
        raise Skip("no bytes in its row")
    if len(data) > MAX_FILE_BYTES:
        raise Skip(f"file of {len(data) >> 20} MiB, over the limit of {MAX_FILE_BYTES >> 20}")
    return data


def _splits(files: Iterable[str]) -> dict[str, str]:
    """train-00000.parquet and test-00000.parquet, or folders train and test: only where both sides are there, and every
    file says one."""
    sides = {}
    for name in files:
        *folders, last = name.lower().split("/")
        words = (last.replace("_", "-").replace(".", "-").split("-")[0], *reversed(folders))
        sides[name] = next((SPLITS[word] for word in words if word in SPLITS), "")
    return sides if set(sides.values()) == {"train", "heldout"} else {}


# -------------------------------------------------------------------------------------------------------------- texts

Rows = Callable[[Sequence[str] | None], Iterator[Mapping[str, Any]]]
"""The rows of a table, with the columns of these names, or with all."""


SHEETS = (".csv", ".tsv")


def texts(name: str, files: Mapping[str, Path], column: str | None) -> Source:
    """Tables, CSV or Parquet, with a text in each row, in `column`: by default `text`, or the only column of texts.
    What has the same value in the column `group` stays on one side of the split; `label` names classes, and the names
    of files may name the split, as for images. DataError where a table cannot be read, or has rows and no such
    column."""
    tables: dict[str, Rows] = {
        file: partial(_csv_rows if file.lower().endswith(SHEETS) else _parquet_rows, path)
        for file, path in files.items()
    }
    heads = {file: head for file, rows in tables.items() if (head := next(rows(None), None)) is not None}
    if not heads:
        raise DataError(f"{name} has no rows.")
    head = next(iter(heads.values()))
    words = [key for key, value in head.items() if isinstance(value, str) and key not in (*_LABELS, "group")]
    chosen = column or ("text" if "text" in head else words[0] if len(words) == 1 else "")
    for file, own in heads.items():
        if chosen not in own:
            problem = f"no column {chosen!r}" if chosen else f"{len(words)} columns of texts"
            raise DataError(f"{files[file]} has {problem}. Say --column with one of: {', '.join(map(str, own))}.")
    label = next((key for key in _LABELS if key in head and key != chosen), None)
    named = [key for key in (label, "group") if key in head and key is not None]
    labels: dict[str, str] = {}
    groups: dict[str, str] = {}
    for file, rows in tables.items():
        for number, row in enumerate(rows(named) if named else ()):
            key = f"{file}/{number:07d}"
            if label and (word := _word(row.get(label))):
                labels[key] = word
            if word := _word(row.get("group")):
                groups[key] = word
    classes = tuple(sorted(set(labels.values()), key=natural))
    split_of = _splits(tables)

    def portion(file: str) -> Iterator[Entry]:
        for number, row in enumerate(tables[file]([chosen])):
            key = f"{file}/{number:07d}"
            yield Entry(key, partial(_cell, row[chosen]), label=labels.get(key), split=split_of.get(file))

    layout = Layout(classes if len(classes) > 1 else (), groups=groups)
    portions: list[Portion] = [partial(portion, file) for file in tables]
    return Source(name, lambda size: portions, layout, bool(split_of), "text", False, chosen)


def _parquet_rows(path: Path, columns: Sequence[str] | None) -> Iterator[Mapping[str, Any]]:
    """DataError where a part of the file would take too much memory, or is damaged."""
    try:
        with pq.ParquetFile(path) as file:
            for n in range(file.metadata.num_row_groups):
                group = file.metadata.row_group(n)
                if group.total_byte_size > MAX_GROUP_BYTES:
                    raise DataError(
                        f"{path} has a row group of {group.total_byte_size >> 20:,} MiB, over the limit of "
                        f"{MAX_GROUP_BYTES >> 20:,}. Write it with smaller row groups."
                    )
            for batch in file.iter_batches(64, columns=None if columns is None else list(columns)):
                yield from batch.to_pylist()
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as Parquet: {error}.") from error


def _csv_rows(path: Path, columns: Sequence[str] | None) -> Iterator[Mapping[str, Any]]:
    try:
        yield from read_csv(read_file(path))
    except Skip as skip:
        raise DataError(f"{path} {skip}.") from None
    except (ValueError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as CSV: {error}.") from error


def _cell(value: Any) -> bytes:
    """Raises Skip."""
    if not isinstance(value, str):
        raise Skip("no text in its row")
    return value.encode("utf-8", "surrogatepass")


# -------------------------------------------------------------------------------------------------------------- a store


def from_store(path: Path) -> Source:
    """A finished store as a source, under the names of the original files; its sides stand, what was set aside is left
    out."""
    store = Store(path)
    store.spec.need_pictures("Reading a store as a source", path)
    store.check()
    origins = Origins(store)
    rows = np.flatnonzero(store.splits != ASIDE)
    words = {TRAIN: "train", HELDOUT: "heldout"}

    def between(start: int, stop: int) -> Iterator[Entry]:
        some = rows[start:stop].tolist()
        for row, (name, own) in zip(some, origins[some], strict=True):
            label = store.spec.classes[store.labels[row]] if store.labelled else None
            side, caption = words[int(store.splits[row])], "\n".join(store.captions_of(row))
            read = partial(_row, store, row)
            yield Entry(name or f"row-{row}", read, label=label, split=side, origin=own, caption=caption)

    given = bool(len(store.train) and len(store.heldout))
    layout = Layout(store.spec.classes, captioned=store.spec.captions is not None)
    return Source(path.resolve().name, in_portions(len(rows), between), layout, given)


def _row(store: Store, row: int) -> Pixels:
    picture: Pixels = store.read(np.array([row]))[0]
    return picture
