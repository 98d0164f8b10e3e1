"""What the adversarial systems are made of, against definitions: projection, attention, penalties, compiled or not."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from ganforge import models
from ganforge.media.spec import Spec
from ganforge.nn.attention import SelfAttention
from ganforge.nn.layers import ConditionalBatchNorm, spectral
from ganforge.nn.penalties import squared_gradient
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


def test_batch_norm_by_class_is_plain_batch_norm_with_the_classs_gain_and_offset():
    ours, theirs = ConditionalBatchNorm(4, 3).double(), nn.BatchNorm2d(4, affine=False).double()
    nn.init.normal_(ours.gain.weight)
    nn.init.normal_(ours.offset.weight)
    x, labels = torch.randn(9, 4, 5, 6, dtype=torch.float64) * 3 + 1, torch.arange(9) % 3
    plain = theirs(x)
    expected = [
        plain[n] * ours.gain.weight[y][:, None, None] + ours.offset.weight[y][:, None, None]
        for n, y in enumerate(labels)
    ]
    torch.testing.assert_close(ours(x, labels), torch.stack(expected))


@pytest.mark.parametrize("sides", [(6, 8), (5, 7)])
def test_attention_is_its_formula(sides):
    """Softmax over places of query.key, times the values, in float64 and place by place."""
    layer = SelfAttention(16).double()
    nn.init.constant_(layer.share, 0.7)
    x = torch.randn(2, 16, *sides, dtype=torch.float64)
    for n in range(2):
        one = x[n : n + 1]
        query = F.conv2d(one, layer.query.weight)[0].flatten(1)
        key = F.max_pool2d(F.conv2d(one, layer.key.weight), 2, ceil_mode=True)[0].flatten(1)
        value = F.max_pool2d(F.conv2d(one, layer.value.weight), 2, ceil_mode=True)[0].flatten(1)
        found = torch.zeros(8, sides[0] * sides[1], dtype=torch.float64)
        for place in range(found.shape[1]):
            weights = (query[:, place] @ key).exp()
            found[:, place] = value @ (weights / weights.sum())
        expected = one + 0.7 * F.conv2d(found.reshape(1, 8, *sides), layer.out.weight)
        torch.testing.assert_close(layer(x)[n : n + 1], expected)
    nn.init.zeros_(layer.share)
    assert torch.equal(layer(x), x)


def test_spectral_norm_of_an_averaged_weight_is_near_its_bound():
    """Averaging shortens the kept vectors; the estimate must not shrink with them."""
    torch.manual_seed(0)
    layer = spectral(nn.Linear(30, 20), bound=1.0)
    layer.parametrizations.weight[0].u.mul_(0.5)
    layer.parametrizations.weight[0].v.mul_(0.5)
    layer.eval()
    assert torch.linalg.matrix_norm(layer.weight, 2).item() == pytest.approx(1.0, rel=0.1)


def test_no_discriminator_of_a_shared_pass_mixes_pictures():
    """What `hinge_for_both` rests on: a picture's score does not depend on its company."""
    for name in ("cgan", "sagan"):
        critic, batch = build(name).discriminator.eval(), shown()
        alone = torch.cat([critic(batch.images[n : n + 1], batch.labels[n : n + 1]) for n in range(12)])
        torch.testing.assert_close(critic(batch.images, batch.labels), alone, rtol=1e-4, atol=1e-5)


def test_the_gradient_penalty_is_that_of_float64_by_finite_differences():
    system = build("wgan_gp").double()
    reals, fakes = torch.rand(6, 1, 16, 16, dtype=torch.float64), torch.rand(6, 1, 16, 16, dtype=torch.float64)
    torch.manual_seed(3)
    penalty = system.penalty(reals, fakes)
    torch.manual_seed(3)
    share = torch.rand(6, 1, 1, 1, dtype=torch.float64)

    def height(images):
        return system.critic.score(system.critic.features(images).permute(0, 2, 3, 1).flatten(1))[:, 0]

    between, step = (1 - share) * reals + share * fakes, 1e-6
    expected = []
    for one in between:
        moved = one[None] + step * torch.eye(256, dtype=torch.float64).reshape(256, 1, 16, 16)
        back = one[None] - step * torch.eye(256, dtype=torch.float64).reshape(256, 1, 16, 16)
        slope = (height(moved) - height(back)) / (2 * step)
        expected.append((slope.norm() - 1) ** 2)
    torch.testing.assert_close(penalty, torch.stack(expected).mean(), rtol=1e-5, atol=1e-7, check_dtype=False)


def test_the_gradient_penalty_teaches_what_float64_does():
    """In float32 within 1e-4; in bf16, as the loop runs it on most machines, within 3 %."""
    system, found = build("wgan_gp"), []
    reals, fakes = torch.rand(6, 1, 16, 16), torch.rand(6, 1, 16, 16)
    share = torch.rand(6, 1, 1, 1)
    for dtype, low in ((torch.float32, False), (torch.float32, True), (torch.float64, False)):
        system.to(dtype).zero_grad()
        between = torch.lerp(reals, fakes, share).to(dtype)
        with pytest.MonkeyPatch.context() as patch, torch.autocast("cpu", torch.bfloat16, enabled=low):
            patch.setattr(torch, "rand", lambda *_, dtype=dtype, **__: torch.zeros(6, 1, 1, 1, dtype=dtype))
            penalty = system.penalty(between, between)
        assert penalty.dtype == dtype
        penalty.backward()  # where the loop has it: outside of autocast
        found.append(torch.cat([p.grad.double().flatten() for p in system.critic.parameters() if p.grad is not None]))
    single, half, double = found
    assert (single - double).norm() < 1e-4 * double.norm()
    assert (half - double).norm() < 3e-2 * double.norm()


def test_the_critic_learns_every_step_and_the_generator_every_fifth():
    phases = {phase.name: (phase.learns, phase.every) for phase in build("wgan_gp").phases()}
    assert phases == {"critic": (("critic",), 1), "generator": (("generator",), 5)}
    assert {phase.every for phase in build("wgan_gp", critic_steps=2).phases()} == {1, 2}
    system = build("wgan_gp")
    assert not [m for m in system.critic.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]


@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
def test_compiling_never_drops_a_penalty_in_silence(backend):
    """A compiled penalty either raises or teaches the weights what the eager one does."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(6, 16), nn.Softplus(), nn.Linear(16, 1))
    inputs = torch.randn(5, 6)

    def loss(x):
        return squared_gradient(network(x)[:, 0], x).mean()

    loss(inputs.clone().requires_grad_(True)).backward()
    eager = [p.grad.clone() for p in network.parameters() if p.grad is not None]
    assert any(gradient.abs().sum() > 0 for gradient in eager)
    network.zero_grad()
    torch._dynamo.reset()
    scores = torch.compile(lambda x: network(x)[:, 0], backend=backend)
    x = inputs.clone().requires_grad_(True)
    try:
        said = squared_gradient(scores(x), x).mean()
        said.backward()
    except RuntimeError as error:
        if "compiler" in str(error).lower() and "double" not in str(error):
            pytest.skip(f"no compiler here: {str(error).splitlines()[0]}")
        return
    finally:
        torch._dynamo.reset()
    compiled = [p.grad for p in network.parameters() if p.grad is not None]
    assert len(compiled) == len(eager), "torch.compile dropped the penalty's gradient without a word"
    for one, two in zip(compiled, eager, strict=True):
        torch.testing.assert_close(one, two)
