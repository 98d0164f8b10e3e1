"""One call of `restore`, whatever its files hold: their names, their marks, what an earlier call has written, and what
is told of it at the end."""

from __future__ import annotations

import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, Generic, TypeVar

from ganforge.base import marks
from ganforge.base.files import resolved, writing
from ganforge.restoring.tiles import TILE, Restorer
from ganforge.sources.entry import Entry, Skip

LARGE = 1 << 28
"""Bytes that an answer may have without a look at the free space; a file is hardly ever larger than its pixels."""
Scores = tuple[float, ...]
GivenT = TypeVar("GivenT")
"""What is read of a file."""
MadeT = TypeVar("MadeT")
"""What is written for it."""


@dataclass
class Restored:
    """The result of `restore`."""

    written: int = 0
    kept: int = 0
    """Number of files that an earlier call with the same weights has written."""
    skipped: list[tuple[str, str]] = field(default_factory=list)
    """(file, reason)."""
    resized: int = 0
    """Number of pictures that were resized to the size of the system and back."""
    scores: dict[str, Scores] = field(default_factory=dict)
    """With a reference: (mean PSNR in dB, mean SSIM) of `before`, `restored` and `median 3x3`, or `bicubic` and
    `restored`."""
    compared: int = 0
    """Number of pictures with a reference."""
    notes: list[str] = field(default_factory=list)
    """Sentences for the user."""

    def compare(self, scores: Mapping[str, Scores]) -> None:
        """Take the scores of one more picture into the means."""
        self.compared += 1
        for name, new in scores.items():
            mean = self.scores.get(name, (0.0, 0.0))
            self.scores[name] = tuple(a + (b - a) / self.compared for a, b in zip(mean, new, strict=True))

    def __str__(self) -> str:
        if not self.scores:
            return ""
        lines = [f"{name:<12} {psnr:8.2f} dB   SSIM {ssim:.4f}" for name, (psnr, ssim) in self.scores.items()]
        return "\n".join(
            [*lines, f"means over {self.compared:,} pictures, in 8 bits; SSIM of Wang et al. 2004, windows of 7x7"]
        )


@dataclass
class Call(ABC, Generic[GivenT, MadeT]):
    """What stays the same from file to file. A subclass says how a file is read, answered and written."""

    out: Path
    restorer: Restorer
    seeds: Sequence[int] | None
    """Those of the answers, where several are wanted."""
    origin: Mapping[str, Any]
    """What the marks of all files say."""
    taken: set[str] = field(default_factory=set)
    outputs: dict[str, list[str]] = field(default_factory=dict)
    """The paths in `out` of the answers for each file."""
    result: Restored = field(default_factory=Restored)

    suffix: ClassVar[str]
    """Of the files that are written."""

    @abstractmethod
    def read(self, entry: Entry) -> tuple[GivenT, dict[str, Any]]:
        """A file, and what the mark says of it and of what is missing. Raises Skip."""

    @abstractmethod
    def size(self, given: GivenT) -> int:
        """The most bytes that its answer may have."""

    @abstractmethod
    def answer(self, given: GivenT, seed: int | None, progress: Callable[[float], None]) -> MadeT:
        """Restored; `progress` is called with the share that is done. Raises Skip."""

    @abstractmethod
    def write(self, target: Path, made: MadeT, mark: dict[str, Any]) -> None:
        """Write an answer with its mark."""

    @abstractmethod
    def written(self, target: Path) -> MadeT:
        """What `write` has written there. OSError, ValueError or SyntaxError where that cannot be read."""

    def compare(self, given: GivenT, made: MadeT, name: str) -> None:
        """Take an answer into the scores, where there is a reference. Raises Skip where it has none that fits."""

    def notes(self) -> list[str]:
        """Sentences for the user, at the end."""
        if self.restorer.tile == TILE:
            return []
        return [f"Memory was short, so tiles of {self.restorer.tile} pixels were used, not {TILE}."]

    def restore(self, entry: Entry, progress: Callable[[float], None]) -> None:
        """Restore one file, and write its answers unless an earlier call did. Raises Skip."""
        base = free_stem(self.out, entry.name, self.taken)
        given, facts = self.read(entry)
        mark = {**self.origin, "file": entry.name, **facts}
        outputs = self.outputs.setdefault(entry.name, [])
        for n, seed in enumerate([None] if self.seeds is None else self.seeds):
            target = self.out / (f"{base}{self.suffix}" if seed is None else f"{base}-seed{seed:04d}{self.suffix}")
            part = 1 / len(self.seeds or (0,))
            own = mark if seed is None else {**mark, "seed": seed}
            made = self._one(given, seed, target, own, partial(report, progress, n * part, part))
            outputs.append(target.relative_to(self.out).as_posix())
            self.compare(given, made, entry.name)

    def _one(
        self, given: GivenT, seed: int | None, target: Path, mark: dict[str, Any], progress: Callable[[float], None]
    ) -> MadeT:
        """One answer, which is written unless an earlier call did. Raises Skip."""
        if target.exists():
            try:
                done = self.written(target) if marks.read(target) == {"restored": True, **mark} else None
            except (OSError, ValueError, SyntaxError):
                done = None
            if done is None:
                raise Skip(f"{target} exists already and is something else")
            self.result.kept += 1
            return done
        with writing(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            free = shutil.disk_usage(target.parent).free
        if (largest := self.size(given)) > max(free, LARGE):
            raise Skip(f"its answer may take {largest / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free")
        made = self.answer(given, seed, progress)
        self.write(target, made, mark)
        self.result.written += 1
        return made


def report(progress: Callable[[float], None] | None, done: float, part: float, share: float) -> None:
    """Call `progress` with a share of a part, beyond what is done."""
    if progress:
        progress(done + part * share)


def stem(name: str) -> str:
    """The name of a file without its suffix."""
    return str(PurePosixPath(name).with_suffix("")) if PurePosixPath(name).name else name


def free_stem(out: Path, name: str, taken: set[str]) -> str:
    """The path of what is made of a file in `out`, without its suffix: that of the file; a second file of that name
    keeps its suffix. Raises Skip."""
    path = stem(name)
    if path.lower() in taken:
        path = name
    taken.add(path.lower())
    if "\0" in name or not resolved(out / path).is_relative_to(resolved(out)):
        raise Skip("its name leads out of the folder")
    if len((out / path).name.encode("utf-8", "surrogateescape")) > 230:
        raise Skip("its name is too long")
    return path
