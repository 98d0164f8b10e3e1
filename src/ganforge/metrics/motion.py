"""Whether clips move as real ones do, and whether the distances of this set would notice.

A distance of clips may be blind to motion (Ge et al. 2024, "On the Content Bias in Fréchet Video Distance"). So beside
the floor stands what held-out clips get whose frames are shuffled, or all their first one; where that is not FAR times
the floor, distances are withheld. Of what moves in a clip, its path and its class are measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from ganforge.base.images import Pixels
from ganforge.base.seeds import key
from ganforge.media.clip import Clip
from ganforge.metrics import frechet
from ganforge.metrics.features import Extractor
from ganforge.metrics.metric import PICTURES, RealPictures, Row, Samples

FAR = 4.0
"""How many times the floor the distances of shuffled and of frozen clips have to be."""
WITHHELD = ("distance", "kernel")
"""The rows that are withheld else."""
WINDOW = 4
"""Frames over which a path has to be straight."""


def floor(real: RealPictures, size: int) -> list[float]:
    """The distance of held-out clips as they are, shuffled and frozen; then their speed, its spread, how far they are
    off a straight path, and the share of their frames that keep the class, -1 without classes."""
    clips = _split(real, real.heldout_pixels(size))
    reference = frechet.moments(real.train)
    distances: list[float] = [frechet.estimate(reference, real.heldout, size)[0]]
    for changed in (shuffled(clips), np.repeat(clips[:, :1], clips.shape[1], 1)):
        features = real.extract([np.concatenate(list(np.moveaxis(changed, 1, 0)), 3)])
        distances.append(frechet.estimate(reference, features, len(features))[0])
    return [*distances, *_numbers(real, clips[:PICTURES])]


def rows(real: RealPictures, samples: Samples, size: int, floor: Sequence[float] | None) -> list[Row]:
    """What shuffled and frozen held-out clips get; speed, straightness and the share of frames that keep the class."""
    speed, spread, bend, stays = _numbers(real, _split(real, samples.pixels[:PICTURES]))
    floors: Sequence[float | None] = floor or [None] * 7
    own, mixed, still, *floors = floors
    told = [
        Row(
            name=name,
            title="",
            says=f"Fréchet distance of held-out clips, {says}",
            value=value,
            better="higher",
            conclusion=sentence,
        )
        for name, says, value, sentence in (
            ("shuffled", "their frames shuffled", mixed, _sentence(own, mixed, still)),
            ("frozen", "their first frame in place of all", still, ""),
        )
    ]
    return [
        *told,
        Row(
            name="speed",
            title="speed",
            says="pixels that the centroid of what differs from the ground moves from frame to frame",
            value=speed,
            spread=spread,
            floor=floors[0],
            floor_spread=floors[1],
            better=floors[0] if floors[0] is not None else "higher",
            keys=("speed", "speed_spread", "speed_floor", "speed_floor_spread"),
            note="pixels a frame, of the centroid",
        ),
        Row(
            name="bend",
            title="off a straight path",
            says=f"pixels by which the centroid misses a straight path over {WINDOW} frames, the median of a clip",
            value=bend,
            floor=floors[2],
            better=floors[2] if floors[2] is not None else "lower",
            keys=("bend", None, "bend_floor"),
            note=f"pixels, over {WINDOW} frames",
        ),
        Row(
            name="class_stays",
            title="class stays",
            says="share of frames that a classifier of single frames gives the class of the first one",
            value=None if stays < 0 else stays,
            floor=None if floors[3] is None or floors[3] < 0 else floors[3],
            better="higher",
            keys=("class_stays", None, "class_stays_floor"),
            form=".1%",
        ),
    ]


def withheld(rows: Sequence[Row]) -> list[Row]:
    """All rows, those of distances without their number where the distance does not see motion."""
    by_name = {row.name: row for row in rows}
    own, blind = by_name["distance"].floor, [by_name["shuffled"].value, by_name["frozen"].value]
    if own is None or all(value is not None and value >= FAR * own for value in blind):
        return list(rows)
    return [replace(row, value=None, spread=None, conclusion="") if row.name in WITHHELD else row for row in rows]


def _sentence(own: float | None, mixed: float | None, still: float | None) -> str:
    if own is None or mixed is None or still is None:
        return ""
    told = f"held-out clips with their frames shuffled get {mixed:.2f}, with their first frame alone {still:.2f}"
    if min(mixed, still) >= FAR * own:
        return f"The distance sees motion: {told}."
    return (
        f"The distance is withheld, since it does not see motion: {told}, and as they are {own:.2f}. It has to be "
        f"{FAR:g} times as much. More clips, or labels that depend on the motion, may help; remove the folder "
        "`features` of the store, and its extractor is trained again."
    )


def shuffled(clips: Pixels) -> Pixels:
    """(N, T, H, W, C) -> the same, the frames of each in an order of its own, a function of its number."""
    orders = (np.random.default_rng(key(0, "shuffled", n)).permutation(clips.shape[1]) for n in range(len(clips)))
    return np.stack([one[order] for one, order in zip(clips, orders, strict=True)])


def centroids(clips: Pixels) -> npt.NDArray[np.float64]:
    """(N, T, H, W, C) uint8 -> (N, T, 2) float64, row and column of the centroid of what differs from the ground, which
    is the median of a clip in each channel; the middle where nothing does."""
    ground = np.median(clips, (1, 2, 3), keepdims=True)
    weights = np.abs(clips - ground).sum(4)
    mass = weights.sum((2, 3))
    height, width = weights.shape[2:]
    row = (weights.sum(3) * np.arange(height)).sum(2) / np.maximum(mass, 1e-9)
    column = (weights.sum(2) * np.arange(width)).sum(2) / np.maximum(mass, 1e-9)
    middle = np.array([(height - 1) / 2, (width - 1) / 2])
    return np.where(mass[..., None] > 0, np.stack([row, column], 2), middle)


def bends(paths: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Paths (N, T, 2) -> (N,), the root mean square distance from the best straight and even path over WINDOW frames,
    the median of all windows: a bounce is in a few of them."""
    length = min(WINDOW, paths.shape[1])
    times = np.arange(length) - (length - 1) / 2
    windows = np.lib.stride_tricks.sliding_window_view(paths, length, 1)  # (N, windows, 2, length)
    windows = windows - windows.mean(3, keepdims=True)
    slopes = (windows * times).sum(3, keepdims=True) / (times**2).sum()
    found: npt.NDArray[np.float64] = np.median(np.sqrt(((windows - slopes * times) ** 2).sum(2).mean(2)), axis=1)
    return found


def stays(classifier: Extractor, clips: Pixels) -> float:
    """Share of frames after the first, of (N, T, H, W, C), that get the class of the first one."""
    classes = classifier.classify(classifier([clips.reshape(-1, *clips.shape[2:])])).reshape(clips.shape[:2])
    return float((classes[:, 1:] == classes[:, :1]).float().mean())


def _numbers(real: RealPictures, clips: Pixels) -> list[float]:
    paths = centroids(clips)
    speeds = np.linalg.norm(np.diff(paths, axis=1), axis=2).mean(1)
    classifier = real.frames
    kept = -1.0 if classifier is None else stays(classifier, clips)
    return [float(speeds.mean()), float(speeds.std()), float(bends(paths).mean()), kept]


def _split(real: RealPictures, rows: Pixels) -> Pixels:
    medium = real.spec.medium
    assert isinstance(medium, Clip)
    return medium.split(rows)
