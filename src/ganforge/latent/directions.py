"""Directions of a latent space, along which pictures change in one way; they take no training.

`sefa`: Shen and Zhou 2021, "Closed-Form Factorization of Latent Semantics in GANs". `pca`: Härkönen et al. 2020,
"GANSpace: Discovering Interpretable GAN Controls". `label`: towards each class, after Shen et al. 2020, "Interpreting
the Latent Space of GANs for Semantic Face Editing", with logistic regression in place of their support vector machine.

The space is that of w in a style-based system, else that of z. A file of directions is safetensors: `vectors` (K, D),
`deviations` (K,), and as JSON in its metadata the names, method, layers and the hash of the weights."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from ganforge.base.errors import DataError, InputError, did_you_mean
from ganforge.base.files import atomic_file, writing
from ganforge.base.images import Pixels, check_suffix, enlarge, grid, name_rows, write_image
from ganforge.base.seeds import check_seeds
from ganforge.base.tables import read_json
from ganforge.latent.walk import check_layers
from ganforge.measuring.reference import extractor
from ganforge.media.text import Text
from ganforge.runs import RunFolder
from ganforge.sampling import (
    Points,
    Shift,
    check_generates,
    chosen,
    made_by,
    pictures,
    points,
    portions,
    render,
)
from ganforge.store.store import Store
from ganforge.system import StyleSystem, System

METHODS = ("sefa", "pca", "label")
COUNT = 10
DRAWN = 10_000  # points from which standard deviations and principal components are estimated
JUDGED = 2_000  # samples that the judge names a class of
FEWEST = 20  # of them in a class that gets a direction
STRENGTH = 2e-3  # sklearn's C: weak directions come nearer to the difference of means, and change more classes (docs)
POSITIONS = (-3.0, -1.5, 0.0, 1.5, 3.0)  # of the sheet, in standard deviations
LARGEST = 100.0  # standard deviations of a step
NAME = "directions.safetensors"  # in a run


@dataclass(frozen=True)
class Directions:
    """K directions of a latent space of D dimensions; of `sefa` and `pca` orthonormal, the strongest first."""

    vectors: Tensor
    """(K, D) float32, each of length 1."""
    deviations: Tensor
    """(K,) float32: the standard deviation of the points of seeds along each."""
    names: tuple[str, ...]
    """Numbers, or the classes that they lead to."""
    method: str
    layers: range
    """The styles that they belong to; empty in a system without styles."""
    weights: str
    """The hash of the weights that they belong to."""

    def shift(self, amounts: Mapping[int | str, float]) -> Shift:
        """A step of so many standard deviations along each of the named directions, by number or name; a name comes
        before a number. InputError for a direction that is not there, or a step that is no number or too large."""
        vector = torch.zeros_like(self.vectors[0])
        for name, amount in amounts.items():
            if not -LARGEST <= amount <= LARGEST:
                raise InputError(
                    f"The step {amount:g} along direction {name} is out of range; it takes -{LARGEST:g} to {LARGEST:g} "
                    "standard deviations."
                )
            number = self._number(name)
            vector += amount * self.deviations[number] * self.vectors[number]
        steps = {str(name): float(amount) for name, amount in amounts.items()}
        mark: dict[str, Any] = {"directions": self.method, "direction": steps}
        if self.layers:
            mark["direction_layers"] = [self.layers.start, self.layers.stop - 1]
        return Shift(vector, self.layers, self.weights, mark)

    def _number(self, name: int | str) -> int:
        if name in self.names:
            return self.names.index(str(name))
        if str(name).strip().isdecimal() and int(name) < len(self.names):
            return int(name)
        known = ", ".join(self.names[:20]) if self.method == "label" else f"0-{len(self.names) - 1}"
        raise InputError(f"There is no direction {name}; there is: {known}.")


def amounts(texts: Sequence[str]) -> dict[int | str, float]:
    """`["2:+2.5", "Sandal:-1"]` -> {"2": 2.5, "Sandal": -1.0}. InputError for anything else."""
    steps: dict[int | str, float] = {}
    for text in texts:
        name, colon, amount = text.rpartition(":")
        try:
            step = float(amount)
        except ValueError:
            step = math.nan
        if not colon or not name or math.isnan(step):
            raise InputError(
                f"The direction {text!r} is not understood; such as 2:+2.5, its number and the standard deviations."
            )
        if name in steps:
            raise InputError(f"The direction {name} is given twice.")
        steps[name] = step
    return steps


@torch.no_grad()
def directions(
    system: System,
    method: str = "sefa",
    count: int | None = None,
    layers: range | None = None,
    classify: Callable[[Pixels], Tensor] | None = None,
    weights: str = "",
) -> Directions:
    """The `count` strongest directions (10, or all of fewer), or with `label` one for each class of the data.

    `layers` are the styles that they change (all). `classify`, for `label`, gives pictures (N, H, W, C) uint8 their
    classes, (N,) int64. InputError for a method that the system does not allow, or for layers or a count that it does
    not have."""
    _check(system)
    if method not in METHODS:
        raise InputError(f"There is no method {method!r}.{did_you_mean(method, METHODS)}")
    if isinstance(system, StyleSystem):
        layers = range(system.layers) if layers is None else layers
        check_layers(system, layers)
    elif layers is not None:
        raise InputError("This system has no styles, so there are no layers to choose. Leave out --layers.")
    system.eval()
    drawn = _vectors(points(system, range(DRAWN)))
    if method == "label":
        if count is not None:
            raise InputError("There is a direction for each class; leave out --count.")
        vectors, names = _by_label(system, classify)
    else:
        count = min(COUNT, drawn.shape[1]) if count is None else count
        if not 1 <= count <= drawn.shape[1]:
            raise InputError(f"{count} directions cannot be found; it takes 1 to {drawn.shape[1]}, with --count.")
        squares = _affine(system, layers or range(0)) if method == "sefa" else _covariance(system, drawn)
        vectors = torch.linalg.eigh(squares)[1].flip(1).T[:count]  # eigenvalues ascend
        largest = vectors.gather(1, vectors.abs().argmax(1, keepdim=True))
        vectors, names = vectors * largest.sign(), tuple(map(str, range(count)))
    return Directions(vectors.float(), (drawn @ vectors.T).std(0).float(), names, method, layers or range(0), weights)


def _check(system: System) -> None:
    """InputError for a system whose latents have no directions."""
    if isinstance(system.spec.medium, Text):
        raise InputError("A passage of text has no directions: its characters are chosen one after the other.")
    check_generates(system)


def _vectors(some: Points) -> Tensor:
    """The w or z of points that have the same in all layers: (N, D) float64 on the CPU."""
    return (some["styles"][:, 0] if "styles" in some else some["latents"]).double().cpu()


def _affine(system: System, layers: range) -> Tensor:
    """A A^T (D, D) of Shen and Zhou 2021, where A (D, O) are the weights of all layers that take the latent or one of
    the chosen styles as it is, each column of length 1. They are found by their input. InputError where there is
    none."""
    device = next(system.parameters()).device
    if isinstance(system, StyleSystem):
        generator = torch.Generator().manual_seed(0)
        styles = torch.randn(1, system.layers, len(system.w_avg()), generator=generator).to(device)
        some: Points = {**points(system, [0]), "styles": styles}
        taken = styles[0, layers.start : layers.stop]
    else:
        some = points(system, [0])
        taken = some["latents"]
    columns: list[Tensor] = []

    def look(layer: nn.Module, inputs: tuple[Any, ...]) -> None:
        weight = getattr(layer, "weight", None)
        given = inputs[0] if inputs and isinstance(inputs[0], Tensor) else taken[0]
        if not isinstance(weight, Tensor) or min(weight.dim(), given.dim()) < 2 or not given.is_floating_point():
            return
        given = given[:1].flatten(1)[:, : taken.shape[1]]
        if given.shape[1] == taken.shape[1] and torch.cosine_similarity(given, taken).max() > 1 - 1e-5:
            by_input = weight if isinstance(layer, nn.modules.conv._ConvTransposeNd) else weight.transpose(0, 1)
            columns.append(by_input[: taken.shape[1]].flatten(1).double().cpu())

    hooks = [layer.register_forward_pre_hook(look) for layer in system.modules()]
    try:
        render(system, some)
    finally:
        for hook in hooks:
            hook.remove()
    if not columns:
        raise InputError(
            "No layer of this system takes its latent as it is, so its weights say nothing of directions. "
            "Take --method label."
        )
    weights = torch.cat(columns, 1)
    weights = weights / weights.norm(dim=0).clamp(min=1e-12)
    squares: Tensor = weights @ weights.T
    return squares


def _covariance(system: System, drawn: Tensor) -> Tensor:
    if not isinstance(system, StyleSystem):
        raise InputError(
            "The latents of this system are normal, equally wide in all directions, and have no principal components. "
            "Take --method sefa or label, or a system with styles: stylegan, stylegan2."
        )
    return drawn.T.cov()


def _by_label(system: System, classify: Callable[[Pixels], Tensor] | None) -> tuple[Tensor, tuple[str, ...]]:
    """(vectors (K, D) float64 of length 1, names): for each class that the judge sees in enough samples the normal of
    a multinomial logistic regression."""
    from sklearn.linear_model import LogisticRegression

    if system.classes:
        raise InputError(
            "This run makes pictures by class: ganforge sample RUN --labels NAME. For other directions take "
            "--method sefa or pca."
        )
    if classify is None:
        raise InputError("Directions by label need a judge of classes.")
    labels = torch.cat([classify(part) for part in pictures(system, range(JUDGED))]).numpy()
    numbers = np.flatnonzero(np.bincount(labels) >= FEWEST)
    if len(numbers) < 2:
        raise InputError("The samples of this run are of one class, so nothing tells classes apart. Train for longer.")
    drawn = _vectors(points(system, range(JUDGED))).numpy()
    seen = np.isin(labels, numbers)
    spread = np.sqrt(drawn.var(0).mean())
    fitted = LogisticRegression(C=STRENGTH, max_iter=1000).fit((drawn - drawn.mean(0))[seen] / spread, labels[seen])
    normals = fitted.coef_ if len(numbers) > 2 else np.concatenate([-fitted.coef_, fitted.coef_])
    vectors = torch.from_numpy(normals)
    return vectors / vectors.norm(dim=1, keepdim=True), tuple(system.spec.classes[n] for n in numbers)


def shift(run: RunFolder, steps: Mapping[int | str, float], path: Path | None = None) -> Shift | None:
    """The step of `Directions.shift` along the directions in the file `path`, by default the run's own; None for no
    steps. InputError for a path without steps, and for a run that has no directions."""
    if not steps:
        if path is not None:
            raise InputError(f"The directions {path} have no effect without --direction, such as --direction 2:+2.5.")
        return None
    _check(run.new_system())
    return read(path or run.path / NAME).shift(steps)


def read(path: Path) -> Directions:
    """A file of `write`. DataError where it is missing, damaged or something else."""
    advice = "Make one with: ganforge directions RUN"
    if not path.is_file():
        raise DataError(f"There is no file of directions {path}. {advice}")
    try:
        with safe_open(path, framework="pt") as file:
            facts = read_json((file.metadata() or {})["directions"])
            loaded = Directions(
                file.get_tensor("vectors"), file.get_tensor("deviations"), tuple(facts["names"]), facts["method"],
                range(*facts["layers"]), facts["weights"],
            )  # fmt: skip
        count = len(loaded.names)
        if (
            (count, *loaded.vectors.shape[1:2]) != loaded.vectors.shape
            or loaded.vectors.dim() != 2
            or loaded.deviations.shape != (count,)
            or not (loaded.vectors.isfinite().all() and loaded.deviations.isfinite().all())
            or not all(isinstance(text, str) for text in (*loaded.names, loaded.method, loaded.weights))
        ):
            raise ValueError("its parts do not fit each other")
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path} is no file of directions, or damaged: {error}. {advice}") from error
    return loaded


def write(
    run: RunFolder,
    out: Path,
    method: str = "sefa",
    count: int | None = None,
    layers: range | None = None,
    seeds: Sequence[int] = range(4),
    store: Store | None = None,
    device_name: str = "auto",
) -> tuple[Directions, Path]:
    """Find directions, write a sheet of them at `out` with a row for each, in which the pictures of `seeds` go from
    -3 to +3 standard deviations, and the directions beside it, OUT.safetensors. Returns them and that path.

    `store`, for `label`, is where the run's own has moved to; its judge is trained where there is none yet."""
    if store is not None and method != "label":
        raise InputError("directions: --store has no effect without --method label.")
    system = run.build(device_name)
    check_suffix(out, system.spec.shown_channels)
    check_seeds(seeds)
    mark = made_by(run, system)
    classify = None
    if method == "label" and system.generates and not system.classes:
        classify = _judge(store or Store(run.own_store()))
    made = directions(system, method, count, layers, classify, mark["weights"])
    rows = np.concatenate(list(_rows(system, made, seeds)))
    blocks = [
        grid(enlarge(system.spec.medium.as_pictures(block)), len(POSITIONS)) for block in np.split(rows, len(seeds))
    ]
    gap = np.full_like(blocks[0][:, :8], 255)
    sheet = np.concatenate([part for block in blocks for part in (gap, block)][1:], 1)
    label = [name if method != "label" else f"{n} {name}" for n, name in enumerate(made.names)]
    file = out.with_suffix(".safetensors")
    with writing(out, problems=(OSError, SafetensorError)):
        out.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(file) as partial:
            facts = {
                "names": made.names, "method": method, "layers": [made.layers.start, made.layers.stop],
                "weights": made.weights,
            }  # fmt: skip
            tensors = {"vectors": made.vectors.contiguous(), "deviations": made.deviations}
            save_file(tensors, partial, {"directions": json.dumps(facts)})
    write_image(out, name_rows(sheet, label), {**mark, "seeds": list(seeds), "directions": method})
    return made, file


def _judge(store: Store) -> Callable[[Pixels], Tensor]:
    """What gives pictures their classes: the classifier that measures samples of this store."""
    if not store.labelled:
        raise InputError(f"{store.path} has no labels, so there are no classes to lead to. Take --method sefa or pca.")
    extract = extractor(store)
    return lambda some: extract.classify(extract([some]))


def _rows(system: System, made: Directions, seeds: Sequence[int]) -> Iterator[Pixels]:
    """The pictures of the sheet: seed by seed, its directions, the positions of each."""
    start, each = points(system, seeds), len(made.names) * len(POSITIONS)
    steps = made.vectors * made.deviations[:, None]

    def images(numbers: Tensor) -> Tensor:
        shift = Shift(steps[numbers % each // len(POSITIONS)], made.layers, made.weights, {})
        return render(
            system, shift.of(chosen(start, numbers // each), torch.tensor(POSITIONS)[numbers % len(POSITIONS), None])
        )

    return portions(system, len(seeds) * each, images)
