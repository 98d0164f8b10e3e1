"""Numbers of motion by closed forms, and distances that are withheld where they do not see it."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from ganforge.metrics import features, motion
from ganforge.metrics.metric import Row


def dots(paths: np.ndarray, side: int = 32, ground: int = 0, bright: int = 200) -> np.ndarray:
    """Squares of 3x3 pixels whose middles follow `paths` (N, T, 2), whole pixels: (N, T, side, side, 1) uint8."""
    clips = np.full((*paths.shape[:2], side, side, 1), ground, np.uint8)
    for n, t in np.ndindex(*paths.shape[:2]):
        row, column = paths[n, t]
        clips[n, t, row - 1 : row + 2, column - 1 : column + 2] = bright
    return clips


def straight(count: int = 1, frames: int = 8) -> np.ndarray:
    steps = np.arange(frames)[None, :, None] * np.array([1, 2])
    return np.repeat(steps + 5, count, 0)


@pytest.mark.parametrize(("ground", "bright"), [(0, 200), (255, 30)])
def test_centroids_are_exact_on_any_plain_ground(ground, bright):
    found = motion.centroids(dots(straight(), ground=ground, bright=bright))
    assert np.allclose(found, straight())
    assert np.allclose(motion.centroids(np.zeros((1, 3, 8, 10, 3), np.uint8)), [3.5, 4.5]), "nothing there: the middle"


def test_a_straight_path_has_no_bend_and_a_known_one_has_its_own():
    paths = straight().astype(float)
    assert motion.bends(paths)[0] == pytest.approx(0, abs=1e-12)
    paths[0, 6:] = paths[0, 4:6]  # one bounce is in the minority of the windows
    assert motion.bends(paths)[0] == pytest.approx(0, abs=1e-12)
    times = np.arange(8.0)
    parabola = np.stack([times**2, 0 * times], 1)[None]
    assert motion.bends(parabola)[0] == pytest.approx(1.0), "squares of 4 times miss a line by (1, -1, -1, 1)"
    mixed = motion.centroids(motion.shuffled(dots(straight(5))))
    assert (motion.bends(mixed) > 1).all()


def test_clips_are_shuffled_by_their_numbers_alone():
    clips = np.random.default_rng(0).integers(0, 256, (6, 8, 4, 4, 1)).astype(np.uint8)
    mixed = motion.shuffled(clips)
    assert not np.array_equal(mixed, clips)
    assert np.array_equal(np.sort(mixed.reshape(6, 8, -1), 1), np.sort(clips.reshape(6, 8, -1), 1))
    assert np.array_equal(motion.shuffled(clips[:3]), mixed[:3])


def test_the_share_of_frames_that_keep_the_class():
    class Brightness:
        """A classifier of single frames by their brightness."""

        def __call__(self, portions):
            return torch.from_numpy(np.concatenate(portions).reshape(-1, 16).mean(1, keepdims=True))

        def classify(self, values):
            return (values[:, 0] > 100).long()

    clips = np.zeros((2, 5, 4, 4, 1), np.uint8)
    clips[0] = 200
    clips[1, 3:] = 200
    assert motion.stays(Brightness(), clips) == pytest.approx((4 + 2) / 8)


def row(name: str, value: float, floor: float | None = None) -> Row:
    return Row(name=name, title=name, says="", value=value, better="lower", floor=floor, conclusion=f"{name}!")


@pytest.mark.parametrize(("shuffled", "frozen", "kept"), [(9.0, 60.0, True), (2.2, 60.0, False), (60.0, 2.2, False)])
def test_a_distance_that_does_not_see_motion_is_withheld(shuffled, frozen, kept):
    rows = [row("distance", 3.0, 0.7), row("kernel", 1.0), row("precision", 0.5)]
    rows += [row("shuffled", shuffled), row("frozen", frozen)]
    values = {one.name: one.value for one in motion.withheld(rows)}
    assert values["precision"] == 0.5
    assert (values["distance"], values["kernel"]) == ((3.0, 1.0) if kept else (None, None))
    sentence = motion._sentence(0.7, shuffled, frozen)
    assert ("sees motion" in sentence) if kept else ("withheld" in sentence and "0.70" in sentence)
    assert motion.withheld([row("distance", 3.0), row("shuffled", 1.0), row("frozen", 1.0)])[0].value == 3.0


def test_clips_are_reordered_for_the_extractor_as_they_are_told():
    torch.manual_seed(0)
    clips = torch.arange(6.0)[:, None, None].repeat_interleave(2, 0).expand(12, 2, 2).expand(400, 12, 2, 2)
    found, kinds = features.reordered(clips, 6)
    order = found[:, ::2, 0, 0]
    assert torch.equal(order, found[:, 1::2, 1, 1]), "the colours of a frame stay together"
    steps = order.diff(dim=1)
    assert ((steps == 1).all(1) == (kinds == 0)).all()
    assert ((steps == 0).all(1) == (kinds == 2)).all()
    shares = [(kinds == kind).float().mean().item() for kind in range(3)]
    assert shares == pytest.approx([0.5, 0.25, 0.25], abs=0.08)
    assert set(order[kinds == 2][:, 0].tolist()) == {0, 1, 2, 3, 4, 5}
    assert (features.reordered(clips[:, :4], 2)[1] != 1).all(), "of two frames there is no other order to tell"


def test_rows_without_a_floor_are_there():
    real = SimpleNamespace(spec=SimpleNamespace(medium=motion.Clip(8, 10.0)), frames=None)
    pixels = np.moveaxis(dots(straight(3))[..., 0], 1, 3)
    found = {one.name: one for one in motion.rows(real, SimpleNamespace(pixels=pixels), 3, None)}
    assert found["speed"].value == pytest.approx(5**0.5)
    assert found["bend"].value == pytest.approx(0, abs=1e-9)
    assert found["class_stays"].value is None and found["shuffled"].value is None
    assert not any(one.conclusion for one in found.values())
