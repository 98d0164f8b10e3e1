"""How good passages of text are: their numbers beside those of held-out passages, of counts, and of copies."""

from __future__ import annotations

import contextlib
import json
import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from ganforge.base import files
from ganforge.base.errors import InputError
from ganforge.base.images import Pixels, write_image
from ganforge.base.seeds import permuted
from ganforge.base.tables import read_json
from ganforge.measuring import ngrams
from ganforge.measuring.measured import Measured, Protocol, machine
from ganforge.measuring.ngrams import COMPARED, ORDER, RATE, NgramCounts
from ganforge.media.text import Text
from ganforge.metrics.metric import Row
from ganforge.store.store import Store

log = logging.getLogger(__name__)

PASSAGES = 1_000
"""Passages that are compared, at most: as many for samples as for their floors."""
FEWEST = 8
"""Held-out passages below which there are no floors."""
ORDERS = (3, 4, 5)
"""Of the counts that passages are drawn from, to be set beside the samples."""
COPIED, REPEATED = "copied", "repeated"
PAIRS = 8
VERSION = 1
LIMIT, HELD = "limit", "heldout"
_NUMBERS: dict[str, tuple[str, str, Literal["lower", "higher"], str]] = {
    "bits": ("bits a character", f"under the training passages' counts of order {ORDER}", "lower", ".2f"),
    "divergence": ("divergence", f"of {COMPARED}-grams from training passages', in bits, from 0 to 1", "lower", ".3f"),
    "distinct": (f"distinct {ngrams.REPEATED}-grams", "share of them that come once", "higher", ".3f"),
    "copies": ("copies", "share with more in common with a training passage than 99 % of held-out", "lower", ".1%"),
}
"""Name -> title, what it says, what is better, how it is printed."""


class TextReference:
    """A store's training passages, counted, and what the judge says of passages that nobody generated: held-out ones,
    some drawn from counts, copies, and one passage repeated."""

    def __init__(self, store: Store) -> None:
        medium = store.spec.medium
        assert isinstance(medium, Text)
        self.store, self.size = store, len(medium.alphabet)
        self.train = store.read(store.train)[:, 0, :, 0]
        held = store.heldout[permuted(0, "measure", len(store.heldout), np.arange(min(PASSAGES, len(store.heldout))))]
        self.heldout = store.read(held)[:, 0, :, 0]
        self.counts = NgramCounts(self.train, self.size)
        self.grams = ngrams.counted(self.train, COMPARED, self.size)

    @property
    def has_floors(self) -> bool:
        """Whether enough passages are held out."""
        return len(self.heldout) >= FEWEST

    def compared(self, samples: int) -> int:
        """How many passages are compared where so many samples are wanted."""
        return min(samples, PASSAGES, *([len(self.heldout)] if self.has_floors else []))

    def judged(self, rows: Pixels, limit: float | None) -> list[float | None]:
        """Bits a character, divergence and distinctness of passages (N, T) uint8, and the share of them that have more
        than `limit` characters in common with a training passage; None without a limit."""
        longest = None if limit is None else ngrams.longest_common(rows, self.train)
        return [
            self.counts.bits(rows),
            ngrams.divergence(ngrams.counted(rows, COMPARED, self.size), self.grams),
            ngrams.distinct(rows),
            None if longest is None or limit is None else float((longest > limit).mean()),
        ]

    def others(self, size: int) -> dict[str, list[float | None]]:
        """The numbers of `size` passages that nobody generated, by what they are, measured once and kept in the store;
        `heldout` and `limit` where there are floors."""
        name = f"passages{self.store.fold_suffix}-{size}-{self.store.root[:16]}-v{VERSION}.json"
        path = self.store.path / "features" / name
        if files.intact(path):
            kept: dict[str, list[float | None]] = read_json(path.read_text("utf-8"))
            return kept
        log.info("measuring held-out passages, counts and copies, to set beside the samples; once")
        others: dict[str, list[float | None]] = {}
        limit = None
        if self.has_floors:
            limit = float(np.quantile(ngrams.longest_common(self.heldout, self.train), 1 - RATE, method="higher"))
            others |= {LIMIT: [limit], HELD: self.judged(self.heldout[:size], limit)}
        width = self.train.shape[1]
        for order in ORDERS:
            others[f"counts_{order}"] = self.judged(self.counts.drawn(size, width, order), limit)
        chosen = self.train[permuted(0, "measure", len(self.train), np.arange(min(size, len(self.train))))]
        others[COPIED] = self.judged(chosen, limit)
        others[REPEATED] = self.judged(np.repeat(chosen[:1], size, 0), limit)
        with contextlib.suppress(OSError):  # a store that cannot be written keeps nothing
            path.parent.mkdir(exist_ok=True)
            with files.sealed_file(path) as partial:
                partial.write_text(json.dumps(others), "utf-8")
        return others


