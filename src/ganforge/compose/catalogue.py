"""The layers that a network can be written with, as a plain table: words, settings, shapes and parameters. No torch in
here.

Shapes are without the batch: (D,) a vector, (T, D) a sequence of T steps, (C, H, W) a picture. `network.py` makes the
modules; a test compares both for every layer."""

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
    """A shape that a layer cannot take: what it needs, and what to change."""

    def __init__(self, needed: str, advice: str) -> None:
        super().__init__(needed)
        self.needed, self.advice = needed, advice


@dataclass(frozen=True)
class Context:
    """What a layer may know besides the shape that comes."""

    classes: int = 0
    other: Shape = ()
    """The output of the layer that it refers to."""


@dataclass(frozen=True)
class Setting:
    """One setting of a layer; `default` None: it has to be given. Its type is that of the limits: `low` an int, a
    float, or a word."""

    name: str
    default: int | float | bool | str | None
    help: str
    kind: str = "size"
    """size: a whole number, or a word such as height/4; sizes: several; number; yes/no; word; layer."""
    low: float = 1
    high: float = 65536
    choices: tuple[str, ...] = ()


Plan = Callable[[Shape, Values, Context], tuple[Shape, int]]


@dataclass(frozen=True)
class Layer:
    """One row of the table."""

    name: str
    text: str
    takes: str
    gives: str
    count: str
    """Its parameters, in words."""
    use: str
    example: str
    plan: Plan
    """(shape, values, context) -> the shape that comes out and the number of parameters. Raises Misfit."""
    settings: tuple[Setting, ...] = ()


def _need(shape: Shape, *ranks: int) -> None:
    if len(shape) not in ranks:
        words = {1: VECTOR, 2: SEQUENCE, 3: PICTURE}
        raise Misfit(" or ".join(words[rank] for rank in ranks), _TO[ranks[0]])


def features(shape: Shape) -> int:
    """The numbers at one place: D of a vector or a sequence, C of a picture."""
    return shape[0] if len(shape) == 3 else shape[-1]


def _divides(number: int, by: int, what: str) -> None:
    if number % by:
        near = next(n for n in range(by, 0, -1) if number % n == 0)
        raise Misfit(f"{what} that {by} divides", f"Say {near} instead, or change {what} before it.")


def _with(shape: Shape, count: int) -> Shape:
    return (count, *shape[1:]) if len(shape) == 3 else (*shape[:-1], count)


