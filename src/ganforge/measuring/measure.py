"""How good a generator is: distances, neighbours, patches and copies, each number with its protocol and its floor."""

from __future__ import annotations

import json
import logging
import math
import platform
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ganforge.base import busy, device
from ganforge.base.errors import DataError, InputError, RunError
from ganforge.base.files import writing
from ganforge.base.images import Pixels, write_image
from ganforge.base.seeds import permuted
from ganforge.measuring.judge import NEIGHBOURS, SEEN, Floors, Judge, Remaining
from ganforge.metrics import features, frechet, kernel, neighbours, pixels, pyramid, sliced, twosample
from ganforge.preparing.prepare import Prepared, prepare
from ganforge.runs import Run, weights_hash
from ganforge.sampling import check_generates, drawn, pictures
from ganforge.store.store import Store
from ganforge.system import System

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

log = logging.getLogger(__name__)

SAMPLES = 10_000
FEWEST = 16
FIRST_SEED = 1_000_000  # far from the seeds that people look at
PAIRS = 8
ROOM = 1 << 30  # bytes of samples that are kept to be looked at pixel by pixel


@dataclass(frozen=True)
class Measured:
    """One measuring, as `ganforge measure --json` prints it. What does not exist is None: floors where nothing is held
    out, say.

    A `floor` is what as many real pictures, held out of training, get in place of the samples; a spread is the standard
    deviation that another choice of as many pictures would show."""

    distance: float
    """Fréchet distance of `compared` samples from the training pictures."""
    distance_spread: float | None
    floor: float | None
    """The same of `compared` held-out pictures."""
    floor_spread: float | None
    kernel: float
    """Kernel distance of the hidden layer's features alone: the cube of an outlier's amplitudes would drown all
    others."""
    kernel_spread: float
    kernel_floor: float | None
    precision: float
    recall: float
    density: float
    coverage: float
    precision_floor: float | None
    recall_floor: float | None
    density_floor: float | None
    coverage_floor: float | None
    scales: tuple[int, ...]
    """The shorter side of each level of the Laplacian pyramid, in pixels, the full size first."""
    sliced: tuple[float, ...]
    """Sliced Wasserstein distance of patches at each scale, x 1000."""
    sliced_floor: tuple[float, ...] | None
    told_apart: float | None
    """Share of pictures that a small network tells rightly, real from sample; 0.5 is perfect."""
    told_apart_spread: float | None
    copies: float | None
    """The larger of the next two."""
    copies_by_features: float | None
    """Share of samples nearer to a training picture than all but 1 % of held-out pictures are."""
    copies_by_pixels: float | None
    """The same after small shifts, mirroring and noise are undone, and within at least three levels."""
    copies_by_pixels_floor: float | None
    """Share of held-out pictures that would pass for such copies."""
    asked: float | None
    """Share of the samples that the store's classifier gives the class that was asked; None where none was, or it knows
    none."""
    compared: int
    samples: int
    train: int
    heldout: int
    extractor: str
    accuracy: float
    made_by: str
    store: str
    resize: str
    machine: str
    seconds: float

    @property
    def above_floor(self) -> str:
        """One sentence: how far the distance is from the floor."""
        if self.floor is None:
            return (
                f"Fréchet distance {self.distance:.2f}; nothing is held out, so there is no floor to compare it with."
            )
        gap, spread = self.distance - self.floor, math.hypot(self.distance_spread or 0, self.floor_spread or 0)
        beside = f"held-out real pictures get {self.floor:.2f}, from {self.compared:,} pictures each"
        if gap < -2 * spread:
            return f"Fréchet distance {self.distance:.2f}, nearer to the training pictures than reality ({beside}): look at the copies."
        if gap < 2 * spread:
            return f"Fréchet distance {self.distance:.2f}, at its floor within the spread of {spread:.2f}: {beside}."
        return f"Fréchet distance {self.distance:.2f}, {gap:.2f} (± {spread:.2f}) above its floor: {beside}."

    def __str__(self) -> str:
        def number(value: float | None, spread: float | None = None) -> str:
            if value is None:
                return "-"
            return f"{value:.3f}" + ("" if spread is None else f" ± {spread:.3f}")

        def share(value: float | None) -> str:
            return "-" if value is None else f"{value:.1%}"

        def row(name: str, ours: str, real: str, note: str = "") -> str:
            return f"{name:<23}{ours:>18}{real:>18}  {note}".rstrip()

        def both(one: float | None, two: float | None) -> str:
            return "-" if one is None else f"{number(one)} {number(two):>7}"

        learned = {"classes": "held-out accuracy", "clusters": "agreement with its clusters"}[
            self.extractor.split("-")[0]
        ]
        kernel_floor = None if self.kernel_floor is None else 1000 * self.kernel_floor
        lines = [
            row("", "samples", "real, held out"),
            row(
                "Fréchet distance", number(self.distance, self.distance_spread), number(self.floor, self.floor_spread),
                f"{self.compared:,} pictures each",
            ),
            row("kernel distance", number(1000 * self.kernel, 1000 * self.kernel_spread), number(kernel_floor), "x 1000"),
            row("precision, recall", both(self.precision, self.recall), both(self.precision_floor, self.recall_floor)),
            row("density, coverage", both(self.density, self.coverage), both(self.density_floor, self.coverage_floor)),
        ]  # fmt: skip
        for n, side in enumerate(self.scales):
            floor = self.sliced_floor[n] if self.sliced_floor else None
            lines.append(
                row(f"patches, {side} px", f"{self.sliced[n]:.1f}", "-" if floor is None else f"{floor:.1f}", "sliced Wasserstein x 1000")
            )  # fmt: skip
        if self.told_apart is not None:
            spread = f" ± {self.told_apart_spread:.1%}"
            lines.append(row("told from real ones", share(self.told_apart) + spread, "50.0%", "by a small network"))
        if self.copies is not None:
            lines.append(row("copies by features", share(self.copies_by_features), "1.0%"))
            lines.append(
                row(
                    "copies by pixels",
                    share(self.copies_by_pixels),
                    share(self.copies_by_pixels_floor),
                    "shifts, mirroring, noise undone",
                )
            )
        if self.asked is not None:
            lines.append(row("asked class hit", share(self.asked), share(self.accuracy)))
        lines.append(
            f"protocol: {self.samples:,} samples ({self.made_by}) against {self.train:,} training pictures; {self.heldout:,} held out; "
            f"extractor {self.extractor}, {learned} {self.accuracy:.1%}; store {self.store}; resize {self.resize}; {self.machine}"
        )
        return "\n".join([*lines, self.above_floor])


