"""Does an extractor that needs no labels rank generators as one that learned the classes does?

    python benchmarks/extractors.py --data FOLDER --sets mnist fashion-mnist

For each set a `dcgan` is trained and its samples are kept at ten moments; held-out pictures made worse by blur, noise,
shifts and missing classes are added. Each extractor's Fréchet distances rank them all; the figure is Spearman's rank
correlation with the classes' extractor, with that of untrained (random) features beside it.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageFilter
from scipy.stats import spearmanr

import common
from ganforge.data.store import Store
from ganforge.images import Pixels
from ganforge.measure import FIRST_SEED
from ganforge.metrics import features, frechet
from ganforge.prepare import prepare
from ganforge.run import Run
from ganforge.sample import pictures
from ganforge.seeds import permuted
from ganforge.train import Trainer, plan

MOMENTS = (1, 2, 4, 8, 16, 24, 32, 48, 64, 96)  # thousands of images
COUNT = 4000


def worse(real: Pixels, labels: np.ndarray) -> dict[str, Pixels]:
    """Held-out pictures and six ways to spoil them."""
    rng = np.random.default_rng(0)

    def blurred(radius: float) -> Pixels:
        return np.stack(
            [np.asarray(Image.fromarray(p[..., 0]).filter(ImageFilter.GaussianBlur(radius))) for p in real]
        )[..., None]

    def noisy(sigma: float) -> Pixels:
        return (real + rng.normal(0, sigma, real.shape)).clip(0, 255).astype(np.uint8)

    return {
        "held out": real,
        "blur 0.7": blurred(0.7), "blur 1.5": blurred(1.5),
        "noise 20": noisy(20), "noise 60": noisy(60),
        "shifted by 3": np.roll(real, 3, axis=2),
        "classes 0-4 only": real[labels < 5],
        "class 1 only": real[labels == 1],
    }  # fmt: skip


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sets", nargs="+", default=["mnist", "fashion-mnist"])
    asked = parser.parse_args()
    results: dict[str, Any] = {"protocol": f"{COUNT} pictures each, against the training pictures"}
    for name in asked.sets:
        with tempfile.TemporaryDirectory() as temporary:
            store = prepare(asked.data / name, Path(temporary) / "store").store
            labels = store.labels[store.train]
            heldout = store.labels[store.heldout]
            extractors = {
                "classes": features.train(store.read, store.train, labels, store.heldout, heldout),
                "clusters": features.train(store.read, store.train, None, store.heldout, None),
            }
            torch.manual_seed(0)
            blank = features.Network(store.spec.channels, 10)
            extractors["random"] = features.Extractor(blank, 1.0, "random", 0.0, "")
            # a keyed choice: MNIST's test pictures are sorted by two kinds of writers
            some = permuted(0, "real", len(store.heldout), np.arange(COUNT))
            sets = worse(store.read(store.heldout[some]), heldout[some]) | generated(store, Path(temporary))
            table: dict[str, dict[str, float]] = {}
            for kind, extract in extractors.items():
                reference = frechet.Moments(features.SIZE).add(extract([store.read(store.train[:20_000])]))
                table[kind] = {
                    which: float(
                        f"{frechet.distance(reference, frechet.Moments(features.SIZE).add(extract([made]))):.4g}"
                    )
                    for which, made in sets.items()
                }
            order = list(sets)
            values = {kind: [row[which] for which in order] for kind, row in table.items()}
            results[name] = {
                "accuracy": {kind: round(e.accuracy, 4) for kind, e in extractors.items()},
                "rank correlation with classes": {
                    kind: round(float(spearmanr(values["classes"], values[kind]).statistic), 3)
                    for kind in ("clusters", "random")
                },
                "rank correlation of distance with training time": {
                    kind: round(float(spearmanr(MOMENTS, [row[f"dcgan {m}k"] for m in MOMENTS]).statistic), 3)
                    for kind, row in table.items()
                },
                "distances": table,
            }
    common.write("extractors", results)


def generated(store: Store, folder: Path) -> dict[str, Pixels]:
    """Samples of a training `dcgan` at MOMENTS."""
    run = Run(folder / "run")
    settings = plan("dcgan", store, run.path, "small", {"train": {"images": 1000 * MOMENTS[-1], "precision": "bf16"}})
    run.begin(settings)
    trainer, out = Trainer(run, store, "cpu"), {}
    for moment in MOMENTS:
        while trainer.progress.seen < 1000 * moment:
            trainer.step()
        made = pictures(trainer.average, range(FIRST_SEED, FIRST_SEED + COUNT))
        out[f"dcgan {moment}k"] = np.concatenate(list(made))
    return out


if __name__ == "__main__":
    main()
