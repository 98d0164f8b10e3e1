"""The verbs systems, layers, doctor and demo."""

from __future__ import annotations

import argparse

from ganforge import models
from ganforge.base import logs
from ganforge.base.errors import InputError, did_you_mean


def demo(args: argparse.Namespace) -> None:
    """The whole way; prints the numbers and the path of the report."""
    from ganforge.demonstration import MINUTES, demo

    minutes = MINUTES if args.minutes is None else args.minutes
    with logs.printed("ganforge.demonstration"), logs.printed("ganforge.training", "  "):
        run, numbers, untrained, page = demo(args.out, minutes)
    print(numbers)
    print(f"untrained: {untrained.distance:.1f}, the same generator before training")
    print(f"\nReport: {page}\nMore pictures: ganforge sample {run.path} --count 100")


def systems(args: argparse.Namespace) -> int:
    """One line a system. 2 where a file cannot be read."""
    broken = 0
    for name in models.names():
        try:
            print(models.describe(name))
        except InputError as error:
            print(error)
            broken = 2
    return broken


def doctor(args: argparse.Namespace) -> None:
    """Versions, device, extras, formats."""
    from ganforge.doctor import lines

    print("\n".join(lines()))


def layers(args: argparse.Namespace) -> None:
    """The cheat sheet, or one layer of it."""
    from ganforge.compose import catalogue

    if args.name is None:
        lines = catalogue.sheet()
    elif row := catalogue.LAYERS.get(catalogue.ALSO.get(args.name.lower(), args.name.lower())):
        lines = catalogue.page(row)
    else:
        raise InputError(f"There is no layer {args.name!r}.{did_you_mean(args.name, catalogue.LAYERS)}")
    print("\n".join(lines))
