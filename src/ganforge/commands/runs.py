"""The verbs about runs: show, train, sample, restore, project, directions, measure."""

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
    from ganforge.runs import RunFolder
    from ganforge.sampling import Shift


def show(args: argparse.Namespace) -> None:
    """Facts, line by line."""
    from ganforge.showing import show

    print("\n".join(show(args.path, args.augment)))


def train(args: argparse.Namespace) -> None:
    """A trained run, or its settings with --dry-run."""
    from ganforge.runs import RunFolder
    from ganforge.store.store import Store
    from ganforge.training.train import Settings, plan, train, usual_size

    if args.moved is not None and args.store is not None:
        raise InputError(f"train: {args.store} and --store {args.moved} are two stores; say one of them.")
    args.store = args.moved if args.store is None else args.store
    if args.system not in models.names() and (args.store is None or (Path(args.system) / "run.toml").is_file()):
        run = RunFolder(Path(args.system))
        for name, value in {"size": args.size, "out": args.out, "config": args.config, "from": args.source}.items():
            if value is not None:
                raise InputError(
                    f"train: --{name} is for a new run; {run.path} has its settings and its path. A new run with the "
                    f"same settings: ganforge train {run.system_name} {run.store} "
                    f"--config {run.path / 'run.toml'} --out OTHER"
                )
        args.system, args.store = run.system_name, run.own_store() if args.store is None else args.store
        args.out, args.config = run.path, run.path / "run.toml"
    if args.store is None:
        raise InputError(f"train: {args.system} on which store? ganforge train {args.system} STORE")
    loaded = models.load(args.system)
    for name in ("images", "minutes", "keep", "track"):
        if getattr(args, name) is not None:
            if name in args.overrides["train"]:
                raise InputError(f"train: --{name} and --train.{name} are the same; say one of them.")
            args.overrides["train"][name] = getattr(args, name)
    kinds = {"model": loaded.config, "train": Settings}
    overrides = {
        s: {n: config.parse(kinds[s], n, t, s) for n, t in values.items()} for s, values in args.overrides.items()
    }
    if args.at is not None and args.source is None:
        raise InputError("train: --at is a checkpoint of the run that --from names; say --from RUN as well.")
    source = None if args.source is None else RunFolder(args.source, args.at)
    store = Store(args.store)
    out = args.out or Path("runs") / f"{args.system}-{store.name}"
    if args.dry_run:
        usual = usual_size(args.device)
        settings = plan(args.system, store, out, args.size, overrides, args.config, source, usual=usual)
        print(config.to_toml(settings, _notes(args.system)))
        return
    with logs.printed():
        run = train(
            args.system,
            store,
            out,
            size=args.size,
            device_name=args.device,
            base=args.config,
            overrides=overrides,
            source=source,
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
        title = f"settings of {system}" if section == "model" else f"settings of the training, as {system} has them"
        lines.append(f"\n{title}: name, default, range, meaning")
        widths = [min(40, max(len(row[n]) for row in rows.values())) for n in (0, 1)]
        first = max(map(len, rows))
        lines += [
            f"  --{section}.{name:<{first}}  {default:<{widths[0]}}  {span:<{widths[1]}}  {meaning}"
            for name, (default, span, meaning) in rows.items()
        ]
    return "\n".join(lines)


def _seeds(args: argparse.Namespace, usual: str) -> list[int]:
    if args.count is not None:
        if not 1 <= args.count <= 1_000_000:
            raise InputError(f"sample: --count is {args.count}; it takes 1 to 1,000,000.")
        return list(range(args.count))
    return _numbers(usual if args.seeds is None else args.seeds)


def _numbers(text: str, things: str = "seeds") -> list[int]:
    """1,5-7 -> [1, 5, 6, 7]."""
    numbers: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        try:
            span = range(int(first), int(last if dash else first) + 1)
        except ValueError:
            raise InputError(f"The {things} {part!r} are not understood; such as 7 or 0-63 or 1,5,9.") from None
        if not 1 <= len(span) <= 1_000_000:
            raise InputError(
                f"{part.strip()} is {len(span):,} {things}; it takes the first and the last of 1 to 1,000,000."
            )
        numbers += span
    return numbers


def _labels(text: str | None, run: RunFolder) -> str | list[str] | None:
    """cat,dog -> ["cat", "dog"], and "red, round",dog -> ["red, round", "dog"]; a class's whole name, or all, stays as
    it is."""
    import csv

    if text is None or text in (classes := run.spec.classes) or not text.strip():
        return text
    try:
        parts = [part for row in csv.reader(text.splitlines(), skipinitialspace=True) for part in row]
    except csv.Error as error:
        raise InputError(f"sample: the labels are not understood: {error}.") from error
    labels = [part if part in classes else part.strip() for part in parts]
    return labels if len(labels) > 1 else labels[0]


def sample(args: argparse.Namespace) -> None:
    """A sheet or files; walks and mixtures."""
    with logs.printed():
        _sample(args)


def _sample(args: argparse.Namespace) -> None:
    from ganforge.latent.points import write as write_points
    from ganforge.runs import RunFolder
    from ganforge.sampling import every_class, write

    run = RunFolder(args.run, args.at)
    if args.walk or args.mix is not None:
        _between(args, run)
        return
    if args.points is not None:
        out = args.out or run.path / ("edited" if args.each else "edited.png")
        written = write_points(run, args.points, out, not args.each, _shift(args, run), args.device)
        print(f"{len(written):,} pictures in {out}" if len(written) > 1 else written[0])
        return
    out = args.out or run.path / (run.spec.medium.plural if args.each else "samples.png")
    labels = _labels(args.labels, run)
    many = len(labels) if isinstance(labels, list) else 64
    if args.text or (labels is not None and every_class(labels, run.spec)):
        many = 8
    seeds = _seeds(args, f"0-{many - 1}")
    shift = _shift(args, run)
    words = {"prompt": args.prompt, "texts": args.text or ()}
    written = write(run, seeds, out, not args.each, labels, args.truncation, args.device, shift, **words)
    summary = f"{len(set(written)):,} {run.spec.medium.plural} in {out}"
    print(summary if args.each and len(written) > 1 else "\n".join(map(str, written)))


def restore(args: argparse.Namespace) -> int:
    """Restored files and scores. 2 where files were skipped."""
    from rich.console import Console

    from ganforge.restoring.restore import restore
    from ganforge.runs import RunFolder

    run = RunFolder(args.run, args.at)
    with logs.printed(), Console(stderr=True).status("restoring") as status:
        restored = restore(
            run, args.source, args.out, reference=args.reference, mask=args.mask, holes=args.holes,
            strength=args.strength, seeds=None if args.seeds is None else _numbers(args.seeds), to=args.to,
            missing=None if args.missing is None else _numbers(args.missing, "frames"), device_name=args.device,
            progress=lambda count: status.update(f"{count:,.1f} files"),
        )  # fmt: skip
    for file, reason in restored.skipped:
        print(f"  {file!r}: {reason}")
    for note in restored.notes:
        print(f"  {note}")
    if restored.resized:
        own = f"{run.spec.height}x{run.spec.width}"
        print(f"  {restored.resized:,} were resized to {own}, the only size that {run.system_name} knows, and back")
    earlier = f", {restored.kept:,} were there already" if restored.kept else ""
    things = "pictures" if args.missing is None else "clips"
    print(f"{args.out}: {restored.written:,} {things} restored{earlier}")
    if restored.scores:
        print(restored)
    return 2 if restored.skipped else 0


def _between(args: argparse.Namespace, run: RunFolder) -> None:
    from ganforge.latent.walk import write_mix, write_walk

    seeds = args.points or _seeds(args, "0-5")
    if args.walk:
        out = args.out or run.path / "walk.webp"
        labels = _labels(args.labels, run)
        if len(args.text or ()) > 1:
            raise InputError("A walk draws one sentence. Say --text once.")
        text, shift = (args.text or [""])[0], _shift(args, run)
        written = write_walk(run, seeds, out, args.frames, args.truncation, labels, args.device, shift, text)
        print("\n".join(map(str, written)))
        return
    out = args.out or run.path / "mix.png"
    print(write_mix(run, seeds, _numbers(args.mix), _layers(args, args.mix_layers), out, args.truncation, args.device))


def _shift(args: argparse.Namespace, run: RunFolder) -> Shift | None:
    from ganforge.latent.directions import amounts, shift

    return shift(run, amounts(args.direction or []), args.directions)


def _layers(args: argparse.Namespace, text: str | None) -> range | None:
    """0-3 -> range(0, 4)."""
    if text is None:
        return None
    first, dash, last = text.partition("-")
    if not first.isdecimal() or (dash and not last.isdecimal()):
        raise InputError(f"{args.verb}: the layers {text!r} are not understood; such as 2 or 0-3.")
    return range(int(first), int(last if dash else first) + 1)


def directions(args: argparse.Namespace) -> None:
    """The paths of the sheet and of the directions."""
    from ganforge.latent.directions import NAME, write
    from ganforge.runs import RunFolder
    from ganforge.store.store import Store

    run = RunFolder(args.run, args.at)
    out = args.out or run.file(NAME).with_suffix(".png")
    store = None if args.store is None else Store(args.store)
    with logs.printed():
        made, file = write(
            run, out, args.method, args.count, _layers(args, args.layers), _numbers(args.seeds), store, args.device
        )
    print(f"{out}: a row for each of {len(made.names)} directions, from -3 to +3 standard deviations\n{file}")
    print(
        f"Next: ganforge sample {run.path} --direction {made.names[0]}:+2"
        + ("" if file == run.path / NAME else f" --directions {file}")
    )


def project(args: argparse.Namespace) -> int:
    """How near the search came. 2 where files of a folder are unusable."""
    from zipfile import is_zipfile

    from rich.console import Console

    from ganforge.latent.inversion import TABLE, write, write_all
    from ganforge.runs import RunFolder

    if args.image.is_dir() or (args.image.is_file() and is_zipfile(args.image)):
        out = args.out or args.run / f"projected-{args.image.stem}"
        with logs.printed(), Console(stderr=True).status("searching") as status:
            rows = write_all(RunFolder(args.run, args.at), args.image, out, args.steps, status.update, args.device)
        skipped = [row for row in rows if "reason" in row]
        for row in skipped:
            print(f"  {row['file']!r}: {row['reason']}")
        print(f"{out / TABLE}: {len(rows) - len(skipped):,} pictures, their distances and points")
        return 2 if skipped else 0
    out = args.out or args.run / f"projected-{args.image.stem}.png"
    with logs.printed(), Console(stderr=True).status("searching") as status:
        inversion, point = write(
            RunFolder(args.run, args.at), args.image, out, args.steps,
            lambda n, error: status.update(f"step {n}: {error:.4f}"), args.device,
        )  # fmt: skip
    print(f"{out}: differs by {inversion.error:.1f} of 255 (root mean square); the point is in {point}")
    return 0


def measure(args: argparse.Namespace) -> int:
    """Numbers beside their floors. 2 where pictures of a folder are unusable."""
    with nullcontext() if args.json else logs.printed():
        return _measure(args)


def _measure(args: argparse.Namespace) -> int:
    from ganforge.measuring.classification import classification_scores, classification_scores_of_folder
    from ganforge.measuring.measure import SAMPLES, as_json, measure, measure_folder
    from ganforge.runs import RunFolder
    from ganforge.store.store import Store

    store = None if args.store is None else Store(args.store)
    if not (args.run / "run.toml").exists() and args.run.exists():
        if store is None:
            raise InputError(
                f"{args.run} is no run: there is no run.toml in it. To measure the pictures in it, say against which "
                "store: --store STORE"
            )
        if args.report or args.samples is not None or args.at is not None:
            raise InputError(
                "measure: --report, --samples and --at belong to a run; all pictures of a folder are measured."
            )
        result: Measured | ClassificationScores
        if args.as_training_data:
            if args.device not in ("auto", "cpu"):
                raise InputError("measure: --device says where samples are made; classifiers learn on the processor.")
            result, skipped = classification_scores_of_folder(args.run, store)
        else:
            result, skipped = measure_folder(args.run, store, args.device)
        print(as_json(result) if args.json else result)
        for name, reason in skipped[:20]:
            print(f"left out: {name}: {reason}", file=sys.stderr)
        return 2 if skipped else 0
    run = RunFolder(args.run, args.at)
    if args.as_training_data:
        taught = classification_scores(run, store, args.samples, args.device)
        print(as_json(taught) if args.json else taught)
        return 0
    result = measure(run, store, SAMPLES if args.samples is None else args.samples, args.device)
    print(as_json(result) if args.json else result)
    if args.report:
        from ganforge import report

        print(f"Report: {report.write(run, [('trained', result)], run.file('report.html'))}", file=sys.stderr)
    return 0
