"""The audit beside CleanVision and ImageHash on the same pictures, in one run; the search for pairs; memory.

    python benchmarks/audit.py --data FOLDER --other PYTHON [--count 2000] [--big 200000]

PYTHON is that of an environment with cleanvision and imagehash. FOLDER holds `flowers/flowers128.zip`. Pictures:
natural spectrum, 64 to 512 px, three JPEG for two PNG. Each way runs in a process of its own; imports are not counted.
"One core" is by `taskset`, in turns."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import common
from ganforge.auditing.hashes import pairs

OURS = """
import json, sys, time, shutil
from ganforge.auditing.audit import audit
start = time.perf_counter(); cpu = time.process_time()
made = audit(sys.argv[1], sys.argv[2])
spent = time.perf_counter() - start, time.process_time() - cpu
shutil.rmtree(sys.argv[2])
peak = int(open('/proc/self/status').read().split('VmHWM:')[1].split()[0]) / 1024
print(json.dumps({'images': made.pictures, 'seconds': spent[0], 'cpu': spent[1], 'peak_mb': peak}))
"""
CLEANVISION = """
import json, sys, time, os
from cleanvision import Imagelab
start = time.perf_counter(); cpu = time.process_time()
lab = Imagelab(data_path=sys.argv[1]); out = sys.stdout; sys.stdout = open(os.devnull, 'w')
lab.find_issues(n_jobs=int(sys.argv[2])); sys.stdout = out
spent = time.perf_counter() - start, time.process_time() - cpu
print(json.dumps({'images': len(lab.issues), 'seconds': spent[0], 'cpu': spent[1]}))
"""
OUR_HASH = """
import json, sys, time, torch, numpy as np
from pathlib import Path
from PIL import Image
from ganforge.auditing import checks, facts, hashes
from ganforge.sources.transform import resize
torch.set_num_threads(1)
grey = lambda x: x[:, 0].float().mul_(.299).add_(x[:, 1], alpha=.587).add_(x[:, 2], alpha=.114)
pixels = [np.asarray(Image.open(p).convert('RGB')) for p in sorted(Path(sys.argv[1]).iterdir())[:500]]
def alone():
    for n in range(0, len(pixels), 50):
        some = [resize(torch.from_numpy(p).permute(2, 0, 1)[None], 32, 32) for p in pixels[n:n + 50]]
        hashes.hashes(grey(torch.cat(some)))
def shared():
    for n in range(0, len(pixels), 50):
        by_side = {}
        for p in pixels[n:n + 50]:
            t = facts._thumbnail(p); by_side.setdefault(t.shape[-1], []).append(t)
        for some in by_side.values():
            hashes.hashes(checks._to_32(grey(torch.stack(some))))
out = {}
for name, work in (('alone', alone), ('shared', shared)):
    work(); best = 1e9
    for _ in range(3):
        start = time.process_time(); work(); best = min(best, time.process_time() - start)
    out[name] = best / len(pixels) * 1e6
print(json.dumps(out))
"""
IMAGEHASH = """
import json, sys, time, imagehash
from pathlib import Path
from PIL import Image
pictures = [Image.open(p).convert('RGB') for p in sorted(Path(sys.argv[1]).iterdir())[:500]]
best = 1e9
for _ in range(3):
    start = time.process_time()
    for p in pictures: imagehash.phash(p)
    best = min(best, time.process_time() - start)
print(json.dumps({'us': best / len(pictures) * 1e6}))
"""


def run(python: str, code: str, *words: object, cores: str | None = None) -> dict[str, Any]:
    """What a program in a process of its own prints last, as JSON."""
    before = ["taskset", "-c", cores] if cores else []
    done = subprocess.run(
        [*before, python, "-c", code, *map(str, words)], capture_output=True, text=True, check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def make_pictures(folder: Path, count: int) -> None:
    """JPEG q90 and PNG of 64 to 512 px."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    for n in range(count):
        height, width = rng.integers(64, 513, 2)
        fy, fx = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None]
        amplitude = 1 / np.maximum(np.hypot(fy, fx), 1 / 500)
        phase = rng.standard_normal((3, *amplitude.shape)) + 1j * rng.standard_normal((3, *amplitude.shape))
        planes = np.fft.irfft2(amplitude * (phase + 2 * phase[:1]), (height, width))
        pixels = ((planes / planes.std((1, 2), keepdims=True)) * 50 + 128).clip(0, 255).astype(np.uint8)
        image = Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0)))
        image.save(folder / (f"{n:05d}.jpg" if n % 5 < 3 else f"{n:05d}.png"), quality=90)


