"""What can be done without a trained system about what is given: the rows of a table that a system has to beat."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from functools import partial

import numpy as np
import numpy.typing as npt
import torch

from ganforge.base.images import Pixels
from ganforge.image_to_image import ImageToImage
from ganforge.media.clip import Clip
from ganforge.media.pair import Pair
from ganforge.sources.transform import resize

RADIUS = 3
"""Pixels around each missing one that the inpainting of OpenCV looks at."""
WINDOW, COLOUR_DEVIATION, SPACE_DEVIATION = 5, 100, 2
"""Of the bilateral filter: its diameter in pixels, and the deviations of its two Gaussians, in levels and pixels."""

Missing = npt.NDArray[np.bool_]
"""(N, H, W, 1) or (N, H, W, C), true where nothing is known."""
Baseline = Callable[[Pixels, Missing | None], Pixels]
"""What is given, in the channels of what is wanted, (N, h, w, C) uint8, and what is missing of it -> (N, H, W, C)."""


OPENCV = ("Telea", "Navier-Stokes", "bilateral")
"""Baselines that need it."""


def baselines(system: ImageToImage) -> tuple[dict[str, Baseline], str]:
    """The baselines for what a system is given, by name, and a sentence about those that are left out; none for what
    nothing simple is known for: colours, edges, pairs."""
    made = _baselines(system)
    if not made.keys() & set(OPENCV) or importlib.util.find_spec("cv2"):
        return made, ""
    there = {name: baseline for name, baseline in made.items() if name not in OPENCV}
    names = " and ".join(name for name in made if name in OPENCV)
    return there, f'Without OpenCV there is no row of {names}: pip install "ganforge[clean]"'


def _baselines(system: ImageToImage) -> dict[str, Baseline]:
    terms, medium = system.degrade.terms, system.spec.medium
    frames = medium.frames if isinstance(medium, Clip) else 1
    if system.scale > 1:
        return {"bicubic": partial(bicubic, scale=system.scale)}
    if "frames" in terms:
        return {"mean of neighbours": partial(neighbours, frames=frames)}
    if system.degrade.holes:
        return {
            "Telea": partial(inpainted, method="INPAINT_TELEA", frames=frames),
            "Navier-Stokes": partial(inpainted, method="INPAINT_NS", frames=frames),
        }
    if {"noise", "jpeg", "blur"} & terms.keys() or not (terms or isinstance(medium, Pair)):  # or noise of its own
        return {"median 3x3": median, "bilateral": partial(bilateral, frames=frames)}
    return {}


def bicubic(given: Pixels, missing: Missing | None, scale: int) -> Pixels:
    """Enlarged so many times by bicubic interpolation."""
    height, width = (scale * side for side in given.shape[1:3])
    planes = torch.from_numpy(np.ascontiguousarray(given)).permute(0, 3, 1, 2).contiguous()
    return resize(planes, height, width).permute(0, 2, 3, 1).contiguous().numpy()


def median(given: Pixels, missing: Missing | None) -> Pixels:
    """The median of 3x3 pixels, channel by channel."""
    from scipy.ndimage import median_filter

    return np.asarray(median_filter(given, size=(1, 3, 3, 1)))


def bilateral(given: Pixels, missing: Missing | None, frames: int) -> Pixels:
    """The mean of the pixels around, weighted by how near and how alike they are (Tomasi and Manduchi 1998, "Bilateral
    Filtering for Gray and Color Images")."""
    import cv2

    out = np.empty_like(given)
    for part in _parts(given.shape[3], frames):
        for picture, filtered in zip(given[..., part], out[..., part], strict=True):
            made = cv2.bilateralFilter(np.ascontiguousarray(picture), WINDOW, COLOUR_DEVIATION, SPACE_DEVIATION)
            filtered[:] = made.reshape(picture.shape)
    return out


def inpainted(given: Pixels, missing: Missing | None, method: str, frames: int) -> Pixels:
    """Filled from the edges of the holes, by OpenCV: Telea 2004, "An Image Inpainting Technique Based on the Fast
    Marching Method", or Bertalmio et al. 2001, "Navier-Stokes, Fluid Dynamics, and Image and Video Inpainting"."""
    import cv2

    assert missing is not None
    out = np.empty_like(given)
    for part in _parts(given.shape[3], frames):
        for picture, hole, filled in zip(given[..., part], missing[..., 0], out[..., part], strict=True):
            made = cv2.inpaint(np.ascontiguousarray(picture), hole.astype(np.uint8), RADIUS, getattr(cv2, method))
            filled[:] = made.reshape(picture.shape)
    return out


def neighbours(given: Pixels, missing: Missing | None, frames: int) -> Pixels:
    """Pixels that are missing of a clip's frame become the mean of that pixel in the nearest frame before and the
    nearest one after in which it is known; at an end, and where there is one alone, that one. A pixel that is known in
    no frame becomes the mean of the known ones."""
    assert missing is not None
    count, height, width, channels = given.shape
    shape = (count, height, width, frames, channels // frames)
    x = given.reshape(shape).astype(np.float64)
    known = np.asarray(~np.broadcast_to(missing, given.shape).reshape(shape).any(4, keepdims=True))
    before, after = _last_known(x, known), _last_known(x[:, :, :, ::-1], known[:, :, :, ::-1])[:, :, :, ::-1]
    means = np.nanmean(np.where(known, x, np.nan), axis=(1, 2, 3, 4), keepdims=True)
    either = np.where(np.isnan(before), after, np.where(np.isnan(after), before, (before + after) / 2))
    filled = np.where(known, x, np.where(np.isnan(either), means, either))
    return filled.round().astype(np.uint8).reshape(given.shape)


def _last_known(x: npt.NDArray[np.float64], known: Missing) -> npt.NDArray[np.float64]:
    """For each frame the values of the last one up to it in which the pixel is known, NaN where there is none."""
    out = np.where(known, x, np.nan)
    for n in range(1, x.shape[3]):
        out[:, :, :, n] = np.where(known[:, :, :, n], out[:, :, :, n], out[:, :, :, n - 1])
    return out


def _parts(channels: int, frames: int) -> list[slice]:
    """The channels that are one picture of 1 or 3: of RGBA the colours and alpha, of a clip each frame."""
    each = channels // frames
    if each == 4:
        return [slice(0, 3), slice(3, 4)]
    return [slice(n * each, (n + 1) * each) for n in range(frames)]
