"""A folder, a zip or a collected set -> a store: one shape, one colour mode, split, hashed.

The pictures are converted in parts that do not know of each other; whoever makes them, here, in a job array (`shard`)
or on a cluster (`engine`), the store is the same to the byte. What is finished is never made again."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from ganforge.auditing.findings import Findings
from ganforge.base import config
from ganforge.base.device import keep_memory
from ganforge.base.errors import DataError, GanforgeError, InputError, Stopped, StoreError
from ganforge.base.files import atomic_file, cannot_write
from ganforge.base.tables import read_json
from ganforge.media.clip import Clip
from ganforge.media.medium import Medium
from ganforge.media.pair import Pair
from ganforge.media.solid import Solid
from ganforge.media.sound import Sound
from ganforge.media.spec import Spec
from ganforge.media.text import Text
from ganforge.preparing import media, pairs, parts, texts
from ganforge.preparing.convert import Plan, convert_part
from ganforge.preparing.parts import Sides, finished
from ganforge.preparing.settings import HELD_OUT, Settings
from ganforge.preparing.shape import choose, parse_color
from ganforge.sources.depth import Levels
from ganforge.sources.entry import Entry, Portion, Source
from ganforge.sources.layout import Layout, some
from ganforge.sources.source import keep_apart, open_source
from ganforge.store import card, history
from ganforge.store.split import ADJACENT, CAPPED, EQUAL, joined
from ganforge.store.store import Store
from ganforge.version import __version__

FEWEST = 8
PART_BYTES, PART_PICTURES = 256 << 20, 1 << 17
RESIZE = "torch bicubic, antialiased"
RESIZES: Mapping[type[Medium], str] = {
    Sound: "none; scipy polyphase to one rate",
    Solid: "mean of the voxels covered, or trilinear; of meshes 8 points a voxel",
    Text: "none",
}
"""Of media that are no pictures."""
BESIDE = ("manifest.json", history.NAME, "README.md", "sheet.png", "augmented.png", "features")
"""What is put into a store beside the files that its manifest names."""


@dataclass(frozen=True)
class Prepared:
    """What `prepare` made, and of what."""

    store: Store
    skipped: list[tuple[str, str]]
    """(file, reason), the first thousand."""
    skipped_count: int
    unusable: int
    """How many of them could not be used, apart from what an audit, a cap or the split left out on purpose."""
    notes: list[str]
    """Sentences that the user should read."""


def prepare(
    source: str | Path,
    out: str | Path | None = None,
    *,
    settings: Settings | None = None,
    overwrite: bool = False,
    progress: Callable[[int], None] | None = None,
    **options: Any,
) -> Prepared:
    """Make a store of every picture in `source` that can be read; the others are named with a reason and left out.

    `options` are values of `preparing.settings.Settings`, such as resolution=64 or heldout=0.2, and take the place of
    those in `settings`. The held-out share is chosen by a hash of the stored pixels, so that equal pictures are on the
    same side; where the source brings its own split, that one stands, and a share that is named is an InputError.

    Stopped and called again with the same arguments, it goes on; `overwrite` begins anew where another one is
    unfinished, and replaces an older store when the new one is finished. `progress` is told how many were looked at.
    Raises InputError, DataError where the pictures cannot be used, StoreError where `out` exists, and Stopped on
    Ctrl-C."""
    chosen = _settings(settings, options)
    work = _Work(source, out, chosen, overwrite)
    if work.opened.given and (chosen.heldout is not None or chosen.stratify):
        raise InputError(
            f"{source} brings its own split, which stands; --heldout and --stratify have no effect. Leave them out."
        )
    sides = _sides(chosen, work.plan)
    work.begin(range(work.plan.parts))
    try:
        (_on_ray if chosen.engine == "ray" else _here)(work, range(work.plan.parts), progress)
        return work.finish(sides)
    except parts.TooFew:
        work.remove()
        raise
    except GanforgeError:
        work.give_up()
        raise
    except KeyboardInterrupt:
        raise work.stopped() from None


def prepare_shard(
    source: str | Path,
    out: str | Path | None,
    index: int,
    count: int,
    *,
    settings: Settings | None = None,
    overwrite: bool = False,
    progress: Callable[[int], None] | None = None,
    **options: Any,
) -> tuple[int, int]:
    """Make every `count`-th part from `index` on, for a job array; `prepare` joins them. Returns (parts finished, parts
    in all).

    `settings` and `options` are those of `prepare`; what concerns the split counts when the parts are joined.
    """
    if not 0 <= index < count:
        raise InputError(f"The shard {index}/{count} is not understood; with 16 jobs they are 0/16 to 15/16.")
    work = _Work(source, out, _settings(settings, options), overwrite)
    mine = range(index, work.plan.parts, count)
    work.begin(mine)
    try:
        _here(work, mine, progress)
    except KeyboardInterrupt:
        raise work.stopped() from None
    return sum(finished(path) for path in work.paths), work.plan.parts


class _Work:
    """The unfinished store: a folder beside its place, with the plan and the parts that are there."""

    def __init__(self, source: str | Path, out: str | Path | None, settings: Settings, overwrite: bool) -> None:
        path, table, s = Path(source), settings.labels, settings
        self.out = Path(out) if out else Path("stores") / (path.resolve().name if path.is_dir() else path.stem)
        self.folder = parts.unfinished(self.out)
        self.overwrite = overwrite
        if self.out.exists():
            _check_replaced(self.out, overwrite)
        keep_apart(path, self.out)
        self.normalise = s.normalise
        before = None if overwrite else _known(self._begun(), path)
        if s.pair:
            keep_apart(s.pair, self.out)
        self.opened = _open(path, table, before, s.medium, s.pair, s.column)
        media.check_settings(self.opened.medium, s)
        levels, halves, block = Levels(), tuple[pairs.Half, ...](), 0
        match self.opened.medium:
            case "sound":
                spec, notes = media.choose_sound(self.opened, s)
            case "clip":
                spec, notes = media.choose_clip(self.opened, s)
            case "solid":
                spec, notes = media.choose_solid(self.opened, s)
            case "text":
                spec, block, notes = texts.choose_text(self.opened, s)
            case "pair":
                spec, halves, notes = pairs.choose_pair(self.opened, s)
            case _:
                spec, levels, notes = choose(self.opened, s.resolution, s.channels, s.background, s.levels)
        self.notes = [*self.opened.notes, *notes]
        size = s.part_size or max(64, min(PART_PICTURES, PART_BYTES // spec.pixels))
        self.portions = self.opened.portions(size)
        self.findings = findings = Findings(s.audit) if s.audit else None
        if (s.drop or s.keep) and findings is None:
            raise InputError(
                "Dropping and keeping by findings needs an audit: ganforge audit SOURCE, then --audit with its folder."
            )
        refused = findings.left_out(s.drop, s.keep) if findings else {}
        groups = {name: str(group) for name, group in findings.group.items() if group >= 0} if findings else {}
        self.groups = joined(groups, self.opened.layout.groups)
        layout = self.opened.layout.label_at, self.opened.layout.split_at, self.opened.layout.table
        self.plan = Plan(
            source=str(path.resolve()),
            labels=str(table.resolve()) if table else None,
            spec=spec,
            fit=s.fit,
            background=parse_color(s.background),
            stretch=s.normalise == "image",
            part_size=size,
            parts=len(self.portions),
            listing=_listing(self.portions),
            layout=layout,
            levels=levels,
            all_grey=s.channels is None and spec.channels == 1,
            refused=refused,
            stride=_stride(s, spec),
            block=block,
            column=self.opened.column,
            wanted=str(s.pair.resolve()) if s.pair else "",
            halves=halves,
            captioned=spec.is_picture and self.opened.layout.captioned,
        )
        self.paths = [self.folder / f"part-{n:05d}" for n in range(self.plan.parts)]

    def _begun(self) -> dict[str, Any]:
        """The plan of an unfinished store, or nothing."""
        try:
            plan = read_json((self.folder / "plan.json").read_text("utf-8"))
        except (OSError, ValueError):
            return {}
        return plan if isinstance(plan, dict) and isinstance(plan.get("spec"), dict) else {}

    def begin(self, numbers: range) -> None:
        """Make the folder, or go on with the one that is there if it was begun with the same plan. DataError where the
        audit is not about the pictures of these parts."""
        if self.findings:
            entries = (entry for number in numbers for entry in self.portions[number]())
            self.findings.check(Path(self.plan.source), (entry.name for entry in self.opened.entries()), entries)
        path, plan = self.folder / "plan.json", self.plan.to_plain()
        plain = json.loads(json.dumps(plan))
        if self.overwrite and self._begun() != plain:
            self.remove()
        if path.is_file():
            begun = self._begun()
            if begun != plain:
                differing = next((name for name in plain if begun.get(name) != plain[name]), "plan")
                raise StoreError(
                    f"{self.folder} holds an unfinished store with another {differing}. Finish it with the "
                    "same settings, or begin anew with --overwrite."
                )
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with atomic_file(path) as partial:
                parts.write_json(partial, plan)
        except OSError as error:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise cannot_write(self.out, error) from error

    def finish(self, sides: Sides) -> Prepared:
        """Join the parts and look at what came out."""
        plan = self.plan
        medium = plan.spec.medium
        resize = RESIZES.get(type(medium), f"{RESIZE}; of ids: nearest" if _has_ids(medium) else RESIZE)
        of_halves = zip(pairs.WORDS, plan.halves, strict=False)
        depths = {"depth": plan.levels} | {f"{word}_depth": half.levels for word, half in of_halves}
        recipe = {
            **({} if type(medium) in RESIZES else {"fit": plan.fit, "background": list(plan.background)}),
            "normalise": self.normalise,
            **{name: str(levels) for name, levels in depths.items() if levels != Levels()},
            **({"stride": plan.stride} if plan.stride else {}),
            **({"block": plan.block, "column": plan.column} if isinstance(medium, Text) else {}),
            "heldout": sides.heldout, "stratify": sides.stratify, "per_class": sides.per_class,
            "resize": resize,
        }  # fmt: skip
        self.notes += [
            f"{len(files):,} {remark} ({some(files)})" for remark, files in parts.remarks(self.paths).items()
        ]
        levels = {"none": "bytes", "image": "bytes"}.get(self.normalise, self.normalise)
        reasons = parts.join(
            self.paths,
            self.out,
            plan.spec,
            recipe=recipe,
            sides=sides,
            groups=self.groups,
            levels=levels,
            fewest=FEWEST,
            versions={"ganforge": __version__, "torch": torch.__version__},
            overwrite=self.overwrite,
        )
        self.remove()
        store = Store(self.out)
        sources = [Path(name) for name in (plan.source, plan.wanted) if name]
        history.carry(self.out, *sources)
        names = {word: path.name for word, path in zip(("source", "wanted"), sources, strict=False)}
        history.record(
            self.out, "prepare", **names, **recipe, stored=len(store),
            for_training=len(store.train), held_out=len(store.heldout), dropped=reasons, root=store.root,
        )  # fmt: skip
        card.write(self.out, card.card(store, self.out.name, history.read(self.out), card.STORE))
        notes = self.notes
        if isinstance(medium, Sound):
            notes += media.resampled(store, medium.rate)
        if captions := store.spec.captions:
            notes.append(f"captions of {len(captions.words):,} words, such as: {captions.examples[0]}")
        if plan.spec.classes:
            more = "…" if len(plan.spec.classes) > 12 else ""
            notes.append(f"classes: {', '.join(plan.spec.classes[:12])}{more}")
        for reason in (EQUAL, CAPPED, ADJACENT):
            if reasons.get(reason):
                notes.append(f"{reasons[reason]:,} set aside: {reason}")
        if sides.heldout and not len(store.heldout):
            notes.append(
                f"nothing is held out: these {plan.spec.medium.plural} are too few, or belong together (such as clips "
                "of one file), and what belongs together stays on one side; measure will have no floor"
            )
        intended = sum(reasons.get(reason, 0) for reason in ("refused by the audit", EQUAL, CAPPED, ADJACENT))
        total = sum(reasons.values())
        return Prepared(store, parts.dropped([self.out], 1000), total, total - intended, notes)

    def stopped(self) -> Stopped:
        """What is said after Ctrl-C."""
        done = sum(finished(path) for path in self.paths)
        self.give_up()
        return Stopped(f"Stopped with {done} of {self.plan.parts} parts finished. The same command goes on from there.")

    def give_up(self) -> None:
        """After a mistake nothing is left, unless parts are finished: then the same command may go on with them."""
        if not any(finished(path) for path in self.paths):
            self.remove()

    def remove(self) -> None:
        """Remove the parts."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _has_ids(medium: Medium) -> bool:
    return isinstance(medium, Pair) and bool(medium.palette)


