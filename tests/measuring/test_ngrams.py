"""The judge of passages: closed forms, and what it must fail, it fails."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ganforge.measuring import ngrams
from ganforge.measuring.ngrams import NgramCounts, counted, distinct, divergence, longest_common, nearest

WORDS = ["", "the ", "cat ", "dog ", "sat ", "ran ", "on ", "mat ", "a ", "big "]


def rows_of(*texts: str, width: int = 0) -> np.ndarray:
    width = width or max(map(len, texts))
    rows = np.zeros((len(texts), width), np.uint8)
    for row, text in zip(rows, texts, strict=True):
        row[: len(text)] = [" abcdefghijklmnopqrstuvwxyz".index(char) + 1 for char in text]
    return rows


def sentences(count: int, seed: int, width: int = 32) -> np.ndarray:
    """Words in an order that a table of transitions decides."""
    rng = np.random.default_rng(seed)
    following = np.random.default_rng(0).integers(1, len(WORDS), (len(WORDS), 3))
    texts = []
    for _ in range(count):
        text, word = "", 0
        while len(text) < width + 8:
            word = following[word, rng.integers(3)]
            text += WORDS[word]
        start = rng.integers(8)
        texts.append(text[start : start + width])
    return rows_of(*texts)


def by_hand(text: str, train: list[str], order: int, size: int) -> list[float]:
    """Witten-Bell probabilities, as the formula reads."""

    def probability(history: str, char: str) -> float:
        lower = 1 / size if not history else probability(history[1:], char) if len(history) > 1 else unigram(char)
        following = [
            t[i + len(history)] for t in train for i in range(len(t) - len(history)) if t.startswith(history, i)
        ]
        if not following:
            return lower
        kinds = len(set(following))
        return (following.count(char) + kinds * lower) / (len(following) + kinds)

    def unigram(char: str) -> float:
        all_ = "".join(train)
        kinds = len(set(all_))
        return (all_.count(char) + kinds / size) / (len(all_) + kinds)

    return [
        unigram(char) if t == 0 or order == 1 else probability(text[max(0, t - order + 1) : t], char)
        for t, char in enumerate(text)
    ]


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_bits_are_those_of_the_formula(order):
    train, text = ["the cat sat", "a cat ran a", "the dog sat"], "the rat sat"
    counts = NgramCounts(rows_of(*train), 28, order)
    expected = -np.log2(by_hand(text, train, order, 28)).mean()
    assert counts.bits(rows_of(text)) == pytest.approx(expected, rel=1e-12)


def test_probabilities_sum_to_one():
    train = sentences(200, 1)
    counts = NgramCounts(train, 28)
    total = 0.0
    for last in range(28):
        row = train[:1, :6].copy()
        row[0, 5] = last
        row = np.where(row == 0, 1, row) if last else row
        before = counts.bits(row[:, :5]) * 5
        total += 2.0 ** -(counts.bits(row) * 6 - before)
    assert total == pytest.approx(1, abs=1e-9)


def test_what_follows_the_end_does_not_count():
    train = rows_of("the cat", "a dog", width=12)
    counts = NgramCounts(train, 28)
    short, noise = rows_of("a cat", width=12), rows_of("a cat", width=12)
    noise[0, 7:] = 9
    assert counts.bits(short) == counts.bits(noise)
    assert np.array_equal(counted(short, 3, 28)[0], counted(noise, 3, 28)[0])
    assert counted(short, 3, 28)[1].sum() == 4, "the sign for the end is the last character"
    assert longest_common(noise, train).tolist() == [5], "a word and the end, not what is behind it"


def test_divergence_has_its_closed_forms():
    one = (np.array([1, 2]), np.array([3, 3]))
    assert divergence(one, one) == 0
    assert divergence(one, (np.array([5]), np.array([7]))) == pytest.approx(1)
    half = divergence(one, (np.array([1]), np.array([2])))
    assert half == pytest.approx(0.5 * (0.5 * math.log2(0.5 / 0.75) + 0.5 * math.log2(2) + math.log2(1 / 0.75)))


def test_distinct_counts_what_comes_once():
    assert distinct(rows_of("abcdefghij")) == 1
    assert distinct(rows_of("abcdefghij", "abcdefghij")) == 0.5
    assert distinct(rows_of("aaaaaaaaaaaa")) == pytest.approx(1 / 5)
    assert distinct(rows_of("abc")) == 0


def test_longest_common_is_that_of_a_search_in_strings(monkeypatch):
    monkeypatch.setattr(ngrams, "_PORTION", 30)
    rng = np.random.default_rng(0)
    train = [("".join(rng.choice(list("abc"), 20))) for _ in range(100)]
    texts = [("".join(rng.choice(list("abc"), 20))) for _ in range(20)] + [train[3], "d" * 20]
    expected = [
        max(
            (n for i in range(20) for n in range(1, 21 - i) if any(text[i : i + n] in other for other in train)),
            default=0,
        )
        for text in texts
    ]
    assert longest_common(rows_of(*texts), rows_of(*train)).tolist() == expected
    assert nearest(rows_of(train[57])[0], rows_of(*train)) == train.index(train[57])


def test_each_kind_of_failure_stands_out():
    """Each kind of failure stands out in one of the numbers: counts of a lower order in bits and divergence, one
    passage repeated in divergence and distinctness, copies in the longest common substring alone."""
    train, held = sentences(3000, 1), sentences(400, 2)
    counts, reference = NgramCounts(train, 28), counted(train, 4, 28)

    def judged(rows: np.ndarray) -> tuple[float, float, float]:
        return counts.bits(rows), divergence(counted(rows, 4, 28), reference), distinct(rows)

    bits, js, different = judged(held)
    two = judged(counts.drawn(400, 32, 2))
    five = judged(counts.drawn(400, 32, 5))
    repeated = judged(np.repeat(train[:1], 400, 0))
    copied = judged(train[:400])
    assert two[0] > bits + 0.5 and two[1] > js + 0.1
    assert abs(five[0] - bits) < 0.5 and abs(five[1] - js) < 0.1, "the counts that it judges by pass it"
    assert repeated[1] > js + 0.2 and repeated[2] < different / 2
    assert abs(copied[0] - bits) < 0.3 and abs(copied[1] - js) < 0.1, "copies pass all but the last"
    assert (longest_common(train[:50], train) == 32).all()


def test_drawn_passages_are_the_same_for_a_seed_and_end_once():
    counts = NgramCounts(rows_of("the cat", "a dog sat", "a cat", width=12), 28)
    drawn = counts.drawn(50, 12, 5, seed=3)
    assert np.array_equal(drawn, counts.drawn(50, 12, 5, seed=3))
    assert not np.array_equal(drawn, counts.drawn(50, 12, 5, seed=4))
    ended = (drawn == 0).argmax(1)
    assert all((row[end:] == 0).all() for row, end in zip(drawn, ended, strict=True) if (row == 0).any())
