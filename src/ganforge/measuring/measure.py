"""How good a system is: distances, neighbours, patches and copies of its samples, each number with its protocol and its
floor; and the pictures that it restores, beside baselines."""

from __future__ import annotations

import logging
import re
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganforge.base import busy, device
from ganforge.base.errors import DataError, InputError, RunError
from ganforge.base.images import Pixels, write_image
from ganforge.base.seeds import permuted
from ganforge.measuring import passages
from ganforge.measuring.measured import Measured, Protocol, as_json, keep, machine
from ganforge.measuring.progress import Remaining
from ganforge.measuring.reference import Reference
from ganforge.measuring.restoration import FEWEST as FEWEST_RESTORED
from ganforge.measuring.restoration import Restoration, chosen, measure_restoration
from ganforge.measuring.translation import measure_translation, of_learned
from ganforge.media.clip import Clip
from ganforge.media.medium import Medium
from ganforge.media.pair import Pair
from ganforge.media.solid import Solid
from ganforge.media.sound import Sound
from ganforge.media.spec import Spec
from ganforge.media.text import Text
from ganforge.metrics import (
    copies,
    features,
    frechet,
    kernel,
    label_accuracy,
    motion,
    neighbours,
    pieces,
    sliced,
    twosample,
)
from ganforge.metrics.metric import NEIGHBOURS, Metric, Samples
from ganforge.preparing.prepare import Prepared, prepare
from ganforge.runs import RunFolder, weights_hash
from ganforge.sampling import check_generates, like_store, pictures
from ganforge.store.split import EQUAL
from ganforge.store.store import Store
from ganforge.system import System
from ganforge.transforms import pyramid

log = logging.getLogger(__name__)

METRICS: tuple[Metric, ...] = (frechet, kernel, neighbours, sliced, twosample, copies, label_accuracy)
"""In the order in which they are printed."""
OF_MEDIUM: Mapping[type[Medium], tuple[Metric, ...]] = {Solid: (pieces,), Clip: (motion,)}
"""Those that come after them, for rows of one medium alone."""
SAMPLES = 10_000
FEWEST, MOST = 16, 1_000_000  # samples
FIRST_SEED = 1_000_000  # far from the seeds that people look at
MEMORY = 1 << 30  # bytes of samples that are kept to be looked at pixel by pixel

__all__ = ["Measured", "as_json", "measure", "measure_folder", "measure_system"]


def measure(
    run: RunFolder,
    store: Store | None = None,
    samples: int = SAMPLES,
    device_name: str = "auto",
) -> Measured:
    """Measure a run against its store's training pictures, and keep the result in the run's `measures.jsonl`.

    Also writes `nearest.png`, the samples nearest to a training picture, each beside that picture, and, of a system
    that restores, `restored.png`. `device_name` says where the samples and their features are made; see
    `device.choose`."""
    system = run.build(device_name)
    store = checked_store(run, store)
    result = measure_system(system, store, samples, run.path)
    made_by = f"{result.protocol.made_by}, checkpoint of {int(run.chosen().name):,} images"
    result = replace(result, protocol=replace(result.protocol, made_by=made_by))
    keep(run.file("measures.jsonl"), result)
    return result


def checked_store(run: RunFolder, store: Store | None = None) -> Store:
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
def measure_system(system: System, store: Store, samples: int = SAMPLES, sheets: Path | None = None) -> Measured:
    """Measure any system against a store, on the device that it is on, and write sheets of pictures into the folder
    `sheets`; see `measure`. At most `samples` held-out pictures are restored. InputError where it makes no pictures or
    the samples are too few, DataError where their numbers are not finite or too few pictures are held out."""
    if not system.restores:
        check_generates(system)
    if isinstance(store.spec.medium, Text):
        return _measure_passages(system, store, samples, sheets)
    if not FEWEST <= samples <= MOST:
        raise InputError(f"samples is {samples:,}; it takes {FEWEST} to {MOST:,}, and {SAMPLES:,} are usual.")
    restores = system.restores
    if restores and system.generates and len(store.heldout) < FEWEST_RESTORED:
        log.info(f"reconstructing is not measured: fewer than {FEWEST_RESTORED} pictures are held out")
        restores = False
    if system.translates:
        of_learned(system, store)  # raises before features are learned
    indices = chosen(store, samples) if restores and not system.translates else None
    started = time.perf_counter()
    device.keep_memory()
    reference = Reference(store, next(system.parameters()).device)
    weights = f"averaged weights {weights_hash(system.state_dict())}"
    restoration: Restoration | None = None
    sheet = sheets and sheets / "restored.png"
    if system.translates:
        restoration = measure_translation(system, reference, samples, sheet)
    elif indices is not None:
        restoration = measure_restoration(system, reference, indices, sheet)
    if restoration is not None and not system.generates:
        count, made_by = restoration.pictures, f"held-out pictures restored, {weights}"
        return Measured((), _protocol(reference, (), count, count, made_by, started), restoration)
    seeds = range(FIRST_SEED, FIRST_SEED + samples)
    given = like_store(system, store, seeds)
    labels = given.get("labels")
    measurement = Measurement(reference, samples, f"making {samples:,} samples")
    measurement.add(pictures(system, seeds, **given))
    made_by = f"seeds from {FIRST_SEED}, {weights}"
    measured = measurement.result(made_by, labels, started, sheets and sheets / "nearest.png")
    return replace(measured, restoration=restoration)


