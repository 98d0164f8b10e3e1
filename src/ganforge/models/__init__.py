"""The systems, one file each. This folder is the registry: names are read from it without importing anything heavy."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path
from typing import TYPE_CHECKING

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


def load(name: str) -> type[System]:
    """The class of a system. InputError for a name that there is not."""
    if name not in names():
        raise InputError(f"There is no system {name!r}.{did_you_mean(name, names())}")
    module = importlib.import_module(f"ganforge.models.{name}")
    system: type[System] = module.SYSTEM
    return system
