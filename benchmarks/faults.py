"""Faults planted while a system is trained: kills, full disks, flipped bits, numbers that are not finite, players that
stop learning, rates that are too high. What ganforge does about each, as a table.

    python benchmarks/faults.py [--kills 50] [--data FOLDER]

The runs are of `gan` on 16x16 pictures made for the purpose, on the CPU in float32, so that "as if nothing had
happened" can be checked: the tensors of the last checkpoint are compared with those of a run without the fault, byte by
byte. With `--data`, a folder that holds Fashion-MNIST in its own files, the rate that is a hundred times too high is
tried on 400 real pictures. That no rule speaks of a collapse where there is none is counted by `systems.py`."""

from __future__ import annotations

import argparse
import contextlib
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

import common
from ganforge.base.errors import Collapsed, Diverged, GanforgeError
from ganforge.media.spec import Spec
from ganforge.models.gan import GAN
from ganforge.preparing.parts import Meta
from ganforge.preparing.prepare import prepare
from ganforge.runs import RunFolder
from ganforge.system import Adam
from ganforge.testing import make_store, store_of
from ganforge.training import trainer
from ganforge.training.train import train

SPEC = Spec(16, 16, 1)
LOOP: dict[str, Any] = {"images": 6_400, "batch": 32, "report": 320, "precision": "fp32", "measure": 0.0}
MODEL = {"width": 64, "latent": 16}
LENGTH = ["--images", "6400", "--train.report", "320", "--train.precision", "fp32", "--train.measure", "0"]
WORDS = ["--train.batch", "32", "--model.width", "64", "--model.latent", "16", *LENGTH]


def same(run: Path, whole: Path) -> bool:
    """Whether the newest checkpoints of two runs hold the same bytes."""
    a, b = RunFolder(run, "last").load()[0], RunFolder(whole, "last").load()[0]
    return a.keys() == b.keys() and all(torch.equal(value, b[name]) for name, value in a.items())


