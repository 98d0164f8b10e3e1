"""Pictures of one or two plain shapes, each with a sentence, such as "a small red ring above a blue square".

Some colours never meet some kinds in the training pictures, so that what a system makes of a sentence with such a pair
shows whether it puts words together or repeats what it saw."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ganforge.base.files import file_sha256
from ganforge.base.images import Pixels, write_image
from ganforge.base.seeds import key
from ganforge.base.tables import write_csv

COUNT, SIDE = 10_000, 64
"""Pictures, and the side of one in pixels."""
COLOURS = {
    "red": (220, 40, 40),
    "orange": (245, 140, 20),
    "yellow": (235, 205, 20),
    "green": (40, 160, 60),
    "blue": (40, 80, 220),
    "purple": (150, 50, 180),
}
"""RGB."""
KINDS = ("circle", "square", "triangle", "ring", "cross", "star")
RADII = {"small": (6.0, 7.5), "large": (10.5, 13.0)}
"""Half the side of the box around a shape, in pixels: from, to."""
RELATIONS = {"above": (0, -1), "below": (0, 1), "left of": (-1, 0), "right of": (1, 0)}
"""Where the first shape lies of the second one, in x and y."""
_FINER = 3  # points a side of a pixel by which the share inside is counted
Grid = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Shape:
    """One shape of a picture."""

    colour: str
    kind: str
    size: str
    named_size: bool
    """Whether the sentence says its size."""

    @property
    def unseen(self) -> bool:
        """Whether no training picture has this kind in this colour."""
        return list(COLOURS).index(self.colour) == KINDS.index(self.kind)

    def __str__(self) -> str:
        words = " ".join([*([self.size] if self.named_size else []), self.colour, self.kind])
        return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


@dataclass(frozen=True)
class Scene:
    """What a picture shows."""

    shapes: tuple[Shape, ...]
    """One or two."""
    relation: str = ""
    """Of the first one to the second one."""

    @property
    def unseen(self) -> bool:
        """Whether no training picture shows one of its shapes."""
        return any(shape.unseen for shape in self.shapes)

    def __str__(self) -> str:
        return f" {self.relation} ".join(map(str, self.shapes))


def scene(random: np.random.Generator) -> Scene:
    """A scene drawn from `random`: every fifth has one shape only, every other shape has its size named."""
    count = 1 if random.random() < 0.2 else 2
    shapes = tuple(
        Shape(
            list(COLOURS)[random.integers(len(COLOURS))],
            KINDS[random.integers(len(KINDS))],
            list(RADII)[random.integers(len(RADII))],
            bool(random.random() < 0.5),
        )
        for _ in range(count)
    )
    return Scene(shapes, list(RELATIONS)[random.integers(len(RELATIONS))] if count == 2 else "")


def read(text: str) -> Scene:
    """The scene that a sentence of this set describes, without a size where it names none: `str` of it is the sentence.
    ValueError where it is no such sentence."""
    relation = next((words for words in RELATIONS if f" {words} " in text), "")
    shapes = []
    for part in text.split(f" {relation} ") if relation else [text]:
        _, *size, colour, kind = part.split()
        named = size[0] if size else ""
        if colour not in COLOURS or kind not in KINDS or named not in ("", *RADII):
            raise ValueError(f"{text!r} is no sentence of this set")
        shapes.append(Shape(colour, kind, named, bool(size)))
    return Scene(tuple(shapes), relation)


def draw(scene: Scene, random: np.random.Generator) -> Pixels:
    """A picture of a scene, (SIDE, SIDE, 3) uint8: exact sizes, positions and the grey behind are drawn from `random`;
    shapes do not overlap."""
    radii = [float(random.uniform(*RADII[shape.size])) for shape in scene.shapes]
    centres = _centres(scene, radii, random)
    picture = np.full((SIDE, SIDE, 3), random.uniform(205, 255))
    for shape, radius, centre in zip(scene.shapes, radii, centres, strict=True):
        (left, x), (top, y) = (_window(at, radius) for at in centre)
        inside = _INSIDE[shape.kind]((x[None, :] - centre[0]) / radius, (y[:, None] - centre[1]) / radius)
        share = inside.reshape(len(y) // _FINER, _FINER, -1, _FINER).mean((1, 3))[..., None]
        window = picture[top : top + len(share), left : left + share.shape[1]]
        window += share * (np.array(COLOURS[shape.colour]) - window)
    pixels: Pixels = picture.round().astype(np.uint8)
    return pixels


def _window(centre: float, radius: float) -> tuple[int, Grid]:
    """The pixels of one axis that a shape may touch: the first one, and the points within them."""
    low, high = int(centre - radius), min(SIDE, int(centre + radius) + 1)
    return low, low + (np.arange((high - low) * _FINER) + 0.5) / _FINER


def _centres(scene: Scene, radii: list[float], random: np.random.Generator) -> list[tuple[float, float]]:
    """(x, y) of each shape."""
    edge = 2.0
    if len(radii) == 1:
        x, y = random.uniform(radii[0] + edge, SIDE - radii[0] - edge, 2)
        return [(x, y)]
    apart = sum(radii) + 2.0
    room = SIDE - 2 * edge - sum(radii) - apart  # along the axis on which they stand apart
    first = edge + random.uniform(0, max(room, 0.0))
    along = [radii[0] + first, radii[0] + first + apart + random.uniform(0, max(room - first + edge, 0.0))]
    dx, dy = RELATIONS[scene.relation]
    if dx + dy > 0:
        along = [SIDE - at for at in along]
    middle = SIDE / 2 + random.uniform(-5, 5)
    across = [float(np.clip(middle + random.uniform(-5, 5), r + edge, SIDE - r - edge)) for r in radii]
    pairs = zip(along, across, strict=True)
    return [(a, b) if dx else (b, a) for a, b in pairs]


def _star(x: Grid, y: Grid) -> npt.NDArray[np.bool_]:
    step, inner = np.pi / 5, 0.42  # from a tip to the next corner between two tips, and how far that is from the middle
    angle = np.abs((np.arctan2(x, -y) + step) % (2 * step) - step)  # from the nearest tip
    edge = inner * np.sin(step) / (inner * np.sin(step - angle) + np.sin(angle))  # the line from tip to corner
    inside: npt.NDArray[np.bool_] = np.hypot(x, y) <= edge
    return inside


_INSIDE: dict[str, Callable[[Grid, Grid], npt.NDArray[np.bool_]]] = {
    "circle": lambda x, y: np.hypot(x, y) <= 1,
    "square": lambda x, y: np.maximum(abs(x), abs(y)) <= 0.88,
    "triangle": lambda x, y: (y <= 0.85) & (2.0 * abs(x) <= y + 1.0),
    "ring": lambda x, y: (np.hypot(x, y) <= 1) & (np.hypot(x, y) >= 0.6),
    "cross": lambda x, y: (np.minimum(abs(x), abs(y)) <= 0.3) & (np.maximum(abs(x), abs(y)) <= 1),
    "star": _star,
}


def make(out: Path) -> list[dict[str, str]]:
    """Write the set into the folder `out`: train/NUMBER.png, test/NUMBER.png and captions.csv. Returns `file`,
    `address` and `sha256` of each picture. What shows an `unseen` shape is in `test`. OSError where `out` cannot be
    written."""
    rows, captions = [], []
    for side in ("train", "test"):
        (out / side).mkdir()
    for number in range(COUNT):
        random = np.random.default_rng(key(0, "captioned shapes", number))
        one = scene(random)
        path = out / ("test" if one.unseen else "train") / f"{number:05d}.png"
        write_image(path, draw(one, random))
        file, address = path.relative_to(out).as_posix(), f"ganforge.collecting.captioned_shapes, {number}"
        rows.append({"file": file, "address": address, "sha256": file_sha256(path)})
        captions.append({"file": file, "caption": str(one)})
    write_csv(out / "captions.csv", ("file", "caption"), captions)
    return rows
