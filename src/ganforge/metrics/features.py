"""Features without a download: a small convolutional classifier trained on the data set itself.

With labels it learns the classes. Without, it learns pseudo-classes: clusters of the pictures found by k-means on their
principal components (the first round of Caron et al. 2018, "Deep Clustering for Unsupervised Learning"). Either way the last hidden layer is
the feature, scaled so that the training pictures' variance sums to the number of features: distances are then of one
size for all data sets.
"""

from __future__ import annotations

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

from ganforge.device import autocast, keep_memory, place, resolve_precision
from ganforge.errors import StoreError
from ganforge.files import file_sha256, seal
from ganforge.images import Pixels, to_float
from ganforge.seeds import key, permuted

SIZE = 128
CLUSTERS = 32
LARGEST_SIDE = 64
IMAGES = 180_000
BATCH = 128


class Network(nn.Module):
    """(N, C, H, W) in [-1, 1] -> features (N, SIZE) and logits (N, classes). Sides above 64 are halved first."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()

        def block(before: int, after: int, stride: int) -> list[nn.Module]:
            return [nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]

        self.convolutions = nn.Sequential(
            *block(channels, 32, 1), *block(32, 64, 2), *block(64, 64, 1), *block(64, 128, 2), *block(128, 128, 1)
        )
        self.pool = nn.AdaptiveAvgPool2d(4)
        self.hidden = nn.Sequential(nn.Linear(128 * 16, SIZE, bias=False), nn.BatchNorm1d(SIZE), nn.ReLU())
        self.logits = nn.Linear(SIZE, classes)

    def features(self, images: Tensor) -> Tensor:
        """(N, SIZE)."""
        while min(images.shape[2:]) > LARGEST_SIDE:
            images = interpolate(images, (images.shape[2] // 2, images.shape[3] // 2), mode="bilinear", antialias=True)
        x: Tensor = self.hidden(self.pool(self.convolutions(images)).flatten(1))
        return x

    def forward(self, images: Tensor) -> Tensor:
        x: Tensor = self.logits(self.features(images))
        return x


@dataclass(frozen=True)
class Extractor:
    """A trained network with its scale; `name` says what it learned, how well, and which weights exactly."""

    network: Network
    scale: float
    kind: str
    accuracy: float
    digest: str

    @property
    def name(self) -> str:
        """Such as `classes-1a2b3c4d`."""
        return f"{self.kind}-{self.digest[:8]}"

    @torch.no_grad()
    def __call__(self, portions: Iterable[Pixels]) -> Tensor:
        """(n, H, W, C) uint8 portions -> (N, SIZE) float32. Each picture's features do not depend on its company."""
        self.network.eval()
        parts = [
            self.network.features(to_float(torch.from_numpy(np.ascontiguousarray(part[i : i + 256]))))
            for part in portions
            for i in range(0, len(part), 256)
        ]
        return torch.cat(parts).float() * self.scale if parts else torch.zeros(0, SIZE)

    @torch.no_grad()
    def classify(self, features: Tensor) -> Tensor:
        """(N, SIZE), as they come from a call -> the likeliest class of each, (N,) int64."""
        return self.network.logits(features / self.scale).argmax(1)  # type: ignore[no-any-return]


Reader = Callable[[npt.NDArray[np.int64]], Pixels]


def train(
    read: Reader,
    rows: npt.NDArray[np.int64],
    labels: npt.NDArray[np.int64] | None,
    test_rows: npt.NDArray[np.int64],
    test_labels: npt.NDArray[np.int64] | None,
    seed: int = 0,
    say: Callable[[str], None] | None = None,
) -> Extractor:
    """Train an extractor on the pictures `rows`, which `read` gives as uint8; labels (N,) int64, or None.

    Accuracy is that on the test pictures; without labels, that of naming a training picture's cluster again.
    """
    kind = "classes" if labels is not None else "clusters"
    if labels is None:
        labels = _clusters(read, rows)
    elif labels.max(initial=0) == labels.min(initial=0):
        kind, labels = "clusters", _clusters(read, rows)
    sample = read(rows[:1])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(key(seed, "extractor"))
        network = Network(sample.shape[-1], int(labels.max()) + 1)
        place(network, torch.device("cpu"))
        _fit(network, read, rows, labels, seed, say)
    network.eval()
    if kind == "classes" and test_labels is not None and len(test_rows):
        accuracy = _accuracy(network, read, test_rows, test_labels)
    else:
        accuracy = _accuracy(network, read, rows[:5000], labels[:5000])
    plain = Extractor(network, 1.0, kind, accuracy, "")
    variance = float(plain(read(part) for part in _portions(rows[:20_000])).double().var(0).sum())
    return Extractor(network, (SIZE / max(variance, 1e-12)) ** 0.5, kind, accuracy, "")


