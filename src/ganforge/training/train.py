"""Train a system on a store, or resume: the settings of a run, and which of them may change when it is resumed."""

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
from ganforge.runs import FREE, LOCK, RunFolder, spec_section
from ganforge.store import augment
from ganforge.store.store import Store
from ganforge.system import System
from ganforge.training.trainer import Settings, Trainer

__all__ = ["Settings", "Trainer", "explained", "plan", "train"]

log = logging.getLogger(__name__)

SIZES = ("small", "medium", "large")
GIVEN = "as asked for"  # [run] precision of run.toml, where the user chose it
PROBES, SECONDS = (4, 16), 2.0  # timed steps in each precision: at least, and at most within so many seconds


def plan(
    system: str,
    store: Store,
    out: Path,
    size: str | None = None,
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
    base: Path | None = None,
) -> dict[str, dict[str, Any]]:
    """The complete settings of a run, as the sections of run.toml: preset, then a TOML file `base`, then `overrides`.

    InputError for an unknown setting, a value out of range, and an option without effect: a `size` that decides nothing
    or that `base` has decided, images beside minutes."""
    loaded = models.load(system)
    if size is not None and size not in SIZES:
        raise InputError(f"There is no size {size!r}.{did_you_mean(size, SIZES)}")
    given = _read_base(base, system) if base else {"model": {}, "train": {}}
    decides = {name for preset in loaded.presets.values() for name in preset}
    if size is not None and decides <= given["model"].keys():
        reason = f"{base} says {', '.join(sorted(decides))} already" if decides else f"{system} has one size"
        raise InputError(f"--size {size} has no effect: {reason}. Leave it out.")
    overrides = overrides or {}
    values: dict[str, dict[str, Any]] = {
        "model": {**loaded.presets[size or "medium"], **given["model"], **overrides.get("model", {})},
        "train": {**loaded.train, **given["train"], **overrides.get("train", {})},
    }
    loop = overrides.get("train", {})
    if loop.get("images") and loop.get("minutes"):
        raise InputError("A run is as long as its images or as its minutes say. Give one of them.")
    if loop.get("minutes") == 0 and "images" not in loop:
        raise InputError("A run of 0 minutes learns nothing. Say more minutes, or images instead.")
    if "images" in loop:
        values["train"]["minutes"] = 0.0  # instead of those of `base`
    settings = config.build(Settings, values["train"], "train")
    if settings.minutes and settings.cooldown == 1:
        raise InputError(
            "train.cooldown is 1, which needs a length in images: with minutes the images are counted until the "
            "cooldown begins. Say less, such as 0.9, or give --images."
        )
    if settings.minutes:
        settings = replace(settings, images=0)
    elif not settings.images:
        raise InputError("train.images is 0; say how long to train with --images or --minutes.")
    model: Any = config.build(loaded.config, values["model"], "model")
    if loaded.system.needs_labels(model) and not store.labelled:
        raise InputError(
            f"{system} makes pictures by class here, and {store.address} has no labels. "
            f"Without labels do, as they come: {', '.join(models.without_labels())}."
        )
    _check_medium(system, loaded.system, model, settings, store)
    loaded.system.check(model, store.spec)
    if settings.batch < (least := loaded.system.least_batch(model, store.spec)):
        raise InputError(
            f"train.batch is {settings.batch}; {system} normalises over the batch, so it takes at least {least}."
        )
    return {
        "run": {"system": system, "store": store.address, "store_root": store.root}
        | ({} if settings.precision == "auto" else {"precision": GIVEN}),
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
    """(default, range, meaning) of every setting of a system and of the loop with its defaults, by section and name."""
    loaded = models.load(system)
    model = config.describe(loaded.config, loaded.presets["medium"])
    for name, (default, span, meaning) in model.items():
        sizes = {size: preset[name] for size, preset in loaded.presets.items() if size != "medium" and name in preset}
        others = ", ".join(f"{size} {value}" for size, value in sizes.items())
        model[name] = (f"{default} ({others})" if others else default, span, meaning)
    return {"model": model, "train": config.describe(Settings, loaded.train)}


def _read_base(path: Path, system: str) -> dict[str, dict[str, Any]]:
    """The sections model and train of a run.toml. InputError for unknown sections or another system."""
    given = config.read_toml(path)
    for section, values in given.items():
        if section not in (known := ("run", "train", "model", "spec")):
            raise InputError(f"{path} has a section {section}.{did_you_mean(section, known)}")
        if not isinstance(values, dict):
            raise InputError(f"{path}: {section} is {values!r}; it takes a section, [{section}].")
    if (of := given.get("run", {}).get("system", system)) != system:
        raise InputError(f"{path} is of the system {of}, not of {system}. Train {of}, or take another file.")
    loop = given.get("train", {})
    if given.get("run", {}).get("precision", GIVEN) != GIVEN:
        loop.pop("precision", None)  # it was chosen automatically, and is chosen again for this machine
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
) -> RunFolder:
    """Train `system` on `store` into the run folder `out` (default `runs/SYSTEM-STORE`), or resume the run that is
    there. Each report is logged as one line.

    The precision `auto` depends on the processor and, on a CPU, on the time of a few steps; run.toml records the
    reason. Called again with the same arguments, it resumes from the newest checkpoint. RunError for other settings
    than those of the run in `out`. Raises Stopped after Ctrl-C, with the state saved, and Diverged where rolling
    back did not help."""
    store = store if isinstance(store, Store) else Store(store)
    store.check()
    run = RunFolder(Path(out) if out else Path("runs") / f"{system}-{store.name}")
    settings = plan(system, store, run.path, size, overrides, base)
    device.choose(device_name)  # raises where there is none, before anything is written
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
            if new:  # it could not begin: other settings may be tried in the same folder
                (run.path / "run.toml").unlink()
            raise
        trainer.train()
    return run


