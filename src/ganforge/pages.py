"""HTML pages from Jinja templates, which stand with their CSS and JavaScript beside the code that fills them in."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def render(template: Path, **values: Any) -> str:
    """The page that the file `template` makes of `values`: every value is escaped, and a missing one is an error.

    In a template `{{ file("page.css") }}` is the text of a file beside it, as it stands, and `| tojson` writes a value
    so that it may stand in a script.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(template.parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
    environment.globals["file"] = lambda name: Markup((template.parent / name).read_text("utf-8"))
    return environment.get_template(template.name).render(values)
