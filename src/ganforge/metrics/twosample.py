"""How well a small network tells samples from real pictures (Lopez-Paz and Oquab 2017, "Revisiting classifier
two-sample tests").

It needs no labels and no features. 50 % is perfect: nothing that the network can learn in its short time tells them
apart."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ganforge.base.images import Pixels
from ganforge.base.seeds import key, permuted
from ganforge.media.spec import to_float
from ganforge.metrics.metric import PICTURES, RealPictures, Row, Samples

STEPS = 240
BATCH = 64


def floor(real: RealPictures, size: int) -> list[float]:
    """Nothing has to be measured: real pictures are told from real ones by chance, in half of the cases."""
    return []


def rows(real: RealPictures, samples: Samples, size: int, floor: Sequence[float] | None) -> list[Row]:
    """How often samples are told from real pictures, with the standard error of that share.

    The network learns from training pictures and samples, equally many, and is tried on held-out pictures and other
    samples; so there is no number where nothing is held out."""
    share, error = (None, None) if floor is None else _told_apart(real, samples.pixels)
    return [
        Row(
            name="told_apart",
            title="told from real ones",
            says="how often a small network tells a sample from a real picture",
            value=share,
            spread=error,
            floor=0.5,
            better=0.5,
            keys=("told_apart", "told_apart_spread"),
            form=".1%",
            note="by a small network",
        )
    ]


def _told_apart(real: RealPictures, pixels: Pixels) -> tuple[float, float]:
    tried = min(len(real.heldout), len(pixels) // 2, PICTURES // 2)
    learned = real.train_pixels(min(2 * PICTURES, len(pixels) - tried))
    share = accuracy(learned, pixels[tried : tried + len(learned)], real.heldout_pixels(tried), pixels[:tried])
    return share, math.sqrt(max(share * (1 - share), 1e-4) / (2 * tried))


class TwoSampleNetwork(nn.Module):
    """(N, C, H, W) in [-1, 1] -> one score a picture, (N,); above 0 says real. It sees every pixel at its own size."""

    def __init__(self, channels: int, side: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before, width = channels, 16
        while side > 4:
            layers += [nn.Conv2d(before, width, 3, 2, 1, bias=False), nn.BatchNorm2d(width), nn.LeakyReLU(0.2)]
            before, width, side = width, min(64, 2 * width), (side + 1) // 2
        self.layers = nn.Sequential(*layers)
        self.score = nn.Linear(2 * before, 1)

    def forward(self, images: Tensor) -> Tensor:
        x = self.layers(images)
        pooled = torch.cat([x.mean((2, 3)), x.amax((2, 3))], 1)
        scores: Tensor = self.score(pooled)[:, 0]
        return scores


def accuracy(real: Pixels, fake: Pixels, unseen: Pixels, others: Pixels, seed: int = 0) -> float:
    """Learn from `real` and `fake`, (N, H, W, C) uint8 each, then classify `unseen` reals and `others` of the samples,
    (M, H, W, C) each.

    The mean of the two shares that are classified rightly; its standard error is about sqrt(1 / (8 M)) at 50 %.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(key(seed, "two samples"))
        network = TwoSampleNetwork(real.shape[-1], min(real.shape[1:3]))
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(network.parameters(), lr=4e-3, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=STEPS, pct_start=0.2)
    target = torch.tensor([1.0] * BATCH + [0.0] * BATCH)
    for step in range(STEPS):
        images = torch.cat([_turn(one, step, seed, kind) for kind, one in (("real", real), ("fake", fake))])
        loss = F.binary_cross_entropy_with_logits(network(images), target)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
    network.eval()
    right = [float((_scores(network, one) > 0).float().mean()) for one in (unseen, others)]
    return (right[0] + 1 - right[1]) / 2


def _turn(pixels: Pixels, step: int, seed: int, kind: str) -> Tensor:
    """The batch of a step: pass after pass through the set, each in a keyed order."""
    epoch, offset = divmod(step * BATCH, len(pixels))
    order = (offset + torch.arange(BATCH).numpy()) % len(pixels)
    return to_float(torch.from_numpy(pixels[permuted(seed, f"{kind}/{epoch}", len(pixels), order)]))


@torch.no_grad()
def _scores(network: TwoSampleNetwork, pixels: Pixels) -> Tensor:
    parts = [network(to_float(torch.from_numpy(pixels[i : i + 256]))) for i in range(0, len(pixels), 256)]
    return torch.cat(parts)
