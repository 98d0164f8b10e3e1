"""A run as one self-contained HTML page: curves, pictures, numbers."""

from __future__ import annotations

import base64
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ganforge import sampling
from ganforge.base.files import writing
from ganforge.base.stats import read
from ganforge.measuring.measure import Measured
from ganforge.pages import render
from ganforge.runs import RunFolder
from ganforge.training.sheet import CLASSES

COLORS = ("#2563eb", "#d97706", "#059669", "#dc2626", "#7c3aed", "#0891b2")
WIDTH, HEIGHT = 800, 240
_TYPES = {".png": "image/png", ".wav": "audio/wav", ".webp": "image/webp"}


def write(run: RunFolder, measured: Sequence[tuple[str, Measured]], out: Path) -> Path:
    """Write the page of `run` to `out`; `measured` are (name, numbers), the one to read first. DataError where it
    cannot be written."""
    rows = read(run.path)
    sheets = sorted((run.path / "samples").glob("*.png"))
    nearest, restored = run.path / "nearest.png", run.path / "restored.png"
    losses = list(dict.fromkeys(name for row in rows for name in row if "/" in name))
    drawn = len(rows) > 1 and losses
    distances, shares, fidelity = ([row for row in rows if name in row] for name in ("distance", "diversity", "psnr"))
    numbers = measured[0][1] if measured else None
    restoration = numbers.restoration if numbers else None
    page = render(
        Path(__file__).with_name("report.html"),
        system=run.system_name,
        name=run.path.name,
        spec=str(run.spec),
        seen=rows[-1]["seen"] if rows else 0,
        tiles=_tiles(numbers) if numbers else [],
        above_floor=numbers.above_floor if numbers else "",
        protocol=numbers.protocol if numbers else "",
        restoration=restoration,
        others=_table(measured) if len(measured) > 1 else "",
        last_sheet=_data_url(sheets[-1]) if sheets else "",
        playing=_playing(run),
        nearest=_data_url(nearest) if nearest.exists() else "",
        restored=_data_url(restored) if restoration and restored.exists() else "",
        losses=_curves(rows, losses) if drawn else None,
        distance=_curves(distances, ["distance"]) if len(distances) > 1 else None,
        shares=_curves(shares, ["diversity", "recall"][: 1 + bool(distances)]) if len(shares) > 1 else None,
        fidelity=_curves(fidelity, ["psnr"]) if len(fidelity) > 1 else None,
        speed=_curves(rows, ["images_per_second"]) if drawn else None,
        first_sheet=_data_url(sheets[0]) if len(sheets) > 2 else "",
        settings=(run.path / "run.toml").read_text("utf-8"),
        data={"stats": rows, "measured": {name: numbers.as_dict() for name, numbers in measured}},
    )
    with writing(out):
        out.write_text(page, "utf-8")
    return out


def _tiles(measured: Measured) -> list[tuple[str, str]]:
    """Each number, with its name and that of held-out pictures."""
    tiles = []
    for row in measured.printed:
        name = row.title if row.times == 1 else f"{row.title} x {row.times:,}"
        tiles.append((row.text(row.value), name if row.floor is None else f"{name}; real ones {row.text(row.floor)}"))
    return tiles


def _table(measured: Sequence[tuple[str, Measured]]) -> str:
    """The numbers side by side, a line each, and those of held-out pictures."""
    first = measured[0][1]
    lines = [f"{'':<23}" + "".join(f"{name:>20}" for name in [*(name for name, _ in measured), "real, held out"])]
    for row in first.printed:
        cells = [*(numbers[row.name].shown for _, numbers in measured), row.floor_shown]
        lines.append(f"{row.title:<23}" + "".join(f"{cell:>20}" for cell in cells))
    return "\n".join(lines)


def _playing(run: RunFolder) -> str:
    """Samples that are heard or move, one of each class or eight, as the address of their file; "" where there are
    none."""
    if run.spec.medium.suffix not in (".wav", ".webp") or not (system := run.build()).generates:
        return ""
    each = 0 < system.classes <= CLASSES
    with tempfile.TemporaryDirectory() as folder:
        files = sampling.write(
            run, [0] if each else range(8), Path(folder) / "sheet.png", True, "all" if each else None
        )
        return _data_url(files[-1])


def _data_url(path: Path) -> str:
    return f"data:{_TYPES[path.suffix]};base64," + base64.b64encode(path.read_bytes()).decode()


def _curves(rows: list[dict[str, Any]], names: Sequence[str]) -> dict[str, Any]:
    """Lines over images shown, in the units of an SVG of WIDTH x HEIGHT."""
    points = [(row["seen"], row[name]) for row in rows for name in names if name in row]
    top = float(max(value for _, value in points))
    low = float(min(0.0, *(value for _, value in points)))
    end = float(max(seen for seen, _ in points))
    span = (top - low) or 1.0
    left, right, bottom = 60, WIDTH - 10, 30

    def x(seen: float) -> float:
        return left + (right - left) * seen / end

    def y(value: float) -> float:
        return 10 + (HEIGHT - bottom - 10) * (1 - (value - low) / span)

    def line(name: str) -> str:
        return " ".join(f"{x(row['seen']):.1f},{y(row[name]):.1f}" for row in rows if name in row)

    shares = (0.0, 0.5, 1.0)
    several = len({name.partition("/")[0] for name in names}) > 1  # phases, without which a loss has its own name
    return {
        "width": WIDTH,
        "height": HEIGHT,
        "left": left,
        "right": right,
        "value_marks": [(y(low + span * share), f"{low + span * share:,.4g}") for share in shares],
        "seen_marks": [(x(end * share), f"{end * share:,.0f}") for share in shares],
        "lines": [
            {"name": name if several else name.rpartition("/")[2], "color": color, "points": line(name)}
            for color, name in zip(COLORS, names, strict=False)
        ],
    }
