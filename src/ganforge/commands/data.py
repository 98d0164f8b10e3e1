"""The verbs about data: collect, clean, audit, prepare."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ganforge.base import logs
from ganforge.base.errors import InputError, did_you_mean
from ganforge.commands import options


def collect(asked: argparse.Namespace) -> int:
    """What was collected, what was not and why. 2 where something is missing."""
    from rich.console import Console

    from ganforge.collecting.collect import collect, collect_pictures, is_public
    from ganforge.collecting.settings import Settings
    from ganforge.web.public import SETS

    if asked.pictures and not is_public(asked.sources):
        raise InputError("collect: --pictures is for one public set alone; of a mix there are only pictures.")
    if asked.source and not any(source in {*SETS} - {"digits"} or source.endswith(".toml") for source in asked.sources):
        raise InputError(
            "collect: --from names the folder of a public set's files, and none that has files is asked for."
        )
    given = options.given(asked, Settings)
    if is_public(asked.sources) and not given and not asked.pictures:
        with logs.printed():
            folder = collect(asked.sources[0], asked.out, asked.source)
        print(f"Next: ganforge prepare {folder}")
        return 0
    with Console(stderr=True).status("looking") as status:
        made = collect_pictures(asked.sources, asked.out, source=asked.source, progress=status.update, **given)
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

    from ganforge.cleaning import recipe
    from ganforge.cleaning.clean import clean
    from ganforge.cleaning.preview import preview, suggest
    from ganforge.cleaning.settings import Settings

    if asked.suggest:
        proposed, reasons = suggest(asked.folder)
        print("\n".join(f"# {reason}" for reason in reasons), end=f"\n\n{recipe.text(proposed)}")
        return 0
    given = options.given(asked, Settings)
    if asked.dry_run:
        print(recipe.text(recipe.read(asked.recipe, given)), end="")
        return 0
    if asked.preview:
        rows = preview(
            asked.folder, asked.preview, filters=given.get("filters", ()), recipe=asked.recipe, reference=asked.reference,
            pictures=asked.pictures,
        )  # fmt: skip
        print(_table(rows))
        print(asked.preview)
        return 0
    if asked.out is None:
        raise InputError("clean: name the folder to make with -o; or see --preview, --suggest and --dry-run.")
    with Console(stderr=True).status("looking") as status:
        made = clean(
            asked.folder, asked.out, recipe=asked.recipe, progress=lambda count: status.update(f"{count:,} files"), **given
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
    from ganforge.auditing.settings import Settings

    settings = options.settings(asked, Settings)
    if asked.dry_run:
        print(options.toml(asked, settings))
        return 0
    from ganforge.auditing.audit import audit

    with Console(stderr=True).status("looking") as status:
        made = audit(asked.source, asked.out, settings=settings, overwrite=asked.overwrite, progress=status.update)
    for note in made.notes:
        print(f"  {note}")
    for code, count in made.findings.items():
        print(f"  {made.summary['severities'][code]:8} {code:16} {count:>9,}")
    verdicts = ", ".join(f"{count:,} {name}" for name, count in made.verdicts.items())
    print(f"{made.path}: {made.pictures:,} files: {verdicts}")
    print(f"Look at: {made.path / 'report.html'}")
    return 2 if made.unreadable else 0


def _audit_diff(old: Path, new: Path) -> int:
    from ganforge.auditing.tables import compare, shown

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

    from ganforge.preparing.prepare import prepare, prepare_shard
    from ganforge.preparing.settings import Settings
    from ganforge.store import exports

    if asked.format not in exports.FORMATS:
        raise InputError(f"prepare: there is no format {asked.format!r}.{did_you_mean(asked.format, exports.FORMATS)}")
    settings, overwrite = options.settings(asked, Settings), asked.overwrite
    if asked.dry_run:
        print(options.toml(asked, settings))
        return 0
    with Console(stderr=True).status("looking") as status:

        def progress(count: int) -> None:
            status.update(f"{count:,} files")

        if asked.shard:
            done, parts = prepare_shard(
                asked.source, asked.out, *_shard(asked.shard), settings=settings, overwrite=overwrite, progress=progress
            )
        else:
            out = asked.out
            if asked.format != "store":
                if out is None:
                    raise InputError("prepare: --format needs --out, the folder to write.")
                if out.exists():  # before the work, not after it
                    raise InputError(f"prepare: {out} exists already. Choose another name, or remove it first.")
                out = out.with_name(f".{out.name}.store")
                overwrite = True  # what a stopped call left there
            made = prepare(asked.source, out, settings=settings, overwrite=overwrite, progress=progress)
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
        if not store.spec.is_picture:
            shutil.rmtree(store.path)
        count = exports.write(store, asked.out, asked.format)
        shutil.rmtree(store.path)
        print(f"{asked.out}: {count:,} pictures of {store.spec} as {asked.format}")
        return 2 if made.unusable else 0
    print(
        f"{store.path}: {len(store):,} {store.spec.medium.plural} of {store.spec}; {len(store.train):,} for training, {len(store.heldout):,} held out, {made.skipped_count:,} left out"
    )
    print(f"Next: ganforge train dcgan {store.path}")
    return 2 if made.unusable else 0


def _shard(text: str) -> tuple[int, int]:
    """3/16 -> (3, 16)."""
    index, slash, count = text.partition("/")
    if not slash or not index.isdecimal() or not count.isdecimal() or int(index) >= int(count):
        raise InputError(f"prepare: the shard {text!r} is not understood; with 16 jobs they are 0/16 to 15/16.")
    return int(index), int(count)