def _check_replaced(out: Path, overwrite: bool) -> None:
    """StoreError unless `out` may be replaced: it is a store, and nothing that somebody may miss lies in it."""
    try:
        files = read_json((out / "manifest.json").read_text("utf-8"))["files"]
        strange = {path.name for path in out.iterdir()} - {*files, *BESIDE}
    except (OSError, ValueError, KeyError, TypeError):
        raise StoreError(
            f"{out} exists already and is no store, so it is not overwritten. Choose another name with --out."
        ) from None
    if not overwrite:
        raise StoreError(f"{out} exists already. Choose another name with --out, or replace it with --overwrite.")
    if strange:
        raise StoreError(
            f"{out} holds other files too ({some(sorted(strange))}), so it is not overwritten. Move them away first."
        )


def _settings(settings: Settings | None, options: Mapping[str, Any]) -> Settings:
    """`settings` with `options` in place of its values, checked."""
    return config.build(Settings, {**vars(settings or Settings()), **options}, "prepare")


def _sides(s: Settings, plan: Plan) -> Sides:
    """How the pictures are split. InputError where that needs classes and there are none."""
    if (s.stratify or s.per_class) and not plan.spec.classes:
        raise InputError(f"{plan.source} has no classes, so they cannot be {'stratified' if s.stratify else 'capped'}.")
    return Sides(HELD_OUT if s.heldout is None else s.heldout, s.stratify, s.folds, s.per_class, plan.block)


