"""Images a second of `gan` and `dcgan` beside plain loops and Keras, in one run.

    python benchmarks/speed.py [--keras PYTHON_WITH_TENSORFLOW] [--rounds 5] [--seconds 3]

The pictures are noise: speed does not depend on them. Keras runs in its own process between two halves of the others'
rounds, never beside them.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch

import common
import plain
from ganforge.base.device import keep_memory
from ganforge.media.spec import Spec
from ganforge.runs import RunFolder
from ganforge.store.store import Store
from ganforge.testing import make_store
from ganforge.training.train import Trainer, plan

BATCH = 128


def ours(system: str, store: Store, folder: Path, model: dict[str, object]) -> Callable[[], int]:
    """The project's own step, with all that belongs to it: data, check, average, statistics."""
    run = RunFolder(folder / system)
    settings = plan(system, store, run.path, overrides={"model": model, "train": {"batch": BATCH, "images": 10**9}})
    settings["train"]["precision"] = "auto"
    from ganforge.base.device import resolve_precision

    settings["train"]["precision"] = resolve_precision("auto", torch.device("cpu"))
    run.begin(settings)
    trainer = Trainer(run, store, "cpu")

    def step() -> int:
        for _ in range(4):
            trainer.step()
        return 4 * BATCH

    return step


def keras(python: str, rounds: int, seconds: float) -> dict[str, float]:
    """Keras in its own environment and process."""
    command = [python, str(Path(__file__).with_name("keras_gan.py")), str(rounds), str(seconds)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])  # type: ignore[no-any-return]


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keras", help="a Python that has tensorflow-cpu")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0)
    asked = parser.parse_args()
    results: dict[str, object] = {"batch": BATCH, "rounds": asked.rounds, "seconds_a_turn": asked.seconds}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        grey = make_store(folder / "grey", Spec(28, 28, 1), 4000)
        colour = make_store(folder / "colour", Spec(32, 32, 3), 4000)
        halves = []
        for half in range(2):
            if half and asked.keras:
                results["keras"] = keras(asked.keras, asked.rounds, asked.seconds)
            flat, square = torch.randn(4000, 784), torch.randn(4000, 3, 32, 32)
            # the plain loops come first: nothing of ours has changed the process yet, in the first half
            slow = {
                "gan, plain fp32": plain.gan(flat, BATCH),
                "gan, plain bf16 autocast": plain.gan(flat, BATCH, bf16=True),
                "dcgan, plain fp32 NCHW": plain.dcgan(square, BATCH),
                "dcgan, plain bf16 channels_last": plain.dcgan(square, BATCH, bf16=True, channels_last=True),
            }
            found = common.interleave(slow, asked.rounds, asked.seconds) if not half else {}
            keep_memory()
            fast = {
                "gan, ganforge": ours("gan", grey, folder / str(half), {}),
                "dcgan, ganforge": ours("dcgan", colour, folder / str(half), {"width": 64}),
            }
            found |= common.interleave(fast if not half else {**fast, **slow}, asked.rounds, asked.seconds)
            halves.append(found)
    speeds = {name: round((halves[0][name] + halves[1][name]) / 2, 1) for name in halves[0]}
    results["images_per_second"] = speeds
    results["halves"] = halves
    results["ratios"] = {
        "gan over plain fp32": round(speeds["gan, ganforge"] / speeds["gan, plain fp32"], 2),
        "gan over plain bf16": round(speeds["gan, ganforge"] / speeds["gan, plain bf16 autocast"], 2),
        "dcgan over plain fp32 NCHW": round(speeds["dcgan, ganforge"] / speeds["dcgan, plain fp32 NCHW"], 2),
        "dcgan over plain bf16 channels_last": round(
            speeds["dcgan, ganforge"] / speeds["dcgan, plain bf16 channels_last"], 2
        ),
    }
    if asked.keras:
        for way in ("predict", "direct"):
            results["ratios"][f"gan over Keras, {way}"] = round(speeds["gan, ganforge"] / results["keras"][way], 2)  # type: ignore[index]
    common.write("speed", results)


if __name__ == "__main__":
    main()
