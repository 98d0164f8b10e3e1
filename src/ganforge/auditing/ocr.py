"""Text in pictures, read by Tesseract where it is installed."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from ganforge.auditing.checks import LETTERS, Finding
from ganforge.base.errors import InputError
from ganforge.base.images import as_image
from ganforge.base.pool import ordered
from ganforge.sources.decode import decode
from ganforge.sources.depth import Levels
from ganforge.sources.entry import Entry, Skip, Source

SURE = 60.0
"""Tesseract's confidence, of 100, from which a word counts."""
TOLD = 32  # pictures from one line of progress to the next
SIDE = 640  # small print needs this; small pictures are enlarged towards it

Reader = Callable[[Image.Image], dict[str, list[Any]]]


def reader() -> Reader:
    """The function that reads words. InputError with the way to install it where the package or program is missing."""
    try:
        import pytesseract
    except ImportError:
        raise InputError(
            'audit --ocr needs the package pytesseract. Install it with: pip install "ganforge[ocr]"'
        ) from None
    try:
        pytesseract.get_tesseract_version()
    except (pytesseract.TesseractNotFoundError, OSError):
        raise InputError(
            "audit --ocr needs the program tesseract. Install it: apt install tesseract-ocr, or brew install tesseract."
        ) from None

    def read(image: Image.Image) -> dict[str, list[Any]]:
        words: dict[str, list[Any]] = pytesseract.image_to_data(image, output_type=pytesseract.Output.DICT)
        return words

    return read


def texts(
    source: Source, usable: npt.NDArray[np.bool_], levels: Levels, read: Reader, progress: Callable[[str], None]
) -> list[Finding]:
    """One finding for each picture with text; the words are its detail. About 0.2 s a picture and core."""
    findings: list[Finding] = []
    entries = ((row, entry) for row, entry in enumerate(source.entries()) if usable[row])
    results = ordered(lambda item: (item[0], _words(item[1], levels, read)), entries)
    for done, (row, words) in enumerate(results, 1):
        letters = sum(c.isalnum() for word in words for c in word)
        if letters >= LETTERS:
            findings.append(Finding(row, "text", float(letters), " ".join(words)[:80]))
        if done % TOLD == 0:
            progress(f"{done:,} pictures read for text")
    return findings


def _words(entry: Entry, levels: Levels, read: Reader) -> list[str]:
    """The words that Tesseract is sure of, two letters or more."""
    try:
        data = entry.read()
        if not isinstance(data, bytes):
            file = io.BytesIO()
            as_image(data).save(file, "PNG")
            data = file.getvalue()
        image = as_image(decode(data, 1, (255, 255, 255), SIDE, levels)[0])
    except Skip:
        return []
    times = max(1, SIDE // max(image.size))
    words = read(image.resize((image.width * times, image.height * times), Image.Resampling.BICUBIC))
    pairs = zip(words["text"], words["conf"], strict=True)
    return [word for word, sure in pairs if float(sure) >= SURE and sum(c.isalnum() for c in word) > 1]
