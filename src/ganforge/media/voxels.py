"""Files of solids: arrays (.npy) and .binvox are read here, meshes by the extra `solid` and made into voxels here.

Voxels are (X, Y, Z) uint8, Z upwards; a byte is the share of a voxel that is inside, from 0 to 255."""

from __future__ import annotations

import importlib.util
import io
import math
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional as F

from ganforge.base.files import suffix_of
from ganforge.base.images import Pixels
from ganforge.media.medium import Unusable

ARRAYS = (".npy", ".binvox")
MESHES = (".stl", ".obj", ".ply", ".off")
"""Suffixes that the extra `solid` reads."""
SUFFIXES = frozenset((*ARRAYS, *MESHES))
MOST_VOXELS, MOST_FACES = 1 << 24, 1 << 21
"""Voxels and triangles that a solid may have."""
FINER = 2
"""Points a side of a voxel by which the share inside a mesh is counted."""
_PAIRS = 1 << 21  # of a triangle and a line, or points on triangles, that are looked at together
Points = npt.NDArray[np.float64]


@dataclass(frozen=True)
class SolidHeader:
    """What a file of solids says of itself."""

    count: int
    sides: tuple[int, int, int]
    """Voxels along x, y and z; 0 of a mesh."""


class Voxels(NamedTuple):
    """One solid of a file."""

    voxels: Pixels
    sides: tuple[int, int, int]
    """Its own voxels along x, y and z; 0 of a mesh."""
    remark: str
    """What is to be said of the file."""


def missing(name: str) -> str:
    """Why a file of this name cannot be read as solids here; "" where it can."""
    suffix = suffix_of(name)
    if suffix in MESHES and importlib.util.find_spec("trimesh") is None:
        return f'{suffix} needs pip install "ganforge[solid]"'
    return "" if suffix in SUFFIXES or suffix in ("", ".") else f"not a solid: {suffix} file"


def probe(data: bytes, name: str) -> SolidHeader:
    """How many solids a file has and of how many voxels, by its first bytes. Unusable where it has none."""
    if suffix_of(name) in MESHES:
        return SolidHeader(1, (0, 0, 0))
    shape = _binvox(data)[0] if _is_binvox(data) else _array(data).shape
    return SolidHeader(shape[0] if len(shape) == 4 else 1, (shape[-3], shape[-2], shape[-1]))


def read(data: bytes, name: str, side: int) -> Iterator[Voxels]:
    """The solids of a file, each (side, side, side) uint8.

    Arrays keep their place; those of another size are put into the middle of a cube and scaled, by the mean of what a
    voxel covers where they become smaller. A mesh is moved into the middle and scaled, so that its longest side leaves
    a voxel at both ends. Of a closed mesh what is inside counts, of another one its surface and what that encloses.
    Unusable where the file is damaged, over the limits, or where nothing is inside."""
    if suffix_of(name) in MESHES:
        yield _mesh(data, suffix_of(name), side)
        return
    solids: Iterator[Pixels]
    if _is_binvox(data):
        solids = iter([_binvox_voxels(data)])
    else:
        array = _array(data)
        solids = map(_as_bytes, array if array.ndim == 4 else array[None])
    for voxels in solids:
        yield Voxels(_checked(_scaled(voxels, side)), (voxels.shape[0], voxels.shape[1], voxels.shape[2]), "")


def _checked(voxels: Pixels) -> Pixels:
    if voxels.max() < 128:
        raise Unusable(f"empty: at {len(voxels)} voxels a side none is inside by half")
    return voxels


def _check_sides(shape: tuple[int, ...]) -> None:
    if not all(shape) or math.prod(shape[-3:]) > MOST_VOXELS:
        raise Unusable(f"{' x '.join(f'{side:,}' for side in shape)} voxels; a solid has 1 to {MOST_VOXELS:,}")


