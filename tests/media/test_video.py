"""Video files: every container, damage, limits, times, and a round trip through MP4."""

from __future__ import annotations

import importlib.util
import io

import numpy as np
import pytest

from ganforge.base import marks
from ganforge.base.errors import InputError
from ganforge.cli import main
from ganforge.media import clip, video
from ganforge.media.clip import Clip
from ganforge.media.medium import Unusable
from ganforge.preparing.prepare import prepare
from hostile import damaged

NEEDS = pytest.mark.skipif(
    importlib.util.find_spec("av") is None, reason='PyAV comes with pip install "ganforge[video]"'
)
CODECS = [("mp4", "libx264"), ("mov", "mpeg4"), ("matroska", "libx264"), ("webm", "libvpx-vp9"), ("avi", "mjpeg")]


def squares(count: int = 12, side: int = 32) -> np.ndarray:
    """(count, side, side, 3) uint8: a white square that moves to the right on a grey that becomes lighter."""
    frames = np.empty((count, side, side, 3), np.uint8)
    for n in range(count):
        frames[n] = 5 * n
        frames[n, 8:16, n : n + 8] = 255
    return frames


def encoded(container: str, codec: str, frames: np.ndarray, rate: int = 10, times: tuple[int, ...] = ()) -> bytes:
    import av

    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container) as file:
        stream = file.add_stream(codec, rate=rate)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.codec_context.thread_count = 1
        for n, frame in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
            if times:
                picture.pts = times[n]
            file.mux(stream.encode(picture))
        file.mux(stream.encode())
    return buffer.getvalue()


@NEEDS
@pytest.mark.parametrize(("container", "codec"), CODECS)
def test_a_video_is_read_frame_by_frame(container, codec):
    frames = squares()
    data = encoded(container, codec, frames)
    header = clip.probe(data)
    assert (header.frames, header.height, header.width, header.rate) == (12, 32, 32, 10.0)
    read = np.stack(list(clip.frames(data, 10.0)))
    assert read.shape == (12, 32, 32, 4) and (read[..., 3] == 255).all()
    assert np.abs(read[..., :3].astype(int) - frames).mean() < 6
    assert np.abs(np.stack(list(clip.frames(data, 5.0)))[..., :3].astype(int) - frames[::2]).mean() < 6
    assert [round(duration) for duration in clip.all_frames(data)[1]] == [100] * 12


@NEEDS
def test_a_frame_that_is_shown_for_longer_comes_more_often():
    frames = squares(4)
    data = encoded("matroska", "libx264", frames, 10, (0, 1, 4, 5))
    found = np.stack(list(clip.frames(data, 10.0)))[..., :3].astype(int)
    assert len(found) == 6
    assert np.abs(found - frames[[0, 1, 1, 1, 2, 3]]).mean() < 6


@NEEDS
@pytest.mark.parametrize(("container", "codec"), CODECS)
def test_damage_and_cuts_of_a_video_are_reasons(container, codec):
    whole = encoded(container, codec, squares())
    for cut in (0.2, 0.5, 0.7):
        with pytest.raises(Unusable, match=r"cut short|damaged"):
            list(clip.frames(whole[: int(cut * len(whole))], 10.0))
    for seed in range(25):
        try:
            for frame in clip.frames(damaged(whole, seed, 3), 10.0):
                assert frame.shape[2] == 4
        except Unusable as why:
            assert str(why)


@NEEDS
@pytest.mark.parametrize(
    ("limit", "least"), [("MOST_FRAMES", 11), ("MOST_PIXELS", 1023), ("MOST_IN_ALL", 12 * 1024 - 1)]
)
def test_limits_of_a_video_hold(monkeypatch, limit, least):
    monkeypatch.setattr(video, limit, least)
    with pytest.raises(Unusable, match="over the limits"):
        list(clip.frames(encoded("mp4", "libx264", squares()), 10.0))


