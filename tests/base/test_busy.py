"""Other programs on the same processors."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch

from ganforge.base.busy import Busy, times
from ganforge.media.spec import Spec
from ganforge.runs import RunFolder
from ganforge.testing import make_store
from ganforge.training.train import Trainer, plan, train

linux = pytest.mark.skipif(times() is None, reason="the system does not say what its processors do")


@contextmanager
def programs(count: int) -> Iterator[None]:
    made = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    time.sleep(0.3)
    try:
        yield
    finally:
        for one in made:
            one.kill()
            one.wait()


def work(busy: Busy, seconds: float) -> None:
    """Keep this process's threads busy, and look."""
    a, end = torch.rand(300, 300), time.monotonic() + seconds
    while time.monotonic() < end:
        a = (a @ a).clamp(0, 1)
        busy.look()


@linux
def test_other_programs_are_seen():
    processors = len(os.sched_getaffinity(0))
    with programs(2 * processors), Busy() as busy:
        work(busy, 2.5)
        if torch.get_num_threads() > 1:
            assert busy.sleepers
        assert 0.2 < busy.share() < 1
        assert busy.share() == 0
    assert not busy.sleepers


@linux
def test_sleeping_threads_change_no_bit(tmp_path):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        store = make_store(tmp_path / "store", Spec(16, 16, 3), 60)
        found = []
        for crowded in (False, True):
            run = RunFolder(tmp_path / str(crowded))
            run.begin(plan("dcgan", store, run.path, "small", {"train": {"batch": 16, "precision": "fp32"}}))
            trainer = Trainer(run, store, "cpu")
            with Busy() as busy:
                if crowded:
                    busy.crowd()
                    assert busy.sleepers
                for _ in range(4):
                    trainer.step()
            assert not busy.sleepers
            found.append(trainer._tensors())
        assert all(torch.equal(value, found[1][name]) for name, value in found[0].items())
    finally:
        torch.set_num_threads(before)


def test_it_is_said_once_a_report(tmp_path, monkeypatch, logged):
    monkeypatch.setattr(Busy, "share", lambda self: 0.4)
    store = make_store(tmp_path / "store", Spec(8, 8, 1), 60)
    loop = {"images": 64, "batch": 16, "report": 32, "precision": "fp32"}
    train("gan", store, tmp_path / "run", overrides={"model": {"width": 8}, "train": loop})
    reports = [line for line in logged if "images" in line and "/s" in line]
    assert [line.endswith("(other programs took 40% of the processors)") for line in reports] == [True, True]