def command(store: Path, run: Path, limit: int = 0) -> subprocess.Popen[str]:
    """`ganforge train` in a process of its own; no file may grow beyond `limit` bytes, which the kernel refuses as it
    refuses a write to a full disk."""

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))

    words = [sys.executable, "-c", "import sys; from ganforge.cli import main; sys.exit(main())", "train", "gan"]
    return subprocess.Popen(
        [*words, str(store), "--out", str(run), *WORDS],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=limited if limit else None,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


def kills(store: Path, whole: Path, work: Path, times: int) -> dict[str, Any]:
    """SIGKILL while a checkpoint is being written, again and again, begun anew when the run is finished."""
    counts = {"kills": 0, "finished": 0, "as if nothing had happened": 0, "errors": 0}
    run = work / "killed"
    while counts["kills"] < times or run.exists():
        process = command(store, run)
        saves: set[str] = set()
        while process.poll() is None:
            saves |= {p.name.partition(".partial-")[0] for p in (run / "checkpoints").glob(".*.partial-*")}
            if len(saves) > counts["kills"] % 3 and counts["kills"] < times:  # at its first, second or third save
                process.send_signal(signal.SIGKILL)
                counts["kills"] += 1
                break
            time.sleep(0.0005)
        process.communicate()
        if process.returncode == 0:
            counts["finished"] += 1
            counts["as if nothing had happened"] += same(run, whole)
            shutil.rmtree(run)
        elif process.returncode > 0:
            counts["errors"] += 1
            shutil.rmtree(run)
    return counts


def full_disks(store: Path, whole: Path, work: Path) -> dict[str, Any]:
    """A limit below the size of the checkpoint, at five sizes; then the same command without it."""
    run, size = work / "full", next((whole / "checkpoints").glob("*/tensors.safetensors")).stat().st_size
    counts = {"full disks": 0, "exit code 1 and one sentence": 0, "as if nothing had happened afterwards": 0}
    for share in (0.1, 0.3, 0.5, 0.7, 0.9):
        process = command(store, run, int(share * size))
        message = process.communicate()[1]
        counts["full disks"] += 1
        one = process.returncode == 1 and message.startswith("ganforge: ") and len(message.strip().splitlines()) == 1
        counts["exit code 1 and one sentence"] += one
        command(store, run).communicate()
        counts["as if nothing had happened afterwards"] += same(run, whole)
        shutil.rmtree(run)
    return counts


def flipped_bits(store: Path, whole: Path, work: Path) -> dict[str, str]:
    """A bit in the middle of each file of a run that is stopped half way, and of its store."""
    half = work / "half"
    loop = LOOP | {"images": LOOP["images"] // 2}
    train("gan", store, half, device_name="cpu", overrides={"model": MODEL, "train": loop})
    newest = RunFolder(half).checkpoints()[-1].relative_to(half)
    files = [newest / name for name in ("tensors.safetensors", "state.json", "manifest.json", "run.toml")]
    outcomes: dict[str, str] = {}
    for file in [*files, Path("run.toml"), Path("stats.jsonl"), Path("store")]:
        run, held = work / "flipped", work / "store"
        shutil.copytree(half, run)
        shutil.copytree(store, held)
        shutil.copytree(store, work / "kept")
        target = next(store.glob("images-*.npy")) if file.name == "store" else run / file
        data = bytearray(target.read_bytes())
        data[len(data) // 2] ^= 1
        target.write_bytes(data)
        process = command(store, run)
        message = process.communicate()[1].strip()
        name = f"checkpoint, {file.name}" if file.parent.name else file.name
        if process.returncode == 0:
            outcomes[name] = "as if nothing had happened" if same(run, whole) else "ANOTHER RESULT"
        else:
            outcomes[name] = f"exit code {process.returncode}, {len(message.splitlines())} line"
        shutil.rmtree(store)
        shutil.move(work / "kept", store)
        shutil.rmtree(run)
        shutil.rmtree(held)
    return outcomes


@contextlib.contextmanager
def replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    """`owner.name` is `value` for a while."""
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


def bad_numbers(store: Path, work: Path) -> dict[str, str]:
    """Latents that are not finite, at some steps."""
    outcomes: dict[str, str] = {}
    original = GAN.noise
    for name, bad in {
        "1 step": {50},
        "3 in a row": {50, 51, 52},
        "every step from 50 on": set(range(50, 10**6)),
    }.items():
        count = iter(range(10**7))

        def noise(self: GAN, batch: Any, bad: set[int] = bad, count: Iterator[int] = count) -> torch.Tensor:
            drawn = original(self, batch)
            return drawn * float("nan") if next(count) in bad else drawn

        with replaced(GAN, "noise", noise):
            outcomes[name] = outcome("gan", store, work / f"bad-{len(outcomes)}", LOOP)
    return outcomes


def outcome(
    system: str, store: Path, run: Path, loop: dict[str, Any], model: dict[str, Any] = MODEL, size: str | None = None
) -> str:
    """What became of a run on the CPU, in a few words."""
    try:
        done = train(system, store, run, device_name="cpu", size=size, overrides={"model": model, "train": loop})
    except (Collapsed, Diverged) as error:
        return f"exit code {error.exit_code}: {str(error).split(';')[0].split(' (')[0]}"
    except GanforgeError as error:
        return f"exit code {error.exit_code}: {error}"
    state = done.load()[1]
    return f"done, {state['skipped']} steps left out, back {state['rollbacks'] + state['collapses']} times"


def frozen(store: Path, work: Path) -> dict[str, str]:
    """A player whose rate is 0, from the beginning or from the middle on."""
    loop = LOOP | {"images": 600_000, "batch": 128, "report": 20_000, "measure": 1.0}
    outcomes: dict[str, str] = {}
    rates = {
        "generator": {"generator": Adam(0.0), "discriminator": Adam(2e-4)},
        "discriminator, and a generator at a hundred times its rate": {
            "generator": Adam(2e-2), "discriminator": Adam(0.0),
        },
    }  # fmt: skip
    for name, adam in rates.items():
        with replaced(GAN, "adam", lambda self, adam=adam: adam):
            run = work / f"frozen-{len(outcomes)}"
            outcomes[f"{name}, from the beginning"] = outcome("gan", store, run, loop)
    original = trainer.Trainer.step
    for name, adam in rates.items():

        def step(self: trainer.Trainer, adam: dict[str, Adam] = adam) -> None:
            if self.progress.seen > 100_000:
                self.adam = adam
            original(self)

        with replaced(trainer.Trainer, "step", step):
            run = work / f"frozen-{len(outcomes)}"
            outcomes[f"{name}, from 100,000 images on"] = outcome("gan", store, run, loop)
    return outcomes


def too_fast(data: Path, work: Path) -> dict[str, str]:
    """A rate 100 times too high, on 400 real pictures."""
    every = prepare(data, work / "every").store
    metas = [Meta(f"{n}.png", None, "train" if n % 5 else "heldout") for n in range(500)]
    store = store_of(work / "few", replace(every.spec, classes=()), every.read(every.train[:500]), metas).path
    loop = {"images": 1_000_000, "measure": 1.0}
    return {"gan, --model.lr 0.05, 400 pictures": outcome("gan", store, work / "fast", loop, {"lr": 0.05})}


def main() -> None:
    """Plant, look, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50, help="0: leave that part out")
    parser.add_argument("--data", type=Path, help="a folder with Fashion-MNIST")
    args = parser.parse_args()
    results = common.read("faults")
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        store = make_store(work / "pictures", SPEC, 400).path
        whole = train("gan", store, work / "whole", device_name="cpu", overrides={"model": MODEL, "train": LOOP}).path
        parts: dict[str, Callable[[], dict[str, Any]]] = {
            "killed while saving": lambda: kills(store, whole, work, args.kills),
            "full disk": lambda: full_disks(store, whole, work),
            "one bit flipped in": lambda: flipped_bits(store, whole, work),
            "not finite": lambda: bad_numbers(store, work),
            "frozen": lambda: frozen(store, work),
        }
        if args.data:
            parts["too fast"] = lambda: too_fast(args.data, work)
        if not args.kills:
            del parts["killed while saving"]
        for name, part in parts.items():
            results[name] = part()
            common.write("faults", results)


if __name__ == "__main__":
    main()
