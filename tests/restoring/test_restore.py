"""restore: any file, any size, nothing lost, numbers against references."""

from __future__ import annotations

import os
import re
import shutil
import signal
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio

import ganforge
from ganforge import models
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


def test_a_signal_leaves_no_part_of_a_file(denoiser, tmp_path, monkeypatch):
    for name in ("a.png", "b.png"):
        picture(tmp_path / "in" / name, 16, 16, 3)
    save = Image.Image.save

    def stopped(image: Image.Image, path: Path, **options: Any) -> None:
        save(image, path, **options)
        if (tmp_path / "out" / "a.png").exists():
            assert path.name.startswith(".partial-")
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Image.Image, "save", stopped)
    assert main(["restore", str(denoiser), str(tmp_path / "in"), "-o", str(tmp_path / "out")]) == 3
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["a.png"]


def test_restored_files_go_into_a_folder(denoiser, tmp_path, fails):
    picture(tmp_path / "a.png", 16, 16, 3)
    for name in ("b.png", "b.webp", "b.JPG"):
        message = fails("restore", denoiser, tmp_path / "a.png", "-o", tmp_path / name)
        assert "is the name of a file; what is restored keeps its own name" in message
    assert [file.name for file in tmp_path.iterdir()] == ["a.png"]


def test_a_restorer_has_no_directions(denoiser, fails):
    assert "ganforge restore RUN" in fails("sample", denoiser, "--direction", "1:2")


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
    (tmp_path / "file").write_text("")
    assert "cannot be written" in fails("restore", denoiser, tmp_path / "in", "-o", tmp_path / "file" / "o")


def test_what_lies_there_already_is_not_overwritten(denoiser, tmp_path):
    picture(tmp_path / "in" / "a.png", 9, 9)
    picture(tmp_path / "out" / "a.png", 9, 9)
    before = (tmp_path / "out" / "a.png").read_bytes()
    output = ganforge.restore(denoiser, tmp_path / "in", tmp_path / "out")
    assert "something else" in output.skipped[0][1]
    assert (tmp_path / "out" / "a.png").read_bytes() == before


@pytest.fixture(scope="module")
def doubler(every_door, tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("x2"), every_door, Spec(16, 16, 3), {"degradation": "down 2"})


@pytest.fixture(scope="module")
def filler(every_door, tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("fill"), every_door, Spec(16, 16, 3), {"degradation": "strokes 0.3"})


def read(path):
    return np.asarray(Image.open(path))


