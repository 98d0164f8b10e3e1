"""Solids: from files to a store, a run, samples and numbers; and what says that it is for pictures."""

from __future__ import annotations

import io
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ganforge.base import marks
from ganforge.base.errors import DataError, InputError
from ganforge.cli import main
from ganforge.collecting import shapes
from ganforge.measuring.measure import measure, measure_folder
from ganforge.media import surface
from ganforge.media.solid import Solid
from ganforge.media.spec import Spec
from ganforge.preparing.prepare import prepare
from ganforge.report import write as write_report
from ganforge.sampling import write as write_samples
from ganforge.showing import show
from ganforge.store.store import Store
from ganforge.training.train import train

SIDE = 16
KINDS = ("ball", "chair", "torus")


def make_solids(folder: Path, each: int = 16, side: int = SIDE) -> Path:
    for kind in KINDS:
        (folder / kind).mkdir(parents=True)
        for number in range(each):
            np.save(folder / kind / f"{number}.npy", shapes.shape(kind, number, side))
    return folder


@pytest.fixture(scope="module")
def solids(tmp_path_factory) -> Store:
    folder = tmp_path_factory.mktemp("solids")
    return prepare(make_solids(folder / "files"), folder / "store", heldout=0.25).store


@pytest.fixture(scope="module")
def run(tmp_path_factory, solids):
    length = {"train": {"images": 64, "batch": 16, "precision": "fp32"}}
    return train("cgan", solids, tmp_path_factory.mktemp("runs") / "run", size="small", overrides=length)


def test_a_folder_of_arrays_is_read_as_solids(solids):
    assert solids.spec == Spec(SIDE, SIDE, SIDE, KINDS, medium=Solid())
    assert str(solids.spec) == "16x16x16 voxels, 3 classes"
    assert len(solids) == 48
    rows = solids.read(np.flatnonzero(solids.labels == 1))
    made = {shapes.shape("chair", number, SIDE).tobytes() for number in range(16)}
    assert {row.tobytes() for row in rows} == made, "voxel for voxel"


def test_every_kind_of_file_in_one_folder_and_in_a_zip(tmp_path, capsys):
    trimesh = pytest.importorskip("trimesh", reason='trimesh comes with pip install ".[solid]"')
    folder = make_solids(tmp_path / "in", 4)
    np.save(folder / "torus" / "several.npy", np.stack([shapes.shape("torus", n, SIDE) for n in range(50, 53)]))
    ball = trimesh.creation.icosphere(2)
    ball.export(folder / "ball" / "mesh.ply")
    ball.update_faces(np.arange(len(ball.faces)) > 0)
    for n, suffix in enumerate((".stl", ".off")):
        ball.apply_scale((1, 1, 1 + n))
        ball.export(folder / "ball" / f"open{suffix}")
    (folder / "chair" / "cut.npy").write_bytes((folder / "chair" / "0.npy").read_bytes()[:1000])
    (folder / "chair" / "notes.txt").write_text("notes")
    with zipfile.ZipFile(tmp_path / "in.zip", "w") as archive:
        for file in sorted(folder.rglob("*.*")):
            archive.write(file, file.relative_to(folder))
    stores = []
    for source in (folder, tmp_path / "in.zip"):
        assert main(["prepare", str(source), "-o", str(tmp_path / f"s{len(stores)}"), "--resolution", str(SIDE)]) == 2
        printed = capsys.readouterr().out
        assert "2 not watertight: its surface and what that encloses are taken ('ball/open.off', 'ball/open.stl')" in (
            printed
        )
        assert "'chair/cut.npy': cut short: 872 of 4,096 bytes" in printed
        assert "'chair/notes.txt': not a solid: .txt file" in printed
        assert "18 solids of 16x16x16 voxels, 3 classes" in printed
        stores.append(Store(tmp_path / f"s{len(stores)}"))
    assert stores[0].root == stores[1].root


def test_the_side_follows_the_files(tmp_path):
    make_solids(tmp_path / "in", 4, 24)
    np.save(tmp_path / "in" / "ball" / "large.npy", shapes.shape("ball", 9, 48))
    prepared = prepare(tmp_path / "in", tmp_path / "s")
    assert prepared.store.shape == (24, 24, 24)
    assert any("1 of 13 solids looked at have another longest side" in note for note in prepared.notes)


