"""Walks and style mixing, in Python and on the command line."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from ganforge import models
from ganforge.base import marks
from ganforge.base.errors import InputError
from ganforge.latent.inversion import invert
from ganforge.latent.walk import mix, spherical, walk
from ganforge.media.spec import Spec
from ganforge.nn import style
from ganforge.sampling import drawn, pictures
from tiny import GREY, new


@pytest.mark.parametrize("name", ["stylegan2", "vae", "gan"])
def test_walks_pass_through_the_plain_samples(name):
    system = new(name).eval()
    seeds = [4, 9, 2]
    frames = np.concatenate(list(walk(system, seeds, 5)))
    assert frames.shape == (15, 16, 16, 1)
    assert np.array_equal(frames[::5], next(pictures(system, seeds)))
    assert not np.array_equal(frames[1], frames[0])


@pytest.mark.parametrize("name", ["stylegan2", "vae"])
def test_walks_and_mixtures_of_systems_with_classes(name):
    system = new(name, Spec(16, 16, 1, ("a", "b", "c")), conditional=True).eval()
    seeds = [4, 9, 2]
    frames = np.concatenate(list(walk(system, seeds, 4)))
    assert np.array_equal(frames[::4], next(pictures(system, seeds)))
    given = np.concatenate(list(walk(system, seeds, 4, labels=[2, 0, 1])))
    assert np.array_equal(given[::4], next(pictures(system, seeds, [2, 0, 1])))
    target = next(pictures(system, [1000]))[0]
    result = invert(system, target, 3)
    assert result.tensors.keys() == ({"styles", "noise_seed"} if name == "stylegan2" else {"latents", "labels"})
    if name == "stylegan2":
        cells = next(mix(system, seeds, [7, 8], range(system.layers)))
        label = torch.tensor(drawn([7], np.ones(3)))
        own = system.synthesis(system.styles(system.latents([7]), label), style.noise_seed(system.latents([4])))
        assert np.abs(cells[0, :, :, 0] / 127.5 - 1 - own[0, 0].numpy()).max() < 0.01


def test_what_cannot_be_walked_or_projected_says_so():
    dae = models.load("dae")
    with pytest.raises(InputError, match="makes none"):
        walk(dae.system(dae.config(), GREY), [1, 2])
    with pytest.raises(InputError, match="smoothly"):
        invert(new("vqvae"), np.zeros((16, 16, 1), np.uint8), 2)


def test_spherical_keeps_the_length():
    a, b = F.normalize(torch.randn(5, 8), dim=1), F.normalize(torch.randn(5, 8), dim=1)
    middle = spherical(a, b, torch.full((5, 1), 0.5))
    torch.testing.assert_close(middle, F.normalize(a + b, dim=1))
    torch.testing.assert_close(spherical(a, a, torch.full((5, 1), 0.3)), a)


def test_mixing_takes_the_layers_it_is_told():
    system = new("stylegan2")
    layers = system.layers
    some = np.concatenate(list(mix(system, [1, 2], [7, 8, 9], range(1))))
    assert some.shape == (6, 16, 16, 1)
    assert len(np.unique(some.reshape(6, -1), axis=0)) == 6
    latents = system.latents([2, 8])
    styles = system.styles(latents[1:]).clone()
    own = system.synthesis(styles, style.noise_seed(latents[:1]))
    whole = np.concatenate(list(mix(system, [1, 2], [7, 8, 9], range(layers))))
    assert np.abs(whole[4, :, :, 0] / 127.5 - 1 - own[0, 0].numpy()).max() < 0.01
    with pytest.raises(InputError, match=f"0-{layers - 1}"):
        mix(system, [1], [2], range(layers + 1))
    with pytest.raises(InputError, match="no styles"):
        mix(new("dcgan"), [1], [2], range(1))
    with pytest.raises(InputError, match="dae restores pictures and makes none of its own"):
        mix(models.load("dae").system(models.load("dae").config(width=4), GREY), [1], [2], range(1))


def test_words_for_walks_mixtures_and_projections(runs, tmp_path, fails):
    from ganforge.cli import main

    run = runs / "stylegan2"
    for kind in ("webp", "gif", "mp4"):
        pytest.importorskip("av" if kind == "mp4" else "PIL", reason='PyAV comes with pip install "ganforge[video]"')
        out = tmp_path / f"walk.{kind}"
        assert main(["sample", str(run), "--walk", "--seeds", "1,2", "--frames", "4", "--out", str(out)]) == 0
        assert out.stat().st_size > 500
        if kind != "mp4":
            assert Image.open(out).n_frames == 8
        message = marks.read(out)
        assert message["generated"] and message["seeds"] == [1, 2] and message["run"] == run.name
        assert b"trainedAlgorithmicMedia" in out.read_bytes()
        assert marks.read(tmp_path / "walk-strip.png")["walk"] == [1, 2]
    sheet = tmp_path / "mix.png"
    words = ["sample", str(run), "--mix", "10-12", "--seeds", "0-1", "--mix-layers", "0-1", "--truncation", "0.7"]
    assert main([*words, "--out", str(sheet)]) == 0
    assert marks.read(sheet)["layers"] == [0, 1]
    assert main(["sample", str(run), "--count", "1", "--truncation", "0.5", "--out", str(tmp_path / "one.png")]) == 0
    assert main(["project", str(run), str(tmp_path / "one.png"), "-o", str(tmp_path / "p.png"), "--steps", "3"]) == 0
    assert main(["invert", str(run), str(tmp_path / "one.png"), "-o", str(tmp_path / "i.png"), "--steps", "3"]) == 0
    assert (tmp_path / "i.png").read_bytes() == (tmp_path / "p.png").read_bytes()
    assert (tmp_path / "p-point.safetensors").is_file()

    vae = runs / "vae"
    assert "no styles" in fails("sample", vae, "--truncation", "0.7")
    assert "no styles" in fails("sample", vae, "--mix", "1-2")
    assert "0-4" in fails("sample", run, "--mix", "1-2", "--mix-layers", "0-9")
    assert "not understood" in fails("sample", run, "--mix", "1-2", "--mix-layers", "a")
    assert "two seeds" in fails("sample", run, "--walk", "--seeds", "3")
    assert ".webp" in fails("sample", run, "--walk", "--out", tmp_path / "a.avi")
    assert "takes 0" in fails("sample", run, "--truncation", "7")
    (tmp_path / "no.png").write_text("words")
    assert "not an image" in fails("project", run, tmp_path / "no.png")
    assert "cannot be read" in fails("project", run, tmp_path / "missing.png")
    assert "--steps" in fails("project", run, tmp_path / "one.png", "--steps", "-1")
