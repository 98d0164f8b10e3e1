"""Pages of the reference: one for each package and file of the source, filled by mkdocstrings from the docstrings."""

from __future__ import annotations

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

SOURCE = Path(__file__).parents[1] / "src" / "ganforge"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Called by MkDocs when it has listed the pages; those made here are appended to the navigation."""
    stems = sorted(path.stem for path in SOURCE.iterdir() if path.suffix in ("", ".py"))
    pages = []
    for name in [f"ganforge.{stem}" for stem in stems if not stem.startswith("__")]:
        files.append(File.generated(config, f"reference/{name}.md", content=f"::: {name}\n"))
        pages.append({name: f"reference/{name}.md"})
    config.nav.append({"Reference": pages})
    return files
