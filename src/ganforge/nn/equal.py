"""Layers with an equalised learning rate, pixel normalisation and the minibatch standard deviation.

Karras et al. 2018, "Progressive Growing of GANs for Improved Quality, Stability, and Variation", sections 3 and 4.
Weights are drawn from N(0, 1) and scaled by He's constant (He et al. 2015) when they are used, not when they are
initialised, so that the steps of Adam are equally large for all of them."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ganforge.nn.layers import down, up
from ganforge.nn.resample import blur, box

HE = math.sqrt(2)  # the gain of leaky ReLU, applied in the layer before it, where it costs nothing


class EqualLinear(nn.Module):
    """(N, I) -> (N, O). `gain`: standard deviation of the output for inputs of standard deviation 1; `lr`: factor of
    the learning rate."""

    def __init__(self, inputs: int, outputs: int, gain: float = HE, lr: float = 1.0, bias: float = 0.0) -> None:
        super().__init__()
        self.scale, self.lr = gain * lr / math.sqrt(inputs), lr
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / lr)
        self.bias = nn.Parameter(torch.full((outputs,), bias / lr))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight * self.scale, self.bias * self.lr)


class EqualConv(nn.Module):
    """Convolution 1x1 or 3x3 that keeps, doubles or halves the sides: (N, I, H, W) -> (N, O, H', W').

    `step` "up" enlarges by nearest neighbour before the convolution, "down" averages over blocks of 2x2 after it; each
    is computed as one strided convolution. With `smooth` the filter of that resampling is [1, 3, 3, 1], not [1, 1]."""

    def __init__(
        self, inputs: int, outputs: int, side: int = 3, step: str = "", smooth: bool = False, gain: float = HE
    ) -> None:
        super().__init__()
        self.scale, self.step, self.smooth = gain / math.sqrt(inputs * side**2), step, smooth
        self.weight = nn.Parameter(torch.randn(outputs, inputs, side, side))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor) -> Tensor:
        return convolve(x, self.weight * self.scale, self.bias, self.step, self.smooth)


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None, step: str = "", smooth: bool = False) -> Tensor:
    """The convolution of EqualConv for a weight (O, I, 3, 3) or (O, I, 1, 1) and a bias (O,)."""
    if step == "up":
        y = up(x, box(weight.flip(2, 3)).transpose(0, 1), None if smooth else bias)
        if not smooth:
            return y
        y = blur(y)
        return y if bias is None else y + bias.to(y.dtype)[:, None, None]
    if step == "down":
        return down(blur(x) if smooth else x, box(weight) / 4, bias)
    return F.conv2d(x, weight, bias, padding=weight.shape[2] // 2)


def activate(x: Tensor) -> Tensor:
    """Leaky ReLU with a slope of 0.2."""
    return F.leaky_relu(x, 0.2)


def pixel_norm(x: Tensor) -> Tensor:
    """Pixel normalisation (section 4.2): (N, C, ...) -> the same shape, the vector of each pixel with mean square 1."""
    return x * (x.square().mean(1, keepdim=True) + 1e-8).rsqrt()


def minibatch_stddev(x: Tensor, group: int = 4) -> Tensor:
    """Minibatch standard deviation (section 3): (N, C, H, W) -> (N, C+1, H, W).

    The new channel holds the standard deviation over the pictures of a group, averaged over channels and pixels.
    Picture n is in group n mod ceil(N / group): groups of `group` pictures where that divides N, else of nearly as
    many. Computed in float32 or better."""
    count, _, height, width = x.shape
    groups = -(-count // group)
    member = torch.arange(count, device=x.device) % groups
    with torch.autocast(x.device.type, enabled=False):
        flat = x.flatten(1).to(torch.promote_types(x.dtype, torch.float32))
        share = (member == torch.arange(groups, device=x.device)[:, None]).to(flat.dtype)
        share = share / share.sum(1, keepdim=True)
        centred = flat - (share @ flat)[member]
        deviation = (share @ centred.square() + 1e-8).sqrt().mean(1)[member]
    plane = deviation.to(x.dtype)[:, None, None, None].expand(-1, 1, height, width)
    return torch.cat([x, plane], 1).contiguous(memory_format=torch.channels_last)
