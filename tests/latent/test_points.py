"""Points in files: bound to their weights, and the start of directions and mixtures."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from ganforge.base import marks
from ganforge.base.errors import DataError, InputError
from ganforge.cli import main
from ganforge.latent.points import load, read, save, write
from ganforge.runs import RunFolder
from ganforge.sampling import made_by, points, sample


@pytest.mark.parametrize("name", ["stylegan2", "vae"])
def test_points_make_the_pictures_of_their_seeds(name, runs, tmp_path):
    run = RunFolder(runs / name)
    system = run.build()
    for seed in (4, 2):
        save(tmp_path / "in" / f"{seed}-point.safetensors", points(system, [seed]), made_by(run, system))
    names, both = read(tmp_path / "in", run, system)
    assert names == ["2", "4"] and len(next(iter(both.values()))) == 2
    (tmp_path / "out").mkdir()
    files = write(run, tmp_path / "in", tmp_path / "out", as_grid=False)
    assert [file.name for file in files] == ["2.png", "4.png"]
    assert np.array_equal(np.stack([np.asarray(Image.open(file)) for file in files]), sample(run, [2, 4])[..., 0])
    assert marks.read(files[0])["projected"] == ["2"]


def test_points_of_others_are_refused(runs, tmp_path):
    run, vae = RunFolder(runs / "stylegan2"), RunFolder(runs / "vae")
    system = run.build()
    point = points(system, [1])
    path = tmp_path / "a-point.safetensors"
    save(path, point, {"weights": "0123456789abcdef"})
    with pytest.raises(InputError, match="other weights"):
        read(path, run, system)
    for wrong in (
        {"styles": point["styles"][:, 1:], "noise_seed": point["noise_seed"]},
        {"styles": point["styles"]},
        {"styles": point["styles"].double(), "noise_seed": point["noise_seed"]},
        {"styles": point["styles"] * torch.nan, "noise_seed": point["noise_seed"]},
    ):
        save(path, wrong, {})
        with pytest.raises(DataError, match="does not fit"):
            read(path, run, system)
    save_file({name: value.contiguous() for name, value in point.items()}, path)  # as earlier versions wrote it
    assert torch.equal(read(path, run, system)[1]["styles"], point["styles"])
    with pytest.raises(DataError, match="does not fit"):
        read(path, vae, vae.build())
    for content in (b"", b"\x80\x04pickle", path.read_bytes()[:40]):
        path.write_bytes(content)
        with pytest.raises(DataError, match="is no point, or damaged"):
            load(path)
    with pytest.raises(DataError, match="is no point"):
        load(tmp_path / "missing")
    with pytest.raises(DataError, match="holds no points"):
        read(runs / "store", run, system)


def test_a_projected_picture_is_edited_mixed_and_walked(runs, tmp_path, fails):
    run = tmp_path / "run"
    run.symlink_to(runs / "stylegan2")
    Image.fromarray(sample(RunFolder(run), [77])[0, :, :, 0]).save(tmp_path / "real.png")
    assert main(["project", str(run), str(tmp_path / "real.png"), "-o", str(tmp_path / "p.png"), "--steps", "2"]) == 0
    point = str(tmp_path / "p-point.safetensors")
    assert load_file(point).keys() == {"styles", "noise_seed"}
    sheet = str(tmp_path / "d.png")
    assert main(["directions", str(run), "-o", sheet, "--count", "2"]) == 0
    step = ["--direction", "1:-2", "--directions", sheet.replace("png", "safetensors")]
    out = tmp_path / "edited.png"
    assert main(["sample", str(run), "--points", point, *step, "-o", str(out)]) == 0
    mark = marks.read(out)
    assert mark["projected"] == ["p"] and mark["direction"] == {"1": -2.0}
    assert main(["sample", str(run), "--points", point, *step, "--each", "-o", str(tmp_path / "each")]) == 0
    assert np.array_equal(np.asarray(Image.open(tmp_path / "each" / "p.png")), np.asarray(Image.open(out)))
    walk = tmp_path / "w.webp"
    assert main(["sample", str(run), "--points", point, "--walk", "--frames", "8", *step, "-o", str(walk)]) == 0
    assert Image.open(walk).n_frames == 8 and marks.read(walk)["projected"] == ["p"]
    mix = tmp_path / "m.png"
    assert main(["sample", str(run), "--points", point, "--mix", "3-4", "-o", str(mix)]) == 0
    assert marks.read(mix)["projected"] == ["p"] and marks.read(mix)["columns"] == [3, 4]
    assert "needs a direction" in fails("sample", run, "--points", point, "--walk")
    assert "say either --points or --seeds" in fails("sample", run, "--points", point, "--seeds", "1")
    assert "is no point" in fails("sample", run, "--points", tmp_path / "real.png")
