"""The settings of a run: rules of a preset, the precision that `auto` chooses, the length in minutes."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch

from ganforge import models
from ganforge.base import config, device
from ganforge.base.errors import InputError, RunError
from ganforge.base.files import file_sha256
from ganforge.cli import main
from ganforge.media.sound import Sound
from ganforge.media.spec import Spec
from ganforge.nn.schedules import Cosine
from ganforge.runs import RunFolder
from ganforge.store.store import Store
from ganforge.system import Adam, Rule
from ganforge.testing import make_store
from ganforge.training.train import GIVEN, _seconds_a_step, explained, plan, train
from ganforge.training.trainer import Trainer
from tiny import TINY_OPTIONS

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
    run = train("gan", store, tmp_path / "r", size="small", overrides=OVERRIDES, device_name="cpu")
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
    run = train("gan", store, tmp_path / "r", size="small", overrides=OVERRIDES, device_name="cpu")
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
    run = train("gan", store, tmp_path / "r", size="small", overrides=OVERRIDES, device_name="cpu")
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
    run = train("gan", store, tmp_path / "r", size="small", overrides=OVERRIDES, device_name="cpu")
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
    run = train("gan", store, tmp_path / "r", size="small", overrides=OVERRIDES, device_name="cpu")
    has(monkeypatch, False, False)
    words = ["train", "gan", str(store), "--config", str(run.path / "run.toml"), "--device", "cpu"]
    assert main([*words, "--out", str(tmp_path / "other")]) == 0
    assert RunFolder(tmp_path / "other").settings["train"]["precision"] == "fp32"
    assert main([*words, "--out", str(tmp_path / "asked"), "--train.precision", "bf16"]) == 0
    assert RunFolder(tmp_path / "asked").settings["train"]["precision"] == "bf16"


RULES = {
    "width": Rule("128 / side", lambda spec, images: 128 // spec.height),
    "smooth": Rule("1 - 100 / images", lambda spec, images: max(0.5, 1 - 100 / images), by_length=True),
    "train.ema_images": Rule("a tenth of the images", lambda spec, images: images // 10, by_length=True),
    "train.images": 640,
}


@pytest.fixture
def ruled(monkeypatch):
    """`gan` with rules in its small and medium presets, which grows until 512 images have been shown."""
    loaded = models.load("gan")
    for size in ("small", "medium"):
        monkeypatch.setitem(loaded.presets, size, RULES)
    monkeypatch.setattr(loaded.system, "least_images", classmethod(lambda cls, config, spec: 512))


def loop(**values):
    return {"model": {"latent": 8}, "train": {"batch": 16, "precision": "fp32", **values}}


def test_rules_of_a_preset_become_numbers(ruled, store):
    sections = plan("gan", Store(store), Path("r"))
    assert (sections["model"]["width"], sections["model"]["smooth"]) == (16, 0.84375)
    assert (sections["train"]["images"], sections["train"]["ema_images"]) == (640, 64)
    given = {"model": {"width": 8, "smooth": 0.9}, "train": {"images": 800, "ema_images": 7}}
    sections = plan("gan", Store(store), Path("r"), overrides=given)
    assert (sections["model"]["width"], sections["model"]["smooth"], sections["train"]["ema_images"]) == (8, 0.9, 7)
    rows = explained("gan")
    assert rows["model"]["width"][0] == "128 / side (large 512)"
    assert rows["train"]["ema_images"][0] == "a tenth of the images (large 20000)"


def test_the_size_follows_the_device_and_stays(ruled, store, tmp_path, capsys, logged, fails):
    run = train("gan", store, tmp_path / "r", overrides=loop(images=512), device_name="cpu")
    assert run.settings["run"]["size"] == "small"
    assert any(line.startswith("size small: the default on a CPU") for line in logged)
    medium = train("gan", store, tmp_path / "m", size="medium", overrides=loop(images=512))
    longer = train("gan", store, tmp_path / "m", overrides=loop(images=640))
    assert (longer.path, longer.settings["run"]["size"], longer.load()[1]["seen"]) == (medium.path, "medium", 640)
    refused = fails("train", "gan", store, "--size", "small", "--out", medium.path)
    assert "was made with run.size = 'medium', not 'small'" in refused
    assert main(["train", "gan", str(store), "--device", "cpu", "--dry-run"]) == 0
    assert 'size = "small"' in capsys.readouterr().out


@pytest.mark.parametrize("size", ["medium", "large"])
def test_a_run_without_a_size_in_its_file_is_of_medium_size_or_the_one_said(ruled, store, tmp_path, size):
    run = train("gan", store, tmp_path / "r", size=size, overrides=loop(images=512))
    for path in run.path.rglob("run.toml"):  # as earlier versions wrote it
        path.write_text(path.read_text("utf-8").replace(f'size = "{size}"\n', ""), "utf-8")
    for manifest in run.path.rglob("manifest.json"):
        entries = json.loads(manifest.read_text())
        entries["sha256"]["run.toml"] = file_sha256(manifest.parent / "run.toml")
        manifest.write_text(json.dumps(entries))
    said = None if size == "medium" else size
    assert train("gan", store, run.path, size=said, overrides=loop(images=640)).load()[1]["seen"] == 640


def test_a_dry_run_leaves_open_what_the_speed_decides(ruled, store, capsys):
    assert main(["train", "gan", str(store), "--minutes", "2", "--dry-run"]) == 0
    printed = capsys.readouterr().out
    assert "# smooth = " in printed and "default 1 - 100 / images" in printed
    assert "\nwidth = 16 " in printed


def test_a_run_that_cannot_grow_is_refused(ruled, store, tmp_path, fails):
    message = fails("train", "gan", store, "--images", "511", "--out", tmp_path / "r")
    assert "has grown to its full size after 512 images here, and a run of 511 images ends before that" in message
    assert "Say --images 512 or more" in message
    assert not (tmp_path / "r").exists()


def test_minutes_are_estimated_in_images(ruled, store, tmp_path, monkeypatch, logged, fails):
    module = sys.modules["ganforge.training.train"]
    monkeypatch.setattr(module, "_seconds_a_step", lambda trainer, precisions: {"fp32": 0.024})
    short = train("gan", store, tmp_path / "r", overrides=loop(minutes=0.02))
    assert short.settings["run"]["expected"] == 50 * 16
    assert short.settings["model"]["smooth"] == 0.875
    assert short.settings["train"]["ema_images"] == 80
    assert "expected: 800 images in 0.02 minutes; a step at full size took 0.024 s" in logged
    monkeypatch.setattr(module, "_seconds_a_step", lambda trainer, precisions: {"fp32": 0.24})
    train("gan", store, tmp_path / "r", overrides=loop(minutes=0.02))  # not timed again
    assert short.settings["run"]["expected"] == 800
    with pytest.raises(
        InputError, match=r"of 0\.02 minutes \(about 80 images\) ends before .* Say --minutes 1 or more"
    ):
        train("gan", store, tmp_path / "other", overrides=loop(minutes=0.02))


def test_the_estimate_knows_that_later_phases_take_longer(store, tmp_path, monkeypatch):
    """6 seconds: 3/5 of the images by steps of 0.01 s, the rest by steps of 0.04 s."""
    seconds = {True: 0.01, False: 0.04}
    monkeypatch.setattr(
        sys.modules["ganforge.training.train"],
        "_seconds_a_step",
        lambda trainer, precisions, after=10**9: {"fp32": seconds[after == 1]},
    )
    overrides = {"train": {"minutes": 0.1, "precision": "fp32", "batch": 16}, "model": {"width": 4, "depth": 1}}
    run = train("srgan", store, tmp_path / "r", size="small", overrides=overrides)
    assert run.settings["run"]["expected"] == int(6 / 0.022) * 16
    assert run.settings["model"]["alone"] == round(0.6 * run.settings["run"]["expected"])


def test_the_estimate_is_of_real_steps(store, tmp_path):
    run = train("pggan", store, tmp_path / "r", size="small", overrides={"train": {"minutes": 0.05, "batch": 8}})
    assert run.settings["run"]["expected"] % 8 == 0
    assert run.load()[1]["seen"] > 0


def test_a_run_killed_before_its_estimate_begins_anew(ruled, store, tmp_path, monkeypatch):
    def killed(trainer, precisions):
        raise KeyboardInterrupt

    module = sys.modules["ganforge.training.train"]
    monkeypatch.setattr(module, "_seconds_a_step", killed)
    with pytest.raises(KeyboardInterrupt):
        train("gan", store, tmp_path / "r", overrides=loop(minutes=0.02))
    monkeypatch.setattr(module, "_seconds_a_step", lambda trainer, precisions: {"fp32": 0.024})
    run = train("gan", store, tmp_path / "r", overrides=loop(minutes=0.02))
    assert run.settings["model"]["smooth"] == 0.875


def test_a_longer_run_keeps_what_its_first_length_decided(ruled, store, tmp_path):
    run = train("gan", store, tmp_path / "r", overrides=loop())
    train("gan", store, tmp_path / "r", overrides=loop(images=704))
    assert run.load()[1]["seen"] == 704
    assert (run.settings["model"]["smooth"], run.settings["train"]["ema_images"]) == (0.84375, 64)
    assert main(["train", str(run.path), "--images", "720"]) == 0
    with pytest.raises(RunError, match=r"made with model\.smooth = 0\.84375, not 0\.5"):
        train("gan", store, run.path, overrides={"model": {"latent": 8, "smooth": 0.5}, "train": loop()["train"]})


def test_settings_that_an_earlier_version_did_not_have_have_their_defaults(store, tmp_path, monkeypatch):
    run = train("gan", store, tmp_path / "r", overrides=OVERRIDES)
    sections = run.settings
    del sections["model"]["smooth"], sections["train"]["ema_span"], sections["run"]["revision"]
    run.begin(sections)
    for folder in run.checkpoints():
        (folder / "run.toml").write_text(config.to_toml(sections))
        manifest = json.loads((folder / "manifest.json").read_text())
        manifest["sha256"]["run.toml"] = file_sha256(folder / "run.toml")
        (folder / "manifest.json").write_text(json.dumps(manifest))
    monkeypatch.setitem(models.load("gan").presets, "medium", {"smooth": 0.7})
    assert main(["train", str(run.path), "--images", "128", "--device", "cpu"]) == 0
    assert run.load()[1]["seen"] == 128


def test_schedules_are_evaluated_at_every_step_and_resumed(store, tmp_path, monkeypatch):
    def adam(self):
        adam = Adam(Cosine(1e-3, 1e-4, 128), 0.0, Cosine(0.9, 0.99, 128))
        return {"generator": adam, "discriminator": Adam(1e-3)}

    monkeypatch.setattr(models.load("gan").system, "adam", adam)
    loop = {"images": 128, "batch": 16, "precision": "fp32", "ema_images": 100, "ema_span": 128, "report": 64}
    whole = train("gan", store, tmp_path / "whole", overrides={"model": OVERRIDES["model"], "train": loop})
    for images in (64, 128):
        run = train("gan", store, tmp_path / "r", overrides={**OVERRIDES, "train": {**loop, "images": images}})
    one, two = whole.load()[0], run.load()[0]
    assert all(torch.equal(value, two[name]) for name, value in one.items())
    trainer = Trainer(RunFolder(tmp_path / "r"), Store(store), "cpu")
    trainer.progress.seen = 64
    trainer.step()
    generator, discriminator = (trainer.optimizers[name].param_groups[0] for name in ("generator", "discriminator"))
    assert generator["lr"] == pytest.approx(5.5e-4)
    assert generator["betas"] == (0.0, pytest.approx(0.945))
    assert (discriminator["lr"], discriminator["betas"]) == (1e-3, (0.5, 0.99))


@pytest.mark.parametrize("name", models.names())
def test_rules_that_do_not_say_so_do_not_depend_on_the_length(name):
    loaded, spec = models.load(name), Spec(48, 64, 3)
    for size in loaded.presets:
        for section in loaded.preset(size).values():
            for setting, rule in section.items():
                if isinstance(rule, Rule) and not rule.by_length:
                    assert rule.value(spec, 0) == rule.value(spec, 10**7), setting


@pytest.mark.parametrize("words", [["cgan"], ["gan", "--model.conditional", "true"]])
def test_a_system_that_learns_classes_needs_labels(store, tmp_path, fails, words):
    message = fails("train", words[0], store, "--out", tmp_path / "run", *words[1:])
    assert "has no labels" in message
    alternatives = message.split("Without labels do")[1]
    assert " dcgan," in alternatives and " cgan," not in alternatives
    assert not (tmp_path / "run").exists()


def test_a_run_that_learned_without_labels_does_not_go_on_with_them(labelled_store, tmp_path, fails):
    words = ["train", "gan", str(labelled_store), "--out", str(tmp_path / "run"), *TINY_OPTIONS, "--images", "32"]
    assert main(words) == 0
    assert "model.conditional = False" in fails(*words, "--model.conditional", "yes")


@pytest.mark.parametrize(("given", "chosen"), [({}, "ada"), ({"augment": "none"}, "none"), ({"augment": ""}, "")])
def test_a_small_set_is_augmented_by_itself(store, tmp_path, logged, given, chosen):
    """With a line in the log, and not where the user says no; called again, the run goes on."""
    model = {"width": 8, "latent": 8, "style": 8, **given}
    for length in (16, 32):
        loop = {"images": length, "batch": 16, "precision": "fp32"}
        run = train("stylegan2", store, tmp_path / "r", device_name="cpu", overrides={"model": model, "train": loop})
    assert run.section("model")["augment"] == chosen
    lines = [line for line in logged if line.startswith("augment")]
    assert lines == ([] if given else [f"augment ada: {len(Store(store).train)} training pictures are few"])


def test_a_run_made_before_auto_goes_on_without_it(store, tmp_path):
    """The same command resumes it, with the augmentation that it began with."""
    model, loop = {"width": 8, "latent": 8, "style": 8}, {"images": 16, "batch": 16, "precision": "fp32"}
    overrides = {"model": {**model, "augment": ""}, "train": loop}
    train("stylegan2", store, tmp_path / "r", device_name="cpu", overrides=overrides)
    overrides = {"model": model, "train": {**loop, "images": 32}}
    run = train("stylegan2", store, tmp_path / "r", device_name="cpu", overrides=overrides)
    assert run.section("model")["augment"] == "" and run.checkpoints()[-1].name == "000000032"


def test_a_large_set_and_other_media_are_not_augmented_by_themselves(store, tmp_path, monkeypatch):
    sounds = make_store(tmp_path / "sounds", Spec(64, 48, 1, medium=Sound.of_rate(8000)), 32)
    assert plan("stylegan2", sounds, tmp_path / "r")["model"]["augment"] == ""
    monkeypatch.setattr("ganforge.transforms.augment.FEW", 10)
    settings = plan("stylegan2", Store(store), tmp_path / "r")
    assert settings["model"]["augment"] == "" and "enough" in settings["run"]["augment"]
