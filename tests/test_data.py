"""Sources, decoding, the store and the stream."""

from __future__ import annotations

import gzip
import io
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngInfo

from ganforge.base import marks
from ganforge.base.errors import DataError, GanforgeError, StoreError
from ganforge.base.images import grid, write_image
from ganforge.media.spec import Spec, to_float, to_uint8
from ganforge.preparing.prepare import prepare
from ganforge.preparing.shape import parse_resolution
from ganforge.sources.decode import decode, orientation_of
from ganforge.sources.entry import Skip
from ganforge.sources.transform import fit, resize
from ganforge.store.store import Store
from ganforge.store.stream import Stream
from ganforge.testing import make_store

WHITE = (255, 255, 255)


def picture(seed: int, height: int = 40, width: int = 50) -> Image.Image:
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 256, (5, 5, 3), dtype=np.uint8)).resize(
        (width, height), Image.Resampling.BICUBIC
    )


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twenty good pictures of two classes, of many kinds and sizes, and files that are none."""
    root = tmp_path / "mess"
    for name in ("cats", "dogs"):
        (root / name).mkdir(parents=True)
        for n in range(6):
            picture(n + 100 * (name == "dogs"), 30 + 5 * n, 60).save(root / name / f"{n}.png")
    cats = root / "cats"
    picture(20).convert("L").save(cats / "grey.png")
    picture(21).convert("P").save(cats / "palette.gif")
    picture(22).convert("CMYK").save(cats / "cmyk.jpg")
    picture(23).save(cats / "photo.jpg", quality=90)
    Image.fromarray((np.arange(2500).reshape(50, 50) * 26).astype(np.uint16)).save(cats / "deep.png")
    rgba = picture(24).convert("RGBA")
    rgba.putalpha(Image.linear_gradient("L").resize(rgba.size))
    rgba.save(cats / "ghost.png")
    picture(25).save(cats / "turned.webp")
    picture(26).save(cats / "Ünïcode, name.bmp")
    (cats / "empty.png").write_bytes(b"")
    (cats / "words.txt").write_text("no picture")
    (cats / "page.jpg").write_text("<html>404</html>")
    (cats / "cut.jpg").write_bytes(encoded(picture(27, 200, 200), "JPEG")[:-900])
    (cats / "cut.png").write_bytes(encoded(picture(28))[:300])
    (root / "cats" / ".hidden.png").write_bytes(b"x")
    return root


def test_a_messy_folder_becomes_a_store(folder, tmp_path):
    made = prepare(folder, tmp_path / "store", resolution="24x32")
    assert made.store.spec == Spec(24, 32, 3, ("cats", "dogs"))
    assert len(made.store) == 20
    reasons = {Path(name).name: reason for name, reason in made.skipped}
    assert reasons.keys() == {"empty.png", "words.txt", "page.jpg", "cut.jpg", "cut.png"}
    assert reasons["empty.png"] == "empty file"
    assert reasons["page.jpg"] == "not an image that can be read"
    assert reasons["cut.jpg"].startswith("damaged")
    assert sum("transparency" in note for note in made.notes) == 1
    assert np.bincount(made.store.labels).tolist() == [14, 6]
    rows = pq.read_table(tmp_path / "store" / "meta.parquet").to_pylist()
    assert len(rows) == 25
    assert [row["row"] for row in rows if row["dropped"] is None] == list(range(20))
    deep = next(row for row in rows if row["file"].endswith("deep.png"))
    assert (deep["height"], deep["width"], deep["label"]) == (50, 50, "cats")
    assert {path.name for path in tmp_path.iterdir()} == {"mess", "store"}, "something was left behind"


def test_folder_zip_and_csv_give_the_same_pictures(folder, tmp_path):
    archive = tmp_path / "mess.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as out:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                out.write(path, path.relative_to(tmp_path))
    one = prepare(folder, tmp_path / "one", resolution=16).store
    two = prepare(archive, tmp_path / "two", resolution=16).store
    assert two.spec == one.spec
    assert np.array_equal(one.read(np.arange(20)), two.read(np.arange(20)))
    assert np.array_equal(one.labels, two.labels)
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.png"))
    table = tmp_path / "labels.csv"
    table.write_text("file,label\n" + "".join(f'"{n}",{"odd" if i % 2 else "even"}\n' for i, n in enumerate(names)))
    three = prepare(folder, tmp_path / "three", resolution=16, labels=table)
    assert three.store.spec.classes == ("even", "odd")
    assert "no label" in {reason for _, reason in three.skipped}


@pytest.mark.parametrize("threads", [1, 3])
def test_preparing_again_gives_the_same_bytes(folder, tmp_path, threads, monkeypatch):
    one = prepare(folder, tmp_path / "one", resolution=16).store
    monkeypatch.setattr(os, "cpu_count", lambda: threads)
    two = prepare(folder, tmp_path / "two", resolution=16).store
    assert one.manifest == two.manifest


def test_equal_pictures_are_on_the_same_side(tmp_path):
    for n in range(60):
        (tmp_path / "in").mkdir(exist_ok=True)
        picture(n % 30).save(tmp_path / "in" / f"{n}.png")
    store = prepare(tmp_path / "in", tmp_path / "store", resolution=16, heldout=0.4).store
    sides: dict[bytes, set[int]] = {}
    for row, side in zip(store.read(np.arange(60)), store.splits, strict=True):
        sides.setdefault(row.tobytes(), set()).add(int(side))
    assert len(sides) == 30
    assert all(len(side) == 1 for side in sides.values())
    assert 10 < len(store.heldout) < 40


def test_published_splits_stand_and_their_leaks_are_dropped(tmp_path):
    for split, seeds in (("train", range(20)), ("test", range(15, 25))):
        (tmp_path / "in" / split).mkdir(parents=True)
        for n in seeds:
            picture(n).save(tmp_path / "in" / split / f"{n}.png")
    made = prepare(tmp_path / "in", tmp_path / "store", resolution=16)
    assert (len(made.store.train), len(made.store.heldout)) == (15, 10)
    assert {reason for _, reason in made.skipped} == {"equal to a held-out picture"}
    assert made.store.spec.classes == ()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_exif_rotation_is_applied(kind, orientation):
    upright = np.zeros((40, 24, 3), np.uint8)
    upright[:20, :12] = (250, 10, 10)
    undo = {2: 2, 3: 3, 4: 4, 5: 5, 6: 8, 7: 7, 8: 6}
    image = Image.fromarray(upright)
    if orientation in undo:
        from ganforge.sources.decode import TRANSPOSE

        image = image.transpose(TRANSPOSE[undo[orientation]])
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels, size = decode(encoded(image, kind, exif=exif), 3, WHITE, 64)
    assert size == (40, 24)
    assert np.abs(pixels.astype(int) - upright).mean() < 4


def test_transparency_is_laid_over_the_background_or_kept():
    ghost = Image.new("RGBA", (20, 20), (200, 0, 0, 0))
    data = encoded(ghost)
    assert decode(data, 3, (0, 0, 255), 20)[0][0, 0].tolist() == [0, 0, 255]
    assert decode(data, 4, (0, 0, 255), 20)[0][0, 0, 3] == 0
    assert decode(encoded(picture(0)), 4, WHITE, 20)[0][0, 0, 3] == 255


def test_sixteen_bits_keep_their_brightness():
    ramp = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    pixels, _ = decode(encoded(Image.fromarray(ramp)), 1, WHITE, 16)
    assert np.abs(pixels[..., 0].astype(int).ravel() - np.arange(256)).max() <= 1


def test_a_huge_header_is_refused_before_decoding():
    import struct
    import zlib

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
    data = (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 1000))
        + chunk(b"IEND", b"")
    )
    with pytest.raises(Skip, match="400 megapixels"):
        decode(data, 3, WHITE, 64)


def test_resize_is_pillows_bicubic():
    image = picture(3, 97, 131)
    ours = resize(torch.from_numpy(np.array(image)).permute(2, 0, 1)[None], 40, 56)[0].permute(1, 2, 0).numpy()
    theirs = np.asarray(image.resize((56, 40), Image.Resampling.BICUBIC))
    assert np.abs(ours.astype(int) - theirs).max() <= 2
    assert np.abs(ours.astype(int) - theirs).mean() < 0.5


def test_invisible_colours_do_not_bleed_into_edges():
    pixels = np.zeros((40, 40, 4), np.uint8)
    pixels[..., :3] = (0, 255, 0)
    pixels[10:30, 10:30] = (250, 0, 0, 255)
    small = fit(pixels[None], 16, 16, "crop", (0, 0, 0, 0))[0]
    visible = small[small[..., 3] > 20]
    assert len(visible) > 40
    assert (visible[:, 0] >= 248).all() and (visible[:, 1] <= 2).all()
    theirs = np.asarray(Image.fromarray(pixels).resize((16, 16), Image.Resampling.BICUBIC))
    assert np.abs(small[..., 3].astype(int) - theirs[..., 3]).max() <= 3  # Pillow rounds between its two passes


@pytest.mark.parametrize("how", ["crop", "pad", "letterbox", "stretch"])
def test_fit_shapes_and_fill(how):
    pixels = np.full((30, 90, 3), 200, np.uint8)
    out = fit(pixels[None], 60, 60, how, (1, 2, 3))[0]
    assert out.shape == (60, 60, 3)
    filled = (out == (1, 2, 3)).all(2).sum()
    assert filled == {"crop": 0, "stretch": 0, "letterbox": 60 * 40, "pad": 60 * 40}[how]
    small = fit(np.full((1, 10, 10, 3), 200, np.uint8), 20, 20, how, (1, 2, 3))[0]
    assert (small == 200).all() == (how != "pad")


@pytest.mark.parametrize(("text", "size"), [("64", (64, 64)), ("48x64", (48, 64)), (32, (32, 32))])
def test_resolution(text, size):
    assert parse_resolution(text) == size


@pytest.mark.parametrize("text", ["", "x", "64x", "0", "7", "64x64x3", "-64", "9999"])
def test_wrong_resolutions(text):
    with pytest.raises(GanforgeError):
        parse_resolution(text)


def test_doors_between_bytes_and_floats_are_exact():
    pixels = torch.arange(256, dtype=torch.uint8).reshape(1, 16, 16, 1)
    images = to_float(pixels)
    assert (images.min(), images.max()) == (-1, 1)
    assert torch.equal(to_uint8(images), pixels)


def test_grid_and_mark(tmp_path):
    sheet = grid(np.zeros((5, 4, 6, 3), np.uint8), columns=3, gap=2)
    assert sheet.shape == (2 * 6 - 2, 3 * 8 - 2, 3)
    assert sheet[5:, 16:].min() == 255
    write_image(tmp_path / "a.png", sheet, {"seeds": [1]})
    assert marks.read(tmp_path / "a.png") == {"generated": True, "seeds": [1]}
    assert b"trainedAlgorithmicMedia" in (tmp_path / "a.png").read_bytes()
    picture(0).save(tmp_path / "b.png")
    assert marks.read(tmp_path / "b.png") is None


# ------------------------------------------------------------------------------------------------------------ the store


def test_a_store_is_plain_numpy_with_one_byte_range_a_picture(tmp_path):
    store = make_store(tmp_path / "s", Spec(8, 10, 3), 20)
    plain = np.load(tmp_path / "s" / "images-00000.npy")
    assert plain.shape == (20, 8, 10, 3)
    raw = (tmp_path / "s" / "images-00000.npy").read_bytes()
    assert raw[4096 + 7 * 240 : 4096 + 8 * 240] == plain[7].tobytes()
    assert np.array_equal(store.read(np.array([7, 3])), plain[[7, 3]])
    assert store.manifest["mean"] == pytest.approx(plain.mean((0, 1, 2)).tolist())
    assert store.manifest["deviation"] == pytest.approx(plain.std((0, 1, 2)).tolist())


def test_shards_read_as_one(tmp_path):
    whole = make_store(tmp_path / "one", Spec(8, 8, 1), 50)
    parts = make_store(tmp_path / "many", Spec(8, 8, 1), 50, shards=8)
    assert len(parts.shards) == 8
    rows = np.random.default_rng(0).permutation(50)
    assert np.array_equal(whole.read(rows), parts.read(rows))
    parts.verify()


def _edit(path: Path, offset: int) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    "damage",
    [
        lambda s: (s / "images-00000.npy").write_bytes((s / "images-00000.npy").read_bytes()[:-1]),
        lambda s: _edit(s / "images-00000.npy", 60),
        lambda s: _edit(s / "labels.npy", -1),
        lambda s: (s / "splits.npy").unlink(),
        lambda s: (s / "manifest.json").write_text(
            (s / "manifest.json").read_text().replace('"rows": 20', '"rows": 21', 1)
        ),
        lambda s: (s / "manifest.json").write_text("{"),
        lambda s: (s / "manifest.json").write_text("[]"),
        lambda s: (s / "manifest.json").unlink(),
    ],
)
def test_a_damaged_store_is_refused(tmp_path, damage):
    make_store(tmp_path / "s", Spec(8, 8, 1), 20)
    damage(tmp_path / "s")
    with pytest.raises(StoreError):
        Store(tmp_path / "s")


def test_one_changed_pixel_is_found(tmp_path, fails):
    store = make_store(tmp_path / "s", Spec(8, 8, 1), 20)
    store.verify()
    _edit(tmp_path / "s" / "images-00000.npy", 4096 + 500)
    assert "images-00000.npy has another SHA-256" in fails("show", tmp_path / "s")


def test_a_full_disk_leaves_nothing(folder, tmp_path):
    code = f"""
