"""Weights of one run as the beginning of another: fine-tuning, and another learning rate after a divergence."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ganforge.base.errors import RunError
from ganforge.runs import RunFolder
from ganforge.store.store import Store
from ganforge.system import System

log = logging.getLogger(__name__)

NAMED = 4  # tensors that were not taken over and are named


def check(source: RunFolder, system: str, store: Store) -> None:
    """RunError where `source` is of another system, or its pictures have another shape."""
    if source.system_name != system:
        raise RunError(f"{source.path} is of {source.system_name}, and its weights do not fit {system}: train that.")
    theirs, ours = source.spec, store.spec
    if (theirs.height, theirs.width, theirs.channels) != (ours.height, ours.width, ours.channels) or (
        theirs.medium != ours.medium
    ):
        raise RunError(
            f"{source.path} makes {theirs}; {store.address} holds {ours}. Its weights fit rows of the same shape: "
            f"prepare the store with --resolution {theirs.height}x{theirs.width}."
        )


def take_over(source: RunFolder, system: System, average: System) -> None:
    """Copy the tensors of the checkpoint of `source` whose names and shapes are those of `system` and its `average`,
    and log how many; the others stay as they are. Learning begins with new moments of Adam. RunError where none
    fits."""
    tensors, _ = source.load()
    taken = _copy(system, tensors, "system.")
    for name in system.averaged:
        if not _copy(average.get_submodule(name), tensors, f"average.{name}."):
            _copy(average.get_submodule(name), tensors, f"system.{name}.")
    own = system.state_dict()
    if not taken:
        raise RunError(f"No tensor of {source.path} has the shape of one of the new run. Train with its settings.")
    numbers, all_numbers = (sum(own[name].numel() for name in names) for names in (taken, own))
    new = [name for name in own if name not in taken]
    rest = f"; new are {', '.join(new[:NAMED])}" + (f" and {len(new) - NAMED} more" if len(new) > NAMED else "")
    log.info(
        f"from {source.path} at {int(source.chosen().name):,} images: {numbers:,} of {all_numbers:,} numbers taken over"
        + (rest if new else "")
    )


@torch.no_grad()
def _copy(module: nn.Module, tensors: Mapping[str, Tensor], prefix: str) -> set[str]:
    """Copy what fits; the names, without the prefix."""
    taken = set()
    for name, own in module.state_dict().items():
        value = tensors.get(prefix + name)
        if value is not None and value.shape == own.shape and value.dtype == own.dtype:
            own.copy_(value)
            taken.add(name)
    return taken
