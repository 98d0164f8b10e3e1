"""The systems, one file each. This folder is the registry: names are read from it without importing torch."""

from __future__ import annotations

import ast
import contextlib
import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganforge.base.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from ganforge.media.medium import Medium
    from ganforge.media.spec import Spec
    from ganforge.system import System

_HERE = Path(__file__).parent
FIRST = {
    "picture": "stylegan2",
    "pair": "pix2pix",
    "sound": "speech",
    "clip": "video",
    "solid": "solid",
    "text": "textgan",
}
"""The system to begin with, by the kind of medium; for pictures with captions see `first`."""


def first(spec: Spec) -> str:
    """The system to begin with on rows of `spec`."""
    return "caption" if spec.captions else FIRST[spec.medium.kind]


def names() -> list[str]:
    """The names of all systems."""
    return sorted(path.stem for path in _HERE.glob("*.py") if path.stem != "__init__")


def describe(name: str) -> str:
    """The first line of a system's docstring, read without importing it. InputError where the file cannot be parsed."""
    try:
        tree = ast.parse((_HERE / f"{name}.py").read_text("utf-8"))
    except (OSError, SyntaxError, ValueError) as error:
        raise InputError(_broken(name, error)) from error
    return (ast.get_docstring(tree) or f"{name}: its file has no docstring").splitlines()[0]


def _broken(name: str, error: BaseException) -> str:
    return f"The system {name} cannot be used, {_HERE / name}.py: {type(error).__name__}: {error}"


@dataclass(frozen=True)
class Loaded:
    """The contents of a system's file: `SYSTEM`, `Config`, `PRESETS` and `TRAIN`."""

    system: type[System]
    config: type
    presets: dict[str, dict[str, Any]]
    train: dict[str, Any]

    def preset(self, size: str) -> dict[str, dict[str, Any]]:
        """The values of `size` in the sections `model` and `train`; some may be Rules (`ganforge.system.Rule`)."""
        values: dict[str, dict[str, Any]] = {"model": {}, "train": dict(self.train)}
        for name, value in self.presets[size].items():
            section = "train" if name.startswith("train.") else "model"
            values[section][name.removeprefix("train.")] = value
        return values


def load(name: str) -> Loaded:
    """Import a system's file. InputError for an unknown name, and for a file that cannot be imported or lacks a
    part."""
    if name not in names():
        raise InputError(f"There is no system {name!r}.{did_you_mean(name, names())}")
    try:
        module = importlib.import_module(f"ganforge.models.{name}")
        return Loaded(module.SYSTEM, module.Config, module.PRESETS, module.TRAIN)
    except Exception as error:  # a new file may raise anything
        raise InputError(_broken(name, error)) from error


def of_medium(kind: type[Medium]) -> list[str]:
    """The names of the systems that learn from rows of this medium."""
    return [name for name, entry in _loaded().items() if issubclass(kind, entry.system.media)]


def without_labels(kind: type[Medium]) -> list[str]:
    """The names of those of them that can be trained without labels."""
    loaded = _loaded()
    return [name for name in of_medium(kind) if not loaded[name].system.needs_labels(loaded[name].config())]


def _loaded() -> dict[str, Loaded]:
    """All systems by name, without files that have a mistake."""
    loaded = {}
    for name in names():
        with contextlib.suppress(InputError):
            loaded[name] = load(name)
    return loaded
