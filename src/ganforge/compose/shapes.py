"""The output shape and the number of parameters of each layer of composed networks, from its input shape and settings.

Shapes are without the batch: (D,) a vector, (T, D) a sequence of T steps, (C, H, W) a picture. Each of these functions
takes (input shape, values of the settings, context) and returns (output shape, number of parameters), or raises Misfit.
This file does not import torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Shape = tuple[int, ...]
Values = Mapping[str, Any]

PICTURE, SEQUENCE, VECTOR = "a picture CxHxW", "a sequence TxD", "a vector D"
_TO = {1: "Put `flatten` before it.", 2: "Put `reshape T D` before it.", 3: "Put `reshape C H W` before it."}


class Misfit(Exception):
    """A shape that a layer cannot take: the shape that it needs, and what to change."""

    def __init__(self, needed: str, advice: str) -> None:
        super().__init__(needed)
        self.needed, self.advice = needed, advice


@dataclass(frozen=True)
class Context:
    """What a layer knows besides its input shape and its settings."""

    classes: int = 0
    other: Shape = ()
    """The output of the layer that it refers to."""


Plan = Callable[[Shape, Values, Context], tuple[Shape, int]]


def _need(shape: Shape, *ranks: int) -> None:
    if len(shape) not in ranks:
        words = {1: VECTOR, 2: SEQUENCE, 3: PICTURE}
        raise Misfit(" or ".join(words[rank] for rank in ranks), _TO[ranks[0]])


def features(shape: Shape) -> int:
    """The number of features: D of a vector or a sequence, C of a picture."""
    return shape[0] if len(shape) == 3 else shape[-1]


def _divides(number: int, by: int, name: str) -> None:
    if number % by:
        near = next(n for n in range(by, 0, -1) if number % n == 0)
        raise Misfit(f"{name} that {by} divides", f"Say {near} instead, or change {name} before it.")


def _with(shape: Shape, count: int) -> Shape:
    return (count, *shape[1:]) if len(shape) == 3 else (*shape[:-1], count)


def _window(shape: Shape, kernel: int, stride: int, padding: int, dilation: int = 1) -> Shape:
    extent = dilation * (kernel - 1) + 1
    for side in shape[1:]:
        if side + 2 * padding < extent:
            raise Misfit(f"{extent - 2 * padding} or more pixels each way", "Take a smaller kernel or more padding.")
    return tuple((side + 2 * padding - extent) // stride + 1 for side in shape[1:])


def dense(s: Shape, v: Values, c: Context) -> tuple[Shape, int]:
    """(..., D) -> (..., units): fully connected, the same at each step of a sequence."""
    _need(s, 1, 2)
    return (*s[:-1], v["units"]), s[-1] * v["units"] + v["bias"] * v["units"]


def convolution(s: Shape, v: Values, c: Context) -> tuple[Shape, int]:
    """(C, H, W) -> (channels, H', W')."""
    _need(s, 3)
    out, k = v["channels"], v["kernel"]
    _divides(s[0], v["groups"], "channels")
    _divides(out, v["groups"], "channels")
    sides = _window(s, k, v["stride"], v["padding"], v["dilation"])
    return (out, *sides), s[0] // v["groups"] * out * k * k + v["bias"] * out


def transposed(s: Shape, v: Values, c: Context) -> tuple[Shape, int]:
    """Transposed convolution: (C, H, W) -> (channels, H', W')."""
    _need(s, 3)
    out, k = v["channels"], v["kernel"]
    if v["extra"] >= v["stride"]:
        raise Misfit("extra below stride", f"Say extra={v['stride'] - 1} or less.")
    sides = tuple((side - 1) * v["stride"] - 2 * v["padding"] + k + v["extra"] for side in s[1:])
    if min(sides) < 1:
        raise Misfit("a larger picture, since nothing is left of this one", "Take a larger kernel or less padding.")
    return (out, *sides), s[0] * out * k * k + v["bias"] * out


def pooling(s: Shape, v: Values, c: Context) -> tuple[Shape, int]:
    """Over windows: (C, H, W) -> (C, H', W')."""
    _need(s, 3)
    if 2 * v["padding"] > v["kernel"]:
        raise Misfit("padding of at most half the kernel", f"Say padding={v['kernel'] // 2}.")
    return (s[0], *_window(s, v["kernel"], v["stride"], v["padding"])), 0


def global_pooling(s: Shape, v: Values, c: Context) -> tuple[Shape, int]:
    """Over all positions or steps: (C, H, W) -> (C,), (T, D) -> (D,)."""
    _need(s, 3, 2)
    return (features(s),), 0


def up_sampling(s: Shape, v: Values, c: Context) -> tuple[Shape, int]:
    """(C, H, W) -> (C, factor H, factor W)."""
    _need(s, 3)
    return (s[0], s[1] * v["factor"], s[2] * v["factor"]), 0


def resize(s: Shape, v: Values, c: Context) -> tuple[Shape, int]:
    """(C, H, W) -> (C, height, width)."""
    _need(s, 3)
    return (s[0], v["height"], v["width"]), 0


def crop(s: Shape, v: Values, c: Context) -> tuple[Shape, int]:
    """The middle of a picture: (C, H, W) -> (C, height, width)."""
    _need(s, 3)
    if s[1] < v["height"] or s[2] < v["width"]:
        raise Misfit(f"{v['height']}x{v['width']} or more pixels", "Grow the picture further, or use `resize`.")
    return (s[0], v["height"], v["width"]), 0


def shuffle(s: Shape, v: Values, c: Context) -> tuple[Shape, int]:
    """Depth to space by a factor f: (C, H, W) -> (C / f^2, f H, f W)."""
    _need(s, 3)
    f = v["factor"]
    _divides(s[0], f * f, "channels")
    return (s[0] // (f * f), s[1] * f, s[2] * f), 0


def unshuffle(s: Shape, v: Values, c: Context) -> tuple[Shape, int]:
    """Space to depth by a factor f: (C, H, W) -> (f^2 C, H / f, W / f)."""
    _need(s, 3)
    f = v["factor"]
    for side in s[1:]:
        _divides(side, f, "a side")
    return (s[0] * f * f, s[1] // f, s[2] // f), 0


def unchanged(parameters: int, *ranks: int) -> Plan:
    """A layer that keeps the shape and has this number of parameters per feature."""

    def plan(s: Shape, v: Values, c: Context) -> tuple[Shape, int]:
        _need(s, *(ranks or (1, 2, 3)))
        return s, parameters * features(s)

    return plan


def group_norm(s: Shape, v: Values, c: Context) -> tuple[Shape, int]:
    """Group normalisation, a scale and a shift for each channel; the shape stays."""
    _need(s, 3, 1)
    _divides(features(s), v["groups"], "channels")
    return s, 2 * features(s)


def recurrent(gates: int, directions: int = 1) -> Plan:
    """The plan of a recurrent layer whose cell has so many gates: (T, D) -> (T, units), or (units,) with `last`."""

    def plan(s: Shape, v: Values, c: Context) -> tuple[Shape, int]:
        _need(s, 2)
        units, cell = v["units"], {"rnn": 1, "gru": 3, "lstm": 4}[v["cell"]] if "cell" in v else gates
        out = directions * units
        return (out,) if v["last"] else (s[0], out), directions * cell * units * (s[1] + units + 2)

    return plan


def attention(s: Shape, v: Values, c: Context) -> tuple[Shape, int]:
    """Multi-head self-attention over steps or positions; the shape stays."""
    _need(s, 2, 3)
    width = features(s)
    _divides(width, v["heads"], "numbers a step")
    return s, 4 * width * width + 6 * width


def transformer(s: Shape, v: Values, c: Context) -> tuple[Shape, int]:
    """A transformer block; the shape stays."""
    _need(s, 2)
    _, inside = attention(s, v, c)
    width, inner = s[1], s[1] * v["expand"]
    return s, inside + 2 * width + 2 * width * inner + inner + width


def positions(s: Shape, v: Values, c: Context) -> tuple[Shape, int]:
    """A learned vector added at each step; the shape stays."""
    _need(s, 2)
    return s, s[0] * s[1]


def residual(s: Shape, v: Values, c: Context) -> tuple[Shape, int]:
    """A residual block of two convolutions or dense layers: (C, H, W) -> (channels, H, W), (D,) -> (channels,)."""
    _need(s, 3, 1)
    before, after = features(s), v["channels"]
    if v["kernel"] % 2 == 0:
        raise Misfit("an odd kernel, so that the shortcut fits", f"Say kernel={v['kernel'] + 1}.")
    if v["norm"] == "instance":
        _need(s, 3)
    window = v["kernel"] ** 2 if len(s) == 3 else 1
    count = window * before * after + after + window * after * after + after
    count += 0 if v["norm"] == "none" else 2 * (before + after)
    return _with(s, after), count + (before * after + after if before != after else 0)


def add(s: Shape, v: Values, c: Context) -> tuple[Shape, int]:
    """The sum with the output of another layer of the same shape."""
    if s != c.other:
        raise Misfit(
            f"{show(c.other)}, which that layer gave", "Bring one to the shape of the other, or `concatenate`."
        )
    return s, 0


def concatenate(s: Shape, v: Values, c: Context) -> tuple[Shape, int]:
    """The features of another layer's output appended to these."""
    if _with(s, 1) != _with(c.other, 1):
        rest = show(_with(c.other, 0)).replace("0", "any", 1) if len(s) == 3 else show(c.other)
        raise Misfit(f"{rest}, as that layer gave", "Bring both to one size with `resize`, pooling or `reshape`.")
    return _with(s, features(s) + features(c.other)), 0


