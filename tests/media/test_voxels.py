"""Files of solids become voxels, and files that lie are named for it."""

from __future__ import annotations

import gc
import io
import math
import struct
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from ganforge.media import voxels
from ganforge.media.medium import Unusable


def npy(array: np.ndarray, **options: object) -> bytes:
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


def one(data: bytes, name: str, side: int = 16) -> np.ndarray:
    (solid,) = voxels.read(data, name, side)
    return solid.voxels


def binvox(solid: np.ndarray, dims: str | None = None) -> bytes:
    """(X, Y, Z) truth values; y is the fastest in the file, then z."""
    x, y, z = solid.shape
    flat = solid.transpose(0, 2, 1).ravel()
    runs = bytearray()
    start = 0
    while start < len(flat):
        end = start
        while end < len(flat) and flat[end] == flat[start] and end - start < 255:
            end += 1
        runs += bytes([int(flat[start]), end - start])
        start = end
    header = f"#binvox 1\ndim {dims or f'{x} {z} {y}'}\ntranslate 0 0 0\nscale 1\ndata\n"
    return header.encode() + bytes(runs)


RANDOM = np.random.default_rng(0).random((16, 16, 16)) > 0.5


@pytest.mark.parametrize("kind", [bool, np.uint8, np.int64, np.float32, "bytes", ">f8", "fortran"])
def test_arrays_of_every_kind_of_number_are_the_same_voxels(kind):
    array = {"bytes": (RANDOM * 255).astype(np.uint8), "fortran": np.asfortranarray(RANDOM)}.get(kind)
    array = RANDOM.astype(kind) if array is None else array
    assert np.array_equal(one(npy(array), "a.npy"), RANDOM * np.uint8(255))


def test_bytes_are_kept_exactly():
    array = np.arange(4096, dtype=np.uint8).reshape(16, 16, 16)
    assert np.array_equal(one(npy(array), "a.npy"), array)


def test_several_solids_of_one_array():
    array = np.stack([RANDOM, ~RANDOM, RANDOM])
    solids = [solid.voxels for solid in voxels.read(npy(array), "a.npy", 16)]
    assert np.array_equal(solids, array * np.uint8(255))
    assert voxels.probe(npy(array), "a.npy") == voxels.SolidHeader(3, (16, 16, 16))


def test_headers_are_read_by_several_threads():
    """numpy reads a header as Python, which Python 3.11 cannot do in two threads at once where the collector runs."""
    file = io.BytesIO()
    np.save(file, np.zeros((2, 2, 2), np.uint8))
    threshold, interval, callback = gc.get_threshold(), sys.getswitchinterval(), lambda *_: sum(range(50))
    sys.setswitchinterval(1e-5)
    gc.callbacks.append(callback)
    gc.set_threshold(5)
    try:
        with ThreadPoolExecutor(8) as pool:
            counts = list(pool.map(lambda _: voxels.probe(file.getvalue(), "a.npy").count, range(1000)))
    finally:
        sys.setswitchinterval(interval)
        gc.set_threshold(*threshold)
        gc.callbacks.remove(callback)
    assert counts == [1] * 1000


def test_halving_is_the_mean_of_eight_and_a_slab_stands_in_the_middle():
    array = np.random.default_rng(1).integers(0, 2, (32, 32, 32)).astype(bool)
    array[:8] = True
    means = array.reshape(16, 2, 16, 2, 16, 2).mean((1, 3, 5)) * 255
    assert abs(one(npy(array), "a.npy") - means).max() <= 0.5
    slab = one(npy(np.ones((16, 16, 4), bool)), "a.npy")
    assert (slab.sum((0, 1)) > 0).nonzero()[0].tolist() == [6, 7, 8, 9]


def test_binvox_axes_and_runs():
    solid = np.zeros((16, 16, 16), bool)
    solid[1, 2, 3] = solid[4:6, 7:9, 10:15] = True
    assert np.array_equal(one(binvox(solid), "a.binvox"), solid * np.uint8(255))
    assert np.array_equal(one(binvox(RANDOM), "a.npy"), RANDOM * np.uint8(255)), "content decides"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"no array", "not an array"),
        (npy(RANDOM)[:3000], "cut short: 2,872 of 4,096 bytes"),
        (npy(RANDOM) + b"more", "too long"),
        (npy(RANDOM)[:20], "not an array"),
        (npy(np.array([{}]), allow_pickle=True), "an array of object"),
        (npy(np.ones((4, 4))), "2 dimensions"),
        (npy(np.ones((16, 16, 16)) * 1j), "an array of complex"),
        (npy(np.zeros((16, 16, 16))), "empty: at 16 voxels"),
        (npy(np.zeros((0, 16, 16))), "0 x 16 x 16 voxels"),
        (npy(RANDOM - 0.5), "numbers from -0.5 to 0.5"),
        (npy(RANDOM * 3.0), "numbers from 0 to 3"),
        (npy(RANDOM * np.nan), "numbers from nan"),
        (npy(RANDOM * 1000), "numbers from 0 to 1000"),
        (npy(RANDOM).replace(b"(16, 16, 16)", b"(9999999999, 9, 9)")[:200], "9,999,999,999 x 9 x 9 voxels|not an arr"),
        (binvox(RANDOM)[:-2], "cut short"),
        (binvox(RANDOM) + b"\1\5", "too long"),
        (binvox(RANDOM) + b"\1", "no pairs"),
        (binvox(RANDOM, "99999 99999 99999"), "99,999 x 99,999 x 99,999"),
        (binvox(RANDOM, "16 16"), "says no size"),
        (b"#binvox 1\ndim 16 16 16\n", "does not end"),
        (b"", "not an array"),
    ],
)
def test_arrays_that_lie_get_a_reason(data, reason):
    with pytest.raises(Unusable, match=reason):
        list(voxels.read(data, "a.npy", 16))


