"""Each filter against an independent reference or a closed form, on grey, RGB and RGBA of every shape."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from ganforge.base.errors import InputError
from ganforge.base.images import Pixels
from ganforge.cleaning import filters as F
from ganforge.metrics.fidelity import psnr
from synthetic import natural, noisy, off

EVERY = [F.make({"kind": kind} | ({"factor": 2.0} if kind == "upscale" else {})) for kind in F.KINDS]
GREY, RGB = natural(0)[..., :1], natural(1)


# ---------------------------------------------------------------------------------------------------------- the filters


@pytest.mark.parametrize("pixels", [GREY, RGB], ids=["grey", "rgb"])
def test_gaussian_median_morphology_against_scipy(pixels):
    size = (3, 3, 1)
    pairs = [
        (F.Median(3), ndimage.median_filter(pixels, (3, 3, 1), mode="nearest")),
        (F.Median(5), ndimage.median_filter(pixels, (5, 5, 1), mode="nearest")),
        (F.Erode(3), ndimage.grey_erosion(pixels, size=size)),
        (F.Dilate(3), ndimage.grey_dilation(pixels, size=size)),
    ]
    for step, expected in pairs:
        assert np.array_equal(step(pixels), expected), F.short(step)
    inner = slice(4, -4)
    for step, expected in [
        (F.Open(5), ndimage.grey_opening(pixels, size=(5, 5, 1))),
        (F.Close(5), ndimage.grey_closing(pixels, size=(5, 5, 1))),
    ]:  # the two treat the outside of the picture differently
        assert np.array_equal(step(pixels)[inner, inner], expected[inner, inner]), F.short(step)
    wide = ndimage.gaussian_filter(pixels.astype(float), (1.5, 1.5, 0), mode="mirror", truncate=3)
    assert np.abs(F.Gaussian(1.5)(pixels) - wide).max() < 2.5


def test_a_disk_is_round_and_a_square_is_not():
    spot = np.zeros((21, 21, 1), np.uint8)
    spot[10, 10] = 255
    square, disk = (F.Dilate(9, shape)(spot)[..., 0] > 0 for shape in ("square", "disk"))
    assert square.sum() == 81
    assert 50 < disk.sum() < 81
    assert np.array_equal(disk, disk.T)


def plain_bilateral(pixels: Pixels, color: float, space: float) -> np.ndarray:
    """By the formula, window by window: neighbours within 1.5 deviations, differences summed over the channels."""
    reach = round(1.5 * space)
    wide = np.pad(pixels.astype(float), ((reach, reach), (reach, reach), (0, 0)), mode="reflect")
    height, width = pixels.shape[:2]
    total, weights = np.zeros(pixels.shape), np.zeros((height, width, 1))
    for y, x in np.ndindex(2 * reach + 1, 2 * reach + 1):
        far = (y - reach) ** 2 + (x - reach) ** 2
        if far <= reach**2:
            other = wide[y : y + height, x : x + width]
            unlike = np.abs(other - pixels).sum(2, keepdims=True)
            weight = np.exp(-far / (2 * space**2) - unlike**2 / (2 * color**2))
            total, weights = total + weight * other, weights + weight
    return total / weights


def test_bilateral_total_variation_and_non_local_means_against_plain_calls():
    from skimage.restoration import denoise_nl_means, denoise_tv_bregman

    grey = noisy(GREY, 15, 3)
    assert np.abs(F.Bilateral(40, 2)(grey) - plain_bilateral(grey, 40, 2)).max() <= 1
    assert np.abs(F.Bilateral(40, 2)(RGB) - plain_bilateral(RGB, 40 * 3**0.5, 2)).max() <= 2
    tv = denoise_tv_bregman(np.pad(grey[..., 0] / 255, 2, mode="symmetric"), F.TV_WEIGHT * 255 / 15, eps=1e-3)[
        2:-2, 2:-2
    ]
    assert np.abs(F.TotalVariation(15)(grey)[..., 0] - 255 * tv).max() <= 0.51
    colour = noisy(RGB, 15, 4)
    nlm = denoise_nl_means(colour / 255, 5, 6, 0.6 * 15 / 255, sigma=15 / 255, fast_mode=True, channel_axis=-1)
    inner = np.s_[12:-12, 12:-12]  # at the border ours sees a few pixels more
    assert np.abs(F.NonLocalMeans(15)(colour)[inner] - 255 * nlm[inner]).max() < 1.1


@pytest.mark.parametrize(("text", "most"), [("nlm:sigma=20", 0), ("unsharp:sigma=3,amount=2", 0), ("tv:sigma=20", 1)])
def test_large_pictures_are_filtered_in_strips_that_do_not_show(text, most, monkeypatch):
    pixels = noisy(natural(3, 250), 20, 0)[:, :90]
    whole = F.parse(text)(pixels)
    monkeypatch.setattr(F, "STRIP", 90 * 40)
    strips = F.parse(text)(pixels)
    assert off(strips, whole) <= most
    assert off(whole, pixels) > 20


def test_total_variation_falls_and_the_mean_stays():
    grey = noisy(GREY, 15, 3)
    variation = [np.abs(np.diff(p.astype(float), axis=0)).sum() for p in (grey, F.TotalVariation(15)(grey))]
    assert variation[1] < variation[0] / 2
    assert abs(float(F.TotalVariation(15)(grey).mean()) - float(grey.mean())) < 1


@pytest.mark.parametrize("step", [F.Open(5), F.Close(5), F.Open(7, "disk"), F.Otsu(), F.Trim()], ids=F.short)
def test_idempotent(step):
    once = step(RGB)
    assert np.array_equal(step(once), once)


def test_open_takes_bright_specks_and_close_dark_ones():
    specks = np.full((20, 20, 1), 100, np.uint8)
    specks[5, 5], specks[12:14, 12:14] = 255, 0
    assert np.unique(F.Open(3)(specks)).tolist() == [0, 100]
    assert np.unique(F.Close(3)(specks)).tolist() == [100, 255]


def test_otsu_parts_two_levels_and_agrees_with_scikit_image():
    from skimage.filters import threshold_otsu

    two = np.where(natural(5)[..., :1] > 128, 180, 60).astype(np.uint8)
    assert np.array_equal(F.Otsu()(two) == 255, two == 180)
    assert np.array_equal(F.Otsu()(GREY)[..., 0] == 255, GREY[..., 0] > threshold_otsu(GREY[..., 0]))
    assert F.Otsu()(RGB).shape == (96, 96, 1)


def test_adaptive_reads_writing_under_uneven_light():
    light = np.linspace(60, 240, 120)[None, :, None].repeat(80, 0)
    ink = np.zeros((80, 120, 1), bool)
    ink[20:60:8, 10:110] = True
    page = np.where(ink, light * 0.6, light).round().astype(np.uint8)
    assert ((F.Adaptive(31, 8)(page) == 0) == ink).mean() > 0.99
    assert ((F.Otsu()(page) == 0) == ink).mean() < 0.8, "the light is even: the test shows nothing"


def test_background_makes_the_light_even():
    from skimage.restoration import rolling_ball

    light = np.linspace(150, 250, 120)[None, :, None].repeat(80, 0)
    page = light.copy()
    page[30:34, 20:100] -= 60
    page = page.round().astype(np.uint8)
    for method in ("ball", "blur"):
        out = F.Background(20, method, "light")(page)
        assert out[5:20, 10:-10].std() < page[5:20, 10:-10].std() / 5, method
        assert (out[31, 30:90, 0] < 215).all() and (out[5:20, 10:-10] > 240).all(), method
    dark = 255 - page
    expected = dark[..., 0].astype(int) - rolling_ball(dark[..., 0], radius=20)
    assert np.array_equal(F.Background(20, "ball", "dark")(dark)[..., 0], expected)
    assert np.array_equal(F.Background(20, "ball", "light")(page), 255 - F.Background(20, "ball", "dark")(dark))


def test_unsharp_by_its_formula():
    assert np.array_equal(F.Unsharp(1, 0)(RGB), RGB)
    blur = ndimage.gaussian_filter(RGB.astype(float), (1, 1, 0), mode="mirror", truncate=4)
    expected = (RGB + 0.8 * (RGB - blur)).round().clip(0, 255)
    assert np.abs(F.Unsharp(1, 0.8)(RGB) - expected).max() <= 1


@pytest.mark.parametrize(
    "step", [s for s in EVERY if not isinstance(s, (F.Otsu, F.Adaptive, F.Background))], ids=F.short
)
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_constant_stays_constant(step, channels):
    flat = np.full((24, 30, channels), 77, np.uint8)
    out = step(flat)
    assert np.unique(out).tolist() == [77]
    assert out.shape == ((48, 60, channels) if isinstance(step, F.Upscale) else flat.shape)


@pytest.mark.parametrize("step", EVERY, ids=F.short)
@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1), (2, 3), (17, 5)])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_every_filter_takes_every_shape_and_leaves_its_input(step, shape, channels):
    pixels = np.random.default_rng(0).integers(0, 256, (*shape, channels), dtype=np.uint8)
    before = pixels.copy()
    out = step(pixels)
    assert np.array_equal(pixels, before)
    assert out.dtype == np.uint8
    times = 2 if isinstance(step, F.Upscale) else 1
    if isinstance(step, F.Trim):
        assert out.shape[2] == channels
    else:
        grey = channels == 3 and isinstance(step, (F.Otsu, F.Adaptive))
        assert out.shape == (shape[0] * times, shape[1] * times, 1 if grey else channels)
    if channels == 4 and not isinstance(step, (F.Upscale, F.Trim)):
        assert np.array_equal(out[..., 3], pixels[..., 3])


@pytest.mark.parametrize("step", [s for s in EVERY if not isinstance(s, (F.Otsu, F.Adaptive, F.Trim))], ids=F.short)
def test_invisible_colours_do_not_bleed(step):
    one = np.zeros((40, 40, 4), np.uint8)
    one[10:30, 10:30] = np.dstack([natural(7)[:20, :20], np.full((20, 20), 255, np.uint8)])
    two = one.copy()
    two[one[..., 3] == 0] = (0, 255, 0, 0)
    shown = step(one)[..., 3] > 0
    assert np.array_equal(step(one)[shown], step(two)[shown])
    assert np.array_equal(step(one)[..., 3], step(two)[..., 3])
    if not isinstance(step, F.Upscale):
        assert (step(two)[two[..., 3] == 0] == (0, 255, 0, 0)).all()


def test_upscale_keeps_a_ramp_and_knows_its_sides():
    ramp = np.linspace(20, 235, 64)[None, :, None].repeat(32, 0).round().astype(np.uint8)
    for method in ("lanczos", "bicubic"):
        out = F.Upscale(factor=3.0, method=method)(ramp)
        assert out.shape == (96, 192, 1)
        expected = np.interp((np.arange(192) + 0.5) / 3 - 0.5, np.arange(64), np.linspace(20, 235, 64))
        assert np.abs(out[48, 12:-12, 0] - expected[12:-12]).max() < 2, method
    assert F.Upscale(side=100)(ramp).shape == (100, 200, 1)
    assert F.Upscale(side=30)(ramp).shape == ramp.shape
    pillow = np.asarray(Image.fromarray(RGB).resize((192, 192), Image.Resampling.LANCZOS))
    assert psnr(F.Upscale(factor=2.0)(RGB), pillow) > 38
    with pytest.raises(F.Skip, match="over the limit"):
        F.Upscale(factor=16.0)(np.zeros((1000, 1000, 1), np.uint8))


def test_trim_cuts_bars_and_transparent_borders_only():
    inner = natural(9)[:50, :60]
    framed = np.pad(inner, ((0, 10), (7, 3), (0, 0)), constant_values=255)
    framed = np.concatenate([np.zeros((12, 70, 3), np.uint8), framed])
    framed[3, 5] = 6  # noise of the border, within the tolerance
    assert np.array_equal(F.Trim()(framed), inner)
    assert np.array_equal(F.Trim()(inner), inner)
    ghost = np.zeros((30, 40, 4), np.uint8)
    ghost[..., :3] = np.random.default_rng(0).integers(0, 256, (30, 40, 3))
    ghost[5:20, 8:33, 3] = 200
    assert np.array_equal(F.Trim()(ghost), ghost[5:20, 8:33])
    flat = np.full((9, 9, 3), 5, np.uint8)
    assert np.array_equal(F.Trim()(flat), flat)


def test_words_and_ranges():
    assert F.parse("median:size=5") == F.Median(5) == F.make({"kind": "median", "size": 5})
    assert F.parse("background:radius=40,method=ball") == F.Background(40.0, "ball")
    assert all(F.make(F.describe(step)) == step and F.parse(F.short(step)) == step for step in EVERY)
    for text, said in {
        "medain": "Did you mean median", "median:size=4": "odd", "median:size=99": "from 3 to 51",
        "median:sise=3": "Did you mean size", "median:3": "not understood", "open:shape=disc": "Did you mean disk",
        "unsharp:amount=much": "type float", "upscale": "either factor", "nlm:patch=4": "odd", "erode:size=2": "from 3",
    }.items():  # fmt: skip
        with pytest.raises(InputError, match=said):
            F.parse(text)
