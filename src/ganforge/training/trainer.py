"""The training loop, the same for all systems: it knows only their phases."""

from __future__ import annotations

import contextlib
import copy
import logging
import math
import shlex
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from types import FrameType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ganforge.base import config, device, stats
from ganforge.base.busy import Busy
from ganforge.base.config import setting
from ganforge.base.errors import Diverged, RunError, Stopped
from ganforge.base.images import Pixels, name_rows, write_image
from ganforge.base.seeds import key
from ganforge.nn import ema
from ganforge.nn.schedules import at
from ganforge.runs import RunFolder
from ganforge.sampling import crossed, examples, marked, pictures
from ganforge.store import augment
from ganforge.store.store import Store
from ganforge.store.stream import Stream
from ganforge.system import Phase, System
from ganforge.training.watchdog import EVERY, LIMIT, Buffers, Watch

log = logging.getLogger(__name__)

SHEET_SEEDS = range(64)
SHEET_CLASSES = 16  # rows of a sheet where there is one a class
OTHERS = 0.1  # share of the processors taken by other programs from which on a report says so
SHEET_EXAMPLES = 32  # pictures on the sheet of a system that does not generate


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of the loop, the section [train] of run.toml."""

    images: int = setting(1_000_000, "length of the run, in images shown; with --minutes 0 until it is known", low=0)
    minutes: float = setting(0.0, "length of the run in minutes instead; 0: images decide", low=0.0)
    batch: int = setting(128, "images a step", low=1, high=65536)
    seed: int = setting(0, "seed of all randomness", low=0, high=2**32 - 1)
    precision: str = setting("auto", "bf16, fp32 or the faster one", choices=device.PRECISIONS)
    mirror: bool = setting(False, "mirror each picture with probability 1/2; flip in augment")
    augment: str = setting(
        "", f"augmentations of the training pictures, such as flip, rotate 10; of {', '.join(augment.KINDS)}"
    )
    fold: int = setting(-1, "the fold of the store to hold out instead; -1: none", low=-1, high=127)
    balance: float = setting(
        0.0, "0 shows classes as often as they occur, 1 all equally often, 0.5 by the square root", low=0.0, high=1.0
    )
    ema_images: int = setting(20_000, "half-life of the averaged weights, in images", low=0)
    ema_ramp: float = setting(0.05, "the half-life is at most this share of the images shown so far", low=0.0, high=1.0)
    ema_span: int = setting(
        0, "images over which the half-life grows from 0 to ema_images along a cosine; 0: by ema_ramp", low=0
    )
    cooldown: float = setting(
        0.0, "share of the run, at its end, over which learning rates fall linearly", low=0.0, high=1.0
    )
    report: int = setting(0, "images between reports; 0: a twentieth of the run", low=0)


@dataclass
class Progress:
    """The progress of a run; saved with each checkpoint."""

    seen: int = 0
    seconds: float = 0.0
    lr_scale: float = 1.0
    rollbacks: int = 0
    skipped: int = 0
    """Number of steps of a phase that were left out because their numbers were not finite."""
    strain: tuple[float, ...] = ()
    """One number for each phase, see `ganforge.training.watchdog`."""


class Trainer:
    """The state of one training process: the system, its moving average, the optimizers, and the progress."""

    def __init__(self, run: RunFolder, store: Store, device_name: str = "auto") -> None:
        device.keep_memory()
        self.run, self.store = run, store
        self.device = device.choose(device_name)
        self.sections = run.settings
        self.settings = config.build(Settings, run.section("train"), "train")
        if run.spec != store.spec:
            raise RunError(
                f"{run.path} was made for pictures of {run.spec}; {store.address} holds {store.spec}. "
                "Train into another folder with --out."
            )
        s = self.settings
        shown = store if s.fold < 0 else store.fold(s.fold)
        self.stream = Stream(shown, s.seed, self.device, s.mirror, s.balance, s.augment)
        self.system: System = run.new_system()
        device.place(self.system, self.device)
        self.average: System = copy.deepcopy(self.system).eval().requires_grad_(False)
        self.phases: list[Phase] = self.system.phases()
        self.adam = self.system.adam()
        self.optimizers = {
            name: torch.optim.Adam(self.system.get_submodule(name).parameters(), eps=a.eps, fused=True)
            for name, a in self.adam.items()
        }
        self.progress = Progress()
        self.means = stats.Means()
        self.buffers = Buffers(self.system)
        self.watch = Watch(len(self.phases), self.device)
        if run.checkpoints():
            self.restore()

    # the loop

    def train(self) -> None:
        """Train until the end, with samples and a checkpoint at every report."""
        if self._done():
            log.info(f"{self.run.path} is trained already: {self.progress.seen:,} images seen.")
            return
        with _interruptible() as interrupted, _bar(self) as bar, Busy() as busy:
            # inside _interruptible, since importing a tracker may take seconds
            rows = stats.Log(self.run.path, self.progress.seen)
            reported, mark = self.progress.seen, time.perf_counter()
            started = mark - self.progress.seconds
            while not self._done():
                self.step()
                self.progress.seconds = time.perf_counter() - started
                self._settle_length()
                bar(self.progress)
                busy.look()
                saving = self._due(reported) or bool(interrupted) or self._done()
                if not saving and self.progress.seen // self.settings.batch % EVERY:
                    continue
                if self._recover(saving):
                    rows = stats.Log(self.run.path, self.progress.seen)
                elif saving:
                    speed = (self.progress.seen - reported) / (time.perf_counter() - mark)
                    self.progress.skipped, self.progress.strain = (
                        int(self.watch.skipped),
                        tuple(self.watch.strain.tolist()),
                    )
                    self._report(rows, speed, busy.share())
                    self.save()  # last: a resumed run repeats all that came after its checkpoint
                    if interrupted and not self._done():
                        raise Stopped(
                            f"Stopped at {self.progress.seen:,} images, saved. "
                            f"Go on with: ganforge train {self.run.path}"
                        )
                else:
                    continue
                reported, mark = self.progress.seen, time.perf_counter()
                started = mark - self.progress.seconds  # saving and sampling do not count as training
        if p := self.progress.skipped:
            steps = self.progress.seen // self.settings.batch
            back = f", and training went back {self.progress.rollbacks} times" if self.progress.rollbacks else ""
            log.info(f"{p:,} of {steps:,} steps were left out, since their numbers were not finite{back}.")

    def step(self) -> None:
        """One step: every phase in turn, then the moving average."""
        s, p = self.settings, self.progress
        torch.manual_seed(key(s.seed, "step", p.seen))
        batch = self.stream.batch(p.seen, s.batch)
        self.system.train()
        for number, phase in enumerate(self.phases):
            if (p.seen // s.batch) % phase.every:
                continue
            before = self.buffers.copies()
            self.system.requires_grad_(False)
            for name in phase.learns:
                self.system.get_submodule(name).requires_grad_(True)
            with device.autocast(self.device, s.precision):
                reported = phase.loss(batch)
            reported["loss"].backward()
            after = self.buffers.copies()
            floats = [copy for copy in after if copy.is_floating_point()]
            bad = self.watch.judge(number, [reported["loss"].detach(), *self._gradients(phase), *floats])
            self.buffers.go_back(bad, before, after)
            for name in phase.learns:
                self._update(name, bad)
            self.means.add(phase.name, reported, bad)
        p.seen += s.batch
        keep = ema.keep(ema.half_life(s.ema_images, s.ema_ramp, s.ema_span, p.seen), s.batch)
        for name in self.system.averaged:
            ema.update(self.average.get_submodule(name), self.system.get_submodule(name), keep)

    def _gradients(self, phase: Phase) -> list[Tensor]:
        learners = (self.system.get_submodule(name) for name in phase.learns)
        return [p.grad for learner in learners for p in learner.parameters() if p.grad is not None]

    def _update(self, name: str, bad: Tensor) -> None:
        """The step of Adam, which the device itself leaves out where `bad` is true."""
        optimizer, adam, seen = self.optimizers[name], self.adam[name], self.progress.seen
        for group in optimizer.param_groups:
            group["lr"] = at(adam.lr, seen) * self._rate()
            group["betas"] = at(adam.beta1, seen), at(adam.beta2, seen)
        optimizer.found_inf = bad.float()  # type: ignore[attr-defined]
        optimizer.step()
        optimizer.zero_grad()

    # length

    def fraction(self) -> float:
        """The part of the run that is done, from 0 to 1."""
        if self.settings.images:
            return min(1.0, self.progress.seen / self.settings.images)
        return min(1.0, self.progress.seconds / (60 * self.settings.minutes))

    def _done(self) -> bool:
        return bool(self.settings.images) and self.progress.seen >= self.settings.images

    def _due(self, reported: int) -> bool:
        """Whether a report is due: an interval after the last one, unless the end is nearer than half of another."""
        interval, seen = self._interval(), self.progress.seen
        left = seen / max(self.fraction(), 1e-9) - seen
        return seen - reported >= interval and left >= interval / 2

    def _interval(self) -> float:
        if self.settings.report:
            return self.settings.report
        if self.settings.images:
            return self.settings.images / 20
        return self.progress.seen / max(self.progress.seconds, 1e-9) * 3 * self.settings.minutes

    def _rate(self) -> float:
        """Factor of the learning rates: 1, then falling linearly to a fiftieth over the cooldown."""
        left = 1 - self.progress.seen / self.settings.images if self.settings.images else 1.0
        cooldown = self.settings.cooldown
        return self.progress.lr_scale * (max(0.02, min(1.0, left / cooldown)) if cooldown else 1.0)

    def _settle_length(self) -> None:
        """With a length in minutes: when only the cooldown is left, fix the length in images, so that the rest is a
        function of the images alone."""
        s = self.settings
        if s.images or self.progress.seconds < 60 * s.minutes * (1 - s.cooldown):
            return
        steps = math.ceil(self.progress.seen / s.batch / (1 - s.cooldown))  # `plan` requires a cooldown below 1
        self.settings = replace(s, images=steps * s.batch)
        self.sections["train"] = asdict(self.settings)
        self.run.begin(self.sections)

    # checkpoints

    def save(self) -> None:
        """Write a checkpoint."""
        self.run.save(self.progress.seen, self._tensors(), asdict(self.progress), self.sections)

    def _tensors(self) -> dict[str, Tensor]:
        tensors = {f"system.{name}": value for name, value in self.system.state_dict().items()}
        for module in self.system.averaged:
            for name, value in self.average.get_submodule(module).state_dict().items():
                tensors[f"average.{module}.{name}"] = value
        for learns, optimizer in self.optimizers.items():
            for name, parameter in self.system.get_submodule(learns).named_parameters():
                for slot, value in optimizer.state[parameter].items():
                    tensors[f"optimizer.{learns}.{name}.{slot}"] = value
        return tensors

    def restore(self) -> None:
        """Load the newest checkpoint that is undamaged."""
        tensors, state = self.run.load(fall_back=True)
        try:
            self.progress = Progress(**state)
            self._load(self.system, tensors, "system.")
            for module in self.system.averaged:
                self._load(self.average.get_submodule(module), tensors, f"average.{module}.")
        except (RuntimeError, TypeError) as error:
            raise RunError(
                f"{self.run.path}: the checkpoint does not fit run.toml: {str(error).splitlines()[-1].strip()}"
            ) from error
        for learns, optimizer in self.optimizers.items():
            for name, parameter in self.system.get_submodule(learns).named_parameters():
                prefix = f"optimizer.{learns}.{name}."
                slots = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
                optimizer.state[parameter] = {
                    slot: value.to(parameter.device) if value.ndim == 0 else torch.empty_like(parameter).copy_(value)
                    for slot, value in slots.items()
                }
        self.means = stats.Means()
        self.watch = Watch(len(self.phases), self.device, self.progress.skipped, self.progress.strain)

    @staticmethod
    def _load(module: nn.Module, tensors: Mapping[str, Tensor], prefix: str) -> None:
        module.load_state_dict({k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)})

    def _recover(self, saving: bool) -> bool:
        """Go back to the last checkpoint, with half the learning rates, where too many steps were bad or, before
        saving, where any number is not finite. Whether it did."""
        finite = not saving or all(t.isfinite().all() for t in self._tensors().values() if t.is_floating_point())
        before, skipped = self.progress, int(self.watch.skipped)
        limit = (
            min(LIMIT, before.seen // self.settings.batch) if self._done() else LIMIT
        )  # a run may be shorter than that
        if not self.watch.strained(limit) and finite:
            return False
        rollbacks = before.rollbacks + 1
        if rollbacks > 2 or not self.run.checkpoints():
            raise Diverged(self._diverged(skipped))
        self.restore()
        self.progress = replace(
            self.progress, rollbacks=rollbacks, lr_scale=before.lr_scale / 2, skipped=skipped, strain=()
        )
        self.watch = Watch(len(self.phases), self.device, skipped)
        log.info(
            f"Numbers were not finite at {before.seen:,} images: back to {self.progress.seen:,}, at half the rates."
        )
        return True

    def _diverged(self, skipped: int) -> str:
        """The message of Diverged: what happened, which checkpoint is left, and a command with lower learning rates."""
        run, model = self.run, self.sections["model"]
        kept = run.checkpoints()
        rest = f"its last good checkpoint is of {int(kept[-1].name):,} images" if kept else "it has no checkpoint yet"
        lower = {"model.lr": f"{model['lr'] / 4:g}"} if model.get("lr") else {}
        lower |= {"train.precision": "fp32"} if self.settings.precision != "fp32" else {}
        words = ["train", run.system_name, run.store, "--config", str(run.path / "run.toml")]
        words += [word for name, value in lower.items() for word in (f"--{name}", value)]
        words += ["--out", str(run.path.with_name(f"{run.path.name}-slower"))]
        times = f", again after going back {self.progress.rollbacks} times" if self.progress.rollbacks else ""
        return (
            f"Training met numbers that are not finite at {self.progress.seen:,} images{times} ({skipped:,} steps were "
            f"left out); {rest}. Train again with a lower rate: ganforge {shlex.join(words)}"
        )

    def _report(self, rows: stats.Log, speed: float, others: float) -> None:
        p = self.progress
        row: dict[str, Any] = {"seen": p.seen, "seconds": round(p.seconds, 3), "images_per_second": round(speed, 1)}
        row |= {"skipped": p.skipped, "rollbacks": p.rollbacks, "others": round(others, 3)}
        row |= {name: round(value, 6) for name, value in self.means.result().items()}
        rows.write(row)
        folder = self.run.path / "samples"
        folder.mkdir(exist_ok=True)
        sheet, seeds_and_labels = self._sheet()
        mark = {"run": self.run.path.name, "system": self.run.system_name, **seeds_and_labels}
        write_image(folder / f"{p.seen:09d}.png", sheet, mark, "generated" if self.average.generates else "restored")
        terms = [(*name.split("/"), value) for name, value in row.items() if "/" in name]
        several = len(self.phases) > 1  # then the losses are printed with the names of their phases
        losses = "  ".join(
            f"{phase if several and name == 'loss' else name} {value:.3f}" for phase, name, value in terms
        )
        losses += f"  left out {p.skipped:,}" if p.skipped else ""
        losses += f"  (other programs took {others:.0%} of the processors)" if others > OTHERS else ""
        log.info(f"{self.fraction():4.0%}  {p.seen:>10,} images  {speed:>7,.0f}/s  {losses}")

    def _sheet(self) -> tuple[Pixels, dict[str, Any]]:
        """(pixels, seeds and labels for the mark) of the same seeds at every report, with a row a class; for a
        system that does not generate, examples of the same pictures, held-out ones where there are enough."""
        if self.average.generates:
            classes = list(range(min(self.average.classes, SHEET_CLASSES)))
            seeds, labels = crossed(SHEET_SEEDS[:8], classes) if classes else (SHEET_SEEDS, None)
            shown = np.concatenate(list(pictures(self.average, seeds, labels)))
            mark = {"seeds": list(seeds)} | marked(self.store.spec, labels)
            sheet = self.store.spec.sheet(shown, 8 if classes else None)
            return (name_rows(sheet, self.store.spec.classes[: len(classes)]) if classes else sheet), mark
        rows = self.store.heldout if len(self.store.heldout) >= SHEET_EXAMPLES else self.store.train
        originals = self.store.read(rows[:SHEET_EXAMPLES])
        shown = examples(self.average, originals)
        return self.store.spec.sheet(shown, 4 * len(shown) // len(originals)), {}


@contextlib.contextmanager
def _interruptible() -> Iterator[list[int]]:
    """A list that receives the number of a signal at the first Ctrl-C or SIGTERM; the second Ctrl-C stops at once."""
    received: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        if received and number == signal.SIGINT:
            raise KeyboardInterrupt
        received.append(number)

    try:
        old = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not in the main thread, where signals cannot be handled
        yield received
        return
    try:
        yield received
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _bar(trainer: Trainer) -> Iterator[Callable[[Progress], None]]:
    """A progress bar with images a second and time left, where the output is a terminal."""
    if not sys.stderr.isatty():
        yield lambda progress: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.percentage:>3.0f}%"),
        BarColumn(),
        TextColumn("{task.fields[speed]}"),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("train", total=1.0, speed="")
        first = (trainer.progress.seen, trainer.progress.seconds)

        def update(progress: Progress) -> None:
            speed = (progress.seen - first[0]) / max(progress.seconds - first[1], 1e-9)
            bar.update(task, completed=trainer.fraction(), speed=f"{progress.seen:,} images, {speed:,.0f}/s")

        yield update
