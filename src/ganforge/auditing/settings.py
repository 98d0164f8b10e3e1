"""The settings of `audit`, and those by which its findings decide in `prepare` and `clean`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ganforge.base.config import setting


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of `audit`, the section [audit] of a TOML file."""

    labels: Path | None = setting(None, "CSV with the columns file and label, instead of sub-folders")
    features: bool = setting(False, "name pictures unlike all others, an order to look in")
    ocr: bool = setting(False, "mark pictures with text; needs Tesseract")
    seed: int = setting(0, "decides which pictures are on the random sheet")


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Which pictures are left out by the findings of an audit; `prepare` and `clean` have these settings alike."""

    audit: Path | None = setting(
        None,
        "the folder of an audit: what it rejects is left out, and duplicates stay together when pictures are split",
    )
    drop: tuple[str, ...] = setting(
        (), "findings of the audit whose pictures are left out too, such as blurred,near-duplicate (of duplicates the "
        "best stays); warn: all warnings", split=",", metavar="FINDING,…",
    )  # fmt: skip
    keep: tuple[str, ...] = setting(
        (), "findings whose pictures stay, even if they are rejected for that", split=",", metavar="FINDING,…"
    )

    def __post_init__(self) -> None:
        """Writes findings by their codes, near_duplicate for near-duplicate. InputError for unknown ones."""
        from ganforge.auditing.findings import chosen

        object.__setattr__(self, "drop", chosen(self.drop))
        object.__setattr__(self, "keep", chosen(self.keep))
