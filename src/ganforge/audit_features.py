"""A second opinion on a set of pictures: features that a small network learns from the set itself.

Trained on labels, or on clusters where there are none (`metrics/features.py`). A picture is an outlier where its k nearest
neighbours are much further away than those of others (Ramaswamy et al. 2000, "Efficient algorithms for mining outliers").
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

import numpy as np
import numpy.typing as npt
import torch

from ganforge.audit_tables import Pictures
from ganforge.data.checks import Finding
from ganforge.data.facts import look
from ganforge.data.sources import Entry, Skip, Source
from ganforge.images import Pixels
from ganforge.metrics.features import train
from ganforge.metrics.neighbours import nearest

SIDE = 64
NEIGHBOURS = 5
FAR = 5.0
"""Robust deviations of the logarithm of the distance above its median; of a normal distribution 1 in 3 million are."""
FEWEST = 100


def outliers(pictures: Pictures, source: Source, seed: int, say: Callable[[str], None]) -> None:
    """Fill in `outlier`, the score of each picture, and add a finding for those above FAR, with the nearest named."""
    rows = np.flatnonzero(pictures.usable)
    if len(rows) < FEWEST:
        return
    thumbnails = np.concatenate(list(_thumbnails(source, pictures.usable, say)))
    classes = {label: n for n, label in enumerate(sorted({pictures.labels[row] or "" for row in rows}))}
    labels = np.array([classes[pictures.labels[row] or ""] for row in rows], np.int64)
    everything = np.arange(len(rows))
    none: npt.NDArray[np.int64] = everything[:0]
    extractor = train(
        lambda some: thumbnails[some], everything, labels if len(classes) > 1 else None, none, none, seed, say
    )
    say("comparing features")
    features = extractor(thumbnails[n : n + 256] for n in range(0, len(rows), 256))
    distance, places = nearest(features, features, NEIGHBOURS, same=True)
    far = distance.mean(1).clamp(min=1e-9).log()
    middle = far.median()
    score = ((far - middle) / (1.4826 * (far - middle).abs().median()).clamp(min=1e-9)).numpy()
    pictures.outlier[rows] = score
    for n in np.flatnonzero(score > FAR):
        near = ", ".join(pictures.names[rows[int(place)]] for place in places[n, :3])
        pictures.findings.append(Finding(int(rows[n]), "outlier", float(score[n]), f"nearest: {near}"))


def _thumbnails(source: Source, usable: npt.NDArray[np.bool_], say: Callable[[str], None]) -> Iterator[Pixels]:
    """(n, SIDE, SIDE, 3) uint8 portions of the usable pictures, in order."""
    wanted = (entry for row, entry in enumerate(source.entries()) if usable[row])
    done = 0
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        while some := list(islice(wanted, 256)):
            yield np.stack(list(pool.map(_thumbnail, some)))
            done += len(some)
            say(f"{done:,} pictures read for features")


def _thumbnail(entry: Entry) -> Pixels:
    try:
        found = look(entry.read(), entry.name)[1]
    except Skip:
        found = None
    if found is None:  # it has changed since it was looked at
        return np.zeros((SIDE, SIDE, 3), np.uint8)
    small = torch.nn.functional.interpolate(found[None].float(), (SIDE, SIDE), mode="bilinear", antialias=True)
    out: Pixels = small[0].round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).numpy()
    return out
