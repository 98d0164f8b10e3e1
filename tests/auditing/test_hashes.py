"""Perceptual hashes and the search among them, against independent definitions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.fft import dctn

from ganforge.auditing.hashes import DEAD, groups, hashes, order, pairs


def pictures(count: int, seed: int = 0) -> torch.Tensor:
    """Grey thumbnails (N, 32, 32) with the spectrum of photographs."""
    rng = np.random.default_rng(seed)
    fy, fx = np.fft.fftfreq(32)[:, None], np.fft.rfftfreq(32)[None]
    amplitude = 1 / np.maximum(np.hypot(fy, fx), 1 / 32)
    phase = rng.standard_normal((count, 32, 17)) + 1j * rng.standard_normal((count, 32, 17))
    plane = np.fft.irfft2(amplitude * phase, (32, 32))
    plane = (plane - plane.mean((1, 2), keepdims=True)) / plane.std((1, 2), keepdims=True) * 45 + 128
    return torch.from_numpy(plane.clip(0, 255)).float()


def distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.bitwise_count(a ^ b)


def test_bits_are_the_signs_of_scipys_transform():
    grey = pictures(50)
    plain, _ = hashes(grey)
    for picture, value in zip(grey.double().numpy(), plain.tolist(), strict=True):
        low = dctn(picture, type=2, norm="ortho")
        clear = [abs(low[u, v] - DEAD) > 1e-2 for u, v in order()]
        wanted = [low[u, v] > DEAD for u, v in order()]
        bits = [bool(value >> (63 - n) & 1) for n in range(64)]
        assert sum(clear) > 60
        assert [b for b, c in zip(bits, clear, strict=True) if c] == [
            w for w, c in zip(wanted, clear, strict=True) if c
        ]


def test_a_mirror_hash_is_the_hash_of_the_mirror_image():
    grey = pictures(400)
    plain, mirror = hashes(grey)
    flipped, flipped_back = hashes(grey.flip(2))
    assert distance(mirror, flipped).max() <= 1  # a coefficient within rounding of the limit
    assert (mirror == flipped).mean() > 0.99
    assert (flipped_back == plain).mean() > 0.99
    assert np.median(distance(plain, flipped)) > 20
    symmetric = (grey + grey.flip(2)) / 2
    plain, mirror = hashes(symmetric + torch.randn_like(symmetric))
    assert distance(plain, mirror).max() <= 4, "noise decides nothing in a symmetric picture"


def test_hashes_survive_small_changes_and_tell_pictures_apart():
    grey = pictures(300)
    plain, _ = hashes(grey)
    noisy, _ = hashes((grey + 4 * torch.randn_like(grey)).clamp(0, 255))
    darker, _ = hashes(grey * 0.8)
    assert (distance(plain, noisy) <= 6).mean() > 0.99
    assert (distance(plain, darker) <= 6).mean() > 0.97
    others = np.bitwise_count(plain[:, None] ^ plain[None])[~np.eye(300, dtype=bool)]
    assert others.min() > 6
    assert 31 < others.mean() < 33


def planted(count: int, seed: int) -> np.ndarray:
    """Random hashes; the last hundred are some of the first with up to eight bits changed, the fifty before are
    equal."""
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 2**64, count, dtype=np.uint64)
    for n in range(100):
        bits = rng.permutation(64)[: rng.integers(0, 9)]
        values[count - 1 - n] = values[n] ^ np.uint64(sum(1 << int(bit) for bit in bits))
    values[count - 150 : count - 100] = values[200]
    return values


@pytest.mark.parametrize(("count", "radius"), [(1500, 6), (1500, 15), *((3000, r) for r in (0, 3, 6, 7, 10, 15))])
def test_pairs_equal_those_of_brute_force(count, radius):
    """Few are compared one by one, many by bands; both must find all, and nothing else."""
    some = planted(count, radius)
    near = np.bitwise_count(some[:, None] ^ some[None]) <= radius
    assert np.array_equal(pairs(some, radius=radius), np.argwhere(np.triu(near, 1)))
    cut = count * 3 // 5
    left, right = some[: cut + 500], some[cut - 500 :]
    assert np.array_equal(pairs(left, right, radius), np.argwhere(near[: cut + 500, cut - 500 :]))


def test_no_hashes_no_pairs():
    none = np.zeros(0, np.uint64)
    assert pairs(none).shape == (0, 2)
    assert pairs(none, np.ones(3, np.uint64)).shape == (0, 2)
    assert pairs(np.zeros(1, np.uint64)).shape == (0, 2)


def test_groups_are_numbered_by_first_appearance():
    numbers = groups(8, np.array([[5, 2], [1, 7], [2, 6]]))
    assert numbers.tolist() == [-1, 0, 1, -1, -1, 1, 1, 0]
    assert groups(3, np.zeros((0, 2), np.int64)).tolist() == [-1, -1, -1]
