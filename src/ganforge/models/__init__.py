"""The systems, one file each. This folder is the registry: names are read from it without importing anything heavy."""

from __future__ import annotations

import ast
import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganforge.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from ganforge.models.base import System

_HERE = Path(__file__).parent


def names() -> list[str]:
    """The names of all systems."""
    return sorted(path.stem for path in _HERE.glob("*.py") if path.stem not in ("__init__", "base"))


def describe(name: str) -> str:
    """The first line of a system's docstring, read without importing it."""
    tree = ast.parse((_HERE / f"{name}.py").read_text("utf-8"))
    return (ast.get_docstring(tree) or "").splitlines()[0]


@dataclass(frozen=True)
class Loaded:
    """What a system's file holds."""

    system: type[System]
    config: type
    presets: dict[str, dict[str, Any]]
    train: dict[str, Any]


def load(name: str) -> Loaded:
    """Import a system's file. InputError for a name that there is not."""
    if name not in names():
        raise InputError(f"There is no system {name!r}.{did_you_mean(name, names())}")
    module = importlib.import_module(f"ganforge.models.{name}")
    return Loaded(module.SYSTEM, module.Config, module.PRESETS, module.TRAIN)


def without_labels() -> list[str]:
    """The systems that an unlabelled store will do for."""
    loaded = {name: load(name) for name in names()}
    return [name for name, found in loaded.items() if not found.system.needs_labels(found.config())]
