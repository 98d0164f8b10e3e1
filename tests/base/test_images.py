"""Pictures as arrays of bytes."""

from __future__ import annotations

import numpy as np

from ganforge.base import marks
from ganforge.base.images import grid, name_rows, write_image
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


def test_rows_of_classes_have_their_names():
    for channels in (1, 3, 4):
        sheet = np.zeros((3 * 58 - 2, 100, channels), np.uint8)
        named = name_rows(sheet, ["cat", "a name that is far too long for a margin", "犬"])
        assert (named.shape[0], named.shape[2]) == (len(sheet), channels)
        assert np.array_equal(named[:, -100:], sheet)
        assert 100 < named.shape[1] < 350
        margin = named[:, :-100, 0]
        for row in range(3):
            assert margin[row * 58 : row * 58 + 56].min() < 64 < margin[row * 58 : row * 58 + 56].mean()
