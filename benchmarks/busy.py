"""Images a second of `gan` and `dcgan` alone and beside one busy process, by what OpenMP's threads do while they wait.

    python benchmarks/busy.py [--rounds 3] [--seconds 5]

Every turn is a process of its own, since libgomp reads its environment when torch is loaded; the ways take turns. Wants
a machine that is otherwise idle."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

WAYS: dict[str, dict[str, str]] = {
    "ganforge": {"LOOK": "1"},
    "threads spin as torch comes": {},
    "GOMP_SPINCOUNT=100000": {"GOMP_SPINCOUNT": "100000"},
    "GOMP_SPINCOUNT=10000": {"GOMP_SPINCOUNT": "10000"},
    "GOMP_SPINCOUNT=1000": {"GOMP_SPINCOUNT": "1000"},
    "OMP_WAIT_POLICY=passive": {"OMP_WAIT_POLICY": "passive"},
    "one thread": {"OMP_NUM_THREADS": "1"},
}
WARM = 3.0  # seconds before the clock starts, in which others are noticed
BATCH = 128


def turn(seconds: float) -> dict[str, float]:
    """What one process measures: images a second by system."""
    from ganforge.base.busy import Busy
    from ganforge.media.spec import Spec
    from ganforge.runs import RunFolder
    from ganforge.testing import make_store
    from ganforge.training.train import Trainer, plan

    found = {}
    with tempfile.TemporaryDirectory() as name:
        for system, spec in (("gan", Spec(28, 28, 1)), ("dcgan", Spec(32, 32, 3))):
            store = make_store(Path(name) / f"{system}-store", spec, 2000)
            run = RunFolder(Path(name) / system)
            loop = {"batch": BATCH, "images": 10**9, "precision": os.environ["PRECISION"]}
            run.begin(plan(system, store, run.path, "small", {"train": loop}))
            trainer = Trainer(run, store, "cpu")
            with Busy() as busy:
                for limit in (WARM, seconds):
                    images, start = 0, time.perf_counter()
                    while (spent := time.perf_counter() - start) < limit:
                        trainer.step()
                        images += BATCH
                        if "LOOK" in os.environ:
                            busy.look()
            found[system] = images / spent
    return found


@contextlib.contextmanager
def busy_process(wanted: bool) -> Iterator[None]:
    """One that computes beside what is measured, or none."""
    made = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(wanted)]
    try:
        yield
    finally:
        for one in made:
            one.kill()
            one.wait()


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--precision", default="fp32", choices=("fp32", "bf16"))
    parser.add_argument("--turn", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.turn:
        print(json.dumps(turn(asked.seconds)))
        return
    import common

    speeds: dict[str, list[float]] = {}
    for _ in range(asked.rounds):
        for beside in (False, True):
            for way, variables in WAYS.items():
                command = [sys.executable, __file__, "--turn", "--seconds", str(asked.seconds)]
                environment = {**os.environ, **variables, "PRECISION": asked.precision}
                with busy_process(beside):
                    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
                for system, speed in json.loads(done.stdout.splitlines()[-1]).items():
                    place = "beside one busy process" if beside else "alone"
                    speeds.setdefault(f"{system}, {place}, {way}", []).append(speed)
    medians = {name: round(statistics.median(found), 1) for name, found in sorted(speeds.items())}
    common.write("busy", {"precision": asked.precision, "rounds": asked.rounds, "images_per_second": medians})


if __name__ == "__main__":
    main()
