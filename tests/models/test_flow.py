"""flow: Heun's method by its order, guidance, several answers."""

from __future__ import annotations

import math

import pytest
import torch

from ganforge import models
from ganforge.base.errors import InputError
from ganforge.media.clip import Clip
from ganforge.media.pair import Pair
from ganforge.media.spec import Spec
from ganforge.models.flow import DEVIATION, heun, spread
from ganforge.testing import check_system

TINY = {"width": 8, "depth": 1, "blocks": 1, "steps": 2}
LABELLED = Spec(16, 16, 1, ("a", "b", "c"))


def new(spec, **settings):
    loaded = models.load("flow")
    config = loaded.config(**{**TINY, **settings})
    loaded.system.check(config, spec)
    torch.manual_seed(0)
    system = loaded.system(config, spec)
    with torch.no_grad():
        for p in system.parameters():
            p.add_(torch.randn_like(p) * 0.1)
    return system.eval()


def test_heuns_method_has_order_two():
    start = torch.ones(1, dtype=torch.float64)
    errors = [
        (heun(lambda x, t: x * math.cos(3 * t), start, n) - math.exp(math.sin(3) / 3)).abs().item() for n in (200, 400)
    ]
    assert 3.8 < errors[0] / errors[1] < 4.2


@torch.no_grad()
def test_untrained_it_turns_noise_into_pictures_without_structure_of_the_usual_deviation():
    """The network returns 0, so that the velocity is the best linear estimate, whose flow is known."""
    loaded = models.load("flow")
    system = loaded.system(loaded.config(**{**TINY, "steps": 200}), Spec(16, 16, 3))
    noise = 0.3 * torch.randn(2, 3, 16, 16)
    made = system.generate(noise.flatten(1))
    torch.testing.assert_close(made, DEVIATION * noise, atol=1e-3, rtol=1e-3)


@torch.no_grad()
def test_the_networks_part_has_variance_one():
    """For normal pictures, what the best linear estimate of the velocity lacks, in units of d / s."""
    pictures, noise = DEVIATION * torch.randn(100_000, dtype=torch.float64), torch.randn(100_000, dtype=torch.float64)
    for t in (0.1, 0.5, 0.9):
        x, s = t * pictures + (1 - t) * noise, spread(torch.tensor([t], dtype=torch.float64))
        rest = (pictures - noise - x * (t * DEVIATION**2 - (1 - t)) / s**2) * s / DEVIATION
        assert abs(rest.std() - 1) < 0.01 and abs((x / s).std() - 1) < 0.01
        assert abs((rest * x).mean()) < 0.01


@pytest.mark.parametrize(
    ("spec", "settings"),
    [
        (LABELLED, {"conditional": True, "guidance": 1.5}),
        (Spec(16, 16, 3), {"degradation": "down 2"}),
        (Spec(16, 20, 3), {"degradation": "strokes 0.1..0.4"}),
        (Spec(16, 20, 3), {"degradation": "grey"}),
        (Spec(16, 16, 4, medium=Pair(1, ("3 #ff0000", "9 #00ff00"))), {}),
    ],
)
def test_contract_of_flows(spec, settings, tmp_path):
    check_system("flow", spec, tmp_path, {**TINY, **settings})


@torch.no_grad()
def test_guidance_one_is_none():
    systems = [new(LABELLED, conditional=True, guidance=g) for g in (1.0, 1.000001, 3.0)]
    labels = torch.tensor([0, 2])
    plain, nearly, strong = (system.generate(system.latents([5, 6]), labels) for system in systems)
    torch.testing.assert_close(plain, nearly, atol=1e-4, rtol=0)
    assert (plain - strong).abs().max() > 1e-3


@torch.no_grad()
def test_frames_of_clips_are_made_or_filled():
    spec = Spec(16, 16, 4, medium=Clip(4, 10.0))
    clips = new(spec)
    assert clips.generate(clips.latents([1, 2])).shape == (2, 4, 16, 16)
    system = new(spec, degradation="frames 1..2")
    given, _, holes = system.pair(torch.rand(3, 4, 16, 16) * 2 - 1)
    made = system.restore(given, holes=holes, latents=system.fields([1, 2, 3], 16, 16))
    assert torch.equal(made[holes == 0], given[holes == 0]) and not torch.equal(made, given)


@torch.no_grad()
def test_each_seed_is_another_answer():
    system = new(Spec(16, 16, 3), degradation="strokes 0.3")
    given, _, holes = system.pair(torch.rand(2, 3, 16, 16) * 2 - 1)
    one, two = (system.restore(given, holes=holes, latents=system.fields([s, s], 16, 16)) for s in (1, 2))
    known = (holes == 0).expand_as(given)
    assert torch.equal(one[known], given[known]) and torch.equal(two[known], given[known])
    assert not torch.equal(one, two)


def test_by_class_or_restoring_not_both():
    with pytest.raises(InputError, match="by class or restores"):
        new(Spec(16, 16, 3, ("a", "b")), conditional=True, degradation="grey")


def test_crops_are_of_what_is_restored():
    with pytest.raises(InputError, match=r"model\.patch is 16, which takes a flow that restores"):
        new(LABELLED, patch=16)
    new(Spec(16, 16, 3), patch=16, degradation="grey")
    new(Spec(16, 16, 4, medium=Pair(1)), patch=16)


def test_guidance_is_by_class():
    with pytest.raises(InputError, match="is 3, which takes a flow that generates by class"):
        new(LABELLED, guidance=3.0)
