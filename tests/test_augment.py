"""Augmentation: folded matrices against changes one after the other, ADA's chance and its averages, lists of words as
pure functions."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from PIL import Image

from ganforge.base.errors import InputError
from ganforge.cli import main
from ganforge.media.spec import Spec
from ganforge.models import dcgan
from ganforge.nn import warp
from ganforge.nn.augment import COLOURS, GEOMETRY, LIMIT, Augment, parse
from ganforge.runs import Run
from ganforge.store import augment as lists
from ganforge.store.stream import Stream
from ganforge.system import Batch
from ganforge.testing import make_store
from ganforge.training.train import train

EVERYTHING = (
    "flip, upside, rotate 20, shift 0.2, scale 0.2, crop 0.3, perspective 0.3, brightness, contrast, saturation, noise"
)


def smooth(count: int, channels: int, height: int, width: int) -> torch.Tensor:
    """Pictures without fine detail, which sampling twice blurs little."""
    coarse = torch.rand(count, channels, 4, 4) * 2 - 1
    return torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic").clamp(-1, 1)


# ------------------------------------------------------------------------------------------------------------ geometry


@pytest.mark.parametrize("shape", [(3, 3, 16, 16), (2, 1, 12, 20), (2, 4, 9, 13)])
def test_whole_changes_are_exact(shape):
    x = torch.rand(shape)
    n = torch.ones(shape[0])
    close = {"atol": 2e-5, "rtol": 0.0}
    torch.testing.assert_close(warp.warp(x, warp.scale(n, n)), x, **close)
    torch.testing.assert_close(warp.warp(x, warp.scale(-n, n)), x.flip(3), **close)
    torch.testing.assert_close(warp.warp(x, warp.scale(n, -n)), x.flip(2), **close)
    torch.testing.assert_close(warp.warp(x, warp.rotate(math.pi * n)), x.flip(2, 3), **close)
    moved = warp.warp(x, warp.shift(3 * n, -2 * n))
    torch.testing.assert_close(moved[:, :, :-2, 3:], x[:, :, 2:, :-3], **close)
    torch.testing.assert_close(moved[:, :, :-2, :3], x[:, :, 2:, :3].flip(3), **close)  # mirrored beyond the edge
    if shape[2] == shape[3]:
        torch.testing.assert_close(warp.warp(x, warp.rotate(math.pi / 2 * n)), x.rot90(-1, (2, 3)), **close)


def test_a_fold_is_its_parts_one_after_the_other():
    x = smooth(6, 3, 96, 96)
    parts = [
        warp.rotate(torch.linspace(-0.3, 0.3, 6)),
        warp.scale(torch.linspace(0.9, 1.2, 6), torch.linspace(1.1, 0.8, 6)),
        warp.shift(torch.linspace(-4, 5, 6), torch.linspace(3.5, -2, 6)),
        warp.tilt(torch.linspace(-1e-3, 1e-3, 6), torch.linspace(1e-3, 0, 6)),
    ]
    one_by_one = x
    for part in parts:
        one_by_one = warp.warp(one_by_one, part)
    inside = (slice(None), slice(None), slice(24, -24), slice(24, -24))
    folded = warp.warp(x, warp.fold(*parts))[inside]
    backwards = warp.warp(x, warp.fold(*parts[::-1]))[inside]
    assert (folded - one_by_one[inside]).abs().mean() < 0.004
    assert (backwards - one_by_one[inside]).abs().mean() > 0.02


def test_a_sampled_picture_may_be_differentiated_twice():
    x = torch.rand(2, 1, 5, 6, dtype=torch.float64, requires_grad=True)
    places = warp.fold(warp.rotate(torch.tensor([0.3, -0.5])), warp.shift(torch.tensor([0.7, 1.2]), torch.zeros(2)))
    torch.manual_seed(0)

    def squares(images: torch.Tensor) -> torch.Tensor:
        return warp.warp(images, places).square().sum()

    assert torch.autograd.gradgradcheck(squares, (x,))


# ------------------------------------------------------------------------------------------------------------- colours


def test_colour_matrices():
    x = torch.rand(5, 3, 8, 8) * 2 - 1
    one, zero = torch.ones(5), torch.zeros(5)
    grey = x.mean(1, keepdim=True)
    torch.testing.assert_close(warp.recolour(x, warp.about_grey(one, one, zero)), x)
    torch.testing.assert_close(warp.recolour(x, warp.about_grey(one, 0 * one, zero)), grey.expand_as(x))
    torch.testing.assert_close(warp.recolour(x, warp.about_grey(-one, one, zero)), x - 2 * grey)  # luma flip
    turned = warp.recolour(x, warp.about_grey(one, one, 2 * math.pi / 3 * one))
    torch.testing.assert_close(turned, x.roll(1, 1))  # a third of a turn takes red to green
    hue = warp.about_grey(one, one, torch.linspace(-3, 3, 5))
    torch.testing.assert_close(hue[:, :3, :3] @ hue[:, :3, :3].mT, torch.eye(3).expand(5, 3, 3))
    torch.testing.assert_close(warp.recolour(warp.recolour(x, hue), hue.inverse()), x)
    both = warp.fold(warp.contrast(2 * one), warp.brighten(0.1 * one))
    torch.testing.assert_close(warp.recolour(x, both), 2 * (x + 0.1))  # the right one comes first


def test_grey_counts_as_three_equal_colours_and_alpha_stays():
    x = torch.rand(4, 1, 6, 6) * 2 - 1
    m = warp.fold(
        warp.about_grey(-torch.ones(4), torch.rand(4), torch.rand(4)),
        warp.contrast(torch.rand(4)),
        warp.brighten(torch.rand(4)),
    )
    torch.testing.assert_close(warp.recolour(x, m).expand(4, 3, 6, 6), warp.recolour(x.expand(4, 3, 6, 6), m))
    four = torch.rand(4, 4, 6, 6)
    assert torch.equal(warp.recolour(four, m)[:, 3], four[:, 3])


# ----------------------------------------------------------------------------------------------------------------- ADA


def test_words_of_the_models_list():
    assert parse("color, ada 0.3") == (("color",), frozenset(GEOMETRY + COLOURS), 0.3)
    assert parse("flip, turn") == ((), frozenset({"flip", "turn"}), None)
    for wrong in ("adda", "ada 2", "color 0.3", "flip 0.1, turn 0.2", "ada x", "ada, ada", "ada -1", "ada nan"):
        with pytest.raises(InputError):
            dcgan.Config(augment=wrong)


def test_ada_at_zero_is_the_identity():
    x = torch.rand(8, 3, 16, 16)
    torch.testing.assert_close(Augment("ada")(x), x, atol=2e-5, rtol=0.0)
    assert torch.equal(Augment("")(x), x)
    assert not Augment("").state_dict()


@pytest.mark.parametrize("kind", GEOMETRY + COLOURS)
def test_each_part_changes_some_pictures_and_passes_gradients(kind):
    torch.manual_seed(0)
    x = (torch.rand(64, 3, 16, 16) * 2 - 1).requires_grad_()
    y = Augment(f"{kind} 0.5")(x)
    same = (y - x).abs().flatten(1).amax(1) < 1e-4
    assert 5 < int(same.sum()) < 60
    y.sum().backward()
    assert x.grad is not None and x.grad.abs().sum() > 0


def test_averages_over_draws_are_the_known_mixtures():
    """Of flips with chance p, half mirror; of quarter turns, each of four has p / 4, and so the identity 1 - 3 p /
    4."""
    torch.manual_seed(0)
    x = torch.rand(1, 1, 8, 8)
    many = x.expand(20_000, 1, 8, 8)
    for p in (0.5, 0.8):
        mean = Augment(f"flip {p}")(many).mean(0)
        torch.testing.assert_close(mean, ((1 - p / 2) * x + p / 2 * x.flip(3))[0], atol=0.01, rtol=0.0)
        mean = Augment(f"turn {p}")(many).mean(0)
        turns = sum(x.rot90(k, (2, 3)) for k in range(4)) / 4
        torch.testing.assert_close(mean, ((1 - p) * x + p * turns)[0], atol=0.015, rtol=0.0)
        mean = Augment(f"invert {p}")(many).mean(0)
        torch.testing.assert_close(mean, ((1 - p) * x)[0], atol=0.02, rtol=0.0)


def test_the_chance_moves_towards_the_target_and_keeps_its_limits():
    module, batch = Augment("ada", speed=1000), Batch(torch.zeros(25, 1, 4, 4), None, 0)

    def show(share: float, steps: int) -> float:
        scores = torch.where(torch.arange(25) < 25 * share, 1.0, -1.0)
        for _ in range(steps):
            module.update(scores, batch)
            batch.seen += 25
        return module.p.item()

    assert show(1.0, 3) == 0
    assert show(1.0, 1) == pytest.approx(0.1)
    assert show(0.96, 4) == pytest.approx(0.2)  # mean sign 0.92
    assert show(0.4, 4) == pytest.approx(0.1)
    assert show(1.0, 100) == pytest.approx(LIMIT)
    assert show(0.0, 100) == 0
    module.eval()
    assert module.update(torch.ones(25), batch) == {}
    assert Augment("ada 0.3").update(torch.ones(25), batch) == {}


def test_the_chance_resumes_exactly(tmp_path, monkeypatch):
    monkeypatch.setattr("ganforge.nn.augment._EVERY", 3)
    store = make_store(tmp_path / "store", Spec(16, 16, 3), 40)
    found = []
    for name, lengths in (("whole", (80,)), ("parts", (40, 56, 80))):
        for length in lengths:
            overrides = {
                "model": {"augment": "ada", "width": 8, "latent": 8},
                "train": {"images": length, "batch": 8, "precision": "fp32"},
            }
            run = train("dcgan", store, tmp_path / name, size="small", device_name="cpu", overrides=overrides)
        found.append(Run(run.path).load()[0])
    assert found[0]["system.augment.p"] > 0
    for key, value in found[0].items():
        assert torch.equal(value, found[1][key]), key


@pytest.mark.slow
def test_strong_flips_do_not_leak():
    """Pictures whose left half is bright, seen through flips with p = 0.4: the generator's are bright on the left.

    A control that is flipped half of the time before anybody sees it comes out mixed, so the test could fail.
    """
    spec = Spec(16, 16, 1)

    def share_of_left(augmented: str, flipped: bool) -> float:
        torch.manual_seed(0)
        system = dcgan.DCGAN(dcgan.Config(latent=8, width=16, augment=augmented), spec)
        optimizer = torch.optim.Adam(system.parameters(), 2e-3, (0.0, 0.99))
        for step in range(400):
            level = torch.rand(32, 1, 1, 1) * 0.4
            images = torch.cat([(0.5 + level).expand(32, 1, 16, 8), (-0.9 + level).expand(32, 1, 16, 8)], 3)
            if flipped:
                images = torch.where(torch.rand(32, 1, 1, 1) < 0.5, images.flip(3), images)
            system.loss(Batch(images, None, 32 * step))["loss"].backward()
            optimizer.step()
            optimizer.zero_grad()
        with torch.no_grad():
            made = system.eval().generate(torch.randn(256, 8))
        left, right = made[..., :8].mean((1, 2, 3)), made[..., 8:].mean((1, 2, 3))
        return float((left > right + 0.5).float().mean())

    assert share_of_left("flip 0.4", False) > 0.95
    assert share_of_left("", True) < 0.9


# ------------------------------------------------------------------------------------------------------ lists of words


def test_words_of_a_list():
    assert lists.parse("flip, rotate 10,shift") == {"flip": 0.5, "rotate": 10.0, "shift": 0.1}
    assert lists.parse("") == {}
    for wrong, why in (("flp", "Did you mean flip"), ("rotate 200", "at most 180"), ("crop x", "crop 0.1")):
        with pytest.raises(InputError, match=why):
            lists.parse(wrong)


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
