"""The facts of a store, with a contact sheet, of a run, or of a list of layers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ganforge.base import config
from ganforge.base.errors import DataError, InputError
from ganforge.base.images import write_image
from ganforge.base.seeds import permuted
from ganforge.base.stats import read
from ganforge.media.spec import spec_from, to_float, to_uint8
from ganforge.preparing import parts
from ganforge.runs import RunFolder
from ganforge.store import augment, card, history, meta
from ganforge.store.store import Store

SHEET = 64
ROWS, DRAWS = 8, 8


def show(path: str | Path, changes: str = "") -> list[str]:
    """Lines about the store, run or folder of pictures at `path`; into a store a contact sheet is written, `sheet.png`.

    With `changes`, a list of words as in `train.augment`, `augmented.png` in the store shows what they do.
    For a TOML file with the sections [model] and [spec]: the layers, shapes and parameters of a composed system.
    InputError where there is none of these, DataError where a file of a store is damaged.
    """
    path = Path(path)
    if path.name.startswith(".") and path.suffix == ".parts":  # the folder of the parts itself
        path = path.with_name(path.stem.removeprefix("."))
    under_way = _unfinished(path)
    if under_way and not path.exists():
        return under_way
    return _finished(path, changes) + under_way


def _unfinished(path: Path) -> list[str]:
    """A line where `prepare` is at work or was stopped."""
    for store in (path, path.parent / f".{path.name}.store"):
        if progress := parts.progress(store):
            done, count = progress
            return [
                f"{path}: unfinished, {done:,} of {count:,} parts are there; the command that began it goes on with it"
            ]
    return []


def _finished(path: Path, changes: str) -> list[str]:
    if (path / "manifest.json").is_file():
        store = Store(path)
        return _store(store) + ([f"  augmented  {_augmented(store, changes)}"] if changes else [])
    if changes:
        raise InputError(f"{path} is no store; --augment shows what the pictures of a store become.")
    if path.suffix == ".toml":
        return _layers(path)
    if (path / "run.toml").is_file():
        return _run(RunFolder(path))
    if steps := _history(path):
        return [f"{path}: a folder of pictures", *steps]
    raise InputError(
        f"{path} is neither a store (it has no manifest.json) nor a run (it has no run.toml), "
        f"nor a folder with a {history.NAME}."
    )


def _history(folder: Path) -> list[str]:
    """The steps that were done, a line each."""
    lines = []
    for step in history.read(folder):
        facts = ", ".join(f"{name} {value}" for name, value in step.items() if name not in ("verb", "at", "ganforge"))
        lines.append(f"  {step['at']}  {step['verb']}: {facts}")
    return lines


def _layers(path: Path) -> list[str]:
    """The table of a composed system; nothing is built or allocated for it."""
    from ganforge.compose.blueprint import table
    from ganforge.models import composed

    sections = config.read_toml(path)
    run, chosen = sections.get("run", {}), sections.get("model")
    if not (isinstance(run, dict) and isinstance(chosen, dict)) or run.get("system", "composed") != "composed":
        raise InputError(f"{path} holds no composed system: it needs the section [model] with lists of layers.")
    try:
        spec = spec_from({"classes": (), **sections.get("spec", {})})
    except (KeyError, TypeError, ValueError):
        raise InputError(f"{path} needs the section [spec] with height, width and channels of the pictures.") from None
    model: Any = config.build(composed.Config, chosen, "model")
    lines = [f"{path}: {model.kind} for {spec.medium.plural} of {spec}"]
    for part, steps in composed.plans(model, spec).items():
        lines += table(part, steps)
    return lines


def _store(store: Store) -> list[str]:
    facts = store.manifest
    store.verify()
    chosen = permuted(0, "sheet", len(store), np.arange(min(SHEET, len(store))))
    sheet = store.path / "sheet.png"
    try:
        write_image(sheet, store.spec.sheet(store.read(np.sort(chosen))))
        drawn = str(sheet)
    except DataError as error:  # a store that may only be read has its facts all the same
        drawn = f"none: {error}"
    lines = [
        f"{store.path}: a store of {store.spec}",
        f"  {store.spec.medium.plural:<10} {len(store):,}: "
        f"{len(store.train):,} for training, {len(store.heldout):,} held out",
        f"  bytes      {len(store) * store.spec.pixels / 1e6:,.1f} MB in {len(store.shards)} shard(s)",
        f"  mean       {_levels(facts['mean'])}    deviation {_levels(facts['deviation'])}",
        f"  recipe     {', '.join(f'{name} {value}' for name, value in facts['recipe'].items())}",
        f"  licences   {card.licences(meta.counts(store))}",
        f"  root hash  {store.root}, every file checked",
    ]
    if store.spec.captions:
        lines += [f"  caption    {text}" for text in store.spec.captions.examples[:5]]
    if store.spec.classes:
        counts = np.bincount(store.labels, minlength=len(store.spec.classes))
        widest = max(map(len, store.spec.classes))
        for name, count in list(zip(store.spec.classes, counts, strict=True))[:30]:
            lines.append(f"  {name:<{widest}}  {count:>8,}  {'#' * round(40 * count / max(counts.max(), 1))}")
    lines += _history(store.path)
    return [*lines, f"  sheet      {drawn}"]


def _levels(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.1f}" for value in values)


def _augmented(store: Store, changes: str) -> Path:
    """A sheet with a row a picture: as it is, then drawn anew and anew."""
    parsed = augment.parse(changes, "--augment", store.spec)
    chosen = np.sort(permuted(0, "sheet", len(store), np.arange(min(ROWS, len(store)))))
    pixels = np.repeat(store.read(chosen), DRAWS + 1, axis=0)
    drawn = augment.apply(to_float(torch.from_numpy(pixels), store.spec), parsed, 0, np.arange(len(pixels)), store.spec)
    out = to_uint8(drawn, store.spec).numpy()
    out[:: DRAWS + 1] = pixels[:: DRAWS + 1]
    file = store.path / "augmented.png"
    write_image(file, store.spec.sheet(out, DRAWS + 1))
    return file


def _run(run: RunFolder) -> list[str]:
    rows = read(run.path)
    lines = [f"{run.path}: {run.system_name} on {run.spec}, trained on {run.store}"]
    lines.append(f"  checkpoints  {_checkpoints(run)}")
    settings = run.settings
    if why := settings.get("run", {}).get("precision"):
        lines.append(f"  precision    {run.section('train').get('precision')}: {why}")
    if rows:
        last = rows[-1]
        speed = f"{last['images_per_second']:,.0f} images/s"
        lines.append(f"  last report  {last['seen']:,} images, {last['seconds']:,.0f} s, {speed}")
        if last.get("skipped"):
            back = f", and training went back {last['rollbacks']} times" if last.get("rollbacks") else ""
            lines.append(f"  left out     {last['skipped']:,} steps, since their numbers were not finite{back}")
    sheets = sorted((run.path / "samples").glob("*.png"))
    return [*lines, *([f"  samples      {sheets[-1]}"] if sheets else [])]


def _checkpoints(run: RunFolder) -> str:
    """The images of each, the best one's distance, and the space that they take."""
    folders, best = run.checkpoints(), run.best()
    if not folders:
        return "none yet"
    distance = f" (the best, Fréchet distance {run.scores()[best]:.3g})" if best else ""
    names = ", ".join(f"{int(folder.name):,}{distance if folder == best else ''}" for folder in folders)
    taken = sum(file.stat().st_size for folder in folders for file in folder.iterdir())
    return f"{names} images; {taken / 1e6:,.1f} MB"
