"""Features without a download: a small convolutional classifier trained on the data set itself.

With labels it learns the classes. Without, it learns pseudo-classes: clusters of the pictures found by k-means on their
principal components (the first round of Caron et al. 2018, "Deep Clustering for Unsupervised Learning"). It sees
pictures at their full resolution, and learns from crops of changed colour with a part missing, so that a few thousand
pictures teach it shapes.

Of clips it also learns whether their frames come in their order, shuffled, or all the same (after Misra et al. 2016,
"Shuffle and Learn"): to a classifier of what is in a clip, motion is of no use.

A picture's features are the last hidden layer, which says what is in it, and `pyramid.statistics`, which say what its
surface is like, for a classifier may forget blur and speckle on its way up. Each half is scaled so that the training
pictures' variance sums to 64: distances are then of one size for all data sets."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.functional import interpolate

from ganforge.base.device import autocast, keep_memory, place, resolve_precision
from ganforge.base.errors import StoreError
from ganforge.base.files import file_sha256, sealed_file
from ganforge.base.images import Pixels
from ganforge.base.seeds import key, permuted
from ganforge.base.tables import read_json
from ganforge.media.spec import to_float
from ganforge.transforms import pyramid

HIDDEN = 64
CLUSTERS = 32
IMAGES = 80_000
EPOCHS = 20
SCALED = 10_000  # pictures by which features are scaled
BATCH = 64
PORTION = 256
LEAST = 1.0  # deviation of an amplitude, in levels, below which it is constant: the colours of grey pictures, say


def _block(before: int, after: int, stride: int, side: int = 3) -> nn.Sequential:
    convolution = nn.Conv2d(before, after, side, stride, (side - 1) // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(after), nn.ReLU())


class FeatureNetwork(nn.Module):
    """(N, C, H, W) in [-1, 1] -> logits (N, classes). Maps are halved until their shorter side is at most 8."""

    def __init__(self, channels: int, classes: int, side: int) -> None:
        super().__init__()
        layers, side = [_block(channels, 32, 2, 4), _block(32, 64, 2)], side // 4
        layers.append(_block(64, 128, 2 if side > 8 else 1))
        while side > 16:
            layers.append(_block(128, 128, 2))
            side //= 2
        self.convolutions = nn.Sequential(*layers, _block(128, 128, 1))
        self.pool = nn.AdaptiveAvgPool2d(4)
        self.hidden = nn.Sequential(nn.Linear(128 * 16, HIDDEN, bias=False), nn.BatchNorm1d(HIDDEN), nn.ReLU())
        self.logits = nn.Linear(HIDDEN, classes)

    def features(self, images: Tensor) -> Tensor:
        """(N, HIDDEN)."""
        x: Tensor = self.hidden(self.pool(self.convolutions(images)).flatten(1))
        return x

    def named(self, features: Tensor) -> Tensor:
        """(N, HIDDEN) -> logits (N, classes)."""
        x: Tensor = self.logits(F.dropout(features, 0.2, self.training))
        return x

    def forward(self, images: Tensor) -> Tensor:
        return self.named(self.features(images))


@dataclass(frozen=True)
class Extractor:
    """A trained network with the features' mean and scale, (D,) each; `name` says what it learned, how well, and which
    weights exactly."""

    network: FeatureNetwork
    mean: Tensor
    scale: Tensor
    side: int
    kind: str
    accuracy: float
    digest: str

    @property
    def name(self) -> str:
        """Such as `classes-1a2b3c4d`."""
        return f"{self.kind}-{self.digest[:8]}"

    @torch.no_grad()
    def __call__(self, portions: Iterable[Pixels]) -> Tensor:
        """(n, H, W, C) uint8 portions -> (N, D) float32. Each picture's features do not depend on its company."""
        parts = [self._one(part[i : i + PORTION]) for part in portions for i in range(0, len(part), PORTION)]
        return torch.cat(parts) if parts else torch.zeros(0, len(self.scale))

    def _one(self, part: Pixels) -> Tensor:
        pixels = torch.from_numpy(np.ascontiguousarray(part)).to(self.scale.device)
        hidden = self.network.features(to_float(pixels))
        surface = pyramid.statistics(pixels.permute(0, 3, 1, 2).float())
        return ((torch.cat([hidden, surface], 1).float() - self.mean) * self.scale).cpu()

    @torch.no_grad()
    def classify(self, features: Tensor) -> Tensor:
        """(N, SIZE), as they come from a call -> the likeliest class of each, (N,) int64."""
        hidden = features[:, :HIDDEN].to(self.scale.device) / self.scale[:HIDDEN] + self.mean[:HIDDEN]
        return self.network.logits(hidden).argmax(1).cpu()  # type: ignore[no-any-return]


Reader = Callable[[npt.NDArray[np.int64]], Pixels]


