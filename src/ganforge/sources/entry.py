"""One picture of a source that is not read yet, and the source as a whole."""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import KW_ONLY, dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np

from ganforge.base.files import suffix_of
from ganforge.base.images import Pixels
from ganforge.media import text, video, voxels, waves
from ganforge.sources.formats import refusal
from ganforge.sources.layout import CAPTIONS, TABLES, Layout
from ganforge.store import provenance
from ganforge.store.provenance import NOWHERE, Origin

MAX_FILE_BYTES = 256 << 20
SIDE_FILES = {"dropped.csv", "skipped.csv", "history.jsonl", "README.md", *provenance.TABLES, *TABLES, CAPTIONS}
Table = tuple[str, bytes]
"""The name and the bytes of a CSV of labels."""


class FileKinds(Protocol):
    """By which names the files of a medium are known."""

    SUFFIXES: frozenset[str]
    """In lower case, with the dot."""

    def missing(self, name: str) -> str:
        """Why a file of this name cannot be read here; "" where it can."""


FILES: Mapping[str, FileKinds] = {"sound": waves, "solid": voxels, "text": text}
"""By medium: the files of those that are not read as pictures are."""


@dataclass(frozen=True)
class Entry:
    """One picture of a source, not read yet."""

    name: str
    """Its path inside the source, with forward slashes; bytes that are no UTF-8 are written as \\xff."""
    read: Callable[[], bytes | Pixels]
    """Bytes of an image file, or (H, W, C) uint8 pixels."""
    _: KW_ONLY
    label: str | None = None
    split: str | None = None
    """`train` or `heldout` where the source itself says so."""
    path: Path | None = None
    """The file, where it is one of its own."""
    origin: Origin = NOWHERE
    """Where it came from, as far as the source says."""
    frames: tuple[Callable[[], bytes], ...] = ()
    """Of a clip whose frames are files of their own: what reads each of them, in order. `read` then raises Skip."""
    partner: Entry | str = ""
    """Of a pair: the picture that is wanted where this one is given, or why there is none."""
    caption: str = ""
    """What is said of the picture, a line each."""


def clip_refusal(name: str) -> str:
    """Why a file is not tried as a clip, by its name alone; "" where it is."""
    return video.missing(name) if suffix_of(name) in video.SUFFIXES else refusal(name)


class Skip(Exception):
    """A file that is not used, with the reason."""


Portion = Callable[[], Iterator[Entry]]


@dataclass(frozen=True)
class Source:
    """Pictures that can be iterated over again and again, always in the same order."""

    name: str
    portions: Callable[[int], list[Portion]]
    """The pictures in portions of about so many, each of which can be read alone; files that hold many are a portion
    each."""
    layout: Layout
    """Classes, groups that must not be split, and what is to be said."""
    given: bool
    """Whether the source says itself which pictures are held out."""
    medium: str = "picture"
    """The kind of medium that its files are read as; see media/."""
    named: bool = True
    """Whether its pictures are files with names of their own."""
    column: str = ""
    """Of texts in a table: the column that holds them."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Their names; none for a set without labels."""
        return self.layout.classes

    @property
    def notes(self) -> list[str]:
        """How it was read, in one line, and what else the user should know."""
        count, table = len(self.classes), self.layout.table
        classes = f"{count or 'no'} class{'es' * (count != 1)}{f' from {table}' if table else ''}"
        return [f"read as: {classes}, {'' if self.given else 'no '}given split", *self.layout.notes]

    def refusal(self, entry: Entry) -> str:
        """Why a file is not tried, by its name alone; "" where it is."""
        if entry.frames:
            return ""
        if self.medium == "clip":
            return clip_refusal(entry.name)
        files = FILES.get(self.medium)
        return files.missing(entry.name) if files else refusal(entry.name)

    def entries(self) -> Iterator[Entry]:
        """All pictures."""
        for portion in self.portions(1 << 14):
            yield from portion()


def digest(data: bytes | Pixels) -> bytes:
    """SHA-256 of a file's bytes or of a picture's pixels."""
    return hashlib.sha256(data if isinstance(data, bytes) else np.ascontiguousarray(data).data).digest()


def in_portions(count: int, between: Callable[[int, int], Iterator[Entry]]) -> Callable[[int], list[Portion]]:
    """Portions of `count` pictures, of which `between(start, stop)` gives some."""

    def portions(size: int) -> list[Portion]:
        return [partial(between, start, min(start + size, count)) for start in range(0, count, size)]

    return portions


def plain_name(name: str) -> bool:
    """No hidden files and none of what a Mac adds. Nothing is written under these names, so they need no more."""
    return not any(part.startswith((".", "__MACOSX")) for part in name.split("/"))


def read_file(path: Path) -> bytes:
    """The bytes of a regular file within the limit. Raises Skip."""
    try:
        info = path.stat()  # before opening: a pipe would keep us waiting
        if not stat.S_ISREG(info.st_mode):
            raise Skip("not a regular file")
        if info.st_size > MAX_FILE_BYTES:
            raise Skip(f"file of {info.st_size >> 20} MiB, over the limit of {MAX_FILE_BYTES >> 20}")
        with path.open("rb", buffering=0) as file:
            return file.read(info.st_size + 1)  # not the limit: as much memory would be asked for each time
    except OSError as error:
        raise Skip(f"cannot be read: {error.strerror or error}") from error
