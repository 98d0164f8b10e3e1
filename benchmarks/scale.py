"""Preparing 10^4, 10^5 and 10^6 pictures in parts: how the time, the memory and the join grow.

    python benchmarks/scale.py [--counts 10000 100000 1000000]

Made pictures: PNG of 32 px, 1,000 different ones, the others further names of them. Each measuring is a process of its
own."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

import common

CODE = """
import json, sys, time
from ganforge.preparing.prepare import prepare, prepare_shard
def peak():
    return round(int(open('/proc/self/status').read().split('VmHWM:')[1].split()[0]) / 1024)
source, out, step = sys.argv[1:]
start = time.perf_counter()
if step == 'parts':
    prepare_shard(source, out, 0, 1, resolution=32, part_size=65536)
else:
    prepare(source, out, resolution=32, part_size=65536)
print(json.dumps({'seconds': round(time.perf_counter() - start, 1), 'peak MB': peak()}))
"""


def measure(source: Path, out: Path, step: str) -> dict[str, float]:
    """Seconds and peak memory of one step."""
    done = subprocess.run(
        [sys.executable, "-c", CODE, str(source), str(out), step], capture_output=True, text=True, check=True
    )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--counts", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    asked = parser.parse_args()
    results: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rng = np.random.default_rng(0)
        (folder / "different").mkdir()
        for n in range(1000):
            pixels = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "different" / f"{n}.png", compress_level=1)
        done = 0
        for count in asked.counts:
            for n in range(done, count):
                path = folder / "in" / f"{n // 10_000:05d}" / f"{n:08d}.png"
                if n % 10_000 == 0:
                    path.parent.mkdir(parents=True)
                os.link(folder / "different" / f"{n % 1000}.png", path)
            done = count
            out = folder / f"store-{count}"
            parts, join = measure(folder / "in", out, "parts"), measure(folder / "in", out, "join")
            sidecars = sum((out / n).stat().st_size for n in ("labels.npy", "splits.npy", "meta.parquet"))
            results[f"{count:,}"] = {
                "parts": parts, "images a second": round(count / parts["seconds"]), "join": join,
                "side files, bytes a picture": round(sidecars / count, 1),
            }  # fmt: skip
            print(results, flush=True)
    common.write("scale", results)


if __name__ == "__main__":
    main()
