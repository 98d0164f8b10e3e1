"""How well a system translates held-out pictures into other classes: a row for the pictures as they are, for what it
makes of them, and for real ones of the wanted classes."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ganforge.base.errors import DataError
from ganforge.base.images import Pixels, enlarge, grid, name_rows, write_image
from ganforge.base.seeds import permuted
from ganforge.measuring.reference import Reference
from ganforge.measuring.restoration import BATCH, FEWEST, GIVEN, MOST, SHOWN, WANTED, Restoration, Scores
from ganforge.media.spec import to_float, to_uint8
from ganforge.metrics import frechet, label_accuracy
from ganforge.metrics.fidelity import psnr
from ganforge.store.store import Store
from ganforge.system import System

TRANSLATED = "translated"


@dataclass(frozen=True)
class Translation:
    """Held-out pictures of other classes (n, H, W, C) uint8, what a system makes of them, and as many held-out pictures
    of the wanted class."""

    label: int
    given: Pixels
    made: Pixels
    wanted: Pixels

    @property
    def rows(self) -> dict[str, Pixels]:
        """By the names of the table's rows."""
        return {GIVEN: self.given, TRANSLATED: self.made, WANTED: self.wanted}


@torch.no_grad()
def translated(system: System, pixels: Pixels, label: int) -> Pixels:
    """(N, H, W, C) uint8 in the class `label`. DataError where that is not finite."""
    restore: Any = system.restore
    device, parts = next(system.parameters()).device, []
    for start in range(0, len(pixels), BATCH):
        images = to_float(torch.from_numpy(pixels[start : start + BATCH]).to(device), system.spec)
        made = restore(images, labels=torch.full((len(images),), label, device=device))
        if not made.isfinite().all():
            raise DataError("The translated pictures hold numbers that are not finite: this run has diverged.")
        parts.append(to_uint8(made, system.spec).cpu().numpy())
    return np.concatenate(parts)


def of_learned(system: System, store: Store) -> Store:
    """The pictures of the classes that were learned. DataError where fewer than FEWEST of one are held out."""
    store = store.of_classes(system.learned)
    counts = {label: int((store.labels[store.heldout] == label).sum()) for label in system.learned}
    label = min(counts, key=counts.__getitem__)
    if counts[label] < FEWEST:
        raise DataError(
            f"{store.address} holds out {counts[label]} pictures of {store.spec.classes[label]!r}, and translating is "
            f"measured on at least {FEWEST} of each class. Prepare it with a larger --heldout."
        )
    return store


def translations(system: System, store: Store, most: int) -> Iterator[Translation]:
    """One for each class that was learned, of keyed choices, with at most `most` and MOST translated pictures in all,
    and at least FEWEST of a class. DataError as `of_learned`."""
    store = of_learned(system, store)
    labels, share = store.labels[store.heldout], max(FEWEST, min(most, MOST) // len(system.learned))
    for label in system.learned:
        own, others = store.heldout[labels == label], store.heldout[labels != label]
        count = min(share, len(own), len(others))
        chosen = [rows[permuted(0, f"translate/{label}", len(rows), np.arange(count))] for rows in (others, own)]
        given, wanted = (store.read(rows) for rows in chosen)
        yield Translation(label, given, translated(system, given, label), wanted)


def measure_translation(system: System, reference: Reference, most: int, sheet: Path | None = None) -> Restoration:
    """Translate held-out pictures into each class that was learned, and compare; `sheet` is where some are drawn.
    Distances are from the training pictures of the wanted class, the label is that class, and the consistency is the
    PSNR with the given picture; all are means over the classes. DataError as `translations`."""
    system.eval()
    train_labels = reference.store.labels[reference.store.train]
    numbers: dict[str, list[tuple[float, float, float | None]]] = defaultdict(list)
    kept: list[float] = []
    shown: list[tuple[str, Pixels]] = []
    count = 0
    for one in translations(system, reference.store, most):
        moments = frechet.moments(reference.train[torch.from_numpy(train_labels == one.label)])
        for name, pixels in one.rows.items():
            features = reference.extract([pixels])
            distance, spread = frechet.estimate(moments, features, len(features))
            accuracy = label_accuracy.accuracy(reference.extract, features, [one.label] * len(features))
            numbers[name].append((distance, spread, accuracy))
            into = "" if name == GIVEN else f": {system.spec.classes[one.label]}"
            shown.append((name + into, enlarge(pixels[:SHOWN])))
        kept.append(float(np.mean([psnr(made, given) for made, given in zip(one.made, one.given, strict=True)])))
        count += len(one.given)
    rows = {}
    for name, each in numbers.items():
        distances, spreads, accuracies = zip(*each, strict=True)
        rows[name] = Scores(
            psnr=None,
            ssim=None,
            hole_psnr=None,
            distance=float(np.mean(distances)),
            distance_spread=math.hypot(*spreads) / len(spreads),
            consistency=float(np.mean(kept)) if name == TRANSLATED else None,
            label_accuracy=None if None in accuracies else float(np.mean(accuracies)),
            saturation=None,
        )
    if sheet is not None:
        least, names = min(len(pixels) for _, pixels in shown), [name for name, _ in shown]
        drawn = name_rows(grid(np.concatenate([pixels[:least] for _, pixels in shown]), least), names)
        write_image(sheet, drawn, {"run": sheet.parent.name, "rows": names}, "restored")
    return Restoration(rows, count, "held-out pictures of other classes", (GIVEN,))
