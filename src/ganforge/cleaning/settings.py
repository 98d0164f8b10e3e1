"""The settings of `clean`."""

from __future__ import annotations

from dataclasses import dataclass

from ganforge.auditing.settings import Selection
from ganforge.base.config import setting


@dataclass(frozen=True, kw_only=True)
class Settings(Selection):
    """Settings of `clean`; `cleaning.recipe` reads and writes them as TOML."""

    filters: tuple[str, ...] = setting(
        (), "such as median:size=3; again for the next one, in this order; docs/clean.md lists them",
        split="", metavar="KIND:NAME=VALUE,…",
    )  # fmt: skip

    def __post_init__(self) -> None:
        """Writes each filter with all of its settings. InputError for an unknown filter or finding."""
        from ganforge.cleaning.filters import parse, short

        super().__post_init__()
        object.__setattr__(self, "filters", tuple(short(parse(text)) for text in self.filters))
