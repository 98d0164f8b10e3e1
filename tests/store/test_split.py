"""What is held out: shares, groups, published splits."""

from __future__ import annotations

import numpy as np
import pyarrow.parquet as pq
import pytest

from ganforge.preparing.prepare import prepare
from ganforge.store.split import ASIDE, HELDOUT, TRAIN, joined, split
from synthetic import picture


def test_equal_pictures_are_on_the_same_side(tmp_path):
    for n in range(60):
        (tmp_path / "in").mkdir(exist_ok=True)
        picture(n % 30).save(tmp_path / "in" / f"{n}.png")
    store = prepare(tmp_path / "in", tmp_path / "store", resolution=16, heldout=0.4).store
    sides: dict[bytes, set[int]] = {}
    for row, side in zip(store.read(np.arange(60)), store.splits, strict=True):
        sides.setdefault(row.tobytes(), set()).add(int(side))
    assert len(sides) == 30
    assert all(len(side) == 1 for side in sides.values())
    assert 10 < len(store.heldout) < 40


def test_published_splits_stand_and_their_leaks_are_dropped(tmp_path):
    for side, seeds in (("train", range(20)), ("test", range(15, 25))):
        (tmp_path / "in" / side).mkdir(parents=True)
        for n in seeds:
            picture(n).save(tmp_path / "in" / side / f"{n}.png")
    made = prepare(tmp_path / "in", tmp_path / "store", resolution=16)
    assert (len(made.store.train), len(made.store.heldout)) == (15, 10)
    assert {reason for _, reason in made.skipped} == {"equal to a held-out picture"}
    assert made.store.spec.classes == ()


def test_real_flowers_keep_their_duplicates_together(real_data, tmp_path):
    made = prepare(real_data / "flowers" / "flowers128.zip", tmp_path / "store", resolution="24x32")
    assert len(made.store) == 3670
    assert made.skipped_count == 0
    assert made.store.spec.classes == ("daisy", "dandelion", "roses", "sunflowers", "tulips")
    rows = pq.read_table(tmp_path / "store" / "meta.parquet", columns=["sha256", "split"]).to_pylist()
    sides: dict[bytes, list[str]] = {}
    for row in rows:
        sides.setdefault(row["sha256"], []).append(row["split"])
    twins = [side for side in sides.values() if len(side) > 1]
    assert len(twins) == 3
    assert all(len(set(side)) == 1 for side in twins)


def random_set(count: int = 2000, classes: int = 4):
    rng = np.random.default_rng(1)
    keys = rng.integers(0, 2**63, count, dtype=np.uint64) * np.uint64(2)
    groups = np.where(rng.random(count) < 0.4, rng.integers(0, 150, count), -1)
    labels = np.minimum(rng.geometric(0.5, count) - 1, classes - 1)
    return keys, groups, labels, np.full(count, -1, np.int8)


@pytest.mark.parametrize("stratify", [False, True])
def test_groups_are_never_on_two_sides(stratify):
    keys, groups, labels, given = random_set()
    keys[7] = keys[3]  # an exact duplicate that joins two groups
    groups[3], groups[7] = 0, 1
    made = split(keys, groups, labels, given, heldout=0.2, stratify=stratify, folds=5)
    for group in range(150):
        assert len(set(made.sides[groups == group])) <= 1
        assert len(set(made.folds[groups == group])) <= 1
    assert len(set(made.sides[(groups == 0) | (groups == 1)])) == 1
    assert 0.13 < (made.sides == HELDOUT).mean() < 0.27
    shares = [(made.folds[made.sides == TRAIN] == fold).mean() for fold in range(5)]
    assert min(shares) > 0.17 and max(shares) < 0.23
    assert (made.folds[made.sides == HELDOUT] == -1).all()


def test_stratified_shares_are_exact_without_groups():
    keys, _, labels, given = random_set()
    alone = np.full(len(keys), -1)
    made = split(keys, alone, labels, given, heldout=0.25, stratify=True)
    for label in range(4):
        assert (made.sides[labels == label] == HELDOUT).sum() == round(0.25 * (labels == label).sum())


def test_the_split_does_not_depend_on_the_order():
    keys, groups, labels, given = random_set()
    made = split(keys, groups, labels, given, heldout=0.2, stratify=True, folds=3, per_class=100)
    order = np.random.default_rng(2).permutation(len(keys))
    again = split(keys[order], groups[order], labels[order], given, heldout=0.2, per_class=100)
    plain = split(keys, groups, labels, given, heldout=0.2, per_class=100)
    assert np.array_equal(plain.sides[order], again.sides)
    assert ((made.sides == TRAIN) & (labels == 0)).sum() == 100


def test_caps_take_only_training_pictures():
    keys, groups, labels, given = random_set()
    made = split(keys, groups, labels, given, heldout=0.2, per_class=50)
    assert [((made.sides == TRAIN) & (labels == n)).sum() for n in range(4)] == [50] * 4
    assert set(made.reasons.values()) == {"over the cap of its class"}
    assert (made.sides == ASIDE).sum() == len(made.reasons)


def test_groups_of_the_audit_and_of_a_table_are_joined():
    groups = joined({"a": "0", "b": "0", "c": "1", "d": "1"}, {"b": "film", "e": "film", "f": "other"})
    assert groups["a"] == groups["b"] == groups["e"]
    assert len({groups["a"], groups["c"], groups["f"]}) == 3 and groups["c"] == groups["d"]
    chain = joined({"a": "0", "b": "0", "c": "1"}, {"b": "x", "c": "x"})
    assert len(set(chain.values())) == 1


def test_more_folds_than_a_class_has_pictures_are_one_sentence(tmp_path, fails):
    for n in range(8):
        (tmp_path / "in" / f"class {n // 2}").mkdir(parents=True, exist_ok=True)
        picture(n).save(tmp_path / "in" / f"class {n // 2}" / f"{n}.png")
    words = ("prepare", tmp_path / "in", "-o", tmp_path / "s", "--heldout", "0", "--resolution", "16", "--folds")
    assert "2 training pictures of the largest class cannot be dealt into 3 folds" in fails(*words, "3")
