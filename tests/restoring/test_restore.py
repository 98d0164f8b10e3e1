"""restore: any file, any size, nothing lost, numbers against references."""

from __future__ import annotations

import re
import zipfile

import numpy as np
import pytest
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio

import ganforge
from ganforge.base import marks
from ganforge.cli import main
from ganforge.media.spec import Spec
from ganforge.testing import make_store
from ganforge.training.train import train

RNG = np.random.default_rng(0)


def make_run(folder, name, spec, model):
    store = make_store(folder / "store", spec)
    loop = {"images": 32, "batch": 16, "precision": "fp32"}
    overrides = {"model": model, "train": loop}
    return train(name, store, folder / "run", size="small", device_name="cpu", overrides=overrides).path


@pytest.fixture(scope="module")
def denoiser(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("dae"), "dae", Spec(16, 16, 3), {"width": 4})


@pytest.fixture(scope="module")
def autoencoder(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("ae"), "autoencoder", Spec(16, 16, 1), {"width": 4, "latent": 4})


def picture(path, *shape):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(RNG.integers(0, 256, shape, dtype=np.uint8)).save(path)


def test_more_than_eight_bits_share_their_levels(denoiser, tmp_path, capsys):
    (tmp_path / "in").mkdir()
    for top in (300, 4000):
        values = np.linspace(0, top, 400).reshape(20, 20).astype(np.uint16)
        Image.fromarray(values).save(tmp_path / "in" / f"{top}.png")
    words = [
        "restore",
        str(denoiser),
        str(tmp_path / "in"),
        "-o",
        str(tmp_path / "out"),
        "--reference",
        str(tmp_path / "in"),
    ]
    assert main(words) == 0
    message = capsys.readouterr().out
    assert "0 becomes black, 4,095 white" in message
    assert float(re.search(r"before +([\d.]+) dB", message)[1]) > 90, "the reference is read by the same levels"


