"""What is wrong with a picture: the codes, the numbers behind them, and the limits with their reasons.

Numbers are taken of thumbnails (`facts.SIDE`), many at a time. They judge a picture at the size at which it would be
trained on: a photograph of 20 megapixels that is slightly out of focus is sharp there, and so it is fine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ganforge.data import hashes
from ganforge.data.facts import Facts, suits

Values = npt.NDArray[np.float32]

SEVERITIES = ("ok", "convert", "warn", "reject")

SMALLEST = 8  # the smallest side that `prepare` makes
SMALL = 16
ASPECT = 3.0  # a centred square keeps less than a third of the picture
UNIFORM = 10.0  # levels between the 1st and the 99th percentile: less than a JPEG's own errors on a plain wall
DARK = 70.0  # the 99th percentile: the brightest parts are darker than a quarter of the range
BRIGHT = 180.0  # the 1st percentile: nothing uses the lower two thirds of the range
CONTRAST = 60.0  # levels between the 1st and the 99th percentile: a quarter of the range
BLUR = 0.28  # a photograph of 128 px after a Gaussian blur of 2.5 px and JPEG stays below, 999 of 1,000 others above
NOISE = 9.0  # standard deviation in levels, where the picture is calmest; of 3,670 photographs none is above
BORDER = 2  # lines of a thumbnail, on two opposite sides


class Code(NamedTuple):
    """Severity, meaning and suggested remedy of one kind of finding."""

    severity: str
    meaning: str
    remedy: str


CODES = {
    "unreadable": Code("reject", "the file cannot be read from disk or archive", "check permissions or fetch it again"),
    "empty": Code("reject", "the file has no bytes", "fetch it again or delete it"),
    "not_a_picture": Code("reject", "no picture format that is known here", "delete it or move it elsewhere"),
    "too_large": Code("reject", "over the limits of pixels, bytes or unpacking", "scale it down, if it can be trusted"),
    "truncated": Code("reject", "the end of the file is missing", "fetch it again or delete it"),
    "damaged": Code("reject", "the file does not decode", "fetch it again or delete it"),
    "too_small": Code("warn", "the shorter side is small", "delete it or find a larger version"),
    "extreme_aspect": Code("warn", "very long or very wide", "cut it into parts, or prepare with --fit letterbox"),
    "near_uniform": Code("reject", "almost one colour", "delete it"),
    "no_label": Code("reject", "the others have a class and this one has none", "move it into its class's folder"),
    "label_conflict": Code("reject", "the same picture stands under two labels", "decide on one and delete the other"),
    "exact_duplicate": Code("reject", "the same bytes as another picture", "keep one of the group"),
    "near_duplicate": Code("warn", "almost the same as another picture", "keep one, or keep the group in one split"),
    "mirrored": Code("warn", "another picture, mirrored", "keep one, or keep the group in one split"),
    "blurred": Code("warn", "no sharp edge anywhere", "delete it"),
    "noisy": Code("warn", "noise even where it is calm", "clean it or delete it"),
    "dark": Code("warn", "even the brightest parts are dark", "brighten it or delete it"),
    "bright": Code("warn", "even the darkest parts are bright", "darken it or delete it"),
    "low_contrast": Code("warn", "few levels are used", "stretch its levels or delete it"),
    "border": Code("warn", "plain bars on opposite sides", "crop them away"),
    "outlier": Code("warn", "unlike its neighbours in feature space", "look at it; delete it if it does not belong"),
    "text": Code("warn", "text was read in it", "crop it away or delete it"),
    "wrong_suffix": Code("convert", "the name's suffix is another format's", "rename it"),
    "animated": Code("convert", "several frames or pages", "the first one is used; split it to use the others"),
    "transparent": Code("convert", "see-through parts", "laid over a colour; --channels 4 keeps them"),
    "mode": Code("convert", "palette, CMYK, 1 bit or more than 8 bits", "converted to 8-bit grey or RGB"),
    "exif_rotation": Code("convert", "turned by its EXIF orientation", "turned upright"),
    "icc_profile": Code("convert", "a colour profile other than sRGB", "convert it to sRGB where colours matter"),
}  # fmt: skip


@dataclass
class Finding:
    """One thing about one picture: `row` counts within a chunk, later among all pictures."""

    row: int
    code: str
    value: float | None = None
    detail: str = ""
    severity: str = ""
    group: int = -1

    def __post_init__(self) -> None:
        self.severity = self.severity or CODES[self.code].severity


def of_file(row: int, facts: Facts, name: str, unlabelled: bool) -> list[Finding]:
    """What name and header tell; a file that cannot be used has this one finding."""
    if facts.code:
        return [Finding(row, facts.code, None, facts.detail)]
    found = []
    short, long = sorted((facts.height, facts.width))
    size = f"{facts.width}x{facts.height}"
    if short < SMALL:
        found.append(Finding(row, "too_small", short, size, "reject" if short < SMALLEST else ""))
    if long > ASPECT * short:
        found.append(Finding(row, "extreme_aspect", long / max(short, 1), size))
    if unlabelled:
        found.append(Finding(row, "no_label"))
    if not suits(name, facts.format):
        found.append(Finding(row, "wrong_suffix", None, f"is {facts.format}"))
    if facts.frames > 1:
        found.append(Finding(row, "animated", facts.frames, f"{facts.frames:,} frames"))
    if facts.transparent:
        found.append(Finding(row, "transparent", None, facts.mode))
    if facts.mode not in ("L", "RGB", "RGBA"):
        found.append(Finding(row, "mode", None, facts.mode or "CMYK"))
    if facts.orientation in range(2, 9):
        found.append(Finding(row, "exif_rotation", facts.orientation, f"orientation {facts.orientation}"))
    if facts.profile:
        found.append(Finding(row, "icc_profile"))
    return found


# ---------------------------------------------------------------------------------------------------------- the numbers


@dataclass
class Numbers:
    """Of N thumbnails: (N,) float32 each, in levels of 0 to 255 where nothing else is said."""

    brightness: Values
    """Mean luma (BT.601)."""
    contrast: Values
    """Standard deviation of the luma."""
    low: Values
    """1st percentile of the luma, at 32x32."""
    high: Values
    """99th."""
    sharpness: Values
    """Largest curvature over largest difference across 4 pixels: about 1 for a sharp edge, 0.1 for one blurred by 2 pixels."""
    noise: Values
    """Standard deviation of the noise where the picture is calmest."""
    border: Values
    """Share of the picture that plain bars on opposite sides cover."""
    colour: Values
    """(N, 3) mean of red, green, blue."""
    phash: hashes.Hashes
    mirror: hashes.Hashes
    grey: npt.NDArray[np.uint8]
    """(N, 32, 32) luma."""


@torch.no_grad()
def measure(thumbnails: Tensor) -> Numbers:
    """(N, 3, s, s) uint8, s a power of two from 8 -> their numbers."""
    side = thumbnails.shape[-1]
    luma = thumbnails[:, 0].float().mul_(0.299)
    luma.add_(thumbnails[:, 1], alpha=0.587).add_(thumbnails[:, 2], alpha=0.114)
    mean = luma.mean((1, 2))
    deviation = torch.linalg.vector_norm((luma - mean[:, None, None]).flatten(1), dim=1) / side
    small = _to_32(luma)
    ordered = np.sort(small.flatten(1).numpy(), 1)  # ten times as fast as torch's
    sharpness, noise = _sharpness_and_noise(luma)
    phash, mirror = hashes.hashes(small)
    colour = thumbnails.flatten(2)[..., :: max(1, side // 32)].float().mean(2)
    return Numbers(
        mean.numpy(), deviation.numpy(), ordered[:, 10], ordered[:, -11], sharpness, noise,
        _border(luma, thumbnails), colour.numpy(), phash, mirror, small.round().clamp_(0, 255).to(torch.uint8).numpy(),
    )  # fmt: skip


def _to_32(luma: Tensor) -> Tensor:
    side, wanted = luma.shape[-1], hashes.SIDE
    if side > wanted:
        out: Tensor = _tiles(luma, side // wanted).mean(2).unflatten(2, (wanted, -1)).mean(3)
        return out
    return luma.repeat_interleave(wanted // side, 1).repeat_interleave(wanted // side, 2)


def _sharpness_and_noise(luma: Tensor) -> tuple[Values, Values]:
    """Both from differences of neighbours.

    Sharpness: in blocks of 8x8 the largest second difference and the largest difference over 4 pixels; of each the upper
    tenth of the blocks, and their ratio. It does not depend on contrast, and one sharp part is enough: a background
    out of focus is no fault. Noise: the operator of Immerkaer 1996, "Fast noise variance estimation", in the tenth of the
    blocks that deviate least, times the square of its share in that deviation: noise explains all of it, texture does not.
    """
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
    """Share covered by plain bars on two opposite sides, (N,).

    A bar is made of lines of one level, as far as JPEG keeps it, and it ends at a straight line: what comes next differs
    along most of its length. The plain background of an object does not end so.
    """
    share = np.zeros(len(luma), np.float32)
    side = luma.shape[-1]
    for lines, pixels in ((luma, colours), (luma.transpose(1, 2), colours.transpose(2, 3))):
        middle = lines.mean(2)
        plain = lines.amax(2) - lines.amin(2) < 32
        both: list[npt.NDArray[np.int64]] = []
        for order in (1, -1):
            here = np.arange(side)[::order].copy()
            level, flat = middle[:, here].numpy(), plain[:, here].numpy()
            flat = flat & (np.abs(level - level[:, :1]) < 6)
            depth = np.where(flat.all(1), 0, flat.argmin(1))
            for n in np.flatnonzero(depth >= BORDER):
                after = pixels[n, :, here[np.minimum(depth[n] + np.arange(3), side - 1)].tolist()].numpy().astype(int)
                bar = (
                    pixels[n, :, here[: depth[n] // 2].tolist()].numpy().astype(np.float32)
                )  # away from JPEG's ringing
                ends = np.abs(after - bar.mean((1, 2), keepdims=True)) > 16
                if bar.std((1, 2)).max() > 6 or ends.any((0, 1)).mean() < 0.5:
                    depth[n] = 0
            both.append(depth)
        found = (np.minimum(*both) >= BORDER) * (both[0] + both[1]) / side
        share = np.maximum(share, found.astype(np.float32))
    return share


def of_pixels(rows: Sequence[int], numbers: Numbers) -> list[Finding]:
    """What the numbers tell. Of darkness, brightness and low contrast only the first that holds; nothing else of a
    picture of one colour."""
    spread = numbers.high - numbers.low
    uniform = spread < UNIFORM
    dark = ~uniform & (numbers.high < DARK)
    bright = ~uniform & (numbers.low > BRIGHT)
    tests = (
        ("near_uniform", uniform, spread, "{:.0f} levels"),
        ("dark", dark, numbers.high, "99 of 100 pixels below {:.0f}"),
        ("bright", bright, numbers.low, "99 of 100 pixels above {:.0f}"),
        ("low_contrast", ~uniform & ~dark & ~bright & (spread < CONTRAST), spread, "{:.0f} levels"),
        ("blurred", ~uniform & (numbers.sharpness < BLUR), numbers.sharpness, "sharpness {:.3f}"),
        ("noisy", ~uniform & (numbers.noise > NOISE), numbers.noise, "deviation {:.1f}"),
        ("border", ~uniform & (numbers.border > 0), numbers.border, "{:.0%} of the picture"),
    )
    return [
        Finding(rows[n], code, float(values[n]), words.format(values[n]))
        for code, holds, values, words in tests
        for n in np.flatnonzero(holds).tolist()
    ]
