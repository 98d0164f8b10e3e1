"""The verbs about runs: show, train, sample, restore, project, measure."""

from __future__ import annotations

import argparse
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from ganforge import models
from ganforge.base import config, logs
from ganforge.base.errors import InputError

if TYPE_CHECKING:
    from ganforge.measuring.classification import ClassificationScores
    from ganforge.measuring.measure import Measured
    from ganforge.runs import Run


def show(asked: argparse.Namespace) -> None:
    """Facts, line by line."""
    from ganforge.showing import show

    print("\n".join(show(asked.path, asked.augment)))


def train(asked: argparse.Namespace) -> None:
    """A trained run, or its settings with --dry-run."""
    from ganforge.base import device
    from ganforge.runs import Run
    from ganforge.store.store import Store
    from ganforge.training.train import Settings, plan, train

    if asked.moved is not None and asked.store is not None:
        raise InputError(f"train: {asked.store} and --store {asked.moved} are two stores; say one of them.")
    asked.store = asked.moved if asked.store is None else asked.store
    if asked.system not in models.names() and (asked.store is None or (Path(asked.system) / "run.toml").is_file()):
        run = Run(Path(asked.system))
        for name in ("size", "out", "config"):
            if getattr(asked, name) is not None:
                raise InputError(
                    f"train: --{name} is for a new run; {run.path} has its settings and its place. A new run with the same "
                    f"settings: ganforge train {run.system_name} {run.store} --config {run.path / 'run.toml'} --out OTHER"
                )
        asked.system, asked.store = run.system_name, run.own_store() if asked.store is None else asked.store
        asked.out, asked.config = run.path, run.path / "run.toml"
    if asked.store is None:
        raise InputError(f"train: {asked.system} on which store? ganforge train {asked.system} STORE")
    loaded = models.load(asked.system)
    for name in ("images", "minutes"):
        if getattr(asked, name) is not None:
            if name in asked.overrides["train"]:
                raise InputError(f"train: --{name} and --train.{name} are the same; say one of them.")
            asked.overrides["train"][name] = getattr(asked, name)
    kinds = {"model": loaded.config, "train": Settings}
    overrides = {
        s: {n: config.parse(kinds[s], n, t, s) for n, t in values.items()} for s, values in asked.overrides.items()
    }
    store = Store(asked.store)
    out = asked.out or Path("runs") / f"{asked.system}-{store.name}"
    if asked.dry_run:
        device.choose(asked.device)
        print(config.to_toml(plan(asked.system, store, out, asked.size, overrides, asked.config), _notes(asked.system)))
        return
    with logs.printed():
        run = train(
            asked.system,
            store,
            out,
            size=asked.size,
            device_name=asked.device,
            base=asked.config,
            overrides=overrides,
        )
    print(f"Next: ganforge measure {run.path}")


def _notes(system: str) -> dict[str, dict[str, str]]:
    """What --dry-run says behind each setting."""
    from ganforge.training.train import explained

    return {section: config.notes(rows) for section, rows in explained(system).items()}


def settings(system: str) -> str:
    """Every setting of a system and of the loop: name, default, range, meaning."""
    from ganforge.training.train import explained

    lines = []
    for section, rows in explained(system).items():
        what = f"settings of {system}" if section == "model" else f"settings of the training, as {system} has them"
        lines.append(f"\n{what}: name, default, range, meaning")
        widths = [max(len(row[n]) for row in rows.values()) for n in (0, 1)]
        first = max(map(len, rows))
        lines += [
            f"  --{section}.{name:<{first}}  {default:<{widths[0]}}  {span:<{widths[1]}}  {meaning}"
            for name, (default, span, meaning) in rows.items()
        ]
    return "\n".join(lines)


def _seeds(asked: argparse.Namespace, usual: str) -> list[int]:
    if asked.count is not None:
        if not 1 <= asked.count <= 1_000_000:
            raise InputError(f"sample: --count is {asked.count}; it takes 1 to 1,000,000.")
        return list(range(asked.count))
    return _numbers(usual if asked.seeds is None else asked.seeds)


def _numbers(text: str) -> list[int]:
    """1,5-7 -> [1, 5, 6, 7]."""
    seeds: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        try:
            span = range(int(first), int(last if dash else first) + 1)
        except ValueError:
            raise InputError(f"sample: the seeds {part!r} are not understood; such as 7 or 0-63 or 1,5,9.") from None
        if not 1 <= len(span) <= 1_000_000:
            raise InputError(
                f"sample: {part} is {len(span):,} seeds; it takes the first and the last of 1 to 1,000,000."
            )
        seeds += span
    return seeds


def _labels(text: str | None, run: Run) -> str | list[str] | None:
    """cat,dog -> ["cat", "dog"], and "red, round",dog -> ["red, round", "dog"]; a class's whole name, or all, stays as
    it is."""
    import csv

    if text is None or text in (classes := run.spec.classes) or not text.strip():
        return text
    parts = next(csv.reader(text.splitlines(), skipinitialspace=True))
    labels = [part if part in classes else part.strip() for part in parts]
    return labels if len(labels) > 1 else labels[0]


