"""Pages are made of templates, and an installed package holds these."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from jinja2 import UndefinedError

from ganforge.pages import render

ROOT = Path(__file__).parents[1]


def test_values_are_escaped_files_are_not_and_a_missing_value_is_an_error(tmp_path):
    (tmp_path / "page.css").write_text("a > b { color: red }")
    template = tmp_path / "page.html"
    template.write_text('<style>{{ file("page.css") }}</style><b title="{{ name }}">{{ name }}</b>{{ data | tojson }}')
    page = render(template, name="<i> & \"'", data={"b": "</script>", "a": 1})
    escaped = "&lt;i&gt; &amp; &#34;&#39;"
    assert page == (
        f'<style>a > b {{ color: red }}</style><b title="{escaped}">{escaped}</b>{{"b":"\\u003c/script\\u003e","a":1}}'
    )
    with pytest.raises(UndefinedError):
        render(template, data={})


def test_every_file_of_the_package_is_in_its_wheel():
    """What is not Python is named by a pattern of package-data."""
    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]["package-data"]
    source = ROOT / "src" / "ganforge"
    others = {path for path in source.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")}
    assert {source / "report.html", source / "auditing/page.html", source / "auditing/page.js"} <= others
    for path in others:
        package = ".".join(path.parent.relative_to(source.parent).parts)
        assert any(path.match(pattern) for name in ("*", package) for pattern in patterns.get(name, ())), path
    packages = {path.parent for path in source.rglob("*.py")}
    assert {path.parent for path in others} <= packages, "only packages are looked through"
