"""The modules of a checked list of layers; see `blueprint.py` for the lists and `catalogue.py` for the layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrize import register_parametrization

from ganforge.compose.blueprint import Step
from ganforge.compose.shapes import Shape, features
from ganforge.nn.layers import SpectralNorm


class Network(nn.Module):
    """The layers in sequence: x (N, *shape_in of the first) and labels (N,) int64 -> (N, *shape_out of the last)."""

    def __init__(self, steps: Sequence[Step], classes: int = 0) -> None:
        super().__init__()
        self.others = [step.other for step in steps]
        self.layers = nn.ModuleList(module(step, classes) for step in steps)

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        kept = {0: x}
        for number, (layer, other) in enumerate(zip(self.layers, self.others, strict=True), 1):
            if other >= 0:
                x = layer(x, kept[other])
            elif isinstance(layer, (Embedding, Film)):
                x = layer(x, labels)
            else:
                x = layer(x)
            if number in self.others:
                kept[number] = x
        return x


class Apply(nn.Module):
    """A function as a layer."""

    def __init__(self, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.function(*inputs)


class FeaturesLast(nn.Module):
    """A layer that takes features last, for pictures too: (N, C, H, W) is permuted there and back."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.inner(x.permute(0, 2, 3, 1) if x.ndim == 4 else x)
        return y.permute(0, 3, 1, 2) if x.ndim == 4 else y


