"""docs/architecture.md names files, functions and layers that exist."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "ganforge"
PAGE = (ROOT / "docs" / "architecture.md").read_text("utf-8")


def names(body: list[ast.stmt], prefix: str = "") -> set[str]:
    """What is defined at the top level of a file, and in its classes: Run, Run.save."""
    found: set[str] = set()
    for node in body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            found.add(prefix + node.name)
            if isinstance(node, ast.ClassDef):
                found |= names(node.body, f"{prefix}{node.name}.")
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {prefix + target.id for target in targets if isinstance(target, ast.Name)}
    return found


def test_files_and_functions_that_the_page_names_exist():
    references = re.findall(r"`([\w./-]+\.(?:py|html|md)|[\w/]+/)(?:::([\w.]+))?`", PAGE)
    assert sum(bool(name) for _, name in references) > 80
    missing = []
    for path, name in references:
        file = next((base / path for base in (SOURCE, ROOT) if (base / path).exists()), None)
        if file is None or (name and name not in names(ast.parse(file.read_text("utf-8")).body)):
            missing.append(f"{path}::{name}")
    assert not missing


def test_the_layers_of_the_page_are_those_that_are_checked():
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]
    layers = [re.findall(r"ganforge\.(\w+)", layer) for layer in tools["importlinter"]["contracts"][0]["layers"]]
    rows = re.findall(r"^\| (\d+) \| ([^|]+) \|", PAGE, re.M)
    assert [re.findall(r"`(\w+)`", modules) for _, modules in rows] == layers
    assert [int(number) for number, _ in rows] == list(range(len(layers), 0, -1))
