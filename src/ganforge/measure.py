"""How good a generator is: distances, neighbours and copies, each number with its protocol and its floor."""

from __future__ import annotations

import contextlib
import json
import math
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ganforge import files
from ganforge.data.store import Store
from ganforge.errors import DataError, InputError, RunError, StoreError
from ganforge.images import Pixels, enlarge, grid, write_png
from ganforge.metrics import features, frechet, kernel, neighbours
from ganforge.models.base import System
from ganforge.run import Run, weights_hash
from ganforge.sample import check_generates, drawn, pictures
from ganforge.seeds import permuted

SAMPLES = 10_000
NEIGHBOURS = 5_000
FIRST_SEED = 1_000_000  # far from the seeds that people look at
PAIRS = 16


@dataclass(frozen=True)
class Measured:
    """One measuring. `distance` and `kernel` are better when smaller; the floors are what held-out pictures get."""

    distance: float
    floor: float
    kernel: float
    kernel_spread: float
    kernel_floor: float
    precision: float
    recall: float
    density: float
    coverage: float
    copies: float
    asked: float
    """Share of the samples that the store's classifier gives the class that was asked; nan where none was, or it knows none."""
    samples: int
    train: int
    heldout: int
    extractor: str
    accuracy: float
    weights: str
    store: str
    resize: str
    machine: str
    seconds: float

    def __str__(self) -> str:
        floor = f"{self.floor:.3f}" if self.heldout else "none: nothing is held out"
        kernel_floor = f"{1000 * self.kernel_floor:.3f}" if self.heldout > 1 else "-"
        learned = {"classes": "held-out accuracy", "clusters": "agreement with its clusters"}[
            self.extractor.split("-")[0]
        ]
        held = f"of held-out pictures {self.accuracy:.1%}"
        return "\n".join(
            [
                f"Fréchet distance   {self.distance:10.3f}    floor {floor}",
                f"kernel distance    {1000 * self.kernel:10.3f}    floor {kernel_floor}    x 1000, spread {1000 * self.kernel_spread:.3f}",
                f"precision, recall  {self.precision:10.3f} {self.recall:9.3f}",
                f"density, coverage  {self.density:10.3f} {self.coverage:9.3f}",
                f"copies             {self.copies:10.1%}    of held-out pictures 1.0%"
                if not math.isnan(self.copies)
                else "copies                      -    nothing is held out to compare with",
                *([] if math.isnan(self.asked) else [f"asked class hit    {self.asked:10.1%}    {held}"]),
                f"protocol: {self.samples:,} samples (seeds from {FIRST_SEED}, averaged weights {self.weights}) against {self.train:,} "
                f"training pictures; floor: {self.heldout:,} held-out ones; extractor {self.extractor}, {learned} {self.accuracy:.1%}; "
                f"store {self.store}; resize {self.resize}; {self.machine}",
            ]
        )


