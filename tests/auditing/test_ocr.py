"""Text in pictures."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from defects import rows
from ganforge.auditing.audit import audit


@pytest.mark.skipif(shutil.which("tesseract") is None, reason="Tesseract is not installed")
def test_text_is_found_where_it_is(tmp_path):
    pytest.importorskip("pytesseract")
    (tmp_path / "in").mkdir()
    rng = np.random.default_rng(0)
    for n in range(8):
        image = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).resize((300, 200))
        if n < 3:
            draw = ImageDraw.Draw(image)
            draw.rectangle((10, 60, 290, 140), fill="white")
            draw.text((20, 70), "COPYRIGHT 2026", fill="black", font=ImageFont.load_default(32))
        image.save(tmp_path / "in" / f"{n}.png")
    result = audit(tmp_path / "in", tmp_path / "out", ocr=True)
    with_text = {row["file"] for row in rows(result.path) if "text" in row["reasons"]}
    assert with_text == {"0.png", "1.png", "2.png"}
