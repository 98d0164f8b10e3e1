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
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ganforge.api import Run, Store, audit, clean, collect, demo, measure, prepare, restore, sample, show, train

__version__ = "0.1.0"
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


class _Package(ModuleType):
    """Names are fetched from `ganforge.api` when first used. A verb's name means the function also after the import
    system has bound the module of that name here: for `import ganforge.train` use `from ganforge.train import ...`."""

    def __getattribute__(self, name: str) -> Any:
        if name in __all__ and name != "__version__":
            return getattr(importlib.import_module("ganforge.api"), name)
        return super().__getattribute__(name)


sys.modules[__name__].__class__ = _Package
