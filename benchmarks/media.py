"""Beyond still pictures: for each medium a system, its rivals, and its judge, which is first shown what it must fail.

    python benchmarks/media.py --task solid|sound|video|text|caption [--scale 1] [--work FOLDER]

`--scale` multiplies the minutes. Stores, runs and sheets stay in the folder `work`; what is there is taken as it is.
Results are kept in `results/TASK.json`."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.svm import SVC
from torch import nn
from torch.nn.functional import adaptive_avg_pool2d, cross_entropy

import common
from ganforge.base.images import name_rows, write_image
from ganforge.base.logs import printed
from ganforge.collecting import captioned_shapes
from ganforge.collecting.collect import collect
from ganforge.measuring.measure import FIRST_SEED, measure_system
from ganforge.measuring.passages import PASSAGES, TextReference
from ganforge.measuring.reference import Reference
from ganforge.media.clip import Clip
from ganforge.media.sound import Sound
from ganforge.metrics import frechet, kernel, label_accuracy, motion, neighbours, pieces
from ganforge.metrics.metric import Metric, Samples
from ganforge.preparing.prepare import prepare
from ganforge.runs import RunFolder
from ganforge.sampling import pictures, sample, write
from ganforge.store.store import Store
from ganforge.training.train import train
from ganforge.transforms.resize import resized

SAMPLES = 2_000
Pixels = np.ndarray[Any, np.dtype[np.uint8]]
Rows = np.ndarray[Any, np.dtype[np.int64]]


def timed(settings: Mapping[str, Any], minutes: float) -> dict[str, dict[str, Any]]:
    """Overrides of a run: settings of the system, and its length."""
    return {"model": dict(settings), "train": {"minutes": minutes}}


def judged(
    reference: Reference, metrics: Sequence[Metric], pixels: Pixels, labels: Sequence[int] | None
) -> dict[str, float | None]:
    """The numbers of rows (N, H, W, C) that are given as samples of these labels, by their names in JSON."""
    samples = Samples(reference.extract([pixels]), pixels, labels)
    size = reference.compared(len(pixels))
    rows = [
        row
        for metric, floor in zip(metrics, reference.floors(metrics, size), strict=True)
        for row in metric.rows(reference, samples, size, floor)
    ]
    return {key: number for row in rows for key, number in row.fields.items()}


# --------------------------------------------------------------------------------------------------------------- solids

SOLIDS: Mapping[str, Mapping[str, Any]] = {"solid": {}, "cgan": {}}
"""By system: its settings. `cgan` has slices as channels."""


def solid(work: Path, scale: float) -> dict[str, Any]:
    """Eight kinds of made shapes, fifteen minutes."""
    store = work / "store-shapes"
    if not store.exists():
        prepare(collect("shapes", work / "shapes"), store, stratify=True)
    shapes = Store(store)
    results: dict[str, Any] = {"judge": judge_of_solids(shapes), "runs": {}}
    for name, settings in SOLIDS.items():
        run = train(name, shapes, work / name, size="small", overrides=timed(settings, 15 * scale))
        results["runs"][name] = solid_run(run, shapes, work)
    return results


def judge_of_solids(store: Store) -> dict[str, dict[str, float | None]]:
    """Held-out solids as they are, and what must fail: their slices shuffled, noise that fills as much, solids that
    are salted with single voxels, and one solid for all."""
    random = np.random.default_rng(0)
    reference = Reference(store)
    real, labels = store.read(store.heldout), store.labels[store.heldout].tolist()
    filled = (real > 127).mean((1, 2, 3), keepdims=True)
    side = real.shape[-1]
    rows = {
        "held out": real,
        "slices shuffled": np.stack([one[..., random.permutation(side)] for one in real]),
        "noise": np.where(random.random(real.shape) < filled, 255, 0).astype(np.uint8),
        "salted": np.where(random.random(real.shape) < 0.01, 255 - real, real).astype(np.uint8),
        "one for all": np.repeat(real[:1], len(real), 0),
    }
    metrics = (frechet, neighbours, label_accuracy, pieces)
    return {name: judged(reference, metrics, pixels, labels) for name, pixels in rows.items()}


def solid_run(run: RunFolder, store: Store, work: Path) -> dict[str, Any]:
    """Measure and draw a run: a row for each class."""
    system, state = run.build(), run.load()[1]
    count = len(store.spec.classes)
    rows = np.concatenate([sample(run, range(8), label) for label in range(count)])
    write_image(work / f"{run.system_name}.png", store.spec.sheet(rows, 8))
    return {
        "images": state["seen"],
        "seconds of training": round(state["seconds"]),
        "parameters": sum(p.numel() for p in system.parameters()),
        **measure_system(system, store, SAMPLES).as_dict(),
    }


# --------------------------------------------------------------------------------------------------------------- sounds

SOUNDS: Mapping[str, Mapping[str, Any]] = {
    "speech": {},
    "cgan": {"augment": "translation"},
    "dcgan": {"conditional": True, "augment": "translation"},
}
"""By system: its settings. The rivals see a spectrogram as a picture."""


def sound(work: Path, scale: float) -> dict[str, Any]:
    """Spoken digits, ten minutes; their originals are fetched, or lie in the folder `spoken-digits` of `work`."""
    store = work / "store-digits"
    if not store.exists():
        given = work / "spoken-digits"
        prepare(collect("spoken-digits", work / "digits", given if given.exists() else None), store)
    digits = Store(store)
    reference, second = Reference(digits), SecondJudge(digits)
    results: dict[str, Any] = {"judge": judge_of_sounds(reference, second), "runs": {}}
    for name, settings in SOUNDS.items():
        run = train(name, digits, work / name, size="small", overrides=timed(settings, 10 * scale))
        results["runs"][name] = sound_run(run, reference, second, work)
    return results


class SecondJudge:
    """A classifier of another kind than the extractor's: a support vector machine on spectrograms of 16 bands and 12
    frames, of training sounds that came back from a wave."""

    def __init__(self, store: Store) -> None:
        medium, rows = store.spec.medium, store.train
        self.machine = SVC(C=10).fit(self._small(medium.as_written(store.read(rows))), store.labels[rows])

    def hit(self, heard: Pixels, labels: Sequence[int]) -> float:
        """Share of rows that came back from a wave whose label it names."""
        return float((self.machine.predict(self._small(heard)) == np.asarray(labels)).mean())

    @staticmethod
    def _small(rows: Pixels) -> np.ndarray[Any, np.dtype[np.float32]]:
        small = adaptive_avg_pool2d(torch.from_numpy(rows[..., 0]).float()[:, None], (16, 12)).flatten(1)
        return (small - small.mean(1, keepdim=True)).numpy() / 50


def judge_of_sounds(reference: Reference, second: SecondJudge) -> dict[str, dict[str, float | None]]:
    """Held-out sounds, and what must fail: white noise, the sounds backwards, their frames in another order, the labels
    of others, and one sound of each class."""
    store, random = reference.store, np.random.default_rng(0)
    medium = store.spec.medium
    assert isinstance(medium, Sound)
    rows, labels = store.read(store.heldout), store.labels[store.heldout]
    height, width = rows.shape[1:3]
    noise = random.normal(0, 0.3, (len(rows), medium.samples(width))).astype(np.float32)
    first = np.array([np.flatnonzero(labels == label)[0] for label in labels])
    cases = {
        "held out": (rows, labels),
        "white noise": (np.stack([medium.row(wave, height, width) for wave in noise]), labels),
        "backwards": (np.stack([medium.row(medium.wave(row)[::-1].copy(), height, width) for row in rows]), labels),
        "frames shuffled": (rows[:, :, random.permutation(width)], labels),
        "labels of others": (rows, (labels + 1) % len(store.spec.classes)),
        "one of each class": (rows[first], labels),
    }
    return {name: heard(reference, second, pixels, list(of)) for name, (pixels, of) in cases.items()}


def heard(reference: Reference, second: SecondJudge, pixels: Pixels, labels: Sequence[int]) -> dict[str, float | None]:
    """The numbers of rows after inversion to a wave."""
    pixels = reference.store.spec.medium.as_written(pixels)
    numbers = judged(reference, (frechet, kernel, neighbours, label_accuracy), pixels, labels)
    return {**numbers, "second judge": second.hit(pixels, labels)}


def sound_run(run: RunFolder, reference: Reference, second: SecondJudge, work: Path) -> dict[str, Any]:
    """Measure and draw a run: ten of each class, as a sheet and as sounds."""
    system, state = run.build(), run.load()[1]
    classes = len(system.spec.classes)
    write(run, range(10), work / f"{run.system_name}.png", True, "all")
    labels = [n % classes for n in range(SAMPLES)]
    rows = sample(run, range(FIRST_SEED, FIRST_SEED + SAMPLES), labels)
    return {
        "images": state["seen"],
        "seconds of training": round(state["seconds"]),
        "parameters": sum(p.numel() for p in system.parameters()),
        **heard(reference, second, rows, labels),
    }


# ---------------------------------------------------------------------------------------------------------------- clips

CLIPS: Mapping[str, Mapping[str, Any]] = {"video": {}, "dcgan": {}}
"""By system: its settings. `dcgan` has frames as channels."""


def video(work: Path, scale: float) -> dict[str, Any]:
    """Moving digits, clips of eight frames, fifteen minutes; MNIST is fetched, or lies in the folder `mnist` of
    `work`."""
    store = work / "store-moving"
    if not store.exists():
        given = work / "mnist"
        digits = collect("moving-digits", work / "moving", given if given.exists() else None)
        prepare(digits, store, medium="clip", frames=8)
    clips = Store(store)
    results: dict[str, Any] = {"judge": judge_of_clips(clips), "runs": {}}
    for name, settings in CLIPS.items():
        run = train(name, clips, work / name, size="small", overrides=timed(settings, 15 * scale))
        system, state = run.build(), run.load()[1]
        write(run, range(32), work / f"{name}.png", True)
        results["runs"][name] = {
            "images": state["seen"],
            "seconds of training": round(state["seconds"]),
            "parameters": sum(p.numel() for p in system.parameters()),
            **measure_system(system, clips, SAMPLES).as_dict(),
        }
    return results


def judge_of_clips(store: Store) -> dict[str, dict[str, float | None]]:
    """Held-out clips as they are, and what must fail: their frames shuffled, their first frame alone, backwards from
    the middle, and with the second half of another clip."""
    medium, random = store.spec.medium, np.random.default_rng(0)
    assert isinstance(medium, Clip)
    real = store.read(store.heldout)
    frames, half = medium.split(real), medium.frames // 2
    others = np.concatenate([frames[:, :half], frames[random.permutation(len(frames)), half:]], 1)
    changed = {
        "held out": frames,
        "shuffled": motion.shuffled(frames),
        "frozen": np.repeat(frames[:, :1], medium.frames, 1),
        "there and back": np.concatenate([frames[:, :half], frames[:, :half][:, ::-1]], 1),
        "two halves": others,
    }
    reference = Reference(store)
    return {
        name: judged(reference, (frechet, neighbours, motion), np.concatenate(list(np.moveaxis(clips, 1, 0)), 3), None)
        for name, clips in changed.items()
    }


# ----------------------------------------------------------------------------------------------------------------- text

TEXTS: Mapping[str, Mapping[str, Any]] = {
    "both": {},
    "teacher alone": {"adversary": 0.0},
    "from scratch": {"teacher": 0.0, "lr": 2e-3, "lr_critic": 8e-3},
}
"""By name: settings of `textgan`."""


def text(work: Path, scale: float) -> dict[str, Any]:
    """Tiny Shakespeare, twenty minutes; `input.txt` is fetched, or lies in the folder `shakespeare` of `work`."""
    store = work / "store-shakespeare"
    if not store.exists():
        given = work / "shakespeare"
        prepare(collect("shakespeare", work / "play", given if given.exists() else None), store)
    play = Store(store)
    reference = TextReference(play)
    names = ("bits", "divergence", "distinct", "copies")
    beside = reference.others(reference.compared(PASSAGES))
    judge = {kind: dict(zip(names, values, strict=False)) for kind, values in beside.items() if kind != "limit"}
    results: dict[str, Any] = {"judge": judge, "limit of copies": beside["limit"][0], "runs": {}}
    for name, settings in TEXTS.items():
        out = work / f"textgan {name}".replace(" ", "-")
        run = train("textgan", play, out, size="small", overrides=timed(settings, 20 * scale))
        results["runs"][name] = text_run(run, play)
    return results


def text_run(run: RunFolder, store: Store) -> dict[str, Any]:
    """Measure and draw a run, and let it go on with a prompt."""
    system, state = run.build(), run.load()[1]
    write(run, range(16), run.path / "samples.png", True)
    write(run, range(4), run.path / "romeo.png", True, prompt="ROMEO:")
    return {
        "passages": state["seen"],
        "seconds of training": round(state["seconds"]),
        "parameters": sum(p.numel() for p in system.parameters()),
        **measure_system(system, store, PASSAGES, run.path).as_dict(),
    }


# ------------------------------------------------------------------------------------------------------------- captions

CAPTIONS: Mapping[str, Mapping[str, Any]] = {
    "caption": {},
    "without wrong sentences": {"wrong": 0.0},
}
"""By name: settings of `caption`."""
SCENES, EPOCHS, NOISE = 16_000, 12, 0.1
"""Scenes that the judge learns from, how often it sees each, and the deviation of noise on its pixels at most."""
NOTHING = -1  # in the place of an attribute that a scene does not have
COLOURS, SIZES = tuple(captioned_shapes.COLOURS), tuple(captioned_shapes.RADII)
ANSWERS = (2, 2, *2 * (len(COLOURS), len(captioned_shapes.KINDS), len(SIZES)))
"""How many answers each question has: one shape or two, beside or above each other, then colour, kind and size of the
first shape, counted from above or from the left, and of the second."""


def caption(work: Path, scale: float) -> dict[str, Any]:
    """Made pictures of shapes with sentences, 32 px, fifteen minutes."""
    store = work / "store-captions"
    if not store.exists():
        prepare(collect("captioned-shapes", work / "captioned"), store, resolution=32)
    pictures = Store(store)
    judge = SceneJudge(pictures.spec.height)
    seen, unseen = pictures.train[:SAMPLES], pictures.heldout[:SAMPLES]
    others = np.roll(unseen, 1)
    results: dict[str, Any] = {
        "judge": {
            "training pictures": judge.hits(pictures.read(seen), told(pictures, seen)),
            "held out": judge.hits(pictures.read(unseen), told(pictures, unseen)),
            "sentences of others": judge.hits(pictures.read(unseen), told(pictures, others)),
            "colours exchanged": judge.hits(pictures.read(unseen)[..., ::-1], told(pictures, unseen)),
        },
        "runs": {},
    }
    for name, settings in CAPTIONS.items():
        out = work / f"caption {name}".replace(" ", "-")
        run = train("caption", pictures, out, size="small", overrides=timed(settings, 15 * scale))
        results["runs"][name] = caption_run(run, pictures, judge, {"seen": seen, "unseen": unseen})
    return results


def told(store: Store, rows: Rows) -> list[str]:
    """The first caption of each picture."""
    return [store.captions_of(int(row))[0] for row in rows]


def caption_run(run: RunFolder, store: Store, judge: SceneJudge, sides: Mapping[str, Rows]) -> dict[str, Any]:
    """Measure a run on the sentences of training and of held-out pictures, and draw both."""
    system, state = run.build(), run.load()[1]
    assert store.captions is not None
    numbers: dict[str, Any] = {
        "images": state["seen"],
        "seconds of training": round(state["seconds"]),
        "parameters": sum(p.numel() for p in system.parameters()),
    }
    for side, rows in sides.items():
        words = store.captions[rows, 0].astype(np.int64)
        made = np.concatenate(list(pictures(system, range(FIRST_SEED, FIRST_SEED + len(rows)), captions=words)))
        numbers[side] = judge.hits(made, told(store, rows))
        shown = np.concatenate(list(pictures(system, [*range(8)] * 12, captions=words[:12].repeat(8, 0))))
        write_image(run.path / f"{side}.png", name_rows(store.spec.sheet(shown, 8), told(store, rows[:12])))
    return {**numbers, **measure_system(system, store, SAMPLES, run.path).as_dict()}


class SceneJudge:
    """A convolutional network that names the attributes of a scene. It learned from drawn scenes of all combinations,
    those that no training picture shows, too."""

    def __init__(self, side: int) -> None:
        torch.manual_seed(0)
        layers: list[nn.Module] = []
        for before, after, stride in ((3, 32, 1), (32, 64, 2), (64, 96, 2), (96, 128, 2)):
            layers += [nn.Conv2d(before, after, 3, stride, 1), nn.BatchNorm2d(after), nn.ReLU()]
        last = nn.Linear(128 * (side // 8) ** 2, sum(ANSWERS))
        self.network = nn.Sequential(*layers, nn.Flatten(), last)
        pictures, answers = [], []
        for number in range(SCENES):
            random = np.random.default_rng([1, number])
            scene = captioned_shapes.scene(random)
            pictures.append(captioned_shapes.draw(scene, random))
            answers.append(attributes(scene))
        large = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float()
        self._learn(resized(large, side, side).round().clamp(0, 255) / 127.5 - 1, torch.tensor(answers))

    def _learn(self, images: torch.Tensor, answers: torch.Tensor) -> None:
        steps = EPOCHS * (len(images) // 64)
        adam = torch.optim.Adam(self.network.parameters(), 2e-3)
        schedule = torch.optim.lr_scheduler.LinearLR(adam, 1.0, 0.05, steps)
        for _ in range(steps):
            some = torch.randint(len(images), (64,))
            noisy = images[some] + NOISE * torch.rand(()) * torch.randn_like(images[some])
            parts = self.network(noisy).split(ANSWERS, 1)
            asked = zip(parts, answers[some].unbind(1), strict=True)
            loss = torch.stack([cross_entropy(part, answer, ignore_index=NOTHING) for part, answer in asked]).sum()
            adam.zero_grad()
            loss.backward()
            adam.step()
            schedule.step()
        self.network.eval()

    @torch.no_grad()
    def hits(self, rows: Pixels, texts: Sequence[str]) -> dict[str, float]:
        """Of pictures (N, H, W, 3) and their sentences: the share of the attributes that the sentences name which the
        pictures show, and the share of pictures that show all of them."""
        images = torch.from_numpy(np.ascontiguousarray(rows)).permute(0, 3, 1, 2).float() / 127.5 - 1
        parts = [self.network(some).split(ANSWERS, 1) for some in images.split(256)]
        shown = torch.cat([torch.stack([part.argmax(1) for part in some], 1) for some in parts]).numpy()
        wanted = np.array([attributes(captioned_shapes.read(text), named=True) for text in texts])
        asked, right = wanted != NOTHING, wanted == shown
        return {
            "attributes": float(right[asked].mean()),
            "all of a picture": float((right | ~asked).all(1).mean()),
            "colours": float(right[:, [2, 5]][asked[:, [2, 5]]].mean()),
            "kinds": float(right[:, [3, 6]][asked[:, [3, 6]]].mean()),
        }


def attributes(scene: captioned_shapes.Scene, named: bool = False) -> list[int]:
    """The answers to the questions of ANSWERS; NOTHING for what a scene does not have or, with `named`, for sizes that
    its sentence does not say."""
    shapes = scene.shapes if scene.relation in ("", "above", "left of") else scene.shapes[::-1]
    answers = [len(shapes) - 1, int(scene.relation in ("left of", "right of")) if scene.relation else NOTHING]
    for shape in shapes:
        size = SIZES.index(shape.size) if shape.named_size or not named else NOTHING
        answers += [COLOURS.index(shape.colour), captioned_shapes.KINDS.index(shape.kind), size]
    return answers + [NOTHING] * (len(ANSWERS) - len(answers))


TASKS: Mapping[str, Callable[[Path, float], dict[str, Any]]] = {
    "solid": solid,
    "sound": sound,
    "video": video,
    "text": text,
    "caption": caption,
}


def main() -> None:
    """Run the tasks and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", required=True, choices=tuple(TASKS))
    parser.add_argument("--work", type=Path, default=Path("benchmarks-work"))
    parser.add_argument("--scale", type=float, default=1.0)
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    with printed(prefix=f"{args.task}: "):
        results = TASKS[args.task](args.work, args.scale)
    common.write(args.task, {**results, "threads": torch.get_num_threads()})


if __name__ == "__main__":
    main()
