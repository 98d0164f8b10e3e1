"""The surface of voxels is closed, faces outwards, and has the volume of what is inside."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest

from ganforge.media import surface

BALL = (np.mgrid[:32, :32, :32] - 15.5) ** 2


def ball(radius: float) -> np.ndarray:
    return ((radius + 0.5 - np.sqrt(BALL.sum(0))).clip(0, 1) * 255).astype(np.uint8)


def volume(triangles: np.ndarray) -> float:
    """By the divergence theorem."""
    a, b, c = triangles.astype(np.float64).transpose(1, 0, 2)
    return float((a * np.cross(b, c)).sum() / 6)


def edges_of(triangles: np.ndarray) -> np.ndarray:
    """How often each directed edge and its reverse occur."""
    corners, numbers = np.unique(triangles.reshape(-1, 3), axis=0, return_inverse=True)
    numbers = numbers.reshape(-1, 3)
    edges = np.concatenate([numbers[:, [0, 1]], numbers[:, [1, 2]], numbers[:, [2, 0]]])
    count = np.zeros((2, len(corners), len(corners)), int)
    np.add.at(count[0], tuple(edges.T), 1)
    return count[0] - count[0].T, count[0] + count[0].T


@pytest.mark.parametrize("seed", range(4))
def test_noise_of_any_kind_has_a_closed_surface(seed):
    """Every edge belongs to two triangles, which pass it in opposite directions; at the border too."""
    voxels = np.random.default_rng(seed).integers(0, 256, (5, 6, 7)).astype(np.uint8)
    voxels = voxels if seed % 2 else np.where(voxels > 140, 255, 0).astype(np.uint8)
    balance, uses = edges_of(surface.triangles(voxels))
    assert not balance.any()
    assert set(np.unique(uses)) <= {0, 2}


def test_each_of_the_256_cases_is_closed():
    for case in range(1, 256):
        voxels = np.where(case >> np.arange(8) & 1, 255, 0).astype(np.uint8).reshape(2, 2, 2)
        triangles = surface.triangles(voxels)
        balance, uses = edges_of(triangles)
        assert not balance.any() and set(np.unique(uses)) <= {0, 2}, case
        assert volume(triangles) > 0


def test_a_ball_has_its_volume_and_its_place():
    triangles = surface.triangles(ball(12))
    assert volume(triangles) == pytest.approx(4 / 3 * math.pi * 12**3, rel=0.01)
    assert triangles.min() == pytest.approx(4, abs=0.05)
    assert triangles.max() == pytest.approx(28, abs=0.05)
    radii = np.linalg.norm(triangles.reshape(-1, 3) - 16, axis=1)
    assert abs(radii - 12).max() < 0.15


def test_a_single_voxel_and_nothing():
    voxels = np.zeros((4, 4, 4), np.uint8)
    assert surface.triangles(voxels).shape == (0, 3, 3)
    voxels[1, 2, 3] = 255
    triangles = surface.triangles(voxels)
    assert len(triangles) == 8
    assert triangles.reshape(-1, 3).mean(0) == pytest.approx([1.5, 2.5, 3.5])


def test_trimesh_finds_the_file_watertight():
    trimesh = pytest.importorskip("trimesh", reason='trimesh comes with pip install ".[solid]"')
    noise = np.random.default_rng(5).integers(0, 256, (9, 8, 7)).astype(np.uint8)
    for voxels in (ball(9), noise):
        data = surface.binary_stl(surface.triangles(voxels))
        mesh = trimesh.load(io.BytesIO(data), file_type="stl", force="mesh")
        assert mesh.is_watertight and mesh.is_winding_consistent
        assert mesh.volume == pytest.approx(volume(surface.triangles(voxels)), rel=1e-4)
