"""The weight of the VAE's prior."""

from __future__ import annotations

import torch

from ganforge import models
from ganforge.media.spec import Spec


def test_beta_weighs_the_prior_of_the_vae():
    """With beta 0 nothing pulls the code to the prior; with a large one it carries almost nothing."""
    from ganforge.system import Batch

    loaded, spec = models.load("vae"), Spec(16, 16, 1)
    images = torch.rand(64, 1, 16, 16) * 2 - 1
    kl = {}
    for beta in (0.0, 50.0):
        torch.manual_seed(0)
        system = loaded.system(loaded.config(width=8, latent=8, beta=beta), spec)
        optimizer = torch.optim.Adam(system.parameters(), 3e-3)
        for _ in range(60):
            report = system.loss(Batch(images, None, 0))
            optimizer.zero_grad()
            report["loss"].backward()
            optimizer.step()
        kl[beta] = report["kl"].item()
    assert kl[50.0] < 0.5 * kl[0.0]
    assert system.encode(images).shape == (64, 8)
