"""The facts of a store, a run and a folder, line by line."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from ganforge.base.errors import InputError, StoreError
from ganforge.cli import main
from ganforge.media.spec import Spec
from ganforge.showing import show
from ganforge.testing import make_store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store(tmp_path_factory.mktemp("show") / "store", Spec(8, 8, 3, ("cat", "dog")), 60).path


def test_a_store_and_its_sheet(store, tmp_path):
    shutil.copytree(store, tmp_path / "store")
    lines = show(tmp_path / "store", "flip, rotate 10")
    assert lines[0] == f"{tmp_path / 'store'}: a store of 8x8 RGB, 2 classes"
    assert "  pictures   60: 48 for training, 12 held out" in lines
    assert [line.split()[:2] for line in lines if "#" in line] == [["cat", "30"], ["dog", "30"]]
    for name in ("sheet.png", "augmented.png"):
        assert (tmp_path / "store" / name).is_file() and any(line.endswith(name) for line in lines)


def test_a_run_before_and_after_its_first_checkpoint(store, tmp_path):
    command = ["train", "gan", str(store), "-o", str(tmp_path / "run"), "--images", "64", "--model.width", "8"]
    assert main([*command, "--train.batch", "16"]) == 0
    lines = show(tmp_path / "run")
    assert lines[0].startswith(f"{tmp_path / 'run'}: gan on 8x8 RGB, 2 classes, trained on ")
    assert any(line.startswith("  last report  64 images, ") for line in lines)
    assert any(re.fullmatch(r"  checkpoints  .*64 images; [\d.]+ MB", line) for line in lines)
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    assert "  checkpoints  none yet" in show(tmp_path / "run")


def test_what_is_none_of_these_is_one_sentence(store, tmp_path):
    with pytest.raises(InputError, match=r"neither a store .* nor a run .*, nor a folder with a history\.jsonl"):
        show(tmp_path)
    with pytest.raises(InputError, match="is no store; --augment"):
        show(tmp_path, "flip")
    shutil.copytree(store, tmp_path / "store")
    (tmp_path / "store" / "labels.npy").write_bytes(b"")
    with pytest.raises(StoreError, match="was cut short or edited"):
        show(tmp_path / "store")


def test_the_folder_that_one_is_in(store, tmp_path, monkeypatch, fails):
    shutil.copytree(store, tmp_path / "store")
    monkeypatch.chdir(tmp_path / "store")
    assert show(".")[0].endswith("a store of 8x8 RGB, 2 classes")
    monkeypatch.chdir(tmp_path)
    assert "is neither a store" in fails("show", ".")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").touch()
    assert "exists already and is no store" in fails("prepare", "in", "-o", ".")


@pytest.mark.parametrize("text", ["run = 3\n[model]\n", "model = 3\n[spec]\nheight = 8\nwidth = 8\nchannels = 1\n"])
def test_a_toml_file_of_other_types_is_one_sentence(tmp_path, text, fails):
    (tmp_path / "layers.toml").write_text(text)
    assert "holds no composed system" in fails("show", tmp_path / "layers.toml")


def test_a_step_without_a_time_is_left_out(tmp_path):
    (tmp_path / "history.jsonl").write_text('{"verb": "collect", "at": "today"}\n{"verb": "clean"}\n')
    assert show(tmp_path) == [f"{tmp_path}: a folder of pictures", "  today  collect: "]
