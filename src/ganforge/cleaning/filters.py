"""Filters for whole pictures: noise, specks, uneven light, blur, size, borders. OpenCV and scikit-image do the work.

A filter is a frozen dataclass of few settings; called with (H, W, C) uint8 pixels it returns (H', W', C') uint8. C is
1 (grey), 3 (RGB) or 4 (RGBA). Of RGBA the alpha is kept as it is, the colours are filtered with each invisible pixel
standing for the nearest visible one, so that nothing hidden bleeds into an edge, and invisible pixels keep their bytes.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ganforge.base import config
from ganforge.base.config import setting
from ganforge.base.errors import GanforgeError, InputError, did_you_mean
from ganforge.base.images import Pixels
from ganforge.sources.entry import Skip

Floats = npt.NDArray[np.float32]

STRIP = 1_000_000
MAX_PIXELS = 64_000_000  # of a result: as many as a file may have


@dataclass(frozen=True)
class Filter:
    """What all filters share: the care for alpha."""

    def __call__(self, pixels: Pixels) -> Pixels:
        """(H, W, C) uint8 -> (H, W, C) uint8."""
        if pixels.shape[2] != 4:
            return self.colours(np.ascontiguousarray(pixels))
        hidden = pixels[..., 3] == 0
        colours = self.colours(_filled(pixels[..., :3], hidden))
        out = pixels.copy()
        out[..., :3] = np.where(hidden[..., None], pixels[..., :3], colours)
        return out

    def colours(self, pixels: Pixels) -> Pixels:
        """The filter itself: (H, W, 1 or 3) uint8, all of it visible -> the same, or (H, W, 1) from a threshold."""
        raise NotImplementedError


def _filled(colours: Pixels, hidden: npt.NDArray[np.bool_]) -> Pixels:
    """Invisible pixels take the colour of the nearest visible one."""
    from scipy.ndimage import distance_transform_edt

    if not hidden.any() or hidden.all():
        return np.ascontiguousarray(colours)
    rows, columns = distance_transform_edt(hidden, return_distances=False, return_indices=True)
    return np.asarray(colours[rows, columns])


def _odd(name: str, size: int) -> None:
    if size % 2 == 0:
        raise InputError(f"{name} is {size}; it takes an odd number, so that a window has a middle: {size + 1}?")


def _cv() -> Any:
    try:
        import cv2
    except ImportError:
        raise GanforgeError('Filters need OpenCV and scikit-image: pip install "ganforge[clean]"') from None
    return cv2


def _restoration() -> Any:
    try:
        from skimage import restoration
    except ImportError:
        raise GanforgeError('Filters need OpenCV and scikit-image: pip install "ganforge[clean]"') from None
    return restoration


def _shaped(out: Any, like: Pixels) -> Pixels:
    """OpenCV drops the axis of a single channel."""
    return np.asarray(out, np.uint8).reshape(*out.shape[:2], like.shape[2])


def _wide(pixels: Pixels, margin: int) -> Floats:
    """0..1, with `margin` more pixels on each side: scikit-image's filters fail on pictures of one row or column."""
    wide = np.pad(pixels, ((margin, margin), (margin, margin), (0, 0)), mode="symmetric")
    return wide.astype(np.float32) / np.float32(255)


def _bytes(values: Floats, like: Pixels, margin: int) -> Pixels:
    """0..1 -> 0..255, the margin cut off."""
    inner = values.reshape(*values.shape[:2], -1)[margin : margin + like.shape[0], margin : margin + like.shape[1]]
    return np.asarray((inner * 255).round().clip(0, 255), np.uint8)


