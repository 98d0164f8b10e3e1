"""Differentiable augmentation of what the discriminator sees, reals and fakes alike.

Zhao et al. 2020, "Differentiable Augmentation for Data-Efficient GAN Training". Each picture draws its own numbers from
torch's generator, which the training loop seeds for every step.
"""

from __future__ import annotations

import torch
from torch import Tensor

KINDS = ("color", "translation", "cutout")


def diff_augment(images: Tensor, kinds: tuple[str, ...]) -> Tensor:
    """(N, C, H, W) -> the same shape, changed by each of `kinds` in turn."""
    for kind in kinds:
        images = {"color": color, "translation": translation, "cutout": cutout}[kind](images)
    return images


def color(images: Tensor) -> Tensor:
    """Brightness +-0.5, saturation x0 to x2 (three channels and more), contrast x0.5 to x1.5. Alpha is left alone."""
    alpha = images[:, 3:]
    x = images[:, :3]
    brightness, saturation, contrast = _uniform(x, 3).unbind(1)
    x = x + (brightness - 0.5)[:, None, None, None]
    if x.shape[1] == 3:
        grey = x.mean(1, keepdim=True)
        x = (x - grey) * (2 * saturation)[:, None, None, None] + grey
    mean = x.mean((1, 2, 3), keepdim=True)
    x = (x - mean) * (contrast + 0.5)[:, None, None, None] + mean
    return torch.cat([x, alpha], 1) if alpha.shape[1] else x


def translation(images: Tensor) -> Tensor:
    """A whole-pixel shift of up to an eighth of the side each way; what comes in repeats the edge."""
    _, _, height, width = images.shape
    reach_y, reach_x = max(1, height // 8), max(1, width // 8)
    draw = _uniform(images, 2)
    dy = (draw[:, 0] * (2 * reach_y + 1)).long() - reach_y
    dx = (draw[:, 1] * (2 * reach_x + 1)).long() - reach_x
    rows = (torch.arange(height, device=images.device)[None] + dy[:, None]).clamp(0, height - 1)
    columns = (torch.arange(width, device=images.device)[None] + dx[:, None]).clamp(0, width - 1)
    n = torch.arange(len(images), device=images.device)[:, None, None]
    return images.permute(0, 2, 3, 1)[n, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def cutout(images: Tensor) -> Tensor:
    """A window of half the sides, anywhere, set to zero (mid-grey)."""
    _, _, height, width = images.shape
    draw = _uniform(images, 2)
    top = (draw[:, 0, None] * (height + 1)).long() - height // 4
    left = (draw[:, 1, None] * (width + 1)).long() - width // 4
    y, x = torch.arange(height, device=images.device), torch.arange(width, device=images.device)
    inside_y = (y >= top) & (y < top + height // 2)
    inside_x = (x >= left) & (x < left + width // 2)
    hole = inside_y[:, :, None] & inside_x[:, None, :]
    return images * (~hole)[:, None].to(images.dtype)


def _uniform(images: Tensor, numbers: int) -> Tensor:
    return torch.rand(len(images), numbers, device=images.device)
