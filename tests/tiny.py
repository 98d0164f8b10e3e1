"""Systems small enough for tests, with weights of a fixed seed; what the fixtures of `conftest.py` are made of."""

from __future__ import annotations

from typing import Any

import torch

from ganforge import models
from ganforge.media.spec import Spec
from ganforge.system import System

TINY = {"width": 8, "latent": 16}
TINY_OPTIONS = ["--model.width", "8", "--model.latent", "8", "--train.batch", "16"]
GREY = Spec(16, 16, 1)
TWO_CLASSES = Spec(8, 8, 1, ("a", "b"))
THREE_CLASSES = Spec(8, 8, 1, ("cat", "red, round", "3"))
FOUR_CLASSES = Spec(8, 8, 1, ("cat", "dog", "2", "T-shirt/top"))


def new(name: str, spec: Spec = GREY, **settings: Any) -> System:
    torch.manual_seed(0)
    loaded = models.load(name)
    system = loaded.system(loaded.config(**{**TINY, **settings}), spec)
    for part in system.modules():
        if isinstance(getattr(part, "strength", None), torch.nn.Parameter):
            torch.nn.init.constant_(part.strength, 0.3)  # so that noise is to be seen
    return system.requires_grad_(False)
