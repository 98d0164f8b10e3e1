"""Runs on disk: one process at a time, damaged checkpoints, moved stores, links, settings edited by hand."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from ganforge import models
from ganforge.base.errors import RunError
from ganforge.base.files import file_sha256, locked
from ganforge.cli import main
from ganforge.measuring.measure import measure
from ganforge.runs import LOCK, RunFolder
from ganforge.sampling import sample
from ganforge.store.store import Store
from ganforge.testing import make_store
from ganforge.training.train import Trainer, train
from tiny import TWO_CLASSES

OVERRIDES = {
    "model": {"width": 8, "latent": 8},
    "train": {"images": 128, "batch": 16, "report": 64, "precision": "fp32"},
}
WORDS = ["--model.width", "8", "--model.latent", "8", "--train.batch", "16", "--train.precision", "fp32"]
FILES = ("tensors.safetensors", "state.json", "manifest.json", "run.toml")


@pytest.fixture
def run(store: Path, tmp_path: Path) -> Path:
    return train("gan", store, tmp_path / "run", overrides=OVERRIDES).path


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def equal(one: Path, two: Path) -> bool:
    a, b = RunFolder(one).load()[0], RunFolder(two).load()[0]
    return a.keys() == b.keys() and all(torch.equal(value, b[name]) for name, value in a.items())


def test_a_second_process_is_refused_and_a_dead_one_leaves_no_lock(store, tmp_path, fails):
    out = tmp_path / "run"
    command = [
        sys.executable,
        "-m",
        "ganforge.cli",
        "train",
        "gan",
        str(store),
        "--out",
        str(out),
        "--images",
        "10000000",
    ]
    command += ["--model.width", "8", "--model.latent", "8", "--train.batch", "16", "--train.report", "1600"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while not RunFolder(out).checkpoints() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert "is being trained by another process" in fails("train", out)
        assert "is being trained by another process" in fails(*command[3:])
    finally:
        process.send_signal(signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)
        process.wait(60)
    seen = int(RunFolder(out).checkpoints()[-1].name)
    assert main(["train", str(out), "--images", str(seen + 1600)]) == 0
    assert (out / LOCK).exists()


def test_a_lock_is_free_again_after_its_block(tmp_path):
    for _ in range(2):
        with locked(tmp_path / "l"), pytest.raises(BlockingIOError), locked(tmp_path / "l"):
            pass


def test_errors_of_the_work_are_not_taken_for_the_locks(run):
    with pytest.raises(BlockingIOError, match="mine"), RunFolder(run).alone():
        raise BlockingIOError("mine")


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("how", ["flip", "cut", "remove"])
def test_a_damaged_newest_checkpoint_is_followed_by_the_one_before(run, tmp_path, fails, capsys, name, how):
    whole = tmp_path / "whole"
    shutil.copytree(run, whole)
    file = RunFolder(run).checkpoints()[-1] / name
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 255
    if how == "remove":
        file.unlink()
    else:
        file.write_bytes(data if how == "flip" else data[: len(data) // 2])
    message = fails("sample", run)
    assert f"{file.parent} is damaged" in message
    assert f"ganforge train {run};" in message
    capsys.readouterr()
    assert main(["train", str(run)]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "is damaged:" in line]
    assert "Going on from the one before, of 64 images." in line
    assert equal(run, whole)


def test_no_whole_checkpoint_is_no_fresh_start(run, fails):
    for folder in RunFolder(run).checkpoints():
        (folder / "state.json").write_text("{")
    before = content(run)
    assert "No checkpoint is left" in fails("train", run)
    assert content(run) == before


def test_checkpoints_that_are_gone_are_a_new_beginning_with_a_word(run, logged):
    shutil.rmtree(run / "checkpoints")
    assert main(["train", str(run)]) == 0
    assert any("no checkpoint any more: it begins again" in line for line in logged)
    assert RunFolder(run).load()[1]["seen"] == 128


def test_the_advice_of_a_run_in_the_folder_that_one_is_in(run, store, tmp_path, monkeypatch):
    monkeypatch.chdir(run)
    trainer = Trainer(RunFolder("."), Store(store), "cpu")
    assert f"{tmp_path / 'run'}-slower" in trainer._again({})


def test_a_store_that_moved(run, store, tmp_path, fails, logged):
    store.rename(tmp_path / "elsewhere")
    for verb in ("train", "measure"):
        assert "Name the store where it is now with --store STORE" in fails(verb, run)
    make_store(tmp_path / "other", TWO_CLASSES, 120, seed=1)
    assert "is not the store that" in fails("train", run, "--store", tmp_path / "other")
    measure(RunFolder(run), Store(tmp_path / "other"), 16)
    assert any("is not the store that" in line for line in logged)
    logged.clear()
    measure(RunFolder(run), Store(tmp_path / "elsewhere"), 16)
    assert not any("is not the store that" in line for line in logged)
    assert "no manifest.json" in fails("train", run, "--store", tmp_path / "nowhere")
    assert "two stores" in fails("train", run, tmp_path / "other", "--store", tmp_path / "elsewhere")
    assert main(["train", str(run), "--store", str(tmp_path / "elsewhere"), "--images", "192"]) == 0
    assert RunFolder(run).load()[1]["seen"] == 192
    assert RunFolder(run).store == str(tmp_path / "elsewhere")
    assert main(["train", str(run), "--images", "256"]) == 0
    assert main(["train", str(run), str(tmp_path / "elsewhere"), "--images", "320"]) == 0


@pytest.mark.parametrize("system", ["stylegan", "stylegan2", "pggan", "sagan"])
def test_tensors_with_names_of_an_earlier_version_are_read(store, tmp_path, system):
    """Samples and a resumed run are equal to the bit."""
    now, then = tmp_path / "now", tmp_path / "then"
    settings = {**OVERRIDES, "train": {**OVERRIDES["train"], "images": 64}}
    run = train(system, store, now, overrides=settings)
    shutil.copytree(now, then)
    (folder,) = RunFolder(then).checkpoints()
    tensors = load_file(folder / "tensors.safetensors")
    renamed = models.load(system).system.renamed
    for old, new in renamed.items():
        assert any(new in name for name in tensors)
        tensors = {name.replace(new, old): tensor for name, tensor in tensors.items()}
    save_file(tensors, folder / "tensors.safetensors")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["sha256"]["tensors.safetensors"] = file_sha256(folder / "tensors.safetensors")
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert np.array_equal(sample(RunFolder(then), range(4)), sample(run, range(4)))
    for path in (now, then):
        train(system, store, path, overrides=OVERRIDES)
    assert equal(now, then)


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
@pytest.mark.parametrize("name", ["stats.jsonl", "run.toml", "checkpoints", "samples", "samples/000000192.png", LOCK])
def test_links_in_a_run_are_not_followed(run, tmp_path, fails, name):
    outside = tmp_path / "outside"
    if (run / name).exists():
        (run / name).rename(outside)
    else:
        outside.write_text("precious")
    (run / name).symlink_to(outside)
    before = content(outside) if outside.is_dir() else outside.read_bytes()
    assert f"{run / name} is a link to {outside}" in fails("train", run, "--images", "192")
    assert (content(outside) if outside.is_dir() else outside.read_bytes()) == before


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_what_is_made_of_a_run_follows_no_links_in_it(run, tmp_path, fails):
    measure = ["measure", str(run), "--samples", "60"]
    for name, words, refused in (
        ("samples.png", ["sample", str(run)], False),  # replaced
        ("nearest.png", measure, False),
        ("measures.jsonl", measure, True),
        ("report.html", [*measure, "--report"], True),
    ):
        outside = tmp_path / f"precious {name}"
        outside.write_text("precious")
        (run / name).unlink(missing_ok=True)
        (run / name).symlink_to(outside)
        if refused:
            assert f"{run / name} is a link" in fails(*words)
            (run / name).unlink()
        else:
            assert main(words) == 0
        assert outside.read_text() == "precious"


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_a_run_may_be_a_link_and_a_copy_by_hard_links_stays(run, tmp_path):
    shutil.copytree(run, tmp_path / "kept", copy_function=os.link)
    before = content(tmp_path / "kept")
    (tmp_path / "link").symlink_to(run)
    assert main(["train", str(tmp_path / "link"), "--images", "192"]) == 0
    assert content(tmp_path / "kept") == before


@pytest.mark.parametrize(
    ("line", "other", "message"),
    [
        ("lr = 0.0002", "lr = 0.02", "model.lr = 0.02, but its checkpoint was made with 0.0002"),
        ("seed = 0", "seed = 5", "train.seed = 5, but its checkpoint was made with 0"),
        ("seed = 0", "", "train.seed = None, but its checkpoint was made with 0"),
        ("batch = 16", "batch = 32", "train.batch = 32, but its checkpoint was made with 16"),
    ],
)
def test_settings_edited_by_hand_are_named(run, fails, line, other, message):
    text = (run / "run.toml").read_text()
    assert line in text
    (run / "run.toml").write_text(text.replace(f"\n{line}\n", f"\n{other}\n"))
    if "None" not in message:  # what is missing there is written again when training goes on
        assert message in fails("train", run, "--images", "192")
    assert message in fails("sample", run)
    with pytest.raises(RunError, match="Write that there again"):
        RunFolder(run).load()
    (run / "run.toml").write_text(text)
    assert main(["train", str(run), "--images", "192"]) == 0


def test_an_untrained_system_is_a_function_of_the_runs_seed(run, store):
    torch.manual_seed(1)
    one, after = RunFolder(run).new_system().state_dict(), torch.rand(1)
    torch.manual_seed(1)
    assert torch.equal(after, torch.rand(1))  # others' randomness goes on as before
    two = RunFolder(run).new_system().state_dict()
    assert all(torch.equal(value, two[name]) for name, value in one.items())
    shutil.rmtree(run / "checkpoints")
    first = Trainer(RunFolder(run), Store(store)).system.state_dict()
    assert all(torch.equal(value, first[name]) for name, value in one.items())


def test_a_run_of_another_revision_is_refused(run, store, tmp_path, fails, monkeypatch):
    assert RunFolder(run).settings["run"]["revision"] == 1
    file = run / "run.toml"
    file.write_text(file.read_text().replace("revision = 1\n", ""))  # as an earlier version wrote it
    assert main(["train", "gan", str(store), "--out", str(run), "--images", "128", *WORDS]) == 0
    before = content(run)
    monkeypatch.setattr(models.load("gan").system, "revision", 2)
    for words in (("sample", run), ("measure", run), ("train", run), ("train", "gan", store, "--out", run, *WORDS)):
        message = fails(*words)
        assert "was trained as revision 1 of gan, and this ganforge has revision 2" in message
        assert "Use the ganforge that trained it, or train anew" in message
    assert content(run) == before


def scored(run: Path, distances: dict[int, float]) -> None:
    """Write these distances into the checkpoints' states."""
    for seen, distance in distances.items():
        folder = run / "checkpoints" / f"{seen:09d}"
        state = json.loads((folder / "state.json").read_text())
        state["score"] = {"distance": distance, "recall": 0.5}
        (folder / "state.json").write_text(json.dumps(state))
        manifest = json.loads((folder / "manifest.json").read_text())
        manifest["sha256"]["state.json"] = file_sha256(folder / "state.json")
        (folder / "manifest.json").write_text(json.dumps(manifest))


