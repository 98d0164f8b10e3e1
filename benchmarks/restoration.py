"""Pictures from pictures: super-resolution, inpainting, colours, missing frames, clothes and emoji from edges; each
trained for some minutes, measured on held-out pictures beside its baselines, and drawn.

    python benchmarks/restoration.py --data FOLDER [--tasks x4 holes ...] [--scale 1] [--jobs 2] [--work FOLDER]

FOLDER holds flowers/flowers128.zip, fashion-mnist/, mnist/ and emoji/. So many tasks train side by side, each on its
share of the cores; `--scale` multiplies the minutes. Stores, runs and sheets stay in the folder `work`; what is there
is taken as it is. Results are added to `results/restoration.json` one by one."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

import common
from ganforge.base.logs import printed
from ganforge.collecting.moving_digits import bouncing, read_mnist
from ganforge.image_to_image import ImageToImage
from ganforge.measuring.reference import Reference
from ganforge.measuring.restoration import chosen, measure_restoration
from ganforge.preparing.prepare import prepare
from ganforge.store.store import Store
from ganforge.training.train import train
from ganforge.transforms.degrade import Degrade

SAMPLES = 2_000
CLIPS, FRAMES, SIDE = 4_000, 8, 48


def flowers(data: Path, work: Path) -> dict[str, Any]:
    """The settings of `prepare` for a set, and its source."""
    return {"source": data / "flowers" / "flowers128.zip", "resolution": 128}


def fashion(data: Path, work: Path) -> dict[str, Any]:
    """Clothes of 28x28, grey."""
    return {"source": data / "fashion-mnist"}


def emoji(data: Path, work: Path) -> dict[str, Any]:
    """Emoji laid over white, 64x64."""
    folder = work / "emoji"
    names = (data / "emoji" / "names.txt").read_text("utf-8").split()
    if not folder.exists():
        folder.mkdir(parents=True)
        for number, mosaic in enumerate(sorted((data / "emoji").glob("*.webp"))):
            pixels = np.asarray(Image.open(mosaic).convert("RGBA"))
            tiles = pixels.reshape(30, 128, 30, 128, 4).swapaxes(1, 2).reshape(900, 128, 128, 4)
            for name, tile in zip(names[900 * number :], tiles, strict=False):
                Image.fromarray(tile).save(folder / f"{Path(name).stem}.png")
    return {"source": folder, "resolution": 64}


def moving(data: Path, work: Path) -> dict[str, Any]:
    """Clips of two digits that bounce."""
    folder = work / "moving"
    if not folder.exists():
        folder.mkdir(parents=True)
        digits, _ = read_mnist(data / "mnist")
        for number in range(CLIPS):
            random = np.random.default_rng([0, number])
            first, *others = map(Image.fromarray, bouncing(digits, random, 2, FRAMES, SIDE, (2, 5))[0])
            file = folder / f"{number:04d}.webp"
            first.save(file, save_all=True, append_images=others, duration=100, lossless=True)
    return {"source": folder, "medium": "clip", "frames": FRAMES}


@dataclass(frozen=True)
class Task:
    """A system, what it learns from for so many minutes, and what it is measured on."""

    system: str
    data: Callable[[Path, Path], dict[str, Any]]
    minutes: float
    model: Mapping[str, Any]
    measured: tuple[str, ...] = ()
    """Degradations; none: that of the training."""
    train: Mapping[str, Any] = field(default_factory=dict)


TASKS = {
    "x4": Task("srgan", flowers, 10, {"degradation": "down 4"}),
    "holes": Task(
        "inpaint", flowers, 20, {"degradation": "strokes 0.05..0.4, boxes 1..2"}, ("strokes 0.17", "centre 0.25")
    ),
    "colour": Task("pix2pix", flowers, 14, {"degradation": "grey", "patch": 128, "error": 30.0}, train={"batch": 8}),
    "frames": Task("inpaint", moving, 10, {"degradation": "frames 1..3", "width": 64}),
    "clothes": Task("pix2pix", fashion, 5, {"degradation": "edges 0.15"}),
    "emoji": Task("pix2pix", emoji, 10, {"degradation": "edges 0.1"}),
}


def one(name: str, data: Path, work: Path, scale: float, size: str) -> dict[str, Any]:
    """Prepare, train, measure and draw."""
    task = TASKS[name]
    store = work / f"store-{task.data.__name__}"
    with printed(prefix=f"{name}: "):
        if not store.exists():
            prepare(**task.data(data, work), out=store)
        loop = {"minutes": task.minutes * scale, **task.train}
        run = train(task.system, Store(store), work / name, size=size, overrides={"model": task.model, "train": loop})
    system, state = run.build(), run.load()[1]
    assert isinstance(system, ImageToImage)
    reference = Reference(Store(store), next(system.parameters()).device)
    row: dict[str, Any] = {
        "command": f"ganforge train {task.system} STORE --size {size} --minutes {task.minutes * scale:g} "
        + " ".join(f'--model.{word} "{value}"' for word, value in task.model.items()),
        "images": state["seen"],
        "parameters": sum(p.numel() for p in system.parameters()),
        "tables": {},
    }
    for text in task.measured or (str(task.model["degradation"]),):
        spec = system.spec
        system.degrade = Degrade(text, spec.channels, getattr(spec.medium, "frames", 0))
        sheet = work / f"{name}-{text.replace(' ', '-')}.png"
        result = measure_restoration(system, reference, chosen(Store(store), SAMPLES), sheet)
        print(f"\n{name}: {text}\n{result.table}\n{result.verdict}", flush=True)
        row["tables"][text] = result.as_dict()
    return row


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--size", default="small")
    parser.add_argument("--work", type=Path, default=Path("restoration"))
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    threads = max(1, (os.cpu_count() or 1) // args.jobs)
    kept, failed = common.read("restoration"), list[str]()
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(args.jobs, spawn, torch.set_num_threads, (threads,), max_tasks_per_child=1) as pool:
        run = partial(one, data=args.data, work=args.work, scale=args.scale, size=args.size)
        jobs = {pool.submit(run, name): name for name in args.tasks}
        for job in as_completed(jobs):
            if problem := job.exception():
                failed.append(f"{jobs[job]}: {problem!r}")
                continue
            kept[jobs[job]] = {**job.result(), "threads": threads}
            common.write("restoration", kept)
    if failed:
        sys.exit("\n".join(failed))


if __name__ == "__main__":
    main()
