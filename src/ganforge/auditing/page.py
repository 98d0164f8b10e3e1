"""An audit as an HTML page: counts, spreads, and places for the pictures behind each finding (`audit_gallery`)."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ganforge.auditing import gallery
from ganforge.auditing.checks import CODES, SEVERITIES
from ganforge.auditing.tables import Pictures, shown
from ganforge.base.images import Pixels
from ganforge.base.seeds import permuted
from ganforge.sources.entry import Source

SHEET = 48
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


def write(
    path: Path, out: Path, source: Source, pictures: Pictures, verdicts: Sequence[str], summary: dict[str, Any]
) -> None:
    """Write the page, and what belongs beside it; both will be moved to the folder `out`. Pictures are read once more,
    those that get a thumbnail."""
    usable = np.flatnonzero(pictures.usable)
    seed = int(summary["settings"]["seed"])
    sheet = usable[permuted(seed, "audit", max(len(usable), 1), np.arange(min(SHEET, len(usable))))]
    facts = gallery.write(path, source, out, pictures, verdicts)
    note = facts.pop("note")
    order = (c for severity in SEVERITIES[::-1] for c in CODES if CODES[c].severity == severity and c in facts["codes"])
    parts = [
        f"<h1>{_text(source.name)}</h1><p class=by>audit of {len(pictures):,} files, {summary['bytes'] / 1e6:,.1f} MB</p>",
        _tiles(summary),
        "<h2>What was found</h2>", _table(summary),
        "<h2>Spreads</h2>", _charts(pictures, summary),
        "<h2>On the whole</h2>", _whole(source, pictures, sheet, verdicts),
        "<h2>Pictures behind the findings</h2>", f"<p class='by small'>{html.escape(note)} Click to enlarge.</p>",
        "<noscript><p>The pictures are read by scripts; findings.csv has them as a table.</p></noscript>",
        _bar(pictures), *(_section(code, summary["findings"][code]) for code in order),
        "<h2>Settings and limits</h2>", f"<pre>{_settings(summary)}</pre>",
    ]  # fmt: skip
    known = json.dumps(facts, separators=(",", ":")).replace("<", "\\u003c")
    page = (
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width, initial-scale=1'>"
        f"<title>audit of {_text(source.name)}</title><style>{_STYLE}{gallery.STYLE}</style><body>{''.join(parts)}"
        f"<dialog id=large></dialog><script>const AUDIT={known}{gallery.SCRIPT}</script></body></html>"
    )
    path.write_text(page, "utf-8")


def _text(name: str) -> str:
    return html.escape(shown(name))


def _section(code: str, count: int) -> str:
    kind = CODES[code]
    return (
        f"<section class=code id={code} data-severity={kind.severity}><h2><span class='dot {kind.severity}'></span>{code.replace('_', ' ')} "
        f"<small class=by>{count:,}</small></h2><p class='by small'>{html.escape(kind.meaning)}. {html.escape(kind.remedy)}.</p>"
        "<div class=pages></div><div class=body></div></section>"
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


def _whole(source: Source, pictures: Pictures, sheet: npt.NDArray[np.int64], verdicts: Sequence[str]) -> str:
    count = int(pictures.usable.sum())
    if not count:
        return ""
    mean = (pictures.total / count).round().clip(0, 255).astype(np.uint8)
    first = (
        f"<figure><img alt='mean of all pictures' src='{_uri(mean)}'><figcaption>the mean of all</figcaption></figure>"
    )
    wanted, cards = set(sheet.tolist()), {}
    for row, entry in enumerate(source.entries()):
        if row in wanted and (pixels := gallery.small(entry)) is not None:
            name, label = _text(pictures.names[row]), _text(pictures.labels[row] or "")
            cards[row] = (
                f"<figure title='{name}'><img loading=lazy alt='' class='{'px' if pixels.shape[1] < 96 else ''}' src='{_uri(pixels)}'>"
                f"<figcaption><span class='dot {verdicts[row]}' style='opacity:1'>{name}</span><span>{label}</span></figcaption></figure>"
            )
    shown_ = "".join(cards[row] for row in sheet.tolist() if row in cards)
    return f"<p class='by small'>The mean picture, and {len(cards)} drawn by the seed.</p><div class=cards>{first}{shown_}</div>"


def _uri(pixels: Pixels) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(gallery.as_jpeg(pixels)).decode()


def _bar(pictures: Pictures) -> str:
    labels = sorted({label for label in pictures.labels if label is not None})
    options = "".join(f"<option value='{_text(label)}'>{_text(label)}</option>" for label in labels)
    kinds = "".join(f"<option>{name}</option>" for name in SEVERITIES[:0:-1])
    return (
        "<div class=bar><input id=word type=search placeholder='name, class or detail' aria-label='name, class or detail'>"
        f"<select id=kind aria-label=severity><option value=''>all severities</option>{kinds}</select>"
        f"<select id=label aria-label=class><option value=''>all classes</option>{options}</select>"
        "<select id=order aria-label=order><option value=worst>worst first</option><option value=name>by name</option><option value=label>by class</option></select><span id=found class=by role=status></span></div>"
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
