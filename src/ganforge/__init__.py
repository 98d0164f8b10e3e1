"""From a pile of pictures to an image generator that you can trust.

    import ganforge
    store = ganforge.prepare("my-pictures", resolution=64).store
    run = ganforge.train("dcgan", store, minutes=5)
    run.sample(seeds=range(16))
    print(run.measure())

Letters in shapes: N pictures in a batch, C channels, H height, W width, Z numbers in a latent, D features.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ganforge.version import __version__

if TYPE_CHECKING:
    from ganforge.api import Run, Store, audit, clean, collect, demo, measure, prepare, restore, sample, show, train

__all__ = [
    "Run",
    "Store",
    "__version__",
    "audit",
    "clean",
    "collect",
    "demo",
    "measure",
    "prepare",
    "restore",
    "sample",
    "show",
    "train",
]


def __getattr__(name: str) -> Any:
    """Names are fetched from `ganforge.api` when first used: importing the package alone does not import torch."""
    if name in __all__:
        return getattr(importlib.import_module("ganforge.api"), name)
    raise AttributeError(f"module 'ganforge' has no attribute {name!r}")
