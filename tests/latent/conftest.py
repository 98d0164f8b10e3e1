"""Runs whose latent space is looked into."""

from __future__ import annotations

import pytest

from ganforge.testing import make_store
from ganforge.training.train import train
from tiny import GREY, TINY


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A run of stylegan2 and one of vae, after a few steps."""
    folder = tmp_path_factory.mktemp("runs")
    store = make_store(folder / "store", GREY)
    loop = {"images": 32, "batch": 16, "precision": "fp32"}
    for name in ("stylegan2", "vae"):
        train(name, store, folder / name, size="small", device_name="cpu", overrides={"model": TINY, "train": loop})
    return folder
