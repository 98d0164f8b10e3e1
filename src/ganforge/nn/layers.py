"""Convolutions with faster first and second derivatives; conditional batch and spectral normalisation."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrize import register_parametrization

M = TypeVar("M", bound=nn.Module)

_UNFOLD_BYTES = 4 << 20
_THIN = 4  # up to this many channels, a matrix product over blocks of pixels is faster


class Down(nn.Conv2d):
    """Convolution 4x4 with stride 2 and padding 1: (N, C, H, W) -> (N, out, ceil(H/2), ceil(W/2))."""

    def __init__(self, channels: int, out: int, bias: bool = True) -> None:
        super().__init__(channels, out, 4, 2, 1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        if height % 2 or width % 2:
            x = F.pad(x, (0, width % 2, 0, height % 2))
        return down(x, self.weight, self.bias)


class Up(nn.ConvTranspose2d):
    """Transposed convolution 4x4 with stride 2 and padding 1: (N, C, H, W) -> (N, out, 2H, 2W)."""

    def __init__(self, channels: int, out: int, bias: bool = True) -> None:
        super().__init__(channels, out, 4, 2, 1, bias=bias)

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        return up(x, self.weight, self.bias)


class Same(nn.Conv2d):
    """Convolution that keeps the sides: (N, C, H, W) -> (N, out, H, W). `side` of the kernel is odd."""

    def __init__(self, channels: int, out: int, side: int = 3, groups: int = 1, bias: bool = True) -> None:
        super().__init__(channels, out, side, padding=side // 2, groups=groups, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return same(x, self.weight, self.bias, self.groups)


class _Pass(threading.local):
    """The purpose of a backward pass. One a thread, so that two trainings do not disturb each other."""

    only_inputs = False


_pass = _Pass()


@contextmanager
def only_inputs() -> Iterator[None]:
    """Inside this context, backward passes of this thread do not compute the weight gradients of these convolutions.

    When only gradients with respect to inputs are needed, torch spares its own layers the weight gradients, but not a
    custom function (Karras et al. 2021 have the same switch). On an accelerator the backward pass runs in another
    thread, which computes them for nothing."""
    _pass.only_inputs = True
    try:
        yield
    finally:
        _pass.only_inputs = False


def same(x: Tensor, weight: Tensor, bias: Tensor | None, groups: int = 1) -> Tensor:
    """`conv2d(x, weight, bias, padding=side // 2, groups=groups)` for an odd side, differentiable any number of times.

    In torch, the second derivative with respect to the weight is one convolution for each group, with a kernel as large
    as the picture; here the first derivative with respect to `x` is again `same`, whose gradients are fast."""
    y: Tensor = _Same.apply(*_cast(x, weight, bias), groups)  # type: ignore[no-untyped-call]
    return y


def down(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """`conv2d(x, weight, bias, stride=2, padding=1)` for a 4x4 kernel and even sides, equal to rounding, differentiable
    twice."""
    x, weight, bias = _cast(x, weight, bias)
    if x.device.type != "cpu":
        return F.conv2d(x, weight, bias, 2, 1)
    if x.shape[1] <= _THIN:
        return _thin_down(x, weight, bias)
    y: Tensor = _Down.apply(x, weight, bias)  # type: ignore[no-untyped-call]
    return y


def up(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """`conv_transpose2d(x, weight, bias, stride=2, padding=1)` for a 4x4 kernel, likewise."""
    x, weight, bias = _cast(x, weight, bias)
    if x.device.type != "cpu":
        return F.conv_transpose2d(x, weight, bias, 2, 1)
    if weight.shape[1] <= _THIN:
        return _thin_up(x, weight, bias)
    y: Tensor = _Up.apply(x, weight, bias)  # type: ignore[no-untyped-call]
    return y


def _thin_down(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """`down` for few channels in: blocks of 2x2 pixels, then one matrix product over 2x2 blocks."""
    blocks = F.pixel_unshuffle(F.pad(x, (1, 1, 1, 1)), 2).permute(0, 2, 3, 1)  # (N, H/2+1, W/2+1, C a b)
    windows = torch.cat([blocks[:, :-1, :-1], blocks[:, :-1, 1:], blocks[:, 1:, :-1], blocks[:, 1:, 1:]], 3)
    parts = weight.unflatten(3, (2, 2)).unflatten(2, (2, 2))  # (O, C, i, a, j, b): the kernel's row is 2i + a
    return F.linear(windows, parts.permute(0, 2, 4, 1, 3, 5).flatten(1), bias).permute(0, 3, 1, 2)


def _thin_up(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """`up` for few channels out: the same, backwards; overlapping blocks add up."""
    parts = weight.unflatten(3, (2, 2)).unflatten(2, (2, 2))  # (I, C, i, a, j, b)
    columns = F.linear(x.permute(0, 2, 3, 1), parts.permute(2, 4, 1, 3, 5, 0).flatten(0, 4))
    corners = zip(columns.chunk(4, 3), ((0, 1, 0, 1), (1, 0, 0, 1), (0, 1, 1, 0), (1, 0, 1, 0)), strict=True)
    blocks = sum(F.pad(corner, (0, 0, *sides)) for corner, sides in corners)
    assert isinstance(blocks, Tensor)
    y = F.pixel_shuffle(blocks.permute(0, 3, 1, 2), 2)[:, :, 1:-1, 1:-1]
    return y if bias is None else y + bias[:, None, None]


def _cast(x: Tensor, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
    """What autocast does for torch's own convolutions."""
    if not torch.is_autocast_enabled(x.device.type):
        return x, weight, bias
    dtype = torch.get_autocast_dtype(x.device.type)
    return x.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype)


