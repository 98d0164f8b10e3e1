"""Labels as the input of systems, and what systems learn of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ganforge.api import Run
from ganforge.cli import main
from ganforge.sampling import pictures
from ganforge.system import with_label


def test_a_label_as_numbers():
    x = torch.tensor([[0.5], [2.0]])
    assert with_label(x, torch.tensor([2, 0]), 3).tolist() == [[0.5, 0, 0, 1], [2.0, 1, 0, 0]]
    assert with_label(x, torch.tensor([2, 0]), 0) is x


@pytest.mark.parametrize("name", ["gan", "vae", "dcgan"])
def test_a_system_learns_what_a_label_means(name, labelled_store, tmp_path):
    """Classes of the test's pictures differ in brightness; after a little training so do samples of different
    labels."""
    words = ["--model.conditional", "true", "--model.width", "8", "--model.latent", "8", "--train.batch", "32"]
    more = ["--model.lr", "3e-3", "--images", "4800", "--train.report", "4800"]
    assert main(["train", name, str(labelled_store), "--out", str(tmp_path / "r"), *words, *more]) == 0
    system = Run(tmp_path / "r").build()
    bright = [np.concatenate(list(pictures(system, range(64), [label] * 64))).mean() for label in range(4)]
    assert bright[3] - bright[0] > 20, bright
