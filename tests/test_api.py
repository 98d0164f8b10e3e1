"""Five lines in a notebook, and the way that `demo` goes."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

import ganforge
from ganforge.cli import main


def test_five_lines_of_python(tmp_path):
    (tmp_path / "in").mkdir()
    for n in range(60):
        pixels = np.random.default_rng(n).integers(0, 256, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "in" / f"{n}.png")
    store = ganforge.prepare(tmp_path / "in", tmp_path / "store", heldout=0.3).store
    run = ganforge.train("vae", store, tmp_path / "run", size="small", images=256, batch=32, verbose=False)
    assert run.sample(seeds=range(3)).shape == (3, 16, 16, 3)
    assert run.measure(samples=50).extractor.startswith("clusters-")
    assert run.report().exists()
    assert ganforge.sample(tmp_path / "run", [1]).shape == (1, 16, 16, 3)
    assert np.array_equal(ganforge.Run(tmp_path / "run").sample([2])[0], run.sample(range(3))[2])


@pytest.mark.slow
def test_demo_learns(tmp_path, capsys):
    assert main(["demo", "--out", str(tmp_path / "demo"), "--minutes", "0.5"]) == 0
    said = capsys.readouterr().out
    distance = float(said.split("Fréchet distance")[1].split()[0])
    untrained = float(said.split("untrained")[1].split()[0])
    assert distance < untrained / 4
