"""The label accuracy of samples made by class: how many the store's own classifier gives the label that they were made
for ("GAN-test" of Shmelkov et al. 2018, "How good is my GAN?")."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ganforge.metrics.features import Extractor
from ganforge.metrics.metric import RealPictures, Row, Samples


def floor(real: RealPictures, size: int) -> list[float]:
    """Nothing has to be measured: the classifier's accuracy on held-out pictures is known since it was trained."""
    return []


def rows(real: RealPictures, samples: Samples, size: int, floor: Sequence[float] | None) -> list[Row]:
    """The label accuracy, beside the classifier's own on real pictures."""
    return [
        Row(
            name="label_accuracy",
            title="label accuracy",
            says="share of samples that the classifier gives the label they were made for",
            value=accuracy(real.extract, samples.features, samples.labels),
            floor=real.extract.accuracy,
            better="higher",
            keys=("asked",),
            form=".1%",
        )
    ]


def accuracy(extract: Extractor, features: Tensor, labels: Sequence[int] | None) -> float | None:
    """Share of features, (N, D), that the extractor's classifier gives their label, (N,); None where there are no
    labels or it learned clusters instead."""
    if labels is None or extract.kind != "classes":
        return None
    return float((extract.classify(features) == torch.tensor(labels)).float().mean())
