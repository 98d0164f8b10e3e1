"""What is missing: transparency and masks."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from ganforge.restoring import masks
from ganforge.sources.entry import Entry, Skip

PICTURE = np.zeros((6, 8, 3), np.uint8)


def entry(pixels, kind="PNG"):
    file = io.BytesIO()
    Image.fromarray(np.asarray(pixels, np.uint8)).save(file, kind)
    return Entry("m.png", file.getvalue)


def test_white_is_missing():
    mask = np.zeros((6, 8))
    mask[2:4, 3:] = 255
    expected = mask > 0
    for pixels in (mask, mask / 255, np.stack([mask] * 3, 2), np.where(mask, 200, 30)):
        assert np.array_equal(masks.read(entry(pixels), PICTURE), expected)
    assert masks.read(entry(np.full((6, 8), 255)), PICTURE).all()
    opaque = np.dstack([mask, mask, mask, np.full_like(mask, 255)])
    assert np.array_equal(masks.read(entry(opaque), PICTURE), expected)


@pytest.mark.parametrize(
    ("pixels", "kind", "message"),
    [
        (np.zeros((6, 9)), "PNG", "its mask 'm.png' has 6x9 pixels, and it has 6x8"),
        (np.arange(48).reshape(6, 8), "PNG", "has 48 levels; a mask has two"),
        (np.zeros((6, 8)), "PNG", "is black, so nothing is missing"),
        (np.dstack([np.full((6, 8), 255)] * 3 + [np.eye(6, 8) * 255]), "PNG", "is transparent; a mask is opaque"),
    ],
)
def test_masks_that_are_refused(pixels, kind, message):
    with pytest.raises(Skip, match=message):
        masks.read(entry(pixels, kind), PICTURE)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_a_mask_with_several_frames_is_refused(kind):
    file = io.BytesIO()
    frames = [Image.fromarray(np.eye(6, 8, n, dtype=np.uint8) * 255) for n in range(3)]
    frames[0].save(file, kind, save_all=True, append_images=frames[1:], duration=100, lossless=True)
    with pytest.raises(Skip, match=r"its mask 'm\.gif': it has several frames; save the one that is meant"):
        masks.read(Entry("m.gif", file.getvalue), PICTURE)


def test_a_mask_that_is_not_there():
    with pytest.raises(Skip, match="there is no mask of that name"):
        masks.read(None, PICTURE)


def test_what_is_fully_transparent_is_missing():
    pixels = np.full((4, 4, 4), 9, np.uint8)
    pixels[1, 2, 3] = 0
    assert np.argwhere(masks.transparent(pixels)).tolist() == [[1, 2]]
    for nothing in (PICTURE, np.ones((3, 3, 4), np.uint8)):
        with pytest.raises(Skip, match="nothing is missing"):
            masks.transparent(nothing)


def test_the_digest_tells_masks_apart():
    one = np.eye(5, dtype=bool)
    assert masks.digest(one) == masks.digest(one.copy()) != masks.digest(~one)
