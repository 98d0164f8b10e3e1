"""What can be wrong with a picture: a check is a row of CHECKS, with its text, its limits and the function that judges.

docs/audit.md says how to add one. Duplicates, outliers and text are searched for in files of their own, which name the
codes of their rows here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ganforge.auditing.facts import Facts
from ganforge.auditing.numbers import BORDER, UNIFORM, Flags, Numbers, Values
from ganforge.sources.formats import suits

if TYPE_CHECKING:
    from ganforge.auditing.tables import Pictures

SEVERITIES = ("ok", "convert", "warn", "reject")

SMALLEST = 8  # the smallest side that `prepare` makes
SMALL = 16
BELOW_MEDIAN = 4  # times smaller than the median of the set's shorter sides
ASPECT = 3.0  # a centred square keeps less than a third of the picture
DARK = 70.0  # the 99th percentile: the brightest parts are darker than a quarter of the range
BRIGHT = 180.0  # the 1st percentile: nothing uses the lower two thirds of the range
CONTRAST = 60.0  # levels between the 1st and the 99th percentile: a quarter of the range
BLUR = 0.28  # a photograph of 128 px after a Gaussian blur of 2.5 px and JPEG stays below, 999 of 1,000 others above
NOISE = 9.0  # standard deviation in levels, where the picture is calmest; of 3,670 photographs none is above
SOFT = 0.25  # at its own size; of 19 photographs at four sizes the least is 0.35, 8-fold up-scaled 0.23 at most
QUALITY = 20  # of a JPEG, 1 to 100; below it the blocks show
BLOCKS = 1.5  # steps across the grid of 8x8 over steps elsewhere, and at 7 of 10 of its lines larger than beside them
GREY = 6  # levels between the channels, as JPEG may leave them
ALIKE = 0.92
"""Correlation of two grey thumbnails, the best over small crops. Of 3,670 photographs of flowers, pairs above are edits
or neighbouring shots of one scene; from 0.91 down there are different flowers of one kind."""
FAR = 3.5
"""Robust deviations of the logarithm of the distance above its median; of a normal distribution 1 in 4,000 are."""
LETTERS = 4  # letters and digits in words that Tesseract is sure of: leaves are read as l and i


class File(NamedTuple):
    """What name and header tell of one file."""

    facts: Facts
    name: str
    unlabelled: bool
    """Others have a class, and this one has none."""

    @property
    def size(self) -> str:
        """Width and height in words."""
        return f"{self.facts.width}x{self.facts.height}"


class Hit(NamedTuple):
    """A finding about one file."""

    value: float | None = None
    detail: str = ""
    severity: str = ""
    """Where it is not the check's."""


class Hits(NamedTuple):
    """Findings about N pictures."""

    holds: Flags
    values: Values
    detail: str
    """With a place for the value, as `str.format` has it."""


@dataclass
class Finding:
    """One check that holds for one picture; `row` counts within a chunk, later among all pictures."""

    row: int
    code: str
    value: float | None = None
    detail: str = ""
    severity: str = ""
    group: int = -1

    def __post_init__(self) -> None:
        self.severity = self.severity or CHECKS[self.code].severity


@dataclass(frozen=True)
class Check:
    """One thing that can be wrong with a picture. At most one of the three functions is needed by most checks; a check
    with none is judged elsewhere."""

    code: str
    severity: str
    meaning: str
    remedy: str
    limits: Mapping[str, float] = field(default_factory=dict, kw_only=True)
    """By the names under which summary.json records them."""
    of_file: Callable[[File], Hit | None] | None = field(default=None, kw_only=True)
    """Judges by name and header."""
    of_pixels: Callable[[Numbers], Iterable[Hits]] | None = field(default=None, kw_only=True)
    """Judges many thumbnails at a time."""
    of_set: Callable[[Pictures], Iterable[Finding]] | None = field(default=None, kw_only=True)
    """Judges when all pictures are known."""
    unreadable: bool = field(default=False, kw_only=True)
    """The file cannot be used, and has this one finding."""
    about_label: bool = field(default=False, kw_only=True)
    """Holds only as long as the picture has the label that it had."""
    grouped: bool = field(default=False, kw_only=True)
    """About a group of pictures; the page shows them side by side."""
    one_stays: bool = field(default=False, kw_only=True)
    """Of the group one picture is to be kept."""
    lowest_first: bool = field(default=False, kw_only=True)
    """The page shows the lowest values first: they are the worst."""


