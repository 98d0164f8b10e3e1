"""The sliced Wasserstein distance against a closed form, and of spoilt pictures."""

from __future__ import annotations

import math

import pytest
import torch

from ganforge.metrics import sliced
from samples import KINDS, gaussian, photographs, spoilt


def test_sliced_distance_of_two_shifted_gaussians():
    """A shift by m is seen as |m . d| from direction d, on average |m| G(D/2) / (sqrt(pi) G((D+1)/2)) (uniform
    directions)."""
    size, count = 48, 20_000
    shift = torch.zeros(size)
    shift[3] = 0.5
    a, b = gaussian(count, size, 1).float(), gaussian(count, size, 2).float() + shift
    expected = 0.5 * math.gamma(size / 2) / (math.sqrt(math.pi) * math.gamma((size + 1) / 2))
    assert sliced.distances([a], [b])[0] == pytest.approx(1000 * expected, rel=0.15)
    assert sliced.distances([a], [a])[0] == 0


@pytest.mark.parametrize(("how", "strengths"), KINDS)
def test_patches_at_full_size_rank_what_is_wrong_with_a_surface(how, strengths):
    reference, others = sliced.patches(photographs(400, 1)), photographs(400, 2)
    distances = [sliced.distances(reference, sliced.patches(spoilt(others, how, s)))[0] for s in (0, *strengths)]
    assert distances == sorted(distances)
    assert distances[-1] > 2 * distances[0]
