"""The systems as a tutorial writes them: what the speed programs compare with."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def dense(sizes: list[int], norm: bool, last: nn.Module | None) -> nn.Sequential:
    """Dense layers with LeakyReLU 0.2 between them."""
    layers: list[nn.Module] = []
    for n, (a, b) in enumerate(pairwise(sizes)):
        layers.append(nn.Linear(a, b))
        if n < len(sizes) - 2:
            layers += [nn.BatchNorm1d(b)] if norm else []
            layers.append(nn.LeakyReLU(0.2))
    return nn.Sequential(*layers, *([last] if last else []))


def gan(data: Tensor, batch: int, bf16: bool = False) -> Callable[[], int]:
    """100-256-512-1024-pixels against pixels-1024-512-256-1, Adam 2e-4, one-sided label smoothing. data: (N,
    pixels)."""
    pixels = data.shape[1]
    generator = dense([100, 256, 512, 1024, pixels], True, nn.Tanh())
    discriminator = dense([pixels, 1024, 512, 256, 1], False, None)
    return _loop(generator, discriminator, data, (100,), batch, bf16, (2e-4, 0.5, 0.999))


def dcgan(data: Tensor, batch: int, bf16: bool = False, channels_last: bool = False) -> Callable[[], int]:
    """Widths 64-128-256 at 32x32, batch norm in both but for the edges. data: (N, C, 32, 32)."""
    channels = data.shape[1]

    def up(a: int, b: int) -> list[nn.Module]:
        return [nn.ConvTranspose2d(a, b, 4, 2, 1, bias=False), nn.BatchNorm2d(b), nn.ReLU()]

    def down(a: int, b: int) -> list[nn.Module]:
        return [nn.Conv2d(a, b, 4, 2, 1, bias=False), nn.BatchNorm2d(b), nn.LeakyReLU(0.2)]

    generator = nn.Sequential(
        nn.ConvTranspose2d(64, 256, 4, 1, 0, bias=False), nn.BatchNorm2d(256), nn.ReLU(),
        *up(256, 128), *up(128, 64), nn.ConvTranspose2d(64, channels, 4, 2, 1), nn.Tanh(),
    )  # fmt: skip
    discriminator = nn.Sequential(
        nn.Conv2d(channels, 64, 4, 2, 1), nn.LeakyReLU(0.2), *down(64, 128), *down(128, 256), nn.Conv2d(256, 1, 4),
        nn.Flatten(),
    )  # fmt: skip
    if channels_last:
        generator.to(memory_format=torch.channels_last)
        discriminator.to(memory_format=torch.channels_last)
        data = data.contiguous(memory_format=torch.channels_last)
    return _loop(generator, discriminator, data, (64, 1, 1), batch, bf16, (2e-4, 0.5, 0.999))


def _loop(
    generator: nn.Module, discriminator: nn.Module, data: Tensor, latent: tuple[int, ...], batch: int, bf16: bool,
    adam: tuple[float, float, float],
) -> Callable[[], int]:  # fmt: skip
    """The loop of the tutorials: fakes once a step, the discriminator on reals and on fakes, then the generator."""
    optimizers = [torch.optim.Adam(m.parameters(), adam[0], betas=adam[1:]) for m in (generator, discriminator)]
    cross_entropy = F.binary_cross_entropy_with_logits
    ones, zeros = torch.ones(batch, 1), torch.zeros(batch, 1)

    def autocast() -> torch.autocast | nullcontext[None]:
        return torch.autocast("cpu", torch.bfloat16) if bf16 else nullcontext()

    def step() -> int:
        for _ in range(4):
            real = data[torch.randint(0, len(data), (batch,))]
            with autocast():
                fake = generator(torch.randn(batch, *latent))
                loss = cross_entropy(discriminator(real).float(), 0.9 * ones)
                loss = loss + cross_entropy(discriminator(fake.detach()).float(), zeros)
            optimizers[1].zero_grad()
            loss.backward()
            optimizers[1].step()
            with autocast():
                loss = cross_entropy(discriminator(fake).float(), ones)
            optimizers[0].zero_grad()
            loss.backward()
            optimizers[0].step()
        return 4 * batch

    return step
