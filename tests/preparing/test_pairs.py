"""Two folders become a store of pairs, and a run of it."""

from __future__ import annotations

import json
import re
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from ganforge.base import marks
from ganforge.base.errors import DataError, InputError, StoreError
from ganforge.cli import main
from ganforge.measuring.measure import measure
from ganforge.media.pair import Pair
from ganforge.media.spec import Spec, to_float, to_uint8
from ganforge.preparing import pairs
from ganforge.preparing.convert import Plan
from ganforge.preparing.prepare import _ray_part, prepare, prepare_shard
from ganforge.sampling import write as write_samples
from ganforge.showing import show
from ganforge.sources.entry import Skip
from ganforge.store import augment, history
from ganforge.store.provenance import Origin
from ganforge.training.train import train
from synthetic import picture

PALETTE = [200, 0, 0, 0, 200, 0, 0, 0, 200]


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> Path:
    """20 pictures of two classes: `wanted` in RGB, `grey` at half the size, and `maps` of three brightnesses."""
    root: Path = tmp_path_factory.mktemp("folders")
    for n in range(20):
        label, wanted = ("cats", "dogs")[n % 2], picture(n, 32, 40)
        grey = wanted.convert("L")
        ids = Image.fromarray((np.asarray(grey) // 86).astype(np.uint8))
        ids.putpalette(PALETTE)
        halves = {"wanted": (wanted, "bmp"), "grey": (grey.resize((20, 16)), "png"), "maps": (ids, "png")}
        for folder, (image, suffix) in halves.items():
            (root / folder / label).mkdir(parents=True, exist_ok=True)
            image.save(root / folder / label / f"{n}.{suffix}")
    return root


def prepared(root: Path, out: Path, given: str = "grey", **options: Any) -> Any:
    return prepare(root / given, out, pair=root / "wanted", **{"resolution": 16, **options})


@pytest.fixture(scope="module")
def store(folders, tmp_path_factory) -> Any:
    return prepared(folders, tmp_path_factory.mktemp("pairs") / "store", heldout=0.4).store


@pytest.fixture
def messy(folders, tmp_path) -> Path:
    """The same, and files that make no pair."""
    root = tmp_path / "messy"
    shutil.copytree(folders, root)
    for name in ("grey/cats/lonely.png", "wanted/cats/only.png", "wanted/cats/bad.png", "grey/cats/two.png",
                 "grey/cats/two.bmp", "wanted/cats/two.png"):  # fmt: skip
        Image.new("L", (20, 16)).save(root / name)
    (root / "grey/cats/bad.png").write_bytes(b"no picture")
    for name in ("grey/cats/words.txt", "grey/cats/2.txt", "wanted/cats/2.csv"):  # the latter two beside a pair
        (root / name).write_text("no picture")
    Image.new("L", (20, 40)).save(root / "grey/cats/tall.png")
    Image.new("L", (40, 20)).save(root / "wanted/cats/tall.png")
    return root


# -------------------------------------------------------------------------------------------------------------- stores


def test_two_folders_become_a_store_of_pairs(folders, store):
    assert store.spec == Spec(16, 16, 4, ("cats", "dogs"), medium=Pair(1))
    given, wanted = store.spec.medium.split(store.read(np.arange(20)))
    grey = wanted @ np.array([[0.299], [0.587], [0.114]])
    assert np.abs(given - grey).mean() < 4, "each beside its own picture"
    names = [row["file"] for row in pq.read_table(store.path / "meta.parquet").to_pylist()]
    assert names == sorted(f"{label}/{n}.png" for n in range(20) for label in [("cats", "dogs")[n % 2]])
    assert store.labels.tolist() == [int(name.startswith("dogs")) for name in names]
    row = names.index("dogs/7.png")
    alone = prepare(folders / "wanted", store.path.with_name("alone"), resolution=16).store
    assert np.array_equal(wanted[row], alone.read(np.array([row]))[0]), "fitted as any picture"
    step = history.read(store.path)[-1]
    assert (step["source"], step["wanted"]) == ("grey", "wanted")
    card = (store.path / "README.md").read_text()
    assert "image-to-image" in card
    assert "20 pairs of 16x16, grey given, RGB wanted" in card


def test_what_makes_no_pair_is_named(messy, store, tmp_path):
    made = prepared(messy, tmp_path / "store", heldout=0.4)
    reasons = dict(made.skipped)
    assert reasons == {
        "cats/bad.png": "not an image that can be read (given)",
        "cats/lonely.png": "no partner among the wanted pictures",
        "cats/only.png": "no partner among the given pictures",
        "cats/tall.png": "two aspect ratios: 40x20 given, 20x40 wanted, more than 2% apart",
        "cats/two.bmp": "several given pictures of one name: 'cats/two.bmp', 'cats/two.png'",
        "cats/two.png": "several given pictures of one name: 'cats/two.bmp', 'cats/two.png'",
        "cats/words.txt": "not a picture: .txt file (given)",
        "cats/2.txt": "not a picture: .txt file (given)",
        "cats/2.csv": "not a picture: .csv file (wanted)",
    }
    assert made.unusable == 10, "cats/two.png of both"
    assert np.array_equal(made.store.read(np.arange(20)), store.read(np.arange(20)))


def test_maps_of_ids_keep_ids_and_colours(folders, tmp_path):
    made = prepared(folders, tmp_path / "store", "maps", ids=5, resolution="16x20")
    medium = made.store.spec.medium
    assert medium == Pair(1, ("0 #c80000", "1 #00c800", "2 #0000c8"))
    assert "given: maps of 3 ids: 0, 1, 2" in made.notes
    given, _ = medium.split(made.store.read(np.arange(20)))
    assert set(np.unique(given)) == {0, 1, 2}
    name = pq.read_table(tmp_path / "store" / "meta.parquet")["file"][0].as_py()
    with Image.open(folders / "maps" / name) as image:
        whole = np.asarray(image)
    assert np.array_equal(given[0, ..., 0], whole[1::2, 1::2]), "the nearest one, none mixed"
    assert "nearest" in made.store.manifest["recipe"]["resize"]
    assert "0 is 0 #c80000" in (tmp_path / "store" / "README.md").read_text()
    assert any("3 ids given" in line for line in show(tmp_path / "store", "flip"))
    with Image.open(tmp_path / "store" / "sheet.png") as sheet:
        colours = {colour for _, colour in sheet.getcolors(1 << 20)}
    assert {(200, 0, 0), (0, 200, 0), (0, 0, 200)} <= colours
    with Image.open(tmp_path / "store" / "augmented.png") as sheet:
        assert sheet.mode == "RGB"


def test_maps_that_are_none_are_named(folders, tmp_path):
    root = tmp_path / "in"
    shutil.copytree(folders, root)
    smooth = Image.open(root / "wanted/cats/0.bmp").convert("L")
    smooth.save(root / "maps/cats/0.png")
    made = prepared(root, tmp_path / "store", "maps", ids=3)
    assert [name for name, _ in made.skipped] == ["cats/0.png"]
    assert "too many ids" in made.skipped[0][1] and made.skipped[0][1].endswith("(given)")
    with pytest.raises(DataError, match=r"at most 2 ids: 'cats/0.png': too many ids: 3, more than 2"):
        prepared(folders, tmp_path / "few", "maps", ids=2)
    with pytest.raises(DataError, match="None of the given pictures is a map of at most 3 ids"):
        prepare(root / "wanted", tmp_path / "none", pair=root / "maps", ids=3)
    assert {path.name for path in tmp_path.iterdir()} == {"in", "store"}


def test_zips_and_folders_pair_alike(folders, store, tmp_path):
    archives = {}
    for name in ("grey", "wanted"):
        with zipfile.ZipFile(tmp_path / f"{name}.zip", "w") as archive:
            for path in sorted((folders / name).rglob("*.*")):
                archive.write(path, path.relative_to(folders))
        archives[name] = tmp_path / f"{name}.zip"
    for n, (given, wanted) in enumerate(
        ((archives["grey"], folders / "wanted"), (folders / "grey", archives["wanted"]))
    ):
        other = prepare(given, tmp_path / f"{n}", pair=wanted, resolution=16, heldout=0.4).store
        assert other.root == store.root


def test_stopped_in_shards_and_on_other_threads_it_is_the_same(folders, tmp_path, monkeypatch):
    options = {"pair": folders / "wanted", "resolution": 16, "ids": 4, "part_size": 6}
    whole = prepare(folders / "maps", tmp_path / "whole", **options).store
    assert prepare_shard(folders / "maps", tmp_path / "parts", 1, 2, **options) == (2, 4)
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    assert prepare(folders / "maps", tmp_path / "parts", **options).store.root == whole.root
    prepare_shard(folders / "maps", tmp_path / "other", 1, 2, **options)
    with pytest.raises(StoreError, match="an unfinished store with another"):
        prepare(folders / "grey", tmp_path / "other", pair=folders / "wanted", resolution=16)


def test_a_plan_of_pairs_goes_to_another_machine(folders, tmp_path):
    prepare_shard(folders / "grey", tmp_path / "s", 0, 2, pair=folders / "wanted", part_size=6)
    text = (tmp_path / ".s.parts" / "plan.json").read_text()
    plan = Plan.from_plain(json.loads(text))
    assert json.loads(json.dumps(plan.to_plain())) == json.loads(text)
    assert [half.spec.channels for half in plan.half_plans] == [1, 3]
    part = tmp_path / ".s.parts" / "part-00002"
    assert _ray_part(plan.to_plain(), 2, str(tmp_path / "remote")) == 6
    assert (tmp_path / "remote" / "images.npy").read_bytes() == (part / "images.npy").read_bytes()


def test_each_half_has_channels_and_bits_of_its_own(folders, tmp_path):
    for path in (folders / "grey").rglob("*.png"):
        new = tmp_path / "deep" / path.relative_to(folders / "grey")
        new.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.asarray(Image.open(path)).astype(np.uint16) * 4).save(new)
    made = prepare(tmp_path / "deep", tmp_path / "store", pair=folders / "wanted", resolution=16, channels=4)
    assert made.store.spec.channels == 5 and made.store.spec.medium == Pair(1)
    given = made.store.read(np.arange(20))[..., :1]
    plain = prepared(folders, tmp_path / "plain").store.read(np.arange(20))[..., :1]
    assert np.abs(given.astype(int) - plain).max() <= 2, "10 bits"
    assert made.store.manifest["recipe"]["given_depth"] == "integers 0 to 1,023"


def test_one_window_for_both(tmp_path):
    """A bright spot at one place of both stays at one place, whatever the fit and whichever half is larger."""
    for fit in ("crop", "smart", "letterbox", "pad", "stretch"):
        for small, large in (((12, 30), (24, 60)), ((24, 60), (12, 30))):
            halves = []
            for height, width in (small, large):
                half = np.zeros((height, width, 1), np.uint8)
                half[height // 3 : height // 2, width // 2 : width * 3 // 5] = 255
                halves.append(half)
            spec = Spec(16, 16, 2, medium=Pair(1))
            row = pairs.fit_both(halves[0], halves[1], spec, Pair(1), fit, [(0,), (0,)])
            assert row.shape == (16, 16, 2)
            centres = [np.argwhere(row[..., n] > 100).mean(0) for n in range(2)]
            assert np.abs(centres[0] - centres[1]).max() < 0.6, (fit, small)


def test_aspect_ratios_may_differ_by_what_rounding_does():
    for sizes in (((25, 37), (100, 150)), ((8, 12), (101, 150)), ((100, 100), (50, 51)), ((10, 10), (10, 10))):
        pairs.check_aspects(*sizes)
        pairs.check_aspects(*reversed(sizes))
    for sizes in (((100, 100), (100, 103)), ((20, 30), (30, 20)), ((8, 8), (100, 140))):
        with pytest.raises(Skip, match="two aspect ratios"):
            pairs.check_aspects(*sizes)


def test_the_rights_of_a_pair_are_those_of_both():
    one, other = Origin("a.png", "x", "MIT", "A"), Origin("b.png", "y", "", "B")
    assert pairs.origin_of(one, one._replace(original="b.png")) == one
    assert pairs.origin_of(one, other) == Origin("a.png", "x; y", "MIT AND NOASSERTION", "A; B")


# ------------------------------------------------------------------------------------------------------------ mistakes


def test_folders_that_do_not_pair_are_one_sentence(folders, tmp_path, fails):
    out = ["-o", tmp_path / "x"]
    shutil.copytree(folders / "wanted", tmp_path / "deeper" / "all" / "wanted")
    for words, sentence in (
        (["--pair", tmp_path / "deeper"], "holds 'cats/0.png', .* 'all/wanted/cats/0.bmp'. Give the two of a pair"),
        (["--pair", folders / "grey" / "cats"], "lie in each other"),
        (["--pair", folders / "grey"], "are one folder or lie in each other"),
        (["--pair", tmp_path / "missing"], "does not exist"),
        (["--ids", 3], "--ids says that given pictures are maps"),
        (["--pair", folders / "wanted", "--medium", "clip"], "--pair joins pictures, not clips"),
        (["--pair", folders / "wanted", "--audit", tmp_path], "An audit is about single pictures"),
        (["--pair", folders / "wanted", "--normalise", "range"], "--normalise range is for single pictures"),
        (["--pair", folders / "wanted", "--ids", 3, "--fit", "pad"], "--fit pad puts a border"),
        (["--pair", folders / "wanted", "--frames", 3], "--frames has no effect on files that are read as pairs"),
        (["--pair", folders / "wanted", "--format", "parquet"], "--format parquet is for single pictures"),
    ):
        message = fails("prepare", folders / "grey", *words, *out)
        assert re.search(sentence, message), message
    assert {path.name for path in tmp_path.iterdir()} == {"deeper"}


def test_a_store_is_no_half_of_pairs(folders, store, tmp_path):
    alone = prepare(folders / "wanted", tmp_path / "alone", resolution=16).store
    with pytest.raises(InputError, match="holds no files whose names could be joined"):
        prepare(folders / "grey", tmp_path / "x", pair=alone.path)


def test_what_is_for_single_pictures_says_so(store, run, folders, tmp_path, fails):
    for words in (
        ("audit", store.path),
        ("prepare", store.path, "-o", tmp_path / "x"),
        ("measure", folders / "wanted", "--store", store.path),
        ("sample", run.path, "--walk"),
        ("train", "dae", store.path),
        ("train", "dcgan", store.path, "--train.augment", "flip, contrast"),
        ("train", "dcgan", store.path, "--model.augment", "ada"),
    ):
        assert "pictures" in fails(*words), words
    maps = prepared(folders, tmp_path / "maps", "maps", ids=3).store
    assert "or prepare them without --ids, as pictures" in fails("train", "dcgan", maps.path)


# ---------------------------------------------------------------------------------------------------------------- runs


@pytest.fixture(scope="module")
def run(store, tmp_path_factory) -> Any:
    overrides = {
        "model": {"width": 8, "latent": 8},
        "train": {"images": 64, "batch": 16, "precision": "fp32", "mirror": True, "augment": "shift 0.1"},
    }
    return train("gan", store, tmp_path_factory.mktemp("runs") / "run", size="small", overrides=overrides)


def test_a_system_of_pictures_makes_both_halves(run, tmp_path):
    assert run.spec.medium == Pair(1)
    (sheet,) = write_samples(run, [0, 1, 2, 3], tmp_path / "a.png", True)
    with Image.open(sheet) as image:
        assert image.mode == "RGB"
    mark = marks.read(sheet)
    assert mark is not None and mark["seeds"] == [0, 1, 2, 3]
    several = write_samples(run, [4, 5], tmp_path / "each", False)
    with Image.open(several[1]) as image:
        assert (image.mode, image.size) == ("RGB", (32, 16))
    assert "protocol" in str(measure(run, samples=16))
    assert (run.path / "samples").is_dir()


def test_geometry_moves_both_halves(store):
    rows = store.read(np.arange(8))
    rows[..., 1:] = rows[..., :1]
    changes = augment.parse("flip, rotate 30, shift 0.2, scale, crop, perspective", "train.augment", store.spec)
    out = to_uint8(augment.apply(to_float(torch.from_numpy(rows), store.spec), changes, 0, np.arange(8), store.spec))
    assert not np.array_equal(out[..., 0], rows[..., 0])
    assert all(np.array_equal(out[..., 0], out[..., n]) for n in range(1, 4))


def test_the_command_line(folders, tmp_path, capsys):
    out = tmp_path / "s"
    words = ["prepare", folders / "maps", "--pair", folders / "wanted", "--ids", 3, "-o", out, "--resolution", 16]
    assert main([str(word) for word in words]) == 0
    assert "20 pairs of 16x16, 3 ids given, RGB wanted, 2 classes" in capsys.readouterr().out
