"""Solids: the channels of a row are slices from the bottom up, 255 where a voxel is inside.

A row (H, W, C) is the voxels (X, Y, Z), so that every network that takes channels takes solids, and what turns a
picture turns a solid about its upright axis. `voxels.py` reads files, `surface.py` makes meshes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from ganforge.base import marks
from ganforge.base.files import atomic_file, writing
from ganforge.base.images import Pixels
from ganforge.media import surface
from ganforge.media.clip import Clip
from ganforge.media.medium import Medium

SIDES = (8, 128)
"""Voxels that a side of a solid may have."""
VIEW = 96
"""Pixels a side of the view of a solid."""
_FORWARD = np.array([-0.62, -0.5, -0.6])
_LIGHT = np.array([0.25, 0.75, 0.9])


@dataclass(frozen=True)
class Solid(Medium):
    """Rows with as many channels as rows and columns: a cube of voxels."""

    kind: ClassVar[str] = "solid"
    plural: ClassVar[str] = "solids"
    suffix: ClassVar[str] = ".stl"
    several: ClassVar[str] = ".npy"
    augmentations: ClassVar[frozenset[str] | None] = Clip.augmentations

    def check(self, height: int, width: int, channels: int) -> None:
        if not height == width == channels or not SIDES[0] <= height <= SIDES[1]:
            raise ValueError(f"{height}x{width}x{channels} is no cube of {SIDES[0]} to {SIDES[1]} voxels a side")

    def describe(self, height: int, width: int, channels: int) -> str:
        return f"{height}x{width}x{channels} voxels"

    def as_pictures(self, rows: Pixels) -> Pixels:
        """Each solid as seen from above a corner, and below that its slices through the middle: across x, y and z."""
        return np.stack([_picture(row) for row in rows])[..., None]

    def write(self, path: Path, rows: Pixels, made_by: dict[str, Any] | None = None) -> None:
        """One solid as a closed surface (.stl), or all of them as they are (.npy), (N, X, Y, Z) uint8."""
        self.check_file(path, len(rows))
        with writing(path), atomic_file(path) as partial:
            if path.suffix.lower() == self.suffix:
                partial.write_bytes(surface.binary_stl(surface.triangles(rows[0])))
            else:
                with partial.open("wb") as file:
                    np.save(file, rows, allow_pickle=False)
        marks.write_beside(path, made_by)


def _picture(voxels: Pixels) -> Pixels:
    """(X, Y, Z) -> (VIEW + VIEW / 3, VIEW)."""
    nearest = (np.arange(VIEW // 3) + 0.5) * len(voxels) / (VIEW // 3)
    x, y, middle = nearest.astype(int), nearest.astype(int), len(voxels) // 2
    slices = [voxels[middle][x][:, y], voxels[:, middle][x][:, y], voxels[:, :, middle][x][:, y]]
    upright = [one.T[::-1] for one in slices[:2]]
    return np.concatenate([_view(voxels), np.concatenate([*upright, slices[2]], 1)])


def _view(voxels: Pixels) -> Pixels:
    """(X, Y, Z) -> (VIEW, VIEW): parallel rays to the first voxel that is inside, lit from one side (Lambert)."""
    from scipy.ndimage import uniform_filter

    inside = np.pad(voxels, 2) > surface.LEVEL
    hits = inside.ravel()[_rays(len(voxels))]
    first = hits.argmax(-1)
    found = hits.any(-1)
    position = np.take_along_axis(_rays(len(voxels)), first[..., None], -1)[..., 0]
    smooth = uniform_filter(np.pad(voxels, 2).astype(np.float32), 3)
    normals = -np.stack([slope.ravel()[position] for slope in np.gradient(smooth)], -1)
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True).clip(1e-6)
    light = (normals @ (_LIGHT / np.linalg.norm(_LIGHT))).clip(0)
    depth = 1 - first / _rays(len(voxels)).shape[-1]
    shades: Pixels = np.where(found, 40 + 80 * depth + 130 * light, 0).clip(0, 255).astype(np.uint8)
    return shades


@lru_cache(4)
def _rays(side: int) -> npt.NDArray[np.int32]:
    """(VIEW, VIEW, steps): the voxels along the ray of each pixel, as places in the raveled (side + 4)^3 voxels."""
    forward = _FORWARD / np.linalg.norm(_FORWARD)
    right = np.cross(forward, [0, 0, 1.0])
    right /= np.linalg.norm(right)
    up = np.cross(right, forward)
    reach = side * 3**0.5 / 2
    at = ((np.arange(VIEW) + 0.5) / VIEW * 2 - 1) * 0.85  # corners of the cube are hardly ever filled
    along = np.arange(-reach, reach, 0.5)
    centres = (
        (at[None, :, None, None] * right - at[:, None, None, None] * up) * reach + along[:, None] * forward + side / 2
    )
    voxels = (np.floor(centres).astype(np.int64) + 2).clip(0, side + 3)
    places: npt.NDArray[np.int32] = np.ravel_multi_index(tuple(np.moveaxis(voxels, -1, 0)), (side + 4,) * 3).astype(
        np.int32
    )
    return places
