"""What picture-to-picture systems are given, and that the contract holds."""

from __future__ import annotations

import pytest
import torch

from ganforge import models
from ganforge.base.errors import InputError
from ganforge.image_to_image import random_crops
from ganforge.media.clip import Clip
from ganforge.media.pair import Pair
from ganforge.media.spec import Spec, to_float
from ganforge.testing import check_system


def new(name, spec, **settings):
    loaded = models.load(name)
    config = loaded.config(**settings)
    loaded.system.check(config, spec)
    return loaded.system(config, spec)


PAIRS = Spec(12, 14, 4, medium=Pair(1))


@pytest.mark.parametrize(
    ("spec", "degradation"),
    [
        (Spec(12, 14, 3), "down 2, noise 0..0.1"),
        (Spec(13, 10, 1), "down 3"),
        (Spec(12, 12, 4), "strokes 0.1..0.5"),
        (Spec(12, 12, 3), "grey"),
        (PAIRS, "none"),
    ],
)
def test_the_contract(every_door, tmp_path, spec, degradation):
    check_system(every_door, spec, tmp_path / "run", {"degradation": degradation})


def test_what_follows_from_the_degradation(every_door):
    for degradation, doors in {
        "down 4": (3, 3, 4, False),
        "grey, jpeg 50": (1, 3, 1, False),
        "boxes 1..2, noise 0.1": (3, 3, 1, True),
    }.items():
        system = new(every_door, Spec(16, 20, 3), degradation=degradation)
        assert (system.given, system.wanted, system.scale, system.fills) == doors
        given, wanted, holes = system.pair(torch.zeros(2, 3, 18, 21))
        side = 18 // system.scale, 21 // system.scale
        assert given.shape == (2, system.given, *side)
        assert wanted.shape == (2, 3, side[0] * system.scale, side[1] * system.scale)
        assert (holes is not None) == system.fills


def test_pairs_are_split(every_door):
    system = new(every_door, PAIRS, degradation="")
    images = torch.rand(2, 4, 12, 14)
    given, wanted, holes = system.pair(images)
    assert torch.equal(given, images[:, :1]) and torch.equal(wanted, images[:, 1:]) and holes is None
    left, right = system.examples(images).unbind(1)
    assert torch.equal(right, images) and torch.equal(left[:, :1], given)


def test_maps_of_ids_are_encoded_as_planes(every_door):
    spec = Spec(4, 5, 4, medium=Pair(1, ("3 #ff0000", "9 #00ff00", "200 #0000ff")))
    system = new(every_door, spec, degradation="")
    numbers = torch.randint(3, (2, 4, 5, 1), dtype=torch.uint8)
    planes = system.encoded(to_float(numbers))
    assert planes.shape == (2, 3, 4, 5) and torch.equal(planes.argmax(1), numbers[..., 0].long())
    assert (planes.sum(1) == 1).all()
    pictures = torch.rand(1, 1, 4, 5)
    assert new(every_door, PAIRS, degradation="").encoded(pictures) is pictures


def test_examples_have_the_size_of_the_pictures(every_door):
    system = new(every_door, Spec(9, 10, 4), degradation="down 4, grey").eval()
    given, _, wanted = system.examples(torch.rand(2, 4, 9, 10)).unbind(1)
    assert given.shape == (2, 4, 9, 10)
    assert (given[:, 3, :8, :8] == 1).all() and torch.equal(given[:, 0], given[:, 2])
    assert not wanted[..., 8:, :].any() and not wanted[..., 8:].any()


def test_fields_are_functions_of_the_seed_and_the_size(every_door):
    system = new(every_door, Spec(8, 8, 3), degradation="down 2")
    fields = system.fields([3, 5], 4, 6)
    assert fields.shape == (2, 3, 8, 12)
    assert torch.equal(fields[1:], system.fields([5], 4, 6))
    assert system.fields([0], 100, 100).std().item() == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize(
    ("spec", "degradation", "message"),
    [
        (Spec(8, 8, 3), "", "given nothing of the single pictures of this store.* or prepare pairs"),
        (Spec(8, 8, 3), "none", 'such as --model.degradation "down 2", or'),
        (PAIRS, "down 2", "The store holds pairs, which say what is given"),
        (Spec(8, 8, 1), "grey", "grey already"),
        (Spec(3, 8, 3), "down 4", "have 3x8 pixels"),
        (Spec(8, 8, 1, levels=((10.0, 200.0),)), "down 2", "without normalisation"),
    ],
)
def test_degradations_that_do_not_fit(every_door, spec, degradation, message):
    with pytest.raises(InputError, match=message):
        new(every_door, spec, degradation=degradation)


def test_holes_are_refused_by_a_system_that_fills_none(every_door, monkeypatch):
    monkeypatch.setattr(models.load(every_door).system, "fills", False)
    with pytest.raises(InputError, match="every_door fills no holes"):
        new(every_door, Spec(8, 8, 3), degradation="boxes 1")


def test_frames_of_clips_are_holes(every_door):
    spec = Spec(8, 8, 12, medium=Clip(4, 10.0))
    system = new(every_door, spec, degradation="frames 1..2")
    given, wanted, holes = system.pair(torch.ones(3, 12, 8, 8))
    assert torch.equal(given, wanted * (1 - holes)) and holes.shape == wanted.shape


def test_windows_are_parts_of_their_pictures():
    images = torch.arange(2 * 1 * 20 * 30).reshape(2, 1, 20, 30).float()
    cut = random_crops(images, 8)
    assert cut.shape == (2, 1, 8, 8)
    for picture, window in zip(images, cut, strict=True):
        top, left = divmod(int(window[0, 0, 0] - picture[0, 0, 0]), 30)
        assert torch.equal(window, picture[:, top : top + 8, left : left + 8])
    assert random_crops(images, 32) is images
