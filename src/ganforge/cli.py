"""Words -> verbs. Nothing heavy is imported before a verb runs."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganforge import __version__, models
from ganforge.errors import GanforgeError, InputError, did_you_mean

if TYPE_CHECKING:
    from ganforge.run import Run

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

    layers = verb("layers", "the layers that a network can be written with, for: ganforge train composed")
    layers.add_argument("name", nargs="?", help="one of them, with its settings and an example")

    collect = verb("collect", "gather originals: public sets, folders, zips, lists of addresses, APIs")
    collect.add_argument(
        "sources", nargs="+", metavar="SOURCE",
        help="digits, mnist, fashion-mnist, cifar10, a folder, a zip, a list (CSV, TXT, Parquet) or a recipe (TOML)",
    )  # fmt: skip
    collect.add_argument("-o", "--out", type=Path, help="folder for the originals (data/NAME)")
    collect.add_argument("--from", dest="source", type=Path, help="a folder that has a public set's files already")
    collect.add_argument("--pictures", action="store_true", help="a public set alone as PNG files, too")
    collect.add_argument("--cap", type=int, help="pictures of one source at most")
    collect.add_argument("--cap-per-class", type=int, help="pictures of one class at most, over all sources")
    collect.add_argument("--total", type=int, help="pictures in all, shared out among the sources")
    collect.add_argument("--seed", type=int, help="decides which pictures a cap leaves out (0)")
    collect.add_argument("--licence", help="licences that are allowed, such as cc0,cc-by (all)")
    collect.add_argument("--unknown-rights", help="apart (default: a folder beside), leave-out or mix")
    collect.add_argument(
        "--allow-host", action="append", help="HOST[:PORT] that may be private and without TLS: an intranet, a test"
    )
    collect.add_argument("--contact", help="e-mail or web address that is told to the servers")

    clean = verb("clean", "leave out what an audit found, and filter the pictures, into a new folder")
    clean.add_argument("folder", type=Path, help="the pictures; they are only read")
    clean.add_argument("-o", "--out", type=Path, help="the folder to make")
    clean.add_argument("--recipe", type=Path, help="a TOML file of all that follows; --dry-run prints one")
    clean.add_argument(
        "--filter", action="append", default=[], metavar="KIND:NAME=VALUE,…",
        help="such as median:size=3; again for the next one; docs/clean.md lists them",
    )  # fmt: skip
    clean.add_argument("--audit", type=Path, help="the folder of an audit; what it rejects is left out")
    clean.add_argument("--drop", help="findings that go, such as blurred,near-duplicate (of duplicates the best stays)")
    clean.add_argument("--keep", help="findings that may stay; all others go")
    clean.add_argument("--preview", type=Path, metavar="PNG", help="only write a sheet of a few, before and after")
    clean.add_argument(
        "--reference", type=Path, help="clean pictures of the same names, for PSNR and SSIM in the preview"
    )
    clean.add_argument("--pictures", type=int, default=6, help="pictures in the preview (6)")
    clean.add_argument("--suggest", action="store_true", help="estimate the noise and print a recipe for it")
    clean.add_argument("--dry-run", action="store_true", help="print the complete recipe and stop")

    audit = verb("audit", "look at every picture of a folder, a zip or a store, and say what is wrong with it")
    audit.add_argument("source", type=Path, nargs="?", help="folder, zip or store; it is only read")
    audit.add_argument("-o", "--out", type=Path, help="folder for tables and page (audits/NAME)")
    audit.add_argument("--labels", type=Path, help="CSV with the columns file and label, instead of sub-folders")
    audit.add_argument(
        "--features",
        action="store_true",
        help="name pictures unlike all others, an order to look in",
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
    prepare.add_argument("--fit", default="crop", help="crop (default), smart, letterbox, pad or stretch")
    prepare.add_argument(
        "--background", default="white", help="colour under transparency and beside a letterbox (white)"
    )
    prepare.add_argument("--labels", type=Path, help="CSV with the columns file and label, instead of sub-folders")
    prepare.add_argument(
        "--normalise",
        default="none",
        help="none (default), unit, range, centre, standard or image; samples are turned back",
    )
    prepare.add_argument(
        "--audit", type=Path, help="an audit's folder: leave out what it rejects, keep duplicates together"
    )
    prepare.add_argument("--heldout", type=float, default=0.1, help="share kept from training (0.1)")
    prepare.add_argument("--stratify", action="store_true", help="hold out that share of every class")
    prepare.add_argument("--folds", type=int, default=0, help="deal the training pictures into so many folds")
    prepare.add_argument("--per-class", type=int, default=0, help="at most so many training pictures of a class")
    prepare.add_argument("--format", default="store", help="store (default), webdataset, parquet or folder")
    prepare.add_argument("--part-size", type=int, help="pictures in a part (what fits into 256 MiB)")
    prepare.add_argument(
        "--shard", help="i/n: make every n-th part from i on; the same words without --shard join them"
    )
    prepare.add_argument(
        "--engine", default="local", help="local (default) or ray, which finds a cluster by RAY_ADDRESS"
    )

    show = verb("show", "the facts of a store, with a contact sheet, of a run, or of a list of layers")
    show.add_argument("path", type=Path, help="a store, a run, or a TOML file with the networks of a composed system")
    show.add_argument("--augment", default="", help='for a store: what "flip, rotate 10" makes of it (augmented.png)')

    train = verb("train", "train a system on a store, or go on where it was stopped")
    train.add_argument("system", help=f"one of {', '.join(models.names())}")
    train.add_argument("store", help="a store's folder, or its address such as s3://bucket/name")
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
    sample.add_argument("--labels", help="for runs that know classes: 3, or names such as cat,dog, or all")
    sample.add_argument("--each", action="store_true", help="single files instead of one sheet")
    sample.add_argument(
        "--out", type=Path, help="PNG of the sheet, or folder of the files (RUN/samples.png, RUN/pictures)"
    )

    sample.add_argument("--truncation", type=float, default=1.0, help="0.7: nearer to the mean style; 1 as trained")
    sample.add_argument(
        "--walk", action="store_true", help="a video from seed to seed, .webp, .gif or .mp4, and a strip of it"
    )
    sample.add_argument("--frames", type=int, default=24, help="frames from one seed to the next (24, a second)")
    sample.add_argument("--mix", metavar="SEEDS", help="a sheet of the seeds' pictures with the styles of these ones")
    sample.add_argument(
        "--mix-layers", metavar="LAYERS", help="which styles to take from them, such as 0-3 (the coarser half)"
    )

    restore = verb("restore", "clean or reconstruct pictures with a run: dae, vae, autoencoder, vqvae")
    restore.add_argument("run", type=Path)
    restore.add_argument("source", type=Path, help="a picture, or a folder or a zip of them, of any size")
    restore.add_argument(
        "-o", "--out", type=Path, required=True, help="folder for the results, PNG under the same names"
    )
    restore.add_argument("--reference", type=Path, help="the same names without noise: prints PSNR and SSIM")

    project = verb("project", "find the point of a run's latent space that paints a given picture")
    project.add_argument("run", type=Path)
    project.add_argument("image", type=Path, help="any picture file; it is cut and scaled to fit")
    project.add_argument("-o", "--out", type=Path, help="PNG of target, start and result (RUN/projected-NAME.png)")
    project.add_argument("--steps", type=int, default=300, help="steps of the search (300)")

    measure = verb("measure", "how good a run is, each number beside its floor")
    measure.add_argument("run", type=Path)
    measure.add_argument("--store", help="the store, where it has moved")
    measure.add_argument("--samples", type=int, default=10_000, help="pictures to make (10,000)")
    measure.add_argument("--json", action="store_true", help="print as JSON")
    measure.add_argument("--report", action="store_true", help="write RUN/report.html as well")
    return top


class _Parser(argparse.ArgumentParser):
    """argparse, but mistakes are ours: one sentence, with the nearest known word."""

    def error(self, message: str) -> Any:
        if message.startswith("argument VERB: invalid choice"):
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
    """The command `ganforge`. Exit codes: 0 done, 1 a mistake that the message explains, 2 done but something was
    skipped, 3 stopped and resumable, 4 diverged."""
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
        "demo": _demo, "systems": _systems, "layers": _layers, "collect": _collect, "audit": _audit, "clean": _clean,
        "prepare": _prepare, "show": _show, "sample": _sample, "restore": _restore, "project": _project, "measure": _measure,
    }  # fmt: skip
    if asked.verb == "train":
        _train(asked, overrides)
        return 0
    return verbs[asked.verb](asked) or 0


def _overrides(words: Sequence[str]) -> dict[str, dict[str, str]]:
    """--model.lr 1e-3 --train.batch=64 -> {"model": {"lr": "1e-3"}, "train": {"batch": "64"}}."""
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


def _layers(asked: argparse.Namespace) -> None:
    from ganforge.nn import catalogue

    if asked.name is None:
        lines = catalogue.sheet()
    elif row := catalogue.LAYERS.get(catalogue.ALSO.get(asked.name.lower(), asked.name.lower())):
        lines = catalogue.page(row)
    else:
        raise InputError(f"There is no layer {asked.name!r}.{did_you_mean(asked.name, catalogue.LAYERS)}")
    print("\n".join(lines))


def _collect(asked: argparse.Namespace) -> int:
    from rich.console import Console

    from ganforge.collect import collect, is_public, mix

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


def _clean(asked: argparse.Namespace) -> int:
    from rich.console import Console

    from ganforge.clean import clean, make_recipe, preview, suggest

    if asked.suggest:
        recipe, reasons = suggest(asked.folder)
        print("\n".join(f"# {reason}" for reason in reasons), end=f"\n\n{recipe.to_toml()}" if recipe.filters else "\n")
        return 0
    drop, keep = (tuple(filter(None, (asked_ or "").split(","))) for asked_ in (asked.drop, asked.keep))
    if asked.dry_run:
        print(make_recipe(asked.recipe, asked.filter, drop, keep).to_toml(), end="")
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
            asked.folder, asked.out, filters=asked.filter, recipe=asked.recipe, audit=asked.audit, drop=drop, keep=keep,
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


def _prepare(asked: argparse.Namespace) -> int:
    import shutil

    from rich.console import Console

    from ganforge.data import formats
    from ganforge.prepare import prepare, prepare_shard

    if asked.format not in formats.FORMATS:
        raise InputError(f"prepare: there is no format {asked.format!r}.{did_you_mean(asked.format, formats.FORMATS)}")
    names = ("resolution", "channels", "fit", "background", "normalise", "labels", "audit", "part_size")
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
                out = out.with_name(f".{out.name}.store")
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
        count = formats.write(store, asked.out, asked.format)
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


def _show(asked: argparse.Namespace) -> None:
    from ganforge.show import show

    print("\n".join(show(asked.path, asked.augment)))


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
    out = asked.out or Path("runs") / f"{asked.system}-{store.name}"
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


def _seeds(asked: argparse.Namespace, usual: str) -> list[int]:
    if asked.seeds and asked.count is not None:
        raise InputError("sample: say either --seeds or --count.")
    if asked.count is not None:
        if not 1 <= asked.count <= 1_000_000:
            raise InputError(f"sample: --count is {asked.count}; it takes 1 to 1,000,000.")
        return list(range(asked.count))
    return _numbers(asked.seeds or usual)


def _numbers(text: str) -> list[int]:
    """1,5-7 -> [1, 5, 6, 7]."""
    seeds: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        try:
            span = range(int(first), int(last if dash else first) + 1)
        except ValueError:
            raise InputError(f"sample: the seeds {part!r} are not understood; such as 7 or 0-63 or 1,5,9.") from None
        if len(span) > 1_000_000:
            raise InputError(f"sample: {part} is more than a million seeds.")
        seeds += span
    if not seeds:
        raise InputError(f"sample: {text} holds no seed.")
    return seeds


def _labels(text: str | None) -> str | list[str] | None:
    """cat,dog -> ["cat", "dog"]; one label, or all, stays as it is."""
    return [part.strip() for part in text.split(",")] if text and "," in text else text


def _sample(asked: argparse.Namespace) -> None:
    from ganforge.run import Run
    from ganforge.sample import write

    run = Run(asked.run)
    if asked.walk or asked.mix:
        _between(asked, run)
        return
    out = asked.out or run.path / ("pictures" if asked.each else "samples.png")
    labels = _labels(asked.labels)
    many = len(labels) if isinstance(labels, list) else 8 if labels == "all" else 64
    written = write(run, _seeds(asked, f"0-{many - 1}"), out, not asked.each, labels, asked.truncation)
    print(written[0] if len(written) == 1 else f"{len(written):,} pictures in {out}")


def _restore(asked: argparse.Namespace) -> int:
    from rich.console import Console

    from ganforge.restore import restore
    from ganforge.run import Run

    run = Run(asked.run)
    with Console(stderr=True).status("restoring") as status:
        made = restore(
            run, asked.source, asked.out, reference=asked.reference,
            progress=lambda count: status.update(f"{count:,} files"),
        )  # fmt: skip
    for file, reason in made.skipped:
        print(f"  {file!r}: {reason}")
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
        written = write_walk(run, seeds, out, asked.frames, asked.truncation, _labels(asked.labels))
        print("\n".join(map(str, written)))
        return
    layers = None
    if asked.mix_layers:
        first, dash, last = asked.mix_layers.partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise InputError(f"sample: the layers {asked.mix_layers!r} are not understood; such as 2 or 0-3.")
        layers = range(int(first), int(last if dash else first) + 1)
    out = asked.out or run.path / "mix.png"
    print(write_mix(run, seeds, _numbers(asked.mix), layers, out, asked.truncation))


def _project(asked: argparse.Namespace) -> None:
    from rich.console import Console

    from ganforge.project import write
    from ganforge.run import Run

    out = asked.out or asked.run / f"projected-{asked.image.stem}.png"
    with Console(stderr=True).status("searching") as status:
        found = write(
            Run(asked.run), asked.image, out, asked.steps, lambda n, error: status.update(f"step {n}: {error:.4f}")
        )
    print(
        f"{out}: differs by {found.error:.1f} of 255 (root mean square); the point is in {out.with_suffix('.safetensors')}"
    )


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
