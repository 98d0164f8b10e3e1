"""Whether samples are training pictures again: by their features, and by their pixels, shifted by a little, mirrored,
or with noise on top.

Features of a classifier are made to forget such changes only in part; by pixels each is undone before two pictures are
compared. The yardstick is the same for features and pixels: how near held-out pictures come to a training picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate, pad

from ganforge.base.images import Pixels
from ganforge.metrics.metric import NEIGHBOURS, PICTURES, RealPictures, Row, Samples
from ganforge.metrics.neighbours import nearest

RATE = 0.01  # share of held-out pictures within the limit
PAIRS = 8  # of each kind, to be looked at
SIDE = 32
LARGEST = 128  # pixels of a side to which larger pictures are reduced
NOISE = 3.0  # levels within which two smoothed pictures are one: noise of 6 levels in one of them leaves 2.3
THUMBNAIL = 16
CANDIDATES = 8
SHIFT = 2
_ROWS = 256

Reader = Callable[[npt.NDArray[np.int64]], Pixels]


def floor(real: RealPictures, size: int) -> list[float]:
    """The limits by features and by pixels, and the share of held-out pictures within the second: more than 1 % where
    the set has near-duplicates across the split.

    The limit by pixels is at least NOISE, within which two pictures are one."""
    by_features = nearest(real.heldout[:NEIGHBOURS], real.train)[0][:, 0]
    by_pixels = nearest_by_pixels(real.heldout_pixels(PICTURES), _thumbnails(real), real.read_train)[0]
    limit = max(NOISE, yardstick(by_pixels))
    return [yardstick(by_features), limit, float((by_pixels < limit).float().mean())]


def rows(real: RealPictures, samples: Samples, size: int, floor: Sequence[float] | None) -> list[Row]:
    """The shares of copies by features and by pixels, and the larger of the two."""
    results = None if floor is None else _copies(real, samples, floor)
    rates = [one.rate for one in results] if results else [None, None]
    pairs = [one.pairs for one in results] if results else [(), ()]
    says = "share of samples nearer to a training picture than 99 % of held-out pictures are"
    return [
        Row(
            name="copies",
            title="",
            says=f"{says}, by features or by pixels",
            value=max(one.rate for one in results) if results else None,
            floor=RATE,
            better="lower",
            form=".1%",
        ),
        Row(
            name="copies_by_features",
            title="copies by features",
            says=says,
            value=rates[0],
            floor=RATE,
            better="lower",
            form=".1%",
            pairs=pairs[0],
        ),
        Row(
            name="copies_by_pixels",
            title="copies by pixels",
            says=f"{says}, after small shifts, mirroring and noise are undone",
            value=rates[1],
            floor=floor[2] if floor else None,
            better="lower",
            keys=("copies_by_pixels", None, "copies_by_pixels_floor"),
            form=".1%",
            note="shifts, mirroring, noise undone",
            pairs=pairs[1],
        ),
    ]


@dataclass(frozen=True)
class Copies:
    """How near samples are to training pictures, by a yardstick."""

    nearest: Tensor
    """(N,) int64: the index of each sample's nearest training picture, among these."""
    distance: Tensor
    """(N,), to that picture."""
    limit: float
    """The distance that 99 of 100 held-out pictures exceed."""

    @property
    def rate(self) -> float:
        """Share of samples within the limit; 0.01 is what novelty gives."""
        return float((self.distance < self.limit).double().mean())

    @property
    def pairs(self) -> tuple[tuple[int, int], ...]:
        """The samples nearest to a training picture, each with that picture, the nearest first."""
        order = self.distance.argsort()[:PAIRS]
        return tuple(zip(order.tolist(), self.nearest[order].tolist(), strict=True))


def yardstick(heldout: Tensor) -> float:
    """The limit for `Copies` from the held-out pictures' distances to their nearest training pictures, (H,)."""
    return float(heldout.double().quantile(RATE))


