"""A folder of pictures and a recipe -> a new folder: findings left out, pixels filtered. The originals are only read.

    [select]                    # needs an audit
    drop = ["blurred", "near-duplicate"]

    [[filter]]                  # any number, in this order
    kind = "median"
    size = 3

The new folder has the same names, a PNG where pixels were changed and the very bytes where not; `provenance.csv`,
`labels.csv` and other tables of what was kept; `dropped.csv` with a reason for everything else; `history.jsonl` with
this step added."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import json
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, TextIO

import numpy as np

from ganforge.auditing.findings import Findings, chosen
from ganforge.base.config import read_toml, to_toml
from ganforge.base.errors import DataError, GanforgeError, InputError, did_you_mean
from ganforge.base.files import writing
from ganforge.base.images import Pixels, as_image, write_image
from ganforge.base.pool import chunks, ordered
from ganforge.base.seeds import permuted
from ganforge.base.tables import write_csv
from ganforge.cleaning import comparison, filters, noise
from ganforge.sources import labels, survey
from ganforge.sources.decode import decode_whole, probe
from ganforge.sources.depth import Levels
from ganforge.sources.entry import Entry, Skip, is_picture
from ganforge.sources.formats import EXTENSIONS, of_name, refusal
from ganforge.sources.source import keep_apart, open_source
from ganforge.store import history

CHUNK = 16
SAMPLE = 64
LARGE = 4_000_000  # pixels; of larger pictures one is in work at a time, so that memory stays flat
JOURNAL = ".journal.jsonl"
_large = threading.Lock()


@dataclass(frozen=True)
class Recipe:
    """What `clean` does, in full."""

    filters: tuple[filters.Filter, ...] = ()
    drop: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()

    def to_toml(self) -> str:
        """As a file that `--recipe` reads."""
        select = {"drop": self.drop, "keep": self.keep}
        parts = [to_toml({"select": {n: v for n, v in select.items() if v}})] if self.drop or self.keep else []
        parts += [to_toml({"[filter]": filters.describe(step)}) for step in self.filters]
        return "\n".join(parts) or "filter = []\n"  # said, so that it differs from an empty file


@dataclass
class Cleaned:
    """What `clean` made."""

    path: Path
    changed: int = 0
    copied: int = 0
    dropped: list[tuple[str, str]] = field(default_factory=list)
    """(file, reason), all of them."""
    unreadable: int = 0
    """How many of the dropped ones are pictures that cannot be used."""
    notes: list[str] = field(default_factory=list)
    """Sentences that the user should read."""


def make_recipe(
    path: str | Path | None = None,
    steps: Sequence[str | Mapping[str, Any]] = (),
    drop: Iterable[str] = (),
    keep: Iterable[str] = (),
) -> Recipe:
    """A recipe from a TOML file; what is given beside it stands in place of its part. InputError with the place."""
    said = read_toml(Path(path)) if path else {}
    if path and not said:
        raise InputError(f"{path} holds no recipe. One that changes nothing says: filter = []")
    select, tables = said.get("select", {}), said.get("filter", [])
    for name in said:
        if name not in ("select", "filter"):
            raise InputError(f"{path} has a section {name}.{did_you_mean(name, ('select', 'filter'))}")
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise InputError(f"{path}: filters are written as [[filter]], with two brackets on each side.")
    lists: dict[str, tuple[str, ...]] = {}
    for name, value in select.items() if isinstance(select, dict) else [("select", select)]:
        if name not in ("drop", "keep"):
            raise InputError(f"{path}: there is no setting select.{name}.{did_you_mean(name, ('drop', 'keep'))}")
        if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
            raise InputError(f'{path}: select.{name} is {value!r}; it takes a list such as ["blurred"].')
        lists[name] = tuple(value)
    if drop or keep:
        lists = {"drop": tuple(drop), "keep": tuple(keep)}
    chain = [filters.parse(s) if isinstance(s, str) else filters.make(s) for s in (steps or tables)]
    return Recipe(tuple(chain), chosen(lists.get("drop", ())), chosen(lists.get("keep", ())))


def clean(
    source: str | Path,
    out: str | Path,
    *,
    filters: Sequence[str | Mapping[str, Any]] = (),
    recipe: str | Path | None = None,
    audit: str | Path | None = None,
    drop: Iterable[str] = (),
    keep: Iterable[str] = (),
    progress: Callable[[int], None] | None = None,
) -> Cleaned:
    """Make the folder `out` of what is kept of `source`.

    `filters` are texts such as "median:size=3" or tables such as {"kind": "median", "size": 3}; `recipe` is a TOML file
    of both. `audit` is the folder of an audit's tables: what it rejects goes, `drop` names further findings that go
    ("warn": all warnings), `keep` those that stay, rejected or not. Of a duplicate group the picture stays that the
    audit ranks first. Stopped and called again, it goes on. `progress` is told how many are done."""
    path, out = _folder(source), Path(out)
    what = make_recipe(recipe, filters, drop, keep)
    found = Findings(Path(audit)) if audit else None
    if (what.drop or what.keep) and found is None:
        raise InputError("Dropping by findings needs an audit: ganforge audit FOLDER, then --audit with its folder.")
    if not what.filters and found is None and recipe is None:
        raise InputError("There is nothing to do: name a filter, such as --filter median:size=3, a recipe or an audit.")
    if out.exists():
        raise DataError(f"{out} exists already. Choose another name with -o, or remove it first.")
    keep_apart(path, out)
    opened = open_source(path)
    entries = list(opened.entries())
    if found:
        found.check(path, (entry.name for entry in entries), entries)
    partial = _partial(out, what, path, entries, found)
    made = Cleaned(out, notes=found.absent((*what.drop, *what.keep)) if found else [])
    levels, note = survey.levels("auto", opened) if what.filters else (Levels(), "")
    made.notes += [note] if note else []
    with writing(out, "Free some space or check the permissions; the same command goes on."):
        done = _work(entries, what, levels, found, partial, progress)
        made.changed = sum(row["changed"] for row in done if row["out"])
        made.copied = sum(not row["changed"] for row in done if row["out"])
        made.dropped = [(row["file"], row["reason"]) for row in done if not row["out"]]
        made.unreadable = sum(row["unreadable"] for row in done if not row["out"])
        if not made.changed + made.copied:
            shutil.rmtree(partial)
            why = "; ".join(f"{file!r}: {reason}" for file, reason in made.dropped[:3])
            raise DataError(f"Nothing of {path} is left. {why + '.' if why else 'Is this the right folder?'}")
        _finish(path, partial, what, made, done)
        (partial / JOURNAL).unlink()
        partial.rename(out)
    return made


def _folder(source: str | Path) -> Path:
    path = Path(source)
    if not path.is_dir():
        what = "is not a folder" if path.exists() else "does not exist"
        raise InputError(f"{path} {what}. clean takes a folder of pictures; unpack a zip first.")
    return path


def _partial(out: Path, what: Recipe, source: Path, entries: list[Entry], found: Findings | None) -> Path:
    """The unfinished folder beside `out`, one for each recipe, source and audit; those of others are removed."""
    digest = hashlib.sha256(what.to_toml().encode())
    digest.update(f"{source.resolve()}\n{found.sha256 if found else ''}\n".encode(errors="replace"))
    for entry in entries:
        with contextlib.suppress(OSError):
            facts = entry.path.stat() if entry.path else None
            digest.update(f"{entry.name}\0{facts and (facts.st_size, facts.st_mtime_ns)}\n".encode())
    partial = out.with_name(f".{out.name}.partial-{digest.hexdigest()[:12]}")
    with writing(out):
        for other in out.parent.glob(f".{out.name}.partial-*"):
            if other != partial:
                shutil.rmtree(other)
        partial.mkdir(parents=True, exist_ok=True)
    return partial


# ------------------------------------------------------------------------------------------------------------- the work


def _work(
    entries: list[Entry],
    what: Recipe,
    levels: Levels,
    found: Findings | None,
    partial: Path,
    progress: Callable[[int], None] | None,
) -> list[dict[str, Any]]:
    """One row a file, in the source's order; rows that the journal of an earlier, stopped call has are not made
    again."""
    rows = _journal(partial / JOURNAL)
    targets = _targets([entry.name for entry in entries if is_picture(entry.name)])
    with (partial / JOURNAL).open("a", encoding="utf-8") as journal, _one_thread():
        left_out = found.left_out(what.drop, what.keep) if found else {}

        def chunk(part: list[Entry]) -> list[dict[str, Any]]:
            return [_one(e, what, levels, partial, targets.get(e.name, ""), left_out.get(e.name)) for e in part]

        todo = [entry for entry in entries if entry.name not in rows]
        for found_rows in ordered(chunk, chunks(todo, CHUNK)):
            _note(found_rows, rows, journal, progress)
    return [rows[entry.name] for entry in entries]


def _note(
    found: list[dict[str, Any]],
    rows: dict[str, dict[str, Any]],
    journal: TextIO,
    progress: Callable[[int], None] | None,
) -> None:
    for row in found:
        rows[row["file"]] = row
        journal.write(json.dumps(row) + "\n")
    journal.flush()
    if progress:
        progress(len(rows))


def _journal(path: Path) -> dict[str, dict[str, Any]]:
    """What is done already; a line that was cut off is not."""
    rows = {}
    with contextlib.suppress(FileNotFoundError):
        text = path.read_text("utf-8")
        whole = text[: text.rfind("\n") + 1]
        if whole != text:
            path.write_text(whole, "utf-8")
        for line in whole.splitlines():
            row = json.loads(line)
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
    entry: Entry, what: Recipe, levels: Levels, partial: Path, target: str, left_out: str | None
) -> dict[str, Any]:
    """Read, filter and write one picture; whatever is wrong with it becomes its reason."""
    row: dict[str, Any] = {"file": entry.name, "out": None, "changed": False, "reason": None, "unreadable": False}
    row["reason"] = refusal(entry.name) or (f"audit: {left_out}" if left_out else None)
    if row["reason"]:
        row["unreadable"] = not is_picture(entry.name) and of_name(entry.name) is not None
        return row
    try:
        data = entry.read() if entry.path else None
        if not isinstance(data, bytes):
            raise Skip(
                "inside a larger file, beside its label; prepare reads that as it is, or unpack it into a folder"
            )
        row["changed"], written = _filtered(data, what.filters, levels) if what.filters else (False, data)
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


def _filtered(data: bytes, chain: tuple[filters.Filter, ...], levels: Levels) -> tuple[bool, bytes]:
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


def _finish(source: Path, partial: Path, what: Recipe, made: Cleaned, rows: list[dict[str, Any]]) -> None:
    """The side files: tables of what was kept, what was dropped and why, and the history with this step."""
    kept = {row["file"]: row["out"] for row in rows if row["out"]}
    labels.carry(source, partial, [row["file"] for row in rows], kept)
    dropped = ({"file": name, "reason": reason} for name, reason in made.dropped)
    write_csv(partial / "dropped.csv", ("file", "reason"), dropped)
    history.carry(source, partial)
    digest = hashlib.sha256("".join(f"{r['sha256']}  {r['out']}\n" for r in rows if r["out"]).encode())
    history.record(
        partial, "clean", source=str(source.resolve()), drop=what.drop, keep=what.keep,
        filters=[filters.describe(step) for step in what.filters], changed=made.changed, copied=made.copied,
        dropped=len(made.dropped), sha256=digest.hexdigest(),
    )  # fmt: skip


# --------------------------------------------------------------------------------------------------- before it is applied


def preview(
    source: str | Path,
    sheet: str | Path,
    *,
    filters: Sequence[str | Mapping[str, Any]] = (),
    recipe: str | Path | None = None,
    reference: str | Path | None = None,
    pictures: int = 6,
) -> list[dict[str, Any]]:
    """Write a sheet (PNG) of a few pictures before and after each filter, and its numbers beside it (JSON); nothing
    else.

    Returns the numbers, a row a stage: `stage`, `ms_per_picture`, and with clean pictures of the same names under
    `reference` also `psnr` in dB and `ssim`, means over the pictures shown.
    """
    path, sheet = _folder(source), Path(sheet)
    what = make_recipe(recipe, filters)
    if not what.filters and recipe is None:
        raise InputError("There is nothing to show: name a filter, such as --filter median:size=3, or a recipe.")
    if sheet.suffix.lower() != ".png":
        raise InputError(f"The sheet is a PNG, so its name ends in .png; {sheet} does not.")
    if not 1 <= pictures <= 1000:
        raise InputError(f"A sheet of {pictures} pictures is not to be had; it takes 1 to 1,000.")
    names, shown = _sample(path, "preview", pictures)
    references = [_reference(Path(reference), name) for name in names] if reference else None
    if references and not any(r is not None for r in references):
        raise DataError(f"{reference} has none of the pictures {', '.join(names[:3])}; it takes the same names.")
    found = comparison.stages(shown, what.filters, references)
    numbers = [stage.row() for stage in found]
    facts = {"pictures": names, "recipe": what.to_toml(), "stages": numbers}
    write_image(sheet, comparison.sheet(found, references))
    sheet.with_suffix(".json").write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n", "utf-8")
    return numbers


def _sample(path: Path, what: str, count: int) -> tuple[list[str], list[Pixels]]:
    """Up to `count` pictures that can be read, chosen by key. DataError where there is none."""
    opened = open_source(path)
    levels, _ = survey.levels("auto", opened)
    entries = [entry for entry in opened.entries() if is_picture(entry.name)]
    names, pictures = [], []
    for n in permuted(0, what, max(len(entries), 1), np.arange(len(entries))):
        with contextlib.suppress(Skip):
            pictures.append(decode_whole(entries[n].read(), levels))
            names.append(entries[n].name)
        if len(names) == count:
            break
    if not names:
        raise DataError(f"{path} has no picture that can be read. Is this the right folder?")
    return names, pictures


def _reference(folder: Path, name: str) -> Pixels | None:
    """The clean picture of the same name, whatever its format."""
    for path in (folder / name, *((folder / name).with_suffix(suffix) for suffix in sorted(EXTENSIONS))):
        if path.is_file():
            with contextlib.suppress(Skip):
                return decode_whole(path.read_bytes())
    return None


def suggest(source: str | Path) -> tuple[Recipe, list[str]]:
    """A recipe for the noise that SAMPLE keyed pictures have, empty where they are clean, and the reasons in words."""
    names, pictures = _sample(_folder(source), "suggest", SAMPLE)
    found = noise.median([noise.estimate(pixels) for pixels in pictures])
    chain, reasons = noise.remedy(found)
    return Recipe(tuple(chain)), [f"of {len(names)} pictures, the median: {found}", *reasons]