def train(
    read: Reader,
    rows: npt.NDArray[np.int64],
    labels: npt.NDArray[np.int64] | None,
    test_rows: npt.NDArray[np.int64],
    test_labels: npt.NDArray[np.int64] | None,
    seed: int = 0,
    shown: Callable[[int], None] | None = None,
    frames: int = 0,
) -> Extractor:
    """Train an extractor on the pictures `rows`, which `read` gives as uint8; labels (N,) int64, or None. Of clips,
    `frames` says how many frames a row has.

    `shown` hears of each step how many pictures it showed. Accuracy is that on the test pictures; without labels, that
    of naming a training picture's cluster again."""
    kind = "classes" if labels is not None else "clusters"
    if labels is None or labels.max(initial=0) == labels.min(initial=0):
        kind, labels = "clusters", _clusters(read, rows)
    sample = read(rows[:1])
    side = min(sample.shape[1:3])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(key(seed, "extractor"))
        network = FeatureNetwork(sample.shape[-1], int(labels.max()) + 1, side)
        place(network, torch.device("cpu"))
        fit(network, read, rows, labels, seed=seed, images=images_for(side, len(rows)), shown=shown,
            frames=frames)  # fmt: skip
    network.eval()
    if kind == "classes" and test_labels is not None and len(test_rows):
        score = accuracy(network, read, test_rows, test_labels)
    else:
        score = accuracy(network, read, rows[:5000], labels[:5000])
    size = HIDDEN + pyramid.statistics(torch.from_numpy(sample).permute(0, 3, 1, 2).float()).shape[1]
    plain = Extractor(network, torch.zeros(size), torch.ones(size), side, kind, score, "")
    seen = plain(
        read(part) for part in _portions(rows[permuted(seed, "scale", len(rows), np.arange(min(SCALED, len(rows))))])
    ).double()
    deviation = seen.std(0)
    hidden = (HIDDEN / deviation[:HIDDEN].square().sum().clamp(min=1e-12)).sqrt().expand(HIDDEN)
    surface = deviation[HIDDEN:].clamp(min=LEAST) * ((size - HIDDEN) / HIDDEN) ** 0.5
    return Extractor(network, seen.mean(0).float(), torch.cat([hidden, 1 / surface]).float(), side, kind, score, "")


def images_for(side: int, count: int) -> int:
    """How many pictures to show in training: fewer where they are large or few."""
    return max(100 * BATCH, round(min(IMAGES * min(1.0, 32 / side), EPOCHS * count)))


