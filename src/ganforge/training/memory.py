"""Networks that do not fit into memory: which size would."""

from __future__ import annotations

import contextlib
import gc
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from ganforge.base import device
from ganforge.base.errors import InputError, RunError, is_short
from ganforge.runs import RunFolder
from ganforge.store.store import Store
from ganforge.training.trainer import Trainer

Plan = Callable[[str], dict[str, dict[str, Any]]]


def one_step(run: RunFolder, store: Store, device_name: str, steps: int) -> None:
    """Build everything and train for one step, the one after `steps`."""
    trainer = Trainer(run, store, device_name)
    trainer.progress.seen = steps * trainer.settings.batch
    trainer.step()
    device.wait(trainer.device)


def too_large(
    settings: Mapping[str, Mapping[str, Any]], smaller: tuple[str, ...], plan: Plan, store: Store, name: str, late: int
) -> RunError:
    """The error of a run that needs more memory than there is. It names the first of the sizes in `smaller`, each
    planned by `plan`, of which a step at full size, after `late` steps, can be trained here."""
    needs = f"{settings['run']['system']} for pictures of {store.spec} with batches of {settings['train']['batch']}"
    for size in smaller:
        gc.collect()
        if torch.accelerator.is_available():
            torch.accelerator.empty_cache()  # type: ignore[no-untyped-call]
        with tempfile.TemporaryDirectory() as folder, contextlib.suppress(InputError):
            run = RunFolder(Path(folder) / "run")
            run.begin(plan(size))
            try:
                one_step(run, store, name, late)
            except (MemoryError, RuntimeError, RunError) as error:
                if not is_short(error):
                    raise
                continue
            return RunError(
                f"{needs} needs more memory than there is here. --size {size} fits; so may smaller batches."
            )
    return RunError(f"{needs} needs more memory than there is here. Take a smaller --train.batch, or smaller pictures.")
