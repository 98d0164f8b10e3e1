"""Randomness as a pure function of (seed, purpose, index).

Resuming is then arithmetic: nothing has to be saved, and the order does not depend on how many processes draw.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from ganforge.base.errors import InputError

Indices = npt.NDArray[np.int64]

_ROUNDS = 4


def check_seeds(seeds: Sequence[int]) -> Sequence[int]:
    """InputError unless every seed is a whole number from 0 to 2^32-1."""
    for seed in seeds:
        if not isinstance(seed, (int, np.integer)) or not 0 <= seed < 2**32:
            raise InputError(f"The seed {seed} is out of range; it takes whole numbers from 0 to {2**32 - 1}.")
    return seeds


def key(seed: int, purpose: str, index: int = 0) -> int:
    """A 63-bit number that depends on all three arguments and on nothing else."""
    digest = hashlib.blake2b(f"{seed}/{purpose}/{index}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def uniform(seed: int, purpose: str, indices: Indices) -> npt.NDArray[np.float64]:
    """Numbers in [0, 1), each a function of (seed, purpose, index) alone. (N,) int64 -> (N,) float64."""
    mixed = _mix(indices.astype(np.uint64) + np.uint64(key(seed, purpose)))
    return (mixed >> np.uint64(11)).astype(np.float64) * 2.0**-53


def permuted(seed: int, purpose: str, size: int, positions: Iterable[int] | Indices) -> Indices:
    """Where `positions` of 0..size-1 go under a permutation keyed by (seed, purpose), in O(1) memory.

    A balanced Feistel network over the next power of four, walked until it lands below `size` (Black and Rogaway,
    "Ciphers with arbitrary finite domains", 2002). (N,) int64 -> (N,) int64.
    """
    half = max(1, (max(size - 1, 1).bit_length() + 1) // 2)
    mask = np.uint64((1 << half) - 1)
    keys = [np.uint64(key(seed, purpose, round_)) for round_ in range(_ROUNDS)]

    def shuffle(x: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
        left, right = x >> np.uint64(half), x & mask
        for k in keys:
            left, right = right, left ^ (_mix(right + k) & mask)
        return (left << np.uint64(half)) | right

    out = shuffle(np.asarray(positions, dtype=np.uint64))
    outside = np.flatnonzero(out >= size)
    while outside.size:
        out[outside] = shuffle(out[outside])
        outside = outside[out[outside] >= size]
    return out.astype(np.int64)


def _mix(x: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """SplitMix64's finaliser (Steele, Lea and Flood, 2014): every input bit reaches every output bit."""
    with np.errstate(over="ignore"):
        x = x + np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return x ^ (x >> np.uint64(31))