# --------------------------------------------------------------------------------------------------------------- judges


def _too_small(file: File) -> Hit | None:
    side = min(file.facts.height, file.facts.width)
    return Hit(side, file.size, "reject" if side < SMALLEST else "") if side < SMALL else None


def _much_smaller(pictures: Pictures) -> Iterable[Finding]:
    """Those that are much smaller than the others."""
    if not pictures.usable.any():
        return
    sides = pictures.shape[:, :2].min(1)
    median = float(np.median(sides[pictures.usable]))
    for row in np.flatnonzero(pictures.usable & (sides >= SMALL) & (sides < median / BELOW_MEDIAN)).tolist():
        width, height, _ = pictures.shape[row]
        yield Finding(row, "too_small", float(sides[row]), f"{width}x{height}; the median side is {median:.0f}")


def _extreme_aspect(file: File) -> Hit | None:
    short, long = sorted((file.facts.height, file.facts.width))
    return Hit(long / max(short, 1), file.size) if long > ASPECT * short else None


def _wrong_suffix(file: File) -> Hit | None:
    return None if suits(file.name, file.facts.format) else Hit(detail=f"is {file.facts.format}")


def _animated(file: File) -> Hit | None:
    return Hit(file.facts.frames, f"{file.facts.frames:,} frames") if file.facts.frames > 1 else None


def _mode(file: File) -> Hit | None:
    return None if file.facts.mode in ("L", "RGB", "RGBA") else Hit(detail=file.facts.mode or "CMYK")


def _exif_rotation(file: File) -> Hit | None:
    turned = file.facts.orientation
    return Hit(turned, f"orientation {turned}") if turned in range(2, 9) else None


def _uniform(numbers: Numbers) -> Flags:
    return numbers.spread < UNIFORM


def _plain(numbers: Numbers) -> Flags:
    """Its luma does not tell what there is to be seen."""
    return numbers.high - numbers.low < UNIFORM


def _dark(numbers: Numbers) -> Flags:
    return ~_plain(numbers) & (numbers.high < DARK)


def _bright(numbers: Numbers) -> Flags:
    return ~_plain(numbers) & (numbers.low > BRIGHT)


def _low_contrast(numbers: Numbers) -> Iterable[Hits]:
    """Where neither darkness nor brightness says so already."""
    spread = numbers.high - numbers.low
    holds = ~_plain(numbers) & ~_dark(numbers) & ~_bright(numbers) & (spread < CONTRAST)
    yield Hits(holds, spread, "{:.0f} levels")


def _strong(numbers: Numbers) -> Flags:
    return (numbers.quality > 0) & (numbers.quality < QUALITY)


def _repeated(numbers: Numbers) -> Flags:
    return ~_uniform(numbers) & ~_strong(numbers) & (numbers.repeats > 1)


def _upscaled(numbers: Numbers) -> Iterable[Hits]:
    """By repeated pixels, else by sharpness."""
    repeated = _repeated(numbers)
    yield Hits(repeated, numbers.repeats, "each pixel {0:.0f}x{0:.0f} times")
    soft = ~_uniform(numbers) & ~repeated & (numbers.own_sharpness < SOFT)
    yield Hits(soft, numbers.own_sharpness, "sharpness {:.3f} at its own size")


def _compressed(numbers: Numbers) -> Iterable[Hits]:
    """By a JPEG's own tables, else by its blocks."""
    uniform, strong, blocks = _uniform(numbers), _strong(numbers), _blocks(numbers.steps)
    yield Hits(~uniform & strong, numbers.quality, "JPEG quality {:.0f}")
    shows = ~uniform & ~strong & ~_repeated(numbers) & (blocks > BLOCKS)
    yield Hits(shows, blocks, "steps across blocks {:.1f} times the others")


