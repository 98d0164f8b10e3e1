"""Emoji by the names of their files: captions, folders and tars."""

from __future__ import annotations

import csv
import io
import tarfile

import numpy as np
import pytest
from PIL import Image

from ganforge.collecting.collect import collect
from ganforge.preparing.prepare import prepare
from ganforge.web import emoji

NAMES = ["emoji_u1f600.png", "emoji_u1f468_200d_1f4bb.png", "emoji_u2764.png", "emoji_u1f34e.png", "emoji_u1f697.png",
         "emoji_u1f415.png", "emoji_u1f408.png", "emoji_u2b50.png", "emoji_u1f319.png", "emoji_u1f333.png"]  # fmt: skip
OTHERS = ["emoji_u1f44d_1f3fb.png", "emoji_u1f1e9_1f1ea.png", "emoji_u10ffff.png", "face.png"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("emoji_u1f600.png", "grinning face"),
        ("emoji_u1f468_200d_1f4bb.png", "man, personal computer"),
        ("emoji_u2764_fe0f.png", "heavy black heart"),
        ("emoji_u1f44d_1f3fb.png", ""),
        ("emoji_u1f1e9_1f1ea.png", ""),
        ("emoji_ue000.png", ""),
        ("emoji_u1f600.txt", ""),
    ],
)
def test_a_name_is_a_caption(name, text):
    assert emoji.caption(name) == text


@pytest.mark.parametrize("kind", ["repository", "folder", "tar"])
def test_they_are_collected_with_their_captions(kind, tmp_path, monkeypatch):
    monkeypatch.setattr(emoji, "FEWEST", 10)
    root = tmp_path / "noto"
    folder = root / "png" / "128" if kind != "folder" else root
    folder.mkdir(parents=True)
    for n, name in enumerate([*NAMES, *OTHERS]):
        pixels = np.random.default_rng(n).integers(0, 256, (16, 16, 4), np.uint8)
        Image.fromarray(pixels).save(folder / name)
    source = root
    if kind == "tar":
        source = tmp_path / "noto.tar.gz"
        with tarfile.open(source, "w:gz") as tar:
            tar.add(root, "noto-emoji-1")
            tar.addfile(tarfile.TarInfo("noto-emoji-1/README.md"), io.BytesIO())
    out = collect("emoji", tmp_path / "emoji", source)
    with (out / "captions.csv").open() as file:
        rows = {row["file"]: row["caption"] for row in csv.DictReader(file)}
    assert set(rows) == set(NAMES) == {path.name for path in out.glob("*.png")}
    assert rows["emoji_u1f34e.png"] == "red apple"
    store = prepare(out, tmp_path / "store").store
    assert store.spec.captions is not None and len(store) == 10


def test_a_folder_of_something_else_says_so(tmp_path, fails):
    (tmp_path / "in").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "in" / "face.png")
    assert "has 0 pictures of emoji" in fails("collect", "emoji", "--from", tmp_path / "in", "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()
