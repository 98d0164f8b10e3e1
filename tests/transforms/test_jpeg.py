"""JPEG beside Pillow."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_image

from ganforge.transforms import jpeg


def by_pillow(picture, quality):
    file = io.BytesIO()
    image = Image.fromarray(picture.squeeze())
    image.save(file, "JPEG", quality=quality, subsampling=2)
    tables = Image.open(file).quantization
    return np.asarray(Image.open(file)).reshape(picture.shape), tables


@pytest.mark.parametrize("quality", [1, 10, 30, 50, 75, 95, 100])
def test_the_tables_are_pillows(quality):
    tables = by_pillow(np.zeros((16, 16, 3), np.uint8), quality)[1]
    for n, base in enumerate((jpeg.LUMINANCE, jpeg.CHROMINANCE)):
        assert jpeg.table(base, torch.tensor([float(quality)])).flatten().int().tolist() == list(tables[n])


@pytest.mark.parametrize("grey", [False, True])
def test_pictures_are_pillows_within_a_level_on_average(grey):
    """Pillow's library computes cosine transform and colours in whole numbers, so that a few coefficients are rounded
    to the other side. Sides that are no multiple of 16; each picture with its own quality."""
    photograph = load_sample_image("china.jpg")[100:183, 200:301]
    pictures = [photograph, np.ascontiguousarray(photograph[::-1])]
    if grey:
        pictures = [p[..., :1] for p in pictures]
    qualities = [30, 92]
    batch = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float()
    ours = jpeg.jpeg(batch, torch.tensor(qualities, dtype=torch.float32)).permute(0, 2, 3, 1).numpy()
    for n, quality in enumerate(qualities):
        theirs = by_pillow(pictures[n], quality)[0].astype(float)
        difference = np.abs(ours[n] - theirs)
        lost = np.abs(pictures[n] - theirs).mean()
        assert difference.mean() < 0.8 and (difference > 3).mean() < 0.04, (difference.mean(), difference.max())
        assert difference.mean() < lost / 5
    assert np.array_equal(ours, ours.round()) and ours.min() >= 0 and ours.max() <= 255
