"""The binomial filters against those of SciPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.signal import upfirdn

from ganforge.nn import resample


def test_filters_are_those_of_scipy():
    x = torch.randn(2, 3, 6, 8, dtype=torch.float64)

    def reference(taps, scale, up, start, step):
        out = x.numpy()
        for axis in (2, 3):
            size = out.shape[axis] * up // step
            out = upfirdn(np.array(taps) / scale, out, up=up, axis=axis)
            out = np.take(out, np.arange(start, start + size * step, step), axis)
        return torch.from_numpy(out)

    torch.testing.assert_close(resample.blur(x), reference([1, 2, 1], 4, 1, 1, 1))
    torch.testing.assert_close(resample.double(x), reference([1, 3, 3, 1], 4, 2, 1, 1))
    torch.testing.assert_close(resample.halve(x), reference([1, 3, 3, 1], 8, 1, 2, 2))


@pytest.mark.parametrize("name", ["blur", "double", "halve"])
def test_filters_are_differentiable_twice(name):
    x = torch.randn(1, 2, 4, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(getattr(resample, name), (x,))
    assert torch.autograd.gradgradcheck(getattr(resample, name), (x,))
