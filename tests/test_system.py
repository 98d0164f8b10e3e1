"""The base classes of systems: base grid, latents, truncation."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ganforge import models
from ganforge.media.spec import Spec
from ganforge.sampling import pictures
from ganforge.system import Batch, base_grid, channels, gamma_by_side, growth, rate_by_side, width_by
from tiny import new


@pytest.mark.parametrize("name", ["stylegan", "stylegan2"])
def test_truncation_and_w_avg(name):
    system = new(name)
    batch = Batch(torch.zeros(64, 1, 16, 16), None, 0)
    for _ in range(300):
        system.generator.mapping.track(system.generator.mapping(system.noise(batch)))
    mean = system.generator.mapping(torch.randn(4096, 16)).mean(0)
    assert (system.w_avg() - mean).norm() < 0.15 * mean.norm()
    none, all_, plain = (next(pictures(system, range(6), truncation=psi)) for psi in (0.0, 1.0, 1))
    assert len(np.unique(none.reshape(6, -1), axis=0)) == 1
    assert np.array_equal(all_, plain)
    half = next(pictures(system, range(6), truncation=0.5)).astype(float)
    assert half.std(0).mean() < plain.astype(float).std(0).mean()


@pytest.mark.parametrize(
    ("size", "grid"), [((28, 28), (7, 7, 2)), ((32, 32), (4, 4, 3)), ((48, 64), (6, 8, 3)), ((30, 30), (8, 8, 2))]
)
def test_base_grid(size, grid):
    assert base_grid(Spec(*size, 3)) == grid


def test_channels_double_with_each_halving_up_to_the_widest():
    assert channels(16, 0, 5) == [16, 32, 64, 128, 128, 128]
    assert channels(16, 512, 6) == [16, 32, 64, 128, 256, 512, 512]
    assert channels(64, 32, 2) == [32, 32, 32]


def test_rules_by_the_side():
    sides = (28, 64, 128, 256, 512, 1024)
    specs = [Spec(side, 2 * side, 3) for side in sides]
    assert [width_by(16384, 512).value(spec, 0) for spec in specs] == [512, 256, 128, 64, 32, 16]
    assert width_by(8192, 512).value(Spec(30, 200, 3), 0) == 272
    assert [gamma_by_side().value(spec, 0) for spec in specs] == [1, 1, 1.28, 2.56, 5.12, 10]
    assert [rate_by_side().value(spec, 0) for spec in specs] == [0.001, 0.001, 0.0015, 0.002, 0.003, 0.003]
    grown = [growth(600_000, 0.8).value(spec, 12_000_000) for spec in specs]
    assert grown == [600_000] * len(sides)
    assert growth(600_000, 0.8).value(specs[-1], 6_000_000) == 300_000  # 8 doublings


def test_a_latent_depends_on_its_seed_alone():
    loaded = models.load("gan")
    system = loaded.system(loaded.config(), Spec(8, 8, 1))
    assert torch.equal(system.latents([3, 9, 4])[1], system.latents([9])[0])
    assert not torch.equal(system.latents([3])[0], system.latents([4])[0])
