"""The class in the discriminators of cgan, sagan and dcgan."""

from __future__ import annotations

import pytest
import torch

from ganforge import models
from ganforge.media.spec import Spec
from ganforge.nn.schedules import at
from ganforge.system import Batch

SPEC = Spec(16, 16, 1, ("a", "b", "c"))


def build(name, **settings):
    torch.manual_seed(0)
    loaded = models.load(name)
    return loaded.system(loaded.config(**{"width": 8, "latent": 8, **settings}), SPEC)


def shown(count=12):
    return Batch(torch.rand(count, 1, 16, 16) * 2 - 1, torch.arange(count) % 3, 0)


@pytest.mark.parametrize("name", ["cgan", "sagan", "dcgan"])
def test_projection_is_its_definition(name):
    """f(x, y) = w.phi(x) + b + e_y.phi(x), Miyato and Koyama 2018, eq. 3: linear in the class's row, once per
    picture."""
    critic = build(name, **({"conditional": True} if name == "dcgan" else {})).discriminator.eval()
    kept = {}
    critic.score.register_forward_hook(lambda module, inputs, output: kept.update(features=inputs[0]))
    batch = shown()
    scores = critic(batch.images, batch.labels)
    table = (critic.embedding if name == "cgan" else critic.classes).weight
    phi, weight, bias = kept["features"], critic.score.weight[0], critic.score.bias[0]
    expected = [phi[n] @ weight + bias + phi[n] @ table[batch.labels[n]] for n in range(len(phi))]
    torch.testing.assert_close(scores, torch.stack(expected))


def test_concatenation_shows_the_class_as_a_plane():
    critic = build("cgan", condition="concatenation").discriminator.eval()
    batch = shown()
    planes = critic.embedding.weight[batch.labels].reshape(12, 1, 16, 16)
    features = critic.features(torch.cat([batch.images, planes], 1)).permute(0, 2, 3, 1).flatten(1)
    torch.testing.assert_close(critic(batch.images, batch.labels), critic.score(features)[:, 0])


def test_no_discriminator_of_a_shared_pass_mixes_pictures():
    """What `one_stage_hinge` rests on: a picture's score does not depend on its company."""
    for name in ("cgan", "sagan"):
        critic, batch = build(name).discriminator.eval(), shown()
        alone = torch.cat([critic(batch.images[n : n + 1], batch.labels[n : n + 1]) for n in range(12)])
        torch.testing.assert_close(critic(batch.images, batch.labels), alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "settings", "rate"),
    [("cgan", {}, 2e-3), ("dcgan", {}, 2e-3), ("dcgan", {"discriminator": "classic"}, 2e-4)],
)
def test_the_rates_fall_after_hold_images(name, settings, rate):
    for hold, expected in ((1_000_000, (rate, rate, rate / 4)), (0, (rate, rate, rate))):
        for adam in build(name, hold=hold, **settings).adam().values():
            assert [at(adam.lr, seen) for seen in (0, 1_000_000, 4_000_000)] == pytest.approx(expected)
    assert all(models.load(name).preset(size)["model"]["hold"] == 1_000_000 for size in ("small", "medium", "large"))
