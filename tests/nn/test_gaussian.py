"""The fitted normal distribution of codes."""

from __future__ import annotations

import torch

from ganforge.nn.gaussian import HORIZON, FittedGaussian


def test_gaussian_is_the_mean_and_covariance_of_all_codes_so_far():
    torch.manual_seed(0)
    codes = torch.randn(20, 50, 6) @ torch.randn(6, 6) + torch.randn(6)
    fitted = FittedGaussian(6)
    for batch in codes:
        fitted.fit(batch)
    flat = codes.flatten(0, 1).double()
    torch.testing.assert_close(fitted.mean.double(), flat.mean(0), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(fitted.covariance.double(), flat.T.cov(correction=0), rtol=1e-4, atol=1e-4)
    drawn = fitted(torch.randn(200_000, 6)).double()
    torch.testing.assert_close(drawn.T.cov(), flat.T.cov(), rtol=0.05, atol=0.1)
    torch.testing.assert_close(drawn.mean(0), flat.mean(0), rtol=0.05, atol=0.05)


def test_gaussian_forgets_and_bears_codes_that_do_not_vary():
    fitted = FittedGaussian(3)
    for _ in range(12 * HORIZON):
        fitted.fit(torch.zeros(8, 3))
    for _ in range(8 * HORIZON):
        fitted.fit(torch.ones(8, 3))
    assert fitted.mean.min() > 0.999
    assert (fitted(torch.randn(5, 3)) - 1).abs().max() < 0.1
