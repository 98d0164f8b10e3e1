"""Diversity against a closed form, scores on the way, and when there is time for them."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch

from ganforge.base import stats
from ganforge.measuring import restoration
from ganforge.measuring.measure import measure_system
from ganforge.media.spec import Spec
from ganforge.metrics.fidelity import psnr
from ganforge.models import load
from ganforge.testing import make_store
from ganforge.training import score
from ganforge.training.score import SAMPLES, Scorer, variance
from ganforge.training.sheet import Sheet, draw
from ganforge.training.train import train
from tiny import new

CPU = torch.device("cpu")


def test_variance_is_that_of_numpy_where_nothing_is_made_smaller():
    pixels = np.random.default_rng(0).integers(0, 256, (9, 8, 12, 3), np.uint8)
    assert variance(pixels) == pytest.approx(pixels.astype(float).var(0, ddof=1).mean(), rel=1e-5)


def test_variance_of_large_pictures_is_that_of_their_block_means():
    pixels = np.random.default_rng(0).integers(0, 256, (9, 64, 32, 1), np.uint8)
    blocks = pixels.astype(float).reshape(9, 16, 4, 8, 4, 1).mean((2, 4))
    assert variance(pixels) == pytest.approx(blocks.var(0, ddof=1).mean(), rel=1e-5)


def test_real_pictures_are_as_diverse_as_real_ones_and_copies_of_one_are_not(tmp_path):
    store = make_store(tmp_path / "store", Spec(8, 8, 1, ()), 400)
    scorer = Scorer(store, CPU, 1.0)
    real = store.read(store.heldout[:64])
    assert scorer.diversity(Sheet(real, real))["diversity"] == pytest.approx(1, abs=0.15)
    alike = np.repeat(real[:1], 64, 0)
    assert scorer.diversity(Sheet(alike, alike)) == {"diversity": 0}


def test_a_picture_a_class_is_no_diversity(tmp_path):
    store = make_store(tmp_path / "store", Spec(8, 8, 1, ("a", "b", "c")), 400)
    labels = [label for label in range(3) for _ in range(8)]
    pixels = np.stack([store.read(store.train[store.labels[store.train] == label][:1])[0] for label in labels])
    assert pixels.reshape(24, -1).var(0).mean() > 0
    assert Scorer(store, CPU, 1.0).diversity(Sheet(pixels, pixels, labels)) == {"diversity": 0}


def test_equal_real_pictures_have_no_diversity_to_compare_with(tmp_path):
    store = make_store(tmp_path / "store", Spec(8, 8, 1, ()), 40)
    scorer = Scorer(store, CPU, 1.0)
    store.read = lambda rows: np.zeros((len(rows), 8, 8, 1), np.uint8)
    assert scorer.diversity(Sheet(np.zeros((4, 8, 8, 1), np.uint8), np.zeros((4, 8, 8, 1), np.uint8))) == {}


def test_time_for_a_score(tmp_path):
    store = make_store(tmp_path / "store", Spec(8, 8, 1, ()), 40)
    never, always, some = (Scorer(store, CPU, share) for share in (0.0, 1.0, 0.05))
    assert not never.allowed(0, 1e6, 1e6, 0, True)
    assert always.allowed(1e6, 1, 1, 0, False)
    assert not some.allowed(0, 200, 250, 0.01, False)  # too short for a feature extractor
    sheet = 10 * 64 / SAMPLES  # so a score takes about 10 s
    assert not some.allowed(0, 199, 4_000, sheet, False)
    assert some.allowed(0, 201, 4_000, sheet, False)
    some.last = 20.0
    assert not some.allowed(10, 599, 4_000, sheet, False)
    assert some.allowed(10, 601, 4_000, sheet, False)
    assert some.allowed(1_000, 601, 4_000, sheet, True)  # the last one is compared with the best
    assert not never.allowed_fidelity(0, 1e6, 0, True)
    assert always.allowed_fidelity(1e6, 1, 0, False)
    some.last_fidelity = 1.0
    assert not some.allowed_fidelity(9.5, 400, 0, False)  # half of the share is for scores
    assert some.allowed_fidelity(9, 400, 0, False)
    assert some.allowed_fidelity(1e6, 1, 0, True)


def test_the_score_of_a_run_is_a_function_of_its_weights(tmp_path):
    store = make_store(tmp_path / "store", Spec(16, 16, 1, ()), 120)
    first, second = (Scorer(store, CPU, 1.0).score(new("gan")) for _ in range(2))
    assert first == second
    assert first["distance"] > 0
    assert 0 <= first["recall"] <= 1


def test_a_sheet_is_the_same_again_and_has_a_row_a_class(tmp_path):
    store = make_store(tmp_path / "store", Spec(16, 16, 1, ("a", "b")), 40)
    one, two = (draw(new("cgan", store.spec), store) for _ in range(2))
    assert (one.samples == two.samples).all()
    assert one.mark == two.mark
    assert one.labels == [0] * 8 + [1] * 8


def test_features_of_real_pictures_do_not_count_and_are_made_once(tmp_path, monkeypatch):
    store = make_store(tmp_path / "store", Spec(16, 16, 1, ()), 120)
    scorer, made = Scorer(store, CPU, 1.0), []
    original = score.Reference

    def slow(*words):
        made.append(words)
        time.sleep(5)
        return original(*words)

    monkeypatch.setattr(score, "Reference", slow)
    for _ in range(2):
        scorer.score(new("gan"))
        assert 0 < scorer.last < 5
    assert len(made) == 1


def test_real_pictures_are_read_once_for_all_sheets(tmp_path):
    store = make_store(tmp_path / "store", Spec(8, 8, 1, ()), 400)
    scorer, read = Scorer(store, CPU, 1.0), []
    real, original = store.read(store.heldout[:64]), store.read
    store.read = lambda rows: (read.append(len(rows)), original(rows))[1]
    assert scorer.diversity(Sheet(real, real)) == scorer.diversity(Sheet(real, real))
    assert read == [64]


def test_a_system_that_restores_is_scored_by_its_held_out_pictures(tmp_path, logged):
    store = make_store(tmp_path / "store", Spec(16, 16, 3), 200)
    system = load("dae").system(load("dae").config(width=4), store.spec).eval()  # untrained, it is the identity
    scorer = Scorer(store, CPU, 1.0)
    psnrs = []
    for portion in restoration.portions(system, store, restoration.chosen(store, score.HELD)):
        psnrs += [psnr(*pair) for pair in zip(portion.shown, portion.wanted, strict=True)]
    assert scorer.fidelity(system) == {"psnr": pytest.approx(np.mean(psnrs), abs=1e-3)}
    measured = measure_system(system, store)
    assert scorer.score(system) == {"distance": pytest.approx(measured.restoration["restored"].distance, rel=1e-3)}
    few = make_store(tmp_path / "few", store.spec, 30)
    scorer = Scorer(few, CPU, 1.0)
    assert scorer.fidelity(system) == scorer.score(system) == {}
    assert not scorer.allowed(0, 1e6, 1e6, 0, True)
    assert "cannot be measured on the way" in logged[-1] and "Prepare it with a larger --heldout" in logged[-1]
    assert not (few.path / "features").exists()
    for parameter in system.parameters():
        torch.nn.init.constant_(parameter, float("nan"))
    assert scorer.fidelity(system) == scorer.score(system) == {}


def test_the_best_checkpoint_of_a_denoiser_is_by_held_out_distance(tmp_path):
    store = make_store(tmp_path / "store", Spec(16, 16, 3), 200)
    loop = {"images": 96, "batch": 16, "report": 32, "precision": "fp32", "measure": 1.0}
    run = train("dae", store, tmp_path / "run", overrides={"model": {"width": 4}, "train": loop}, device_name="cpu")
    rows = stats.read(run.path)
    assert all(row["psnr"] > 0 and row["distance"] > 0 and "recall" not in row for row in rows)
    assert int(run.best().name) == min(rows, key=lambda row: row["distance"])["seen"]


def test_the_psnr_of_reports_takes_time_of_measuring(tmp_path, monkeypatch):
    store = make_store(tmp_path / "store", Spec(8, 8, 3), 60)
    loop = {"images": 96, "batch": 16, "report": 32, "precision": "fp32"}
    original = Scorer.fidelity

    def slow(self, system):
        scores = original(self, system)
        self.last_fidelity = 1e6
        return scores

    monkeypatch.setattr(Scorer, "fidelity", slow)
    for share in (0.0, 0.05):
        overrides = {"model": {"width": 4}, "train": loop | {"measure": share}}
        run = train("dae", store, tmp_path / f"{share}", overrides=overrides, device_name="cpu")
        rows = stats.read(run.path)
        assert ("psnr" in rows[-1]) == (share > 0)
        assert run.load()[1]["measuring"] == 1e6 * sum("psnr" in row for row in rows)