def embedding(s: Shape, v: Values, c: Context) -> tuple[Shape, int]:
    """A learned vector of the label appended to the features."""
    _labels(c)
    return _with(s, features(s) + v["size"]), c.classes * v["size"]


def film(s: Shape, v: Values, c: Context) -> tuple[Shape, int]:
    """A scale and a shift of each feature that depend on the label; the shape stays."""
    _labels(c)
    return s, 2 * c.classes * features(s)


def _labels(c: Context) -> None:
    if not c.classes:
        raise Misfit(
            "a store with labels", "Leave the layer out, or prepare pictures that lie in a folder for each class."
        )


def flatten(s: Shape, v: Values, c: Context) -> tuple[Shape, int]:
    """Any shape -> (D,)."""
    return (math.prod(s),), 0


def reshape(s: Shape, v: Values, c: Context) -> tuple[Shape, int]:
    """Any shape -> the sizes given, of as many numbers."""
    to = tuple(v["sizes"])
    if len(to) > 3:
        raise Misfit("one to three sizes", "A vector has one, a sequence two, a picture three.")
    if math.prod(s) != math.prod(to):
        raise Misfit(f"{math.prod(to)} numbers", f"Put `dense {math.prod(to)}` before it, or other sizes here.")
    return to, 0


def transpose(s: Shape, v: Values, c: Context) -> tuple[Shape, int]:
    """(T, D) -> (D, T)."""
    _need(s, 2)
    return (s[1], s[0]), 0


