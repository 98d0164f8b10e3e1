"""The layers of composed networks, as a plain table: names, settings, shapes, parameters and use.

`shapes.py` has the rule of each layer's output shape and parameters, `network.py` builds the modules, and a test
compares the two for every layer. This file does not import torch."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Any

from ganforge.compose import shapes
from ganforge.compose.shapes import PICTURE, SEQUENCE, VECTOR, Plan


@dataclass(frozen=True)
class Setting:
    """One setting of a layer. A setting whose `default` is None is required."""

    name: str
    default: int | float | bool | str | None
    help: str
    kind: str = "size"
    """size: a whole number or a word such as height/4; sizes: several of them; number; yes/no; word: one of `choices`;
    layer: the number or name of an earlier layer."""
    low: float = 1
    high: float = 65536
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class LayerType:
    """One row of the table."""

    name: str
    text: str
    plan: Plan
    """(input shape, values of the settings, context) -> (output shape, number of parameters). Raises Misfit."""
    _: KW_ONLY
    takes: str
    """Its input shape, in words."""
    gives: str
    """Its output shape, in words."""
    count: str
    """The number of its parameters, as a formula."""
    use: str
    """Where it is used: generator, discriminator or both."""
    example: str
    settings: tuple[Setting, ...] = ()


def _flag(name: str, default: bool, help: str) -> Setting:
    return Setting(name, default, help, "yes/no")


_BIAS = _flag("bias", True, "adds a learned number to each output channel")
_SPECTRAL = _flag("spectral", False, "spectral normalisation: keeps the largest singular value at 1")
_CHANNELS = Setting("channels", None, "channels that come out")
_UNITS = Setting("units", None, "numbers that come out")
_LAST = _flag("last", False, "returns the output of the last step only, a vector")
_HEADS = Setting("heads", 4, "heads, which share the numbers of a step", high=1024)
_FACTOR = Setting("factor", 2, "how many times as large", high=64)
_STRIDE = Setting("stride", 1, "pixels from window to window", high=256)
_FROM = Setting("from", None, "number or name of an earlier layer; `input`: the input of the network", "layer")
_SIDES = (Setting("height", None, "pixels, or the word height"), Setting("width", None, "pixels, or the word width"))


def _kernel(default: int) -> Setting:
    return Setting("kernel", default, "side of the window in pixels", high=256)


def _padding(default: int | str) -> Setting:
    return Setting("padding", default, "pixels of zero around; half: half the kernel", low=0, high=256)


def _share(default: float, help: str, name: str = "rate") -> Setting:
    return Setting(name, default, help, "number", 0.0, 1.0)


_POOL = (_kernel(2), Setting("stride", 2, "pixels from window to window", high=256), _padding(0))
_CONVOLUTION = (
    _CHANNELS,
    _kernel(3),
    _STRIDE,
    _padding("half"),
    Setting("dilation", 1, "pixels between the points of the window", high=64),
    Setting("groups", 1, "groups of channels that are convolved separately"),
    _BIAS,
    _SPECTRAL,
)
_TRANSPOSED = (
    _CHANNELS,
    _kernel(4),
    Setting("stride", 2, "factor of enlargement", high=64),
    _padding(1),
    Setting("extra", 0, "rows and columns added at the end (output padding)", low=0, high=64),
    _BIAS,
    _SPECTRAL,
)
_MODE = Setting("mode", "nearest", "nearest or bilinear", "word", choices=("nearest", "bilinear"))
_CELL = Setting("cell", "lstm", "rnn, lstm or gru", "word", choices=("rnn", "lstm", "gru"))
_EXPAND = Setting("expand", 4, "width of the dense layer, in D", high=64)
_NORM = Setting(
    "norm", "batch", "batch, group, instance or none", "word", choices=("batch", "group", "instance", "none")
)
_PATCH = Setting("size", 4, "side of a patch in pixels", high=1024)
_ANY, _SAME, _EITHER = "any", "the same", "both"

ROWS = (
    LayerType("dense", "every output from every input (fully connected)", shapes.dense, takes="D or TxD",
        gives="units or Txunits", count="in*units + units", use=_EITHER, example="dense 256",
        settings=(_UNITS, _BIAS, _SPECTRAL)),
    LayerType("convolution", "a window over the picture; stride 2 halves its sides", shapes.convolution, takes=PICTURE,
        gives="channels x H' x W'", count="in*channels*kernel^2 + channels", use=_EITHER,
        example="convolution 64 kernel=4 stride=2 padding=1", settings=_CONVOLUTION),
    LayerType("transposed_convolution", "the transpose of a convolution; by default it doubles the sides",
        shapes.transposed, takes=PICTURE, gives="channels x H' x W'", count="in*channels*kernel^2 + channels",
        use="generator", example="transposed_convolution 64", settings=_TRANSPOSED),
    LayerType("max_pooling", "the largest of each window", shapes.pooling, takes=PICTURE, gives="C x H' x W'",
        count="0", use="discriminator", example="max_pooling", settings=_POOL),
    LayerType("average_pooling", "the mean of each window", shapes.pooling, takes=PICTURE, gives="C x H' x W'",
        count="0", use="discriminator", example="average_pooling 2", settings=_POOL),
    LayerType("global_average_pooling", "the mean over all pixels or steps", shapes.global_pooling,
        takes="CxHxW or TxD", gives="C or D", count="0", use="discriminator", example="global_average_pooling"),
    LayerType("up_sampling", "a larger picture without learning", shapes.up_sampling, takes=PICTURE,
        gives="C x factor*H x factor*W", count="0", use="generator", example="up_sampling 2",
        settings=(_FACTOR, _MODE)),
    LayerType("resize", "bilinear, to any size", shapes.resize, takes=PICTURE, gives="C x height x width", count="0",
        use="generator", example="resize height width", settings=_SIDES),
    LayerType("crop", "the centre of the picture", shapes.crop, takes=PICTURE, gives="C x height x width", count="0",
        use="generator", example="crop height width", settings=_SIDES),
    LayerType("pixel_shuffle", "channels become pixels", shapes.shuffle, takes=PICTURE,
        gives="C/factor^2 x factor*H x factor*W", count="0", use="generator", example="pixel_shuffle 2",
        settings=(_FACTOR,)),
    LayerType("pixel_unshuffle", "blocks of pixels become channels", shapes.unshuffle, takes=PICTURE,
        gives="C*factor^2 x H/factor x W/factor", count="0", use="discriminator", example="pixel_unshuffle 2",
        settings=(Setting("factor", 2, "side of the blocks", high=64),)),
    LayerType("batch_norm", "each feature to mean 0 and variance 1 over the batch", shapes.unchanged(2), takes=_ANY,
        gives=_SAME, count="2*features", use="generator", example="batch_norm"),
    LayerType("instance_norm", "each channel of each picture by itself", shapes.unchanged(2, 3), takes=PICTURE,
        gives=_SAME, count="2*C", use=_EITHER, example="instance_norm"),
    LayerType("layer_norm", "each picture, vector or step by itself", shapes.unchanged(2), takes=_ANY, gives=_SAME,
        count="2*features", use=_EITHER, example="layer_norm"),
    LayerType("group_norm", "groups of channels of each picture", shapes.group_norm, takes="CxHxW or D", gives=_SAME,
        count="2*C", use=_EITHER, example="group_norm 8", settings=(Setting("groups", 8, "groups of channels"),)),
    LayerType("pixel_norm", "the features of each pixel or step to a mean square of 1", shapes.unchanged(0), takes=_ANY,
        gives=_SAME, count="0", use="generator", example="pixel_norm"),
    LayerType("rms_norm", "the same with a learned scale", shapes.unchanged(1, 1, 2), takes="D or TxD", gives=_SAME,
        count="D", use=_EITHER, example="rms_norm"),
    LayerType("rnn", "simple recurrence, step by step", shapes.recurrent(1), takes=SEQUENCE, gives="Txunits",
        count="units*(D + units + 2)", use=_EITHER, example="rnn 64", settings=(_UNITS, _LAST)),
    LayerType("lstm", "long short-term memory", shapes.recurrent(4), takes=SEQUENCE, gives="Txunits",
        count="4*units*(D + units + 2)", use=_EITHER, example="lstm 64", settings=(_UNITS, _LAST)),
    LayerType("gru", "gated recurrent unit", shapes.recurrent(3), takes=SEQUENCE, gives="Txunits",
        count="3*units*(D + units + 2)", use=_EITHER, example="gru 64 last=yes", settings=(_UNITS, _LAST)),
    LayerType("bidirectional", "a recurrence forwards and one backwards, side by side", shapes.recurrent(0, 2),
        takes=SEQUENCE, gives="Tx2*units", count="twice its cell's", use=_EITHER, example="bidirectional 64 cell=gru",
        settings=(_UNITS, _CELL, _LAST)),
    LayerType("self_attention", "every step or pixel attends to all; added to its input", shapes.attention,
        takes="TxD or CxHxW", gives=_SAME, count="4*D^2 + 6*D", use=_EITHER, example="self_attention heads=4",
        settings=(_HEADS,)),
    LayerType("transformer", "self-attention, then a dense layer at each step, both added", shapes.transformer,
        takes=SEQUENCE, gives=_SAME, count="(4 + 2*expand)*D^2 + (9 + expand)*D", use=_EITHER,
        example="transformer heads=4",
        settings=(_HEADS, _EXPAND, _flag("causal", False, "steps attend to earlier ones only"))),
    LayerType("positions", "adds a learned vector to each step", shapes.positions, takes=SEQUENCE, gives=_SAME,
        count="T*D", use=_EITHER, example="positions"),
    LayerType("residual", "norm, ReLU and convolution, twice, with a shortcut", shapes.residual, takes="CxHxW or D",
        gives="channels x H x W", count="those of its layers", use=_EITHER, example="residual 64",
        settings=(_CHANNELS, _kernel(3), _NORM)),
    LayerType("add", "adds the output of an earlier layer (a skip)", shapes.add, takes=_ANY, gives=_SAME, count="0",
        use=_EITHER, example="add from=stem", settings=(_FROM,)),
    LayerType("concatenate", "concatenates the output of an earlier layer", shapes.concatenate, takes=_ANY,
        gives="the sum of features", count="0", use=_EITHER, example="concatenate from=2", settings=(_FROM,)),
    LayerType("embedding", "a learned vector of the class, concatenated with the input", shapes.embedding, takes=_ANY,
        gives="features + size", count="classes*size", use=_EITHER, example="embedding 16",
        settings=(Setting("size", 16, "numbers for each class"),)),
    LayerType("film", "scale and shift of each feature by the class", shapes.film, takes=_ANY, gives=_SAME,
        count="2*classes*features", use=_EITHER, example="film"),
    LayerType("flatten", "all numbers as one vector", shapes.flatten, takes=_ANY, gives="D", count="0",
        use="discriminator", example="flatten"),
    LayerType("reshape", "the same numbers in another shape", shapes.reshape, takes=_ANY, gives="the sizes", count="0",
        use="generator", example="reshape 64 7 7",
        settings=(Setting("sizes", None, "one for a vector, T D for a sequence, C H W for a picture", "sizes"),)),
    LayerType("transpose", "steps become numbers and numbers steps", shapes.transpose, takes=SEQUENCE, gives="DxT",
        count="0", use=_EITHER, example="transpose"),
    LayerType("repeat", "the same vector at every step", shapes.repeat, takes=VECTOR, gives="steps x D", count="0",
        use="generator", example="repeat 28", settings=(Setting("steps", None, "steps"),)),
    LayerType("patches", "a picture as a sequence of patches", shapes.patches, takes=PICTURE,
        gives="H*W/size^2 x C*size^2", count="0", use="discriminator", example="patches 4", settings=(_PATCH,)),
    LayerType("unpatches", "a sequence of patches as a picture", shapes.unpatches, takes=SEQUENCE,
        gives="D/size^2 x rows*size x W", count="0", use="generator", example="unpatches 4 rows=7",
        settings=(_PATCH, Setting("rows", None, "patches from top to bottom"))),
    LayerType("dropout", "sets random numbers to zero in training", shapes.unchanged(0), takes=_ANY, gives=_SAME,
        count="0", use="discriminator", example="dropout 0.3", settings=(_share(0.5, "share that is set to zero"),)),
    LayerType("channel_dropout", "sets random channels to zero in training", shapes.unchanged(0, 3), takes=PICTURE,
        gives=_SAME, count="0", use="discriminator", example="channel_dropout 0.2",
        settings=(_share(0.5, "share that is set to zero"),)),
    LayerType("noise", "adds normal noise in training", shapes.unchanged(0), takes=_ANY, gives=_SAME, count="0",
        use=_EITHER, example="noise 0.1", settings=(Setting("deviation", 0.1, "of the noise", "number", 0.0, 100.0),)),
    LayerType("sparse", "keeps the largest features, the others become 0 (top-k)", shapes.sparse, takes=_ANY,
        gives=_SAME, count="0", use=_EITHER, example="sparse keep=8",
        settings=(Setting("keep", None, "how many are kept"),)),
    LayerType("relu", "max(0, x)", shapes.unchanged(0), takes=_ANY, gives=_SAME, count="0", use=_EITHER,
        example="relu"),
    LayerType("leaky_relu", "x, or slope*x below 0", shapes.unchanged(0), takes=_ANY, gives=_SAME, count="0",
        use=_EITHER, example="leaky_relu 0.2", settings=(_share(0.2, "slope below 0", "slope"),)),
    LayerType("prelu", "the same with a learned slope for each feature", shapes.unchanged(1), takes=_ANY, gives=_SAME,
        count="features", use=_EITHER, example="prelu"),
    LayerType("elu", "x, or exp(x) - 1 below 0", shapes.unchanged(0), takes=_ANY, gives=_SAME, count="0", use=_EITHER,
        example="elu"),
    LayerType("selu", "ELU that keeps mean and variance", shapes.unchanged(0), takes=_ANY, gives=_SAME, count="0",
        use=_EITHER, example="selu"),
    LayerType("gelu", "x times the normal distribution's share below x", shapes.unchanged(0), takes=_ANY, gives=_SAME,
        count="0", use=_EITHER, example="gelu"),
    LayerType("silu", "x*sigmoid(x), also called swish", shapes.unchanged(0), takes=_ANY, gives=_SAME, count="0",
        use=_EITHER, example="silu"),
    LayerType("mish", "x*tanh(softplus(x))", shapes.unchanged(0), takes=_ANY, gives=_SAME, count="0", use=_EITHER,
        example="mish"),
    LayerType("softplus", "log(1 + exp(x))", shapes.unchanged(0), takes=_ANY, gives=_SAME, count="0", use=_EITHER,
        example="softplus"),
    LayerType("softsign", "x/(1 + |x|)", shapes.unchanged(0), takes=_ANY, gives=_SAME, count="0", use=_EITHER,
        example="softsign"),
    LayerType("tanh", "from -1 to 1, as pictures are: for the end of a generator", shapes.unchanged(0), takes=_ANY,
        gives=_SAME, count="0", use="generator", example="tanh"),
    LayerType("hard_tanh", "x, cut at -1 and 1", shapes.unchanged(0), takes=_ANY, gives=_SAME, count="0",
        use="generator", example="hard_tanh"),
    LayerType("sigmoid", "from 0 to 1", shapes.unchanged(0), takes=_ANY, gives=_SAME, count="0", use=_EITHER,
        example="sigmoid"),
    LayerType("softmax", "shares that add up to 1 over the features", shapes.unchanged(0), takes=_ANY, gives=_SAME,
        count="0", use=_EITHER, example="softmax"),
    LayerType("glu", "one half of the features, gated by the other", shapes.glu, takes=_ANY, gives="half the features",
        count="0", use=_EITHER, example="glu"),
)  # fmt: skip

LAYERS = {row.name: row for row in ROWS}
ALSO = {
    "linear": "dense", "fully_connected": "dense", "conv": "convolution", "conv2d": "convolution",
    "deconvolution": "transposed_convolution", "convtranspose2d": "transposed_convolution",
    "conv_transpose": "transposed_convolution", "maxpool": "max_pooling", "maxpool2d": "max_pooling",
    "avgpool": "average_pooling", "avgpool2d": "average_pooling", "upsample": "up_sampling", "batchnorm": "batch_norm",
    "batchnorm2d": "batch_norm", "batch_normalisation": "batch_norm", "batch_normalization": "batch_norm",
    "swish": "silu", "skip": "add", "attention": "self_attention", "unflatten": "reshape", "view": "reshape",
    "top_k": "sparse", "topk": "sparse", "bilstm": "bidirectional", "label": "embedding",
}  # fmt: skip
RANGES = {
    "tanh": "-1 to 1",
    "hard_tanh": "-1 to 1",
    "softsign": "-1 to 1",
    "sigmoid": "0 to 1",
    "softmax": "0 to 1",
    "relu": "0 and more",
    "softplus": "0 and more",
}


def signature(row: LayerType) -> str:
    """The settings with their defaults: `channels kernel=3 stride=1`."""
    return " ".join(s.name if s.default is None else f"{s.name}={plain(s.default)}" for s in row.settings)


def plain(value: Any) -> str:
    """True -> yes."""
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def sheet() -> list[str]:
    """The table of all layers as lines: input and output shape, parameters, use, and below each its settings."""
    lines = [f"{'layer':<24}{'input -> output':<52}{'parameters':<34}use"]
    for row in ROWS:
        lines.append(f"{row.name:<23} {f'{row.takes} -> {row.gives}':<51} {row.count:<33} {row.use}")
        if row.settings:
            lines.append(f"    {signature(row)}")
    return [
        *lines,
        "",
        "One layer with its settings and an example: ganforge layers NAME. Any layer takes name=WORD, for add and "
        "concatenate.",
    ]


def page(row: LayerType) -> list[str]:
    """One layer as lines: shapes, parameters, use, example and settings."""
    lines = [f"{row.name}: {row.text}", f"  input       {row.takes}", f"  output      {row.gives}"]
    lines += [f"  parameters  {row.count}", f"  use         {row.use}", f'  example     "{row.example}"']
    for s in row.settings:
        default = "required" if s.default is None else f"{plain(s.default)} by default"
        limits = f", from {s.low:g} to {s.high:g}" if s.kind in ("size", "number") else ""
        lines.append(f"  {s.name:<11} {s.help}; {default}{limits}")
    return lines
