"""A run: one folder with its settings, checkpoints, statistics and samples.

run.toml                  all settings; also the input of the next run
checkpoints/000128000/    tensors.safetensors, state.json, the run.toml of then, manifest.json with their SHA-256; written whole or
                          not at all
stats.jsonl               what was reported
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
from ganforge.base import config, device, lock
from ganforge.base.errors import InputError, RunError
from ganforge.base.files import atomic_file, atomic_folder, cannot_write, file_sha256, sync, writing
from ganforge.media.spec import Spec, spec_from
from ganforge.store.remote import is_address
from ganforge.system import System

log = logging.getLogger(__name__)

KEEP = 2
LOCK = ".lock"
WRITTEN = ("run.toml", "stats.jsonl", "checkpoints", "samples", "tensorboard")  # by training, beside hidden files
FREE = {  # settings that may change from checkpoint to checkpoint
    ("run", "store"), ("run", "precision"), ("train", "precision"), ("train", "images"), ("train", "minutes"), ("train", "report"),
}  # fmt: skip


@dataclass(frozen=True)
class Run:
    """A run folder. Its files are read when they are asked for."""

    path: Path

    @property
    def settings(self) -> dict[str, Any]:
        """The sections of run.toml. RunError where there is none."""
        file = self.path / "run.toml"
        if not file.is_file():
            what = "has no run.toml in it" if self.path.is_dir() else "does not exist"
            raise RunError(f"{self.path} is no run: it {what}. Make one with: ganforge train SYSTEM STORE")
        try:
            return config.read_toml(file)
        except InputError as error:
            raise RunError(str(error)) from error

    @property
    def system_name(self) -> str:
        return self._said("system")

    @property
    def store(self) -> str:
        """The folder or address of the store when the run began."""
        return self._said("store")

    def own_store(self) -> str:
        """The folder or address of the store. RunError where the folder is not there any more."""
        if not is_address(self.store) and not Path(self.store).exists():
            raise RunError(
                f"{self.path} learned from {self.store}, which is not there. Name the store where it is now with --store STORE."
            )
        return self.store

    @property
    def spec(self) -> Spec:
        values = self.section("spec")
        try:
            return spec_from(values)
        except (KeyError, TypeError, ValueError) as error:
            raise RunError(f"{self.path / 'run.toml'}: the section [spec] is damaged: {error}.") from error

    def _said(self, name: str) -> str:
        """A text of the section [run]."""
        said = self.section("run").get(name)
        if not isinstance(said, str):
            raise RunError(
                f"{self.path / 'run.toml'} does not say the {name} in its section [run]. Write it there again."
            )
        return said

    def section(self, name: str) -> dict[str, Any]:
        """The values of one section of run.toml. RunError where it is not there."""
        settings = self.settings
        if not isinstance(settings.get(name), dict):
            raise RunError(f"{self.path / 'run.toml'} lacks the section [{name}].")
        return settings[name]  # type: ignore[no-any-return]

    def checkpoints(self) -> list[Path]:
        """The checkpoints, the oldest first. They were complete when they got their names; `load` finds out whether
        they still are."""
        return sorted(p for p in (self.path / "checkpoints").glob("*") if p.name.isdecimal())

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the run for this process, which is about to write into it. RunError where another one does, or where a
        link stands in it: what it leads to would be overwritten."""
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
            stack.enter_context(lock.held(self.path / LOCK))
        except BlockingIOError as error:
            raise RunError(
                f"{self.path} is being trained by another process. Wait for its end, stop it, or choose another place with --out."
            ) from error
        except OSError as error:
            raise cannot_write(self.path, error, kind=RunError) from error
        with stack:
            yield

    def file(self, name: str | Path) -> Path:
        """Where a file of the run is to be written. RunError where a link stands there: what it leads to would be
        overwritten."""
        path = self.path / name
        if path.is_symlink():
            raise RunError(
                f"{path} is a link to {path.readlink()}, which would be overwritten. Remove the link; to keep a run elsewhere, link its whole folder."
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
    ) -> Path:
        """Write a checkpoint, with the settings that led to it: into a folder of its own, each file synced, renamed
        when all is there; then drop old ones."""
        final = self.path / "checkpoints" / f"{seen:09d}"
        for left in (self.path / "checkpoints").glob(".*.partial-*"):
            shutil.rmtree(left, ignore_errors=True)  # of a process that was killed
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
        for old in self.checkpoints()[:-KEEP]:
            shutil.rmtree(old, ignore_errors=True)
        return final

    def load(self, fall_back: bool = False) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors and state of the newest checkpoint; with `fall_back`, of the newest that is whole, and what is wrong
        with newer ones is logged.

        RunError where there is none, where it was changed, or where run.toml was since.
        """
        found = self.checkpoints()
        if not found:
            _ = self.settings  # says so if this is no run at all
            raise RunError(
                f"{self.path} holds no checkpoint yet. Train it with: ganforge train {self.system_name} {self.store} --out {self.path}"
            )
        damaged: list[str] = []
        for folder in reversed(found):
            try:
                tensors, state = self._read(folder)
            except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
                damaged.append(f"{folder} is damaged: {error if str(error) else type(error).__name__}")
                if fall_back:
                    continue
                break
            if damaged:
                log.warning(f"{'; '.join(damaged)}. Going on from the one before, of {int(folder.name):,} images.")
            return tensors, state
        if len(damaged) == len(found):
            raise RunError(f"{'; '.join(damaged)}. No checkpoint is left: train again, into another folder with --out.")
        raise RunError(
            f"{damaged[0]}. To make it again from the one before: ganforge train {self.path}; to use that one as it is, remove {found[-1]}."
        )

    def _read(self, folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors and state of one checkpoint, whose files are compared with their SHA-256, and its settings with
        run.toml."""
        hashes: dict[str, str] = json.loads((folder / "manifest.json").read_text("utf-8"))["sha256"]
        for name in {"tensors.safetensors", "state.json", *hashes}:
            if file_sha256(folder / name) != hashes[name]:
                raise ValueError(f"the SHA-256 of its {name} is not the manifest's")
        with safe_open(folder / "tensors.safetensors", framework="pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
        if "run.toml" in hashes:  # an earlier version kept none
            self._compare(config.read_toml(folder / "run.toml"))
        return tensors, json.loads((folder / "state.json").read_text("utf-8"))

    def _compare(self, then: Mapping[str, Mapping[str, Any]]) -> None:
        """RunError naming the first setting that run.toml says otherwise than it did `then`. One that came since has
        its default."""
        loaded = models.load(self.system_name)
        usual = {"model": {field.name: field.default for field in fields(loaded.config)}}
        for section in then:
            was, now, default = then[section], self.section(section), usual.get(section, {})
            for name in {**was, **now}:
                old = was.get(name, default.get(name, now.get(name)))
                new = now.get(name, default.get(name))
                same = list(old) == list(new) if isinstance(old, (list, tuple)) and new is not None else old == new
                if (section, name) not in FREE and not same:
                    raise RunError(
                        f"{self.path / 'run.toml'} says {section}.{name} = {new!r}, but its checkpoint was made with {old!r}. "
                        "Write that there again, or train a new run with --config and --out."
                    )

    def new_system(self) -> System:
        """The system as its settings describe it, with fresh weights."""
        loaded = models.load(self.system_name)
        settings: Any = config.build(loaded.config, self.section("model"), "model")
        try:
            return loaded.system(settings, self.spec)
        except (RuntimeError, MemoryError, OverflowError) as error:
            raise RunError(
                f"{self.system_name} for pictures of {self.spec} cannot be built here, with {self.path / 'run.toml'}: "
                f"{str(error).splitlines()[0]} Take smaller sizes, or a machine with more memory."
            ) from error

    def build(self, device_name: str = "cpu") -> System:
        """The trained system, its averaged weights in place, ready to sample from, on the device named or, by `auto`,
        on a GPU where there is one. RunError where the run holds no checkpoint that fits, InputError where the device
        cannot be used."""
        chosen = device.repeatable(device_name)
        tensors, _ = self.load()
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


def spec_section(spec: Spec) -> dict[str, Any]:
    """A Spec as the section [spec] of run.toml."""
    return spec.to_plain()


def weights_hash(tensors: Mapping[str, Tensor]) -> str:
    """Sixteen hexadecimal digits that name exactly these tensors."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()[:16]
