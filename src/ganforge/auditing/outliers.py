"""Pictures unlike the others: by their layout of colours and edges, and by the kind of picture they are.

A picture is an outlier where its k nearest neighbours are much further away than those of others (Ramaswamy et al.
2000, "Efficient algorithms for mining outliers"). Nothing is trained: features that a network learned from the set
itself gave a stranger no higher score than the set's own pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from ganforge.auditing.checks import FAR, Finding
from ganforge.auditing.facts import look
from ganforge.auditing.tables import Pictures
from ganforge.base.images import Pixels
from ganforge.base.pool import chunks, ordered
from ganforge.metrics.neighbours import nearest
from ganforge.sources.depth import Levels
from ganforge.sources.entry import Entry, Skip, Source

SIDE = 64
CELLS, DIRECTIONS = 4, 8
LEVELS = 8
NEIGHBOURS = 5
FEWEST = 100


def outliers(pictures: Pictures, source: Source, levels: Levels, progress: Callable[[str], None]) -> None:
    """Fill in `outlier`, the score of each picture, and add a finding for those above FAR, with the nearest named."""
    rows = np.flatnonzero(pictures.usable)
    if len(rows) < FEWEST:
        return
    parts = [describe(torch.from_numpy(part)) for part in _thumbnails(source, pictures.usable, levels, progress)]
    progress("comparing features")
    features = _balanced(torch.cat(parts))
    distance, neighbours = nearest(features, features, NEIGHBOURS, same=True)
    far = distance.mean(1).clamp(min=1e-9).log()
    middle = far.median()
    score = ((far - middle) / (1.4826 * (far - middle).abs().median()).clamp(min=1e-9)).numpy()
    pictures.outlier[rows] = score
    for n in np.flatnonzero(score > FAR):
        near = ", ".join(pictures.names[rows[int(k)]] for k in neighbours[n, :3])
        pictures.findings.append(Finding(int(rows[n]), "outlier", float(score[n]), f"nearest: {near}"))


def describe(thumbnails: Tensor) -> Tensor:
    """(N, SIDE, SIDE, 3) uint8 -> (N, D) float32, two halves of equal weight over the set.

    The first describes the layout: mean colours of CELLS x CELLS cells, and histograms of the directions of edges in
    them (those of Dalal and Triggs 2005, "Histograms of Oriented Gradients for Human Detection", without their blocks).
    The second describes the kind of picture: a histogram of levels, how much of it is flat, and how fine its detail is.
    """
    x = thumbnails.permute(0, 3, 1, 2).float() / 255
    colours = F.adaptive_avg_pool2d(x, CELLS).flatten(1)
    grey = F.pad(x.mean(1, keepdim=True), (1, 1, 1, 1), mode="replicate")
    across, down = grey[:, :, 1:-1, 2:] - grey[:, :, 1:-1, :-2], grey[:, :, 2:, 1:-1] - grey[:, :, :-2, 1:-1]
    strength = (across.square() + down.square()).sqrt()
    direction = (torch.atan2(down, across) / torch.pi % 1 * DIRECTIONS).long().clamp(max=DIRECTIONS - 1)
    bins = torch.zeros(len(x), DIRECTIONS, SIDE, SIDE).scatter_(1, direction, strength)
    edges = F.adaptive_avg_pool2d(bins, CELLS).flatten(1).sqrt()
    levels = torch.stack([((x * (LEVELS - 1e-3)).long() == n).float().mean((1, 2, 3)) for n in range(LEVELS)], 1).sqrt()
    flat = ((x[:, :, 1:] - x[:, :, :-1]).abs().amax(1) < 1 / 255).float().mean((1, 2))[:, None]
    centre = x[:, :, 1:-1, 1:-1]
    detail = (4 * centre - x[:, :, 2:, 1:-1] - x[:, :, :-2, 1:-1] - x[:, :, 1:-1, 2:] - x[:, :, 1:-1, :-2]).abs()
    ordered = detail.flatten(1).sort(1).values
    shares = torch.tensor([0.1, 0.3, 0.5, 0.9]).mul(ordered.shape[1] - 1).long()
    return torch.cat([colours, edges, levels, flat, (ordered[:, shares] + 1e-3).log()], 1)


def _balanced(described: Tensor) -> Tensor:
    """Both halves centred; the first as a whole of variance 1, the second number by number: (N, D) -> (N, D)."""
    first = CELLS**2 * (3 + DIRECTIONS)
    centred = described - described.mean(0)
    layout, kind = centred[:, :first], centred[:, first:]
    layout = layout / layout.square().sum(1).mean().sqrt().clamp(min=1e-9)
    kind = kind / (kind.square().mean(0).sqrt().clamp(min=1e-6) * kind.shape[1] ** 0.5)
    return torch.cat([layout, kind], 1)


def _thumbnails(
    source: Source, usable: npt.NDArray[np.bool_], levels: Levels, progress: Callable[[str], None]
) -> Iterator[Pixels]:
    """(n, SIDE, SIDE, 3) uint8 portions of the usable pictures, in order."""
    entries = (entry for row, entry in enumerate(source.entries()) if usable[row])
    done = 0
    for some in chunks(ordered(partial(_thumbnail, levels=levels), entries), 256):
        yield np.stack(some)
        done += len(some)
        progress(f"{done:,} pictures read for features")


def _thumbnail(entry: Entry, levels: Levels) -> Pixels:
    try:
        thumbnail = look(entry.read(), entry.name, levels)[1]
    except Skip:
        thumbnail = None
    if thumbnail is None:  # it has changed since it was looked at
        return np.zeros((SIDE, SIDE, 3), np.uint8)
    small = torch.nn.functional.interpolate(thumbnail[None].float(), (SIDE, SIDE), mode="bilinear", antialias=True)
    out: Pixels = small[0].round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).numpy()
    return out
