"""The weight of the VAE's prior, its bits per dimension, and the mixture that its pictures are made from."""

from __future__ import annotations

import math

import pytest
import torch

from ganforge import models
from ganforge.media.spec import Spec
from ganforge.runs import RunFolder
from ganforge.system import Batch
from ganforge.testing import make_store
from ganforge.training.train import train


def test_beta_weighs_the_prior_of_the_vae():
    """With beta 0 nothing pulls the code to the prior; with a large one it carries almost nothing."""
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


def test_bits_per_dimension_against_a_closed_form():
    """A decoder that gives grey, a code that knows nothing: then the bits are the entropy of the noise, log2 of its
    deviation in bytes times sqrt(2 pi e); each nat of the code more adds to them."""
    loaded, spec = models.load("vae"), Spec(32, 32, 1)
    system = loaded.system(loaded.config(width=8, latent=8), spec).eval()
    torch.manual_seed(0)
    pixels = (127.5 + 12 * torch.randn(256, 1, 32, 32)).round().clamp(0, 255)
    images = pixels / 127.5 - 1
    torch.nn.init.zeros_(system.autoencoder.to_latent.weight)
    torch.nn.init.zeros_(system.autoencoder.to_latent.bias)
    for parameter in list(system.autoencoder.decoder.parameters())[-2:]:
        torch.nn.init.zeros_(parameter)
    entropy = math.log2(float((pixels - 127.5).square().mean().sqrt()) * math.sqrt(2 * math.pi * math.e))
    assert system.bits(images, None) == pytest.approx(entropy, abs=0.002)
    with torch.no_grad():
        system.autoencoder.to_latent.bias[:8] = 10.0  # the means; 50 nats from N(0, 1) each
    assert system.bits(images, None) == pytest.approx(entropy + 8 * 50 / math.log(2) / spec.pixels, abs=0.02)


def test_levels_count_for_the_width_of_a_byte():
    """Half of the bytes in use, at half the width: the same picture in bytes has the same bits."""
    loaded, bits = models.load("vae"), []
    pixels = torch.randint(64, 192, (64, 1, 16, 16), generator=torch.Generator().manual_seed(0)).float()
    for levels in ((), ((64.0, 192.0),)):
        torch.manual_seed(0)
        system = loaded.system(loaded.config(width=8, latent=8), Spec(16, 16, 1, levels=levels)).eval()
        torch.nn.init.zeros_(system.autoencoder.to_latent.weight)
        torch.nn.init.zeros_(system.autoencoder.to_latent.bias)
        for parameter in list(system.autoencoder.decoder.parameters())[-2:]:
            torch.nn.init.zeros_(parameter)
        low, high = levels[0] if levels else (0.0, 255.0)
        bits.append(system.bits((pixels - low) * 2 / (high - low) - 1, None))
    assert bits[0] == pytest.approx(bits[1], abs=0.01)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> RunFolder:
    """A vae by class after a few steps."""
    folder = tmp_path_factory.mktemp("vae")
    store = make_store(folder / "store", Spec(8, 8, 1, ("a", "b", "c")), 600)
    loop = {"images": 3200, "batch": 32, "precision": "fp32", "report": 1600}
    model = {"width": 8, "latent": 4, "conditional": True, "lr": 3e-3}
    return train("vae", store, folder / "run", device_name="cpu", overrides={"model": model, "train": loop})


def test_mixture_is_a_part_of_the_checkpoint(run):
    tensors, _ = run.load()
    assert tensors["system.prior.weights"].shape[0] == 3
    assert not torch.equal(tensors["system.prior.mean"], torch.zeros(4))
    assert not any(name.startswith("average.prior") for name in tensors)
    built = run.build()
    assert torch.equal(built.prior.means, tensors["system.prior.means"])


def test_latent_of_a_picture_gives_its_reconstruction(run):
    """What `encode` finds, `generate` makes: the picture decoded from the mean of its code."""
    system, images = run.build(), torch.rand(16, 1, 8, 8) * 2 - 1
    labels = torch.arange(16) % 3
    reconstructed = system.decode(system.codes(images, labels)[0], labels)
    again = system.generate(system.encode(images, labels), labels)
    assert (again - reconstructed).square().mean().sqrt() < 0.05


def test_run_of_an_earlier_version_is_sampled_as_it_was(run):
    """Without a mixture in its checkpoint it decodes N(0, I)."""
    tensors, _ = run.load()
    system = run.new_system().eval()
    weights = {name.removeprefix("system."): value for name, value in tensors.items() if name.startswith("system.")}
    system.load_state_dict({name: value for name, value in weights.items() if not name.startswith("prior.")})
    latents, labels = system.latents(range(5)), torch.zeros(5, dtype=torch.int64)
    assert torch.equal(system.generate(latents, labels), system.autoencoder.decode(latents, labels))
