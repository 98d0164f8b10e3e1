"""A folder of pictures and a recipe -> a new folder: findings left out, pixels filtered. The originals are only read.

The new folder has the same names, a PNG where pixels were changed and the very bytes where not; `provenance.csv`,
`labels.csv` and other tables of the pictures kept; `dropped.csv` with a reason for every other; `history.jsonl` with
this step added."""

from __future__ import annotations

import contextlib
import errno
import glob
import hashlib
import io
import json
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any, TextIO

import numpy as np

from ganforge.auditing.findings import Findings
from ganforge.base.errors import DataError, GanforgeError, InputError
from ganforge.base.files import locked, writing
from ganforge.base.images import as_image
from ganforge.base.pool import chunks, ordered
from ganforge.base.tables import read_json, write_csv
from ganforge.cleaning import filters
from ganforge.cleaning import recipe as recipes
from ganforge.cleaning.settings import Settings
from ganforge.sources import labels, survey
from ganforge.sources.decode import decode_whole, probe
from ganforge.sources.depth import Levels
from ganforge.sources.entry import Entry, Skip
from ganforge.sources.formats import of_name, refusal
from ganforge.sources.source import keep_apart, open_source
from ganforge.store import history

CHUNK = 16
LARGE = 4_000_000  # pixels; of larger pictures one is in work at a time, so that memory stays flat
JOURNAL = ".journal.jsonl"
_ROW: dict[str, Any] = {
    "file": "", "out": None, "changed": False, "reason": None, "unreadable": False, "sha256": None,
}  # fmt: skip
"""A line of it, before anything is known of the file."""
_large = threading.Lock()


@dataclass
class Cleaned:
    """The result of `clean`."""

    path: Path
    changed: int = 0
    copied: int = 0
    dropped: list[tuple[str, str]] = field(default_factory=list)
    """(file, reason), all of them."""
    unreadable: int = 0
    """How many of the dropped ones are pictures that cannot be used."""
    notes: list[str] = field(default_factory=list)
    """Sentences that the user should read."""


def clean(
    source: str | Path,
    out: str | Path,
    *,
    recipe: str | Path | Settings | None = None,
    progress: Callable[[int], None] | None = None,
    **options: Any,
) -> Cleaned:
    """Make the folder `out` of the pictures of `source` that are kept.

    `recipe` is a TOML file or `cleaning.settings.Settings`; `options` are values of such settings, filters, audit, drop
    and keep, and replace its parts (see `cleaning.recipe.read`). Of a duplicate group the picture stays that
    the audit ranks first. Stopped and called again, it goes on. `progress` is told how many are done. InputError;
    DataError where the pictures cannot be used or `out` exists."""
    path, out = check_folder(source), Path(out)
    settings = recipes.read(recipe, options)
    chain = filters.chain(settings.filters)
    findings = Findings(settings.audit) if settings.audit else None
    if (settings.drop or settings.keep) and findings is None:
        raise InputError("Dropping by findings needs an audit: ganforge audit FOLDER, then --audit with its folder.")
    if not chain and findings is None and recipe is None:
        raise InputError("There is nothing to do: name a filter, such as --filter median:size=3, a recipe or an audit.")
    _check_free(out)
    keep_apart(path, out)
    opened = open_source(path)
    entries = list(opened.entries())
    if findings:
        findings.check(path, (entry.name for entry in entries), entries)
    cleaned = Cleaned(out, notes=findings.absent((*settings.drop, *settings.keep)) if findings else [])
    levels, note = survey.levels("auto", opened) if chain else (Levels(), "")
    cleaned.notes += [note] if note else []
    with writing(out, "Free some space or check the permissions; the same command goes on."), _alone(out):
        partial = _partial(out, settings, path, entries, findings)
        left_out = findings.left_out(settings.drop, settings.keep) if findings else {}
        done = _work(entries, chain, levels, left_out, partial, progress)
        cleaned.changed = sum(row["changed"] for row in done if row["out"])
        cleaned.copied = sum(not row["changed"] for row in done if row["out"])
        cleaned.dropped = [(row["file"], row["reason"]) for row in done if not row["out"]]
        cleaned.unreadable = sum(row["unreadable"] for row in done if not row["out"])
        if not cleaned.changed + cleaned.copied:
            shutil.rmtree(partial)
            why = "; ".join(f"{file!r}: {reason}" for file, reason in cleaned.dropped[:3])
            raise DataError(f"Nothing of {path} is left. {why + '.' if why else 'Is this the right folder?'}")
        _finish(path, partial, settings, cleaned, done)
        (partial / JOURNAL).unlink()
        partial.rename(out)
    return cleaned


