"""What the real pictures of a store say: their features, and the floors that every number stands beside."""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ganforge.base import files
from ganforge.base.errors import StoreError
from ganforge.base.images import Pixels
from ganforge.base.seeds import permuted
from ganforge.metrics import features, frechet, kernel, neighbours, pixels, sliced
from ganforge.store.store import Store

LARGEST = 10_000  # pictures in a distance
NEIGHBOURS = 5_000  # pictures in precision, recall, density, coverage and copies by features
SEEN = 2_000  # pictures in what is measured on pixels
FEWEST = 8  # held-out pictures below which there are no floors
VERSION = 3  # of features and floors; older files in a store are left alone

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Floors:
    """What as many held-out pictures get as there are samples; see `measure.Measured` for each number."""

    distance: float
    distance_spread: float
    kernel: float
    kernel_spread: float
    precision: float
    recall: float
    density: float
    coverage: float
    features_limit: float
    """The least distance in features to a training picture that 99 % of held-out pictures exceed."""
    pixels_limit: float
    """The same in levels, but at least `pixels.NOISE`, within which two pictures are one; see `metrics.pixels`."""
    pixels_rate: float
    """Share of held-out pictures within that limit: more than 1 % where the set has near-duplicates across the
    split."""
    sliced: tuple[float, ...]


class Judge:
    """A store's extractor, the features of its pictures, and its floors; all are made once and kept in `features/` in
    it."""

    def __init__(self, store: Store, device: torch.device | None = None) -> None:
        self.store = store
        self.device = device or torch.device("cpu")
        self.extract = extractor(store, self.device)
        self.train = self._features("train", store.train)
        self.heldout = self._features("heldout", store.heldout)
        self.thumbnails: npt.NDArray[np.uint8] = self._kept(
            f"thumbnails{store.fold_name}-{store.root[:16]}",
            len(store.train),
            self._portions(store.train),
            pixels.thumbnails,
        )
        self.moments = frechet.Moments(self.train.shape[1]).add(self.train)

    @property
    def has_floors(self) -> bool:
        """Whether enough pictures are held out."""
        return len(self.heldout) >= FEWEST

    def compared(self, samples: int) -> int:
        """How many pictures a distance is estimated from where there are so many samples: floor and distance from
        equally many."""
        return min(samples, LARGEST, len(self.heldout) if self.has_floors else LARGEST)

    def floors(self, size: int) -> Floors:
        """What `size` held-out pictures get against the training pictures."""
        path = self._path(f"floors{self.store.fold_name}-{size}-{self.extract.digest[:16]}")
        found = files.read_array(path)
        if found is None:
            found = np.array(self._floors(size))
            self._keep(path, found)
        named = dict(zip((f.name for f in fields(Floors)), found.tolist(), strict=False))
        return Floors(**named | {"sliced": tuple(found[len(fields(Floors)) - 1 :].tolist())})

    def _floors(self, size: int) -> list[float]:
        log.info("measuring the held-out pictures, for the floors; once")
        distance = frechet.estimate(self.moments, self.heldout, size)
        hidden = self.train[:, : features.HIDDEN], self.heldout[:, : features.HIDDEN]
        spread = kernel.distance(hidden[0], hidden[1], size=min(kernel.SUBSET, size))
        few = min(NEIGHBOURS, size, len(self.train))
        real = neighbours.manifold(self.some_features(few), self.heldout[:few])
        near = neighbours.nearest(self.heldout[:NEIGHBOURS], self.train)[0][:, 0]
        shown = self.heldout_pixels(SEEN)
        seen = pixels.nearest(shown, self.thumbnails, self.read_train)[0]
        scales = sliced.distances(self.patches(size), sliced.patches(shown[: min(SEEN, size)]))
        limit = max(pixels.NOISE, neighbours.yardstick(seen))
        return [
            *distance, *spread, real.precision, real.recall, real.density, real.coverage,
            neighbours.yardstick(near), limit, float((seen < limit).float().mean()), *scales,
        ]  # fmt: skip

    # ------------------------------------------------------------------------------------------------- real pictures

    def read_train(self, places: npt.NDArray[np.int64]) -> Pixels:
        """Training pictures by their place among the training pictures: (N,) -> (N, H, W, C) uint8."""
        return self.store.read(self.store.train[places])

    def train_pixels(self, count: int) -> Pixels:
        """At most `count` training pictures, a keyed choice."""
        return self.read_train(_choice(len(self.store.train), count))

    def heldout_pixels(self, count: int) -> Pixels:
        """At most `count` held-out pictures, a keyed choice."""
        return self.store.read(self.store.heldout[_choice(len(self.store.heldout), count)])

    def some_features(self, count: int) -> Tensor:
        """Features of a keyed choice of training pictures, (at most `count`, D)."""
        return self.train[torch.from_numpy(_choice(len(self.train), count))]

    def patches(self, size: int) -> list[Tensor]:
        """Patches of at most `size` training pictures, to compare those of as many others with."""
        return sliced.patches(self.train_pixels(min(SEEN, size)))

    # -------------------------------------------------------------------------------------------------- what is kept

    def _features(self, name: str, rows: npt.NDArray[np.int64]) -> Tensor:
        found = self._kept(
            f"{name}{self.store.fold_name}-{self.extract.digest[:16]}", len(rows), self._portions(rows),
            lambda part: self.extract([part]).numpy(), f"{len(rows):,} {'held-out' if name == 'heldout' else 'training'} pictures",
        )  # fmt: skip
        return torch.from_numpy(found) if len(rows) else torch.zeros(0, len(self.extract.scale))

    def _portions(self, rows: npt.NDArray[np.int64]) -> Iterator[Pixels]:
        return (self.store.read(rows[i : i + 512]) for i in range(0, len(rows), 512))

    def _kept(
        self,
        name: str,
        rows: int,
        portions: Iterable[Pixels],
        make: Callable[[Pixels], npt.NDArray[Any]],
        what: str = "",
    ) -> npt.NDArray[Any]:
        """An array of one row a picture, read from the store's `features/` or made now and kept there."""
        path = self._path(name)
        found = files.read_array(path)
        if found is not None and len(found) == rows:
            return found
        told = Remaining(f"features of {what}", rows) if what else None
        made = []
        for part in portions:
            made.append(make(part))
            if told:
                told.add(len(part))
        array = np.concatenate(made) if made else np.zeros((0, 0), np.float32)
        self._keep(path, array)
        return array

    def _path(self, name: str) -> Path:
        return self.store.path / "features" / f"{name}-v{VERSION}.npy"

    def _keep(self, path: Path, array: npt.NDArray[Any]) -> None:
        with contextlib.suppress(OSError):  # a store that cannot be written keeps nothing
            files.write_array(path, array)