def test_parts_and_their_order_change_nothing(tmp_path, solids):
    other = prepare(solids.path.parent / "files", tmp_path / "b", heldout=0.25, part_size=5).store
    assert np.array_equal(other.splits, solids.splits)
    assert np.array_equal(other.read(np.arange(48)), solids.read(np.arange(48)))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"frames": 4}, "--frames has no effect on files that are read as solids"),
        ({"fit": "pad"}, "--fit has no effect"),
        ({"background": "red"}, "--background has no effect"),
        ({"channels": 3}, "--channels has no effect"),
        ({"normalise": "image"}, "--normalise image is for pictures"),
        ({"resolution": "16x24"}, "the side of a cube, 8 to 128"),
        ({"resolution": 256}, "the side of a cube, 8 to 128"),
        ({"medium": "picture"}, "holds solids and no pictures"),
        ({"medium": "clip"}, "holds solids and no pictures"),
        ({"medium": "sound"}, "holds no sounds"),
    ],
)
def test_settings_that_do_not_fit_solids_are_refused(tmp_path, solids, options, sentence):
    with pytest.raises((InputError, DataError), match=sentence):
        prepare(solids.path.parent / "files", tmp_path / "store", **options)
    assert not list(tmp_path.iterdir())


def test_a_folder_without_solids_says_so(tmp_path):
    (tmp_path / "in").mkdir()
    for n in range(9):
        Image.new("L", (8, 8), n).save(tmp_path / "in" / f"{n}.png")
    with pytest.raises(DataError, match=r"holds no solids: no file ends in \.binvox"):
        prepare(tmp_path / "in", tmp_path / "s", medium="solid")
    shutil.rmtree(tmp_path / "in")
    (tmp_path / "in").mkdir()
    np.save(tmp_path / "in" / "a.npy", np.ones(9))
    with pytest.raises(DataError, match="no solids that can be read: an array of 1 dimensions"):
        prepare(tmp_path / "in", tmp_path / "s")


# ---------------------------------------------------------------------------------------------------- runs and samples


def test_a_sheet_has_a_picture_and_all_voxels(run, tmp_path):
    written = write_samples(run, [0, 1, 2], tmp_path / "a.png", True)
    assert written == [tmp_path / "a.png", tmp_path / "a.npy"]
    assert write_samples(run, [0, 1, 2], tmp_path / "b.npy", True) == [tmp_path / "b.png", tmp_path / "b.npy"]
    assert (tmp_path / "a.npy").read_bytes() == (tmp_path / "b.npy").read_bytes()
    rows = np.load(tmp_path / "a.npy")
    assert rows.shape == (3, SIDE, SIDE, SIDE) and rows.dtype == np.uint8
    for file in written:
        mark = marks.read(file)
        assert mark is not None
        assert (mark["generated"], mark["seeds"], mark["run"]) == (True, [0, 1, 2], run.path.name)
    with Image.open(tmp_path / "a.png") as sheet:
        assert sheet.mode == "L"


def test_a_mesh_a_seed_watertight_and_the_same_in_any_company(run, tmp_path):
    several = write_samples(run, [4, 5, 6], tmp_path / "several", False, "torus")
    alone = write_samples(run, [5], tmp_path / "alone", False, "torus")
    assert several[1].name == alone[0].name == "seed-000005-class-2.stl"
    assert several[1].read_bytes() == alone[0].read_bytes()
    mark = marks.read(alone[0])
    assert mark is not None and mark["labels"] == ["torus"]
    assert (tmp_path / "alone" / "seed-000005-class-2.stl.json").is_file()
    trimesh = pytest.importorskip("trimesh", reason='trimesh comes with pip install ".[solid]"')
    for file in several:
        mesh = trimesh.load(file, force="mesh")
        assert mesh.is_empty or (mesh.is_watertight and mesh.volume > 0)


def test_voxels_to_a_mesh_and_back(tmp_path):
    """Apart from the size, which a mesh that is read fills the cube with."""
    pytest.importorskip("trimesh", reason='trimesh comes with pip install ".[solid]"')
    from ganforge.media import voxels

    solid = np.zeros((16, 16, 16), np.uint8)
    solid[1:15, 4:9, 6:12] = 255
    Solid().write(tmp_path / "a.stl", solid[None])
    (back,) = voxels.read((tmp_path / "a.stl").read_bytes(), "a.stl", 16)
    assert back.remark == ""
    centred = np.roll(solid, (0, 2, -1), (0, 1, 2)).astype(float)
    assert ((back.voxels > 127) != (centred > 127)).sum() <= 5 * 14 * 2  # half a voxel at the odd side


def test_what_cannot_hold_solids_is_refused(tmp_path):
    rows = np.zeros((2, 16, 16, 16), np.uint8)
    with pytest.raises(InputError, match="cannot hold solids"):
        Solid().write(tmp_path / "a.obj", rows)
    with pytest.raises(InputError, match="holds one solid, and there are 2"):
        Solid().write(tmp_path / "a.stl", rows)
    with pytest.raises(DataError, match="cannot be written"):
        Solid().write(tmp_path / "none" / "a.npy", rows)


