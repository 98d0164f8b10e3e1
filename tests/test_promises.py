"""Each promise in docs/promises.md names tests that exist, and no two tests share a name."""

from __future__ import annotations

import ast
import re
from collections import Counter
from pathlib import Path

TESTS = Path(__file__).parent
PAGE = TESTS.parent / "docs" / "promises.md"


def names() -> Counter[str]:
    """How often each test's name stands in its file, by file::name."""
    return Counter(
        f"tests/{file.relative_to(TESTS).as_posix()}::{node.name}"
        for file in TESTS.rglob("test_*.py")
        for node in ast.parse(file.read_text("utf-8")).body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    )


def test_every_promise_names_tests_that_exist():
    page, _, unheld = PAGE.read_text("utf-8").partition("## Not held by a test")
    known = names()
    rows = [row for row in re.findall(r"^\| (.+) \|$", page, re.M) if row not in ("promise | test",)]
    assert len(rows) > 100
    for row in rows:
        promise, _, cell = row.rpartition(" | ")
        named = re.findall(r"`([^`]+)`", cell)
        assert promise and named and not re.sub(r"`[^`]+`|[, ]", "", cell), row
        assert set(named) <= known.keys(), f"{promise}: {set(named) - known.keys()}"
    assert re.findall(r"^- ", unheld, re.M)


def test_no_two_tests_share_a_name():
    each = Counter(name.partition("::")[2] for name in names().elements())
    assert not [name for name, count in each.items() if count > 1]
