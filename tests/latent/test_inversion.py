"""Inversion comes nearer to its target."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ganforge.base.errors import DataError
from ganforge.cli import main
from ganforge.latent import inversion
from ganforge.latent.inversion import invert, read
from ganforge.runs import RunFolder
from ganforge.sampling import sample
from tiny import GREY


@pytest.mark.parametrize("name", ["stylegan2", "vae"])
def test_projection_comes_nearer(name, runs):
    system = RunFolder(runs / name).build()
    target = sample(RunFolder(runs / name), [1000])[0]
    result = invert(system, target, 60)
    before = np.sqrt(np.square(result.start.astype(float) - target).mean())
    assert result.error < 0.6 * before
    tensors = result.tensors
    with torch.no_grad():
        again = system.synthesis(**tensors) if name == "stylegan2" else system.generate(tensors["latents"])
    assert np.abs((again[0, 0].numpy() + 1) * 127.5 - result.picture[:, :, 0]).max() < 1


def test_a_device_is_no_picture():
    """It has no end and filled the memory."""
    with pytest.raises(DataError, match="not a regular file"):
        read(Path("/dev/zero"), GREY)


def rows(table: Path) -> list[dict[str, str]]:
    with table.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_folder_is_projected_with_its_distances_and_goes_on(runs, tmp_path, capsys, monkeypatch):
    pictures = tmp_path / "in"
    (pictures / "sub").mkdir(parents=True)
    for n, pixels in enumerate(sample(RunFolder(runs / "vae"), [1, 2, 3])):
        Image.fromarray(pixels[..., 0]).save(pictures / ("sub" if n else ".") / f"{n}.png")
    (pictures / "sub" / "1.bmp").write_bytes((pictures / "sub" / "1.png").read_bytes())  # the same stem
    (pictures / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (pictures / "words.txt").write_text("words")
    words = ["project", str(runs / "vae"), str(pictures), "-o", str(tmp_path / "out"), "--steps", "2"]
    assert main(words) == 2
    printed = capsys.readouterr().out
    assert "'broken.png'" in printed and "4 pictures" in printed
    table = {row["file"]: row for row in rows(tmp_path / "out" / "projected.csv")}
    assert {name for name, row in table.items() if row["reason"]} >= {"broken.png"}
    good = {name: row for name, row in table.items() if row["point"]}
    assert good.keys() == {"0.png", "sub/1.png", "sub/1.bmp", "sub/2.png"}
    assert len({row["point"] for row in good.values()}) == 4
    assert all(0 <= float(row["distance"]) < 255 and not row["reason"] for row in good.values())
    assert all((tmp_path / "out" / row["point"]).is_file() for row in good.values())

    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    missing = tmp_path / "out" / good["sub/2.png"]["point"]
    missing.unlink()
    searched = []
    monkeypatch.setattr(inversion, "invert", lambda *words: searched.append(1) or invert(*words))
    assert main(words) == 2
    assert searched == [1]  # for the missing one alone
    assert {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()} == before

    archive = shutil.make_archive(str(tmp_path / "zipped"), "zip", pictures / "sub")
    assert main(["project", str(runs / "vae"), archive, "-o", str(tmp_path / "two"), "--steps", "0"]) == 0
    assert len(rows(tmp_path / "two" / "projected.csv")) == 3


def test_folders_that_cannot_be_projected(runs, tmp_path, fails):
    (tmp_path / "in").mkdir()
    Image.new("L", (16, 16)).save(tmp_path / "in" / "a.png")
    assert "--steps" in fails("project", runs / "vae", tmp_path / "in", "--steps", "-1", "-o", tmp_path / "o")
    assert "lie in each other" in fails("project", runs / "vae", tmp_path / "in", "-o", tmp_path / "in" / "o")
    (tmp_path / "empty").mkdir()
    assert "hold" in fails("project", runs / "vae", tmp_path / "empty", "-o", tmp_path / "o")
    assert not (tmp_path / "o").exists()
