"""Inversion comes nearer to its target."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from ganforge.base.errors import DataError
from ganforge.latent.inversion import invert, read
from ganforge.runs import RunFolder
from ganforge.sampling import sample
from tiny import GREY


@pytest.mark.parametrize("name", ["stylegan2", "vae"])
def test_projection_comes_nearer(name, runs):
    system = RunFolder(runs / name).build()
    target = sample(RunFolder(runs / name), [1000])[0]
    result = invert(system, target, 60)
    before = np.sqrt(np.square(result.start.astype(float) - target).mean())
    assert result.error < 0.6 * before
    tensors = result.tensors
    with torch.no_grad():
        again = system.synthesis(**tensors) if name == "stylegan2" else system.generate(tensors["latents"])
    assert np.abs((again[0, 0].numpy() + 1) * 127.5 - result.picture[:, :, 0]).max() < 1


def test_a_device_is_no_picture():
    """It has no end and filled the memory."""
    with pytest.raises(DataError, match="not a regular file"):
        read(Path("/dev/zero"), GREY)
