"""Eight kinds of made solids; a shape is a function of (kind, number) alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ganforge.base.files import file_sha256
from ganforge.base.images import Pixels
from ganforge.base.seeds import key

COUNT = 500
"""Shapes of each kind in the set."""
FINER = 2
"""Points a side of a voxel by which the share inside is counted."""
ROOM = 0.94
"""Half the side that a shape has at most; the cube's is 1."""
TILT = 25.0
"""Degrees that a shape leans at most; stairs, tables and chairs stand upright."""
Grid = npt.NDArray[np.float32]
"""(X, Y, Z)."""
Where = npt.NDArray[np.bool_]
"""(X, Y, Z)."""
Draw = Callable[[float, float], float]
Made = tuple[Callable[[Grid, Grid, Grid], Where], tuple[float, float, float]]
"""Which points are inside, by their x, y and z, and half the sides of the box around them."""


def make(out: Path) -> list[dict[str, str]]:
    """Write the set into the folder `out`: KIND/NUMBER.npy. Returns `file`, `address`, `sha256` and `label` of each.
    OSError where `out` cannot be written."""
    rows = []
    for kind in KINDS:
        (out / kind).mkdir()
        for number in range(COUNT):
            path = out / kind / f"{number:04d}.npy"
            np.save(path, shape(kind, number), allow_pickle=False)
            file, address = path.relative_to(out).as_posix(), f"ganforge.collecting.shapes, {kind} {number}"
            rows.append({"file": file, "address": address, "sha256": file_sha256(path), "label": kind})
    return rows


def shape(kind: str, number: int, side: int = 32) -> Pixels:
    """Shape `number` of a kind, of random proportions, size, turn and position: (side, side, side) uint8, the share of
    each voxel that is inside from 0 to 255."""
    random = np.random.default_rng(key(0, f"shape/{kind}", number))
    inside, half = _KINDS[kind](lambda low, high: float(random.uniform(low, high)))
    turn = _turn(random.uniform(0, 2 * np.pi), 2)
    if kind not in _STANDING:
        turn = _turn(random.uniform(0, 2 * np.pi), 2) @ _turn(np.radians(random.uniform(0, TILT)), 0) @ turn
    extent = np.abs(turn) @ np.array(half)
    scale = min(1.0, ROOM / extent.max())
    centre = random.uniform(-0.6, 0.6, 3) * (ROOM - scale * extent)
    fine = FINER * side
    grid = (np.arange(fine) + 0.5) / fine * 2 - 1 - centre[:, None]  # (3, points a side)
    parts = (turn[:, :, None] * grid[:, None] / scale).astype(np.float32)  # (axis of the grid, axis of the shape, ...)
    own = parts[0][:, :, None, None] + parts[1][:, None, :, None] + parts[2][:, None, None, :]
    shares = inside(*own).reshape(side, FINER, side, FINER, side, FINER).mean((1, 3, 5))
    voxels: Pixels = (255 * shares).round().astype(np.uint8)
    return voxels


def _turn(angle: float, axis: int) -> npt.NDArray[np.float64]:
    """The matrix of a rotation about an axis."""
    turn = np.eye(3)
    one, other = (axis + 1) % 3, (axis + 2) % 3
    turn[one, one] = turn[other, other] = np.cos(angle)
    turn[one, other], turn[other, one] = -np.sin(angle), np.sin(angle)
    return turn


def _between(values: Grid, low: float, high: float) -> Where:
    within: Where = (values >= low) & (values <= high)
    return within


def _block(x: Grid, y: Grid, z: Grid, sides: tuple[float, float, float]) -> Where:
    """A box about the middle, of half sides."""
    return _between(x, -sides[0], sides[0]) & _between(y, -sides[1], sides[1]) & _between(z, -sides[2], sides[2])


def _box(draw: Draw) -> Made:
    half = draw(0.3, 0.7), draw(0.3, 0.7), draw(0.3, 0.7)
    return lambda x, y, z: _block(x, y, z, half), half


def _ball(draw: Draw) -> Made:
    radius = draw(0.35, 0.85)
    return lambda x, y, z: _between(x**2 + y**2 + z**2, 0, radius**2), (radius, radius, radius)


def _cylinder(draw: Draw) -> Made:
    radius, high = draw(0.25, 0.55), draw(0.4, 0.8)
    return lambda x, y, z: _between(x**2 + y**2, 0, radius**2) & _between(z, -high, high), (radius, radius, high)


def _cone(draw: Draw) -> Made:
    radius, high = draw(0.4, 0.75), draw(0.4, 0.8)

    def inside(x: Grid, y: Grid, z: Grid) -> Where:
        return _between(np.hypot(x, y) + radius * (z + high) / (2 * high), 0, radius) & _between(z, -high, high)

    return inside, (radius, radius, high)


def _torus(draw: Draw) -> Made:
    ring, tube = draw(0.42, 0.62), draw(0.14, 0.26)
    return (
        lambda x, y, z: _between((np.hypot(x, y) - ring) ** 2 + z**2, 0, tube**2),
        (ring + tube, ring + tube, tube),
    )


def _stairs(draw: Draw) -> Made:
    half, steps = (draw(0.45, 0.75), draw(0.3, 0.65), draw(0.4, 0.75)), int(draw(3, 6))

    def inside(x: Grid, y: Grid, z: Grid) -> Where:
        rise = np.ceil((x / half[0] + 1) / 2 * steps) / steps * 2 - 1
        below: Where = z <= half[2] * rise
        return _block(x, y, z, half) & below

    return inside, half


def _legs(x: Grid, y: Grid, half: tuple[float, float, float], thick: float) -> Where:
    """At the four corners, endless."""
    return _between(abs(x), half[0] - thick, half[0]) & _between(abs(y), half[1] - thick, half[1])


def _table(draw: Draw) -> Made:
    half, top, thick = (draw(0.5, 0.75), draw(0.4, 0.65), draw(0.35, 0.7)), draw(0.13, 0.2), draw(0.14, 0.22)

    def inside(x: Grid, y: Grid, z: Grid) -> Where:
        return _block(x, y, z, half) & (_legs(x, y, half, thick) | _between(z, half[2] - top, half[2]))

    return inside, half


def _chair(draw: Draw) -> Made:
    half, seat, thick = (draw(0.35, 0.55), draw(0.35, 0.55), draw(0.6, 0.85)), draw(0.13, 0.2), draw(0.14, 0.2)
    level = half[2] * draw(-0.25, 0.1)

    def inside(x: Grid, y: Grid, z: Grid) -> Where:
        back = _between(x, -half[0], -half[0] + thick) & _between(z, level, half[2])
        legs = _legs(x, y, half, thick) & _between(z, -half[2], level)
        return _block(x, y, z, half) & (back | legs | _between(z, level - seat, level))

    return inside, half


_STANDING = ("stairs", "table", "chair")
_KINDS: dict[str, Callable[[Draw], Made]] = {
    "ball": _ball, "box": _box, "chair": _chair, "cone": _cone, "cylinder": _cylinder, "stairs": _stairs,
    "table": _table, "torus": _torus,
}  # fmt: skip
KINDS = tuple(_KINDS)
"""Their names."""
