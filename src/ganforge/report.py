"""A run as one self-contained HTML page: curves, pictures, numbers."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ganforge.base.files import writing
from ganforge.base.stats import read
from ganforge.measuring.measure import Measured
from ganforge.runs import Run

_COLORS = ("#2563eb", "#d97706", "#059669", "#dc2626", "#7c3aed", "#0891b2")
_STYLE = """
:root { color-scheme: light dark; --line: color-mix(in srgb, currentColor 18%, transparent) }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.6rem; margin-bottom: 0 } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem }
.by { opacity: .7; margin-top: .2rem } img { max-width: 100%; image-rendering: pixelated; border-radius: 4px }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(10rem, 1fr)); gap: .75rem }
.tile { border: 1px solid var(--line); border-radius: 8px; padding: .6rem .8rem }
.tile b { display: block; font-size: 1.5rem; font-variant-numeric: tabular-nums }
.tile span { opacity: .75; font-size: .85rem } svg { width: 100%; height: auto }
pre { overflow-x: auto; border: 1px solid var(--line); border-radius: 8px; padding: .8rem; font-size: .8rem }
.key { font-size: .85rem; margin-right: 1rem; white-space: nowrap } .wide { overflow-wrap: anywhere; font-size: .85rem; opacity: .8 }
"""


def write(run: Run, measured: Sequence[tuple[str, Measured]], out: Path) -> Path:
    """Write the page of `run` to `out`; `measured` are (name, numbers), the one to read first."""
    rows = read(run.path)
    sheets = sorted((run.path / "samples").glob("*.png"))
    parts = [
        f"<h1>{html.escape(run.system_name)}</h1>",
        f"<p class=by>{html.escape(str(run.spec))}, {rows[-1]['seen'] if rows else 0:,} images shown</p>",
    ]
    if measured:
        parts += ["<h2>Numbers</h2>", _tiles(measured[0][1])]
        parts += [f"<p>{html.escape(measured[0][1].above_floor)}</p>"]
        parts += [f"<p class=wide>{html.escape(str(measured[0][1]).splitlines()[-2])}</p>"]
        if len(measured) > 1:
            parts += ["<h2>Beside it</h2>", "<pre>", html.escape(_table(measured)), "</pre>"]
    if sheets:
        parts += ["<h2>Samples, not chosen</h2>", _image(sheets[-1], "samples of the first seeds")]
    if (run.path / "nearest.png").exists():
        parts += [
            "<h2>Are they copies?</h2>",
            "<p class=by>The samples nearest to a training picture, each with that picture to its right.</p>",
            _image(run.path / "nearest.png", "samples beside their nearest training pictures"),
        ]
    losses = list(dict.fromkeys(name for row in rows for name in row if "/" in name))
    if len(rows) > 1 and losses:
        parts += [
            "<h2>Losses</h2>",
            _curves(rows, losses),
            "<h2>Images a second</h2>",
            _curves(rows, ["images_per_second"]),
        ]
    if len(sheets) > 2:
        parts += ["<h2>The first sheet</h2>", _image(sheets[0], "the same seeds at the first report")]
    settings = (run.path / "run.toml").read_text("utf-8")
    parts += ["<h2>Settings</h2>", f"<pre>{html.escape(settings)}</pre>"]
    title = html.escape(f"{run.system_name}: {run.path.name}")
    page = (
        f"<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f"<title>{title}</title><style>{_STYLE}</style><body>{''.join(parts)}"
        f"<script type='application/json' id=data>{_json(rows, measured)}</script></body></html>"
    )
    with writing(out):
        out.write_text(page, "utf-8")
    return out


def _json(rows: list[dict[str, Any]], measured: Sequence[tuple[str, Measured]]) -> str:
    data = {"stats": rows, "measured": {name: asdict(numbers) for name, numbers in measured}}
    return json.dumps(data, allow_nan=False).replace("<", "\\u003c")


def _tiles(m: Measured) -> str:
    """The numbers, each with that of held-out pictures."""

    def beside(text: str, floor: float | None, form: str) -> str:
        return f"{text}; real ones {format(floor, form)}" if floor is not None else text

    kernel_floor = None if m.kernel_floor is None else 1000 * m.kernel_floor
    tiles = [
        (f"{m.distance:.2f}", beside("Fréchet distance", m.floor, ".2f")),
        (f"{1000 * m.kernel:.2f}", beside("kernel distance x 1000", kernel_floor, ".2f")),
        (f"{m.precision:.2f}", beside("precision", m.precision_floor, ".2f")),
        (f"{m.recall:.2f}", beside("recall", m.recall_floor, ".2f")),
        (f"{m.coverage:.2f}", beside("coverage", m.coverage_floor, ".2f")),
        (f"{m.sliced[0]:.0f}", beside(f"patches at {m.scales[0]} px", (m.sliced_floor or [None])[0], ".0f")),
    ]
    if m.told_apart is not None:
        tiles.append((f"{m.told_apart:.0%}", "told from real ones; 50% is perfect"))
    if m.copies is not None:
        tiles.append((f"{m.copies:.1%}", "copies; real ones 1.0%"))
    return (
        "<div class=tiles>" + "".join(f"<div class=tile><b>{a}</b><span>{b}</span></div>" for a, b in tiles) + "</div>"
    )


def _table(measured: Sequence[tuple[str, Measured]]) -> str:
    width = max(len(name) for name, _ in measured)
    lines = [f"{'':{width}}  distance     floor  precision  recall  coverage"]
    for name, m in measured:
        floor = "-" if m.floor is None else f"{m.floor:.3f}"
        lines.append(
            f"{name:{width}}  {m.distance:8.3f}  {floor:>8}  {m.precision:9.3f}  {m.recall:6.3f}  {m.coverage:8.3f}"
        )
    return "\n".join(lines)


def _image(path: Path, alt: str) -> str:
    data = base64.b64encode(path.read_bytes()).decode()
    return f"<img alt='{html.escape(alt)}' src='data:image/png;base64,{data}'>"


def _curves(rows: list[dict[str, Any]], names: Sequence[str]) -> str:
    """Lines over images shown, as SVG."""
    width, height, left, bottom = 800, 240, 60, 30
    points = [(row["seen"], name, row[name]) for row in rows for name in names if name in row]
    top, low, end = (
        float(max(p[2] for p in points)),
        float(min(0.0, *(p[2] for p in points))),
        float(max(p[0] for p in points)),
    )
    span = (top - low) or 1.0

    def x(seen: float) -> float:
        return left + (width - left - 10) * seen / end

    def y(value: float) -> float:
        return 10 + (height - bottom - 10) * (1 - (value - low) / span)

    marks = []
    for share in (0.0, 0.5, 1.0):
        value, seen = low + span * share, end * share
        marks.append(
            f"<line x1={left} x2={width - 10} y1={y(value):.1f} y2={y(value):.1f} stroke='currentColor' stroke-opacity=.15 />"
        )
        marks.append(
            f"<text x={left - 8} y={y(value) + 4:.1f} font-size=12 text-anchor=end fill='currentColor'>{value:,.4g}</text>"
        )
        anchor = "end" if share == 1 else "middle"
        marks.append(
            f"<text x={x(seen):.1f} y={height - 8} font-size=12 text-anchor={anchor} fill='currentColor'>{seen:,.0f}</text>"
        )
    keys = []
    for color, name in zip(_COLORS, names, strict=False):
        line = " ".join(f"{x(row['seen']):.1f},{y(row[name]):.1f}" for row in rows if name in row)
        marks.append(f"<polyline points='{line}' fill=none stroke='{color}' stroke-width=2 />")
        keys.append(f"<span class=key style='color:{color}'>&#9632; {html.escape(name)}</span>")
    return f"<svg viewBox='0 0 {width} {height}' role=img>{''.join(marks)}</svg><div>{''.join(keys)}</div>"
