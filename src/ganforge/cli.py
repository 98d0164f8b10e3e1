"""Words -> verbs. Nothing heavy is imported before a verb runs."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ganforge import __version__, models
from ganforge.errors import GanforgeError, InputError

DESCRIPTION = "From a pile of pictures to an image generator that you can trust."
EPILOG = "Start with: ganforge demo. Every verb explains itself: ganforge prepare --help"


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    top = _Parser(prog="ganforge", description=DESCRIPTION, epilog=EPILOG)
    top.add_argument("--version", action="version", version=f"ganforge {__version__}")
    verbs = top.add_subparsers(dest="verb", metavar="VERB", required=True, parser_class=_Parser)

    def verb(name: str, help: str) -> argparse.ArgumentParser:
        return verbs.add_parser(name, help=help, description=help)

    demo = verb("demo", "the whole way in two minutes: collect, prepare, train, sample, measure, report")
    demo.add_argument("--out", type=Path, default=Path("demo"), help="folder for everything (demo)")
    demo.add_argument("--minutes", type=float, default=None, help="minutes of training (1.1)")

    verb("systems", "the generators that there are")

    collect = verb("collect", "fetch a public set: digits, mnist, fashion-mnist, cifar10")
    collect.add_argument("name", help="digits (needs no network), mnist, fashion-mnist or cifar10")
    collect.add_argument("--out", type=Path, help="folder for the originals (data/NAME)")
    collect.add_argument("--from", dest="source", type=Path, help="a folder that has the original files already")

    audit = verb("audit", "look at every picture of a folder, a zip or a store, and say what is wrong with it")
    audit.add_argument("source", type=Path, nargs="?", help="folder, zip or store; it is only read")
    audit.add_argument("-o", "--out", type=Path, help="folder for tables and page (audits/NAME)")
    audit.add_argument("--labels", type=Path, help="CSV with the columns file and label, instead of sub-folders")
    audit.add_argument(
        "--features",
        action="store_true",
        help="train a small network and name pictures unlike the others (not validated)",
    )
    audit.add_argument("--ocr", action="store_true", help="mark pictures with text; needs Tesseract")
    audit.add_argument("--seed", type=int, default=0, help="of the random sheet (0)")
    audit.add_argument("--overwrite", action="store_true", help="replace an older audit")
    audit.add_argument("--diff", type=Path, nargs=2, metavar=("OLD", "NEW"), help="compare two audits instead")

    prepare = verb("prepare", "turn a folder, a zip or a collected set into a store")
    prepare.add_argument("source", type=Path, help="folder or zip; sub-folders are the classes")
    prepare.add_argument("-o", "--out", type=Path, help="the store to make (stores/NAME)")
    prepare.add_argument("--resolution", help="64, or 48x64 (height x width)")
    prepare.add_argument("--channels", type=int, help="1 grey, 3 RGB, 4 RGBA (what the pictures are)")
    prepare.add_argument("--fit", default="crop", help="crop (default), letterbox, pad or stretch")
    prepare.add_argument(
        "--background", default="white", help="colour under transparency and beside a letterbox (white)"
    )
    prepare.add_argument("--labels", type=Path, help="CSV with the columns file and label, instead of sub-folders")
    prepare.add_argument("--heldout", type=float, default=0.1, help="share kept from training (0.1)")

    show = verb("show", "the facts of a store, with a contact sheet, or of a run")
    show.add_argument("path", type=Path)

    train = verb("train", "train a system on a store, or go on where it was stopped")
    train.add_argument("system", help=f"one of {', '.join(models.names())}")
    train.add_argument("store", type=Path)
    train.add_argument("--out", type=Path, help="the run's folder (runs/SYSTEM-STORE)")
    train.add_argument("--size", default="medium", help="small, medium (default) or large")
    train.add_argument("--images", help="length in images shown (1,000,000)")
    train.add_argument("--minutes", help="length in minutes instead")
    train.add_argument("--config", type=Path, help="a run.toml to take settings from")
    train.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    train.add_argument("--dry-run", action="store_true", help="print the complete settings and stop")
    train.epilog = "Any setting: --model.NAME VALUE, --train.NAME VALUE; --dry-run shows them all. Ctrl-C saves; the same command goes on."

    sample = verb("sample", "make pictures with a run")
    sample.add_argument("run", type=Path)
    sample.add_argument("--seeds", help="such as 7 or 0-63 or 1,5,9 (0-63)")
    sample.add_argument("--count", type=int, help="how many, from seed 0 on")
    sample.add_argument("--each", action="store_true", help="single files instead of one sheet")
    sample.add_argument(
        "--out", type=Path, help="PNG of the sheet, or folder of the files (RUN/samples.png, RUN/pictures)"
    )

    measure = verb("measure", "how good a run is, each number beside its floor")
    measure.add_argument("run", type=Path)
    measure.add_argument("--store", type=Path, help="the store, where it has moved")
    measure.add_argument("--samples", type=int, default=10_000, help="pictures to make (10,000)")
    measure.add_argument("--json", action="store_true", help="print as JSON")
    measure.add_argument("--report", action="store_true", help="write RUN/report.html as well")
    return top


class _Parser(argparse.ArgumentParser):
    """argparse, but mistakes are ours: one sentence, with the nearest known word."""

    def error(self, message: str) -> Any:
        if message.startswith("argument VERB: invalid choice"):
            from ganforge.errors import did_you_mean

            word = message.split("'")[1]
            verbs = [
                name
                for action in self._actions
                if isinstance(action, argparse._SubParsersAction)
                for name in action.choices
            ]
            message = f"there is no verb {word!r}.{did_you_mean(word, verbs)}"
        raise InputError(f"{self.prog.removeprefix('ganforge').strip() or 'words'}: {message}")


def main(words: Sequence[str] | None = None) -> int:
    """The command `ganforge`. Exit codes: 0 done, 1 a mistake that the message explains, 2 done but
    some files could not be read, 3 stopped and resumable, 4 diverged."""
    try:
        return _main(sys.argv[1:] if words is None else words)
    except GanforgeError as error:
        print(f"ganforge: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("ganforge: stopped.", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _main(words: Sequence[str]) -> int:
    top = parser()
    if not words:
        top.print_help()
        return 0
    asked, rest = top.parse_known_args(words)
    overrides = _overrides(rest) if asked.verb == "train" else {}
    if rest and asked.verb != "train":
        raise InputError(f"{asked.verb}: {rest[0]} is not understood. See: ganforge {asked.verb} --help")
    verbs: dict[str, Callable[[argparse.Namespace], int | None]] = {
        "demo": _demo, "systems": _systems, "collect": _collect, "audit": _audit, "prepare": _prepare, "show": _show,
        "sample": _sample, "measure": _measure,
    }  # fmt: skip
    if asked.verb == "train":
        _train(asked, overrides)
    else:
        return verbs[asked.verb](asked) or 0
    return 0


def _overrides(words: Sequence[str]) -> dict[str, dict[str, str]]:
    """--model.lr 1e-3 --train.batch=64 -> {"model": {"lr": "1e-3"}, "train": {"batch": "64"}}."""
    from ganforge.errors import did_you_mean

    out: dict[str, dict[str, str]] = {"model": {}, "train": {}}
    rest = list(words)
    while rest:
        word, equals, value = rest.pop(0).partition("=")
        section, dot, name = word.removeprefix("--").partition(".")
        if not word.startswith("--") or not dot or section not in out:
            known = ["--out", "--size", "--images", "--minutes", "--config", "--device", "--dry-run"]
            raise InputError(
                f"train: {word} is not understood.{did_you_mean(word, known)} Any setting is --model.NAME or --train.NAME."
            )
        if not equals:
            if not rest:
                raise InputError(f"train: {word} needs a value.")
            value = rest.pop(0)
        out[section][name.replace("-", "_")] = value
    return out


def _say(line: str) -> None:
    print(line, flush=True)


def _demo(asked: argparse.Namespace) -> None:
    from ganforge.demo import MINUTES, demo

    run, numbers, untrained, page = demo(asked.out, asked.minutes or MINUTES, _say)
    print(numbers)
    print(f"untrained          {untrained.distance:10.3f}    the same generator before training")
    print(f"\nReport: {page}\nMore pictures: ganforge sample {run.path} --count 100")


def _systems(asked: argparse.Namespace) -> None:
    for name in models.names():
        print(models.describe(name))


def _collect(asked: argparse.Namespace) -> None:
    from ganforge.collect import collect

    out = collect(asked.name, asked.out, asked.source, _say)
    print(f"Next: ganforge prepare {out}")


def _audit(asked: argparse.Namespace) -> int:
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


def _prepare(asked: argparse.Namespace) -> None:
    from rich.console import Console

    from ganforge.prepare import prepare

    with Console(stderr=True).status("looking") as status:
        made = prepare(
            asked.source, asked.out, resolution=asked.resolution, channels=asked.channels, fit=asked.fit,
            background=asked.background, labels=asked.labels, heldout=asked.heldout,
            progress=lambda count: status.update(f"{count:,} pictures"),
        )  # fmt: skip
    for file, reason in made.skipped[:20]:
        print(f"  left out: {file!r}: {reason}")
    if made.skipped_count > 20:
        print(f"  … and {made.skipped_count - 20:,} more; meta.parquet in the store names them all")
    for note in made.notes:
        print(f"  {note}")
    store = made.store
    print(
        f"{store.path}: {len(store):,} pictures of {store.spec}; {len(store.train):,} for training, {len(store.heldout):,} held out, {made.skipped_count:,} left out"
    )
    print(f"Next: ganforge train dcgan {store.path}")


def _show(asked: argparse.Namespace) -> None:
    from ganforge.show import show

    print("\n".join(show(asked.path)))


def _train(asked: argparse.Namespace, texts: dict[str, dict[str, str]]) -> None:
    from ganforge import config
    from ganforge.data.store import Store
    from ganforge.train import Settings, plan, train

    loaded = models.load(asked.system)
    for name in ("images", "minutes"):
        if getattr(asked, name) is not None:
            texts["train"][name] = getattr(asked, name)
    kinds = {"model": loaded.config, "train": Settings}
    overrides = {s: {n: config.parse(kinds[s], n, t, s) for n, t in values.items()} for s, values in texts.items()}
    store = Store(asked.store)
    out = asked.out or Path("runs") / f"{asked.system}-{store.path.name}"
    if asked.dry_run:
        print(config.to_toml(plan(asked.system, store, out, asked.size, overrides, asked.config)))
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


def _seeds(asked: argparse.Namespace) -> list[int]:
    if asked.seeds and asked.count is not None:
        raise InputError("sample: say either --seeds or --count.")
    if asked.count is not None:
        if not 1 <= asked.count <= 1_000_000:
            raise InputError(f"sample: --count is {asked.count}; it takes 1 to 1,000,000.")
        return list(range(asked.count))
    seeds: list[int] = []
    for part in (asked.seeds or "0-63").split(","):
        first, dash, last = part.strip().partition("-")
        try:
            span = range(int(first), int(last if dash else first) + 1)
        except ValueError:
            raise InputError(f"sample: the seeds {part!r} are not understood; such as 7 or 0-63 or 1,5,9.") from None
        if len(span) > 1_000_000:
            raise InputError(f"sample: {part} is more than a million seeds.")
        seeds += span
    if not seeds:
        raise InputError(f"sample: {asked.seeds} holds no seed.")
    return seeds


def _sample(asked: argparse.Namespace) -> None:
    from ganforge.run import Run
    from ganforge.sample import write

    run = Run(asked.run)
    out = asked.out or run.path / ("pictures" if asked.each else "samples.png")
    written = write(run, _seeds(asked), out, not asked.each)
    print(written[0] if len(written) == 1 else f"{len(written):,} pictures in {out}")


def _measure(asked: argparse.Namespace) -> None:
    import json
    from dataclasses import asdict

    from ganforge.data.store import Store
    from ganforge.measure import measure
    from ganforge.run import Run

    run = Run(asked.run)
    result = measure(run, Store(asked.store) if asked.store else None, asked.samples, None if asked.json else _say)
    print(json.dumps(asdict(result)) if asked.json else result)
    if asked.report:
        from ganforge import report

        print(f"Report: {report.write(run, [('trained', result)], run.path / 'report.html')}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
