"""srgan: two phases, and the strength between their weights."""

from __future__ import annotations

import pytest
import torch

from ganforge import models
from ganforge.media.pair import Pair
from ganforge.media.spec import Spec
from ganforge.system import Batch
from ganforge.testing import make_store
from ganforge.transforms.resize import resized


@pytest.fixture
def system():
    loaded = models.load("srgan")
    torch.manual_seed(0)
    return loaded.system(loaded.config(width=8, depth=2, alone=64), Spec(32, 32, 3))


def learn(system, phase, times=3):
    optimizer = torch.optim.Adam(system.get_submodule(phase.learns[0]).parameters(), 1e-2)
    for _ in range(times):
        loss = phase.loss(Batch(torch.rand(4, 3, 32, 32) * 2 - 1, torch.zeros(4, dtype=torch.int64), 0))["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def test_untrained_it_is_bicubic(system):
    small = torch.rand(2, 3, 5, 7) - 0.5
    torch.testing.assert_close(system.restore(small), resized(small, 20, 28))


def test_it_learns_from_pictures_alone(tmp_path, fails):
    make_store(tmp_path / "store", Spec(8, 8, 4, medium=Pair(1, ("3 #ff0000", "9 #00ff00"))))
    words = ("train", "srgan", tmp_path / "store", "--out", tmp_path / "run", "--images", 16)
    message = fails(*words, "--model.degradation", "none")
    assert "srgan learns from pictures, and" in message and "pix2pix" in message


def test_phases_follow_one_another_and_the_second_begins_with_the_first(system):
    faithful, generator, discriminator = system.phases()
    assert faithful.until == generator.since == discriminator.since == 64
    learn(system, faithful)
    faithful.loss(Batch(torch.zeros(1, 3, 32, 32), torch.zeros(1, dtype=torch.int64), 0))
    for mine, theirs in zip(system.generator.parameters(), system.faithful.parameters(), strict=True):
        assert torch.equal(mine, theirs)


@torch.no_grad()
def test_strength_interpolates_the_weights(system):
    for p in system.parameters():
        p.add_(torch.randn_like(p) * 0.05)
    small = torch.rand(2, 3, 6, 6) * 2 - 1
    whole = {s: system.restore(small, strength=s) for s in (0.0, 0.5, 1.0, None)}
    assert torch.equal(whole[0.0], system.faithful(small).clamp(-1, 1))
    assert torch.equal(whole[None], system.generator(small).clamp(-1, 1))
    torch.testing.assert_close(whole[1.0], whole[None])
    middle = system.generator
    for p, q in zip(middle.parameters(), system.faithful.parameters(), strict=True):
        p.copy_((p + q) / 2)
    torch.testing.assert_close(whole[0.5], middle(small).clamp(-1, 1))


def test_the_discriminator_learns_from_the_same_step(system):
    _, generator, discriminator = system.phases()
    batch = Batch(torch.rand(4, 3, 32, 32) * 2 - 1, torch.zeros(4, dtype=torch.int64), 64)
    assert {"db", "matching", "adversarial"} < generator.loss(batch).keys()
    loss = discriminator.loss(batch)["loss"]
    loss.backward()
    assert all(p.grad is None for p in system.generator.parameters())
    assert any(p.grad is not None for p in system.discriminator.parameters())


@torch.no_grad()
def test_a_pixel_depends_on_the_receptive_field_alone(system):
    for p in system.parameters():
        p.add_(torch.randn_like(p) * 0.05)
    small = torch.rand(1, 3, 21, 21) - 0.5
    changed, middle = small.clone(), 10
    radius = system.receptive_radius
    changed[:, :, middle, middle] += 0.3
    moved = (system.restore(small) != system.restore(changed)).any(1)[0].nonzero() // system.scale
    assert middle - radius <= moved.min() and moved.max() <= middle + radius
