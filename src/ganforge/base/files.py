"""Files that are written whole or not at all, and checked when they are read: SHA-256, kept beside a file or not; a
lock on a file."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import secrets
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ganforge.base.errors import DataError, GanforgeError

if sys.platform == "win32":
    import msvcrt

    def _take(handle: int) -> None:
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _take(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


ADVICE = "Free some space, or choose another path with --out."


def cannot_write(
    path: Path, problem: Exception, advice: str = ADVICE, kind: type[GanforgeError] = DataError
) -> GanforgeError:
    """The error for a file or a folder that cannot be written: which one, the system's reason, and what to do."""
    return kind(f"{path} cannot be written: {getattr(problem, 'strerror', None) or problem}. {advice}")


@contextlib.contextmanager
def writing(
    path: Path,
    advice: str = ADVICE,
    kind: type[GanforgeError] = DataError,
    problems: tuple[type[Exception], ...] = (OSError,),
) -> Iterator[None]:
    """Within this context an OSError, or another one of `problems`, becomes the error of `cannot_write`."""
    try:
        yield
    except problems as problem:
        raise cannot_write(path, problem, advice, kind) from problem


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """A path to write to, with the same suffix and in the same folder. When the context ends, the file there is renamed
    to `path`; where an exception ends it, the file is removed and what was at `path` stays. OSError."""
    partial = path.with_name(f".partial-{secrets.token_hex(4)}{path.suffix}")
    try:
        yield partial
        partial.replace(path)
    finally:
        with contextlib.suppress(OSError):  # its folder may be a file
            partial.unlink()


@contextlib.contextmanager
def sealed_file(path: Path) -> Iterator[Path]:
    """As `atomic_file`, with the hash of the file in `PATH.sha256`, as `sha256sum --check` reads it. OSError."""
    with atomic_file(path) as partial:
        yield partial
        with atomic_file(_seal(path)) as seal:
            seal.write_text(f"{file_sha256(partial)}  {path.name}\n", "utf-8")
            path.unlink(missing_ok=True)  # so that no file ever stands beside the hash of another


@contextlib.contextmanager
def atomic_folder(path: Path, overwrite: bool = False) -> Iterator[Path]:
    """An empty folder beside `path`, whose own folder is made where it is missing. When the context ends, it is renamed
    to `path`; where an exception ends it, it is removed with all that is in it.

    With `overwrite` it takes the place of an older folder, which is removed afterwards, and stays where the renaming
    fails. OSError."""
    partial = path.parent / f".{path.name}.partial-{secrets.token_hex(4)}"
    try:
        partial.mkdir(parents=True)
        yield partial
        if overwrite:
            _replace_folder(partial, path)
        else:
            partial.rename(path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _replace_folder(partial: Path, path: Path) -> None:
    old = path.with_name(f".{path.name}.old-{os.getpid()}")
    if path.exists():
        path.rename(old)
    try:
        partial.rename(path)
    except OSError:
        if old.exists():
            old.rename(path)
        raise
    shutil.rmtree(old, ignore_errors=True)


def suffix_of(name: str) -> str:
    """The suffix of a file's name in lower case, with the dot."""
    return os.path.splitext(name)[1].lower()  # noqa: PTH122 (called a million times, and Path takes far longer)


def resolved(path: Path) -> Path:
    """The path without links and without `..`, whether it is there or not. Of a link that leads to itself the link,
    where Python 3.12's `Path.resolve` raises RuntimeError."""
    return Path(os.path.realpath(path))


def sync(path: Path) -> None:
    """Wait until a file or, where the system can, the names in a folder are on the disk (fsync). OSError."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except PermissionError:  # folders cannot be opened on Windows
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def file_sha256(path: Path, skip: int = 0) -> str:
    """SHA-256 of a file from byte `skip` on, in hexadecimal digits. OSError where it cannot be read."""
    with path.open("rb") as file:
        file.seek(skip)
        return hashlib.file_digest(file, "sha256").hexdigest()


def intact(path: Path) -> bool:
    """Whether a file is the one that `sealed_file` wrote; False where it or its hash is missing, too. OSError where it
    cannot be read."""
    try:
        kept = _seal(path).read_text("utf-8", errors="replace").split()
        return kept[:1] == [file_sha256(path)]
    except FileNotFoundError:
        return False


def write_array(path: Path, array: npt.NDArray[Any]) -> None:
    """Write an array (.npy) with its hash beside it; see `sealed_file`. OSError where it cannot be written."""
    with sealed_file(path) as partial, partial.open("wb") as file:
        np.save(file, array, allow_pickle=False)


def read_array(path: Path) -> npt.NDArray[Any] | None:
    """An array of `write_array`; None where it is missing or damaged, and has to be made again. OSError where it cannot
    be read."""
    if not intact(path):
        return None
    array: npt.NDArray[Any] = np.load(path, allow_pickle=False)
    return array


def _seal(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


_TAKEN = {errno.EAGAIN, errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK}


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the system's lock of the file `path`; it ends with the process that holds it, however that ends. The file is
    made where it is missing and stays, so that no other process can come between its removal and its making.

    BlockingIOError where another one holds it, other OSErrors where the file cannot be made. A file system without
    locks holds nothing."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
    try:
        try:
            _take(handle)
        except OSError as error:
            if error.errno in _TAKEN:
                raise BlockingIOError(errno.EAGAIN, "held by another process", str(path)) from error
        yield
    finally:
        os.close(handle)