def _blocks(lines: tuple[Values, Values]) -> Values:
    """Steps (N, s - 1), across and down -> those across JPEG's grid over those elsewhere, (N,); 0 where the grid does
    not show."""
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


def _border(numbers: Numbers) -> Iterable[Hits]:
    opaque = np.array([not facts.transparent for facts in numbers.facts])  # a cut-out has margins
    yield Hits(~_plain(numbers) & opaque & (numbers.border > 0), numbers.border, "{:.0%} of the picture")


def _grey_as_rgb(numbers: Numbers) -> Iterable[Hits]:
    """The means of the channels are compared first; only where these are equal, every pixel is."""
    equal = numbers.colours.max(1) - numbers.colours.min(1) < GREY
    pixels = numbers.thumbnails.numpy()[equal]
    equal[equal] = (pixels.max(1) - pixels.min(1) <= GREY).all((1, 2))
    colour = np.array([facts.mode in ("RGB", "RGBA") for facts in numbers.facts])
    yield Hits(~_uniform(numbers) & colour & equal, numbers.brightness, "")


# ---------------------------------------------------------------------------------------------------------------- rows

_CHECKS = (
    Check(
        "unreadable", "reject", "disk or archive refuses it, or its format is not read",
        "check permissions, or convert it", unreadable=True,
    ),
    Check("empty", "reject", "the file has no bytes", "fetch it again or delete it", unreadable=True),
    Check(
        "not_a_picture", "reject", "no picture format that is known here", "delete it or move it elsewhere",
        unreadable=True,
    ),
    Check(
        "too_large", "reject", "over the limits of pixels, bytes or unpacking", "scale it down, if it can be trusted",
        unreadable=True,
    ),
    Check("truncated", "reject", "the end of the file is missing", "fetch it again or delete it", unreadable=True),
    Check("damaged", "reject", "the file does not decode", "fetch it again or delete it", unreadable=True),
    Check(
        "too_small", "warn", "the shorter side is small", "delete it or find a larger version",
        limits={"SMALL": SMALL, "SMALLEST": SMALLEST}, of_file=_too_small, of_set=_much_smaller, lowest_first=True,
    ),
    Check(
        "extreme_aspect", "warn", "very long or very wide", "cut it into parts, or prepare with --fit letterbox",
        limits={"ASPECT": ASPECT}, of_file=_extreme_aspect,
    ),
    Check(
        "near_uniform", "reject", "almost one colour", "delete it",
        limits={"UNIFORM": UNIFORM}, of_pixels=lambda n: [Hits(_uniform(n), n.spread, "{:.0f} levels")],
        lowest_first=True,
    ),
    Check(
        "no_label", "reject", "the others have a class and this one has none", "move it into its class's folder",
        of_file=lambda file: Hit() if file.unlabelled else None, about_label=True,
    ),
    Check(
        "label_conflict", "reject", "the same picture stands under two labels", "decide on one and delete the other",
        about_label=True, grouped=True,
    ),
    Check(
        "exact_duplicate", "reject", "the same bytes as another picture", "keep one of the group",
        grouped=True, one_stays=True,
    ),
    Check(
        "near_duplicate", "warn", "almost the same as another picture", "keep one, or keep the group in one split",
        limits={"ALIKE": ALIKE}, grouped=True, one_stays=True, lowest_first=True,
    ),
    Check(
        "mirrored", "warn", "another picture, mirrored", "keep one, or keep the group in one split",
        grouped=True, one_stays=True, lowest_first=True,
    ),
    Check(
        "blurred", "warn", "no sharp edge anywhere", "delete it", limits={"BLUR": BLUR}, lowest_first=True,
        of_pixels=lambda n: [Hits(~_plain(n) & (n.sharpness < BLUR), n.sharpness, "sharpness {:.3f}")],
    ),
    Check(
        "noisy", "warn", "noise even where it is calm", "clean it or delete it", limits={"NOISE": NOISE},
        of_pixels=lambda n: [Hits(~_plain(n) & (n.noise > NOISE), n.noise, "deviation {:.1f}")],
    ),
    Check(
        "dark", "warn", "even the brightest parts are dark", "brighten it or delete it", limits={"DARK": DARK},
        of_pixels=lambda n: [Hits(_dark(n), n.high, "99 of 100 pixels below {:.0f}")], lowest_first=True,
    ),
    Check(
        "bright", "warn", "even the darkest parts are bright", "darken it or delete it", limits={"BRIGHT": BRIGHT},
        of_pixels=lambda n: [Hits(_bright(n), n.low, "99 of 100 pixels above {:.0f}")],
    ),
    Check(
        "low_contrast", "warn", "few levels are used", "stretch its levels or delete it",
        limits={"CONTRAST": CONTRAST}, of_pixels=_low_contrast, lowest_first=True,
    ),
    Check(
        "upscaled", "warn", "more pixels than detail", "find the original, or scale it down",
        limits={"SOFT": SOFT}, of_pixels=_upscaled,
    ),
    Check(
        "compressed", "warn", "blocks of strong JPEG compression", "find a better copy or delete it",
        limits={"QUALITY": QUALITY, "BLOCKS": BLOCKS}, of_pixels=_compressed, lowest_first=True,
    ),
    Check(
        "border", "warn", "plain bars at the sides", "crop them away", limits={"BORDER": BORDER}, of_pixels=_border,
    ),
    Check(
        "outlier", "warn", "unlike its neighbours in feature space", "look at it; delete it if it does not belong",
        limits={"FAR": FAR},
    ),
    Check("text", "warn", "text was read in it", "crop it away or delete it", limits={"LETTERS": LETTERS}),
    Check("wrong_suffix", "convert", "the name's suffix is another format's", "rename it", of_file=_wrong_suffix),
    Check(
        "animated", "convert", "several frames or pages", "the first one is used; split it to use the others",
        of_file=_animated,
    ),
    Check(
        "transparent", "convert", "see-through parts", "laid over a colour; --channels 4 keeps them",
        of_file=lambda file: Hit(detail=file.facts.mode) if file.facts.transparent else None,
    ),
    Check(
        "grey_as_rgb", "convert", "grey stored as three equal channels",
        "--channels 1 keeps one, where all are grey", limits={"GREY": GREY}, of_pixels=_grey_as_rgb,
    ),
    Check(
        "mode", "convert", "palette, CMYK, 1 bit or more than 8 bits", "converted to 8-bit grey or RGB", of_file=_mode,
    ),
    Check("exif_rotation", "convert", "turned by its EXIF orientation", "turned upright", of_file=_exif_rotation),
    Check(
        "icc_profile", "convert", "a colour profile other than sRGB", "converted to sRGB",
        of_file=lambda file: Hit(detail=file.facts.profile) if file.facts.profile else None,
    ),
)  # fmt: skip

CHECKS = {check.code: check for check in _CHECKS}
"""By code, in the order in which findings of one severity are listed."""
LIMITS = {name: value for check in _CHECKS for name, value in check.limits.items()}


def of_file(row: int, facts: Facts, name: str, unlabelled: bool) -> list[Finding]:
    """What name and header tell; a file that cannot be used has this one finding."""
    if facts.code:
        return [Finding(row, facts.code, None, facts.detail)]
    file = File(facts, name, unlabelled)
    hits = ((check.code, check.of_file(file)) for check in _CHECKS if check.of_file)
    return [Finding(row, code, *hit) for code, hit in hits if hit is not None]


def of_pixels(rows: Sequence[int], numbers: Numbers) -> list[Finding]:
    """What the pixels of the pictures `rows` tell."""
    return [
        Finding(rows[n], check.code, float(hits.values[n]), hits.detail.format(hits.values[n]))
        for check in _CHECKS
        if check.of_pixels
        for hits in check.of_pixels(numbers)
        for n in np.flatnonzero(hits.holds).tolist()
    ]


def of_set(pictures: Pictures) -> list[Finding]:
    """What only the whole set tells."""
    return [finding for check in _CHECKS if check.of_set for finding in check.of_set(pictures)]
