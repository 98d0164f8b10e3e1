"""Missing frames of clips: known frames to the bit, windows of long clips, refusals."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest
from PIL import Image

import ganforge
from ganforge import testing
from ganforge.base import marks
from ganforge.base.errors import InputError
from ganforge.cli import main
from ganforge.media import clip
from ganforge.media.spec import Spec
from ganforge.restoring.clips import windows
from ganforge.training.train import train

RNG = np.random.default_rng(0)
FRAMES = 4


def make_run(store, name, model):
    overrides = {
        "model": {"width": 8, **model},
        "train": {"images": 32, "batch": 4, "precision": "fp32", "ema_images": 1},
    }
    out = store.path.parent / f"{name}-{model.get('degradation', 'none')}"
    return train(name, store, out, size="small", device_name="cpu", overrides=overrides).path


def make_store(folder, colours):
    spec = Spec(8, 8, FRAMES * colours, medium=clip.Clip(FRAMES, 10.0))
    return testing.make_store(folder / "store", spec, count=16)


@pytest.fixture(scope="module")
def grey_store(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("grey"), 1)


@pytest.fixture(scope="module")
def grey(grey_store):
    return make_run(grey_store, "inpaint", {"degradation": "frames 1..2", "depth": 1, "blocks": 1, "lr": 0.003})


@pytest.fixture(scope="module")
def coloured(tmp_path_factory):
    model = {"degradation": "frames 1", "depth": 1, "blocks": 1, "steps": 2}
    return make_run(make_store(tmp_path_factory.mktemp("coloured"), 3), "flow", model)


def animation(path, count, height=8, width=8, colours=3, duration=100):
    """Random frames in a file."""
    frames = RNG.integers(0, 256, (count, height, width, colours), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    clip.write_webp(path, list(frames), [duration] * count, None)
    return frames.repeat(4 - colours if colours == 1 else 1, 3)


def read(path):
    """(frames (N, H, W, 4), milliseconds of each) of a file."""
    frames, durations = clip.all_frames(path.read_bytes())
    return np.stack(frames), durations


def words(run, source, out, *options):
    return ["restore", str(run), str(source), "-o", str(out), *map(str, options)]


def test_known_frames_come_back_to_the_bit_and_an_earlier_file_is_kept(grey, tmp_path, capsys):
    given = animation(tmp_path / "in" / "a.webp", FRAMES, 12, 20, 1, 80)
    for missing in ("0", "3", "1-2", "0,2"):
        out = tmp_path / missing
        assert main(words(grey, tmp_path / "in" / "a.webp", out, "--missing", missing)) == 0
        assert "1 clips restored" in capsys.readouterr().out
        after, durations = read(out / "a.webp")
        numbers = {"0": [0], "3": [3], "1-2": [1, 2], "0,2": [0, 2]}[missing]
        known = [n for n in range(FRAMES) if n not in numbers]
        assert durations == [80.0] * FRAMES
        assert np.array_equal(after[known][..., :3], given[known])
        for n in numbers:
            assert (after[n][..., :3] != given[n]).mean() > 0.9
            assert (np.ptp(after[n][..., :3], 2) == 0).all() and (after[n][..., 3] == 255).all(), "grey, opaque"
        mark = marks.read(out / "a.webp")
        assert (mark["restored"], mark["system"], mark["missing"]) == (True, "inpaint", numbers)
    before = (out / "a.webp").read_bytes()
    again = words(grey, tmp_path / "in" / "a.webp", out, "--missing")
    assert main([*again, "0,2"]) == 0
    assert "0 clips restored, 1 were there already" in capsys.readouterr().out
    assert main([*again, "0"]) == 2
    assert "exists already and is something else" in capsys.readouterr().out
    animation(tmp_path / "in" / "a.webp", FRAMES, 12, 20, 1, 80)
    assert main([*again, "0,2"]) == 2, "another clip of that name"
    assert (out / "a.webp").read_bytes() == before


def test_what_is_missing_is_not_looked_at(grey, tmp_path):
    given = animation(tmp_path / "a.webp", FRAMES, colours=1)
    given[2] = 0
    clip.write_webp(tmp_path / "b.webp", list(given), [100] * FRAMES, None)
    made = []
    for name in ("a", "b"):
        assert ganforge.Run(grey).restore(tmp_path / f"{name}.webp", tmp_path / "out", missing=[2]).written == 1
        made.append(read(tmp_path / "out" / f"{name}.webp")[0])
    assert np.array_equal(*made)


def test_windows_have_as_many_known_frames_as_can_be():
    assert windows(8, 8, {0, 3, 4}) == {0: [0, 3, 4]}
    assert windows(20, 8, {0}) == {0: [0]}
    assert windows(20, 8, {19}) == {12: [19]}
    assert windows(20, 8, {9, 10}) == {6: [9, 10]}, "in the middle of the window"
    assert windows(20, 8, {9, 11}) == {3: [9], 10: [11]}, "each without the other"
    assert windows(5, 4, {0, 1, 2, 4}) == {0: [0, 1, 2], 1: [4]}
    for _ in range(100):
        frames = int(RNG.integers(2, 7))
        missing = set(np.flatnonzero(RNG.random(30) < 0.3).tolist())
        if any(missing >= set(range(n, n + frames)) for n in range(31 - frames)):
            continue
        chosen = windows(30, frames, missing)
        assert sorted(n for numbers in chosen.values() for n in numbers) == sorted(missing)
        for start, numbers in chosen.items():
            inside = range(start, start + frames)
            assert 0 <= start <= 30 - frames and set(numbers) <= set(inside)
            assert set(inside) - missing, "something is known"


def test_a_long_clip_is_filled_in_windows(grey, tmp_path):
    """Each missing frame is what its window alone gives."""
    given = animation(tmp_path / "long.webp", 11, 9, 7)
    assert main(words(grey, tmp_path / "long.webp", tmp_path / "out", "--missing", "0,5,9-10")) == 0
    after = read(tmp_path / "out" / "long.webp")[0][..., :3]
    known = [1, 2, 3, 4, 6, 7, 8]
    assert np.array_equal(after[known], given[known])
    for start, numbers in windows(11, FRAMES, {0, 5, 9, 10}).items():
        clip.write_webp(tmp_path / "w.webp", list(given[start : start + FRAMES]), [100] * FRAMES, None)
        inner = [n - start for n in numbers]
        ganforge.restore(grey, tmp_path / "w.webp", tmp_path / str(start), missing=inner)
        assert np.array_equal(read(tmp_path / str(start) / "w.webp")[0][inner][..., :3], after[numbers])
    assert np.ptp(after[5], 2).any(), "a grey system fills each colour for itself"


def test_several_answers_in_colour(coloured, tmp_path):
    given = animation(tmp_path / "in" / "a.webp", 6, 10, 9)
    animation(tmp_path / "in" / "grey.webp", 6, colours=1)
    result = ganforge.restore(coloured, tmp_path / "in", tmp_path / "out", missing=[3], seeds=[0, 7])
    assert (result.written, result.skipped) == (4, [])
    one, two = (read(tmp_path / "out" / f"a-seed000{seed}.webp")[0] for seed in (0, 7))
    known = [0, 1, 2, 4, 5]
    assert np.array_equal(one[known][..., :3], given[known]) and np.array_equal(one[known], two[known])
    assert (one[3] != two[3]).any()
    assert (np.ptp(read(tmp_path / "out" / "grey-seed0000.webp")[0][3, ..., :3], 2) == 0).all(), "a grey clip stays so"


def test_zips_folders_of_frames_gifs_and_transparency(grey, tmp_path):
    for n in range(5):
        pixels = RNG.integers(0, 256, (8, 8, 4), dtype=np.uint8)
        (tmp_path / "frames" / "walk").mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / "frames" / "walk" / f"{n}.png")
    result = ganforge.restore(grey, tmp_path / "frames", tmp_path / "one", missing=[4])
    assert result.written == 1, result.skipped
    after, durations = read(next((tmp_path / "one").rglob("*.webp")))
    assert durations == [100.0] * 5
    visible = after[3][..., 3] > 0
    last = np.asarray(Image.open(tmp_path / "frames" / "walk" / "3.png"))
    assert np.array_equal(after[3][..., 3], last[..., 3]) and np.array_equal(after[3][visible], last[visible])
    assert (after[4][..., 3] == 255).all(), "what is filled in is opaque"
    steps = [Image.fromarray(np.full((8, 8), 40 * n, np.uint8)) for n in range(5)]
    steps[0].save(tmp_path / "steps.gif", save_all=True, append_images=steps[1:], duration=50)
    with zipfile.ZipFile(tmp_path / "z.zip", "w") as archive:
        archive.write(tmp_path / "steps.gif", "x/steps.gif")
        archive.writestr("x/broken.gif", b"GIF89a")
    result = ganforge.restore(grey, tmp_path / "z.zip", tmp_path / "two", missing=[2])
    assert [name for name, _ in result.skipped] == ["broken.gif"]
    assert any("another rate than the 10 frames a second" in note for note in result.notes)
    after, durations = read(tmp_path / "two" / "steps.webp")
    assert durations == [50.0] * 5 and (after[[0, 1, 3, 4], 0, 0, 0] == [0, 40, 120, 160]).all()


def test_frames_that_a_writer_joined_count_as_often_as_they_are_shown(grey, tmp_path, capsys):
    given = animation(tmp_path / "a.webp", 8, colours=1)
    given[3:6] = 0
    clip.write_webp(tmp_path / "a.webp", list(given), [100] * 8, None)
    assert clip.probe((tmp_path / "a.webp").read_bytes()).frames == 6
    assert main(words(grey, tmp_path / "a.webp", tmp_path / "out", "--missing", "3-5")) == 0
    assert "3 of 4 frames were missing at once; the system has learned with 2 at most" in capsys.readouterr().out
    after = read(tmp_path / "out" / "a.webp")[0][..., :3]
    known = [0, 1, 2, 6, 7]
    assert np.array_equal(after[known], given[known])
    assert all(after[n].any() for n in (3, 4, 5))


def test_files_that_cannot_be_restored_are_named(grey, tmp_path, capsys):
    animation(tmp_path / "in" / "good.webp", 5)
    animation(tmp_path / "in" / "short.webp", 3)
    animation(tmp_path / "in" / "end.webp", 4)
    animation(tmp_path / "in" / "wide.webp", 4, 2, 16383)
    (tmp_path / "in" / "notes.txt").write_text("words")
    assert main(words(grey, tmp_path / "in", tmp_path / "out", "--missing", "4")) == 2
    message = capsys.readouterr().out
    assert "'short.webp': too short: 3 frames, and a row has 4" in message
    assert "'end.webp': it has 4 frames, 0 to 3, at 10 a second, and frame 4 is to be filled in" in message
    assert "'notes.txt': not a picture: .txt file" in message
    assert "1 clips restored" in message
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["good.webp"]
    Image.fromarray(RNG.integers(0, 256, (8, 8), dtype=np.uint8)).save(tmp_path / "still.png")
    assert main(words(grey, tmp_path / "still.png", tmp_path / "out", "--missing", "1")) == 2
    assert "'still.png': a still picture, and frames are missing of clips alone" in capsys.readouterr().out


def test_what_is_refused_at_once(fails, grey, tmp_path):
    animation(tmp_path / "in" / "a.webp", 6)
    rest = (tmp_path / "in", "-o", tmp_path / "out")
    assert "Say which are missing: --missing 3-5" in fails("restore", grey, *rest)
    assert "frames 'x' are not understood" in fails("restore", grey, *rest, "--missing", "3,x")
    assert "of which one frame at least has to be known" in fails("restore", grey, *rest, "--missing", "1-4")
    for option, value in (("--mask", tmp_path), ("--holes", "transparent"), ("--reference", tmp_path)):
        message = fails("restore", grey, *rest, "--missing", "1", option, value)
        assert f"{option} is for pictures" in message
    assert "it takes 0 to 1" in fails("restore", grey, *rest, "--missing", "1", "--strength", 2)
    assert "takes no --seeds" in fails("restore", grey, *rest, "--missing", "1", "--seeds", 1)
    for wrong in ([], [-1], [1.5]):
        with pytest.raises(InputError, match="missing frame"):
            ganforge.restore(grey, tmp_path / "in", tmp_path / "out", missing=wrong)
    assert not (tmp_path / "out").exists()


def test_runs_that_fill_no_frames(fails, grey_store, tmp_path):
    animation(tmp_path / "in" / "a.webp", 6)
    rest = (tmp_path / "in", "-o", tmp_path / "out", "--missing", 1)
    for name, model in (
        ("flow", {"degradation": "strokes 0.3"}), ("flow", {"degradation": "down 2"}), ("flow", {}),
        ("vae", {"latent": 4}),
    ):  # fmt: skip
        message = fails("restore", make_run(grey_store, name, model), *rest)
        assert "has not learned that. Train flow or inpaint with" in message and "frames 1..3" in message
    pictures = testing.make_store(tmp_path / "pictures", Spec(8, 8, 3), count=8)
    assert "was trained on no clips" in fails("restore", make_run(pictures, "dae", {}), *rest)
