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

from ganforge.auditing.checks import CODES, SEVERITIES, Finding
from ganforge.auditing.tables import Pictures, shown
from ganforge.base.images import Pixels
from ganforge.base.pool import ordered
from ganforge.sources.decode import decode, fit_channels
from ganforge.sources.entry import Entry, Skip, Source
from ganforge.sources.transform import fit

FOLDER = "page"
PART = 1000
"""Pictures in a script, about 100 kB."""
THUMBNAILS = 2000
"""Thumbnails beside the page, 10 MB at most; pictures after these are shown from their own files."""
SIDE = 128
WHITE = (255, 255, 255)
GROUPED = ("exact_duplicate", "near_duplicate", "mirrored", "label_conflict")
LOWEST_FIRST = {
    "blurred",
    "dark",
    "low_contrast",
    "near_uniform",
    "too_small",
    "compressed",
    "near_duplicate",
    "mirrored",
}
BROWSERS = {"JPEG", "PNG", "WEBP", "GIF", "BMP", "AVIF"}
_NONE, _UNREADABLE = 0, -1  # in place of a thumbnail's number: no thumbnail, nothing that could be shown
_ORDER = {code: n for n, code in enumerate(CODES)}

STYLE = """
.pages { display: flex; gap: .4rem; align-items: center; margin: .5rem 0; font-size: .85rem; flex-wrap: wrap }
.pages input { width: 4.5rem } .pages input, button { font: inherit; padding: .15rem .6rem; border: 1px solid var(--line); border-radius: 6px; background: Canvas; color: inherit; cursor: pointer }
button:disabled { opacity: .35; cursor: default } section.code { min-height: 12rem } section.code .cards figure { cursor: zoom-in }
dialog { max-width: min(96vw, 60rem); width: max-content; padding: 1rem; border: 1px solid var(--line); border-radius: 10px; color: inherit; background: Canvas; overflow-wrap: anywhere }
dialog::backdrop { background: rgb(0 0 0 / .6) } dialog img { display: block; min-width: min(84vw, 20rem); max-width: 100%; max-height: 62vh; object-fit: contain; margin: 0 auto .6rem }
dialog p { margin: .2rem 0; max-width: 40rem } dialog .bottom { display: flex; gap: .5rem; flex-wrap: wrap; margin-top: .7rem; align-items: center } dialog .bottom a { margin-right: auto }
"""

