"""The rules of the source: layers, sizes, style, types, light import, public names, dependencies."""

from __future__ import annotations

import ast
import graphlib
import importlib.metadata
import re
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import ganforge

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "src").rglob("*.py"))


def run(*command: str) -> str:
    done = subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_layers_and_independence():
    run("-c", "from importlinter.cli import lint_imports_command; lint_imports_command()")


def imports() -> dict[str, set[str]]:
    """Module -> the modules of the package that it imports, also inside functions; not those for type checkers only."""
    package = ROOT / "src"
    names = {
        ".".join(path.relative_to(package).with_suffix("").parts).removesuffix(".__init__"): path for path in SOURCES
    }
    found: dict[str, set[str]] = {}
    for name, path in names.items():
        tree = ast.parse(path.read_text("utf-8"))
        for block in [node for node in ast.walk(tree) if isinstance(node, ast.If)]:
            if ast.unparse(block.test) == "TYPE_CHECKING":
                block.body = []
        wanted = found.setdefault(name, set())
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module:
                inner = {f"{node.module}.{alias.name}" for alias in node.names}
                wanted |= (inner & names.keys()) or ({node.module} & names.keys())
    return found


def test_no_circle_of_imports_and_nothing_imports_the_package_itself():
    found = imports()
    graphlib.TopologicalSorter(found).prepare()  # CycleError names the circle
    assert not [name for name, wanted in found.items() if "ganforge" in wanted]


def test_every_file_stands_in_a_layer():
    layers = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]["layers"]
    assert len(layers) <= 11
    named = {name for layer in layers for name in re.findall(r"ganforge\.(\w+)", layer)}
    there = {path.stem for path in (ROOT / "src/ganforge").iterdir() if path.suffix in ("", ".py")} - {"__pycache__"}
    assert there - {"__init__", "version"} == named


def test_packages_and_files_are_small():
    files = Counter(path.parent for path in SOURCES)
    assert not {str(folder): n for folder, n in files.items() if n > 14 and folder.name != "models"}
    assert not {str(path): n for path in SOURCES if (n := len(path.read_text("utf-8").splitlines())) > 500}
    assert all(len(path.relative_to(ROOT / "src/ganforge").parts) <= 2 for path in SOURCES)


def test_tests_mirror_the_source():
    """The tests of PACKAGE/FILE.py are in tests/PACKAGE/test_FILE.py; a few are about the whole."""
    tests = {path.relative_to(ROOT / "tests") for path in (ROOT / "tests").rglob("test_*.py")}
    others = {test for test in tests if not (ROOT / "src/ganforge" / test.parent / test.name[5:]).is_file()}
    about_the_whole = {"architecture", "benchmarks", "docs", "hostile", "house", "promises"}
    about_all_systems = {Path("models/test_contract.py"), Path("models/test_labels.py")}
    assert others == {Path(f"test_{name}.py") for name in about_the_whole} | about_all_systems


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
        "Run", "Store", "__version__", "audit", "clean", "collect", "demo", "measure", "prepare", "restore", "sample",
        "show", "train",
    }  # fmt: skip
    for name in ganforge.__all__:
        assert getattr(ganforge, name) is not None


def test_no_module_has_the_name_of_a_verb():
    """Importing it would put the module where the function is."""
    assert not {path.stem for path in (ROOT / "src/ganforge").iterdir()} & set(ganforge.__all__)


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


def test_the_workflow_runs_the_commands_of_the_readme():
    yaml = pytest.importorskip("yaml", reason='PyYAML comes with pip install ".[docs]"')
    start = (ROOT / "README.md").read_text("utf-8").partition("## Your own pictures")[0]
    (job,) = yaml.safe_load((ROOT / ".github/workflows/test.yml").read_text("utf-8"))["jobs"].values()
    assert [step["run"] for step in job["steps"] if "run" in step] == re.findall(r"```sh\n(.*?)\n```", start, re.S)
    assert len(job["strategy"]["matrix"]["os"]) == 3


def test_the_lock_holds_every_dependency_and_names_no_address():
    text = (ROOT / "requirements-dev.txt").read_text("utf-8")
    assert "://" not in text
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = {name: [Requirement(line) for line in lines] for name, lines in project["optional-dependencies"].items()}
    wanted = [Requirement(line) for line in project["dependencies"]] + extras["test"]
    own = next(one for one in wanted if one.name == project["name"])
    wanted += [one for name in own.extras for one in extras[name]]
    for one in wanted:
        locked = re.findall(rf"^{re.escape(one.name)}==(\S+)", text, re.M | re.I)
        assert one is own or (locked and all(map(one.specifier.contains, locked))), f"{one}: {locked}"


def test_one_version_everywhere():
    assert tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"] == ganforge.__version__
    assert f"\nversion: {ganforge.__version__}\n" in (ROOT / "CITATION.cff").read_text("utf-8")
    assert f"\n## [{ganforge.__version__}]" in (ROOT / "CHANGELOG.md").read_text("utf-8")


def test_a_class_has_a_name_of_its_own():
    """Systems and the settings of the verbs aside, of which each has one by the same name."""
    names: dict[str, list[str]] = {}
    for path in SOURCES:
        if path.parent.name == "models":
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ClassDef) and node.name != "Settings":
                names.setdefault(node.name, []).append(path.name)
    assert not {name: files for name, files in names.items() if len(files) > 1}