def _stride(s: Settings, spec: Spec) -> int:
    """How far it is from one row of a file to the next; 0 where a file is one row."""
    usual = spec.medium.frames if isinstance(spec.medium, Clip) else spec.width
    return s.stride or usual if isinstance(spec.medium, (Clip, Text)) else 0


# ---------------------------------------------------------------------------------------------------------- the engines


def _here(work: _Work, numbers: range, progress: Callable[[int], None] | None) -> None:
    """One part after the other, its pictures shared out among all cores."""
    keep_memory()
    done = 0

    def add(count: int) -> None:
        nonlocal done
        done += count
        if progress:
            progress(done)

    before = torch.get_num_threads()
    torch.set_num_threads(1)  # the pictures are shared out among threads; within one, more threads only wait
    try:
        for number in numbers:
            convert_part(work.plan, work.portions, number, work.paths[number], os.cpu_count() or 1, add)
    finally:
        torch.set_num_threads(before)


def _on_ray(work: _Work, numbers: range, progress: Callable[[int], None] | None) -> None:
    """A Ray task for each part that is not there yet; a task whose worker dies is run again. The folder must be shared
    by all."""
    try:
        import ray
    except ImportError:
        raise InputError('The engine ray is not installed. Install it with: pip install "ganforge[ray]"') from None
    from ray.exceptions import RayError, RayTaskError

    started = not ray.is_initialized()
    if started:
        ray.init(logging_level=logging.ERROR, log_to_driver=False, include_dashboard=False)
    task = ray.remote(max_retries=5, num_cpus=1)(_ray_part)
    try:
        plan = ray.put(work.plan.to_plain())
        waiting = [task.remote(plan, n, str(work.paths[n].resolve())) for n in numbers if not finished(work.paths[n])]
        done = 0
        while waiting:
            ready, waiting = ray.wait(waiting)
            done += sum(ray.get(ready))
            if progress:
                progress(done)
    except RayTaskError as error:
        if isinstance(error.cause, GanforgeError):
            raise error.cause from None
        raise DataError(
            f"A Ray task failed: {str(error.cause).splitlines()[0]}. The parts that are finished are kept."
        ) from error
    except RayError as error:
        raise DataError(f"Ray failed: {str(error).splitlines()[0]}. The parts that are finished are kept.") from error
    finally:
        if started:
            ray.shutdown()


