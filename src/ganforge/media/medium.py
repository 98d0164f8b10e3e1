"""The protocol of a medium: what the numbers of a row mean, beyond their shape.

A row of a store is always (H, W, C) uint8. The other files of this package hold a medium each: its settings as a frozen
dataclass, how files become rows, how rows become a file, and how rows are looked at."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

from ganforge.base.errors import InputError
from ganforge.base.images import Pixels


class Unusable(ValueError):
    """A file that becomes no row, with the reason."""


@dataclass(frozen=True)
class Medium:
    """Base of all media; the fields of a subclass are what a row has to be read with."""

    kind: ClassVar[str]
    """Its name in files and on the command line."""
    plural: ClassVar[str]
    """What several rows are called in sentences."""
    suffix: ClassVar[str]
    """Of the file that holds one sample."""
    several: ClassVar[str] = ""
    """Of the file that holds several; empty: the same one."""
    alternatives: ClassVar[tuple[str, ...]] = ()
    """Of other files that hold samples, where one is asked for by name."""
    lossless: ClassVar[bool] = True
    """Whether rows come back from their files as they were."""
    augmentations: ClassVar[frozenset[str] | None] = None
    """The words of `train.augment` and `model.augment` that make sense for it; None: all of them."""

    def check(self, height: int, width: int, channels: int) -> None:
        """ValueError where rows of this shape cannot be of this medium."""
        raise NotImplementedError

    def describe(self, height: int, width: int, channels: int) -> str:
        """A row in a few words, such as `28x28 grey`."""
        raise NotImplementedError

    def as_pictures(self, rows: Pixels) -> Pixels:
        """(N, H, W, C) uint8 rows -> (N, H', W', C') uint8 to be looked at, C' of 1, 3 or 4."""
        raise NotImplementedError

    @classmethod
    def suffixes(cls) -> tuple[str, ...]:
        """Of all files that hold samples; that of several comes first."""
        return tuple(dict.fromkeys((cls.several or cls.suffix, cls.suffix, *cls.alternatives)))

    def check_file(self, path: Path, count: int) -> None:
        """InputError where so many rows cannot be one file at `path`."""
        suffix = path.suffix.lower()
        if suffix not in self.suffixes():
            raise InputError(f"{path} cannot hold {self.plural}. Let its name end in {' or '.join(self.suffixes())}.")
        if self.several and suffix == self.suffix and count != 1:
            raise InputError(
                f"{path} holds one {self.kind}, and there are {count:,}. Let its name end in {self.several}."
            )

    def write(self, path: Path, rows: Pixels, made_by: dict[str, Any] | None = None) -> None:
        """Write (N, H, W, C) uint8 rows as one file, marked with `made_by` (see base/marks.py).

        InputError for a suffix that cannot hold them, DataError where the file cannot be written."""
        raise NotImplementedError

    def as_written(self, rows: Pixels) -> Pixels:
        """(N, H, W, C) uint8 -> the same shape: what comes back when rows are written as files and read again,
        themselves where the medium is `lossless`."""
        return rows

    def check_augmentations(self, words: Iterable[str], known: Iterable[str], where: str) -> None:
        """InputError where `words`, of the `known` ones, contain some that make no sense for this medium."""
        if self.augmentations is None:
            return
        if refused := [word for word in words if word not in self.augmentations]:
            allowed = ", ".join(word for word in known if word in self.augmentations) or "none"
            raise InputError(
                f"{where} has {', '.join(refused)}, which is for pictures and not for {self.plural}. "
                f"For {self.plural} there is: {allowed}."
            )

    def to_plain(self) -> dict[str, Any]:
        """As plain values for JSON or TOML, with its name under `kind`."""
        return {"kind": self.kind, **asdict(self)}
