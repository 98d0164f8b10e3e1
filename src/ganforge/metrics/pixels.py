"""Whether samples are training pictures again, by their pixels: shifted by a little, mirrored, or with noise on top.

Features of a classifier are made to forget such changes only in part; here each is undone before two pictures are
compared. The yardstick is the same as for features: how near held-out pictures come to a training picture."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate, pad

from ganforge.base.images import Pixels

SIDE = 32
LARGEST = 128  # pixels of a side to which larger pictures are reduced
NOISE = 3.0  # levels within which two smoothed pictures are one: noise of 6 levels in one of them leaves 2.3
THUMBNAIL = 16
CANDIDATES = 8
SHIFT = 2
_ROWS = 256

Reader = Callable[[npt.NDArray[np.int64]], Pixels]


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


def nearest(samples: Pixels, train: npt.NDArray[np.uint8], read: Reader) -> tuple[Tensor, Tensor]:
    """For (N, H, W, C) uint8 samples: the least distance to a training picture, in levels (root mean square), (N,)
    float32, over the sample and its mirror image and shifts by up to 2 pixels of 32 either way; and which training
    picture it is, (N,) int64.

    `train` are the thumbnails of all training pictures, (T, C, 16, 16) uint8, and `read` gives some of them in full.
    For the sample and for its mirror image the eight nearest by thumbnails are compared by shifted thumbnails, the two
    best of those at 32 px, and the best of them at its own size as well, so that a shift by whole pixels leaves
    nothing; the smaller of the last two distances counts."""
    coarse = _coarse(train)
    norms = coarse.square().sum(1)
    found, places = [], []
    for start in range(0, len(samples), _ROWS):
        part = samples[start : start + _ROWS]
        both = np.concatenate([part, part[:, :, ::-1]])
        small = thumbnails(both)
        mine = _coarse(small)
        block = norms - 2 * (mine @ coarse.T)
        some = block.topk(min(CANDIDATES, len(train)), largest=False, sorted=False).indices
        fine = torch.from_numpy(train[some.flatten().numpy()]).unflatten(0, some.shape).float()
        first = _shifted(torch.from_numpy(small).float(), fine, 1)
        some = some.gather(1, first.topk(min(2, first.shape[1]), largest=False).indices)
        rows, inverse = np.unique(some.numpy(), return_inverse=True)
        pictures = read(rows)
        which = torch.from_numpy(inverse.reshape(some.shape))
        second = _shifted(_prepared(both, SIDE), _prepared(pictures, SIDE)[which], SHIFT)
        best = second.argmin(1, keepdim=True)
        beside = pictures[which.gather(1, best)[:, 0].numpy()]
        last = _shifted(_prepared(both, LARGEST), _prepared(beside, LARGEST)[:, None], SHIFT)
        least = torch.minimum(second.gather(1, best), last)[:, 0].unflatten(0, (2, -1))
        whose = some.gather(1, best)[:, 0].unflatten(0, (2, -1))
        turned = least.argmin(0, keepdim=True)
        found.append(least.gather(0, turned)[0])
        places.append(whose.gather(0, turned)[0])
    return torch.cat(found), torch.cat(places)


def _coarse(thumbs: npt.NDArray[np.uint8]) -> Tensor:
    """(N, C, 16, 16) uint8 -> (N, C * 64) float32: too few pixels for a small shift to matter much."""
    return avg_pool2d(torch.from_numpy(thumbs).float(), 2).flatten(1)


def _shifted(images: Tensor, candidates: Tensor, reach: int) -> Tensor:
    """(N, C, S, S) and (N, K, C, S, S) -> (N, K): the least root mean square difference over shifts of up to `reach`
    pixels."""
    side = images.shape[-1]
    inner = images[:, None, :, reach : side - reach, reach : side - reach]
    best = torch.full(candidates.shape[:2], float("inf"))
    for dy in range(2 * reach + 1):
        for dx in range(2 * reach + 1):
            window = candidates[..., dy : dy + side - 2 * reach, dx : dx + side - 2 * reach]
            best = torch.minimum(best, (window - inner).square().mean((2, 3, 4)))
    return best.sqrt()
