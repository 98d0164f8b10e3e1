"""IDX and CIFAR-10 files."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ganforge.preparing.prepare import prepare


def _idx(path: Path, array: np.ndarray) -> None:
    header = bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
    path.write_bytes(gzip.compress(header + array.tobytes()))


def test_idx_files(tmp_path, fails):
    rng, root = np.random.default_rng(0), tmp_path / "in"
    root.mkdir()
    for prefix, count in (("train", 30), ("t10k", 12)):
        _idx(root / f"{prefix}-images-idx3-ubyte.gz", rng.integers(0, 256, (count, 28, 28), dtype=np.uint8))
        _idx(root / f"{prefix}-labels-idx1-ubyte.gz", (np.arange(count) % 10).astype(np.uint8))
    store = prepare(root, tmp_path / "store").store
    assert (len(store.train), len(store.heldout), store.spec.channels, len(store.spec.classes)) == (30, 12, 1, 10)
    whole = (root / "train-images-idx3-ubyte.gz").read_bytes()
    (root / "train-images-idx3-ubyte.gz").write_bytes(whole[:-500])
    assert "cannot be read" in fails("prepare", root, "-o", tmp_path / "again")
    _idx(root / "train-images-idx3-ubyte.gz", rng.integers(0, 256, (29, 28, 28), dtype=np.uint8))
    assert "do not fit" in fails("prepare", root, "-o", tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_cifar_binary_files(tmp_path):
    rng, root = np.random.default_rng(0), tmp_path / "in"
    root.mkdir()
    for name in ("data_batch_1", "test_batch"):
        records = rng.integers(0, 256, (20, 3073), dtype=np.uint8)
        records[:, 0] %= 10
        (root / f"{name}.bin").write_bytes(records.tobytes())
    store = prepare(root, tmp_path / "store").store
    assert (len(store.train), len(store.heldout), store.spec.classes[3]) == (20, 20, "cat")
    last = np.frombuffer((root / "data_batch_1.bin").read_bytes(), np.uint8).reshape(-1, 3073)[-1]
    assert np.array_equal(store.read(np.array([39]))[0].transpose(2, 0, 1).ravel(), last[1:])


def test_real_mnist(real_data, tmp_path):
    from ganforge.collecting.collect import collect

    store = prepare(collect("mnist", tmp_path / "mnist", real_data / "mnist"), tmp_path / "store").store
    assert (len(store.train), len(store.heldout)) == (60_000, 10_000)
    assert store.manifest["mean"][0] == pytest.approx(33.385, abs=0.01)  # of all 70,000: 0.1309 of 255
    assert np.bincount(store.labels[store.heldout]).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert len((tmp_path / "mnist" / "provenance.csv").read_text().splitlines()) == 5


def test_real_cifar10(real_data, tmp_path):
    from ganforge.collecting.collect import collect

    source = real_data / "cifar10"
    labels = np.fromfile(source / "labels.u8", np.uint8)
    (tmp_path / "from").mkdir()
    for n, name in enumerate([f"train_{n}" for n in range(1, 6)] + ["test"]):
        mosaic = np.asarray(Image.open(source / f"{name}.webp").convert("RGB"))
        tiles = mosaic.reshape(100, 32, 100, 32, 3).transpose(0, 2, 4, 1, 3).reshape(10_000, 3072)
        file = "test_batch.bin" if name == "test" else f"data_batch_{name[-1]}.bin"
        records = np.concatenate([labels[n * 10_000 : (n + 1) * 10_000, None], tiles], 1)
        (tmp_path / "from" / file).write_bytes(records.tobytes())
    store = prepare(collect("cifar10", tmp_path / "cifar10", tmp_path / "from"), tmp_path / "store").store
    assert (len(store.train), len(store.heldout), str(store.spec)) == (50_000, 10_000, "32x32 RGB, 10 classes")
    assert np.bincount(store.labels[store.train]).tolist() == [5000] * 10
    mean = store.read(store.train).mean((0, 1, 2)) / 255
    assert mean == pytest.approx([0.4914, 0.4822, 0.4465], abs=1e-4)  # the figures that everybody normalises with


def test_idx_files_of_other_names_are_one_sentence(tmp_path, fails):
    _idx(tmp_path / "emnist-train-images-idx3-ubyte", np.zeros((2, 8, 8), np.uint8))
    assert "none whose name begins with train-images" in fails("prepare", tmp_path, "-o", tmp_path.parent / "s")


def test_a_damaged_gzip_is_one_sentence(tmp_path, fails):
    path = tmp_path / "in" / "train-images-idx3-ubyte.gz"
    path.parent.mkdir()
    _idx(path, np.random.default_rng(0).integers(0, 256, (9, 8, 8), dtype=np.uint8))
    data = bytearray(path.read_bytes())
    data[10] = 0x07  # a block of a kind that there is not
    path.write_bytes(data)
    assert "cannot be read" in fails("prepare", path.parent, "-o", tmp_path / "s")