SCRIPT = """
const $ = id => document.getElementById(id), parts = {}, loads = {}, state = {}
const sections = [...document.querySelectorAll('section.code')]
function part(code, n, entries) { (parts[code] ??= [])[n] = entries }
function load(code, n) {
  return loads[code + n] ??= new Promise((done, failed) => {
    const script = document.createElement('script')
    script.src = `${AUDIT.folder}/${code}-${n}.js`
    script.onload = done
    script.onerror = () => { delete loads[code + n]; script.remove(); failed(script.src) }
    document.head.append(script)
  })
}
const make = (tag, facts = {}, ...inside) => { const e = Object.assign(document.createElement(tag), facts); e.append(...inside); return e }
const asked = () => ({ word: $('word').value.toLowerCase(), kind: $('kind').value, label: $('label').value, order: $('order').value })
const number = n => n.toLocaleString('en')

const link = row => AUDIT.base === null ? null : AUDIT.base + (row[8] ?? row[0].split('/').map(encodeURIComponent).join('/'))
const source = row => row[6] > 0 ? `${AUDIT.folder}/${row[6]}.jpg` : row[6] === 0 && row[7] ? link(row) : null
const verdict = row => AUDIT.severities[row[2]]
const said = row => row[4].map(n => AUDIT.names[n].replaceAll('_', ' ')).join(', ')

function picture(place, row) {
  if (!place) return make('div', { className: 'none', textContent: row[6] < 0 ? 'cannot be shown' : 'no thumbnail' })
  const image = make('img', { loading: 'lazy', alt: '', src: place })
  image.onload = () => image.classList.toggle('px', image.naturalWidth < 96)
  image.onerror = () => image.replaceWith(make('div', { className: 'none', textContent: 'its file is not there' }))
  return image
}
function card(row, rows) {
  const name = make('span', { className: 'dot ' + verdict(row), style: 'opacity:1', textContent: row[0] })
  const why = [row[1], row[3]].filter(Boolean).join('; ')
  const figure = make('figure', { title: `${row[0]}: ${said(row)}`, tabIndex: 0 },
    picture(source(row), row), make('figcaption', {}, name, make('span', { textContent: why })))
  figure.onclick = () => enlarge(rows, rows.indexOf(row))
  figure.onkeydown = event => event.key === 'Enter' && figure.onclick()
  return figure
}
function group(rows, shown) {
  const cards = make('div', { className: 'cards' }, ...rows.slice(0, shown).map(row => card(row, rows)))
  const box = make('div', { className: 'group' }, cards)
  if (rows.length > shown) {
    const more = make('button', { textContent: `${number(rows.length - shown)} more` })
    more.onclick = () => box.replaceWith(group(rows, shown + 60))
    box.append(more)
  }
  return box
}
function enlarge(rows, at) {
  const row = rows[at], box = $('large'), href = link(row)
  const step = by => enlarge(rows, at + by)
  const [back, next, close] = ['before', 'next', 'close'].map(word => make('button', { textContent: word }))
  back.disabled = at === 0
  next.disabled = at === rows.length - 1
  Object.assign(back, { onclick: () => step(-1) })
  Object.assign(next, { onclick: () => step(1) })
  close.onclick = () => box.close()
  const size = row[5] ? `${row[5][0]} x ${row[5][1]}` : ''
  const image = picture(href && row[7] ? href : source(row), row)
  if (href && row[7] && row[6] > 0) image.onerror = () => image.replaceWith(picture(source(row), row))
  const open = href ? make('a', { href, target: '_blank', textContent: 'open the file' }) : make('a', { textContent: AUDIT.where })
  box.replaceChildren(image, make('p', {}, make('b', { textContent: row[0] })),
    make('p', { className: 'by small', textContent: [row[1], size, verdict(row), said(row), row[3]].filter(Boolean).join(' \\u00b7 ') }),
    make('div', { className: 'bottom' }, open, back, next, close))
  box.onkeydown = event => {
    if (event.key === 'ArrowLeft' && at) step(-1)
    if (event.key === 'ArrowRight' && at < rows.length - 1) step(1)
  }
  if (!box.open) box.showModal()
}

async function draw(section) {
  const code = section.id, facts = AUDIT.codes[code], mine = state[code] ??= { page: 0, turn: 0 }, turn = ++mine.turn
  const { word, kind, label, order } = asked(), all = word || label || order !== 'worst'
  const body = section.querySelector('.body'), bar = section.querySelector('.pages')
  section.hidden = Boolean(kind && kind !== facts.severity)
  if (section.hidden) return
  const size = facts.grouped ? 12 : 24
  let entries, count = facts.entries
  try {
    if (all) {
      await Promise.all(Array.from({ length: facts.parts }, (_, n) => load(code, n)))
      const fits = row => (!label || row[1] === label) && (!word || `${row[0]} ${row[1]} ${row[3]}`.toLowerCase().includes(word))
      entries = parts[code].flat().filter(rows => rows.some(fits))
      if (word || label) entries = entries.map(rows => [...rows.filter(fits), ...rows.filter(row => !fits(row))])
      const by = { name: rows => rows[0][0], label: rows => rows[0][1] }[order]
      if (by) entries.sort((a, b) => by(a) < by(b) ? -1 : by(a) > by(b) ? 1 : 0)
      count = entries.length
    }
    mine.page = Math.max(0, Math.min(mine.page, Math.ceil(count / size) - 1))
    const from = mine.page * size
    if (entries) entries = entries.slice(from, from + size)
    else {
      const wanted = facts.starts.map((start, n) => n).filter(n => facts.starts[n] < from + size && (facts.starts[n + 1] ?? count) > from)
      await Promise.all(wanted.map(n => load(code, n)))
      entries = wanted.flatMap(n => parts[code][n].slice(Math.max(0, from - facts.starts[n]), Math.max(0, from + size - facts.starts[n])))
    }
    if (turn !== mine.turn) return  // asked again in the meantime
    section.hidden = !count
    const rows = entries.flat()
    body.className = facts.grouped ? 'body groups' : 'body cards'
    body.replaceChildren(...entries.map(entry => facts.grouped ? group(entry, 6) : card(entry[0], rows)))
    pages(bar, mine, count, size, facts, () => draw(section))
  } catch (place) {
    body.replaceChildren(`${place} cannot be read. The folder ${AUDIT.folder} belongs beside this page.`)
  }
}
function pages(bar, mine, count, size, facts, again) {
  const last = Math.max(0, Math.ceil(count / size) - 1), first = mine.page * size
  const go = page => { mine.page = Math.max(0, Math.min(last, page)); again() }
  const said = `${number(first + 1)} to ${number(Math.min(first + size, count))} of ${number(count)}${facts.grouped ? ' groups' : ''}`
  const back = make('button', { textContent: '\\u2039', ariaLabel: 'page before', disabled: !mine.page, onclick: () => go(mine.page - 1) })
  const next = make('button', { textContent: '\\u203a', ariaLabel: 'next page', disabled: mine.page === last, onclick: () => go(mine.page + 1) })
  const page = make('input', { type: 'number', min: 1, max: last + 1, value: mine.page + 1, ariaLabel: 'page', onchange: () => go(page.value - 1) })
  bar.replaceChildren(said, ...(last ? [back, page, `of ${number(last + 1)}`, next] : []))
}

const near = new IntersectionObserver(seen => {
  for (const one of seen) if (one.isIntersecting) { near.unobserve(one.target); draw(one.target) }
}, { rootMargin: '800px' })
sections.forEach(section => near.observe(section))
let wait = 0
function search() {
  clearTimeout(wait)
  wait = setTimeout(async () => {
    $('found').textContent = 'searching'
    for (const mine of Object.values(state)) mine.page = 0
    await Promise.all(sections.map(section => { near.unobserve(section); return draw(section) }))
    $('found').textContent = sections.some(section => !section.hidden) ? '' : 'nothing fits'
  }, 200)
}
for (const id of ['word', 'kind', 'label', 'order']) $(id).addEventListener('input', search)
"""