def leaky(x: Tensor) -> Tensor:
    """`leaky_relu(x, 0.2)`, any shape. In a second derivative torch sends zeros back to x, through all layers before
    it; this sends nothing."""
    y: Tensor = _Leaky.apply(x)  # type: ignore[no-untyped-call]
    return y


class Leaky(nn.Module):
    """`leaky` as a layer."""

    def forward(self, x: Tensor) -> Tensor:
        return leaky(x)


class _Leaky(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return F.leaky_relu(x, 0.2)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        gradient: Tensor = torch.ops.aten.leaky_relu_backward(grads[0], ctx.saved_tensors[0].detach(), 0.2, False)
        return gradient


class _Same(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, groups: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.groups = groups
        return F.conv2d(x, weight, bias, padding=weight.shape[2] // 2, groups=groups)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
        (x, weight), groups = ctx.saved_tensors, ctx.groups
        grad = grads[0].contiguous(memory_format=torch.channels_last)
        for_x = for_weight = for_bias = None
        by_x, by_weight, by_bias = (
            needed and not (_pass.only_inputs and n) for n, needed in enumerate(ctx.needs_input_grad[:3])
        )
        if by_x and torch.is_grad_enabled():
            turned = weight.unflatten(0, (groups, -1)).transpose(1, 2).flatten(0, 1).flip(2, 3)
            for_x, by_x = same(grad, turned, None, groups), False
        if by_x or by_weight or by_bias:
            padding, needed = [weight.shape[2] // 2] * 2, [by_x, by_weight, by_bias]
            gradient, for_weight, for_bias = torch.ops.aten.convolution_backward(
                grad, x, weight, [len(weight)], [1, 1], padding, [1, 1], False, [0, 0], groups, needed
            )
            for_x = gradient if by_x else for_x
        return for_x, for_weight, for_bias, None


class _Down(torch.autograd.Function):
    """A strided convolution whose weight gradient is computed by the method that is faster in its precision; both
    methods are differentiable."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return F.conv2d(x, weight, bias, 2, 1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        grad = grads[0].contiguous(memory_format=torch.channels_last)
        for_x = up(grad, weight, None) if ctx.needs_input_grad[0] else None
        if _pass.only_inputs:
            return for_x, None, None
        for_weight = _by_weight(x, grad, weight) if ctx.needs_input_grad[1] else None
        return for_x, for_weight, grad.sum((0, 2, 3)) if ctx.needs_input_grad[2] else None


class _Up(torch.autograd.Function):
    """The transpose of `_Down`: the same with input and gradient exchanged."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return F.conv_transpose2d(x, weight, bias, 2, 1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        grad = grads[0].contiguous(memory_format=torch.channels_last)
        for_x = down(grad, weight, None) if ctx.needs_input_grad[0] else None
        if _pass.only_inputs:
            return for_x, None, None
        for_weight = _by_weight(grad, x, weight) if ctx.needs_input_grad[1] else None
        return for_x, for_weight, grad.sum((0, 2, 3)) if ctx.needs_input_grad[2] else None


def _by_weight(large: Tensor, small: Tensor, weight: Tensor) -> Tensor:
    """The weight gradient, the sum over pictures and pixels of the vectors of `small` times the 4x4 windows of `large`:
    (N, L, 2H, 2W), (N, S, H, W) -> (S, L, 4, 4).

    In bf16 oneDNN reaches a third of the matrix peak, and the product over windows is up to twice as fast; in fp32
    oneDNN takes half the time."""
    if large.dtype == torch.bfloat16:
        return _windows(large, small)
    needed = [False, True, False]
    return torch.ops.aten.convolution_backward(  # type: ignore[no-any-return]
        small, large, weight, None, [2, 2], [1, 1], [1, 1], False, [0, 0], 1, needed
    )[1]


def _windows(large: Tensor, small: Tensor) -> Tensor:
    """The same as one matrix product over unfolded windows, in slices of pictures that fit into the cache."""
    padded = F.pad(large.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1))
    small = small.permute(0, 2, 3, 1)
    window_bytes = small.numel() // small.shape[3] * large.shape[1] * 16 * large.element_size()
    slices = max(1, -(-window_bytes // _UNFOLD_BYTES))
    total: Tensor | None = None
    for block, vectors in zip(padded.chunk(slices), small.chunk(slices), strict=True):
        windows = block.unfold(1, 4, 2).unfold(2, 4, 2).permute(0, 1, 2, 4, 5, 3)  # (n, H, W, 4, 4, L)
        part = vectors.reshape(-1, vectors.shape[3]).T.contiguous() @ windows.reshape(-1, 16 * large.shape[1])
        total = part if total is None else total + part
    assert total is not None
    return total.view(-1, 4, 4, large.shape[1]).permute(0, 3, 1, 2)


class ConditionalBatchNorm(nn.Module):
    """Conditional batch normalisation, with a gain and an offset for each class (Dumoulin et al. 2017, "A Learned
    Representation For Artistic Style", eq. 5): (N, C, H, W) and labels (N,) int64 -> (N, C, H, W)."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=False)
        self.gain, self.offset = nn.Embedding(classes, channels), nn.Embedding(classes, channels)
        nn.init.ones_(self.gain.weight)
        nn.init.zeros_(self.offset.weight)

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        x = self.norm(x)
        gain, offset = self.gain(labels).to(x.dtype), self.offset(labels).to(x.dtype)
        return torch.addcmul(offset[:, :, None, None], gain[:, :, None, None], x)


class SpectralNorm(nn.Module):
    """Spectral normalisation (Miyato et al. 2018, "Spectral Normalization for GANs", algorithm 1): divides a weight
    (out, ...) by its largest singular value and multiplies it by `bound`.

    Each call makes one step of power iteration. In evaluation mode the vectors of the step are not stored, since
    averaged weights come with averaged vectors. As a parametrization:
    `torch.nn.utils.parametrize.register_parametrization(layer, "weight", SpectralNorm(layer.weight))`."""

    u: Tensor
    v: Tensor

    def __init__(self, weight: Tensor, bound: float = 1.0) -> None:
        super().__init__()
        self.bound = bound
        matrix = weight.detach().flatten(1)
        self.register_buffer("u", F.normalize(torch.randn(matrix.shape[0]), dim=0))
        self.register_buffer("v", F.normalize(torch.randn(matrix.shape[1]), dim=0))
        for _ in range(15):
            self._keep(*self._iterated(matrix))

    @torch.no_grad()
    def _iterated(self, matrix: Tensor) -> tuple[Tensor, Tensor]:
        v = F.normalize(matrix.T @ self.u, dim=0)
        return F.normalize(matrix @ v, dim=0), v

    @torch.no_grad()
    def _keep(self, u: Tensor, v: Tensor) -> None:
        self.u.copy_(u)
        self.v.copy_(v)

    def forward(self, weight: Tensor) -> Tensor:
        with torch.autocast(weight.device.type, enabled=False):
            matrix = weight.flatten(1)
            u, v = self._iterated(matrix.detach())
            if self.training:
                self._keep(u, v)
            sigma = torch.dot(u, matrix @ v)
            return weight * (self.bound / sigma)


def spectral(layer: M, bound: float = 1.0) -> M:
    """The layer with `SpectralNorm` on its weight."""
    register_parametrization(layer, "weight", SpectralNorm(layer.weight, bound))  # type: ignore[arg-type]
    return layer
