"""A dataclass of settings as options of the command line and as a TOML file, by what `base.config` knows of it.

The setting `part_size` is the option `--part-size`; true and false are `--stratify` and `--no-stratify`; a list without
a separator is an option that is repeated for each of its texts."""

from __future__ import annotations

import argparse
import functools
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

from ganforge.base import config
from ganforge.base.errors import InputError

T = TypeVar("T")


def whole(text: str) -> int:
    """A whole number, for argparse."""
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number") from None


def number(text: str) -> float:
    """A number, for argparse."""
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no number") from None


def add(verb: argparse.ArgumentParser, cls: type, spelled: Mapping[str, str] | None = None) -> None:
    """An option for each setting of `cls`, with its range and default in the help; `spelled` are other names of
    options, by setting. Those that are not given have no attribute in the parsed arguments."""
    rows = config.describe(cls, {})
    for name, note in config.notes(rows).items():
        facts = next(field for field in fields(cls) if field.name == name)
        default: Any = facts.default
        words: dict[str, Any] = {"dest": name, "default": argparse.SUPPRESS, "help": note.replace("%", "%%")}
        if isinstance(default, bool):
            words["action"] = argparse.BooleanOptionalAction
        else:
            words |= {"type": functools.partial(_parsed, cls, name), "metavar": facts.metadata["metavar"]}
        if isinstance(default, tuple) and not facts.metadata["split"]:
            words |= {"action": "append", "type": str}
        verb.add_argument((spelled or {}).get(name, f"--{name.replace('_', '-')}"), **words)


def add_config(verb: argparse.ArgumentParser) -> None:
    """Settings from a file, and into one."""
    verb.add_argument("--config", type=Path, help="a TOML file of these settings; options come before it")
    verb.add_argument("--dry-run", action="store_true", help="print the complete settings as such a file and stop")


def _parsed(cls: type, name: str, text: str) -> Any:
    try:
        return config.parse(cls, name, text, "")
    except InputError:
        kind = config.describe(cls, {})[name][1].split(" from ")[0].split(" at ")[0]
        raise argparse.ArgumentTypeError(f"{text!r} is no {kind}") from None


def given(args: argparse.Namespace, cls: type) -> dict[str, Any]:
    """The settings of `cls` that the command line gives."""
    return {field.name: getattr(args, field.name) for field in fields(cls) if hasattr(args, field.name)}


def settings(args: argparse.Namespace, cls: type[T]) -> T:
    """The settings of a verb: the defaults, then its section of the file `--config`, then the options."""
    base = config.read_section(args.config, args.verb) if args.config else {}
    return config.build(cls, {**base, **given(args, cls)}, args.verb)


def toml(args: argparse.Namespace, values: Any) -> str:
    """The settings of a verb as a file that `--config` takes, with the meaning of each."""
    return config.to_toml({args.verb: vars(values)}, {args.verb: config.notes(config.describe(type(values), {}))})
