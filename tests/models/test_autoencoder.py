"""Autoencoders restore by way of their code."""

from __future__ import annotations

import pytest
import torch

from ganforge import models
from ganforge.media.spec import Spec


@pytest.mark.parametrize("name", ["autoencoder", "vae", "vqvae"])
def test_autoencoders_restore_by_way_of_their_code(name):
    loaded = models.load(name)
    torch.manual_seed(0)
    system = loaded.system(loaded.config(width=8), Spec(17, 13, 4)).eval()
    images = torch.rand(2, 4, 17, 13) * 2 - 1
    output = system.restore(images)
    assert output.shape == images.shape
    assert output.abs().max() <= 1
