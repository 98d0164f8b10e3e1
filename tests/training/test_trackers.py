"""Trackers get every row of a run, and cannot stop or delay it. Where a package is not installed, a stand-in with the
functions that its documentation names records what it is given."""

from __future__ import annotations

import logging
import sys
import time
from importlib.util import find_spec
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from ganforge.base.errors import InputError
from ganforge.base.stats import Log, read
from ganforge.media.spec import Spec
from ganforge.testing import make_store
from ganforge.training import trackers
from ganforge.training.trackers import Trackers
from ganforge.training.train import train

REAL = {name for name in trackers.TRACKERS if find_spec(name)}
SETTINGS = {"train": {"batch": 16}, "model": {"lr": 0.1}}


class Board:
    """torch.utils.tensorboard.SummaryWriter: event files of one folder."""

    kept: dict[str, dict[tuple[str, int], float]] = {}

    def __init__(self, log_dir: str, purge_step: int | None = None) -> None:
        self.rows = self.kept.setdefault(log_dir, {})
        for name, step in list(self.rows):
            if purge_step is not None and step >= purge_step:
                del self.rows[name, step]

    def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> None:
        assert (tag, global_step) not in self.rows
        self.rows[tag, global_step] = scalar_value

    def flush(self) -> None:
        pass

    def close(self) -> None:
        pass


class Client:
    """mlflow.MlflowClient."""

    experiments: dict[str, str] = {}
    runs: dict[str, SimpleNamespace] = {}

    def get_experiment_by_name(self, name: str) -> SimpleNamespace | None:
        return SimpleNamespace(experiment_id=self.experiments[name]) if name in self.experiments else None

    def create_experiment(self, name: str) -> str:
        return self.experiments.setdefault(name, str(len(self.experiments)))

    def create_run(self, experiment_id: str, run_name: str | None = None) -> SimpleNamespace:
        assert experiment_id in self.experiments.values()
        run = SimpleNamespace(info=SimpleNamespace(run_id=f"run{len(self.runs)}", status="RUNNING"), metrics=[])
        run.params = {}
        self.runs[run.info.run_id] = run
        return run

    def update_run(self, run_id: str, status: str | None = None) -> None:
        self.runs[run_id].info.status = status

    def log_batch(self, run_id: str, metrics: Any = (), params: Any = ()) -> None:
        assert len(metrics) <= 1000 and len(params) <= 100
        self.runs[run_id].metrics += list(metrics)
        self.runs[run_id].params |= {param.key: param.value for param in params}

    def set_terminated(self, run_id: str) -> None:
        self.runs[run_id].info.status = "FINISHED"

    def get_metric_history(self, run_id: str, key: str) -> list[Any]:
        return [metric for metric in self.runs[run_id].metrics if metric.key == key]


class Entity(SimpleNamespace):
    """mlflow.entities.Metric and Param."""

    def __init__(self, key: str, value: Any, timestamp: int | None = None, step: int = 0) -> None:
        super().__init__(key=key, value=value, timestamp=timestamp, step=step)


class Tracked:
    """The run that wandb.init and trackio.init return."""

    runs: dict[tuple[str, str], Tracked] = {}

    def __init__(self) -> None:
        self.rows: list[tuple[int, dict[str, float]]] = []
        self.finished = 0

    def log(self, metrics: dict[str, float], step: int | None = None) -> None:
        assert step is not None
        self.rows.append((step, metrics))

    def finish(self) -> None:
        self.finished += 1


def module(name: str, **values: Any) -> ModuleType:
    new = ModuleType(name)
    new.__dict__.update(values)
    return new


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """All trackers, the real ones where they are installed."""
    Board.kept, Client.experiments, Client.runs, Tracked.runs = {}, {}, {}, {}

    def wandb(project: str, name: str, config: dict[str, Any], resume: str, id: str) -> Tracked:
        assert resume == "allow"
        return Tracked.runs.setdefault(("wandb", id), Tracked())

    def trackio(project: str, name: str, config: dict[str, Any], resume: str) -> Tracked:
        assert resume == "allow"
        return Tracked.runs.setdefault(("trackio", name), Tracked())

    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    if "tensorboard" not in REAL:
        new = module("torch.utils.tensorboard", SummaryWriter=Board)
        monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", new)
    if "mlflow" not in REAL:
        monkeypatch.setitem(sys.modules, "mlflow", module("mlflow", MlflowClient=Client))
        monkeypatch.setitem(sys.modules, "mlflow.entities", module("mlflow.entities", Metric=Entity, Param=Entity))
    for name, init in (("wandb", wandb), ("trackio", trackio)):
        if name not in REAL:
            monkeypatch.setitem(sys.modules, name, module(name, init=init))


def row(seen: int, loss: float = 0.5) -> dict[str, Any]:
    return {"seen": seen, "seconds": 1.0, "images_per_second": 2.0, "skipped": 0, "gan/loss": loss}


