"""A run: one folder with its settings, checkpoints, statistics and samples.

run.toml                  all settings; also the input of the next run
checkpoints/000128000/    tensors.safetensors, state.json, manifest.json with their SHA-256; written whole or not at all
stats.jsonl               what was reported
samples/000128000.png     the same seeds at every report
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ganforge import config, models
from ganforge.errors import InputError, RunError
from ganforge.files import file_sha256
from ganforge.images import ImageSpec, spec_from
from ganforge.models.base import System

KEEP = 2


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
        return str(self._section("run")["system"])

    @property
    def store(self) -> str:
        """The folder or address of the store when the run began."""
        return str(self._section("run")["store"])

    @property
    def spec(self) -> ImageSpec:
        values = self._section("spec")
        try:
            return spec_from(values)
        except (KeyError, TypeError, ValueError) as error:
            raise RunError(f"{self.path / 'run.toml'}: the section [spec] is damaged: {error}.") from error

    def _section(self, name: str) -> dict[str, Any]:
        settings = self.settings
        if not isinstance(settings.get(name), dict):
            raise RunError(f"{self.path / 'run.toml'} lacks the section [{name}].")
        return settings[name]  # type: ignore[no-any-return]

    def checkpoints(self) -> list[Path]:
        """Complete checkpoints, the oldest first."""
        folder = self.path / "checkpoints"
        return sorted(p for p in folder.glob("*") if p.name.isdecimal() and (p / "manifest.json").is_file())

    def begin(self, settings: Mapping[str, Mapping[str, Any]]) -> None:
        """Make the folder and write run.toml."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            partial = self.path / ".run.toml.partial"
            partial.write_text(config.to_toml(settings), "utf-8")
            partial.replace(self.path / "run.toml")
        except OSError as error:
            raise RunError(
                f"{self.path} cannot be written: {error.strerror or error}. Choose another place with --out."
            ) from error

    def save(self, seen: int, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> Path:
        """Write a checkpoint: into a folder of its own, each file synced, renamed when all is there; then drop old ones."""
        final = self.path / "checkpoints" / f"{seen:09d}"
        partial = final.with_name(f".{final.name}.partial-{os.getpid()}")
        try:
            for left in (self.path / "checkpoints").glob(".*.partial-*"):
                shutil.rmtree(left, ignore_errors=True)  # of a process that was killed
            partial.mkdir(parents=True)
            save_file({k: v.detach().cpu().contiguous() for k, v in tensors.items()}, partial / "tensors.safetensors")
            (partial / "state.json").write_text(json.dumps(dict(state)), "utf-8")
            files = {name: file_sha256(partial / name) for name in ("tensors.safetensors", "state.json")}
            (partial / "manifest.json").write_text(json.dumps({"seen": seen, "sha256": files}), "utf-8")
            for file in partial.iterdir():
                _sync(file)
            if final.exists():
                shutil.rmtree(final)
            partial.rename(final)
            _sync(final.parent)
        except (OSError, SafetensorError) as error:
            shutil.rmtree(partial, ignore_errors=True)
            reason = getattr(error, "strerror", None) or error
            raise RunError(f"{final} cannot be written: {reason}. The checkpoints before it are intact.") from error
        for old in self.checkpoints()[:-KEEP]:
            shutil.rmtree(old, ignore_errors=True)
        return final

    def load(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors and state of the newest checkpoint. RunError where there is none, or where it was changed."""
        found = self.checkpoints()
        if not found:
            _ = self.settings  # says so if this is no run at all
            raise RunError(
                f"{self.path} holds no checkpoint yet. Train it with: ganforge train {self.system_name} {self.store} --out {self.path}"
            )
        folder = found[-1]
        try:
            manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
            for name in ("tensors.safetensors", "state.json"):
                if file_sha256(folder / name) != manifest["sha256"][name]:
                    raise RunError(
                        f"{folder / name} was changed: its SHA-256 is not the manifest's. Remove {folder} to go back to the one before."
                    )
            with safe_open(folder / "tensors.safetensors", framework="pt") as file:
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
            return tensors, json.loads((folder / "state.json").read_text("utf-8"))
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            raise RunError(f"{folder} cannot be read: {error}. Remove it to go back to the one before.") from error

    def new_system(self) -> System:
        """The system as its settings describe it, with fresh weights."""
        loaded = models.load(self.system_name)
        return loaded.system(config.build(loaded.config, self.settings.get("model", {}), "model"), self.spec)

    def build(self) -> System:
        """The trained system, its averaged weights in place, ready to sample from."""
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
        return system.eval().requires_grad_(False)


def spec_section(spec: ImageSpec) -> dict[str, Any]:
    """An ImageSpec as the section [spec] of run.toml."""
    return asdict(spec)


def weights_hash(tensors: Mapping[str, Tensor]) -> str:
    """Sixteen hexadecimal digits that name exactly these tensors."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()[:16]


def _sync(path: Path) -> None:
    """fsync of a file or, where the system knows that, of a folder."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except PermissionError:  # folders cannot be opened on Windows
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
