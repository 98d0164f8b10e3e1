"""Binary files of many pictures: IDX (MNIST and its relatives), CIFAR-10."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import numpy as np

from ganforge.base.errors import DataError
from ganforge.base.images import Pixels
from ganforge.sources.entry import Entry, Source, in_portions
from ganforge.sources.layout import Layout
from ganforge.store.provenance import NOWHERE, Origin

MAX_IDX_BYTES = 1 << 30
CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def from_idx(path: Path, origins: Mapping[str, Origin]) -> Source:
    """LeCun's IDX files: `train-` and `t10k-` with images (magic 2051) and labels (magic 2049), gzipped or not."""
    fashion = "fashion" in path.name.lower()
    words = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
    classes = words if fashion else tuple(str(digit) for digit in range(10))

    sets = []
    for prefix, split in (("t10k", "heldout"), ("train", "train")):
        files = sorted(path.glob(f"{prefix}-images-idx3-ubyte*"))
        if files:
            images = read_idx(files[0])
            labels = read_idx(files[0].with_name(files[0].name.replace("images-idx3", "labels-idx1")))
            if images.ndim != 3 or labels.shape != images.shape[:1] or labels.max(initial=0) >= len(classes):
                raise DataError(f"{files[0]} and its labels do not fit: {images.shape} and {labels.shape}.")
            sets.append((prefix, split, images, labels, origins.get(files[0].name, NOWHERE)))
    if not sets:
        raise DataError(
            f"{path} has IDX files, but none whose name begins with train-images or t10k-images. Rename them."
        )
    ends = np.cumsum([len(images) for _, _, images, *_ in sets])
    given = len(sets) > 1

    def between(start: int, stop: int) -> Iterator[Entry]:
        for row in range(start, stop):
            which = int(np.searchsorted(ends, row, side="right"))
            prefix, split, images, labels, origin = sets[which]
            n = row - int(ends[which]) + len(images)
            side = split if given else None
            read = partial(_with_channel, images[n])
            yield Entry(f"{prefix}/{n:05d}", read, label=classes[labels[n]], split=side, origin=origin)

    return Source(path.resolve().name, in_portions(int(ends[-1]), between), Layout(classes), given)


def _with_channel(image: Pixels) -> Pixels:
    """(H, W) -> (H, W, 1)."""
    return image[..., None]


def read_idx(path: Path) -> Pixels:
    """An IDX file of unsigned bytes, as the array that its header declares. DataError where the two do not agree."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            data = file.read(MAX_IDX_BYTES)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read: {error}. Collect it again.") from error
    if len(data) < 8 or data[:3] != b"\x00\x00\x08" or not 1 <= data[3] <= 3:
        raise DataError(f"{path} is not an IDX file of unsigned bytes.")
    shape = [int.from_bytes(data[4 + 4 * i : 8 + 4 * i], "big") for i in range(data[3])]
    start = 4 + 4 * data[3]
    if int(np.prod(shape)) != len(data) - start:
        raise DataError(f"{path} declares the shape {shape} but holds {len(data) - start:,} bytes. Collect it again.")
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)


def from_cifar10(path: Path, origins: Mapping[str, Origin]) -> Source:
    """CIFAR-10's binary files: records of one label byte and 3x32x32 pixel bytes, channels first."""

    sets = []
    for file in [path / "test_batch.bin", *sorted(path.glob("data_batch_*.bin"))]:
        if not file.exists():
            continue
        data = np.fromfile(file, np.uint8)
        if data.size % 3073:
            raise DataError(f"{file} holds {data.size:,} bytes, not a multiple of 3,073. Collect it again.")
        records = data.reshape(-1, 3073)
        if records[:, 0].max(initial=0) > 9:
            raise DataError(f"{file} has labels over 9. Collect it again.")
        sets.append((file, records))
    ends = np.cumsum([len(records) for _, records in sets])
    given = len({file.name == "test_batch.bin" for file, _ in sets}) > 1

    def between(start: int, stop: int) -> Iterator[Entry]:
        for row in range(start, stop):
            which = int(np.searchsorted(ends, row, side="right"))
            file, records = sets[which]
            n = row - int(ends[which]) + len(records)
            image = records[n, 1:].reshape(3, 32, 32)
            split = None if not given else "heldout" if file.name == "test_batch.bin" else "train"
            label, origin = CIFAR10[records[n, 0]], origins.get(file.name, NOWHERE)
            read = partial(image.transpose, (1, 2, 0))
            yield Entry(f"{file.stem}/{n:05d}", read, label=label, split=split, origin=origin)

    return Source(path.resolve().name, in_portions(int(ends[-1]), between), Layout(CIFAR10), given)