def test_samples_come_from_the_best_checkpoint_where_any_was_measured(run, logged):
    last = sample(RunFolder(run), range(4))
    assert not logged
    scored(run, {64: 3.0, 128: 4.0})
    assert RunFolder(run).chosen().name == "000000064"
    best = sample(RunFolder(run), range(4))
    assert (best != last).any()
    assert "the checkpoint of 64 images, Fréchet distance 3 on its way; the last is of 128 (4)" in logged[-1]
    assert (sample(RunFolder(run, "last"), range(4)) == last).all()
    assert (sample(RunFolder(run, 128), range(4)) == last).all()
    assert (sample(RunFolder(run, "best"), range(4)) == best).all()


def test_checkpoints_that_do_not_exist_are_named(run, tmp_path, fails):
    for verb in (["sample", run, "-o", tmp_path / "a.png"], ["measure", run]):
        assert "none is known to be the best" in fails(*verb, "--at", "best")
        assert "There is: best, last, 64, 128" in fails(*verb, "--at", "65")
    assert "--at belong to a run" in fails("measure", tmp_path, "--store", tmp_path / "store", "--at", "best")


def test_a_damaged_best_checkpoint_is_no_silent_other_one(run, tmp_path, fails):
    scored(run, {64: 3.0, 128: 4.0})
    (run / "checkpoints" / "000000064" / "tensors.safetensors").write_bytes(b"no")
    assert "--at last" in fails("sample", run, "-o", tmp_path / "a.png")
    assert main(["sample", str(run), "--at", "last", "-o", str(tmp_path / "a.png")]) == 0


def test_a_measurement_names_its_checkpoint(run):
    assert "checkpoint of 128 images" in measure(RunFolder(run), samples=16).protocol.made_by