def repeat(s: Shape, v: Values, c: Context) -> tuple[Shape, int]:
    """A vector at each of so many steps: (D,) -> (steps, D)."""
    _need(s, 1)
    return (v["steps"], s[0]), 0


def patches(s: Shape, v: Values, c: Context) -> tuple[Shape, int]:
    """A picture as a sequence: (C, H, W) -> (H W / size^2, C size^2)."""
    _need(s, 3)
    for side in s[1:]:
        _divides(side, v["size"], "a side")
    return (s[1] * s[2] // v["size"] ** 2, s[0] * v["size"] ** 2), 0


def unpatches(s: Shape, v: Values, c: Context) -> tuple[Shape, int]:
    """The inverse of `patches` with so many rows of patches."""
    _need(s, 2)
    size, rows = v["size"], v["rows"]
    _divides(s[0], rows, "steps")
    if s[1] % size**2:
        raise Misfit(
            f"steps of a multiple of {size**2} numbers", f"Put `dense {size**2}` before it: channels x {size**2}."
        )
    return (s[1] // size**2, rows * size, s[0] // rows * size), 0


def sparse(s: Shape, v: Values, c: Context) -> tuple[Shape, int]:
    """Only the `keep` largest features stay, the others become 0; the shape stays."""
    if v["keep"] > features(s):
        raise Misfit(f"{v['keep']} or more features", f"Say keep={features(s)} or less.")
    return s, 0


def glu(s: Shape, v: Values, c: Context) -> tuple[Shape, int]:
    """Gated linear unit: half of the features gate the other half."""
    _divides(features(s), 2, "channels")
    return _with(s, features(s) // 2), 0


def show(shape: Shape) -> str:
    """(64, 7, 7) -> 64x7x7."""
    return "x".join(map(str, shape))
