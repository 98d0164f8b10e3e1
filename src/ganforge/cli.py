"""The command line: verbs and their options. Nothing heavy is imported before a verb runs."""

from __future__ import annotations

import argparse
import contextlib
import io
import itertools
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ganforge import commands, models
from ganforge.auditing.settings import Settings as AuditSettings
from ganforge.base.errors import GanforgeError, InputError, Stopped, check_text, did_you_mean
from ganforge.cleaning.settings import Settings as CleanSettings
from ganforge.collecting.settings import Settings as CollectSettings
from ganforge.commands import options
from ganforge.commands.options import number, whole
from ganforge.preparing.settings import Settings as PrepareSettings
from ganforge.version import __version__

DESCRIPTION = "From a pile of pictures to an image generator that you can trust."
EPILOG = "Start with: ganforge demo. Every verb explains itself: ganforge prepare --help"

# By verb: options of which one would have no effect beside the other, and options that mean something beside another
# alone.
APART = {
    "audit": [
        *(("--diff", name) for name in ("--out", "--labels", "--features", "--ocr", "--seed", "--overwrite")),
        *(("--diff", name) for name in ("--config", "--dry-run")),
    ],
    "clean": [
        *(("--suggest", name) for name in ("--out", "--recipe", "--filter", "--audit", "--drop", "--keep")),
        *(("--suggest", name) for name in ("--preview", "--dry-run")),
        *(("--preview", name) for name in ("--out", "--audit", "--drop", "--keep", "--dry-run")),
    ],
    "measure": [("--as-training-data", "--report")],
    "prepare": [("--shard", "--format")],
    "restore": [("--mask", "--holes")],
    "sample": [
        ("--seeds", "--count"), ("--walk", "--mix"), ("--walk", "--each"), ("--mix", "--each"), ("--mix", "--labels"),
        ("--mix", "--direction"),
        *(("--points", name) for name in ("--seeds", "--count", "--labels", "--truncation", "--prompt", "--text")),
        *(("--prompt", name) for name in ("--walk", "--mix")), ("--text", "--mix"), ("--text", "--labels"),
    ],
    "train": [("--images", "--minutes")],
}  # fmt: skip
NEEDS = {
    "clean": {"--reference": "--preview", "--pictures": "--preview"},
    "sample": {"--frames": "--walk", "--mix-layers": "--mix", "--directions": "--direction"},
}


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    top = _Parser(prog="ganforge", description=DESCRIPTION, epilog=EPILOG)
    top.add_argument("--version", action="version", version=f"ganforge {__version__}")
    verbs = top.add_subparsers(dest="verb", metavar="VERB", required=True, parser_class=_Parser)

    def verb(name: str, help: str, *aliases: str) -> argparse.ArgumentParser:
        added: argparse.ArgumentParser = verbs.add_parser(name, help=help, description=help, aliases=aliases)
        added.set_defaults(do=getattr(commands, name))
        return added

    def device(verb: argparse.ArgumentParser) -> None:
        verb.add_argument("--device", default="auto", help="auto (a GPU where there is one), cpu, cuda or mps")

    def checkpoint(verb: argparse.ArgumentParser) -> None:
        verb.add_argument("--at", help="checkpoint: best, last, or its images (the best where any was measured)")

    demo = verb("demo", "the whole way in two minutes: collect, prepare, train, sample, measure, report")
    demo.add_argument("-o", "--out", type=Path, default=Path("demo"), help="folder for everything (demo)")
    demo.add_argument("--minutes", type=number, default=None, help="minutes of training (1.1)")

    verb("systems", "the systems: one line for each generator")

    verb("doctor", "what this machine has: versions, device, extras, and which picture formats can be read")

    layers = verb("layers", "the layers that a network can be written with, for: ganforge train composed")
    layers.add_argument("name", nargs="?", help="one of them, with its settings and an example")

    collect = verb(
        "collect", "original pictures of public sets, folders, zips, lists of addresses and APIs into one folder"
    )
    collect.add_argument(
        "sources", nargs="+", metavar="SOURCE",
        help="a public set: digits, shapes, moving-digits, mnist, fashion-mnist, cifar10, captioned-shapes, emoji, "
        "shakespeare, spoken-digits; "
        "or a folder, zip, list (CSV, TXT, Parquet) or recipe (TOML)",
    )  # fmt: skip
    collect.add_argument("-o", "--out", type=Path, help="folder for the originals (data/NAME)")
    collect.add_argument("--from", dest="source", type=Path, help="a folder that has a public set's files already")
    collect.add_argument("--pictures", action="store_true", help="a public set alone as PNG files, too")
    options.add(collect, CollectSettings)

    clean = verb("clean", "leave out pictures by an audit's findings and filter the others, into a new folder")
    clean.add_argument("folder", type=Path, help="the pictures; they are only read")
    clean.add_argument("-o", "--out", type=Path, help="the folder to make")
    clean.add_argument("--recipe", type=Path, help="a TOML file of all that follows; --dry-run prints one")
    options.add(clean, CleanSettings, {"filters": "--filter"})
    clean.add_argument("--preview", type=Path, metavar="PNG", help="only write a sheet of a few, before and after")
    clean.add_argument(
        "--reference", type=Path, help="clean pictures of the same names, for PSNR and SSIM in the preview"
    )
    clean.add_argument("--pictures", type=whole, default=6, help="pictures in the preview (6)")
    clean.add_argument("--suggest", action="store_true", help="estimate the noise and print a recipe for it")
    clean.add_argument("--dry-run", action="store_true", help="print the complete recipe and stop")

    audit = verb("audit", "look at every picture of a folder, a zip or a store, and say what is wrong with it")
    audit.add_argument("source", type=Path, nargs="?", help="folder, zip or store; it is only read")
    audit.add_argument("-o", "--out", type=Path, help="folder for tables and page (audits/NAME)")
    options.add(audit, AuditSettings)
    audit.add_argument("--overwrite", action="store_true", help="replace an older audit")
    audit.add_argument("--diff", type=Path, nargs=2, metavar=("OLD", "NEW"), help="compare two audits instead")
    options.add_config(audit)

    prepare = verb("prepare", "turn a folder, a zip or a collected set into a store")
    prepare.add_argument(
        "source", type=Path, help="folder or zip; sub-folders are the classes; with --pair it holds what is given"
    )
    prepare.add_argument("-o", "--out", type=Path, help="the store to make (stores/NAME)")
    options.add(prepare, PrepareSettings)
    prepare.add_argument("--format", default="store", help="store (default), webdataset, parquet or folder")
    prepare.add_argument(
        "--overwrite", action="store_true", help="replace an older store, when the new one is finished"
    )
    prepare.add_argument(
        "--shard", help="i/n: make every n-th part from i on; the same command without --shard joins them"
    )
    options.add_config(prepare)

    show = verb("show", "the facts of a store, with a contact sheet, of a run, or of a list of layers")
    show.add_argument("path", type=Path, help="a store, a run, or a TOML file with the networks of a composed system")
    show.add_argument("--augment", default="", help='for a store: what "flip, rotate 10" makes of it (augmented.png)')

    train = verb("train", "train a system on a store, or go on where it was stopped")
    train.add_argument("system", help=f"one of {', '.join(models.names())}; or a run's folder, to go on with it")
    train.add_argument("store", nargs="?", help="a store's folder, or its address such as s3://bucket/name")
    train.add_argument("--store", dest="moved", help="for a run whose store has moved: where it is now")
    train.add_argument("-o", "--out", type=Path, help="the run's folder (runs/SYSTEM-STORE)")
    train.add_argument("--size", help="small (default on a CPU), medium (on a GPU) or large")
    train.add_argument("--images", help="length in images shown (1,000,000)")
    train.add_argument("--minutes", help="length in minutes instead")
    train.add_argument("--config", type=Path, help="a run.toml to take settings from")
    train.add_argument(
        "--from", dest="source", type=Path, metavar="RUN", help="begin with the weights and settings of another run"
    )
    train.add_argument("--at", help="its checkpoint: best, last, or its images (the best where any was measured)")
    train.add_argument("--track", help="trackers, separated by commas: tensorboard (default), mlflow, trackio, wandb")
    train.add_argument("--keep", help="checkpoints to keep: best (default; and the two newest), all, or a number")
    device(train)
    train.add_argument("--dry-run", action="store_true", help="print the complete settings and stop")
    train.epilog = (
        "Any setting: --model.NAME VALUE, --train.NAME VALUE; ganforge train SYSTEM --help explains them all. "
        "Ctrl-C saves; the same command goes on, and so does: ganforge train RUN."
    )

    sample = verb("sample", "make pictures with a run")
    sample.add_argument("run", type=Path)
    sample.add_argument("--seeds", help="such as 7 or 0-63 or 1,5,9 (0-63)")
    sample.add_argument(
        "--points", type=Path, help="instead of seeds: a point of ganforge project, or a folder of them, to be edited"
    )
    sample.add_argument("--count", type=whole, help="how many, from seed 0 on")
    sample.add_argument(
        "--labels", help="for runs that know classes: 3, or names such as cat,dog, or all; quotes hold a name's comma"
    )
    sample.add_argument("--prompt", default="", metavar="TEXT", help="for runs of text: how passages begin")
    sample.add_argument(
        "--text",
        action="append",
        metavar="SENTENCE",
        help="for runs of caption: what to draw; again for another row of the sheet",
    )
    sample.add_argument("--each", action="store_true", help="single files instead of one sheet")
    sample.add_argument(
        "-o", "--out", type=Path, help="PNG of the sheet, or folder of the files (RUN/samples.png, RUN/pictures)"
    )
    sample.add_argument(
        "--truncation", type=number, default=1.0, help="psi; 0.7: nearer to the mean style; 1 as trained"
    )
    sample.add_argument(
        "--walk",
        action="store_true",
        help="a video from seed to seed, or with --direction along it, .webp, .gif or .mp4, and a strip of it",
    )
    sample.add_argument(
        "--direction", action="append", metavar="N:STEP",
        help="go so many standard deviations along a direction, such as 2:+2.5; repeat it for more of them",
    )  # fmt: skip
    sample.add_argument("--directions", type=Path, help="their file, where it is not RUN/directions.safetensors")
    sample.add_argument("--frames", type=whole, default=24, help="frames from one seed to the next (24, a second)")
    sample.add_argument(
        "--mix", metavar="SEEDS", help="style mixing: a sheet of the seeds' pictures with the styles of these"
    )
    sample.add_argument(
        "--mix-layers", metavar="LAYERS", help="which styles to take from them, such as 0-3 (the coarser half)"
    )
    checkpoint(sample)
    device(sample)

    restore = verb("restore", "pictures to pictures with a run: denoise, reconstruct, enlarge, fill, translate")
    restore.add_argument("run", type=Path)
    restore.add_argument("source", type=Path, help="a picture or a clip, or a folder or a zip of them, of any size")
    restore.add_argument(
        "-o", "--out", type=Path, required=True,
        help="folder for the results under the same names: PNG, of clips WebP",
    )  # fmt: skip
    restore.add_argument("--reference", type=Path, help="the same names without noise: prints PSNR and SSIM")
    restore.add_argument("--mask", type=Path, metavar="FOLDER", help="the same names, white where something is missing")
    restore.add_argument("--holes", help="transparent: what is fully transparent is missing")
    restore.add_argument("--strength", type=number, help="0 to 1, for a system that has one")
    restore.add_argument("--seeds", help="such as 0-3: several answers, for a system that has them")
    restore.add_argument("--to", metavar="CLASS", help="the class to translate into, for a system that translates")
    restore.add_argument("--missing", metavar="FRAMES", help="such as 3-5: the missing frames of clips, from 0")
    checkpoint(restore)
    device(restore)

    project = verb(
        "project", "inversion: the point in the latent space whose picture is nearest to a given one", "invert"
    )
    project.add_argument("run", type=Path)
    project.add_argument(
        "image", type=Path, help="a picture, or a folder or zip of them; they are cropped and resized to fit"
    )
    project.add_argument(
        "-o", "--out", type=Path, help="PNG of target, start and result, or a folder (RUN/projected-NAME)"
    )
    project.add_argument("--steps", type=whole, default=300, help="steps of the search (300)")
    checkpoint(project)
    device(project)

    directions = verb("directions", "directions of the latent space, along which pictures change in one way")
    directions.add_argument("run", type=Path)
    directions.add_argument(
        "-o", "--out", type=Path, help="PNG of the sheet; the directions beside it (RUN/directions.png, .safetensors)"
    )
    directions.add_argument(
        "--method", default="sefa",
        help="sefa (default): of the weights; pca: principal components of w; label: towards each class of the store",
    )  # fmt: skip
    directions.add_argument("--count", type=whole, help="how many, the strongest (10); label has one for each class")
    directions.add_argument("--layers", help="the styles that they change, such as 0-3 (all)")
    directions.add_argument("--seeds", default="0-3", help="the pictures of the sheet (0-3)")
    directions.add_argument("--store", help="for label: where the run's store is now, if it has moved")
    checkpoint(directions)
    device(directions)

    measure = verb("measure", "how good a run or a folder of pictures is, each number beside its floor or a baseline")
    measure.add_argument(
        "run", type=Path, help="a run; or with --store a folder or a zip of pictures, made by any tool"
    )
    measure.add_argument("--store", help="the store to measure against; a run knows its own, unless it has moved")
    measure.add_argument(
        "--samples", type=whole, help="pictures to make (10,000), or held-out ones to restore (2,000, and no more)"
    )
    measure.add_argument("--json", action="store_true", help="print as JSON")
    measure.add_argument("--report", action="store_true", help="write RUN/report.html as well")
    measure.add_argument(
        "--as-training-data", action="store_true",
        help="what they teach a classifier instead: real pictures, samples, both, and augmented real pictures, "
        "tried on held-out ones",
    )  # fmt: skip
    checkpoint(measure)
    device(measure)
    return top


