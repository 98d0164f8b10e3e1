"""The real pictures of a store as the reference that samples are compared with: their features and the floors."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
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
from ganforge.base.tables import read_json
from ganforge.measuring.progress import Remaining
from ganforge.media.clip import Clip
from ganforge.media.spec import Spec
from ganforge.metrics import features
from ganforge.metrics.metric import Metric
from ganforge.store.store import Store

log = logging.getLogger(__name__)

LARGEST = 10_000  # pictures in a distance
FEWEST = 8  # held-out pictures below which there are no floors
VERSION = 3  # of features and floors; older files in a store are left alone
_PORTION = 512  # pictures read at once


class Reference:
    """A store's extractor and the features of its pictures, training and held out; `metrics.metric.RealPictures` says
    what a metric may ask of it. Features and floors are made once and kept in the store's folder `features`.

    Of a medium that is not lossless, all pictures are as they come back from their files: of sounds, what is left of
    them without the phase."""

    def __init__(self, store: Store, device: torch.device | None = None) -> None:
        self.store = store
        self.device = device or torch.device("cpu")
        self.extract = extractor(store, self.device)
        self._read = store.read
        if not store.spec.medium.lossless:
            written = self._kept(
                f"written-{store.root[:16]}",
                np.arange(len(store)),
                store.spec.medium.as_written,
                f"{len(store):,} {store.spec.medium.plural}, written and read again",
            )
            self._read = lambda rows: written[rows]
        self.train = self._features("train", store.train, "training pictures")
        self.heldout = self._features("heldout", store.heldout, "held-out pictures")

    @property
    def spec(self) -> Spec:
        """What the numbers of a row mean."""
        return self.store.spec

    @cached_property
    def frames(self) -> features.Extractor | None:
        """Of labelled clips a classifier of their single frames, trained once and kept; None of others."""
        medium, store = self.store.spec.medium, self.store
        if not isinstance(medium, Clip) or not store.labelled:
            return None
        return _of_frames(store, medium, self.device)

    @property
    def has_floors(self) -> bool:
        """Whether enough pictures are held out."""
        return len(self.heldout) >= FEWEST

    def compared(self, samples: int) -> int:
        """How many pictures a distance is estimated from where there are so many samples: floor and distance from
        equally many."""
        return min(samples, LARGEST, len(self.heldout) if self.has_floors else LARGEST)

    def floors(self, metrics: Sequence[Metric], size: int) -> list[list[float] | None]:
        """The floor of each metric where `size` pictures are compared; None for all where too few are held out."""
        if not self.has_floors:
            return [None] * len(metrics)
        path = self._path(f"floors{self.store.fold_suffix}-{size}-{self.extract.digest[:16]}", ".json")
        kept: dict[str, list[float]] = read_json(path.read_text("utf-8")) if files.intact(path) else {}
        names = [metric.__name__.rpartition(".")[2] for metric in metrics]
        if not kept.keys() >= set(names):
            log.info("measuring the held-out pictures, for the floors; once")
            missing = {n: m.floor(self, size) for n, m in zip(names, metrics, strict=True) if n not in kept}
            kept |= missing
            with contextlib.suppress(OSError), files.sealed_file(path) as partial:  # unless it cannot be written
                partial.write_text(json.dumps(kept), "utf-8")
        return [kept[name] for name in names]

    # ------------------------------------------------------------------------------------------------- real pictures

    def read_train(self, indices: npt.NDArray[np.int64]) -> Pixels:
        """Training pictures by their indices among these: (N,) -> (N, H, W, C) uint8."""
        return self._read(self.store.train[indices])

    def train_pixels(self, count: int) -> Pixels:
        """At most `count` training pictures, a keyed choice; the first of them are those of a smaller `count`."""
        return self.read_train(_choice(len(self.store.train), count))

    def heldout_pixels(self, count: int) -> Pixels:
        """At most `count` held-out pictures, likewise."""
        return self._read(self.store.heldout[_choice(len(self.store.heldout), count)])

    def train_features(self, count: int) -> Tensor:
        """Features of a keyed choice of training pictures, (at most `count`, D) float32."""
        return self.train[torch.from_numpy(_choice(len(self.train), count))]

    def kept(self, name: str, make: Callable[[Pixels], npt.NDArray[Any]]) -> npt.NDArray[Any]:
        """What `make` makes of the training pictures, portion by portion, a row each; kept in the store by this
        name."""
        return self._kept(f"{name}{self.store.fold_suffix}-{self.store.root[:16]}", self.store.train, make)

    # -------------------------------------------------------------------------------------------------- what is kept

    def _features(self, name: str, rows: npt.NDArray[np.int64], kind: str) -> Tensor:
        array = self._kept(
            f"{name}{self.store.fold_suffix}-{self.extract.digest[:16]}",
            rows,
            lambda part: self.extract([part]).numpy(),
            f"features of {len(rows):,} {kind}",
        )
        return torch.from_numpy(array) if len(rows) else torch.zeros(0, len(self.extract.scale))

    def _kept(
        self,
        name: str,
        rows: npt.NDArray[np.int64],
        make: Callable[[Pixels], npt.NDArray[Any]],
        work: str = "",
    ) -> npt.NDArray[Any]:
        """An array of one row a picture, read from the store's folder `features`, or made now and kept there. With
        `work` as its name, it is logged how long that takes."""
        path = self._path(name, ".npy")
        array = files.read_array(path)
        if array is not None and len(array) == len(rows):
            return array
        remaining = Remaining(work, len(rows)) if work else None
        parts = []
        for part in _portions(self._read, rows):
            parts.append(make(part))
            if remaining:
                remaining.add(len(part))
        array = np.concatenate(parts) if parts else np.zeros((0, 0), np.float32)
        with contextlib.suppress(OSError):  # a store that cannot be written keeps nothing
            files.write_array(path, array)
        return array

    def _path(self, name: str, suffix: str) -> Path:
        lossless = self.store.spec.medium.lossless or name.startswith("written")
        return self.store.path / "features" / f"{name}{'' if lossless else '-written'}-v{VERSION}{suffix}"


def _portions(read: Callable[[npt.NDArray[np.int64]], Pixels], rows: npt.NDArray[np.int64]) -> Iterator[Pixels]:
    return (read(rows[i : i + _PORTION]) for i in range(0, len(rows), _PORTION))


def _choice(size: int, count: int) -> npt.NDArray[np.int64]:
    return permuted(0, "measure", size, np.arange(min(count, size)))


def exists(store: Store) -> bool:
    """Whether the store has its feature extractor."""
    return _extractor_path(store).exists()


def _extractor_path(store: Store) -> Path:
    return store.path / "features" / f"extractor-v{VERSION}.safetensors"


def extractor(store: Store, device: torch.device | None = None) -> features.Extractor:
    """The store's own feature extractor: read from its folder `features`, or trained now and kept there. StoreError
    where it is damaged, DataError where it cannot be kept."""
    targets = "classes" if store.labelled else "clusters: it has no labels"
    work = f"training the feature extractor of {store.name} on its {targets}; once"
    sides = store.train, store.heldout
    labels = [store.labels[side] if store.labelled else None for side in sides]
    frames = store.spec.medium.frames if isinstance(store.spec.medium, Clip) else 0
    return _trained_once(_extractor_path(store), work, device, store.read, sides, labels, frames)


def _of_frames(store: Store, medium: Clip, device: torch.device) -> features.Extractor:
    """A classifier of the single frames of a store's clips, likewise. Number n x T + t is frame t of clip n."""
    count = medium.frames

    def read(numbers: npt.NDArray[np.int64]) -> Pixels:
        frames: Pixels = medium.split(store.read(numbers // count))[np.arange(len(numbers)), numbers % count]
        return frames

    sides = [(side[:, None] * count + np.arange(count)).ravel() for side in (store.train, store.heldout)]
    labels = [store.labels[side].repeat(count) for side in (store.train, store.heldout)]
    path = _extractor_path(store).with_name(f"frames-v{VERSION}.safetensors")
    work = f"training a classifier of the single frames of {store.name}; once"
    return _trained_once(path, work, device, read, sides, labels)


def _trained_once(
    path: Path,
    work: str,
    device: torch.device | None,
    read: features.Reader,
    sides: Sequence[npt.NDArray[np.int64]],
    labels: Sequence[npt.NDArray[np.int64] | None],
    frames: int = 0,
) -> features.Extractor:
    """The extractor at `path`; where there is none, one that learns from the rows `sides`, training and held-out, with
    their labels. `work` is logged."""
    if path.exists():
        if not files.intact(path):
            raise StoreError(
                f"{path} is damaged, or has no SHA-256 beside it. Remove it, and the extractor is trained again."
            )
        return features.load(path, device)
    log.info(work)
    learned, unseen = sides
    shown = features.images_for(min(read(learned[:1]).shape[1:3]), len(learned))
    remaining = Remaining("training it", shown)
    trained = features.train(read, learned, labels[0], unseen, labels[1], shown=remaining.add, frames=frames)
    advice = "The extractor is kept beside the data, so that all its numbers can be compared: make the store writable, "
    with files.writing(path, advice + "or copy it."):
        features.save(trained, path)
    return features.load(path, device)
