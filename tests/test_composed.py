"""The catalogue against the real modules, lists with mistakes, and every example."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ganforge.base.config import build, read_toml
from ganforge.base.errors import InputError
from ganforge.cli import main
from ganforge.compose.blueprint import check
from ganforge.compose.catalogue import ALSO, LAYERS, ROWS
from ganforge.compose.network import Network, sparse
from ganforge.media.spec import Spec
from ganforge.models import composed
from ganforge.system import Batch
from ganforge.testing import check_system, make_store

EXAMPLES = sorted((Path(__file__).parents[1] / "examples" / "composed").glob("*.toml"))
WORDS = {"height": 28, "width": 28, "channels": 1, "pixels": 784, "latent": 16, "code": 16, "classes": 5}
SHAPES = {1: (48,), 2: (12, 16), 3: (16, 12, 8)}
MORE = {  # settings beside the example's own
    "convolution": ["convolution 6 kernel=5 stride=3 padding=2 dilation=2 groups=2 bias=no", "convolution 8 4 2 1 spectral=yes"],
    "transposed_convolution": ["transposed_convolution 6 kernel=5 stride=3 padding=1 extra=2 bias=no"],
    "dense": ["dense 7 bias=no", "dense 7 spectral=yes"],
    "max_pooling": ["max_pooling 3 stride=2 padding=1"],
    "up_sampling": ["up_sampling 3 mode=bilinear"],
    "rnn": ["rnn 7 last=yes"],
    "lstm": ["lstm 7 last=yes"],
    "bidirectional": ["bidirectional 7 last=yes", "bidirectional 7 cell=rnn", "bidirectional 7 cell=lstm"],
    "transformer": ["transformer 2 expand=1 causal=yes"],
    "residual": ["residual 16", "residual 6 kernel=5 norm=group", "residual 6 norm=none", "residual 6 norm=instance"],
    "crop": ["crop 5 height/4"],
    "reshape": ["reshape 2 24", "reshape 48", "reshape 3 4 4", "reshape 3x4x4"],
    "unpatches": ["unpatches 2 rows=3"],
}  # fmt: skip


def cases():
    for row in ROWS:
        for line in (row.example, *MORE.get(row.name, [])):
            for rank, shape in SHAPES.items():
                line_ = line.replace("from=stem", "from=input").replace("from=2", "from=input")
                line_ = line_.replace("reshape 64 7 7", "reshape 3 8 2").replace("crop height width", "crop 8 8")
                line_ = line_.replace("unpatches 4 rows=7", "unpatches 4 rows=6")
                try:
                    steps = check("net", [line_], shape, WORDS)
                except InputError:
                    continue
                yield pytest.param(steps, shape, id=f"{line_} on {rank}")


CASES = list(cases())


@pytest.mark.parametrize(("steps", "shape"), CASES)
def test_the_table_says_what_the_module_does(steps, shape):
    torch.manual_seed(0)
    network = Network(steps, WORDS["classes"])
    x = torch.randn(4, *shape, requires_grad=True)
    y = network(x, torch.tensor([0, 1, 2, 4]))
    assert tuple(y.shape) == (4, *steps[-1].gives)
    assert sum(p.numel() for p in network.parameters()) == steps[-1].parameters
    y.square().sum().backward()
    assert x.grad is not None and x.grad.isfinite().all()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, f"nothing reaches {name}"
    with torch.autocast("cpu", torch.bfloat16):
        assert network(x, torch.tensor([0, 1, 2, 4])).shape == y.shape


def test_every_layer_was_compared():
    assert {param.values[0][0].layer for param in CASES} == LAYERS.keys()
    assert len(ROWS) == len(LAYERS)
    assert set(ALSO.values()) <= LAYERS.keys()


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["convolution 8"], ["layer 1 (convolution)", "a vector of 48 came", "a picture CxHxW", "reshape C H W"]),
        (["reshape 3 4 4", "dense 7"], ["layer 2 (dense)", "a picture of 3x4x4 came", "`flatten`"]),
        (["reshape 3 4 5"], ["60 numbers", "dense 60"]),
        (["dens 8"], ["layer 1", "Did you mean dense?"]),
        (["conv2d 8"], ["Did you mean convolution?"]),
        (["dense 8 unit=3"], ["'unit'", "Did you mean units?"]),
        (["dense"], ["units is missing", "dense 256"]),
        (["dense 8 yes no 4"], ["one setting too many"]),
        (["dense 8 units=9"], ["said twice"]),
        (["dense many"], ["units is 'many'", "whole number"]),
        (["dense heigth"], ["Did you mean height?"]),
        (["dense height/3"], ["28/3", "divisor of 28"]),
        (["dense 0"], ["it takes 1 to 65536"]),
        (["dense 8 bias=perhaps"], ["yes or no"]),
        (["dropout 1.5"], ["it takes 0 to 1"]),
        (["dropout much"], ["takes a number"]),
        (["reshape 3 4 4", "convolution 8 kernel=7 padding=0"], ["7 or more pixels", "smaller kernel"]),
        (["reshape 3 4 4", "group_norm 2"], ["that 2 divides", "Say 1 instead"]),
        (["reshape 6 8", "self_attention heads=3"], ["that 3 divides", "Say 2 instead"]),
        (["reshape 3 4 4", "patches 3"], ["that 3 divides"]),
        (["sparse 100"], ["keep=48 or less"]),
        (["dense 8 name=a", "add from=b"], ["no layer is called 'b'"]),
        (["dense 8", "add from=2"], ["refers to itself", "loop"]),
        (["dense 8", "add from=end", "dense 8 name=end"], ["layer 3, which comes later", "loop"]),
        (["dense 8 name=a", "dense 9 name=a"], ["another layer is called a too"]),
        (["dense 8 name=a", "dense 9", "add from=a"], ["layer 3 (add)", "a vector of 9 came", "needs 8", "concatenate"]),
        (["dense 8", "add from=9"], ["there is no layer 9"]),
        (["dense 8 name=2"], ["'2' is no name"]),
        (["dense 60000", "dense 60000"], ["too many"]),
        ([], ["has no layers"]),
        (["dense 8"] * 1001, ["the limit is 1,000"]),
        (["up_sampling mode=cubic"], ["mode is 'cubic'", "There is: nearest, bilinear"]),
    ],
)  # fmt: skip
def test_a_wrong_list_is_explained(lines, said):
    with pytest.raises(InputError) as caught:
        check("net", lines, (48,), WORDS)
    for part in said:
        assert part in str(caught.value)
    assert str(caught.value).startswith("net")
    assert "\n" not in str(caught.value)


def test_labels_are_needed_where_they_are_used():
    with pytest.raises(InputError, match="a store with labels"):
        check("net", ["embedding 8"], (48,), {**WORDS, "classes": 0})


SPEC = Spec(12, 16, 3)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"generator": ("dense 10",)}, ["generator, layer 1 (dense), the last", "a vector of 10", "the pictures are a picture of 3x12x16", "dense 576"]),
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
def test_a_list_that_does_not_make_the_pictures_is_refused(settings, said):
    with pytest.raises(InputError) as caught:
        composed.Composed.check(composed.Config(**settings), SPEC)
    for part in said:
        assert part in str(caught.value)


def test_refused_before_anything_is_written(fails, tmp_path):
    make_store(tmp_path / "store", SPEC, 40)
    said = fails("train", "composed", tmp_path / "store", "--out", tmp_path / "r", "--config", EXAMPLES[-1])
    assert "generator" in said
    assert not (tmp_path / "r").exists()
    assert "list of strings" in fails("train", "composed", tmp_path / "store", "--config", bad(tmp_path))


def bad(folder):
    (folder / "bad.toml").write_text('[model]\ngenerator = "dense 8"\n')
    return folder / "bad.toml"


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_learn_and_keep_the_contract(path, tmp_path, capsys):
    values = read_toml(path)
    check_system("composed", Spec(28, 28, 1), tmp_path, values["model"], steps=2)
    assert main(["show", str(path)]) == 0
    said = capsys.readouterr().out
    system = composed.Composed(build(composed.Config, values["model"], "model"), Spec(28, 28, 1))
    parts = {
        **dict(system.maker.items()),
        **({"discriminator": system.discriminator} if path.stem != "autoencoder" else {}),
    }
    for name, part in parts.items():
        if name != "codes":
            assert f"{name}: {sum(p.numel() for p in part.parameters()):,} parameters" in said


@pytest.mark.parametrize("kind", ["autoencoder", "vae"])
def test_kinds_without_lists(kind, tmp_path):
    check_system("composed", SPEC, tmp_path, {"kind": kind, "latent": 8}, steps=2)


def test_classes_reach_the_layers_that_take_them(tmp_path):
    model = {
        "latent": 8, "loss": "wasserstein", "r1": 5.0,
        "generator": ["embedding 4", "dense 64", "film", "relu", "dense pixels", "tanh", "reshape channels height width"],
        "discriminator": ["flatten", "reshape 12 16", "lstm 8 last=yes", "film", "embedding 2", "dense 8", "relu", "dense 1"],
    }  # fmt: skip
    spec = Spec(12, 16, 1, ("a", "b", "c"))
    check_system("composed", spec, tmp_path, model, steps=2)
    system = composed.Composed(build(composed.Config, model, "model"), spec).eval()
    latents = system.latents([1]).expand(3, -1)
    made = system.generate(latents, torch.tensor([0, 1, 2]))
    assert len(made.flatten(1).unique(dim=0)) == 3
    assert composed.Composed.needs_labels(system.config)


def test_r1_through_a_recurrent_layer_is_the_derivative():
    """Against differences, in float64: kernels without a second derivative are left aside."""
    spec = Spec(6, 5, 1)
    lines = ("flatten", "reshape 6 5", "gru 4 last=yes", "dense 1")
    torch.manual_seed(0)
    system = composed.Composed(composed.Config(discriminator=lines, r1=1.0), spec)
    images = torch.rand(3, 1, 6, 5) * 2 - 1
    said = system.r1_loss(Batch(images, None, 0))
    said["loss"].backward()
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
    assert said["penalty"].item() == pytest.approx(total / 3, rel=0.02)


def test_sparse_keeps_the_largest():
    x = torch.randn(5, 9, 4, 3)
    y = sparse(x, 2)
    assert torch.equal((y != 0).sum(1), torch.full((5, 4, 3), 2))
    assert torch.equal(y.amax(1), x.amax(1))


def test_layers_verb(capsys, fails):
    assert main(["layers"]) == 0
    said = capsys.readouterr().out
    assert all(name in said for name in LAYERS)
    assert main(["layers", "convolution"]) == 0
    assert "kernel      side of the window in pixels; 3 by default" in capsys.readouterr().out
    assert "Did you mean convolution?" in fails("layers", "convolutoin")


def test_layers_answers_without_torch():
    code = "import sys; from ganforge.cli import main; main(['layers']); assert not {'torch', 'numpy'} & sys.modules.keys()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


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
