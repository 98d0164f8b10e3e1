"""Trackers of experiments, which get the rows of a run's `stats.jsonl`: TensorBoard, MLflow, trackio, wandb.

Each tracker has a thread of its own, which reads the file when there is a new row and sends what the tracker has not
got. So none can stop training or slow it down: what a tracker raises is a warning, and at the end training waits WAIT
seconds for it. What is missing is sent when the run is resumed."""

from __future__ import annotations

import importlib
import json
import logging
import re
import secrets
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from ganforge.base import stats
from ganforge.base.errors import InputError, did_you_mean
from ganforge.base.files import atomic_file

log = logging.getLogger(__name__)

PROJECT = "ganforge"  # in MLflow the experiment
WAIT = 10.0  # seconds, at the end of training
BATCH = 1000  # metrics that MLflow takes in one call
PARAMS = 100, 500  # parameters that MLflow takes in one call, and characters of each
Row = Mapping[str, Any]


class Tracker:
    """An adapter; all its methods are called in one thread, and may raise anything."""

    def open(self, folder: Path, settings: Mapping[str, Any], identity: str | None, after: int) -> str:
        """Begin, or go on with what `identity` names. Rows of more than `after` images follow; those that the tracker
        has already count no more. Settings by dotted name. Returns the identity."""
        raise NotImplementedError

    def write(self, rows: Sequence[Row]) -> None:
        """Send the numbers of these rows, at the step `seen`."""
        raise NotImplementedError

    def close(self) -> None:
        """Send the rest."""


class TensorBoard(Tracker):
    """Event files in the run's folder `tensorboard`."""

    def open(self, folder: Path, settings: Mapping[str, Any], identity: str | None, after: int) -> str:
        from torch.utils.tensorboard import SummaryWriter

        self.writer: Any = SummaryWriter(str(folder / "tensorboard"), purge_step=after + 1)
        return "tensorboard"

    def write(self, rows: Sequence[Row]) -> None:
        for row in rows:
            for name, value in numbers(row).items():
                self.writer.add_scalar(name, value, row["seen"])
        self.writer.flush()

    def close(self) -> None:
        self.writer.close()


class MLflow(Tracker):
    """A run of MLflow's experiment `ganforge`, where MLFLOW_TRACKING_URI says."""

    def open(self, folder: Path, settings: Mapping[str, Any], identity: str | None, after: int) -> str:
        mlflow: Any = importlib.import_module("mlflow")
        self.entities: Any = importlib.import_module("mlflow.entities")
        self.client = mlflow.MlflowClient()
        if identity is None:
            experiment = self.client.get_experiment_by_name(PROJECT)
            number = experiment.experiment_id if experiment else self.client.create_experiment(PROJECT)
            identity = str(self.client.create_run(number, run_name=folder.name).info.run_id)
            most, longest = PARAMS
            params = [self.entities.Param(name, str(value)[:longest]) for name, value in settings.items()]
            for start in range(0, len(params), most):
                self.client.log_batch(identity, params=params[start : start + most])
        else:
            self.client.update_run(identity, status="RUNNING")
        self.identity = identity
        return identity

    def write(self, rows: Sequence[Row]) -> None:
        now = int(1000 * time.time())
        metrics = [
            self.entities.Metric(name, value, now, row["seen"]) for row in rows for name, value in numbers(row).items()
        ]
        for start in range(0, len(metrics), BATCH):
            self.client.log_batch(self.identity, metrics=metrics[start : start + BATCH])

    def close(self) -> None:
        self.client.set_terminated(self.identity)


class Wandb(Tracker):
    """A run of the project `ganforge` of wandb, or of trackio, which has the same functions."""

    def __init__(self, module: str) -> None:
        self.module = module

    def open(self, folder: Path, settings: Mapping[str, Any], identity: str | None, after: int) -> str:
        identity = identity or re.sub(r"[^\w.-]", "-", f"{folder.name}-{secrets.token_hex(4)}")
        known = {"id": identity} if self.module == "wandb" else {}  # trackio knows a run by its name
        module: Any = importlib.import_module(self.module)
        self.run = module.init(project=PROJECT, name=identity, config=dict(settings), resume="allow", **known)
        return identity

    def write(self, rows: Sequence[Row]) -> None:
        for row in rows:
            self.run.log(numbers(row), step=row["seen"])

    def close(self) -> None:
        self.run.finish()


