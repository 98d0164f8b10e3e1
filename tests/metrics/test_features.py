"""The extractor of features: what it learns, and its file."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from ganforge.metrics import features, frechet


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    """Six kinds of stripes, 20x20 grey, with noise."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:20, :20]
    waves = [np.sin((x * math.cos(t) + y * math.sin(t)) * 1.2) for t in np.arange(6) * math.pi / 6]
    stripes = np.stack([waves[n % 6] * 90 + 128 + rng.normal(0, 15, (20, 20)) for n in range(600)])
    return stripes.clip(0, 255).astype(np.uint8)[..., None]


@pytest.mark.parametrize("labelled", [True, False])
def test_a_trained_extractor_ranks_worse_pictures_as_worse(pictures, labelled, tmp_path):
    rows = np.arange(500)
    labels = (rows % 6).astype(np.int64) if labelled else None
    test = np.arange(500, 600)
    extractor = features.train(
        lambda r: pictures[r], rows, labels, test, (test % 6).astype(np.int64) if labelled else None
    )
    assert extractor.accuracy > (0.9 if labelled else 0.2)
    extract = features.save(extractor, tmp_path / "extractor.safetensors")
    plain = extract([pictures[rows]])
    size = plain.shape[1]
    reference = frechet.Moments(size).add(plain)
    assert float(plain.double().var(0).sum()) == pytest.approx(2 * features.HIDDEN, rel=0.2)
    rng = np.random.default_rng(1)
    noises = [rng.normal(0, sigma, pictures[test].shape) for sigma in (0, 25, 50, 100)]
    scores = []
    for noise in noises:
        worse = (pictures[test] + noise).clip(0, 255).astype(np.uint8)
        scores.append(frechet.distance(reference, frechet.Moments(size).add(extract([worse]))))
    assert scores == sorted(scores)
    again = features.load(tmp_path / "extractor.safetensors")
    assert again.name == extract.name
    torch.testing.assert_close(again([pictures[:300]])[17], again([pictures[17:18]])[0], rtol=1e-4, atol=1e-4)


def test_equal_extractors_are_equal_files(tmp_path):
    """In whatever process they are written; an extractor's name is the hash of its file."""
    code = """
import sys, torch
from pathlib import Path
from ganforge.metrics import features
torch.manual_seed(0)
network, size = features.FeatureNetwork(1, 4, 8), features.HIDDEN + 3
extractor = features.Extractor(network, torch.zeros(size), torch.ones(size), 8, "classes", 0.5, "")
print(features.save(extractor, Path(sys.argv[1])).digest)
"""
    command = [sys.executable, "-c", code]
    digests = {
        subprocess.run([*command, tmp_path / f"{n}.safetensors"], check=True, capture_output=True, text=True).stdout
        for n in range(4)
    }
    assert len(digests) == 1


def test_an_extractor_of_an_earlier_version_is_read(tmp_path):
    network, size = features.FeatureNetwork(1, 4, 8), features.HIDDEN + 3
    tensors = network.state_dict() | {"mean": torch.zeros(size), "scale": torch.ones(size)}
    facts = {"kind": "classes", "accuracy": "0.5", "side": "8"}
    save_file(tensors, tmp_path / "extractor.safetensors", facts)
    loaded = features.load(tmp_path / "extractor.safetensors")
    assert (loaded.kind, loaded.accuracy, loaded.side) == ("classes", 0.5, 8)
