"""Pairs as rows: given and wanted as channels, and how they are looked at."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from ganforge.base import config, marks
from ganforge.base.errors import InputError
from ganforge.media.pair import Pair
from ganforge.media.spec import Spec, spec_from
from ganforge.store import augment

RNG = np.random.default_rng(0)
PALETTE = ("0 #000000", "7 #ff0000", "255 #00ff80")
MAPS = Pair(1, PALETTE)


def rows(channels: int, count: int = 3) -> np.ndarray:
    return RNG.integers(0, 256, (count, 8, 12, channels)).astype(np.uint8)


@pytest.mark.parametrize(("given", "wanted", "shown"), [(1, 1, 1), (1, 3, 3), (3, 1, 3), (4, 3, 4), (1, 4, 4)])
def test_given_stands_beside_wanted(given, wanted, shown):
    pair, some = Pair(given), rows(given + wanted)
    pair.check(8, 12, given + wanted)
    sheet = pair.as_pictures(some)
    assert sheet.shape == (3, 8, 25, shown)
    assert (sheet[:, :, 12] == 255).all(), "a white line between"
    one, other = pair.split(some)
    assert np.array_equal(pair.row(one, other), some)
    colours = min(3, shown)
    assert np.array_equal(sheet[:, :, :12, :colours], np.broadcast_to(one[..., :3], (3, 8, 12, colours)))
    assert np.array_equal(sheet[:, :, 13:, :colours], np.broadcast_to(other[..., :3], (3, 8, 12, colours)))
    assert Spec(8, 12, given + wanted, medium=pair).shown_channels == shown


def test_a_map_is_shown_in_the_colours_of_its_palette():
    some = rows(4)
    some[..., 0] %= 3
    MAPS.check(8, 12, 4)
    assert MAPS.ids == (0, 7, 255)
    colours = np.array([[0, 0, 0], [255, 0, 0], [0, 255, 128]])
    assert np.array_equal(MAPS.as_pictures(some)[:, :, :12], colours[some[..., 0]])
    some[..., 0] = 200
    assert (MAPS.as_pictures(some)[:, :, :12] == colours[2]).all(), "what is no number of the map is still shown"


def test_one_pair_is_a_file_to_be_cut_in_the_middle(tmp_path):
    some = rows(4)
    Pair(1).write(tmp_path / "a.png", some[:1], {"seeds": [5]})
    with Image.open(tmp_path / "a.png") as image:
        pixels = np.asarray(image)
    assert pixels.shape == (8, 24, 3)
    assert np.array_equal(pixels[:, 12:], some[0, ..., 1:])
    assert marks.read(tmp_path / "a.png") == {"generated": True, "seeds": [5]}


@pytest.mark.parametrize("pair", [Pair(3), MAPS], ids=["colours", "map"])
def test_a_spec_of_pairs_comes_back_from_a_file(pair, tmp_path):
    spec = Spec(8, 12, pair.given + 3, ("a", "b"), medium=pair)
    assert spec_from(spec.to_plain()) == spec
    (tmp_path / "run.toml").write_text(config.to_toml({"spec": spec.to_plain()}))
    assert spec_from(config.read_toml(tmp_path / "run.toml")["spec"]) == spec
    assert str(spec).startswith("8x12, RGB given" if pair.given == 3 else "8x12, 3 ids given, RGB wanted")


@pytest.mark.parametrize(
    ("pair", "channels"),
    [
        *((Pair(2), 5), (Pair(1), 3), (Pair(3), 3), (Pair(3, PALETTE), 6)),
        *(
            (Pair(1, ("1 #000000", "0 #ffffff")), 4),
            (Pair(1, ("0 red", "1 #000000")), 4),
            (Pair(1, ("256 #000000",)), 4),
        ),
    ],
)
def test_what_is_no_pair_is_refused(pair, channels):
    with pytest.raises(ValueError, match=r"channel|palette"):
        pair.check(8, 8, channels)


def test_no_augmentation_mixes_ids():
    spec = Spec(8, 8, 4, medium=MAPS)
    assert augment.parse("flip, upside", "train.augment", spec)
    with pytest.raises(
        InputError, match=r"train\.augment has rotate, which would mix the ids .* there is: flip, upside"
    ):
        augment.parse("flip, rotate 10", "train.augment", spec)
    with pytest.raises(InputError, match=r"has brightness, which is for pictures and not for pairs"):
        augment.parse("brightness", "train.augment", spec)
