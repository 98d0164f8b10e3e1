"""Numbers of pictures, taken of thumbnails, many at a time.

They describe a picture at the size at which it would be trained on: a photograph of 20 megapixels that is slightly out
of focus is sharp there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ganforge.auditing import hashes
from ganforge.auditing.facts import SIDE, Facts
from ganforge.base.images import Pixels

Values = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]

UNIFORM = 10.0  # levels between the 1st and the 99th percentile: less than a JPEG's own errors on a plain wall
BORDER = 2  # lines of a thumbnail, on two opposite sides
BAR = 1 / 6  # of the picture, where there is a bar on one side only
LEVELS, FLAT = 10.0, 0.65  # of what is between bars: levels (of 64) in use at least, neighbours of one level at most


class Numbers:
    """Of N pictures, each number taken when it is first needed: (N,) float32, in levels of 0 to 255 where nothing else
    is stated.

    `thumbnails` (N, 3, s, s) and `windows` (N, s, s) are uint8, s a power of two from 8, as `facts.look` gives them;
    `facts` are those of the same pictures. `reread` takes the n-th picture again at its own size, as `facts.spread`.
    """

    def __init__(
        self, thumbnails: Tensor, windows: Tensor, facts: Sequence[Facts], reread: Callable[[int], float]
    ) -> None:
        self.thumbnails = thumbnails
        self.windows = windows
        self.facts = facts
        self._reread = reread
        self.luma = thumbnails[:, 0].float().mul_(0.299)
        """(N, s, s), BT.601."""
        self.luma.add_(thumbnails[:, 1], alpha=0.587).add_(thumbnails[:, 2], alpha=0.114)

    @cached_property
    def _mean(self) -> Tensor:
        return self.luma.mean((1, 2))

    @property
    def brightness(self) -> Values:
        """Mean luma."""
        mean: Values = self._mean.numpy()
        return mean

    @cached_property
    def contrast(self) -> Values:
        """Standard deviation of the luma."""
        centred = (self.luma - self._mean[:, None, None]).flatten(1)
        deviation: Values = (torch.linalg.vector_norm(centred, dim=1) / self.luma.shape[-1]).numpy()
        return deviation

    @cached_property
    def _at_32(self) -> Tensor:
        return _to_32(self.luma)

    @property
    def grey(self) -> Pixels:
        """Luma at 32x32: (N, 32, 32) uint8."""
        pixels: Pixels = self._at_32.round().clamp_(0, 255).to(torch.uint8).numpy()
        return pixels

    @cached_property
    def _ordered(self) -> Values:
        ordered: Values = np.sort(self._at_32.flatten(1).numpy(), 1)  # ten times as fast as torch's
        return ordered

    @property
    def low(self) -> Values:
        """1st percentile of the luma, at 32x32."""
        return self._ordered[:, 10]

    @property
    def high(self) -> Values:
        """99th percentile of the luma, at 32x32."""
        return self._ordered[:, -11]

    @cached_property
    def spread(self) -> Values:
        """From `low` to `high`; where that is under UNIFORM, of all channels and alpha, by `reread`."""
        spread: Values = self.high - self.low
        for n in np.flatnonzero(spread < UNIFORM).tolist():
            spread[n] = self._reread(n)
        return spread

    @cached_property
    def _sharpness_and_noise(self) -> tuple[Values, Values]:
        return _sharpness_and_noise(self.luma)

    @property
    def sharpness(self) -> Values:
        """Largest curvature over largest difference across 4 pixels: about 1 for a sharp edge, 0.1 for one blurred by 2
        pixels."""
        return self._sharpness_and_noise[0]

    @property
    def noise(self) -> Values:
        """Standard deviation of the noise where the picture is calmest."""
        return self._sharpness_and_noise[1]

    @cached_property
    def own_sharpness(self) -> Values:
        """`Facts.sharpness`; NaN where there is none."""
        return np.array([facts.sharpness for facts in self.facts], np.float32)

    @cached_property
    def border(self) -> Values:
        """Share of the picture that is plain bars, from 0 to 1."""
        return _border(self.luma, self.thumbnails)

    @cached_property
    def steps(self) -> tuple[Values, Values]:
        """Mean difference of neighbours in the windows, across and down, by position in a line: (N, s - 1) each."""
        return _steps(self.windows.numpy())

    @cached_property
    def repeats(self) -> Values:
        """How many times in a row each pixel stands, across and down; 1 where pixels are not repeated."""
        return _repeats(self.steps)

    @cached_property
    def quality(self) -> Values:
        """Of a JPEG, 1 to 100; 0 of others."""
        return np.array([facts.quality for facts in self.facts], np.float32)

    @cached_property
    def colours(self) -> Values:
        """Means of red, green and blue, (N, 3)."""
        every = max(1, self.luma.shape[-1] // 32)
        colours: Values = self.thumbnails.flatten(2)[..., ::every].float().mean(2).numpy()
        return colours

    @cached_property
    def hashes(self) -> tuple[hashes.Hashes, hashes.Hashes]:
        """Of the pictures and of their mirror images, (N,) uint64 each."""
        return hashes.hashes(self._at_32)


COLUMNS: dict[str, Callable[[Numbers], Values]] = {
    "brightness": lambda numbers: numbers.brightness,
    "contrast": lambda numbers: numbers.contrast,
    "low": lambda numbers: numbers.low,
    "high": lambda numbers: numbers.high,
    "sharpness": lambda numbers: numbers.sharpness,
    "noise": lambda numbers: numbers.noise,
    "border": lambda numbers: numbers.border,
    "red": lambda numbers: numbers.colours[:, 0],
    "green": lambda numbers: numbers.colours[:, 1],
    "blue": lambda numbers: numbers.colours[:, 2],
}
"""The numbers that stand in pictures.parquet and on the page, in this order."""


def columns(numbers: Numbers) -> Values:
    """All COLUMNS: (N, columns)."""
    return np.column_stack([column(numbers) for column in COLUMNS.values()])


def _to_32(luma: Tensor) -> Tensor:
    side, target = luma.shape[-1], hashes.SIDE
    if side > target:
        out: Tensor = _tiles(luma, side // target).mean(2).unflatten(2, (target, -1)).mean(3)
        return out
    return luma.repeat_interleave(target // side, 1).repeat_interleave(target // side, 2)


def _sharpness_and_noise(luma: Tensor) -> tuple[Values, Values]:
    """Both from differences of neighbours.

    Sharpness: in blocks of 8x8 the largest second difference and the largest difference over 4 pixels; of each the
    upper tenth of the blocks, and their ratio. It does not depend on contrast, and one sharp part is enough: a
    background out of focus is no fault. Noise: the operator of Immerkaer 1996, "Fast noise variance estimation", in the
    tenth of the blocks that deviate least, times the square of its share in that deviation: noise explains all of it,
    texture does not."""
    block = 8 if luma.shape[-1] > 8 else 4
    across = (luma[:, :, :-2] + luma[:, :, 2:]).sub_(luma[:, :, 1:-1], alpha=2)
    down = (luma[:, :-2] + luma[:, 2:]).sub_(luma[:, 1:-1], alpha=2)
    rough = (across[:, :-2] + across[:, 2:]).sub_(across[:, 1:-1], alpha=2).abs_()
    curve = torch.maximum(across[:, 1:-1].abs(), down[:, :, 1:-1].abs())
    step = torch.maximum(
        (luma[:, 2:-2, 4:] - luma[:, 2:-2, :-4]).abs_(), (luma[:, 4:, 2:-2] - luma[:, :-4, 2:-2]).abs_()
    )
    highest = [_tiles(x, block).amax(2).unflatten(2, (-1, block)).amax(3) for x in (curve, step)]
    top_curve, top_step = (_part(x, 0.9) for x in highest)
    fine = _means(rough[:, 1:-1, 1:-1], block) * (np.pi / 2) ** 0.5 / 6
    inner = luma[:, 2:-2, 2:-2]
    whole = np.sqrt(np.maximum(_means(inner.square(), block) - _means(inner, block) ** 2, 1e-6))
    calmest = np.argpartition(whole, whole.shape[1] // 10, axis=1)[:, : whole.shape[1] // 10 + 1]
    fine, whole = (np.take_along_axis(x, calmest, 1).mean(1) for x in (fine, whole))
    noise = fine * np.minimum(fine / whole, 1) ** 2
    return (top_curve / np.maximum(top_step, 2.0)).astype(np.float32), noise.astype(np.float32)


def _means(x: Tensor, block: int) -> Values:
    """(N, H, W) -> the means of its blocks, (N, blocks)."""
    out: Values = _tiles(x, block).mean(2).unflatten(2, (-1, block)).mean(3).flatten(1).numpy()
    return out


def _tiles(x: Tensor, block: int) -> Tensor:
    """(N, H, W) -> (N, rows of blocks, block, W cut to whole blocks). To reduce lines first is several times as fast as
    to pool."""
    rows, columns = x.shape[1] // block, x.shape[2] // block
    tiles: Tensor = x[:, : rows * block, : columns * block].unflatten(1, (rows, block))
    return tiles


def _part(blocks: Tensor, share: float) -> Values:
    """Of each picture's blocks the one above a share of the others, (N,)."""
    ordered: Values = np.sort(blocks.flatten(1).numpy(), 1)
    return ordered[:, int(share * (ordered.shape[1] - 1))]


