"""How well a system restores held-out pictures: a row for what it is given, for what it makes of that, for baselines,
and for what is wanted."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ganforge.base.errors import DataError, did_you_mean
from ganforge.base.images import Pixels, enlarge, grid, name_rows, write_image
from ganforge.base.seeds import key, permuted
from ganforge.image_to_image import ImageToImage
from ganforge.measuring.baselines import Baseline, Missing, baselines
from ganforge.measuring.progress import Remaining
from ganforge.measuring.reference import Reference
from ganforge.media.clip import Clip
from ganforge.media.pair import Pair
from ganforge.media.spec import to_float, to_uint8
from ganforge.metrics import frechet, label_accuracy
from ganforge.metrics.fidelity import WINDOW, psnr, ssim
from ganforge.sources.decode import fit_channels
from ganforge.store.store import Store
from ganforge.system import System
from ganforge.transforms.degrade import Degrade

FEWEST, MOST = 8, 2_000  # held-out pictures that are restored
STRENGTHS = (0.0, 0.5, 1.0)  # of a system that has a strength
ANSWERS = 4  # of a system that has several, for their mean
FIRST_SEED = 1_000_000  # of answers
SHOWN = 12  # pictures on the sheet
GIVEN, RESTORED, WANTED = "as given", "restored", "wanted"
BATCH, BATCH_PIXELS = 32, 1 << 20  # that are restored at once, at most

COLUMNS = {
    "psnr": ("PSNR", ".2f"),
    "ssim": ("SSIM", ".4f"),
    "hole_psnr": ("in the holes", ".2f"),
    "distance": ("Fréchet distance", ".2f"),
    "consistency": ("consistency", ".2f"),
    "label_accuracy": ("label accuracy", ".1%"),
    "saturation": ("saturation", ".3f"),
}
"""The columns of the printed table: a field of `Scores`, its title, and the form of its numbers."""


@dataclass(frozen=True, kw_only=True)
class Scores:
    """One row, means over the pictures; None for what does not exist."""

    psnr: float | None
    """In dB, of 8 bits, over all values of a picture; equal pictures have 100 dB."""
    ssim: float | None
    hole_psnr: float | None
    """PSNR in dB of what was missing."""
    distance: float
    """Fréchet distance from the training pictures, from as many pictures in every row."""
    distance_spread: float
    consistency: float | None
    """PSNR in dB between what was given and the same made again of the picture: smaller, grey, its known pixels."""
    label_accuracy: float | None
    """Share of pictures that the store's classifier gives their label."""
    saturation: float | None
    """(largest - smallest) / largest of red, green and blue, where one channel was given and colours are wanted."""


