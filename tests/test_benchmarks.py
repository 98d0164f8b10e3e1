"""The program for accelerators runs on the CPU for every system; the comparison of versions finds what differs; the
preset `large` has the published size."""

from __future__ import annotations

import importlib
import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from ganforge import models
from ganforge.media.picture import Picture

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
    assert {name.split(",")[0] for name in differences} == set(models.of_medium(Picture))
    assert max(differences.values()) <= 1  # a rounding: the memory is laid out otherwise in training
    speeds = found["images_per_second"]
    assert all(speeds[f"{n}, 28x28 grey, {p}"] > 0 for n in models.of_medium(Picture) for p in ("fp32", "bf16"))


SIZES = {  # ours over the published, parameters and multiply-adds: from, to
    "sagan": ((1.0, 1.3), (0.3, 0.7)),  # strided 4x4 convolutions in place of 3x3 ones and a plain resize
    "pggan": ((0.99, 1.01), (0.6, 0.7)),  # doubling and halving are part of the convolutions
    "stylegan": ((0.99, 1.01), (0.6, 0.7)),
    "stylegan2": ((0.99, 1.01), (0.6, 0.7)),
    "r3gan": ((0.99, 1.01), (0.9, 1.1)),
    "fastgan": ((0.95, 1.05), (0.9, 1.1)),
}


@pytest.fixture
def presets(monkeypatch):
    monkeypatch.syspath_prepend(str(PROGRAMS))
    return importlib.import_module("presets")


def test_published_layers_add_up_to_the_reported_parameters(presets):
    reported = [one for one in presets.PUBLISHED if one.reported]
    assert len(reported) >= 5
    for one in reported:
        parts = {"generator": one.generator.parameters, "discriminator": one.discriminator.parameters}
        for part, millions in one.reported.items():
            assert parts.get(part, sum(parts.values())) / 1e6 == pytest.approx(millions, rel=0.005), one.name


@pytest.mark.parametrize("system", SIZES)
def test_large_has_the_published_size(presets, system):
    rows = [one for one in presets.PUBLISHED if one.system == system]
    assert rows
    for one in rows:
        ours = presets.count(one)
        for part, published in (("generator", one.generator), ("discriminator", one.discriminator)):
            if published is None:  # not in the paper
                continue
            (fewest, most), (least, greatest) = SIZES[system]
            assert fewest <= ours.parameters[part] / published.parameters <= most, (one.name, part)
            assert least <= ours.macs[part] / published.macs <= greatest, (one.name, part)


def test_a_renamed_tensor_is_equal_and_a_changed_one_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(PROGRAMS))
    import equal  # type: ignore[import-not-found]

    a, b = np.arange(6.0).reshape(2, 3), np.ones(4, np.int64)
    for name, tensors in {"one": {"a": a, "b": b}, "two": {"c": a, "d": b}, "three": {"a": a.T, "b": b}}.items():
        save_file(tensors, tmp_path / name)
    one, two, three = (sorted(equal._tensors(tmp_path / name)) for name in ("one", "two", "three"))
    assert one == two != three
    hashes = [{f"tensor {n}": value for n, value in enumerate(tensors)} for tensors in (one, two, three)]
    assert equal.compare(hashes[0], hashes[1]) == 0
    assert equal.compare(hashes[0], {**hashes[2], "more": "0"}) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "2 of 2 hashes are equal"
    assert lines[1].startswith("different: tensor 0: float64 [2, 3]") and lines[2] == "different: more: missing and 0"
    assert lines[-1] == "1 of 3 hashes are equal"
