"""Train a system on a store, or go on: the settings of a run, and what may differ when it is called again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ganforge import config, device, models
from ganforge.data import augment
from ganforge.data.store import Store
from ganforge.errors import InputError, RunError, did_you_mean
from ganforge.run import FREE, LOCK, Run, spec_section
from ganforge.training import Settings, Trainer

__all__ = ["Settings", "Trainer", "plan", "train"]

SIZES = ("small", "medium", "large")


def plan(
    system: str,
    store: Store,
    out: Path,
    size: str = "medium",
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
    base: Path | None = None,
) -> dict[str, dict[str, Any]]:
    """The complete settings of a run, as the sections of run.toml: preset, then a TOML file `base`, then `overrides`."""
    loaded = models.load(system)
    if size not in SIZES:
        raise InputError(f"There is no size {size!r}.{did_you_mean(size, SIZES)}")
    given = config.read_toml(base) if base else {}
    overrides = overrides or {}
    values: dict[str, dict[str, Any]] = {
        "model": {**loaded.presets[size], **given.get("model", {}), **overrides.get("model", {})},
        "train": {**loaded.train, **given.get("train", {}), **overrides.get("train", {})},
    }
    if "images" in overrides.get("train", {}) and "minutes" not in overrides["train"]:
        values["train"]["minutes"] = 0.0  # asked for by images, whatever `base` says
    settings = config.build(Settings, values["train"], "train")
    augment.parse(settings.augment)
    if settings.minutes:
        settings = replace(settings, images=0)
    elif not settings.images:
        raise InputError("train.images is 0; say how long to train with --images or --minutes.")
    model: Any = config.build(loaded.config, values["model"], "model")
    if loaded.system.needs_labels(model) and not store.labelled:
        raise InputError(
            f"{system} makes pictures by class here, and {store.address} has no labels. Without labels do, as they come: {', '.join(models.without_labels())}."
        )
    loaded.system.check(model, store.spec)
    return {
        "run": {"system": system, "store": store.address, "store_root": store.root},
        "train": asdict(settings),
        "model": asdict(model),
        "spec": spec_section(store.spec),
    }


def train(
    system: str,
    store: str | Path | Store,
    out: str | Path | None = None,
    *,
    size: str = "medium",
    device_name: str = "auto",
    base: Path | None = None,
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
    say: Callable[[str], None] | None = None,
) -> Run:
    """Train `system` on `store` into the run folder `out` (`runs/SYSTEM-STORE` by default), or go on with what is there.

    Called again with the same arguments it resumes from the newest checkpoint; with other arguments on the same folder
    it raises RunError, since the result would be neither the one nor the other. Raises Stopped after Ctrl-C, with the
    state saved, and Diverged when rolling back did not help.
    """
    store = store if isinstance(store, Store) else Store(store)
    store.check(say)
    run = Run(Path(out) if out else Path("runs") / f"{system}-{store.name}")
    settings = plan(system, store, run.path, size, overrides, base)
    new = not (run.path / "run.toml").exists()
    if new and run.path.is_dir() and any(p.name != LOCK for p in run.path.iterdir()):
        raise RunError(f"{run.path} holds something else than a run. Choose another place with --out.")
    with run.alone():
        if not new:
            _same(run, settings)
        else:
            chosen = device.choose(device_name)
            settings["train"]["precision"] = device.resolve_precision(settings["train"]["precision"], chosen)
            run.begin(settings)
        Trainer(run, store, device_name, say).train()
    return run


def _same(run: Run, settings: Mapping[str, Mapping[str, Any]]) -> None:
    """RunError naming the first setting in which the run on disk differs; a longer run is no difference.

    A setting that the run was made without, by an earlier version, has its default.
    """
    there = run.settings
    loaded = models.load(run.system_name)
    for section, kind in (("train", Settings), ("model", loaded.config)):
        there[section] = asdict(config.build(kind, there.get(section, {}), section))
    there["spec"] = spec_section(run.spec)
    for section, values in settings.items():
        for name, value in values.items():
            old = there.get(section, {}).get(name)
            if (section, name) in FREE and ((section, name) != ("train", "precision") or value == "auto"):
                continue
            if (section, name) == ("run", "store_root") and old != value:
                raise RunError(
                    f"{settings['run']['store']} is not the store that {run.path} learned from: its root hash is {str(value)[:16]}…, not "
                    f"{str(old)[:16]}…. Name the store where it is now with --store, or train into another folder with --out."
                )
            if old != value:
                raise RunError(
                    f"{run.path} was made with {section}.{name} = {old!r}, not {value!r}. "
                    "Resume it with the same settings, or train into another folder with --out."
                )
    merged = {name: dict(values) for name, values in there.items()}
    new, old_minutes = settings["train"], there["train"]["minutes"]
    if new["minutes"] != old_minutes or (not new["minutes"] and new["images"] != there["train"]["images"]):
        merged["train"] |= {"minutes": new["minutes"], "images": new["images"]}
    merged["train"]["report"] = new["report"]
    merged["run"]["store"] = settings["run"]["store"]
    if merged != there:
        run.begin(merged)
