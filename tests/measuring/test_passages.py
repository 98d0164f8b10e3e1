"""The numbers of passages: floors, what stands beside the samples, folders of texts, and that copies are told."""

from __future__ import annotations

import json

import numpy as np
import pytest

from ganforge.base.errors import InputError
from ganforge.cli import main
from ganforge.measuring import passages
from ganforge.measuring.measure import measure_folder
from ganforge.measuring.passages import TextReference, measured
from ganforge.media.text import Text
from ganforge.preparing.prepare import prepare
from ganforge.store.store import Store

WORDS = ["romeo", "juliet", "light", "window", "breaks", "through", "yonder", "soft", "what", "east", "the", "is"]


def prose(count: int, seed: int = 0) -> str:
    rng = np.random.default_rng(seed)
    return " ".join(rng.choice(WORDS, count))


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    folder = tmp_path_factory.mktemp("texts")
    (folder / "play.txt").write_text(prose(6000), "utf-8")
    return prepare(folder / "play.txt", folder / "store", length=32).store


@pytest.fixture(scope="module")
def reference(store) -> TextReference:
    return TextReference(store)


def numbers(reference: TextReference, rows: np.ndarray) -> dict[str, float]:
    return measured(reference, rows[:, None, :, None], "a test", 0.0, None).as_dict()


def test_held_out_passages_are_at_their_floor(reference):
    size = reference.compared(10_000)
    assert size == len(reference.heldout)
    found = numbers(reference, reference.heldout)
    for name in ("bits", "divergence", "distinct", "copies"):
        assert found[name] == found[f"{name}_floor"]
    assert found["copies"] <= 0.01


def test_failures_are_printed_beside_every_measurement(reference):
    """Counts of a lower order in bits and divergence, one passage repeated in distinctness, copies by their longest
    common substring alone: each is printed beside every measurement."""
    found = numbers(reference, reference.heldout)
    assert found["bits_of_counts_3"] > found["bits_floor"] + 0.3
    assert found["divergence_of_counts_3"] > found["divergence_floor"] + 0.02
    assert abs(found["bits_of_copied"] - found["bits_floor"]) < 0.3, "bits do not tell copies"
    assert found["copies_of_copied"] > 0.5 > found["copies_of_counts_5"]
    assert found["distinct_of_repeated"] < found["distinct_floor"] / 3
    assert found["divergence_of_repeated"] > found["divergence_floor"] + 0.3


def test_what_stands_beside_is_measured_once(reference, monkeypatch):
    first = reference.others(16)

    def never(*args: object) -> None:
        raise AssertionError

    monkeypatch.setattr(TextReference, "judged", never)
    assert reference.others(16) == first


def test_without_held_out_passages_there_are_no_floors(tmp_path):
    (tmp_path / "play.txt").write_text(prose(600), "utf-8")
    reference = TextReference(prepare(tmp_path / "play.txt", tmp_path / "s", length=32, heldout=0.0).store)
    found = numbers(reference, reference.train[:20])
    assert found["bits_floor"] is None and found["copies"] is None
    assert found["bits"] > 0


def test_a_folder_of_texts_is_measured_with_the_alphabet_of_the_store(store, tmp_path):
    folder = tmp_path / "made"
    folder.mkdir()
    for n in range(30):
        (folder / f"{n}.txt").write_text(prose(20, 100 + n)[:64], "utf-8")
    (folder / "strange.txt").write_text("ROMEO romeo", "utf-8")
    result, skipped = measure_folder(folder, store)
    assert result["bits"].value < result["bits"].floor + 0.5
    (lost,) = skipped
    assert lost[0] == "strange.txt#0" and "outside of the alphabet" in lost[1]
    assert isinstance(store.spec.medium, Text)


def test_measure_of_a_folder_prints_what_is_left_out(store, tmp_path, capsys):
    folder = tmp_path / "made"
    folder.mkdir()
    for n in range(30):
        (folder / f"{n}.txt").write_text(prose(20, 100 + n)[:64], "utf-8")
    (folder / "x.pdf").write_bytes(b"%PDF")
    assert main(["measure", str(folder), "--store", str(store.path), "--json"]) == 2
    out, err = capsys.readouterr()
    assert json.loads(out)["samples"] >= 30
    assert "not a text: .pdf file" in err


def test_fewer_samples_than_can_be_judged():
    with pytest.raises(InputError, match="at least 8 are judged"):
        passages.check_samples(7)
