"""Any size in tiles, any channels, and memory that is short."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from ganforge import models
from ganforge.media.pair import Pair
from ganforge.media.spec import Spec
from ganforge.models import dae
from ganforge.restoring.tiles import TILE, Restorer, tiles
from ganforge.sources.entry import Skip

RNG = np.random.default_rng(0)


def new(name, channels, **settings):
    torch.manual_seed(0)
    loaded = models.load(name)
    return loaded.system(loaded.config(**settings), Spec(16, 16, channels)).eval()


def bytes_of(*shape):
    return RNG.integers(0, 256, shape, dtype=np.uint8)


def in_tiles(system, tile, *args):
    restorer = Restorer(system, 0.7 if system.strengths else None)
    restorer.tile = tile
    return restorer(*args)


@pytest.mark.parametrize(("height", "width"), [(100, 150), (97, 33)])
def test_tiles_cover_a_picture_once(height, width):
    seen = np.zeros((height, width), int)
    for (rows, columns), (inner, across) in tiles(height, width, 32, 20):
        seen[inner, across] += 1
        for wide, span, side in ((rows, inner, height), (columns, across, width)):
            assert wide.start in (0, span.start - 32) and wide.stop in (side, span.stop + 32)
    assert (seen == 1).all()
    assert len(list(tiles(height, width, 32, 0))) == len(list(tiles(height, width, 32, -1))) == 1


def test_tiles_give_what_the_whole_picture_gives():
    torch.manual_seed(0)
    system = dae.DAE(dae.Config(width=8), Spec(32, 32, 3)).eval()
    torch.nn.init.normal_(system.denoiser.last[2].weight, 0, 0.1)
    for size in ((100, 150), (97, 161)):
        pixels = bytes_of(*size, 3)
        whole, cut = in_tiles(system, 512, pixels).astype(int), in_tiles(system, 32, pixels)
        assert np.abs(whole - cut).max() <= 1 and (whole != cut).mean() < 0.01
        assert np.abs(whole - pixels).mean() > 1, "the network does nothing"


@pytest.mark.parametrize("degradation", ["down 2", "down 3, grey", "strokes 0.3"])
def test_tiles_with_scale_holes_and_seeds_give_what_the_whole_gives(every_door, degradation):
    system = new(every_door, 3, degradation=degradation)
    pixels, holes = bytes_of(75, 90, 3), np.zeros((75, 90), bool)
    holes[20:50, 10:70] = True
    args = (pixels, holes if system.fills else None, 7)
    whole, cut = in_tiles(system, 512, *args).astype(int), in_tiles(system, 32, *args)
    assert whole.shape == (75 * system.scale, 90 * system.scale, 3)
    assert np.abs(whole - cut).max() <= 1 and (whole != cut).mean() < 0.01
    assert np.array_equal(in_tiles(system, 512, *args), whole), "the same picture and seed give the same bytes"
    assert not np.array_equal(in_tiles(system, 512, *args[:2], 8), whole), "another seed gives another answer"


@pytest.mark.parametrize(
    ("own", "channels", "degradation"),
    [*itertools.product((1, 3, 4), (1, 3, 4), ("down 2", "strokes 0.3")), (3, 4, "grey"), (3, 1, "grey")],
)
def test_channels_and_transparency(every_door, own, channels, degradation):
    system = new(every_door, own, degradation=degradation)
    pixels = bytes_of(20, 30, channels)
    holes = np.eye(20, 30, dtype=bool) if system.fills else None
    out = Restorer(system)(pixels, holes)
    scale = system.scale
    expected = 3 if degradation == "grey" and channels == 1 else channels
    assert out.shape == (20 * scale, 30 * scale, expected)
    if holes is not None:
        assert np.array_equal(out[~holes], pixels[~holes]), "known pixels come back untouched"
        assert not np.array_equal(out[holes], pixels[holes])
    if channels == 4 and own != 4:
        alpha = out[..., 3]
        if scale == 1:
            assert np.array_equal(alpha, pixels[..., 3] if holes is None else np.where(holes, 255, pixels[..., 3]))
        else:
            near = pixels[..., 3].repeat(scale, 0).repeat(scale, 1).astype(float)
            assert np.corrcoef(alpha.ravel(), near.ravel())[0, 1] > 0.5


def test_strength_is_passed_on(every_door):
    system = new(every_door, 3, degradation="down 2")
    pixels = bytes_of(9, 9, 3)
    none = Restorer(system, 0.0)(pixels)
    assert np.array_equal(none, pixels.repeat(2, 0).repeat(2, 1))
    assert not np.array_equal(Restorer(system, 1.0)(pixels), none)


def test_a_system_of_one_size_takes_others_resized(every_door):
    system = new(every_door, 1, degradation="boxes 1")
    system.receptive_radius = 0
    pixels = np.full((40, 24, 1), 100, np.uint8)
    holes = np.zeros((40, 24), bool)
    holes[0, 0] = True
    out = Restorer(system)(pixels, holes)
    assert out.shape == pixels.shape and (out != pixels).sum() == 1


def short_above(system, pixels):
    """Lets `restore` fail as torch does where there is no memory for a picture of more than so many pixels."""
    whole = system.restore

    def restore(images, **options):
        if images.shape[2] * images.shape[3] > pixels:
            raise RuntimeError("[enforce fail at alloc_cpu.cpp:119] DefaultCPUAllocator: not enough memory: you tried")
        return whole(images, **options)

    system.restore = restore


def test_tiles_are_halved_when_memory_is_short(every_door):
    system = new(every_door, 1, degradation="down 2")
    pixels = bytes_of(150, 150, 1)
    whole = Restorer(system)(pixels).astype(int)
    short_above(system, 120 * 120)
    restorer = Restorer(system)
    assert np.abs(restorer(pixels) - whole).max() <= 1
    assert restorer.tile < TILE
    short_above(system, 9)
    with pytest.raises(MemoryError, match="not even tiles of 32 pixels fit"):
        restorer(pixels)


def test_a_system_that_needs_the_whole_picture_says_so(every_door):
    system = new(every_door, 1, degradation="down 2", spectral=True)
    short_above(system, 120 * 120)
    assert Restorer(system)(bytes_of(100, 100, 1)).shape == (200, 200, 1)
    with pytest.raises(Skip, match="not enough memory for it in one piece"):
        Restorer(system)(bytes_of(150, 150, 1))


def test_other_errors_are_not_hidden(every_door):
    system = new(every_door, 1, degradation="down 2")
    system.restore = lambda images, **options: images.view(-7)
    with pytest.raises(RuntimeError, match="shape"):
        Restorer(system)(bytes_of(8, 8, 1))


def test_progress_is_the_share_of_tiles(every_door):
    shares: list[float] = []
    restorer = Restorer(new(every_door, 1, degradation="down 2"))
    restorer.tile = 32
    restorer(bytes_of(60, 60, 1), progress=shares.append)
    assert shares == [0.25, 0.5, 0.75, 1.0]


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_what_is_wanted_of_pairs_and_of_a_class_has_its_own_channels(every_door, channels):
    pixels = bytes_of(20, 30, channels)
    loaded = models.load(every_door)
    pairs = loaded.system(loaded.config(degradation=""), Spec(16, 16, 6, medium=Pair(3))).eval()
    loaded = models.load("translate")
    classes = loaded.system(loaded.config(width=4, depth=1, blocks=1), Spec(16, 16, 3, ("a", "b"))).eval()
    torch.nn.init.normal_(classes.generator.unet.last.weight, 0, 0.3)
    for restorer in (Restorer(pairs), Restorer(classes, label=1)):
        out = restorer(pixels)
        assert out.shape == (20, 30, max(3, channels))
        assert (out[..., 0] != out[..., 1]).any(), "a grey picture has colours now"
        if channels == 4:
            assert np.array_equal(out[..., 3], pixels[..., 3])
