"""R3GAN against two passes in float64."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch.nn import functional as F

from ganforge import models
from ganforge.media.spec import Spec
from ganforge.models import r3gan
from ganforge.nn.schedules import at
from ganforge.system import Batch, Rule
from ganforge.transforms import augment


def tiny(conditional: bool = False) -> r3gan.R3GAN:
    """Weights of which none is zero, so that every gradient counts."""
    torch.manual_seed(0)
    config = r3gan.Config(latent=6, width=8, blocks=1, gamma=0.7, conditional=conditional)
    system = r3gan.R3GAN(config, Spec(8, 8, 2 + 1, ("a", "b")))
    with torch.no_grad():
        for parameter in system.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return system


class Changed(augment.Augment):
    """A change that is the same every time, has an offset as brightness does, and is not linear."""

    def forward(self, images):
        return 0.7 * images.flip(3) + 0.1 * images.square() + 0.2


def in_double(monkeypatch: pytest.MonkeyPatch) -> None:
    """The discriminator says its scores in float32; here they stay as they are."""
    monkeypatch.setattr(torch.Tensor, "float", lambda self: self)


@pytest.mark.parametrize("changed", [False, True])
@pytest.mark.parametrize("conditional", [False, True])
def test_one_pass_of_r3gan_gives_both_players_the_papers_gradients(conditional, changed, monkeypatch):
    """Against two passes, each with its own loss, in float64; the one pass in float32, within 1e-4."""
    system = tiny(conditional)
    if changed:
        system.augment = Changed("")
    z, images, labels = torch.randn(5, 6), torch.rand(5, 3, 8, 8) * 2 - 1, torch.tensor([0, 1, 1, 0, 1])
    monkeypatch.setattr(type(system), "noise", lambda self, batch: z)
    report = system.loss(Batch(images, labels, 0))
    report["loss"].backward()
    ours = {name: p.grad.double().clone() for name, p in system.named_parameters()}

    system.double().zero_grad()
    known = labels if conditional else None
    reals, fakes = images.double().requires_grad_(), system.generator(z.double(), known)
    score = lambda x: system.discriminator.double()(system.augment(x), known)  # noqa: E731
    in_double(monkeypatch)
    fixed = fakes.detach().requires_grad_()
    real, fake = score(reals), score(fixed)
    (by_real,) = torch.autograd.grad(real.sum(), reals, create_graph=True)
    (by_fake,) = torch.autograd.grad(fake.sum(), fixed, create_graph=True)
    r1, r2 = by_real.square().sum((1, 2, 3)).mean(), by_fake.square().sum((1, 2, 3)).mean()
    discriminator = F.softplus(-(real - fake)).mean() + 0.35 * (r1 + r2)
    generator = F.softplus(score(images.double()) - score(fakes)).mean()
    for part, loss in ((system.discriminator, discriminator), (system.generator, generator)):
        names, parameters = zip(*part.named_parameters(), strict=True)
        for name, target in zip(names, torch.autograd.grad(loss, parameters), strict=True):
            result = ours[("discriminator." if part is system.discriminator else "generator.") + name]
            assert (result - target).norm() <= 1e-4 * target.norm() + 1e-9, name
    assert report["loss"].item() == pytest.approx(discriminator.item(), rel=1e-4)
    assert report["generator"].item() == pytest.approx(generator.item(), rel=1e-4)
    assert report["r1"].item() == pytest.approx(r1.item(), rel=1e-4)


def test_the_discriminator_is_homogeneous_in_picture_and_one():
    """Of which its learning from g alone makes use."""
    system = tiny().double()
    images, one = torch.rand(5, 3, 8, 8).double(), torch.ones(5, 1, 1, 1).double()
    scores = system.discriminator(images)
    torch.testing.assert_close(system.discriminator(images, None, one), scores)
    torch.testing.assert_close(system.discriminator(3 * images, None, 3 * one), 3 * scores)


def test_a_step_of_r3gan_goes_back_through_each_layer_once():
    """Beside the generator's: second derivatives of zero would send it through the discriminator again."""
    system = tiny()
    loss = system.loss(Batch(torch.rand(5, 3, 8, 8), None, 0))["loss"]
    with torch.profiler.profile(record_shapes=True) as profiled:
        loss.backward()
    both = [e for e in profiled.events() if e.name == "aten::convolution_backward" and e.input_shapes[0][0] == 10]
    layers = [m for m in system.discriminator.modules() if isinstance(m, torch.nn.Conv2d)]
    assert len(both) == len(layers)


