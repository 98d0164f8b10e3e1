"""Baselines against other programs and against their definitions, written out."""

from __future__ import annotations

import importlib.util
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from ganforge.image_to_image import ImageToImage
from ganforge.measuring import baselines
from ganforge.measuring.baselines import COLOUR_DEVIATION, SPACE_DEVIATION, bicubic, bilateral, median, neighbours
from ganforge.media.clip import Clip
from ganforge.media.pair import Pair
from ganforge.media.spec import Spec

RNG = np.random.default_rng(0)
NOISE = RNG.integers(0, 256, (3, 12, 15, 3), np.uint8)
RGB, CLIPS = Spec(12, 15, 3), Spec(12, 12, 12, medium=Clip(4, 10.0))


class Filling(ImageToImage):
    fills = True
    media = (Clip, Pair)


def of(spec, degradation):
    return baselines.baselines(Filling(SimpleNamespace(degradation=degradation), spec))


def smooth(height=24, width=30):
    y, x = np.mgrid[:height, :width]
    return np.stack([4 * y + 2 * x, 200 - 3 * x, 60 + 2 * y], 2).astype(np.uint8)[None]


@pytest.mark.parametrize(
    ("spec", "degradation", "names"),
    [
        (RGB, "down 2", ["bicubic"]),
        (RGB, "noise 0.1, down 2, grey", ["bicubic"]),
        (RGB, "real 2", ["bicubic"]),
        (RGB, "strokes 0.2", ["Telea", "Navier-Stokes"]),
        (CLIPS, "boxes 1", ["Telea", "Navier-Stokes"]),
        (CLIPS, "frames 1", ["mean of neighbours"]),
        (RGB, "jpeg 40", ["median 3x3", "bilateral"]),
        (RGB, "", ["median 3x3", "bilateral"]),  # as of dae, which has noise of its own
        (RGB, "grey", []),
        (RGB, "edges 0.1", []),
        (Spec(8, 8, 4, medium=Pair(1)), "", []),
    ],
)
def test_the_baselines_of_a_degradation(spec, degradation, names, monkeypatch):
    made, note = of(spec, degradation)
    assert (list(made), note) == (names, "")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    made, note = of(spec, degradation)
    left_out = [name for name in names if name not in made]
    assert left_out == [name for name in names if name in baselines.OPENCV]
    assert all(name in note and "ganforge[clean]" in note for name in left_out)


def test_bicubic_is_that_of_pillow():
    made = bicubic(NOISE, None, 3)
    for ours, small in zip(made, NOISE, strict=True):
        theirs = np.asarray(Image.fromarray(small).resize((45, 36), Image.Resampling.BICUBIC))
        assert np.abs(ours.astype(int) - theirs).max() <= 1


def windows(pixels, radius, mode):
    """(H, W) -> (H, W, 2 radius + 1, 2 radius + 1)."""
    padded = np.pad(pixels, radius, mode=mode)
    return np.lib.stride_tricks.sliding_window_view(padded, (2 * radius + 1, 2 * radius + 1))


def test_the_median_is_the_fifth_of_nine():
    ours = median(NOISE, None)
    for picture, made in zip(NOISE, ours, strict=True):
        for channel in range(3):
            nine = windows(picture[..., channel], 1, "symmetric").reshape(12, 15, 9)
            assert np.array_equal(made[..., channel], np.sort(nine, 2)[..., 4])


def test_the_bilateral_filter_is_its_definition():
    grey = NOISE[..., :1]
    y, x = np.mgrid[-2:3, -2:3]
    near = np.where(y**2 + x**2 <= 4, np.exp(-(y**2 + x**2) / (2 * SPACE_DEVIATION**2)), 0)
    for picture, made in zip(grey, bilateral(grey, None, 1), strict=True):
        around = windows(picture[..., 0].astype(float), 2, "reflect")
        alike = np.exp(-((around - picture.astype(float)[..., None]) ** 2) / (2 * COLOUR_DEVIATION**2))
        expected = (near * alike * around).sum((2, 3)) / (near * alike).sum((2, 3))
        assert np.abs(made[..., 0] - expected).max() <= 1


@pytest.mark.parametrize("name", ["Telea", "Navier-Stokes"])
def test_holes_are_filled_as_another_program_fills_them(name):
    """On smooth pictures all ways agree; scikit-image's is biharmonic."""
    from skimage.restoration import inpaint_biharmonic

    made, _ = of(Spec(24, 30, 3), "boxes 1")
    wanted, missing = smooth(), np.zeros((1, 24, 30, 1), np.bool_)
    missing[:, 9:14, 10:16] = True
    filled = made[name](np.where(missing, 128, wanted).astype(np.uint8), missing)
    assert np.array_equal(filled[~missing[..., 0]], wanted[~missing[..., 0]])
    theirs = inpaint_biharmonic(wanted[0], missing[0, ..., 0], channel_axis=2) * 255
    assert np.abs(filled[0] - theirs)[missing[0, ..., 0]].mean() < 8
    frames = np.concatenate([wanted[..., :1]] * 4, 3)
    of_clip = of(CLIPS, "boxes 1")[0][name](np.where(missing, 0, frames).astype(np.uint8), missing)
    assert np.array_equal(of_clip[..., 0], of_clip[..., 3])
    assert np.abs(of_clip[..., :1].astype(int) - filled[..., :1])[~missing].max() == 0
    alpha = np.concatenate([wanted, np.full_like(wanted[..., :1], 255)], 3)
    of_rgba = of(Spec(24, 30, 4), "boxes 1")[0][name](np.where(missing, 128, alpha).astype(np.uint8), missing)
    assert np.array_equal(of_rgba[..., :3], filled) and (of_rgba[..., 3] == 255).all()


def test_a_missing_frame_is_the_mean_of_the_known_ones_beside_it():
    clips = RNG.integers(0, 256, (40, 3, 2, 5, 2), np.uint8)  # five frames of two channels
    known = RNG.random((40, 5)) < 0.5
    known[np.arange(40), RNG.integers(0, 5, 40)] = True
    missing = ~np.broadcast_to(known[:, None, None, :, None], clips.shape).reshape(40, 3, 2, 10)
    given = np.where(missing, 77, clips.reshape(40, 3, 2, 10)).astype(np.uint8)
    made = neighbours(given, missing, 5).reshape(clips.shape)
    for clip, frames, there in zip(made, clips.astype(float), known, strict=True):
        for n in range(5):
            sides = [k for k in range(n, -1, -1) if there[k]][:1] + [k for k in range(n, 5) if there[k]][:1]
            assert np.abs(clip[:, :, n] - frames[:, :, sides].mean(2)).max() <= 0.5


def test_pixels_that_no_frame_knows_become_the_mean():
    given, missing = np.full((1, 2, 2, 3), 90, np.uint8), np.zeros((1, 2, 2, 3), np.bool_)
    missing[:, 0, 0], missing[..., 1] = True, True
    given[missing] = 0
    assert (neighbours(given, missing, 3) == 90).all()
