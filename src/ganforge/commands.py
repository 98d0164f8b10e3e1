"""The verbs: each does what its words ask and returns the exit code, 0 where it returns none. Nothing heavy is imported before it runs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganforge import models
from ganforge.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from ganforge.measure import Measured
    from ganforge.run import Run
    from ganforge.worth import Worth


def _say(line: str) -> None:
    print(line, flush=True)


def demo(asked: argparse.Namespace) -> None:
    """The whole way; numbers and the place of the report."""
    from ganforge.demo import MINUTES, demo

    minutes = MINUTES if asked.minutes is None else asked.minutes
    run, numbers, untrained, page = demo(asked.out, minutes, _say)
    print(numbers)
    print(f"untrained: {untrained.distance:.1f}, the same generator before training")
    print(f"\nReport: {page}\nMore pictures: ganforge sample {run.path} --count 100")


def systems(asked: argparse.Namespace) -> int:
    """One line a system. 2 where a file cannot be read."""
    broken = 0
    for name in models.names():
        try:
            print(models.describe(name))
        except InputError as error:
            print(error)
            broken = 2
    return broken


def doctor(asked: argparse.Namespace) -> None:
    """Versions, device, extras, formats."""
    from ganforge.doctor import lines

    print("\n".join(lines()))


def layers(asked: argparse.Namespace) -> None:
    """The cheat sheet, or one layer of it."""
    from ganforge.nn import catalogue

    if asked.name is None:
        lines = catalogue.sheet()
    elif row := catalogue.LAYERS.get(catalogue.ALSO.get(asked.name.lower(), asked.name.lower())):
        lines = catalogue.page(row)
    else:
        raise InputError(f"There is no layer {asked.name!r}.{did_you_mean(asked.name, catalogue.LAYERS)}")
    print("\n".join(lines))


def collect(asked: argparse.Namespace) -> int:
    """What was gathered, what was not and why. 2 where something is missing."""
    from rich.console import Console

    from ganforge.collect import collect, is_public, mix
    from ganforge.web.public import SETS

    if asked.pictures and not is_public(asked.sources):
        raise InputError("collect: --pictures is for one public set alone; of a mix there are only pictures.")
    if asked.source and not any(source in {*SETS} - {"digits"} or source.endswith(".toml") for source in asked.sources):
        raise InputError(
            "collect: --from names the folder of a public set's files, and none that has files is asked for."
        )
    names = ("cap", "cap_per_class", "total", "seed", "licence", "unknown_rights", "allow_host", "contact")
    options = {name: getattr(asked, name) for name in names if getattr(asked, name) is not None}
    if is_public(asked.sources) and not options and not asked.pictures:
        print(f"Next: ganforge prepare {collect(asked.sources[0], asked.out, asked.source, _say)}")
        return 0
    with Console(stderr=True).status("looking") as status:
        made = mix(asked.sources, asked.out, source=asked.source, progress=status.update, **options)
    for reason, count in list(made.reasons.items())[:8]:
        print(f"  skipped {count:,}: {reason}")
    for note in made.notes:
        print(f"  {note}")
    if made.apart:
        print(f"  {made.apart}: {made.apart_count:,} pictures whose rights are unknown")
    parts = ", ".join(f"{name} {count:,}" for name, count in made.kept.items())
    print(
        f"{made.folder}: {sum(made.kept.values()):,} pictures ({parts}), {made.duplicates:,} duplicates left out, {made.skipped:,} skipped"
        + (f" (see {made.folder / 'skipped.csv'})" if made.skipped else "")
    )
    if any(made.kept.values()):
        print(f"Next: ganforge prepare {made.folder}")
    return 2 if made.skipped or made.unfinished else 0


def clean(asked: argparse.Namespace) -> int:
    """A new folder, or a preview, a suggestion, a recipe. 2 where files cannot be read."""
    from rich.console import Console

    from ganforge.clean import clean, make_recipe, preview, suggest

    if asked.suggest:
        recipe, reasons = suggest(asked.folder)
        print("\n".join(f"# {reason}" for reason in reasons), end=f"\n\n{recipe.to_toml()}")
        return 0
    if asked.dry_run:
        print(make_recipe(asked.recipe, asked.filter, asked.drop, asked.keep).to_toml(), end="")
        return 0
    if asked.preview:
        rows = preview(
            asked.folder, asked.preview, filters=asked.filter, recipe=asked.recipe, reference=asked.reference,
            pictures=asked.pictures,
        )  # fmt: skip
        print(_table(rows))
        print(asked.preview)
        return 0
    if asked.out is None:
        raise InputError("clean: name the folder to make with -o; or see --preview, --suggest and --dry-run.")
    with Console(stderr=True).status("looking") as status:
        made = clean(
            asked.folder, asked.out, filters=asked.filter, recipe=asked.recipe, audit=asked.audit, drop=asked.drop,
            keep=asked.keep,
            progress=lambda count: status.update(f"{count:,} files"),
        )  # fmt: skip
    for file, reason in made.dropped[:20]:
        print(f"  left out: {file!r}: {reason}")
    if len(made.dropped) > 20:
        print(f"  … and {len(made.dropped) - 20:,} more; {made.path / 'dropped.csv'} names them all")
    for note in made.notes:
        print(f"  {note}")
    print(
        f"{made.path}: {made.changed:,} pictures filtered, {made.copied:,} as they were, {len(made.dropped):,} files left out"
    )
    print(f"Next: ganforge prepare {made.path}")
    return 2 if made.unreadable else 0


def _table(rows: Sequence[dict[str, Any]]) -> str:
    """Rows of plain values with the same names, as columns."""
    cells = [[name.replace("_", " ") for name in rows[0]]]
    cells += [
        ["-" if v is None else f"{v:.3f}" if isinstance(v, float) else str(v) for v in row.values()] for row in rows
    ]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        "  ".join(c.ljust(w) if n == 0 else c.rjust(w) for n, (c, w) in enumerate(zip(row, widths, strict=True)))
        for row in cells
    )


def audit(asked: argparse.Namespace) -> int:
    """Findings by code, verdicts, the page; or what differs between two audits. 2 where files cannot be read."""
    from rich.console import Console

    if (asked.source is None) == (asked.diff is None):
        raise InputError("audit: name a folder, a zip or a store, or two audits with --diff OLD NEW.")
    if asked.diff:
        return _audit_diff(*asked.diff)
    from ganforge.audit import audit

    with Console(stderr=True).status("looking") as status:
        made = audit(
            asked.source, asked.out, labels=asked.labels, features=asked.features, ocr=asked.ocr, seed=asked.seed,
            overwrite=asked.overwrite, progress=status.update,
        )  # fmt: skip
    for note in made.notes:
        print(f"  {note}")
    for code, count in made.findings.items():
        print(f"  {made.summary['severities'][code]:8} {code:16} {count:>9,}")
    verdicts = ", ".join(f"{count:,} {name}" for name, count in made.verdicts.items())
    print(f"{made.path}: {made.pictures:,} files: {verdicts}")
    print(f"Look at: {made.path / 'report.html'}")
    return 2 if made.unreadable else 0


def _audit_diff(old: Path, new: Path) -> int:
    from ganforge.audit_tables import compare, shown

    found = compare(old, new)
    for name in found.appeared:
        print(f"  appeared  {shown(name)}")
    for name in found.vanished:
        print(f"  vanished  {shown(name)}")
    for name, before, after in found.changed:
        print(f"  changed   {shown(name)}: {before} -> {after}")
    print(f"{len(found.appeared):,} appeared, {len(found.vanished):,} vanished, {len(found.changed):,} changed")
    return 0


def prepare(asked: argparse.Namespace) -> int:
    """A store or another format, what was left out; or the parts of one shard. 2 where pictures are unusable."""
    import shutil

    from rich.console import Console

    from ganforge.data import exports
    from ganforge.prepare import prepare, prepare_shard

    if asked.format not in exports.FORMATS:
        raise InputError(f"prepare: there is no format {asked.format!r}.{did_you_mean(asked.format, exports.FORMATS)}")
    names = (
        "resolution",
        "channels",
        "fit",
        "background",
        "normalise",
        "levels",
        "labels",
        "audit",
        "drop",
        "keep",
        "part_size",
        "overwrite",
    )
    settings = {name: getattr(asked, name) for name in names}
    with Console(stderr=True).status("looking") as status:
        settings["progress"] = lambda count: status.update(f"{count:,} pictures")
        if asked.shard:
            done, parts = prepare_shard(asked.source, asked.out, *_shard(asked.shard), **settings)
        else:
            out = asked.out
            if asked.format != "store":
                if out is None:
                    raise InputError("prepare: --format needs --out, the folder to write.")
                if out.exists():  # before the work, not after it
                    raise InputError(f"prepare: {out} exists already. Choose another name, or remove it first.")
                out = out.with_name(f".{out.name}.store")
                settings["overwrite"] = True  # what a stopped call left there
            made = prepare(
                asked.source, out, heldout=asked.heldout, stratify=asked.stratify, folds=asked.folds,
                per_class=asked.per_class, engine=asked.engine, **settings,
            )  # fmt: skip
    if asked.shard:
        print(
            f"{done} of {parts} parts are finished. The same words without --shard make what is missing and join them."
        )
        return 0
    for file, reason in made.skipped[:20]:
        print(f"  left out: {file!r}: {reason}")
    if made.skipped_count > 20:
        print(f"  … and {made.skipped_count - 20:,} more; meta.parquet in the store names them all")
    for note in made.notes:
        print(f"  {note}")
    store = made.store
    if asked.format != "store":
        count = exports.write(store, asked.out, asked.format)
        shutil.rmtree(store.path)
        print(f"{asked.out}: {count:,} pictures of {store.spec} as {asked.format}")
        return 2 if made.unusable else 0
    print(
        f"{store.path}: {len(store):,} pictures of {store.spec}; {len(store.train):,} for training, {len(store.heldout):,} held out, {made.skipped_count:,} left out"
    )
    print(f"Next: ganforge train dcgan {store.path}")
    return 2 if made.unusable else 0


def _shard(text: str) -> tuple[int, int]:
    """3/16 -> (3, 16)."""
    index, slash, count = text.partition("/")
    if not slash or not index.isdecimal() or not count.isdecimal() or int(index) >= int(count):
        raise InputError(f"prepare: the shard {text!r} is not understood; with 16 jobs they are 0/16 to 15/16.")
    return int(index), int(count)


def show(asked: argparse.Namespace) -> None:
    """Facts, line by line."""
    from ganforge.show import show

    print("\n".join(show(asked.path, asked.augment)))


def train(asked: argparse.Namespace) -> None:
    """A trained run, or its settings with --dry-run."""
    from ganforge import config, device
    from ganforge.data.store import Store
    from ganforge.run import Run
    from ganforge.train import Settings, plan, train

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
    run = train(
        asked.system,
        store,
        out,
        size=asked.size,
        device_name=asked.device,
        base=asked.config,
        overrides=overrides,
        say=_say,
    )
    print(f"Next: ganforge measure {run.path}")


def _notes(system: str) -> dict[str, dict[str, str]]:
    """What --dry-run says behind each setting."""
    from ganforge.train import explained

    return {
        section: {name: f"{meaning} [{span}; default {default}]" for name, (default, span, meaning) in rows.items()}
        for section, rows in explained(system).items()
    }


def settings(system: str) -> str:
    """Every setting of a system and of the loop: name, default, range, meaning."""
    from ganforge.train import explained

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
    """cat,dog -> ["cat", "dog"], and "red, round",dog -> ["red, round", "dog"]; a class's whole name, or all, stays as it is."""
    import csv

    if text is None or text in (classes := run.spec.classes) or not text.strip():
        return text
    parts = next(csv.reader(text.splitlines(), skipinitialspace=True))
    labels = [part if part in classes else part.strip() for part in parts]
    return labels if len(labels) > 1 else labels[0]


