"""How well a translator changes the class of held-out pictures, and what it keeps of them.

    python benchmarks/translate.py RUN... [--pictures 1000] [--sheet FOLDER]

For each pair of classes that the run has learned: the share of pictures that the store's own classifier takes for the
wanted class and the Fréchet distance from its training pictures, of pictures of the first class as they are and
translated, and of held-out pictures of the wanted class, equally many of each. What is kept: PSNR and the correlation
of the edges (lengths of the gradients) between given and translated pictures, beside translated ones of other given
pictures. The sheet has given pictures above translated ones."""

from __future__ import annotations

import argparse
from itertools import permutations
from pathlib import Path

import numpy as np
import torch

import common
from ganforge.base.images import Pixels, write_image
from ganforge.measuring.reference import Reference
from ganforge.measuring.translation import translated
from ganforge.metrics import frechet
from ganforge.metrics.fidelity import psnr
from ganforge.runs import RunFolder
from ganforge.store.store import Store
from ganforge.system import System

SHOWN = 16  # pictures on a sheet


def edges(pixels: Pixels) -> np.ndarray:
    """Lengths of the gradients of the brightness: (N, H, W, C) uint8 -> (N, H W) float64."""
    down, across = np.gradient(pixels[..., :3].mean(3), axis=(1, 2))
    return np.hypot(down, across).reshape(len(pixels), -1)


def correlation(one: np.ndarray, two: np.ndarray) -> float:
    """Mean over pictures of the correlation of their numbers, (N, D) each."""
    one, two = ((x - x.mean(1, keepdims=True)) / (x.std(1, keepdims=True) + 1e-9) for x in (one, two))
    return float((one * two).mean())


def judged(real: Reference, system: System, pair: tuple[int, int], count: int) -> tuple[dict[str, object], Pixels]:
    """The numbers of one pair of classes, and its sheet."""
    store, (first, wanted) = real.store, pair
    rows = {n: store.heldout[store.labels[store.heldout] == n] for n in pair}
    count = min(count, *map(len, rows.values()))
    given, others = (store.read(rows[n][:count]) for n in pair)
    made = translated(system, given, wanted)
    train = real.train[torch.from_numpy(store.labels[store.train] == wanted)]
    moments, table = frechet.moments(train), {}
    for name, pixels in {"as given": given, "translated": made, "held out, of the wanted class": others}.items():
        features = real.extract([pixels])
        table[name] = {
            "judged as wanted": float((real.extract.classify(features) == wanted).float().mean()),
            "distance": frechet.distance(moments, frechet.moments(features)),
        }
    before, after = edges(given), edges(made)
    kept = {"PSNR": psnr(made, given), "edges": correlation(before, after)}
    shuffled = {"PSNR": psnr(np.roll(made, 1, 0), given), "edges": correlation(before, np.roll(after, 1, 0))}
    own = translated(system, given, first)
    table |= {"kept": kept, "kept, of another picture": shuffled, "PSNR of its own class": psnr(own, given)}
    shown = np.concatenate([given[:SHOWN], made[:SHOWN]])
    return {"pictures": count, **table}, store.spec.sheet(shown, SHOWN)


def main() -> None:
    """Numbers as JSON, and sheets."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--pictures", type=int, default=1000)
    parser.add_argument("--sheet", type=Path)
    args = parser.parse_args()
    results = {}
    for path in args.runs:
        run = RunFolder(path)
        system, real = run.build("cpu"), Reference(Store(run.own_store()))
        for pair in permutations(system.learned, 2):
            first, wanted = (system.spec.classes[n] for n in pair)
            numbers, sheet = judged(real, system, pair, args.pictures)
            name = f"{path.name}: {first} -> {wanted}"
            facts = {"images": int(run.chosen().name), "keep": system.config.keep}
            results[name] = {**facts, "accuracy of the judge": real.extract.accuracy, **numbers}
            if args.sheet:
                args.sheet.mkdir(parents=True, exist_ok=True)
                write_image(args.sheet / f"{path.name}-{pair[0]}-{pair[1]}.png", sheet)
    common.write("translate", common.read("translate") | results)


if __name__ == "__main__":
    main()