@NEEDS
def test_a_turned_video_comes_upright():
    """A telephone that is held upright writes lying frames and says so in the matrix of the track."""
    data = encoded("mp4", "libx264", squares(3)[:, :16])
    identity = b"".join(n.to_bytes(4, "big") for n in (1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30))
    quarter = b"".join(n.to_bytes(4, "big", signed=True) for n in (0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30))
    at = data.index(identity, data.index(b"tkhd"))
    turned = data[:at] + quarter + data[at + 36 :]
    one, other = (next(clip.frames(one, 10.0)) for one in (data, turned))
    assert one.shape == (16, 32, 4) and other.shape == (32, 16, 4)
    assert np.array_equal(other, np.rot90(one, -1)), "clockwise"


def test_what_is_no_video_is_not_given_to_its_decoders():
    for data in (b"#EXTM3U\nhttp://example.org/a.ts\n", b"ffconcat version 1.0\nfile /etc/passwd\n", b"", b"\0" * 64):
        assert not video.is_video(data)
        with pytest.raises(Unusable, match="not a GIF, WebP, PNG or video"):
            list(clip.frames(data, 10.0))
    if importlib.util.find_spec("av"):
        with pytest.raises(Unusable, match="damaged"):
            list(clip.frames(b"\0\0\0\x18ftypmp42" + bytes(40), 10.0))


@NEEDS
def test_a_clip_in_mp4_moves_and_carries_its_mark(tmp_path):
    rows = Clip(12, 10.0).row(list(squares()))[None]
    Clip(12, 10.0).write(tmp_path / "a.mp4", rows, {"seeds": [5]})
    assert marks.read(tmp_path / "a.mp4") == {"generated": True, "seeds": [5]}
    data = (tmp_path / "a.mp4").read_bytes()
    assert (clip.probe(data).frames, clip.probe(data).rate) == (12, 10.0)
    frames = np.stack(list(clip.frames(data, 10.0)))
    small = frames[:, 3::7, 3::7, :3].astype(int)
    assert frames.shape[1:3] == (224, 224) and np.abs(small - squares()).mean() < 6
    Clip(12, 10.0).write(tmp_path / "b.mp4", rows[..., ::3].repeat(5, 0))
    assert clip.probe((tmp_path / "b.mp4").read_bytes()).frames == 12, "a sheet that moves"


@NEEDS
def test_a_folder_of_videos_becomes_a_store_of_clips(tmp_path):
    for label in ("a", "b"):
        (tmp_path / "films" / label).mkdir(parents=True)
        for n, (container, codec) in enumerate(CODECS):
            data = encoded(container, codec, squares(24)[:, :, :: 1 if label == "a" else -1])
            (tmp_path / "films" / label / f"{n}.{container.replace('matroska', 'mkv')}").write_bytes(data)
    (tmp_path / "films" / "a" / "cut.mp4").write_bytes(encoded("mp4", "libx264", squares())[:900])
    prepared = prepare(tmp_path / "films", tmp_path / "store", frames=6, resolution=16, heldout=0.25)
    store = prepared.store
    assert store.spec.medium == Clip(6, 10.0) and store.spec.classes == ("a", "b")
    assert len(store) == 40 and [file for file, _ in prepared.skipped] == ["a/cut.mp4"]
    rows = store.spec.medium.split(store.read(np.arange(40)))[..., 0].astype(float)
    centres = ((rows > 128) * np.arange(16)[None, None, None]).sum((2, 3)) / (rows > 128).sum((2, 3)).clip(1)
    assert ((centres[:, -1] > centres[:, 0]) == (store.labels == 0)).all(), "to the right, to the left"


def test_without_a_decoder_the_extra_is_named(tmp_path, monkeypatch, capsys):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name == "av" else find(name, *more))
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    (tmp_path / "films").mkdir()
    (tmp_path / "films" / "a.mp4").write_bytes(b"\0\0\0\x18ftypmp42" + bytes(40))
    assert main(["prepare", str(tmp_path / "films"), "--out", str(tmp_path / "store")]) == 1
    assert 'pip install "ganforge[video]"' in capsys.readouterr().err
    with pytest.raises(Unusable, match=r"ganforge\[video\]"):
        list(clip.frames(b"\0\0\0\x18ftypmp42" + bytes(40), 10.0))
    with pytest.raises(InputError, match=r"ganforge\[video\]"):
        Clip(2, 10.0).write(tmp_path / "a.mp4", np.zeros((1, 8, 8, 2), np.uint8))