def write(page: Path, source: Source, out: Path, pictures: Pictures, verdicts: Sequence[str]) -> dict[str, Any]:
    """Make the folder beside `page`, whose place will be in `out`, and return what the page has to know of it: `AUDIT`
    of SCRIPT, and `note`, a sentence about the thumbnails."""
    folder = page.parent / FOLDER
    folder.mkdir()
    entries = _entries(pictures)
    rows = {row for found in entries.values() for group in found for row, _ in group}
    wanted = _first(entries)
    base, links, chosen = _files(source, out, rows, wanted)
    made = _thumbnails(folder, [(row, entry) for row, entry in chosen if pictures.usable[row]])
    codes: dict[int, list[int]] = {}
    for finding in pictures.findings:
        codes.setdefault(finding.row, []).append(_ORDER[finding.code])

    def row_of(row: int, why: str) -> list[Any]:
        usable = bool(pictures.usable[row])
        facts = [
            shown(pictures.names[row]), shown(pictures.labels[row] or ""), SEVERITIES.index(verdicts[row]), shown(why),
            codes.get(row, []), pictures.shape[row, :2].tolist() if usable else 0,
            made.get(row, _NONE if usable else _UNREADABLE), int(pictures.formats[row] in BROWSERS and usable),
        ]  # fmt: skip
        return [*facts, links[row]] if row in links else facts

    facts = {}
    for code, found in entries.items():
        starts = _write_parts(folder, code, ([row_of(row, why) for row, why in group] for group in found))
        facts[code] = {
            "entries": len(found), "parts": len(starts), "starts": starts, "grouped": code in GROUPED,
            "severity": CODES[code].severity,
        }  # fmt: skip
    return {
        "codes": facts, "names": list(CODES), "severities": SEVERITIES, "folder": FOLDER, "base": base,
        "where": "open it in its archive or store", "note": _note(len(rows), len(wanted), base is not None),
    }  # fmt: skip