def _scaled(voxels: Pixels, side: int) -> Pixels:
    """Into the middle of a cube, then to `side`."""
    longest = max(voxels.shape)
    if min(voxels.shape) < longest:
        rest = [longest - own for own in voxels.shape]
        voxels = np.pad(voxels, [(n // 2, n - n // 2) for n in rest])
    if longest == side:
        return voxels
    cube = torch.from_numpy(np.ascontiguousarray(voxels)).float()[None, None]
    mode = {"mode": "area"} if side < longest else {"mode": "trilinear", "align_corners": False}
    scaled: Pixels = F.interpolate(cube, (side, side, side), **mode)[0, 0].round().to(torch.uint8).numpy()
    return scaled


# --------------------------------------------------------------------------------------------------------------- arrays


# numpy parses a header as Python; Python 3.11 raises SystemError where several threads parse at once.
_HEADERS = threading.Lock()


def _array(data: bytes) -> npt.NDArray[Any]:
    """What a .npy file holds, 3-D or, of several solids, 4-D; nothing is unpickled."""
    file = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(file)
        header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        with _HEADERS:
            shape, fortran, dtype = header(file)
    except (ValueError, EOFError) as error:
        raise Unusable(f"not an array (.npy) that can be read: {str(error).splitlines()[0]}") from error
    if dtype.kind not in "biuf":
        raise Unusable(f"an array of {dtype}; truth values, integers and floats are read")
    if len(shape) not in (3, 4):
        raise Unusable(f"an array of {len(shape)} dimensions; a solid has 3, several solids of one file 4")
    _check_sides(shape)
    size, left = math.prod(shape) * dtype.itemsize, len(data) - file.tell()
    if size != left:
        raise Unusable(f"{'cut short' if left < size else 'too long'}: {left:,} of {size:,} bytes of voxels")
    flat = np.frombuffer(data, dtype, offset=file.tell())
    return flat.reshape(shape[::-1]).transpose() if fortran else flat.reshape(shape)


def _as_bytes(array: npt.NDArray[Any]) -> Pixels:
    """Truth values, numbers from 0 to 1, or bytes -> shares from 0 to 255."""
    low, high = array.min(), array.max()
    if not (low >= 0 and high <= 255) or (array.dtype.kind == "f" and high > 1):
        raise Unusable(f"numbers from {low:g} to {high:g}; shares from 0 to 1, or bytes from 0 to 255, are read")
    if high > 1:
        return array.astype(np.uint8)
    return (array.astype(np.float32) * 255).round().astype(np.uint8)


_BINVOX = b"#binvox"


def _is_binvox(data: bytes) -> bool:
    return data[: len(_BINVOX)] == _BINVOX


def _binvox(data: bytes) -> tuple[tuple[int, int, int], int]:
    """Voxels along x, y and z, and where the runs begin; in the file z comes before y."""
    sides: list[int] = []
    for line in data[:4096].split(b"\n"):
        if line.startswith(b"dim"):
            words = line.split()[1:]
            sides = [int(word) for word in words if word.isdigit() and len(word) < 6]
    start = data.find(b"\ndata\n", 0, 4096) + 6
    if len(sides) != 3 or start < 6:
        raise Unusable("damaged .binvox: its header says no size, or does not end")
    _check_sides(tuple(sides))
    return (sides[0], sides[2], sides[1]), start


def _binvox_voxels(data: bytes) -> Pixels:
    """Runs of a value and a count, y the fastest, then z (Min, "binvox", 2004)."""
    (x, y, z), start = _binvox(data)
    runs = np.frombuffer(data, np.uint8, offset=start)
    values, counts = runs[: len(runs) // 2 * 2].reshape(-1, 2).T
    if len(runs) % 2 or values.max(initial=0) > 1:
        raise Unusable("damaged .binvox: its runs are no pairs of 0 or 1 and a count")
    if (count := int(counts.sum(dtype=np.int64))) != x * y * z:
        raise Unusable(f"{'cut short' if count < x * y * z else 'too long'}: {count:,} of {x * y * z:,} voxels")
    return np.ascontiguousarray(np.repeat(values * np.uint8(255), counts).reshape(x, z, y).transpose(0, 2, 1))


# --------------------------------------------------------------------------------------------------------------- meshes


def _mesh(data: bytes, suffix: str, side: int) -> Voxels:
    try:
        import trimesh
    except ImportError:
        raise Unusable(missing(suffix)) from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            mesh: Any = trimesh.load(io.BytesIO(data), file_type=suffix[1:], force="mesh", process=False)
            finite = np.isfinite(mesh.vertices).all()
            mesh.process()  # equal corners become one; it would leave out those that are not finite
            corners = np.asarray(mesh.vertices, np.float64)[mesh.faces]
    except Exception as error:  # its readers raise whatever damaged bytes lead them to
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise Unusable(f"not a mesh that can be read: {reason}") from error
    if not len(corners):
        raise Unusable(f"no triangles: empty, cut short, or no {suffix} file")
    if len(corners) > MOST_FACES:
        raise Unusable(f"a mesh of {len(corners):,} triangles, over the limit of {MOST_FACES:,}")
    if not finite:
        raise Unusable("corners that are no finite numbers")
    low, high = corners.min((0, 1)), corners.max((0, 1))
    longest = (high - low).max()
    if not 0 < longest < math.inf:
        raise Unusable("a mesh without extent")
    inner = (side - 2) * (1 - 1e-6)  # faces at its ends lie in its own voxels
    corners = (corners - (low + high) / 2) * (inner / longest) + side / 2
    problem = "" if mesh.is_winding_consistent else "faces turned both ways"
    problem = problem if mesh.is_watertight else "not watertight"
    remark = f"{problem}: its surface and what that encloses are taken" if problem else ""
    voxels = _enclosed(corners, side) if remark else _inside(corners, side)
    return Voxels(_checked(voxels), (0, 0, 0), remark)


def _inside(corners: Points, side: int) -> Pixels:
    """The shares inside a closed mesh of triangles (N, 3, 3), in voxels.

    Along lines upwards through a finer grid of points the surface is crossed, outwards or inwards; a point is inside
    where the crossings above it do not cancel. So parts may overlap."""
    fine = FINER * side
    points = corners * FINER - 0.5 + np.array([1.7e-5, 2.3e-5, 0])  # so that no line meets an edge
    balance = np.zeros(fine * fine * (fine + 1))
    low = np.ceil(points[..., :2].min(1)).astype(np.int64).clip(0, fine)
    size = (np.floor(points[..., :2].max(1)).astype(np.int64).clip(-1, fine - 1) + 1 - low).clip(0)
    for which, number in _expanded(size.prod(1)):
        x, y = (low[which] + np.stack(np.divmod(number, size[which, 1]), 1)).T
        a, b, c = points[which].transpose(1, 0, 2)
        to_b, to_c = b - a, c - a
        area = to_b[:, 0] * to_c[:, 1] - to_b[:, 1] * to_c[:, 0]
        dx, dy = x - a[:, 0], y - a[:, 1]
        safe = np.where(area, area, 1)  # a triangle that stands upright is met by no line
        by_b = (dx * to_c[:, 1] - dy * to_c[:, 0]) / safe
        by_c = (to_b[:, 0] * dy - to_b[:, 1] * dx) / safe
        hit = (area != 0) & (by_b >= 0) & (by_c >= 0) & (by_b + by_c <= 1)
        height = a[hit, 2] + by_b[hit] * to_b[hit, 2] + by_c[hit] * to_c[hit, 2]
        below = np.ceil(height).astype(np.int64).clip(0, fine)  # so many points are below the crossing
        cell = (x[hit] * fine + y[hit]) * (fine + 1) + below
        balance += np.bincount(cell, np.sign(area[hit]), len(balance))
    above = balance.reshape(fine, fine, fine + 1)[..., ::-1].cumsum(2)[..., ::-1][..., 1:]
    inside = (above.round() != 0).reshape(side, FINER, side, FINER, side, FINER)
    shares: Pixels = (inside.mean((1, 3, 5)) * 255).round().astype(np.uint8)
    return shares


def _enclosed(corners: Points, side: int) -> Pixels:
    """The voxels that triangles (N, 3, 3) touch, and those that these enclose."""
    from scipy.ndimage import binary_fill_holes

    a, to_b, to_c = corners[:, 0], corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    longest = np.linalg.norm(np.stack([to_b, to_c, to_c - to_b]), axis=-1).max(0)
    steps = np.ceil(2 * longest).astype(np.int64).clip(1)
    touched = np.zeros((side, side, side), bool)
    for which, number in _expanded((steps + 1) ** 2):
        by_b, by_c = np.divmod(number, steps[which] + 1)
        below = by_b + by_c <= steps[which]
        which, by_b, by_c = which[below], by_b[below], by_c[below]
        share_b, share_c = ((n / steps[which])[:, None] for n in (by_b, by_c))
        x, y, z = (
            np.floor(a[which] + share_b * to_b[which] + share_c * to_c[which]).astype(np.int64).clip(0, side - 1).T
        )
        touched[x, y, z] = True
    filled: Pixels = binary_fill_holes(touched).astype(np.uint8) * np.uint8(255)
    return filled


def _expanded(counts: npt.NDArray[np.int64]) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    """The pairs (n, 0), …, (n, counts[n] - 1) for all n, in portions."""
    ends = counts.cumsum()
    total = int(ends[-1])
    for start in range(0, total, _PAIRS):
        pairs = np.arange(start, min(start + _PAIRS, total))
        which = np.searchsorted(ends, pairs, side="right")
        yield which, pairs - (ends - counts)[which]
