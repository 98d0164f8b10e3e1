"""The accuracy of labels: an oracle, chance, and no number."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from ganforge import models
from ganforge.measuring.measure import measure_system
from ganforge.measuring.reference import extractor
from ganforge.media.spec import Spec, to_float
from ganforge.metrics.label_accuracy import accuracy
from ganforge.store.store import Store
from ganforge.system import System
from ganforge.testing import make_store

SPEC = Spec(8, 8, 1, ("cat", "dog", "2", "T-shirt/top"))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tmp_path_factory.mktemp("labels") / "store"
    make_store(path, SPEC, 160)
    return path


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


def test_the_asked_class_is_hit_by_an_oracle_and_by_chance_otherwise(store):
    found = Store(store)
    assert measure_system(Oracle(found), found, 400).asked == 1.0
    chance = measure_system(Oracle(found, shift=True), found, 2000)
    assert chance.asked == pytest.approx(1 / 4, abs=4 * (3 / 16 / 2000) ** 0.5)
    assert "label accuracy" in str(chance)


def test_no_class_asked_and_none_known_is_no_number(store):
    found = Store(store)
    extract = extractor(found)
    features = extract([found.read(found.train)])
    assert accuracy(extract, features, None) is None
    assert accuracy(extract, features, found.labels[found.train].tolist()) > 0.5
    assert accuracy(replace(extract, kind="clusters"), features, [0] * len(features)) is None
    loaded = models.load("gan")
    unconditional = measure_system(loaded.system(loaded.config(width=8, latent=8), SPEC), found, 50)
    assert unconditional.asked is None
    assert "label accuracy" not in str(unconditional)
