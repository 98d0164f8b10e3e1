"""pix2pix: maps of ids, small pictures, phases."""

from __future__ import annotations

import pytest
import torch

from ganforge import models
from ganforge.base.errors import InputError
from ganforge.media.pair import Pair
from ganforge.media.spec import Spec
from ganforge.system import Batch
from ganforge.testing import check_system
from ganforge.transforms.degrade import brightness

TINY = {"width": 8, "depth": 1, "blocks": 1}


def new(spec, **settings):
    loaded = models.load("pix2pix")
    config = loaded.config(**TINY, **settings)
    loaded.system.check(config, spec)
    torch.manual_seed(0)
    return loaded.system(config, spec)


@pytest.mark.parametrize("medium", [Pair(1), Pair(1, ("0 #000000", "7 #ff0000", "9 #00ff00"))])
def test_contract_with_pairs(medium, tmp_path):
    check_system("pix2pix", Spec(16, 20, 4, medium=medium), tmp_path, TINY)


def test_single_pictures_need_a_degradation():
    with pytest.raises(InputError, match="is given nothing"):
        new(Spec(16, 16, 3))
    assert new(Spec(16, 16, 3), degradation="grey").given == 1


@torch.no_grad()
def test_any_size_and_scale():
    system = new(Spec(32, 32, 3), degradation="down 2, grey")
    for p in system.generator.parameters():
        p.add_(torch.randn_like(p) * 0.1)
    assert system.restore(torch.rand(2, 1, 9, 11)).shape == (2, 3, 18, 22)
    one = system.restore(torch.rand(1, 1, 9, 11).expand(2, 1, 9, 11))
    assert torch.equal(one[0], one[1]), "a picture depends on its company"


def test_the_adversary_begins_late_with_the_faithful_network():
    system = new(Spec(32, 32, 3), degradation="grey", alone=8)
    images, labels = torch.rand(2, 3, 32, 32) * 2 - 1, torch.zeros(2, dtype=torch.int64)
    batch = Batch(images, labels, 8)
    assert "adversarial" not in system.faithful_loss(batch)
    assert "adversarial" in system.generator_loss(batch)
    assert system.discriminator_loss(batch)["loss"] > 0
    assert [(phase.since, phase.until) for phase in system.phases()] == [(0, 8), (8, 2**62), (8, 2**62)]


@torch.no_grad()
def test_strength_interpolates_the_networks():
    system = new(Spec(16, 16, 3), degradation="noise 0.1")
    for p in system.faithful.parameters():
        p.add_(torch.randn_like(p) * 0.05)
    given = torch.rand(1, 3, 16, 16) * 2 - 1
    made = {strength: system.restore(given, strength=strength) for strength in (None, 0, 0.5, 1)}
    assert torch.equal(made[0], system._made(given, system.faithful).clamp(-1, 1))
    assert torch.equal(made[None], made[1]) and not torch.allclose(made[0], made[1], atol=1e-3)
    assert not torch.allclose(made[0.5], made[0], atol=1e-4) and not torch.allclose(made[0.5], made[1], atol=1e-4)
    system.follow()
    assert torch.equal(system.restore(given), made[0])


@torch.no_grad()
def test_a_worse_picture_is_added_to_and_colours_keep_the_given_brightness():
    images = torch.rand(2, 3, 16, 16) * 1.8 - 0.9
    for text, adds in (("noise 0.1", True), ("grey", True), ("edges 0.1", False)):
        system = new(Spec(16, 16, 3), degradation=text)
        given, _, _ = system.pair(images)
        made = system.restore(given)
        assert torch.allclose(made, given.expand_as(made), atol=1e-5) == adds, "the network returns 0 at first"
    system = new(Spec(16, 16, 3), degradation="grey")
    given, _, _ = system.pair(images)
    for p in system.generator.parameters():
        p.add_(torch.randn_like(p) * 0.02)
    made = system._made(given, system.generator)
    assert not torch.allclose(made, given.expand_as(made), atol=0.01)
    assert torch.allclose(brightness(made), given, atol=1e-5)