class FeaturesFirst(nn.Module):
    """A layer that takes features first, for sequences too: (N, T, D) is transposed there and back."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.inner(x.transpose(1, 2) if x.ndim == 3 else x)
        return y.transpose(1, 2) if x.ndim == 3 else y


class Recurrent(nn.Module):
    """(N, T, D) -> (N, T, units) or, with `last`, (N, units); in float32, where all devices can."""

    def __init__(self, cell: str, size: int, units: int, last: bool, bidirectional: bool) -> None:
        super().__init__()
        kind = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}[cell]
        self.cell: nn.Module = kind(size, units, batch_first=True, bidirectional=bidirectional)
        self.units, self.last, self.bidirectional = units, last, bidirectional

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            y: Tensor = self.cell(x.float())[0]
        if not self.last:
            return y
        return torch.cat([y[:, -1, : self.units], y[:, 0, self.units :]], 1) if self.bidirectional else y[:, -1]


class MultiHeadAttention(nn.Module):
    """Multi-head self-attention (Vaswani et al. 2017) with pre-normalisation, added to its input: (N, T, D) or, over
    the pixels of a picture, (N, C, H, W) -> the same shape. Twice differentiable."""

    def __init__(self, width: int, heads: int, causal: bool = False) -> None:
        super().__init__()
        self.heads, self.causal = heads, causal
        self.norm, self.mixed, self.out = nn.LayerNorm(width), nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        steps = x.flatten(2).transpose(1, 2) if x.ndim == 4 else x
        q, k, v = self.mixed(self.norm(steps)).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        scores = q @ k.transpose(2, 3) * q.shape[3] ** -0.5
        if self.causal:
            later = torch.ones(scores.shape[2:], dtype=torch.bool, device=x.device).triu(1)
            scores = scores.masked_fill(later, float("-inf"))
        y: Tensor = steps + self.out((scores.softmax(3) @ v).transpose(1, 2).flatten(2))
        return y.transpose(1, 2).unflatten(2, x.shape[2:]) if x.ndim == 4 else y


class Transformer(nn.Module):
    """A transformer block, attention and a dense layer, each with a shortcut: (N, T, D) -> the same shape."""

    def __init__(self, width: int, heads: int, expand: int, causal: bool) -> None:
        super().__init__()
        self.attention = MultiHeadAttention(width, heads, causal)
        inner = expand * width
        self.dense = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, inner), nn.GELU(), nn.Linear(inner, width))

    def forward(self, x: Tensor) -> Tensor:
        x = self.attention(x)
        y: Tensor = self.dense(x)
        return x + y


class Positions(nn.Module):
    """A learned vector for each step: (N, T, D) -> the same shape."""

    def __init__(self, steps: int, width: int) -> None:
        super().__init__()
        self.vectors = nn.Parameter(torch.randn(steps, width) * 0.02)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.vectors


class Residual(nn.Module):
    """Norm, ReLU and a layer, twice, with a shortcut (He et al. 2016, "Identity Mappings in Deep Residual Networks"):
    (N, C, H, W) or (N, D) -> the same with `after` features."""

    def __init__(self, shape: Shape, after: int, kernel: int, norm: str) -> None:
        super().__init__()
        before, picture = features(shape), len(shape) == 3

        def layer(a: int, b: int, side: int) -> nn.Module:
            return nn.Conv2d(a, b, side, 1, side // 2) if picture else nn.Linear(a, b)

        def normal(count: int) -> nn.Module:
            if norm == "batch":
                return nn.BatchNorm2d(count) if picture else nn.BatchNorm1d(count)
            if norm == "instance":
                return nn.InstanceNorm2d(count, affine=True)
            groups = next(n for n in range(min(8, count), 0, -1) if count % n == 0)
            return nn.GroupNorm(groups, count) if norm == "group" else nn.Identity()

        self.way = nn.Sequential(
            normal(before),
            nn.ReLU(),
            layer(before, after, kernel),
            normal(after),
            nn.ReLU(),
            layer(after, after, kernel),
        )
        self.straight = layer(before, after, 1) if before != after else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.straight(x) + self.way(x)
        return y


class Embedding(nn.Module):
    """Concatenates the features, of each pixel or step, with a learned vector of the class (N,) int64."""

    def __init__(self, classes: int, size: int) -> None:
        super().__init__()
        self.vectors = nn.Embedding(classes, size)

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        vectors = self.vectors(labels)
        if x.ndim == 4:
            return torch.cat([x, vectors[:, :, None, None].expand(-1, -1, *x.shape[2:]).to(x.dtype)], 1)
        if x.ndim == 3:
            return torch.cat([x, vectors[:, None].expand(-1, x.shape[1], -1).to(x.dtype)], 2)
        return torch.cat([x, vectors.to(x.dtype)], 1)


class Film(nn.Module):
    """Scale and shift of the features by the class (Perez et al. 2018, "FiLM", eq. 2); the identity at the start."""

    def __init__(self, classes: int, count: int) -> None:
        super().__init__()
        self.scale_and_shift = nn.Embedding(classes, 2 * count)
        nn.init.zeros_(self.scale_and_shift.weight)

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        scale, shift = self.scale_and_shift(labels).chunk(2, 1)
        if x.ndim == 4:
            scale, shift = scale[:, :, None, None], shift[:, :, None, None]
        elif x.ndim == 3:
            scale, shift = scale[:, None], shift[:, None]
        y: Tensor = x * (1 + scale) + shift
        return y


class GaussianNoise(nn.Module):
    """Adds normal noise in training mode."""

    def __init__(self, deviation: float) -> None:
        super().__init__()
        self.deviation = deviation

    def forward(self, x: Tensor) -> Tensor:
        return x + self.deviation * torch.randn_like(x) if self.training else x


def sparse(x: Tensor, keep: int) -> Tensor:
    """Keeps the `keep` largest features of each vector, pixel or step and sets the others to 0 (Makhzani and Frey 2014,
    "k-Sparse Autoencoders")."""
    dim = 1 if x.ndim == 4 else -1
    kept = x.topk(keep, dim).indices
    return x * torch.zeros_like(x).scatter(dim, kept, 1.0)


def unpatches(x: Tensor, size: int, rows: int) -> Tensor:
    """(N, T, C*size^2) -> (N, C, rows*size, T/rows*size)."""
    grid = x.unflatten(1, (rows, -1)).permute(0, 3, 1, 2)
    return F.pixel_shuffle(grid, size)


def patches(x: Tensor, size: int) -> Tensor:
    """(N, C, H, W) -> (N, H*W/size^2, C*size^2), row by row."""
    return F.pixel_unshuffle(x, size).flatten(2).transpose(1, 2)


def module(step: Step, classes: int = 0) -> nn.Module:
    """The module of one step."""
    make = _PLAIN.get(step.layer)
    if make is not None:
        return make()
    for group in (_shaped, _learned):
        built = group(step.layer, step.shape_in, step.shape_out, step.values, classes)
        if built is not None:
            return built
    raise AssertionError(step.layer)  # a test builds every layer of the catalogue


_PLAIN: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "elu": nn.ELU,
    "selu": nn.SELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "mish": nn.Mish,
    "softplus": nn.Softplus,
    "softsign": nn.Softsign,
    "tanh": nn.Tanh,
    "hard_tanh": nn.Hardtanh,
    "sigmoid": nn.Sigmoid,
    "flatten": nn.Flatten,
    "softmax": lambda: FeaturesLast(nn.Softmax(-1)),
    "glu": lambda: FeaturesLast(nn.GLU(-1)),
    "pixel_norm": lambda: FeaturesLast(Apply(_pixel_norm)),
    "transpose": lambda: Apply(lambda x: x.transpose(1, 2)),
    "add": lambda: Apply(lambda x, other: x + other),
}


def _pixel_norm(x: Tensor) -> Tensor:
    """(..., D) -> the same shape with mean square 1 over D."""
    y: Tensor = x * (x.float().square().mean(-1, keepdim=True) + 1e-8).rsqrt().to(x.dtype)
    return y


def _shaped(name: str, shape_in: Shape, shape_out: Shape, v: Mapping[str, Any], classes: int) -> nn.Module | None:
    """Layers without parameters."""
    match name:
        case "max_pooling":
            return nn.MaxPool2d(v["kernel"], v["stride"], v["padding"])
        case "average_pooling":
            return nn.AvgPool2d(v["kernel"], v["stride"], v["padding"])
        case "global_average_pooling":
            return Apply(lambda x: x.mean((2, 3) if len(shape_in) == 3 else 1))
        case "up_sampling":
            return nn.Upsample(scale_factor=v["factor"], mode=v["mode"])
        case "resize":
            return Apply(lambda x: F.interpolate(x.float(), shape_out[1:], mode="bilinear", antialias=True))
        case "crop":
            top, left = (shape_in[1] - shape_out[1]) // 2, (shape_in[2] - shape_out[2]) // 2
            return Apply(lambda x: x[:, :, top : top + shape_out[1], left : left + shape_out[2]])
        case "pixel_shuffle":
            return nn.PixelShuffle(v["factor"])
        case "pixel_unshuffle":
            return nn.PixelUnshuffle(v["factor"])
        case "reshape":
            return Apply(lambda x: x.reshape(len(x), *shape_out))
        case "repeat":
            return Apply(lambda x: x[:, None].expand(-1, shape_out[0], -1))
        case "patches":
            return Apply(lambda x: patches(x, v["size"]))
        case "unpatches":
            return Apply(lambda x: unpatches(x, v["size"], v["rows"]))
        case "concatenate":
            return Apply(lambda x, other: torch.cat([x, other.to(x.dtype)], 1 if len(shape_in) == 3 else -1))
        case "dropout":
            return nn.Dropout(v["rate"])
        case "channel_dropout":
            return nn.Dropout2d(v["rate"])
        case "noise":
            return GaussianNoise(v["deviation"])
        case "sparse":
            return Apply(lambda x: sparse(x, v["keep"]))
        case "leaky_relu":
            return nn.LeakyReLU(v["slope"])
    return None


def _learned(name: str, shape_in: Shape, shape_out: Shape, v: Mapping[str, Any], classes: int) -> nn.Module | None:
    """Layers with parameters."""
    count = features(shape_in)
    match name:
        case "dense":
            return _spectral(nn.Linear(count, v["units"], v["bias"]), v["spectral"])
        case "convolution":
            kernel = (v["kernel"], v["stride"], v["padding"], v["dilation"], v["groups"])
            return _spectral(nn.Conv2d(count, v["channels"], *kernel, bias=v["bias"]), v["spectral"])
        case "transposed_convolution":
            window = (v["kernel"], v["stride"], v["padding"], v["extra"])
            return _spectral(nn.ConvTranspose2d(count, v["channels"], *window, bias=v["bias"]), v["spectral"])
        case "batch_norm":
            return nn.BatchNorm2d(count) if len(shape_in) == 3 else FeaturesFirst(nn.BatchNorm1d(count))
        case "instance_norm":
            return nn.InstanceNorm2d(count, affine=True)
        case "layer_norm":
            return nn.GroupNorm(1, count) if len(shape_in) == 3 else nn.LayerNorm(count)
        case "group_norm":
            return nn.GroupNorm(v["groups"], count)
        case "rms_norm":
            return nn.RMSNorm(count)
        case "rnn" | "lstm" | "gru":
            return Recurrent(name, count, v["units"], v["last"], False)
        case "bidirectional":
            return Recurrent(v["cell"], count, v["units"], v["last"], True)
        case "self_attention":
            return MultiHeadAttention(count, v["heads"])
        case "transformer":
            return Transformer(count, v["heads"], v["expand"], v["causal"])
        case "positions":
            return Positions(*shape_in)
        case "residual":
            return Residual(shape_in, v["channels"], v["kernel"], v["norm"])
        case "embedding":
            return Embedding(classes, v["size"])
        case "film":
            return Film(classes, count)
        case "prelu":
            return FeaturesFirst(nn.PReLU(count))
    return None


def _spectral(layer: nn.Linear | nn.Conv2d | nn.ConvTranspose2d, spectral: bool) -> nn.Module:
    if spectral:
        register_parametrization(layer, "weight", SpectralNorm(layer.weight))
    return layer
