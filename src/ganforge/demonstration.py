"""The whole way on real pictures in two minutes: collect, prepare, train, sample, measure, report."""

from __future__ import annotations

import logging
from pathlib import Path

from ganforge import report
from ganforge.base.errors import DataError, InputError
from ganforge.collecting.collect import collect
from ganforge.measuring.measure import Measured, measure, measure_system
from ganforge.preparing.prepare import prepare
from ganforge.runs import RunFolder
from ganforge.sampling import write
from ganforge.store.store import Store
from ganforge.training.train import train

log = logging.getLogger(__name__)

MINUTES = 1.1


def demo(out: Path, minutes: float = MINUTES) -> tuple[RunFolder, Measured, Measured, Path]:
    """Everything into the folder `out`. Returns the run, its numbers, an untrained generator's, and the report's
    path."""
    if not minutes > 0:
        raise InputError(f"{minutes:g} minutes of training are not to be had; say more than 0.")
    if out.exists() and (not out.is_dir() or (not (out / "digits").exists() and any(out.iterdir()))):
        raise DataError(f"{out} holds something else. Choose another path with --out.")
    log.info("collect   1,797 real handwritten digits, embedded in scikit-learn")
    originals = collect("digits", out / "digits")
    if not (out / "store").exists():
        prepared = prepare(originals, out / "store", resolution=16, heldout=0.2)
        log.info(f"prepare   {len(prepared.store):,} pictures of {prepared.store.spec}")
    store = Store(out / "store")
    log.info(f"train     cgan for {minutes:g} minutes")
    settings = {"train": {"minutes": minutes, "cooldown": 0.3}}
    run = train("cgan", store, out / "run", size="small", overrides=settings)
    sheet = write(run, range(10), out / "samples.png", as_grid=True, labels="all")[0]
    log.info(f"sample    {sheet}")
    log.info("measure   against the training pictures")
    numbers = measure(run, store, 2_000)
    untrained = measure_system(run.new_system(), store, 2_000)
    page = report.write(run, [("trained", numbers), ("untrained", untrained)], out / "report.html")
    return run, numbers, untrained, page
