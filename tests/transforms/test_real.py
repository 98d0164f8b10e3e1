"""The two rounds of Real-ESRGAN."""

from __future__ import annotations

import pytest
import torch
from sklearn.datasets import load_sample_image

from ganforge.transforms.degrade import Degrade
from ganforge.transforms.real import _RADIUS, _blur, _filtered, _sinc, real


def photographs(channels=3):
    whole = torch.from_numpy(load_sample_image("china.jpg")[120:168, :256].copy()).permute(2, 0, 1).float()
    pixels = torch.stack(whole.split(64, 2))
    return torch.cat([pixels, pixels[:, :1]], 1)[:, :channels]


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("strength", [None, 0.0, 1.0])
def test_a_function_of_the_seed_in_bytes(channels, strength):
    results = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        results.append(real(photographs(channels), 4, strength))
    assert results[0].shape == (4, channels, 12, 16)
    assert torch.equal(results[0], results[1]) and not torch.equal(results[0], results[2])
    assert torch.equal(results[0], results[0].round()) and results[0].min() >= 0 and results[0].max() <= 255


def test_more_strength_loses_more():
    pixels = photographs()
    small = torch.nn.functional.avg_pool2d(pixels, 2)
    errors = []
    for strength in (0.0, 0.5, 1.0):
        torch.manual_seed(0)
        errors.append(sum((real(pixels, 2, strength) - small).abs().mean().item() for _ in range(4)))
    assert errors[0] < errors[1] < errors[2]


def test_kernels_have_sum_one_and_keep_a_constant():
    torch.manual_seed(0)
    for kernel in (*(_blur((0.2, 3.0), None) for _ in range(20)), *(_sinc(t) for t in (0.0, 0.5, 1.0, None))):
        assert kernel.shape == (2 * _RADIUS + 1,) * 2 and kernel.sum().item() == pytest.approx(1, abs=1e-5)
        assert torch.allclose(_filtered(torch.full((1, 3, 4, 5), 80.0), kernel), torch.tensor(80.0), atol=1e-2)
    assert (_sinc(1.0) < 0).any(), "it rings"


def test_as_a_word():
    degrade = Degrade("real 4", 3)
    given, holes = degrade(photographs() / 127.5 - 1)
    assert degrade.scale == 4 and given.shape == (4, 3, 12, 16) and holes is None
