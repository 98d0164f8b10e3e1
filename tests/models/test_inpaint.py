"""inpaint: a smooth filling by closed forms, known pixels untouched, missing frames."""

from __future__ import annotations

import pytest
import torch

from ganforge import models
from ganforge.base.errors import InputError
from ganforge.media.clip import Clip
from ganforge.media.spec import Spec
from ganforge.models.inpaint import between, pull_push
from ganforge.system import Batch


def new(spec, **settings):
    loaded = models.load("inpaint")
    torch.manual_seed(0)
    return loaded.system(loaded.config(width=8, depth=1, blocks=1, **settings), spec)


@pytest.mark.parametrize(
    ("degradation", "message"),
    [
        ("noise 0.1", "'noise 0.1', which makes no holes, and inpaint learns to fill them"),
        ("down 2", "makes no holes"),
        ("none", r'Say what, such as --model.degradation "strokes 0.05..0.4, boxes 1..2"\.$'),
        ("grey, strokes 0.2", "says grey and makes holes"),
    ],
)
def test_what_is_given_has_holes(degradation, message):
    loaded = models.load("inpaint")
    with pytest.raises(InputError, match=message):
        loaded.system.check(loaded.config(degradation=degradation), Spec(24, 24, 3))


def test_holes_in_one_colour_get_that_colour():
    holes = (torch.rand(3, 1, 13, 17) < 0.6).float()
    given = 0.3 * (1 - holes).expand(-1, 3, -1, -1)
    filled = pull_push(given, holes)
    torch.testing.assert_close(filled, torch.full_like(filled, 0.3))


def test_known_pixels_stay_and_the_rest_is_between_them():
    holes = torch.zeros(1, 1, 8, 8)
    holes[..., 2:6] = 1
    clean = torch.linspace(-1, 1, 8).expand(1, 1, 8, 8)
    filled = pull_push(clean * (1 - holes), holes)
    assert torch.equal(filled[..., :2], clean[..., :2]) and torch.equal(filled[..., 6:], clean[..., 6:])
    assert filled[..., 2:6].abs().max() < 1 and (filled[..., 3] < filled[..., 4]).all()


def test_nothing_known_is_grey():
    assert not pull_push(torch.zeros(1, 3, 5, 6), torch.ones(1, 1, 5, 6)).any()


@torch.no_grad()
@pytest.mark.parametrize("size", [(24, 24), (19, 30)])
def test_known_pixels_come_back_to_the_bit(size):
    system = new(Spec(24, 24, 3))
    for p in system.parameters():
        p.add_(torch.randn_like(p) * 0.1)
    images, holes = torch.rand(2, 3, *size) * 2 - 1, (torch.rand(2, 1, *size) < 0.3).float()
    made = system.restore(images, holes=holes)
    known = (holes == 0).expand_as(images)
    assert torch.equal(made[known], images[known]) and not torch.equal(made, images)
    hidden = torch.where(holes > 0, torch.rand_like(images), images)
    assert torch.equal(system.restore(hidden, holes=holes), made), "what is in a hole is looked at"


def test_frames_between_known_ones_are_interpolated():
    clips = torch.arange(6.0)[None, :, None, None].expand(2, -1, 4, 5).clone()
    holes = torch.zeros(2, 6, 4, 5)
    holes[0, [2, 3]] = 1  # between 1 and 4
    holes[1, [0, 4, 5]] = 1  # both ends
    filled = between(clips * (1 - holes), holes, 6)
    torch.testing.assert_close(filled[0], clips[0])
    assert filled[1, :, 0, 0].tolist() == [1, 1, 2, 3, 3, 3]
    assert not between(torch.zeros(1, 6, 4, 5), torch.ones(1, 6, 4, 5), 6).any()
    rgb = torch.rand(1, 6, 4, 5)  # two frames
    missing = torch.cat([torch.ones(1, 3, 4, 5), torch.zeros(1, 3, 4, 5)], 1)
    assert torch.equal(between(rgb * (1 - missing), missing, 2)[:, :3], rgb[:, 3:])


@torch.no_grad()
def test_missing_frames():
    system = new(Spec(16, 16, 6, medium=Clip(6, 10.0)), degradation="frames 1..3")
    given, wanted, holes = system.pair(torch.rand(4, 6, 16, 16) * 2 - 1)
    missing = holes.amax((2, 3)).sum(1)
    assert holes.shape == wanted.shape and ((missing >= 1) & (missing <= 3)).all()
    made = system.restore(given, holes=holes)
    assert torch.equal(made[holes == 0], given[holes == 0])


def test_patches_without_a_hole_do_not_count():
    system = new(Spec(32, 32, 3)).eval()
    images = torch.rand(2, 3, 32, 32) * 2 - 1
    holes = torch.zeros(2, 1, 32, 32)
    batch = Batch(images, torch.zeros(2, dtype=torch.int64), 0)
    batch.shared |= {"wanted": images, "composite": images, "holes": holes}
    report = system.discriminator_loss(batch)
    score = system.discriminator(images)[0]
    torch.testing.assert_close(report["loss"], torch.relu(1 - score).mean())
    assert report["fake"] == 0
    holes[:, :, :8, :8] = 1
    report = system.discriminator_loss(batch)
    side = 8 * score.shape[2] // 32
    touched = score[:, :, :side, :side]
    torch.testing.assert_close(report["loss"], torch.relu(1 - score).mean() + torch.relu(1 + touched).mean())
    torch.testing.assert_close(report["fake"], touched.mean())


def test_clips_need_missing_frames():
    loaded = models.load("inpaint")
    spec = Spec(16, 16, 4, medium=Clip(4, 10.0))
    with pytest.raises(InputError, match=r"of clips inpaint fills whole frames.*frames 1"):
        loaded.system.check(loaded.config(), spec)
    loaded.system.check(loaded.config(degradation="frames 1"), spec)
