"""Directions: orthonormal, repeatable, bound to their weights, and to be seen in pictures."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from ganforge import models
from ganforge.api import Run
from ganforge.base import marks
from ganforge.base.errors import DataError, InputError
from ganforge.cli import main
from ganforge.latent.directions import amounts, directions, read
from ganforge.latent.walk import along
from ganforge.media.spec import Spec
from ganforge.sampling import Shift, pictures, points
from tiny import FOUR_CLASSES, GREY, TINY_OPTIONS, new

WEIGHTS = {  # what takes the latent, or each style
    "gan": lambda s: [s.generator[0].weight],
    "dcgan": lambda s: [s.generator.dense.weight],
    "pggan": lambda s: [s.generator.dense.weight],
    "r3gan": lambda s: [s.generator.weigh.weight],
    "stylegan": lambda s: [layer.affine.weight for layer in s.generator.synthesis],
    "stylegan2": lambda s: (
        [layer.conv.affine.weight for layer in s.generator.synthesis] + [c.affine.weight for c in s.generator.to_rgb]
    ),
}


@pytest.mark.parametrize("name", WEIGHTS)
def test_sefa_are_the_eigenvectors_of_the_weights_that_take_the_latent(name):
    system = new(name, **({"grow_images": 0} if name in ("pggan", "stylegan") else {}))
    made = directions(system, "sefa", 5)
    weights = torch.cat(WEIGHTS[name](system)).double()  # (O, D)
    weights = weights / weights.norm(dim=1, keepdim=True)
    squares = weights.T @ weights
    strongest = torch.linalg.eigvalsh(squares).flip(0)[:5]
    vectors = made.vectors.double()
    torch.testing.assert_close((vectors @ squares * vectors).sum(1), strongest, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(vectors @ vectors.T, torch.eye(5).double(), rtol=0, atol=1e-6)
    assert all(row[row.abs().argmax()] > 0 for row in vectors)
    again = directions(system, "sefa", 5)
    assert torch.equal(made.vectors, again.vectors) and torch.equal(made.deviations, again.deviations)


def test_sefa_of_some_layers_is_of_their_weights_alone():
    system = new("stylegan2")
    one = directions(system, "sefa", 1, range(1, 2)).vectors[0].double()
    weight = system.generator.synthesis[1].conv.affine.weight.double()
    weight = weight / weight.norm(dim=1, keepdim=True)
    torch.testing.assert_close(one @ weight.T @ weight @ one, torch.linalg.eigvalsh(weight.T @ weight)[-1])


def test_principal_components_are_those_of_w():
    system = new("stylegan2")
    made = directions(system, "pca", 8)
    w = points(system, range(10_000))["styles"][:, 0].double()
    _, spread, components = torch.linalg.svd(w - w.mean(0), full_matrices=False)
    cosines = (made.vectors.double() * components[:8]).sum(1).abs()
    assert cosines[:3].min() > 0.999
    torch.testing.assert_close(made.deviations.double(), spread[:8] / 9999**0.5, rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(made.vectors @ made.vectors.T, torch.eye(8), rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["gan", "stylegan2"])
def test_directions_by_label_lead_to_their_class(name):
    """The judge here sees brightness, which is what the directions must change."""
    system = new(name, Spec(16, 16, 1, ("dark", "bright")))
    middle = np.median([p.mean() for part in pictures(system, range(256)) for p in part])

    def classify(part):
        return torch.from_numpy((part.mean((1, 2, 3)) > middle).astype(np.int64))

    made = directions(system, "label", classify=classify)
    assert made.names == ("dark", "bright")
    torch.testing.assert_close(made.vectors.norm(dim=1), torch.ones(2))
    light = [
        np.concatenate(list(pictures(system, range(500, 532), shift=made.shift(step)))).mean()
        for step in ({"dark": 2}, {"bright": 0}, {"bright": 2.0})
    ]
    assert light[0] < light[1] < light[2]


def test_a_step_changes_the_styles_of_its_layers_only():
    system = new("stylegan2")
    made = directions(system, "pca", 2, range(1, 3))
    start = points(system, [3, 4])
    moved = made.shift({1: -2}).of(start)["styles"]
    step = -2 * made.deviations[1] * made.vectors[1]
    torch.testing.assert_close(
        moved - start["styles"], torch.stack([step * 0, step, step, *[step * 0] * 2]).expand(2, -1, -1)
    )
    plain, none = (np.concatenate(list(pictures(system, [3, 4], shift=s))) for s in (None, made.shift({0: 0.0})))
    assert np.array_equal(plain, none)


@pytest.mark.parametrize("name", ["gan", "stylegan2"])
def test_a_walk_along_a_direction_swings_about_its_points(name):
    system = new(name)
    shift = directions(system, "sefa", 1).shift({0: 3})
    start = points(system, [5, 6])
    frames = np.concatenate(list(along(system, start, shift, 8)))
    assert frames.shape == (16, 16, 16, 1)
    assert np.array_equal(frames[::8], next(pictures(system, [5, 6])))
    there = next(pictures(system, [5, 6], shift=shift))
    assert np.abs(frames[2::8].astype(int) - there).max() <= 1 and not np.array_equal(frames[::8], there)
    with pytest.raises(InputError, match="frames"):
        along(system, start, shift, 0)


def test_what_has_no_such_directions_says_what_to_do():
    with pytest.raises(InputError, match="no principal components"):
        directions(new("gan"), "pca")
    with pytest.raises(InputError, match="No layer of this system takes its latent"):
        directions(new("vqvae"), "sefa")
    dae = models.load("dae")
    with pytest.raises(InputError, match="makes none"):
        directions(dae.system(dae.config(), GREY), "sefa")
    with pytest.raises(InputError, match="Did you mean sefa"):
        directions(new("gan"), "seva")
    with pytest.raises(InputError, match="1 to 16"):
        directions(new("gan"), "sefa", 17)
    assert len(directions(new("gan", latent=8), "sefa").names) == 8  # fewer than the usual ten
    with pytest.raises(InputError, match="no styles"):
        directions(new("gan"), "sefa", 2, range(2))
    with pytest.raises(InputError, match="0-4"):
        directions(new("stylegan2"), "sefa", 2, range(3, 9))
    with pytest.raises(InputError, match="one class"):
        directions(new("gan"), "label", classify=lambda part: torch.zeros(len(part), dtype=torch.int64))
    with pytest.raises(InputError, match="--labels"):
        directions(new("gan", Spec(16, 16, 1, ("a", "b")), conditional=True), "label")
    with pytest.raises(InputError, match="leave out --count"):
        directions(new("gan"), "label", 3)
    with pytest.raises(InputError, match="given twice"):
        amounts(["1:2", "1:3"])
    assert amounts(["1:+2.5", "a:b:-1"]) == {"1": 2.5, "a:b": -1.0}


def test_words_for_directions(runs, tmp_path, fails, capsys):
    run = tmp_path / "runs" / "stylegan2"
    run.parent.mkdir()
    run.symlink_to(runs / "stylegan2")
    out = tmp_path / "new" / "d.png"
    assert main(["directions", str(run), "-o", str(out), "--count", "3", "--method", "pca", "--layers", "0-1"]) == 0
    assert "--directions" in capsys.readouterr().out
    mark = marks.read(out)
    assert mark["directions"] == "pca" and mark["seeds"] == [0, 1, 2, 3]
    made = read(out.with_suffix(".safetensors"))
    assert made.vectors.shape[0] == 3 and made.layers == range(2) and made.weights == mark["weights"]
    one = tmp_path / "one.png"
    words = ["--direction", "2:+2.5", "--direction", "0:-1", "--directions", str(out.with_suffix(".safetensors"))]
    assert main(["sample", str(run), "--seeds", "7", *words, "-o", str(one)]) == 0
    assert marks.read(one)["direction"] == {"2": 2.5, "0": -1.0} and marks.read(one)["direction_layers"] == [0, 1]
    in_python = Run(run).sample([7], direction={2: 2.5, 0: -1}, directions=out.with_suffix(".safetensors"))
    from PIL import Image

    assert np.array_equal(np.asarray(Image.open(one)), in_python[0, :, :, 0])
    video = tmp_path / "w.webp"
    assert main(["sample", str(run), "--walk", "--seeds", "7", "--frames", "8", *words, "-o", str(video)]) == 0
    assert marks.read(video)["direction"] == {"2": 2.5, "0": -1.0} and Image.open(video).n_frames == 8
    assert Image.open(tmp_path / "w-strip.png").height < 80

    step = ["sample", run, "--direction"]
    assert "ganforge directions RUN" in fails(*step, "0:1")
    assert "no effect without --direction" in fails("sample", run, "--directions", out)
    file = ["--directions", out.with_suffix(".safetensors")]
    assert "There is no direction 3; there is: 0-2" in fails(*step, "3:1", *file)
    assert "out of range" in fails(*step, "0:1e9", *file)
    assert "out of range" in fails(*step, "0:inf", *file)
    assert "not understood" in fails(*step, "0:nan", *file)
    assert "not understood" in fails(*step, "0", *file)
    assert "belong to other weights" in fails("sample", runs / "vae", "--direction", "0:1", *file)
    assert "--method label" in fails("directions", run, "--store", runs / "store")
    assert "takes its latent as it is" in fails("directions", runs / "vae")
    assert "no labels" in fails("directions", run, "--method", "label")
    assert "has to end in" in fails("directions", run, "-o", tmp_path / "a.txt")


def test_a_damaged_or_foreign_file_of_directions_is_one_sentence(tmp_path, fails, runs):
    made = directions(new("gan"), "sefa", 2, weights="x")
    facts = {"names": made.names, "method": "sefa", "layers": [0, 0], "weights": "x"}
    good = {"vectors": made.vectors.contiguous(), "deviations": made.deviations}
    path = tmp_path / "d.safetensors"

    def refused(tensors=good, **other):
        save_file(tensors, path, {"directions": json.dumps({**facts, **other})})
        with pytest.raises(DataError, match="is no file of directions, or damaged"):
            read(path)

    refused({"vectors": good["vectors"]})
    refused({**good, "deviations": torch.ones(3)})
    refused({**good, "vectors": good["vectors"] * torch.nan})
    refused({**good, "vectors": torch.ones(2)})
    refused(names=["0"])
    refused(names=[0, 1])
    refused(layers=["a"])
    refused(layers=5)
    refused(weights=None)
    save_file(good, path)
    for content in (path.read_bytes(), path.read_bytes()[:50], b"", b"\x80\x04pickle", b"\xff" * 100):
        path.write_bytes(content)
        assert "is no file of directions" in fails("sample", runs / "vae", "--direction", "0:1", "--directions", path)
    assert "no file of directions" in fails("sample", runs / "vae", "--direction", "0:1", "--directions", "/dev/zero")
    with pytest.raises(InputError, match="do not fit"):
        Shift(torch.ones(3), range(0), "x", {}).of(points(new("gan"), [1]))


def test_the_judge_of_a_store_names_the_classes(labelled_store, tmp_path, capsys):
    run = tmp_path / "run"
    assert main(["train", "gan", str(labelled_store), "-o", str(run), *TINY_OPTIONS, "--images", "64"]) == 0
    code = main(["directions", str(run), "--method", "label"])
    if code:
        assert "of one class" in capsys.readouterr().err  # of this judge, which has seen 64 pictures of noise
    else:
        assert set(read(run / "directions.safetensors").names) <= set(FOUR_CLASSES.classes)