def measure(
    run: Run,
    store: Store | None = None,
    samples: int = SAMPLES,
    say: Callable[[str], None] | None = None,
    device_name: str = "auto",
) -> Measured:
    """Measure a run against its store's training pictures, and keep the result in the run's `measures.jsonl`.

    Also writes `nearest.png`: the samples nearest to a training picture, each beside that picture.
    """
    system = run.build(device_name)
    store = store or Store(run.store)
    store.check(say)
    if (fold := run.settings.get("train", {}).get("fold", -1)) >= 0:
        store = store.fold(fold)
    if store.spec != run.spec:
        raise RunError(
            f"{run.path} makes {run.spec}; {store.address} holds {store.spec}. Measure it against its own store."
        )
    result = measure_system(system, store, samples, say, run.path / "nearest.png")
    with run.file("measures.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(result)) + "\n")
    return result


def measure_system(
    system: System,
    store: Store,
    samples: int = SAMPLES,
    say: Callable[[str], None] | None = None,
    nearest_sheet: Path | None = None,
) -> Measured:
    """Measure any system against a store; see `measure`."""
    check_generates(system)
    if samples < 2:
        raise InputError(f"samples is {samples}; at least 2 are needed, and 10,000 are usual.")
    say = say or (lambda line: None)
    started = time.perf_counter()
    extract = extractor(store, say)
    train = _cached(store, extract, "train", store.train)
    heldout = _cached(store, extract, "heldout", store.heldout)
    say(f"making {samples:,} samples")
    kept: list[Pixels] = []
    seeds = range(FIRST_SEED, FIRST_SEED + samples)
    labels = drawn(seeds, np.bincount(store.labels[store.train])) if system.classes else None

    def made() -> Iterator[Pixels]:
        for portion in pictures(system, seeds, labels):
            kept.append(portion)
            yield portion

    fake = extract(made())
    if not fake.isfinite().all():
        raise DataError("The samples hold numbers that are not finite: this run has diverged.")
    reference = frechet.Moments(features.SIZE).add(train)
    few = min(NEIGHBOURS, len(train), len(fake))
    some = train[torch.from_numpy(permuted(0, "measure", len(train), np.arange(few)))]
    say("comparing")
    shape = neighbours.manifold(some, fake[:few])
    spread = kernel.distance(train, fake)
    has_floor = len(heldout) > 1
    copied = neighbours.copies(fake[:few], train, heldout) if has_floor else None
    if nearest_sheet is not None and copied is not None:
        _write_pairs(np.concatenate(kept)[:few], store, copied, nearest_sheet)
    return Measured(
        distance=frechet.distance(reference, frechet.Moments(features.SIZE).add(fake)),
        floor=frechet.distance(reference, frechet.Moments(features.SIZE).add(heldout)) if has_floor else float("nan"),
        kernel=spread[0],
        kernel_spread=spread[1],
        kernel_floor=kernel.distance(train, heldout)[0] if has_floor else float("nan"),
        precision=shape.precision,
        recall=shape.recall,
        density=shape.density,
        coverage=shape.coverage,
        copies=copied.rate if copied is not None else float("nan"),
        asked=asked_class_hit(extract, fake, labels),
        samples=samples,
        train=len(train),
        heldout=len(heldout),
        extractor=extract.name,
        accuracy=extract.accuracy,
        weights=weights_hash(system.state_dict()),
        store=store.root[:16],
        resize=str(store.manifest["recipe"].get("resize", "none")),
        machine=f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}",
        seconds=round(time.perf_counter() - started, 2),
    )


def asked_class_hit(extract: features.Extractor, fake: Tensor, labels: Sequence[int] | None) -> float:
    """Share of samples, by their features (N, D), that the classifier gives the label that was asked, (N,); nan without either."""
    if labels is None or extract.kind != "classes":
        return float("nan")
    return float((extract.classify(fake) == torch.tensor(labels)).float().mean())


def extractor(store: Store, say: Callable[[str], None] | None = None) -> features.Extractor:
    """The store's own feature extractor: read from `features/` in it, or trained now (about a minute) and kept there."""
    path = store.path / "features" / "extractor.safetensors"
    if path.exists():
        if not files.intact(path):
            raise StoreError(
                f"{path} is damaged, or has no SHA-256 beside it. Remove it, and the extractor is trained again."
            )
        return features.load(path)
    if say:
        what = "classes" if store.labelled else "clusters: it has no labels"
        say(f"training the feature extractor of {store.name} on its {what}; once, about a minute")
    labels, test_labels = (store.labels[store.train], store.labels[store.heldout]) if store.labelled else (None, None)
    made = features.train(store.read, store.train, labels, store.heldout, test_labels, say=say)
    try:
        return features.save(made, path)
    except OSError as error:
        raise DataError(
            f"{path} cannot be written: {error.strerror or error}. The extractor is kept beside the data, so that all its numbers "
            "can be compared: make the store writable, or copy it."
        ) from error


def _cached(store: Store, extract: features.Extractor, name: str, rows: npt.NDArray[np.int64]) -> Tensor:
    """Features of a store's pictures, kept beside the extractor under its digest; made again where they were damaged."""
    path = store.path / "features" / f"{name}{store.fold_name}-{extract.digest[:16]}.npy"
    found = files.read_array(path)
    if found is not None and found.shape == (len(rows), features.SIZE):
        return torch.from_numpy(found)
    made = extract(store.read(rows[i : i + 500]) for i in range(0, len(rows), 500))
    with contextlib.suppress(OSError):  # a store that cannot be written keeps none
        files.write_array(path, made.numpy())
    return made


def _write_pairs(samples: Pixels, store: Store, copied: neighbours.Copies, path: Path) -> None:
    """Rows of (sample, its nearest training picture), the most suspicious first."""
    order = copied.distance.argsort()[:PAIRS]
    near = store.read(store.train[copied.nearest[order].numpy()])
    pairs = np.stack([samples[order.numpy()], near], 1).reshape(-1, *samples.shape[1:])
    seeds = [FIRST_SEED + int(n) for n in order]
    write_png(
        path, grid(enlarge(pairs, 56), columns=8), {"run": path.parent.name, "seeds": seeds, "beside": store.name}
    )
