"""An audit as an HTML page: counts, spreads, and the pictures behind each finding (`gallery`)."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ganforge.auditing import gallery
from ganforge.auditing.checks import CHECKS, SEVERITIES
from ganforge.auditing.tables import Pictures, shown
from ganforge.base.images import Pixels
from ganforge.base.seeds import permuted
from ganforge.pages import render
from ganforge.sources.depth import Levels
from ganforge.sources.entry import Source

SHEET = 48
"""Pictures drawn by the seed."""
BINS = 30
CLASSES = 12
"""Classes that have a bar, the largest ones."""
SETTINGS = (
    "settings", "limits", "made", "formats", "modes", "sizes", "spreads", "diversity", "balance", "splits",
)  # fmt: skip
"""Sections of the summary that stand at the end of the page as they are."""


def write(
    path: Path,
    out: Path,
    source: Source,
    pictures: Pictures,
    verdicts: Sequence[str],
    summary: dict[str, Any],
    levels: Levels,
) -> None:
    """Write the page to `path`, and the folder that belongs beside it; the caller moves them to the folder `out`, from
    which the addresses of the source's files are relative. Pictures that get a thumbnail are read once more, those of
    more than eight bits by the set's `levels`. OSError where it cannot be written."""
    audit, note = gallery.write(path, source, out, pictures, verdicts, levels)
    findings = summary["findings"]
    by_severity = sorted(audit["codes"], key=lambda code: -SEVERITIES.index(CHECKS[code].severity))
    by_count = sorted(findings, key=lambda code: (-SEVERITIES.index(CHECKS[code].severity), -findings[code]))
    mean, sheet = _pictures(source, pictures, verdicts, levels, int(summary["settings"]["seed"]))
    page = render(
        Path(__file__).with_name("page.html"),
        name=shown(source.name),
        files=len(pictures),
        bytes=summary["bytes"],
        verdicts=summary["verdicts"],
        tiles=_tiles(summary),
        table=[(CHECKS[code], findings[code]) for code in by_count],
        histograms=_histograms(pictures),
        classes=_classes(summary["classes"]),
        mean=mean,
        sheet=sheet,
        note=note,
        severities=SEVERITIES[:0:-1],
        labels=[shown(label) for label in sorted({label for label in pictures.labels if label is not None})],
        sections=[(CHECKS[code], findings[code]) for code in by_severity],
        settings=_settings(summary),
        audit=audit,
    )
    path.write_text(page, "utf-8")


def _tiles(summary: dict[str, Any]) -> list[tuple[str, str]]:
    """A number and its meaning each."""
    tiles = []
    if diversity := summary["diversity"]:
        tiles.append((f"{diversity['share distinct']:.1%}", f"distinct: {diversity['distinct']:,} pictures"))
    if balance := summary["balance"]:
        tiles.append((f"{balance['evenness']:.2f}", f"evenness of {len(summary['classes'])} classes"))
    return tiles


def _histograms(pictures: Pictures) -> list[dict[str, Any]]:
    """Of the pictures that can be read; none where there are no such pictures."""
    rows = np.flatnonzero(pictures.usable)
    if not len(rows):
        return []
    width, height = pictures.shape[rows, 0].astype(float), pictures.shape[rows, 1].astype(float)
    return [
        _histogram("shorter side, pixels", np.minimum(width, height)),
        _histogram("width over height", np.log2(width / height), text=lambda v: f"{2**v:.2g}"),
        _histogram("brightness", pictures.stat("brightness")[rows], low=0, high=255),
        _histogram("contrast", pictures.stat("contrast")[rows], low=0),
        _histogram("sharpness", pictures.stat("sharpness")[rows], low=0),
        _histogram("noise", np.minimum(pictures.stat("noise")[rows], 30), low=0),
    ]


def _histogram(
    title: str,
    values: npt.NDArray[Any],
    text: Callable[[float], str] = lambda v: f"{v:.3g}",
    low: float | None = None,
    high: float | None = None,
) -> dict[str, Any]:
    """Counts in BINS equal steps from `low` to `high`, by default those of the values, and the median."""
    low = float(values.min()) if low is None else low
    high = max(float(values.max()) if high is None else high, low + 1e-6)
    counts = np.histogram(values, BINS, (low, high))[0]
    return {
        "title": title,
        "counts": counts.tolist(),
        "top": max(int(counts.max()), 1),
        "low": text(low),
        "high": text(high),
        "median": text(float(np.median(values))),
    }


def _classes(classes: dict[str, int]) -> dict[str, Any] | None:
    """The largest classes; None without classes."""
    largest = sorted(classes.items(), key=lambda item: -item[1])[:CLASSES]
    if not largest:
        return None
    short = [(shown(name if len(name) < 15 else name[:13] + "…"), count) for name, count in largest]
    more = f" (the largest {CLASSES} of {len(classes):,})" if len(classes) > CLASSES else ""
    return {"title": f"classes{more}", "classes": short, "top": max(largest[0][1], 1)}


def _pictures(
    source: Source, pictures: Pictures, verdicts: Sequence[str], levels: Levels, seed: int
) -> tuple[str, list[dict[str, Any]]]:
    """The mean picture, and SHEET pictures drawn by the seed; an empty string where no picture can be read."""
    usable = np.flatnonzero(pictures.usable)
    if not len(usable):
        return "", []
    mean = (pictures.total / len(usable)).round().clip(0, 255).astype(np.uint8)
    sheet = usable[permuted(seed, "audit", len(usable), np.arange(min(SHEET, len(usable))))].tolist()
    drawn, on_sheet = {}, set(sheet)
    for row, entry in enumerate(source.entries()):
        if row in on_sheet and (pixels := gallery.thumbnail(entry, levels)) is not None:
            drawn[row] = {
                "name": shown(pictures.names[row]),
                "label": shown(pictures.labels[row] or ""),
                "verdict": verdicts[row],
                "small": pixels.shape[1] < 96,
                "source": _data_url(pixels),
            }
    return _data_url(mean), [drawn[row] for row in sheet if row in drawn]


def _data_url(pixels: Pixels) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(gallery.as_jpeg(pixels)).decode()


def _settings(summary: dict[str, Any]) -> str:
    """JSON in ASCII, so that no name disturbs the page; \\udce9 and the like keep a single backslash."""
    text = json.dumps({name: summary[name] for name in SETTINGS}, indent=1, ensure_ascii=True)
    return text.replace("\\\\u", "\\u")