TRACKERS = ("tensorboard", "mlflow", "trackio", "wandb")


def numbers(row: Row) -> dict[str, float]:
    """The numbers of a row but `seen`, the step."""
    return {name: float(value) for name, value in row.items() if name != "seen" and isinstance(value, (int, float))}


def parse(text: str) -> list[str]:
    """Names of trackers, separated by commas. InputError for an unknown one."""
    names = [word.strip() for word in text.split(",") if word.strip()]
    for name in names:
        if name not in TRACKERS:
            raise InputError(f"train.track: there is no tracker {name!r}.{did_you_mean(name, TRACKERS)}")
    return list(dict.fromkeys(names))


def adapter(name: str) -> Tracker:
    """The adapter of a name in TRACKERS."""
    if name in ("trackio", "wandb"):
        return Wandb(name)
    return MLflow() if name == "mlflow" else TensorBoard()


class Trackers:
    """The trackers of a run while it is trained, as a context."""

    def __init__(self, folder: Path, text: str, settings: Mapping[str, Mapping[str, Any]], seen: int) -> None:
        flat = {f"{section}.{name}": value for section, values in settings.items() for name, value in values.items()}
        self.threads = [_Thread(name, folder, flat, seen) for name in parse(text)]

    def __enter__(self) -> Trackers:
        for thread in self.threads:
            thread.start()
        return self

    def notice(self) -> None:
        """There is a new row."""
        for thread in self.threads:
            thread.awake.set()

    def go_back(self, seen: int) -> None:
        """Rows of more than `seen` images count no more."""
        for thread in self.threads:
            thread.back = seen

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        until = time.monotonic() + WAIT
        for thread in self.threads:
            thread.ended = True
            thread.awake.set()
        for thread in self.threads:
            thread.join(max(0.0, until - time.monotonic()))
            if thread.is_alive():
                log.warning(f"{thread.name} has not taken all rows after {WAIT:.0f} s; they are in {thread.file}.")


class _Thread(threading.Thread):
    """Sends the rows of `stats.jsonl` to one tracker. What it has got stands in the hidden file `.NAME.json`."""

    def __init__(self, name: str, folder: Path, settings: Mapping[str, Any], seen: int) -> None:
        super().__init__(name=name, daemon=True)
        self.folder, self.settings = folder, settings
        self.file, self.memory = folder / "stats.jsonl", folder / f".{name}.json"
        self.awake, self.ended = threading.Event(), False
        self.back: int | None = seen
        """Images to whose row training has gone back, until the tracker knows it."""

    def run(self) -> None:
        try:
            self._follow()
        except Exception as error:  # an optional view: whatever it raises must not stop training
            missing = isinstance(error, ModuleNotFoundError)
            if missing and self.name == "tensorboard":
                return
            reason = f"pip install {self.name}" if missing else f"{type(error).__name__}: {error}"
            log.warning(f"{self.name} gets no rows: {reason}. They are in {self.file}; a resumed run sends them.")

    def _follow(self) -> None:
        tracker, identity, sent, opened = adapter(self.name), *self._remembered(), False
        while True:
            ended = self.ended
            if self.back is not None:
                sent, self.back = min(sent, self.back), None
                if opened:
                    tracker.close()
                identity, opened = tracker.open(self.folder, self.settings, identity, sent), True
                self._remember(identity, sent)
            rows = [row for row in stats.read(self.folder) if row["seen"] > sent]
            if rows and self.back is None:
                tracker.write(rows)
                sent = rows[-1]["seen"]
                self._remember(str(identity), sent)
            if ended:
                return tracker.close()
            self.awake.wait()
            self.awake.clear()

    def _remember(self, identity: str, sent: int) -> None:
        with atomic_file(self.memory) as partial:
            partial.write_text(json.dumps({"identity": identity, "seen": sent}), "utf-8")

    def _remembered(self) -> tuple[str | None, int]:
        """The tracker's own name of the run, and the images of the last row that it has got."""
        try:
            known = json.loads(self.memory.read_text("utf-8"))
            return str(known["identity"]), int(known["seen"])
        except (OSError, ValueError, KeyError, TypeError):
            return None, -1
