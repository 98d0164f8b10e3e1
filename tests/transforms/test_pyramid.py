"""Statistics of a Laplacian pyramid."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ganforge.metrics import frechet
from ganforge.transforms import pyramid
from samples import KINDS, photographs, spoilt


@pytest.mark.parametrize(("how", "strengths"), KINDS)
def test_surface_statistics_rank_what_is_wrong_with_a_surface(how, strengths):
    def statistics(pixels: np.ndarray) -> torch.Tensor:
        return pyramid.statistics(torch.from_numpy(pixels).permute(0, 3, 1, 2).float())

    plain, others = statistics(photographs(400, 1)), photographs(400, 2)
    reference = frechet.Moments(plain.shape[1]).add(plain)
    distances = [
        frechet.distance(reference, frechet.Moments(plain.shape[1]).add(statistics(spoilt(others, how, s))))
        for s in (0, *strengths)
    ]
    assert distances == sorted(distances)
    lighter = torch.from_numpy(photographs(10, 3)).permute(0, 3, 1, 2).float()
    torch.testing.assert_close(pyramid.statistics(lighter), pyramid.statistics(lighter + 20), rtol=1e-3, atol=1e-3)
