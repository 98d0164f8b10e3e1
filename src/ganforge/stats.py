"""Means of what the phases report: `stats.jsonl` is the truth, a TensorBoard log beside it where that is installed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from torch import Tensor


class Means:
    """Running means of named scalars, kept on their device: nothing waits for a number until `result`."""

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}
        self.counts: dict[str, int] = {}

    def add(self, values: dict[str, Tensor]) -> None:
        """Scalars of one step, by name."""
        for name, value in values.items():
            value = value.detach().float()
            self.sums[name] = self.sums[name] + value if name in self.sums else value
            self.counts[name] = self.counts.get(name, 0) + 1

    def result(self) -> dict[str, float]:
        """The means since the last call, and a fresh start."""
        means = {name: float(total) / self.counts[name] for name, total in self.sums.items()}
        self.__init__()  # type: ignore[misc]
        return means


class Log:
    """Appends rows to `stats.jsonl`. A resumed run first drops the rows that came after its checkpoint."""

    def __init__(self, folder: Path, seen: int) -> None:
        self.path = folder / "stats.jsonl"
        kept = [row for row in read(folder) if row["seen"] <= seen]
        text = "".join(json.dumps(row) + "\n" for row in kept)
        if not self.path.exists() or self.path.read_text("utf-8") != text:
            self.path.write_text(text, "utf-8")
        try:
            from torch.utils.tensorboard import SummaryWriter

            self.board: Any = SummaryWriter(str(folder / "tensorboard"), purge_step=seen + 1)
        except Exception:  # not installed, or broken: an optional view must not stop a run
            self.board = None

    def write(self, row: dict[str, Any]) -> None:
        """One row, on disk when this returns."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        if self.board is not None:
            for name, value in row.items():
                if isinstance(value, float):
                    self.board.add_scalar(name, value, row["seen"])
            self.board.flush()


def read(folder: Path) -> list[dict[str, Any]]:
    """The rows of a run's `stats.jsonl`; a last line that a crash cut short is left out."""
    path = folder / "stats.jsonl"
    rows = []
    for line in path.read_text("utf-8").splitlines() if path.exists() else []:
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows
