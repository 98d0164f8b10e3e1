"""Training batches in keyed order."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ganforge.base.errors import DataError
from ganforge.media.spec import Spec
from ganforge.preparing.parts import Meta
from ganforge.store.stream import Stream
from ganforge.testing import make_store, store_of


def test_picture_n_depends_on_seed_and_n_alone(tmp_path):
    store = make_store(tmp_path / "s", Spec(8, 8, 1, ("a", "b")), 50)
    cpu = torch.device("cpu")
    whole = Stream(store, 3, cpu, mirror=True).batch(0, 120)
    parts = [Stream(store, 3, cpu, mirror=True).batch(start, 10) for start in range(0, 120, 10)]
    assert torch.equal(whole.images, torch.cat([p.images for p in parts]))
    assert torch.equal(whole.labels, torch.cat([p.labels for p in parts]))
    other = Stream(store, 4, cpu, mirror=True).batch(0, 120)
    assert not torch.equal(whole.images, other.images)


def test_an_epoch_shows_every_training_picture_once_in_a_new_order(tmp_path):
    store = make_store(tmp_path / "s", Spec(8, 8, 1), 50)
    stream = Stream(store, 0, torch.device("cpu"))
    first, second = stream.order(0, 40), stream.order(40, 40)
    assert np.array_equal(np.sort(first), np.arange(40))
    assert np.array_equal(np.sort(second), np.arange(40))
    assert not np.array_equal(first, second)


def test_mirroring_flips_about_half_and_only_sideways(tmp_path):
    store = make_store(tmp_path / "s", Spec(8, 8, 3), 50)
    plain = Stream(store, 0, torch.device("cpu")).batch(0, 200).images
    mirrored = Stream(store, 0, torch.device("cpu"), mirror=True).batch(0, 200).images
    same = (plain == mirrored).flatten(1).all(1)
    flipped = (plain.flip(3) == mirrored).flatten(1).all(1)
    assert (same | flipped).all()
    assert 60 < int(flipped.sum()) < 140


CPU = torch.device("cpu")


@pytest.mark.parametrize(("balance", "shares"), [(0.0, (0.6, 0.3, 0.1)), (1.0, (1 / 3, 1 / 3, 1 / 3))])
def test_balance_moves_the_shares_of_classes(tmp_path, balance, shares):
    store = make_store(tmp_path / "s", Spec(8, 8, 1, tuple("abc")), 100)
    store.labels[:] = np.repeat([0, 1, 2], [60, 30, 10])
    store.train = np.arange(100)
    stream = Stream(store, 0, CPU, balance=balance)
    labels = store.labels[stream.order(0, 1800)]
    assert np.bincount(labels) / 1800 == pytest.approx(shares, abs=0.002)
    shown = np.bincount(stream.order(0, stream.size), minlength=100)
    assert shown.min() >= 1, "an epoch shows every picture"
    again = Stream(store, 0, CPU, balance=balance)
    assert np.array_equal(again.order(700, 500), stream.order(0, 1800)[700:1200])


def test_balance_needs_labels(tmp_path):
    with pytest.raises(DataError, match="has no labels"):
        Stream(make_store(tmp_path / "s", Spec(8, 8, 1), 50), 0, CPU, balance=1.0)


def test_parts_have_no_picture_in_common(tmp_path):
    """Nor two equal ones; a part is a function of the seed and of the images seen."""
    store = make_store(tmp_path / "s", Spec(8, 8, 1, ("a",)), 300)
    spec, pictures = store.spec, store.read(store.train)
    doubled = np.concatenate([pictures, pictures])
    metas = [Meta(f"{n}.png", "a", "train") for n in range(len(doubled))]
    stream = Stream(store_of(tmp_path / "doubled", spec, doubled, metas), 0, torch.device("cpu"))
    for seen in (0, 100, 1000):
        learned, held = (torch.cat([batch.images for batch in part]) for part in stream.parts(seen, 400, 64))
        assert len(learned) + len(held) == 400
        assert 30 < len(held) < 130
        assert torch.cdist(learned.flatten(1), held.flatten(1)).amin() > 0.01
        again = torch.cat([batch.images for batch in stream.parts(seen, 400, 100)[1]])
        assert torch.equal(held, again)
    learned, held = stream.parts(0, 10**6)
    assert sum(len(batch.images) for part in (learned, held) for batch in part) == len(doubled)
