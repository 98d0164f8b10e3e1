"""The command line as a user meets it: every mistake is one sentence, and nothing is lost."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ganforge import models
from ganforge.base.errors import RunError
from ganforge.cli import APART, NEEDS, _verbs, main, parser
from ganforge.media.picture import Picture
from ganforge.runs import RunFolder
from ganforge.training.train import Trainer, train
from ganforge.web.public import SETS


def test_unknown_words(fails, store):
    assert "Did you mean dcgan?" in fails("train", "dcgn", store)
    assert "Did you mean train?" in fails("trian", "dcgan", store)
    assert "Did you mean model.width?" not in (printed := fails("train", "dcgan", store, "--model.widht", "3"))
    assert "Did you mean width?" in printed
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
        (tmp_path / "texts" / f"{n}.doc").write_text("words")
    assert "not a picture: .doc file" in fails("prepare", tmp_path / "texts", "-o", tmp_path / "o")
    (tmp_path / "file.bin").write_bytes(b"123")
    assert "neither a folder nor a zip" in fails("prepare", tmp_path / "file.bin")
    assert "neither a store" in fails("show", tmp_path / "texts")
    assert "no manifest.json" in fails("train", "gan", tmp_path / "texts")
    assert "is no run" in fails("sample", tmp_path / "texts")
    assert "is no run" in fails("measure", tmp_path / "nowhere")
    assert not (tmp_path / "o").exists()


def test_places_that_cannot_be_written(fails, store, run, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    assert "cannot be written" in fails("train", "gan", store, "--out", blocked / "run")
    assert "cannot be written" in fails("sample", run, "--out", blocked / "a.png")
    assert "cannot be written" in fails("collect", "digits", "--out", blocked / "d")
    assert "exists already" in fails("prepare", store, "-o", store)
    assert "something else" in fails("train", "gan", store, "--out", store)


def test_a_killed_save_leaves_the_checkpoint_before(run, monkeypatch):
    before = RunFolder(run).load()[1]

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ganforge.runs.save_file", full)
    with pytest.raises(Exception, match="No space left on device"):
        RunFolder(run).save(999, {"a": torch.zeros(1)}, {}, {})
    assert RunFolder(run).load()[1] == before
    assert not list((run / "checkpoints").glob(".*"))


OVERRIDES = {"model": {"width": 8, "latent": 8}, "train": {"images": 320, "batch": 16, "report": 64}}


def test_minutes_settle_on_a_length_in_images(store, tmp_path):
    overrides = {"model": {"width": 8, "latent": 8}, "train": {"minutes": 0.04, "batch": 16}}
    made = train("gan", store, tmp_path / "r", overrides=overrides)
    images = made.settings["train"]["images"]
    assert images > 0
    assert made.load()[1]["seen"] == images


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


@pytest.mark.parametrize(("verb", "how"), [("audit", signal.SIGINT), ("clean", signal.SIGTERM)])
def test_stopped_by_a_signal_is_exit_code_3(verb, how, tmp_path):
    (tmp_path / "in").mkdir()
    for n in range(400):
        pixels = np.random.default_rng(n).integers(0, 256, (160, 160, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "in" / f"{n}.png", compress_level=0)
    words = [verb, str(tmp_path / "in"), "-o", str(tmp_path / "out")] + ["--filter", "nlm"] * (verb == "clean")
    process = subprocess.Popen([sys.executable, "-m", "ganforge.cli", *words], stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob(".out.partial-*")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(how)
    printed = process.communicate(timeout=60)[1]
    assert process.returncode == 3, printed
    assert "stopped" in printed and "Traceback" not in printed
    assert not (tmp_path / "out").exists()


def test_a_mistake_before_any_verb_has_no_prefix(fails):
    assert fails("--nonsense").startswith("ganforge: the following arguments are required: VERB")


def test_every_verb_names_the_nearest_option(fails):
    for verb, words in _verbs(parser()).items():
        option = next(word for word in reversed(words._option_string_actions) if word.startswith("--"))
        printed = fails(verb, "x", option + "n", "3")
        assert f"{verb}: there is no option {option}n." in printed
        assert option == "--help" or f"Did you mean {option}?" in printed
    assert "Did you mean --resolution?" in fails("prepare", "x", "--resolutionn", "64")
    assert "no option --res" in fails("prepare", "x", "--res", "64")  # an abbreviation may mean another word tomorrow
    assert "given twice" in fails("sample", "x", "--count", "1", "--count=2")
    assert "given twice" in fails("train", "gan", "x", "--model.lr", "1", "--model.lr=2")
    assert "one word too many" in fails("sample", "x", "y")
    assert "'many' is no whole number" in fails("prepare", "x", "--folds", "many")
    assert "'many' is no number" in fails("prepare", "x", "--heldout", "many")
    assert "words:" not in fails("--verbose")
    assert "-o/--out" in fails("train", "gan", "x", "-o")


def sample_words(option: str) -> list[str]:
    """An option with a value, where it takes one."""
    values = {"--seeds": "1", "--count": "2", "--mix": "1", "--mix-layers": "0", "--labels": "cat", "--frames": "2"}
    return [option, *([values[option]] if option in values else [])]


def test_settings_stand_anywhere_in_the_words(made, capsys):
    assert main(["train", "--model.width", "16", "gan", "--train.seed=3", str(made / "store"), "--dry-run"]) == 0
    found = tomllib.loads(capsys.readouterr().out)
    assert (found["model"]["width"], found["train"]["seed"]) == (16, 3)


def test_options_without_effect_are_refused(fails):
    for verb, pairs in APART.items():
        for one, other in pairs:
            options = _verbs(parser())[verb]._option_string_actions
            words = [
                w for o in (one, other) for w in (o, *["3"] * (0 if options[o].nargs == 0 else options[o].nargs or 1))
            ]
            source = [] if verb == "audit" else ["x"]
            assert f"say either {one} or {other}" in fails(verb, *source, *words)
    for verb, pairs in NEEDS.items():
        for one, other in pairs.items():
            assert f"{one} has no effect without {other}" in fails(verb, "x", *sample_words(one))


def test_top_help_is_instant():
    code = (
        "import contextlib, sys, time; from ganforge.cli import main\n"
        "with contextlib.suppress(SystemExit): main(['--help'])\n"
        "assert 'torch' not in sys.modules; assert time.process_time() < 0.3, time.process_time()"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_a_name_that_begins_with_a_dash(fails):
    assert "there is no option -m. A name that begins with a dash is written ./-my-pictures" in fails(
        "prepare", "-my-pictures"
    )


def test_a_system_too_large_for_the_machine(tmp_path):
    run = RunFolder(tmp_path)
    spec = {"height": 1024, "width": 1024, "channels": 4, "classes": []}
    model = {"width": 4096}
    run.begin({"run": {"system": "gan", "store": "s"}, "train": {}, "model": model, "spec": spec})
    with pytest.raises(RunError, match="cannot be built here"):
        run.new_system()


def test_a_system_with_a_mistake_in_its_file(tmp_path, monkeypatch, capsys, fails):
    shutil.copytree(Path(models.__file__).parent, tmp_path / "models")
    (tmp_path / "models" / "broken.py").write_text('"""broken: a slip."""\n\ndef f(:\n')
    (tmp_path / "models" / "empty.py").write_text("")
    (tmp_path / "models" / "latin.py").write_bytes(b'"""\xe9"""')
    monkeypatch.setattr(models, "_HERE", tmp_path / "models")
    monkeypatch.setattr(models, "__path__", [str(tmp_path / "models")])
    assert main(["systems"]) == 2
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == len(models.names())
    assert next(line for line in printed if "broken" in line).startswith("The system broken cannot be used")
    assert "SyntaxError" in fails("train", "broken", tmp_path)
    assert "SYSTEM" in fails("train", "empty", tmp_path)
    assert "gan" in models.without_labels(Picture)


def test_a_full_disk_is_one_sentence(made, tmp_path):
    """Files may have two blocks here, which is what a full disk does to them."""
    shutil.copytree(made / "run", tmp_path / "run")
    for words in (
        f"train {tmp_path / 'run'} --images 64", f"train gan {made / 'store'} -o {tmp_path / 'new'} --images 64",
        f"sample {tmp_path / 'run'} --count 64 -o {tmp_path / 'x.png'}",
        f"sample {tmp_path / 'run'} --walk --count 2 --frames 8 -o {tmp_path / 'x.webp'}",
    ):  # fmt: skip
        limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1024, 1024))"
        code = f"{limit}; import sys; from ganforge.cli import main; sys.exit(main({words.split()}))"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert done.returncode == 1, done.stderr
        assert done.stderr.count("\n") == 1 and "cannot be written: File too large" in done.stderr
    assert RunFolder(tmp_path / "run").load()[1]["seen"] == 32
    assert not (tmp_path / "x.png").exists() and not (tmp_path / "x.webp").exists()


def test_places_that_may_not_be_written(made, tmp_path, fails):
    """Folders stand where files should go: it fails alike for everyone, root too."""
    run = tmp_path / "run"
    shutil.copytree(made / "run", run)
    (run / "stats.jsonl").unlink()
    (run / "stats.jsonl").mkdir()
    assert "stats.jsonl" in fails("train", run, "--images", "64")
    (run / "measures.jsonl").mkdir()
    assert "measures.jsonl" in fails("measure", run, "--samples", "20")
    (tmp_path / "p-point.safetensors").mkdir()
    (tmp_path / "p-point.safetensors" / "x").mkdir()
    picture = run / "samples" / "000000032.png"
    assert "p-point" in fails("project", run, picture, "-o", tmp_path / "p.png", "--steps", "0")
    assert not list(tmp_path.glob(".*"))


def test_a_training_whose_output_nobody_reads_is_not_done(store, tmp_path):
    """It ended at its first line with exit code 0."""
    words = ["train", "gan", str(store), "-o", str(tmp_path / "run"), "--images", "4096", "--train.batch", "16"]
    command = f"set -o pipefail; {sys.executable} -m ganforge.cli {' '.join(words)} | head -0"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert done.returncode == 3 and "Traceback" not in done.stderr


def test_signs_that_the_terminal_lacks(tmp_path):
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "COLUMNS": "200"}
    command = [sys.executable, "-m", "ganforge.cli", "prepare", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0 and "FINDING,\\u2026" in done.stdout


@pytest.mark.parametrize("verb", ["prepare", "audit", "collect", "show", "measure"])
def test_paths_that_are_no_utf8_are_one_sentence(tmp_path, verb, fails):
    assert "no UTF-8" in fails(verb, tmp_path / "caf\udce9")


def test_the_help_of_collect_names_every_public_set(capsys):
    with pytest.raises(SystemExit):
        main(["collect", "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    assert all(name in shown for name in SETS)