def test_a_mark_does_not_outlive_its_file(tmp_path):
    rows = np.zeros((1, 16, 16, 16), np.uint8)
    Solid().write(tmp_path / "a.npy", rows, {"run": "r"})
    assert marks.read(tmp_path / "a.npy") == {"generated": True, "run": "r"}
    Solid().write(tmp_path / "a.npy", rows)
    assert [path.name for path in tmp_path.iterdir()] == ["a.npy"]


def test_the_view_shows_shape_light_and_place():
    rows = np.stack([shapes.shape(kind, 1) for kind in ("ball", "box", "table")])
    pictures = Solid().as_pictures(np.concatenate([rows, np.zeros((1, 32, 32, 32), np.uint8)]))
    assert pictures.shape == (4, 128, 96, 1)
    view, slices = pictures[:, :96, :, 0], pictures[:, 96:, :, 0]
    assert not view[3].any() and not slices[3].any()
    assert (view[0] > 0).mean() > 0.05
    assert len(np.unique(view[0])) > 20, "a ball is shaded"
    middle = np.flatnonzero(rows[0].any((0, 1)))
    assert slices[0, :, :32].any(1).sum() in range(len(middle) - 6, len(middle) + 1)
    moved = Solid().as_pictures(np.roll(rows[:1], -3, 3))[0, :96, :, 0]
    down = [np.flatnonzero(one.any(1)).mean() for one in (view[0], moved)]
    assert down[1] > down[0] + 2, "lower slices are lower in the view"
    assert Solid().as_pictures(np.full((1, 8, 8, 8), 255, np.uint8)).shape == (1, 128, 96, 1)


def test_it_is_measured_shown_and_reported(run, solids, tmp_path):
    result = measure(run, samples=32)
    assert "label accuracy" in str(result)
    assert (run.path / "nearest.png").is_file()
    page = write_report(run, [("trained", result)], tmp_path / "report.html").read_text()
    assert str(run.spec) in page
    lines = "\n".join(show(solids.path, "rotate 45, shift 0.05"))
    assert "solids " in lines
    assert (solids.path / "sheet.png").is_file() and (solids.path / "augmented.png").is_file()


def test_generated_solids_are_measured_as_files(run, solids, tmp_path):
    """The array beside a sheet is read back exactly, and the mark beside it is no file that is left out."""
    write_samples(run, range(20), tmp_path / "made" / "sheet.npy", True)
    (tmp_path / "made" / "sheet.png").unlink()
    result, skipped = measure_folder(tmp_path / "made", solids)
    assert result.samples == 20 and not skipped
    result, skipped = measure_folder(solids.path.parent / "files", solids)
    assert result.copies > 0.3 and not skipped


def test_turned_about_the_upright_axis_by_a_word(solids):
    """What turns a picture turns every slice."""
    from ganforge.store import augment

    row = shapes.shape("chair", 2, SIDE)
    import torch

    from ganforge.media.spec import to_float, to_uint8

    images = to_float(torch.from_numpy(row[None]))
    parsed = augment.parse("flip 1", "train.augment", solids.spec)
    flipped = to_uint8(augment.apply(images, parsed, 0, np.arange(1), solids.spec)).numpy()[0]
    assert np.array_equal(flipped, row[:, ::-1])


def test_what_is_for_pictures_says_so_of_solids(run, solids, tmp_path, fails):
    files = solids.path.parent / "files"
    for words in (
        ("audit", files),
        ("clean", files, "-o", tmp_path / "x", "--filter", "median"),
        ("audit", solids.path),
        ("prepare", solids.path, "-o", tmp_path / "x"),
        ("prepare", files, "-o", tmp_path / "x", "--format", "parquet"),
        ("restore", run.path, files, "-o", tmp_path / "x"),
        ("sample", run.path, "--walk"),
        ("project", run.path, files),
        ("train", "dae", solids.path),
        ("train", "srgan", solids.path),
        ("train", "dcgan", solids.path, "--train.augment", "contrast"),
        ("train", "dcgan", solids.path, "--model.augment", "ada"),
        ("train", "fastgan", solids.path),
    ):
        assert "pictures" in fails(*words), words
    assert not (tmp_path / "x").exists()


def test_an_stl_file_is_what_the_voxels_say(tmp_path):
    solid = shapes.shape("torus", 0)
    Solid().write(tmp_path / "a.stl", solid[None], {"run": "r"})
    data = (tmp_path / "a.stl").read_bytes()
    assert data.startswith(b"generated by ganforge")
    count = int.from_bytes(data[80:84], "little")
    assert len(data) == 84 + 50 * count
    assert count == len(surface.triangles(solid))
    assert io.BytesIO(data).read(5) != b"solid", "text STL begins with that"
