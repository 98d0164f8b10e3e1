"""Resizing and fitting."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from ganforge.sources.transform import fit, resize, saliency, stretch
from synthetic import picture


def test_resize_is_pillows_bicubic():
    image = picture(3, 97, 131)
    ours = resize(torch.from_numpy(np.array(image)).permute(2, 0, 1)[None], 40, 56)[0].permute(1, 2, 0).numpy()
    theirs = np.asarray(image.resize((56, 40), Image.Resampling.BICUBIC))
    assert np.abs(ours.astype(int) - theirs).max() <= 2
    assert np.abs(ours.astype(int) - theirs).mean() < 0.5


def test_invisible_colours_do_not_bleed_into_edges():
    pixels = np.zeros((40, 40, 4), np.uint8)
    pixels[..., :3] = (0, 255, 0)
    pixels[10:30, 10:30] = (250, 0, 0, 255)
    small = fit(pixels[None], 16, 16, "crop", (0, 0, 0, 0))[0]
    visible = small[small[..., 3] > 20]
    assert len(visible) > 40
    assert (visible[:, 0] >= 248).all() and (visible[:, 1] <= 2).all()
    theirs = np.asarray(Image.fromarray(pixels).resize((16, 16), Image.Resampling.BICUBIC))
    assert np.abs(small[..., 3].astype(int) - theirs[..., 3]).max() <= 3  # Pillow rounds between its two passes


@pytest.mark.parametrize("how", ["crop", "pad", "letterbox", "stretch"])
def test_fit_shapes_and_fill(how):
    pixels = np.full((30, 90, 3), 200, np.uint8)
    out = fit(pixels[None], 60, 60, how, (1, 2, 3))[0]
    assert out.shape == (60, 60, 3)
    filled = (out == (1, 2, 3)).all(2).sum()
    assert filled == {"crop": 0, "stretch": 0, "letterbox": 60 * 40, "pad": 60 * 40}[how]
    small = fit(np.full((1, 10, 10, 3), 200, np.uint8), 20, 20, how, (1, 2, 3))[0]
    assert (small == 200).all() == (how != "pad")


def test_stretch_is_each_pictures_own():
    pixels = np.random.default_rng(0).integers(50, 90, (3, 8, 8, 4), dtype=np.uint8)
    out = stretch(pixels)
    assert (out[..., :3].min((1, 2, 3)) == 0).all() and (out[..., :3].max((1, 2, 3)) == 255).all()
    assert np.array_equal(out[..., 3], pixels[..., 3])
    assert stretch(np.full((1, 8, 8, 3), 9, np.uint8)).max() == 0


@pytest.mark.parametrize("side", ["left", "right"])
def test_smart_crop_keeps_what_stands_out(side):
    picture = np.full((64, 192, 3), 120, np.uint8)
    at = 10 if side == "left" else 150
    picture[20:44, at : at + 28] = np.random.default_rng(0).integers(0, 256, (24, 28, 3))
    smart = fit(picture[None], 64, 64, "smart", (0, 0, 0))[0]
    centre = fit(picture[None], 64, 64, "crop", (0, 0, 0))[0]
    assert (smart != 120).any(2).sum() > 600
    assert (centre != 120).sum() == 0
    assert saliency(picture).shape == (64, 64)


def test_smart_crop_of_nothing_is_the_centre():
    picture = np.full((64, 128, 3), 7, np.uint8)
    assert np.array_equal(fit(picture[None], 32, 32, "smart", (0, 0, 0)), fit(picture[None], 32, 32, "crop", (0, 0, 0)))
