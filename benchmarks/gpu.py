"""Training speed of every system on an accelerator, and whether its numbers are right there.

    python benchmarks/gpu.py [--device cuda] [--seconds 10] [--size medium] [--systems dcgan r3gan]

Without an accelerator it runs on the CPU: the path is the same, so it can be tested anywhere.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

import common
from ganforge import models
from ganforge.base import device
from ganforge.base.images import Pixels
from ganforge.media.picture import Picture
from ganforge.media.spec import Spec
from ganforge.runs import RunFolder
from ganforge.sampling import examples, pictures
from ganforge.store.store import Store
from ganforge.system import System
from ganforge.testing import make_store
from ganforge.training.train import Trainer, plan

CLASSES = ("a", "b", "c")
SPECS = {
    "28x28 grey": Spec(28, 28, 1, CLASSES),
    "32x32 RGB": Spec(32, 32, 3, CLASSES),
    "64x64 RGB": Spec(64, 64, 3, CLASSES),
}


def main() -> None:
    """Measure every system at every size, in bf16 and in fp32; check the samples against the CPU's."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--size", default="medium")
    parser.add_argument("--systems", nargs="+", default=models.of_medium(Picture))
    asked = parser.parse_args()
    chosen = device.choose(asked.device)
    results: dict[str, object] = {"device": str(chosen), "size": asked.size, "batch": asked.batch}
    speeds: dict[str, float] = {}
    differences: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as name:
        for label, spec in SPECS.items():
            store = make_store(Path(name) / label, spec, 2000, captioned=True)
            for system in asked.systems:
                for precision in ("fp32", "bf16"):
                    run = RunFolder(Path(name) / f"{system}-{label}-{precision}")
                    loop = {"batch": asked.batch, "images": 10**9, "precision": precision}
                    size = asked.size if any(models.load(system).presets.values()) else None
                    model = {"degradation": "edges 0.1"} if system == "pix2pix" else {}
                    run.begin(plan(system, store, run.path, size, {"train": loop, "model": model}))
                    trainer = Trainer(run, store, str(chosen))
                    for _ in range(3):
                        trainer.step()
                    _wait(chosen)
                    steps, start = 0, time.perf_counter()
                    while time.perf_counter() - start < asked.seconds:
                        trainer.step()
                        steps += 1
                        if steps % 20 == 0:
                            _wait(chosen)
                    _wait(chosen)
                    speeds[f"{system}, {label}, {precision}"] = round(
                        steps * asked.batch / (time.perf_counter() - start), 1
                    )
                    assert not trainer._recover(saving=True)
                trainer.save()  # of bf16
                here, there = drawn(run.build(), store), drawn(trainer.average, store)
                differences[f"{system}, {label}"] = float(np.abs(here.astype(float) - there).max())
                print(f"{system}, {label}: {speeds[f'{system}, {label}, bf16']:,.0f} images/s", flush=True)
    results["images_per_second"] = speeds
    results["largest difference between samples here and on the CPU, of 255"] = differences
    if chosen.type == "cuda":
        results["peak_memory_mb"] = round(torch.cuda.max_memory_allocated() / 2**20)
    common.write(f"gpu-{chosen.type}", results)


def drawn(system: System, store: Store) -> Pixels:
    """(N, H, W, C): 32 samples, or what becomes of 32 pictures."""
    if system.generates:
        return np.concatenate(list(pictures(system, range(32))))
    return examples(system, store.read(store.train[:32]))


def _wait(chosen: torch.device) -> None:
    if chosen.type == "cuda":
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
