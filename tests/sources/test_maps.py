"""Files that are maps of ids."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from ganforge.base.errors import DataError
from ganforge.media.pair import Pair
from ganforge.sources import maps
from ganforge.sources.entry import Entry, Skip
from hostile import damaged

IDS = np.arange(48, dtype=np.uint8).reshape(6, 8) % 5 * 3


def file_of(ids: np.ndarray, palette: list[int] | None = None, kind: str = "PNG", **options: object) -> bytes:
    image = Image.fromarray(ids)
    if palette:
        image.putpalette(palette)
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def entries(*files: bytes) -> list[Entry]:
    return [Entry(f"{n}.png", lambda data=data: data) for n, data in enumerate(files)]


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP"])
@pytest.mark.parametrize("palette", [None, [9, 8, 7] * 13])
def test_values_and_indices_are_ids(kind, palette):
    assert np.array_equal(maps.read(file_of(IDS, palette, kind)).ids, IDS)


def test_a_palette_keeps_its_colours_and_grey_ones_get_some():
    palette = [n for colour in range(13) for n in (colour, 2 * colour, 255)]
    assert maps.palette(entries(file_of(IDS, palette)), 5) == (
        "0 #0000ff", "3 #0306ff", "6 #060cff", "9 #0912ff", "12 #0c18ff",
    )  # fmt: skip
    grey = np.array([[0, 1, 15, 255]], np.uint8).repeat(2, 0)
    assert maps.palette(entries(file_of(grey)), 4) == ("0 #000000", "1 #800000", "15 #c08080", "255 #e0e0c0")


def test_sixteen_bits_turned_pictures_and_single_bits_are_read():
    assert np.array_equal(maps.read(file_of(IDS.astype(np.uint16))).ids, IDS)
    assert np.array_equal(maps.read(file_of(IDS > 4)).ids, IDS > 4)
    exif = Image.Exif()
    exif[0x0112] = 6
    assert np.array_equal(maps.read(file_of(IDS, exif=exif)).ids, np.rot90(IDS, -1))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty file"),
        (b"words", "not an image"),
        (
            file_of(np.zeros((4, 4, 3), np.uint8)),
            "no map of ids but RGB: save it as a PNG that is grey or has a palette",
        ),
        (file_of(IDS, kind="JPEG"), "no map of ids: a JPEG does not keep them; save it as PNG"),
        (file_of(IDS, kind="GIF"), "no map of ids: a GIF does not keep them"),
        (file_of(np.full((4, 4), 4012, np.uint16)), "ids out of range: 4012 to 4012, and a map takes 0 to 255"),
        (file_of(IDS)[:-30], "damaged"),
    ],
)
def test_what_is_no_map_is_named(data, reason):
    with pytest.raises(Skip, match=reason):
        maps.read(data)


def test_a_damaged_map_is_a_reason_and_never_another_error():
    whole = file_of(IDS, [1, 2, 3] * 13)
    for seed in range(60):
        try:
            assert maps.read(damaged(whole, seed, 2)).ids.ndim == 2
        except Skip as why:
            assert str(why)


def test_ids_become_numbers_and_strangers_are_named():
    pair = Pair(1, ("0 #000000", "3 #111111", "6 #222222", "9 #333333", "12 #444444"))
    assert np.array_equal(maps.numbers(maps.read(file_of(IDS)), pair)[..., 0], IDS // 3)
    with pytest.raises(Skip, match="ids that no other map has: 1, 4"):
        maps.numbers(maps.read(file_of(np.array([[1, 4, 6]], np.uint8))), pair)
    with pytest.raises(Skip, match="too many ids: 48, more than 5; smoothed edges, or no map of ids"):
        maps.numbers(maps.read(file_of(np.arange(48, dtype=np.uint8)[None])), pair)
    with pytest.raises(Skip, match="another palette: its id 0 is #090807, and #000000 in most maps"):
        maps.numbers(maps.read(file_of(IDS, [9, 8, 7] * 13)), pair)


def test_ids_of_a_set_are_counted():
    plain = file_of(IDS)
    smooth = file_of(np.arange(200, dtype=np.uint8)[None])
    assert len(maps.palette(entries(plain, smooth, b"x"), 5)) == 5, "one odd file does not decide for all"
    with pytest.raises(
        DataError, match=r"None of the given pictures is a map of at most 4 ids: '0.png': too many ids: 5"
    ):
        maps.palette(entries(plain), 4)
    with pytest.raises(
        DataError, match=r"have 6 ids, more than the 5 of --ids; the rarest are 7 \(1 pixels?, .*'1.png'"
    ):
        maps.palette(entries(plain, file_of(np.array([[7, 0]], np.uint8))), 5)
    with pytest.raises(DataError, match="one id alone, 0"):
        maps.palette(entries(file_of(IDS * 0)), 5)


def test_most_files_decide_about_a_colour():
    odd, usual = file_of(IDS, [1, 1, 1] * 13), file_of(IDS, [2, 2, 2] * 13)
    assert maps.palette(entries(odd, usual, usual), 5)[0] == "0 #020202"