def fit(
    network: nn.Module,
    read: Reader,
    rows: npt.NDArray[np.int64],
    labels: npt.NDArray[np.int64],
    *,
    seed: int,
    images: int,
    changed: bool = True,
    shown: Callable[[int], None] | None = None,
    frames: int = 0,
) -> None:
    """One cycle of AdamW over so many images, `changed` by chance or as they are; bf16 where that is the faster one.

    With `frames`, a FeatureNetwork learns besides which of the clips are `reordered`, and how."""
    keep_memory()
    order = nn.Linear(HIDDEN, 3) if frames else None
    cpu = torch.device("cpu")
    precision = resolve_precision("auto", cpu)
    steps = max(1, images // BATCH)
    learned = [*network.parameters(), *(order.parameters() if order else ())]
    optimizer = torch.optim.AdamW(learned, lr=3e-3, weight_decay=0.05, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps, pct_start=0.2)
    network.train()
    for step in range(steps):
        epoch, offset = divmod(step * BATCH, len(rows))
        chosen = permuted(seed, f"extractor/{epoch}", len(rows), np.arange(offset, offset + BATCH) % len(rows))
        images_ = to_float(torch.from_numpy(read(rows[chosen])))
        images_, orders = reordered(images_, frames) if frames else (images_, None)
        if changed:
            images_ = change(images_)
        images_ = images_.contiguous(memory_format=torch.channels_last)
        with autocast(cpu, precision):
            if order is None:
                logits, loss = network(images_), torch.zeros(())
            else:
                assert isinstance(network, FeatureNetwork) and orders is not None
                hidden = network.features(images_)
                logits, loss = network.named(hidden), F.cross_entropy(order(hidden).float(), orders)
        loss = loss + F.cross_entropy(logits.float(), torch.from_numpy(labels[chosen]), label_smoothing=0.1)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        if shown:
            shown(BATCH)


def change(images: Tensor) -> Tensor:
    """(N, C, H, W) -> the same: a crop of at least 70 % of the area, other brightness, contrast and saturation, and a
    rectangle blanked.

    No mirror image: it would be another letter.
    """
    count, channels, height, width = images.shape
    zoom = torch.empty(count).uniform_(0.7, 1).sqrt()
    transform = torch.zeros(count, 2, 3)
    transform[:, 0, 0] = transform[:, 1, 1] = zoom
    transform[:, :, 2] = (2 * torch.rand(count, 2) - 1) * (1 - zoom)[:, None]
    grid = F.affine_grid(transform, list(images.shape), align_corners=False)
    images = F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
    contrast, brightness, saturation = (torch.rand(count, 1, 1, 1) - 0.5 for _ in range(3))
    if channels in (3, 4):
        grey = images[:, :3].mean(1, keepdim=True)
        images = torch.cat([grey + (images[:, :3] - grey) * (1 + 0.8 * saturation), images[:, 3:]], 1)
    images = images * (1 + 0.5 * contrast) + 0.3 * brightness
    top, left = torch.randint(height, (count, 1, 1)), torch.randint(width, (count, 1, 1))
    blank = ((torch.arange(height)[:, None] - top).abs() < height // 6) & (
        (torch.arange(width) - left).abs() < width // 6
    )
    return images.masked_fill(blank[:, None], 0)


def reordered(clips: Tensor, frames: int) -> tuple[Tensor, Tensor]:
    """Clips (N, T x C, H, W) -> the same, of which half are as they were, and of the others one half are shuffled and
    one half show one of their frames only; and which are which, (N,) int64: 0, 1, 2. What was shuffled to its own order
    or to the reverse of it is as it was."""
    kinds = torch.tensor((0, 0, 1, 2))[torch.randint(4, (len(clips),))]
    order = torch.rand(len(clips), frames).argsort(1)
    steps = order.diff(dim=1)
    kinds = torch.where((kinds == 1) & ((steps == 1).all(1) | (steps == -1).all(1)), 0, kinds)
    order = torch.where((kinds == 2)[:, None], order[:, :1], order)
    order = torch.where((kinds == 0)[:, None], torch.arange(frames), order)
    parts = clips.unflatten(1, (frames, -1))
    return parts[torch.arange(len(clips))[:, None], order].flatten(1, 2), kinds


def _clusters(read: Reader, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """k-means on 48 principal components of 16x16 thumbnails."""
    from sklearn.cluster import MiniBatchKMeans
    from sklearn.decomposition import PCA

    thumbnails = np.concatenate(
        [
            interpolate(to_float(torch.from_numpy(read(part))), (16, 16), mode="bilinear", antialias=True)
            .flatten(1)
            .numpy()
            for part in _portions(rows)
        ]
    )
    components = min(48, len(rows) - 1, thumbnails.shape[1])
    reduced = PCA(components, svd_solver="randomized", random_state=0).fit(thumbnails[:20_000]).transform(thumbnails)
    clusters = MiniBatchKMeans(min(CLUSTERS, max(2, len(rows) // 20)), n_init=3, random_state=0).fit_predict(reduced)
    return clusters.astype(np.int64)  # type: ignore[no-any-return]


def accuracy(network: nn.Module, read: Reader, rows: npt.NDArray[np.int64], labels: npt.NDArray[np.int64]) -> float:
    """Share of the pictures `rows` whose label, (N,) int64, the network names."""
    return float((named(network, read, rows) == labels).mean())


@torch.no_grad()
def named(network: nn.Module, read: Reader, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The label, (N,) int64, that the network gives each of the pictures `rows`."""
    return np.concatenate(
        [network(to_float(torch.from_numpy(read(part)))).argmax(1).numpy() for part in _portions(rows)]
    )


def _portions(rows: npt.NDArray[np.int64], size: int = 500) -> Iterator[npt.NDArray[np.int64]]:
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def save(extractor: Extractor, path: Path) -> Extractor:
    """Write an extractor; returned with the SHA-256 of its file as its digest. OSError where it cannot be written."""
    facts = {"kind": extractor.kind, "accuracy": repr(extractor.accuracy), "side": str(extractor.side)}
    metadata = {"extractor": json.dumps(facts)}  # one entry: safetensors writes several in an order of chance
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = extractor.network.state_dict() | {"mean": extractor.mean, "scale": extractor.scale}
    with sealed_file(path) as partial:
        try:
            save_file({k: v.contiguous() for k, v in tensors.items()}, partial, metadata)
        except SafetensorError as error:
            raise OSError(str(error)) from error
    return load(path)


def load(path: Path, device: torch.device | None = None) -> Extractor:
    """Read an extractor. StoreError where the file was damaged."""
    device = device or torch.device("cpu")
    try:
        with safe_open(path, framework="pt") as file:
            facts = file.metadata() or {}
        facts = read_json(facts["extractor"]) if "extractor" in facts else facts  # an earlier version's have many
        tensors = load_file(path)
        mean, scale = (tensors.pop(name).to(device) for name in ("mean", "scale"))
        network = FeatureNetwork(
            tensors["convolutions.0.0.weight"].shape[1], len(tensors["logits.bias"]), int(facts["side"])
        )
        network.load_state_dict(tensors)
        place(network, device)
        return Extractor(
            network.eval(),
            mean,
            scale,
            int(facts["side"]),
            facts["kind"],
            float(facts["accuracy"]),
            file_sha256(path),
        )
    except (OSError, SafetensorError, KeyError, ValueError, RuntimeError) as error:
        raise StoreError(f"{path} is damaged: {error}. Remove it, and the extractor is trained again.") from error
