"""Pictures as sequences: a palette of K colours learnt from a store, one token a pixel, and back.

Colours are compared in Oklab (Ottosson, 2020), where equal distances look about equally different; grey is its lightness
alone. With alpha the colours are weighted by it and alpha is a fourth number, so all invisible colours are one. That is the
colour quantisation of iGPT (Chen et al., 2020), whose k-means of 512 colours worked on plain RGB.
"""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ganforge.data.store import Store
from ganforge.errors import DataError, InputError
from ganforge.images import Pixels
from ganforge.seeds import key, permuted

Tokens = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]
Floats = npt.NDArray[np.float32]

LARGEST = 4096
SAMPLE_PICTURES = 2048
SAMPLE_PIXELS = 262_144
MEASURED = 256

_LMS = np.array([[0.4122214708, 0.5363325363, 0.0514459929], [0.2119034982, 0.6806995451, 0.1073969566],
                 [0.0883024619, 0.2817188376, 0.6299787005]])  # fmt: skip
_LAB = np.array([[0.2104542553, 0.7936177850, -0.0040720468], [1.9779984951, -2.4285922050, 0.4505937099],
                 [0.0259040371, 0.7827717662, -0.8086757660]])  # fmt: skip


@dataclass(frozen=True)
class Palette:
    """K colours; a token is the number of one."""

    colours: Pixels
    """(K, C) uint8, K from 1 to LARGEST, C of 1, 3 or 4; from dark to bright where `learn` made them."""
    round_trip: float | None = None
    """PSNR in dB of pictures that it was not learnt from, to tokens and back; None where nothing was measured."""

    def __post_init__(self) -> None:
        shape = self.colours.shape
        if (
            self.colours.dtype != np.uint8
            or len(shape) != 2
            or not 1 <= shape[0] <= LARGEST
            or shape[1] not in (1, 3, 4)
        ):
            raise DataError(
                f"A palette is (K, C) uint8, K to {LARGEST}, C 1, 3 or 4; this is {shape} {self.colours.dtype}."
            )

    def tokens(self, pixels: Pixels) -> Tokens:
        """The nearest colour of each pixel, row by row from the top left: (N, H, W, C) uint8 -> (N, H*W) uint8, or uint16
        for more than 256 colours. DataError for another number of channels."""
        from sklearn.metrics import pairwise_distances_argmin

        if pixels.ndim != 4 or pixels.shape[3] != self.colours.shape[1]:
            raise DataError(f"Pictures (N, H, W, {self.colours.shape[1]}) are expected; these are {pixels.shape}.")
        flat = pixels.reshape(-1, pixels.shape[3])
        which, places = _distinct(flat)
        nearest = pairwise_distances_argmin(_seen(which), _seen(self.colours)) if len(which) else np.empty(0)
        found = nearest[places].reshape(len(pixels), pixels.shape[1] * pixels.shape[2])
        return np.asarray(found, np.uint8) if len(self.colours) <= 256 else np.asarray(found, np.uint16)

    def pixels(self, tokens: Tokens, height: int, width: int) -> Pixels:
        """(N, H*W) whole numbers -> (N, H, W, C) uint8. DataError where they are no tokens of this palette and size."""
        if tokens.ndim != 2 or tokens.shape[1] != height * width:
            raise DataError(
                f"Tokens (N, {height * width}) are expected for {height}x{width}; these are {tokens.shape}."
            )
        if tokens.size and not 0 <= int(tokens.min()) <= int(tokens.max()) < len(self.colours):
            raise DataError(
                f"Tokens go from 0 to {len(self.colours) - 1}; these from {tokens.min()} to {tokens.max()}."
            )
        return self.colours[tokens].reshape(len(tokens), height, width, -1)

    def psnr(self, pixels: Pixels) -> float:
        """Of the way to tokens and back, over all values of (N, H, W, C) uint8, in dB; 100 where nothing is lost."""
        back = self.pixels(self.tokens(pixels), *pixels.shape[1:3])
        error = float(np.mean((back.astype(np.float64) - pixels) ** 2))
        return 100.0 if error == 0 else min(100.0, float(10 * np.log10(255**2 / error)))

    def save(self, path: str | Path) -> Path:
        """Write one .npz file, beside and renamed. DataError where it cannot be written."""
        path = Path(path)
        partial = path.with_name(f".{path.name}.partial")
        about = json.dumps({"round_trip": self.round_trip, "space": "oklab"})
        try:
            with partial.open("wb") as file:
                np.savez(file, colours=self.colours, about=np.frombuffer(about.encode(), np.uint8))
            partial.replace(path)
        except OSError as error:
            partial.unlink(missing_ok=True)
            raise DataError(f"{path} cannot be written: {error.strerror or error}. Choose another place.") from error
        return path

    @staticmethod
    def load(path: str | Path) -> Palette:
        """Read what `save` wrote. DataError for anything else."""
        try:
            with np.load(path, allow_pickle=False) as found:
                about = json.loads(found["about"].tobytes())
                return Palette(found["colours"], about["round_trip"])
        except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile, EOFError) as error:
            raise DataError(f"{path} is no palette: {error}. Make one with ganforge.data.tokens.learn.") from error


