"""The classification accuracy score: what samples teach a classifier that is tested on real pictures.

A classifier that learned from samples alone is tested on held-out real pictures: "train on synthetic, test on real"
(Esteban et al. 2017, "Real-valued (Medical) Time Series Generation with Recurrent Conditional GANs", section 4), for
pictures by class the classification accuracy score, CAS (Ravuri and Vinyals 2019, "Classification Accuracy Score for
Conditional Generative Models"). Beside it stand classifiers that learned from real pictures, from real pictures and
samples, and from augmented real pictures."""

from __future__ import annotations

import math
import platform
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ganforge.base import busy, device
from ganforge.base.errors import DataError, InputError, did_you_mean
from ganforge.base.images import Pixels
from ganforge.base.seeds import key, permuted
from ganforge.measuring.measure import FEWEST, FIRST_SEED, checked_store, read_folder
from ganforge.measuring.measured import keep
from ganforge.measuring.progress import Remaining
from ganforge.measuring.reference import FEWEST as FEWEST_HELDOUT
from ganforge.measuring.reference import LARGEST
from ganforge.media.text import Text
from ganforge.metrics import features
from ganforge.metrics.copies import Copies, nearest_by_pixels, thumbnails, yardstick
from ganforge.metrics.metric import PICTURES
from ganforge.runs import RunFolder, weights_hash
from ganforge.sampling import check_generates, pictures
from ganforge.store.store import Store

SEEDS = 3
IMAGES = 20_000  # shown in one training
LEAST = 6_400  # where real pictures are few
EPOCHS = 20
TESTED = 5_000
MEMORY = 1 << 29  # bytes of real pictures and of samples, each
COPIES = 0.05  # share of copies from which on they are warned of; 1 % is what unseen real pictures get
LINES = 12  # classes that are printed
TITLES = {
    "real": "real pictures",
    "samples": "samples alone",
    "both": "real pictures and samples",
    "augmented": "real pictures, augmented",
}

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Trained:
    """The accuracy of classifiers that learned from one set of pictures, on held-out real ones."""

    pictures: int
    """How many they learned from."""
    accuracies: tuple[float, ...]
    """Share of held-out pictures whose class is named rightly, one a seed."""
    accuracy: float
    """Their mean."""
    spread: float
    """Their standard deviation."""
    recall: tuple[float | None, ...]
    """Share of each class's held-out pictures that are named rightly, the mean over seeds; None where none is held
    out."""


@dataclass(frozen=True)
class ClassificationScores:
    """The four accuracies, as `ganforge measure --as-training-data --json` prints them. All classifiers learned for
    equally many steps."""

    real: Trained
    samples: Trained
    """From samples alone: its accuracy is the classification accuracy score."""
    both: Trained
    """From the same real pictures and the same samples."""
    augmented: Trained
    """From the same real pictures, changed by chance at each step; see `metrics.features.change`."""
    classes: tuple[str, ...]
    absent: tuple[str, ...]
    """Classes that no sample bears, though training pictures do."""
    weak: tuple[str, ...]
    """Other classes of which samples alone teach to find less than half of what real pictures do."""
    copies: float
    """Share of samples nearer to a training picture, by pixels, than all but 1 % of held-out pictures are."""
    chance: float
    """What naming the commonest class always would reach."""
    tested: int
    shown: int
    """Pictures shown in each training."""
    seeds: int
    made_by: str
    store: str
    machine: str
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """All fields by their names in JSON."""
        return asdict(self)

    def differ(self, one: Trained, two: Trained) -> bool:
        """Whether two accuracies are further apart than twice the spread: that over seeds, and that of so many held-out
        pictures."""
        share = (one.accuracy + two.accuracy) / 2
        spread = math.hypot(one.spread, two.spread, math.sqrt(share * (1 - share) / self.tested))
        return abs(one.accuracy - two.accuracy) > 2 * spread

    @property
    def findings(self) -> list[str]:
        """What the accuracies show, a sentence each."""
        pairs = (("samples", "real"), ("both", "real"), ("augmented", "real"), ("both", "augmented"))
        return [self._compared(one, two) for one, two in pairs]

    def _compared(self, name: str, other: str) -> str:
        one, two = getattr(self, name), getattr(self, other)
        first, second = TITLES[name].capitalize(), TITLES[other]
        if not self.differ(one, two):
            return f"{first} against {second}: no difference beyond the spread."
        word = "better" if one.accuracy > two.accuracy else "worse"
        return f"{first} teach {word} than {second}: {one.accuracy:.1%} against {two.accuracy:.1%}."

    @property
    def warnings(self) -> list[str]:
        """What makes the accuracies doubtful, a sentence each: copies, classes that are missing."""
        sentences = []
        if self.copies > COPIES:
            sentences.append(
                f"Copies: {self.copies:.1%} of the samples come nearer to a training picture than all but 1.0% of "
                "unseen real pictures; they teach what these teach, and disclose them."
            )
        if self.absent:
            sentences.append(f"Missing: no sample is of {_listed(self.absent)}.")
        if self.weak:
            sentences.append(
                "Hardly shown: of these classes samples alone teach to find less than half of what real pictures do: "
                f"{_listed(self.weak)}."
            )
        return sentences

    def __str__(self) -> str:
        lines = [f"{'learned from':<28}{'pictures':>10}  accuracy on {self.tested:,} held-out real pictures"]
        for name, title in TITLES.items():
            trained = getattr(self, name)
            note = "  classification accuracy score" if name == "samples" else ""
            lines.append(f"{title:<28}{trained.pictures:>10,}{trained.accuracy:>9.1%} ± {trained.spread:.1%}{note}")
        lines.append(f"{'naming the commonest class':<38}{self.chance:>9.1%}")
        lines += ["", *self._by_class(), "", *self.findings, *self.warnings]
        lines.append(
            f"protocol: {self.made_by}; {self.seeds} seeds, {self.shown:,} pictures shown in each training; "
            f"store {self.store}; {self.machine}"
        )
        return "\n".join(lines)

    def _by_class(self) -> list[str]:
        """The recall of each class; of many, of those that samples fall short of most."""

        def share(value: float | None) -> str:
            return "-" if value is None else f"{value:.1%}"

        kinds = [self.real, self.samples, self.both, self.augmented]
        order = list(range(len(self.classes)))
        title = "recall of each class"
        if len(order) > LINES:
            title = f"recall of {LINES} of {len(order)} classes"
            short = [(s or 0) - (r or 0) for s, r in zip(self.samples.recall, self.real.recall, strict=True)]
            order = sorted(sorted(order, key=short.__getitem__)[:LINES])
        head = f"{title:<28}" + "".join(f"{word:>11}" for word in TITLES)
        return [head] + [
            f"{self.classes[n][:27]:<28}" + "".join(f"{share(kind.recall[n]):>11}" for kind in kinds) for n in order
        ]


