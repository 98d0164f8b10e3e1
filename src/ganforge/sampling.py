"""Samples: seeds -> pictures. A seed gives the same picture whatever other seeds are in the batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ganforge.base.errors import InputError, check_text, did_you_mean
from ganforge.base.files import writing
from ganforge.base.images import SUFFIXES, Pixels, check_suffix, grid, name_rows, write_image
from ganforge.base.seeds import check_seeds, uniform
from ganforge.media.picture import Picture
from ganforge.media.spec import Spec, to_float, to_uint8
from ganforge.media.text import Text
from ganforge.nn.style import noise_seed
from ganforge.runs import RunFolder, weights_hash
from ganforge.store.store import Store
from ganforge.system import StyleSystem, System

Labels = str | int | Sequence[str | int] | None
LONGEST = 10_000  # characters of a prompt
CHUNK = 32  # always this many at a time, since another batch size may round differently
Numbers = npt.NDArray[np.int64]
Points = Mapping[str, Tensor]
"""Points of a latent space, a picture each. Of a style-based system `styles` (N, L, W) and `noise_seed` (N, K), the
arguments of `synthesis`; of others `latents` (N, Z) and, with classes, `labels` (N,), with captions `captions` (N, L),
the arguments of `generate`."""


class Conditions(TypedDict, total=False):
    """What samples are made for."""

    labels: list[int]
    captions: Numbers


@dataclass(frozen=True)
class Shift:
    """A change of every point, such as a step along a direction."""

    vector: Tensor
    """(W,) or (Z,) float32, added to styles or to latents."""
    layers: range
    """The styles that it is added to; empty in a system without styles."""
    weights: str
    """The hash of the weights that it belongs to."""
    mark: Mapping[str, Any]
    """What the mark of a picture says of it."""

    def check(self, made_by: Mapping[str, Any]) -> None:
        """InputError where it belongs to other weights than those of `made_by`."""
        check_weights("The directions", self.weights, made_by, "Make its own with: ganforge directions RUN")

    def of(self, points: Points, share: Tensor | float = 1.0) -> Points:
        """The points, shifted by a share of the vector, of all or (N, 1) of each. InputError where it does not fit."""
        name = "styles" if "styles" in points else "latents"
        vectors = points[name].clone()
        if self.vector.shape[-1] != vectors.shape[-1] or (name == "styles") != bool(self.layers):
            raise InputError("The directions do not fit this system. Make its own with: ganforge directions RUN")
        step = (share * self.vector).to(vectors.device)
        if name == "styles":
            vectors[:, self.layers.start : self.layers.stop] += step.unsqueeze(-2)
        else:
            vectors += step
        return {**points, name: vectors}


def points(
    system: System,
    seeds: Sequence[int],
    labels: Sequence[int] | None = None,
    truncation: float = 1.0,
    captions: Numbers | None = None,
) -> Points:
    """The points of seeds, on the device of the system; for the other arguments see `pictures`."""
    device = next(system.parameters()).device
    latents = system.latents(seeds).to(device)
    if system.captioned:
        numbers = torch.from_numpy(examples_of(system, seeds) if captions is None else captions)
        return {"latents": latents, "captions": numbers.to(device)}
    if labels is None and system.classes:
        labels = drawn(seeds, np.ones(system.classes))
    classes = None if labels is None else torch.tensor(labels, device=device)
    if isinstance(system, StyleSystem):
        return {
            "styles": system.styles(latents, classes, truncation),
            "noise_seed": noise_seed(latents, truncation),
        }
    return {"latents": latents} if classes is None else {"latents": latents, "labels": classes}


def examples_of(system: System, seeds: Sequence[int]) -> Numbers:
    """(N, L) int64: for each seed one of the captions that the system has as examples, a function of the seed alone."""
    captions = system.spec.captions
    assert captions is not None
    which = (uniform(0, "caption", np.asarray(seeds, np.int64)) * len(captions.examples)).astype(np.int64)
    return np.stack([captions.row(captions.examples[n]) for n in which]).astype(np.int64)


def chosen(points: Points, numbers: Tensor) -> Points:
    """Some of the points, by their numbers (n,) int64."""
    return {name: value[numbers] for name, value in points.items()}


def render(system: System, points: Points) -> Tensor:
    """The pictures of points: (N, C, H, W) in [-1, 1]."""
    return system.synthesis(**points) if isinstance(system, StyleSystem) else system.generate(**points)


@torch.no_grad()
def pictures(
    system: System,
    seeds: Sequence[int],
    labels: Sequence[int] | None = None,
    truncation: float = 1.0,
    shift: Shift | None = None,
    prompt: Tensor | None = None,
    captions: Numbers | None = None,
) -> Iterator[Pixels]:
    """Samples of the seeds in order: portions (n, H, W, C) uint8 with n at most CHUNK. Puts the system into evaluation
    mode.

    `labels`, for a system that generates by class, has one number for each seed; without it each seed draws a label.
    `truncation` is psi of Karras et al. 2019, appendix B: 1 as trained, 0 the picture of the mean style. `prompt` (P,)
    int64 has the numbers of the characters that passages begin with, see `prompted`. `captions` (N, L) int64, for a
    system that draws what sentences say, has the numbers of the words of one for each seed; without it each seed draws
    one of the run's examples. InputError where the system has no styles, or does not generate."""
    check_generates(system)
    check_truncation(system, truncation)
    system.eval()
    for start in range(0, len(seeds), CHUNK):
        part = list(seeds[start : start + CHUNK])
        rest = [0] * (CHUNK - len(part))
        own = None if labels is None else [*labels[start : start + CHUNK], *rest]
        words = None if captions is None else captions[start : start + CHUNK]
        if words is not None and rest:
            words = np.concatenate([words, words[:1].repeat(len(rest), 0)])
        some = points(system, part + rest, own, truncation, words)
        if prompt is not None:
            some = {**some, "prompt": prompt.to(next(system.parameters()).device)}
        images = render(system, shift.of(some) if shift else some)
        yield to_uint8(images[: len(part)], system.spec).cpu().numpy()