def test_one_cosine_for_everything():
    config = r3gan.Config(
        width=8, gamma=2.0, gamma_end=0.1, lr=4e-4, lr_end=0.5, beta2=0.9, beta2_end=0.99, span=1000, augment="ada 0.3"
    )
    system = r3gan.R3GAN(config, Spec(8, 8, 1))
    seen = (0, 500, 1000, 10**6)
    assert [system.gamma(n) for n in seen] == pytest.approx([2.0, 1.1, 0.2, 0.2])
    adam = system.adam()["generator"]
    assert [at(adam.lr, n) for n in seen] == pytest.approx([4e-4, 3e-4, 2e-4, 2e-4])
    assert [at(adam.beta2, n) for n in seen] == pytest.approx([0.9, 0.945, 0.99, 0.99])
    chances = []
    for n in seen:
        system.loss(Batch(torch.rand(2, 1, 8, 8), None, n))
        chances.append(system.augment.p.item())
    assert chances == pytest.approx([0, 0.15, 0.3, 0.3])


@pytest.mark.parametrize(("side", "gamma", "small"), [(32, 0.25, 2.5), (64, 2, 2.5), (256, 128, 128)])
def test_penalties_without_a_setting_follow_the_resolution(side, gamma, small):
    spec = Spec(side, side, 3)
    assert r3gan.R3GAN(r3gan.Config(width=8, blocks=1, widest=8), spec).gamma(0) == pytest.approx(gamma)
    assert models.load("r3gan").preset("small")["model"]["gamma"].value(spec, 0) == pytest.approx(small)


@pytest.mark.parametrize(
    ("side", "widths", "gamma", "batch"),
    [
        (32, [768] * 4, 0.05, 256),
        (64, [768] * 4 + [384], 2.0, 256),
        (256, [768] * 4 + [384, 192, 96], 150.0, 32),
    ],
)
def test_large_is_the_published_r3gan(side, widths, gamma, batch):
    """Widths, penalties and length; parameters by hand, 20.8 million at 32 px as published."""
    spec = Spec(side, side, 3)
    preset = models.load("r3gan").preset("large")
    model = {n: v.value(spec, 25_000_000) if isinstance(v, Rule) else v for n, v in preset["model"].items()}
    assert (model["gamma"], model["span"], preset["train"]["batch"].value(spec, 0)) == (gamma, 20_000_000, batch)
    with torch.device("meta"):
        system = r3gan.R3GAN(r3gan.Config(**model), spec)
    count = sum(2 * (2 * w * w + 2 * w + 2 * w * 16 * 9 + 2 * w + 2 * w * w) for w in widths)  # two blocks a grid
    count += sum(a * b for a, b in pairwise(widths) if a != b) + 3 * widths[-1]
    count += widths[0] * (16 + 64)  # the learned grid and its weights
    assert sum(p.numel() for p in system.generator.parameters()) == count
    if side == 32:
        assert count == pytest.approx(20.78e6, rel=0.005)


def test_the_weight_of_penalties_grows_with_caution():
    """After a collapse."""
    system, images = tiny(), torch.rand(5, 3, 8, 8)
    z = torch.randn(5, 6)
    system.noise = lambda batch: z
    one, five = (system.loss(Batch(images, None, 0, caution=c)) for c in (1.0, 5.0))
    more = 4 * 0.35 * (one["r1"] + one["r2"])
    assert (five["loss"] - one["loss"]).item() == pytest.approx(more.item(), rel=1e-4)


def test_residual_blocks_start_as_the_identity_and_keep_sizes():
    torch.manual_seed(0)
    block, x = r3gan.Block(16, 8, 12), torch.randn(2, 16, 6, 6)
    assert torch.equal(block(x), x)
    assert block.mix.groups == 4
    wide = r3gan.Block(256, 16, 1)
    y = F.leaky_relu(wide.mix(F.leaky_relu(wide.widen(torch.randn(4, 256, 16, 16)), 0.2)), 0.2)
    assert y.square().mean().item() == pytest.approx(1, rel=0.15)  # what fix-up's gain of 1 for a single block keeps


def test_classes_of_r3gan_change_pictures_and_scores():
    system = tiny(conditional=True)
    z, images = system.latents(range(3)), torch.rand(3, 3, 8, 8)
    zero, one = torch.zeros(3, dtype=torch.int64), torch.ones(3, dtype=torch.int64)
    assert not torch.equal(system.generate(z, zero), system.generate(z, one))
    assert not torch.equal(system.discriminator(images, zero), system.discriminator(images, one))
