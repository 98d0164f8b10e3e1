"""The mixture of Gaussians of codes: its fit, its density, and the map to it."""

from __future__ import annotations

import pytest
import torch

from ganforge.nn import mixture
from ganforge.nn.mixture import Mixture


def three(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(codes (count, 4), labels): three Gaussians far from each other, of shares 1/2, 1/4, 1/4."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.tensor([0, 0, 1, 2]).repeat(count // 4 + 1)[:count]
    means = torch.tensor([[4.0, 0, 0, 2], [-4, 3, 0, 2], [0, -5, 3, 2]])
    scales = torch.tensor([[1.0, 0.3, 0.5, 1], [0.2, 1, 1, 0.4], [0.6, 0.6, 0.1, 0.8]])
    return means[labels] + scales[labels] * torch.randn(count, 4, generator=generator), labels


@pytest.fixture(scope="module")
def fitted() -> Mixture:
    torch.manual_seed(0)
    new = Mixture(4)
    new.fit(three(3000, 1)[0], three(1000, 2)[0])
    return new


def test_new_mixture_is_the_standard_normal():
    normal = torch.randn(50, 6)
    new = Mixture(6)
    assert torch.equal(new(normal), normal)
    expected = torch.distributions.Normal(0.0, 1.0).log_prob(normal).sum(1)
    torch.testing.assert_close(new.log_density(normal), expected)


def test_one_component_is_the_mean_and_covariance_of_the_codes():
    torch.manual_seed(0)
    codes = torch.randn(1000, 6) @ torch.randn(6, 6) + torch.randn(6)
    new = Mixture(6)
    new.fit(codes, codes[:0])  # nothing held out, so nothing says that more are better
    assert len(new.means) == 1
    torch.testing.assert_close(new.mean.data, codes.mean(0))
    torch.testing.assert_close(new.root @ new.root, codes.T.cov(correction=0), rtol=1e-3, atol=1e-3)
    expected = torch.distributions.MultivariateNormal(codes.mean(0), codes.T.cov(correction=0)).log_prob(codes)
    torch.testing.assert_close(new.log_density(codes), expected, rtol=1e-3, atol=1e-3)


def test_held_out_codes_say_how_many_components():
    torch.manual_seed(0)
    normal = Mixture(4)
    normal.fit(torch.randn(3000, 4), torch.randn(1000, 4))
    several = Mixture(4)
    several.fit(three(3000, 1)[0], three(1000, 2)[0])
    assert len(normal.means) <= 2 < len(several.means)


def test_density_is_that_of_what_the_codes_came_from(fitted):
    """The mean log-density of new codes is, up to a tenth of a nat, minus the entropy of the three Gaussians."""
    codes, labels = three(4000, 3)
    scales = torch.tensor([[1.0, 0.3, 0.5, 1], [0.2, 1, 1, 0.4], [0.6, 0.6, 0.1, 0.8]])
    entropy = (scales[labels].log().sum(1) + 2 * torch.log(torch.tensor(2 * torch.pi * torch.e))).mean()
    entropy += 1.5 * torch.log(torch.tensor(2.0))  # of the shares 1/2, 1/4, 1/4
    assert fitted.log_density(codes).mean() == pytest.approx(-float(entropy), abs=0.1)


def test_flow_ends_in_the_mixture(fitted):
    drawn, codes = fitted(torch.randn(4000, 4)), three(4000, 4)[0]
    torch.testing.assert_close(drawn.mean(0), codes.mean(0), rtol=0, atol=0.2)
    torch.testing.assert_close(drawn.T.cov(), codes.T.cov(), rtol=0.1, atol=0.2)
    assert fitted.log_density(drawn).mean() == pytest.approx(float(fitted.log_density(codes).mean()), abs=0.2)
    nearest = torch.cdist(drawn, torch.tensor([[4.0, 0, 0, 2], [-4, 3, 0, 2], [0, -5, 3, 2]])).argmin(1)
    shares = torch.bincount(nearest, minlength=3) / len(drawn)
    torch.testing.assert_close(shares, torch.tensor([0.5, 0.25, 0.25]), rtol=0, atol=0.03)


def test_flow_is_continuous_and_differentiable():
    """Between two Gaussians whose means are five deviations apart, no hundredth of a walk leaps from one to the
    other."""
    torch.manual_seed(0)
    codes = torch.randn(2000, 4) + 2.5 * torch.tensor([1.0, 0, 0, 0]) * (2 * torch.randint(2, (2000, 1)) - 1)
    new = Mixture(4)
    new.fit(codes[:1500], codes[1500:])
    assert len(new.means) > 1
    here, there = torch.randn(2, 50, 1, 4)
    share = torch.linspace(0, 1, 101)[None, :, None]
    path = new((here * (1 - share) + there * share).flatten(0, 1)).view(50, 101, 4)
    assert path.diff(dim=1).norm(dim=2).amax() < 1
    normal = torch.randn(3, 4, requires_grad=True)
    (slope,) = torch.autograd.grad(new(normal).sum(), normal)
    step = 1e-2 * torch.eye(4)[0]
    change = (new(normal.detach() + step) - new(normal.detach() - step)).sum(1) / 2e-2
    torch.testing.assert_close(slope[:, 0], change, rtol=0.05, atol=0.05)


def test_inverse_goes_the_way_back(fitted):
    normal = torch.randn(500, 4)
    error = (fitted.inverse(fitted(normal)) - normal).norm(dim=1)
    assert error.quantile(0.9) < 0.1
    codes = three(500, 5)[0]
    error = (fitted(fitted.inverse(codes)) - codes).norm(dim=1)
    assert error.quantile(0.9) < 0.2


def test_classes_share_components_and_have_their_own_weights():
    torch.manual_seed(0)
    codes, labels = three(3000, 1)
    held, held_labels = three(1000, 2)
    new = Mixture(4, classes=4)  # the last one does not occur
    new.fit(codes, held, labels, held_labels)
    torch.testing.assert_close(new.weights.sum(1), torch.ones(4))
    for label in range(3):
        drawn = new(torch.randn(500, 4), torch.full((500,), label))
        own = codes[labels == label]
        torch.testing.assert_close(drawn.mean(0), own.mean(0), rtol=0, atol=0.3)
    drawn = new(torch.randn(2000, 4), torch.full((2000,), 3))
    torch.testing.assert_close(drawn.mean(0), codes.mean(0), rtol=0, atol=0.4)


def test_components_do_not_close_in_on_repeated_codes():
    """Twenty codes, each of them many times: what was held out says that new codes are elsewhere."""
    torch.manual_seed(0)
    codes = torch.randn(20, 8)
    new = Mixture(8)
    new.fit(codes.repeat(160, 1) + 1e-3 * torch.randn(3200, 8), torch.randn(800, 8))
    assert (torch.cdist(new(torch.randn(500, 8)), codes).amin(1) < 0.1).float().mean() < 0.05


def test_mixture_whose_samples_are_nearer_than_held_out_codes_is_refused(monkeypatch):
    """Held-out codes of the same three Gaussians, but the loneliest of many: most samples are nearer to a code."""
    codes, others = three(3000, 1)[0], three(10_000, 2)[0]
    lonely = others[torch.cdist(others, codes).amin(1).topk(1000).indices]
    components = {}
    for share in (1.0, mixture.COPIES):
        monkeypatch.setattr(mixture, "COPIES", share)
        torch.manual_seed(0)
        new = Mixture(4)
        new.fit(codes, lonely)
        components[share] = len(new.means)
    assert components[1.0] > 1
    assert components[mixture.COPIES] == 1


@pytest.mark.parametrize("count", [1, 2, 40])
def test_few_and_constant_codes(count):
    torch.manual_seed(0)
    codes = torch.randn(count, 16)
    codes[:, 3] = 2.0
    new = Mixture(16)
    new.fit(codes, torch.randn(count // 4, 16))
    drawn = new(torch.randn(9, 16))
    assert drawn.isfinite().all()
    torch.testing.assert_close(drawn[:, 3], torch.full((9,), 2.0), rtol=0, atol=0.01)
    assert new.inverse(codes).isfinite().all()


def test_codes_that_are_not_finite_change_nothing(fitted):
    before = {name: value.clone() for name, value in fitted.state_dict().items()}
    fitted.fit(torch.full((100, 4), float("nan")), torch.randn(10, 4))
    assert all(torch.equal(value, before[name]) for name, value in fitted.state_dict().items())


def test_fit_is_a_function_of_the_codes_and_the_generator():
    results = []
    for _ in range(2):
        torch.manual_seed(7)
        new = Mixture(4)
        new.fit(three(2000, 1)[0], three(500, 2)[0])
        results.append(new.state_dict())
    assert all(torch.equal(results[0][name], results[1][name]) for name in results[0])


def test_a_checkpoint_says_how_many_components(fitted):
    loaded = Mixture(4)
    loaded.load_state_dict(fitted.state_dict())
    normal = torch.randn(5, 4)
    assert torch.equal(loaded(normal), fitted(normal))
    with pytest.raises(RuntimeError, match="size mismatch"):
        Mixture(5).load_state_dict(fitted.state_dict())


def test_checkpoints_of_earlier_versions():
    """Of an autoencoder with the mean and covariance of its codes, and of a VAE with nothing."""
    torch.manual_seed(0)
    mean, factor, normal = torch.randn(6), torch.randn(6, 6), torch.randn(5, 6)
    covariance = factor @ factor.T
    old = Mixture(6)
    old.load_state_dict({"mean": mean, "covariance": covariance, "batches": torch.tensor(7)})
    values, vectors = torch.linalg.eigh(covariance)
    assert torch.equal(old(normal), mean + normal @ ((vectors * values.sqrt()) @ vectors.T))
    old.load_state_dict({})
    assert torch.equal(old(normal), normal)


def test_memory_is_bounded():
    """With many numbers in a code there are few components."""
    latent = 512
    new = Mixture(latent)
    new.fit(torch.randn(1100, latent), torch.randn(100, latent))
    assert new.axes.numel() <= mixture.LARGEST