def _border(luma: Tensor, colours: Tensor) -> Values:
    """Share covered by plain bars on two opposite sides, or by a wide one on a single side, (N,).

    A bar is made of lines of one level, as far as JPEG keeps it, and it ends at a straight line: what comes next
    differs along most of its length. The plain background of an object does not end so. Flags and flat drawings do have
    such lines, so what lies between has to have the shades of a photograph."""
    share = np.zeros(len(luma), np.float32)
    side = luma.shape[-1]
    for lines, pixels in ((luma, colours), (luma.transpose(1, 2), colours.transpose(2, 3))):
        level, plain = lines.mean(2).numpy(), (lines.amax(2) - lines.amin(2) < 32).numpy()
        (first, one), (last, other) = (
            _bars(level[:, ::order], plain[:, ::order], pixels.numpy()[:, :, ::order]) for order in (1, -1)
        )
        for n in np.flatnonzero((np.minimum(first, last) >= BORDER) | one | other):
            inner = slice(int(first[n]) + 1, side - int(last[n]) - 1)
            if _shaded(lines[n, inner]):
                share[n] = max(share[n], (first[n] + last[n]) / side)
    return share


def _bars(level: Values, plain: Flags, pixels: Pixels) -> tuple[npt.NDArray[np.int64], Flags]:
    """Lines (N,) of the bar at the first side, 0 where there is none, and whether it is so wide, plain and straight
    that it needs no other opposite. Of the lines the mean and whether they are plain, (N, s); (N, 3, s, s)."""
    side = level.shape[1]
    flat = plain & (np.abs(level - level[:, :1]) < 6)
    depth = np.where(flat.all(1), 0, flat.argmin(1))
    alone = np.zeros(len(level), bool)
    beyond = max(1, 3 * side // SIDE)  # lines in which a bar ends that is straight
    for n in np.flatnonzero(depth >= BORDER).tolist():
        lines = depth[n]
        bar = pixels[n, :, : lines // 2].reshape(3, -1)  # away from JPEG's ringing
        mean = bar.mean(1, dtype=np.float32)[:, None, None]
        ends = (np.abs(pixels[n, :, lines : lines + beyond] - mean) > 16).any(0)
        if np.count_nonzero(ends.any(0)) < 0.5 * side or (rough := bar.std(1, dtype=np.float32).max()) > 6:
            depth[n] = 0
        else:
            alone[n] = lines >= BAR * side and rough < 2 and ends[:2].any(0).mean() > 0.8
    return depth, alone


def _shaded(luma: Tensor) -> bool:
    """Whether (h, w) has the many levels of a photograph and is not mostly areas of one."""
    if luma.shape[0] < 4:
        return False
    counts = np.bincount((luma.numpy().ravel() / 4).astype(np.int64))
    shares = counts[counts > 0] / counts.sum()
    levels = float(np.exp(-(shares * np.log(shares)).sum()))
    flat = float(((luma[:, 1:] - luma[:, :-1]).abs() < 2).float().mean())
    return levels > LEVELS and flat < FLAT


def _steps(windows: Pixels) -> tuple[Values, Values]:
    """See `Numbers.steps`; of every fourth line."""
    across, down = windows[:, ::4], windows[:, :, ::4]
    left, right, above, below = across[:, :, :-1], across[:, :, 1:], down[:, :-1], down[:, 1:]
    return (
        (np.maximum(left, right) - np.minimum(left, right)).mean(1, dtype=np.float32),
        (np.maximum(above, below) - np.minimum(above, below)).mean(2, dtype=np.float32),
    )


def _repeats(lines: tuple[Values, Values]) -> Values:
    """See `Numbers.repeats`: the factor k, 2 to 16, where steps stand at every k-th position and, as far as JPEG keeps
    it, nowhere else."""
    factors = np.ones(len(lines[0]), np.float32)
    positions = lines[0].shape[1]
    quiet = [(line < 0.4 * line.mean(1, keepdims=True)).sum(1) > 2 * positions // 5 for line in lines]
    rows = np.flatnonzero(quiet[0] & quiet[1])
    for factor in range(2, min(16, (positions + 1) // 4) + 1) if len(rows) else ():
        good = np.ones(len(rows), bool)
        for line in lines:
            whole = line[rows, : positions // factor * factor].reshape(len(rows), -1, factor)
            means = whole.mean(1)
            largest = means.argmax(1)
            at = np.take_along_axis(whole, largest[:, None, None], 2)[..., 0]
            beside = np.partition(means, -2, 1)[:, -2]
            stands = (at > np.maximum(1, beside)[:, None]).mean(1)
            good &= (beside < 0.5 * at.mean(1)) & (stands >= 0.7)
        factors[rows[good]] = factor
    return factors
