"""Clips as rows: frames as channels, and files that move."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from ganforge.base import marks
from ganforge.base.errors import InputError
from ganforge.media import clip
from ganforge.media.clip import Clip
from ganforge.media.medium import Unusable
from hostile import damaged

CLIP = Clip(4, 8.0)
FRAMES = np.random.default_rng(0).integers(0, 256, (6, 12, 20, 3)).astype(np.uint8)


def animation(frames: np.ndarray, kind: str, duration: int = 125) -> bytes:
    buffer = io.BytesIO()
    first, *rest = (Image.fromarray(frame) for frame in frames)
    lossless = {"lossless": True} if kind == "WEBP" else {}
    first.save(buffer, kind, save_all=True, append_images=rest, duration=duration, **lossless)
    return buffer.getvalue()


@pytest.mark.parametrize("channels", [1, 3])
def test_frames_are_channels_and_come_back(channels):
    frames = FRAMES[:4, ..., :channels]
    row = CLIP.row(list(frames))
    assert row.shape == (12, 20, 4 * channels)
    CLIP.check(*row.shape)
    assert np.array_equal(CLIP.split(row[None])[0], frames)
    sheet = CLIP.as_pictures(row[None])
    assert sheet.shape == (1, 12, 4 * 20 + 3, channels)
    assert np.array_equal(sheet[0, :, 21:41], frames[1])
    assert (sheet[0, :, 20] == 255).all()


@pytest.mark.parametrize("kind", ["WEBP", "PNG"])
def test_animations_are_read_frame_by_frame(kind):
    data = animation(FRAMES, kind)
    header = clip.probe(data)
    assert (header.frames, header.height, header.width, header.rate) == (6, 12, 20, 8.0)
    assert np.array_equal(np.stack(list(clip.frames(data, 8.0)))[..., :3], FRAMES)


def test_a_gif_s_frames_have_the_colours_of_the_whole_picture():
    """GIFs hold what changes from frame to frame; each frame that comes out is whole."""
    frames = np.zeros((5, 16, 16, 3), np.uint8)
    for n in range(5):
        frames[n, n : n + 4, 3:7] = 255
    found = np.stack(list(clip.frames(animation(frames, "GIF", 120), 1000 / 120)))
    assert found.shape == (5, 16, 16, 4)
    assert np.array_equal(found[..., :3], frames)


def test_a_clip_written_is_read_again_with_its_mark(tmp_path):
    row = CLIP.row(list(FRAMES[:4]))
    CLIP.write(tmp_path / "a.webp", row[None], {"seeds": [5]})
    data = (tmp_path / "a.webp").read_bytes()
    assert clip.probe(data).rate == 8.0
    assert np.array_equal(np.stack(list(clip.frames(data, 8.0)))[..., :3], FRAMES[:4])
    assert marks.read(tmp_path / "a.webp") == {"generated": True, "seeds": [5]}
    CLIP.write(tmp_path / "b.webp", np.stack([row] * 5))
    assert clip.probe((tmp_path / "b.webp").read_bytes()).frames == 4, "a sheet that moves"
    with pytest.raises(InputError, match=r"\.webp"):
        CLIP.write(tmp_path / "a.gif", row[None])


def test_all_frames_have_their_own_durations_and_joined_ones_come_apart():
    """The shortest duration is that of one frame; the others are whole numbers of frames, as near as can be."""
    buffer = io.BytesIO()
    first, *rest = (Image.fromarray(frame) for frame in FRAMES)
    first.save(buffer, "GIF", save_all=True, append_images=rest, duration=[30, 40, 30, 60, 100, 40])
    frames, durations = clip.all_frames(buffer.getvalue())
    assert durations == [30, 40, 30, 30, 30, *[100 / 3] * 3, 40]
    assert [len({frame.tobytes() for frame in frames[:n]}) for n in (1, 2, 3, 5, 8, 9)] == [1, 2, 3, 4, 5, 6]
    still = animation(FRAMES[:1], "PNG")
    assert len(clip.all_frames(still)[0]) == 1
    with pytest.raises(Unusable, match="over the limit of"):
        buffer = io.BytesIO()
        first.save(buffer, "GIF", save_all=True, append_images=rest, duration=[10, 200_000, 10, 10, 10, 10])
        clip.all_frames(buffer.getvalue())


def test_frames_that_last_longer_come_more_often(tmp_path):
    """The writer of WebP joins equal frames to one that is shown for longer."""
    row = CLIP.row([FRAMES[0], FRAMES[0], FRAMES[0], FRAMES[1]])
    CLIP.write(tmp_path / "a.webp", row[None])
    found = np.stack(list(clip.frames((tmp_path / "a.webp").read_bytes(), 8.0)))
    assert np.array_equal(CLIP.row(list(found[..., :3])), row)
    every_other = np.stack(list(clip.frames(animation(FRAMES, "WEBP"), 4.0)))
    assert np.array_equal(every_other[..., :3], FRAMES[::2]), "evenly, halves are rounded up"
    assert len(list(clip.frames(animation(FRAMES, "WEBP"), 16.0))) == 12


def test_where_clips_begin():
    assert list(CLIP.starts(4, 4)) == [0]
    assert list(CLIP.starts(11, 3)) == [0, 3, 6]
    with pytest.raises(Unusable, match="too short: 1 frame, and a row has 4"):
        CLIP.starts(1, 1)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_damage_is_a_reason_and_never_another_error(kind):
    whole = animation(FRAMES, kind)
    for seed in range(60):
        try:
            for frame in clip.frames(damaged(whole, seed, 2), 8.0):
                assert frame.shape[2] == 4
        except Unusable as why:
            assert str(why)


@pytest.mark.parametrize(("limit", "least"), [("MOST_FRAMES", 5), ("MOST_PIXELS", 239), ("MOST_IN_ALL", 1439)])
def test_limits_hold_before_anything_is_decoded(monkeypatch, limit, least):
    monkeypatch.setattr(clip, limit, least)
    with pytest.raises(Unusable, match="over the limits"):
        next(clip.frames(animation(FRAMES, "WEBP"), 8.0))


@pytest.mark.parametrize(("clip_", "channels"), [(Clip(1, 8.0), 1), (Clip(65, 8.0), 65), (Clip(4, 0.0), 4), (CLIP, 8)])
def test_settings_that_make_no_sense_are_refused(clip_, channels):
    with pytest.raises(ValueError, match=r"frames|rate|channels"):
        clip_.check(16, 16, channels)
