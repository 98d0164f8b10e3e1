"""Every system under one protocol: the same store, the same minutes on the same cores, the same metrics; a table, and
a sheet each.

    python benchmarks/systems.py --data FOLDER [--set fashion-mnist] [--minutes 5] [--jobs 2] [--systems dcgan cgan]
        [--conditional] [--like FILE] [--work FOLDER]

FOLDER holds the set's original files in a folder of its name (or NAME.zip, prepared to --resolution). So many jobs
train side by side, each on its share of the cores. With `--like` a run has as many images as the same row of an earlier
results file, whatever the time: what a quiet machine did in those minutes, on one that is not. A system may be a file
of layers, such as examples/composed/dcgan.toml. Store, runs and sheets stay in the folder `work`; a run that is there
is taken as it is. Results are added to `results/systems.json` one by one and printed as a table: of the best checkpoint
of each run, with the distance of the last one, those measured on the way, and the reports at which a rule of collapse
spoke."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import numpy as np
import torch

import common
from ganforge import models
from ganforge.base.images import enlarge, grid, write_image
from ganforge.base.logs import printed
from ganforge.base.stats import read
from ganforge.measuring.measure import FIRST_SEED, measure
from ganforge.measuring.reference import extractor
from ganforge.media.picture import Picture
from ganforge.media.spec import to_float, to_uint8
from ganforge.preparing.prepare import prepare
from ganforge.runs import RunFolder
from ganforge.sampling import pictures
from ganforge.store.store import Store
from ganforge.system import System
from ganforge.training import collapse
from ganforge.training.train import train

COLUMNS = (
    "distance",
    "above floor",
    "patches",
    "told apart",
    "precision",
    "recall",
    "coverage",
    "copies",
    "asked class hit",
    "images",
    "parameters",
)
ROWS, ACROSS = 6, 10


def one(
    name: str, place: str, minutes: float, images: int | None, size: str, samples: int, conditional: bool
) -> dict[str, Any]:
    """Train for so many images or else minutes, measure, draw."""
    store, file = Store(place), Path(name)
    folder = store.path.parent / ((f"composed-{file.stem}" if file.suffix else name) + "-conditional" * conditional)
    layers = file if file.suffix == ".toml" else None
    overrides: dict[str, dict[str, Any]] = {
        "train": {"images": images} if images else {"minutes": minutes},
        "model": {"conditional": True} if conditional else {},
    }
    with printed(prefix=f"{name}: "):
        run = train(
            "composed" if layers else name,
            store,
            folder,
            size=None if layers else size,
            base=layers,
            overrides=overrides,
        )
    rows, system = read(run.path), run.build()
    last, state = rows[-1], RunFolder(run.path, at="last").load()[1]
    what = f"composed {store.name} --config {name}" if layers else f"{name} {store.name} --size {size}"
    what += " --model.conditional true" * conditional
    length = f"--images {images}" if images else f"--minutes {minutes:g}"
    row: dict[str, Any] = {
        "command": f"ganforge train {what} {length}",
        "images": last["seen"],
        "seconds": last["seconds"],
        "images/s": round(last["seen"] / last["seconds"], 1),
        "parameters": sum(p.numel() for p in system.parameters()),
        "reports with an alarm": sum(collapse.alarm(rows[:n]) is not None for n in range(1, len(rows) + 1)),
        "went back": state["collapses"] + state["rollbacks"],
        "share of scores": round(state["measuring"] / last["seconds"], 3),
        "curve": [[r["seen"], round(r["seconds"]), r["distance"], r["recall"]] for r in rows if "distance" in r],
        "checkpoint": int(run.chosen().name),
    }
    write_image(
        folder.with_suffix(".png"),
        grid(enlarge(drawn(system, store), 32), ACROSS),
        {"system": name, "seconds": row["seconds"]},
    )
    if not system.generates:
        return row | {"dB, noisy": last["denoiser/noisy"], "dB, restored": last["denoiser/restored"]}
    found = measure(run, store, samples).as_dict()
    if row["checkpoint"] != state["seen"]:
        by_last = measure(RunFolder(run.path, at="last"), store, samples).as_dict()
        row["last"] = {"images": state["seen"]} | {name: by_last[name] for name in ("distance", "recall")}
    found["measured in seconds"] = found.pop("seconds")
    shown_too = {
        "above floor": found["distance"] - found["floor"],
        "patches": found["sliced"][0],
        "told apart": found["told_apart"],
        "asked class hit": found["asked"],
    }
    return row | found | shown_too


def add(title: str, name: str, row: dict[str, Any]) -> dict[str, Any]:
    """A row more in the results' table `title`; the whole table."""
    kept = common.read("systems")
    kept.setdefault(title, {})[name] = row
    common.write("systems", kept)
    return kept[title]  # type: ignore[no-any-return]