def _measure_passages(system: System, store: Store, samples: int, sheets: Path | None) -> Measured:
    """`measure_system` of a system that generates text."""
    passages.check_samples(samples)
    started = time.perf_counter()
    reference = passages.TextReference(store)
    seeds = range(FIRST_SEED, FIRST_SEED + reference.compared(samples))
    rows = np.concatenate(list(pictures(system, seeds)))
    made_by = f"seeds from {FIRST_SEED}, averaged weights {weights_hash(system.state_dict())}"
    return passages.measured(reference, rows, made_by, started, sheets and sheets / "nearest.png", seeds)


@busy.noticed()
def measure_folder(
    source: str | Path, store: Store, device_name: str = "auto"
) -> tuple[Measured, list[tuple[str, str]]]:
    """Measure the pictures of a folder or a zip, made by any tool, against a store. Returns the result and the files
    that could not be used, with the reasons.

    They are brought to the store's shape as `prepare` does it with the store's own recipe. Where their folders bear
    names of the store's classes, these are the labels whose accuracy is measured."""
    started = time.perf_counter()
    device.keep_memory()
    store.check()
    text = isinstance(store.spec.medium, Text)
    reference = None if text else Reference(store, device.choose(device_name))
    with tempfile.TemporaryDirectory() as temporary:
        prepared = read_folder(source, store, Path(temporary))
        theirs, spec, count = prepared.store, store.spec, len(prepared.store)
        made_by = f"{spec.medium.plural} of {Path(source).name}, {theirs.root[:16]}"
        if reference is None:
            counted = passages.TextReference(store)
            some = theirs.read(permuted(0, "folder", count, np.arange(counted.compared(count))))
            return passages.measured(counted, some, made_by, started, None), prepared.skipped
        order = permuted(0, "folder", count, np.arange(count))
        known = [spec.classes.index(name) if name in spec.classes else -1 for name in theirs.spec.classes]
        bear_names = theirs.labelled and min(known, default=-1) >= 0
        labels = [known[n] for n in theirs.labels[order]] if bear_names else None
        measurement = Measurement(reference, count, f"looking at {count:,} {spec.medium.plural}")
        measurement.add(theirs.read(order[i : i + 512]) for i in range(0, count, 512))
        return measurement.result(made_by, labels, started, None), prepared.skipped


def read_folder(source: str | Path, store: Store, temporary: Path) -> Prepared:
    """A folder or zip of pictures as a store in `temporary`, in the shape of `store`, by its own recipe. DataError
    where they are too few, InputError where the store holds pairs."""
    spec, recipe = store.spec, store.manifest["recipe"]
    if isinstance(spec.medium, Pair):
        raise InputError(f"A folder holds single pictures, and {store.address} pairs. Measure a run instead.")
    log.info(f"reading {source}")
    prepared = prepare(source, temporary / "pictures", **_like(spec, recipe))
    if prepared.store.spec.medium != spec.medium:
        raise DataError(f"{source} cannot be read as {store.address} was: its settings are of another version.")
    if len(prepared.store) < FEWEST:
        raise DataError(
            f"{source} holds {len(prepared.store)} {spec.medium.plural}; at least {FEWEST} are needed, "
            "and thousands say more."
        )
    return replace(prepared, skipped=[(file, why) for file, why in prepared.skipped if why != EQUAL])  # set aside only