def sample(asked: argparse.Namespace) -> None:
    """A sheet or files; walks and mixtures."""
    from ganforge.run import Run
    from ganforge.sample import every_class, write

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
    print(written[0] if len(written) == 1 else f"{len(set(written)):,} pictures in {out}")


def restore(asked: argparse.Namespace) -> int:
    """Restored files and scores. 2 where files were skipped."""
    from rich.console import Console

    from ganforge.restore import restore
    from ganforge.run import Run

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
    from ganforge.walk import write_mix, write_walk

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

    from ganforge.project import write
    from ganforge.run import Run

    out = asked.out or asked.run / f"projected-{asked.image.stem}.png"
    with Console(stderr=True).status("searching") as status:
        found, point = write(
            Run(asked.run), asked.image, out, asked.steps, lambda n, error: status.update(f"step {n}: {error:.4f}"),
            asked.device,
        )  # fmt: skip
    print(f"{out}: differs by {found.error:.1f} of 255 (root mean square); the point is in {point}")


def measure(asked: argparse.Namespace) -> int:
    """Numbers beside their floors."""
    from ganforge.data.store import Store
    from ganforge.measure import SAMPLES, as_json, measure, measure_folder
    from ganforge.run import Run
    from ganforge.worth import worth, worth_of_folder

    store = None if asked.store is None else Store(asked.store)
    say = None if asked.json else _say
    if not (asked.run / "run.toml").exists() and asked.run.exists():
        if store is None:
            raise InputError(
                f"{asked.run} is no run: there is no run.toml in it. To measure the pictures in it, say against which store: --store STORE"
            )
        if asked.report or asked.samples is not None:
            raise InputError("measure: --report and --samples belong to a run; all pictures of a folder are measured.")
        result: Measured | Worth
        if asked.as_training_data:
            if asked.device not in ("auto", "cpu"):
                raise InputError("measure: --device says where samples are made; classifiers learn on the processor.")
            result, skipped = worth_of_folder(asked.run, store, say)
        else:
            result, skipped = measure_folder(asked.run, store, say, asked.device)
        print(as_json(result) if asked.json else result)
        for name, reason in skipped[:20]:
            print(f"left out: {name}: {reason}", file=sys.stderr)
        return 2 if skipped else 0
    run = Run(asked.run)
    if asked.as_training_data:
        taught = worth(run, store, asked.samples, say, asked.device)
        print(as_json(taught) if asked.json else taught)
        return 0
    result = measure(run, store, SAMPLES if asked.samples is None else asked.samples, say, asked.device)
    print(as_json(result) if asked.json else result)
    if asked.report:
        from ganforge import report

        print(f"Report: {report.write(run, [('trained', result)], run.file('report.html'))}", file=sys.stderr)
    return 0
