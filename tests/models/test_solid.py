"""solid: shapes of cubes, blocks of voxels, classes, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ganforge import models
from ganforge.collecting import shapes
from ganforge.media.solid import Solid
from ganforge.media.spec import Spec, to_float
from ganforge.models import solid
from ganforge.preparing.parts import Meta
from ganforge.sampling import sample
from ganforge.system import Batch
from ganforge.testing import make_store, store_of
from ganforge.training.train import train


def spec(side: int, classes: tuple[str, ...] = ()) -> Spec:
    return Spec(side, side, side, classes, medium=Solid())


def test_blocks_and_back_are_the_same_voxels_in_the_same_place():
    x = torch.arange(2 * 3 * 4 * 6 * 8).reshape(2, 3, 4, 6, 8)
    blocks = solid.to_blocks(x)
    assert blocks.shape == (2, 24, 2, 3, 4)
    assert torch.equal(solid.from_blocks(blocks), x)
    assert torch.equal(blocks[:, 0], x[:, 0, ::2, ::2, ::2])
    assert torch.equal(blocks[:, 7], x[:, 0, 1::2, 1::2, 1::2])


@pytest.mark.parametrize("side", [8, 9, 18, 24, 31, 32, 40])
def test_cubes_of_every_side(side):
    base, doublings = solid.base_cube(spec(side))
    assert base <= 5 and base * 2 ** (doublings + 1) >= side
    system = solid.Solid(solid.Config(width=4, latent=8, widest=8), spec(side, ("a", "b")))
    images = system.generate(system.latents([1, 2]), torch.tensor([0, 1]))
    assert images.shape == (2, side, side, side) and images.abs().max() <= 1
    assert system.discriminator(images, torch.tensor([0, 1])).shape == (2,)


def test_one_backward_pass_reaches_both_networks():
    system = solid.Solid(solid.Config(width=4, latent=8), spec(16, ("a", "b")))
    batch = Batch(torch.rand(4, 16, 16, 16) * 2 - 1, torch.tensor([0, 1, 0, 1]), 0)
    system.loss(batch)["loss"].backward()
    for name, parameter in system.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.ndim == 1 or parameter.grad.any(), name  # that of a bias may balance


def test_solids_of_two_kinds_are_learned(tmp_path):
    """A few steps: what it makes of each class has more of the voxels of that class."""
    rows, metas = [], []
    for n in range(64):
        row = np.zeros((16, 16, 16), np.uint8)
        row[2 + n % 3 : 12, 3:13, :6] = 255 * (n % 2 == 0)
        row[4:11, 5:12, 9 + n % 3 :] = 255 * (n % 2)
        rows.append(row)
        metas.append(Meta(f"{n}.npy", "ab"[n % 2], "train"))
    store = store_of(tmp_path / "s", spec(16, ("a", "b")), np.stack(rows), metas)
    settings = {
        "model": {"width": 8, "latent": 8},
        "train": {"images": 1600, "batch": 16, "ema_images": 100, "measure": 0.0},
    }
    run = train("solid", store, tmp_path / "run", device_name="cpu", overrides=settings)
    low, high = (sample(run, range(8), label) > 127 for label in ("a", "b"))
    assert low[..., :6].mean() > 3 * low[..., 9:].mean()
    assert high[..., 9:].mean() > 3 * high[..., :6].mean()


def test_without_labels_where_there_are_none_or_none_are_wanted(tmp_path):
    for classes, labels in (((), "auto"), (("a", "b"), "none")):
        system = solid.Solid(solid.Config(width=4, latent=8, labels=labels), spec(16, classes))
        assert system.classes == 0
        assert system.generate(system.latents([1])).shape == (1, 16, 16, 16)
    assert solid.Solid(solid.Config(width=4), spec(16, ("a", "b"))).classes == 2


def test_it_learns_from_solids_alone_and_says_who_learns_from_what(tmp_path, fails):
    pictures = make_store(tmp_path / "pictures", Spec(16, 16, 3, ("a", "b")))
    message = fails("train", "solid", pictures.path)
    assert "solid learns from solids" in message and "stylegan2" in message
    solids = make_store(tmp_path / "solids", spec(16, ("a", "b")))
    message = fails("train", "inpaint", solids.path)
    assert "cgan" in message and "solid" in message and "dae" not in message.partition("there is:")[2]
    assert "which is for pictures and not for solids" in fails(
        "train", "solid", solids.path, "--model.augment", "color"
    )


@pytest.mark.parametrize("name", ["gan", "dcgan", "cgan", "vae", "wgan_gp", "sagan", "flow", "stylegan2"])
def test_older_systems_learn_from_slices_as_channels(name, tmp_path):
    """One step each."""
    store = make_store(tmp_path / "s", spec(16, ("a", "b")))
    loaded = models.load(name)
    assert name in models.of_medium(Solid)
    known = {"width": 8, "latent": 16, "depth": 1}
    settings = {word: value for word, value in known.items() if word in loaded.config.__dataclass_fields__}
    overrides = {"model": settings, "train": {"images": 16, "batch": 16, "precision": "fp32", "measure": 0.0}}
    run = train(name, store, tmp_path / "run", device_name="cpu", overrides=overrides)
    assert sample(run, [1, 2]).shape == (2, 16, 16, 16)


def test_made_shapes_keep_their_place_through_the_doors():
    row = shapes.shape("chair", 0)
    images = to_float(torch.from_numpy(row[None]))
    assert images.shape == (1, 32, 32, 32)
    assert torch.equal(images[0, 20] > 0, torch.from_numpy(row[:, :, 20] > 127)), "channels are slices upwards"
