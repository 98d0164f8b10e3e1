"""Settings: frozen dataclasses, checked when they are built, written as TOML, set by `--section.name value`."""

from __future__ import annotations

import dataclasses
import json
import math
import tomllib
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from ganforge.errors import InputError, did_you_mean

T = TypeVar("T")


def setting(
    default: Any,
    help: str,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] = (),
) -> Any:
    """A dataclass field with its meaning (with unit) and its limits, both inclusive."""
    return dataclasses.field(default=default, metadata={"help": help, "low": low, "high": high, "choices": choices})


def build(cls: type[T], values: Mapping[str, Any], section: str) -> T:
    """A `cls` from `values`: unknown names, wrong types and numbers out of range raise InputError."""
    fields = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    hints = typing.get_type_hints(cls)
    checked = {}
    for name, value in values.items():
        if name not in fields:
            raise InputError(f"There is no setting {section}.{name}.{did_you_mean(name, fields)}")
        checked[name] = _check(f"{section}.{name}", value, hints[name], fields[name].metadata)
    return cls(**checked)


def parse(cls: type, name: str, text: str, section: str) -> Any:
    """The text of a command-line option as a value of the field's type."""
    hints = typing.get_type_hints(cls)
    if name not in hints:
        raise InputError(f"There is no setting {section}.{name}.{did_you_mean(name, hints)}")
    kind = _plain(hints[name])
    words = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
    try:
        if kind is bool:
            return words[text.lower()]
        if kind is int:
            return _whole(float(text.replace("_", "")))
        if kind is float:
            return float(text.replace("_", ""))
        if kind is tuple:
            return tuple(part.strip() for part in text.split(";") if part.strip())
    except (KeyError, ValueError):
        raise InputError(f"{section}.{name} is {text!r}; it takes a value of type {kind.__name__}.") from None
    return text


def _check(where: str, value: Any, hint: Any, limits: Mapping[str, Any]) -> Any:
    if value is None and type(None) in typing.get_args(hint):
        return None
    kind: Any = _plain(hint)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)  # torch's Adam refuses betas that mix int and float
    if kind is tuple and isinstance(value, list):
        value = tuple(value)
    if kind is tuple and not (isinstance(value, tuple) and all(isinstance(one, str) for one in value)):
        raise InputError(f"{where} is {value!r}; it takes a list of strings.")
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise InputError(f"{where} is {value!r}; it takes a value of type {kind.__name__}.")
    if kind is float and not math.isfinite(value):
        raise InputError(f"{where} is {value}; it takes a finite number.")
    choices, low, high = limits.get("choices"), limits.get("low"), limits.get("high")
    if choices and value not in choices:
        raise InputError(f"{where} is {value!r}.{did_you_mean(value, choices)}")
    if (low is not None and value < low) or (high is not None and value > high):
        span = f"at least {low}" if high is None else f"at most {high}" if low is None else f"from {low} to {high}"
        raise InputError(f"{where} is {value}; it takes {span}.")
    return value


def _plain(hint: Any) -> type:
    """int for `int | None`, tuple for `tuple[str, ...]`."""
    if isinstance(hint, types.UnionType):
        hint = next(kind for kind in typing.get_args(hint) if kind is not type(None))
    hint = typing.get_origin(hint) or hint
    return typing.cast(type, hint)


def _whole(number: float) -> int:
    if number != int(number):
        raise ValueError(number)
    return int(number)


def to_toml(sections: Mapping[str, Mapping[str, Any]]) -> str:
    """Sections of plain values as TOML, in the order given. None is left out: it is the default wherever it may stand."""
    lines: list[str] = []
    for section, values in sections.items():
        lines += [f"[{section}]"]
        lines += [f"{name} = {_toml(value)}" for name, value in values.items() if value is not None]
        lines += [""]
    return "\n".join(lines)


def _toml(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_toml(v) for v in value) + "]"
    if isinstance(value, float):
        return repr(value)
    return json.dumps(value, ensure_ascii=False)  # strings, whole numbers and booleans are the same in both languages


def read_toml(path: Path) -> dict[str, Any]:
    """The sections of a TOML file; InputError with the line where it cannot be read."""
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{path} cannot be read as TOML: {error}.") from error