@dataclass(frozen=True)
class Restoration:
    """The table of a system that restores: `restoration["restored"].psnr` is a number."""

    rows: Mapping[str, Scores]
    """By name: `as given`, `restored` (or one for each strength), the baselines, `wanted`, which is the floor."""
    pictures: int
    given: str
    """What was given."""
    baselines: tuple[str, ...]
    """The rows that a system has to beat."""
    notes: tuple[str, ...] = ()
    """Sentences about numbers that are missing."""

    def __getitem__(self, name: str) -> Scores:
        """The row of that name. KeyError where there is none."""
        if name not in self.rows:
            raise KeyError(f"{name} is no row of this table.{did_you_mean(name, self.rows)}")
        return self.rows[name]

    def as_dict(self) -> dict[str, Any]:
        """The numbers by their names in JSON."""
        rows = {name: asdict(scores) for name, scores in self.rows.items()}
        return {"pictures": self.pictures, "given": self.given, "rows": rows}

    @property
    def heading(self) -> str:
        """A line above the table."""
        return f"{self.pictures:,} held-out pictures restored; given: {self.given}"

    @property
    def table(self) -> str:
        """A line a row, without columns that have no number."""
        there = {name for name in COLUMNS for scores in self.rows.values() if getattr(scores, name) is not None}
        columns = {name: column for name, column in COLUMNS.items() if name in there}
        lines = [f"{'':<24}" + "".join(f"{title:>18}" for title, _ in columns.values())]
        for name, scores in self.rows.items():
            numbers = ((getattr(scores, column), form) for column, (_, form) in columns.items())
            cells = ("-" if number is None else format(number, form) for number, form in numbers)
            lines.append(f"{name:<24}" + "".join(f"{cell:>18}" for cell in cells))
        return "\n".join(lines)

    @property
    def verdict(self) -> str:
        """What the numbers say of each row that is restored, PSNR and distance together, and what is missing."""
        sentences = [self._sentence(name) for name in self.rows if name not in (*self.baselines, WANTED)]
        if any(row.psnr is not None for row in self.rows.values()):
            sentences.append(
                "PSNR alone is no verdict, for the blurred mean of all answers has the most: read it with the "
                "distance, and look at restored.png."
            )
        return "\n".join([*sentences, *self.notes])

    def _sentence(self, name: str) -> str:
        row, floor = self.rows[name], self.rows[WANTED].distance
        if row.psnr is None:
            before = self.rows[GIVEN].distance
            return f'{name}: a distance of {row.distance:.2f}, "{GIVEN}" {before:.2f}, real pictures {floor:.2f}.'
        if not self.baselines:
            return f"{name}: {row.psnr:.2f} dB and a distance of {row.distance:.2f}, real pictures {floor:.2f}."
        simple = {other: self.rows[other] for other in self.baselines}
        sharpest = max(simple, key=lambda other: simple[other].psnr or 0.0)
        nearest = min(simple, key=lambda other: simple[other].distance)
        gain = row.psnr - (simple[sharpest].psnr or 0.0)
        less = simple[nearest].distance - row.distance
        nearer = less > math.hypot(row.distance_spread, simple[nearest].distance_spread)
        return (
            f'{name}: {abs(gain):.2f} dB {"above" if gain >= 0 else "below"} "{sharpest}", and a distance of '
            f'{row.distance:.2f}, "{nearest}" {simple[nearest].distance:.2f}, real pictures {floor:.2f}: '
            f"{_MEANINGS[gain > 0, nearer]}."
        )


_MEANINGS = {
    (True, True): "better by both",
    (True, False): "less error, yet no more like real pictures",
    (False, True): "more like real pictures, at the price of more error",
    (False, False): "better by neither",
}


@dataclass(frozen=True)
class Portion:
    """Some held-out pictures, and what a system is given of them."""

    numbers: list[int]
    """Their rows in the store, (n,)."""
    rows: Pixels
    """As the store has them, (n, H, W, C)."""
    given: Tensor
    """(n, given, h, w) in [-1, 1], on the CPU, as 8 bits hold it."""
    holes: Tensor | None
    """(n, 1, h, w) or (n, given, h, w), 1 where it is missing."""
    shown: Pixels
    """What is given in the channels of what is wanted, (n, h, w, wanted)."""
    wanted: Pixels
    """(n, H', W', wanted); sides that are no multiples of the scale are cut."""

    @property
    def missing(self) -> Missing | None:
        """The holes as (n, h, w, 1) or (n, h, w, given)."""
        return None if self.holes is None else self.holes.permute(0, 2, 3, 1).numpy() > 0

    def completed(self, made: Pixels) -> Pixels:
        """(n, H', W', wanted), with the known pixels as they are given where a hole was filled, as `ganforge restore`
        writes them."""
        return made if self.missing is None else np.where(self.missing, made, self.shown)

    def whole(self, made: Pixels) -> Pixels:
        """Rows of the store in which what is wanted is replaced: (n, H', W', wanted) -> (n, H, W, C)."""
        rows = self.rows.copy()
        rows[:, : made.shape[1], : made.shape[2], -made.shape[3] :] = made
        return rows