def _window(shape: Shape, kernel: int, stride: int, padding: int, dilation: int = 1) -> Shape:
    reach = dilation * (kernel - 1) + 1
    for side in shape[1:]:
        if side + 2 * padding < reach:
            raise Misfit(f"{reach - 2 * padding} or more pixels each way", "Take a smaller kernel or more padding.")
    return tuple((side + 2 * padding - reach) // stride + 1 for side in shape[1:])


def _dense(s: Shape, v: Values, c: Context) -> tuple[Shape, int]:
    _need(s, 1, 2)
    return (*s[:-1], v["units"]), s[-1] * v["units"] + v["bias"] * v["units"]


def _convolution(s: Shape, v: Values, c: Context) -> tuple[Shape, int]:
    _need(s, 3)
    out, k = v["channels"], v["kernel"]
    _divides(s[0], v["groups"], "channels")
    _divides(out, v["groups"], "channels")
    sides = _window(s, k, v["stride"], v["padding"], v["dilation"])
    return (out, *sides), s[0] // v["groups"] * out * k * k + v["bias"] * out


def _transposed(s: Shape, v: Values, c: Context) -> tuple[Shape, int]:
    _need(s, 3)
    out, k = v["channels"], v["kernel"]
    if v["extra"] >= v["stride"]:
        raise Misfit("extra below stride", f"Say extra={v['stride'] - 1} or less.")
    sides = tuple((side - 1) * v["stride"] - 2 * v["padding"] + k + v["extra"] for side in s[1:])
    if min(sides) < 1:
        raise Misfit("a larger picture, since nothing is left of this one", "Take a larger kernel or less padding.")
    return (out, *sides), s[0] * out * k * k + v["bias"] * out


def _pooling(s: Shape, v: Values, c: Context) -> tuple[Shape, int]:
    _need(s, 3)
    if 2 * v["padding"] > v["kernel"]:
        raise Misfit("padding of at most half the kernel", f"Say padding={v['kernel'] // 2}.")
    return (s[0], *_window(s, v["kernel"], v["stride"], v["padding"])), 0


def _global(s: Shape, v: Values, c: Context) -> tuple[Shape, int]:
    _need(s, 3, 2)
    return (features(s),), 0


def _up_sampling(s: Shape, v: Values, c: Context) -> tuple[Shape, int]:
    _need(s, 3)
    return (s[0], s[1] * v["factor"], s[2] * v["factor"]), 0


def _resize(s: Shape, v: Values, c: Context) -> tuple[Shape, int]:
    _need(s, 3)
    return (s[0], v["height"], v["width"]), 0


def _crop(s: Shape, v: Values, c: Context) -> tuple[Shape, int]:
    _need(s, 3)
    if s[1] < v["height"] or s[2] < v["width"]:
        raise Misfit(f"{v['height']}x{v['width']} or more pixels", "Grow the picture further, or use `resize`.")
    return (s[0], v["height"], v["width"]), 0


def _shuffle(s: Shape, v: Values, c: Context) -> tuple[Shape, int]:
    _need(s, 3)
    f = v["factor"]
    _divides(s[0], f * f, "channels")
    return (s[0] // (f * f), s[1] * f, s[2] * f), 0


def _unshuffle(s: Shape, v: Values, c: Context) -> tuple[Shape, int]:
    _need(s, 3)
    f = v["factor"]
    for side in s[1:]:
        _divides(side, f, "a side")
    return (s[0] * f * f, s[1] // f, s[2] // f), 0


def _same(parameters: int, *ranks: int) -> Plan:
    """The shape stays; so many parameters a feature."""

    def plan(s: Shape, v: Values, c: Context) -> tuple[Shape, int]:
        _need(s, *(ranks or (1, 2, 3)))
        return s, parameters * features(s)

    return plan


def _group_norm(s: Shape, v: Values, c: Context) -> tuple[Shape, int]:
    _need(s, 3, 1)
    _divides(features(s), v["groups"], "channels")
    return s, 2 * features(s)


def _recurrent(gates: int, ways: int = 1) -> Plan:
    def plan(s: Shape, v: Values, c: Context) -> tuple[Shape, int]:
        _need(s, 2)
        units, cell = v["units"], {"rnn": 1, "gru": 3, "lstm": 4}[v["cell"]] if "cell" in v else gates
        out = ways * units
        return (out,) if v["last"] else (s[0], out), ways * cell * units * (s[1] + units + 2)

    return plan


def _attention(s: Shape, v: Values, c: Context) -> tuple[Shape, int]:
    _need(s, 2, 3)
    width = features(s)
    _divides(width, v["heads"], "numbers a step")
    return s, 4 * width * width + 6 * width


def _transformer(s: Shape, v: Values, c: Context) -> tuple[Shape, int]:
    _need(s, 2)
    _, attention = _attention(s, v, c)
    width, inner = s[1], s[1] * v["expand"]
    return s, attention + 2 * width + 2 * width * inner + inner + width


def _positions(s: Shape, v: Values, c: Context) -> tuple[Shape, int]:
    _need(s, 2)
    return s, s[0] * s[1]


def _residual(s: Shape, v: Values, c: Context) -> tuple[Shape, int]:
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


def _add(s: Shape, v: Values, c: Context) -> tuple[Shape, int]:
    if s != c.other:
        raise Misfit(
            f"{show(c.other)}, which that layer gave", "Bring one to the shape of the other, or `concatenate`."
        )
    return s, 0


def _concatenate(s: Shape, v: Values, c: Context) -> tuple[Shape, int]:
    if _with(s, 1) != _with(c.other, 1):
        rest = show(_with(c.other, 0)).replace("0", "any", 1) if len(s) == 3 else show(c.other)
        raise Misfit(f"{rest}, as that layer gave", "Bring both to one size with `resize`, pooling or `reshape`.")
    return _with(s, features(s) + features(c.other)), 0


def _embedding(s: Shape, v: Values, c: Context) -> tuple[Shape, int]:
    _labels(c)
    return _with(s, features(s) + v["size"]), c.classes * v["size"]


def _film(s: Shape, v: Values, c: Context) -> tuple[Shape, int]:
    _labels(c)
    return s, 2 * c.classes * features(s)


def _labels(c: Context) -> None:
    if not c.classes:
        raise Misfit(
            "a store with labels", "Leave the layer out, or prepare pictures that lie in a folder for each class."
        )


def _flatten(s: Shape, v: Values, c: Context) -> tuple[Shape, int]:
    return (math.prod(s),), 0


def _reshape(s: Shape, v: Values, c: Context) -> tuple[Shape, int]:
    to = tuple(v["sizes"])
    if len(to) > 3:
        raise Misfit("one to three sizes", "A vector has one, a sequence two, a picture three.")
    if math.prod(s) != math.prod(to):
        raise Misfit(f"{math.prod(to)} numbers", f"Put `dense {math.prod(to)}` before it, or other sizes here.")
    return to, 0


def _transpose(s: Shape, v: Values, c: Context) -> tuple[Shape, int]:
    _need(s, 2)
    return (s[1], s[0]), 0


def _repeat(s: Shape, v: Values, c: Context) -> tuple[Shape, int]:
    _need(s, 1)
    return (v["steps"], s[0]), 0


def _patches(s: Shape, v: Values, c: Context) -> tuple[Shape, int]:
    _need(s, 3)
    for side in s[1:]:
        _divides(side, v["size"], "a side")
    return (s[1] * s[2] // v["size"] ** 2, s[0] * v["size"] ** 2), 0


def _unpatches(s: Shape, v: Values, c: Context) -> tuple[Shape, int]:
    _need(s, 2)
    size, rows = v["size"], v["rows"]
    _divides(s[0], rows, "steps")
    if s[1] % size**2:
        raise Misfit(
            f"steps of a multiple of {size**2} numbers", f"Put `dense {size**2}` before it: channels x {size**2}."
        )
    return (s[1] // size**2, rows * size, s[0] // rows * size), 0


def _sparse(s: Shape, v: Values, c: Context) -> tuple[Shape, int]:
    if v["keep"] > features(s):
        raise Misfit(f"{v['keep']} or more numbers at a place", f"Say keep={features(s)} or less.")
    return s, 0


def _glu(s: Shape, v: Values, c: Context) -> tuple[Shape, int]:
    _divides(features(s), 2, "channels")
    return _with(s, features(s) // 2), 0


def show(shape: Shape) -> str:
    """(64, 7, 7) -> 64x7x7."""
    return "x".join(map(str, shape))


def _flag(name: str, default: bool, help: str) -> Setting:
    return Setting(name, default, help, "yes/no")


_BIAS = _flag("bias", True, "adds a number to each output")
_SPECTRAL = _flag("spectral", False, "keeps the largest singular value at 1 (spectral normalisation)")
_CHANNELS = Setting("channels", None, "channels that come out")
_UNITS = Setting("units", None, "numbers that come out")
_LAST = _flag("last", False, "gives the last step's output alone, a vector")
_HEADS = Setting("heads", 4, "heads, which share the numbers of a step", high=1024)
_FACTOR = Setting("factor", 2, "how many times as large", high=64)
_STRIDE = Setting("stride", 1, "pixels from window to window", high=256)
_FROM = Setting("from", None, "an earlier layer's number or name; `input`: what came first", "layer")
_SIDES = (Setting("height", None, "pixels, or the word height"), Setting("width", None, "pixels, or the word width"))


def _kernel(default: int) -> Setting:
    return Setting("kernel", default, "side of the window in pixels", high=256)


def _padding(default: int | str) -> Setting:
    return Setting("padding", default, "pixels of zero around; half: half the kernel", low=0, high=256)


def _share(default: float, help: str, name: str = "rate") -> Setting:
    return Setting(name, default, help, "number", 0.0, 1.0)


_POOL = (_kernel(2), Setting("stride", 2, "pixels from window to window", high=256), _padding(0))
_ANY, _SAME, _BOTH = "any", "the same", "both"

ROWS = (
    Layer("dense", "every output from every input (fully connected)", "D or TxD", "units or Txunits", "in*units + units", _BOTH,
          "dense 256", _dense, (_UNITS, _BIAS, _SPECTRAL)),
    Layer("convolution", "a window over the picture; stride 2 halves it", PICTURE, "channels x H' x W'", "in*channels*kernel^2 + channels",
          _BOTH, "convolution 64 kernel=4 stride=2 padding=1", _convolution,
          (_CHANNELS, _kernel(3), _STRIDE, _padding("half"), Setting("dilation", 1, "pixels between the window's points", high=64),
           Setting("groups", 1, "parts that do not see each other"), _BIAS, _SPECTRAL)),
    Layer("transposed_convolution", "a convolution backwards; as it stands it doubles the picture", PICTURE, "channels x H' x W'",
          "in*channels*kernel^2 + channels", "generator", "transposed_convolution 64", _transposed,
          (_CHANNELS, _kernel(4), Setting("stride", 2, "how many times as large", high=64), _padding(1),
           Setting("extra", 0, "rows and columns more at the end", low=0, high=64), _BIAS, _SPECTRAL)),
    Layer("max_pooling", "the largest of each window", PICTURE, "C x H' x W'", "0", "discriminator", "max_pooling", _pooling, _POOL),
    Layer("average_pooling", "the mean of each window", PICTURE, "C x H' x W'", "0", "discriminator", "average_pooling 2", _pooling, _POOL),
    Layer("global_average_pooling", "the mean over all places or steps", "CxHxW or TxD", "C or D", "0", "discriminator",
          "global_average_pooling", _global),
    Layer("up_sampling", "a larger picture without learning", PICTURE, "C x factor*H x factor*W", "0", "generator", "up_sampling 2",
          _up_sampling, (_FACTOR, Setting("mode", "nearest", "nearest or bilinear", "word", choices=("nearest", "bilinear")))),
    Layer("resize", "bilinear, to any size", PICTURE, "C x height x width", "0", "generator", "resize height width", _resize, _SIDES),
    Layer("crop", "the centre of the picture", PICTURE, "C x height x width", "0", "generator", "crop height width", _crop, _SIDES),
    Layer("pixel_shuffle", "channels become pixels", PICTURE, "C/factor^2 x factor*H x factor*W", "0", "generator", "pixel_shuffle 2",
          _shuffle, (_FACTOR,)),
    Layer("pixel_unshuffle", "blocks of pixels become channels", PICTURE, "C*factor^2 x H/factor x W/factor", "0", "discriminator",
          "pixel_unshuffle 2", _unshuffle, (Setting("factor", 2, "side of the blocks", high=64),)),
    Layer("batch_norm", "each feature to mean 0 and variance 1 over the batch", _ANY, _SAME, "2*features", "generator", "batch_norm",
          _same(2)),
    Layer("instance_norm", "each channel of each picture by itself", PICTURE, _SAME, "2*C", _BOTH, "instance_norm", _same(2, 3)),
    Layer("layer_norm", "each picture, vector or step by itself", _ANY, _SAME, "2*features", _BOTH, "layer_norm", _same(2)),
    Layer("group_norm", "groups of channels of each picture", "CxHxW or D", _SAME, "2*C", _BOTH, "group_norm 8", _group_norm,
          (Setting("groups", 8, "groups of channels"),)),
    Layer("pixel_norm", "the numbers at each place to a mean square of 1", _ANY, _SAME, "0", "generator", "pixel_norm", _same(0)),
    Layer("rms_norm", "the same with a learned scale", "D or TxD", _SAME, "D", _BOTH, "rms_norm", _same(1, 1, 2)),
    Layer("rnn", "simple recurrence, step by step", SEQUENCE, "Txunits", "units*(D + units + 2)", _BOTH, "rnn 64", _recurrent(1),
          (_UNITS, _LAST)),
    Layer("lstm", "long short-term memory", SEQUENCE, "Txunits", "4*units*(D + units + 2)", _BOTH, "lstm 64", _recurrent(4),
          (_UNITS, _LAST)),
    Layer("gru", "gated recurrent unit", SEQUENCE, "Txunits", "3*units*(D + units + 2)", _BOTH, "gru 64 last=yes", _recurrent(3),
          (_UNITS, _LAST)),
    Layer("bidirectional", "a recurrence forwards and one backwards, side by side", SEQUENCE, "Tx2*units", "twice its cell's", _BOTH,
          "bidirectional 64 cell=gru", _recurrent(0, 2),
          (_UNITS, Setting("cell", "lstm", "rnn, lstm or gru", "word", choices=("rnn", "lstm", "gru")), _LAST)),
    Layer("self_attention", "every step or place sees every other; added to what came", "TxD or CxHxW", _SAME, "4*D^2 + 6*D", _BOTH,
          "self_attention heads=4", _attention, (_HEADS,)),
    Layer("transformer", "self-attention, then a dense layer at each step, both added", SEQUENCE, _SAME,
          "(4 + 2*expand)*D^2 + (9 + expand)*D", _BOTH, "transformer heads=4", _transformer,
          (_HEADS, Setting("expand", 4, "width of the dense layer, in D", high=64), _flag("causal", False, "steps see the past only"))),
    Layer("positions", "adds a learned vector to each step", SEQUENCE, _SAME, "T*D", _BOTH, "positions", _positions),
    Layer("residual", "two layers beside a straight way (norm, ReLU, convolution, twice)", "CxHxW or D", "channels x H x W",
          "those of its layers", _BOTH, "residual 64", _residual,
          (_CHANNELS, _kernel(3), Setting("norm", "batch", "batch, group, instance or none", "word",
                                          choices=("batch", "group", "instance", "none")))),
    Layer("add", "adds the output of an earlier layer (a skip)", _ANY, _SAME, "0", _BOTH, "add from=stem", _add, (_FROM,)),
    Layer("concatenate", "puts the output of an earlier layer beside it", _ANY, "features of both", "0", _BOTH, "concatenate from=2",
          _concatenate, (_FROM,)),
    Layer("embedding", "a learned vector of the class, beside what came", _ANY, "features + size", "classes*size", _BOTH,
          "embedding 16", _embedding, (Setting("size", 16, "numbers for each class"),)),
    Layer("film", "scale and shift of each feature by the class", _ANY, _SAME, "2*classes*features", _BOTH, "film", _film),
    Layer("flatten", "all numbers as one vector", _ANY, "D", "0", "discriminator", "flatten", _flatten),
    Layer("reshape", "the same numbers in another shape", _ANY, "the sizes", "0", "generator", "reshape 64 7 7", _reshape,
          (Setting("sizes", None, "one for a vector, T D for a sequence, C H W for a picture", "sizes"),)),
    Layer("transpose", "steps become numbers and numbers steps", SEQUENCE, "DxT", "0", _BOTH, "transpose", _transpose),
    Layer("repeat", "the same vector at every step", VECTOR, "steps x D", "0", "generator", "repeat 28", _repeat,
          (Setting("steps", None, "steps"),)),
    Layer("patches", "a picture as a sequence of its tiles", PICTURE, "H*W/size^2 x C*size^2", "0", "discriminator", "patches 4", _patches,
          (Setting("size", 4, "side of a tile in pixels", high=1024),)),
    Layer("unpatches", "a sequence of tiles as a picture", SEQUENCE, "D/size^2 x rows*size x W", "0", "generator", "unpatches 4 rows=7",
          _unpatches, (Setting("size", 4, "side of a tile in pixels", high=1024), Setting("rows", None, "tiles from top to bottom"))),
    Layer("dropout", "sets numbers to zero by chance while it learns", _ANY, _SAME, "0", "discriminator", "dropout 0.3", _same(0),
          (_share(0.5, "share that is set to zero"),)),
    Layer("channel_dropout", "sets whole channels to zero", PICTURE, _SAME, "0", "discriminator", "channel_dropout 0.2", _same(0, 3),
          (_share(0.5, "share that is set to zero"),)),
    Layer("noise", "adds normal noise while it learns", _ANY, _SAME, "0", _BOTH, "noise 0.1", _same(0),
          (Setting("deviation", 0.1, "of the noise", "number", 0.0, 100.0),)),
    Layer("sparse", "keeps the largest numbers at each place, the others are 0 (top-k)", _ANY, _SAME, "0", _BOTH, "sparse keep=8", _sparse,
          (Setting("keep", None, "how many are kept"),)),
    Layer("relu", "max(0, x)", _ANY, _SAME, "0", _BOTH, "relu", _same(0)),
    Layer("leaky_relu", "x, or slope*x below 0", _ANY, _SAME, "0", _BOTH, "leaky_relu 0.2", _same(0),
          (_share(0.2, "slope below 0", "slope"),)),
    Layer("prelu", "the same with a learned slope for each feature", _ANY, _SAME, "features", _BOTH, "prelu", _same(1)),
    Layer("elu", "x, or exp(x) - 1 below 0", _ANY, _SAME, "0", _BOTH, "elu", _same(0)),
    Layer("selu", "ELU that keeps mean and variance", _ANY, _SAME, "0", _BOTH, "selu", _same(0)),
    Layer("gelu", "x times the normal distribution's share below x", _ANY, _SAME, "0", _BOTH, "gelu", _same(0)),
    Layer("silu", "x*sigmoid(x), also called swish", _ANY, _SAME, "0", _BOTH, "silu", _same(0)),
    Layer("mish", "x*tanh(softplus(x))", _ANY, _SAME, "0", _BOTH, "mish", _same(0)),
    Layer("softplus", "log(1 + exp(x))", _ANY, _SAME, "0", _BOTH, "softplus", _same(0)),
    Layer("softsign", "x/(1 + |x|)", _ANY, _SAME, "0", _BOTH, "softsign", _same(0)),
    Layer("tanh", "from -1 to 1, as pictures are: a generator's last", _ANY, _SAME, "0", "generator", "tanh", _same(0)),
    Layer("hard_tanh", "x, cut at -1 and 1", _ANY, _SAME, "0", "generator", "hard_tanh", _same(0)),
    Layer("sigmoid", "from 0 to 1", _ANY, _SAME, "0", _BOTH, "sigmoid", _same(0)),
    Layer("softmax", "shares that add up to 1 at each place", _ANY, _SAME, "0", _BOTH, "softmax", _same(0)),
    Layer("glu", "one half of the features, gated by the other", _ANY, "half the features", "0", _BOTH, "glu", _glu),
)  # fmt: skip

LAYERS = {row.name: row for row in ROWS}
ALSO = {
    "linear": "dense", "fully_connected": "dense", "conv": "convolution", "conv2d": "convolution", "deconvolution": "transposed_convolution",
    "convtranspose2d": "transposed_convolution", "conv_transpose": "transposed_convolution", "maxpool": "max_pooling", "maxpool2d": "max_pooling",
    "avgpool": "average_pooling", "avgpool2d": "average_pooling", "upsample": "up_sampling", "batchnorm": "batch_norm", "batchnorm2d": "batch_norm",
    "batch_normalisation": "batch_norm", "batch_normalization": "batch_norm", "swish": "silu", "skip": "add", "attention": "self_attention",
    "unflatten": "reshape", "view": "reshape", "top_k": "sparse", "topk": "sparse", "bilstm": "bidirectional", "label": "embedding",
}  # fmt: skip
RANGES = {"tanh": "-1 to 1", "hard_tanh": "-1 to 1", "softsign": "-1 to 1", "sigmoid": "0 to 1", "softmax": "0 to 1",
          "relu": "0 and more", "softplus": "0 and more"}  # fmt: skip


def signature(row: Layer) -> str:
    """Its settings with their defaults: `channels kernel=3 stride=1`."""
    return " ".join(s.name if s.default is None else f"{s.name}={plain(s.default)}" for s in row.settings)


def plain(value: Any) -> str:
    """True -> yes."""
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def sheet() -> list[str]:
    """The cheat sheet: what comes and goes, parameters and use of each layer, and below it its settings."""
    lines = [f"{'layer':<24}{'comes -> goes':<52}{'parameters':<34}use"]
    for row in ROWS:
        lines.append(f"{row.name:<23} {f'{row.takes} -> {row.gives}':<51} {row.count:<33} {row.use}")
        if row.settings:
            lines.append(f"    {signature(row)}")
    return [
        *lines,
        "",
        "One with its settings and an example: ganforge layers NAME. Any layer takes name=WORD, for add and concatenate.",
    ]


def page(row: Layer) -> list[str]:
    """All there is to say of one layer."""
    lines = [f"{row.name}: {row.text}", f"  comes       {row.takes}", f"  goes        {row.gives}"]
    lines += [f"  parameters  {row.count}", f"  use         {row.use}", f'  example     "{row.example}"']
    for s in row.settings:
        default = "has to be said" if s.default is None else f"{plain(s.default)} by default"
        limits = f", from {s.low:g} to {s.high:g}" if s.kind in ("size", "number") else ""
        lines.append(f"  {s.name:<11} {s.help}; {default}{limits}")
    return lines
