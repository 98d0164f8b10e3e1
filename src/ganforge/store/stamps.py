"""Which files were compared with their SHA-256 already, so that no start reads them twice."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
import threading
import time
from pathlib import Path

from ganforge.base.files import file_sha256, resolved
from ganforge.base.tables import read_json

GRAIN = 2_000_000_000
"""Nanoseconds within which a file may change again and keep its time, on the coarsest file systems."""

Facts = tuple[int, int, int, str]


def cache_folder() -> Path:
    """GANFORGE_CACHE, or ~/.cache/ganforge."""
    with contextlib.suppress(RuntimeError):  # a user without a home
        return Path(os.environ.get("GANFORGE_CACHE") or Path.home() / ".cache" / "ganforge")
    return Path(tempfile.gettempdir()) / "ganforge"


class Stamps:
    """Size, times and SHA-256 of the files of one folder when they were last compared.

    They are lines of a file in `cache_folder()/checked`, since the folder itself may be read-only and may be copied
    with what is in it. Where nothing can be written there, files are compared once a process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        name = hashlib.sha256(os.fsencode(resolved(folder))).hexdigest()[:16]
        self.file = cache_folder() / "checked" / f"{name}.jsonl"
        self.known: dict[str, Facts] | None = None
        self.lock = threading.Lock()

    def fit(self, name: str, sha256: str) -> bool:
        """Whether a file was compared with this hash, and has not changed since. OSError where there is none."""
        now = self._facts(name, sha256)
        with self.lock:
            if self.known is None:
                self.known = self._read()
            return self.known.get(name) == now

    def compare(self, name: str, sha256: str, skip: int = 0, again: bool = False) -> None:
        """ValueError where the SHA-256 of a file from byte `skip` on is another, OSError where it cannot be read.

        The file is read only where its stamp does not fit, or `again`.
        """
        if not again and self.fit(name, sha256):
            return
        before = self._facts(name, sha256)
        if file_sha256(self.folder / name, skip) != sha256:
            raise ValueError(f"{name} has another SHA-256 than the manifest says")
        self._keep(name, before, lasting=time.time_ns() - before[1] > GRAIN)

    def note(self, name: str, sha256: str) -> None:
        """Remember a file that was compared before it was renamed to its place."""
        self._keep(name, self._facts(name, sha256), lasting=True)

    def _facts(self, name: str, sha256: str) -> Facts:
        info = (self.folder / name).stat()
        return info.st_size, info.st_mtime_ns, info.st_ctime_ns, sha256

    def _read(self) -> dict[str, Facts]:
        known: dict[str, Facts] = {}
        with contextlib.suppress(OSError):
            for line in self.file.read_text("utf-8", errors="replace").splitlines():
                with contextlib.suppress(ValueError, TypeError):  # cut short; then it is compared again
                    name, size, modified, changed, sha256 = read_json(line)
                    known[name] = size, modified, changed, sha256
        return known

    def _keep(self, name: str, facts: Facts, lasting: bool) -> None:
        with self.lock, contextlib.suppress(OSError):
            if self.known is None:
                self.known = self._read()
            if self.known.get(name) == facts:
                return
            self.known[name] = facts
            if lasting:
                self.file.parent.mkdir(parents=True, exist_ok=True)
                with self.file.open("a", encoding="utf-8") as file:  # a line at a time: processes may share it
                    file.write(json.dumps([name, *facts]) + "\n")
