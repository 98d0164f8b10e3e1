"""Runs that begin with the weights of another."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ganforge.cli import main
from ganforge.media.spec import Spec
from ganforge.runs import RunFolder
from ganforge.system import System
from ganforge.testing import make_store
from ganforge.training import transfer
from ganforge.training.train import Trainer, train

SPEC = Spec(8, 8, 1, ("a", "b"))
LOOP = {"images": 64, "batch": 16, "precision": "fp32"}
TINY = {"width": 8, "latent": 8}


@pytest.fixture
def store(tmp_path: Path) -> Path:
    make_store(tmp_path / "store", SPEC, 120)
    return tmp_path / "store"


@pytest.fixture
def first(store, tmp_path) -> RunFolder:
    return train("dcgan", store, tmp_path / "first", overrides={"model": TINY, "train": LOOP})


def begun(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch, *words: object, **options: object
) -> dict[str, torch.Tensor]:
    """The weights with which a run begins."""
    held: dict[str, torch.Tensor] = {}

    def look(self):
        held.update({name: value.clone() for name, value in self._tensors().items()})

    monkeypatch.setattr(Trainer, "train", look)
    train(*words, source=run, **options)
    return held


def test_all_weights_and_averages_are_taken_over(first, store, tmp_path, monkeypatch, logged):
    weights = begun(first, monkeypatch, "dcgan", store, tmp_path / "second")
    for name, value in first.load()[0].items():
        if not name.startswith("optimizer."):
            assert torch.equal(weights[name], value), name
    assert f"from {first.path} at 64 images" in logged[-1]


def test_the_settings_are_those_of_the_other_run_unless_said_otherwise(first, store, tmp_path):
    run = train("dcgan", store, tmp_path / "second", source=first, overrides={"model": {"lr": 1e-4}})
    assert run.settings["model"] == {**first.settings["model"], "lr": 1e-4}
    assert run.settings["run"]["from"] == str(first.path)
    assert run.settings["run"]["from_images"] == 64


def test_what_has_another_shape_stays_new_and_is_named(first, store, tmp_path, monkeypatch, logged):
    changed = {"model": {"conditional": True}}
    begun(first, monkeypatch, "dcgan", store, tmp_path / "second", overrides=changed)
    assert "; new are " in logged[-1]


def test_a_killed_run_takes_over_again_and_a_finished_one_resumes(first, store, tmp_path, monkeypatch):
    weights = begun(first, monkeypatch, "dcgan", store, tmp_path / "second")
    monkeypatch.undo()
    again = begun(first, monkeypatch, "dcgan", store, tmp_path / "second")
    assert all(torch.equal(value, again[name]) for name, value in weights.items())
    monkeypatch.undo()
    run = train("dcgan", store, tmp_path / "second", source=first)
    longer = train("dcgan", store, tmp_path / "second", source=first, overrides={"train": {"images": 128}})
    assert (run.path, longer.load()[1]["seen"]) == (longer.path, 128)


@pytest.mark.parametrize(
    ("system", "spec", "message"),
    [
        ("gan", SPEC, "is of dcgan"),
        ("dcgan", Spec(8, 16, 1, ("a", "b")), "--resolution 8x8"),
        ("dcgan", Spec(8, 8, 3), "fit rows of the same shape: take another store."),
    ],
)
def test_another_system_or_shape_is_refused(first, tmp_path, fails, system, spec, message):
    make_store(tmp_path / "other", spec, 120)
    out = tmp_path / "second"
    assert message in fails("train", system, tmp_path / "other", "--from", first.path, "--out", out)
    assert not (out / "run.toml").exists()


def test_from_belongs_to_a_new_run_and_at_to_from(first, store, fails):
    assert "--from is for a new run" in fails("train", first.path, "--from", first.path)
    assert "say --from RUN" in fails("train", "dcgan", store, "--at", "best")


def test_a_checkpoint_by_its_images(first, store, tmp_path, capsys):
    out = str(tmp_path / "second")
    assert main(["train", "dcgan", str(store), "--from", str(first.path), "--at", "64", "--out", out]) == 0
    assert "at 64 images" in capsys.readouterr().out


def test_sources_that_are_no_run_or_have_no_checkpoint(store, tmp_path, fails):
    assert "does not exist" in fails("train", "dcgan", store, "--from", tmp_path / "no", "--out", tmp_path / "r")


def embeddings(system: System) -> list[str]:
    vectors = [path for path, module in system.named_modules() if isinstance(module, torch.nn.Embedding)]
    return [name for name, _ in system.named_parameters() if name.startswith(tuple(f"{path}." for path in vectors))]


@pytest.mark.parametrize("name", ["cgan", "sagan"])
def test_classes_are_taken_over_by_name(tmp_path, monkeypatch, logged, name):
    loop = {"model": TINY | ({"embedding": 8} if name == "cgan" else {}), "train": LOOP}
    make_store(tmp_path / "old", Spec(8, 8, 1, ("a", "b", "c")), 120)
    make_store(tmp_path / "new", Spec(8, 8, 1, ("c", "d", "a")), 120)
    run = train(name, tmp_path / "old", tmp_path / "first", overrides=loop)
    weights, old = begun(run, monkeypatch, name, tmp_path / "new", tmp_path / "second"), run.load()[0]
    assert "classes by name; new are d" in logged
    names = [
        f"{part}.{n}" for n in embeddings(run.new_system()) for part in ("system", "average") if f"{part}.{n}" in old
    ]
    assert len(names) > 1
    for n in names:
        assert torch.equal(weights[n][0], old[n][2])
        assert torch.equal(weights[n][2], old[n][0])
        assert not torch.equal(weights[n][1], old[n][1])


@pytest.mark.parametrize("name", ["pggan", "stylegan"])
def test_a_growing_system_goes_on_at_twice_the_resolution(tmp_path, name, logged, fails):
    make_store(tmp_path / "small", Spec(16, 16, 1), 60)
    make_store(tmp_path / "large", Spec(32, 32, 1), 60)
    make_store(tmp_path / "wide", Spec(32, 16, 1), 60)
    loop = LOOP | {"images": 192}
    model = TINY | {"width": 8, "grow_images": 48}
    run = train(name, tmp_path / "small", tmp_path / "first", overrides={"model": model, "train": loop})
    more = train(name, tmp_path / "large", tmp_path / "second", source=run)
    model = more.settings["model"]
    assert (model["first"], model["width"], model["widest"]) == (2, 4, 64)
    own, old = more.new_system(), run.load()[0]
    transfer.take_over(run, own, own)
    shared = {n: v for n, v in own.state_dict().items() if f"system.{n}" in old}
    assert all(v.shape == old[f"system.{n}"].shape for n, v in shared.items())
    assert len(shared) == len(run.new_system().state_dict())
    assert own.stage(0) == (2, 1.0)
    assert own.stage(72) == (3, 0.5)
    message = fails("train", name, tmp_path / "wide", "--from", run.path, "--out", tmp_path / "third")
    assert "prepare the store with --resolution 16x16, or twice that, 32x32" in message
    short = fails("train", name, tmp_path / "large", "--from", run.path, "--images", 95, "--out", tmp_path / "third")
    assert "has grown to its full size after 96 images" in short


@pytest.mark.parametrize("system", ["srgan", "inpaint", "pix2pix"])
def test_a_system_with_later_phases_goes_on_in_the_phase_that_it_has_reached(tmp_path, system, logged):
    make_store(tmp_path / "store", Spec(16, 16, 3), 120)
    tiny = {"width": 4, "depth": 1} | ({} if system == "srgan" else {"blocks": 1})
    tiny |= {"degradation": "grey"} if system == "pix2pix" else {}
    words = (system, tmp_path / "store")
    loop = LOOP | {"keep": "all", "measure": 0.0, "report": 16}
    first = train(*words, tmp_path / "first", size="small", overrides={"model": tiny | {"alone": 48}, "train": loop})
    for at, left in ((16, 32), (48, 0), (64, 0)):
        source = RunFolder(first.path, at)
        run = train(*words, tmp_path / f"{at}", source=source, overrides={"train": {"images": 48}})
        assert run.section("model")["alone"] == left
        assert any(name.startswith("optimizer.discriminator") for name in run.load()[0])
    begun = tmp_path / "again"
    train(*words, begun, source=first, overrides={"model": {"alone": 64}, "train": {"images": 48}})
    late = "generator, discriminator"
    assert any(f"ends at 48 images, and what begins at 64 is left out of it: {late}." in line for line in logged)
