"""A size that does not fit into memory."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ganforge.base.errors import RunError, is_short
from ganforge.media.spec import Spec
from ganforge.runs import RunFolder
from ganforge.store.store import Store
from ganforge.testing import make_store
from ganforge.training.train import train
from ganforge.training.trainer import Trainer

LOOP = {"model": {"latent": 8}, "train": {"images": 64, "batch": 16, "precision": "fp32"}}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return make_store(tmp_path / "store", Spec(8, 8, 1), 60)


@pytest.fixture
def limited(monkeypatch):
    """Steps of `gan` with more than so many units need too much memory."""

    def to(width: int) -> None:
        step = Trainer.step

        def short(self):
            if self.system.config.width > width:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 96.00 GiB.")
            step(self)

        monkeypatch.setattr(Trainer, "step", short)

    return to


@pytest.mark.parametrize(("units", "advice"), [(256, "--size medium fits"), (128, "--size small fits")])
def test_the_size_that_fits_is_named(store, tmp_path, limited, units, advice):
    limited(units)
    with pytest.raises(RunError, match=f"batches of 16 needs more memory than there is here. {advice}") as caught:
        train("gan", store, tmp_path / "r", size="large", overrides=LOOP)
    assert not (tmp_path / "r" / "run.toml").exists()
    assert caught.value.exit_code == 1
    size = advice.split()[1]
    assert train("gan", store, tmp_path / "r", size=size, overrides=LOOP).load()[1]["seen"] == 64


def test_where_no_size_fits_the_batch_is_named(store, tmp_path, limited):
    limited(8)
    for size in ("large", "small", None):
        with pytest.raises(RunError, match=r"Take a smaller --train\.batch"):
            train("gan", store, tmp_path / "r", size=size, overrides=LOOP)


def test_networks_that_cannot_be_built_are_short_of_memory(store, tmp_path, monkeypatch):
    def none(self):
        error = RunError("gan cannot be built here")
        raise error from MemoryError()

    build = RunFolder.new_system
    monkeypatch.setattr(
        RunFolder, "new_system", lambda self: none(self) if self.section("model")["width"] > 128 else build(self)
    )
    with pytest.raises(RunError, match="--size small fits"):
        train("gan", store, tmp_path / "r", size="medium", overrides=LOOP)


def test_other_errors_are_not_about_memory(store, tmp_path, monkeypatch):
    monkeypatch.setattr(Trainer, "step", lambda self: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        train("gan", store, tmp_path / "r", overrides=LOOP)
    assert not is_short(RuntimeError("shapes do not match"))
    assert is_short(RuntimeError("DefaultCPUAllocator: can't allocate memory"))
