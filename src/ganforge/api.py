"""The verbs for Python and notebooks: the same words as on the command line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from ganforge.auditing.audit import audit
from ganforge.base import logs
from ganforge.base.errors import InputError
from ganforge.base.images import Pixels
from ganforge.cleaning.clean import clean
from ganforge.collecting.collect import collect
from ganforge.demonstration import demo
from ganforge.latent.directions import NAME, Directions
from ganforge.latent.directions import shift as _shift
from ganforge.latent.directions import write as _directions
from ganforge.latent.inversion import STEPS, Inversion
from ganforge.latent.inversion import invert as _invert
from ganforge.latent.inversion import read as _read
from ganforge.latent.inversion import write_all as _invert_all
from ganforge.latent.walk import walk as _walk
from ganforge.measuring.classification import ClassificationScores
from ganforge.measuring.classification import classification_scores as _classification_scores
from ganforge.measuring.measure import SAMPLES, Measured
from ganforge.measuring.measure import measure as _measure
from ganforge.measuring.measure import measure_folder as _measure_folder
from ganforge.preparing.prepare import prepare
from ganforge.report import write as _report
from ganforge.restoring.call import Restored
from ganforge.restoring.restore import restore as _restore
from ganforge.runs import RunFolder
from ganforge.sampling import Labels
from ganforge.sampling import sample as _sample
from ganforge.showing import show
from ganforge.store.store import Store
from ganforge.training.train import train as _train


class Run(RunFolder):
    """A trained generator in its folder: `Run("runs/dcgan-flowers")`, or `Run("runs/dcgan-flowers", at="last")`."""

    def sample(
        self,
        seeds: Iterable[int] = range(16),
        labels: Labels = None,
        truncation: float = 1.0,
        device: str = "auto",
        direction: Mapping[int | str, float] | None = None,
        directions: str | Path | None = None,
        prompt: str = "",
        text: str | Sequence[str] = (),
    ) -> Pixels:
        """One picture a seed: (N, H, W, C) uint8; passages go on with the `prompt`; `text` is a sentence to draw, or
        several, each of which is drawn with every seed.

        Labels, numbers or names of classes: one for all, one a seed, or "all". A truncation below 1 takes systems with
        styles nearer to their mean. `direction` has steps in standard deviations, such as {2: 2.5}, along directions of
        the file `directions`, by default the run's own."""
        step = _shift(self, direction or {}, None if directions is None else Path(directions))
        return _sample(self, list(seeds), labels, truncation, device, step, prompt, text)

    def directions(
        self,
        method: str = "sefa",
        count: int | None = None,
        layers: range | None = None,
        out: str | Path | None = None,
        seeds: Iterable[int] = range(4),
        store: Store | None = None,
        device: str = "auto",
    ) -> Directions:
        """Directions of the latent space, written with their sheet; see `ganforge.latent.directions.write`."""
        sheet = Path(out) if out else self.file(NAME).with_suffix(".png")
        return _directions(self, sheet, method, count, layers, list(seeds), store, device)[0]

    def walk(self, seeds: Iterable[int], frames: int = 24, truncation: float = 1.0, device: str = "auto") -> Pixels:
        """From seed to seed and back to the first: (seeds x frames, H, W, C) uint8. See `ganforge.latent.walk`."""
        return np.concatenate(list(_walk(self.build(device), list(seeds), frames, truncation)))

    def invert(self, image: str | Path, steps: int = STEPS, device: str = "auto") -> Inversion:
        """The point of the latent space whose picture is nearest to a picture file; see `ganforge.latent.inversion`."""
        system = self.build(device)
        return _invert(system, _read(Path(image), system.spec), steps)

    project = invert

    def invert_all(
        self, source: str | Path, out: str | Path, steps: int = STEPS, device: str = "auto"
    ) -> list[dict[str, Any]]:
        """The points of all pictures of a folder or a zip; see `ganforge.latent.inversion.write_all`."""
        return _invert_all(self, Path(source), Path(out), steps, device_name=device)

    def measure(self, store: Store | None = None, samples: int = SAMPLES, device: str = "auto") -> Measured:
        """Its numbers; see `ganforge.measuring.measure`."""
        return _measure(self, store, samples, device_name=device)

    def classification_scores(
        self, store: Store | None = None, samples: int | None = None, device: str = "auto"
    ) -> ClassificationScores:
        """What its samples teach a classifier; see `ganforge.measuring.classification`, also for the pictures of a
        folder."""
        return _classification_scores(self, store, samples, device_name=device)

    worth = classification_scores  # its name in earlier versions

    def restore(
        self,
        source: str | Path,
        out: str | Path,
        reference: str | Path | None = None,
        device: str = "auto",
        *,
        mask: str | Path | None = None,
        holes: str | None = None,
        strength: float | None = None,
        seeds: Sequence[int] | None = None,
        to: str | None = None,
        missing: Sequence[int] | None = None,
    ) -> Restored:
        """Denoise, reconstruct, enlarge, fill or translate the pictures of a folder, a zip or a file, or fill in
        missing frames of clips; see `ganforge.restoring.restore`."""
        return _restore(
            self, source, out, reference=reference, mask=mask, holes=holes, strength=strength, seeds=seeds,
            to=to, missing=missing, device_name=device,
        )  # fmt: skip

    def report(self, out: str | Path | None = None) -> Path:
        """Measure, and write an HTML page (`report.html` in the run)."""
        return _report(self, [("trained", self.measure())], Path(out) if out else self.file("report.html"))


