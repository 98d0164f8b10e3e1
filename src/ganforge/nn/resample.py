"""Blurring, doubling and halving by fixed binomial filters.

Zhang 2019, "Making Convolutional Networks Shift-Invariant Again", for the filters; Karras et al. 2020, "Analyzing and
Improving the Image Quality of StyleGAN", for their use. Edges are padded with zeros. The gradient of each function is
another one of them, so that they are differentiable any number of times without a slow transposed convolution."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


def blur(x: Tensor) -> Tensor:
    """(N, C, H, W) -> the same shape, each side filtered by [1, 2, 1] / 4."""
    y: Tensor = _Blur.apply(x)  # type: ignore[no-untyped-call]
    return y


def double(x: Tensor) -> Tensor:
    """(N, C, H, W) -> (N, C, 2H, 2W): zeros between the pixels, then each side filtered by [1, 3, 3, 1] / 4."""
    y: Tensor = _Double.apply(x)  # type: ignore[no-untyped-call]
    return y


def halve(x: Tensor) -> Tensor:
    """(N, C, 2H, 2W) -> (N, C, H, W): each side filtered by [1, 3, 3, 1] / 8, every second pixel kept."""
    y: Tensor = _Halve.apply(x)  # type: ignore[no-untyped-call]
    return y


def repeat(x: Tensor) -> Tensor:
    """(N, C, H, W) -> (N, C, 2H, 2W), each pixel four times."""
    return F.interpolate(x, scale_factor=2, mode="nearest")


def box(weight: Tensor) -> Tensor:
    """(..., 3, 3) -> (..., 4, 4), the kernel filtered by a box of 2x2 ones.

    A 3x3 convolution of a picture that `repeat` doubled, or one that is averaged over blocks of 2x2 afterwards, is one
    strided convolution with this kernel (for the latter a quarter of it)."""
    rows = F.pad(weight, (0, 0, 0, 1)) + F.pad(weight, (0, 0, 1, 0))
    return F.pad(rows, (0, 1)) + F.pad(rows, (1, 0))


class _Blur(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return _filter(x, (1, 2, 1), 1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return blur(grads[0])


class _Double(torch.autograd.Function):
    """[1, 3, 3, 1] is [1, 1] * [1, 2, 1], and zeros between the pixels filtered by [1, 1] are the pixels repeated."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return _filter(repeat(x), (1, 2, 1), 1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return 4 * halve(grads[0])


class _Halve(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return _filter(x, (1, 3, 3, 1), 2)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return double(grads[0]) / 4


def _filter(x: Tensor, taps: tuple[int, ...], stride: int) -> Tensor:
    """A convolution of each channel alone, by the outer product of `taps` with sum 1. Every weight is exact in bf16."""
    line = torch.tensor(taps, dtype=x.dtype, device=x.device) / sum(taps)
    kernel = torch.outer(line, line).expand(x.shape[1], 1, -1, -1).contiguous()
    with torch.autocast(x.device.type, enabled=False):
        x = x.contiguous(memory_format=torch.channels_last)
        return F.conv2d(x, kernel, None, stride, 1, groups=x.shape[1])