def portions(system: System, count: int, render: Callable[[Tensor], Tensor]) -> Iterator[Pixels]:
    """Pictures 0 to count - 1 of `render`, always CHUNK at a time, as `pictures` does: (n, H, W, C) uint8."""
    system.eval()
    for start in range(0, count, CHUNK):
        numbers = (torch.arange(start, start + CHUNK)).clamp(max=count - 1)
        with torch.no_grad():
            images = render(numbers)[: min(CHUNK, count - start)]
        yield to_uint8(images, system.spec).cpu().numpy()


def drawn(seeds: Sequence[int], weights: npt.NDArray[Any]) -> list[int]:
    """A label for each seed, a function of the seed alone, with probabilities in proportion to `weights` (classes,)."""
    uniforms = uniform(0, "label", np.asarray(seeds, np.int64))
    bounds = np.cumsum(weights) / np.sum(weights)
    labels: list[int] = np.minimum(np.searchsorted(bounds, uniforms, side="right"), len(bounds) - 1).tolist()
    return labels


def like_store(system: System, store: Store, seeds: Sequence[int]) -> Conditions:
    """For a system that takes any: labels as frequent as in the store's training pictures, or these pictures'
    captions, one for each seed, a function of the seed alone; arguments of `points` and `pictures`."""
    if system.classes:
        return {"labels": drawn(seeds, np.bincount(store.labels[store.train]))}
    if system.captioned and store.captions is not None:
        rows = store.train[(uniform(0, "caption", np.asarray(seeds, np.int64)) * len(store.train)).astype(np.int64)]
        return {"captions": store.captions[rows, 0].astype(np.int64)}
    return {}


def crossed(seeds: Sequence[int], labels: Sequence[int]) -> tuple[list[int], list[int]]:
    """(seeds, labels) of every seed with every label, label by label: a sheet of len(seeds) columns has a row a
    class."""
    return list(seeds) * len(labels), [label for label in labels for _ in seeds]


def check_generates(system: System) -> None:
    """InputError for a system that does not generate."""
    if not system.generates:
        raise InputError(
            f"{type(system).__module__.rpartition('.')[2]} restores pictures and makes none of its own. "
            "Use: ganforge restore RUN FOLDER -o OUT"
        )


@torch.no_grad()
def examples(system: System, originals: Pixels) -> Pixels:
    """`System.examples` of pictures (N, H, W, C) uint8 -> (N*K, H, W, C) uint8, K pictures of each in a row."""
    system.eval()
    device = next(system.parameters()).device
    shown = system.examples(to_float(torch.from_numpy(originals).to(device), system.spec))
    return to_uint8(shown.flatten(0, 1), system.spec).cpu().numpy()


def sample(
    run: RunFolder,
    seeds: Sequence[int],
    labels: Labels = None,
    truncation: float = 1.0,
    device_name: str = "auto",
    shift: Shift | None = None,
    prompt: str = "",
    text: str | Sequence[str] = (),
) -> Pixels:
    """One picture for each seed: (N, H, W, C) uint8; of passages that go on with a `prompt` of P characters, (N, 1, P +
    W, 1); of what a `text` says, or of every one of several texts with every seed, text by text. For labels see
    `paired`. RunError where the run has no checkpoint."""
    system = run.build(device_name)
    characters = prompted(run, system, prompt)
    texts = [text] if isinstance(text, str) and text else list(text)
    if shift:
        shift.check(made_by(run, system))
    if not len(seeds):
        return np.zeros((0, system.spec.height, system.spec.width, system.spec.channels), np.uint8)
    seeds, numbers = paired(run, system, check_seeds(seeds), labels)
    seeds, captions = told(run, system, seeds, texts)
    return np.concatenate(list(pictures(system, seeds, numbers, truncation, shift, characters, captions)))