import resource, sys
from ganforge.cli import main
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
sys.exit(main(["prepare", {str(folder)!r}, "-o", {str(tmp_path / "out")!r}, "--resolution", "64"]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert "cannot be written" in done.stderr
    assert "Traceback" not in done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"mess"}


# ----------------------------------------------------------------------------------------------------------- the stream


def test_picture_n_depends_on_seed_and_n_alone(tmp_path):
    store = make_store(tmp_path / "s", Spec(8, 8, 1, ("a", "b")), 50)
    cpu = torch.device("cpu")
    whole = Stream(store, 3, cpu, mirror=True).batch(0, 120)
    parts = [Stream(store, 3, cpu, mirror=True).batch(start, 10) for start in range(0, 120, 10)]
    assert torch.equal(whole.images, torch.cat([p.images for p in parts]))
    assert torch.equal(whole.labels, torch.cat([p.labels for p in parts]))
    other = Stream(store, 4, cpu, mirror=True).batch(0, 120)
    assert not torch.equal(whole.images, other.images)


def test_an_epoch_shows_every_training_picture_once_in_a_new_order(tmp_path):
    store = make_store(tmp_path / "s", Spec(8, 8, 1), 50)
    stream = Stream(store, 0, torch.device("cpu"))
    first, second = stream.order(0, 40), stream.order(40, 40)
    assert np.array_equal(np.sort(first), np.arange(40))
    assert np.array_equal(np.sort(second), np.arange(40))
    assert not np.array_equal(first, second)


def test_mirroring_flips_about_half_and_only_sideways(tmp_path):
    store = make_store(tmp_path / "s", Spec(8, 8, 3), 50)
    plain = Stream(store, 0, torch.device("cpu")).batch(0, 200).images
    mirrored = Stream(store, 0, torch.device("cpu"), mirror=True).batch(0, 200).images
    same = (plain == mirrored).flatten(1).all(1)
    flipped = (plain.flip(3) == mirrored).flatten(1).all(1)
    assert (same | flipped).all()
    assert 60 < int(flipped.sum()) < 140


# ------------------------------------------------------------------------------------------------------ published files


def _idx(path: Path, array: np.ndarray) -> None:
    header = bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
    path.write_bytes(gzip.compress(header + array.tobytes()))


def test_idx_files(tmp_path, fails):
    rng, root = np.random.default_rng(0), tmp_path / "in"
    root.mkdir()
    for prefix, count in (("train", 30), ("t10k", 12)):
        _idx(root / f"{prefix}-images-idx3-ubyte.gz", rng.integers(0, 256, (count, 28, 28), dtype=np.uint8))
        _idx(root / f"{prefix}-labels-idx1-ubyte.gz", (np.arange(count) % 10).astype(np.uint8))
    store = prepare(root, tmp_path / "store").store
    assert (len(store.train), len(store.heldout), store.spec.channels, len(store.spec.classes)) == (30, 12, 1, 10)
    whole = (root / "train-images-idx3-ubyte.gz").read_bytes()
    (root / "train-images-idx3-ubyte.gz").write_bytes(whole[:-500])
    assert "cannot be read" in fails("prepare", root, "-o", tmp_path / "again")
    _idx(root / "train-images-idx3-ubyte.gz", rng.integers(0, 256, (29, 28, 28), dtype=np.uint8))
    assert "do not fit" in fails("prepare", root, "-o", tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_cifar_binary_files(tmp_path):
    rng, root = np.random.default_rng(0), tmp_path / "in"
    root.mkdir()
    for name in ("data_batch_1", "test_batch"):
        records = rng.integers(0, 256, (20, 3073), dtype=np.uint8)
        records[:, 0] %= 10
        (root / f"{name}.bin").write_bytes(records.tobytes())
    store = prepare(root, tmp_path / "store").store
    assert (len(store.train), len(store.heldout), store.spec.classes[3]) == (20, 20, "cat")
    last = np.frombuffer((root / "data_batch_1.bin").read_bytes(), np.uint8).reshape(-1, 3073)[-1]
    assert np.array_equal(store.read(np.array([39]))[0].transpose(2, 0, 1).ravel(), last[1:])


def test_real_mnist(real_data, tmp_path):
    from ganforge.collecting.collect import collect

    store = prepare(collect("mnist", tmp_path / "mnist", real_data / "mnist"), tmp_path / "store").store
    assert (len(store.train), len(store.heldout)) == (60_000, 10_000)
    assert store.manifest["mean"][0] == pytest.approx(33.385, abs=0.01)  # of all 70,000: 0.1309 of 255
    assert np.bincount(store.labels[store.heldout]).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert len((tmp_path / "mnist" / "provenance.csv").read_text().splitlines()) == 5


def test_real_cifar10(real_data, tmp_path):
    from ganforge.collecting.collect import collect

    source = real_data / "cifar10"
    labels = np.fromfile(source / "labels.u8", np.uint8)
    (tmp_path / "from").mkdir()
    for n, name in enumerate([f"train_{n}" for n in range(1, 6)] + ["test"]):
        mosaic = np.asarray(Image.open(source / f"{name}.webp").convert("RGB"))
        tiles = mosaic.reshape(100, 32, 100, 32, 3).transpose(0, 2, 4, 1, 3).reshape(10_000, 3072)
        file = "test_batch.bin" if name == "test" else f"data_batch_{name[-1]}.bin"
        records = np.concatenate([labels[n * 10_000 : (n + 1) * 10_000, None], tiles], 1)
        (tmp_path / "from" / file).write_bytes(records.tobytes())
    store = prepare(collect("cifar10", tmp_path / "cifar10", tmp_path / "from"), tmp_path / "store").store
    assert (len(store.train), len(store.heldout), str(store.spec)) == (50_000, 10_000, "32x32 RGB, 10 classes")
    assert np.bincount(store.labels[store.train]).tolist() == [5000] * 10
    mean = store.read(store.train).mean((0, 1, 2)) / 255
    assert mean == pytest.approx([0.4914, 0.4822, 0.4465], abs=1e-4)  # the figures that everybody normalises with


def test_real_flowers_keep_their_duplicates_together(real_data, tmp_path):
    made = prepare(real_data / "flowers" / "flowers128.zip", tmp_path / "store", resolution="24x32")
    assert len(made.store) == 3670
    assert made.skipped_count == 0
    assert made.store.spec.classes == ("daisy", "dandelion", "roses", "sunflowers", "tulips")
    rows = pq.read_table(tmp_path / "store" / "meta.parquet", columns=["sha256", "split"]).to_pylist()
    sides: dict[bytes, list[str]] = {}
    for row in rows:
        sides.setdefault(row["sha256"], []).append(row["split"])
    twins = [side for side in sides.values() if len(side) > 1]
    assert len(twins) == 3
    assert all(len(set(side)) == 1 for side in twins)


def test_real_emoji_keep_their_alpha(real_data, tmp_path):
    mosaic = Image.open(real_data / "emoji" / "emoji_0.webp").convert("RGBA")
    (tmp_path / "in").mkdir()
    for n in range(40):
        left, top = n % 30 * 128, n // 30 * 128
        mosaic.crop((left, top, left + 128, top + 128)).save(tmp_path / "in" / f"{n}.png")
    store = prepare(tmp_path / "in", tmp_path / "store", resolution=32, channels=4).store
    pixels = store.read(np.arange(40))
    assert pixels[..., 3].min() == 0
    assert pixels[..., 3].max() == 255
    flat = prepare(tmp_path / "in", tmp_path / "flat", resolution=32, background="#00ff00")
    assert flat.store.read(np.array([0]))[0, 0, 0].tolist() == [0, 255, 0]
    assert any("--channels 4" in note for note in flat.notes)


def test_collect_checks_what_it_gets(tmp_path, fails):
    (tmp_path / "from").mkdir()
    assert "has no train-images" in fails("collect", "mnist", "--from", tmp_path / "from", "--out", tmp_path / "o")
    (tmp_path / "from" / "train-images-idx3-ubyte.gz").write_bytes(b"x" * 9912422)
    assert "is not the original" in fails("collect", "mnist", "--from", tmp_path / "from", "--out", tmp_path / "o")
    assert not (tmp_path / "o").exists()
    assert "Did you mean mnist?" in fails("collect", "mnits")


def test_no_network_is_one_sentence_that_names_both_ways(tmp_path, fails, monkeypatch):
    import urllib.error
    import urllib.request

    def nothing(*_: object, **__: object) -> None:
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setattr(urllib.request, "urlopen", nothing)
    said = fails("collect", "mnist", "--out", tmp_path / "o")
    assert "Connect to the network" in said
    assert "--from FOLDER" in said


def test_digits_need_no_network(tmp_path):
    from ganforge.collecting.collect import collect

    out = collect("digits", tmp_path / "digits")
    assert len(list(out.rglob("*.png"))) == 1797
    lines = (out / "provenance.csv").read_text().splitlines()
    assert len(lines) == 1798
    assert collect("digits", out) == out


def test_errors_of_prepare(tmp_path):
    (tmp_path / "one").mkdir()
    picture(0).save(tmp_path / "one" / "a.png")
    with pytest.raises(DataError, match="1 usable picture; at least 8"):
        prepare(tmp_path / "one", tmp_path / "o")
    assert json.dumps([p.name for p in tmp_path.iterdir()]) == '["one"]'


def _text(keyword: str, value: str) -> PngInfo:
    info = PngInfo()
    info.add_itxt(keyword, value)
    return info


TURNED = '<x:xmpmeta xmlns:tiff="http://ns.adobe.com/tiff/1.0/"><rdf tiff:Orientation="6"/></x:xmpmeta>'


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "1", "LA"])
@pytest.mark.parametrize(
    ("options", "upright"),
    [
        ({}, True), ({"dpi": (72, 72)}, True), ({"pnginfo": _text("Software", "a pencil")}, True),
        ({"pnginfo": _text("Comment", "x" * 70_000)}, True), ({"pnginfo": _text("XML:com.adobe.xmp", TURNED)}, False),
        ({"optimize": True}, True), ({"compress_level": 0}, True),
    ],
)  # fmt: skip
def test_every_png_has_pillows_pixels(mode, options, upright):
    coarse = Image.fromarray(np.random.default_rng(3).integers(0, 256, (9, 14, 3), np.uint8)).resize((90, 140))
    data = encoded(coarse.convert(mode), **options)
    with Image.open(io.BytesIO(data)) as file:
        assert (orientation_of(file) == 1) == upright
        wanted = ImageOps.exif_transpose(file)
        wanted = wanted.convert("RGBA")
        wanted = Image.alpha_composite(Image.new("RGBA", wanted.size, "white"), wanted).convert("RGB")
    pixels, size = decode(data, 3, WHITE, 64)
    assert size == ((140, 90) if upright else (90, 140))
    assert np.array_equal(pixels, np.asarray(wanted))
