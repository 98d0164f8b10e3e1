"""Files by their content."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from ganforge.sources.decode import identify
from ganforge.sources.entry import Skip


def test_content_decides_the_suffix():
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "JPEG")
    assert identify(buffer.getvalue(), ".png") == "jpg"
    for data in (
        b"",
        b"<svg/>",
        b"MZ not",
        b"\x89PNG\r\n\x1a\n",
        b"RIFF\0\0\0\0WEBPVP8 ",
        b"II*\0" + bytes(50),
        b"P6\n99999999 99999999 255\n",
    ):
        with pytest.raises(Skip):
            identify(data)