def _in_strips(work: Callable[[Pixels], Pixels], pixels: Pixels, margin: int) -> Pixels:
    """A filter whose float copies of a large picture would fill the memory, on strips of about STRIP pixels, each with
    `margin` rows of its neighbours."""
    height, width = pixels.shape[:2]
    rows = max(margin, STRIP // width)
    if height <= rows:
        return work(pixels)
    out = np.empty_like(pixels)
    for top in range(0, height, rows):
        first = max(0, top - margin)
        out[top : top + rows] = work(pixels[first : top + rows + margin])[top - first :][:rows]
    return out


# ------------------------------------------------------------------------------------------------------------ denoising


@dataclass(frozen=True)
class Gaussian(Filter):
    """Gaussian blur: the plain mean of a neighbourhood; softens edges as well."""

    sigma: float = setting(1.0, "standard deviation in pixels", low=0.1, high=50)

    def colours(self, pixels: Pixels) -> Pixels:
        """See `Filter.colours`."""
        return _shaped(_cv().GaussianBlur(pixels, (0, 0), self.sigma), pixels)


@dataclass(frozen=True)
class Median(Filter):
    """The median of a square window, channel by channel: removes single wrong pixels (salt and pepper)."""

    size: int = setting(3, "side of the window in pixels, odd", low=3, high=51)

    def __post_init__(self) -> None:
        _odd("median.size", self.size)

    def colours(self, pixels: Pixels) -> Pixels:
        """See `Filter.colours`."""
        return _shaped(_cv().medianBlur(pixels, self.size), pixels)


@dataclass(frozen=True)
class Bilateral(Filter):
    """A mean over neighbours of like colour (Tomasi and Manduchi, 1998): smooths and keeps strong edges."""

    color: float = setting(30.0, "how far values may differ, a standard deviation in grey levels", low=1, high=255)
    space: float = setting(2.0, "standard deviation of the window in pixels", low=0.5, high=10)

    def colours(self, pixels: Pixels) -> Pixels:
        """See `Filter.colours`."""
        spread = self.color * math.sqrt(pixels.shape[2])  # OpenCV adds up the channels' differences
        return _shaped(_cv().bilateralFilter(pixels, 0, spread, self.space), pixels)


@dataclass(frozen=True)
class TotalVariation(Filter):
    """The picture of least total variation near the given one (Rudin, Osher and Fatemi, 1992; split Bregman method of
    Goldstein and Osher, 2009), isotropic, channel by channel. Flattens fine texture, keeps edges."""

    sigma: float = setting(10.0, "standard deviation of the noise in grey levels", low=0.5, high=100)

    def colours(self, pixels: Pixels) -> Pixels:
        """See `Filter.colours`."""
        return _in_strips(self._strip, pixels, 64)

    def _strip(self, pixels: Pixels) -> Pixels:
        denoise, weight = _restoration().denoise_tv_bregman, 255 / self.sigma * TV_WEIGHT
        planes = _wide(pixels, 2).transpose(2, 0, 1)
        return _bytes(np.dstack([denoise(plane, weight, eps=1e-3) for plane in planes]), pixels, 2)


TV_WEIGHT = 1.2  # the fidelity at noise 1; of the best PSNR on photographs


@dataclass(frozen=True)
class NonLocalMeans(Filter):
    """A mean over places with a like neighbourhood (Buades, Coll and Morel, 2005), all channels together. Slow."""

    sigma: float = setting(10.0, "standard deviation of the noise in grey levels", low=0.5, high=100)
    patch: int = setting(5, "side of the compared patches in pixels, odd", low=3, high=11)
    reach: int = setting(6, "how far away like patches are looked for, in pixels", low=1, high=21)

    def __post_init__(self) -> None:
        _odd("nlm.patch", self.patch)

    def colours(self, pixels: Pixels) -> Pixels:
        """See `Filter.colours`."""
        return _in_strips(self._strip, pixels, self.patch + self.reach)

    def _strip(self, pixels: Pixels) -> Pixels:
        sigma = self.sigma / 255
        wide = _wide(pixels, self.patch)
        denoise = _restoration().denoise_nl_means
        out = denoise(wide, self.patch, self.reach, 0.6 * sigma, sigma=sigma, fast_mode=True, channel_axis=-1)
        return _bytes(out, pixels, self.patch)


# ---------------------------------------------------------------------------------------------- morphology, thresholds


@dataclass(frozen=True)
class _Morphology(Filter):
    size: int = setting(3, "side of the window in pixels, odd", low=3, high=101)
    shape: str = setting("square", "square or disk", choices=("square", "disk"))

    def __post_init__(self) -> None:
        _odd(f"{type(self).__name__.lower()}.size", self.size)

    def colours(self, pixels: Pixels) -> Pixels:
        """See `Filter.colours`."""
        cv2 = _cv()
        y, x = np.mgrid[: self.size, : self.size] - self.size // 2
        window = ((self.shape == "square") | (x**2 + y**2 <= (self.size / 2) ** 2)).astype(np.uint8)
        operation = getattr(cv2, f"MORPH_{type(self).__name__.upper()}")
        return _shaped(cv2.morphologyEx(pixels, operation, window), pixels)


class Erode(_Morphology):
    """The smallest value of a window, channel by channel: dark parts grow."""


class Dilate(_Morphology):
    """The largest value of a window, channel by channel: bright parts grow."""


class Open(_Morphology):
    """Erode, then dilate: removes bright specks that are smaller than the window."""


class Close(_Morphology):
    """Dilate, then erode: removes dark specks that are smaller than the window."""


def _grey(pixels: Pixels) -> Pixels:
    return pixels if pixels.shape[2] == 1 else _cv().cvtColor(pixels, _cv().COLOR_RGB2GRAY)[..., None]


@dataclass(frozen=True)
class Otsu(Filter):
    """Black and white at the grey level that parts the histogram best (Otsu, 1979). RGB becomes grey."""

    def colours(self, pixels: Pixels) -> Pixels:
        """See `Filter.colours`."""
        cv2 = _cv()
        return np.asarray(cv2.threshold(_grey(pixels), 0, 255, cv2.THRESH_OTSU)[1], np.uint8).reshape(
            *pixels.shape[:2], 1
        )


@dataclass(frozen=True)
class Adaptive(Filter):
    """White where a pixel is brighter than the Gaussian mean of its window less `offset`. RGB becomes grey."""

    size: int = setting(31, "side of the window in pixels, odd", low=3, high=501)
    offset: float = setting(5.0, "how much darker than the mean still is white, in grey levels", low=-100, high=100)

    def __post_init__(self) -> None:
        _odd("adaptive.size", self.size)

    def colours(self, pixels: Pixels) -> Pixels:
        """See `Filter.colours`."""
        cv2 = _cv()
        mode = cv2.ADAPTIVE_THRESH_GAUSSIAN_C, cv2.THRESH_BINARY
        return np.asarray(cv2.adaptiveThreshold(_grey(pixels), 255, *mode, self.size, self.offset)).reshape(
            *pixels.shape[:2], 1
        )


@dataclass(frozen=True)
class Background(Filter):
    """Even light: takes a smooth background away. `ball` rolls a ball under the grey values (Sternberg, 1983) and is
    slow (time grows with the square of the radius); `blur` takes the Gaussian mean of `radius` pixels. What is left
    stands before black, or before white where the background is `light`."""

    radius: float = setting(25.0, "radius of the ball, or the blur's standard deviation, in pixels", low=1, high=100)
    method: str = setting("blur", "ball or blur", choices=("ball", "blur"))
    ground: str = setting("light", "whether things are darker (light) or brighter (dark) than the background",
                          choices=("light", "dark"))  # fmt: skip

    def colours(self, pixels: Pixels) -> Pixels:
        """See `Filter.colours`."""
        flip = 255 if self.ground == "light" else 0
        work = pixels ^ np.uint8(flip)  # 255 - v for a light ground
        if self.method == "blur":
            ground = _shaped(_cv().GaussianBlur(work, (0, 0), self.radius), pixels)
        else:
            ball = _restoration().rolling_ball
            ground = np.dstack([ball(plane, radius=self.radius) for plane in work.transpose(2, 0, 1)])
        return np.asarray(_cv().subtract(work, ground), np.uint8).reshape(pixels.shape) ^ np.uint8(flip)


# ---------------------------------------------------------------------------------------------- sharpness, size, border


@dataclass(frozen=True)
class Unsharp(Filter):
    """Unsharp mask: adds `amount` times what a Gaussian blur takes away. Sharpens noise too, so it comes last."""

    sigma: float = setting(1.0, "standard deviation of the blur in pixels", low=0.1, high=50)
    amount: float = setting(0.6, "how much of the difference is added, 1 doubles it", low=0, high=5)

    def colours(self, pixels: Pixels) -> Pixels:
        """See `Filter.colours`."""
        return _in_strips(self._strip, pixels, math.ceil(4 * self.sigma) + 1)

    def _strip(self, pixels: Pixels) -> Pixels:
        wide = pixels.astype(np.float32)
        blur = _cv().GaussianBlur(wide, (0, 0), self.sigma).reshape(wide.shape)
        return np.asarray((wide + self.amount * (wide - blur)).round().clip(0, 255), np.uint8)


@dataclass(frozen=True)
class Upscale(Filter):
    """Enlarge by `factor`, or until the shorter side has `side` pixels; what is large enough stays as it is."""

    factor: float | None = setting(None, "how many times as wide and high", low=1, high=16)
    side: int | None = setting(None, "least length of the shorter side in pixels", low=8, high=8192)
    method: str = setting("lanczos", "lanczos (8x8 pixels) or bicubic", choices=("lanczos", "bicubic"))

    def __post_init__(self) -> None:
        if (self.factor is None) == (self.side is None):
            raise InputError(
                "upscale takes either factor, such as upscale:factor=2, or side, such as upscale:side=256."
            )

    def __call__(self, pixels: Pixels) -> Pixels:
        """(H, W, C) uint8 -> (H', W', C) uint8. Raises Skip where that would be more than MAX_PIXELS."""
        height, width = pixels.shape[:2]
        factor = self.factor or (self.side or 0) / min(height, width)
        if factor <= 1:
            return pixels
        size = round(width * factor), round(height * factor)
        if size[0] * size[1] > MAX_PIXELS:
            raise Skip(f"enlarged it would be {size[0]}x{size[1]}, over the limit of {MAX_PIXELS // 10**6} megapixels")
        cv2 = _cv()
        interpolation = cv2.INTER_LANCZOS4 if self.method == "lanczos" else cv2.INTER_CUBIC
        if pixels.shape[2] != 4:
            return _shaped(cv2.resize(np.ascontiguousarray(pixels), size, interpolation=interpolation), pixels)
        wide = pixels.astype(np.float32)
        wide[..., :3] *= wide[..., 3:] / 255  # colours weighted by alpha: what is invisible adds nothing
        wide = cv2.resize(wide, size, interpolation=interpolation)
        alpha = wide[..., 3:].clip(0, 255)
        colours = np.where(alpha > 0.5, wide[..., :3] * (255 / alpha.clip(0.5)), 0)
        out: Pixels = np.concatenate([colours, alpha], 2).round().clip(0, 255).astype(np.uint8)
        return out


@dataclass(frozen=True)
class Trim(Filter):
    """Cut borders of one colour, or transparent ones, side by side. A picture of one colour alone stays as it is."""

    tolerance: int = setting(
        8, "how far a border's pixels may be from its median colour, in grey levels", low=0, high=100
    )

    def __call__(self, pixels: Pixels) -> Pixels:
        """(H, W, C) uint8 -> (H', W', C) uint8, a window of it."""
        top, bottom = self._ends(pixels)
        if top > bottom:
            return pixels
        left, right = self._ends(pixels[top : bottom + 1].swapaxes(0, 1))
        if left > right:
            return pixels
        return np.ascontiguousarray(pixels[top : bottom + 1, left : right + 1])

    def _ends(self, rows: Pixels) -> tuple[int, int]:
        """The first and the last row that are no border; first > last where all are."""
        first, last = (self._inner(side) for side in (rows, rows[::-1]))
        return first, len(rows) - 1 - last

    def _inner(self, rows: Pixels) -> int:
        """How many rows from the first on are border."""
        border = np.median(_known(rows[0]), axis=0)
        for n, row in enumerate(rows):
            if (np.abs(_known(row) - border) > self.tolerance).any():
                return n
        return len(rows)


def _known(row: Pixels) -> npt.NDArray[np.int16]:
    """Invisible pixels are all alike. (W, C) uint8 -> (W, C) int16."""
    values = row.astype(np.int16)
    if row.shape[1] == 4:
        values[:, :3] *= values[:, 3:] > 0
    return values


# -------------------------------------------------------------------------------------------------------------- by name

KINDS: dict[str, type[Filter]] = {
    "gaussian": Gaussian, "median": Median, "bilateral": Bilateral, "tv": TotalVariation, "nlm": NonLocalMeans,
    "erode": Erode, "dilate": Dilate, "open": Open, "close": Close, "otsu": Otsu, "adaptive": Adaptive,
    "background": Background, "unsharp": Unsharp, "upscale": Upscale, "trim": Trim,
}  # fmt: skip


def make(values: Mapping[str, Any]) -> Filter:
    """{"kind": "median", "size": 3} -> the filter. InputError for an unknown kind or setting."""
    values = dict(values)
    kind = str(values.pop("kind", ""))
    return config.build(_kind(kind), values, kind)


def parse(text: str) -> Filter:
    """ "median:size=3" or "background:radius=40,method=ball" -> the filter. InputError as for `make`."""
    kind, _, rest = text.partition(":")
    cls, values = _kind(kind), {}
    for part in filter(None, rest.split(",")):
        name, equals, value = part.partition("=")
        if not equals:
            raise InputError(
                f"The filter {text!r} is not understood; such as median:size=3 or unsharp:sigma=1,amount=0.6."
            )
        values[name] = config.parse(cls, name, value, kind)
    return config.build(cls, values, kind)


def chain(texts: Iterable[str]) -> tuple[Filter, ...]:
    """Several of them, see `parse`."""
    return tuple(map(parse, texts))


def _kind(word: str) -> type[Filter]:
    if word not in KINDS:
        raise InputError(f"There is no filter {word!r}.{did_you_mean(word, KINDS)}")
    return KINDS[word]


def describe(filter: Filter) -> dict[str, Any]:
    """The complete settings of a filter, its kind first; `make` takes them. None is left out."""
    kind = next(name for name, cls in KINDS.items() if type(filter) is cls)
    return {"kind": kind} | {name: v for name, v in dataclasses.asdict(filter).items() if v is not None}


def short(filter: Filter) -> str:
    """As on the command line: "median:size=3"."""
    kind, *settings = describe(filter).items()
    return ":".join(filter_ for filter_ in (kind[1], ",".join(f"{n}={v}" for n, v in settings)) if filter_)


def apply(filters: Sequence[Filter], pixels: Pixels) -> Pixels:
    """All in order. (H, W, C) uint8 -> (H', W', C') uint8."""
    for step in filters:
        pixels = step(pixels)
    return pixels
