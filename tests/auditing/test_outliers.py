"""Pictures unlike all others."""

from __future__ import annotations

import numpy as np
from PIL import Image

from defects import photo, reasons, rows
from ganforge.auditing.audit import audit


def test_outliers_by_features(tmp_path):
    root = tmp_path / "set"
    rng = np.random.default_rng(0)
    for label, (low, high) in {"thin": (1, 2), "thick": (7, 9)}.items():
        (root / label).mkdir(parents=True)
        for n in range(150):
            canvas = np.full((32, 32, 3), 230, np.uint8)
            width, left = rng.integers(low, high + 1), rng.integers(0, 22)
            canvas[:, left : left + width] = rng.integers(0, 60, 3)
            Image.fromarray(canvas).save(root / label / f"{n:03d}.png")
    photo(3, 32, 32).save(root / "thin" / "stranger.png")
    result = audit(root, tmp_path / "out", features=True)
    scores = {row["file"]: row["outlier"] for row in rows(result.path)}
    assert max(scores, key=lambda name: scores[name]) == "thin/stranger.png"
    assert "outlier" in reasons(result.path)["stranger.png"]
