"""The sheet of a report: pictures of the same seeds every time, so that a reader sees what training changes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ganforge.base.images import Pixels, name_rows
from ganforge.sampling import crossed, examples, marked, pictures
from ganforge.store.store import Store
from ganforge.system import System

SEEDS = range(64)
CLASSES = 16  # rows of a sheet that has one a class
EXAMPLES = 32  # pictures on the sheet of a system that does not generate


@dataclass(frozen=True)
class Sheet:
    """`samples` (N, H, W, C) uint8 as rows of the store, the `labels` they were made for (N,) or None, the `sheet` as
    a picture (H', W', 1 to 4) uint8, and what goes into its `mark`."""

    sheet: Pixels
    samples: Pixels
    labels: list[int] | None = None
    mark: dict[str, Any] = field(default_factory=dict)


def draw(system: System, store: Store) -> Sheet:
    """64 samples, or eight of each of the first 16 classes, or of 8 captions, in a row; of a system that does not
    generate, examples of the same pictures, held-out ones where there are enough."""
    if not system.generates:
        store = store.of_classes(system.learned)
        rows = store.heldout if len(store.heldout) >= EXAMPLES else store.train
        originals = store.read(rows[:EXAMPLES])
        shown = examples(system, originals)
        return Sheet(store.spec.sheet(shown, 4 * len(shown) // len(originals)), shown)
    classes = list(range(min(system.classes, CLASSES)))
    seeds, labels = crossed(SEEDS[:8], classes) if classes else (SEEDS, None)
    names, captions = list(store.spec.classes[: len(classes)]), None
    if system.captioned and store.spec.captions:
        names = list(store.spec.captions.examples[:8])
        captions = np.stack([store.spec.captions.row(text) for text in names]).astype(np.int64).repeat(8, 0)
        seeds = list(SEEDS[:8]) * len(names)
    shown = np.concatenate(list(pictures(system, seeds, labels, captions=captions)))
    sheet = store.spec.sheet(shown, 8 if names else None)
    if names:
        sheet = name_rows(sheet, names)
    return Sheet(sheet, shown, labels, {"seeds": list(seeds)} | marked(store.spec, labels))
