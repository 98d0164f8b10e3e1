"""Means of what the phases report, and the rows of `stats.jsonl`."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ganforge.base.errors import RunError
from ganforge.base.files import atomic_file, writing
from ganforge.base.tables import read_json

ALWAYS = ("seen", "seconds", "images_per_second")  # numbers of every row
_SAVED = "means."  # before the names of the sums in a checkpoint


class Means:
    """Running means of named scalars, kept on their device: nothing waits for a number until `result`."""

    def __init__(self, tensors: Mapping[str, Tensor] | None = None, device: torch.device | None = None) -> None:
        """New, or from the `tensors` of a checkpoint that was written between two reports."""
        self.sums: dict[tuple[str, ...], tuple[Tensor, Tensor]] = {}
        for name, both in (tensors or {}).items():
            if name.startswith(_SAVED):
                total, count = both.to(device)
                self.sums[tuple(name.removeprefix(_SAVED).split(","))] = (total, count)

    def tensors(self) -> dict[str, Tensor]:
        """The sums since the last call of `result`, by name, for a checkpoint; (2, N) float32 each."""
        return {_SAVED + ",".join(names): torch.stack(sums) for names, sums in self.sums.items()}

    def add(self, phase: str, values: Mapping[str, Tensor], bad: Tensor) -> None:
        """Scalars of one step of a phase, by name. Those that are not finite do not count, and none does where `bad`, a
        bool scalar."""
        names = tuple(f"{phase}/{name}" for name in values)
        new = torch.stack([value.detach().float() for value in values.values()])
        good = new.isfinite() & ~bad
        total, count = self.sums.get(names, (torch.zeros_like(new), torch.zeros_like(new)))
        self.sums[names] = total + torch.where(good, new, 0), count + good

    def result(self) -> dict[str, float]:
        """The means since the last call, and a fresh start. What never was finite is not among them."""
        means: dict[str, float] = {}
        for names, (total, count) in self.sums.items():
            means |= dict(zip(names, (total.cpu().double() / count.cpu()).tolist(), strict=True))
        self.sums = {}
        return {name: mean for name, mean in means.items() if math.isfinite(mean)}


class Log:
    """Appends rows to `stats.jsonl`. A resumed run first drops the rows that came after its checkpoint, and lines that
    are none."""

    def __init__(self, folder: Path, seen: int) -> None:
        self.path = folder / "stats.jsonl"
        kept = [row for row in read(folder) if row["seen"] <= seen]
        text = "".join(json.dumps(row) + "\n" for row in kept).encode()
        self.advice = f"Make room or allow it, and go on with: ganforge train {folder}"
        with writing(self.path, self.advice, RunError):
            writable = self.path.exists() and self.path.stat().st_nlink == 1  # a copy by hard links must not grow
            if not writable or self.path.read_bytes() != text:
                with atomic_file(self.path) as partial:
                    partial.write_bytes(text)

    def write(self, row: dict[str, Any]) -> None:
        """One row, on disk when this returns. RunError where it cannot be written."""
        with writing(self.path, self.advice, RunError), self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row, allow_nan=False) + "\n")


def read(folder: Path) -> list[dict[str, Any]]:
    """The rows of a run's `stats.jsonl`. Lines that cannot be read are left out, such as a last one that a crash cut
    short, and in a row numbers that are not finite. RunError where there is a file that cannot be read."""
    path = folder / "stats.jsonl"
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror or error}.") from error
    rows = []
    for line in lines:
        try:
            row = read_json(line)
        except ValueError:  # no JSON, or no UTF-8
            continue
        if not isinstance(row, dict):
            continue
        row = {k: v for k, v in row.items() if not isinstance(v, float) or math.isfinite(v)}
        if isinstance(row.get("seen"), int) and all(isinstance(row.get(name), (int, float)) for name in ALWAYS):
            rows.append(row)
    return rows
