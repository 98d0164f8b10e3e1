"""Weights of one run as the beginning of another: fine-tuning, and another learning rate after a divergence."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ganforge import models
from ganforge.base import config
from ganforge.base.errors import RunError
from ganforge.media.spec import Spec
from ganforge.runs import RunFolder
from ganforge.store.store import Store
from ganforge.system import System

log = logging.getLogger(__name__)

NAMED = 4  # tensors that were not taken over and are named


def continued(source: RunFolder, system: str, store: Store) -> dict[str, Any]:
    """The settings that follow from beginning with the weights of `source` (`System.continued`). RunError where it is
    of another system, or its weights do not fit pictures of this shape."""
    if source.system_name != system:
        raise RunError(f"{source.path} is of {source.system_name}, and its weights do not fit {system}: train that.")
    loaded, spec = models.load(system), source.spec
    old: Any = config.build(loaded.config, source.section("model"), "model")
    settings = loaded.system.continued(old, spec, int(source.chosen().name), store.spec)
    if settings is None:
        doubled = Spec(2 * spec.height, 2 * spec.width, spec.channels, spec.classes, medium=spec.medium)
        grows = loaded.system.continued(old, spec, 0, doubled) is not None
        resolution = f"prepare the store with --resolution {spec.height}x{spec.width}"
        resolution += f", or twice that, {doubled.height}x{doubled.width}." if grows else "."
        alike = (spec.channels, spec.medium) == (store.spec.channels, store.spec.medium)
        raise RunError(
            f"{source.path} makes {spec}; {store.address} holds {store.spec}. Its weights fit rows of the same shape: "
            + (resolution if alike else "take another store.")
        )
    return settings


def take_over(source: RunFolder, system: System, average: System) -> None:
    """Copy the tensors of the checkpoint of `source` whose names and shapes are those of `system` and its `average`,
    and log how many; the others stay as they are. The vectors of a class are taken from the class of the same name.
    Learning begins with new moments of Adam. RunError where none fits."""
    tensors, _ = source.load()
    if system.classes and source.spec.classes != system.spec.classes:
        _by_class(system, source.spec.classes, tensors)
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


def _by_class(system: System, classes: tuple[str, ...], tensors: dict[str, Tensor]) -> None:
    """Bring the embeddings in `tensors`, of these `classes`, into the order of the system's own; a class without a
    namesake keeps the vector that it has in `system`. In place."""
    new = [name for name in system.spec.classes if name not in classes]
    log.info(f"classes by name; new are {', '.join(new[:NAMED]) or 'none'}" + ", …" * (len(new) > NAMED))
    ours = {at: classes.index(name) for at, name in enumerate(system.spec.classes) if name in classes}
    for path, module in system.named_modules():
        if not isinstance(module, nn.Embedding) or module.num_embeddings != len(system.spec.classes):
            continue
        (name,) = [f"{path}.{name}" for name, _ in module.named_parameters()]  # another with spectral normalisation
        own = system.get_parameter(name).detach()
        for key in (f"system.{name}", f"average.{name}"):
            if (old := tensors.get(key)) is not None and old.shape == (len(classes), *own.shape[1:]):
                rows = own.to(old).clone()
                rows[list(ours)] = old[list(ours.values())]
                tensors[key] = rows


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
