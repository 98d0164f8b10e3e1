"""The pictures behind an audit's findings, all of them: scripts of data and thumbnails beside the page, read as they
are needed.

A page that is opened from disk may not read files, but it may run scripts and show pictures: so the data are small
scripts that call `part(code, number, entries)`. An entry is a list of pictures: one, or a group of alike ones."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import simplejpeg
from PIL import Image

from ganforge.auditing.checks import CHECKS, SEVERITIES, Finding
from ganforge.auditing.tables import Pictures, shown
from ganforge.base.images import Pixels
from ganforge.base.pool import ordered
from ganforge.sources.decode import decode, fit_channels
from ganforge.sources.depth import Levels
from ganforge.sources.entry import Entry, Skip, Source
from ganforge.sources.transform import fit

FOLDER = "page"
PART = 1000
"""Pictures in a script, about 100 kB."""
THUMBNAILS = 2000
"""Thumbnails beside the page, 10 MB at most; pictures after these are shown from their own files."""
SIDE = 128
WHITE = (255, 255, 255)
BROWSERS = {"JPEG", "PNG", "WEBP", "GIF", "BMP", "AVIF"}
_NONE, _UNREADABLE = 0, -1  # instead of a thumbnail's number: no thumbnail, nothing that could be shown
_ORDER = {code: n for n, code in enumerate(CHECKS)}


def write(
    page: Path, source: Source, out: Path, pictures: Pictures, verdicts: Sequence[str], levels: Levels
) -> tuple[dict[str, Any], str]:
    """Make the folder FOLDER beside `page`, which will be moved to `out`. Returns the facts that page.js needs, its
    AUDIT, and a sentence about the thumbnails. `levels` are the set's, for pictures of more than eight bits.
    OSError where it cannot be written."""
    folder = page.parent / FOLDER
    folder.mkdir()
    by_code = _entries(pictures)
    rows = {row for entries in by_code.values() for entry in entries for row, _ in entry}
    with_thumbnail = _first(by_code)
    base, links, files = _files(source, out, rows, with_thumbnail)
    numbers = _thumbnails(folder, [(row, file) for row, file in files if pictures.usable[row]], levels)
    codes: dict[int, list[int]] = {}
    for finding in pictures.findings:
        codes.setdefault(finding.row, []).append(_ORDER[finding.code])

    def picture(row: int, detail: str) -> list[Any]:
        """As page.js reads it."""
        usable = bool(pictures.usable[row])
        facts = [
            shown(pictures.names[row]), shown(pictures.labels[row] or ""), SEVERITIES.index(verdicts[row]),
            shown(detail), codes.get(row, []), pictures.shape[row, :2].tolist() if usable else 0,
            numbers.get(row, _NONE if usable else _UNREADABLE), int(pictures.formats[row] in BROWSERS and usable),
        ]  # fmt: skip
        return [*facts, links[row]] if row in links else facts

    facts = {}
    for code, entries in by_code.items():
        starts = _write_parts(folder, code, ([picture(row, detail) for row, detail in entry] for entry in entries))
        facts[code] = {
            "entries": len(entries), "parts": len(starts), "starts": starts, "grouped": CHECKS[code].grouped,
            "severity": CHECKS[code].severity,
        }  # fmt: skip
    audit = {
        "codes": facts, "names": list(CHECKS), "severities": SEVERITIES, "folder": FOLDER, "base": base,
        "where": "open it in its archive or store",
    }  # fmt: skip
    return audit, _note(len(rows), len(with_thumbnail), base is not None)


def thumbnail(entry: Entry, levels: Levels) -> Pixels | None:
    """(h, w, 3) uint8 of at most SIDE, over white, or None where it cannot be read. More than eight bits become bytes
    by the set's `levels`."""
    try:
        data = entry.read()
        if isinstance(data, bytes):
            pixels, _ = decode(data, 3, WHITE, SIDE // 2, levels)
        elif data.shape[2] == 4:
            over = Image.alpha_composite(
                Image.new("RGBA", data.shape[1::-1], "white"), Image.fromarray(np.ascontiguousarray(data))
            )
            pixels = np.asarray(over.convert("RGB"))
        else:
            pixels = fit_channels(data, 3)
    except Skip:
        return None
    height, width = pixels.shape[:2]
    scale = min(1.0, SIDE / max(height, width))
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    small: Pixels = fit(pixels[None], *size, "stretch", WHITE)[0]
    return small


def as_jpeg(pixels: Pixels) -> bytes:
    """(h, w, 3) uint8 -> a small JPEG."""
    data: bytes = simplejpeg.encode_jpeg(np.ascontiguousarray(pixels), 80, "RGB", "420")
    return data


def _entries(pictures: Pictures) -> dict[str, list[list[tuple[int, str]]]]:
    """By code, in the order of codes, the worst first: lists of (row, detail), one picture each, or all of a group."""
    by_code: dict[str, list[Finding]] = {}
    for finding in pictures.findings:
        by_code.setdefault(finding.code, []).append(finding)
    groups: dict[int, list[int]] = {}
    for row in np.flatnonzero(pictures.group >= 0).tolist():
        groups.setdefault(int(pictures.group[row]), []).append(row)
    out = {}
    for code, check in CHECKS.items():
        sign = 1 if check.lowest_first else -1
        findings = sorted(by_code.get(code, []), key=lambda f: (sign * (f.value or 0), f.row))
        if check.grouped:
            out[code] = [_group(groups[g], some) for g, some in _together(findings).items()]
        else:
            out[code] = [[(f.row, f.detail)] for f in findings]
    return {code: entries for code, entries in out.items() if entries}


def _together(findings: Sequence[Finding]) -> dict[int, list[Finding]]:
    out: dict[int, list[Finding]] = {}
    for finding in findings:
        out.setdefault(finding.group, []).append(finding)
    return out


def _group(members: Sequence[int], findings: Sequence[Finding]) -> list[tuple[int, str]]:
    """One that has not the finding first, then those that have it, then the others."""
    details = {f.row: f"{f.detail}{f', {f.value:.0f} bits apart' if f.value else ''}" for f in findings}
    others = [row for row in members if row not in details]
    return [(row, details.get(row, "")) for row in (*others[:1], *sorted(details), *others[1:])]


def _first(by_code: dict[str, list[list[tuple[int, str]]]]) -> set[int]:
    """The rows that get a thumbnail: of all codes the first entries, then the second, and so on."""
    rows: dict[int, None] = {}
    for n in range(max(map(len, by_code.values()), default=0)):
        for entries in by_code.values():
            rows |= dict.fromkeys(row for row, _ in entries[n]) if n < len(entries) else {}
        if len(rows) >= THUMBNAILS:
            break
    return set(islice(rows, THUMBNAILS))


def _files(
    source: Source, out: Path, rows: set[int], with_thumbnail: set[int]
) -> tuple[str | None, dict[int, str], list[tuple[int, Entry]]]:
    """Where the files lie, seen from the folder `out`, None where they are in an archive; of `rows` the end of the
    address where it cannot be told from the shown name; and the entries of those in `with_thumbnail`."""
    top, links, chosen = None, {}, []
    for row, entry in enumerate(source.entries()):
        if row in with_thumbnail:
            chosen.append((row, entry))
        if entry.path is not None:
            top = top or entry.path.parents[entry.name.count("/")]
            if row in rows:
                name = str(entry.path)[len(str(top)) + 1 :]
                if name != shown(entry.name):
                    links[row] = quote(os.fsencode(Path(name).as_posix()))
    return _relative(top.resolve(), str(out.resolve())) if top else None, links, chosen


def _relative(top: Path, start: str) -> str:
    try:
        return quote(os.fsencode(Path(os.path.relpath(top, start)).as_posix())) + "/"
    except ValueError:  # on another drive
        return top.as_uri() + "/"


def _thumbnails(folder: Path, chosen: Sequence[tuple[int, Entry]], levels: Levels) -> dict[int, int]:
    """Write the thumbnails, numbered from 1; the numbers by row."""
    numbers: dict[int, int] = {}

    def make(item: tuple[int, Entry]) -> tuple[int, bytes | None]:
        row, entry = item
        pixels = thumbnail(entry, levels)
        return row, None if pixels is None else as_jpeg(pixels)

    for row, data in ordered(make, chosen):
        if data is not None:
            numbers[row] = len(numbers) + 1
            (folder / f"{numbers[row]}.jpg").write_bytes(data)
    return numbers


def _write_parts(folder: Path, code: str, entries: Iterator[list[list[Any]]]) -> list[int]:
    """Scripts of about PART pictures; the number of the first entry of each."""
    starts: list[int] = []
    some: list[list[list[Any]]] = []
    done = pictures = 0

    def flush() -> None:
        nonlocal done, pictures, some
        text = json.dumps(some, separators=(",", ":"))
        (folder / f"{code}-{len(starts)}.js").write_text(f'part("{code}",{len(starts)},{text})\n', "ascii")
        starts.append(done)
        done, pictures, some = done + len(some), 0, []

    for entry in entries:
        some.append(entry)
        pictures += len(entry)
        if pictures >= PART:
            flush()
    if some:
        flush()
    return starts


def _note(pictures: int, thumbnails: int, files: bool) -> str:
    if thumbnails >= pictures:
        return "Search and filter cover every picture behind a finding."
    others = pictures - thumbnails
    rest = "are shown from their own files, as long as these stay where they are" if files else "are named without one"
    return (
        "Search and filter cover every picture behind a finding. "
        f"Thumbnails were made of {thumbnails:,}, the worst of each finding; the other {others:,} {rest}."
    )