def _copies(real: RealPictures, samples: Samples, limits: Sequence[float]) -> tuple[Copies, Copies]:
    """By features, of all samples whose pixels are at hand; and by pixels, of the first thousand."""
    distance, indices = nearest(samples.features[: len(samples.pixels)], real.train)
    by_pixels, whose = nearest_by_pixels(samples.pixels[: PICTURES // 2], _thumbnails(real), real.read_train)
    return Copies(indices[:, 0], distance[:, 0], limits[0]), Copies(whose, by_pixels, limits[1])


def _thumbnails(real: RealPictures) -> npt.NDArray[np.uint8]:
    return real.kept("thumbnails", thumbnails)


def thumbnails(pixels: Pixels) -> npt.NDArray[np.uint8]:
    """(N, H, W, C) uint8 -> (N, C, 16, 16) uint8, by which neighbours are sought first."""
    return _reduced(pixels, THUMBNAIL).round().clamp(0, 255).byte().numpy()


def _reduced(pixels: Pixels, side: int) -> Tensor:
    images = torch.from_numpy(np.ascontiguousarray(pixels)).permute(0, 3, 1, 2).float()
    if images.shape[2:] == (side, side):
        return images
    return interpolate(images, (side, side), mode="bilinear", antialias=True)


def _prepared(pixels: Pixels, side: int) -> Tensor:
    """(N, H, W, C) uint8 -> (N, C, s, s) float32 in 0..255, at most `side`, smoothed by the binomial 3x3 window against
    noise."""
    images = _reduced(pixels, min(side, *pixels.shape[1:3]))
    smooth = pad(images, (1, 1, 1, 1), mode="replicate")
    smooth = smooth[:, :, :-2] + 2 * smooth[:, :, 1:-1] + smooth[:, :, 2:]
    return (smooth[:, :, :, :-2] + 2 * smooth[:, :, :, 1:-1] + smooth[:, :, :, 2:]) / 16


def nearest_by_pixels(samples: Pixels, train: npt.NDArray[np.uint8], read: Reader) -> tuple[Tensor, Tensor]:
    """For (N, H, W, C) uint8 samples: the least distance to a training picture, in levels (root mean square), (N,)
    float32, over the sample and its mirror image and shifts by up to 2 pixels of 32 either way; and which training
    picture it is, (N,) int64.

    `train` are the thumbnails of all training pictures, (T, C, 16, 16) uint8, and `read` gives some of them in full.
    For the sample and for its mirror image the eight nearest by thumbnails are compared by shifted thumbnails, the two
    best of those at 32 px, and the best of them at its own size as well, so that a shift by whole pixels leaves
    nothing; the smaller of the last two distances counts."""
    coarse = _coarse(train)
    norms = coarse.square().sum(1)
    distances, indices = [], []
    for start in range(0, len(samples), _ROWS):
        part = samples[start : start + _ROWS]
        turned = np.concatenate([part, part[:, :, ::-1]])
        small = thumbnails(turned)
        vectors = _coarse(small)
        block = norms - 2 * (vectors @ coarse.T)
        candidates = block.topk(min(CANDIDATES, len(train)), largest=False, sorted=False).indices
        fine = torch.from_numpy(train[candidates.flatten().numpy()]).unflatten(0, candidates.shape).float()
        first = _shifted(torch.from_numpy(small).float(), fine, 1)
        candidates = candidates.gather(1, first.topk(min(2, first.shape[1]), largest=False).indices)
        rows, inverse = np.unique(candidates.numpy(), return_inverse=True)
        pictures = read(rows)
        numbers = torch.from_numpy(inverse.reshape(candidates.shape))
        second = _shifted(_prepared(turned, SIDE), _prepared(pictures, SIDE)[numbers], SHIFT)
        best = second.argmin(1, keepdim=True)
        beside = pictures[numbers.gather(1, best)[:, 0].numpy()]
        last = _shifted(_prepared(turned, LARGEST), _prepared(beside, LARGEST)[:, None], SHIFT)
        least = torch.minimum(second.gather(1, best), last)[:, 0].unflatten(0, (2, -1))
        whose = candidates.gather(1, best)[:, 0].unflatten(0, (2, -1))
        chosen = least.argmin(0, keepdim=True)
        distances.append(least.gather(0, chosen)[0])
        indices.append(whose.gather(0, chosen)[0])
    return torch.cat(distances), torch.cat(indices)


def _coarse(thumbs: npt.NDArray[np.uint8]) -> Tensor:
    """(N, C, 16, 16) uint8 -> (N, C * 64) float32: too few pixels for a small shift to matter much."""
    return avg_pool2d(torch.from_numpy(thumbs).float(), 2).flatten(1)


def _shifted(images: Tensor, candidates: Tensor, shift: int) -> Tensor:
    """(N, C, S, S) and (N, K, C, S, S) -> (N, K): the least root mean square difference over shifts of up to `shift`
    pixels."""
    side = images.shape[-1]
    inner = images[:, None, :, shift : side - shift, shift : side - shift]
    best = torch.full(candidates.shape[:2], float("inf"))
    for dy in range(2 * shift + 1):
        for dx in range(2 * shift + 1):
            window = candidates[..., dy : dy + side - 2 * shift, dx : dx + side - 2 * shift]
            best = torch.minimum(best, (window - inner).square().mean((2, 3, 4)))
    return best.sqrt()
