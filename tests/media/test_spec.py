"""What a row means travels with its shape: in a store's manifest and in run.toml."""

from __future__ import annotations

import json
import tomllib

import pytest
import torch

from ganforge.base import config
from ganforge.base.errors import InputError
from ganforge.media.clip import Clip
from ganforge.media.medium import Medium
from ganforge.media.solid import Solid
from ganforge.media.sound import Sound
from ganforge.media.spec import MEDIA, Spec, spec_from, to_float, to_uint8
from ganforge.store import augment
from ganforge.transforms import augment as discriminator

SPECS = (
    Spec(28, 20, 1, ("a", "b")),
    Spec(64, 48, 1, ("0", "1"), medium=Sound.of_rate(8000)),
    Spec(16, 16, 24, medium=Clip(8, 12.5)),
    Spec(16, 16, 16, ("a",), medium=Solid()),
)


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_json_and_toml_bring_it_back(spec):
    assert spec_from(json.loads(json.dumps(spec.to_plain()))) == spec
    assert spec_from(tomllib.loads(config.to_toml({"spec": spec.to_plain()}))["spec"]) == spec


def test_a_spec_of_pictures_is_written_as_before_there_were_other_media():
    assert SPECS[0].to_plain() == {"height": 28, "width": 20, "channels": 1, "classes": ("a", "b"), "levels": ()}


def test_each_says_what_it_is():
    assert [str(spec) for spec in SPECS] == [
        "28x20 grey, 2 classes",
        "64x48 log-mel, 0.752 s at 8,000 Hz, 2 classes",
        "16x16 RGB, 8 frames at 12.5 a second",
        "16x16x16 voxels, 1 classes",
    ]


@pytest.mark.parametrize(
    "change",
    [
        {"medium": {"kind": "smell"}},
        {"medium": {"kind": "clip", "frames": 7, "rate": 1.0}},
        {"medium": {"kind": "clip", "frames": 8, "rate": 1.0, "more": 1}},
        {"medium": {"kind": "sound"}},
        {"medium": {"kind": "solid"}},
        {"medium": {"kind": "sound", **{**Sound.of_rate(8000).to_plain(), "rate": "fast"}} | {"kind": "sound"}},
        {"medium": 3},
        {"channels": 5},
        {"channels": "3"},
    ],
)
def test_what_is_no_spec_is_refused(change):
    with pytest.raises((ValueError, TypeError, KeyError)):
        spec_from({"height": 16, "width": 16, "channels": 24, "classes": [], **change})


@pytest.mark.parametrize("spec", SPECS[1:], ids=str)
def test_augmentations_that_touch_colours_are_for_pictures(spec):
    for word in ("brightness", "contrast 0.1", "saturation", "noise"):
        assert augment.parse(word, "train.augment", SPECS[0])
        with pytest.raises(
            InputError, match=rf"train\.augment has {word.split()[0]}, which is for pictures .* there is: .*shift"
        ):
            augment.parse(word, "train.augment", spec)
    assert augment.parse("shift 0.1, scale", "train.augment", spec)


def test_a_medium_allows_only_words_that_there_are():
    known = {*augment.KINDS, *discriminator.WORDS}
    for medium in MEDIA:
        assert (medium.augmentations or frozenset()) <= known


def test_names_of_media_differ():
    for name in ("kind", "plural"):
        assert len({getattr(medium, name) for medium in MEDIA}) == len(MEDIA)
    assert all(issubclass(medium, Medium) for medium in MEDIA)


def test_doors_between_bytes_and_floats_are_exact():
    pixels = torch.arange(256, dtype=torch.uint8).reshape(1, 16, 16, 1)
    images = to_float(pixels)
    assert (images.min(), images.max()) == (-1, 1)
    assert torch.equal(to_uint8(images), pixels)
