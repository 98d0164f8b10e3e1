"""The end of a collection: its pictures moved to their names, the tables beside them, and what came of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ganforge.base.files import resolved
from ganforge.base.tables import write_csv
from ganforge.collecting.journal import NOT_COLLECTED, CollectionJournal, Item
from ganforge.collecting.recipe import CollectionRecipe
from ganforge.store import history, provenance

WORK = ".collect"
"""The folder inside the collection that holds the journal and, until the end, the pictures."""
LABELS = "labels.csv"


@dataclass(frozen=True)
class Collected:
    """The result of a collection."""

    folder: Path
    kept: dict[str, int]
    """Pictures in the folder by source."""
    apart: Path | None
    """The folder of pictures whose rights are unknown, where there are any."""
    apart_count: int
    duplicates: int
    reasons: dict[str, int]
    """How many are missing for each reason; `skipped.csv` in the folder names each."""
    notes: list[str]
    """Sentences that the user should read."""
    unfinished: bool
    """Whether it ended at the limit on the bytes of all files."""

    @property
    def skipped(self) -> int:
        """How many are missing for a reason."""
        return sum(self.reasons.values())


def journal_path(folder: Path) -> Path:
    """The journal of a collection."""
    return folder / WORK / "journal.sqlite"


def blobs_path(folder: Path) -> Path:
    """The folder of pictures that are fetched and not yet moved, named by their SHA-256."""
    return folder / WORK / "blobs"


def apart_path(folder: Path) -> Path:
    """The folder beside a collection for pictures whose rights are unknown."""
    named = folder if folder.name not in ("", "..") else resolved(folder)
    return named.with_name(f"{named.name}-unknown-rights")


def finish(
    recipe: CollectionRecipe, journal: CollectionJournal, folder: Path, *, notes: list[str], unfinished: bool
) -> Collected:
    """Move the pictures that are kept into `folder` and write its tables. DataError and OSError where that fails."""
    names = [source.name for source in recipe.sources]
    with_splits = journal.count("state = 'kept'") > 0 and not journal.count("state = 'kept' AND split IS NULL")

    def target(item: Item) -> tuple[Path, str]:
        folders = [part for part in (item.split if with_splits else None, item.label) if part]
        name = "/".join([*folders, f"{str(item.sha256)[:20]}.{item.kind}"])
        return apart_path(folder) if item.apart else folder, name

    moved = journal.move_files(blobs_path(folder), target)
    apart_count = _write_tables(journal, folder, names)
    for blob in blobs_path(folder).iterdir():
        blob.unlink()
    kept = journal.total("COUNT(*)", "source", "state = 'kept' AND apart = 0")
    collected = Collected(
        folder=folder,
        kept={name: kept.get(n, 0) for n, name in enumerate(names)},
        apart=apart_path(folder) if apart_count else None,
        apart_count=apart_count,
        duplicates=journal.count("state = 'duplicate'"),
        reasons=journal.total("COUNT(*)", "reason", NOT_COLLECTED),
        notes=[*notes, *_notes(recipe, journal, with_splits)],
        unfinished=unfinished,
    )
    for path in (collected.folder, collected.apart):
        if path and (moved or not (path / history.NAME).exists()):
            history.record(
                path,
                "collect",
                recipe=recipe.selection(),
                kept=collected.kept,
                apart=apart_count,
                duplicates=collected.duplicates,
                skipped=collected.skipped,
            )
    return collected


def _write_tables(journal: CollectionJournal, folder: Path, names: list[str]) -> int:
    """`provenance.csv` in both folders, `skipped.csv`, and `labels.csv` where some pictures have no label. Returns how
    many pictures are of unknown rights."""

    def rows(apart: int) -> Iterator[dict[str, str]]:
        for item, duplicates in journal.kept():
            if item.apart == apart:
                yield {
                    "file": str(item.file),
                    "source": names[item.source],
                    "address": item.address,
                    "retrieved": str(item.retrieved),
                    "licence": item.licence,
                    "author": item.author,
                    "sha256": str(item.sha256),
                    "label": item.label or "",
                    "also": "; ".join(f"{names[n]}: {address}" for n, address in duplicates),
                }

    skipped = (
        {"source": names[n], "address": address, "label": label or "", "reason": reason}
        for n, address, label, reason in journal.skipped()
    )
    write_csv(folder / provenance.NAME, provenance.FIELDS, rows(0))
    write_csv(folder / provenance.SKIPPED, provenance.SKIPPED_FIELDS, skipped)
    apart_count = journal.count("state = 'kept' AND apart = 1")
    if apart_count:
        write_csv(apart_path(folder) / provenance.NAME, provenance.FIELDS, rows(1))
    if _without_label(journal):
        labels = ({"file": row["file"], "label": row["label"]} for row in rows(0) if row["label"])
        write_csv(folder / LABELS, ("file", "label"), labels)
    return apart_count


def _without_label(journal: CollectionJournal) -> int:
    """How many pictures have no label, where others have one."""
    labelled = journal.count("state = 'kept' AND apart = 0 AND label IS NOT NULL")
    return journal.count("state = 'kept' AND apart = 0 AND label IS NULL") if labelled else 0


def _notes(recipe: CollectionRecipe, journal: CollectionJournal, with_splits: bool) -> list[str]:
    notes = []
    if count := _without_label(journal):
        notes.append(f"{count:,} pictures have no label beside others that have one; prepare leaves them out")
    if not with_splits and journal.count("state = 'kept' AND split IS NOT NULL"):
        notes.append("the split of some sources is not kept, since others have none")
    for n, source in enumerate(recipe.sources):
        kept = journal.count("source = ? AND state = 'kept'", n)
        if source.cap is not None and kept < source.cap and recipe.settings.total:
            notes.append(f"{source.name} has {kept:,} of the {source.cap:,} that are its share")
    if count := journal.count("state = 'kept' AND apart = 0 AND licence = ''"):
        notes.append(f"{count:,} pictures state no licence")
    return notes