def told(
    run: RunFolder, system: System, seeds: Sequence[int], texts: Sequence[str]
) -> tuple[Sequence[int], Numbers | None]:
    """(seeds, captions) of every text with every seed, text by text, the words as numbers (N, L) int64; of no text the
    seeds and None. InputError for a system that does not read, and for words that it never saw."""
    if not texts:
        return seeds, None
    if not system.captioned or system.spec.captions is None:
        raise InputError(
            f"{run.path} was made by {run.system_name}, which reads no text. Leave --text out, or train caption on "
            "pictures with captions."
        )
    rows = system.spec.captions.rows(texts, run.path)
    return list(seeds) * len(texts), rows.repeat(len(seeds), 0)


def prompted(run: RunFolder, system: System, prompt: str) -> Tensor | None:
    """The numbers (P,) int64 of the characters of a prompt; None where it is empty. InputError for a system that takes
    none, and for a character outside of the run's alphabet."""
    if not prompt:
        return None
    medium = system.spec.medium
    if not system.prompts or not isinstance(medium, Text):
        raise InputError(f"{run.path} makes {medium.plural} from seeds and takes no prompt. Leave --prompt out.")
    check_text(prompt)
    if len(prompt) > LONGEST:
        raise InputError(f"The prompt has {len(prompt):,} characters; it takes at most {LONGEST:,}.")
    if strange := medium.outside(prompt):
        raise InputError(
            f"The prompt is {strange}. {run.path} knows {medium.alphabet[1:]!r}: write it with these characters."
        )
    return torch.from_numpy(medium.numbers(prompt))


def paired(
    run: RunFolder, system: System, seeds: Sequence[int], labels: Labels
) -> tuple[Sequence[int], list[int] | None]:
    """(seeds, labels) of equal length, labels as numbers.

    One label, a number or the name of a class, is for all seeds; several labels belong to one seed each, or all to one
    seed; "all" is every class with every seed, class by class; None lets each seed draw its label. InputError where
    the numbers of labels and seeds do not fit, or for an unknown class."""
    if labels is None:
        return seeds, None
    if not system.classes:
        reason = (
            "its store has no labels" if not system.spec.classes else "it learned without labels (model.conditional)"
        )
        raise InputError(f"{run.path} makes no {system.spec.medium.plural} by class: {reason}. Leave the labels out.")
    if every_class(labels, system.spec):
        return crossed(seeds, range(system.classes))
    several = list(labels) if isinstance(labels, Iterable) and not isinstance(labels, str) else [labels]
    numbers = [_number(label, system.spec.classes) for label in several]
    if len(numbers) == 1:
        return seeds, numbers * len(seeds)
    if len(seeds) == 1:
        return list(seeds) * len(numbers), numbers
    if len(numbers) != len(seeds):
        raise InputError(
            f"{len(numbers)} labels do not fit {len(seeds)} seeds: give one label for all, one a seed, or 'all'."
        )
    return seeds, numbers


def every_class(labels: Labels, spec: Spec) -> bool:
    """Whether `labels` is the word "all" and no class has that name."""
    return isinstance(labels, str) and labels == "all" and "all" not in spec.classes


def _number(label: str | int, classes: tuple[str, ...]) -> int:
    """The number of a class, given by its name or its number; a name comes before a number."""
    if isinstance(label, str):
        if label in classes:
            return classes.index(label)
        if not label.strip().isdecimal():
            raise InputError(f"There is no class {label!r}.{did_you_mean(label, classes)}")
    if not isinstance(label, (str, int, np.integer)) or not 0 <= int(label) < len(classes):
        raise InputError(
            f"There is no class {label}; they are numbered from 0 to {len(classes) - 1}: {', '.join(classes[:20])}."
        )
    return int(label)


def marked(spec: Spec, labels: Sequence[int] | None) -> dict[str, Any]:
    """The names of the labels, for the mark of a picture."""
    return {} if labels is None else {"labels": [spec.classes[label] for label in labels]}


def check_truncation(system: System, truncation: float) -> None:
    """InputError where the system has no styles, or the number is out of range."""
    if truncation != 1 and not isinstance(system, StyleSystem):
        raise InputError(
            "This system has no styles, so nothing can be truncated. Train stylegan2 or stylegan, or leave out "
            "--truncation."
        )
    if not 0 <= truncation <= 2:
        raise InputError(
            f"The truncation is {truncation:g}; it takes 0 (the mean picture) to 1 (as trained), at most 2."
        )


