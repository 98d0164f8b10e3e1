"""An audit as one self-contained HTML page: counts, spreads, and the pictures behind each finding."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import simplejpeg
from PIL import Image

from ganforge.audit_tables import Pictures, shown
from ganforge.data.checks import CODES, SEVERITIES, Finding
from ganforge.data.decode import decode, fit_channels
from ganforge.data.sources import Entry, Skip, Source
from ganforge.data.transform import fit
from ganforge.images import Pixels
from ganforge.seeds import permuted

SHOWN = 24
GROUPS = 24
IN_GROUP = 6
SHEET = 48
SIDE = 128
MAX_BYTES = 9_000_000  # of thumbnails in base64; the page stays below 12 MB
GROUPED = ("exact_duplicate", "near_duplicate", "mirrored", "label_conflict")
LOWEST_FIRST = {"blurred", "dark", "low_contrast", "near_uniform", "too_small", "near_duplicate", "mirrored"}
_WHITE = (255, 255, 255)
_HUES = {"ok": "#059669", "convert": "#2563eb", "warn": "#d97706", "reject": "#dc2626"}

_STYLE = """
:root { color-scheme: light dark; --line: color-mix(in srgb, currentColor 18%, transparent) }
* { box-sizing: border-box }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 76rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.6rem; margin-bottom: 0; overflow-wrap: anywhere } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem }
h3 { font-size: .95rem; margin: 0 0 .2rem } .by { opacity: .75; margin: .2rem 0 } .small { font-size: .85rem }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(8rem, 1fr)); gap: .75rem; margin: 1rem 0 }
.tile { border: 1px solid var(--line); border-radius: 8px; padding: .6rem .8rem }
.tile b { display: block; font-size: 1.5rem; font-variant-numeric: tabular-nums } .tile span { opacity: .75; font-size: .85rem }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 14rem), 1fr)); gap: 1rem }
.chart svg { width: 100%; height: auto; display: block } .chart text { fill: currentColor; font-size: 11px }
table { border-collapse: collapse; width: 100%; font-size: .9rem } td, th { text-align: left; padding: .3rem .6rem .3rem 0; vertical-align: top; border-bottom: 1px solid var(--line) }
td.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap } a { color: inherit }
.dot::before { content: '\\25cf'; margin-right: .35em } figcaption .dot { color: inherit } figcaption .ok::before { color: #059669 } figcaption .convert::before { color: #2563eb } figcaption .warn::before { color: #d97706 } figcaption .reject::before { color: #dc2626 } .ok { color: #059669 } .convert { color: #2563eb } .warn { color: #d97706 } .reject { color: #dc2626 }
@media (prefers-color-scheme: dark) { .ok { color: #34d399 } .convert { color: #60a5fa } .warn { color: #fbbf24 } .reject { color: #f87171 } }
.bar { position: sticky; top: 0; background: Canvas; padding: .6rem 0; display: flex; flex-wrap: wrap; gap: .5rem; z-index: 1; border-bottom: 1px solid var(--line) }
.bar input, .bar select { font: inherit; font-size: .9rem; padding: .3rem .5rem; border: 1px solid var(--line); border-radius: 6px; min-width: 0; flex: 1 1 8rem }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(6.8rem, 1fr)); gap: .6rem; align-items: start }
figure { margin: 0; font-size: .75rem; line-height: 1.3; overflow-wrap: anywhere } figcaption span { display: -webkit-box; -webkit-box-orient: vertical; -webkit-line-clamp: 2; overflow: hidden; opacity: .75 }
.group figcaption span { -webkit-line-clamp: 4 }
figure img, .none { width: 100%; aspect-ratio: 1; object-fit: contain; border-radius: 4px; display: block; background: color-mix(in srgb, currentColor 6%, transparent) }
.none { display: grid; place-items: center; opacity: .7; padding: .5rem; text-align: center } .px { image-rendering: pixelated }
.group { border: 1px solid var(--line); border-radius: 8px; padding: .5rem; margin: 0 0 .6rem } .groups { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 24rem), 1fr)); gap: .6rem; align-items: start }
.group .cards { grid-template-columns: repeat(auto-fill, minmax(5.5rem, 1fr)) }
pre { overflow-x: auto; border: 1px solid var(--line); border-radius: 8px; padding: .8rem; font-size: .8rem }
[hidden] { display: none !important } .meanings td:nth-child(4) { opacity: .85 } @media (max-width: 40rem) { .meanings td:nth-child(4), .meanings th:nth-child(4) { display: none } }
"""

_SCRIPT = """
const $ = id => document.getElementById(id), all = (e, s) => [...e.querySelectorAll(s)]
function show() {
  const word = $('word').value.toLowerCase(), kind = $('kind').value, label = $('label').value
  for (const section of all(document, 'section.code')) {
    for (const card of all(section, 'figure')) {
      const d = card.dataset
      card.hidden = !((!word || (d.name + ' ' + d.why).toLowerCase().includes(word)) && (!label || d.label === label))
    }
    for (const group of all(section, '.group')) {  // a group stays whole
      const cards = all(group, 'figure'), some = cards.some(c => !c.hidden)
      cards.forEach(c => c.hidden = false)
      group.hidden = !some
    }
    section.hidden = (kind && section.dataset.severity !== kind) || !all(section, 'figure').some(c => !c.hidden && !c.closest('[hidden]'))
  }
}
function sort() {
  const by = $('order').value
  const key = {worst: c => +c.dataset.rank, name: c => c.dataset.name, label: c => c.dataset.label}[by]
  const less = (a, b) => { const x = key(a), y = key(b); return x < y ? -1 : x > y ? 1 : a.dataset.rank - b.dataset.rank }
  for (const box of all(document, '.sorted')) [...box.children].sort(less).forEach(c => box.append(c))
}
for (const id of ['word', 'kind', 'label']) $(id).addEventListener('input', show)
$('order').addEventListener('input', sort)
"""


def write(path: Path, source: Source, pictures: Pictures, verdicts: Sequence[str], summary: dict[str, Any]) -> None:
    """Write the page. Pictures are read once more, those that are shown."""
    by_code: dict[str, list[Finding]] = {}
    for finding in pictures.findings:
        by_code.setdefault(finding.code, []).append(finding)
    for code, found in by_code.items():
        sign = 1 if code in LOWEST_FIRST else -1
        found.sort(key=lambda f, sign=sign: (sign * (f.value or 0), f.row))  # type: ignore[misc]
    usable = np.flatnonzero(pictures.usable)
    seed = int(summary["settings"]["seed"])
    sheet = (
        usable[permuted(seed, "audit", len(usable), np.arange(min(SHEET, len(usable))))].tolist() if len(usable) else []
    )
    groups = _members(pictures)
    wanted = set(sheet)
    for code, found in by_code.items():
        wanted |= (
            {row for rows in _shown_groups(found, groups) for row in rows}
            if code in GROUPED
            else {f.row for f in found[:SHOWN]}
        )
    thumbnails = _Thumbnails(source, wanted)
    reasons: dict[int, list[str]] = {}
    for finding in pictures.findings:
        if finding.row in wanted:
            reasons.setdefault(finding.row, []).append(finding.code.replace("_", " "))
    card = _Card(pictures, verdicts, thumbnails, reasons)
    sections = []
    for code in (c for severity in SEVERITIES[::-1] for c in CODES if CODES[c].severity == severity and c in by_code):
        found = by_code[code]
        body = _groups(code, found, groups, card) if code in GROUPED else _gallery(found, card)
        sections.append(_section(code, len(found), body))
    parts = [
        f"<h1>{_text(source.name)}</h1><p class=by>audit of {len(pictures):,} files, {summary['bytes'] / 1e6:,.1f} MB</p>",
        _tiles(summary),
        "<h2>What was found</h2>", _table(summary),
        "<h2>Spreads</h2>", _charts(pictures, summary),
        "<h2>On the whole</h2>", _whole(pictures, sheet, card),
        "<h2>Pictures behind the findings</h2>", _bar(pictures), *sections,
        "<h2>Settings and limits</h2>", f"<pre>{_settings(summary)}</pre>",
    ]  # fmt: skip
    page = (
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width, initial-scale=1'>"
        f"<title>audit of {_text(source.name)}</title><style>{_STYLE}</style><body>{''.join(parts)}<script>{_SCRIPT}</script></body></html>"
    )
    path.write_text(page, "utf-8")


def _text(name: str) -> str:
    return html.escape(shown(name))


# --------------------------------------------------------------------------------------------------------- the pictures


class _Thumbnails:
    """Small JPEGs as data URIs, each with its width; none where a file cannot be read or the page is full."""

    def __init__(self, source: Source, rows: set[int]) -> None:
        self.uris: dict[int, tuple[str, int]] = {}
        self.left = MAX_BYTES
        for row, entry in enumerate(source.entries()):
            if row in rows and (pixels := _small(entry)) is not None:
                data = simplejpeg.encode_jpeg(
                    np.ascontiguousarray(pixels), quality=80, colorspace="RGB", colorsubsampling="420"
                )
                self.uris[row] = "data:image/jpeg;base64," + base64.b64encode(data).decode(), pixels.shape[1]

    def take(self, row: int) -> tuple[str, int] | None:
        """The URI and width of a row's picture, once more, while the page has room for it."""
        found = self.uris.get(row)
        if found is None or len(found[0]) > self.left:
            return None
        self.left -= len(found[0])
        return found


