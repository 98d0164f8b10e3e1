"""Levels of pictures with more than eight bits."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from ganforge.auditing.audit import audit
from ganforge.auditing.checks import of_file
from ganforge.auditing.facts import look
from ganforge.cli import main
from ganforge.preparing.prepare import prepare
from ganforge.sources import survey
from ganforge.sources.decode import decode
from ganforge.sources.source import open_source
from ganforge.store.store import Store
from hostile import encoded, photo


def deep_set(folder: Path, bits: int, suffix: str = ".png", count: int = 10) -> None:
    """Ramps that reach up to n tenths of the bits."""
    folder.mkdir()
    ramp = np.linspace(0, 1, 256).reshape(16, 16)
    for n in range(1, count + 1):
        values = (ramp * n / count * (2**bits - 1)).round().astype(np.uint16)
        (folder / f"{n:02d}{suffix}").write_bytes(
            encoded(Image.fromarray(values), "PNG" if suffix == ".png" else "TIFF")
        )


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
def test_bits_in_files_of_16_become_bytes_for_the_whole_set(tmp_path, bits):
    deep_set(tmp_path / "in", bits)
    made = prepare(tmp_path / "in", tmp_path / "store", heldout=0)
    assert any(f"0 becomes black, {2**bits - 1:,} white" in note for note in made.notes)
    pictures = made.store.read(np.arange(10))
    truth = np.linspace(0, 1, 256).reshape(16, 16) * 255
    for n, picture in enumerate(pictures, 1):
        assert abs(picture[..., 0] - truth * n / 10).max() <= 0.65
    facts = pq.read_table(audit(tmp_path / "in", tmp_path / "audit").path / "pictures.parquet").to_pylist()
    assert [row["high"] for row in facts] == sorted(row["high"] for row in facts) and facts[-1]["high"] > 240


def test_levels_that_are_said(tmp_path, capsys, fails):
    deep_set(tmp_path / "in", 12)
    full = prepare(tmp_path / "in", tmp_path / "full", levels="full", heldout=0).store.read(np.arange(10))
    assert full.max() == 16
    window = prepare(tmp_path / "in", tmp_path / "window", levels="1000,2000", heldout=0).store.read(np.arange(10))
    assert window[1].max() == 0 and window[9].min() == 0 and window[9].max() == 255
    for wrong in ("all", "5", "7,7", "9,1", "0,inf", "a,b"):
        assert "such as 0,4095" in fails("prepare", tmp_path / "in", "--out", tmp_path / "x", "--levels", wrong)


def test_float_tiffs_share_their_levels(tmp_path):
    """Picture by picture the dim one would be as bright as the bright one."""
    (tmp_path / "in").mkdir()
    ramp = np.linspace(0, 1, 256, dtype=np.float32).reshape(16, 16)
    for n in range(1, 11):
        (tmp_path / "in" / f"{n:02d}.tif").write_bytes(encoded(Image.fromarray(ramp * n * 100 - 50), "TIFF"))
    made = prepare(tmp_path / "in", tmp_path / "store", heldout=0)
    levels = "more than 8 bits: -50 becomes black, 950 white in 10 pictures of floats"
    assert f"{levels}, less than an eighth of that in 1 of them; --levels sets it" in made.notes
    assert any("-50 becomes black" in note for note in audit(tmp_path / "in", tmp_path / "audit").notes)
    assert (
        main(["prepare", str(tmp_path / "in"), "-o", str(tmp_path / "said"), "--levels=-50,950", "--heldout", "0"]) == 0
    )
    assert np.array_equal(Store(tmp_path / "said").read(np.arange(10)), made.store.read(np.arange(10)))
    brightest = made.store.read(np.arange(10)).max((1, 2, 3))
    assert brightest.tolist() == [round(n * 25.5) for n in range(1, 11)]
    out = tmp_path / "clean"
    assert main(["clean", str(tmp_path / "in"), "-o", str(out), "--filter", "median:size=3"]) == 0
    assert [int(np.asarray(Image.open(path)).max()) for path in sorted(out.glob("*.png"))] == pytest.approx(
        brightest, abs=3
    )


def test_sixteen_bits_of_colour_keep_their_lower_ones():
    import imagecodecs

    values = np.random.default_rng(0).integers(0, 4096, (20, 30, 3)).astype(np.uint16)
    tiff = imagecodecs.tiff_encode(values, photometric="rgb") if hasattr(imagecodecs, "tiff_encode") else None
    for data in filter(None, (imagecodecs.png_encode(values), tiff)):
        pixels, _ = decode(data, 3, (0, 0, 0), 32)
        assert abs(pixels - values * (255 / 4095)).max() <= 0.5
        facts, *_ = look(data, "a.png")
        assert facts.mode == "RGB;16" and [f.code for f in of_file(0, facts, "a.png", False)][-1:] == ["mode"]
    see_through = np.concatenate([values, np.full((20, 30, 1), 65535, np.uint16)], 2)
    pixels, _ = decode(imagecodecs.png_encode(see_through), 4, (0, 0, 0), 32)
    assert (pixels[..., 3] == 255).all() and abs(pixels[..., :3] - values * (255 / 4095)).max() <= 0.5


def test_deep_pictures_that_were_not_looked_at(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for n in range(400):
        (folder / f"{n:03d}.png").write_bytes(encoded(photo(n, (12, 12)).convert("L"), "PNG"))
    missed = sorted({f"{n:03d}.png" for n in range(400)} - {entry.name for entry in survey.sample(open_source(folder))})
    ramp = np.linspace(0, 1, 144).reshape(12, 12)
    for name, top in zip(missed, (4095, 65535), strict=False):
        (folder / name).write_bytes(encoded(Image.fromarray((ramp * top).astype(np.uint16)), "PNG"))
    made = prepare(folder, tmp_path / "store")
    assert [name for name, _ in made.skipped] == [missed[0]] and "--levels" in made.skipped[0][1]


def test_shards_joined_share_the_levels(tmp_path):
    deep_set(tmp_path / "in", 12)
    words = ["prepare", str(tmp_path / "in"), "--out", str(tmp_path / "store"), "--part-size", "4"]
    assert main([*words, "--shard", "0/2"]) == 0 and main(words) == 0
    at_once = prepare(tmp_path / "in", tmp_path / "again", part_size=4)
    assert np.array_equal(Store(tmp_path / "store").read(np.arange(10)), at_once.store.read(np.arange(10)))
    assert json.loads((tmp_path / "store" / "manifest.json").read_text())["recipe"]["depth"] == "integers 0 to 4,095"
