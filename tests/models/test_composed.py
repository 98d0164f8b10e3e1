"""Composed systems: examples, kinds, classes, and lists that do not fit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ganforge.base.config import build, read_toml
from ganforge.base.errors import InputError
from ganforge.cli import main
from ganforge.media.spec import Spec, spec_from
from ganforge.models import composed
from ganforge.system import Batch
from ganforge.testing import check_system, make_store

EXAMPLES = sorted((Path(__file__).parents[2] / "examples" / "composed").glob("*.toml"))
SPEC = Spec(12, 16, 3)


def bad(folder):
    (folder / "bad.toml").write_text('[model]\ngenerator = "dense 8"\n')
    return folder / "bad.toml"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"generator": ("dense 10",)},
            [
                "generator, layer 1 (dense), the last",
                "a vector of 10",
                "the pictures are a picture of 3x12x16",
                "dense 576",
            ],
        ),
        ({"generator": ("dense 192", "reshape 1 12 16")}, ["convolution 3"]),
        ({"generator": ("dense 48", "reshape 3 4 4")}, ["resize 12 16"]),
        ({"generator": ("dense pixels",)}, ["reshape 3 12 16"]),
        ({"generator": ("dense pixels", "sigmoid", "reshape 3 12 16")}, ["0 to 1", "`tanh`"]),
        ({"discriminator": ("flatten", "dense 2")}, ["a score is a vector of 1", "dense 1"]),
        ({"discriminator": ("convolution 1",)}, ["`flatten` and `dense 1`"]),
        ({"kind": "vae", "encoder": ("flatten", "dense 64")}, ["means and log-variances", "dense 128"]),
        ({"kind": "vae", "generator": ("dense 8",)}, ["of no use to the kind vae"]),
        ({"loss": "wasserstein"}, ["r1 = 10"]),
    ],
)  # fmt: skip
def test_a_list_that_does_not_make_the_pictures_is_refused(settings, message):
    with pytest.raises(InputError) as caught:
        composed.Composed.check(composed.Config(**settings), SPEC)
    for part in message:
        assert part in str(caught.value)


def test_refused_before_anything_is_written(fails, tmp_path):
    make_store(tmp_path / "store", SPEC, 40)
    message = fails("train", "composed", tmp_path / "store", "--out", tmp_path / "r", "--config", EXAMPLES[-1])
    assert "generator" in message
    assert not (tmp_path / "r").exists()
    assert "list of strings" in fails("train", "composed", tmp_path / "store", "--config", bad(tmp_path))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_learn_and_keep_the_contract(path, tmp_path, capsys):
    values = read_toml(path)
    spec = spec_from({"classes": (), **values["spec"]})
    check_system("composed", spec, tmp_path, values["model"], steps=2)
    assert main(["show", str(path)]) == 0
    message = capsys.readouterr().out
    system = composed.Composed(build(composed.Config, values["model"], "model"), spec)
    parts = {
        **dict(system.maker.items()),
        **({"discriminator": system.discriminator} if path.stem != "autoencoder" else {}),
    }
    for name, part in parts.items():
        if name != "codes":
            assert f"{name}: {sum(p.numel() for p in part.parameters()):,} parameters" in message


@pytest.mark.parametrize("kind", ["autoencoder", "vae"])
def test_kinds_without_lists(kind, tmp_path):
    check_system("composed", SPEC, tmp_path, {"kind": kind, "latent": 8}, steps=2)


def test_classes_reach_the_layers_that_take_them(tmp_path):
    model = {
        "latent": 8,
        "loss": "wasserstein",
        "r1": 5.0,
        "generator": [
            *("embedding 4", "dense 64", "film", "relu"),
            *("dense pixels", "tanh", "reshape channels height width"),
        ],
        "discriminator": [
            *("flatten", "reshape 12 16", "lstm 8 last=yes", "film", "embedding 2"),
            *("dense 8", "relu", "dense 1"),
        ],
    }
    spec = Spec(12, 16, 1, ("a", "b", "c"))
    check_system("composed", spec, tmp_path, model, steps=2)
    system = composed.Composed(build(composed.Config, model, "model"), spec).eval()
    latents = system.latents([1]).expand(3, -1)
    output = system.generate(latents, torch.tensor([0, 1, 2]))
    assert len(output.flatten(1).unique(dim=0)) == 3
    assert composed.Composed.needs_labels(system.config)


def test_r1_through_a_recurrent_layer_is_the_derivative():
    """Against differences, in float64: kernels without a second derivative are left aside."""
    spec = Spec(6, 5, 1)
    lines = ("flatten", "reshape 6 5", "gru 4 last=yes", "dense 1")
    torch.manual_seed(0)
    system = composed.Composed(composed.Config(discriminator=lines, r1=1.0), spec)
    images = torch.rand(3, 1, 6, 5) * 2 - 1
    report = system.r1_loss(Batch(images, None, 0))
    report["loss"].backward()
    assert any(p.grad is not None and p.grad.any() for n, p in system.discriminator.named_parameters() if "cell" in n)
    total = 0.0
    for n in range(30):
        step = torch.zeros(1, 30).index_fill(1, torch.tensor([n]), 1e-2).view(1, 1, 6, 5)
        with torch.no_grad():
            total += (
                ((system._scores(images + step, None) - system._scores(images - step, None)) / 2e-2)
                .square()
                .sum()
                .item()
            )
    assert report["penalty"].item() == pytest.approx(total / 3, rel=0.02)


def test_show_says_what_is_missing(fails, tmp_path):
    (tmp_path / "a.toml").write_text("[model]\nkind = 'gan'\n")
    assert "needs the section [spec]" in fails("show", tmp_path / "a.toml")
    (tmp_path / "b.toml").write_text("[train]\nbatch = 3\n")
    assert "no composed system" in fails("show", tmp_path / "b.toml")


def test_lists_survive_the_run_and_the_command_line(tmp_path):
    make_store(tmp_path / "store", Spec(8, 8, 1), 40)
    lines = "dense 32; relu; dense pixels; tanh; reshape 1 8 8"
    words = [
        "train",
        "composed",
        str(tmp_path / "store"),
        "--out",
        str(tmp_path / "r"),
        "--images",
        "32",
        "--train.batch",
        "16",
    ]
    assert main([*words, "--model.generator", lines]) == 0
    assert read_toml(tmp_path / "r" / "run.toml")["model"]["generator"] == lines.split("; ")
    assert main([*words, "--model.generator", lines]) == 0
    assert main(["show", str(tmp_path / "r" / "run.toml")]) == 0
