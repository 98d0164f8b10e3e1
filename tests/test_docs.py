"""What the documents show is run as it stands."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ganforge import models
from ganforge.media.spec import Spec
from ganforge.testing import check_system

DOCS = Path(__file__).parents[1] / "docs"


def test_the_example_of_a_system_keeps_the_contract(tmp_path, monkeypatch):
    code = re.search(r"```python\n(.*?)```", (DOCS / "add-a-system.md").read_text("utf-8"), re.S)[1]
    assert len(code.splitlines()) < 80
    (tmp_path / "lsgan.py").write_text(code)
    monkeypatch.setattr(models, "__path__", [*models.__path__, str(tmp_path)])
    known = models.names()
    monkeypatch.setattr(models, "names", lambda: [*known, "lsgan"])
    check_system("lsgan", Spec(12, 16, 3), tmp_path / "run", {"width": 32})


def test_every_document_that_is_named_is_there():
    root = DOCS.parent
    for page in [*root.glob("*.md"), *DOCS.glob("*.md")]:
        for link in re.findall(r"\]\(([^)#]+\.md)", page.read_text("utf-8")):
            assert (page.parent / link).is_file(), f"{page.name} links to {link}"
    for name in re.findall(r"`((?:docs|examples|benchmarks)/[\w./-]+\.\w+)`", (root / "README.md").read_text("utf-8")):
        assert (root / name).is_file(), name


def test_files_and_names_of_the_glossary_exist():
    rows = [row for row in (DOCS / "glossary.md").read_text("utf-8").splitlines() if row.startswith("| ")]
    named = [re.findall(r"`([^`]+)`", row.rpartition(" | ")[2]) for row in rows if not row.endswith("| where |")]
    assert len(named) > 50 and all(named)
    for file, *identifiers in named:
        source = (DOCS.parent / "src" / "ganforge" / file).read_text("utf-8")
        for identifier in identifiers:
            assert re.search(rf"\b{identifier}\b", source), f"{identifier} is not in {file}"


def test_the_site_builds_without_a_warning(tmp_path):
    """Pages, links, anchors, navigation, and the reference from the docstrings."""
    pytest.importorskip("mkdocstrings", reason='mkdocs and mkdocstrings come with pip install ".[docs]"')
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")],
        cwd=DOCS.parent, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    page = (tmp_path / "site/reference/ganforge.api/index.html").read_text("utf-8")
    assert "ganforge.api.Run.sample" in page
    players = [
        (file, source)
        for file in (tmp_path / "site").rglob("*.html")
        for source in re.findall(r'<audio[^>]* src="([^"]+)"', file.read_text("utf-8"))
    ]
    assert {file.parent.name for file, _ in players} == {"sound"}
    assert all((file.parent / source).is_file() for file, source in players)


def test_lines_of_prose_are_not_long():
    """120 characters, but for tables, pictures, addresses and what a command prints."""
    long = []
    for page in [*DOCS.parent.glob("*.md"), *DOCS.glob("*.md")]:
        prose = re.sub(
            r"^```.*?^```", lambda code: "\n" * code[0].count("\n"), page.read_text("utf-8"), flags=re.S | re.M
        )
        for number, line in enumerate(prose.splitlines(), 1):
            if len(line) > 120 and not line.startswith(("|", "![")) and "](http" not in line:
                long.append(f"{page.name}:{number}")
    assert not long


def test_the_notebook_runs(tmp_path):
    """Its code cells, one after the other, as a kernel would run them; what they gave is not stored."""
    cells = json.loads((DOCS.parent / "examples/first.ipynb").read_text("utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert not any(cell["outputs"] or cell["execution_count"] for cell in code)
    script = tmp_path / "first.py"
    script.write_text("\n".join("".join(cell["source"]) for cell in code), "utf-8")
    done = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "(40, 16, 16, 1) uint8" in done.stdout and "protocol: 500 samples" in done.stdout
