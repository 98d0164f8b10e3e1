"""What a picture is: its specification, a batch of them, and the only two doors between bytes and floats."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, PngImagePlugin
from torch import Tensor

from ganforge.errors import DataError

Pixels = npt.NDArray[np.uint8]

MODES = {1: "L", 3: "RGB", 4: "RGBA"}
MARK = (  # with the word of IPTC's digital source types for what was done
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" Iptc4xmpExt:DigitalSourceType='
    '"http://cv.iptc.org/newscodes/digitalsourcetype/{}"/></rdf:RDF></x:xmpmeta>'
)


@dataclass(frozen=True)
class ImageSpec:
    """The shape of every picture in a data set, decided once by `prepare`; it travels inside the system."""

    height: int
    width: int
    channels: int
    classes: tuple[str, ...] = ()
    levels: tuple[tuple[float, float], ...] = ()
    """The byte values that stand for -1 and for +1, a pair a channel; empty: 0 and 255. They may lie outside of 0..255."""

    def __str__(self) -> str:
        kind = {1: "grey", 3: "RGB", 4: "RGBA"}[self.channels]
        labels = f", {len(self.classes)} classes" if self.classes else ""
        return f"{self.height}x{self.width} {kind}{labels}"

    @property
    def pixels(self) -> int:
        """Numbers in one picture: height x width x channels."""
        return self.height * self.width * self.channels


@dataclass
class Batch:
    """What a phase's loss sees of one training step."""

    images: Tensor
    """(N, C, H, W) float32 in [-1, 1], channels_last."""
    labels: Tensor | None
    """(N,) int64, or None for an unlabelled set."""
    seen: int
    """Images shown before this step; schedules and growth depend on it alone."""
    shared: dict[str, Tensor] = field(default_factory=dict)
    """What one phase hands to the next within the same step, such as the fakes that it has made already."""


def to_float(pixels: Tensor, spec: ImageSpec | None = None) -> Tensor:
    """The door in. (N, H, W, C) uint8 in 0..255 -> (N, C, H, W) float32 in [-1, 1], a channels_last view."""
    if spec is None or not spec.levels:
        return (pixels.to(torch.float32) / 127.5 - 1.0).permute(0, 3, 1, 2)
    low, high = torch.tensor(spec.levels, device=pixels.device).unbind(1)
    return ((pixels - low) * (2 / (high - low)) - 1).permute(0, 3, 1, 2)


def to_uint8(images: Tensor, spec: ImageSpec | None = None) -> Tensor:
    """The door out. (N, C, H, W) float in [-1, 1] -> (N, H, W, C) uint8, rounded to the nearest and clamped."""
    scaled = (images.detach().float() + 1.0).permute(0, 2, 3, 1)
    if spec is None or not spec.levels:
        scaled = scaled * 127.5
    else:
        low, high = torch.tensor(spec.levels, device=images.device).unbind(1)
        scaled = scaled * ((high - low) / 2) + low
    return scaled.round_().clamp_(0, 255).to(torch.uint8).contiguous()


def spec_from(values: Mapping[str, Any]) -> ImageSpec:
    """An ImageSpec from the plain values of a TOML or JSON file. KeyError, TypeError or ValueError where they are none."""
    levels = tuple((float(low), float(high)) for low, high in values.get("levels", ()))
    spec = ImageSpec(values["height"], values["width"], values["channels"], tuple(values["classes"]), levels)
    if levels and (len(levels) != spec.channels or any(low >= high for low, high in levels)):
        raise ValueError(f"levels {levels}")
    return spec


def grid(pixels: Pixels, columns: int | None = None, gap: int = 2) -> Pixels:
    """(N, H, W, C) uint8 -> one sheet (rows*(H+gap)-gap, columns*(W+gap)-gap, C) uint8; white between and after."""
    count, height, width, channels = pixels.shape
    columns = columns or max(1, math.ceil(math.sqrt(count * height / width)))
    rows = math.ceil(count / columns)
    sheet = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, channels), 255, np.uint8)
    for n, picture in enumerate(pixels):
        top, left = n // columns * (height + gap), n % columns * (width + gap)
        sheet[top : top + height, left : left + width] = picture
    return sheet


def enlarge(pixels: Pixels, short_side: int = 64) -> Pixels:
    """Whole-number enlargement of small pictures, so that a sheet of them can be looked at. (N, H, W, C) -> same."""
    times = max(1, round(short_side / min(pixels.shape[1:3])))
    return pixels.repeat(times, axis=1).repeat(times, axis=2)


def as_image(pixels: Pixels) -> Image.Image:
    """(H, W, C) uint8 with C of 1, 3 or 4 -> a Pillow image."""
    return Image.fromarray(np.ascontiguousarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels))


def write_png(path: Path, pixels: Pixels, made_by: dict[str, Any] | None = None, mark: str = "generated") -> None:
    """Write (H, W, C) uint8 as PNG.

    `made_by` marks a picture that is `generated` or `restored`: it becomes the JSON text chunk `ganforge`, beside the IPTC mark
    `trainedAlgorithmicMedia` or `algorithmicallyEnhanced` in XMP, so that a program can tell what it is and where it came from.
    """
    info = PngImagePlugin.PngInfo()
    if made_by is not None:
        kind = {"generated": "trainedAlgorithmicMedia", "restored": "algorithmicallyEnhanced"}[mark]
        info.add_text("ganforge", json.dumps({mark: True, **made_by}))
        info.add_itxt("XML:com.adobe.xmp", MARK.format(kind))
    try:
        as_image(pixels).save(path, pnginfo=info)
    except OSError as error:
        path.unlink(missing_ok=True)
        raise DataError(
            f"{path} cannot be written: {error.strerror or error}. Free some space or choose another."
        ) from error


def read_mark(path: Path) -> dict[str, Any] | None:
    """What `write_png` said of a generated picture, or None where there is no such mark."""
    with Image.open(path) as image:
        text = getattr(image, "text", {}).get("ganforge")
    return json.loads(text) if text else None
