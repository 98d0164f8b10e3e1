"""What generated pictures are worth for training others: one small classifier, taught by real pictures, samples, both,
or augmented real ones.

Trained on synthetic and tested on real pictures (Ravuri and Vinyals 2019, "Classification Accuracy Score for
Conditional Generative Models"): the accuracy that samples alone teach says how much of the classes is in them, class by
class."""

from __future__ import annotations

import math
import platform
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ganforge.base import busy, device
from ganforge.base.errors import DataError, InputError, did_you_mean
from ganforge.base.images import Pixels
from ganforge.base.seeds import key, permuted
from ganforge.measuring.judge import FEWEST as FEWEST_HELDOUT
from ganforge.measuring.judge import LARGEST, SEEN, Remaining
from ganforge.measuring.measure import FEWEST, FIRST_SEED, checked_store, keep, read_folder
from ganforge.metrics import features, neighbours, pixels
from ganforge.runs import Run, weights_hash
from ganforge.sampling import check_generates, pictures
from ganforge.store.store import Store

SEEDS = 3
IMAGES = 20_000  # shown in one training
LEAST = 6_400  # where real pictures are few
EPOCHS = 20
TESTED = 5_000
ROOM = 1 << 29  # bytes of real pictures and of samples, each
COPIES = 0.05  # share of copies from which on they are warned of; 1 % is what unseen real pictures get
LINES = 12  # classes that are printed
NAMED = {
    "real": "real pictures",
    "samples": "samples alone",
    "both": "real pictures and samples",
    "augmented": "real pictures, augmented",
}

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Taught:
    """What classifiers that learned from one kind of pictures know of held-out real ones."""

    pictures: int
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
class Worth:
    """What samples teach, as `ganforge measure --as-training-data --json` prints it. All four learned for equally many
    steps."""

    real: Taught
    samples: Taught
    both: Taught
    """By the same real pictures and the same samples."""
    augmented: Taught
    """By the same real pictures, changed by chance at each step; see `metrics.features.change`."""
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

    def differ(self, one: Taught, two: Taught) -> bool:
        """Whether two accuracies are further apart than twice the spread: that over seeds, and that of so many held-out
        pictures."""
        share = (one.accuracy + two.accuracy) / 2
        spread = math.hypot(one.spread, two.spread, math.sqrt(share * (1 - share) / self.tested))
        return abs(one.accuracy - two.accuracy) > 2 * spread

    @property
    def findings(self) -> list[str]:
        """What the accuracies say, a sentence each."""
        pairs = (("samples", "real"), ("both", "real"), ("augmented", "real"), ("both", "augmented"))
        return [self._compared(one, two) for one, two in pairs]

    def _compared(self, name: str, other: str) -> str:
        one, two = getattr(self, name), getattr(self, other)
        first, second = NAMED[name].capitalize(), NAMED[other]
        if not self.differ(one, two):
            return f"{first} against {second}: no difference beyond the spread."
        word = "better" if one.accuracy > two.accuracy else "worse"
        return f"{first} teach {word} than {second}: {one.accuracy:.1%} against {two.accuracy:.1%}."

    @property
    def warnings(self) -> list[str]:
        """What makes the accuracies doubtful, a sentence each: copies, classes that are missing."""
        said = []
        if self.copies > COPIES:
            said.append(
                f"Copies: {self.copies:.1%} of the samples come nearer to a training picture than all but 1.0% of unseen real pictures; "
                "they teach what these teach, and disclose them."
            )
        if self.absent:
            said.append(f"Missing: no sample is of {_named(self.absent)}.")
        if self.weak:
            said.append(
                "Hardly shown: of these classes samples alone teach to find less than half of what real pictures do: "
                f"{_named(self.weak)}."
            )
        return said

    def __str__(self) -> str:
        lines = [f"{'learned from':<28}{'pictures':>10}  accuracy on {self.tested:,} held-out real pictures"]
        for name, label in NAMED.items():
            taught = getattr(self, name)
            lines.append(f"{label:<28}{taught.pictures:>10,}{taught.accuracy:>9.1%} ± {taught.spread:.1%}")
        lines.append(f"{'naming the commonest class':<38}{self.chance:>9.1%}")
        lines += ["", *self._by_class(), "", *self.findings, *self.warnings]
        lines.append(
            f"protocol: {self.made_by}; {self.seeds} seeds, {self.shown:,} pictures shown in each training; store {self.store}; {self.machine}"
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
        head = f"{title:<28}" + "".join(f"{word:>11}" for word in NAMED)
        return [head] + [
            f"{self.classes[n][:27]:<28}" + "".join(f"{share(kind.recall[n]):>11}" for kind in kinds) for n in order
        ]


def _named(names: tuple[str, ...]) -> str:
    more = len(names) - LINES
    return ", ".join(names[:LINES]) + (f" and {more:,} more" if more > 0 else "")


@busy.noticed()
def worth(
    run: Run,
    store: Store | None = None,
    samples: int | None = None,
    device_name: str = "auto",
) -> Worth:
    """What the samples of a run are worth for training a classifier; kept in the run's `worth.jsonl` too.

    As many samples as real pictures, of the same classes: all training pictures, at most 10,000, or so many as
    `samples` says. `device_name` says where samples are made; classifiers learn on the CPU. InputError where the run
    makes no pictures by class, DataError where its store holds too few."""
    started = time.perf_counter()
    system = run.build(device_name)
    check_generates(system)
    if not system.classes:
        why = "its store has no labels" if not system.spec.classes else "it learned without labels"
        raise InputError(
            f"{run.path} makes no pictures by class ({why}), so they cannot teach classes: train a system that does, such as cgan, "
            "or dcgan with --model.conditional true, on a store with labels."
        )
    store = checked_store(run, store)
    rows = _real(store, samples)
    labels = store.labels[rows]
    seeds = range(FIRST_SEED, FIRST_SEED + len(rows))
    told = Remaining(f"making {len(rows):,} samples", len(rows))
    made = []
    for portion in pictures(system, seeds, labels.tolist()):
        made.append(portion)
        told.add(len(portion))
    weights = weights_hash(system.state_dict())
    made_by = f"samples of seeds from {FIRST_SEED}, averaged weights {weights}"
    result = _compare(store, rows, np.concatenate(made), labels, made_by, started)
    keep(run.file("worth.jsonl"), result)
    return result


@busy.noticed()
def worth_of_folder(source: str | Path, store: Store) -> tuple[Worth, list[tuple[str, str]]]:
    """What the pictures of a folder or zip are worth for training a classifier, by whatever made; and which could not
    be used, and why.

    Their folders bear the names of the store's classes. DataError where they do not, or where there are too few.
    """
    started = time.perf_counter()
    store.check()
    _check(store)
    with tempfile.TemporaryDirectory() as temporary:
        made = read_folder(source, store, Path(temporary))
        theirs, classes = made.store, store.spec.classes
        if not theirs.labelled:
            raise DataError(
                f"The pictures in {source} have no classes; put them into folders named as the store's classes: {_named(classes)}."
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
        return _compare(store, rows[:count], theirs.read(chosen), labels, made_by, started), made.skipped


def _check(store: Store) -> None:
    """DataError unless a classifier can learn and be tested."""
    if len(store.spec.classes) < 2:
        raise DataError(
            f"{store.address} has {'one class' if store.labelled else 'no labels'}, so no classifier can learn from it: prepare it from a folder with a folder "
            "for each class, or with --labels FILE."
        )
    if len(store.heldout) < FEWEST_HELDOUT or len(store.train) < FEWEST:
        raise DataError(
            f"{store.address} has {len(store.train):,} training and {len(store.heldout):,} held-out pictures; to teach a classifier and to "
            f"test it, at least {FEWEST} and {FEWEST_HELDOUT} are needed: prepare it again from more pictures, with --heldout 0.1."
        )


def _real(store: Store, count: int | None = None) -> Rows:
    """The training pictures that real rows learn from, as row numbers: a keyed choice of `count`, or as many as can
    be."""
    _check(store)
    most = min(LARGEST, len(store.train), max(FEWEST, ROOM // store.spec.pixels))
    count = most if count is None else count
    if not FEWEST <= count <= most:
        raise InputError(
            f"The samples are {count:,}; as training data they take {FEWEST} to {most:,}, as many as real pictures."
        )
    return store.train[permuted(0, "worth/real", len(store.train), np.arange(count))]


def _compare(store: Store, rows: Rows, fake: Pixels, fake_labels: Rows, made_by: str, started: float) -> Worth:
    """All four trainings with each seed: real pictures by their rows, (N,), samples (N, H, W, C) uint8 and their
    classes (N,)."""
    device.keep_memory()
    count, classes = len(rows), store.spec.classes
    heldout = store.heldout[permuted(0, "worth/test", len(store.heldout), np.arange(min(TESTED, len(store.heldout))))]
    truth = store.labels[heldout]
    pool, labels = np.concatenate([store.read(rows), fake]), np.concatenate([store.labels[rows], fake_labels])
    places = np.arange(2 * count)
    used = {"real": places[:count], "samples": places[count:], "both": places, "augmented": places[:count]}
    side = min(store.spec.height, store.spec.width)
    images = max(LEAST, round(min(IMAGES * min(1.0, 32 / side), EPOCHS * count)))
    told = Remaining(f"training {SEEDS * len(used)} classifiers", SEEDS * len(used) * images)
    answers: dict[str, list[Rows]] = {name: [] for name in used}
    for seed in range(SEEDS):
        for name, part in used.items():
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(key(seed, "worth"))
                network = features.Network(store.spec.channels, len(classes), side)
                device.place(network, torch.device("cpu"))
                features.fit(network, pool.__getitem__, part, labels[part], seed, images, name == "augmented", told.add)
            network.eval()
            answers[name].append(features.named(network, store.read, heldout))
    taught = {name: _taught(len(used[name]), np.stack(found), truth, len(classes)) for name, found in answers.items()}
    absent = np.setdiff1d(store.labels[store.train], fake_labels).tolist()
    recalls = zip(taught["real"].recall, taught["samples"].recall, strict=True)
    weak = [n for n, (real, ours) in enumerate(recalls) if n not in absent and (ours or 0) < (real or 0) / 2]
    return Worth(
        **taught, classes=classes, absent=tuple(classes[n] for n in absent), weak=tuple(classes[n] for n in weak),
        copies=_copies(store, heldout, fake), chance=float(np.bincount(truth).max() / len(truth)),
        tested=len(heldout), shown=images, seeds=SEEDS, made_by=made_by, store=store.root[:16],
        machine=f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}",
        seconds=round(time.perf_counter() - started, 2),
    )  # fmt: skip


def _taught(count: int, answers: Rows, truth: Rows, classes: int) -> Taught:
    """Answers (seeds, N) and the truth (N,), as numbers of classes."""
    right = answers == truth
    shares = right.mean(1)
    recall = [float(right[:, truth == n].mean()) if (truth == n).any() else None for n in range(classes)]
    return Taught(count, tuple(shares.tolist()), float(shares.mean()), float(shares.std(ddof=1)), tuple(recall))


def _copies(store: Store, heldout: Rows, fake: Pixels) -> float:
    """The share of copies among the first samples, by the yardstick of held-out pictures; see `metrics.pixels`."""
    parts = np.array_split(store.train, math.ceil(len(store.train) / 512))
    thumbnails = np.concatenate([pixels.thumbnails(store.read(part)) for part in parts])

    def nearest(shown: Pixels) -> tuple[Tensor, Tensor]:
        return pixels.nearest(shown, thumbnails, lambda places: store.read(store.train[places]))

    limit = neighbours.yardstick(nearest(store.read(heldout[:SEEN]))[0])
    distance, places = nearest(fake[:SEEN])
    return neighbours.Copies(places, distance, limit).rate
