"""How good is the store's own extractor? Spoilt pictures ranked by strength, and systems ranked beside networks that
saw a million photographs.

    python benchmarks/extractors.py --data FOLDER [--sets flowers/flowers128.zip cifar10] [--sides 32 64 128]
        [--runs FOLDER ...] [--models FOLDER] [--samples 5000]

What is in `benchmarks/results/extractors.json` already and not measured again stays there.

First part: held-out pictures of each set at each side (not above their own) are spoilt in six ways of three strengths
each. Every metric should put them in the order of their strengths, the unspoilt ones first; Spearman's rank
correlation over all of them says how far two metrics agree. Second part: samples of every run in the folders `--runs`
(those of `systems.py`), by the same metrics. "Without labels" is the distance by the extractor of a store of
the same pictures and split that has no labels.

Of the independent networks (`--models`, a folder with load_models.py and weights; see its README) the metrics are
Fréchet distances of their features at 224 px. They are no truth either: read how far they agree with each other."""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from scipy.stats import spearmanr
from torch import Tensor
from torch.nn.functional import interpolate

import common
from ganforge.base.device import autocast, keep_memory, resolve_precision
from ganforge.base.images import Pixels
from ganforge.base.logs import printed
from ganforge.base.seeds import permuted
from ganforge.measuring.measure import FIRST_SEED
from ganforge.measuring.reference import Reference
from ganforge.metrics import frechet, sliced, twosample
from ganforge.preparing.prepare import prepare
from ganforge.runs import RunFolder
from ganforge.sampling import drawn, pictures
from ganforge.store.store import Store
from ganforge.transforms import pyramid

NETWORKS = {"darknet": "darknet_tiny", "squeezenet": "squeezenet_v11", "mobilenet": "mobilenet_v2"}
COUNT = 1000  # held-out pictures that are spoilt, at most
GRID = 4  # cells of a side in which patches are shuffled