def _check_free(out: Path) -> None:
    if out.exists():
        raise DataError(f"{out} exists already. Choose another name with -o, or remove it first.")


@contextlib.contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Lock `out` for this process: two that write the same files could leave a half of one. DataError where another
    process holds it or has finished it, OSError where it cannot be written."""
    out.parent.mkdir(parents=True, exist_ok=True)
    lock = out.parent / f".{out.name}.lock"
    try:
        with locked(lock):
            try:
                _check_free(out)
                yield
            finally:
                lock.unlink(missing_ok=True)
    except BlockingIOError as error:
        raise DataError(f"{out} is being made by another process. Wait for its end, or choose another name.") from error


def check_folder(source: str | Path) -> Path:
    """The folder as a path. InputError where it is none."""
    path = Path(source)
    if not path.is_dir():
        problem = "is not a folder" if path.exists() else "does not exist"
        raise InputError(f"{path} {problem}. clean takes a folder of pictures; unpack a zip first.")
    return path


def _partial(out: Path, settings: Settings, source: Path, entries: list[Entry], findings: Findings | None) -> Path:
    """The unfinished folder beside `out`, one for each recipe, source and audit; those of others are removed.
    OSError."""
    digest = hashlib.sha256(recipes.text(replace(settings, audit=None)).encode())
    digest.update(f"{source.resolve()}\n{findings.sha256 if findings else ''}\n".encode(errors="replace"))
    for entry in entries:
        with contextlib.suppress(OSError):
            facts = entry.path.stat() if entry.path else None
            digest.update(f"{entry.name}\0{facts and (facts.st_size, facts.st_mtime_ns)}\n".encode())
    partial = out.with_name(f".{out.name}.partial-{digest.hexdigest()[:12]}")
    for other in out.parent.glob(f".{glob.escape(out.name)}.partial-*"):
        if other != partial:
            shutil.rmtree(other)
    partial.mkdir(exist_ok=True)
    return partial


# ------------------------------------------------------------------------------------------------------------- the work


def _work(
    entries: list[Entry],
    chain: Sequence[filters.Filter],
    levels: Levels,
    left_out: Mapping[str, str],
    partial: Path,
    progress: Callable[[int], None] | None,
) -> list[dict[str, Any]]:
    """One row a file, in the source's order; rows that the journal of an earlier, stopped call has are not done
    again."""
    rows = _journal(partial / JOURNAL)
    targets = _targets([entry.name for entry in entries if not refusal(entry.name)])
    with (partial / JOURNAL).open("a", encoding="utf-8") as journal, _one_thread():

        def chunk(part: list[Entry]) -> list[dict[str, Any]]:
            return [_one(e, chain, levels, partial, targets.get(e.name, ""), left_out.get(e.name)) for e in part]

        todo = [entry for entry in entries if entry.name not in rows]
        for found_rows in ordered(chunk, chunks(todo, CHUNK)):
            _note(found_rows, rows, journal, progress)
    return [rows[entry.name] for entry in entries]


def _note(
    new: list[dict[str, Any]],
    rows: dict[str, dict[str, Any]],
    journal: TextIO,
    progress: Callable[[int], None] | None,
) -> None:
    for row in new:
        rows[row["file"]] = row
        journal.write(json.dumps(row) + "\n")
    journal.flush()
    if progress:
        progress(len(rows))


def _journal(path: Path) -> dict[str, dict[str, Any]]:
    """What is done already; a line that was cut off or damaged is not."""
    rows = {}
    with contextlib.suppress(FileNotFoundError):
        data = path.read_bytes()
        whole = data[: data.rfind(b"\n") + 1]
        if whole != data:
            path.write_bytes(whole)
        for line in whole.splitlines():
            with contextlib.suppress(ValueError, AttributeError):
                row = read_json(line)
                if row.keys() >= _ROW.keys():
                    rows[row["file"]] = row
    return rows


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """The pictures are shared out among threads; within one, OpenCV's own threads only wait."""
    try:
        import cv2
    except ImportError:
        yield
        return
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