def made_by(run: RunFolder, system: System) -> dict[str, Any]:
    """The origin of a generated picture, for its mark: run, system, and a hash of the weights."""
    return {"run": run.path.name, "system": run.system_name, "weights": weights_hash(system.state_dict())}


def check_weights(things: str, weights: str, made_by: Mapping[str, Any], advice: str) -> None:
    """InputError where `things`, which belong to the weights of this hash, are for a system of other weights."""
    if weights != made_by["weights"]:
        raise InputError(
            f"{things} belong to other weights ({weights}) than those of {made_by['run']} ({made_by['weights']}). "
            f"{advice}, or name their checkpoint with --at."
        )


def write(
    run: RunFolder,
    seeds: Sequence[int],
    out: Path,
    as_grid: bool,
    labels: Labels = None,
    truncation: float = 1.0,
    device_name: str = "auto",
    shift: Shift | None = None,
    prompt: str = "",
    texts: Sequence[str] = (),
) -> list[Path]:
    """Write samples: one sheet at `out` (PNG, JPEG or WebP), or single files seed-N.png in the folder `out`. Each file
    carries the mark of its origin. Returns the paths.

    Other media have their own files: seed-N.wav, seed-N.webp, seed-N.stl, seed-N.txt, and all samples of a sheet in one
    beside it (.wav, .webp, .npy, .txt; where `out` says so, clips in .mp4 and one solid in .stl). Passages go on with
    the `prompt`. With labels (see `paired`) the files are seed-N-class-K.png, and the sheet of "all" has a row with the
    name of each class. With `texts`, for a system that draws what sentences say, every seed is drawn for each of them:
    a row a text, or files seed-N-text-K.png, K from 0."""
    system = run.build(device_name)
    check_generates(system)
    characters = prompted(run, system, prompt)
    spec, medium = system.spec, system.spec.medium
    own = () if medium.suffix == Picture.suffix else medium.suffixes()
    together: Path | None = None
    if as_grid:
        if out.suffix.lower() in own:
            together, out = out, out.with_suffix(".png")
        elif own and out.suffix.lower() in SUFFIXES:
            together = out.with_suffix(own[0])
        elif own:
            sheets = ", ".join(suffix for suffix in SUFFIXES if suffix not in own)
            raise InputError(
                f"{out} cannot hold {medium.plural}. Let its name end in {' or '.join(own)}; or in {sheets} for a "
                f"sheet, with a {own[0]} beside it."
            )
        check_suffix(out, spec.shown_channels)
    elif out.suffix.lower() in (*SUFFIXES, *own):
        raise InputError(f"{out} is the name of a file; single files go into a folder. Name one, or make a sheet.")
    columns = len(seeds) if every_class(labels, system.spec) else None
    names = system.spec.classes if columns else texts
    if texts:
        columns = len(seeds)
    seeds, numbers = paired(run, system, check_seeds(seeds), labels)
    once = len(seeds)
    seeds, captions = told(run, system, seeds, texts)
    if together is not None:
        medium.check_file(together, len(seeds))
    if numbers is None and system.classes:
        numbers = drawn(seeds, np.ones(system.classes))
    mark = made_by(run, system) | ({} if truncation == 1 else {"truncation": truncation})
    mark |= {"prompt": prompt} if prompt else {}
    if shift:
        shift.check(mark)
        mark |= shift.mark
    with writing(out):
        (out.parent if as_grid else out).mkdir(parents=True, exist_ok=True)
    if as_grid:
        rows = np.concatenate(list(pictures(system, seeds, numbers, truncation, shift, characters, captions)))
        sheet = grid(medium.as_pictures(rows), columns)
        if columns:
            sheet = name_rows(sheet, names)
        mark |= {"seeds": list(seeds), **marked(spec, numbers)} | ({"texts": list(texts)} if texts else {})
        write_image(out, sheet, mark)
        if together is None:
            return [out]
        medium.write(together, rows, mark)
        return [out, together]
    written = []
    made = pictures(system, seeds, numbers, truncation, shift, characters, captions)
    each = (picture for portion in made for picture in portion)
    for n, picture in enumerate(each):
        label = None if numbers is None else numbers[n : n + 1]
        ending = f"-class-{label[0]}" if label else f"-text-{n // once}" if len(texts) > 1 else ""
        written.append(out / f"seed-{seeds[n]:06d}{ending}{medium.suffix}")
        of_this = {"seeds": [seeds[n]], **marked(system.spec, label)} | ({"text": texts[n // once]} if texts else {})
        medium.write(written[-1], picture[None], {**mark, **of_this})
    return written
