"""The exponential moving average (EMA) of weights, which samples are generated with."""

from __future__ import annotations

import torch
from torch import nn


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


def keep(half_life: float, ramp: float, seen: int, batch: int) -> float:
    """Decay of the average over a step of `batch` images: 0.5^(batch / half_life), 0 to 1.

    The half-life is in images, at most `ramp` times those seen (as `ema_rampup` in the code of Karras et al. 2020,
    "Training Generative Adversarial Networks with Limited Data")."""
    half_life = min(half_life, ramp * seen)
    return float(0.5 ** (batch / half_life)) if half_life > 0 else 0.0