def _targets(names: list[str]) -> dict[str, str]:
    """The name of each picture as a PNG: a.jpg -> a.png, or a.jpg.png where a.png is another picture's or a
    folder's."""
    taken = {name.casefold() for name in names}
    taken |= {parent.as_posix().casefold() for name in names for parent in PurePosixPath(name).parents}
    targets = {}
    for name in names:
        path = PurePosixPath(name)
        target = name
        if path.suffix.lower() != ".png":
            target = path.with_suffix(".png").as_posix()
            if target.casefold() in taken:
                target = name + ".png"
            taken.add(target.casefold())
        targets[name] = target
    return targets


def _one(
    entry: Entry, chain: Sequence[filters.Filter], levels: Levels, partial: Path, target: str, left_out: str | None
) -> dict[str, Any]:
    """Read, filter and write one picture; whatever is wrong with it becomes its reason."""
    row = _ROW | {"file": entry.name}
    row["reason"] = refusal(entry.name) or (f"audit: {left_out}" if left_out else None)
    if row["reason"]:
        row["unreadable"] = refusal(entry.name) != "" and of_name(entry.name) is not None
        return row
    try:
        data = entry.read() if entry.path else None
        if not isinstance(data, bytes):
            raise Skip(
                "inside a larger file, beside its label; prepare reads that as it is, or unpack it into a folder"
            )
        row["changed"], written = _filtered(data, chain, levels)  # without filters, too: what is damaged is named
        row["out"] = target if row["changed"] else entry.name
        row["sha256"] = hashlib.sha256(written).hexdigest()
        _write(partial / row["out"], written)
    except Skip as skip:
        row |= {"reason": str(skip), "unreadable": True, "out": None}
    return row


def _write(path: Path, data: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise Skip("its name with .png is too long") from None
        raise


def _filtered(data: bytes, chain: Sequence[filters.Filter], levels: Levels) -> tuple[bool, bytes]:
    """Whether the filters changed the picture, and the new file: a PNG, or the very bytes. Raises Skip."""
    with _large if _is_large(data) else contextlib.nullcontext():
        pixels = decode_whole(data, levels)
        try:
            after = filters.apply(chain, pixels)
        except (GanforgeError, Skip):
            raise
        except MemoryError:
            raise Skip("does not fit into memory when filtered") from None
        except Exception as error:  # OpenCV's and scikit-image's own limits
            raise Skip(f"cannot be filtered: {str(error).splitlines()[0] if str(error) else error!r}") from None
        if np.array_equal(after, pixels):
            return False, data
        file = io.BytesIO()
        as_image(after).save(file, "PNG")
        return True, file.getvalue()


def _is_large(data: bytes) -> bool:
    try:
        header = probe(data)
    except Skip:
        return False
    return header.height * header.width > LARGE


def _finish(source: Path, partial: Path, settings: Settings, cleaned: Cleaned, rows: list[dict[str, Any]]) -> None:
    """The side files: tables of the pictures kept, `dropped.csv` with reasons, and the history with this step."""
    kept = {row["file"]: [row["out"]] for row in rows if row["out"]}
    labels.carry(source, partial, [row["file"] for row in rows], kept)
    dropped = ({"file": name, "reason": reason} for name, reason in cleaned.dropped)
    write_csv(partial / "dropped.csv", ("file", "reason"), dropped)
    history.carry(partial, source)
    digest = hashlib.sha256("".join(f"{r['sha256']}  {r['out']}\n" for r in rows if r["out"]).encode())
    history.record(
        partial, "clean", source=str(source.resolve()), drop=settings.drop, keep=settings.keep,
        filters=[filters.describe(step) for step in filters.chain(settings.filters)],
        changed=cleaned.changed, copied=cleaned.copied, dropped=len(cleaned.dropped), sha256=digest.hexdigest(),
    )  # fmt: skip
