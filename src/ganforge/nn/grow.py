"""Progressive growing: the schedule of resolutions, and a discriminator that grows with the generator.

Karras et al. 2018, "Progressive Growing of GANs for Improved Quality, Stability, and Variation", section 2 and appendix
A. Stage 0 is the base grid; each later stage doubles its sides, fades in over `images` pictures and is then trained for
as many more."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

from ganforge.nn.equal import EqualConv, EqualLinear, activate, minibatch_stddev
from ganforge.nn.resample import repeat


def stage_at(seen: int, images: int, doublings: int, first: int = 0) -> tuple[int, float]:
    """(stage, alpha) after `seen` pictures; alpha rises from 0 to 1 while the stage fades in. Training begins with
    stage `first`; with `images` 0, with the last one."""
    if not images:
        return doublings, 1.0
    position = seen / images + 2 * first
    stage = min(doublings, int((position + 1) // 2))
    return stage, min(1.0, position - (2 * stage - 1)) if stage else 1.0


def grown_after(images: int, doublings: int, first: int = 0) -> int:
    """Pictures after which the last stage has faded in; 0 where `images` is 0."""
    return 2 * max(0, doublings - first) * images


def fade(low: Tensor, high: Tensor, alpha: float) -> Tensor:
    """(1 - alpha) low + alpha high."""
    return low.lerp(high, alpha)


def shrink(images: Tensor, doublings: int) -> Tensor:
    """(N, C, H, W) -> (N, C, H', W'), sides divided by 2^doublings by averaging."""
    return F.avg_pool2d(images, 2**doublings) if doublings else images


def reals_at(images: Tensor, stage: int, alpha: float, doublings: int) -> Tensor:
    """Real images (N, C, H, W) of the whole grid -> (N, C, H', W'), as the discriminator sees them at this stage: at
    its resolution and, while it fades in, blended with the resolution below."""
    images = shrink(images, doublings - stage)
    return images if alpha == 1 else fade(repeat(shrink(images, 1)), images, alpha)


class GrowingDiscriminator(nn.Module):
    """Images (N, C, H', W') of a stage -> scores (N,) float32.

    `widths` are the channels by stage; `smooth` halves by the filter [1, 3, 3, 1] instead of averaging."""

    def __init__(self, widths: list[int], grid: tuple[int, int], channels: int, smooth: bool = False) -> None:
        super().__init__()
        self.from_rgb = nn.ModuleList(EqualConv(channels, width, 1) for width in widths)
        self.blocks = nn.ModuleList(
            nn.ModuleList([EqualConv(above, above), EqualConv(above, below, step="down", smooth=smooth)])
            for below, above in pairwise(widths)
        )
        self.last = EqualConv(widths[0] + 1, widths[0])
        self.dense = EqualLinear(widths[0] * grid[0] * grid[1], widths[0])
        self.score = EqualLinear(widths[0], 1, gain=1.0)

    def forward(self, images: Tensor, stage: int, alpha: float = 1.0) -> Tensor:
        x = activate(self.from_rgb[stage](images))
        for n in range(stage, 0, -1):
            for layer in self.blocks[n - 1].children():
                x = activate(layer(x))
            if n == stage and alpha < 1:
                x = fade(activate(self.from_rgb[n - 1](shrink(images, 1))).to(x.dtype), x, alpha)
        x = activate(self.last(minibatch_stddev(x)))
        x = activate(self.dense(x.permute(0, 2, 3, 1).flatten(1)))
        scores: Tensor = self.score(x)[:, 0]
        return scores.float()


def enlarge_to(images: Tensor, doublings: int) -> Tensor:
    """(N, C, H, W) -> (N, C, H', W'), each pixel repeated 2^doublings times along each side."""
    for _ in range(doublings):
        images = repeat(images)
    return images
