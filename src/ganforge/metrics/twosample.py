"""How well a small network tells samples from real pictures (Lopez-Paz and Oquab 2017, "Revisiting classifier
two-sample tests").

It needs no labels and no features. 50 % is perfect: nothing that the network can learn in its short time tells them
apart."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ganforge.base.images import Pixels
from ganforge.base.seeds import key, permuted
from ganforge.media.spec import to_float

STEPS = 240
BATCH = 64


class Network(nn.Module):
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
    """Learn from `real` and `fake`, (N, H, W, C) uint8 each, then judge `unseen` reals and `others` of the samples, (M,
    H, W, C) each.

    The mean of the two shares that are judged rightly; its standard error is about sqrt(1 / (8 M)) at 50 %.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(key(seed, "two samples"))
        network = Network(real.shape[-1], min(real.shape[1:3])).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(network.parameters(), lr=4e-3, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=STEPS, pct_start=0.2)
    target = torch.tensor([1.0] * BATCH + [0.0] * BATCH)
    for step in range(STEPS):
        images = torch.cat([_turn(one, step, seed, what) for what, one in (("real", real), ("fake", fake))])
        loss = F.binary_cross_entropy_with_logits(network(images), target)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
    network.eval()
    right = [float((_scores(network, one) > 0).float().mean()) for one in (unseen, others)]
    return (right[0] + 1 - right[1]) / 2


def _turn(pixels: Pixels, step: int, seed: int, what: str) -> Tensor:
    """The batch of a step: pass after pass through the set, each in a keyed order."""
    epoch, offset = divmod(step * BATCH, len(pixels))
    places = (offset + torch.arange(BATCH).numpy()) % len(pixels)
    return to_float(torch.from_numpy(pixels[permuted(seed, f"{what}/{epoch}", len(pixels), places)]))


@torch.no_grad()
def _scores(network: Network, pixels: Pixels) -> Tensor:
    parts = [network(to_float(torch.from_numpy(pixels[i : i + 256]))) for i in range(0, len(pixels), 256)]
    return torch.cat(parts)
