"""Losses against their formulas, and both networks from one pass."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ganforge.nn import losses

torch.manual_seed(0)


def test_losses_against_their_formulas():
    real, fake = torch.tensor([2.0, 0.0]), torch.tensor([-3.0, 1.0])
    assert losses.hinge(real, fake).item() == pytest.approx((0 + 1) / 2 + (0 + 2) / 2)
    sigmoid = torch.sigmoid
    expected = -(0.9 * sigmoid(real).log() + 0.1 * (1 - sigmoid(real)).log()).mean() - (1 - sigmoid(fake)).log().mean()
    assert losses.logistic(real, fake, 0.9).item() == pytest.approx(expected.item(), rel=1e-5)
    assert losses.non_saturating(fake).item() == pytest.approx(-sigmoid(fake).log().mean().item(), rel=1e-5)
    mean, log_variance = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    p = torch.distributions.Normal(mean, (log_variance / 2).exp())
    kl = torch.distributions.kl_divergence(p, torch.distributions.Normal(0.0, 1.0)).sum(1)
    torch.testing.assert_close(losses.gaussian_kl(mean, log_variance), kl)


@pytest.mark.parametrize("name", ["hinge", "logistic"])
def test_one_pass_gives_both_players_their_own_gradients(name):
    """Against two separate losses with a pass each, in float64; fakes beyond the hinge's margin among them."""
    torch.manual_seed(1)
    generator = nn.Linear(3, 6, dtype=torch.float64)
    discriminator = nn.Sequential(nn.Linear(6, 16), nn.LeakyReLU(0.2), nn.Linear(16, 1)).double()
    z, reals = torch.randn(40, 3, dtype=torch.float64), torch.randn(40, 6, dtype=torch.float64)

    def score(x):
        return 20 * discriminator(x)[:, 0] - 7

    fakes = generator(z)
    real, fake = score(torch.cat([reals, fakes])).chunk(2)
    assert (fake < -1).any() and (fake > -1).any()
    shared = {"hinge": losses.one_stage_hinge, "logistic": losses.one_stage_logistic}[name]
    report = shared(real, fake, fakes)
    report["loss"].backward()
    ours = [p.grad.clone() for p in (*generator.parameters(), *discriminator.parameters())]
    alone = {"hinge": lambda s: -s.mean(), "logistic": losses.non_saturating}[name](score(generator(z)))
    expected = list(torch.autograd.grad(alone, list(generator.parameters())))
    loss = {"hinge": losses.hinge, "logistic": losses.logistic}[name](score(reals), score(generator(z).detach()))
    expected += torch.autograd.grad(loss, list(discriminator.parameters()))
    assert report["generator"].item() == pytest.approx(alone.item())
    for n, (one, two) in enumerate(zip(ours, expected, strict=True)):
        exact = name == "logistic" or n < 2
        torch.testing.assert_close(one, two, rtol=1e-5 if exact else 5e-3, atol=1e-6 if exact else 5e-3)


def test_probabilities_of_all_bytes_sum_to_one():
    """For means and deviations of any size, also beyond the range, and against a difference of two distributions."""
    low, high = torch.tensor([[[-1.0]]]), torch.tensor([[[1.0]]])
    values = torch.linspace(-1, 1, 256).view(256, 1, 1, 1)
    for mean in (-1.2, -1.0, 0.3, 1.0):
        for deviation in (0.001, 0.02, 0.3, 3.0):
            logarithms = losses.discretised_gaussian(
                values, torch.tensor(mean), torch.tensor(deviation), low, high
            ).flatten()
            assert logarithms.isfinite().all()
            assert logarithms.double().exp().sum() == pytest.approx(1, abs=1e-3)
    edges = torch.linspace(-1 - 1 / 255, 1 + 1 / 255, 257).double()
    below = torch.distributions.Normal(0.3, 0.2).cdf(edges)
    mass = losses.discretised_gaussian(values, torch.tensor(0.3), torch.tensor(0.2), low, high).flatten()
    torch.testing.assert_close(mass[1:-1].exp().double(), below.diff()[1:-1], rtol=1e-3, atol=1e-9)
