"""Train a system on a store, or resume: the settings of a run, and which of them may change when it is resumed."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

from ganforge import models
from ganforge.base import config, device, stats
from ganforge.base.busy import Busy
from ganforge.base.errors import GanforgeError, InputError, RunError, did_you_mean, is_short
from ganforge.image_to_image import ImageToImage
from ganforge.media.pair import Pair
from ganforge.media.spec import Spec
from ganforge.runs import FREE, LOCK, RunFolder, spec_section
from ganforge.store import augment
from ganforge.store.store import Store
from ganforge.system import Rule, System
from ganforge.training import memory, transfer
from ganforge.training.settings import Settings
from ganforge.training.trainer import Trainer
from ganforge.transforms import augment as discriminator

__all__ = ["Settings", "Trainer", "explained", "plan", "train"]

log = logging.getLogger(__name__)

SIZES = ("small", "medium", "large")
GIVEN = "as asked for"  # [run] precision of run.toml, where the user chose it
PROBES, SECONDS = (4, 16), 2.0  # timed steps in each precision: so many at least, and at most, in so many seconds
LATE = 720_720_001  # steps after which every system has grown; no lazy phase runs in the next one


def plan(
    system: str,
    store: Store,
    out: Path,
    size: str | None = None,
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
    base: Path | None = None,
    source: RunFolder | None = None,
    *,
    usual: str = "medium",
    expected: int = 0,
    kept: Mapping[str, Mapping[str, Any]] | None = None,
) -> dict[str, dict[str, Any]]:
    """The complete settings of a run, as the sections of run.toml: the preset of `size` or, where that is None, of
    `usual`, then a TOML file `base`, then `overrides`. A run that begins with the weights of another, `source`, has its
    settings as `base`.

    `kept` has the values that a resumed run keeps whatever the preset says. Rules become numbers; those that depend on
    the length follow from the images or, for a length in minutes, from the images `expected` in them, and are None
    where that is 0.

    InputError for an unknown setting, a value out of range, a run that ends before the system has grown, and an option
    without effect: a `size` that decides nothing or that `base` has decided, images beside minutes."""
    loaded = models.load(system)
    if source is not None:
        continued = transfer.continued(source, system, store)
        base = base or source.path / "run.toml"
    if (chosen := size or usual) not in SIZES:
        raise InputError(f"There is no size {chosen!r}.{did_you_mean(chosen, SIZES)}")
    given = _read_base(base, system) if base else {"model": {}, "train": {}}
    if source is not None:
        given["model"] |= continued
    decides = {name for preset in loaded.presets.values() for name in preset}
    decided = decides <= given["model"].keys() | {f"train.{name}" for name in given["train"]}
    if size is not None and decided:
        reason = f"{base} says {', '.join(sorted(decides))} already" if decides else f"{system} has one size"
        raise InputError(f"--size {size} has no effect: {reason}. Leave it out.")
    overrides = overrides or {}
    values = {
        section: {**preset, **(kept or {}).get(section, {}), **given[section], **overrides.get(section, {})}
        for section, preset in loaded.preset(chosen).items()
    }
    loop = overrides.get("train", {})
    if loop.get("images") and loop.get("minutes"):
        raise InputError("A run is as long as its images or as its minutes say. Give one of them.")
    if loop.get("minutes") == 0 and "images" not in loop:
        raise InputError("A run of 0 minutes learns nothing. Say more minutes, or images instead.")
    if "images" in loop:
        values["train"]["minutes"] = 0.0  # instead of those of `base`
    later = {section: _settle(rules, store.spec) for section, rules in values.items()}
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
    if images := settings.images or expected:
        for section, rules in later.items():
            values[section] |= {name: rule.value(store.spec, images) for name, rule in rules.items()}
        settings = config.build(Settings, values["train"] | {"images": settings.images}, "train")
        later = {}
    model: Any = config.build(loaded.config, values["model"], "model")
    by_itself: dict[str, str] = {}  # what was chosen for this store, and why, for run.toml and the log
    if getattr(model, "augment", "") == "auto":
        kinds, why = _auto_augment(store)
        model, by_itself = replace(model, augment=kinds), {"augment": why}
    _check_medium(system, loaded.system, model, settings, store)
    if loaded.system.needs_labels(model) and not store.labelled:
        raise InputError(
            f"{system} makes {store.spec.medium.plural} by class here, and {store.address} has no labels. "
            f"Without labels do, as they come: {', '.join(models.without_labels(type(store.spec.medium)))}."
        )
    if settings.balance and not store.labelled:
        raise InputError(
            f"train.balance is {settings.balance:g}, and {store.address} has no labels. Say --train.balance 0, or "
            "prepare the pictures with labels."
        )
    if settings.patience and not settings.measure:
        raise InputError(
            f"train.patience is {settings.patience:,}, and with train.measure 0 there is no distance to wait for. Say "
            "--train.patience 0, or more for train.measure."
        )
    if settings.fold >= 0:
        store.fold(settings.fold)  # raises where there is none
    loaded.system.check(model, store.spec)
    if settings.batch < (least := loaded.system.least_batch(model, store.spec)):
        raise InputError(
            f"train.batch is {settings.batch}; {system} normalises over the batch, so it takes at least {least}."
        )
    if images and images < (least := loaded.system.least_images(model, store.spec)):
        length, more = f"{images:,} images", f"--images {least}"
        if minutes := settings.minutes:
            length, more = f"{minutes:g} minutes (about {length})", f"--minutes {math.ceil(minutes * least / images)}"
        raise InputError(
            f"{system} has grown to its full size after {least:,} images here, and a run of {length} ends before that. "
            f"Say {more} or more, or let it grow faster."
        )
    sections = {"train": asdict(settings), "model": asdict(model)}
    for section, rules in later.items():
        sections[section] |= dict.fromkeys(rules)
    return {
        "run": {"system": system, "revision": loaded.system.revision, "store": store.address, "store_root": store.root}
        | ({} if decided else {"size": chosen})
        | ({} if settings.precision == "auto" else {"precision": GIVEN})
        | ({"from": str(source.path), "from_images": int(source.chosen().name)} if source else {})
        | by_itself,
        **sections,
        "spec": spec_section(store.spec),
    }


def usual_size(device_name: str) -> str:
    """The preset of a new run where no size is said: small on a CPU, else medium. InputError as `device.choose`."""
    return "small" if device.choose(device_name).type == "cpu" else "medium"


def _settle(values: dict[str, Any], spec: Spec) -> dict[str, Rule]:
    """Replace the rules in `values` by numbers; take out and return those that depend on the length."""
    later = {name: rule for name, rule in values.items() if isinstance(rule, Rule) and rule.by_length}
    for name, rule in list(values.items()):
        if name in later:
            del values[name]
        elif isinstance(rule, Rule):
            values[name] = rule.value(spec, 0)
    return later


def _auto_augment(store: Store) -> tuple[str, str]:
    """(what the augmentation `auto` is for this store, why)."""
    count, medium = len(store.train), store.spec.medium
    if medium.augmentations is not None:
        return "", f"none: it is for pictures, not for {medium.plural}"
    kinds = discriminator.for_set(count)
    return kinds, f"{kinds or 'none'}: {count:,} training pictures are {'few' if kinds else 'enough'}"


def _check_medium(name: str, system: type[System], model: Any, settings: Settings, store: Store) -> None:
    """InputError where the system cannot learn from what the store holds, or where an augmentation makes no sense for
    it."""
    medium = store.spec.medium
    if not isinstance(medium, system.media):
        others = models.of_medium(type(medium))
        raise InputError(
            f"{name} learns from {', '.join(kind.plural for kind in system.media)}, and {store.address} holds "
            f"{medium.plural}. For {medium.plural} there is: {', '.join(others)}."
        )
    if isinstance(medium, Pair) and medium.palette and not issubclass(system, ImageToImage):
        every = {other: models.load(other).system for other in models.names()}
        others = [other for other, one in every.items() if Pair in one.media and issubclass(one, ImageToImage)]
        raise InputError(
            f"{name} would make numbers between two ids, and the given pictures of {store.address} are maps of ids. "
            f"For these there is: {', '.join(others) or 'none'}; or prepare them without --ids, as pictures."
        )
    augment.parse(settings.augment, "train.augment", store.spec)
    medium.check_augmentations(["flip"] if settings.mirror else [], augment.KINDS, "train.mirror")
    always, parts, _ = discriminator.parse(getattr(model, "augment", ""))
    medium.check_augmentations([*always, *sorted(parts)], discriminator.WORDS, "model.augment")


def explained(system: str) -> dict[str, dict[str, tuple[str, str, str]]]:
    """(default, range, meaning) of every setting of a system and of the loop with its defaults, by section and name."""
    loaded = models.load(system)
    sizes = {size: loaded.preset(size) for size in ("medium", *(s for s in SIZES if s != "medium"))}
    explained = {}
    for section, kind in (("model", loaded.config), ("train", Settings)):
        rows = config.describe(kind, {n: v for n, v in sizes["medium"][section].items() if not isinstance(v, Rule)})
        for field in fields(kind):
            values = {size: of[section].get(field.name, field.default) for size, of in sizes.items()}
            words = {size: v.text if isinstance(v, Rule) else f"{v}" for size, v in values.items()}
            default, span, meaning = rows[field.name]
            medium = words.pop("medium")
            usual = medium if isinstance(values["medium"], Rule) else default
            others = [f"{size} {words[size]}" for size in words if values[size] != values["medium"]]
            rows[field.name] = (f"{usual} ({'; '.join(others)})" if others else usual, span, meaning)
        explained[section] = rows
    return explained


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
    source: RunFolder | None = None,
) -> RunFolder:
    """Train `system` on `store` into the run folder `out` (default `runs/SYSTEM-STORE`), or resume the run that is
    there. Each report is logged as one line. A new run begins with the weights of the run `source`, if given.

    The precision `auto` depends on the processor and, on a CPU, on the time of a few steps; run.toml records the
    reason. Called again with the same arguments, it resumes from the newest checkpoint. RunError for other settings
    than those of the run in `out`. Raises Stopped after Ctrl-C, with the state saved, Diverged or Collapsed where
    going back did not help."""
    store = store if isinstance(store, Store) else Store(store)
    store.check()
    run = RunFolder(Path(out) if out else Path("runs") / f"{system}-{store.name}")
    new = not (run.path / "run.toml").exists()
    kept = {} if new or run.system_name != system else _kept(run)
    usual = usual_size(device_name) if new else run.section("run").get("size", "medium")
    planned = partial(plan, system, store, run.path, overrides=overrides, base=base, source=source, usual=usual)
    settings = planned(size, kept=kept)
    device.choose(device_name)  # raises where there is none, before anything is written
    if new and run.path.is_dir() and any(p.name != LOCK for p in run.path.iterdir()):
        raise RunError(f"{run.path} holds something else than a run. Choose another place with --out.")
    with run.alone():
        if not new:
            _same(run, settings)
            if not run.checkpoints() and stats.read(run.path):
                log.warning(f"{run.path} has no checkpoint any more: it begins again.")
        else:
            run.begin(settings)
            if size is None and settings["run"].get("size") == "small":
                log.info("size small: the default on a CPU; --size medium or large has more capacity and takes longer")
            if why := settings["run"].get("augment"):
                log.info(f"augment {why}")
        trainer, short = None, False
        try:
            _settle_precision(run, store, device_name)
            if _needs_images(run, settings):
                expected = _expected(run, store, device_name)
                _add(run, planned(size, expected=expected, kept=kept), expected)
            trainer = Trainer(run, store, device_name)
            if not run.checkpoints() and (first := run.section("run")).get("from"):
                transfer.take_over(RunFolder(first["from"], first["from_images"]), trainer.system, trainer.average)
            trainer.train()
            if trainer.settings.patience and run.best() is None:
                log.warning(
                    "No distance was measured, so train.patience had no effect. A short run is measured on the way "
                    "where its store has been measured before, or with --train.measure 1."
                )
        except (GanforgeError, MemoryError, RuntimeError) as error:
            if new and not (trainer and trainer.progress.seen) and not run.checkpoints():
                for name in ("run.toml", "stats.jsonl"):  # it could not begin: others may be tried in the same folder
                    (run.path / name).unlink(missing_ok=True)
            short = new and is_short(error) and not run.checkpoints()
            if not short:
                raise
        if short:  # here, since the error would have kept the tensors
            trainer, smaller = None, SIZES[: SIZES.index(size or usual)][::-1]
            raise memory.too_large(settings, smaller, planned, store, device_name, LATE - 1)
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


def _seconds_a_step(
    trainer: Trainer, precisions: tuple[str, ...] = ("bf16", "fp32"), after: int = LATE
) -> dict[str, float]:
    """The shortest time of a training step in each precision, by turns, after so many steps: by default at full size
    and without the lazy phases. The trainer cannot be used afterwards."""
    trainer.progress.seen = after * trainer.settings.batch
    best, begun = dict.fromkeys(precisions, math.inf), time.perf_counter()
    with Busy() as busy:
        busy.crowd()  # spinning beside other programs would hide the difference
        for turn in range(PROBES[1]):
            seconds = time.perf_counter() - begun
            if (turn >= PROBES[0] and seconds > SECONDS) or (turn > 1 and seconds > 10 * SECONDS):
                break
            for name in best:
                trainer.settings = replace(trainer.settings, precision=name)
                started = time.perf_counter()
                trainer.step()
                device.wait(trainer.device)
                if turn:  # not the first step of each, which allocates
                    best[name] = min(best[name], time.perf_counter() - started)
                trainer.progress.seen = after * trainer.settings.batch
    return best


def _needs_images(run: RunFolder, settings: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether the images of a new run with a length in minutes have to be estimated: a setting depends on them, or the
    system grows."""
    if settings["train"]["images"] or run.checkpoints() or "expected" in run.section("run"):
        return False
    loaded, given = models.load(run.system_name), {n: v for n, v in settings["model"].items() if v is not None}
    missing = None in (*settings["train"].values(), *settings["model"].values())
    return missing or loaded.system.least_images(config.build(loaded.config, given, "model"), run.spec) > 0


