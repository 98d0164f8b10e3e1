"""The accuracy of labels: an oracle, chance, and no number."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from ganforge import models
from ganforge.measuring.measure import measure_system
from ganforge.measuring.reference import extractor
from ganforge.media.spec import to_float
from ganforge.metrics.label_accuracy import accuracy
from ganforge.store.store import Store
from ganforge.system import System
from tiny import FOUR_CLASSES


class Oracle(System):
    """Hands out the store's own pictures of the class that is asked, as its classifier sees them; or of a class off by
    `shift`."""

    averaged = ()

    def __init__(self, store: Store, shift: bool = False) -> None:
        super().__init__(models.load("gan").config(latent=2), store.spec)
        self.classes, self.still = len(store.spec.classes), nn.Parameter(torch.zeros(1))
        pixels, extract = store.read(store.train), extractor(store)
        self.images = to_float(torch.from_numpy(pixels))
        self.named = extract.classify(extract([pixels]))
        self.shuffled = shift

    def generate(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        assert labels is not None
        place = (latents[:, 0].abs() * 1000).long()
        if self.shuffled:
            return self.images[place % len(self.images)]
        rows = [torch.nonzero(self.named == label)[:, 0] for label in range(self.classes)]
        return torch.stack(
            [self.images[rows[label][n % len(rows[label])]] for label, n in zip(labels, place, strict=True)]
        )


def test_the_asked_class_is_hit_by_an_oracle_and_by_chance_otherwise(labelled_store):
    store = Store(labelled_store)
    assert measure_system(Oracle(store), store, 400).asked == 1.0
    chance = measure_system(Oracle(store, shift=True), store, 2000)
    assert chance.asked == pytest.approx(1 / 4, abs=4 * (3 / 16 / 2000) ** 0.5)
    assert "label accuracy" in str(chance)


def test_no_class_asked_and_none_known_is_no_number(labelled_store):
    store = Store(labelled_store)
    extract = extractor(store)
    features = extract([store.read(store.train)])
    assert accuracy(extract, features, None) is None
    assert accuracy(extract, features, store.labels[store.train].tolist()) > 0.5
    assert accuracy(replace(extract, kind="clusters"), features, [0] * len(features)) is None
    loaded = models.load("gan")
    unconditional = measure_system(loaded.system(loaded.config(width=8, latent=8), FOUR_CLASSES), store, 50)
    assert unconditional.asked is None
    assert "label accuracy" not in str(unconditional)
