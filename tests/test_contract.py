"""Every system keeps the contract, at every kind of picture."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
import torch

from ganforge import models
from ganforge.media.spec import Spec
from ganforge.system import base_grid
from ganforge.testing import check_system

TINY = {"width": 8, "latent": 16}
TINIER = {"prior": 32, "depth": 1, "codes": 16}
SPECS = {
    "grey 16x16": Spec(16, 16, 1),
    "colour 32x32": Spec(32, 32, 3),
    "colour 24x32": Spec(24, 32, 3),
    "RGBA 17x13": Spec(17, 13, 4),
    "labelled 28x28": Spec(28, 28, 1, ("a", "b", "c")),
}


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("name", models.names())
def test_contract(name, spec, tmp_path):
    loaded, wanted = models.load(name), SPECS[spec]
    if loaded.system.needs_labels(loaded.config()):
        wanted = replace(wanted, classes=("a", "b", "c"))
    known = {field.name for field in fields(loaded.config)}
    check_system(name, wanted, tmp_path, {word: value for word, value in {**TINY, **TINIER}.items() if word in known})


LABELLED = Spec(16, 16, 3, ("a", "b", "c"))


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("gan", {"conditional": True}),
        ("dcgan", {"conditional": True}),
        ("dcgan", {"conditional": True, "discriminator": "classic"}),
        ("vae", {"conditional": True}),
        ("cgan", {"condition": "concatenation"}),
        ("sagan", {"labels": "none"}),
    ],
)
def test_contract_with_and_without_labels(name, settings, tmp_path):
    check_system(name, LABELLED, tmp_path, {**TINY, **settings})


def test_classic_discriminator_and_augmentation(tmp_path):
    settings = {**TINY, "discriminator": "classic", "augment": "color, translation,cutout"}
    check_system("dcgan", Spec(16, 24, 3), tmp_path, settings)


@pytest.mark.parametrize(
    ("size", "grid"), [((28, 28), (7, 7, 2)), ((32, 32), (4, 4, 3)), ((48, 64), (6, 8, 3)), ((30, 30), (8, 8, 2))]
)
def test_base_grid(size, grid):
    assert base_grid(Spec(*size, 3)) == grid


def test_a_latent_depends_on_its_seed_alone():
    loaded = models.load("gan")
    system = loaded.system(loaded.config(), Spec(8, 8, 1))
    assert torch.equal(system.latents([3, 9, 4])[1], system.latents([9])[0])
    assert not torch.equal(system.latents([3])[0], system.latents([4])[0])


def test_the_textbook_sizes_are_the_default_of_gan():
    loaded = models.load("gan")
    system = loaded.system(loaded.config(), Spec(28, 28, 1))
    widths = [
        [m.out_features for m in part if isinstance(m, torch.nn.Linear)]
        for part in (system.generator, system.discriminator)
    ]
    assert widths == [[256, 512, 1024, 784], [1024, 512, 256, 1]]


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
            said = system.loss(Batch(images, None, 0))
            optimizer.zero_grad()
            said["loss"].backward()
            optimizer.step()
        kl[beta] = said["kl"].item()
    assert kl[50.0] < 0.5 * kl[0.0]
    assert system.encode(images).shape == (64, 8)
