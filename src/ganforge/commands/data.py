"""The verbs about data: collect, clean, audit, prepare."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ganforge import models
from ganforge.base import logs
from ganforge.base.errors import InputError, did_you_mean
from ganforge.commands import options


def collect(args: argparse.Namespace) -> int:
    """Collects; prints what is left out and why. 2 where something is missing."""
    from rich.console import Console

    from ganforge.collecting.collect import collect, collect_pictures, is_public
    from ganforge.collecting.settings import Settings
    from ganforge.web.public import SETS

    if args.pictures and not is_public(args.sources):
        raise InputError("collect: --pictures is for one public set alone; of a mix there are only pictures.")
    if args.source and not any(
        source.endswith(".toml") or (source in SETS and SETS[source].files) for source in args.sources
    ):
        raise InputError("collect: --from names the folder of a public set's files, and none of the sources has files.")
    given = options.given(args, Settings)
    if is_public(args.sources) and not given and not args.pictures:
        with logs.printed():
            folder = collect(args.sources[0], args.out, args.source)
        words = "" if (medium := SETS[args.sources[0]].medium) == "picture" else f" --medium {medium}"
        print(f"Next: ganforge prepare {folder}{words}")
        return 0
    with Console(stderr=True).status("looking") as status:
        collected = collect_pictures(args.sources, args.out, source=args.source, progress=status.update, **given)
    for reason, count in list(collected.reasons.items())[:8]:
        print(f"  skipped {count:,}: {reason}")
    for note in collected.notes:
        print(f"  {note}")
    if collected.apart:
        print(f"  {collected.apart}: {collected.apart_count:,} pictures whose rights are unknown")
    parts = ", ".join(f"{name} {count:,}" for name, count in collected.kept.items())
    print(
        f"{collected.folder}: {sum(collected.kept.values()):,} pictures ({parts}), "
        f"{collected.duplicates:,} duplicates left out, {collected.skipped:,} skipped"
        + (f" (see {collected.folder / 'skipped.csv'})" if collected.skipped else "")
    )
    if any(collected.kept.values()):
        print(f"Next: ganforge prepare {collected.folder}")
    return 2 if collected.skipped or collected.unfinished else 0


def clean(args: argparse.Namespace) -> int:
    """A new folder, or a preview, a suggestion, a recipe. 2 where files cannot be read."""
    from rich.console import Console

    from ganforge.cleaning import recipe
    from ganforge.cleaning.clean import clean
    from ganforge.cleaning.preview import preview, suggest
    from ganforge.cleaning.settings import Settings

    if args.suggest:
        proposed, reasons = suggest(args.folder)
        print("\n".join(f"# {reason}" for reason in reasons), end=f"\n\n{recipe.text(proposed)}")
        return 0
    given = options.given(args, Settings)
    if args.dry_run:
        print(recipe.text(recipe.read(args.recipe, given)), end="")
        return 0
    if args.preview:
        rows = preview(
            args.folder, args.preview, filters=given.get("filters", ()), recipe=args.recipe,
            reference=args.reference, pictures=args.pictures,
        )  # fmt: skip
        print(_table(rows))
        print(args.preview)
        return 0
    if args.out is None:
        raise InputError("clean: name the folder to make with -o; or see --preview, --suggest and --dry-run.")
    with Console(stderr=True).status("looking") as status:

        def count_files(count: int) -> None:
            status.update(f"{count:,} files")

        cleaned = clean(args.folder, args.out, recipe=args.recipe, progress=count_files, **given)
    for file, reason in cleaned.dropped[:20]:
        print(f"  left out: {file!r}: {reason}")
    if len(cleaned.dropped) > 20:
        print(f"  … and {len(cleaned.dropped) - 20:,} more; {cleaned.path / 'dropped.csv'} names them all")
    for note in cleaned.notes:
        print(f"  {note}")
    print(
        f"{cleaned.path}: {cleaned.changed:,} pictures filtered, {cleaned.copied:,} as they were, "
        f"{len(cleaned.dropped):,} files left out"
    )
    print(f"Next: ganforge prepare {cleaned.path}")
    return 2 if cleaned.unreadable else 0


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


def audit(args: argparse.Namespace) -> int:
    """Findings by code, verdicts, the page; or what differs between two audits. 2 where files cannot be read."""
    from rich.console import Console

    if (args.source is None) == (args.diff is None):
        raise InputError("audit: name a folder, a zip or a store, or two audits with --diff OLD NEW.")
    if args.diff:
        return _audit_diff(*args.diff)
    from ganforge.auditing.settings import Settings

    settings = options.settings(args, Settings)
    if args.dry_run:
        print(options.toml(args, settings))
        return 0
    from ganforge.auditing.audit import audit

    with Console(stderr=True).status("looking") as status:
        audited = audit(args.source, args.out, settings=settings, overwrite=args.overwrite, progress=status.update)
    for note in audited.notes:
        print(f"  {note}")
    for code, count in audited.findings.items():
        print(f"  {audited.summary['severities'][code]:8} {code:16} {count:>9,}")
    verdicts = ", ".join(f"{count:,} {name}" for name, count in audited.verdicts.items())
    print(f"{audited.path}: {audited.pictures:,} files: {verdicts}")
    print(f"Look at: {audited.path / 'report.html'}")
    return 2 if audited.unreadable else 0


def _audit_diff(old: Path, new: Path) -> int:
    from ganforge.auditing.tables import compare, shown

    differences = compare(old, new)
    for name in differences.appeared:
        print(f"  appeared  {shown(name)}")
    for name in differences.vanished:
        print(f"  vanished  {shown(name)}")
    for name, before, after in differences.changed:
        print(f"  changed   {shown(name)}: {before} -> {after}")
    print(
        f"{len(differences.appeared):,} appeared, {len(differences.vanished):,} vanished, "
        f"{len(differences.changed):,} changed"
    )
    return 0


def prepare(args: argparse.Namespace) -> int:
    """A store or another format, what was left out; or the parts of one shard. 2 where pictures are unusable."""
    import shutil
    from dataclasses import replace

    from rich.console import Console

    from ganforge.preparing.prepare import prepare, prepare_shard
    from ganforge.preparing.settings import Settings
    from ganforge.store import exports

    if args.format not in exports.FORMATS:
        raise InputError(f"prepare: there is no format {args.format!r}.{did_you_mean(args.format, exports.FORMATS)}")
    settings, overwrite = options.settings(args, Settings), args.overwrite
    if args.dry_run:
        print(options.toml(args, settings))
        return 0
    if args.format != "store":  # before the work, not after it
        if settings.medium not in (None, "picture"):
            raise InputError(f"prepare: --format {args.format} is for pictures, not for {settings.medium}s.")
        if settings.pair:
            raise InputError(f"prepare: --format {args.format} is for single pictures, not for pairs.")
        if args.out is None:
            raise InputError("prepare: --format needs --out, the folder to write.")
        if args.out.exists():
            raise InputError(f"prepare: {args.out} exists already. Choose another name, or remove it first.")
        settings = replace(settings, medium="picture")
    with Console(stderr=True).status("looking") as status:

        def progress(count: int) -> None:
            status.update(f"{count:,} files")

        if args.shard:
            done, parts = prepare_shard(
                args.source, args.out, *_shard(args.shard), settings=settings, overwrite=overwrite, progress=progress
            )
        else:
            out = args.out
            if args.format != "store":
                out = out.with_name(f".{out.name}.store")
                overwrite = True  # what a stopped call left there
            prepared = prepare(args.source, out, settings=settings, overwrite=overwrite, progress=progress)
    if args.shard:
        print(
            f"{done} of {parts} parts are finished. The same command without --shard makes the others and joins them."
        )
        return 0
    for file, reason in prepared.skipped[:20]:
        print(f"  left out: {file!r}: {reason}")
    if prepared.skipped_count > 20:
        print(f"  … and {prepared.skipped_count - 20:,} more; meta.parquet in the store names them all")
    for note in prepared.notes:
        print(f"  {note}")
    store = prepared.store
    if args.format != "store":
        count = exports.write(store, args.out, args.format)
        shutil.rmtree(store.path)
        print(f"{args.out}: {count:,} pictures of {store.spec} as {args.format}")
        return 2 if prepared.unusable else 0
    print(
        f"{store.path}: {len(store):,} {store.spec.medium.plural} of {store.spec}; {len(store.train):,} for training, "
        f"{len(store.heldout):,} held out, {prepared.skipped_count:,} left out"
    )
    print(f"Next: ganforge train {models.first(store.spec)} {store.path}")
    return 2 if prepared.unusable else 0


def _shard(text: str) -> tuple[int, int]:
    """3/16 -> (3, 16)."""
    index, slash, count = text.partition("/")
    if not slash or not index.isdecimal() or not count.isdecimal() or int(index) >= int(count):
        raise InputError(f"prepare: the shard {text!r} is not understood; with 16 jobs they are 0/16 to 15/16.")
    return int(index), int(count)
