"""How noisy a picture is: Gaussian noise, salt and pepper, JPEG blocks; each from the picture alone."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from ganforge.base.images import Pixels
from ganforge.cleaning.filters import Bilateral, Filter, Median

BLOCK = 16
FLAT = 0.1  # the share of blocks that is taken for flat
IMPULSE = 48  # how far from its neighbours' median a black or white pixel is no part of the picture


@dataclass(frozen=True)
class Noise:
    """Estimates of one picture, or the median of many."""

    sigma: float
    """Standard deviation of additive noise in grey levels, the mean of the channels."""
    impulses: float
    """Share of values that are 0 or 255 and fit none of their neighbours, 0 to 1."""
    blocks: float
    """Steps across the 8x8 grid of JPEG over steps elsewhere; 1 without a grid."""

    def __str__(self) -> str:
        return (
            f"noise of {self.sigma:.1f} grey levels, {100 * self.impulses:.1f} % salt and pepper, "
            f"steps across JPEG's blocks {self.blocks:.2f} times the others"
        )


def estimate(pixels: Pixels) -> Noise:
    """(H, W, C) uint8 -> Noise; alpha is left aside. Sides below 32 pixels are too small and give zeros.

    sigma: the residual of a Laplacian difference that cancels planes (Immerkaer, 1996) in 16x16 blocks; the flattest
    tenth of the blocks tell, since texture only ever adds. Impulses are replaced by the median before, and blocks that
    touch black or white, where noise is cut off, are left out while others are left."""
    planes = pixels[..., :3].transpose(2, 0, 1) if pixels.shape[2] != 1 else pixels.transpose(2, 0, 1)
    if min(planes.shape[1:]) < 2 * BLOCK:
        return Noise(0.0, 0.0, 1.0)
    calm = [_without_impulses(plane) for plane in planes]
    return Noise(
        float(np.mean([_sigma(plane) for plane, _ in calm])),
        float(np.mean([share for _, share in calm])),
        float(np.mean([_blocks(plane) for plane, _ in calm])),
    )


def median(many: list[Noise]) -> Noise:
    """Each number's median; Noise(0, 0, 1) of none."""
    if not many:
        return Noise(0.0, 0.0, 1.0)
    return Noise(*(float(np.median([getattr(n, name) for n in many])) for name in ("sigma", "impulses", "blocks")))


def remedy(noise: Noise) -> tuple[list[Filter], list[str]]:
    """The filters that such noise asks for, none where it is weak, and the reasons in words."""
    chain: list[Filter] = []
    reasons = []
    specks = noise.impulses > 0.01 + 0.001 * max(noise.sigma - 20, 0)  # strong noise reaches black and white by itself
    if specks:
        chain.append(Median(3))
        reasons.append("single black and white pixels: the median of their neighbours replaces them")
    if noise.sigma > (8 if specks else 4.5):
        left = noise.sigma / 2 if specks else noise.sigma  # the median halves it
        chain.append(Bilateral(round(2 * left, 1), 2.0))
        reasons.append("noise: the mean over neighbours that differ by less than about twice its deviation")
    elif noise.blocks > 1.5 and not specks:
        chain.append(Bilateral(30.0, 2.0))
        reasons.append("blocks of strong JPEG compression: weak smoothing across their edges")
    if not chain:
        reasons.append("clean enough: any filter would take more than it gives")
    return chain, reasons


def _without_impulses(plane: Pixels) -> tuple[Pixels, float]:
    middle = Median()(plane[..., None])[..., 0]
    extreme = (plane == 0) | (plane == 255)
    impulses = extreme & (np.abs(plane.astype(np.int16) - middle) > IMPULSE)
    return np.where(impulses, middle, plane), float(impulses.mean())


def _residual(plane: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """(H, W) -> (H-2, W-2), the second difference in both directions; its deviation is six times the noise's."""
    down = plane[:-2] - 2 * plane[1:-1] + plane[2:]
    out: npt.NDArray[np.float32] = down[:, :-2] - 2 * down[:, 1:-1] + down[:, 2:]
    return out


def _spread(residual: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Root mean square of each block. (H, W) -> (blocks,)."""
    rows, columns = (side // BLOCK for side in residual.shape)
    squares = residual[: rows * BLOCK, : columns * BLOCK].astype(np.float64) ** 2
    blocks: npt.NDArray[np.float64] = squares.reshape(rows, BLOCK, columns, BLOCK).mean((1, 3))
    return np.sqrt(blocks.ravel()) / 6


def _sigma(plane: Pixels) -> float:
    residual = _residual(plane.astype(np.float32))
    spread = _spread(residual)
    rows, columns = (side // BLOCK for side in residual.shape)
    inner = plane[1 : 1 + rows * BLOCK, 1 : 1 + columns * BLOCK].reshape(rows, BLOCK, columns, BLOCK)
    cut = ((inner == 0) | (inner == 255)).mean((1, 3)).ravel() > 0.01
    if (~cut).sum() >= 4:
        spread = spread[~cut]
    return float(np.quantile(spread, FLAT) / _bias())


@cache
def _bias() -> float:
    """The same quantile of noise 1 alone, which is below 1 since it looks among the smallest blocks."""
    noise = np.random.default_rng(0).standard_normal((512, 512)).astype(np.float32)
    return float(np.quantile(_spread(_residual(noise)), FLAT))


def _blocks(plane: Pixels) -> float:
    """Both directions together: the mean step at columns and rows 8, 16, … over the mean of all other steps."""
    at, elsewhere = 0.0, 0.0
    for side in (plane, plane.T):
        steps = np.abs(np.diff(side.astype(np.float32), axis=0)).mean(1)
        grid = np.arange(len(steps)) % 8 == 7
        at, elsewhere = at + float(steps[grid].mean()), elsewhere + float(steps[~grid].mean())
    return at / max(elsewhere, 1e-6) if at > 0.5 else 1.0
