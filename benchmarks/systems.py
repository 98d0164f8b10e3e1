"""Every system under one protocol: the same store, the same minutes, the same judge; a table, and a sheet of samples each.

    python benchmarks/systems.py --data FOLDER [--set fashion-mnist] [--minutes 5] [--systems dcgan cgan] [--out sheets]

FOLDER holds the set's original files in a folder of its name (or NAME.zip, prepared to --resolution). Results are added to
`results/systems.json` system by system, so that a run that was cut can go on, and printed as a table.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

import common
from ganforge import models
from ganforge.data.store import Store
from ganforge.images import enlarge, grid, write_png
from ganforge.measure import FIRST_SEED, measure
from ganforge.prepare import prepare
from ganforge.run import Run
from ganforge.sample import pictures
from ganforge.stats import read
from ganforge.train import train

COLUMNS = ("distance", "times floor", "precision", "recall", "coverage", "asked class hit", "images/s", "parameters")


def one(name: str, store: Store, minutes: float, size: str, samples: int, sheets: Path, folder: Path) -> dict[str, Any]:
    """Train, measure, draw."""
    run: Run = train(name, store, folder / name, size=size, overrides={"train": {"minutes": minutes}}, say=print)
    last, system = read(run.path)[-1], run.build()
    row: dict[str, Any] = {
        "command": f"ganforge train {name} {store.name} --size {size} --minutes {minutes:g}",
        "images": last["seen"], "seconds": last["seconds"], "images/s": round(last["seen"] / last["seconds"], 1),
        "parameters": sum(p.numel() for p in system.parameters()),
    }  # fmt: skip
    if not getattr(system, "generates", True):
        return row
    found = asdict(measure(run, store, samples, print))
    row |= found | {"times floor": found["distance"] / found["floor"], "asked class hit": found["asked"]}
    classes = list(range(min(system.classes, 10)))
    seeds = list(range(FIRST_SEED, FIRST_SEED + 100))
    labels = [c for c in classes for _ in range(10)] if classes else None
    made = np.concatenate(list(pictures(system, seeds[: len(labels)] if labels else seeds, labels)))
    sheets.mkdir(parents=True, exist_ok=True)
    write_png(sheets / f"{name}.png", grid(enlarge(made, 32), 10), {"system": name, "seconds": row["seconds"]})
    return row


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--set", default="fashion-mnist")
    parser.add_argument("--resolution", type=int)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--size", default="small")
    parser.add_argument("--systems", nargs="+", default=[n for n in models.names() if n != "composed"])
    parser.add_argument("--out", type=Path, default=Path("sheets"))
    asked = parser.parse_args()
    source = asked.data / asked.set
    source = source if source.exists() else source.with_suffix(".zip")
    title = f"{asked.set}, {asked.size}, {asked.minutes:g} minutes"
    place = common.RESULTS / "systems.json"
    kept: dict[str, Any] = json.loads(place.read_text()) if place.exists() else {}
    kept.pop("machine", None)
    table: dict[str, Any] = kept.setdefault(title, {})
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store = prepare(source, folder / asked.set, resolution=asked.resolution).store
        for system in asked.systems:
            table[system] = one(
                system, store, asked.minutes, asked.size, asked.samples, asked.out / asked.set, folder / "runs"
            )
            common.write("systems", kept)
    print(f"\n{title}\n\n| system | {' | '.join(COLUMNS)} |\n|---|{'---|' * len(COLUMNS)}")
    for system, row in sorted(table.items(), key=lambda item: item[1].get("distance", 1e9)):
        shown = [
            f"{row[c]:,.3g}"
            if isinstance(row.get(c), float)
            else f"{row.get(c, '-'):,}"
            if isinstance(row.get(c), int)
            else "-"
            for c in COLUMNS
        ]
        print(f"| `{system}` | {' | '.join(shown)} |")


if __name__ == "__main__":
    main()