def _expected(run: RunFolder, store: Store, device_name: str) -> int:
    """About as many images as this machine shows in the minutes of the run, by the time of a few steps; logged."""
    trainer = Trainer(run, store, device_name)
    minutes, batch, precision = trainer.settings.minutes, trainer.settings.batch, trainer.settings.precision
    (seconds,) = _seconds_a_step(trainer, (precision,)).values()
    presets = models.load(run.system_name).presets.values()
    begins = max((v.begins for preset in presets for v in preset.values() if isinstance(v, Rule)), default=0.0)
    mean = seconds
    if begins:
        (first,) = _seconds_a_step(trainer, (precision,), 1).values()
        mean = begins * first + (1 - begins) * seconds
    expected = max(1, int(60 * minutes / mean)) * batch
    log.info(f"expected: {expected:,} images in {minutes:g} minutes; a step at full size took {seconds:.3g} s")
    return expected


def _add(run: RunFolder, settings: Mapping[str, Mapping[str, Any]], expected: int) -> None:
    """Write the settings that run.toml lacks, and the images that they depend on."""
    sections = run.settings
    sections["run"]["expected"] = expected
    for section in ("train", "model"):
        sections[section] = {**settings[section], **sections[section]}
    run.begin(sections)


def _kept(run: RunFolder) -> dict[str, dict[str, Any]]:
    """The values of a run on disk that no preset changes: those that depend on its length, those that `auto` chose, and
    the defaults of settings that an earlier version did not have."""
    written, complete, loaded = run.settings, _settings(run), models.load(run.system_name)
    kept: dict[str, dict[str, Any]] = {"train": {}, "model": {}}
    for section, values in kept.items():
        presets = [loaded.preset(size)[section] for size in loaded.presets]
        rules = {n for preset in presets for n, v in preset.items() if isinstance(v, Rule) and v.by_length}
        if section == "model":
            rules |= {field.name for field in fields(loaded.config) if field.default == "auto"}
        for name, value in complete[section].items():
            if name in rules if name in written[section] else name not in rules or run.checkpoints():
                values[name] = value
    return kept


def _settings(run: RunFolder) -> dict[str, dict[str, Any]]:
    """The settings of a run on disk. One that an earlier version did not have has its default."""
    settings = run.settings
    settings["run"].setdefault("revision", 1)
    for section, kind in (("train", Settings), ("model", models.load(run.system_name).config)):
        settings[section] = asdict(config.build(kind, run.section(section), section))
    settings["spec"] = spec_section(run.spec)
    return settings


def _same(run: RunFolder, settings: Mapping[str, Mapping[str, Any]]) -> None:
    """RunError for the first setting that differs from those of the run on disk; its length and reports may change."""
    run.check_revision()
    old_settings = _settings(run)
    for section, values in settings.items():
        for name, value in values.items():
            old = old_settings.get(section, {}).get(name)
            if value is None:  # it depends on the length, which is being estimated
                continue
            if (section, name, old) == ("run", "size", None):  # an earlier version did not write it
                continue
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
    merged["train"] |= {name: new[name] for name in ("report", "measure", "patience", "keep", "track")}
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
