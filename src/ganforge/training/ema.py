"""The exponential moving average (EMA) of weights, which samples are generated with."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from ganforge.nn.schedules import Cosine
from ganforge.sampling import like_store, points, render
from ganforge.store.store import Store
from ganforge.system import System

MOST, LEAST, NUMBERS, BATCH = 1_024, 128, 1 << 21, 64  # of the samples that statistics are taken from


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


@torch.no_grad()
def renew_statistics(system: System, store: Store) -> None:
    """Set the means and variances of batch normalisation, in every layer that generating runs through, to those of
    samples, 1,024 small ones or 128 large ones, with classes as frequent as in the store, or its captions. The system
    is left in evaluation mode.

    The average of the statistics over training is not that of the averaged weights (Izmailov et al. 2018, "Averaging
    Weights Leads to Wider Optima and Better Generalization", section 3.2; the standing statistics of Brock et al. 2019,
    "Large Scale GAN Training for High Fidelity Natural Image Synthesis")."""
    layers = [layer for layer in system.eval().modules() if isinstance(layer, _BatchNorm)]
    if not layers or not system.generates:
        return
    before = [(layer.momentum, [buffer.clone() for buffer in layer.buffers()]) for layer in layers]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # a mean over all batches
        layer.train()
    count = max(LEAST, min(MOST, NUMBERS // system.spec.pixels))
    for start in range(0, count // BATCH * BATCH, BATCH):
        seeds = range(start, start + BATCH)
        render(system, points(system, seeds, **like_store(system, store, seeds)))
    for layer, (momentum, buffers) in zip(layers, before, strict=True):
        layer.momentum = momentum
        used = bool(layer.num_batches_tracked)
        for buffer, old in zip(layer.buffers(), buffers, strict=True):
            if not used or not buffer.is_floating_point():
                buffer.copy_(old)
    system.eval()