def check_samples(samples: int) -> None:
    """InputError for fewer samples than can be judged."""
    if samples < FEWEST:
        raise InputError(f"samples is {samples:,}; of passages at least {FEWEST} are judged, and {PASSAGES:,} at most.")


def measured(
    reference: TextReference, rows: Pixels, made_by: str, started: float, sheet: Path | None, seeds: Sequence[int] = ()
) -> Measured:
    """All rows of passages (N, 1, T, 1) uint8, with the most copied ones on `sheet`, each beside the training passage
    it has most in common with."""
    log.info("comparing")
    size, store = len(rows), reference.store
    others = reference.others(size)
    limit = others[LIMIT][0] if LIMIT in others else None
    flat = rows[:, 0, :, 0]
    numbers, floors = reference.judged(flat, limit), others.get(HELD, [None] * len(_NUMBERS))
    shown = {f"counts of order {order}": others[f"counts_{order}"] for order in ORDERS}
    shown |= {COPIED: others[COPIED], REPEATED: others[REPEATED]}
    table: list[Row] = []
    for n, (name, (title, says, better, form)) in enumerate(_NUMBERS.items()):
        row = Row(
            name=name,
            title=title,
            says=says,
            value=numbers[n],
            floor=floors[n],
            better=better,
            keys=(name, None, f"{name}_floor"),
            form=form,
            conclusion=_conclusion(numbers[n], floors[n]) if name == "bits" else "",
        )
        named = ", ".join(f"{kind} {row.text(values[n])}" for kind, values in shown.items() if values[n] is not None)
        table.append(replace(row, note=named))
        table += [
            Row(name=f"{name}_of_{kind}", title="", says=says, value=values[n], better=better)
            for kind, values in others.items()
            if kind not in (LIMIT, HELD)
        ]
    if sheet is not None and len(seeds):
        _write_sheet(reference, rows, sheet, seeds)
    protocol = Protocol(
        scales=(), compared=size, samples=size, train=len(reference.train), heldout=len(store.heldout),
        extractor="", accuracy=None, made_by=made_by, store=store.root[:16],
        resize=str(store.manifest["recipe"].get("resize", "none")), machine=machine(torch.device("cpu")),
        seconds=round(time.perf_counter() - started, 2),
    )  # fmt: skip
    return Measured(tuple(table), protocol)


def _conclusion(bits: float | None, floor: float | None) -> str:
    if bits is None or floor is None:
        return ""
    return f"{bits:.2f} bits a character; held-out passages have {floor:.2f}."


def _write_sheet(reference: TextReference, rows: Pixels, path: Path, seeds: Sequence[int]) -> None:
    """The samples that have most in common with training passages, each beside the one that shares most of its
    8-grams."""
    longest = ngrams.longest_common(rows[:, 0, :, 0], reference.train)
    worst = np.argsort(-longest, kind="stable")[:PAIRS]
    beside = [reference.train[ngrams.nearest(rows[n, 0, :, 0], reference.train)][None, :, None] for n in worst.tolist()]
    pixels = np.stack([rows[worst], np.stack(beside)], 1).reshape(-1, *rows.shape[1:])
    facts = {"run": path.parent.name, "seeds": [seeds[n] for n in worst.tolist()], "beside": reference.store.name}
    write_image(path, reference.store.spec.sheet(pixels, 2), facts)
