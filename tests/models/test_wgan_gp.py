"""The gradient penalty of wgan_gp against float64, and its schedule."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ganforge import models
from ganforge.media.spec import Spec

SPEC = Spec(16, 16, 1, ("a", "b", "c"))


def build(name, **settings):
    torch.manual_seed(0)
    loaded = models.load(name)
    return loaded.system(loaded.config(**{"width": 8, "latent": 8, **settings}), SPEC)


def test_the_gradient_penalty_is_that_of_float64_by_finite_differences():
    system = build("wgan_gp").double()
    reals, fakes = torch.rand(6, 1, 16, 16, dtype=torch.float64), torch.rand(6, 1, 16, 16, dtype=torch.float64)
    torch.manual_seed(3)
    penalty = system.penalty(reals, fakes)
    torch.manual_seed(3)
    share = torch.rand(6, 1, 1, 1, dtype=torch.float64)

    def height(images):
        return system.critic.score(system.critic.features(images).permute(0, 2, 3, 1).flatten(1))[:, 0]

    between, step = (1 - share) * reals + share * fakes, 1e-6
    expected = []
    for one in between:
        moved = one[None] + step * torch.eye(256, dtype=torch.float64).reshape(256, 1, 16, 16)
        back = one[None] - step * torch.eye(256, dtype=torch.float64).reshape(256, 1, 16, 16)
        slope = (height(moved) - height(back)) / (2 * step)
        expected.append((slope.norm() - 1) ** 2)
    torch.testing.assert_close(penalty, torch.stack(expected).mean(), rtol=1e-5, atol=1e-7, check_dtype=False)


def test_the_gradient_penalty_teaches_what_float64_does():
    """In float32 within 1e-4; in bf16, as the loop runs it on most machines, within 3 %."""
    system, result = build("wgan_gp"), []
    reals, fakes = torch.rand(6, 1, 16, 16), torch.rand(6, 1, 16, 16)
    share = torch.rand(6, 1, 1, 1)
    for dtype, low in ((torch.float32, False), (torch.float32, True), (torch.float64, False)):
        system.to(dtype).zero_grad()
        between = torch.lerp(reals, fakes, share).to(dtype)
        with pytest.MonkeyPatch.context() as patch, torch.autocast("cpu", torch.bfloat16, enabled=low):
            patch.setattr(torch, "rand", lambda *_, dtype=dtype, **__: torch.zeros(6, 1, 1, 1, dtype=dtype))
            penalty = system.penalty(between, between)
        assert penalty.dtype == dtype
        penalty.backward()  # where the loop has it: outside of autocast
        result.append(torch.cat([p.grad.double().flatten() for p in system.critic.parameters() if p.grad is not None]))
    single, half, double = result
    assert (single - double).norm() < 1e-4 * double.norm()
    assert (half - double).norm() < 3e-2 * double.norm()


def test_the_critic_learns_every_step_and_the_generator_every_fifth():
    phases = {phase.name: (phase.learns, phase.every) for phase in build("wgan_gp").phases()}
    assert phases == {"critic": (("critic",), 1), "generator": (("generator",), 5)}
    assert {phase.every for phase in build("wgan_gp", critic_steps=2).phases()} == {1, 2}
    system = build("wgan_gp")
    assert not [m for m in system.critic.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
