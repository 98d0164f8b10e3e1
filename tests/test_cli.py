"""The command line as a user meets it: every mistake is one sentence, and nothing is lost."""

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
from PIL import Image

from ganforge.base import marks
from ganforge.cli import main
from ganforge.media.spec import Spec
from ganforge.runs import Run
from ganforge.testing import make_store
from ganforge.training.train import Trainer, train

SPEC = Spec(8, 8, 1, ("a", "b"))
TINY = ["--model.width", "8", "--model.latent", "8", "--train.batch", "16"]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    make_store(tmp_path / "store", SPEC, 120)
    return tmp_path / "store"


@pytest.fixture
def run(store: Path, tmp_path: Path) -> Path:
    assert main(["train", "gan", str(store), "--out", str(tmp_path / "run"), "--images", "64", *TINY]) == 0
    return tmp_path / "run"


def test_unknown_words(fails, store):
    assert "Did you mean dcgan?" in fails("train", "dcgn", store)
    assert "Did you mean train?" in fails("trian", "dcgan", store)
    assert "Did you mean model.width?" not in (said := fails("train", "dcgan", store, "--model.widht", "3"))
    assert "Did you mean width?" in said
    assert "Did you mean --minutes?" in fails("train", "dcgan", store, "--minuts", "3")
    assert "takes a value of type float" in fails("train", "dcgan", store, "--model.lr", "fast")
    assert "from 0.0 to 1.0" in fails("train", "dcgan", store, "--model.lr", "7")
    assert "finite" in fails("train", "dcgan", store, "--model.lr", "nan")
    assert "Did you mean spectral?" in fails("train", "dcgan", store, "--model.discriminator", "spectrl")
    assert "Did you mean medium?" in fails("train", "dcgan", store, "--size", "mediun")
    assert "needs a value" in fails("train", "dcgan", store, "--model.lr")
    assert "Did you mean letterbox?" in fails("prepare", store, "--fit", "leterbox")
    assert "no colour" in fails("prepare", store, "--background", "wihte")
    assert "cannot be used here" in fails("train", "gan", store, "--device", "toaster")
    assert "not understood" in fails("sample", store, "--seeds", "one")


