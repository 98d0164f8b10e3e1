"""Every word of the command line has an effect, or one sentence says why it has none."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import ganforge
from ganforge import models
from ganforge.base import device, stats
from ganforge.base.errors import InputError, RunError
from ganforge.base.images import name_rows
from ganforge.cli import APART, NEEDS, _verbs, main, parser
from ganforge.media.spec import Spec
from ganforge.models import names
from ganforge.runs import Run
from ganforge.testing import make_store
from ganforge.training.train import Trainer, plan, train

SPEC = Spec(8, 8, 1, ("cat", "red, round", "3"))
TINY = ["--model.width", "8", "--model.latent", "8", "--train.batch", "16"]


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A store, a run that knows classes, and one that restores."""
    folder = tmp_path_factory.mktemp("options")
    make_store(folder / "store", SPEC, 60)
    loop = {"images": 32, "batch": 16, "precision": "fp32"}
    model = {"width": 8, "latent": 8, "conditional": True}
    train("gan", folder / "store", folder / "run", device_name="cpu", overrides={"train": loop, "model": model})
    model = {"width": 8, "latent": 8}
    train("vae", folder / "store", folder / "vae", device_name="cpu", overrides={"train": loop, "model": model})
    return folder


def sample_words(option: str) -> list[str]:
    """An option with a value, where it takes one."""
    values = {"--seeds": "1", "--count": "2", "--mix": "1", "--mix-layers": "0", "--labels": "cat", "--frames": "2"}
    return [option, *([values[option]] if option in values else [])]


def test_every_verb_names_the_nearest_option(fails):
    for verb, words in _verbs(parser()).items():
        option = next(word for word in reversed(words._option_string_actions) if word.startswith("--"))
        said = fails(verb, "x", option + "n", "3")
        assert f"{verb}: there is no option {option}n." in said
        assert option == "--help" or f"Did you mean {option}?" in said
    assert "Did you mean --resolution?" in fails("prepare", "x", "--resolutionn", "64")
    assert "no option --res" in fails("prepare", "x", "--res", "64")  # an abbreviation may mean another word tomorrow
    assert "given twice" in fails("sample", "x", "--count", "1", "--count=2")
    assert "given twice" in fails("train", "gan", "x", "--model.lr", "1", "--model.lr=2")
    assert "one word too many" in fails("sample", "x", "y")
    assert "'many' is no whole number" in fails("prepare", "x", "--folds", "many")
    assert "'many' is no number" in fails("prepare", "x", "--heldout", "many")
    assert "words:" not in fails("--verbose")
    assert "-o/--out" in fails("train", "gan", "x", "-o")


def test_settings_stand_anywhere_in_the_words(place, capsys):
    assert main(["train", "--model.width", "16", "gan", "--train.seed=3", str(place / "store"), "--dry-run"]) == 0
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


def test_words_for_another_kind_of_thing(place, tmp_path, fails):
    (tmp_path / "pictures").mkdir()
    assert "--pictures is for one public set" in fails("collect", tmp_path / "pictures", "--pictures")
    for source in (tmp_path / "pictures", "digits"):
        assert "none that has files" in fails("collect", source, "--from", tmp_path, "-o", tmp_path / "out")
    (tmp_path / "layers.toml").write_text("[model]\n")
    assert "is no store" in fails("show", tmp_path / "layers.toml", "--augment", "flip")
    assert "is no store" in fails("show", place / "run", "--augment", "flip")
    assert "go into a folder" in fails("sample", place / "run", "--each", "--out", tmp_path / "a.png")


def test_a_split_that_decides_nothing(tmp_path, fails):
    for side in ("train", "test"):
        (tmp_path / "in" / side / "a").mkdir(parents=True)
        for n in range(12):
            pixels = np.random.default_rng((n, side == "test")).integers(0, 256, (9, 9), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "in" / side / "a" / f"{n}.png")
    for words in (["--heldout", "0.3"], ["--heldout", "0.1"], ["--stratify"]):
        assert "its own split" in fails("prepare", tmp_path / "in", "-o", tmp_path / "s", *words)
    train = tmp_path / "in" / "train"
    assert "Nothing is held out" in fails("prepare", train, "-o", tmp_path / "s", "--heldout", "0", "--stratify")
    assert "fewer --folds" in fails("prepare", train, "-o", tmp_path / "s", "--folds", "50")
    assert not (tmp_path / "s").exists()