def sample(asked: argparse.Namespace) -> None:
    """A sheet or files; walks and mixtures."""
    from ganforge.runs import Run
    from ganforge.sampling import every_class, write

    run = Run(asked.run)
    if asked.walk or asked.mix is not None:
        _between(asked, run)
        return
    out = asked.out or run.path / ("pictures" if asked.each else "samples.png")
    labels = _labels(asked.labels, run)
    many = len(labels) if isinstance(labels, list) else 64
    if labels is not None and every_class(labels, run.spec):
        many = 8
    written = write(run, _seeds(asked, f"0-{many - 1}"), out, not asked.each, labels, asked.truncation, asked.device)
    summary = f"{len(set(written)):,} {run.spec.medium.plural} in {out}"
    print(summary if asked.each and len(written) > 1 else "\n".join(map(str, written)))


def restore(asked: argparse.Namespace) -> int:
    """Restored files and scores. 2 where files were skipped."""
    from rich.console import Console

    from ganforge.restoring import restore
    from ganforge.runs import Run

    run = Run(asked.run)
    with Console(stderr=True).status("restoring") as status:
        made = restore(
            run, asked.source, asked.out, reference=asked.reference, device_name=asked.device,
            progress=lambda count: status.update(f"{count:,} files"),
        )  # fmt: skip
    for file, reason in made.skipped:
        print(f"  {file!r}: {reason}")
    for note in made.notes:
        print(f"  {note}")
    if made.resized:
        own = f"{run.spec.height}x{run.spec.width}"
        print(f"  {made.resized:,} were resized to {own}, the only size that {run.system_name} knows, and back")
    earlier = f", {made.kept:,} were there already" if made.kept else ""
    print(f"{asked.out}: {made.written:,} pictures restored{earlier}")
    if made.scores:
        print(made)
    return 2 if made.skipped else 0


def _between(asked: argparse.Namespace, run: Run) -> None:
    from ganforge.latent.walk import write_mix, write_walk

    seeds = _seeds(asked, "0-5")
    if asked.walk:
        out = asked.out or run.path / "walk.webp"
        labels = _labels(asked.labels, run)
        written = write_walk(run, seeds, out, asked.frames, asked.truncation, labels, asked.device)
        print("\n".join(map(str, written)))
        return
    layers = None
    if asked.mix_layers is not None:
        first, dash, last = asked.mix_layers.partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise InputError(f"sample: the layers {asked.mix_layers!r} are not understood; such as 2 or 0-3.")
        layers = range(int(first), int(last if dash else first) + 1)
    out = asked.out or run.path / "mix.png"
    print(write_mix(run, seeds, _numbers(asked.mix), layers, out, asked.truncation, asked.device))


def project(asked: argparse.Namespace) -> None:
    """How near the search came."""
    from rich.console import Console

    from ganforge.latent.inversion import write
    from ganforge.runs import Run

    out = asked.out or asked.run / f"projected-{asked.image.stem}.png"
    with Console(stderr=True).status("searching") as status:
        found, point = write(
            Run(asked.run), asked.image, out, asked.steps, lambda n, error: status.update(f"step {n}: {error:.4f}"),
            asked.device,
        )  # fmt: skip
    print(f"{out}: differs by {found.error:.1f} of 255 (root mean square); the point is in {point}")


def measure(asked: argparse.Namespace) -> int:
    """Numbers beside their floors. 2 where pictures of a folder are unusable."""
    with nullcontext() if asked.json else logs.printed():
        return _measure(asked)


def _measure(asked: argparse.Namespace) -> int:
    from ganforge.measuring.classification import classification_scores, classification_scores_of_folder
    from ganforge.measuring.measure import SAMPLES, as_json, measure, measure_folder
    from ganforge.runs import Run
    from ganforge.store.store import Store

    store = None if asked.store is None else Store(asked.store)
    if not (asked.run / "run.toml").exists() and asked.run.exists():
        if store is None:
            raise InputError(
                f"{asked.run} is no run: there is no run.toml in it. To measure the pictures in it, say against which store: --store STORE"
            )
        if asked.report or asked.samples is not None:
            raise InputError("measure: --report and --samples belong to a run; all pictures of a folder are measured.")
        result: Measured | ClassificationScores
        if asked.as_training_data:
            if asked.device not in ("auto", "cpu"):
                raise InputError("measure: --device says where samples are made; classifiers learn on the processor.")
            result, skipped = classification_scores_of_folder(asked.run, store)
        else:
            result, skipped = measure_folder(asked.run, store, asked.device)
        print(as_json(result) if asked.json else result)
        for name, reason in skipped[:20]:
            print(f"left out: {name}: {reason}", file=sys.stderr)
        return 2 if skipped else 0
    run = Run(asked.run)
    if asked.as_training_data:
        taught = classification_scores(run, store, asked.samples, asked.device)
        print(as_json(taught) if asked.json else taught)
        return 0
    result = measure(run, store, SAMPLES if asked.samples is None else asked.samples, asked.device)
    print(as_json(result) if asked.json else result)
    if asked.report:
        from ganforge import report

        print(f"Report: {report.write(run, [('trained', result)], run.file('report.html'))}", file=sys.stderr)
    return 0