def test_bad_folders(fails, tmp_path):
    assert "does not exist" in fails("prepare", tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    assert "0 usable pictures" in fails("prepare", tmp_path / "empty", "-o", tmp_path / "o")
    (tmp_path / "texts").mkdir()
    for n in range(12):
        (tmp_path / "texts" / f"{n}.txt").write_text("words")
    assert "not a picture: .txt file" in fails("prepare", tmp_path / "texts", "-o", tmp_path / "o")
    (tmp_path / "file.bin").write_bytes(b"123")
    assert "neither a folder nor a zip" in fails("prepare", tmp_path / "file.bin")
    assert "neither a store" in fails("show", tmp_path / "texts")
    assert "no manifest.json" in fails("train", "gan", tmp_path / "texts")
    assert "is no run" in fails("sample", tmp_path / "texts")
    assert "is no run" in fails("measure", tmp_path / "nowhere")
    assert not (tmp_path / "o").exists()


def test_two_sizes_and_channels_in_one_folder_are_no_problem(tmp_path, capsys):
    (tmp_path / "in").mkdir()
    for n in range(12):
        shape = (20, 30, 3) if n % 2 else (50, 40)
        Image.fromarray(np.random.default_rng(n).integers(0, 256, shape, dtype=np.uint8)).save(
            tmp_path / "in" / f"{n}.png"
        )
    assert main(["prepare", str(tmp_path / "in"), "-o", str(tmp_path / "s")]) == 0
    assert "12 pictures of 32x32 RGB" in capsys.readouterr().out


def test_places_that_cannot_be_written(fails, store, run, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    assert "cannot be written" in fails("train", "gan", store, "--out", blocked / "run")
    assert "cannot be written" in fails("sample", run, "--out", blocked / "a.png")
    assert "cannot be written" in fails("collect", "digits", "--out", blocked / "d")
    assert "exists already" in fails("prepare", store, "-o", store)
    assert "something else" in fails("train", "gan", store, "--out", store)


def test_sampling(run, tmp_path, fails):
    assert main(["sample", str(run), "--seeds", "3,5-6", "--each", "--out", str(tmp_path / "p")]) == 0
    assert {p.name for p in (tmp_path / "p").iterdir()} == {"seed-000003.png", "seed-000005.png", "seed-000006.png"}
    mark = marks.read(tmp_path / "p" / "seed-000005.png")
    assert mark is not None
    assert (mark["generated"], mark["seeds"], mark["system"]) == (True, [5], "gan")
    assert main(["sample", str(run), "--count", "7"]) == 0
    assert (run / "samples.png").exists()
    assert "out of range" in fails("sample", run, "--seeds", "99999999999")
    assert "either" in fails("sample", run, "--seeds", "1", "--count", "2")
    assert "1 to 1,000,000" in fails("sample", run, "--count", "0")


def test_measuring_and_showing(run, store, capsys, fails):
    assert main(["measure", str(run), "--samples", "100", "--report"]) == 0
    said = capsys.readouterr().out
    assert "Fréchet distance" in said
    assert "floor" in said
    assert "protocol: 100 samples" in said
    assert main(["measure", str(run), "--samples", "100", "--json"]) == 0
    numbers = json.loads(capsys.readouterr().out)
    assert numbers["extractor"].startswith("classes-")
    assert (numbers["samples"], numbers["train"], numbers["heldout"]) == (100, 96, 24)
    assert len((run / "measures.jsonl").read_text().splitlines()) == 2
    page = (run / "report.html").read_text()
    assert page.count("data:image/png;base64") >= 2
    assert "http://" not in page.replace("http://www.w3.org", "")
    for path in (run, store):
        assert main(["show", str(path)]) == 0
    assert (store / "sheet.png").exists()
    assert "at least 16" in fails("measure", run, "--samples", "1")


def test_a_run_without_a_checkpoint_and_a_damaged_one(run, fails):
    newest = Run(run).checkpoints()[-1]
    tensors = newest / "tensors.safetensors"
    data = bytearray(tensors.read_bytes())
    data[-3] ^= 4
    tensors.write_bytes(data)
    assert "is damaged: the SHA-256" in fails("sample", run)
    for folder in Run(run).checkpoints():
        (folder / "manifest.json").unlink()
    assert "manifest.json" in fails("sample", run)
    assert "No checkpoint is left" in fails("train", run)
    shutil.rmtree(run / "checkpoints")
    assert "no checkpoint yet" in fails("sample", run)
    (run / "run.toml").write_text("[run")
    assert "cannot be read as TOML" in fails("sample", run)


def test_a_run_resumed_with_something_else(run, store, tmp_path, fails):
    words = ["--out", run, "--images", "64"]
    assert "model.width = 8, not 256" in fails(
        "train", "gan", store, *words, "--train.batch", "16", "--model.latent", "8"
    )
    assert "run.system = 'gan', not 'vae'" in fails("train", "vae", store, *words)
    make_store(tmp_path / "other", Spec(8, 10, 1), 40)
    assert "is not the store that" in fails("train", "gan", tmp_path / "other", *words, *TINY)
    assert "has no" not in fails("measure", run, "--store", tmp_path / "other")


def test_dry_run_is_the_input_of_the_next_run(store, tmp_path, capsys):
    words = ["train", "gan", str(store), "--out", str(tmp_path / "r"), "--images", "64"]
    assert main([*words, *TINY, "--dry-run"]) == 0
    (tmp_path / "plan.toml").write_text(capsys.readouterr().out)
    assert not (tmp_path / "r").exists()
    assert main([*words, "--config", str(tmp_path / "plan.toml")]) == 0
    assert Run(tmp_path / "r").settings["model"]["width"] == 8


def test_the_same_command_again_changes_nothing(run, store, capsys):
    before = {p: p.stat().st_mtime_ns for p in sorted(run.rglob("*"))}
    assert main(["train", "gan", str(store), "--out", str(run), "--images", "64", *TINY]) == 0
    assert "is trained already" in capsys.readouterr().out
    assert {p: p.stat().st_mtime_ns for p in sorted(run.rglob("*"))} == before


def test_a_run_goes_on_by_its_folder_alone(run, capsys, fails):
    assert main(["train", str(run)]) == 0
    assert "is trained already" in capsys.readouterr().out
    assert main(["train", str(run), "--images", "128"]) == 0
    assert Run(run).load()[1]["seen"] == 128
    assert Run(run).settings["model"]["width"] == 8
    assert "model.width = 8, not 16" in fails("train", run, "--model.width", "16")
    settings = (run / "run.toml").read_text()
    assert "has seen 128 images" in fails("train", run, "--images", "64")
    assert "would be less" in fails("train", run, "--minutes", "0.00001")
    assert (run / "run.toml").read_text() == settings
    spent = json.loads((run / "stats.jsonl").read_text().splitlines()[-1])["seconds"]
    assert main(["train", str(run), "--minutes", str(spent / 60 + 0.005)]) == 0
    seen = Run(run).load()[1]["seen"]
    assert main(["train", str(run), "--images", str(seen + 64)]) == 0
    assert Run(run).load()[1]["seen"] == seen + 64
    assert "gan on which store?" in fails("train", "gan")
    assert "is no run" in fails("train", run.parent / "nothing")


def test_a_run_made_before_a_setting_existed_goes_on(run, store, tmp_path):
    shutil.copytree(run, tmp_path / "old")
    text = (tmp_path / "old" / "run.toml").read_text()
    kept = [line for line in text.splitlines() if not line.startswith(("conditional", "balance", "augment", "fold"))]
    assert len(kept) < len(text.splitlines())
    (tmp_path / "old" / "run.toml").write_text("\n".join(kept))
    for checkpoint in Run(tmp_path / "old").checkpoints():  # which such a version had no settings in
        (checkpoint / "run.toml").unlink()
        manifest = json.loads((checkpoint / "manifest.json").read_text())
        del manifest["sha256"]["run.toml"]
        (checkpoint / "manifest.json").write_text(json.dumps(manifest))
    assert main(["train", "gan", str(store), "--out", str(tmp_path / "old"), "--images", "128", *TINY]) == 0
    assert Run(tmp_path / "old").load()[1]["seen"] == 128


def test_interrupted_and_resumed_is_bit_equal_to_uninterrupted(store, tmp_path):
    words = [
        sys.executable,
        "-m",
        "ganforge.cli",
        "train",
        "gan",
        str(store),
        "--images",
        "4096",
        "--train.precision",
        "fp32",
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}

    def start(out: Path) -> subprocess.Popen[str]:
        command = [*words, *TINY, "--out", str(out)]
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    assert start(tmp_path / "whole").wait(120) == 0
    process = start(tmp_path / "halves")
    deadline = time.monotonic() + 60
    while not (tmp_path / "halves" / "stats.jsonl").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode in (0, 3), said
    if process.returncode == 3:
        assert f"Go on with: ganforge train {tmp_path / 'halves'}" in said
        assert Run(tmp_path / "halves").load()[1]["seen"] < 4096
    assert start(tmp_path / "halves").wait(120) == 0
    one, two = Run(tmp_path / "whole").load()[0], Run(tmp_path / "halves").load()[0]
    assert one.keys() == two.keys()
    assert all(torch.equal(value, two[name]) for name, value in one.items())


def test_a_killed_save_leaves_the_checkpoint_before(run, monkeypatch):
    before = Run(run).load()[1]

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ganforge.runs.save_file", full)
    with pytest.raises(Exception, match="No space left on device"):
        Run(run).save(999, {"a": torch.zeros(1)}, {}, {})
    assert Run(run).load()[1] == before
    assert not list((run / "checkpoints").glob(".*"))


OVERRIDES = {"model": {"width": 8, "latent": 8}, "train": {"images": 320, "batch": 16, "report": 64}}


def test_minutes_settle_on_a_length_in_images(store, tmp_path):
    overrides = {"model": {"width": 8, "latent": 8}, "train": {"minutes": 0.04, "batch": 16}}
    made = train("gan", store, tmp_path / "r", overrides=overrides)
    images = made.settings["train"]["images"]
    assert images > 0
    assert made.load()[1]["seen"] == images


def test_lengthening_a_run_goes_on_from_its_end(run, store):
    assert main(["train", "gan", str(store), "--out", str(run), "--images", "128", *TINY]) == 0
    assert Run(run).load()[1]["seen"] == 128


def test_labels_and_spec_reach_the_loss(store, tmp_path):
    made = train("gan", store, tmp_path / "r", overrides=OVERRIDES)
    from ganforge.store.store import Store

    batch = Trainer(made, Store(store)).stream.batch(0, 16)
    assert batch.images.shape == (16, 1, 8, 8)
    assert batch.labels is not None
    assert set(batch.labels.tolist()) == {0, 1}
    assert (made.path / "samples" / "000000320.png").exists()
    rows = [json.loads(line) for line in (made.path / "stats.jsonl").read_text().splitlines()]
    assert [row["seen"] for row in rows] == [64, 128, 192, 256, 320]
    assert all({"both/loss", "both/generator", "images_per_second"} <= row.keys() for row in rows)


@pytest.mark.parametrize("verb", ["audit", "clean"])
def test_stopped_by_the_keyboard_is_exit_code_3(verb, tmp_path):
    (tmp_path / "in").mkdir()
    for n in range(400):
        pixels = np.random.default_rng(n).integers(0, 256, (160, 160, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "in" / f"{n}.png", compress_level=0)
    words = [verb, str(tmp_path / "in"), "-o", str(tmp_path / "out")] + ["--filter", "nlm"] * (verb == "clean")
    process = subprocess.Popen([sys.executable, "-m", "ganforge.cli", *words], stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob(".out.partial-*")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 3, said
    assert "stopped" in said and "Traceback" not in said
    assert not (tmp_path / "out").exists()


def test_a_mistake_before_any_verb_has_no_prefix(fails):
    assert fails("--nonsense").startswith("ganforge: the following arguments are required: VERB")