def track(folder: Any, names: str, seen: int, *rows: dict[str, Any]) -> None:
    """Train from `seen` on: a row after the other."""
    log = Log(folder, seen)
    with Trackers(folder, names, SETTINGS, seen) as following:
        for one in rows:
            log.write(one)
            following.notice()


def test_every_tracker_gets_every_row_once(installed, tmp_path, caplog):
    """Through a training that is stopped and resumed; numbers and steps are those of the file."""
    store = make_store(tmp_path / "store", Spec(8, 8, 1))
    for images in (64, 128):
        loop = {"images": images, "batch": 16, "precision": "fp32", "report": 32, "measure": 0.0}
        loop["track"] = ",".join(trackers.TRACKERS)
        run = train("gan", store, tmp_path / "run", device_name="cpu", overrides={"train": loop})
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    rows = read(run.path)
    loss = next(name for name in rows[0] if name.endswith("/loss"))
    losses = {one["seen"]: one[loss] for one in rows}
    assert list(losses) == [32, 64, 96, 128]
    if "mlflow" in sys.modules:
        client = sys.modules["mlflow"].MlflowClient()
        (number,) = Client.runs or [one.info.run_id for one in client.search_runs(["1"])]
        history = client.get_metric_history(number, loss)
        assert {metric.step: metric.value for metric in history} == losses
        assert len(history) == len(losses)
    for (name, _), tracked in Tracked.runs.items():
        assert [(step, numbers[loss]) for step, numbers in tracked.rows] == list(losses.items()), name
        assert tracked.finished == 2
    for board in Board.kept.values():
        assert {step: value for (tag, step), value in board.items() if tag == loss} == losses
    if "mlflow" not in REAL:
        assert Client.runs["run0"].params["train.batch"] == "16"
        assert Client.runs["run0"].info.status == "FINISHED"
    if "wandb" not in REAL and "trackio" not in REAL:
        assert len(Tracked.runs) == 2


def test_tracker_that_is_new_to_a_run_gets_its_past(installed, tmp_path):
    track(tmp_path, "", -1, row(10), row(20))
    track(tmp_path, "trackio", 20, row(30))
    if "trackio" not in REAL:
        (tracked,) = Tracked.runs.values()
        assert [step for step, _ in tracked.rows] == [10, 20, 30]


def test_a_tracker_that_fails_is_a_warning_and_gets_the_rest_later(installed, tmp_path, monkeypatch, caplog):
    def refuse(self: Any, rows: Any) -> None:
        raise ConnectionError("no such host")

    with monkeypatch.context() as patch:
        patch.setattr(trackers.Wandb, "write", refuse)
        track(tmp_path, "trackio", -1, row(10), row(20))
    (record,) = caplog.records
    assert "trackio gets no rows: ConnectionError: no such host" in record.message
    assert [one["seen"] for one in read(tmp_path)] == [10, 20]
    track(tmp_path, "trackio", 20, row(30))
    if "trackio" not in REAL:
        (tracked,) = Tracked.runs.values()
        assert [step for step, _ in tracked.rows] == [10, 20, 30]


def test_a_tracker_that_hangs_delays_the_end_by_a_moment_only(installed, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(trackers, "WAIT", 0.2)
    monkeypatch.setattr(trackers.MLflow, "open", lambda *args: time.sleep(5))
    started = time.monotonic()
    track(tmp_path, "mlflow", -1, row(10), row(20))
    assert time.monotonic() - started < 2
    assert "mlflow has not taken all rows" in caplog.text
    assert [one["seen"] for one in read(tmp_path)] == [10, 20]


def test_rows_after_a_checkpoint_are_replaced_when_training_goes_back(installed, tmp_path):
    if "tensorboard" in REAL:
        pytest.skip("the event files are read by the stand-in")
    log = Log(tmp_path, 0)
    with Trackers(tmp_path, "tensorboard", SETTINGS, 0) as following:
        for seen in (10, 20, 30):
            log.write(row(seen))
            following.notice()
        log = Log(tmp_path, 10)
        following.go_back(10)
        log.write(row(20, loss=0.25))
        following.notice()
    (board,) = Board.kept.values()
    assert {step: value for (tag, step), value in board.items() if tag == "gan/loss"} == {10: 0.5, 20: 0.25}


def test_trackers_that_are_not_installed(tmp_path, monkeypatch, caplog):
    """TensorBoard is the default and missing without a word; another was asked for."""
    for name in ("mlflow", "torch.utils.tensorboard"):
        monkeypatch.setitem(sys.modules, name, None)
    track(tmp_path, "tensorboard, mlflow", -1, row(10))
    (record,) = caplog.records
    assert "pip install mlflow" in record.message


def test_unknown_trackers_are_named():
    with pytest.raises(InputError, match=r"'mlfow'\. Did you mean mlflow"):
        trackers.parse("tensorboard,mlfow")
    assert trackers.parse(" mlflow, wandb,mlflow ") == ["mlflow", "wandb"]
    assert trackers.parse("") == []
