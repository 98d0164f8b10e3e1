"""The exponential moving average (EMA) of weights, which samples are generated with."""

from __future__ import annotations

import torch
from torch import nn

from ganforge.nn.schedules import Cosine


@torch.no_grad()
def update(average: nn.Module, module: nn.Module, keep: float) -> None:
    """average <- keep * average + (1 - keep) * module, for weights and floating buffers; other buffers are copied."""
    pairs = list(
        zip([*average.parameters(), *average.buffers()], [*module.parameters(), *module.buffers()], strict=True)
    )
    floats = [(a, b) for a, b in pairs if a.is_floating_point()]
    torch._foreach_lerp_([a for a, _ in floats], [b for _, b in floats], 1 - keep)
    for a, b in pairs:
        if not a.is_floating_point():
            a.copy_(b)


def half_life(images: int, ramp: float, span: int, seen: int) -> float:
    """Half-life of the average after `seen` images, in images.

    It grows to `images`: over `span` images along a cosine, or, where that is 0, as `ramp` times the images seen (as
    `ema_rampup` in the code of Karras et al. 2020, "Training Generative Adversarial Networks with Limited Data")."""
    return Cosine(0.0, images, span).at(seen) if span else min(images, ramp * seen)


def keep(half_life: float, batch: int) -> float:
    """Decay of the average over a step of `batch` images: 0.5^(batch / half_life), 0 to 1."""
    return float(0.5 ** (batch / half_life)) if half_life > 0 else 0.0