def test_a_size_that_decides_nothing_is_refused(place, tmp_path, fails, capsys):
    store = place / "store"
    assert "--size is for a new run" in fails("train", place / "run", "--size", "large")
    assert "--out is for a new run" in fails("train", place / "run", "--out", tmp_path / "other")
    config = ["--config", place / "run" / "run.toml"]
    assert "says width already" in fails("train", "gan", store, *config, "--size", "large")
    assert "composed has one size" in fails("train", "composed", store, "--size", "large")
    (tmp_path / "part.toml").write_text("[train]\nbatch = 20\n")
    words = ["train", "gan", str(store), "--config", str(tmp_path / "part.toml"), "--size", "large", "--dry-run"]
    assert main(words) == 0
    found = tomllib.loads(capsys.readouterr().out)
    assert (found["model"]["width"], found["train"]["batch"]) == (512, 20)


def test_a_config_that_is_of_something_else_is_refused(place, tmp_path, fails):
    words = ["train", "dcgan", place / "store", "--config"]
    assert "of the system gan, not of dcgan" in fails(*words, place / "run" / "run.toml")
    (tmp_path / "a.toml").write_text("[trian]\nbatch = 20\n")
    assert "Did you mean train?" in fails(*words, tmp_path / "a.toml")
    (tmp_path / "a.toml").write_text("train = 3\n")
    assert "it takes a section" in fails(*words, tmp_path / "a.toml")


def test_the_length_is_said_once(place, fails):
    store = place / "store"
    assert "either --images or --minutes" in fails("train", "gan", store, "--images", "64", "--minutes", "1")
    assert "Give one of them" in fails("train", "gan", store, "--images", "64", "--train.minutes", "1")
    assert "are the same" in fails("train", "gan", store, "--images", "64", "--train.images", "32")
    assert "0 minutes" in fails("train", "gan", store, "--minutes", "0")
    for minutes in ("0", "-1", "nan"):
        assert "more than 0" in fails("demo", "--out", place / "demo", "--minutes", minutes)
    assert "something else" in fails("demo", "--out", place / "run" / "run.toml")
    for images in ("inf", "1e999", "1.5", ""):
        assert "type int" in fails("train", "gan", store, "--images", images)
    assert "cooldown" in fails("train", "gan", store, "--minutes", "1", "--train.cooldown", "1")
    with pytest.raises(InputError, match="Give one of them"):
        ganforge.train("gan", store, place / "none", images=64, minutes=1)


def test_a_run_that_cannot_begin_leaves_nothing(place, tmp_path, fails):
    words = ["train", "gan", place / "store", "--out", tmp_path / "run", "--images", "32", *TINY[:4]]
    assert "at least 2" in fails(*words, "--train.batch", "1")
    assert "no folds" in fails(*words, "--train.fold", "0")
    assert main([*map(str, words), "--train.batch", "16"]) == 0


@pytest.mark.parametrize("name", names())
def test_help_and_dry_run_say_what_each_setting_means(name, place, capsys):
    assert main(["train", name, "--help"]) == 0
    said = capsys.readouterr().out
    values = plan(name, ganforge.Store(place / "store"), Path("r"))
    notes = main(["train", name, str(place / "store"), "--dry-run"]) or capsys.readouterr().out
    for section in ("model", "train"):
        written = notes.split(f"[{section}]")[1].split("\n[")[0].splitlines()
        for setting in values[section]:
            line = next(line for line in said.splitlines() if line.startswith(f"  --{section}.{setting} "))
            meaning = line.split("  ")[-1].strip()
            assert len(meaning) > 8
            assert meaning in next(line for line in written if line.removeprefix("# ").startswith(f"{setting} ="))
    read = tomllib.loads(notes)
    assert {n: v for n, v in values["train"].items() if v is not None} == read["train"]
    if name == "gan":
        assert "256 (small 128, large 512)  whole number from 8 to 4096  units of the narrowest layer" in said


