"""Files that are checked when they are read: SHA-256, hashes kept beside files, and arrays with theirs."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt


def file_sha256(path: Path, skip: int = 0) -> str:
    """SHA-256 of a file from byte `skip` on, in hexadecimal digits. OSError where it cannot be read."""
    with path.open("rb") as file:
        file.seek(skip)
        return hashlib.file_digest(file, "sha256").hexdigest()


def put(made: Path, place: Path) -> None:
    """Rename a finished folder to its place. An older one there is removed afterwards, and stays where that fails.
    OSError."""
    old = place.with_name(f".{place.name}.old-{os.getpid()}")
    if place.exists():
        place.rename(old)
    try:
        made.rename(place)
    except OSError:
        if old.exists():
            old.rename(place)
        raise
    shutil.rmtree(old, ignore_errors=True)


def seal(partial: Path, path: Path) -> None:
    """Rename a finished file to its place, with its hash in `PATH.sha256`, as `sha256sum --check` reads it. OSError."""
    beside = _beside(path)
    new = beside.with_name(f".{beside.name}")
    new.write_text(f"{file_sha256(partial)}  {path.name}\n", "utf-8")
    path.unlink(missing_ok=True)  # so that no file ever stands beside the hash of another
    new.replace(beside)
    partial.replace(path)


def intact(path: Path) -> bool:
    """Whether a file is the one that was sealed; False where it or its hash is missing, too. OSError where it cannot be
    read."""
    try:
        kept = _beside(path).read_text("utf-8", errors="replace").split()
        return kept[:1] == [file_sha256(path)]
    except FileNotFoundError:
        return False


def write_array(path: Path, array: npt.NDArray[Any]) -> None:
    """Write an array (.npy) with its hash beside it; see `seal`. OSError where it cannot be written."""
    partial = path.with_name(f".{path.name}.partial.npy")
    try:
        np.save(partial, array, allow_pickle=False)
        seal(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def read_array(path: Path) -> npt.NDArray[Any] | None:
    """An array of `write_array`; None where it is missing or damaged, and has to be made again. OSError where it cannot
    be read."""
    if not intact(path):
        return None
    array: npt.NDArray[Any] = np.load(path, allow_pickle=False)
    return array


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")
