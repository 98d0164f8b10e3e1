"""Pictures as arrays of bytes."""

from __future__ import annotations

import numpy as np

from ganforge.base import marks
from ganforge.base.images import grid, write_image
from synthetic import picture


def test_grid_and_mark(tmp_path):
    sheet = grid(np.zeros((5, 4, 6, 3), np.uint8), columns=3, gap=2)
    assert sheet.shape == (2 * 6 - 2, 3 * 8 - 2, 3)
    assert sheet[5:, 16:].min() == 255
    write_image(tmp_path / "a.png", sheet, {"seeds": [1]})
    assert marks.read(tmp_path / "a.png") == {"generated": True, "seeds": [1]}
    assert b"trainedAlgorithmicMedia" in (tmp_path / "a.png").read_bytes()
    picture(0).save(tmp_path / "b.png")
    assert marks.read(tmp_path / "b.png") is None
