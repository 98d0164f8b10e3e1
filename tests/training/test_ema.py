"""The exponential moving average of weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from ganforge import models
from ganforge.media.spec import Spec
from ganforge.sampling import drawn, pictures
from ganforge.testing import make_store
from ganforge.training import ema

torch.manual_seed(0)


def test_average_of_weights_follows_its_half_life():
    one, other = nn.BatchNorm1d(1), nn.BatchNorm1d(1)
    nn.init.zeros_(one.weight)
    for _ in range(10):
        ema.update(one, other, ema.keep(ema.half_life(1000, 1.0, 0, 10**9), 100))
    assert one.weight.item() == pytest.approx(0.5, rel=1e-5)
    assert ema.keep(ema.half_life(1000, 0.05, 0, 100), 100) == pytest.approx(0.5**20)
    assert ema.keep(0.0, 100) == 0


def test_half_life_grows_by_the_images_seen_or_along_a_cosine():
    assert [ema.half_life(1000, 0.05, 0, seen) for seen in (0, 10_000, 10**6)] == [0, 500, 1000]
    grown = [ema.half_life(1000, 0.05, 400, seen) for seen in (0, 100, 200, 400, 10**6)]
    assert grown == pytest.approx([0, 146.4466, 500, 1000, 1000])


@pytest.mark.parametrize("conditional", [False, True])
def test_renewed_statistics_are_those_of_samples(tmp_path, conditional):
    store = make_store(tmp_path / "store", Spec(8, 8, 1, ("a", "b", "c")), 60)
    loaded = models.load("dcgan")
    config = loaded.config(width=4, latent=3, discriminator="classic", conditional=conditional)
    system = loaded.system(config, store.spec)
    for norm in (*system.generator.norms, *(m for m in system.discriminator.modules() if hasattr(m, "running_mean"))):
        norm.running_mean.fill_(7)
        norm.num_batches_tracked.fill_(5)
    ema.renew_statistics(system, store)
    assert not system.training
    norm, seen = system.generator.norms[0], []
    norm.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach()))
    seeds = range(ema.MOST)
    labels = drawn(seeds, np.bincount(store.labels[store.train])) if conditional else None
    for portion in pictures(system, seeds, labels):
        assert len(portion)
    inputs = torch.cat(seen)
    assert norm.running_mean.numpy() == pytest.approx(inputs.mean((0, 2, 3)).numpy(), abs=1e-5)
    assert norm.running_var.numpy() == pytest.approx(inputs.var((0, 2, 3)).numpy(), rel=0.02)
    assert norm.momentum == 0.1 and norm.num_batches_tracked == 5
    unused = [m for m in system.discriminator.modules() if isinstance(m, nn.BatchNorm2d)]
    assert all((m.running_mean == 7).all() for m in unused), "generating does not run through them"


def test_statistics_are_left_where_nothing_is_generated_or_normalised(tmp_path):
    store = make_store(tmp_path / "store", Spec(8, 8, 1), 20)
    for name in ("wgan_gp", "dae"):
        loaded = models.load(name)
        system = loaded.system(loaded.config(), store.spec)
        before = {key: value.clone() for key, value in system.state_dict().items() if "num_batches" not in key}
        system.generates = False
        ema.renew_statistics(system, store)
        assert all(torch.equal(system.state_dict()[key], value) for key, value in before.items())
