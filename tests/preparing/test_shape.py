"""The shape of a store: resolution and channels."""

from __future__ import annotations

import pytest

from ganforge.base.errors import GanforgeError
from ganforge.preparing.prepare import prepare
from ganforge.preparing.shape import parse_resolution
from ganforge.sources import survey
from ganforge.sources.source import open_source
from hostile import encoded, photo


@pytest.mark.parametrize(("text", "size"), [("64", (64, 64)), ("48x64", (48, 64)), (32, (32, 32))])
def test_resolution(text, size):
    assert parse_resolution(text) == size


@pytest.mark.parametrize("text", ["", "x", "64x", "0", "7", "64x64x3", "-64", "9999"])
def test_wrong_resolutions(text):
    with pytest.raises(GanforgeError):
        parse_resolution(text)


def test_colour_late_in_the_set_is_not_greyed(tmp_path):
    """The first 300 of 400 are grey."""
    folder = tmp_path / "in"
    folder.mkdir()
    for n in range(400):
        (folder / f"{n:03d}.png").write_bytes(encoded(photo(n, (12, 12)).convert("L" if n < 300 else "RGB"), "PNG"))
    made = prepare(folder, tmp_path / "store")
    assert made.store.spec.channels == 3 and not made.skipped
    assert any("are grey" in note and "--channels 1 greys them" in note for note in made.notes)
    grey = prepare(folder, tmp_path / "grey", channels=1)
    assert grey.store.spec.channels == 1 and any("greyed by --channels 1" in note for note in grey.notes)


def test_colour_that_was_not_looked_at_is_left_out_by_name(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for n in range(400):
        (folder / f"{n:03d}.png").write_bytes(encoded(photo(n, (12, 12)).convert("L"), "PNG"))
    seen = {entry.name for entry in survey.sample(open_source(folder))}
    assert len(seen) == survey.LOOKED_AT and {name[0] for name in seen} == set("0123")
    missed = sorted({f"{n:03d}.png" for n in range(400)} - seen)
    (folder / missed[0]).write_bytes(encoded(photo(7, (12, 12)), "PNG"))
    (folder / missed[1]).write_bytes(
        encoded(photo(8, (12, 12)).convert("L").convert("RGB"), "JPEG")
    )  # grey, written as RGB
    made = prepare(folder, tmp_path / "store")
    assert [name for name, _ in made.skipped] == [missed[0]] and "--channels 3" in made.skipped[0][1]
    assert made.unusable == 1


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG"])
def test_the_other_frames_of_animations_are_not_passed_over_in_silence(tmp_path, format):
    folder = tmp_path / "in"
    folder.mkdir()
    for n in range(20):
        first, second = photo(n, (12, 12)), photo(100 + n, (12, 12))
        first.save(folder / f"{n}.{format.lower()}", save_all=n < 3, **({"append_images": [second]} if n < 3 else {}))
    made = prepare(folder, tmp_path / "store")
    assert "3 of 20 pictures looked at are animations, of which the first frame is taken; --medium clip takes all" in (
        made.notes
    )