def train(
    system: str,
    store: str | Path | Store,
    out: str | Path | None = None,
    *,
    size: str | None = None,
    images: int | None = None,
    minutes: float | None = None,
    device: str = "auto",
    model: dict[str, Any] | None = None,
    source: str | Path | RunFolder | None = None,
    verbose: bool = True,
    **settings: Any,
) -> Run:
    """Train, or go on with the run in `out`. `model` holds settings of the system, further keywords those of the
    loop. A new run begins with the weights and settings of the run `source`. How far it is is logged to
    `logging.getLogger("ganforge")`, and printed where `verbose`."""
    loop = (
        settings
        | ({"images": images} if images is not None else {})
        | ({"minutes": minutes} if minutes is not None else {})
    )
    with logs.printed() if verbose else nullcontext():
        overrides = {"model": model or {}, "train": loop}
        source = RunFolder(source) if isinstance(source, (str, Path)) else source
        return Run(_train(system, store, out, size=size, device_name=device, overrides=overrides, source=source).path)


def sample(
    run: str | Path | RunFolder,
    seeds: Iterable[int] = range(16),
    labels: Labels = None,
    truncation: float = 1.0,
    device: str = "auto",
) -> Pixels:
    """One picture a seed: (N, H, W, C) uint8. Labels, numbers or names of classes: one for all, one a seed, or
    "all"."""
    return _sample(run if isinstance(run, RunFolder) else Run(run), list(seeds), labels, truncation, device)


def measure(
    source: str | Path | RunFolder,
    store: str | Path | Store | None = None,
    samples: int = SAMPLES,
    device: str = "auto",
) -> Measured:
    """The numbers of a run against its store, or of a folder or zip of pictures, made by any tool, against `store`.

    See `ganforge.measuring.measured.Measured` for how to read them. InputError for a folder without a store.
    """
    store = Store(store) if isinstance(store, (str, Path)) else store
    if isinstance(source, RunFolder) or (Path(source) / "run.toml").exists():
        return _measure(source if isinstance(source, RunFolder) else Run(source), store, samples, device_name=device)
    if store is None:
        raise InputError(f"{source} is no run. To measure the pictures in it, say against which store.")
    return _measure_folder(source, store, device_name=device)[0]


restore = _restore

__all__ = [
    "Run",
    "Store",
    "audit",
    "clean",
    "collect",
    "demo",
    "measure",
    "prepare",
    "restore",
    "sample",
    "show",
    "train",
]
