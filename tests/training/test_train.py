"""The precision that `auto` chooses: by what the machine has, then by real steps; said, kept, and chosen again
elsewhere."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from ganforge.base import device
from ganforge.cli import main
from ganforge.media.spec import Spec
from ganforge.runs import RunFolder
from ganforge.store.store import Store
from ganforge.testing import make_store
from ganforge.training.train import GIVEN, _seconds_a_step, train
from ganforge.training.trainer import Trainer

OVERRIDES = {"model": {"width": 8, "latent": 8}, "train": {"images": 64, "batch": 16}}


@pytest.fixture
def store(tmp_path: Path) -> Path:
    make_store(tmp_path / "store", Spec(8, 8, 1), 60)
    return tmp_path / "store"


def has(monkeypatch: pytest.MonkeyPatch, amx: bool, avx512_bf16: bool) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512_bf16)


def test_flags_decide_first(store, tmp_path, monkeypatch, logged):
    has(monkeypatch, False, False)
    run = train("gan", store, tmp_path / "r", overrides=OVERRIDES, device_name="cpu")
    assert logged[0] == "precision fp32: cpu here has no bf16"
    assert run.settings["train"]["precision"] == "fp32"
    assert run.settings["run"]["precision"] == "cpu here has no bf16"
    assert device.resolve_precision("auto", torch.device("cpu")) == "fp32"
    has(monkeypatch, True, False)
    assert device.bf16_by(torch.device("cpu")) == "AMX"


@pytest.mark.parametrize(("bf16", "chosen"), [(0.5, "bf16"), (0.97, "fp32"), (2.0, "fp32")])
def test_real_steps_decide_between_what_there_is(store, tmp_path, monkeypatch, bf16, chosen, logged):
    has(monkeypatch, False, True)
    monkeypatch.setattr(
        sys.modules["ganforge.training.train"], "_seconds_a_step", lambda trainer: {"bf16": bf16, "fp32": 1.0}
    )
    run = train("gan", store, tmp_path / "r", overrides=OVERRIDES, device_name="cpu")
    assert run.settings["train"]["precision"] == chosen
    why = f"a step took {bf16:.3g} s in bf16, by AVX-512 bf16, and 1 s in fp32"
    assert logged[0] == f"precision {chosen}: {why}"
    assert run.settings["run"]["precision"] == why


def test_the_steps_are_real_and_leave_the_run_alone(store, tmp_path, monkeypatch):
    has(monkeypatch, False, True)
    tried: list[str] = []
    step = Trainer.step

    def noted(self):
        tried.append(self.settings.precision)
        step(self)

    monkeypatch.setattr(Trainer, "step", noted)
    run = train("gan", store, tmp_path / "r", overrides=OVERRIDES, device_name="cpu")
    chosen = run.settings["train"]["precision"]
    turns = (len(tried) - 4) // 2
    assert 4 <= turns <= 16
    assert tried == ["bf16", "fp32"] * turns + [chosen] * 4
    again = {**OVERRIDES, "train": {**OVERRIDES["train"], "precision": chosen}}
    other = train("gan", store, tmp_path / "asked", overrides=again, device_name="cpu")
    assert other.settings["run"]["precision"] == GIVEN
    one, two = run.load()[0], other.load()[0]
    assert all(torch.equal(value, two[name]) for name, value in one.items())
    seconds = _seconds_a_step(Trainer(run, Store(store), "cpu"))
    assert set(seconds) == {"bf16", "fp32"}
    assert 0 < min(seconds.values()) <= max(seconds.values()) < 60


def test_another_machine_chooses_again_what_it_does_not_have(store, tmp_path, monkeypatch, capsys):
    has(monkeypatch, True, False)
    monkeypatch.setattr(
        sys.modules["ganforge.training.train"], "_seconds_a_step", lambda trainer: {"bf16": 0.5, "fp32": 1.0}
    )
    run = train("gan", store, tmp_path / "r", overrides=OVERRIDES, device_name="cpu")
    asked = {**OVERRIDES, "train": {**OVERRIDES["train"], "precision": "bf16"}}
    other = train("gan", store, tmp_path / "asked", overrides=asked, device_name="cpu")
    has(monkeypatch, False, False)
    assert main(["train", str(run.path), "--images", "128", "--device", "cpu"]) == 0
    assert "precision fp32: was bf16 until now; cpu here has no bf16" in capsys.readouterr().out
    assert run.settings["train"]["precision"] == "fp32"
    assert run.load()[1]["seen"] == 128
    assert main(["train", str(other.path), "--images", "128", "--device", "cpu"]) == 0  # imitated, as it was asked for
    assert "precision" not in capsys.readouterr().out
    assert other.settings["train"]["precision"] == "bf16"


def test_settings_of_another_machine_choose_anew(store, tmp_path, monkeypatch):
    has(monkeypatch, True, False)
    monkeypatch.setattr(
        sys.modules["ganforge.training.train"], "_seconds_a_step", lambda trainer: {"bf16": 0.5, "fp32": 1.0}
    )
    run = train("gan", store, tmp_path / "r", overrides=OVERRIDES, device_name="cpu")
    has(monkeypatch, False, False)
    words = ["train", "gan", str(store), "--config", str(run.path / "run.toml"), "--device", "cpu"]
    assert main([*words, "--out", str(tmp_path / "other")]) == 0
    assert RunFolder(tmp_path / "other").settings["train"]["precision"] == "fp32"
    assert main([*words, "--out", str(tmp_path / "asked"), "--train.precision", "bf16"]) == 0
    assert RunFolder(tmp_path / "asked").settings["train"]["precision"] == "bf16"
