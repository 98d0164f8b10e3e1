"""Before and after: what a chain of filters does to a few pictures, as a sheet, in milliseconds, PSNR and SSIM."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ganforge.base.images import Pixels
from ganforge.cleaning.filters import Filter, short
from ganforge.metrics.fidelity import psnr, ssim

TILE = 256
GAP = 6
HEAD = 62
BEHIND = 200  # the grey that transparency is laid over in the sheet


@dataclass
class Stage:
    """The pictures after some of the filters."""

    name: str
    pictures: list[Pixels]
    milliseconds: float
    """Time of this filter alone, a picture, mean."""
    psnr: float | None = None
    """Mean over the pictures that have a reference of the same shape, in dB; None without any."""
    ssim: float | None = None

    def row(self) -> dict[str, Any]:
        """The numbers, rounded, for a table or JSON."""
        numbers = {"ms_per_picture": self.milliseconds, "psnr": self.psnr, "ssim": self.ssim}
        return {"stage": self.name} | {n: round(v, 4) if v is not None else None for n, v in numbers.items()}


def stages(
    pictures: Sequence[Pixels], filters: Sequence[Filter], references: Sequence[Pixels | None] | None = None
) -> list[Stage]:
    """The pictures as they are, then after the first filter, after the first two, and so on."""
    out = [Stage("before", list(pictures), 0.0)]
    for step in filters:
        step(out[-1].pictures[0])  # the first call imports
        start = time.perf_counter()
        filtered = [step(pixels) for pixels in out[-1].pictures]
        out.append(Stage(short(step), filtered, 1000 * (time.perf_counter() - start) / len(filtered)))
    for stage in out:
        pairs = [
            (p, r)
            for p, r in zip(stage.pictures, references or [], strict=False)
            if r is not None and p.shape == r.shape
        ]
        if pairs:
            stage.psnr = float(np.mean([psnr(p, r) for p, r in pairs]))
            stage.ssim = float(np.mean([ssim(p, r) for p, r in pairs]))
    return out


def sheet(shown: Sequence[Stage], references: Sequence[Pixels | None] | None = None) -> Pixels:
    """One row a picture, one column a stage, the reference last. The middle of each picture, one pixel of it a square
    of pixels where there is room; numbers above. -> (H', W', 3) uint8."""
    columns: list[tuple[str, Sequence[Pixels | None]]] = [(_title(stage), stage.pictures) for stage in shown]
    if references and any(r is not None for r in references):
        columns.append(("reference", references))
    rows = len(shown[0].pictures)
    size = len(columns) * (TILE + GAP) + GAP, HEAD + rows * (TILE + GAP)
    canvas = Image.new("RGB", size, "white")
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(14)
    for n, (title, pictures) in enumerate(columns):
        left = GAP + n * (TILE + GAP)
        draw.multiline_text((left, 4), title, "black", font)
        for row, pixels in enumerate(pictures):
            if pixels is not None:
                share = min(1.0, TILE / 2 / min(shown[0].pictures[row].shape[:2]))
                tile = _middle(pixels, share)
                corner = (left + (TILE - tile.width) // 2, HEAD + row * (TILE + GAP) + (TILE - tile.height) // 2)
                canvas.paste(tile, corner)
    return np.asarray(canvas)


def _title(stage: Stage) -> str:
    quality = f"{stage.psnr:.2f} dB, SSIM {stage.ssim:.3f}" if stage.psnr is not None else ""
    cost = f"{stage.milliseconds:.1f} ms" if stage.milliseconds else ""
    kind, _, settings = stage.name.partition(":")
    return f"{kind}\n{settings}\n{'   '.join(filter(None, (quality, cost)))}"


def _middle(pixels: Pixels, share: float) -> Image.Image:
    """The middle of a picture, `share` of each side, fitted into TILE x TILE."""
    height, width = (max(1, round(side * share)) for side in pixels.shape[:2])
    top, left = (pixels.shape[0] - height) // 2, (pixels.shape[1] - width) // 2
    part = np.ascontiguousarray(pixels[top : top + height, left : left + width])
    image = Image.fromarray(part[..., 0] if part.shape[2] == 1 else part)
    if image.mode == "RGBA":
        image = Image.alpha_composite(Image.new("RGBA", image.size, (BEHIND, BEHIND, BEHIND, 255)), image)
    scale = min(TILE / height, TILE / width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    resampling = Image.Resampling.NEAREST if scale >= 1 else Image.Resampling.BICUBIC
    return image.convert("RGB").resize(size, resampling)
