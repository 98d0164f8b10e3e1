"""The distance of `dcgan` on MNIST over seconds of training, by the features of the store's extractor and of a second
one.

    python benchmarks/curve.py --data FOLDER [--minutes 5] [--seed 0]

FOLDER holds MNIST's four original files. The second extractor is another network with other features and another seed;
no setting was chosen by it. Measuring does not count as training time. Options after `--` are passed on:
--model.width 32
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import common
from ganforge import models
from ganforge.base import config
from ganforge.base.logs import printed
from ganforge.measuring.measure import FIRST_SEED
from ganforge.measuring.reference import extractor
from ganforge.media.spec import to_float
from ganforge.metrics import frechet
from ganforge.preparing.prepare import prepare
from ganforge.runs import RunFolder
from ganforge.sampling import pictures
from ganforge.store.store import Store
from ganforge.training import ema
from ganforge.training.train import Settings, Trainer, plan

SAMPLES = 10_000
MARKS = (30, 60, 120, 180, 240, 300, 600, 900, 1200, 1500)


class SecondExtractor(nn.Module):
    """Plain, without batch norm before its 96 features; 5x5 convolutions and max pooling."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 24, 5, padding=2), nn.BatchNorm2d(24), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(24, 48, 5, padding=2), nn.BatchNorm2d(48), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(48, 64, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(64 * 49, 96), nn.ReLU(),
        )  # fmt: skip
        self.head = nn.Linear(96, 10)

    @torch.no_grad()
    def features(self, pixels: np.ndarray) -> Tensor:
        """(N, H, W, C) uint8 -> (N, 96)."""
        parts = [self.body(to_float(torch.from_numpy(pixels[i : i + 500]))) for i in range(0, len(pixels), 500)]
        return torch.cat(parts)


def train_second(store: Store) -> tuple[SecondExtractor, float, float]:
    """The second extractor, its scale (total variance 96) and its held-out accuracy."""
    torch.manual_seed(77)
    second = SecondExtractor()
    optimizer = torch.optim.Adam(second.parameters(), 1e-3)
    for epoch in range(2):
        order = np.random.default_rng(epoch).permutation(store.train)
        for start in range(0, len(order), 100):
            rows = order[start : start + 100]
            with torch.autocast("cpu", torch.bfloat16):
                logits = second.head(second.body(to_float(torch.from_numpy(store.read(rows)))))
            loss = F.cross_entropy(logits.float(), torch.from_numpy(store.labels[rows]))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        for group in optimizer.param_groups:
            group["lr"] = 2e-4
    second.eval()
    scale = (96 / second.features(store.read(store.train)).var(0).sum().item()) ** 0.5
    with torch.no_grad():
        answers = second.head(second.features(store.read(store.heldout))).argmax(1).numpy()
    return second, scale, float((answers == store.labels[store.heldout]).mean())


def main() -> None:
    """Train, measure at the marks, write the curve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--store", type=Path, help="keep the prepared store and its extractor here")
    parser.add_argument("--system", default="dcgan")
    parser.add_argument("--size", default="medium")
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--name", default="curve")
    args, rest = parser.parse_known_args()
    model: dict[str, Any] = {}
    loop: dict[str, Any] = {"minutes": args.minutes, "seed": args.seed}
    loaded = models.load(args.system)
    for word in rest:
        name, _, value = word.removeprefix("--").partition("=")
        section, _, name = name.partition(".")
        target, kind = (model, loaded.config) if section == "model" else (loop, Settings)
        target[name] = config.parse(kind, name, value, section)
    with tempfile.TemporaryDirectory() as temporary:
        path = args.store or Path(temporary) / "store"
        store = Store(path) if path.exists() else prepare(args.data, path).store
        with printed():
            extract = extractor(store)
        second, scale, accuracy = train_second(store)
        extractors = {
            extract.name: (len(extract.scale), lambda pixels: extract([pixels])),
            "second judge": (96, lambda pixels: second.features(pixels) * scale),
        }
        train = {n: frechet.Moments(size).add(f(store.read(store.train))) for n, (size, f) in extractors.items()}
        floors = {
            n: frechet.distance(train[n], frechet.Moments(s).add(f(store.read(store.heldout))))
            for n, (s, f) in extractors.items()
        }
        run = RunFolder(Path(temporary) / "run")
        settings = plan(args.system, store, run.path, args.size, {"model": model, "train": loop})
        settings["train"]["precision"] = (
            "bf16" if settings["train"]["precision"] == "auto" else settings["train"]["precision"]
        )
        run.begin(settings)
        trainer = Trainer(run, store, "cpu")
        curve: list[dict[str, Any]] = []
        marks = [mark for mark in MARKS if mark < 60 * args.minutes]
        import time

        while not trainer._done():
            start = time.perf_counter()
            trainer.step()
            trainer.progress.seconds += time.perf_counter() - start
            trainer._settle_length()
            if (marks and trainer.progress.seconds >= marks[0]) or trainer._done():
                marks = marks[1:]
                ema.renew_statistics(trainer.average, store)  # as before every report
                made = np.concatenate(list(pictures(trainer.average, range(FIRST_SEED, FIRST_SEED + SAMPLES))))
                row: dict[str, Any] = {"seconds": round(trainer.progress.seconds, 1), "images": trainer.progress.seen}
                for name, (size, f) in extractors.items():
                    row[name] = round(frechet.distance(train[name], frechet.Moments(size).add(f(made))), 3)
                curve.append(row)
                print(args.name, row, flush=True)
        results = {
            "protocol": f"{SAMPLES} samples of averaged weights against 60,000 training pictures; "
            "floors: the 10,000 test pictures",
            "settings": {"model": settings["model"], "train": settings["train"]},
            "accuracy": {extract.name: extract.accuracy, "second judge": accuracy},
            "floors": {name: round(value, 3) for name, value in floors.items()},
            "curve": curve,
        }
        common.write(args.name, results)


if __name__ == "__main__":
    main()