def spoilt(real: Pixels) -> dict[str, Pixels]:
    """The pictures as they are, and six ways to spoil them in three strengths each, the lightest first."""
    rng = np.random.default_rng(0)
    count, height, width, channels = real.shape
    x = real.astype(np.float32)

    def bytes_(values: np.ndarray) -> Pixels:
        found: Pixels = values.round().clip(0, 255).astype(np.uint8)
        return found

    def blurred(sigma: float) -> Pixels:
        reach = int(3 * sigma) + 1
        window = torch.exp(-torch.arange(-reach, reach + 1.0).square() / (2 * sigma**2))
        window = (window / window.sum())[None, None]
        maps = torch.from_numpy(x).permute(0, 3, 1, 2).reshape(-1, 1, height, width)
        maps = torch.nn.functional.pad(maps, (reach,) * 4, mode="replicate")
        maps = torch.conv2d(torch.conv2d(maps, window[:, :, None]), window[..., None])
        return bytes_(maps.reshape(count, channels, height, width).permute(0, 2, 3, 1).numpy())

    def speckled(share: float) -> Pixels:
        where = rng.random((count, height, width, 1)) < share
        return bytes_(x + where * rng.choice([-80, 80], where.shape))

    def checkered(levels: float) -> Pixels:
        y, z = np.mgrid[:height, :width]
        return bytes_(x + levels * (2 * ((y + z) % 2) - 1)[None, ..., None])

    def shuffled(share: float) -> Pixels:
        out, down, across = real.copy(), height // GRID, width // GRID
        for n in range(count):
            cells = np.flatnonzero(rng.random(GRID**2) < share)
            for a, b in zip(cells, rng.permutation(cells), strict=True):
                (ay, ax), (by, bx) = divmod(a, GRID), divmod(b, GRID)
                out[n, ay * down : (ay + 1) * down, ax * across : (ax + 1) * across] = real[
                    n, by * down : (by + 1) * down, bx * across : (bx + 1) * across
                ]
        return out

    def few(divisor: int) -> Pixels:
        return real[rng.integers(0, max(1, count // divisor), count)]

    def tinted(levels: float) -> Pixels:
        return bytes_(x + levels * np.array([1, 0, -1] if channels == 3 else [1] * channels, np.float32))

    scale = max(height, 32) / 32 * 0.75
    ways: dict[str, tuple[Callable[[Any], Pixels], tuple[Any, ...]]] = {
        "blur": (lambda s: blurred(s * scale), (0.5, 0.8, 1.5)), "speckle": (speckled, (0.02, 0.06, 0.2)),
        "checkerboard": (checkered, (4, 10, 25)), "shuffled patches": (shuffled, (0.25, 0.5, 1.0)),
        "few kinds": (few, (2, 8, 32)), "colour cast": (tinted, (6, 15, 40)),
    }  # fmt: skip
    return {"as they are": real} | {
        f"{name} {strength:g}": make(strength) for name, (make, strengths) in ways.items() for strength in strengths
    }


def networks(folder: Path | None) -> dict[str, Callable[[Pixels], Tensor]]:
    """Features (N, D) of the independent networks, by name."""
    if folder is None:
        return {}
    spec = importlib.util.spec_from_file_location("load_models", folder / "load_models.py")
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    cpu = torch.device("cpu")
    precision = resolve_precision("auto", cpu)

    @torch.no_grad()
    def features(function: Callable[..., Any], pixels: Pixels) -> Tensor:
        parts = []
        for start in range(0, len(pixels), 32):
            x = torch.from_numpy(pixels[start : start + 32]).permute(0, 3, 1, 2).float()
            x = interpolate(x.expand(-1, 3, -1, -1), (224, 224), mode="bicubic", antialias=True).clamp(0, 255)
            with autocast(cpu, precision):
                parts.append(function(x.contiguous(memory_format=torch.channels_last))[0].float())
        return torch.cat(parts)

    return {name: partial(features, getattr(loaded, where)) for name, where in NETWORKS.items()}


def without_labels(store: Store, folder: Path) -> Store:
    """A store of the same pictures and the same split that has no labels."""
    for split, rows in (("train", store.train), ("test", store.heldout)):
        (folder / "pictures" / split).mkdir(parents=True)
        for row in rows:
            Image.fromarray(store.read(np.array([row]))[0].squeeze()).save(
                folder / "pictures" / split / f"{row}.png", compress_level=1
            )
    return prepare(folder / "pictures", folder / "store", resolution=f"{store.spec.height}x{store.spec.width}").store


class Metrics:
    """Every metric's number for a set of pictures."""

    def __init__(self, store: Store, others: dict[str, Callable[[Pixels], Tensor]]) -> None:
        with printed():
            self.reference = Reference(store)
            with tempfile.TemporaryDirectory() as temporary:
                plain = Reference(without_labels(store, Path(temporary)))
                self.plain, self.plain_moments = plain.extract, frechet.moments(plain.train)
        self.moments = frechet.moments(self.reference.train)
        self.real = self.reference.train_pixels(5000)
        self.patches = sliced.patches(self.real[:2000])
        self.others = {name: (features, frechet.moments(features(self.real))) for name, features in others.items()}

    def __call__(self, pixels: Pixels, learned_from: Pixels) -> dict[str, float]:
        """The numbers of `pixels`, (N, H, W, C) uint8; the two-sample test learns from `learned_from`, others of the
        same kind."""
        sides = pyramid.scales(*pixels.shape[1:3])
        distances = sliced.distances(self.patches, sliced.patches(pixels))
        tried = min(len(pixels), len(self.reference.heldout))
        row = {
            "distance": frechet.distance(self.moments, frechet.moments(self.reference.extract([pixels]))),
            "without labels": frechet.distance(self.plain_moments, frechet.moments(self.plain([pixels]))),
            **{f"patches, {side} px": value for side, value in zip(sides, distances, strict=True)},
            "told apart": twosample.accuracy(
                self.real[: len(learned_from)], learned_from, self.reference.heldout_pixels(tried), pixels[:tried]
            ),
        }
        for name, (features, moments) in self.others.items():
            row[name] = frechet.distance(moments, frechet.moments(features(pixels)))
        return {name: float(f"{value:.4g}") for name, value in row.items()}


def agreement(table: dict[str, dict[str, float]]) -> dict[str, float]:
    """Spearman's rank correlation of each pair of metrics over the rows."""
    columns = list(next(iter(table.values())))
    return {
        f"{a} and {b}": round(
            float(spearmanr([row[a] for row in table.values()], [row[b] for row in table.values()]).statistic), 3
        )
        for a, b in itertools.combinations(columns, 2)
    }


def in_order(table: dict[str, dict[str, float]]) -> dict[str, dict[str, bool]]:
    """Whether each metric puts the strengths of each way in order, the pictures as they are first."""
    ways = dict.fromkeys(name.rsplit(" ", 1)[0] for name in table if name != "as they are")
    ordered: dict[str, dict[str, bool]] = {}
    for column in table["as they are"]:
        for way in ways:
            values = [table["as they are"][column]] + [
                row[column] for n, row in table.items() if n.startswith(f"{way} ")
            ]
            ordered.setdefault(column, {})[way] = values == sorted(values) and values[-1] > values[0]
    return ordered


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sets", nargs="*", default=["flowers/flowers128.zip", "cifar10"])
    parser.add_argument("--sides", nargs="+", type=int, default=[32, 64, 128])
    parser.add_argument("--runs", nargs="*", type=Path, default=[], help="folders of run folders")
    parser.add_argument("--models", type=Path)
    parser.add_argument("--samples", type=int, default=5000)
    args = parser.parse_args()
    keep_memory()
    others = networks(args.models)
    results = common.read("extractors")
    results |= {"protocol": __doc__.split("\n\n")[3].replace("\n", " ")}
    for name, side in itertools.product(args.sets, args.sides):
        with tempfile.TemporaryDirectory() as temporary:
            source = args.data / name
            if source.is_dir() and side != 32:
                continue  # these are of 32 px: enlarged, they have no more to show
            store = prepare(source, Path(temporary) / "store", resolution=side).store
            metrics = Metrics(store, others)
            held = store.read(
                store.heldout[permuted(0, "real", len(store.heldout), np.arange(min(COUNT, len(store.heldout))))]
            )
            learned = spoilt(metrics.reference.train_pixels(4000)[2000:])
            table = {name: metrics(made, learned[name]) for name, made in spoilt(held).items()}
            results[f"{source.stem}, {side} px"] = {
                "accuracy": metrics.reference.extract.accuracy,
                "in order": in_order(table),
                "agreement": agreement(table),
                "numbers": table,
            }
            common.write("extractors", results)
    for folder in args.runs:
        runs = [RunFolder(path.parent) for path in sorted(folder.glob("*/run.toml"))]
        metrics = Metrics(Store(runs[0].store), others)
        table = {}
        for run in runs:
            system = run.build()
            if not system.generates:
                continue
            seeds = range(FIRST_SEED, FIRST_SEED + args.samples)
            labels = drawn(seeds, np.bincount(metrics.reference.store.labels)) if system.classes else None
            made = np.concatenate(list(pictures(system, seeds, labels)))
            table[run.path.name] = metrics(made[2000:], made[:2000])
            compared = agreement(table) if len(table) > 2 else {}
            results[f"systems, {folder.name}"] = {"agreement": compared, "numbers": table}
            common.write("extractors", results)


if __name__ == "__main__":
    main()
