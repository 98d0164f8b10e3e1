"""Training speed of every system on an accelerator, and whether its numbers are right there.

    python benchmarks/gpu.py [--device cuda] [--seconds 10]

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
from ganforge import device, models
from ganforge.images import ImageSpec
from ganforge.run import Run
from ganforge.sample import sample
from ganforge.testing import make_store
from ganforge.train import Trainer, plan

SPECS = {"28x28 grey": ImageSpec(28, 28, 1), "32x32 RGB": ImageSpec(32, 32, 3), "64x64 RGB": ImageSpec(64, 64, 3)}


def main() -> None:
    """Measure every system at every size, in bf16 and in fp32; check the samples against the CPU's."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--batch", type=int, default=128)
    asked = parser.parse_args()
    chosen = device.choose(asked.device)
    results: dict[str, object] = {"device": str(chosen), "batch": asked.batch}
    speeds: dict[str, float] = {}
    differences: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as name:
        for label, spec in SPECS.items():
            store = make_store(Path(name) / label, spec, 2000)
            for system in models.names():
                for precision in ("fp32", "bf16"):
                    run = Run(Path(name) / f"{system}-{label}-{precision}")
                    loop = {"batch": asked.batch, "images": 10**9, "precision": precision}
                    run.begin(plan(system, store, run.path, overrides={"train": loop}))
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
                    assert not trainer._recover()
                trainer.save()
                here = np.concatenate([sample(run, range(32))])
                images = trainer.average.generate(trainer.average.latents(range(32)).to(chosen))
                there = ((images.float() + 1) * 127.5).round().clamp(0, 255).permute(0, 2, 3, 1).cpu().numpy()
                differences[f"{system}, {label}"] = float(np.abs(here - there).max())
    results["images_per_second"] = speeds
    results["largest difference between samples here and on the CPU, of 255"] = differences
    if chosen.type == "cuda":
        results["peak_memory_mb"] = round(torch.cuda.max_memory_allocated() / 2**20)
    common.write(f"gpu-{chosen.type}", results)


def _wait(chosen: torch.device) -> None:
    if chosen.type == "cuda":
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
