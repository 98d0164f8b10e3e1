"""What mistakes are planted in: a real set with a store, an audit and a run of it, and the command line in a process of
its own."""

from __future__ import annotations

import hashlib
import importlib
import os
import resource
import shutil
import sys
import tempfile
import traceback
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ganforge import cli

EACH = 60
for _name in [
    "audit",
    "clean",
    "collect",
    "measure",
    "prepare",
    "project",
    "report",
    "restore",
    "show",
    "train",
    "walk",
]:
    importlib.import_module(f"ganforge.{_name}")


@dataclass(frozen=True)
class Mistake:
    """What was planted, the words of the command, and what is expected of it."""

    planted: str
    words: Sequence[object]
    code: int
    says: str  # a pattern that has to be found in what is said, in any case
    spared: Path | None = None  # left as it was, to the byte
    absent: Path | None = None  # not made
    room: int | None = None  # bytes that a file may have: a disk that is full


class Ground:
    """A real set with a store, an audit and a run of it, and room for copies."""

    def __init__(self, place: Path, flowers: Path) -> None:
        self.place, self.part, self.count = place.resolve(), "", 0
        self.set = self.place / "set"
        with zipfile.ZipFile(flowers) as file:
            names = [name for name in file.namelist() if name.endswith(".jpg")]
            for label in sorted({name.split("/")[0] for name in names}):
                for name in [name for name in names if name.startswith(f"{label}/")][:EACH]:
                    file.extract(name, self.set)
        self.store, self.audit, self.run = (self.place / name for name in ("store", "audit", "run"))
        for words in (
            ("prepare", self.set, "-o", self.store, "--resolution", "32"),
            ("audit", self.set, "-o", self.audit),
            ("train", "gan", self.store, "-o", self.run, *SHORT),
        ):
            code, said = command(words, self.place)
            if code:
                raise SystemExit(f"{words}: {said}")

    def room(self) -> Path:
        """An empty folder of its own."""
        self.count += 1
        made = self.place / f"{self.part}-{self.count:02}"
        made.mkdir()
        return made

    def copy(self, what: Path, name: str | None = None) -> Path:
        """A copy in a room of its own; a set under the name `set`."""
        copied: Path = shutil.copytree(what, self.room() / (name or what.name))
        return copied

    def few(self, name: str = "set") -> Path:
        """Five classes of eight photographs."""
        made = self.room() / name
        for label in self.set.iterdir():
            (made / label.name).mkdir(parents=True)
            for picture in sorted(label.iterdir())[:8]:
                shutil.copy(picture, made / label.name)
        return made

    def picture(self, number: int = 0) -> Path:
        """One of the photographs."""
        return sorted(self.set.rglob("*.jpg"))[number]


SHORT = ("--size", "small", "--images", "1280", "--train.batch", "32", "--train.report", "320")
SHAPE = ("--resolution", "32")


def command(words: Sequence[object], place: Path, room: int | None = None) -> tuple[int, str]:
    """(exit code, what was said) of the command line in a process of its own, forked from this one, which has torch in
    memory already."""
    sys.stdout.flush()
    with tempfile.TemporaryFile() as said:
        if (child := os.fork()) == 0:
            code = 1
            try:
                os.dup2(said.fileno(), 1)
                os.dup2(said.fileno(), 2)
                os.chdir(place)
                os.environ["GANFORGE_CACHE"] = str(place / "cache")
                if room is not None:
                    resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
                code = cli.main([str(word) for word in words])
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        _, status = os.waitpid(child, 0)
        said.seek(0)
        return os.waitstatus_to_exitcode(status), said.read().decode(errors="replace")


def flip(path: Path, place: float = 0.5) -> None:
    """One bit of a file."""
    data = bytearray(path.read_bytes())
    data[int(len(data) * place)] ^= 1
    path.write_bytes(data)


def table(path: Path, rows: Sequence[Sequence[str]], by: str = ",", end: str = "\n", encoding: str = "utf-8") -> Path:
    """A table of labels."""
    path.write_bytes(end.join(by.join(row) for row in [("file", "label"), *rows]).encode(encoding))
    return path


def content(path: Path) -> str:
    """A hash of names and bytes."""
    found = hashlib.sha256()
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        found.update(str(file.relative_to(path)).encode())
        if file.is_file() and os.access(file, os.R_OK):
            found.update(file.read_bytes())
    return found.hexdigest()


def three(ground: Ground) -> Path:
    """Three pictures."""
    made = ground.room() / "three"
    made.mkdir()
    for number in range(3):
        shutil.copy(ground.picture(number), made)
    return made


def listed(ground: Ground) -> Path:
    """A list without addresses."""
    made = ground.room() / "list.csv"
    made.write_text("picture,label\na.jpg,rose\n")
    return made
