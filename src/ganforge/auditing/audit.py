"""A folder, a zip or a store -> what is wrong with its pictures: tables, numbers and one page. Originals are only
read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from ganforge.auditing import checks, page
from ganforge.auditing.facts import Facts, code_of, look, spread
from ganforge.auditing.numbers import Numbers, columns
from ganforge.auditing.settings import Settings
from ganforge.auditing.tables import FILES, Chunk, Pictures, summarise, write_json, write_tables
from ganforge.base import config
from ganforge.base.device import keep_memory
from ganforge.base.errors import DataError, InputError
from ganforge.base.files import atomic_folder, writing
from ganforge.base.pool import chunks, ordered
from ganforge.sources import survey
from ganforge.sources.depth import Levels
from ganforge.sources.entry import Entry, Skip, Source, digest
from ganforge.sources.formats import has_picture_suffix
from ganforge.sources.source import keep_apart, open_source
from ganforge.store.history import step

CHUNK = 64


@dataclass(frozen=True)
class Audited:
    """Where an audit lies, and what it counted."""

    path: Path
    pictures: int
    verdicts: dict[str, int]
    findings: dict[str, int]
    unreadable: int
    """Files that should be pictures and could not be read."""
    summary: dict[str, Any]
    notes: list[str]
    """Sentences that the user should read."""


def audit(
    source: str | Path,
    out: str | Path | None = None,
    *,
    settings: Settings | None = None,
    overwrite: bool = False,
    progress: Callable[[str], None] | None = None,
    **options: Any,
) -> Audited:
    """Look at every file in `source`, a folder, a zip or a store, and write what was found to the folder `out`.

    `options` are values of `auditing.settings.Settings`, such as features=True, and take the place of those in
    `settings`. An older audit at `out` is replaced only with `overwrite`. `progress` gets a line at each step.
    DataError or InputError where `source` or `out` do not fit."""
    s = config.build(Settings, {**vars(settings or Settings()), **options}, "audit")
    path = Path(source)
    opened = open_source(path, s.labels)
    out = Path(out) if out else Path("audits") / opened.name
    keep_apart(path, out)
    reader = _reader() if s.ocr else None
    progress = progress or (lambda line: None)
    _check_path(out, overwrite)
    with (
        writing(out),
        atomic_folder(out, overwrite) as folder,
        (folder / "grey.bin").open("w+b") as grey,
    ):
        pictures = Pictures(grey)
        levels, note = survey.levels("auto", opened)
        for chunk in _looked(opened, levels):
            pictures.add(chunk)
            progress(f"{len(pictures):,} files looked at")
        if not len(pictures):
            raise DataError(f"{path} holds no files. Is this the right folder?")
        pictures.close()
        progress("comparing all with all")
        pictures.compare()
        if s.features:
            from ganforge.auditing.outliers import outliers

            outliers(pictures, opened, levels, progress)
        if reader is not None:
            from ganforge.auditing.ocr import texts

            pictures.findings += texts(opened, pictures.usable, levels, reader, progress)
        verdicts, reasons = pictures.judge()
        plain = vars(s) | {"labels": s.labels.name if s.labels else None}
        summary = summarise(pictures, verdicts, {"source": path.resolve().name, **plain})  # names: paths are private
        summary |= {"made": step("audit")}
        write_tables(folder, pictures, verdicts, reasons)
        write_json(folder / "summary.json", summary)
        progress("writing the page")
        page.write(folder / "report.html", out, opened, pictures, verdicts, summary, levels)
        (folder / "grey.bin").unlink()
    unreadable = sum(
        checks.CHECKS[f.code].unreadable and (f.code != "not_a_picture" or has_picture_suffix(pictures.names[f.row]))
        for f in pictures.findings
    )
    return Audited(
        out,
        len(pictures),
        summary["verdicts"],
        summary["findings"],
        unreadable,
        summary,
        [*opened.notes, *filter(None, [note])],
    )


def _reader() -> Any:
    from ganforge.auditing.ocr import reader

    return reader()


def _check_path(path: Path, overwrite: bool) -> None:
    """InputError where something is at `path` that may not be replaced."""
    if not path.exists():
        return
    if not overwrite:
        raise InputError(
            f"{path} exists already. Choose another name with --out, or replace an older audit with --overwrite."
        )
    if not path.is_dir() or not (path / FILES[0]).is_file() or {p.name for p in path.iterdir()} - set(FILES):
        raise InputError(
            f"{path} is no audit, or holds other files too; it is not overwritten. Choose another name with --out."
        )


# ----------------------------------------------------------------------------------------------------- one look at each


def _looked(source: Source, levels: Levels) -> Iterator[Chunk]:
    """Chunks in the source's order."""
    keep_memory()
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # the pictures are shared out among threads; within one, more threads only wait
    try:
        look_at = partial(_look_at, labelled=bool(source.classes), levels=levels)
        yield from ordered(look_at, chunks(source.entries(), CHUNK))
    finally:
        torch.set_num_threads(before)


def _look_at(entries: list[Entry], labelled: bool, levels: Levels) -> Chunk:
    chunk = Chunk.of(entries)
    by_side: dict[int, list[tuple[int, Tensor, Tensor]]] = {}
    for row, entry in enumerate(entries):
        facts, thumbnail, window = _read(entry, row, chunk, levels)
        chunk.facts.append(facts)
        chunk.findings += checks.of_file(row, facts, entry.name, labelled and entry.label is None)
        if thumbnail is not None and window is not None:
            by_side.setdefault(thumbnail.shape[-1], []).append((row, thumbnail, window))
    for batch in by_side.values():
        _measure(batch, chunk, lambda row: spread(entries[row], levels))
    return chunk


def _read(entry: Entry, row: int, chunk: Chunk, levels: Levels) -> tuple[Facts, Tensor | None, Tensor | None]:
    try:
        data = entry.read()
    except Skip as skip:
        return Facts(code=code_of(skip), detail=str(skip)), None, None
    chunk.bytes[row] = len(data) if isinstance(data, bytes) else data.size
    chunk.sha256[row] = np.frombuffer(digest(data), np.uint8)
    return look(data, entry.name, levels)


def _measure(batch: list[tuple[int, Tensor, Tensor]], chunk: Chunk, reread: Callable[[int], float]) -> None:
    """Numbers and findings of thumbnails of one size, with their windows; fills in their rows."""
    rows = [row for row, _, _ in batch]
    thumbnails = torch.stack([thumbnail for _, thumbnail, _ in batch])
    windows = torch.stack([window for _, _, window in batch])
    numbers = Numbers(thumbnails, windows, [chunk.facts[row] for row in rows], lambda n: reread(rows[n]))
    chunk.stats[rows] = columns(numbers)
    chunk.phash[rows], chunk.mirror[rows] = numbers.hashes
    chunk.grey[rows] = numbers.grey
    chunk.findings += checks.of_pixels(rows, numbers)
    total = thumbnails.sum(0, dtype=torch.int32).float()[None]
    chunk.total += interpolate(total, (64, 64), mode="area")[0].permute(1, 2, 0).numpy()
