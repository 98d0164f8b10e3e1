"""A network as a list of lines, checked shape by shape before anything is built.

    dense 6272
    reshape 128 7 7
    transposed_convolution 64 name=stem

A line is a layer's name, then its settings in their order or as name=value. Any layer can have a name, which a later
`add` or `concatenate` refers to. Sizes are whole numbers, or words, or one by another such as height/4 and channels*16;
the words are in `words`. No torch in here."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ganforge.base.errors import InputError, did_you_mean
from ganforge.compose.catalogue import ALSO, LAYERS, Context, Layer, Misfit, Setting, Shape, plain, show

MAX_LAYERS = 1000
MAX_NUMBERS = 1 << 26  # in one output of one picture: more is a slip of the pen
MAX_PARAMETERS = 1_000_000_000
_KINDS = {1: "a vector of", 2: "a sequence of", 3: "a picture of"}


@dataclass(frozen=True)
class Step:
    """One line that was understood and fits."""

    number: int
    layer: str
    name: str
    """What `name=` says, or nothing."""
    values: Mapping[str, Any]
    came: Shape
    other: int
    """The number of the layer that it refers to, 0 for the input; -1: it refers to none."""
    gives: Shape
    parameters: int


@dataclass(frozen=True)
class _Line:
    where: str
    row: Layer
    name: str
    values: dict[str, Any]


def check(part: str, lines: Sequence[str], start: Shape, words: Mapping[str, int]) -> list[Step]:
    """The steps of the network `part` for inputs of shape `start`.

    `words` are what sizes may be called, and `classes` is one of them. InputError naming the layer, the shape that
    came, the shape that was needed, and what to change."""
    if not lines:
        raise InputError(f"{part} has no layers. See what there is with: ganforge layers")
    if len(lines) > MAX_LAYERS:
        raise InputError(f"{part} has {len(lines):,} layers; the limit is {MAX_LAYERS:,}.")
    parsed = [_parse(part, n, line, words) for n, line in enumerate(lines, 1)]
    names = {line.name: n for n, line in enumerate(parsed, 1) if line.name}
    if len(names) < sum(bool(line.name) for line in parsed):
        twice = next(line for n, line in enumerate(parsed, 1) if line.name and names[line.name] != n)
        raise InputError(f"{twice.where}: another layer is called {twice.name} too. Call one of them something else.")
    shapes, steps, total = [start], list[Step](), 0
    for number, line in enumerate(parsed, 1):
        other = _reference(line, number, names, len(parsed)) if "from" in line.values else -1
        context = Context(words.get("classes", 0), shapes[other] if other >= 0 else ())
        came = shapes[-1]
        try:
            gives, parameters = line.row.plan(came, line.values, context)
        except Misfit as misfit:
            raise InputError(
                f"{line.where}: {describe(came)} came; it needs {misfit.needed}. {misfit.advice}"
            ) from None
        total += parameters
        if _product(gives) > MAX_NUMBERS or total > MAX_PARAMETERS:
            what = (
                f"{total:,} parameters so far" if total > MAX_PARAMETERS else f"{_product(gives):,} numbers a picture"
            )
            raise InputError(
                f"{line.where}: {describe(came)} came, {describe(gives)} goes, which makes {what}: too many. Make it smaller."
            )
        steps.append(Step(number, line.row.name, line.name, line.values, came, other, gives, parameters))
        shapes.append(gives)
    return steps


def check_end(part: str, steps: Sequence[Step], end: Shape, why: str) -> None:
    """InputError unless the last layer gives `end`."""
    last = steps[-1]
    if last.gives == end:
        return
    if _product(last.gives) == _product(end):
        advice = f"Add `reshape {' '.join(map(str, end))}`."
    elif len(last.gives) == len(end) == 3 and last.gives[1:] == end[1:]:
        advice = f"Add `convolution {end[0]}`, or give that layer {end[0]} channels."
    elif len(last.gives) == len(end) == 3:
        advice = f"Change what makes it larger or smaller, or add `resize {end[1]} {end[2]}`."
    elif len(end) == 1:
        advice = f"Add {'`flatten` and ' if len(last.gives) > 1 else ''}`dense {end[0]}`."
    else:
        advice = f"Add `dense {_product(end)}` and `reshape {' '.join(map(str, end))}`."
    raise InputError(
        f"{part}, layer {last.number} ({last.layer}), the last: it gives {describe(last.gives)}; {why} {describe(end)}. {advice}"
    )


def table(part: str, steps: Sequence[Step]) -> list[str]:
    """Layers, shapes and parameters as lines."""
    lines = [f"{part}: {sum(step.parameters for step in steps):,} parameters"]
    for step in steps:
        settings = " ".join(
            f"{k}={plain(v) if not isinstance(v, list) else show(tuple(v))}" for k, v in step.values.items()
        )
        word = step.layer + (f" ({step.name})" if step.name else "")
        lines.append(
            f"  {step.number:>3}  {word:<28} {show(step.came):>12} -> {show(step.gives):<12} {step.parameters:>12,}  {settings}"
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
    """A line's words as settings of its layer."""
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
    """The text of one setting as its value; for `sizes` a list."""
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
    """The number of the layer that `from` names; only what came before can be had."""
    word = str(line.values["from"])
    if word == "input":
        return 0
    if not word.isdecimal() and word not in names:
        raise InputError(f"{line.where}: no layer is called {word!r}.{did_you_mean(word, [*names, 'input'])}")
    other = int(word) if word.isdecimal() else names[word]
    if not 1 <= other <= count:
        raise InputError(f"{line.where}: there is no layer {other}; before it there are 1 to {number - 1}, and input.")
    if other >= number:
        what = "itself" if other == number else f"layer {other}, which comes later"
        raise InputError(
            f"{line.where}: it refers to {what}, which would be a loop. Refer to one of the layers before {number}, or to input."
        )
    return other
