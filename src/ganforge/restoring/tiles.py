"""A system that has `restore`, applied to pictures of any size, number of channels and amount of memory."""

from __future__ import annotations

import gc
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import adaptive_max_pool2d, interpolate

from ganforge.base.errors import is_short
from ganforge.base.images import Pixels
from ganforge.image_to_image import ImageToImage
from ganforge.media.pair import Pair
from ganforge.media.spec import to_float, to_uint8
from ganforge.nn.unet import ANY
from ganforge.restoring.masks import Holes
from ganforge.sources.decode import fit_channels
from ganforge.sources.entry import Skip
from ganforge.sources.transform import resize
from ganforge.system import System

TILE = 512  # side in pixels of a tile without its margins; a multiple of every stride
LEAST = 32  # side of the smallest tile
_ALIGN = 16

Window = tuple[slice, slice]


class Restorer:
    """`system.restore` for pictures (H, W, C) uint8 with C of 1, 3 or 4.

    `strength` is for a system that has `strengths`, `label`, the number of the wanted class, for one that `translates`.
    `tile` is halved, and stays so, when memory runs out."""

    def __init__(self, system: System, strength: float | None = None, label: int | None = None) -> None:
        self.system, self.strength, self.label = system, strength, label
        self.tile = TILE

    def __call__(
        self,
        pixels: Pixels,
        holes: Holes | None = None,
        seed: int | None = None,
        progress: Callable[[float], None] | None = None,
    ) -> Pixels:
        """A picture (H, W, C), what is missing of it (H, W), and the seed of its answer -> (scale H, scale W, C')
        uint8. `progress` is called with the share that is done.

        A system that takes as many channels as it returns keeps those of the picture: a grey one restores each colour
        for itself. One of pairs, and one that translates, returns its own channels. Transparency stays as it is,
        enlarged as a grey picture of its own, unless the system has learned it; what was missing is opaque. Pixels that
        are not missing are those of the picture. Raises Skip where a system that takes pictures in one piece has not
        the memory for this one."""
        system, channels = self.system, pixels.shape[2]
        other = system.translates or isinstance(system.spec.medium, Pair)  # what is wanted has colours of its own
        same = system.given == system.wanted and not other
        colour, alpha = pixels[..., :3], pixels[..., 3:]

        def run(planes: Pixels) -> Pixels:
            return self.run(planes, holes, seed, progress)

        if system.given == 4:
            out = run(fit_channels(pixels, 4)[None])[0]
            out = fit_channels(out, channels) if same else out
        elif same and system.given == 1:
            out = run(np.ascontiguousarray(colour.transpose(2, 0, 1)[..., None]))[..., 0].transpose(1, 2, 0)
        else:
            out = run(fit_channels(np.ascontiguousarray(colour), system.given)[None])[0]
            out = fit_channels(out, colour.shape[2]) if same else out
        if alpha.shape[2] and system.given != 4 and out.shape[2] != 4:
            alpha = self._alpha(alpha, holes, seed)
            out = np.concatenate([fit_channels(out, 3), alpha], 2)
        if holes is not None:
            out = np.where(holes[..., None], out, pixels)
        return np.ascontiguousarray(out)

    def _alpha(self, alpha: Pixels, holes: Holes | None, seed: int | None) -> Pixels:
        """Transparency (H, W, 1) at the scale of the system."""
        system, (height, width) = self.system, alpha.shape[:2]
        if holes is not None:
            alpha = np.where(holes[..., None], np.uint8(255), alpha)
        if system.scale == 1:
            return alpha
        if system.given != system.wanted:
            planes = torch.from_numpy(np.ascontiguousarray(alpha)).permute(2, 0, 1)[None]
            return resize(planes, height * system.scale, width * system.scale)[0].permute(1, 2, 0).numpy()
        grey = self.run(fit_channels(alpha, system.given)[None], None, seed, None)[0]
        return fit_channels(grey, 1)

    def run(
        self, pixels: Pixels, holes: Holes | None, seed: int | None, progress: Callable[[float], None] | None
    ) -> Pixels:
        """Planes (N, H, W, given) uint8 of one picture or clip, of which `holes`, (H, W) or (H, W, given), are missing
        -> (N, scale H, scale W, wanted) uint8. For the rest see `__call__`."""
        system, (height, width) = self.system, pixels.shape[1:3]
        own = (system.spec.height, system.spec.width)
        missing = None if holes is None else torch.tensor(np.atleast_3d(holes)).permute(2, 0, 1)[None].float()
        fixed = system.receptive_radius == 0 and (height, width) != own
        if fixed:
            planes = torch.from_numpy(np.require(pixels, requirements=["C", "W"])).permute(0, 3, 1, 2).contiguous()
            ids = isinstance(system.spec.medium, Pair) and system.spec.medium.palette
            planes = interpolate(planes, own, mode="nearest-exact") if ids else resize(planes, *own)
            pixels = planes.permute(0, 2, 3, 1).contiguous().numpy()
            missing = None if missing is None else adaptive_max_pool2d(missing, own)
        field: Tensor | None = None
        if system.answers:
            assert isinstance(system, ImageToImage)
            field = system.fields([0 if seed is None else seed], *pixels.shape[1:3])
        out = self._tiled(pixels, missing, field, progress)
        if fixed:
            planes = torch.from_numpy(out).permute(0, 3, 1, 2).contiguous()
            out = resize(planes, height * system.scale, width * system.scale).permute(0, 2, 3, 1).contiguous().numpy()
        return out

    def _tiled(
        self, pixels: Pixels, holes: Tensor | None, field: Tensor | None, progress: Callable[[float], None] | None
    ) -> Pixels:
        while True:
            try:
                return self._in_tiles(pixels, holes, field, progress)
            except (MemoryError, RuntimeError) as error:
                if not is_short(error):
                    raise
            gc.collect()
            if torch.accelerator.is_available():
                torch.accelerator.empty_cache()  # type: ignore[no-untyped-call]
            if self.system.receptive_radius <= 0:
                raise Skip("there is not enough memory for it in one piece, which this system needs; make it smaller")
            if self.tile <= LEAST:
                raise MemoryError(f"not even tiles of {LEAST} pixels fit.")
            self.tile //= 2

    @torch.no_grad()
    def _in_tiles(
        self, pixels: Pixels, holes: Tensor | None, field: Tensor | None, progress: Callable[[float], None] | None
    ) -> Pixels:
        """In tiles with margins of the receptive radius: equal to the whole up to rounding."""
        system, scale = self.system, self.system.scale
        restore: Any = system.restore
        device = next(system.parameters()).device
        count, height, width, _ = pixels.shape
        out = np.empty((count, scale * height, scale * width, system.wanted), np.uint8)
        windows = list(tiles(height, width, self.tile, system.receptive_radius))
        for n, ((rows, columns), (inner_rows, inner_columns)) in enumerate(windows, 1):
            part = np.require(pixels[:, rows, columns], requirements=["C", "W"])
            options: dict[str, Any] = {}
            if system.fills and holes is not None:
                options["holes"] = holes[:, :, rows, columns].expand(count, -1, -1, -1).to(device)
            if system.strengths:
                options["strength"] = self.strength
            if self.label is not None:
                options["labels"] = torch.full((count,), self.label, device=device)
            if field is not None:
                cut = field[:, :, _times(rows, scale), _times(columns, scale)]
                options["latents"] = cut.expand(count, -1, -1, -1).to(device)
            made = restore(to_float(torch.from_numpy(part).to(device), system.spec), **options)
            bytes_ = to_uint8(made, system.spec).cpu().numpy()
            top, left = inner_rows.start - rows.start, inner_columns.start - columns.start
            inner = slice(top, top + inner_rows.stop - inner_rows.start)
            across = slice(left, left + inner_columns.stop - inner_columns.start)
            out[:, _times(inner_rows, scale), _times(inner_columns, scale)] = bytes_[
                :, _times(inner, scale), _times(across, scale)
            ]
            if progress:
                progress(n / len(windows))
        return out


def tiles(height: int, width: int, tile: int, radius: int) -> Iterator[tuple[Window, Window]]:
    """(rows and columns of a tile with margins of at least `radius`, those without) of each tile; one of the whole
    picture where `radius` is 0 or ANY. `tile` is a multiple of all strides of the network, as are the margins."""
    if radius in (0, ANY):
        yield (slice(0, height), slice(0, width)), (slice(0, height), slice(0, width))
        return
    margin = math.ceil(radius / _ALIGN) * _ALIGN
    for top in range(0, height, tile):
        for left in range(0, width, tile):
            rows, columns = slice(top, min(top + tile, height)), slice(left, min(left + tile, width))
            yield (_wider(rows, margin, height), _wider(columns, margin, width)), (rows, columns)


def _wider(span: slice, margin: int, side: int) -> slice:
    return slice(max(span.start - margin, 0), min(span.stop + margin, side))


def _times(span: slice, scale: int) -> slice:
    return slice(span.start * scale, span.stop * scale)
