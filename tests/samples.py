"""Random features and pictures, and pictures spoilt by degrees, for tests of metrics."""

from __future__ import annotations

import numpy as np
import torch


def gaussian(count: int, size: int, seed: int, mean: float = 0.0, scale: float = 1.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, size, generator=generator, dtype=torch.float64) * scale + mean


def photographs(count: int, seed: int, side: int = 32) -> np.ndarray:
    """Coloured blobs, (count, side, side, 3) uint8: as many different pictures as are asked for."""
    rng = np.random.default_rng(seed)
    small = torch.from_numpy(rng.normal(128, 60, (count, 3, 6, 6)))
    big = torch.nn.functional.interpolate(small, (side, side), mode="bicubic")
    return big.clamp(0, 255).byte().permute(0, 2, 3, 1).contiguous().numpy()


def spoilt(real: np.ndarray, how: str, strength: float) -> np.ndarray:
    rng = np.random.default_rng(0)
    x = real.astype(np.float64)
    if how == "blur":
        kept = torch.from_numpy(x).permute(0, 3, 1, 2)
        kept = torch.nn.functional.avg_pool2d(kept, 3, 1, 1, count_include_pad=False)
        x = (1 - strength) * x + strength * kept.permute(0, 2, 3, 1).numpy()
    if how == "speckle":
        x += rng.choice([-80, 80], x.shape[:3])[..., None] * (rng.random(x.shape[:3]) < strength)[..., None]
    if how == "checkerboard":
        y, z = np.mgrid[: x.shape[1], : x.shape[2]]
        x += strength * (2 * ((y + z) % 2) - 1)[None, ..., None]
    return x.round().clip(0, 255).astype(np.uint8)


KINDS = [("blur", (0.3, 0.6, 1.0)), ("speckle", (0.01, 0.04, 0.2)), ("checkerboard", (3, 8, 20))]