class _Parser(argparse.ArgumentParser):
    """argparse, but words are never abbreviated and mistakes are ours: one sentence, with the nearest known word."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options, allow_abbrev=False)

    def error(self, message: str) -> Any:
        if message.startswith("argument VERB: invalid choice"):
            word = message.split("'")[1]
            message = f"there is no verb {word!r}.{did_you_mean(word, _verbs(self))}"
        verb = self.prog.removeprefix("ganforge").strip()
        raise InputError(f"{verb}: {message.removeprefix('argument ')}" if verb else message)


def _verbs(top: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """The parsers of the verbs by name."""
    choices = (action.choices for action in top._actions if isinstance(action, argparse._SubParsersAction))
    return next(choices)  # type: ignore[return-value]


def main(words: Sequence[str] | None = None) -> int:
    """The command `ganforge`. Exit codes: 0 done, 1 a mistake that the message explains, 2 done but something was
    skipped, 3 stopped by Ctrl-C, by SIGTERM or as nobody reads the output, 4 diverged, 5 collapsed."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # names and signs that the terminal's encoding lacks
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        with _terminable():
            return _main(sys.argv[1:] if words is None else words)
    except GanforgeError as error:
        print(f"ganforge: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print(
            "ganforge: stopped; the same command goes on where that is possible, else it starts again.", file=sys.stderr
        )
        return Stopped.exit_code
    except BrokenPipeError:  # the reader of our output has gone, perhaps before the end of a training
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Stopped.exit_code
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "memory" not in str(error):
            raise
        lines = str(error).splitlines() or ["none is left"]
        print(f"ganforge: Not enough memory: {lines[0]} Take smaller pictures, batches or networks.", file=sys.stderr)
        return 1
    except OSError as error:  # a disk that is full, a folder that may not be written or read
        problem = f"{error.filename or 'A file'} cannot be read or written: {error.strerror or error}"
        print(f"ganforge: {problem}. Free some space, or look at the path and its permissions.", file=sys.stderr)
        return 1


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """Within this context SIGTERM stops the work as Ctrl-C does, and no unfinished file stays."""
    try:
        old = signal.signal(signal.SIGTERM, signal.default_int_handler)
    except ValueError:  # not in the main thread, where signals cannot be handled
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, old)


