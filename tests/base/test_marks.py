"""The mark of what a system made, in every format."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import ExifTags, Image, PngImagePlugin

from ganforge.base import marks
from ganforge.base.errors import InputError
from ganforge.base.images import write_image
from ganforge.cli import main
from ganforge.latent.walk import write_video
from ganforge.media import video
from ganforge.media.spec import Spec
from ganforge.testing import make_store
from ganforge.training.train import train

PIXELS = np.random.default_rng(0).integers(0, 256, (16, 24, 3), np.uint8)


SAID = {"run": 'a "b" & <c> ü', "seeds": [3, 5]}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    place = tmp_path_factory.mktemp("marks")
    store = make_store(place / "store", Spec(16, 16, 3), 40)
    return train("gan", store, place / "run", size="small", overrides={"train": {"images": 64}}).path


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".JPEG", ".webp"])
@pytest.mark.parametrize(
    ("mark", "term"), [("generated", "trainedAlgorithmicMedia"), ("restored", "algorithmicallyEnhanced")]
)
def test_every_picture_format_carries_the_mark(tmp_path, suffix, mark, term):
    path = tmp_path / f"a{suffix}"
    write_image(path, PIXELS, SAID, mark)
    assert marks.read(path) == {mark: True, **SAID}
    with Image.open(path) as image:
        image.load()
        assert f"digitalsourcetype/{term}" in str(image.info["xmp"])
        if suffix != ".png":
            assert json.loads(image.getexif()[ExifTags.Base.ImageDescription]) == {mark: True, **SAID}
        off = np.abs(np.asarray(image.convert("RGB")).astype(int) - PIXELS)
    assert off.max() == 0 if suffix in (".png", ".webp") else off.mean() < 12
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", [".webp", ".gif", ".mp4"])
def test_every_video_format_carries_the_mark(tmp_path, suffix):
    pytest.importorskip("av" if suffix == ".mp4" else "PIL", reason='PyAV comes with pip install "ganforge[video]"')
    path = tmp_path / f"a{suffix}"
    write_video(path, np.stack([PIXELS] * 4), SAID)
    assert marks.read(path) == {"generated": True, **SAID}
    assert b"digitalsourcetype/trainedAlgorithmicMedia" in path.read_bytes()
    if suffix == ".mp4":
        assert len(list(video.stored(path.read_bytes(), 24.0))) == 4, "players go over a box that they do not know"


def test_what_carries_no_mark_has_none(tmp_path):
    for suffix in (".png", ".jpg", ".webp", ".gif"):
        Image.fromarray(PIXELS).save(tmp_path / f"a{suffix}", comment=b"hello")
        assert marks.read(tmp_path / f"a{suffix}") is None
    (tmp_path / "a.mp4").write_bytes(b"\0\0\0\x18ftypisom" + bytes(12) + b"\0\0\0\0mdat")
    assert marks.read(tmp_path / "a.mp4") is None


def test_a_format_that_cannot_carry_the_mark_is_refused(tmp_path):
    for name in ("a", "a.bmp", "a.tif", "a.pgn"):
        with pytest.raises(InputError, match=r"has to end in \.png"):
            write_image(tmp_path / name, PIXELS, SAID)
    with pytest.raises(InputError, match="JPEG knows none"):
        write_image(tmp_path / "a.jpg", np.zeros((4, 4, 4), np.uint8), SAID)
    with pytest.raises(InputError, match="so many seeds"):
        write_image(tmp_path / "a.jpg", PIXELS, {"seeds": list(range(20_000))})
    for name in ("a.jpg", "a.webp"):
        with pytest.raises(InputError, match=r"a side. Let it end in \.png"):
            write_image(tmp_path / name, np.zeros((1, 70_000, 1), np.uint8), SAID)
    write_image(tmp_path / "a.webp", PIXELS, {"seeds": list(range(20_000))})
    assert len(marks.read(tmp_path / "a.webp")["seeds"]) == 20_000
    assert [file.name for file in tmp_path.iterdir()] == ["a.webp"]


@pytest.mark.parametrize("suffix", [".jpg", ".webp", ".png"])
def test_samples_and_projections_say_their_seeds_and_run(run, tmp_path, suffix):
    sheet = tmp_path / f"sheet{suffix}"
    assert main(["sample", str(run), "--seeds", "3,5", "--out", str(sheet)]) == 0
    said = marks.read(sheet)
    assert said["generated"] and said["seeds"] == [3, 5] and said["run"] == run.name
    found = tmp_path / f"found{suffix}"
    assert main(["project", str(run), str(sheet), "-o", str(found), "--steps", "1"]) == 0
    assert marks.read(found)["run"] == run.name


def test_wrong_suffixes_are_said_before_anything_is_made(run, tmp_path, fails):
    for name in ("sheet", "sheet.bmp"):
        assert "has to end in .png" in fails("sample", run, "--out", tmp_path / name)
        assert "has to end in .png" in fails("project", run, tmp_path / "none.png", "-o", tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_the_pages_of_a_run_are_marked(run):
    assert main(["measure", str(run), "--samples", "40"]) == 0
    for path in [*(run / "samples").iterdir(), run / "nearest.png"]:
        assert marks.read(path)["generated"]


@pytest.mark.parametrize("text", ["no JSON", "[1]", "[" * 100_000])
def test_a_text_of_strangers_is_no_mark(tmp_path, text):
    info = PngImagePlugin.PngInfo()
    info.add_text("ganforge", text)
    Image.new("L", (4, 4)).save(tmp_path / "a.png", pnginfo=info)
    assert marks.read(tmp_path / "a.png") is None
