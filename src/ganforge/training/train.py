"""Train a system on a store, or go on: the settings of a run, and what may differ when it is called again."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ganforge import models
from ganforge.base import config, device, stats
from ganforge.base.busy import Busy
from ganforge.base.errors import GanforgeError, InputError, RunError, did_you_mean
from ganforge.nn import augment as discriminator
from ganforge.runs import FREE, LOCK, Run, spec_section
from ganforge.store import augment
from ganforge.store.store import Store
from ganforge.system import System
from ganforge.training.trainer import Settings, Trainer

__all__ = ["Settings", "Trainer", "explained", "plan", "train"]

log = logging.getLogger(__name__)

SIZES = ("small", "medium", "large")
ASKED = "as asked for"
PROBES, SECONDS = (
    (4, 16),
    2.0,
)  # steps in each precision before a run begins: the least, and the most within so many seconds


def plan(
    system: str,
    store: Store,
    out: Path,
    size: str | None = None,
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
    base: Path | None = None,
) -> dict[str, dict[str, Any]]:
    """The complete settings of a run, as the sections of run.toml: preset, then a TOML file `base`, then `overrides`.

    InputError for a setting that there is not, a value out of range, and for what would have no effect: a `size` where
    it decides nothing or `base` has decided, images beside minutes."""
    loaded = models.load(system)
    if size is not None and size not in SIZES:
        raise InputError(f"There is no size {size!r}.{did_you_mean(size, SIZES)}")
    given = _read_base(base, system) if base else {"model": {}, "train": {}}
    decides = {name for preset in loaded.presets.values() for name in preset}
    if size is not None and decides <= given["model"].keys():
        why = f"{base} says {', '.join(sorted(decides))} already" if decides else f"{system} has one size"
        raise InputError(f"--size {size} has no effect: {why}. Leave it out.")
    overrides = overrides or {}
    values: dict[str, dict[str, Any]] = {
        "model": {**loaded.presets[size or "medium"], **given["model"], **overrides.get("model", {})},
        "train": {**loaded.train, **given["train"], **overrides.get("train", {})},
    }
    asked = overrides.get("train", {})
    if asked.get("images") and asked.get("minutes"):
        raise InputError("A run is as long as its images or as its minutes say. Give one of them.")
    if asked.get("minutes") == 0 and "images" not in asked:
        raise InputError("A run of 0 minutes learns nothing. Say more minutes, or images instead.")
    if "images" in asked:
        values["train"]["minutes"] = 0.0  # whatever `base` says
    settings = config.build(Settings, values["train"], "train")
    if settings.minutes and settings.cooldown == 1:
        raise InputError(
            "train.cooldown is 1, which needs a length in images: with minutes the images are counted until the cooldown begins. "
            "Say less, such as 0.9, or give --images."
        )
    if settings.minutes:
        settings = replace(settings, images=0)
    elif not settings.images:
        raise InputError("train.images is 0; say how long to train with --images or --minutes.")
    model: Any = config.build(loaded.config, values["model"], "model")
    if loaded.system.needs_labels(model) and not store.labelled:
        raise InputError(
            f"{system} makes pictures by class here, and {store.address} has no labels. Without labels do, as they come: {', '.join(models.without_labels())}."
        )
    _check_medium(system, loaded.system, model, settings, store)
    loaded.system.check(model, store.spec)
    if settings.batch < (least := loaded.system.least_batch(model, store.spec)):
        raise InputError(
            f"train.batch is {settings.batch}; {system} normalises over the batch, so it takes at least {least}."
        )
    return {
        "run": {"system": system, "store": store.address, "store_root": store.root}
        | ({} if settings.precision == "auto" else {"precision": ASKED}),
        "train": asdict(settings),
        "model": asdict(model),
        "spec": spec_section(store.spec),
    }


def _check_medium(name: str, system: type[System], model: Any, settings: Settings, store: Store) -> None:
    """InputError where the system cannot learn from what the store holds, or where an augmentation makes no sense for
    it."""
    medium = store.spec.medium
    if not isinstance(medium, system.media):
        others = [other for other in models.names() if isinstance(medium, models.load(other).system.media)]
        raise InputError(
            f"{name} learns from {' and '.join(kind.plural for kind in system.media)}, and {store.address} holds "
            f"{medium.plural}. For {medium.plural} there is: {', '.join(others)}."
        )
    augment.parse(settings.augment, "train.augment", store.spec)
    medium.check_augmentations(["flip"] if settings.mirror else [], augment.KINDS, "train.mirror")
    always, parts, _ = discriminator.parse(getattr(model, "augment", ""))
    medium.check_augmentations([*always, *sorted(parts)], discriminator.WORDS, "model.augment")


def explained(system: str) -> dict[str, dict[str, tuple[str, str, str]]]:
    """(default, range, meaning) of every setting of a system and of the loop as it has it, by section and name."""
    loaded = models.load(system)
    model = config.describe(loaded.config, loaded.presets["medium"])
    for name, (default, span, meaning) in model.items():
        sizes = {size: preset[name] for size, preset in loaded.presets.items() if size != "medium" and name in preset}
        others = ", ".join(f"{size} {value}" for size, value in sizes.items())
        model[name] = (f"{default} ({others})" if others else default, span, meaning)
    return {"model": model, "train": config.describe(Settings, loaded.train)}


def _read_base(path: Path, system: str) -> dict[str, dict[str, Any]]:
    """The sections model and train of a run.toml. InputError where it has other ones, or is of another system."""
    given = config.read_toml(path)
    for section, values in given.items():
        if section not in (known := ("run", "train", "model", "spec")):
            raise InputError(f"{path} has a section {section}.{did_you_mean(section, known)}")
        if not isinstance(values, dict):
            raise InputError(f"{path}: {section} is {values!r}; it takes a section, [{section}].")
    if (of := given.get("run", {}).get("system", system)) != system:
        raise InputError(f"{path} is of the system {of}, not of {system}. Train {of}, or take another file.")
    loop = given.get("train", {})
    if given.get("run", {}).get("precision", ASKED) != ASKED:
        loop.pop("precision", None)  # chosen on that machine; another one chooses anew
    return {"model": given.get("model", {}), "train": loop}


def train(
    system: str,
    store: str | Path | Store,
    out: str | Path | None = None,
    *,
    size: str | None = None,
    device_name: str = "auto",
    base: Path | None = None,
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
) -> Run:
    """Train `system` on `store` into the run folder `out` (`runs/SYSTEM-STORE` by default), or go on with what is
    there.

    The precision `auto` is chosen by what the processor has, and on a CPU by a few real steps; run.toml says why.
    Called again with the same arguments it resumes from the newest checkpoint; with other arguments on the same folder
    it raises RunError, since the result would be neither the one nor the other. Raises Stopped after Ctrl-C, with the
    state saved, and Diverged when rolling back did not help.
    """
    store = store if isinstance(store, Store) else Store(store)
    store.check()
    run = Run(Path(out) if out else Path("runs") / f"{system}-{store.name}")
    settings = plan(system, store, run.path, size, overrides, base)
    device.choose(device_name)  # says if there is none, before anything is made
    new = not (run.path / "run.toml").exists()
    if new and run.path.is_dir() and any(p.name != LOCK for p in run.path.iterdir()):
        raise RunError(f"{run.path} holds something else than a run. Choose another place with --out.")
    with run.alone():
        if not new:
            _same(run, settings)
        else:
            run.begin(settings)
        try:
            _settle_precision(run, store, device_name)
            trainer = Trainer(run, store, device_name)
        except GanforgeError:
            if new:  # it could not begin: with mended settings it is no other run
                (run.path / "run.toml").unlink()
            raise
        trainer.train()
    return run


def _settle_precision(run: Run, store: Store, device_name: str) -> None:
    """Where `auto` has not chosen yet, or has chosen what this machine does not have, choose now; log it and why, and
    keep both."""
    sections, chosen = run.settings, device.choose(device_name)
    kept = sections["train"]["precision"]
    by = device.bf16_by(chosen)
    if kept != "auto" and (kept == "fp32" or by or sections["run"].get("precision") == ASKED):
        return
    again = "" if kept == "auto" else f"was {kept} until now; "
    if not by:
        name, why = "fp32", f"{chosen.type} here has no bf16"
    elif chosen.type != "cpu":
        name, why = "bf16", f"by {by}"
    else:
        seconds = _seconds_a_step(Trainer(run, store, device_name))
        name = "bf16" if seconds["bf16"] < 0.95 * seconds["fp32"] else "fp32"
        why = f"a step took {seconds['bf16']:.3g} s in bf16, by {by}, and {seconds['fp32']:.3g} s in fp32"
    log.info(f"precision {name}: {again}{why}")
    sections["train"]["precision"], sections["run"]["precision"] = name, again + why
    run.begin(sections)


def _seconds_a_step(trainer: Trainer) -> dict[str, float]:
    """Of real steps in each precision by turns, the fastest. The trainer is of no use afterwards."""
    trainer.progress.seen = trainer.settings.batch  # at 0 all phases come that otherwise come now and then
    best, begun = dict.fromkeys(("bf16", "fp32"), math.inf), time.perf_counter()
    with Busy() as busy:
        busy.crowd()  # spinning beside other programs would drown the difference
        for turn in range(PROBES[1]):
            if turn >= PROBES[0] and time.perf_counter() - begun > SECONDS:
                break
            for name in best:
                trainer.settings = replace(trainer.settings, precision=name)
                started = time.perf_counter()
                trainer.step()
                if turn:  # the first step of each prepares things
                    best[name] = min(best[name], time.perf_counter() - started)
    return best


def _same(run: Run, settings: Mapping[str, Mapping[str, Any]]) -> None:
    """RunError naming the first setting in which the run on disk differs; a longer run is no difference.

    A setting that the run was made without, by an earlier version, has its default.
    """
    there = run.settings
    loaded = models.load(run.system_name)
    for section, kind in (("train", Settings), ("model", loaded.config)):
        there[section] = asdict(config.build(kind, run.section(section), section))
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
        _check_length(run, new["images"], new["minutes"])
        merged["train"] |= {"minutes": new["minutes"], "images": new["images"]}
    merged["train"]["report"] = new["report"]
    merged["run"]["store"] = settings["run"]["store"]
    if merged != there:
        run.begin(merged)


def _check_length(run: Run, images: int, minutes: float) -> None:
    """RunError where the run is longer already: its settings would say what it is not."""
    seen = int(kept[-1].name) if (kept := run.checkpoints()) else 0
    seconds = max((row.get("seconds", 0.0) for row in stats.read(run.path)), default=0.0)
    if images < seen if images else 60 * minutes < seconds:
        asked = f"{images:,} images" if images else f"{minutes:g} minutes"
        raise RunError(
            f"{run.path} has seen {seen:,} images in {seconds / 60:.3g} minutes already; {asked} would be less. "
            "Say more, or train a shorter run into another folder with --out."
        )
