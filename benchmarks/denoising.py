"""How well a denoiser cleans held-out pictures: PSNR and SSIM of the noisy ones, the restored ones, and a median
filter.

    python benchmarks/denoising.py RUN --store STORE --strengths 0.05 0.1 0.2 --out FOLDER

The noise is the run's own kind at fixed strengths, the same for every run, written as 8-bit PNG files before anything
is restored."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from ganforge.base.images import write_image
from ganforge.base.seeds import key
from ganforge.media.spec import to_float, to_uint8
from ganforge.models.dae import corrupt
from ganforge.restoring.restore import restore
from ganforge.runs import RunFolder
from ganforge.store.store import Store


def main() -> None:
    """Write, restore, compare, print."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("run", type=Path)
    words.add_argument("--store", type=Path, required=True)
    words.add_argument("--strengths", type=float, nargs="+", default=[0.05, 0.1, 0.2])
    words.add_argument("--count", type=int, default=300)
    words.add_argument("--out", type=Path, required=True)
    asked = words.parse_args()
    run, store = RunFolder(asked.run), Store(asked.store)
    kind = run.settings["model"]["noise"]
    pixels = store.read(store.heldout[: asked.count])
    clean = asked.out / "clean"
    clean.mkdir(parents=True, exist_ok=True)
    for n, picture in enumerate(pixels):
        write_image(clean / f"{n:05d}.png", picture)
    images = to_float(torch.from_numpy(pixels), store.spec)
    for strength in asked.strengths:
        torch.manual_seed(key(0, f"{kind} {strength}"))
        noisy = to_uint8(corrupt(images, kind, torch.full((len(images),), strength)), store.spec).numpy()
        folder = asked.out / f"{kind}-{strength}"
        folder.mkdir(exist_ok=True)
        for n, picture in enumerate(noisy):
            write_image(folder / f"{n:05d}.png", picture)
        made = restore(run, folder, asked.out / f"{kind}-{strength}-{run.path.name}", reference=clean)
        print(
            f"{run.path.name}: {len(pixels)} held-out pictures of {store.spec}, {kind} {strength}\n{made}\n", flush=True
        )


if __name__ == "__main__":
    main()