def _listed(names: tuple[str, ...]) -> str:
    more = len(names) - LINES
    return ", ".join(names[:LINES]) + (f" and {more:,} more" if more > 0 else "")


@busy.noticed()
def classification_scores(
    run: RunFolder,
    store: Store | None = None,
    samples: int | None = None,
    device_name: str = "auto",
) -> ClassificationScores:
    """The classification accuracy score of a run's samples, and what stands beside it; kept in its `worth.jsonl` too.

    As many samples as real pictures, of the same classes: all training pictures, at most 10,000, or so many as
    `samples` says. `device_name` says where samples are made; classifiers learn on the CPU. InputError where the run
    makes no pictures by class, DataError where its store holds too few."""
    started = time.perf_counter()
    system = run.build(device_name)
    check_generates(system)
    if not system.classes:
        why = "its store has no labels" if not system.spec.classes else "it learned without labels"
        raise InputError(
            f"{run.path} makes no pictures by class ({why}), so they cannot teach classes: train a system that does, "
            "such as cgan, or dcgan with --model.conditional true, on a store with labels."
        )
    store = checked_store(run, store)
    rows = _real(store, samples)
    labels = store.labels[rows]
    seeds = range(FIRST_SEED, FIRST_SEED + len(rows))
    remaining = Remaining(f"making {len(rows):,} samples", len(rows))
    portions = []
    for portion in pictures(system, seeds, labels.tolist()):
        portions.append(portion)
        remaining.add(len(portion))
    weights = weights_hash(system.state_dict())
    made_by = f"samples of seeds from {FIRST_SEED}, averaged weights {weights}"
    result = _compare(store, rows, np.concatenate(portions), labels, made_by, started)
    keep(run.file("worth.jsonl"), result)
    return result


@busy.noticed()
def classification_scores_of_folder(
    source: str | Path, store: Store
) -> tuple[ClassificationScores, list[tuple[str, str]]]:
    """The same for the pictures of a folder or zip, made by any tool; and the files that could not be used, with the
    reasons.

    The folders in it bear the names of the store's classes. DataError where they do not, or where there are too few.
    """
    started = time.perf_counter()
    store.check()
    _check(store)
    with tempfile.TemporaryDirectory() as temporary:
        prepared = read_folder(source, store, Path(temporary))
        theirs, classes = prepared.store, store.spec.classes
        if not theirs.labelled:
            raise DataError(
                f"The pictures in {source} have no classes; put them into folders named as the store's classes: "
                f"{_listed(classes)}."
            )
        for name in theirs.spec.classes:
            if name not in classes:
                raise DataError(
                    f"{source} has a class {name!r}, which {store.address} lacks.{did_you_mean(name, classes)}"
                )
        rows = _real(store)
        count = min(len(theirs), len(rows))
        chosen = permuted(0, "worth/samples", len(theirs), np.arange(count))
        labels = np.array([classes.index(name) for name in theirs.spec.classes])[theirs.labels[chosen]]
        made_by = f"samples are {count:,} of the {len(theirs):,} pictures of {Path(source).name}, {theirs.root[:16]}"
        return _compare(store, rows[:count], theirs.read(chosen), labels, made_by, started), prepared.skipped