# --------------------------------------------------------------------------------------------------------------- meshes


@pytest.fixture
def trimesh():
    return pytest.importorskip("trimesh", reason='trimesh comes with pip install ".[solid]"')


def data_of(mesh, suffix: str) -> bytes:
    data = mesh.export(file_type=suffix[1:])
    return data.encode() if isinstance(data, str) else data


@pytest.mark.parametrize("suffix", voxels.MESHES)
def test_a_closed_mesh_has_its_volume(trimesh, suffix):
    """A ball, a box on its edge, and two boxes that overlap: their union."""
    tilted = trimesh.creation.box((2, 3, 4))
    tilted.apply_transform(trimesh.transformations.euler_matrix(0.5, 0.3, 0.1))
    both = trimesh.creation.box((2, 2, 2)) + trimesh.creation.box((2, 2, 2)).apply_translation((1, 0, 0))
    for mesh, volume in ((trimesh.creation.icosphere(3), None), (tilted, None), (both, 12.0)):
        (solid,) = voxels.read(data_of(mesh, suffix), f"a{suffix}", 32)
        assert solid.remark == ""
        assert solid.voxels.sum() / 255 == pytest.approx(
            (volume or mesh.volume) * (30 / mesh.extents.max()) ** 3, rel=0.02
        )
        inside = np.argwhere(solid.voxels > 127)
        assert inside.min() >= 1 and inside.max() <= 30


def test_axes_of_a_mesh_are_those_of_the_voxels(trimesh):
    cone = trimesh.creation.cone(1, 2, sections=40)
    layers = one(data_of(cone, ".stl"), "a.stl", 32).sum((0, 1), dtype=int)
    assert layers[2] > 3 * layers[24] > 0, "z upwards"


def test_an_open_mesh_is_taken_by_its_surface_and_remarked_on(trimesh):
    ball = trimesh.creation.icosphere(3)
    ball.update_faces(np.arange(len(ball.faces)) > 0)  # a hole smaller than a voxel
    (solid,) = voxels.read(data_of(ball, ".stl"), "a.stl", 16)
    assert solid.remark.startswith("not watertight")
    assert solid.voxels[8, 8, 8] == 255
    sheet = trimesh.Trimesh([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], [[0, 1, 2], [0, 2, 3]])
    (solid,) = voxels.read(data_of(sheet, ".off"), "a.off", 16)
    assert (solid.voxels > 0).sum() == 14**2
    turned = trimesh.creation.box((1, 1, 1))
    turned.faces[3] = turned.faces[3][::-1]
    (solid,) = voxels.read(data_of(turned, ".off"), "a.off", 16)
    assert "faces turned both ways" in solid.remark
    assert (solid.voxels > 0).sum() == 14**3


def test_meshes_that_lie_get_a_reason(trimesh):
    stl = data_of(trimesh.creation.box((1, 1, 1)), ".stl")
    nan = bytearray(stl)
    nan[96:100] = struct.pack("<f", math.nan)
    for data, name in (
        (stl[:-30], "a.stl"),
        (stl[:80] + struct.pack("<I", 2**31) + stl[84:], "a.stl"),
        (stl[:80] + bytes(4), "a.stl"),
        (bytes(nan), "a.stl"),
        (b"", "a.stl"),
        (b"solid nothing\nendsolid", "a.stl"),
        (b"OFF\n8 99999999 0\n0 0 0\n", "a.off"),
        (b"OFF\nmany", "a.off"),
        (b"OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 7\n", "a.off"),
        (b"ply\nformat binary_little_endian 1.0\nelement vertex 999999999\nproperty float x\nend_header\n", "a.ply"),
        (b"ply\n", "a.ply"),
        (b"v 0 0 0\nv 1 1 1\n", "a.obj"),
        (b"v 1 1 1\nf 1 1 1\n", "a.obj"),
        (b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 9\n", "a.obj"),
        (b"\xff\xfe\0\1" * 50, "a.obj"),
    ):
        with pytest.raises(Unusable) as refusal:
            list(voxels.read(data, name, 16))
        assert str(refusal.value), (data[:40], name)


def test_without_the_extra_a_mesh_says_what_to_install(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert 'pip install "ganforge[solid]"' in voxels.missing("a.STL")
    assert not voxels.missing("a.npy") and not voxels.missing("a.binvox")
    assert voxels.missing("a.txt") == "not a solid: .txt file"
