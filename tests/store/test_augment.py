"""Augmentation of a data set."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from ganforge.base.errors import InputError
from ganforge.cli import main
from ganforge.media.spec import Spec
from ganforge.store import augment as lists
from ganforge.store.stream import Stream
from ganforge.testing import make_store

EVERYTHING = (
    "flip, upside, rotate 20, shift 0.2, scale 0.2, crop 0.3, perspective 0.3, brightness, contrast, saturation, noise"
)


def smooth(count: int, channels: int, height: int, width: int) -> torch.Tensor:
    """Pictures without fine detail, which sampling twice blurs little."""
    coarse = torch.rand(count, channels, 4, 4) * 2 - 1
    return torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic").clamp(-1, 1)


def test_words_of_a_list():
    spec = Spec(8, 8, 3)
    assert lists.parse("flip, rotate 10,shift", "train.augment", spec) == {"flip": 0.5, "rotate": 10.0, "shift": 0.1}
    assert lists.parse("", "train.augment", spec) == {}
    for wrong, why in (("flp", "Did you mean flip"), ("rotate 200", "at most 180"), ("crop x", "crop 0.1")):
        with pytest.raises(InputError, match=why):
            lists.parse(wrong, "train.augment", spec)


@pytest.mark.parametrize("spec", [Spec(16, 16, 3, ("a", "b")), Spec(9, 14, 4), Spec(12, 12, 1)])
def test_a_stream_is_the_same_for_every_split_into_batches(spec, tmp_path):
    store, cpu = make_store(tmp_path / "s", spec, 50), torch.device("cpu")
    whole = Stream(store, 3, cpu, changes=EVERYTHING).batch(0, 60)
    stream = Stream(store, 3, cpu, changes=EVERYTHING)
    parts = [stream.batch(start, 1 if start < 7 else 53) for start in (*range(7), 7)]
    assert torch.equal(whole.images, torch.cat([p.images for p in parts]))
    plain = Stream(store, 3, cpu).batch(0, 60)
    assert whole.images.shape == plain.images.shape and whole.images.abs().max() <= 1
    assert (whole.images != plain.images).flatten(1).any(1).all()
    if spec.classes:
        assert torch.equal(whole.labels, plain.labels)
        assert torch.equal(whole.labels, torch.cat([p.labels for p in parts]))
    other = Stream(store, 4, cpu, changes=EVERYTHING).batch(0, 60)
    assert not torch.equal(whole.images, other.images)


@pytest.mark.parametrize("word", [w for w in lists.KINDS if w != "flip"])
def test_each_word_does_what_it_says(word, tmp_path):
    spec, numbers = Spec(24, 24, 3), np.arange(400)
    x = smooth(1, 3, 24, 24).expand(400, 3, 24, 24)
    strong = {"rotate": 30.0, "noise": 0.1}.get(word, 0.3)
    y = lists.apply(x, {word: strong}, 0, numbers, spec)
    change = (y - x).flatten(1).std(1)
    assert change.max() > 0.05
    torch.testing.assert_close(lists.apply(x[:4], {word: 0.0}, 0, numbers[:4], spec), x[:4], atol=1e-4, rtol=0.0)
    if word == "noise":
        inside = (x.abs() < 0.5).expand_as(y)
        assert (y - x)[inside].std().item() == pytest.approx(0.2, rel=0.02)
    if word == "upside":
        flipped = (y == x.flip(2)).flatten(1).all(1)
        assert int(flipped.sum()) == pytest.approx(120, abs=40)
    if word == "brightness":
        by = (y - x)[:, 0, 12, 12]
        assert -0.6 <= by.min() < -0.5 and 0.2 < by.max() <= 0.6


def test_flip_is_mirror():
    x, spec = torch.rand(100, 1, 6, 6), Spec(6, 6, 1)
    y = lists.apply(x, {"flip": 0.5}, 5, np.arange(100), spec)
    flipped = (y == x.flip(3)).flatten(1).all(1)
    assert ((y == x).flatten(1).all(1) | flipped).all() and 30 < int(flipped.sum()) < 70
    assert torch.equal(lists.apply(x, {"flip": 1.0}, 5, np.arange(100), spec), x.flip(3))


def test_levels_bound_what_is_shown():
    """Where bytes reach from -3 to 3 in floats, brightness may go there and no further."""
    spec = Spec(8, 8, 1, levels=((85.0, 170.0),))
    x = (torch.rand(50, 1, 8, 8) * 6 - 3).clamp(-3, 3)
    y = lists.apply(x, {"brightness": 1.0}, 0, np.arange(50), spec)
    assert y.max().item() == pytest.approx(3, abs=1e-5) and y.min().item() == pytest.approx(-3, abs=1e-5)


def test_show_and_train_understand_the_list(tmp_path, capsys, fails):
    store = make_store(tmp_path / "store", Spec(8, 8, 3), 40)
    assert main(["show", str(store.path), "--augment", "flip, rotate 10"]) == 0
    assert "augmented.png" in capsys.readouterr().out
    with Image.open(store.path / "augmented.png") as sheet:
        assert sheet.width == 9 * 58 - 2 and sheet.height == 8 * 58 - 2
    assert "Did you mean rotate?" in fails("show", store.path, "--augment", "rotat 3")
    words = ["train", "gan", store.path, "--out", tmp_path / "run", "--images", "32", "--train.batch", "16"]
    assert "Did you mean rotate?" in fails(*words, "--train.augment", "rotat 3")
    assert "model.augment names" in fails("train", "dcgan", *words[2:], "--model.augment", "dropout")
    assert not (tmp_path / "run").exists()
    assert main([str(word) for word in words] + ["--train.augment", "flip, rotate 10, noise"]) == 0
    assert "no store" in fails("show", tmp_path / "run", "--augment", "flip")
