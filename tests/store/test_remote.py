"""Stores at addresses, through a cache."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from ganforge.base.errors import GanforgeError, StoreError
from ganforge.media.spec import Spec
from ganforge.store.store import Store
from ganforge.store.stream import Stream
from ganforge.testing import make_store


@pytest.fixture
def remote(tmp_path, monkeypatch):
    """A store of ten shards in an object store in memory, behind a cache that holds six of them."""
    fsspec = pytest.importorskip("fsspec")
    local = make_store(tmp_path / "local", Spec(16, 16, 3), 400, shards=10)
    memory = fsspec.filesystem("memory")
    memory.rm("/bucket", recursive=True) if memory.exists("/bucket") else None
    for path in local.path.iterdir():
        memory.pipe_file(f"/bucket/store/{path.name}", path.read_bytes())
    monkeypatch.setenv("GANFORGE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("GANFORGE_CACHE_BYTES", str(6 * 40 * 768))
    return local, "memory://bucket/store", memory


@pytest.fixture
def shared(remote):
    """The same store at an address that many may read at once, which fsspec's memory does not allow."""
    local, _, _ = remote
    return local, local.path.as_uri()


def test_a_remote_store_reads_the_same_within_its_cache(remote, tmp_path):
    local, address, _ = remote
    store = Store(address)
    rows = np.random.default_rng(0).permutation(400)
    for start in range(0, 400, 40):
        assert np.array_equal(store.read(rows[start : start + 40]), local.read(rows[start : start + 40]))
        cached = sum(path.stat().st_size - 4096 for path in (tmp_path / "cache").rglob("images-*.npy"))
        assert cached <= 6 * 40 * 768
    store.verify()


def test_processes_that_share_a_cache_make_room_at_once(shared, monkeypatch):
    local, address = shared
    monkeypatch.setenv("GANFORGE_CACHE_BYTES", str(2 * 40 * 768))

    def reads(seed: int) -> bool:
        store, draw = Store(address), np.random.default_rng(seed)
        orders = (draw.integers(0, 400, 8) for _ in range(60))
        return all(np.array_equal(store.read(rows), local.read(rows)) for rows in orders)

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(reads, range(4)))


def test_training_on_a_remote_store_is_training(remote, tmp_path):
    import ganforge

    _, address, _ = remote
    run = ganforge.train("gan", address, tmp_path / "run", size="small", images=512, verbose=False)
    assert run.store == address
    assert Store(run.store).root == Store(address).root


def test_a_remote_store_that_was_changed_or_is_missing(remote, fails):
    _, address, memory = remote
    data = bytearray(memory.cat_file("/bucket/store/images-00003.npy"))
    data[5000] ^= 1
    memory.pipe_file("/bucket/store/images-00003.npy", bytes(data))
    with pytest.raises(StoreError, match="images-00003"):
        Store(address).read(np.arange(400))
    assert "no manifest.json" in fails("train", "gan", "memory://nowhere/store")
    with pytest.raises(GanforgeError, match="cannot be opened"):
        Store("nonsense://x/y")


def test_windows_show_every_picture_once_an_epoch_for_any_batch_and_rank(shared):
    _, address = shared
    store = Store(address)
    assert store.window == 3
    cpu = torch.device("cpu")
    stream = Stream(store, 5, cpu)
    count = len(store.train)
    whole = stream.order(0, 3 * count)
    for epoch in range(3):
        assert np.array_equal(np.sort(whole[epoch * count : (epoch + 1) * count]), np.arange(count))
    assert not np.array_equal(whole[:count], whole[count : 2 * count])
    ranks = [Stream(Store(address), 5, cpu) for _ in range(2)]
    shared = [rank.batch(seen + 8 * n, 8).images for seen in range(0, 64, 16) for n, rank in enumerate(ranks)]
    assert torch.equal(torch.cat(shared), stream.batch(0, 64).images)
    used = np.unique(np.searchsorted(store.starts, store.train[whole[:90]], side="right"))
    assert len(used) == 3, "the first window's shards alone"
