"""The result of a measurement: a table of rows and the protocol by which they came about."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from typing import Protocol as Interface

import torch

from ganforge.base.errors import RunError, did_you_mean
from ganforge.base.files import writing
from ganforge.measuring.restoration import Restoration
from ganforge.metrics.metric import Row


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """How the numbers came about; without it they say nothing."""

    scales: tuple[int, ...]
    """The shorter side of each level of the Laplacian pyramid, in pixels, the full size first."""
    compared: int
    """Pictures from which distances and their floors are estimated."""
    samples: int
    train: int
    heldout: int
    extractor: str
    """What the feature extractor learned, classes or clusters, and the beginning of its SHA-256; "" for passages of
    text, which are counted."""
    accuracy: float | None
    """Share of held-out pictures whose class the extractor's classifier names; of clusters, of training pictures."""
    made_by: str
    """Where the samples come from: seeds and weights, or a folder."""
    store: str
    """The beginning of the store's SHA-256."""
    resize: str
    """The filter by which pictures were brought to the store's shape."""
    machine: str
    seconds: float

    def __str__(self) -> str:
        kind = self.extractor.split("-")[0]
        learned = {"classes": "held-out accuracy", "clusters": "agreement with its clusters"}.get(kind)
        things = "pictures" if learned else "passages"
        extractor = f"extractor {self.extractor}, {learned} {self.accuracy:.1%}; " if learned else ""
        resize = f"resize {self.resize}; " if learned else ""
        return (
            f"protocol: {self.samples:,} samples ({self.made_by}) against {self.train:,} training {things}; "
            f"{self.heldout:,} held out; {extractor}store {self.store}; {resize}{self.machine}"
        )


def machine(device: torch.device) -> str:
    """The processor, the device and the version of torch that numbers come from."""
    threads = f"{torch.get_num_threads()} threads, torch {torch.__version__}"
    return f"{platform.machine()}, {device.type}, {threads}"


@dataclass(frozen=True)
class Measured:
    """One measurement. `measured["distance"]` is a row, with value, floor and spread; `measured.distance` is a number
    by its name in JSON, as are `measured.floor` and `measured.samples`."""

    rows: tuple[Row, ...]
    """Empty for a system that only restores."""
    protocol: Protocol
    restoration: Restoration | None = None
    """Of a system that restores."""

    def __getitem__(self, name: str) -> Row:
        """The row of that name. KeyError where there is none."""
        rows = {row.name: row for row in self.rows}
        if name not in rows:
            raise KeyError(f"{name} is no row of a measurement.{did_you_mean(name, rows)}")
        return rows[name]

    def __getattr__(self, name: str) -> Any:
        """A number or a fact of the protocol by its name in JSON."""
        if name.startswith("_") or name in (
            "rows",
            "protocol",
            "restoration",
        ):  # asked for by copy and pickle, before they are there
            raise AttributeError(name)
        fields = self.as_dict()
        if name not in fields:
            raise AttributeError(f"{name} is no number of a measurement.{did_you_mean(name, fields)}")
        return fields[name]

    @property
    def printed(self) -> Iterator[Row]:
        """The rows that are printed: those with a title and a number."""
        return (row for row in self.rows if row.title and row.value is not None)

    @property
    def above_floor(self) -> str:
        """How far the rows are above their floors, a sentence for each that says so, and what the restored pictures
        say."""
        verdict = [] if self.restoration is None else [self.restoration.verdict]
        return "\n".join([row.conclusion for row in self.rows if row.conclusion] + verdict)

    def as_dict(self) -> dict[str, Any]:
        """All numbers and the protocol by their names in JSON; a list with missing numbers is None."""
        numbers: dict[str, Any] = {}
        for row in self.rows:
            for key, number in row.fields.items():
                if key.endswith("[]"):
                    numbers[key[:-2]] = (*numbers.get(key[:-2], ()), number)
                else:
                    numbers[key] = number
        numbers = {key: None if isinstance(n, tuple) and None in n else n for key, n in numbers.items()}
        table = {} if self.restoration is None else {"restoration": self.restoration.as_dict()}
        return numbers | table | asdict(self.protocol)

    def __str__(self) -> str:
        cells = [("", "samples", "real, held out", "")] if self.rows else []
        cells += [(row.title, row.shown, row.floor_shown, row.note) for row in self.printed]
        lines = [f"{title:<23}{value:>18}{floor:>18}  {note}".rstrip() for title, value, floor, note in cells]
        lines += [] if self.restoration is None else [self.restoration.heading, self.restoration.table]
        return "\n".join([*lines, str(self.protocol), self.above_floor])


class Result(Interface):
    """What can be kept: numbers by their names."""

    def as_dict(self) -> dict[str, Any]:
        """The numbers by their names in JSON."""


def as_json(result: Result) -> str:
    """The numbers as one line of strict JSON; None is null."""
    return json.dumps(result.as_dict(), allow_nan=False)


def keep(path: Path, result: Result) -> None:
    """Add the numbers to a run's file of them. RunError where it cannot be written."""
    with writing(path, f"The numbers are: {as_json(result)}", RunError), path.open("a", encoding="utf-8") as file:
        file.write(as_json(result) + "\n")