def measure(
    run: Run,
    store: Store | None = None,
    samples: int = SAMPLES,
    device_name: str = "auto",
) -> Measured:
    """Measure a run against its store's training pictures, and keep the result in the run's `measures.jsonl`.

    Also writes `nearest.png`: the samples nearest to a training picture, each beside that picture. `device_name` says
    where the samples and their features are made; see `device.choose`."""
    system = run.build(device_name)
    store = checked_store(run, store)
    result = measure_system(system, store, samples, run.path / "nearest.png")
    keep(run.file("measures.jsonl"), result)
    return result


def checked_store(run: Run, store: Store | None = None) -> Store:
    """The store that a run learned from, or `store` in its place, checked and with the run's fold held out. RunError
    where it does not fit."""
    store = store or Store(run.own_store())
    store.check()
    if store.root != run.section("run").get("store_root"):
        log.info(f"{store.address} is not the store that {run.path} learned from: its copies are not found there")
    if (fold := run.settings.get("train", {}).get("fold", -1)) >= 0:
        store = store.fold(fold)
    if store.spec != run.spec:
        raise RunError(
            f"{run.path} makes {run.spec}; {store.address} holds {store.spec}. Measure it against its own store."
        )
    return store


@busy.noticed()
def measure_system(
    system: System,
    store: Store,
    samples: int = SAMPLES,
    nearest_sheet: Path | None = None,
) -> Measured:
    """Measure any system against a store, on the device that it is on; see `measure`."""
    check_generates(system)
    if samples < FEWEST:
        raise InputError(f"samples is {samples}; at least {FEWEST} are needed, and 10,000 are usual.")
    started = time.perf_counter()
    device.keep_memory()
    judge = Judge(store, next(system.parameters()).device)
    seeds = range(FIRST_SEED, FIRST_SEED + samples)
    labels = drawn(seeds, np.bincount(store.labels[store.train])) if system.classes else None
    weights = weights_hash(system.state_dict())
    found = _Compared(judge, samples, f"making {samples:,} samples").add(pictures(system, seeds, labels))
    return found.result(f"seeds from {FIRST_SEED}, averaged weights {weights}", labels, started, nearest_sheet)


