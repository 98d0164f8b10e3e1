"""A run: one folder with its settings, checkpoints, statistics and samples.

run.toml                  all settings; also the input of the next run
checkpoints/000128000/    tensors.safetensors, state.json, run.toml as it was then, and manifest.json with their
                          SHA-256; written completely or not at all. Kept are the newest ones and the best
stats.jsonl               one line a report
samples/000128000.png     the same seeds at every report
.lock                     held by the process that trains
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ganforge import models
from ganforge.base import config, device
from ganforge.base.errors import InputError, RunError
from ganforge.base.files import atomic_file, atomic_folder, cannot_write, file_sha256, locked, sync, writing
from ganforge.base.seeds import key
from ganforge.base.tables import read_json
from ganforge.media.spec import Spec, spec_from
from ganforge.store.remote import is_address
from ganforge.system import System

log = logging.getLogger(__name__)

NEWEST = 2  # checkpoints that are kept beside the best
BEST, LAST = "best", "last"
LOCK = ".lock"
WRITTEN = ("run.toml", "stats.jsonl", "checkpoints", "samples", "tensorboard")  # by training, beside hidden files
FREE = {  # settings that may change from checkpoint to checkpoint
    ("run", "store"),
    ("run", "precision"),
    ("run", "augment"),
    ("train", "precision"),
    ("train", "images"),
    ("train", "minutes"),
    ("train", "report"),
    ("train", "measure"),
    ("train", "patience"),
    ("train", "keep"),
    ("train", "track"),
}


@dataclass(frozen=True, init=False)
class RunFolder:
    """A run folder. Its files are read when they are needed.

    `at` says which checkpoint `build` takes: "best", "last", or the number of images seen; None is the best where
    training has measured any, else the last."""

    path: Path
    at: str | int | None

    def __init__(self, path: str | Path, at: str | int | None = None) -> None:
        object.__setattr__(self, "path", Path(path))
        object.__setattr__(self, "at", at)

    @property
    def settings(self) -> dict[str, Any]:
        """The sections of run.toml. RunError where there is none."""
        file = self.path / "run.toml"
        if not file.is_file():
            reason = "has no run.toml in it" if self.path.is_dir() else "does not exist"
            raise RunError(f"{self.path} is no run: it {reason}. Make one with: ganforge train SYSTEM STORE")
        try:
            return config.read_toml(file)
        except InputError as error:
            raise RunError(str(error)) from error

    @property
    def system_name(self) -> str:
        return self._text("system")

    @property
    def store(self) -> str:
        """The folder or address of the store when the run began."""
        return self._text("store")

    def own_store(self) -> str:
        """The folder or address of the store. RunError where that folder does not exist any more."""
        if not is_address(self.store) and not Path(self.store).exists():
            raise RunError(
                f"{self.path} learned from {self.store}, which is not there. "
                "Name the store where it is now with --store STORE."
            )
        return self.store

    @property
    def spec(self) -> Spec:
        values = self.section("spec")
        try:
            return spec_from(values)
        except (KeyError, TypeError, ValueError) as error:
            raise RunError(f"{self.path / 'run.toml'}: the section [spec] is damaged: {error}.") from error

    def _text(self, name: str) -> str:
        """A text in the section [run]. RunError where there is none of that name."""
        text = self.section("run").get(name)
        if not isinstance(text, str):
            raise RunError(
                f"{self.path / 'run.toml'} does not say the {name} in its section [run]. Write it there again."
            )
        return text

    def section(self, name: str) -> dict[str, Any]:
        """The values of one section of run.toml. RunError where the section is missing."""
        settings = self.settings
        if not isinstance(settings.get(name), dict):
            raise RunError(f"{self.path / 'run.toml'} lacks the section [{name}].")
        return settings[name]  # type: ignore[no-any-return]

    def checkpoints(self) -> list[Path]:
        """The folders of the checkpoints, the oldest first. Each was complete when it got its name; `load` checks
        whether it still is."""
        return sorted(p for p in (self.path / "checkpoints").glob("*") if p.name.isdecimal())

    def scores(self) -> dict[Path, float]:
        """The Fréchet distance of each checkpoint that training has measured, by its folder, the oldest first."""
        distances = {}
        for folder in self.checkpoints():
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):  # `load` says what is damaged
                score = json.loads((folder / "state.json").read_text("utf-8"))["score"]
                distances[folder] = float(score["distance"])
        return distances

    def best(self) -> Path | None:
        """The checkpoint with the smallest distance; None where none was measured."""
        distances = self.scores()
        return min(distances, key=distances.__getitem__, default=None)

    def chosen(self) -> Path:
        """The checkpoint that `at` names. RunError where there is none."""
        folders, best = self.checkpoints(), self.best()
        if not folders:
            _ = self.settings  # raises where this is no run at all
            raise RunError(
                f"{self.path} holds no checkpoint yet. "
                f"Train it with: ganforge train {self.system_name} {self.store} --out {self.path}"
            )
        if self.at is None or self.at == LAST:
            return best if best and self.at is None else folders[-1]
        if self.at == BEST:
            if best:
                return best
            raise RunError(
                f"No checkpoint of {self.path} was measured while it was trained, so none is known to be the best. "
                "Take --at last, or train with --train.measure 1."
            )
        by_images = {int(folder.name): folder for folder in folders}
        if str(self.at).isdecimal() and int(self.at) in by_images:
            return by_images[int(self.at)]
        there = ", ".join(map(str, by_images))
        raise RunError(f"{self.path} has no checkpoint {self.at!r}. There is: best, last, {there}.")

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Lock the run for this process, which is going to write into it. RunError where another process holds the
        lock, or where the run contains a link, whose target would be overwritten."""
        stack = contextlib.ExitStack()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            for top in self.path.iterdir():
                if top.name not in WRITTEN and not top.name.startswith("."):
                    continue
                self.file(top.name)
                for folder, folders, files in os.walk(top):
                    for name in folders + files:
                        self.file(Path(folder, name).relative_to(self.path))
            stack.enter_context(locked(self.path / LOCK))
        except BlockingIOError as error:
            raise RunError(
                f"{self.path} is being trained by another process. Wait for its end, stop it, or choose another place "
                "with --out."
            ) from error
        except OSError as error:
            raise cannot_write(self.path, error, kind=RunError) from error
        with stack:
            yield

    def file(self, name: str | Path) -> Path:
        """The path of a file of the run that is going to be written. RunError for a link, whose target would be
        overwritten."""
        path = self.path / name
        if path.is_symlink():
            raise RunError(
                f"{path} is a link to {path.readlink()}, which would be overwritten. Remove the link; to keep a run "
                "elsewhere, link its whole folder."
            )
        return path

    def begin(self, settings: Mapping[str, Mapping[str, Any]]) -> None:
        """Make the folder and write run.toml."""
        with writing(self.path, kind=RunError):
            self.path.mkdir(parents=True, exist_ok=True)
            with atomic_file(self.path / "run.toml") as partial:
                partial.write_text(config.to_toml(settings), "utf-8")

    def save(
        self,
        seen: int,
        tensors: Mapping[str, Tensor],
        state: Mapping[str, Any],
        settings: Mapping[str, Mapping[str, Any]],
        newest: int | None = NEWEST,
    ) -> Path:
        """Write a checkpoint with its settings, and remove all but the `newest` and the best; None keeps all. The files
        are written into a hidden folder and synced; the folder is renamed when it is complete. RunError where that
        cannot be written."""
        final = self.path / "checkpoints" / f"{seen:09d}"
        for leftover in (self.path / "checkpoints").glob(".*.partial-*"):
            shutil.rmtree(leftover, ignore_errors=True)  # of a process that was killed
        with writing(final, "The checkpoints before it are intact.", RunError, (OSError, SafetensorError)):
            with atomic_folder(final, overwrite=True) as partial:
                weights = {k: v.detach().cpu().contiguous() for k, v in tensors.items()}
                save_file(weights, partial / "tensors.safetensors")
                (partial / "state.json").write_text(json.dumps(dict(state)), "utf-8")
                (partial / "run.toml").write_text(config.to_toml(settings), "utf-8")
                names = ("tensors.safetensors", "state.json", "run.toml")
                files = {name: file_sha256(partial / name) for name in names}
                (partial / "manifest.json").write_text(json.dumps({"seen": seen, "sha256": files}), "utf-8")
                for file in partial.iterdir():
                    sync(file)
            sync(final.parent)
        if newest is not None:
            best = self.best()
            for old in self.checkpoints()[:-newest]:
                if old != best:
                    shutil.rmtree(old, ignore_errors=True)
        return final

    def remove_after(self, seen: int) -> None:
        """Remove the checkpoints of more than `seen` images."""
        for folder in self.checkpoints():
            if int(folder.name) > seen:
                shutil.rmtree(folder, ignore_errors=True)

    def load(self, fall_back: bool = False) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """(tensors by name, state) of the checkpoint that `at` names; with `fall_back`, of the newest that is
        undamaged, and a warning is logged about newer ones that are damaged.

        RunError where there is no checkpoint, or where it or run.toml was changed since it was written."""
        first = self.chosen()
        folders = self.checkpoints()[::-1] if fall_back else [first]
        damaged: list[str] = []
        for folder in folders:
            try:
                tensors, state = self._read(folder)
            except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
                damaged.append(f"{folder} is damaged: {error if str(error) else type(error).__name__}")
                continue
            if damaged:
                log.warning(f"{'; '.join(damaged)}. Going on from the one before, of {int(folder.name):,} images.")
            return tensors, state
        others = self.checkpoints()
        if len(damaged) == len(others):
            raise RunError(f"{'; '.join(damaged)}. No checkpoint is left: train again, into another folder with --out.")
        if first == others[-1]:
            again = f"To make it again from the one before: ganforge train {self.path}; to use that one as it is"
            raise RunError(f"{damaged[0]}. {again}, remove {first}.")
        raise RunError(f"{damaged[0]}. Take another one with --at last or --at IMAGES; to forget it, remove {first}.")

    def _read(self, folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """(tensors by name, state) of one checkpoint, whose files are compared with their SHA-256, and its settings
        with run.toml. Names of tensors from earlier versions are translated to today's (`System.renamed`)."""
        hashes: dict[str, str] = read_json((folder / "manifest.json").read_text("utf-8"))["sha256"]
        for name in {"tensors.safetensors", "state.json", *hashes}:
            if file_sha256(folder / name) != hashes[name]:
                raise ValueError(f"the SHA-256 of its {name} is not the manifest's")
        with safe_open(folder / "tensors.safetensors", framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        for old, new in models.load(self.system_name).system.renamed.items():
            tensors = {name.replace(old, new): tensor for name, tensor in tensors.items()}
        if "run.toml" in hashes:  # an earlier version kept none
            self._compare(config.read_toml(folder / "run.toml"))
        return tensors, read_json((folder / "state.json").read_text("utf-8"))

    def _compare(self, then: Mapping[str, Mapping[str, Any]]) -> None:
        """RunError for the first setting that differs between run.toml and `then`, the settings of a checkpoint. A
        setting of a later version has its default in an older file."""
        loaded = models.load(self.system_name)
        defaults = {"model": {field.name: field.default for field in fields(loaded.config)}}
        for section in then:
            was, now, default = then[section], self.section(section), defaults.get(section, {})
            for name in {**was, **now}:
                old = was.get(name, default.get(name, now.get(name)))
                new = now.get(name, default.get(name))
                same = list(old) == list(new) if isinstance(old, (list, tuple)) and new is not None else old == new
                if (section, name) not in FREE and not same:
                    raise RunError(
                        f"{self.path / 'run.toml'} says {section}.{name} = {new!r}, but its checkpoint was made with "
                        f"{old!r}. Write that there again, or train a new run with --config and --out."
                    )

    def check_revision(self) -> None:
        """RunError where this version of ganforge would make other pictures of the run's weights."""
        revision, now = self.section("run").get("revision", 1), models.load(self.system_name).system.revision
        if revision != now:
            raise RunError(
                f"{self.path} was trained as revision {revision} of {self.system_name}, and this ganforge has revision "
                f"{now}, which would make other pictures of its weights. Use the ganforge that trained it, or train "
                "anew, into another folder with --out."
            )

    def new_system(self) -> System:
        """The system of the run's settings with the weights that training begins with, a function of its seed. RunError
        where it cannot be built on this machine, or where it is of another revision."""
        self.check_revision()
        loaded = models.load(self.system_name)
        settings: Any = config.build(loaded.config, self.section("model"), "model")
        try:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(key(self.section("train").get("seed", 0), "weights"))
                return loaded.system(settings, self.spec)
        except (RuntimeError, MemoryError, OverflowError) as error:
            raise RunError(
                f"{self.system_name} for pictures of {self.spec} cannot be built here, with {self.path / 'run.toml'}: "
                f"{str(error).splitlines()[0]} Take smaller sizes, or a machine with more memory."
            ) from error

    def build(self, device_name: str = "cpu") -> System:
        """The trained system with its averaged weights, in evaluation mode, on the given device; `auto` is a GPU where
        there is one. RunError where the run has no checkpoint that fits, InputError where the device cannot be used."""
        chosen = device.repeatable(device_name)
        tensors, _ = self.load()
        self._tell()
        system = self.new_system()
        weights = {k.removeprefix("system."): v for k, v in tensors.items() if k.startswith("system.")}
        weights |= {k.removeprefix("average."): v for k, v in tensors.items() if k.startswith("average.")}
        try:
            system.load_state_dict(weights)
        except RuntimeError as error:
            raise RunError(
                f"{self.path}: the checkpoint does not fit run.toml: {str(error).splitlines()[-1].strip()}"
            ) from error
        return system.to(chosen).eval().requires_grad_(False)

    def _tell(self) -> None:
        """Log which checkpoint was taken, where it is not the last."""
        taken, last, distances = self.chosen(), self.checkpoints()[-1], self.scores()
        if taken == last:
            return
        distance = f", Fréchet distance {distances[taken]:.3g} on its way" if taken in distances else ""
        latest = f" ({distances[last]:.3g})" if last in distances else ""
        log.info(
            f"{self.path}: the checkpoint of {int(taken.name):,} images{distance}; "
            f"the last is of {int(last.name):,}{latest}, --at last takes it"
        )


def spec_section(spec: Spec) -> dict[str, Any]:
    """A Spec as the section [spec] of run.toml."""
    return spec.to_plain()


def weights_hash(tensors: Mapping[str, Tensor]) -> str:
    """Sixteen hexadecimal digits, a hash of the names and bytes of these tensors."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()[:16]
