"""How often a step along a direction by label changes the judge's class to the wanted one.

    python benchmarks/directions.py RUN... [--samples 128]

Counted are samples of other seeds than the directions were found with, and which the judge saw in another class
before. Two variants beside the directions as they are: sklearn's own strength of the penalty (C = 1), and the nearest
orthonormal set (Löwdin 1950), which bends directions of classes that are alike away from each other."""

from __future__ import annotations

import argparse
from dataclasses import replace

import numpy as np
import torch

import common
from ganforge.latent import directions as module
from ganforge.latent.directions import JUDGED, Directions, directions
from ganforge.measuring.reference import extractor
from ganforge.runs import RunFolder
from ganforge.sampling import pictures
from ganforge.store.store import Store

STEPS = (2.0, 3.0)
FIRST = 1_000_000  # seed


def orthonormal(made: Directions) -> Directions:
    """The nearest orthonormal set."""
    left, _, right = torch.linalg.svd(made.vectors, full_matrices=False)
    return replace(made, vectors=left @ right)


def main() -> None:
    """Shares of changed classes, as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+")
    parser.add_argument("--samples", type=int, default=128)
    args = parser.parse_args()
    results = {}
    for path in args.runs:
        run = RunFolder(path)
        system, extract = run.build("cpu"), extractor(Store(run.own_store()))
        seeds = range(max(FIRST, JUDGED), max(FIRST, JUDGED) + args.samples)

        def named(shift=None, system=system, extract=extract, seeds=seeds):
            return extract.classify(extract(pictures(system, seeds, shift=shift))).numpy()

        def judge(part, extract=extract):
            return extract.classify(extract([part]))

        before = named()
        made = directions(system, "label", classify=judge)
        module.STRENGTH, usual = 1.0, module.STRENGTH
        weak = directions(system, "label", classify=judge)
        module.STRENGTH = usual
        rows = {}
        for variant, some in {"as it is": made, "C = 1": weak, "orthonormal": orthonormal(made)}.items():
            for step in STEPS:
                shares = {}
                for name in some.names:
                    wanted = system.spec.classes.index(name)
                    others = before != wanted
                    shares[name] = float((named(some.shift({name: step}))[others] == wanted).mean())
                rows[f"{variant}, +{step:g}"] = {"mean": float(np.mean(list(shares.values()))), **shares}
        facts = {"images": int(run.chosen().name), "judge": extract.name, "accuracy of the judge": extract.accuracy}
        results[f"{run.system_name} on {Store(run.own_store()).name}"] = {**facts, **rows}
    common.write("directions", {"samples": args.samples, "share of changed classes": results})


if __name__ == "__main__":
    main()