def black_and_white(path, *shape):
    """A mask that is white in its left half."""
    path.parent.mkdir(parents=True, exist_ok=True)
    mask = np.zeros(shape, np.uint8)
    mask[:, : shape[1] // 2] = 255
    Image.fromarray(mask).save(path)
    return mask > 0


def test_pictures_are_enlarged_and_compared_with_bicubic(doubler, tmp_path, capsys):
    picture(tmp_path / "in" / "a.png", 12, 20, 3)
    picture(tmp_path / "in" / "b.png", 9, 9, 4)
    picture(tmp_path / "large" / "a.png", 24, 40, 3)
    words = ["restore", str(doubler), str(tmp_path / "in"), "-o", str(tmp_path / "out")]
    assert main([*words, "--reference", str(tmp_path / "large")]) == 2
    message = capsys.readouterr().out
    assert "bicubic" in message and "restored" in message and "before" not in message
    assert "'b.png': restored, but not compared" in message
    assert read(tmp_path / "out" / "a.png").shape == (24, 40, 3)
    assert read(tmp_path / "out" / "b.png").shape == (18, 18, 4)


def test_masks_say_what_is_missing_and_the_rest_is_untouched(filler, tmp_path, capsys):
    source, masks = tmp_path / "in", tmp_path / "masks"
    for name in ("a.png", "sub/b.png", "grey.png", "smooth.png", "large.png", "none.png"):
        picture(source / name, 10, 12, 3)
    left = black_and_white(masks / "a.png", 10, 12)
    black_and_white(masks / "sub" / "b.webp", 10, 12)
    black_and_white(masks / "large.png", 20, 24)
    picture(masks / "smooth.png", 10, 12)
    Image.fromarray(np.zeros((10, 12), np.uint8)).save(masks / "grey.png")
    words = ["restore", str(filler), str(source), "-o", str(tmp_path / "out"), "--mask", str(masks)]
    assert main(words) == 2
    message = capsys.readouterr().out
    assert "2 pictures restored" not in message  # a lossy mask of b.png has more than two levels
    for line in (
        "'smooth.png': its mask 'smooth.png' has", "'large.png': its mask 'large.png' has 20x24 pixels",
        "'none.png': there is no mask", "'grey.png': its mask 'grey.png' is black",
    ):  # fmt: skip
        assert line in message
    assert {p.name for p in (tmp_path / "out").rglob("*.*")} == {"a.png"}, "nothing is half-written"
    before, after = read(source / "a.png"), read(tmp_path / "out" / "a.png")
    assert np.array_equal(before[~left], after[~left])
    assert (before[left] != after[left]).mean() > 0.9
    Image.fromarray((~left * 255).astype(np.uint8)).save(masks / "a.png")
    assert main(words) == 2
    assert "a.png exists already and is something else" in capsys.readouterr().out, "another mask is another answer"


def test_a_mask_or_a_reference_that_cannot_be_read_is_named(filler, tmp_path, capsys):
    for name in ("a.png", "b.png", "c.png", "two.png"):
        picture(tmp_path / "in" / name, 10, 12, 3)
        black_and_white(tmp_path / "masks" / name, 10, 12)
        picture(tmp_path / "clean" / name, 10, 12, 3)
    picture(tmp_path / "in" / "two.webp", 10, 12, 3)
    (tmp_path / "masks" / "a.png").write_bytes(b"\x89PNG\r\n")
    for name in ("b.txt", "b.csv"):  # not masks, and no reason to stop
        (tmp_path / "masks" / name).write_text("x")
    (tmp_path / "clean" / "b.png").write_bytes(b"\x89PNG\r\n")
    (tmp_path / "clean" / "c.txt").write_text("x")
    (tmp_path / "clean" / "two.png").rename(tmp_path / "clean" / "two.gif")
    picture(tmp_path / "clean" / "two.bmp", 10, 12, 3)
    words = ["restore", str(filler), str(tmp_path / "in"), "-o", str(tmp_path / "out")]
    assert main([*words, "--mask", str(tmp_path / "masks"), "--reference", str(tmp_path / "clean")]) == 2
    message = capsys.readouterr().out
    for line in (
        "'a.png': its mask 'a.png': not an image",
        "'b.png': restored, but not compared: its reference 'b.png': not an image",
        "'two.png': restored, but not compared: 'two.bmp', 'two.gif' may be its reference",
        "means over 1 pictures",
    ):
        assert line in message


def test_animations_are_restored_in_part_and_that_is_said(denoiser, tmp_path, capsys):
    frames = [Image.fromarray(RNG.integers(0, 256, (9, 9, 3), dtype=np.uint8)) for _ in range(2)]
    (tmp_path / "in").mkdir()
    frames[0].save(tmp_path / "in" / "a.gif", save_all=True, append_images=frames[1:])
    picture(tmp_path / "in" / "b.png", 9, 9, 3)
    assert main(["restore", str(denoiser), str(tmp_path / "in"), "-o", str(tmp_path / "out")]) == 0
    assert "1 are animations, of which the first frame was taken" in capsys.readouterr().out


def test_one_picture_with_one_mask_of_any_name(filler, tmp_path):
    picture(tmp_path / "p.png", 10, 12)
    left = black_and_white(tmp_path / "m.png", 10, 12)
    out = tmp_path / "out"
    assert (
        main(["restore", str(filler), str(tmp_path / "p.png"), "-o", str(out), "--mask", str(tmp_path / "m.png")]) == 0
    )
    before, after = read(tmp_path / "p.png"), read(out / "p.png")
    assert after.shape == before.shape and np.array_equal(before[~left], after[~left])


def test_what_is_transparent_is_filled_and_opaque(filler, tmp_path, capsys):
    picture(tmp_path / "in" / "opaque.png", 10, 12, 3)
    pixels = RNG.integers(1, 255, (10, 12, 4), dtype=np.uint8)
    pixels[3:6, 4:9, 3] = 0
    Image.fromarray(pixels).save(tmp_path / "in" / "erased.png")
    words = ["restore", str(filler), str(tmp_path / "in"), "-o", str(tmp_path / "out"), "--holes", "transparent"]
    assert main(words) == 2
    assert "'opaque.png': nothing of it is fully transparent" in capsys.readouterr().out
    after = read(tmp_path / "out" / "erased.png")
    missing = pixels[..., 3] == 0
    assert np.array_equal(after[~missing], pixels[~missing])
    assert (after[missing][:, 3] == 255).all()


def test_several_answers_that_can_be_made_again(doubler, tmp_path, capsys):
    picture(tmp_path / "in" / "a.png", 8, 8, 3)
    (tmp_path / "in" / "labels.csv").write_text("file,label\na.png,one\n")
    words = ["restore", str(doubler), str(tmp_path / "in"), "--seeds", "0-2,7", "--strength", "1"]
    for out in ("one", "two"):
        assert main([*words, "-o", str(tmp_path / out)]) == 0
        assert "4 pictures restored" in capsys.readouterr().out
    names = [f"a-seed{seed:04d}.png" for seed in (0, 1, 2, 7)]
    assert sorted(p.name for p in (tmp_path / "one").glob("*.png")) == names
    files = [(tmp_path / "one" / name).read_bytes() for name in names]
    assert files == [(tmp_path / "two" / name).read_bytes() for name in names]
    assert len({read(tmp_path / "one" / name).tobytes() for name in names}) == 4
    assert marks.read(tmp_path / "one" / names[3])["seed"] == 7
    assert (tmp_path / "one" / "labels.csv").read_text().count("one") == 4
    assert main([*words, "-o", str(tmp_path / "one")]) == 0
    assert "0 pictures restored, 4 were there already" in capsys.readouterr().out
    assert main([*words[:-1], "0.5", "-o", str(tmp_path / "one")]) == 2
    assert "is something else" in capsys.readouterr().out, "another strength is another answer"


def test_options_that_a_system_cannot_use(fails, denoiser, doubler, filler, tmp_path):
    picture(tmp_path / "in" / "a.png", 9, 9, 3)
    out = ("-o", tmp_path / "out")
    for option, value in (("--mask", tmp_path), ("--holes", "transparent"), ("--strength", 1), ("--seeds", "0-3")):
        message = fails("restore", denoiser, tmp_path / "in", *out, option, value)
        assert f"dae, as it was trained, takes no {option}. Those that may: " in message and "every_door" in message
    assert "takes no --mask" in fails("restore", doubler, tmp_path / "in", *out, "--mask", tmp_path)
    assert "Say where that is: --mask FOLDER or --holes" in fails("restore", filler, tmp_path / "in", *out)
    assert "there is: transparent" in fails("restore", filler, tmp_path / "in", *out, "--holes", "white")
    assert "it takes 0 to 1" in fails("restore", doubler, tmp_path / "in", *out, "--strength", 1.5)
    assert "it takes 0 to 1" in fails("restore", doubler, tmp_path / "in", *out, "--strength", "nan")
    assert "out of range" in fails("restore", doubler, tmp_path / "in", *out, "--seeds", 2**32)
    both = ("--mask", tmp_path, "--holes", "transparent")
    assert "--mask" in fails("restore", filler, tmp_path / "in", *out, *both)
    black_and_white(tmp_path / "masks" / "a.png", 9, 9)
    black_and_white(tmp_path / "masks" / "a.bmp", 9, 9)
    assert "masks of one picture" in fails("restore", filler, tmp_path / "in", *out, "--mask", tmp_path / "masks")
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def translator(tmp_path_factory):
    spec, tiny = (
        Spec(16, 16, 1, ("a", "red, round", "c")),
        {"width": 4, "depth": 1, "head": 4, "patches": 8, "lr": 0.01},
    )
    return make_run(tmp_path_factory.mktemp("translate"), "translate", spec, {**tiny, "classes": ("a", "red, round")})


def test_translation_into_a_class(translator, tmp_path, capsys):
    picture(tmp_path / "in" / "a.png", 40, 23, 4)
    picture(tmp_path / "in" / "b.png", 16, 16)
    words = ["restore", str(translator), str(tmp_path / "in"), "-o"]
    for out, name in (("one", "red, round"), ("two", "a")):
        assert main([*words, str(tmp_path / out), "--to", name]) == 0
        assert marks.read(tmp_path / out / "a.png")["to"] == name
    one, two = (read(tmp_path / out / "a.png") for out in ("one", "two"))
    assert one.shape == (40, 23, 4) and not np.array_equal(one, two)
    capsys.readouterr()
    assert main([*words, str(tmp_path / "one"), "--to", "red, round"]) == 0
    assert "2 were there already" in capsys.readouterr().out
    assert main([*words, str(tmp_path / "one"), "--to", "a"]) == 2
    assert "is something else" in capsys.readouterr().out, "another class is another answer"
    assert ganforge.Run(translator).restore(tmp_path / "in", tmp_path / "three", to="a").written == 2


def test_classes_that_it_has_not_learned(translator, denoiser, fails, tmp_path):
    picture(tmp_path / "in" / "a.png", 9, 9)
    words = ("restore", translator, tmp_path / "in", "-o", tmp_path / "out")
    assert "Say which with --to; it has learned a, red, round." in fails(*words)
    assert "has not learned a class 'red round'. Did you mean red, round?" in fails(*words, "--to", "red round")
    assert "has not learned a class 'c'. There is: a, red, round" in fails(*words, "--to", "c")
    message = fails("restore", denoiser, *words[2:], "--to", "a")
    assert "dae, as it was trained, takes no --to. Those that may: translate" in message
    assert not (tmp_path / "out").exists()


def test_short_memory_is_said_once(doubler, tmp_path, capsys, monkeypatch):
    picture(tmp_path / "in" / "a.png", 150, 150, 3)
    picture(tmp_path / "in" / "b.png", 150, 150, 3)
    system = models.load("every_door").system
    whole = system.restore

    def restore(self, images, **options):
        if images.shape[2] * images.shape[3] > 140 * 140:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory: you tried to allocate")
        return whole(self, images, **options)

    monkeypatch.setattr(system, "restore", restore)
    assert main(["restore", str(doubler), str(tmp_path / "in"), "-o", str(tmp_path / "out")]) == 0
    message = capsys.readouterr().out
    assert message.count("Memory was short, so tiles of 64 pixels were used, not 512.") == 1


def test_an_answer_that_does_not_fit_on_the_disk_is_not_begun(doubler, tmp_path, capsys, monkeypatch):
    picture(tmp_path / "in" / "a.png", 30, 30, 3)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr("ganforge.restoring.call.LARGE", 1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=2_000))
    words = ["restore", str(doubler), str(tmp_path / "in"), "-o", str(tmp_path / "out")]
    assert main(words) == 2
    assert "its answer may take 0.0 GB, and 0.0 GB are free" in capsys.readouterr().out
    assert not list((tmp_path / "out").iterdir())


