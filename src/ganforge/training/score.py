"""The quality of a system while it is trained: at every report the diversity of its samples, from the pictures of its
sheet; as often as a share of the time allows the Fréchet distance, and the recall of samples or, of a system that
restores, the PSNR of some held-out pictures."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from ganforge.base.errors import DataError, GanforgeError
from ganforge.base.images import Pixels
from ganforge.base.seeds import permuted
from ganforge.measuring import reference, restoration, translation
from ganforge.measuring.reference import Reference
from ganforge.media.spec import to_uint8
from ganforge.media.text import Text
from ganforge.metrics import frechet, neighbours
from ganforge.metrics.fidelity import psnr
from ganforge.sampling import like_store, pictures
from ganforge.store.store import Store
from ganforge.system import System
from ganforge.training.sheet import EXAMPLES, SEEDS, Sheet

log = logging.getLogger(__name__)

SAMPLES = 2_000
FIRST_SEED = 3_000_000  # neither those of the sheets nor those of `measure`, which would flatter the checkpoint chosen
HELD = 64  # held-out pictures whose PSNR stands in reports
SIDE = 16  # longer side at which diversity is compared
PORTION = 256
WORTHWHILE = 300.0  # seconds: a shorter run does not train a feature extractor for the store


class Scorer:
    """Scores of one run's pictures against the training pictures of its store."""

    def __init__(self, store: Store, device: torch.device, share: float) -> None:
        self.store, self.device = store, device
        self.share = 0.0 if isinstance(store.spec.medium, Text) else share  # the network of the features sees levels
        self.reference: Reference | None = None
        self.moments: frechet.Moments | None = None
        self.failed = False
        """Whether the store turned out to allow no distance."""
        self.last = 0.0
        """Seconds that the last score took, without those in which features of real pictures were made for the
        store."""
        self.last_fidelity = 0.0
        """Seconds that the last PSNR took."""
        self.variances: dict[int, float] = {}
        """Variance of real pictures, by class; 0 is that of all where the sheet has no classes."""

    def diversity(self, sheet: Sheet) -> dict[str, float]:
        """How much the samples of a sheet differ, as a share of how much as many real pictures differ; of samples by
        class, within each class. Nothing where the real ones do not differ."""
        real, fake = 0.0, 0.0
        labels = np.zeros(len(sheet.samples), np.int64) if sheet.labels is None else np.array(sheet.labels)
        for label in np.unique(labels).tolist():
            samples = sheet.samples[labels == label]
            if label not in self.variances:
                rows = self.store.train
                rows = rows if sheet.labels is None else rows[self.store.labels[rows] == label]
                chosen = rows[permuted(0, "diversity", len(rows), np.arange(min(len(rows), len(samples))))]
                self.variances[label] = variance(self.store.read(np.sort(chosen))) if len(chosen) > 1 else 0.0
            if self.variances[label]:
                real += self.variances[label]
                fake += variance(samples)
        return {"diversity": round((fake / real) ** 0.5, 4)} if real else {}

    def allowed(self, spent: float, seconds: float, expected: float, sheet_seconds: float, last: bool) -> bool:
        """Whether there is time for a score, after `spent` seconds of measuring in `seconds` of training, of `expected`
        in all. There is at the `last` report that has others to be compared with."""
        if not self.share or self.failed:
            return False
        if self.share >= 1:
            return True
        if self.reference is None and expected < WORTHWHILE and not reference.exists(self.store):
            return False
        cost = self.last or sheet_seconds * SAMPLES / len(SEEDS)
        return last or spent + cost <= self.share * seconds

    def allowed_fidelity(self, spent: float, seconds: float, sheet_seconds: float, last: bool) -> bool:
        """Whether there is time for a PSNR, likewise; half of the share is left to scores. There is at the `last`
        report, unless nothing is measured."""
        if not self.share or self.share >= 1 or last:
            return self.share > 0
        cost = self.last_fidelity or sheet_seconds * HELD / EXAMPLES
        return spent + cost <= self.share / 2 * seconds

    def score(self, system: System) -> dict[str, float]:
        """Fréchet distance and recall of SAMPLES samples, or the distance of at most as many restored held-out
        pictures; nothing where they cannot be had."""
        if not self.share or self.failed:
            return {}
        try:
            if system.translates:
                translation.of_learned(system, self.store)  # raises where too few are held out
            elif not system.generates:
                restoration.chosen(self.store, SAMPLES)
            self.reference = self.reference or Reference(self.store, self.device)
        except GanforgeError as error:
            log.warning(f"It cannot be measured on the way: {error}")
            self.failed = True
            return {}
        real = self.reference
        if system.translates:
            return self._translation(system, real)
        self.moments = self.moments or frechet.moments(real.train)
        started, parts, waiting = time.perf_counter(), list[Tensor](), list[Pixels]()
        try:
            for portion in self._pictures(system):
                waiting.append(self.store.spec.medium.as_written(portion))
                if len(waiting) * len(waiting[0]) >= PORTION:
                    parts.append(real.extract([np.concatenate(waiting)]))
                    waiting = []
        except DataError:  # what it makes is not finite
            return {}
        parts += [real.extract([np.concatenate(waiting)])] if waiting else []
        features = torch.cat(parts) if parts else real.train[:0]
        if not len(features) or not features.isfinite().all():
            return {}
        scores = {"distance": frechet.distance(self.moments, frechet.moments(features))}
        if system.generates:
            scores["recall"] = neighbours.manifold(real.train_features(SAMPLES), features).recall
        self.last = time.perf_counter() - started
        return {name: round(value, 4) for name, value in scores.items()}

    def _translation(self, system: System, real: Reference) -> dict[str, float]:
        """The mean distance of translated held-out pictures from the training pictures of the wanted classes."""
        started = time.perf_counter()
        try:
            distance = translation.measure_translation(system, real, SAMPLES)[translation.TRANSLATED].distance
        except DataError:
            return {}
        self.last = time.perf_counter() - started
        return {"distance": round(distance, 4)}

    def _pictures(self, system: System) -> Iterator[Pixels]:
        """Portions of what is scored."""
        if system.generates:
            seeds = range(FIRST_SEED, FIRST_SEED + SAMPLES)
            yield from pictures(system, seeds, **like_store(system, self.store, seeds))
            return
        for portion, made in self._restored(system, SAMPLES):
            yield portion.whole(made)

    def fidelity(self, system: System) -> dict[str, float]:
        """Mean PSNR in dB of HELD restored held-out pictures, the same at every report; nothing where too few are held
        out, what the system makes is not finite, or it translates, for which no truth is known."""
        if system.translates:
            return {}
        started = time.perf_counter()
        try:
            pairs = [
                pair
                for portion, made in self._restored(system, HELD)
                for pair in zip(made, portion.wanted, strict=True)
            ]
        except DataError:
            return {}
        finally:
            self.last_fidelity = time.perf_counter() - started
        return {"psnr": round(float(np.mean([psnr(made, wanted) for made, wanted in pairs])), 4)} if pairs else {}

    def _restored(self, system: System, most: int) -> Iterator[tuple[restoration.Portion, Pixels]]:
        """Held-out pictures and what the system restores of them, (n, H, W, wanted) uint8."""
        if len(self.store.heldout) < restoration.FEWEST:
            return
        for portion in restoration.portions(system, self.store, restoration.chosen(self.store, most)):
            yield portion, portion.completed(to_uint8(restoration.restored(system, portion), system.spec).numpy())


def variance(pixels: Pixels) -> float:
    """Mean over the numbers of a row of their variance over rows, unbiased: (N, H, W, C) uint8, N > 1, at SIDE."""
    height, width = pixels.shape[1:3]
    scale = max(1.0, max(height, width) / SIDE)
    small = nn.functional.adaptive_avg_pool2d(
        torch.from_numpy(pixels).permute(0, 3, 1, 2).float(), (max(1, int(height / scale)), max(1, int(width / scale)))
    )
    return float(small.var(0).mean())