def _small(entry: Entry) -> Pixels | None:
    """(h, w, 3) uint8 of at most SIDE, or None."""
    try:
        data = entry.read()
        if isinstance(data, bytes):
            pixels, _ = decode(data, 3, _WHITE, SIDE // 2)
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
    small: Pixels = fit(pixels[None], max(1, round(height * scale)), max(1, round(width * scale)), "stretch", _WHITE)[0]
    return small


class _Card:
    """One picture with its name and why it is here."""

    def __init__(
        self, pictures: Pictures, verdicts: Sequence[str], thumbnails: _Thumbnails, reasons: dict[int, list[str]]
    ) -> None:
        self.pictures, self.verdicts, self.thumbnails, self.reasons = pictures, verdicts, thumbnails, reasons

    def __call__(self, row: int, detail: str, rank: int) -> str:
        name, label = _text(self.pictures.names[row]), _text(self.pictures.labels[row] or "")
        why = _text(detail)
        taken = self.thumbnails.take(row)
        if taken is None:
            image = f"<div class=none>{'cannot be shown' if not self.pictures.usable[row] else 'left out: the page is full'}</div>"
        else:
            image = f"<img loading=lazy alt='' class='{'px' if taken[1] < 96 else ''}' src='{taken[0]}'>"
        title = f"{name}: {', '.join(self.reasons.get(row, [])) or 'ok'}"
        return (
            f"<figure data-name='{name}' data-label='{label}' data-why='{why}' data-rank={rank} title='{title}'>{image}"
            f"<figcaption><span class='dot {self.verdicts[row]}' style='opacity:1'>{name}</span><span>{why}</span></figcaption></figure>"
        )


def _members(pictures: Pictures) -> dict[int, list[int]]:
    rows = np.flatnonzero(pictures.group >= 0)
    out: dict[int, list[int]] = {}
    for row, group in zip(rows.tolist(), pictures.group[rows].tolist(), strict=True):
        out.setdefault(group, []).append(row)
    return out


def _shown_groups(found: Iterable[Finding], groups: dict[int, list[int]]) -> list[list[int]]:
    """The members of the first groups of a code: those that have the finding, and one that has not."""
    chosen: dict[int, set[int]] = {}
    for finding in found:
        if finding.group in chosen or len(chosen) < GROUPS:
            chosen.setdefault(finding.group, set()).add(finding.row)
    out = []
    for group, having in chosen.items():
        others = [row for row in groups[group] if row not in having]
        out.append([*others[:1], *sorted(having), *others[1:]][:IN_GROUP])
    return out


def _gallery(found: Sequence[Finding], card: _Card) -> str:
    cards = [card(f.row, f.detail, rank) for rank, f in enumerate(found[:SHOWN])]
    return f"<div class='cards sorted'>{''.join(cards)}</div>"


def _groups(code: str, found: Sequence[Finding], groups: dict[int, list[int]], card: _Card) -> str:
    details = {f.row: f"{f.detail}{f', {f.value:.0f} bits apart' if f.value else ''}" for f in found}
    boxes = []
    for rank, rows in enumerate(_shown_groups(found, groups)):
        group = int(card.pictures.group[rows[0]])
        label = card.pictures.labels[rows[0]] or ""
        cards = [card(row, _labelled(card.pictures, row, details.get(row, "")), n) for n, row in enumerate(rows)]
        more = len(groups[group]) - len(rows)
        words = f"<p class='by small'>and {more:,} more</p>" if more > 0 else ""
        name = _text(card.pictures.names[rows[0]])
        boxes.append(
            f"<div class=group data-rank={rank} data-name='{name}' data-label='{_text(label)}'><div class=cards>{''.join(cards)}</div>{words}</div>"
        )
    return f"<div class='groups sorted'>{''.join(boxes)}</div>"


def _labelled(pictures: Pictures, row: int, detail: str) -> str:
    label = pictures.labels[row]
    return f"{label}; {detail}" if label and detail else label or detail


def _section(code: str, count: int, body: str) -> str:
    kind = CODES[code]
    few = (
        f"; the first {GROUPS if code in GROUPED else SHOWN} {'groups' if code in GROUPED else ''}"
        if count > SHOWN
        else ""
    )
    return (
        f"<section class=code id={code} data-severity={kind.severity}><h2><span class='dot {kind.severity}'></span>{code.replace('_', ' ')} "
        f"<small class=by>{count:,}{few}</small></h2><p class='by small'>{html.escape(kind.meaning)}. {html.escape(kind.remedy)}.</p>{body}</section>"
    )


# ---------------------------------------------------------------------------------------------------------- the numbers


def _tiles(summary: dict[str, Any]) -> str:
    tiles = [
        (f"{count:,}", f"<span class='dot {name}' style='opacity:1'>{name}</span>")
        for name, count in summary["verdicts"].items()
    ]
    apart = summary["diversity"]
    if apart:
        tiles.append((f"{apart['share distinct']:.1%}", f"<span>distinct: {apart['distinct']:,} pictures</span>"))
    if summary["balance"]:
        tiles.append(
            (f"{summary['balance']['evenness']:.2f}", f"<span>evenness of {len(summary['classes'])} classes</span>")
        )
    return "<div class=tiles>" + "".join(f"<div class=tile><b>{a}</b>{b}</div>" for a, b in tiles) + "</div>"


def _table(summary: dict[str, Any]) -> str:
    if not summary["findings"]:
        return "<p>Nothing.</p>"
    order = sorted(summary["findings"], key=lambda c: (-SEVERITIES.index(CODES[c].severity), -summary["findings"][c]))
    rows = [
        f"<tr><td><a href='#{code}' class='dot {CODES[code].severity}'>{code.replace('_', ' ')}</a></td><td class=n>{summary['findings'][code]:,}</td>"
        f"<td>{html.escape(CODES[code].meaning)}</td><td>{html.escape(CODES[code].remedy)}</td></tr>"
        for code in order
    ]
    return (
        f"<table class=meanings><tr><th>code</th><th></th><th>meaning</th><th>remedy</th></tr>{''.join(rows)}</table>"
    )


def _charts(pictures: Pictures, summary: dict[str, Any]) -> str:
    rows = np.flatnonzero(pictures.usable)
    if not len(rows):
        return "<p>No picture could be read.</p>"
    width, height = pictures.shape[rows, 0].astype(float), pictures.shape[rows, 1].astype(float)
    charts = [
        _histogram("shorter side, pixels", np.minimum(width, height)),
        _histogram("width over height", np.log2(width / height), lambda v: f"{2**v:.2g}"),
        _histogram("brightness", pictures.stat("brightness")[rows], low=0, high=255),
        _histogram("contrast", pictures.stat("contrast")[rows], low=0),
        _histogram("sharpness", pictures.stat("sharpness")[rows], low=0),
        _histogram("noise", np.minimum(pictures.stat("noise")[rows], 30), low=0),
    ]
    if summary["classes"]:
        charts.append(_classes(summary["classes"]))
    return f"<div class=charts>{''.join(charts)}</div>"


def _histogram(
    title: str,
    values: npt.NDArray[Any],
    word: Any = lambda v: f"{v:.3g}",
    low: float | None = None,
    high: float | None = None,
) -> str:
    """Thirty bars as SVG, with the median."""
    low = float(values.min()) if low is None else low
    high = max(float(values.max()) if high is None else high, low + 1e-6)
    counts, _ = np.histogram(values, 30, (low, high))
    top = max(int(counts.max()), 1)
    bars = "".join(
        f"<rect x={n * 10 + 1} y={90 - 80 * c / top:.1f} width=8 height={80 * c / top:.1f} fill='#2563eb'><title>{c:,}</title></rect>"
        for n, c in enumerate(counts.tolist())
    )
    middle = float(np.median(values))
    marks = f"<text x=1 y=106>{word(low)}</text><text x=299 y=106 text-anchor=end>{word(high)}</text><text x=150 y=106 text-anchor=middle>median {word(middle)}</text>"
    return f"<div class=chart><h3>{title}</h3><svg viewBox='0 0 300 110' role=img aria-label='{title}'><line x1=0 x2=300 y1=90.5 y2=90.5 stroke=currentColor stroke-opacity=.3 />{bars}{marks}</svg></div>"


def _classes(classes: dict[str, int]) -> str:
    """Bars of the largest classes."""
    largest = sorted(classes.items(), key=lambda item: -item[1])
    some, top = largest[:12], max(largest[0][1], 1)
    bars = "".join(
        f"<text x=96 y={n * 18 + 13} text-anchor=end>{_text(name if len(name) < 15 else name[:13] + '…')}</text>"
        f"<rect x=102 y={n * 18 + 3} width={140 * count / top:.1f} height=12 fill='#2563eb' /><text x={108 + 140 * count / top:.1f} y={n * 18 + 13}>{count:,}</text>"
        for n, (name, count) in enumerate(some)
    )
    more = f" (the largest 12 of {len(classes):,})" if len(classes) > 12 else ""
    return f"<div class=chart><h3>classes{more}</h3><svg viewBox='0 0 300 {18 * len(some) + 4}' role=img aria-label=classes>{bars}</svg></div>"


def _whole(pictures: Pictures, sheet: Sequence[int], card: _Card) -> str:
    count = int(pictures.usable.sum())
    if not count:
        return ""
    mean = (pictures.total / count).round().clip(0, 255).astype(np.uint8)
    data = simplejpeg.encode_jpeg(np.ascontiguousarray(mean), quality=90, colorspace="RGB")
    uri = "data:image/jpeg;base64," + base64.b64encode(data).decode()
    first = f"<figure><img alt='mean of all pictures' src='{uri}'><figcaption>the mean of all</figcaption></figure>"
    cards = [card(row, pictures.labels[row] or "", n) for n, row in enumerate(sheet)]
    return f"<p class='by small'>The mean picture, and {len(sheet)} drawn by the seed.</p><div class=cards>{first}{''.join(cards)}</div>"


def _bar(pictures: Pictures) -> str:
    labels = sorted({label for label in pictures.labels if label is not None})[:500]
    options = "".join(f"<option value='{_text(label)}'>{_text(label)}</option>" for label in labels)
    kinds = "".join(f"<option>{name}</option>" for name in SEVERITIES[:0:-1])
    return (
        "<div class=bar><input id=word type=search placeholder='name or detail' aria-label='name or detail'>"
        f"<select id=kind aria-label=severity><option value=''>all severities</option>{kinds}</select>"
        f"<select id=label aria-label=class><option value=''>all classes</option>{options}</select>"
        "<select id=order aria-label=order><option value=worst>worst first</option><option value=name>by name</option><option value=label>by class</option></select></div>"
    )


def _settings(summary: dict[str, Any]) -> str:
    facts = {
        name: summary[name]
        for name in (
            "settings",
            "limits",
            "made",
            "formats",
            "modes",
            "sizes",
            "spreads",
            "diversity",
            "balance",
            "splits",
        )
    }
    return html.escape(json.dumps(facts, indent=1, ensure_ascii=True).replace("\\\\u", "\\u"))
