"""What is given, against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_image

from ganforge.base.errors import InputError
from ganforge.media.spec import to_float, to_uint8
from ganforge.sources.transform import resize
from ganforge.transforms import degrade
from ganforge.transforms.degrade import Degrade, parse


def photographs(channels=3):
    pixels = torch.from_numpy(
        np.stack([load_sample_image("china.jpg")[n : n + 48, n : n + 64] for n in (120, 150, 200)])
    )
    if channels == 4:
        pixels = torch.cat([pixels, pixels[..., :1]], 3)
    return pixels[..., :channels]


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_down_is_the_resize_of_the_house_within_two_levels(channels, scale):
    pixels = photographs(channels)
    pixels = pixels[:, : 48 // scale * scale, : 64 // scale * scale]
    given, hole = Degrade(f"down {scale}", channels)(to_float(pixels))
    # of bytes, torch's resize rounds after rows and after columns
    expected = resize(pixels.permute(0, 3, 1, 2).contiguous(), pixels.shape[1] // scale, pixels.shape[2] // scale)
    assert hole is None
    difference = (to_uint8(given).permute(0, 3, 1, 2).float() - expected.float()).abs()
    assert difference.max() <= 2 and difference.mean() < 0.25
    assert torch.equal(to_float(to_uint8(given)), given), "what is given has 8 bits"


def test_every_word_is_a_function_of_the_seed_and_strengths_are_drawn_by_picture():
    clean = to_float(photographs())[:1].expand(4, -1, -1, -1)
    for text in ("blur 0..5", "noise 0..0.5", "jpeg 5..95", "edges 0..0.5", "strokes 0.1..0.8", "boxes 1..4"):
        drawn = Degrade(text, 3)
        results = []
        for seed in (0, 0, 1):
            torch.manual_seed(seed)
            results.append(drawn(clean))
        for one, same, other in zip(*results, strict=True):
            assert one is same is None or (torch.equal(one, same) and not torch.equal(one, other)), text
        assert len(results[0][0].flatten(1).unique(dim=0)) == 4, text


def test_strength_is_the_position_in_each_range():
    clean = to_float(photographs())
    for text, mild, hard in (
        ("blur 0.5..3", "blur 0.5", "blur 3"),
        ("edges 0.1..0.4", "edges 0.1", "edges 0.4"),
        ("jpeg 10..90", "jpeg 90", "jpeg 10"),
        ("centre 0.1..0.5", "centre 0.1", "centre 0.5"),
        ("strokes 0.1..0.5", "strokes 0.1", "strokes 0.5"),
        ("boxes 1..5", "boxes 1", "boxes 5"),
        ("noise 0..0.2", "noise 0", "noise 0.2"),
    ):
        for strength, same in ((0.0, mild), (1.0, hard)):
            torch.manual_seed(0)
            ranged = Degrade(text, 3)(clean, strength)
            torch.manual_seed(0)
            fixed = Degrade(same, 3)(clean, strength)
            assert all(a is b is None or torch.equal(a, b) for a, b in zip(ranged, fixed, strict=True)), text
    assert torch.equal(Degrade("blur 0..3, noise 0..0.1", 3)(clean, 0.0)[0], clean)
    assert torch.equal(Degrade("", 3)(clean)[0], clean)


def test_blur_is_a_gaussian_and_keeps_the_mean():
    point = torch.full((2, 1, 41, 41), -1.0)
    point[..., 20, 20] = 1
    out = degrade.blur((point + 1) * 1e4, torch.tensor([1.5, 3.0]))[:, 0]
    offset = torch.arange(41) - 20.0
    for n, deviation in enumerate((1.5, 3.0)):
        assert out[n].sum().item() == pytest.approx(2e4, rel=1e-4)
        assert ((out[n].sum(0) * offset.square()).sum() / 2e4).sqrt().item() == pytest.approx(deviation, rel=0.02)


def test_noise_has_its_deviation_and_leaves_transparency():
    torch.manual_seed(0)
    clean = torch.zeros(2, 4, 128, 128)
    given = Degrade("noise 0.1", 4)(clean)[0]
    assert given[:, :3].std().item() == pytest.approx(0.2, rel=0.02)
    assert given[:, 3].unique().numel() == 1


def test_grey_is_pillows_within_a_level():
    pixels = photographs()
    grey = to_uint8(Degrade("grey", 3)(to_float(pixels))[0])[..., 0]
    theirs = np.stack([np.asarray(Image.fromarray(p).convert("L")) for p in pixels.numpy()])
    assert np.abs(grey.numpy().astype(int) - theirs).max() <= 1


def test_edges_of_a_step_are_a_line():
    clean = torch.full((1, 1, 9, 9), -1.0)
    clean[..., 5:] = 1
    given = Degrade("edges 0.5", 1)(clean)[0]
    assert given.shape == clean.shape and set(given.unique().tolist()) == {-1.0, 1.0}
    assert (given[0, 0, 0] == -1).nonzero().flatten().tolist() == [4, 5]


def test_what_is_missing_is_zero_and_the_rest_untouched():
    torch.manual_seed(0)
    clean = to_float(photographs())
    given, hole = Degrade("strokes 0.2, centre 0.1", 3)(clean)
    assert hole.shape == (3, 1, 48, 64)
    area = hole.mean((1, 2, 3))
    assert ((area >= 0.199) & (area <= 0.31)).all()
    assert torch.equal(given, clean * (1 - hole))


def test_frames_of_clips():
    torch.manual_seed(0)
    given, hole = Degrade("frames 1..3", 15, frames=5)(torch.ones(16, 15, 4, 4))
    missing = hole.unflatten(1, (5, 3)).flatten(2)
    assert torch.equal(missing.amin(2), missing.amax(2)), "whole frames, all their channels"
    assert set(missing[..., 0].sum(1).tolist()) == {1.0, 2.0, 3.0}
    assert torch.equal(given, 1 - hole)


@pytest.mark.parametrize("autocast", [False, True])
def test_precision_of_the_surroundings_does_not_matter(autocast):
    torch.manual_seed(0)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        given = Degrade("blur 1, down 2, jpeg 50", 3)(to_float(photographs()))[0]
    assert given.dtype == torch.float32
    torch.manual_seed(0)
    assert torch.equal(given, Degrade("blur 1, down 2, jpeg 50", 3)(to_float(photographs()))[0])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("blurr 1", "Did you mean blur"),
        ("blur", "says blur alone; it takes a number or a range, from 0 to 20: standard deviation"),
        ("down 3..4", "a system has one scale: down 4"),
        ("real 2..4", "a system has one scale: real 4"),
        ("down 1", "whole numbers from 2 to 8"),
        ("down 2.5", "whole numbers from 2 to 8"),
        ("grey 1", "takes no number"),
        ("jpeg 0..50", "from 1 to 100"),
        ("noise 0..2", "from 0 to 1"),
        ("strokes 0.2..1", "from 0 to 0.9"),
    ],
)
def test_words_that_cannot_be(text, message):
    with pytest.raises(InputError, match=message):
        parse(text)


@pytest.mark.parametrize(
    ("text", "channels", "frames", "message"),
    [
        ("grey", 1, 0, "are grey already"),
        ("frames 1", 3, 0, "only clips have frames"),
        ("frames 1..4", 4, 4, "these have 4"),
        ("jpeg 30", 12, 4, "not for clips"),
        ("down 2, centre 0.25", 3, 0, "smaller and holes in them"),
        ("grey, strokes 0.2", 3, 0, "says grey and makes holes"),
        ("edges 0.1, boxes 1", 1, 0, "says edges and makes holes"),
    ],
)
def test_words_that_do_not_fit_the_pictures(text, channels, frames, message):
    with pytest.raises(InputError, match=message):
        Degrade(text, channels, frames)
