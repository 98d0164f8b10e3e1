"""Preparing and reading, beside the plain ways, in one run.

    python benchmarks/data.py --data FOLDER [--big 600000]

FOLDER holds `mnist` (the four original files) and `flowers/flowers128.zip`. Peaks of memory are of a process of their
own."""

from __future__ import annotations

import argparse
import io
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

import common
from ganforge.preparing.prepare import prepare
from ganforge.store.store import Store
from ganforge.store.stream import Stream


def seconds(work: Callable[[], object]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def pillow_loop(paths: list[Path], side: int) -> None:
    """What a script does: open, convert, crop to a square, Lanczos, save as PNG, in one process."""
    with tempfile.TemporaryDirectory() as out:
        for n, path in enumerate(paths):
            image = Image.open(path).convert("RGB")
            short = min(image.size)
            left, top = (image.width - short) // 2, (image.height - short) // 2
            image = image.crop((left, top, left + short, top + short)).resize((side, side), Image.Resampling.LANCZOS)
            image.save(Path(out) / f"{n}.png")


def pillow_loop_in_memory(paths: list[Path], side: int) -> None:
    """The same, kept in memory: the decoding and resizing alone."""
    for path in paths:
        image = Image.open(path).convert("RGB")
        short = min(image.size)
        left, top = (image.width - short) // 2, (image.height - short) // 2
        np.asarray(image.crop((left, top, left + short, top + short)).resize((side, side), Image.Resampling.LANCZOS))


def make_jpegs(folder: Path, count: int) -> None:
    """Pictures of about 500 px with a natural spectrum; from the 500th on, copies of the first ones."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    for n in range(count):
        if n >= 500:
            (folder / f"{n:05d}.jpg").write_bytes((folder / f"{n % 500:05d}.jpg").read_bytes())
            continue
        height, width = rng.integers(420, 580, 2)
        fy, fx = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None]
        amplitude = 1 / np.maximum(np.hypot(fy, fx), 1 / 500)
        planes = []
        for _ in range(3):
            phase = rng.standard_normal(amplitude.shape) + 1j * rng.standard_normal(amplitude.shape)
            plane = np.fft.irfft2(amplitude * phase, (height, width))
            planes.append((plane - plane.mean()) / plane.std() * 50 + 128)
        pixels = np.stack(planes, -1).clip(0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{n:05d}.jpg", quality=90)


def peak_of_prepare(source: Path, out: Path, resolution: int) -> dict[str, float]:
    """Peak resident memory (MB) and seconds of `prepare` in a fresh process."""
    code = (
        "import time, json; from ganforge.preparing.prepare import prepare;"
        "peak = lambda: int(open('/proc/self/status').read().split('VmHWM:')[1].split()[0]) / 1024; base = peak();"
        f"s = time.perf_counter(); m = prepare({str(source)!r}, {str(out)!r}, resolution={resolution});"
        "print(json.dumps({'images': len(m.store), 'seconds': time.perf_counter() - s,"
        "'peak_mb': peak(), 'imports_alone_mb': base}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {name: round(value, 1) for name, value in json.loads(done.stdout.splitlines()[-1]).items()}


class Folder(Dataset[torch.Tensor]):
    """A folder of PNG as a torch data set."""

    def __init__(self, paths: list[Path]) -> None:
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, n: int) -> torch.Tensor:
        return torch.from_numpy(np.array(Image.open(self.paths[n])))


def reading(store: Store, folder: Path) -> dict[str, float]:
    """Shuffled batches of 64: raw rows, finished training batches, and a PNG folder through a DataLoader."""
    paths = []
    folder.mkdir()
    for start in range(0, min(len(store), 20_000), 500):
        for n, pixels in enumerate(store.read(np.arange(start, start + 500))):
            paths.append(folder / f"{start + n:06d}.png")
            Image.fromarray(pixels.squeeze()).save(paths[-1])
    stream = Stream(store, 0, torch.device("cpu"))
    at = {"rows": 0, "batch": 0}

    def rows() -> int:
        for _ in range(100):
            store.read(store.train[stream.order(at["rows"], 64)])
            at["rows"] += 64
        return 6400

    def batches() -> int:
        for _ in range(100):
            stream.batch(at["batch"], 64)
            at["batch"] += 64
        return 6400

    def loader(workers: int) -> Callable[[], int]:
        def run() -> int:
            seen = 0
            for batch in DataLoader(Folder(paths), 64, shuffle=True, num_workers=workers):
                seen += len(batch)
                if seen >= 6400:
                    break
            return seen

        return run

    ways = {"store, rows": rows, "store, batches": batches, "PNG folder": loader(0), "PNG folder, 2 workers": loader(2)}
    return common.interleave(ways, 3, 2.0)


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--jpegs", type=int, default=4000)
    parser.add_argument("--big", type=int, default=600_000)
    asked = parser.parse_args()
    results: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        results["mnist"] = peak_of_prepare(asked.data / "mnist", folder / "mnist", 28)
        with zipfile.ZipFile(asked.data / "flowers" / "flowers128.zip") as archive:
            for member in archive.namelist():
                if member.endswith(".jpg"):
                    target = folder / "flowers" / member.replace("/", "-")
                    target.parent.mkdir(exist_ok=True)
                    target.write_bytes(archive.read(member))
        make_jpegs(folder / "jpegs", asked.jpegs)
        print(results, flush=True)
        for kind in ("flowers", "jpegs"):
            paths = sorted((folder / kind).iterdir())
            turns = []
            for turn in range(2):
                ours = seconds(lambda: prepare(folder / kind, folder / f"{kind}-{turn}", resolution=64))  # noqa: B023
                theirs = seconds(lambda: pillow_loop(paths, 64))  # noqa: B023
                bare = seconds(lambda: pillow_loop_in_memory(paths, 64))  # noqa: B023
                turns.append({"ours": ours, "pillow loop": theirs, "pillow, nothing saved": bare})
            middle = {way: round(sum(t[way] for t in turns) / len(turns), 2) for way in turns[0]}
            results[kind] = {
                "images": len(paths), "seconds": middle,
                "times a pillow loop": round(middle["pillow loop"] / middle["ours"], 2),
                "times pillow, nothing saved": round(middle["pillow, nothing saved"] / middle["ours"], 2),
            }  # fmt: skip
        print(results, flush=True)
        colour = np.random.default_rng(0).integers(0, 256, (20_000, 32, 32, 3), dtype=np.uint8)
        for n, pixels in enumerate(colour):
            path = folder / "small" / f"{n // 1000:03d}" / f"{n:06d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path, compress_level=1)
        store = prepare(folder / "small", folder / "store").store
        speeds = reading(store, folder / "png")
        results["reading at 32 px, images a second"] = speeds
        fastest = max(speeds["PNG folder"], speeds["PNG folder, 2 workers"])
        results["times a PNG folder"] = {
            way: round(speeds[way] / fastest, 1) for way in ("store, rows", "store, batches")
        }
        print(results, flush=True)
        file = io.BytesIO()
        Image.fromarray(colour[0]).save(file, "PNG", compress_level=1)
        for n in range(asked.big):
            path = folder / "big" / f"{n // 1000:04d}" / f"{n:07d}.png"
            if n % 1000 == 0:
                path.parent.mkdir(parents=True)
            if n % 1000 == 0:
                path.write_bytes(file.getvalue())
            else:  # names of one file: the file system holds 600 files, `prepare` reads 600,000
                os.link(path.parent / f"{n - n % 1000:07d}.png", path)
        for count in (60_000, asked.big):
            some = folder / f"some-{count}"
            some.mkdir()
            for part in sorted((folder / "big").iterdir())[: count // 1000]:
                part.rename(some / part.name)
            results[f"prepare {count:,} PNG of 32 px"] = peak_of_prepare(some, folder / f"big-{count}", 32)
            for part in sorted(some.iterdir()):
                part.rename(folder / "big" / part.name)
    results["peak of this process, MB"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    common.write("data", results)


if __name__ == "__main__":
    main()
