"""A lock that ends with the process that holds it, however that ends: the system's own, on an open file."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

if sys.platform == "win32":
    import msvcrt

    def _take(handle: int) -> None:
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _take(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


TAKEN = {errno.EAGAIN, errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK}


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold the lock of the file `path`, which is made where it is missing and stays: no other process can be between
    its removal and its making.

    BlockingIOError where another one holds it, other OSErrors where the file cannot be made. A file system without
    locks holds nothing."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
    try:
        try:
            _take(handle)
        except OSError as error:
            if error.errno in TAKEN:
                raise BlockingIOError(errno.EAGAIN, "held by another process", str(path)) from error
        yield
    finally:
        os.close(handle)