def _like(spec: Spec, recipe: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of `prepare` by which other files become rows of this spec."""
    if isinstance(spec.medium, Text):
        return {"medium": "text", "length": spec.width, "alphabet": spec.medium.alphabet[1:], "heldout": 0.0}
    options: dict[str, Any] = {"medium": spec.medium.kind, "resolution": f"{spec.height}x{spec.width}"}
    if isinstance(spec.medium, Sound):
        return options | {"rate": spec.medium.rate}
    if isinstance(spec.medium, Solid):
        return options
    background = "#" + "".join(f"{v:02x}" for v in recipe.get("background", [255] * 3)[:3])
    options |= {"fit": recipe.get("fit", "crop"), "background": background, "channels": spec.channels}
    if isinstance(spec.medium, Clip):
        channels = spec.channels // spec.medium.frames
        options |= {"channels": channels, "frames": spec.medium.frames, "rate": spec.medium.rate}
        return options | {"stride": recipe["stride"]}
    if recipe.get("normalise") == "image":  # the others are not in the bytes
        options |= {"normalise": "image"}
    return options | _levels(recipe.get("depth", ""))


def _levels(depth: str) -> dict[str, str]:
    """The setting `levels` that gives `depth`, see `sources.depth.Levels`; none for integers and floats with pairs of
    their own."""
    pairs = set(re.findall(r"(?:integers|floats) (\S+) to (\S+?)(?:, |$)", depth))
    if len(pairs) == 1:
        return {"levels": ",".join(end.replace(",", "") for end in pairs.pop())}
    return {"levels": "full"} if depth and not pairs else {}


class Measurement:
    """Samples on their way: features of all, pixels of the first."""

    def __init__(self, reference: Reference, samples: int, work: str) -> None:
        self.reference, self.samples = reference, samples
        self.kept_at_most = min(NEIGHBOURS, max(FEWEST, MEMORY // reference.store.spec.pixels))
        self.pixels: list[Pixels] = []
        self.features: list[Tensor] = []
        self.remaining = Remaining(work, samples)

    def add(self, portions: Iterable[Pixels]) -> Measurement:
        """Take in (n, H, W, C) uint8 portions, as they come back from their files."""
        waiting: list[Pixels] = []
        for portion in portions:
            waiting.append(self.reference.store.spec.medium.as_written(portion))
            self.remaining.add(len(portion))
            if sum(map(len, waiting)) >= features.PORTION:
                self._extract(np.concatenate(waiting))
                waiting = []
        if waiting:
            self._extract(np.concatenate(waiting))
        return self

    def _extract(self, portion: Pixels) -> None:
        if (missing := self.kept_at_most - sum(map(len, self.pixels))) > 0:
            self.pixels.append(portion[:missing])
        self.features.append(self.reference.extract([portion]))

    def result(
        self, made_by: str, labels: Sequence[int] | None, started: float, nearest_sheet: Path | None
    ) -> Measured:
        """All rows. `labels` are the labels that the samples were made for, (N,), and `started` the time before."""
        reference, store = self.reference, self.reference.store
        samples = Samples(torch.cat(self.features), np.concatenate(self.pixels), labels)
        if not samples.features.isfinite().all():
            raise DataError("The samples hold numbers that are not finite: this run has diverged.")
        log.info("comparing")
        size = reference.compared(len(samples.features))
        metrics = (*METRICS, *OF_MEDIUM.get(type(store.spec.medium), ()))
        rows = [
            row
            for metric, floor in zip(metrics, reference.floors(metrics, size), strict=True)
            for row in metric.rows(reference, samples, size, floor)
        ]
        if isinstance(store.spec.medium, Clip):
            rows = motion.withheld(rows)
        pairs = [pair for row in rows for pair in row.pairs]
        if nearest_sheet is not None and pairs:
            _write_pairs(samples.pixels, pairs, reference, nearest_sheet)
        scales = tuple(pyramid.scales(store.spec.height, store.spec.width))
        return Measured(tuple(rows), _protocol(reference, scales, size, len(samples.features), made_by, started))


def _protocol(
    reference: Reference, scales: tuple[int, ...], compared: int, samples: int, made_by: str, started: float
) -> Protocol:
    """How numbers that were begun at the time `started` came about."""
    store = reference.store
    return Protocol(
        scales=scales,
        compared=compared,
        samples=samples,
        train=len(reference.train),
        heldout=len(reference.heldout),
        extractor=reference.extract.name,
        accuracy=reference.extract.accuracy,
        made_by=made_by,
        store=store.root[:16],
        resize=str(store.manifest["recipe"].get("resize", "none")),
        machine=machine(reference.device),
        seconds=round(time.perf_counter() - started, 2),
    )


def _write_pairs(samples: Pixels, pairs: Sequence[tuple[int, int]], reference: Reference, path: Path) -> None:
    """A sheet of (sample, training picture), in the order of `pairs`."""
    numbers, indices = np.array(pairs).T
    pixels = np.stack([samples[numbers], reference.read_train(indices)], 1).reshape(-1, *samples.shape[1:])
    facts = {
        "run": path.parent.name,
        "seeds": [FIRST_SEED + int(n) for n in numbers],
        "beside": reference.store.name,
    }
    write_image(path, reference.store.spec.sheet(pixels, 8), facts)