def learn(store: Store, colours: int = 256, seed: int = 0) -> Palette:
    """A palette of at most `colours` (2 to LARGEST) for a store, by mini-batch k-means (Sculley, 2010) over SAMPLE_PIXELS
    pixels of SAMPLE_PICTURES training pictures, all chosen by key; the same call gives the same palette.

    Where the sample has no more colours than that, they are the palette and nothing is lost on them.
    """
    from sklearn.cluster import MiniBatchKMeans

    if not 2 <= colours <= LARGEST:
        raise InputError(f"A palette of {colours} colours is not to be had; it takes 2 to {LARGEST}.")
    if not len(store.train):
        raise DataError(f"{store.path} has no training pictures to learn a palette from.")
    pictures = _some(store, store.train, "palette", SAMPLE_PICTURES, seed)
    flat = pictures.reshape(-1, store.spec.channels)
    count = min(SAMPLE_PIXELS, len(flat))
    pixels = flat[permuted(seed, "palette pixels", len(flat), np.arange(count))]
    found, _ = _distinct(pixels)
    if len(found) > colours:
        means = MiniBatchKMeans(colours, random_state=key(seed, "palette") % 2**32, batch_size=8192, n_init=3)
        found, _ = _distinct(_shown(means.fit(_seen(pixels)).cluster_centers_))
    found = found[np.argsort(_seen(found)[:, 0], kind="stable")]
    judged = store.heldout if len(store.heldout) else store.train
    return Palette(found, round(Palette(found).psnr(_some(store, judged, "palette psnr", MEASURED, seed)), 3))


def _some(store: Store, rows: npt.NDArray[np.int64], what: str, count: int, seed: int) -> Pixels:
    return store.read(np.sort(rows[permuted(seed, what, len(rows), np.arange(min(count, len(rows))))]))


def _distinct(colours: Pixels) -> tuple[Pixels, npt.NDArray[np.int64]]:
    """(N, C) -> the (K, C) different ones, and for each of the N which it is."""
    packed = np.zeros((len(colours), 4), np.uint8)
    packed[:, : colours.shape[1]] = colours
    values, places = np.unique(packed.view(np.uint32).ravel(), return_inverse=True)
    return values.view(np.uint8).reshape(-1, 4)[:, : colours.shape[1]].copy(), places


def _seen(colours: Pixels) -> Floats:
    """(N, 1, 3 or 4) uint8 -> (N, 1, 3 or 4) float32 as the eye has it: Oklab, weighted by alpha, and alpha."""
    values = colours / 255.0
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    if colours.shape[1] == 1:
        return np.asarray(np.cbrt(linear), np.float32)
    lab = np.cbrt(linear[:, :3] @ _LMS.T) @ _LAB.T
    if colours.shape[1] == 4:
        lab = np.concatenate([lab * values[:, 3:], values[:, 3:]], 1)
    return np.asarray(lab, np.float32)


def _shown(seen: Floats) -> Pixels:
    """The way back, to the nearest colours that there are."""
    values = seen.astype(np.float64)
    alpha = values[:, 3:].clip(0, 1)
    if values.shape[1] == 1:
        linear = values**3
    else:
        lab = values[:, :3] / alpha.clip(1e-3) if alpha.size else values[:, :3]
        linear = (lab @ np.linalg.inv(_LAB).T) ** 3 @ np.linalg.inv(_LMS).T
    linear = linear.clip(0, 1)
    colour = np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
    out: Pixels = (np.concatenate([colour, alpha], 1) * 255).round().astype(np.uint8)
    return out
