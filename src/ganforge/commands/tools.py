"""What there is: systems, layers, the machine; and the demo."""

from __future__ import annotations

import argparse

from ganforge import models
from ganforge.base import logs
from ganforge.base.errors import InputError, did_you_mean


def demo(asked: argparse.Namespace) -> None:
    """The whole way; numbers and the place of the report."""
    from ganforge.demonstration import MINUTES, demo

    minutes = MINUTES if asked.minutes is None else asked.minutes
    with logs.printed("ganforge.demonstration"), logs.printed("ganforge.training", "  "):
        run, numbers, untrained, page = demo(asked.out, minutes)
    print(numbers)
    print(f"untrained: {untrained.distance:.1f}, the same generator before training")
    print(f"\nReport: {page}\nMore pictures: ganforge sample {run.path} --count 100")


def systems(asked: argparse.Namespace) -> int:
    """One line a system. 2 where a file cannot be read."""
    broken = 0
    for name in models.names():
        try:
            print(models.describe(name))
        except InputError as error:
            print(error)
            broken = 2
    return broken


def doctor(asked: argparse.Namespace) -> None:
    """Versions, device, extras, formats."""
    from ganforge.doctor import lines

    print("\n".join(lines()))


def layers(asked: argparse.Namespace) -> None:
    """The cheat sheet, or one layer of it."""
    from ganforge.compose import catalogue

    if asked.name is None:
        lines = catalogue.sheet()
    elif row := catalogue.LAYERS.get(catalogue.ALSO.get(asked.name.lower(), asked.name.lower())):
        lines = catalogue.page(row)
    else:
        raise InputError(f"There is no layer {asked.name!r}.{did_you_mean(asked.name, catalogue.LAYERS)}")
    print("\n".join(lines))
