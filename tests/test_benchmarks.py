"""The program for accelerators runs on the CPU from end to end, for every system."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

from ganforge import models

PROGRAMS = Path(__file__).parents[1] / "benchmarks"


def test_the_program_for_accelerators(tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(PROGRAMS))
    import common  # type: ignore[import-not-found]

    monkeypatch.setattr(common, "RESULTS", tmp_path)
    monkeypatch.setattr(
        sys, "argv", ["gpu.py", "--device", "cpu", "--seconds", "0.01", "--batch", "2", "--size", "small"]
    )
    names = runpy.run_path(str(PROGRAMS / "gpu.py"))
    sizes = names["SPECS"]
    for label in list(sizes)[1:]:
        del sizes[label]
    names["main"]()
    found = json.loads((tmp_path / "gpu-cpu.json").read_text())
    differences = found["largest difference between samples here and on the CPU, of 255"]
    assert {name.split(",")[0] for name in differences} == set(models.names())
    assert max(differences.values()) <= 1  # a rounding: the memory is laid out otherwise in training
    assert all(
        found["images_per_second"][f"{n}, 28x28 grey, {p}"] > 0 for n in models.names() for p in ("fp32", "bf16")
    )