class Remaining:
    """Logs once, when some of the work is done, how long all of it takes; nothing where that is under three seconds."""

    def __init__(self, what: str, total: int) -> None:
        self.what, self.total = what, total
        self.done, self.started, self.said = 0, 0.0, False

    def add(self, count: int) -> None:
        """So much more is done. The first call only starts the clock: a first step is no measure of the next."""
        now = time.perf_counter()
        if not self.started:
            self.started = now
            return
        self.done += count
        took = now - self.started
        if not self.said and (self.done >= 0.05 * self.total or took > 2):
            self.said = True
            whole = took / self.done * self.total
            if whole > 3:
                log.info(f"{self.what}: about {seconds(whole)}")


def seconds(duration: float) -> str:
    """12 s, 3 min."""
    return f"{math.ceil(duration)} s" if duration < 100 else f"{math.ceil(duration / 60)} min"


def _choice(size: int, count: int) -> npt.NDArray[np.int64]:
    return permuted(0, "measure", size, np.arange(min(count, size)))


def extractor(store: Store, device: torch.device | None = None) -> features.Extractor:
    """The store's own feature extractor: read from `features/` in it, or trained now and kept there."""
    path = store.path / "features" / f"extractor-v{VERSION}.safetensors"
    if path.exists():
        if not files.intact(path):
            raise StoreError(
                f"{path} is damaged, or has no SHA-256 beside it. Remove it, and the extractor is trained again."
            )
        return features.load(path, device)
    what = "classes" if store.labelled else "clusters: it has no labels"
    log.info(f"training the feature extractor of {store.name} on its {what}; once")
    labels, test_labels = (store.labels[store.train], store.labels[store.heldout]) if store.labelled else (None, None)
    shown = features.images_for(min(store.spec.height, store.spec.width), len(store.train))
    told = Remaining("training it", shown)
    made = features.train(store.read, store.train, labels, store.heldout, test_labels, shown=told.add)
    advice = "The extractor is kept beside the data, so that all its numbers can be compared: make the store writable, "
    with files.writing(path, advice + "or copy it."):
        features.save(made, path)
    return features.load(path, device)
