"""Palettes: pictures to tokens and back."""

from __future__ import annotations

import io
import itertools
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ganforge.data import tokens
from ganforge.data.parts import Meta
from ganforge.data.store import Store
from ganforge.data.tokens import Palette, learn
from ganforge.errors import DataError, InputError
from ganforge.images import ImageSpec, Pixels
from ganforge.testing import store_of


def pictures(count: int, channels: int, seed: int = 0) -> Pixels:
    """Smooth pictures of many colours, (count, 24, 20, channels)."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (count, 4, 4, channels), dtype=np.uint8)
    planes = [
        np.asarray(Image.fromarray(p[..., c]).resize((20, 24), Image.Resampling.BICUBIC))
        for p in small
        for c in range(channels)
    ]
    return np.stack(planes).reshape(count, channels, 24, 20).transpose(0, 2, 3, 1).copy()


def make_store(path: Path, pixels: Pixels) -> Store:
    metas = [Meta(str(n), split="heldout" if n % 5 == 4 else "train") for n in range(len(pixels))]
    return store_of(path, ImageSpec(*pixels.shape[1:]), pixels, metas)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("count", [7, 256, 300])
def test_a_palette_of_the_exact_colours_loses_nothing(channels, count, tmp_path):
    rng = np.random.default_rng(count)
    count = min(count, 256) if channels == 1 else count
    colours = np.unique(rng.integers(1, 256, (4 * count, channels), dtype=np.uint8), axis=0)[:count]
    pixels = colours[rng.integers(0, len(colours), (40, 24, 20))]
    palette = Palette(colours)
    sequence = palette.tokens(pixels)
    assert sequence.dtype == (np.uint8 if len(colours) <= 256 else np.uint16)
    assert sequence.shape == (40, 480)
    assert np.array_equal(palette.pixels(sequence, 24, 20), pixels)
    assert palette.psnr(pixels) == 100
    learnt = learn(make_store(tmp_path / "s", pixels), max(2, len(colours)))
    assert np.array_equal(np.unique(learnt.colours, axis=0), colours)
    assert learnt.round_trip == 100


def test_order_is_row_by_row_from_the_top_left():
    palette = Palette(np.array([[0], [100], [200]], np.uint8))
    picture = np.array([[[0], [100]], [[200], [0]], [[100], [100]]], np.uint8)[None]
    assert palette.tokens(picture).tolist() == [[0, 1, 2, 0, 1, 1]]
    assert palette.pixels(np.array([[0, 1, 2, 0, 1, 1]]), 3, 2)[0, 1, 0, 0] == 200


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_more_colours_are_never_worse(channels, tmp_path):
    store = make_store(tmp_path / "s", pictures(60, channels))
    found = [learn(store, k).round_trip for k in (2, 4, 8, 16, 32, 64, 128)]
    assert all(b > a - 0.1 for a, b in itertools.pairwise(found)), found
    assert found[-1] > found[0] + (4 if channels == 4 else 8)


def test_equal_pictures_have_equal_tokens_whatever_is_beside_them(tmp_path):
    pixels = pictures(30, 3)
    palette = learn(make_store(tmp_path / "s", pixels), 32)
    alone = np.concatenate([palette.tokens(pixels[n : n + 1]) for n in range(30)])
    assert np.array_equal(palette.tokens(pixels), alone)
    twice = palette.tokens(np.concatenate([pixels[3:4], pixels[7:8], pixels[3:4]]))
    assert np.array_equal(twice[0], twice[2])
    assert not np.array_equal(twice[0], twice[1])


def test_the_same_call_gives_the_same_palette_and_a_file_keeps_it(tmp_path):
    store = make_store(tmp_path / "s", pictures(30, 3))
    one, two, other = learn(store, 16), learn(store, 16), learn(store, 16, seed=1)
    assert np.array_equal(one.colours, two.colours)
    assert not np.array_equal(one.colours, other.colours)
    read = Palette.load(one.save(tmp_path / "palette.npz"))
    assert np.array_equal(read.colours, one.colours)
    assert read.round_trip == one.round_trip == pytest.approx(one.psnr(store.read(store.heldout)), abs=1e-3)
    brightness = tokens._seen(one.colours)[:, 0]
    assert (np.diff(brightness) >= 0).all()
    assert {p.name for p in tmp_path.iterdir()} == {"s", "palette.npz"}


def test_oklab_by_published_values_and_back():
    colours = np.array([[255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255]], np.uint8)
    known = [[1, 0, 0], [0.62796, 0.22486, 0.12585], [0.86644, -0.23389, 0.17950], [0.45201, -0.03246, -0.31153]]
    assert np.abs(tokens._seen(colours) - known).max() < 2e-4
    for channels in (1, 3, 4):
        random = np.random.default_rng(0).integers(1, 256, (500, channels), dtype=np.uint8)
        assert np.abs(tokens._shown(tokens._seen(random)).astype(int) - random).max() <= (1 if channels < 4 else 2)


def test_invisible_colours_are_one():
    palette = Palette(np.array([[0, 0, 0, 0], [200, 0, 0, 255]], np.uint8))
    ghosts = np.random.default_rng(0).integers(0, 256, (1, 5, 5, 4), dtype=np.uint8)
    ghosts[..., 3] = 0
    assert not palette.tokens(ghosts).any()


def test_mistakes_are_explained(tmp_path):
    store = make_store(tmp_path / "s", pictures(10, 3))
    with pytest.raises(InputError, match="2 to 4096"):
        learn(store, 1)
    palette = learn(store, 4)
    for call in (
        lambda: palette.tokens(pictures(2, 1)), lambda: palette.pixels(np.array([[4]]), 1, 1),
        lambda: palette.pixels(np.array([[0, 1]]), 1, 1), lambda: palette.pixels(np.array([[-1]]), 1, 1),
        lambda: Palette(np.zeros((3, 2), np.uint8)), lambda: palette.save(tmp_path / "none" / "p.npz"),
        lambda: Palette.load(tmp_path / "none.npz"),
    ):  # fmt: skip
        with pytest.raises(DataError):
            call()
    for data in (b"", b"words", palette.save(tmp_path / "p.npz").read_bytes()[:200]):
        (tmp_path / "bad.npz").write_bytes(data)
        with pytest.raises(DataError, match="is no palette"):
            Palette.load(tmp_path / "bad.npz")


def test_photographs_in_256_colours(real_data, tmp_path):
    with zipfile.ZipFile(real_data / "flowers" / "flowers128.zip") as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".jpg"))[::60]
        photos = [Image.open(io.BytesIO(archive.read(name))).convert("RGB").resize((32, 32)) for name in names]
    store = make_store(tmp_path / "s", np.stack([np.asarray(photo) for photo in photos]))
    assert 22 < learn(store, 16).round_trip + 4 < learn(store, 256).round_trip < 40