def _main(words: Sequence[str]) -> int:
    top = parser()
    if not words:
        top.print_help()
        return 0
    for word in words:
        check_text(word)
    verb = words[0]
    overrides: dict[str, dict[str, str]] = {}
    if chosen := _verbs(top).get(verb):
        if verb == "train":
            overrides, words = _overrides(words)
            if {"-h", "--help"} & set(words) and (named := [word for word in words if word in models.names()]):
                chosen.print_help()
                print(commands.settings(named[0]))
                return 0
        _check(verb, words[1:], chosen)
    args, rest = top.parse_known_args(words)
    if rest:
        raise InputError(f"{args.verb}: {rest[0]!r} is one word too many. See: ganforge {args.verb} --help")
    args.overrides = overrides
    return args.do(args) or 0


def _check(verb: str, words: Sequence[str], chosen: argparse.ArgumentParser) -> None:
    """InputError for an option that the verb does not have, or that would have no effect."""
    known = chosen._option_string_actions
    given: set[str] = set()
    for word in itertools.takewhile("--".__ne__, words):
        name = word.partition("=")[0] if word.startswith("--") else word[:2]
        if name in known:
            spellings = known[name].option_strings
            option = next((word for word in spellings if word.startswith("--")), spellings[0])
            if option in given and not isinstance(known[name], argparse._AppendAction):
                raise InputError(f"{verb}: {option} is given twice.")
            given.add(option)
        elif name.startswith("--"):
            hint = did_you_mean(name, [option for option in known if option.startswith("--")])
            more = " Any setting is --model.NAME or --train.NAME." if verb == "train" else ""
            raise InputError(f"{verb}: there is no option {name}.{hint}{more}")
        elif name[:1] == "-" and name[1:].isalpha():
            raise InputError(f"{verb}: there is no option {name}. A name that begins with a dash is written ./{word}.")
    for one, other in APART.get(verb, []):
        if {one, other} <= given:
            raise InputError(f"{verb}: say either {one} or {other}; beside each other one has no effect.")
    for name, other in NEEDS.get(verb, {}).items():
        if name in given and other not in given:
            raise InputError(f"{verb}: {name} has no effect without {other}.")


def _overrides(words: Sequence[str]) -> tuple[dict[str, dict[str, str]], list[str]]:
    """--model.lr 1e-3 --train.batch=64 -> {"model": {"lr": "1e-3"}, "train": {"batch": "64"}}, and all other words."""
    out: dict[str, dict[str, str]] = {"model": {}, "train": {}}
    others, rest = [], list(words)
    while rest:
        word = rest.pop(0)
        name, equals, value = word.partition("=")
        section, dot, name = name.removeprefix("--").partition(".")
        if not (word.startswith("--") and dot and section in out):
            others.append(word)
            continue
        if not equals:
            if not rest or rest[0].startswith("--"):
                raise InputError(f"train: {word} needs a value.")
            value = rest.pop(0)
        name = name.replace("-", "_")
        if name in out[section]:
            raise InputError(f"train: --{section}.{name} is given twice.")
        out[section][name] = value
    return out, others


if __name__ == "__main__":
    sys.exit(main())