def test_a_folder_of_all_kinds(denoiser, tmp_path, capsys):
    source = tmp_path / "in"
    shapes = {
        "a/one.png": (40, 31, 3),
        "two.jpg": (600, 20, 3),
        "two.png": (9, 9),
        "alpha.png": (20, 30, 4),
        "grey.webp": (8, 8),
    }
    for name, shape in shapes.items():
        picture(source / name, *shape)
    (source / "notes.txt").write_text("words")
    (source / "provenance.csv").write_text("file,licence\na/one.png,CC0-1.0\ntwo.jpg,CC-BY-4.0\nbroken.png,CC0-1.0\n")
    (source / "broken.png").write_bytes(b"\x89PNG\r\n")
    assert main(["restore", str(denoiser), str(source), "-o", str(tmp_path / "out")]) == 2
    message = capsys.readouterr().out
    assert "'notes.txt': not a picture: .txt file" in message
    assert "'broken.png'" in message
    assert "5 pictures restored" in message
    assert (tmp_path / "out" / "provenance.csv").read_text().split() == [
        "file,licence", "a/one.png,CC0-1.0", "two.png,CC-BY-4.0",
    ]  # fmt: skip
    output = {p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*.png")}
    assert output == {"a/one.png", "two.png", "two.png.png", "alpha.png", "grey.png"}
    for name, mode, size in (
        ("a/one.png", "RGB", (31, 40)),
        ("alpha.png", "RGBA", (30, 20)),
        ("two.png", "RGB", (20, 600)),
    ):
        with Image.open(tmp_path / "out" / name) as image:
            assert (image.mode, image.size) == (mode, size)
    with Image.open(tmp_path / "out" / "alpha.png") as after, Image.open(source / "alpha.png") as before:
        assert np.array_equal(np.asarray(after)[..., 3], np.asarray(before)[..., 3])
    mark = marks.read(tmp_path / "out" / "a" / "one.png")
    assert mark is not None
    assert (mark["restored"], mark["system"], mark["file"]) == (True, "dae", "a/one.png")
    assert "generated" not in mark
    assert main(["restore", str(denoiser), str(source), "-o", str(tmp_path / "out")]) == 2
    assert "0 pictures restored, 5 were there already" in capsys.readouterr().out


def test_one_file_a_zip_and_a_system_of_one_size(autoencoder, tmp_path, capsys):
    picture(tmp_path / "p.png", 33, 50, 3)
    assert main(["restore", str(autoencoder), str(tmp_path / "p.png"), "-o", str(tmp_path / "one")]) == 0
    assert "1 were resized to 16x16, the only size that autoencoder knows, and back" in capsys.readouterr().out
    with Image.open(tmp_path / "one" / "p.png") as image:
        assert (image.mode, image.size) == ("RGB", (50, 33))
    with zipfile.ZipFile(tmp_path / "z.zip", "w") as archive:
        archive.write(tmp_path / "p.png", "a/p.png")
        archive.writestr("/etc/p.png", (tmp_path / "p.png").read_bytes())
    output = ganforge.Run(autoencoder).restore(tmp_path / "z.zip", tmp_path / "two")
    assert output.written == 1
    assert [why for _, why in output.skipped] == ["its name leads out of the folder"]
    assert {p.name for p in tmp_path.iterdir()} == {"p.png", "one", "two", "z.zip"}


def test_reference(denoiser, tmp_path, capsys):
    for n in range(3):
        picture(tmp_path / "noisy" / f"{n}.png", 24, 24, 3)
        picture(tmp_path / "clean" / f"{n}.png", 24, 24, 3)
    picture(tmp_path / "noisy" / "alone.png", 24, 24, 3)
    picture(tmp_path / "noisy" / "other.png", 24, 24, 3)
    picture(tmp_path / "clean" / "other.png", 24, 20, 3)
    words = [
        str(denoiser),
        str(tmp_path / "noisy"),
        "-o",
        str(tmp_path / "out"),
        "--reference",
        str(tmp_path / "clean"),
    ]
    assert main(["restore", *words]) == 2
    message = capsys.readouterr().out
    assert "no file of that name" in message
    assert "it is 24x24, its reference 24x20" in message
    assert "means over 3 pictures" in message
    rows = {line[:12].strip(): float(line.split()[-4]) for line in message.splitlines() if " dB " in line}
    expected = []
    for n in range(3):
        pair = [np.asarray(Image.open(tmp_path / folder / f"{n}.png")) for folder in ("clean", "noisy")]
        expected.append(peak_signal_noise_ratio(*pair))
    assert rows["before"] == pytest.approx(np.mean(expected), abs=0.006)
    assert rows.keys() == {"before", "restored", "median 3x3"}


def test_what_cannot_be_restored(fails, denoiser, autoencoder, tmp_path):
    picture(tmp_path / "in" / "a.png", 9, 9)
    assert "lie in each other" in fails("restore", denoiser, tmp_path / "in", "-o", tmp_path / "in" / "out")
    assert "Choose another folder" in fails("restore", denoiser, tmp_path / "in" / "a.png", "-o", tmp_path / "in")
    assert "does not exist" in fails("restore", denoiser, tmp_path / "nowhere", "-o", tmp_path / "o")
    (tmp_path / "empty").mkdir()
    assert "holds no files" in fails("restore", denoiser, tmp_path / "empty", "-o", tmp_path / "o")
    gan = make_run(tmp_path, "gan", Spec(8, 8, 1), {"width": 8})
    assert "restores none" in fails("restore", gan, tmp_path / "in", "-o", tmp_path / "o")
    assert "makes none of its own" in fails("sample", denoiser)
    assert "makes none of its own" in fails("measure", denoiser)
    (tmp_path / "file").write_text("")
    assert "cannot be written" in fails("restore", denoiser, tmp_path / "in", "-o", tmp_path / "file" / "o")


def test_what_lies_there_already_is_not_overwritten(denoiser, tmp_path):
    picture(tmp_path / "in" / "a.png", 9, 9)
    picture(tmp_path / "out" / "a.png", 9, 9)
    before = (tmp_path / "out" / "a.png").read_bytes()
    output = ganforge.restore(denoiser, tmp_path / "in", tmp_path / "out")
    assert "something else" in output.skipped[0][1]
    assert (tmp_path / "out" / "a.png").read_bytes() == before