def small(entry: Entry) -> Pixels | None:
    """(h, w, 3) uint8 of at most SIDE, over white, or None where it cannot be read."""
    try:
        data = entry.read()
        if isinstance(data, bytes):
            pixels, _ = decode(data, 3, WHITE, SIDE // 2)
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
    made: Pixels = fit(pixels[None], max(1, round(height * scale)), max(1, round(width * scale)), "stretch", WHITE)[0]
    return made


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
    for code in CODES:
        sign = 1 if code in LOWEST_FIRST else -1
        found = sorted(by_code.get(code, []), key=lambda f: (sign * (f.value or 0), f.row))
        if code in GROUPED:
            out[code] = [_group(groups[g], some) for g, some in _together(found).items()]
        else:
            out[code] = [[(f.row, f.detail)] for f in found]
    return {code: found for code, found in out.items() if found}


def _together(found: Sequence[Finding]) -> dict[int, list[Finding]]:
    out: dict[int, list[Finding]] = {}
    for finding in found:
        out.setdefault(finding.group, []).append(finding)
    return out


def _group(members: Sequence[int], found: Sequence[Finding]) -> list[tuple[int, str]]:
    """One that has not the finding first, then those that have it, then the others."""
    details = {f.row: f"{f.detail}{f', {f.value:.0f} bits apart' if f.value else ''}" for f in found}
    others = [row for row in members if row not in details]
    return [(row, details.get(row, "")) for row in (*others[:1], *sorted(details), *others[1:])]


def _first(entries: dict[str, list[list[tuple[int, str]]]]) -> set[int]:
    """The rows that get a thumbnail: of all codes the first entries, then the second, and so on."""
    rows: dict[int, None] = {}
    for place in range(max(map(len, entries.values()), default=0)):
        for found in entries.values():
            rows |= dict.fromkeys(row for row, _ in found[place]) if place < len(found) else {}
        if len(rows) >= THUMBNAILS:
            break
    return set(islice(rows, THUMBNAILS))


def _files(
    source: Source, out: Path, rows: set[int], wanted: set[int]
) -> tuple[str | None, dict[int, str], list[tuple[int, Entry]]]:
    """Where the files lie, seen from the folder `out`, None where they are in an archive; of `rows` the end of the
    address where it cannot be told from the shown name; and the entries of those wanted."""
    top, links, chosen = None, {}, []
    for row, entry in enumerate(source.entries()):
        if row in wanted:
            chosen.append((row, entry))
        if entry.path is not None:
            top = top or entry.path.parents[entry.name.count("/")]
            if row in rows:
                name = str(entry.path)[len(str(top)) + 1 :]
                if name != shown(entry.name):
                    links[row] = quote(os.fsencode(Path(name).as_posix()))
    return _relative(top.resolve(), str(out.resolve())) if top else None, links, chosen


def _relative(top: Path, here: str) -> str:
    try:
        return quote(os.fsencode(Path(os.path.relpath(top, here)).as_posix())) + "/"
    except ValueError:  # on another drive
        return top.as_uri() + "/"


def _thumbnails(folder: Path, chosen: Sequence[tuple[int, Entry]]) -> dict[int, int]:
    """Write the thumbnails, numbered from 1; the numbers by row."""
    numbers: dict[int, int] = {}

    def make(one: tuple[int, Entry]) -> tuple[int, bytes | None]:
        pixels = small(one[1])
        return one[0], None if pixels is None else as_jpeg(pixels)

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
    rest = "are shown from their own files, as long as these stay where they are" if files else "are named without one"
    return (
        f"Search and filter cover every picture behind a finding. Thumbnails were made of {thumbnails:,}, the worst of each "
        f"finding; the other {pictures - thumbnails:,} {rest}."
    )