def chosen(store: Store, most: int) -> npt.NDArray[np.int64]:
    """At most so many of the held-out pictures, and at most MOST, a keyed choice: their indices among these. DataError
    where there are fewer than FEWEST."""
    count = len(store.heldout)
    if count < FEWEST:
        raise DataError(
            f"{store.address} holds out {count} {store.spec.medium.plural}, and restoring is measured on at least "
            f"{FEWEST}. Prepare it with a larger --heldout."
        )
    return permuted(0, "restore", count, np.arange(min(most, MOST, count)))


def portions(system: System, store: Store, indices: npt.NDArray[np.int64]) -> Iterator[Portion]:
    """Held-out pictures by their indices, and what the system is given of them.

    Strengths are spread evenly from 0 to 1 over the pictures in a keyed order. All that is drawn for a picture is a
    function of its row in the store and its strength."""
    count, spec = len(indices), system.spec
    strengths = (permuted(0, "strength", count, np.arange(count)) + 0.5) / count
    size = max(1, min(BATCH, BATCH_PIXELS // (spec.height * spec.width)))
    for start in range(0, count, size):
        numbers = store.heldout[indices[start : start + size]]
        rows = store.read(numbers)
        pairs = []
        with torch.random.fork_rng(devices=[]):
            for number, image, strength in zip(
                numbers.tolist(), to_float(torch.from_numpy(rows), spec), strengths[start:], strict=False
            ):
                torch.manual_seed(key(0, "restore", number))
                pairs.append(system.pair(image[None], float(strength)))
        given, wanted = torch.cat([pair[0] for pair in pairs]), torch.cat([pair[1] for pair in pairs])
        missing = [pair[2] for pair in pairs if pair[2] is not None]
        if not missing:
            given = to_float(to_uint8(given, spec), spec)
        holes = torch.cat(missing) if missing else None
        shown = _in_channels(to_uint8(given, spec).numpy(), system)
        yield Portion(numbers.tolist(), rows, given, holes, shown, to_uint8(wanted, spec).numpy())


def _in_channels(given: Pixels, system: System) -> Pixels:
    """(n, h, w, given) -> (n, h, w, wanted); a map of ids in its colours."""
    if isinstance(system.spec.medium, Pair):
        given = system.spec.medium.coloured(given)
    if given.shape[3] == system.wanted:
        return given
    return np.stack([fit_channels(picture, system.wanted) for picture in given])


@torch.no_grad()
def restored(system: System, portion: Portion, strength: float | None = None, answer: int = 0) -> Tensor:
    """What a system makes of what it is given: (n, wanted, H', W') in [-1, 1], on the CPU. DataError where that is not
    finite."""
    device = next(system.parameters()).device
    options: dict[str, Any] = {}
    if system.fills and portion.holes is not None:
        options["holes"] = portion.holes.to(device)
    if system.strengths:
        options["strength"] = strength
    if system.answers:
        assert isinstance(system, ImageToImage)
        seeds = [FIRST_SEED + ANSWERS * number + answer for number in portion.numbers]
        options["latents"] = system.fields(seeds, *portion.given.shape[2:]).to(device)
    restore: Any = system.restore
    made: Tensor = restore(portion.given.to(device), **options).cpu()
    if not made.isfinite().all():
        raise DataError("The restored pictures hold numbers that are not finite: this run has diverged.")
    return made


def measure_restoration(
    system: System, reference: Reference, indices: npt.NDArray[np.int64], sheet: Path | None = None
) -> Restoration:
    """Restore the held-out pictures with these indices, (N,), N at least FEWEST, and compare; `sheet` is where some of
    them are drawn. DataError where what is made is not finite."""
    store = reference.store
    system.eval()
    simple, note = baselines(system) if isinstance(system, ImageToImage) else ({}, "")
    comparison = _Comparison(system, reference, simple)
    remaining = Remaining(f"restoring {len(indices):,} {store.spec.medium.plural}", len(indices))
    for portion in portions(system, store, indices):
        comparison.add(portion)
        remaining.add(len(portion.rows))
    if sheet is not None:
        facts = {"run": sheet.parent.name, "rows": list(comparison.rows), "store": store.name}
        write_image(sheet, comparison.sheet(), facts, "restored")
    notes = [note] if note else []
    if comparison.side < WINDOW:
        notes.append(f"SSIM needs {WINDOW} pixels each way, and the pictures have {comparison.side}.")
    return comparison.result(indices, tuple(notes))


def given_as(system: System) -> str:
    """What a system is given, in words."""
    if not isinstance(system, ImageToImage):
        return "the pictures themselves"
    if isinstance(system.spec.medium, Pair):
        return "the first halves of pairs"
    terms = system.degrade.terms.items()
    ranges = {word: f"{low:g}" if low == high else f"{low:g}..{high:g}" for word, (low, high) in terms if high}
    return ", ".join(f"{word} {ranges.get(word, '')}".strip() for word, _ in terms) or "noise of its own"


@dataclass
class _Row:
    """What a row is made of, picture by picture."""

    numbers: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    features: list[Tensor] = field(default_factory=list)
    shown: list[Pixels] = field(default_factory=list)

    def mean(self, name: str) -> float | None:
        return float(np.mean(self.numbers[name])) if self.numbers[name] else None


class _Comparison:
    """All rows on their way."""

    def __init__(self, system: System, reference: Reference, simple: Mapping[str, Baseline]) -> None:
        self.system, self.reference, self.simple = system, reference, simple
        self.rows: dict[str, _Row] = defaultdict(_Row)
        self.again = _again(system)
        self.colours = system.given == 1 and system.wanted in (3, 4)
        self.side = self.count = 0

    def add(self, portion: Portion) -> None:
        """Take in a portion of pictures."""
        self.side, scale = min(portion.wanted.shape[1:3]), self.system.scale
        made: dict[str, Pixels] = {}
        if isinstance(self.system, ImageToImage):
            made[GIVEN] = portion.shown.repeat(scale, 1).repeat(scale, 2)
        made |= self._restored(portion)
        made |= {name: baseline(portion.shown, portion.missing) for name, baseline in self.simple.items()}
        for name, pixels in made.items():
            completed = portion.completed(pixels)
            self._compare(self.rows[name], completed, portion)
            self._add(name, pixels, completed, portion)
        self._add(WANTED, portion.wanted, portion.wanted, portion)
        self.count += len(portion.rows)

    def _add(self, name: str, pixels: Pixels, completed: Pixels, portion: Portion) -> None:
        """What every row has, the wanted pictures too."""
        row = self.rows[name]
        row.features.append(self.reference.extract([portion.whole(completed)]))
        row.shown.append(completed[: max(0, SHOWN - self.count)])
        if self.colours:
            row.numbers["saturation"] += map(_saturation, completed)
        if self.again is not None:
            row.numbers["consistency"] += self._consistencies(self.again, pixels, portion)

    def _restored(self, portion: Portion) -> dict[str, Pixels]:
        system, made = self.system, dict[str, Tensor]()
        for strength in STRENGTHS if system.strengths else (None,):
            name = RESTORED if strength is None else f"{RESTORED}, strength {strength:g}"
            made[name] = restored(system, portion, strength)
        if system.answers:
            others = [restored(system, portion, strength, answer) for answer in range(1, ANSWERS)]
            made[f"mean of {ANSWERS} answers"] = torch.stack([made[name], *others]).mean(0)
        return {name: to_uint8(images, system.spec).numpy() for name, images in made.items()}

    @staticmethod
    def _consistencies(again: Degrade, pixels: Pixels, portion: Portion) -> Iterator[float]:
        """PSNR of what was given, where it is known, against the same made again of (n, H', W', wanted) uint8."""
        ours, theirs = to_uint8(again(to_float(torch.from_numpy(pixels)))[0]).numpy(), to_uint8(portion.given).numpy()
        missing = np.zeros(1, np.bool_) if portion.missing is None else portion.missing
        known = ~np.broadcast_to(missing, theirs.shape)
        return (psnr(a[where], b[where]) for a, b, where in zip(ours, theirs, known, strict=True) if where.any())

    def _compare(self, row: _Row, pixels: Pixels, portion: Portion) -> None:
        """Pixel by pixel with the wanted pictures."""
        missing = np.zeros(1, np.bool_) if portion.missing is None else portion.missing
        holes = np.broadcast_to(missing, portion.wanted.shape)
        for made, truth, hole in zip(pixels, portion.wanted, holes, strict=True):
            row.numbers["psnr"].append(psnr(made, truth))
            if self.side >= WINDOW:
                row.numbers["ssim"].append(ssim(made, truth))
            if hole.any():
                row.numbers["hole_psnr"].append(psnr(made[hole], truth[hole]))

    def result(self, indices: npt.NDArray[np.int64], notes: tuple[str, ...]) -> Restoration:
        """The table, of the held-out pictures with these indices."""
        store, extract, rows = self.reference.store, self.reference.extract, dict[str, Scores]()
        moments = frechet.moments(self.reference.train)
        labels = store.labels[store.heldout[indices]].tolist() if store.labelled else None
        for name, row in self.rows.items():
            features = torch.cat(row.features)
            distance, spread = frechet.estimate(moments, features, len(features))
            rows[name] = Scores(
                psnr=row.mean("psnr"),
                ssim=row.mean("ssim"),
                hole_psnr=row.mean("hole_psnr"),
                distance=distance,
                distance_spread=spread,
                consistency=row.mean("consistency"),
                label_accuracy=label_accuracy.accuracy(extract, features, labels),
                saturation=row.mean("saturation"),
            )
        simple = tuple(name for name in (GIVEN, *self.simple) if name in rows)
        return Restoration(rows, len(indices), given_as(self.system), simple, notes)

    def sheet(self) -> Pixels:
        """The first pictures side by side, a line for each row of the table; wide ones in several blocks."""
        medium = self.system.spec.medium
        rows = {name: np.concatenate(row.shown) for name, row in self.rows.items()}
        if not isinstance(medium, Pair):
            rows = {name: medium.as_pictures(pixels) for name, pixels in rows.items()}
        rows = {name: enlarge(pixels, 96) for name, pixels in rows.items()}
        count, _, width, _ = rows[WANTED].shape
        columns = max(n for n in range(1, count + 1) if n == 1 or n * width <= 1600)
        starts = range(0, count // columns * columns, columns)
        parts = [pixels[start : start + columns] for start in starts for pixels in rows.values()]
        return name_rows(grid(np.concatenate(parts), columns), list(rows) * len(starts))


def _again(system: System) -> Degrade | None:
    """The words of a degradation that draw nothing, so that they can be applied to an answer; None where its other
    words leave too little to compare."""
    if not isinstance(system, ImageToImage):
        return None
    terms, medium = system.degrade.terms, system.spec.medium
    words = [f"down {terms[word][0]:g}" if word == "down" else word for word in terms if word in ("down", "grey")]
    if {"edges", "real"} & terms.keys() or not (words or system.degrade.holes):
        return None
    return Degrade(", ".join(words), system.wanted, medium.frames if isinstance(medium, Clip) else 0)


def _saturation(pixels: Pixels) -> float:
    """Mean over (H, W, C) uint8 of (largest - smallest) / largest of red, green and blue; 0 of black."""
    largest, smallest = pixels[..., :3].max(-1).astype(np.float64), pixels[..., :3].min(-1)
    return float(((largest - smallest) / np.maximum(largest, 1)).mean())
