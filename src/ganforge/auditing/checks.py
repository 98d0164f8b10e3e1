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

from ganforge.auditing import hashes
from ganforge.auditing.facts import SIDE, Facts
from ganforge.base.images import Pixels
from ganforge.sources.formats import suits

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
SOFT = (
    0.25  # sharpness at its own size; of 19 photographs at four sizes the least is 0.35, 8-fold up-scaled 0.23 at most
)
QUALITY = 20  # of a JPEG, 1 to 100; below it the blocks show
BLOCKS = 1.5  # steps across the grid of 8x8 over steps elsewhere, and at 7 of 10 of its lines larger than beside them
GREY = 6  # levels between the channels, as JPEG may leave them
BORDER = 2  # lines of a thumbnail, on two opposite sides
BAR = 1 / 6  # of the picture, where there is a bar on one side only
LEVELS, FLAT = 10.0, 0.65  # of what is between bars: levels (of 64) in use at least, neighbours of one level at most


class Code(NamedTuple):
    """Severity, meaning and suggested remedy of one kind of finding."""

    severity: str
    meaning: str
    remedy: str


CODES = {
    "unreadable": Code("reject", "disk or archive refuses it, or its format is not read", "check permissions, or convert it"),
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
    "upscaled": Code("warn", "more pixels than detail", "find the original, or scale it down"),
    "compressed": Code("warn", "blocks of strong JPEG compression", "find a better copy or delete it"),
    "border": Code("warn", "plain bars at the sides", "crop them away"),
    "outlier": Code("warn", "unlike its neighbours in feature space", "look at it; delete it if it does not belong"),
    "text": Code("warn", "text was read in it", "crop it away or delete it"),
    "wrong_suffix": Code("convert", "the name's suffix is another format's", "rename it"),
    "animated": Code("convert", "several frames or pages", "the first one is used; split it to use the others"),
    "transparent": Code("convert", "see-through parts", "laid over a colour; --channels 4 keeps them"),
    "grey_as_rgb": Code("convert", "grey stored as three equal channels", "--channels 1 keeps one, where all are grey"),
    "mode": Code("convert", "palette, CMYK, 1 bit or more than 8 bits", "converted to 8-bit grey or RGB"),
    "exif_rotation": Code("convert", "turned by its EXIF orientation", "turned upright"),
    "icc_profile": Code("convert", "a colour profile other than sRGB", "converted to sRGB"),
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
        found.append(Finding(row, "icc_profile", None, facts.profile))
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
    spread: Values
    """From the one to the other; where that is under UNIFORM, `facts.spread` of all channels and alpha, if the picture
    is at hand."""
    sharpness: Values
    """Largest curvature over largest difference across 4 pixels: about 1 for a sharp edge, 0.1 for one blurred by 2
    pixels."""
    noise: Values
    """Standard deviation of the noise where the picture is calmest."""
    border: Values
    """Share of the picture that plain bars on opposite sides cover."""
    repeats: Values
    """How many times in a row each pixel stands, across and down; 1 where pixels are not repeated."""
    blocks: Values
    """Steps across JPEG's grid over steps elsewhere; 0 where the grid does not show."""
    grey: npt.NDArray[np.bool_]
    """Whether all channels are equal."""
    colour: Values
    """(N, 3) mean of red, green, blue."""
    phash: hashes.Hashes
    mirror: hashes.Hashes
    small: npt.NDArray[np.uint8]
    """(N, 32, 32) luma."""


@torch.no_grad()
def measure(thumbnails: Tensor, windows: Tensor) -> Numbers:
    """(N, 3, s, s) and (N, s, s) uint8, s a power of two from 8, as `facts.look` gives them -> their numbers."""
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
    lines = _steps(windows.numpy())
    return Numbers(
        mean.numpy(), deviation.numpy(), ordered[:, 10], ordered[:, -11], ordered[:, -11] - ordered[:, 10],
        sharpness, noise,
        _border(luma, thumbnails), _repeats(lines), _blocks(lines), _grey(thumbnails, colour), colour.numpy(), phash, mirror, small.round().clamp_(0, 255).to(torch.uint8).numpy(),
    )  # fmt: skip


def _to_32(luma: Tensor) -> Tensor:
    side, wanted = luma.shape[-1], hashes.SIDE
    if side > wanted:
        out: Tensor = _tiles(luma, side // wanted).mean(2).unflatten(2, (wanted, -1)).mean(3)
        return out
    return luma.repeat_interleave(wanted // side, 1).repeat_interleave(wanted // side, 2)


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


def _bars(
    level: Values, plain: npt.NDArray[np.bool_], pixels: Pixels
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
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
    """Mean difference of neighbours, across and down, at each place of some lines: (N, s, s) -> (N, s - 1) twice."""
    across, down = windows[:, ::4], windows[:, :, ::4]
    left, right, above, below = across[:, :, :-1], across[:, :, 1:], down[:, :-1], down[:, 1:]
    return (
        (np.maximum(left, right) - np.minimum(left, right)).mean(1, dtype=np.float32),
        (np.maximum(above, below) - np.minimum(above, below)).mean(2, dtype=np.float32),
    )


def _repeats(lines: tuple[Values, Values]) -> Values:
    """The factor k, 2 to 16, where steps stand at every k-th place and, as far as JPEG keeps it, nowhere else, (N,)."""
    factors = np.ones(len(lines[0]), np.float32)
    places = lines[0].shape[1]
    quiet = [(line < 0.4 * line.mean(1, keepdims=True)).sum(1) > 2 * places // 5 for line in lines]
    rows = np.flatnonzero(quiet[0] & quiet[1])
    for factor in range(2, min(16, (places + 1) // 4) + 1) if len(rows) else ():
        good = np.ones(len(rows), bool)
        for line in lines:
            whole = line[rows, : places // factor * factor].reshape(len(rows), -1, factor)
            means = whole.mean(1)
            largest = means.argmax(1)
            at = np.take_along_axis(whole, largest[:, None, None], 2)[..., 0]
            beside = np.partition(means, -2, 1)[:, -2]
            stands = (at > np.maximum(1, beside)[:, None]).mean(1)
            good &= (beside < 0.5 * at.mean(1)) & (stands >= 0.7)
        factors[rows[good]] = factor
    return factors


def _blocks(lines: tuple[Values, Values]) -> Values:
    """The ratio of `Numbers.blocks`, (N,)."""
    if lines[0].shape[1] < 24:
        return np.zeros(len(lines[0]), np.float32)
    ratios, larger = [], []
    for line in lines:
        at = line[:, 7:-1:8]
        sides = np.maximum(line[:, 6:-1:8][:, : at.shape[1]], line[:, 8::8])
        others = (line.sum(1) - at.sum(1)) / (line.shape[1] - at.shape[1])
        ratios.append(at.mean(1) / np.maximum(others, 0.3))
        larger.append(at > 1.3 * sides + 0.3)
    shows = np.concatenate(larger, 1).mean(1) >= 0.7
    out: Values = (np.minimum(*ratios) * shows).astype(np.float32)
    return out


def _grey(thumbnails: Tensor, colour: Tensor) -> npt.NDArray[np.bool_]:
    """Whether the channels are equal in every pixel, (N,); only where their means are is every pixel looked at."""
    grey = (colour.amax(1) - colour.amin(1) < GREY).numpy()
    near = thumbnails.numpy()[grey]
    grey[grey] = (near.max(1) - near.min(1) <= GREY).all((1, 2))
    return grey


def of_pixels(rows: Sequence[int], numbers: Numbers, facts: Sequence[Facts]) -> list[Finding]:
    """What the numbers tell, and the facts of the same pictures. Of darkness, brightness and low contrast only the
    first that holds; nothing else of a picture of one colour."""
    spread = numbers.high - numbers.low
    uniform = numbers.spread < UNIFORM
    plain = spread < UNIFORM  # what there is to be seen, its luma does not tell
    dark = ~plain & (numbers.high < DARK)
    bright = ~plain & (numbers.low > BRIGHT)
    quality = np.array([f.quality for f in facts], np.float32)
    sharpness = np.array([f.sharpness for f in facts], np.float32)
    strong = (quality > 0) & (quality < QUALITY)
    repeated = ~uniform & ~strong & (numbers.repeats > 1)
    colours = np.array([f.mode in ("RGB", "RGBA") for f in facts])
    opaque = np.array([not f.transparent for f in facts])  # a cut-out has margins
    tests = (
        ("near_uniform", uniform, numbers.spread, "{:.0f} levels"),
        ("dark", dark, numbers.high, "99 of 100 pixels below {:.0f}"),
        ("bright", bright, numbers.low, "99 of 100 pixels above {:.0f}"),
        ("low_contrast", ~plain & ~dark & ~bright & (spread < CONTRAST), spread, "{:.0f} levels"),
        ("blurred", ~plain & (numbers.sharpness < BLUR), numbers.sharpness, "sharpness {:.3f}"),
        ("noisy", ~plain & (numbers.noise > NOISE), numbers.noise, "deviation {:.1f}"),
        ("upscaled", repeated, numbers.repeats, "each pixel {0:.0f}x{0:.0f} times"),
        ("upscaled", ~uniform & ~repeated & (sharpness < SOFT), sharpness, "sharpness {:.3f} at its own size"),
        ("compressed", ~uniform & strong, quality, "JPEG quality {:.0f}"),
        (
            "compressed",
            ~uniform & ~strong & ~repeated & (numbers.blocks > BLOCKS),
            numbers.blocks,
            "steps across blocks {:.1f} times the others",
        ),
        ("border", ~plain & opaque & (numbers.border > 0), numbers.border, "{:.0%} of the picture"),
        ("grey_as_rgb", ~uniform & colours & numbers.grey, numbers.brightness, ""),
    )
    return [
        Finding(rows[n], code, float(values[n]), words.format(values[n]))
        for code, holds, values, words in tests
        for n in np.flatnonzero(holds).tolist()
    ]