def test_another_picture_of_the_same_name_is_not_taken_for_restored(doubler, tmp_path, capsys):
    picture(tmp_path / "in" / "a.png", 30, 30, 3)
    words = ["restore", str(doubler), str(tmp_path / "in"), "-o", str(tmp_path / "out")]
    assert main(words) == 0
    before = (tmp_path / "out" / "a.png").read_bytes()
    picture(tmp_path / "in" / "a.png", 30, 30, 3)
    assert main(words) == 2
    assert "exists already and is something else" in capsys.readouterr().out
    assert (tmp_path / "out" / "a.png").read_bytes() == before


def test_pictures_beyond_pillows_limit_are_kept(doubler, tmp_path, monkeypatch, capsys):
    picture(tmp_path / "in" / "a.png", 30, 30, 3)
    words = ["restore", str(doubler), str(tmp_path / "in"), "-o", str(tmp_path / "out")]
    assert main(words) == 0
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)  # of 900 and 3,600
    assert main(words) == 0
    assert "1 were there already" in capsys.readouterr().out


def test_pairs_and_maps_of_ids(every_door, tmp_path, capsys):
    from ganforge.media.pair import Pair

    spec = Spec(16, 16, 4, medium=Pair(1, ("3 #ff0000", "9 #00ff00")))
    run = make_run(tmp_path, every_door, spec, {"degradation": "none"})
    ids = np.where(np.eye(20, 24) > 0, 3, 9).astype(np.uint8)
    (tmp_path / "in").mkdir()
    Image.fromarray(ids).save(tmp_path / "in" / "a.png")
    Image.fromarray(ids + 1).save(tmp_path / "in" / "b.png")
    picture(tmp_path / "wanted" / "a.png", 20, 24, 3)
    words = ["restore", str(run), str(tmp_path / "in"), "-o", str(tmp_path / "out"), "--reference"]
    assert main([*words, str(tmp_path / "wanted")]) == 2
    message = capsys.readouterr().out
    assert "'b.png': ids that no other map has: 4, 10" in message
    assert "restored " in message and "median" not in message
    assert read(tmp_path / "out" / "a.png").shape == (20, 24, 3)
