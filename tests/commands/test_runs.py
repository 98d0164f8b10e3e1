"""The verbs about runs: every option has an effect, or one sentence says why it has none; nothing is lost."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import ganforge
from ganforge import models
from ganforge.base import device, marks, stats
from ganforge.base.errors import InputError
from ganforge.cli import main
from ganforge.media.clip import Clip
from ganforge.media.picture import Picture
from ganforge.media.solid import Solid
from ganforge.media.sound import Sound
from ganforge.media.spec import Spec
from ganforge.media.text import END, Text
from ganforge.models import names
from ganforge.runs import RunFolder
from ganforge.testing import make_store
from ganforge.training.train import Trainer, plan, train, usual_size
from tiny import TINY_OPTIONS


def test_words_for_another_kind_of_thing(made, tmp_path, fails):
    (tmp_path / "pictures").mkdir()
    assert "--pictures is for one public set" in fails("collect", tmp_path / "pictures", "--pictures")
    for source in (tmp_path / "pictures", "digits"):
        assert "none of the sources has files" in fails("collect", source, "--from", tmp_path, "-o", tmp_path / "out")
    (tmp_path / "layers.toml").write_text("[model]\n")
    assert "is no store" in fails("show", tmp_path / "layers.toml", "--augment", "flip")
    assert "is no store" in fails("show", made / "run", "--augment", "flip")
    assert "go into a folder" in fails("sample", made / "run", "--each", "--out", tmp_path / "a.png")


def test_a_size_that_decides_nothing_is_refused(made, tmp_path, fails, capsys):
    store = made / "store"
    assert "--size is for a new run" in fails("train", made / "run", "--size", "large")
    assert "--out is for a new run" in fails("train", made / "run", "--out", tmp_path / "other")
    config = ["--config", made / "run" / "run.toml"]
    assert "says width already" in fails("train", "gan", store, *config, "--size", "large")
    assert "composed has one size" in fails("train", "composed", store, "--size", "large")
    (tmp_path / "part.toml").write_text("[train]\nbatch = 20\n")
    words = ["train", "gan", str(store), "--config", str(tmp_path / "part.toml"), "--size", "large", "--dry-run"]
    assert main(words) == 0
    found = tomllib.loads(capsys.readouterr().out)
    assert (found["model"]["width"], found["train"]["batch"]) == (512, 20)


def test_a_config_that_is_of_something_else_is_refused(made, tmp_path, fails):
    words = ["train", "dcgan", made / "store", "--config"]
    assert "of the system gan, not of dcgan" in fails(*words, made / "run" / "run.toml")
    (tmp_path / "a.toml").write_text("[trian]\nbatch = 20\n")
    assert "Did you mean train?" in fails(*words, tmp_path / "a.toml")
    (tmp_path / "a.toml").write_text("train = 3\n")
    assert "it takes a section" in fails(*words, tmp_path / "a.toml")


def test_the_length_is_said_once(made, fails):
    store = made / "store"
    assert "either --images or --minutes" in fails("train", "gan", store, "--images", "64", "--minutes", "1")
    assert "Give one of them" in fails("train", "gan", store, "--images", "64", "--train.minutes", "1")
    assert "are the same" in fails("train", "gan", store, "--images", "64", "--train.images", "32")
    assert "0 minutes" in fails("train", "gan", store, "--minutes", "0")
    for minutes in ("0", "-1", "nan"):
        assert "more than 0" in fails("demo", "--out", made / "demo", "--minutes", minutes)
    assert "something else" in fails("demo", "--out", made / "run" / "run.toml")
    for images in ("inf", "1e999", "1.5", ""):
        assert "type int" in fails("train", "gan", store, "--images", images)
    assert "cooldown" in fails("train", "gan", store, "--minutes", "1", "--train.cooldown", "1")
    with pytest.raises(InputError, match="Give one of them"):
        ganforge.train("gan", store, made / "none", images=64, minutes=1)


def test_a_run_that_cannot_begin_leaves_nothing(made, tmp_path, fails):
    words = ["train", "gan", made / "store", "--out", tmp_path / "run", "--images", "32", *TINY_OPTIONS[:4]]
    assert "at least 2" in fails(*words, "--train.batch", "1")
    assert "no folds" in fails(*words, "--train.fold", "0")
    assert "no folds" in fails(*words, "--train.fold", "0", "--dry-run")
    assert main([*map(str, words), "--train.batch", "16"]) == 0


OTHERS = (
    Spec(16, 16, 4, medium=Clip(4, 10.0)),
    Spec(16, 22, 1, medium=Sound.of_rate(8000)),
    Spec(16, 16, 16, medium=Solid()),
    Spec(1, 12, 1, medium=Text(END + "abc")),
)


@pytest.mark.parametrize("name", names())
def test_help_and_dry_run_say_what_each_setting_means(name, made, tmp_path, capsys):
    assert main(["train", name, "--help"]) == 0
    printed = capsys.readouterr().out
    store = made / "store"
    if name not in models.of_medium(Picture):
        spec = next(spec for spec in OTHERS if name in models.of_medium(type(spec.medium)))
        store = make_store(tmp_path / "store", spec).path
    if models.load(name).system.captioned:
        store = make_store(tmp_path / "store", Spec(16, 16, 1), captioned=True).path
    model = {"degradation": "edges 0.1"} if name == "pix2pix" else {}
    values = plan(name, ganforge.Store(store), Path("r"), overrides={"model": model}, usual=usual_size("auto"))
    words = [word for setting, value in model.items() for word in (f"--model.{setting}", value)]
    notes = main(["train", name, str(store), "--dry-run", *words]) or capsys.readouterr().out
    for section in ("model", "train"):
        written = notes.split(f"[{section}]")[1].split("\n[")[0].splitlines()
        for setting in values[section]:
            line = next(line for line in printed.splitlines() if line.startswith(f"  --{section}.{setting} "))
            meaning = line.split("  ")[-1].strip()
            assert len(meaning) > 8
            assert meaning in next(line for line in written if line.removeprefix("# ").startswith(f"{setting} ="))
    read = tomllib.loads(notes)
    assert {n: v for n, v in values["train"].items() if v is not None} == read["train"]
    if name == "gan":
        assert "256 (small 128; large 512)  whole number from 8 to 4096  units of the narrowest layer" in printed


def test_a_class_that_is_called_all_comes_first(tmp_path):
    make_store(tmp_path / "store", Spec(8, 8, 1, ("all", "cat")), 40)
    overrides = {"train": {"images": 16, "batch": 16}, "model": {"width": 8, "latent": 8, "conditional": True}}
    run = train("gan", tmp_path / "store", tmp_path / "run", device_name="cpu", overrides=overrides)
    assert np.array_equal(ganforge.sample(run, [1, 2], "all"), ganforge.sample(run, [1, 2], 0))


def test_seeds_and_labels_that_are_none(made, fails):
    run = ganforge.Run(made / "run")
    for wrong in ([1.5], ["1"], [-1], [2**32]):
        with pytest.raises(InputError, match="whole numbers from 0"):
            run.sample(wrong)
    for wrong in (1.0, [0.5], -1, 3):
        with pytest.raises(InputError, match="There is no class"):
            run.sample([1], wrong)
    assert run.sample(np.arange(2)).shape == (2, 8, 8, 1)
    for seeds in ("", "5-3", "1,9-8", "1-", "-1"):
        assert "seeds" in fails("sample", made / "run", f"--seeds={seeds}")
    assert "not understood" in fails("sample", made / "run", "--mix", "")


def test_a_class_with_a_comma_can_be_asked_for(made, tmp_path, fails):
    run = ganforge.Run(made / "run")
    from ganforge.base import marks

    for words, asked in (
        ("red, round", ["red, round"]), ('"red, round",cat', ["red, round", "cat"]), ("cat,3", ["cat", "3"]),
        ('"cat"', ["cat"]),
    ):  # fmt: skip
        count = str(len(asked))
        assert main(["sample", str(run.path), "--labels", words, "--count", count, "-o", str(tmp_path / "s.png")]) == 0
        assert marks.read(tmp_path / "s.png")["labels"] == asked
    assert "no class 'red'" in fails("sample", run.path, "--labels", "red,round")
    assert "not understood" in fails("sample", run.path, "--labels", "x" * 200_000)
    assert "no class ''" in fails("sample", run.path, "--labels", "")


def test_walks_and_projections_overwrite_nothing_beside_them(made, tmp_path):
    (tmp_path / "w.png").write_text("mine")
    (tmp_path / "p.safetensors").write_text("mine")
    words = [
        "sample",
        str(made / "run"),
        "--walk",
        "--seeds",
        "1,2",
        "--frames",
        "2",
        "--out",
        str(tmp_path / "w.gif"),
    ]
    assert main(words) == 0
    assert main(["sample", str(made / "run"), "--count", "1", "-o", str(tmp_path / "one.png")]) == 0
    assert (
        main(["project", str(made / "run"), str(tmp_path / "one.png"), "-o", str(tmp_path / "p.png"), "--steps", "1"])
        == 0
    )
    assert (tmp_path / "w-strip.png").is_file() and (tmp_path / "p-point.safetensors").is_file()
    assert (tmp_path / "w.png").read_text() == (tmp_path / "p.safetensors").read_text() == "mine"


def test_names_without_a_known_suffix(made, tmp_path, fails):
    run = made / "run"
    for name in ("name", "name.xyz", "name.tif"):
        assert "has to end in .png" in fails("sample", run, "--out", tmp_path / name)
        assert "has to end in .png" in fails("sample", run, "--mix", "1", "--out", tmp_path / name)
        assert "has to end in .png" in fails("project", run, run / "samples" / "000000032.png", "-o", tmp_path / name)
        assert "no video" in fails("sample", run, "--walk", "--out", tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_a_damaged_run_toml(made, tmp_path, fails):
    run = tmp_path / "run"
    shutil.copytree(made / "run", run)
    text = (run / "run.toml").read_text()

    def with_(old: str, new: str) -> Path:
        assert old in text
        (run / "run.toml").write_text(text.replace(old, new))
        return run

    assert "does not say the system" in fails("sample", with_('system = "gan"', ""))
    assert "does not say the system" in fails("sample", with_('system = "gan"', "system = 3"))
    assert "no system 'gam'" in fails("train", with_('system = "gan"', 'system = "gam"'))
    assert "does not say the store" in fails("measure", with_("store = ", "stor = "))
    for side in ("0", "-8", "8.0", "100000", "true", '"8"'):
        assert "height" in fails("sample", with_("height = 8", f"height = {side}"))
    assert "channels" in fails("sample", with_("channels = 1", "channels = 2"))
    assert "model.width" in fails("sample", with_("width = 8\nlr", "width = 99999\nlr"))
    assert "lacks the section [train]" in fails("train", with_("[train]", "[trian]"))
    start, end = text.index("[train]"), text.index("[model]")
    assert "lacks the section [train]" in fails("train", with_(text[start:end], ""))
    assert "lacks the section [model]" in fails("sample", with_("[model]", "[modell]"))


def test_the_device_reaches_what_makes_pictures(made, tmp_path, fails, monkeypatch):
    picture = made / "run" / "samples" / "000000032.png"
    verbs = [
        ["sample", made / "run", "--count", "1"],
        ["sample", made / "run", "--walk", "--seeds", "1,2"],
        ["project", made / "run", picture, "--steps", "1"],
        ["restore", made / "vae", picture, "-o", tmp_path / "out"],
        ["measure", made / "run", "--samples", "20"],
        ["train", "gan", made / "store", "--dry-run"],
    ]
    for words in verbs:
        for name in ("toaster", "meta", "cuda:99", "cpu:x", ""):
            assert f"The device {name!r} cannot be used here" in fails(*words, "--device", name)
        if not torch.cuda.is_available():
            assert "Use auto, cpu" in fails(*words, "--device", "cuda")
    assert not (tmp_path / "out").exists()
    heard = []
    monkeypatch.setattr(device, "choose", lambda name="auto": heard.append(name) or torch.device("cpu"))
    for words in verbs[:4]:
        assert main([*map(str, words), "--device", "cpu"]) == 0
    assert main([*map(str, verbs[0])]) == 0
    assert heard == ["cpu"] * 4 + ["auto"]


def test_a_store_that_may_only_be_read_is_shown(made, tmp_path, capsys):
    shutil.copytree(made / "store", tmp_path / "store")
    (tmp_path / "store" / "sheet.png").mkdir()
    assert main(["show", str(tmp_path / "store")]) == 0
    printed = capsys.readouterr().out
    assert "every file checked" in printed and "sheet.png cannot be written" in printed


def test_sheets_and_rows_are_all_there_after_a_kill(made, tmp_path, monkeypatch):
    loop = {"images": 64, "batch": 16, "report": 16, "precision": "fp32"}
    overrides = {"train": loop, "model": {"width": 8, "latent": 8, "conditional": True}}
    whole = train("gan", made / "store", tmp_path / "whole", device_name="cpu", overrides=overrides)
    for killed in ("save", "_report"):
        original = getattr(Trainer, killed)

        def kill(self: Trainer, *words: object, done: Callable[..., None] = original) -> None:
            done(self, *words)
            if self.progress.seen == 32:
                raise KeyboardInterrupt

        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(Trainer, killed, kill)
            train("gan", made / "store", tmp_path / killed, device_name="cpu", overrides=overrides)
        halves = train("gan", made / "store", tmp_path / killed, device_name="cpu", overrides=overrides)
        assert [row["seen"] for row in stats.read(halves.path)] == [16, 32, 48, 64]
        sheets = sorted(path.name for path in (whole.path / "samples").iterdir())
        assert len(sheets) == 4
        for name in sheets:
            one, two = (run.path / "samples" / name for run in (whole, halves))
            with Image.open(one) as a, Image.open(two) as b:
                assert np.array_equal(np.asarray(a), np.asarray(b))
                assert (a.size[0] > 8 * 58 + 20, a.size[1]) == (True, 3 * 58 - 2)  # a row a class, its name beside it


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
    printed = capsys.readouterr().out
    assert "Fréchet distance" in printed
    assert "floor" in printed
    assert "protocol: 100 samples" in printed
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
    assert "it takes 16 to" in fails("measure", run, "--samples", "1")


def test_a_run_without_a_checkpoint_and_a_damaged_one(run, fails):
    newest = RunFolder(run).checkpoints()[-1]
    tensors = newest / "tensors.safetensors"
    data = bytearray(tensors.read_bytes())
    data[-3] ^= 4
    tensors.write_bytes(data)
    assert "is damaged: the SHA-256" in fails("sample", run)
    for folder in RunFolder(run).checkpoints():
        (folder / "manifest.json").unlink()
    assert "manifest.json" in fails("sample", run)
    assert "No checkpoint is left" in fails("train", run)
    shutil.rmtree(run / "checkpoints")
    assert "no checkpoint yet" in fails("sample", run)
    (run / "run.toml").write_text("[run")
    assert "cannot be read as TOML" in fails("sample", run)


def test_a_run_resumed_with_something_else(run, store, tmp_path, fails):
    words = ["--out", run, "--images", "64"]
    assert "model.width = 8, not " in fails("train", "gan", store, *words, "--train.batch", "16", "--model.latent", "8")
    assert "run.system = 'gan', not 'vae'" in fails("train", "vae", store, *words)
    make_store(tmp_path / "other", Spec(8, 10, 1), 40)
    assert "is not the store that" in fails("train", "gan", tmp_path / "other", *words, *TINY_OPTIONS)
    assert "has no" not in fails("measure", run, "--store", tmp_path / "other")


def test_dry_run_is_the_input_of_the_next_run(store, tmp_path, capsys):
    words = ["train", "gan", str(store), "--out", str(tmp_path / "r"), "--images", "64"]
    assert main([*words, *TINY_OPTIONS, "--dry-run"]) == 0
    (tmp_path / "plan.toml").write_text(capsys.readouterr().out)
    assert not (tmp_path / "r").exists()
    assert main([*words, "--config", str(tmp_path / "plan.toml")]) == 0
    assert RunFolder(tmp_path / "r").settings["model"]["width"] == 8


def test_the_same_command_again_changes_nothing(run, store, capsys):
    before = {p: p.stat().st_mtime_ns for p in sorted(run.rglob("*"))}
    assert main(["train", "gan", str(store), "--out", str(run), "--images", "64", *TINY_OPTIONS]) == 0
    assert "is trained already" in capsys.readouterr().out
    assert {p: p.stat().st_mtime_ns for p in sorted(run.rglob("*"))} == before


def test_a_run_goes_on_by_its_folder_alone(run, capsys, fails):
    assert main(["train", str(run)]) == 0
    assert "is trained already" in capsys.readouterr().out
    assert main(["train", str(run), "--images", "128"]) == 0
    assert RunFolder(run).load()[1]["seen"] == 128
    assert RunFolder(run).settings["model"]["width"] == 8
    assert "model.width = 8, not 16" in fails("train", run, "--model.width", "16")
    settings = (run / "run.toml").read_text()
    assert "has seen 128 images" in fails("train", run, "--images", "64")
    assert "would be less" in fails("train", run, "--minutes", "0.00001")
    assert (run / "run.toml").read_text() == settings
    spent = json.loads((run / "stats.jsonl").read_text().splitlines()[-1])["seconds"]
    assert main(["train", str(run), "--minutes", str(spent / 60 + 0.005)]) == 0
    seen = RunFolder(run).load()[1]["seen"]
    assert main(["train", str(run), "--images", str(seen + 64)]) == 0
    assert RunFolder(run).load()[1]["seen"] == seen + 64
    assert "gan on which store?" in fails("train", "gan")
    assert "is no run" in fails("train", run.parent / "nothing")


def test_a_run_made_before_a_setting_existed_goes_on(run, store, tmp_path):
    shutil.copytree(run, tmp_path / "old")
    text = (tmp_path / "old" / "run.toml").read_text()
    kept = [line for line in text.splitlines() if not line.startswith(("conditional", "balance", "augment", "fold"))]
    assert len(kept) < len(text.splitlines())
    (tmp_path / "old" / "run.toml").write_text("\n".join(kept))
    for checkpoint in RunFolder(tmp_path / "old").checkpoints():  # which such a version had no settings in
        (checkpoint / "run.toml").unlink()
        manifest = json.loads((checkpoint / "manifest.json").read_text())
        del manifest["sha256"]["run.toml"]
        (checkpoint / "manifest.json").write_text(json.dumps(manifest))
    assert main(["train", "gan", str(store), "--out", str(tmp_path / "old"), "--images", "128", *TINY_OPTIONS]) == 0
    assert RunFolder(tmp_path / "old").load()[1]["seen"] == 128


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
        command = [*words, *TINY_OPTIONS, "--out", str(out)]
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    assert start(tmp_path / "whole").wait(120) == 0
    process = start(tmp_path / "halves")
    deadline = time.monotonic() + 60
    while not (tmp_path / "halves" / "stats.jsonl").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, printed = process.communicate(timeout=60)
    assert process.returncode in (0, 3), printed
    if process.returncode == 3:
        assert f"Go on with: ganforge train {tmp_path / 'halves'}" in printed
        assert RunFolder(tmp_path / "halves").load()[1]["seen"] < 4096
    assert start(tmp_path / "halves").wait(120) == 0
    one, two = RunFolder(tmp_path / "whole").load()[0], RunFolder(tmp_path / "halves").load()[0]
    assert one.keys() == two.keys()
    assert all(torch.equal(value, two[name]) for name, value in one.items())


def test_lengthening_a_run_goes_on_from_its_end(run, store):
    assert main(["train", "gan", str(store), "--out", str(run), "--images", "128", *TINY_OPTIONS]) == 0
    assert RunFolder(run).load()[1]["seen"] == 128
