"""Steps whose numbers are not finite, rollbacks, and runs that go on."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ganforge.base import marks
from ganforge.base.errors import Collapsed, Diverged, StoreError
from ganforge.cli import main
from ganforge.media.spec import Spec
from ganforge.models.gan import GAN
from ganforge.runs import RunFolder
from ganforge.sampling import crossed
from ganforge.store.store import Store
from ganforge.system import Adam, System
from ganforge.testing import make_store
from ganforge.training import score, trainer
from ganforge.training.score import Scorer
from ganforge.training.train import Trainer, plan, train
from ganforge.training.watchdog import EVERY
from tiny import FOUR_CLASSES

NAN = float("nan")


def settings(steps: int, report: int = 4) -> dict[str, dict[str, object]]:
    loop = {"images": 16 * steps, "batch": 16, "report": 16 * report, "precision": "fp32"}
    return {"model": {"width": 8, "latent": 8}, "train": loop}


def poison(monkeypatch: pytest.MonkeyPatch, steps: set[int]) -> None:
    """The latents of these calls are not finite, so batch normalisation meets numbers that are not."""
    original, count = GAN.noise, iter(range(10**9))

    def noise(self, batch):
        drawn = original(self, batch)
        return drawn * NAN if next(count) in steps else drawn

    monkeypatch.setattr(GAN, "noise", noise)


def rows(run: RunFolder) -> list[dict[str, float]]:
    """As a strict reader finds them."""

    def refuse(word: str) -> float:
        raise AssertionError(f"{word} is no JSON")

    return [json.loads(line, parse_constant=refuse) for line in (run.path / "stats.jsonl").read_text().splitlines()]


def all_finite(run: RunFolder) -> bool:
    return all(t.isfinite().all() for t in run.load()[0].values() if t.is_floating_point())


def test_one_bad_step_is_skipped(store, tmp_path, monkeypatch, logged):
    poison(monkeypatch, {5})
    run = train("gan", store, tmp_path / "r", overrides=settings(20))
    tensors, state = run.load()
    assert (state["rollbacks"], state["skipped"]) == (0, 1)
    assert all_finite(run)
    assert tensors["optimizer.generator.0.weight.step"].item() == 19  # one of twenty was left out
    assert tensors["system.generator.1.num_batches_tracked"].item() == 19
    assert [row["skipped"] for row in rows(run)] == [0, 1, 1, 1, 1]
    assert "1 of 20 steps were left out" in logged[-1]


def test_bad_steps_in_a_row_roll_back_and_go_on(store, tmp_path, monkeypatch, logged):
    poison(monkeypatch, {5, 6, 7})
    run = train("gan", store, tmp_path / "r", overrides=settings(20))
    state = run.load()[1]
    assert (state["rollbacks"], state["lr_scale"], state["seen"], state["skipped"]) == (1, 0.5, 320, 3)
    assert any("back to 64" in line for line in logged)
    assert all_finite(run)


def test_three_in_a_row_are_noticed_long_before_the_report(store, tmp_path, monkeypatch, logged):
    poison(monkeypatch, {405, 406, 407})
    run = train("gan", store, tmp_path / "r", overrides=settings(1000, report=400))
    assert any(f"at {16 * (400 + EVERY):,} images: back to 6,400" in line for line in logged), logged
    assert run.load()[1]["seen"] == 16_000


def test_bad_steps_again_and_again_are_too_many_though_never_three_in_a_row(store, tmp_path, monkeypatch):
    poison(monkeypatch, set(range(4, 10**5, 4)))
    with pytest.raises(Diverged):
        train("gan", store, tmp_path / "r", overrides=settings(200))


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_a_short_run_of_bad_steps_alone_is_no_success(store, tmp_path, monkeypatch, steps):
    poison(monkeypatch, set(range(steps)))
    with pytest.raises(Diverged, match="no checkpoint"):
        train("gan", store, tmp_path / "r", overrides=settings(steps, report=steps))


def test_numbers_that_stay_bad_stop_the_run_with_words_that_help(store, tmp_path, monkeypatch, capsys):
    poison(monkeypatch, set(range(5, 10**4)))
    words = ["train", "gan", str(store), "--out", str(tmp_path / "r"), "--images", "320", "--train.report", "64"]
    tiny = ["--model.width", "8", "--model.latent", "8", "--train.batch", "16", "--train.precision", "fp32"]
    assert main([*words, *tiny]) == 4
    message = capsys.readouterr().err
    assert "again after going back 2 times" in message
    run = RunFolder(tmp_path / "r")
    assert run.load()[1]["seen"] == 64
    assert all_finite(run)
    assert all(value == value for row in rows(run) for value in row.values())
    monkeypatch.undo()
    advised = shlex.split(message.split("ganforge ")[-1])
    assert main(advised) == 0
    slower = RunFolder(Path(advised[-1]))
    assert slower.settings["model"]["lr"] == run.settings["model"]["lr"] / 4
    assert slower.load()[1]["seen"] == 320


@pytest.mark.parametrize("name", ["gan", "dcgan", "sagan", "fastgan", "stylegan2", "vqvae", "vae", "r3gan"])
@pytest.mark.parametrize("where", ["images", "noise"])
def test_a_bad_step_leaves_no_trace(tmp_path, monkeypatch, name, where):
    store = make_store(tmp_path / "store", Spec(16, 16, 1, ("a", "b")), 60)
    run = RunFolder(tmp_path / "r")
    model = {"augment": "ada"} if name == "fastgan" else {}
    run.begin(plan(name, store, run.path, "small", {"model": model, "train": {"batch": 8, "precision": "fp32"}}))
    trainer = Trainer(run, store, "cpu")
    for _ in range(2):
        trainer.step()
    before = {key: tensor.clone() for key, tensor in trainer._tensors().items()}
    with monkeypatch.context() as patch:
        if where == "images":
            draw = trainer.stream.batch

            def batch(seen, count):
                shown = draw(seen, count)
                shown.images.fill_(NAN)
                return shown

            patch.setattr(trainer.stream, "batch", batch)
        else:
            draw_noise = System.noise
            patch.setattr(System, "noise", lambda self, batch: draw_noise(self, batch) * NAN)
        trainer.step()
    after = trainer._tensors()
    bad = int(trainer.watch.skipped)
    if where == "images" or name not in ("vqvae", "vae"):  # these two draw no latents when they learn
        assert bad >= 1
    if bad == len(trainer.phases):
        assert all(torch.equal(t, after[key]) for key, t in before.items() if not key.startswith("average."))
    assert all(t.isfinite().all() for t in after.values() if t.is_floating_point())
    trainer.step()
    assert int(trainer.watch.skipped) == bad


def test_no_report_stands_just_before_the_last_one(store, tmp_path):
    """A length in minutes had one at 99.7 %, printed as 100 %, and then the last one, of a single step."""
    assert [row["seen"] for row in rows(train("gan", store, tmp_path / "r", overrides=settings(9)))] == [64, 144]
    assert [row["seen"] for row in rows(train("gan", store, tmp_path / "s", overrides=settings(10)))] == [64, 128, 160]


def test_the_rest_of_a_length_in_minutes_is_by_the_speed_of_late(store, tmp_path):
    """A later phase may be far slower: the mean speed of the whole run says nothing of the cooldown."""
    run, store = RunFolder(tmp_path / "r"), Store(store)
    run.begin(plan("gan", store, run.path, overrides={"train": {"minutes": 1.0, "cooldown": 0.5, "batch": 8}}))
    loop = Trainer(run, store, "cpu")
    loop.progress.seen, loop.progress.seconds, loop.pace = 8_000, 29.0, ((7_900, 19.0), (7_960, 25.0))
    loop._settle_length()
    assert not loop.settings.images, "the cooldown has not begun"
    loop.progress.seen, loop.progress.seconds = 8_010, 30.0
    loop._settle_length()
    assert loop.settings.images == 8_312, "ten a second for the 30 seconds that are left, in whole batches"
    assert run.section("train")["images"] == 8_312


def test_a_run_goes_on_past_unreadable_lines(store, tmp_path):
    run = train("gan", store, tmp_path / "r", overrides=settings(20))
    file = run.path / "stats.jsonl"
    lines = file.read_bytes().splitlines()
    file.write_bytes(b"\n".join([lines[0], b"\xff\xff", *lines[1:]]) + b"\n")
    train("gan", store, tmp_path / "r", overrides=settings(24))
    assert [row["seen"] for row in rows(run)] == [64, 128, 192, 256, 320, 384]


def test_counts_and_buffers_survive_a_stop(store, tmp_path, monkeypatch, logged):
    """Two bad steps before a stop and one after it are three in a row."""
    poison(monkeypatch, {6, 7, 8})
    train("gan", Store(store), tmp_path / "r", overrides=settings(8))
    run = train("gan", Store(store), tmp_path / "r", overrides=settings(12))
    assert any("back to 128" in line for line in logged)
    assert run.load()[1]["skipped"] == 3


def test_the_sheet_of_a_system_that_learns_classes_has_a_row_a_class(labelled_store, tmp_path):
    run = train("cgan", labelled_store, tmp_path / "run", overrides=settings(4)).path
    mark = marks.read(run / "samples" / "000000064.png")
    assert mark is not None
    assert mark["seeds"] == crossed(range(8), range(4))[0]
    assert mark["labels"] == [name for name in FOUR_CLASSES.classes for _ in range(8)]


def test_rates_recover_after_a_rollback(store, tmp_path, monkeypatch):
    monkeypatch.setattr(trainer, "RECOVERY", 20)
    poison(monkeypatch, {5, 6, 7})
    run = train("gan", store, tmp_path / "r", overrides=settings(20))
    again = Trainer(run, Store(store), "cpu")
    assert again.progress.slowed == 64
    assert again._recovered() == pytest.approx(0.5 + 0.5 * (320 - 64) / (20 * 16))
    again.progress.seen = 64 + 20 * 16
    assert again._recovered() == 1


def test_rollbacks_far_apart_do_not_end_a_run(store, tmp_path, monkeypatch):
    monkeypatch.setattr(trainer, "RECOVERY", 10)
    poison(monkeypatch, {n + k for n in (25, 65, 105, 145) for k in range(3)})
    run = train("gan", store, tmp_path / "r", overrides=settings(160))
    assert run.load()[1]["rollbacks"] == 4
    assert run.load()[1]["seen"] == 16 * 160


def test_a_checkpoint_between_reports_changes_nothing(store, tmp_path, monkeypatch):
    whole = train("gan", store, tmp_path / "whole", overrides=settings(400, report=400))
    monkeypatch.setattr(trainer, "SAVES", 0.0)  # at every look
    original = trainer.Trainer.save

    def killed(self):
        original(self)
        if self.progress.seen == 16 * EVERY * 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(trainer.Trainer, "save", killed)
    with pytest.raises(KeyboardInterrupt):
        train("gan", store, tmp_path / "r", overrides=settings(400, report=400))
    monkeypatch.undo()
    run = train("gan", store, tmp_path / "r", overrides=settings(400, report=400))
    assert run.load()[0].keys() == whole.load()[0].keys()
    assert all(torch.equal(value, run.load()[0][name]) for name, value in whole.load()[0].items())
    timed = ("seconds", "images_per_second", "others")
    (one,), (two,) = rows(whole), rows(run)
    assert {k: v for k, v in one.items() if k not in timed} == {k: v for k, v in two.items() if k not in timed}


def long(images: int = 200_000) -> dict[str, dict[str, object]]:
    loop = {"images": images, "batch": 128, "report": 20_000, "precision": "fp32", "measure": 0.0}
    return {"model": {"width": 8, "latent": 8}, "train": loop}


def test_a_generator_that_never_learns_is_a_collapse(store, tmp_path, monkeypatch):
    monkeypatch.setattr(GAN, "adam", lambda self: {"generator": Adam(0.0), "discriminator": Adam(2e-4)})
    chosen = long()
    chosen["train"] |= {"measure": 1.0}
    with pytest.raises(Collapsed, match=r"of untrained weights .*--model\.lr 5e-05") as caught:
        train("gan", store, tmp_path / "r", overrides=chosen)
    assert caught.value.exit_code == 5
    assert RunFolder(tmp_path / "r").checkpoints()


def test_a_discriminator_that_stops_learning_is_a_collapse_after_going_back_once(store, tmp_path, monkeypatch, logged):
    original = trainer.Trainer.step

    def step(self):
        if self.progress.seen > 50_000:
            self.adam |= {"discriminator": Adam(0.0), "generator": Adam(0.02)}
        original(self)

    monkeypatch.setattr(trainer.Trainer, "step", step)
    with pytest.raises(Collapsed, match="again after going back once"):
        train("gan", store, tmp_path / "r", overrides=long(600_000))
    assert any("Back to" in line and "half the rates" in line for line in logged)
    state = RunFolder(tmp_path / "r").load()[1]
    assert state["collapses"] == 1
    seen = [row["seen"] for row in rows(RunFolder(tmp_path / "r"))]
    assert seen == sorted(set(seen))


def test_penalties_are_stronger_and_rates_lower_after_a_collapse(store, tmp_path):
    run = train("gan", store, tmp_path / "r", overrides=settings(4))
    again = Trainer(run, Store(store), "cpu")
    rate = again._rate()
    again.progress.collapses = 1
    cautions = []
    monkeypatched = again.phases[0].loss
    again.phases[0] = replace(
        again.phases[0], loss=lambda batch: (cautions.append(batch.caution), monkeypatched(batch))[1]
    )
    again.step()
    assert cautions == [trainer.CAUTION]
    assert again._rate() == rate / 2


def test_the_best_checkpoint_is_kept_and_patience_ends_the_run(store, tmp_path, monkeypatch, logged):
    distances = iter([90.0, 9.0, 5.0, 7.0, 6.0, 8.0, 9.0, 9.0, 9.0, 9.0])
    monkeypatch.setattr(Scorer, "score", lambda self, system: {"distance": next(distances), "recall": 0.5})
    chosen = settings(40)
    chosen["train"] |= {"measure": 1.0, "patience": 16 * 16}
    run = train("gan", store, tmp_path / "r", overrides=chosen)
    assert [int(p.name) for p in run.checkpoints()] == [128, 320, 384]  # the best, and the two newest
    assert run.best() == run.checkpoints()[0]
    assert "of 128 images, Fréchet distance 5; the last is of 384, 9. No better one came in 256 images." in logged[-1]
    assert [row.get("distance") for row in rows(run)] == [9.0, 5.0, 7.0, 6.0, 8.0, 9.0]
    train("gan", store, tmp_path / "r", overrides=chosen)
    assert "trained already" in logged[-1]


@pytest.mark.parametrize(("keep", "left"), [("all", 5), ("1", 1), ("3", 3)])
def test_as_many_checkpoints_as_asked_for(store, tmp_path, keep, left):
    chosen = settings(20)
    chosen["train"] |= {"keep": keep}
    assert len(train("gan", store, tmp_path / "r", overrides=chosen).checkpoints()) == left


def test_what_is_kept_and_measured_may_change_when_a_run_goes_on(store, tmp_path):
    chosen = settings(20)
    run = train("gan", store, tmp_path / "r", overrides=chosen)
    chosen["train"] |= {"images": 16 * 40, "keep": "all", "measure": 0.01, "patience": 5}
    assert len(train("gan", store, tmp_path / "r", overrides=chosen).checkpoints()) == 7
    assert {name: run.settings["train"][name] for name in ("keep", "measure", "patience")} == {
        "keep": "all", "measure": 0.01, "patience": 5,
    }  # fmt: skip


def test_patience_without_a_distance_is_refused_or_said(store, tmp_path, fails, logged):
    words = ("train", "gan", store, "--out", tmp_path / "r", "--train.patience", 5, "--images", 32)
    assert "there is no distance to wait for" in fails(*words, "--train.measure", 0)
    chosen = settings(2)
    chosen["train"] |= {"patience": 5}
    assert train("gan", store, tmp_path / "r", overrides=chosen).best() is None
    assert "No distance was measured, so train.patience had no effect" in logged[-1]


def test_balance_without_labels_is_refused(tmp_path, fails):
    store = make_store(tmp_path / "store", Spec(8, 8, 1))
    assert "has no labels" in fails("train", "gan", store.path, "--out", tmp_path / "r", "--train.balance", 1)


def test_keep_takes_three_kinds_of_words(store, tmp_path, fails):
    assert "it takes best, all, or a number" in fails("train", "gan", store, "--out", tmp_path / "r", "--keep", "0")


def test_samples_that_cannot_be_measured_do_not_stop_a_run(store, tmp_path, monkeypatch, logged):
    def refuse(*words: object) -> None:
        raise StoreError("the extractor is damaged")

    monkeypatch.setattr(score, "Reference", refuse)
    chosen = settings(8)
    chosen["train"] |= {"measure": 1.0}
    assert train("gan", store, tmp_path / "r", overrides=chosen).best() is None
    assert sum("cannot be measured" in line for line in logged) == 1