@busy.noticed()
def measure_folder(
    source: str | Path, store: Store, device_name: str = "auto"
) -> tuple[Measured, list[tuple[str, str]]]:
    """Measure any pictures, by whatever made, in a folder or a zip against a store; and what could not be used, with
    the reasons.

    They are brought to the store's shape as `prepare` does it with the store's own recipe. Where their folders bear
    names of the store's classes, "asked class hit" says how many look like it."""
    started = time.perf_counter()
    device.keep_memory()
    store.check()
    judge = Judge(store, device.choose(device_name))
    with tempfile.TemporaryDirectory() as temporary:
        made = read_folder(source, store, Path(temporary))
        theirs, spec, count = made.store, store.spec, len(made.store)
        order = permuted(0, "folder", count, np.arange(count))
        known = [spec.classes.index(name) if name in spec.classes else -1 for name in theirs.spec.classes]
        labels = [known[n] for n in theirs.labels[order]] if theirs.labelled and min(known, default=-1) >= 0 else None
        found = _Compared(judge, count, f"looking at {count:,} pictures")
        found.add(theirs.read(order[i : i + 512]) for i in range(0, count, 512))
        name = Path(source).name
        return found.result(f"pictures of {name}, {theirs.root[:16]}", labels, started, None), made.skipped


def read_folder(source: str | Path, store: Store, temporary: Path) -> Prepared:
    """A folder or zip of pictures as a store in `temporary`, in the shape of `store`, by its own recipe. DataError
    where they are too few."""
    spec, recipe = store.spec, store.manifest["recipe"]
    log.info(f"reading {source}")
    made = prepare(
        source, temporary / "pictures", resolution=f"{spec.height}x{spec.width}", channels=spec.channels, heldout=0,
        fit=recipe.get("fit", "crop"), background="#" + "".join(f"{v:02x}" for v in recipe.get("background", [255] * 3)[:3]),
    )  # fmt: skip
    if len(made.store) < FEWEST:
        raise DataError(
            f"{source} holds {len(made.store)} pictures; at least {FEWEST} are needed, and thousands say more."
        )
    return made