def _ray_part(plan: dict[str, Any], number: int, path: str) -> int:
    """One part on one core of whatever machine; returns how many pictures were looked at."""
    torch.set_num_threads(1)
    keep_memory()
    done = 0

    def add(count: int) -> None:
        nonlocal done
        done += count

    p = Plan.from_plain(plan)
    kind = p.spec.medium.kind
    portions = _portions(p.source, p.labels, p.spec.classes, p.layout, p.part_size, kind, p.wanted, p.column)
    convert_part(p, portions, number, Path(path), 1, add)
    return done


@lru_cache(1)
def _portions(
    source: str, labels: str | None, classes: tuple[str, ...], layout: tuple[int | None, int | None, str], size: int,
    medium: str, wanted: str, column: str,
) -> list[Portion]:  # fmt: skip
    """Listed once in each worker."""
    known = None if layout[2] else Layout(classes, label_at=layout[0], split_at=layout[1])
    table, pair = Path(labels) if labels else None, Path(wanted) if wanted else None
    return _open(Path(source), table, known, medium, pair, column or None).portions(size)


def _open(
    path: Path, labels: Path | None, known: Layout | None, medium: str | None, wanted: Path | None, column: str | None
) -> Source:
    """The source of a store: of pairs two, joined."""
    if wanted:
        return pairs.open_pairs(path, wanted, labels, known)
    return open_source(path, labels, known, medium, column)


def _known(plan: dict[str, Any], source: Path) -> Layout | None:
    """The layout that an unfinished store of this source was begun with; a table of labels is read again."""
    try:
        label_at, split_at, table = plan["layout"]
        known = Layout(tuple(plan["spec"]["classes"]), label_at=label_at, split_at=split_at)
    except (KeyError, TypeError, ValueError):  # nothing was begun, or the plan is damaged
        return None
    return None if table or plan.get("source") != str(source.resolve()) else known


# ------------------------------------------------------------------------------------------------------------- the plan


def _listing(portions: list[Any]) -> str:
    """A short hash of the names in the first part."""
    digest = hashlib.sha256(str(len(portions)).encode())
    for entry in portions[0]() if portions else ():
        partner = entry.partner.name if isinstance(entry.partner, Entry) else ""
        digest.update(f"{entry.name}\0{partner}".encode())
    return digest.hexdigest()[:16]