def speeds(folder: Path, out: Path, other: str, turns: int = 3) -> dict[str, Any]:
    """Images a second on one core and on two, the best of turns."""
    ways = {
        "ours, one core": lambda: run(sys.executable, OURS, folder, out, cores="0"),
        "cleanvision, one core": lambda: run(other, CLEANVISION, folder, 1, cores="0"),
        "ours, two cores": lambda: run(sys.executable, OURS, folder, out, cores="0,1"),
        "cleanvision, two jobs": lambda: run(other, CLEANVISION, folder, 2, cores="0,1"),
    }
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(turns):
        for name, way in ways.items():
            made = way()
            found[name].append(made["images"] / made["seconds"])
    middle = {name: round(max(values), 1) for name, values in found.items()}
    return {
        "pictures": sum(path.is_file() for path in folder.rglob("*")),
        "images a second": middle,
        "times cleanvision, one core": round(middle["ours, one core"] / middle["cleanvision, one core"], 2),
        "times one core, on two": round(middle["ours, two cores"] / middle["ours, one core"], 2),
    }


def search(count: int) -> dict[str, float]:
    """Seconds of exact pairs at radius 6 among random hashes with 1,000 planted near ones; all must be found."""
    rng = np.random.default_rng(1)
    some = rng.integers(0, 2**64, count, dtype=np.uint64)
    for n in range(1000):
        bits = rng.permutation(64)[: rng.integers(0, 7)]
        some[count - 1 - n] = some[n] ^ np.uint64(sum(1 << int(bit) for bit in bits))
    start = time.process_time()
    found = pairs(some, radius=6)
    spent = time.process_time() - start
    wanted = {(n, count - 1 - n) for n in range(1000)}
    return {"seconds": round(spent, 2), "found of 1,000 planted": len(wanted & set(map(tuple, found.tolist())))}


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--other", required=True, help="python of an environment with cleanvision and imagehash")
    parser.add_argument("--count", type=int, default=1500)
    parser.add_argument("--big", type=int, default=200_000)
    parser.add_argument("--scratch", type=Path, help="where to make pictures, kept")
    asked = parser.parse_args()
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = asked.scratch or Path(name)
        if not (folder / "pictures").exists():
            make_pictures(folder / "pictures", asked.count)
        own = run(sys.executable, OUR_HASH, folder / "pictures", cores="0")
        results["hash, microseconds a decoded picture"] = both = {
            "ours": round(own["alone"], 1),
            "ours, from the audit's thumbnail of 128 px, made for it": round(own["shared"], 1),
            "imagehash.phash": round(run(asked.other, IMAGEHASH, folder / "pictures", cores="0")["us"], 1),
        }
        results["times imagehash"] = round(both["imagehash.phash"] / both["ours"], 2)
        results["pairs at radius 6"] = {f"{count:,}": search(count) for count in (100_000, 1_000_000)}
        with zipfile.ZipFile(asked.data / "flowers" / "flowers128.zip") as archive:
            archive.extractall(folder / "flowers")
        for name, place in (("made, 64 to 512 px", "pictures"), ("flowers, 128 px", "flowers")):
            results[name] = speeds(folder / place, folder / "out", asked.other)
        print(json.dumps(results, indent=1), flush=True)
        if asked.big:
            files = sorted((folder / "flowers").rglob("*.jpg"))
            for n in range(asked.big):
                target = folder / "big" / f"{n // 1000:04d}" / f"{n:07d}.jpg"
                if n % 1000 == 0:
                    target.parent.mkdir(parents=True)
                os.link(files[n % len(files)], target)
            made = run(sys.executable, OURS, folder / "big", folder / "big-out")
            results[f"{asked.big:,} files of 128 px, two cores"] = {
                "images a second": round(made["images"] / made["seconds"], 1), "peak MB": round(made["peak_mb"]),
            }  # fmt: skip
            shutil.rmtree(folder / "big")
    common.write("audit", results)


if __name__ == "__main__":
    main()
