"""Pictures: the channels of a row are grey, RGB or RGBA."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from ganforge.base.images import MODES, Pixels, grid, write_image
from ganforge.media.medium import Medium

NAMES = {1: "grey", 3: "RGB", 4: "RGBA"}


@dataclass(frozen=True)
class Picture(Medium):
    """Rows with 1, 3 or 4 channels: grey, RGB or RGBA."""

    kind: ClassVar[str] = "picture"
    plural: ClassVar[str] = "pictures"
    suffix: ClassVar[str] = ".png"

    def check(self, height: int, width: int, channels: int) -> None:
        if channels not in MODES:
            raise ValueError(f"channels {channels!r} is not 1, 3 or 4")

    def describe(self, height: int, width: int, channels: int) -> str:
        return f"{height}x{width} {NAMES[channels]}"

    def as_pictures(self, rows: Pixels) -> Pixels:
        return rows

    def write(self, path: Path, rows: Pixels, made_by: dict[str, Any] | None = None) -> None:
        write_image(path, rows[0] if len(rows) == 1 else grid(rows), made_by)
