"""What a metric is: a module with two functions, `floor` and `rows`, as `Metric` has them.

It sees the real pictures through `RealPictures` and the generated ones as `Samples`: arrays, never a file on disk or a
system. Each number that comes out is a `Row`, which also says how it is printed and what its names in JSON are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
from torch import Tensor

from ganforge.base.images import Pixels
from ganforge.media.spec import Spec

if TYPE_CHECKING:
    from ganforge.metrics.features import Extractor

PICTURES = 2_000
"""Pictures of a side, at most, in what is measured on pixels."""
NEIGHBOURS = 5_000
"""Pictures of a side, at most, whose nearest neighbours are sought."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One number of a measurement. None is what does not exist: a floor where nothing is held out, say.

    A floor is what as many real pictures, held out of training, get in place of the samples; a spread is the standard
    deviation that another choice of as many pictures would show."""

    name: str
    title: str
    """Its name in print; without one, the row is in JSON only."""
    says: str
    """One line: what it says."""
    value: float | None
    better: Literal["lower", "higher"] | float
    """Which values are better; or the value that is best."""
    spread: float | None = None
    floor: float | None = None
    floor_spread: float | None = None
    keys: tuple[str | None, ...] = ()
    """Names in JSON of the value, its spread, its floor and the spread of that, as far as they are kept; by default
    `name`, of the value alone. Of a name that ends in [] each row adds a number to a list."""
    form: str = ".3f"
    """How the numbers are printed, as `format` takes it."""
    times: int = 1
    """By how much they are multiplied in print."""
    note: str = ""
    """What is printed behind them."""
    conclusion: str = ""
    """One sentence, printed after the table."""
    pairs: tuple[tuple[int, int], ...] = ()
    """Indices of samples and of the training pictures to show them beside, the most telling first."""

    @property
    def shown(self) -> str:
        """The value in print, with its spread."""
        return self.text(self.value, self.spread)

    @property
    def floor_shown(self) -> str:
        """The floor in print, with its spread; "-" where there is none."""
        return self.text(self.floor, self.floor_spread)

    def text(self, value: float | None, spread: float | None = None) -> str:
        """A number of this row in print, with its spread where one is given; "-" for None."""
        if value is None:
            return "-"
        number = format(self.times * value, self.form)
        return number if spread is None else f"{number} ± {format(self.times * spread, self.form)}"

    @property
    def fields(self) -> dict[str, float | None]:
        """The numbers by their names in JSON."""
        numbers = (self.value, self.spread, self.floor, self.floor_spread)
        return {key: number for key, number in zip(self.keys or (self.name,), numbers, strict=False) if key}


@dataclass(frozen=True)
class Samples:
    """The pictures that are measured."""

    features: Tensor
    """(N, D) float32, of all of them."""
    pixels: Pixels
    """(n, H, W, C) uint8, the first n of them."""
    labels: Sequence[int] | None
    """The label that each was made for, (N,), where there are any."""


class RealPictures(Protocol):
    """What a metric may ask of the real pictures: T for training, H held out."""

    @property
    def spec(self) -> Spec:
        """What the numbers of a row mean."""

    @property
    def frames(self) -> Extractor | None:
        """Of labelled clips a classifier of their single frames; None of others."""

    extract: Extractor
    train: Tensor
    """Features of the training pictures, (T, D) float32."""
    heldout: Tensor
    """Features of the held-out pictures, (H, D) float32; there are no floors where these are few."""

    def train_features(self, count: int) -> Tensor:
        """Features of a keyed choice of training pictures, (at most `count`, D) float32."""

    def train_pixels(self, count: int) -> Pixels:
        """At most `count` training pictures, a keyed choice; the first of them are those of a smaller `count`."""

    def heldout_pixels(self, count: int) -> Pixels:
        """At most `count` held-out pictures, likewise."""

    def read_train(self, indices: npt.NDArray[np.int64]) -> Pixels:
        """Training pictures by their indices among these: (N,) -> (N, H, W, C) uint8."""

    def kept(self, name: str, make: Callable[[Pixels], npt.NDArray[Any]]) -> npt.NDArray[Any]:
        """What `make` makes of the training pictures, portion by portion, a row each; kept by this name."""


class Metric(Protocol):
    """A module of this package that measures. `size` is of how many pictures a distance is estimated: of equally many
    for samples and for their floor."""

    __name__: str

    def floor(self, real: RealPictures, size: int) -> list[float]:
        """What the held-out pictures give, measured once and kept: numbers for `rows`, finite."""

    def rows(self, real: RealPictures, samples: Samples, size: int, floor: Sequence[float] | None) -> list[Row]:
        """The numbers of samples; `floor` is None where too few pictures are held out."""