def drawn(system: System, store: Store) -> np.ndarray[Any, Any]:
    """(60, H, W, C): samples, six of a class where there are classes; of what does not generate noisy, restored and
    clean."""
    count = ROWS * ACROSS
    if not system.generates:
        clean = to_float(torch.from_numpy(store.read(store.heldout[: count // 3])), store.spec)
        with torch.no_grad():
            shown = system.examples(clean)
        rows = shown.unflatten(0, (-1, ACROSS)).transpose(1, 2).flatten(0, 2)
        return np.asarray(to_uint8(rows, store.spec))
    seeds = list(range(FIRST_SEED, FIRST_SEED + count))
    labels = [c % system.classes for c in range(ACROSS)] * ROWS if system.classes else None
    return np.concatenate(list(pictures(system, seeds, labels)))


def shown(value: Any) -> str:
    """A cell of the table."""
    if isinstance(value, float):
        return f"{value:,.3g}" if value < 1000 else f"{value:,.0f}"
    return "-" if value is None else f"{value:,}"


def main() -> None:
    """Measure and write the results."""
    systems = {name: models.load(name).system for name in models.of_medium(Picture)}
    default = [name for name, one in systems.items() if name == "dae" or (name != "composed" and one.generates)]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--set", default="fashion-mnist")
    parser.add_argument("--resolution", type=int)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--like", type=Path, help="results file whose rows say how many images")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--threads", type=int, help="of each job; default: the cores shared out")
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--size", default="small")
    parser.add_argument("--systems", nargs="+", default=default)
    parser.add_argument("--conditional", action="store_true")
    parser.add_argument("--work", type=Path, default=Path("systems"))
    args = parser.parse_args()
    if args.conditional:
        args.systems = [
            n for n in args.systems if n in models.names() and hasattr(models.load(n).config, "conditional")
        ]
    source = args.data / args.set
    source = source if source.is_dir() else source.with_suffix(".zip")
    threads = args.threads or max(1, (os.cpu_count() or 1) // args.jobs)
    place = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{threads} core{'s' * (threads > 1)}"
    title = f"{source.stem}, {args.size}, {args.minutes:g} minutes on {place}"
    work = args.work / title.replace(",", "").replace(" ", "-")
    store = work / source.stem
    if not store.exists():
        prepare(source, store, resolution=args.resolution)
    with printed():
        extractor(Store(store))
    by = ", by class" * args.conditional
    images = {n: row["images"] for n, row in json.loads(args.like.read_text())[title].items()} if args.like else {}
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(args.jobs, spawn, torch.set_num_threads, (threads,), max_tasks_per_child=1) as pool:
        jobs = {
            pool.submit(
                one,
                system,
                str(store),
                args.minutes,
                images.get(system + by),
                args.size,
                args.samples,
                args.conditional,
            ): system
            for system in args.systems
        }
        for job in as_completed(jobs):
            table = add(title, jobs[job] + by, job.result())
    print(f"\n{title}\n\n| system | {' | '.join(COLUMNS)} |\n|---|{'---|' * len(COLUMNS)}")
    for system, row in sorted(table.items(), key=lambda item: item[1].get("distance", 1e9)):
        print(f"| `{system}` | {' | '.join(shown(row.get(c)) for c in COLUMNS)} |")


if __name__ == "__main__":
    main()