def _settle_precision(run: RunFolder, store: Store, device_name: str) -> None:
    """Choose the precision where it is `auto`, or where the one chosen before does not exist on this machine; log and
    record the choice and its reason."""
    sections, chosen = run.settings, device.choose(device_name)
    kept = sections["train"]["precision"]
    by = device.bf16_by(chosen)
    if kept != "auto" and (kept == "fp32" or by or sections["run"].get("precision") == GIVEN):
        return
    again = "" if kept == "auto" else f"was {kept} until now; "
    if not by:
        name, reason = "fp32", f"{chosen.type} here has no bf16"
    elif chosen.type != "cpu":
        name, reason = "bf16", f"by {by}"
    else:
        seconds = _seconds_a_step(Trainer(run, store, device_name))
        name = "bf16" if seconds["bf16"] < 0.95 * seconds["fp32"] else "fp32"
        reason = f"a step took {seconds['bf16']:.3g} s in bf16, by {by}, and {seconds['fp32']:.3g} s in fp32"
    log.info(f"precision {name}: {again}{reason}")
    sections["train"]["precision"], sections["run"]["precision"] = name, again + reason
    run.begin(sections)


def _seconds_a_step(trainer: Trainer) -> dict[str, float]:
    """The shortest time of a training step in each precision, by turns. The trainer cannot be used afterwards."""
    trainer.progress.seen = trainer.settings.batch  # at 0 the lazy phases would run as well
    best, begun = dict.fromkeys(("bf16", "fp32"), math.inf), time.perf_counter()
    with Busy() as busy:
        busy.crowd()  # spinning beside other programs would hide the difference
        for turn in range(PROBES[1]):
            if turn >= PROBES[0] and time.perf_counter() - begun > SECONDS:
                break
            for name in best:
                trainer.settings = replace(trainer.settings, precision=name)
                started = time.perf_counter()
                trainer.step()
                if turn:  # not the first step of each, which allocates
                    best[name] = min(best[name], time.perf_counter() - started)
    return best


def _same(run: RunFolder, settings: Mapping[str, Mapping[str, Any]]) -> None:
    """RunError for the first setting that differs from those of the run on disk; its length and reports may change.

    A setting that an earlier version did not have has its default."""
    old_settings = run.settings
    loaded = models.load(run.system_name)
    for section, kind in (("train", Settings), ("model", loaded.config)):
        old_settings[section] = asdict(config.build(kind, run.section(section), section))
    old_settings["spec"] = spec_section(run.spec)
    for section, values in settings.items():
        for name, value in values.items():
            old = old_settings.get(section, {}).get(name)
            if (section, name) in FREE and ((section, name) != ("train", "precision") or value == "auto"):
                continue
            if (section, name) == ("run", "store_root") and old != value:
                raise RunError(
                    f"{settings['run']['store']} is not the store that {run.path} learned from: its root hash is "
                    f"{str(value)[:16]}…, not {str(old)[:16]}…. Name the store where it is now with --store, or "
                    "train into another folder with --out."
                )
            if old != value:
                raise RunError(
                    f"{run.path} was made with {section}.{name} = {old!r}, not {value!r}. "
                    "Resume it with the same settings, or train into another folder with --out."
                )
    merged = {name: dict(values) for name, values in old_settings.items()}
    new, old_minutes = settings["train"], old_settings["train"]["minutes"]
    if new["minutes"] != old_minutes or (not new["minutes"] and new["images"] != old_settings["train"]["images"]):
        _check_length(run, new["images"], new["minutes"])
        merged["train"] |= {"minutes": new["minutes"], "images": new["images"]}
    merged["train"]["report"] = new["report"]
    merged["run"]["store"] = settings["run"]["store"]
    if merged != old_settings:
        run.begin(merged)


def _check_length(run: RunFolder, images: int, minutes: float) -> None:
    """RunError where the run is longer already than these settings say."""
    seen = int(kept[-1].name) if (kept := run.checkpoints()) else 0
    seconds = max((row.get("seconds", 0.0) for row in stats.read(run.path)), default=0.0)
    if images < seen if images else 60 * minutes < seconds:
        length = f"{images:,} images" if images else f"{minutes:g} minutes"
        raise RunError(
            f"{run.path} has seen {seen:,} images in {seconds / 60:.3g} minutes already; {length} would be less. "
            "Say more, or train a shorter run into another folder with --out."
        )