def _check(store: Store) -> None:
    """DataError unless a classifier can learn and be tested, InputError where the rows are passages of text."""
    if isinstance(store.spec.medium, Text):
        raise InputError(f"Classifiers learn from levels, and {store.address} holds {store.spec.medium.plural}.")
    if len(store.spec.classes) < 2:
        raise DataError(
            f"{store.address} has {'one class' if store.labelled else 'no labels'}, so no classifier can learn from "
            "it: prepare it from a folder with a folder for each class, or with --labels FILE."
        )
    if len(store.heldout) < FEWEST_HELDOUT or len(store.train) < FEWEST:
        raise DataError(
            f"{store.address} has {len(store.train):,} training and {len(store.heldout):,} held-out pictures; to teach "
            f"a classifier and to test it, at least {FEWEST} and {FEWEST_HELDOUT} are needed: prepare it again from "
            "more pictures, with --heldout 0.1."
        )


def _real(store: Store, count: int | None = None) -> Rows:
    """The training pictures that real rows learn from, as row numbers: a keyed choice of `count`, or as many as can
    be."""
    _check(store)
    most = min(LARGEST, len(store.train), max(FEWEST, MEMORY // store.spec.pixels))
    count = most if count is None else count
    if not FEWEST <= count <= most:
        raise InputError(
            f"The samples are {count:,}; as training data they take {FEWEST} to {most:,}, as many as real pictures."
        )
    return store.train[permuted(0, "worth/real", len(store.train), np.arange(count))]


def _compare(
    store: Store, rows: Rows, fake: Pixels, fake_labels: Rows, made_by: str, started: float
) -> ClassificationScores:
    """All four trainings with each seed: real pictures by their rows, (N,), samples (N, H, W, C) uint8 and their
    classes (N,)."""
    device.keep_memory()
    count, classes = len(rows), store.spec.classes
    heldout = store.heldout[permuted(0, "worth/test", len(store.heldout), np.arange(min(TESTED, len(store.heldout))))]
    truth = store.labels[heldout]
    pool, labels = np.concatenate([store.read(rows), fake]), np.concatenate([store.labels[rows], fake_labels])
    every = np.arange(2 * count)
    used = {"real": every[:count], "samples": every[count:], "both": every, "augmented": every[:count]}
    side = min(store.spec.height, store.spec.width)
    images = max(LEAST, round(min(IMAGES * min(1.0, 32 / side), EPOCHS * count)))
    remaining = Remaining(f"training {SEEDS * len(used)} classifiers", SEEDS * len(used) * images)
    answers: dict[str, list[Rows]] = {name: [] for name in used}
    for seed in range(SEEDS):
        for name, part in used.items():
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(key(seed, "worth"))
                network = features.FeatureNetwork(store.spec.channels, len(classes), side)
                device.place(network, torch.device("cpu"))
                features.fit(
                    network,
                    pool.__getitem__,
                    part,
                    labels[part],
                    seed=seed,
                    images=images,
                    changed=name == "augmented",
                    shown=remaining.add,
                )
            network.eval()
            answers[name].append(features.named(network, store.read, heldout))
    trained = {name: _trained(len(used[name]), np.stack(a), truth, len(classes)) for name, a in answers.items()}
    absent = np.setdiff1d(store.labels[store.train], fake_labels).tolist()
    recalls = zip(trained["real"].recall, trained["samples"].recall, strict=True)
    weak = [n for n, (real, ours) in enumerate(recalls) if n not in absent and (ours or 0) < (real or 0) / 2]
    return ClassificationScores(
        **trained,
        classes=classes,
        absent=tuple(classes[n] for n in absent),
        weak=tuple(classes[n] for n in weak),
        copies=_copies(store, heldout, fake),
        chance=float(np.bincount(truth).max() / len(truth)),
        tested=len(heldout),
        shown=images,
        seeds=SEEDS,
        made_by=made_by,
        store=store.root[:16],
        machine=f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}",
        seconds=round(time.perf_counter() - started, 2),
    )


def _trained(count: int, answers: Rows, truth: Rows, classes: int) -> Trained:
    """Answers (seeds, N) and the truth (N,), as numbers of classes."""
    right = answers == truth
    shares = right.mean(1)
    recall = [float(right[:, truth == n].mean()) if (truth == n).any() else None for n in range(classes)]
    return Trained(count, tuple(shares.tolist()), float(shares.mean()), float(shares.std(ddof=1)), tuple(recall))


def _copies(store: Store, heldout: Rows, fake: Pixels) -> float:
    """The share of copies among the first samples, by the yardstick of held-out pictures; see `metrics.copies`."""
    parts = np.array_split(store.train, math.ceil(len(store.train) / 512))
    small = np.concatenate([thumbnails(store.read(part)) for part in parts])

    def nearest(shown: Pixels) -> tuple[Tensor, Tensor]:
        return nearest_by_pixels(shown, small, lambda rows: store.read(store.train[rows]))

    limit = yardstick(nearest(store.read(heldout[:PICTURES]))[0])
    distance, rows = nearest(fake[:PICTURES])
    return Copies(rows, distance, limit).rate
