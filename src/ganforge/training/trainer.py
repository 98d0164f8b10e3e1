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
from dataclasses import asdict, replace
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn

from ganforge.base import config, device, stats
from ganforge.base.busy import Busy
from ganforge.base.errors import Collapsed, Diverged, RunError, Stopped
from ganforge.base.images import write_image
from ganforge.base.seeds import key
from ganforge.nn.schedules import at
from ganforge.runs import NEWEST, RunFolder
from ganforge.store.store import Store
from ganforge.store.stream import Stream
from ganforge.system import Phase, System
from ganforge.training import collapse, ema
from ganforge.training.score import Scorer
from ganforge.training.settings import Progress, Settings
from ganforge.training.sheet import Sheet, draw
from ganforge.training.trackers import Trackers
from ganforge.training.watchdog import EVERY, LIMIT, Buffers, Watch

log = logging.getLogger(__name__)

FITTED = 1_024, 16_384, 64  # pictures that a system is fitted to: at least, at most, and one of so many shown
OTHERS = 0.1  # share of the processors taken by other programs from which on a report says so
SAVES = 600.0  # seconds of training after which a checkpoint is written, report or not
CAUTION = 4.0  # factor of the weights of penalties after a collapse
RECOVERY = 2_000  # steps over which the rates recover after steps that were not finite


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
        self.system: System = run.new_system()
        learned = shown.of_classes(self.system.learned)
        self.stream = Stream(learned, s.seed, self.device, s.mirror, s.balance, s.augment)
        device.place(self.system, self.device)
        shared = {id(module): module for module in map(self.system.get_submodule, self.system.fitted)}
        self.average: System = copy.deepcopy(self.system, shared).eval().requires_grad_(False)
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
        self.scorer = Scorer(shown, self.device, s.measure)
        if run.checkpoints():
            self.restore()
        self.exhausted = self._exhausted()

    def train(self) -> None:
        """Train until the end, with samples and a checkpoint at every report."""
        if self._done():
            log.info(f"{self.run.path} is trained already: {self.progress.seen:,} images seen.")
            return
        if not self.progress.seen:
            log.info(self._disk())
        self._tell_phases(self.settings.images or math.inf)
        rows = stats.Log(self.run.path, self.progress.seen)
        self.pace: tuple[tuple[int, float], ...] = ((self.progress.seen, self.progress.seconds),)
        trackers = Trackers(self.run.path, self.settings.track, self.sections, self.progress.seen)
        with _interruptible() as interrupted, _bar(self) as bar, Busy() as busy, trackers:
            reported, mark = self.progress.seen, time.perf_counter()
            started, saved = mark - self.progress.seconds, mark
            while not self._done():
                self.step()
                self.progress.seconds = time.perf_counter() - started
                self._settle_length()
                bar(self.progress)
                busy.look()
                reporting = self._due(reported) or bool(interrupted) or self._done()
                saving = reporting or time.perf_counter() - saved >= SAVES
                if not saving and self.progress.seen // self.settings.batch % EVERY:
                    continue
                went_back = self._recover(saving)
                if saving and not went_back:
                    self.progress.skipped = int(self.watch.skipped)
                    self.progress.strain = tuple(self.watch.strain.tolist())
                    self.progress.score = None
                    fitted = self._fit()
                    if reporting:
                        speed = (self.progress.seen - reported) / (time.perf_counter() - mark)
                        went_back = self._report(rows, speed, busy.share(), fitted)
                    self.save()  # last: a resumed run repeats all that came after its checkpoint
                    if interrupted and not self._done():
                        raise Stopped(
                            f"Stopped at {self.progress.seen:,} images, saved. "
                            f"Go on with: ganforge train {self.run.path}"
                        )
                elif not went_back:
                    continue
                saved = time.perf_counter()
                started = saved - self.progress.seconds  # saving and sampling do not count as training
                if went_back:
                    rows = stats.Log(self.run.path, self.progress.seen)
                    trackers.go_back(self.progress.seen)
                trackers.notice()
                if reporting or went_back:
                    reported, mark = self.progress.seen, saved
        self._tell_phases(self.progress.seen)
        if p := self.progress.skipped:
            steps = self.progress.seen // self.settings.batch
            back = f", and training went back {self.progress.rollbacks} times" if self.progress.rollbacks else ""
            log.info(f"{p:,} of {steps:,} steps were left out, since their numbers were not finite{back}.")
        if best := self.run.best():
            log.info(self._ended(best))

    def step(self) -> None:
        """One step: every phase in turn, then the moving average."""
        s, p = self.settings, self.progress
        torch.manual_seed(key(s.seed, "step", p.seen))
        batch = self.stream.batch(p.seen, s.batch)
        batch.caution = CAUTION**p.collapses
        self.system.train()
        for number, phase in enumerate(self.phases):
            if (p.seen // s.batch) % phase.every or not phase.since <= p.seen < phase.until:
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
        return (bool(self.settings.images) and self.progress.seen >= self.settings.images) or self.exhausted

    def _exhausted(self) -> bool:
        """Whether the distance has not fallen for as many images as `patience` says."""
        patience, best = self.settings.patience, self.run.best() if self.settings.patience else None
        return best is not None and self.progress.seen - int(best.name) >= patience

    def _due(self, reported: int) -> bool:
        """Whether a report is due after the one at `reported` images: at multiples of the interval, unless the end is
        nearer than half of another."""
        seen, s = self.progress.seen, self.settings
        if interval := s.report or s.images / 20:
            due = seen // interval > reported // interval
        else:
            interval = seen / max(self.progress.seconds, 1e-9) * 3 * s.minutes
            due = seen - reported >= interval
        left = seen / max(self.fraction(), 1e-9) - seen
        return due and left >= interval / 2

    def _rate(self) -> float:
        """Factor of the learning rates: 1, then falling linearly to a fiftieth over the cooldown."""
        left = 1 - self.progress.seen / self.settings.images if self.settings.images else 1.0
        cooldown = self.settings.cooldown
        falling = max(0.02, min(1.0, left / cooldown)) if cooldown else 1.0
        return self._recovered() * 0.5**self.progress.collapses * falling

    def _recovered(self) -> float:
        """Factor of the learning rates since the last rollback: it rises linearly to 1 again."""
        p = self.progress
        share = min(1.0, (p.seen - p.slowed) / (RECOVERY * self.settings.batch))
        return p.lr_scale + (1 - p.lr_scale) * share

    def _settle_length(self) -> None:
        """With a length in minutes: when only the cooldown is left, fix the length in images, by the speed since the
        last report but one, so that the rest is a function of the images alone."""
        s, p = self.settings, self.progress
        if s.images or p.seconds < 60 * s.minutes * (1 - s.cooldown):
            return
        speed = (p.seen - self.pace[0][0]) / max(p.seconds - self.pace[0][1], 1e-9)
        left = max(0.0, 60 * s.minutes - p.seconds) * speed
        self.settings = replace(s, images=math.ceil((p.seen + left) / s.batch) * s.batch)
        self.sections["train"] = asdict(self.settings)
        self.run.begin(self.sections)

    # checkpoints

    def save(self) -> None:
        """Write a checkpoint."""
        keep = self.settings.keep
        newest = NEWEST if keep == "best" else None if keep == "all" else int(keep)
        tensors = self._tensors() | self.means.tensors()
        self.run.save(self.progress.seen, tensors, asdict(self.progress), self.sections, newest)
        self.exhausted = self._exhausted()

    def _tell_phases(self, images: float) -> None:
        """Log a warning where phases begin later than a run of so many images ends."""
        if late := [phase for phase in self.phases if phase.since >= images]:
            log.warning(
                f"The run ends at {images:,} images, and what begins at {min(phase.since for phase in late):,} is left "
                f"out of it: {', '.join(phase.name for phase in late)}. Train it longer, or let that begin earlier."
            )

    def _ended(self, best: Path) -> str:
        """A line about the best checkpoint and the last."""
        distances, last = self.run.scores(), self.run.checkpoints()[-1]
        text = f"The best checkpoint is of {int(best.name):,} images, Fréchet distance {distances[best]:.3g}"
        if best != last:
            text += f"; the last is of {int(last.name):,}"
            text += f", {distances[last]:.3g}" if last in distances else ""
        return text + (f". No better one came in {self.settings.patience:,} images." if self.exhausted else ".")

    def _disk(self) -> str:
        """A line about the disk space that checkpoints take."""
        weights = sum(t.nbytes for t in self._tensors().values())
        weights += 2 * sum(p.nbytes for o in self.optimizers.values() for g in o.param_groups for p in g["params"])
        keep = self.settings.keep
        kept = "all are kept" if keep == "all" else f"at most {(NEWEST if keep == 'best' else int(keep)) + 1} are kept"
        return f"a checkpoint takes {weights / 1e6:,.0f} MB, {kept}"

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

    def restore(self, at: int | None = None) -> None:
        """Load the newest checkpoint that is undamaged, or that of `at` images."""
        run = self.run if at is None else RunFolder(self.run.path, at)
        tensors, state = run.load(fall_back=at is None)
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
        self.means = stats.Means(tensors, self.device)
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
        early = before.seen - before.slowed < RECOVERY * self.settings.batch
        repeated, slower = before.repeated + 1 if early else 1, self._recovered() / 2
        if repeated > 2 or not self.run.checkpoints():
            raise Diverged(self._diverged(skipped))
        self.restore()
        self.progress = replace(
            self.progress,
            rollbacks=before.rollbacks + 1,
            repeated=repeated,
            lr_scale=slower,
            slowed=self.progress.seen,
            skipped=skipped,
            strain=(),
        )
        self.watch = Watch(len(self.phases), self.device, skipped)
        log.info(
            f"Numbers were not finite at {before.seen:,} images: back to {self.progress.seen:,}, at half the rates."
        )
        return True

    def _back_from_collapse(self, reason: str) -> None:
        """Go back to the best healthy checkpoint, with half the learning rates and stronger penalties. Collapsed where
        there is none, or where that was done before."""
        before, rows, best = self.progress, stats.read(self.run.path), self.run.best()
        good = {row["seen"] for n, row in enumerate(rows, 1) if collapse.healthy(rows[:n])}
        folders = [f for f in self.run.checkpoints() if int(f.name) in good and int(f.name) < before.seen]
        happened = f"Training collapsed at {before.seen:,} images: {reason}"
        if before.collapses or not folders:
            raise Collapsed(self._collapsed(happened))
        at = int((best if best in folders else folders[-1]).name)
        self.restore(at)
        self.run.remove_after(at)
        self.progress = replace(
            self.progress,
            collapses=1,
            rollbacks=before.rollbacks,
            skipped=before.skipped,
            seconds=before.seconds,
            measuring=before.measuring,
            untrained=before.untrained,
        )
        log.warning(f"{happened}. Back to {at:,} images, at half the rates and with stronger penalties.")

    def _diverged(self, skipped: int) -> str:
        """The message of Diverged: what happened, which checkpoint is left, and a command with lower learning rates."""
        times = f", again after going back {self.progress.repeated} times" if self.progress.repeated else ""
        kept = self.run.checkpoints()
        rest = f"its last good checkpoint is of {int(kept[-1].name):,} images" if kept else "it has no checkpoint yet"
        lower = {"train.precision": "fp32"} if self.settings.precision != "fp32" else {}
        return (
            f"Training met numbers that are not finite at {self.progress.seen:,} images{times} ({skipped:,} steps were "
            f"left out); {rest}. {self._again(lower)}"
        )

    def _collapsed(self, happened: str) -> str:
        """The message of Collapsed: what happened, which checkpoint is left, a command with lower learning rates."""
        best = self.run.best() or next(reversed(self.run.checkpoints()), None)
        rest = f"its best checkpoint is of {int(best.name):,} images" if best else "it has no checkpoint yet"
        again = ", again after going back once" if self.progress.collapses else ""
        model = self.sections["model"]
        augment = {"model.augment": "ada"} if model.get("augment") == "" and self.store.spec.is_picture else {}
        return f"{happened}{again}; {rest}. {self._again(augment)}"

    def _again(self, changes: Mapping[str, str]) -> str:
        """The command that trains again at a quarter of the learning rate, with these other settings."""
        run, model = self.run, self.sections["model"]
        lower = {"model.lr": f"{model['lr'] / 4:g}"} if model.get("lr") else {}
        words = ["train", run.system_name, run.store, "--config", str(run.path / "run.toml")]
        words += [word for name, value in (lower | dict(changes)).items() for word in (f"--{name}", value)]
        path = run.path if run.path.name else run.path.resolve()  # "." has no name
        words += ["--out", str(path.with_name(f"{path.name}-slower"))]
        return f"Train again with a lower rate: ganforge {shlex.join(words)}"

    def _fit(self) -> dict[str, float]:
        """Let the averaged system fit what it fits to training pictures. Returns numbers for the report."""
        ema.renew_statistics(self.average, self.store)
        if not self.system.fitted:
            return {}
        seen = self.progress.seen
        torch.manual_seed(key(self.settings.seed, "fit", seen))
        numbers = self.average.fit(*self.stream.parts(seen, max(FITTED[0], min(FITTED[1], seen // FITTED[2]))))
        return {f"fit/{name}": number for name, number in numbers.items()}

    def _report(self, rows: stats.Log, speed: float, others: float, fitted: dict[str, float]) -> bool:
        """A row of statistics, a sheet, a line. Whether training went back, since it had collapsed."""
        p, started = self.progress, time.perf_counter()
        row: dict[str, Any] = {"seen": p.seen, "seconds": round(p.seconds, 3), "images_per_second": round(speed, 1)}
        row |= {"skipped": p.skipped, "rollbacks": p.rollbacks, "others": round(others, 3)}
        row |= {name: round(value, 6) for name, value in (self.means.result() | fitted).items()}
        self.pace = (*self.pace[-1:], (p.seen, p.seconds))
        sheet = draw(self.average, self.store)
        row |= self._scores(sheet, time.perf_counter() - started)
        rows.write(row)
        folder = self.run.path / "samples"
        folder.mkdir(exist_ok=True)
        mark = {"run": self.run.path.name, "system": self.run.system_name, **sheet.mark}
        kind = "generated" if self.average.generates else "restored"
        write_image(folder / f"{p.seen:09d}.png", sheet.sheet, mark, kind)
        terms = [(*name.split("/"), value) for name, value in row.items() if "/" in name]
        several = len(self.phases) > 1  # then the losses are printed with the names of their phases
        text = "  ".join(f"{phase if several and name == 'loss' else name} {value:.3f}" for phase, name, value in terms)
        scores = {"psnr": ".2f", "distance": ".3g", "recall": ".2f"}
        text += "".join(f"  {name} {row[name]:{form}}" for name, form in scores.items() if name in row)
        text += f"  left out {p.skipped:,}" if p.skipped else ""
        text += f"  (other programs took {others:.0%} of the processors)" if others > OTHERS else ""
        log.info(f"{self.fraction():4.0%}  {p.seen:>10,} images  {speed:>7,.0f}/s  {text}")
        if reason := collapse.alarm(stats.read(self.run.path)):
            self._back_from_collapse(reason)
        return bool(reason)

    def _scores(self, sheet: Sheet, sheet_seconds: float) -> dict[str, float]:
        """Diversity of the sheet and, where there is time, PSNR of held-out pictures, distance and recall."""
        p, scorer, last, scores = self.progress, self.scorer, self._done(), dict[str, float]()
        if self.average.generates:
            scores = scorer.diversity(sheet)
        elif scorer.allowed_fidelity(p.measuring, p.seconds, sheet_seconds, last):
            scores = scorer.fidelity(self.average)
            p.measuring += scorer.last_fidelity
        expected = p.seconds / max(self.fraction(), 1e-9)
        if scorer.allowed(p.measuring, p.seconds, expected, sheet_seconds, last and self.run.best() is not None):
            if not p.untrained and self.average.generates:
                new = self.run.new_system()
                device.place(new, self.device)
                p.untrained = scorer.score(new).get("distance", 0.0)
                p.measuring += scorer.last
            p.score = scorer.score(self.average) or None
            if p.score and self.average.generates:
                scores["untrained"] = p.untrained
            p.measuring += scorer.last
        return scores | (p.score or {})


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
