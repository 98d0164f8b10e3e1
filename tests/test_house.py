"""The house rules: floors, style, types, light import, public names, dependencies."""

from __future__ import annotations

import ast
import importlib.metadata
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import ganforge

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "src").rglob("*.py"))


def run(*command: str) -> str:
    done = subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_floors_and_independence_of_the_wings():
    run("-c", "from importlinter.cli import lint_imports_command; lint_imports_command()")


def test_ruff():
    run("-m", "ruff", "check", ".")
    run("-m", "ruff", "format", "--check", ".")


def test_types():
    run("-m", "mypy")


@pytest.mark.parametrize(
    "words",
    ["[]", "['--help']", "['systems']", "['layers', 'lstm']", "['train', '--help']", "['prepare', 'nowhere', '--fit']"],
)
def test_words_are_understood_without_importing_anything_heavy(words):
    code = f"""
import sys, contextlib
from ganforge.cli import main
with contextlib.suppress(SystemExit):
    main({words})
heavy = {{'torch', 'numpy', 'PIL', 'pyarrow', 'sklearn', 'rich'}} & sys.modules.keys()
assert not heavy, heavy
"""
    run("-c", code)


def test_public_names():
    assert set(ganforge.__all__) == {
        "Run", "Store", "__version__", "audit", "clean", "collect", "demo", "measure", "prepare", "restore", "sample", "show",
        "train",
    }  # fmt: skip
    for name in ganforge.__all__:
        assert getattr(ganforge, name) is not None


def test_a_verb_is_a_function_also_after_its_module_was_imported():
    import ganforge.prepare
    import ganforge.train

    assert callable(ganforge.prepare)
    assert callable(ganforge.train)
    assert sys.modules["ganforge.train"].Trainer


def test_everything_public_has_a_docstring():
    missing = []
    for path in SOURCES:
        tree = ast.parse(path.read_text("utf-8"))
        if ast.get_docstring(tree) is None:
            missing.append(str(path))
        for node in tree.body:
            if (
                isinstance(node, (ast.FunctionDef, ast.ClassDef))
                and not node.name.startswith("_")
                and not ast.get_docstring(node)
            ):
                missing.append(f"{path}: {node.name}")
    assert not missing


def test_nothing_is_unpickled_and_no_asserts_guard_users():
    for path in SOURCES:
        text = path.read_text("utf-8")
        for word in ("torch.load(", "import pickle", "allow_pickle=True", "extractall(", "eval(", "exec("):
            found = [line for line in text.splitlines() if word in line and ".eval(" not in line]
            assert not found, f"{path}: {found}"


def test_installing_leaves_torch_alone():
    installed = {dist.metadata["Name"].lower() for dist in importlib.metadata.distributions()}
    assert not {"torchvision", "torchaudio"} & installed
    cpu_build = "+cpu" in importlib.metadata.version("torch")
    assert not (cpu_build and [name for name in installed if name.startswith("nvidia-")])
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert "torch>=2.10,<=2.13.0" in wanted