class _Compared:
    """Samples on their way: features of all, pixels of the first."""

    def __init__(self, judge: Judge, samples: int, what: str) -> None:
        self.judge, self.samples = judge, samples
        self.room = min(NEIGHBOURS, max(FEWEST, ROOM // judge.store.spec.pixels))
        self.kept: list[Pixels] = []
        self.features: list[Tensor] = []
        self.told = Remaining(what, samples)

    def add(self, portions: Iterable[Pixels]) -> _Compared:
        """Take in (n, H, W, C) uint8 portions."""
        waiting: list[Pixels] = []
        for portion in portions:
            waiting.append(portion)
            self.told.add(len(portion))
            if sum(map(len, waiting)) >= features.PORTION:
                self._extract(np.concatenate(waiting))
                waiting = []
        if waiting:
            self._extract(np.concatenate(waiting))
        return self

    def _extract(self, portion: Pixels) -> None:
        if (missing := self.room - sum(map(len, self.kept))) > 0:
            self.kept.append(portion[:missing])
        self.features.append(self.judge.extract([portion]))

    def result(
        self, made_by: str, labels: Sequence[int] | None, started: float, nearest_sheet: Path | None
    ) -> Measured:
        """All the numbers."""
        judge, store, fake, seen = self.judge, self.judge.store, torch.cat(self.features), np.concatenate(self.kept)
        if not fake.isfinite().all():
            raise DataError("The samples hold numbers that are not finite: this run has diverged.")
        log.info("comparing")
        size = judge.compared(len(fake))
        floors = judge.floors(size) if judge.has_floors else None
        distance = frechet.estimate(judge.moments, fake, size)
        hidden = judge.train[:, : features.HIDDEN], fake[:, : features.HIDDEN]
        spread = kernel.distance(hidden[0], hidden[1], size=min(kernel.SUBSET, size))
        few = min(NEIGHBOURS, size, len(judge.train))
        shape = neighbours.manifold(judge.some_features(few), fake[:few])
        patches = sliced.distances(judge.patches(size), sliced.patches(seen[: min(SEEN, size)]))
        apart = _told_apart(judge, seen)
        copied = _copies(judge, floors, fake, seen) if floors else None
        if nearest_sheet is not None and copied is not None:
            _write_pairs(seen, judge, copied, nearest_sheet)
        return Measured(
            distance=distance[0], distance_spread=_number(distance[1]),
            floor=floors.distance if floors else None, floor_spread=_number(floors.distance_spread) if floors else None,
            kernel=spread[0], kernel_spread=spread[1], kernel_floor=floors.kernel if floors else None,
            precision=shape.precision, recall=shape.recall, density=shape.density, coverage=shape.coverage,
            precision_floor=floors.precision if floors else None, recall_floor=floors.recall if floors else None,
            density_floor=floors.density if floors else None, coverage_floor=floors.coverage if floors else None,
            scales=tuple(pyramid.scales(store.spec.height, store.spec.width)), sliced=tuple(patches),
            sliced_floor=floors.sliced if floors else None,
            told_apart=apart[0] if apart else None, told_apart_spread=apart[1] if apart else None,
            copies=max(one.rate for one in copied) if copied else None,
            copies_by_features=copied[0].rate if copied else None, copies_by_pixels=copied[1].rate if copied else None,
            copies_by_pixels_floor=floors.pixels_rate if floors else None,
            asked=asked_class_hit(judge.extract, fake, labels), compared=size, samples=len(fake),
            train=len(judge.train), heldout=len(judge.heldout), extractor=judge.extract.name, accuracy=judge.extract.accuracy,
            made_by=made_by, store=store.root[:16], resize=str(store.manifest["recipe"].get("resize", "none")),
            machine=f"{platform.machine()}, {judge.device.type}, {torch.get_num_threads()} threads, torch {torch.__version__}",
            seconds=round(time.perf_counter() - started, 2),
        )  # fmt: skip


def asked_class_hit(extract: features.Extractor, fake: Tensor, labels: Sequence[int] | None) -> float | None:
    """Share of samples, by their features (N, D), that the classifier gives the label that was asked, (N,); None
    without either."""
    if labels is None or extract.kind != "classes":
        return None
    return float((extract.classify(fake) == torch.tensor(labels)).float().mean())


def _told_apart(judge: Judge, seen: Pixels) -> tuple[float, float] | None:
    """How well samples are told from real pictures, and the standard error of that share; None where nothing is held
    out.

    The network learns from training pictures and samples, equally many, and is tried on held-out pictures and other
    samples."""
    if not judge.has_floors:
        return None
    tried = min(len(judge.heldout), len(seen) // 2, SEEN // 2)
    real = judge.train_pixels(min(2 * SEEN, len(seen) - tried))
    share = twosample.accuracy(real, seen[tried : tried + len(real)], judge.heldout_pixels(tried), seen[:tried])
    return share, math.sqrt(max(share * (1 - share), 1e-4) / (2 * tried))


def _copies(judge: Judge, floors: Floors, fake: Tensor, seen: Pixels) -> tuple[neighbours.Copies, neighbours.Copies]:
    """Copies by features and by pixels."""
    found, places = neighbours.nearest(fake[: len(seen)], judge.train)
    near, where = pixels.nearest(seen[: SEEN // 2], judge.thumbnails, judge.read_train)
    return (
        neighbours.Copies(places[:, 0], found[:, 0], floors.features_limit),
        neighbours.Copies(where, near, floors.pixels_limit),
    )


def _write_pairs(samples: Pixels, judge: Judge, copied: Sequence[neighbours.Copies], path: Path) -> None:
    """Rows of (sample, its nearest training picture), the most suspicious first: eight by features, then eight by
    pixels."""
    orders = [one.distance.argsort()[:PAIRS].numpy() for one in copied]
    near = [judge.read_train(one.nearest.numpy()[order]) for one, order in zip(copied, orders, strict=True)]
    order = np.concatenate(orders)
    pairs = np.stack([samples[order], np.concatenate(near)], 1).reshape(-1, *samples.shape[1:])
    seeds = [FIRST_SEED + int(n) for n in order]
    sheet = judge.store.spec.sheet(pairs, 8)
    write_image(path, sheet, {"run": path.parent.name, "seeds": seeds, "beside": judge.store.name})


def keep(path: Path, result: DataclassInstance) -> None:
    """Add the numbers to a run's file of them. RunError where it cannot be written."""
    with writing(path, f"The numbers are: {as_json(result)}", RunError), path.open("a", encoding="utf-8") as file:
        file.write(as_json(result) + "\n")


def as_json(result: DataclassInstance) -> str:
    """The numbers as one line of JSON; None is null."""
    return json.dumps(asdict(result), allow_nan=False)


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value
