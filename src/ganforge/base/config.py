"""Settings: frozen dataclasses, checked when they are built, written as TOML, set by `--section.name value`."""

from __future__ import annotations

import dataclasses
import json
import math
import tomllib
import types
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from ganforge.base.errors import InputError, check_text, did_you_mean

T = TypeVar("T")
KINDS = {
    bool: "true or false",
    int: "whole number",
    float: "number",
    str: "text",
    Path: "path",
    tuple: "list of texts",
}
SEPARATORS = {";": "semicolons between them", ",": "commas between them", "": "each by itself"}


def setting(
    default: Any,
    help: str,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str | int, ...] = (),
    split: str = ";",
    metavar: str | None = None,
) -> Any:
    """A dataclass field with its meaning (with unit) and its limits, both inclusive.

    `split` stands between the texts of a list on the command line; where it is "", the option is repeated for each.
    `metavar` names the value in the help."""
    facts = {"help": help, "low": low, "high": high, "choices": choices, "split": split, "metavar": metavar}
    return dataclasses.field(default=default, metadata=facts)


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
    kind = _kinds(hints[name])[0]
    words = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
    try:
        if kind is bool:
            return words[text.lower()]
        if kind is int:
            return _whole(text.replace("_", ""))
        if kind is float:
            return float(text.replace("_", ""))
        if kind is tuple:
            field = next(field for field in dataclasses.fields(cls) if field.name == name)
            return tuple(part.strip() for part in text.split(field.metadata["split"]) if part.strip())
    except (KeyError, ValueError, OverflowError):
        raise InputError(f"{section}.{name} is {text!r}; it takes a value of type {kind.__name__}.") from None
    return text


def describe(cls: type, values: Mapping[str, Any]) -> dict[str, tuple[str, str, str]]:
    """What a user may set in `cls`: (default, range, meaning) by name; defaults are those in `values` before the
    field's own."""
    hints = typing.get_type_hints(cls)
    rows = {}
    for f in dataclasses.fields(cls):
        default, kind, choices = values.get(f.name, f.default), _kinds(hints[f.name])[0], f.metadata["choices"]
        span = f"{KINDS[kind]} {_span(f.metadata['low'], f.metadata['high'])}".strip()
        if kind is tuple:
            span += f", {SEPARATORS[f.metadata['split']]}"
        one_of = " | ".join(map(str, choices))
        rows[f.name] = ("none" if default is None else _toml(default), one_of or span, f.metadata["help"])
    return rows


def notes(rows: Mapping[str, tuple[str, str, str]]) -> dict[str, str]:
    """What `describe` says of each setting, in one line: its meaning, its range, its default."""
    return {name: f"{meaning} [{span}; default {default}]" for name, (default, span, meaning) in rows.items()}


def _span(low: float | None, high: float | None) -> str:
    """The limits in words; empty where there are none."""
    if low is None and high is None:
        return ""
    return f"at least {low}" if high is None else f"at most {high}" if low is None else f"from {low} to {high}"


def _check(where: str, value: Any, hint: Any, limits: Mapping[str, Any]) -> Any:
    if value is None and type(None) in typing.get_args(hint):
        return None
    kinds = _kinds(hint)
    kind = kinds[0]
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)  # torch's Adam refuses betas that mix int and float
    if kind is tuple and isinstance(value, Iterable) and not isinstance(value, (str, bytes, Mapping)):
        value = tuple(value)
    if kind is Path and isinstance(value, str):
        value = Path(value)
    if isinstance(value, Path) and "\0" in str(value):
        raise InputError(f"{where} is {str(value)!r}; no path holds the character 0.")
    if kind is tuple and not (isinstance(value, tuple) and all(isinstance(one, str) for one in value)):
        raise InputError(f"{where} is {value!r}; it takes a list of strings.")
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        raise InputError(f"{where} is {value!r}; it takes a value of type {kind.__name__}.")
    if kind is float and not math.isfinite(value):
        raise InputError(f"{where} is {value}; it takes a finite number.")
    choices, low, high = limits.get("choices"), limits.get("low"), limits.get("high")
    if choices and value not in choices:
        raise InputError(f"{where} is {value!r}.{did_you_mean(str(value), map(str, choices))}")
    if (low is not None and value < low) or (high is not None and value > high):
        raise InputError(f"{where} is {value}; it takes {_span(low, high)}.")
    return value


def _kinds(hint: Any) -> tuple[Any, ...]:
    """(int,) for `int | None`, (tuple,) for `tuple[str, ...]`, (str, int) for `str | int`."""
    hints = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    return tuple(typing.get_origin(kind) or kind for kind in hints if kind is not type(None))


def _whole(text: str) -> int:
    """1000 and 1e3 -> 1000. ValueError or OverflowError for other texts."""
    if text.lstrip("+-").isdecimal():
        return int(text)  # as a float it would lose digits from 2^53 on
    number = float(text)
    if number != int(number):
        raise ValueError(text)
    return int(number)


def to_toml(sections: Mapping[str, Mapping[str, Any]], notes: Mapping[str, Mapping[str, str]] | None = None) -> str:
    """Sections of plain values as TOML, in the order given, with notes by section and name as comments behind them.

    None is left out, it is the default wherever it may stand; where it has a note, its name is left as a comment.
    InputError for text that TOML cannot hold.
    """
    lines: list[str] = []
    for section, values in sections.items():
        lines += [f"[{section}]"]
        comments = (notes or {}).get(section, {})
        for name, value in values.items():
            line = f"# {name} =" if value is None else f"{name} = {_toml(value)}"
            if value is not None or name in comments:
                lines.append(f"{line:<32}  # {comments[name]}" if name in comments else line)
        lines += [""]
    return "\n".join(lines)


def _toml(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_toml(v) for v in value) + "]"
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{name} = {_toml(v)}" for name, v in value.items()) + " }"
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, Path):
        value = str(value)
    text = json.dumps(value, ensure_ascii=False)  # strings, whole numbers and booleans are the same in both languages
    check_text(text)
    return text.replace("\x7f", "\\u007f")  # except for this character


def read_toml(path: Path) -> dict[str, Any]:
    """The sections of a TOML file; InputError with the line where it cannot be read."""
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}. Name a TOML file.") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{path} cannot be read as TOML: {error}.") from error


def read_section(path: Path, section: str) -> dict[str, Any]:
    """The values of the one section that a TOML file has. InputError where it has another one, or none."""
    sections = read_toml(path)
    for name in sections:
        if name != section:
            raise InputError(f"{path} has a section {name}.{did_you_mean(name, (section,))}")
    values = sections.get(section)
    if not isinstance(values, dict):
        raise InputError(f"{path} has no section [{section}]; --dry-run prints one.")
    return values
