"""A network as a list of lines, checked shape by shape before anything is built.

    dense 6272
    reshape 128 7 7
    transposed_convolution 64 name=stem

A line is the name of a layer, then its settings in their order or as name=value. Any layer can be given a name, which a
later `add` or `concatenate` refers to. Sizes are whole numbers, or words, or a product or quotient of two such as
channels*16 and height/4; `words` maps the words to numbers. This file does not import torch."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ganforge.base.errors import InputError, did_you_mean
from ganforge.compose.catalogue import ALSO, LAYERS, LayerType, Setting, plain
from ganforge.compose.shapes import Context, Misfit, Shape, show

MAX_LAYERS = 1000
MAX_NUMBERS = 1 << 26  # in the output of one layer for one picture; more is taken for a typing error
MAX_PARAMETERS = 1_000_000_000
_KINDS = {1: "a vector of", 2: "a sequence of", 3: "a picture of"}


@dataclass(frozen=True, kw_only=True)
class Step:
    """One checked line."""

    number: int
    layer: str
    name: str
    """The name that `name=` gives it, or an empty string."""
    values: Mapping[str, Any]
    shape_in: Shape
    other: int
    """The number of the layer that `from` refers to, 0 for the input; -1 for layers without `from`."""
    shape_out: Shape
    parameters: int


@dataclass(frozen=True)
class _Line:
    where: str
    row: LayerType
    name: str
    values: dict[str, Any]


def check(part: str, lines: Sequence[str], start: Shape, words: Mapping[str, int]) -> list[Step]:
    """The checked lines of the network called `part`, for inputs of shape `start` (without the batch).

    `words` are the numbers that sizes may refer to by name, `classes` among them. InputError with the layer, its input
    shape, the shape that it needs, and what to change."""
    if not lines:
        raise InputError(f"{part} has no layers. See what there is with: ganforge layers")
    if len(lines) > MAX_LAYERS:
        raise InputError(f"{part} has {len(lines):,} layers; the limit is {MAX_LAYERS:,}.")
    parsed = [_parse(part, n, line, words) for n, line in enumerate(lines, 1)]
    names = {line.name: n for n, line in enumerate(parsed, 1) if line.name}
    if len(names) < sum(bool(line.name) for line in parsed):
        double = next(line for n, line in enumerate(parsed, 1) if line.name and names[line.name] != n)
        raise InputError(f"{double.where}: another layer is called {double.name} too. Call one of them something else.")
    shapes, steps, total = [start], list[Step](), 0
    for number, line in enumerate(parsed, 1):
        other = _reference(line, number, names, len(parsed)) if "from" in line.values else -1
        context = Context(words.get("classes", 0), shapes[other] if other >= 0 else ())
        shape_in = shapes[-1]
        try:
            shape_out, parameters = line.row.plan(shape_in, line.values, context)
        except Misfit as misfit:
            raise InputError(
                f"{line.where}: {describe(shape_in)} came; it needs {misfit.needed}. {misfit.advice}"
            ) from None
        total += parameters
        if _product(shape_out) > MAX_NUMBERS or total > MAX_PARAMETERS:
            if total > MAX_PARAMETERS:
                size = f"{total:,} parameters so far"
            else:
                size = f"{_product(shape_out):,} numbers a picture"
            raise InputError(
                f"{line.where}: {describe(shape_in)} came, {describe(shape_out)} goes, which makes {size}: too many. "
                "Make it smaller."
            )
        steps.append(
            Step(
                number=number,
                layer=line.row.name,
                name=line.name,
                values=line.values,
                shape_in=shape_in,
                other=other,
                shape_out=shape_out,
                parameters=parameters,
            )
        )
        shapes.append(shape_out)
    return steps


def check_end(part: str, steps: Sequence[Step], end: Shape, why: str) -> None:
    """InputError unless the output of the last layer has the shape `end`; `why` says what needs that shape."""
    last = steps[-1]
    if last.shape_out == end:
        return
    if _product(last.shape_out) == _product(end):
        advice = f"Add `reshape {' '.join(map(str, end))}`."
    elif len(last.shape_out) == len(end) == 3 and last.shape_out[1:] == end[1:]:
        advice = f"Add `convolution {end[0]}`, or give that layer {end[0]} channels."
    elif len(last.shape_out) == len(end) == 3:
        advice = f"Change what makes it larger or smaller, or add `resize {end[1]} {end[2]}`."
    elif len(end) == 1:
        advice = f"Add {'`flatten` and ' if len(last.shape_out) > 1 else ''}`dense {end[0]}`."
    else:
        advice = f"Add `dense {_product(end)}` and `reshape {' '.join(map(str, end))}`."
    raise InputError(
        f"{part}, layer {last.number} ({last.layer}), the last: it gives {describe(last.shape_out)}; "
        f"{why} {describe(end)}. {advice}"
    )


def table(part: str, steps: Sequence[Step]) -> list[str]:
    """The network as lines of text: layers, shapes, parameters and settings."""
    lines = [f"{part}: {sum(step.parameters for step in steps):,} parameters"]
    for step in steps:
        settings = " ".join(
            f"{k}={plain(v) if not isinstance(v, list) else show(tuple(v))}" for k, v in step.values.items()
        )
        word = step.layer + (f" ({step.name})" if step.name else "")
        lines.append(
            f"  {step.number:>3}  {word:<28} {show(step.shape_in):>12} -> {show(step.shape_out):<12} "
            f"{step.parameters:>12,}  {settings}"
        )
    return lines


def describe(shape: Shape) -> str:
    """(64, 7, 7) -> a picture of 64x7x7."""
    return f"{_KINDS[len(shape)]} {show(shape)}"


def _product(shape: Shape) -> int:
    out = 1
    for side in shape:
        out *= side
    return out


def _parse(part: str, number: int, text: str, words: Mapping[str, int]) -> _Line:
    """One line, parsed: its layer and the values of its settings."""
    word, *rest = text.split() or [""]
    row = LAYERS.get(word.lower())
    if row is None:
        known = ALSO.get(word.lower())
        hint = f" Did you mean {known}?" if known else did_you_mean(word.lower(), LAYERS)
        raise InputError(f"{part}, layer {number}: there is no layer {word!r}.{hint} See: ganforge layers")
    where = f"{part}, layer {number} ({row.name})"
    settings = {s.name: s for s in row.settings}
    open_ = list(row.settings)
    values: dict[str, Any] = {}
    name = ""
    for item in rest:
        key, equals, value = item.partition("=")
        if key == "name" and equals:
            if not re.fullmatch(r"[A-Za-z_]\w{0,40}", value) or value == "input":
                raise InputError(f"{where}: {value!r} is no name; take letters, digits and _, such as name=stem.")
            name = value
            continue
        if not equals:
            if not open_:
                raise InputError(
                    f"{where}: {item!r} is one setting too many. It takes: {' '.join(settings) or 'none'}."
                )
            key, value = open_[0].name, item
        if key not in settings:
            raise InputError(f"{where}: there is no setting {key!r}.{did_you_mean(key, [*settings, 'name'])}")
        setting = settings[key]
        if key in values and setting.kind != "sizes":
            raise InputError(f"{where}: {key} is said twice. Say it once.")
        read = _value(where, setting, value, words)
        values[key] = values.get(key, []) + read if setting.kind == "sizes" else read
        if setting.kind != "sizes":
            open_ = [s for s in open_ if s.name != key]
    for setting in row.settings:
        if setting.name not in values:
            if setting.default is None:
                raise InputError(f'{where}: {setting.name} is missing: {setting.help}. Such as: "{row.example}"')
            values[setting.name] = setting.default
    if values.get("padding") == "half":
        values["padding"] = values.get("dilation", 1) * (values["kernel"] - 1) // 2
    return _Line(where, row, name, {s.name: values[s.name] for s in row.settings})


def _value(where: str, setting: Setting, text: str, words: Mapping[str, int]) -> Any:
    """The value of one setting from its text; for `sizes` a list."""
    if setting.kind == "sizes":
        return [
            _size(where, setting, one, words)
            for one in (text.split("x") if re.fullmatch(r"\d+(x\d+)+", text) else [text])
        ]
    if setting.kind == "layer" or (setting.name == "padding" and text == "half"):
        return text
    if setting.kind == "yes/no":
        known = {"yes": True, "true": True, "no": False, "false": False}
        if text.lower() not in known:
            raise InputError(f"{where}: {setting.name} is {text!r}; it takes yes or no.")
        return known[text.lower()]
    if setting.kind == "word":
        if text not in setting.choices:
            raise InputError(f"{where}: {setting.name} is {text!r}.{did_you_mean(text, setting.choices)}")
        return text
    if setting.kind == "number":
        try:
            number: float = float(text)
        except ValueError:
            raise InputError(f"{where}: {setting.name} is {text!r}; it takes a number.") from None
    else:
        number = _size(where, setting, text, words)
    if not setting.low <= number <= setting.high:
        raise InputError(f"{where}: {setting.name} is {text}; it takes {setting.low:g} to {setting.high:g}.")
    return number


def _size(where: str, setting: Setting, text: str, words: Mapping[str, int]) -> int:
    """64, or height, height/4, channels*2."""
    parts = re.fullmatch(r"(\d{1,9}|[a-z]+)(?:([*/])(\d{1,9}|[a-z]+))?", text)
    if not parts or any(word.isalpha() and word not in words for word in (parts[1], parts[3] or "1")):
        hint = did_you_mean(text, words) if text.isalpha() else f" Words that stand for numbers: {', '.join(words)}."
        raise InputError(f"{where}: {setting.name} is {text!r}; it takes a whole number.{hint}")
    number, other = (int(word) if word.isdecimal() else words[word] for word in (parts[1], parts[3] or "1"))
    if parts[2] == "/":
        if not other or number % other:
            raise InputError(f"{where}: {text} is {number}/{other}, no whole number. Take a divisor of {number}.")
        return number // other
    return number * other


def _reference(line: _Line, number: int, names: Mapping[str, int], count: int) -> int:
    """The number of the layer that `from` names. InputError unless it is an earlier one."""
    word = str(line.values["from"])
    if word == "input":
        return 0
    if not word.isdecimal() and word not in names:
        raise InputError(f"{line.where}: no layer is called {word!r}.{did_you_mean(word, [*names, 'input'])}")
    other = int(word) if word.isdecimal() else names[word]
    if not 1 <= other <= count:
        raise InputError(f"{line.where}: there is no layer {other}; before it there are 1 to {number - 1}, and input.")
    if other >= number:
        target = "itself" if other == number else f"layer {other}, which comes later"
        raise InputError(
            f"{line.where}: it refers to {target}, which would be a loop. Refer to one of the layers before "
            f"{number}, or to input."
        )
    return other
