"""The contract of a system as one check, for the systems of this package and for those in other files."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ganforge import models
from ganforge.base.images import Pixels
from ganforge.image_to_image import ImageToImage
from ganforge.media.clip import Clip
from ganforge.media.spec import Spec, to_float
from ganforge.media.text import Text
from ganforge.preparing.parts import Meta, Sides, join, new_part
from ganforge.runs import RunFolder
from ganforge.sampling import points, sample, write
from ganforge.store.store import Store
from ganforge.system import StyleSystem, System
from ganforge.training.train import Trainer, plan, train


def make_store(
    path: Path, spec: Spec, count: int = 96, seed: int = 0, shards: int = 1, folds: int = 0, captioned: bool = False
) -> Store:
    """A store of `count` rows of coarse noise whose brightness depends on the class, every fifth one held out; where it
    is `captioned`, every second one is darkened and its caption says so."""
    rng = np.random.default_rng(seed)
    pictures, metas = [], []
    for n in range(count):
        label = n % len(spec.classes) if spec.classes else 0
        coarse = rng.integers(0, 128, (4, 4, spec.channels)) + 30 * label
        rows, columns = np.arange(spec.height) * 4 // spec.height, np.arange(spec.width) * 4 // spec.width
        picture = coarse[rows][:, columns].clip(0, 255).astype(np.uint8)
        if isinstance(spec.medium, Text):
            picture = 1 + picture % (len(spec.medium.alphabet) - 1)
        if captioned and n % 2:
            picture //= 4
        pictures.append(picture)
        file = f"{n}.png" + "#0" * isinstance(spec.medium, Clip)  # clips have the number of their first frame
        metas.append(Meta(file, spec.classes[label] if spec.classes else None, "train" if n % 5 else "heldout"))
        metas[-1].caption = f"some {'dark' if n % 2 else 'bright'} noise" if captioned else None
    return store_of(path, spec, np.stack(pictures), metas, shards, folds)


def store_of(path: Path, spec: Spec, pictures: Pixels, metas: Sequence[Meta], shards: int = 1, folds: int = 0) -> Store:
    """A store of pictures (N, H, W, C) uint8 with one `Meta` each, in `shards` shards."""
    work = path.with_name(f".{path.name}.parts")
    parts = [work / f"{n}" for n in range(shards)]
    for part, numbers in zip(parts, np.array_split(np.arange(len(pictures)), shards), strict=True):
        with new_part(part, spec, any(meta.caption for meta in metas)) as writer:
            for n in numbers:
                meta = metas[n]
                meta.height, meta.width = spec.height, spec.width
                meta.sha256 = meta.pixels_sha256 = hashlib.sha256(np.ascontiguousarray(pictures[n]).data).digest()
                writer.add([pictures[n]], [meta])
    recipe = {"source": "ganforge.testing", "fit": "none"}
    join(parts, path, spec, recipe=recipe, sides=Sides(folds=folds))
    shutil.rmtree(work)
    return Store(path)


def check_system(name: str, spec: Spec, folder: Path, model: dict[str, Any] | None = None, steps: int = 4) -> None:
    """Train the system `name` for `steps` steps on pictures of `spec` in `folder`. AssertionError where it breaks the
    contract:

    All weights are finite, and all learning submodules have gradients. A run that is stopped and resumed is bit-equal
    to one that is not. A seed gives the same sample in any batch, and the same file of its medium. Buffers are changed
    in place. Restored pictures have the channels, size and range that the system says; a system that does not generate
    has examples."""
    store = make_store(folder / "store", spec, captioned=models.load(name).system.captioned)
    batch, size = 16, "small" if any(models.load(name).presets.values()) else None
    loop = {"images": steps * batch, "batch": batch, "precision": "fp32", "cooldown": 0.0}
    overrides = {"model": model or {}, "train": loop}
    whole = train(name, store, folder / "whole", size=size, device_name="cpu", overrides=overrides)
    first = whole.new_system()
    tensors, state = whole.load()
    assert state["seen"] == steps * batch
    for key, value in tensors.items():
        if value.is_floating_point():
            assert value.isfinite().all(), f"{key} is not finite"
    for learns in first.adam():
        slots = [k for k in tensors if k.startswith(f"optimizer.{learns}.") and k.endswith("exp_avg")]
        assert slots, f"{learns} has no optimizer state"
        unmoved = [k for k in slots if tensors[k].ndim > 1 and not tensors[k].any()]  # a bias may balance exactly
        assert not unmoved, f"no gradient reaches {unmoved}"

    stopped = RunFolder(folder / "resumed")
    stopped.begin(plan(name, store, stopped.path, size, overrides))
    trainer = Trainer(stopped, store, "cpu")
    for _ in range(steps // 2):
        trainer.step()
    trainer.save()
    resumed, _ = train(name, store, stopped.path, device_name="cpu", overrides=overrides).load()
    assert resumed.keys() == tensors.keys()
    for key, value in tensors.items():
        assert torch.equal(value, resumed[key]), f"{key} differs after resuming"

    trainer = Trainer(whole, store, "cpu")
    buffers = dict(trainer.system.named_buffers())
    trainer.step()
    for key, buffer in trainer.system.named_buffers():
        assert buffer is buffers[key], (
            f"the buffer {key} is replaced, not changed in place: a bad step could not be undone"
        )

    system = whole.build()
    images = to_float(torch.from_numpy(store.read(store.train[:9])), spec)
    if system.restores:
        given, holes, options = images, None, dict[str, Any]()
        if isinstance(system, ImageToImage):
            given, wanted, holes = system.pair(images, 0.5)
            options = system.options(given, holes)
            assert given.shape[1] == system.given and wanted.shape[1] == system.wanted
        assert (holes is not None) == system.fills
        restore: Any = system.restore
        restored = restore(given, **options)
        height, width = given.shape[2:]
        assert restored.shape == (9, system.wanted, system.scale * height, system.scale * width)
        assert restored.abs().max() <= 1
    if system.generates:
        _check_samples(whole, system)
    else:
        shown = system.examples(images)
        assert shown.shape[0] == 9 and shown.shape[2:] == images.shape[1:]
        assert torch.equal(shown, system.examples(images)), "examples change from call to call"


def _check_samples(run: RunFolder, system: System) -> None:
    spec = system.spec
    files = [write(run, [4, 2], run.path / name / "samples.png", True) for name in ("one", "two")]
    files += [write(run, [4, 2], run.path / name, False) for name in ("one", "two")]
    assert {path.suffix for path in files[2]} == {spec.medium.suffix}
    for one, two in (files[:2], files[2:]):
        assert [path.read_bytes() for path in one] == [path.read_bytes() for path in two], "a seed has several files"
    pictures = sample(run, range(9))
    assert pictures.shape == (9, spec.height, spec.width, spec.channels)
    assert pictures.dtype == np.uint8
    assert np.array_equal(pictures[[7, 2]], sample(run, [7, 2])), "a seed's picture depends on the others of the batch"
    assert np.array_equal(pictures[4:5], sample(run, [4])), "a seed's picture depends on the batch size"
    conditions = points(system, [0] * 9, [0] * 9 if system.classes else None)
    given = {name: conditions[name] for name in ("labels", "captions") if name in conditions}
    if isinstance(system, StyleSystem) and system.classes:
        given["labels"] = torch.zeros(9, dtype=torch.int64)
    images = system.generate(system.latents(range(9)), **given).flatten(1)
    assert len(images.unique(dim=0)) == 9, "different seeds give the same picture"
    if system.captioned and spec.captions:
        first, second = spec.captions.examples[:2]
        told = sample(run, [4, 7], text=[first, second])
        assert np.array_equal(told[2:3], sample(run, [4], text=second)), (
            "a seed's picture of a caption depends on the others of the batch"
        )
        assert not np.array_equal(told[0], told[2]), "different captions give the same picture"
    if system.classes:
        by_class = sample(run, [4, 4, 7], labels=[1, 0, 1])
        assert np.array_equal(by_class[:1], sample(run, [4], labels=1)), (
            "a seed's picture of a class depends on the others of the batch"
        )
        latents = system.latents([4]).expand(system.classes, -1)
        images = system.generate(latents, torch.arange(system.classes)).flatten(1)
        assert len(images.unique(dim=0)) == system.classes, "different labels give the same picture"