def test_top_help_is_instant():
    code = (
        "import contextlib, sys, time; from ganforge.cli import main\n"
        "with contextlib.suppress(SystemExit): main(['--help'])\n"
        "assert 'torch' not in sys.modules; assert time.process_time() < 0.3, time.process_time()"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_a_class_that_is_called_all_comes_first(tmp_path):
    make_store(tmp_path / "store", Spec(8, 8, 1, ("all", "cat")), 40)
    overrides = {"train": {"images": 16, "batch": 16}, "model": {"width": 8, "latent": 8, "conditional": True}}
    run = train("gan", tmp_path / "store", tmp_path / "run", device_name="cpu", overrides=overrides)
    assert np.array_equal(ganforge.sample(run, [1, 2], "all"), ganforge.sample(run, [1, 2], 0))


def test_seeds_and_labels_that_are_none(place, fails):
    run = ganforge.Run(place / "run")
    for wrong in ([1.5], ["1"], [-1], [2**32]):
        with pytest.raises(InputError, match="whole numbers from 0"):
            run.sample(wrong)
    for wrong in (1.0, [0.5], -1, 3):
        with pytest.raises(InputError, match="There is no class"):
            run.sample([1], wrong)
    assert run.sample(np.arange(2)).shape == (2, 8, 8, 1)
    for seeds in ("", "5-3", "1,9-8", "1-", "-1"):
        assert "seeds" in fails("sample", place / "run", f"--seeds={seeds}")
    assert "not understood" in fails("sample", place / "run", "--mix", "")


def test_a_class_with_a_comma_can_be_asked_for(place, tmp_path, fails):
    run = ganforge.Run(place / "run")
    from ganforge.base import marks

    for words, asked in (
        ("red, round", ["red, round"]), ('"red, round",cat', ["red, round", "cat"]), ("cat,3", ["cat", "3"]), ('"cat"', ["cat"]),
    ):  # fmt: skip
        count = str(len(asked))
        assert main(["sample", str(run.path), "--labels", words, "--count", count, "-o", str(tmp_path / "s.png")]) == 0
        assert marks.read(tmp_path / "s.png")["labels"] == asked
    assert "no class 'red'" in fails("sample", run.path, "--labels", "red,round")
    assert "no class ''" in fails("sample", run.path, "--labels", "")


def test_rows_of_classes_have_their_names():
    for channels in (1, 3, 4):
        sheet = np.zeros((3 * 58 - 2, 100, channels), np.uint8)
        named = name_rows(sheet, ["cat", "a name that is far too long for a margin", "犬"])
        assert (named.shape[0], named.shape[2]) == (len(sheet), channels)
        assert np.array_equal(named[:, -100:], sheet)
        assert 100 < named.shape[1] < 350
        margin = named[:, :-100, 0]
        for row in range(3):
            assert margin[row * 58 : row * 58 + 56].min() < 64 < margin[row * 58 : row * 58 + 56].mean()


def test_walks_and_projections_overwrite_nothing_beside_them(place, tmp_path):
    (tmp_path / "w.png").write_text("mine")
    (tmp_path / "p.safetensors").write_text("mine")
    words = [
        "sample",
        str(place / "run"),
        "--walk",
        "--seeds",
        "1,2",
        "--frames",
        "2",
        "--out",
        str(tmp_path / "w.gif"),
    ]
    assert main(words) == 0
    assert main(["sample", str(place / "run"), "--count", "1", "-o", str(tmp_path / "one.png")]) == 0
    assert (
        main(["project", str(place / "run"), str(tmp_path / "one.png"), "-o", str(tmp_path / "p.png"), "--steps", "1"])
        == 0
    )
    assert (tmp_path / "w-strip.png").is_file() and (tmp_path / "p-point.safetensors").is_file()
    assert (tmp_path / "w.png").read_text() == (tmp_path / "p.safetensors").read_text() == "mine"


def test_names_without_a_known_suffix(place, tmp_path, fails):
    run = place / "run"
    for name in ("name", "name.xyz", "name.tif"):
        assert "has to end in .png" in fails("sample", run, "--out", tmp_path / name)
        assert "has to end in .png" in fails("sample", run, "--mix", "1", "--out", tmp_path / name)
        assert "has to end in .png" in fails("project", run, run / "samples" / "000000032.png", "-o", tmp_path / name)
        assert "no video" in fails("sample", run, "--walk", "--out", tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_a_damaged_run_toml(place, tmp_path, fails):
    run = tmp_path / "run"
    shutil.copytree(place / "run", run)
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
    assert "Did you mean train?" in fails("train", with_("[train]", "[trian]"))
    start, end = text.index("[train]"), text.index("[model]")
    assert "lacks the section [train]" in fails("train", with_(text[start:end], ""))
    assert "lacks the section [model]" in fails("sample", with_("[model]", "[modell]"))


def test_a_system_too_large_for_the_machine(tmp_path):
    run = Run(tmp_path)
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
    said = capsys.readouterr().out.splitlines()
    assert len(said) == len(models.names())
    assert next(line for line in said if "broken" in line).startswith("The system broken cannot be used")
    assert "SyntaxError" in fails("train", "broken", tmp_path)
    assert "SYSTEM" in fails("train", "empty", tmp_path)
    assert "gan" in models.without_labels()


def test_the_device_reaches_what_makes_pictures(place, tmp_path, fails, monkeypatch):
    picture = place / "run" / "samples" / "000000032.png"
    verbs = [
        ["sample", place / "run", "--count", "1"],
        ["sample", place / "run", "--walk", "--seeds", "1,2"],
        ["project", place / "run", picture, "--steps", "1"],
        ["restore", place / "vae", picture, "-o", tmp_path / "out"],
        ["measure", place / "run", "--samples", "20"],
        ["train", "gan", place / "store", "--dry-run"],
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


def test_places_that_may_not_be_written(place, tmp_path, fails):
    """Folders stand where files should go: it fails alike for everyone, root too."""
    run = tmp_path / "run"
    shutil.copytree(place / "run", run)
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


def test_a_store_that_may_only_be_read_is_shown(place, tmp_path, capsys):
    shutil.copytree(place / "store", tmp_path / "store")
    (tmp_path / "store" / "sheet.png").mkdir()
    assert main(["show", str(tmp_path / "store")]) == 0
    said = capsys.readouterr().out
    assert "every file checked" in said and "sheet.png cannot be written" in said


def test_a_full_disk_is_one_sentence(place, tmp_path):
    """Files may have two blocks here, which is what a full disk does to them."""
    shutil.copytree(place / "run", tmp_path / "run")
    for words in (
        f"train {tmp_path / 'run'} --images 64", f"train gan {place / 'store'} -o {tmp_path / 'new'} --images 64",
        f"sample {tmp_path / 'run'} --count 64 -o {tmp_path / 'x.png'}",
        f"sample {tmp_path / 'run'} --walk --count 2 --frames 8 -o {tmp_path / 'x.webp'}",
    ):  # fmt: skip
        limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1024, 1024))"
        code = f"{limit}; import sys; from ganforge.cli import main; sys.exit(main({words.split()}))"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert done.returncode == 1, done.stderr
        assert done.stderr.count("\n") == 1 and "cannot be written: File too large" in done.stderr
    assert Run(tmp_path / "run").load()[1]["seen"] == 32
    assert not (tmp_path / "x.png").exists() and not (tmp_path / "x.webp").exists()


def test_sheets_and_rows_are_all_there_after_a_kill(place, tmp_path, monkeypatch):
    loop = {"images": 64, "batch": 16, "report": 16, "precision": "fp32"}
    overrides = {"train": loop, "model": {"width": 8, "latent": 8, "conditional": True}}
    whole = train("gan", place / "store", tmp_path / "whole", device_name="cpu", overrides=overrides)
    for killed in ("save", "_report"):
        original = getattr(Trainer, killed)

        def kill(self: Trainer, *words: object, done: Callable[..., None] = original) -> None:
            done(self, *words)
            if self.progress.seen == 32:
                raise KeyboardInterrupt

        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(Trainer, killed, kill)
            train("gan", place / "store", tmp_path / killed, device_name="cpu", overrides=overrides)
        halves = train("gan", place / "store", tmp_path / killed, device_name="cpu", overrides=overrides)
        assert [row["seen"] for row in stats.read(halves.path)] == [16, 32, 48, 64]
        sheets = sorted(path.name for path in (whole.path / "samples").iterdir())
        assert len(sheets) == 4
        for name in sheets:
            one, two = (run.path / "samples" / name for run in (whole, halves))
            with Image.open(one) as a, Image.open(two) as b:
                assert np.array_equal(np.asarray(a), np.asarray(b))
                assert (a.size[0] > 8 * 58 + 20, a.size[1]) == (True, 3 * 58 - 2)  # a row a class, its name beside it


def test_a_name_that_begins_with_a_dash(fails):
    assert "there is no option -m. A name that begins with a dash is written ./-my-pictures" in fails(
        "prepare", "-my-pictures"
    )