def _fit(
    network: Network, read: Reader, rows: npt.NDArray[np.int64], labels: npt.NDArray[np.int64], seed: int,
    say: Callable[[str], None] | None,
) -> None:  # fmt: skip
    """One cycle of Adam, in bf16 where that is the faster one; small random shifts."""

    keep_memory()
    cpu = torch.device("cpu")
    precision = resolve_precision("auto", cpu)
    shape = read(rows[:1]).shape
    cost = max(1.0, min(shape[1], LARGEST_SIDE) * min(shape[2], LARGEST_SIDE) / 28**2)
    steps = max(100, round(min(IMAGES / cost, 25 * len(rows)) / BATCH))
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=0.02, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps, pct_start=0.2)
    for step in range(steps):
        epoch, offset = divmod(step * BATCH, len(rows))
        count = min(BATCH, max(2, len(rows) - offset))
        chosen = permuted(seed, f"extractor/{epoch}", len(rows), np.arange(offset, offset + count) % len(rows))
        images = to_float(torch.from_numpy(read(rows[chosen])))
        dy, dx = (int(v) for v in torch.randint(-2, 3, (2,)))
        images = F.pad(images, (2, 2, 2, 2), mode="replicate")[
            :, :, 2 + dy : 2 + dy + shape[1], 2 + dx : 2 + dx + shape[2]
        ]
        with autocast(cpu, precision):
            logits = network(images.contiguous(memory_format=torch.channels_last))
        loss = F.cross_entropy(logits.float(), torch.from_numpy(labels[chosen]))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        if say and step % max(1, steps // 4) == 0 and step:
            say(f"extractor: {step / steps:.0%}, loss {loss.item():.3f}")


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
    found = MiniBatchKMeans(min(CLUSTERS, max(2, len(rows) // 20)), n_init=3, random_state=0).fit_predict(reduced)
    return found.astype(np.int64)  # type: ignore[no-any-return]


@torch.no_grad()
def _accuracy(network: Network, read: Reader, rows: npt.NDArray[np.int64], labels: npt.NDArray[np.int64]) -> float:
    right = 0
    for start in range(0, len(rows), 500):
        part = rows[start : start + 500]
        right += int(
            (network(to_float(torch.from_numpy(read(part)))).argmax(1).numpy() == labels[start : start + 500]).sum()
        )
    return right / len(rows)


def _portions(rows: npt.NDArray[np.int64], size: int = 500) -> Iterator[npt.NDArray[np.int64]]:
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def save(extractor: Extractor, path: Path) -> Extractor:
    """Write an extractor; returned with the SHA-256 of its file as its digest. OSError where it cannot be written."""
    facts = {"kind": extractor.kind, "accuracy": repr(extractor.accuracy), "scale": repr(extractor.scale)}
    partial = path.with_name(f".{path.name}.partial")
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({k: v.contiguous() for k, v in extractor.network.state_dict().items()}, partial, facts)
    seal(partial, path)
    return load(path)


def load(path: Path) -> Extractor:
    """Read an extractor. StoreError where the file was damaged."""
    try:
        with safe_open(path, framework="pt") as file:
            facts = file.metadata() or {}
        tensors = load_file(path)
        network = Network(tensors["convolutions.0.weight"].shape[1], len(tensors["logits.bias"]))
        network.load_state_dict(tensors)
        digest = file_sha256(path)
        place(network, torch.device("cpu"))
        return Extractor(network.eval(), float(facts["scale"]), facts["kind"], float(facts["accuracy"]), digest)
    except (OSError, SafetensorError, KeyError, ValueError, RuntimeError) as error:
        raise StoreError(f"{path} is damaged: {error}. Remove it, and the extractor is trained again.") from error
