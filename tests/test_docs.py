"""What the documents show is run as it stands."""

from __future__ import annotations

import re
from pathlib import Path

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
    for page in [root / "README.md", *DOCS.glob("*.md")]:
        for link in re.findall(r"\]\(([^)#]+\.md)", page.read_text("utf-8")):
            assert (page.parent / link).is_file(), f"{page.name} links to {link}"
    for name in re.findall(r"`((?:docs|examples|benchmarks)/[\w./-]+\.\w+)`", (root / "README.md").read_text("utf-8")):
        assert (root / name).is_file(), name
