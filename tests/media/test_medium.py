"""From files of sounds and clips to a store, a run, samples and numbers; and what says that it is for pictures."""

from __future__ import annotations

import base64
import json
import re
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ganforge.base import marks
from ganforge.base.errors import DataError, InputError
from ganforge.cli import main
from ganforge.measuring.measure import measure, measure_folder
from ganforge.media import clip, waves
from ganforge.media.clip import Clip
from ganforge.media.sound import Sound
from ganforge.preparing.prepare import prepare
from ganforge.report import write as write_report
from ganforge.sampling import write as write_samples
from ganforge.showing import show
from ganforge.store.store import Store
from ganforge.training.train import train

RATE = 8000


def make_sounds(folder: Path, count: int = 40) -> Path:
    """Tones that rise and tones that fall, a folder each."""
    rng = np.random.default_rng(0)
    for label, way in (("rising", 1), ("falling", -1)):
        (folder / label).mkdir(parents=True)
        for n in range(count // 2):
            seconds = np.arange(rng.integers(2400, 2900)) / RATE
            hertz = 1200 + way * 2000 * (seconds - 0.18) + rng.normal(0, 50)
            wave = np.sin(2 * np.pi * np.cumsum(hertz) / RATE) * rng.uniform(0.2, 0.9)
            waves.write_wav(folder / label / f"{n}.wav", wave.astype(np.float32), RATE)
    return folder


def moving_square(seed: int, frames: int = 9) -> list[Image.Image]:
    rng = np.random.default_rng(seed)
    top, left, down = (int(n) for n in rng.integers(0, 8, 3))
    shade, found = int(rng.integers(100, 256)), []
    for n in range(frames):
        frame = np.zeros((16, 16), np.uint8)
        y, x = (top + n * (down % 3)) % 12, (left + n) % 12
        frame[y : y + 4, x : x + 4] = shade
        found.append(Image.fromarray(frame))
    return found


def make_clips(folder: Path, count: int = 16) -> Path:
    """GIFs in one folder, and folders of frames beside it."""
    (folder / "gif").mkdir(parents=True)
    for n in range(count):
        first, *rest = moving_square(n)
        first.save(folder / "gif" / f"{n}.gif", save_all=True, append_images=rest, duration=100)
    for n in range(4):
        inside = folder / "stills" / f"clip{n}"
        inside.mkdir(parents=True)
        for at, frame in enumerate(moving_square(100 + n, 12)):
            frame.save(inside / f"frame{at}.png")
    return folder


@pytest.fixture(scope="module")
def sounds(tmp_path_factory) -> Store:
    place = tmp_path_factory.mktemp("sounds")
    return prepare(make_sounds(place / "files"), place / "store", resolution="16x24", heldout=0.25).store


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> Store:
    place = tmp_path_factory.mktemp("clips")
    settings = {"medium": "clip", "frames": 4, "resolution": 16, "heldout": 0.3}
    return prepare(make_clips(place / "files"), place / "store", **settings).store


@pytest.fixture(scope="module")
def runs(tmp_path_factory, sounds, clips):
    place = tmp_path_factory.mktemp("runs")
    length = {"train": {"images": 64, "batch": 16, "precision": "fp32"}}
    return {
        "sound": train("cgan", sounds, place / "sound", size="small", overrides=length),
        "clip": train("dcgan", clips, place / "clip", size="small", overrides=length),
    }


# -------------------------------------------------------------------------------------------------------------- stores


def test_a_folder_of_sounds_is_read_as_sounds(sounds):
    assert sounds.spec.medium == Sound.of_rate(RATE)
    assert sounds.shape == (16, 24, 1)
    assert sounds.spec.classes == ("falling", "rising")
    manifest = json.loads((sounds.path / "manifest.json").read_text())
    assert manifest["spec"]["medium"]["kind"] == "sound"
    assert manifest["recipe"].keys().isdisjoint({"fit", "background"})
    falling, rising = (sounds.read(np.flatnonzero(sounds.labels == label))[..., 0].astype(float) for label in (0, 1))
    height = np.arange(16)[None, :, None]
    for rows, way in ((falling, 1), (rising, -1)):  # downwards in a picture is downwards in pitch
        centres = (rows**4 * height).sum(1) / (rows**4).sum(1).clip(1)
        assert (way * (centres[:, 17] - centres[:, 3]) > 1).mean() > 0.9


def test_the_length_and_the_rate_follow_the_files(tmp_path):
    made = prepare(make_sounds(tmp_path / "files"), tmp_path / "store")
    medium = made.store.spec.medium
    assert isinstance(medium, Sound)
    assert 0.3 < medium.seconds(made.store.spec.width) < 0.6
    faster = prepare(tmp_path / "files", tmp_path / "faster", rate=16000, seconds=0.5)
    assert faster.store.spec.medium == Sound.of_rate(16000)
    assert "resampled to 16,000 Hz: 40 of 8,000 Hz; --rate sets it" in faster.notes
    assert not any("resampled" in note for note in made.notes)


def test_sounds_of_several_rates_are_brought_to_the_commonest_and_counted(tmp_path):
    folder = make_sounds(tmp_path / "files")
    seconds = np.arange(44100 // 4) / 44100
    for n, rate in enumerate((44100, 44100, 22050)):
        waves.write_wav(folder / "rising" / f"other{n}.wav", np.sin(2 * np.pi * 440 * seconds * rate / 44100), rate)
    made = prepare(folder, tmp_path / "store", seconds=0.6)
    assert "resampled to 8,000 Hz: 1 of 22,050 Hz, 2 of 44,100 Hz; --rate sets it" in made.notes
    assert len(made.store) == 43


def test_every_sound_that_cannot_be_used_has_its_reason(tmp_path):
    folder = make_sounds(tmp_path / "files")
    whole = (folder / "rising" / "0.wav").read_bytes()
    (folder / "rising" / "short.wav").write_bytes(whole[: len(whole) // 2])
    waves.write_wav(folder / "rising" / "silent.wav", np.zeros(2000, np.float32), RATE)
    waves.write_wav(folder / "rising" / "long.wav", np.ones(RATE, np.float32), RATE)
    (folder / "rising" / "text.wav").write_text("no sound")
    (folder / "rising" / "notes.txt").write_text("notes")
    made = prepare(folder, tmp_path / "store", resolution="16x24")
    reasons = {Path(file).name: reason.split(":")[0] for file, reason in made.skipped}
    assert reasons["short.wav"] == "cut short"
    assert reasons["silent.wav"] == "silent"
    assert reasons["long.wav"] == "too long"
    assert reasons["text.wav"].startswith("not a sound") or "not a WAV" in reasons["text.wav"]
    assert reasons["notes.txt"] == "not a sound"
    assert len(made.store) == 40


def test_clips_of_one_file_stay_on_one_side(clips):
    """9 frames give two clips of 4, a folder of 12 frames three."""
    assert len(clips) == 16 * 2 + 4 * 3
    assert clips.spec.medium == Clip(4, 10.0)
    assert clips.shape == (16, 16, 4), "grey"
    from ganforge.store.meta import Origins

    names = [name for name, _ in Origins(clips)[list(range(len(clips)))]]
    assert {name.rpartition("#")[2] for name in names} == {"0", "4", "8"}
    sides: dict[str, set[int]] = {}
    for name, side in zip(names, clips.splits.tolist(), strict=True):
        sides.setdefault(name.rpartition("#")[0], set()).add(side)
    assert all(len(found) == 1 for found in sides.values())
    assert len(clips.heldout)


def test_frames_in_files_of_their_own_come_in_natural_order(clips):
    from ganforge.store.meta import Origins

    names = [name for name, _ in Origins(clips)[list(range(len(clips)))]]
    row = names.index("stills/clip0#8")
    frames = Clip(4, 10.0).split(clips.read(np.array([row])))[0, ..., 0]
    assert np.array_equal(frames, np.stack([np.asarray(frame) for frame in moving_square(100, 12)[8:]]))


def test_a_zip_and_a_stride(tmp_path):
    folder = make_clips(tmp_path / "files")
    with zipfile.ZipFile(tmp_path / "files.zip", "w") as archive:
        for file in sorted(folder.rglob("*.*")):
            archive.write(file, file.relative_to(tmp_path))
    options = {"medium": "clip", "frames": 4, "resolution": 16}
    plain = prepare(tmp_path / "files.zip", tmp_path / "one", **options).store
    assert len(plain) == 16 * 2 + 4 * 3
    assert len(prepare(tmp_path / "files.zip", tmp_path / "two", stride=1, **options).store) == 16 * 6 + 4 * 9


def test_clips_of_one_file_alone_leave_nothing_to_hold_out_and_that_is_said(tmp_path):
    folder = tmp_path / "film"
    folder.mkdir()
    for n in range(80):
        Image.fromarray(np.full((16, 16), 3 * n, np.uint8)).save(folder / f"{n}.png")
    prepared = prepare(folder, tmp_path / "s", medium="clip", frames=4)
    assert len(prepared.store.heldout) == 0
    assert any("nothing is held out" in note and "no floor" in note for note in prepared.notes)


def test_too_short_is_a_reason_and_colours_are_kept(tmp_path):
    folder = make_clips(tmp_path / "files")
    moving_square(1)[0].save(folder / "gif" / "still.gif")
    red = [Image.new("RGB", (16, 16), (200, 10 * n, 10)) for n in range(5)]
    red[0].save(folder / "gif" / "red.gif", save_all=True, append_images=red[1:], duration=100)
    made = prepare(folder, tmp_path / "store", medium="clip", frames=4, resolution=16)
    assert ("gif/still.gif", "too short: 1 frame, and a row has 4") in made.skipped
    assert made.store.spec.channels == 12


def test_the_length_of_a_clip_follows_the_files(tmp_path):
    """Sixteen frames were taken for granted, and files of twelve were all left out."""
    folder = make_clips(tmp_path / "files")  # nine frames each, and twelve in folders
    moving_square(1)[0].save(folder / "gif" / "still.gif")
    made = prepare(folder, tmp_path / "store", medium="clip")
    assert made.store.spec.medium == Clip(9, 10.0)
    assert [file for file, _ in made.skipped] == ["gif/still.gif"]
    assert prepare(folder / "gif", tmp_path / "twice", medium="clip", rate=20).store.spec.medium == Clip(16, 20.0)
    for n in range(8):
        shutil.copytree(folder / "stills" / "clip0", tmp_path / "frames" / f"clip{n}")
    assert prepare(tmp_path / "frames", tmp_path / "stills", medium="clip", rate=20).store.spec.medium == Clip(12, 20.0)


def test_animations_are_pictures_unless_clips_are_asked_for(tmp_path):
    folder = make_clips(tmp_path / "files")
    assert prepare(folder, tmp_path / "store", resolution=16).store.spec.is_picture


def test_a_stopped_and_an_unstopped_prepare_give_the_same_store(tmp_path, sounds, clips):
    again = prepare(sounds.path.parent / "files", tmp_path / "a", resolution="16x24", heldout=0.25, part_size=7).store
    assert np.array_equal(again.read(np.arange(40)), sounds.read(np.arange(40)))
    other = {"medium": "clip", "frames": 4, "resolution": 16, "heldout": 0.3, "part_size": 5}
    parts = prepare(clips.path.parent / "files", tmp_path / "b", **other).store
    assert np.array_equal(parts.splits, clips.splits)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"frames": 4}, "--frames has no effect on files that are read as sounds"),
        ({"fit": "pad"}, "--fit has no effect"),
        ({"channels": 3}, "--channels has no effect"),
        ({"normalise": "image"}, "--normalise image is for pictures"),
        ({"seconds": 100.0}, "takes at most"),
        ({"seconds": 1.0, "resolution": "16x24"}, "two lengths of a row"),
        ({"rate": 10.0}, "whole number from 1,000"),
        ({"medium": "picture"}, "holds sounds and no pictures"),
        ({"medium": "clip"}, "holds sounds and no pictures"),
        ({"medium": "smell"}, "medium"),
    ],
)
def test_settings_that_do_not_fit_sounds_are_refused(tmp_path, sounds, options, sentence):
    with pytest.raises((InputError, DataError), match=sentence):
        prepare(sounds.path.parent / "files", tmp_path / "store", **options)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"frames": 4}, "--frames has no effect on files that are read as pictures"),
        ({"medium": "clip", "seconds": 1.0}, "--seconds has no effect"),
        ({"medium": "clip", "channels": 4}, "1 .grey. or 3"),
        ({"medium": "clip", "frames": 1}, "frames is 1"),
        ({"medium": "sound"}, "holds no sounds"),
    ],
)
def test_settings_that_do_not_fit_clips_are_refused(tmp_path, clips, options, sentence):
    with pytest.raises((InputError, DataError), match=sentence):
        prepare(clips.path.parent / "files", tmp_path / "store", **options)


# ---------------------------------------------------------------------------------------------------- runs and samples


@pytest.mark.parametrize("kind", ["sound", "clip"])
def test_a_sheet_and_a_file_of_all_samples(runs, tmp_path, kind):
    run, suffix = runs[kind], {"sound": ".wav", "clip": ".webp"}[kind]
    written = write_samples(run, [0, 1, 2], tmp_path / "a.png", True)
    assert written == [tmp_path / "a.png", tmp_path / f"a{suffix}"]
    assert write_samples(run, [0, 1, 2], tmp_path / f"b{suffix}", True) == [tmp_path / "b.png", tmp_path / f"b{suffix}"]
    assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()
    for file in written:
        mark = marks.read(file)
        assert mark is not None
        assert (mark["generated"], mark["seeds"], mark["run"]) == (True, [0, 1, 2], run.path.name)
    with Image.open(tmp_path / "a.png") as sheet:
        assert sheet.mode in ("L", "RGB")


@pytest.mark.parametrize("kind", ["sound", "clip"])
def test_a_file_a_seed_the_same_in_any_company(runs, tmp_path, kind):
    run = runs[kind]
    labels = "rising" if kind == "sound" else None
    several = write_samples(run, [4, 5, 6], tmp_path / "several", False, labels)
    alone = write_samples(run, [5], tmp_path / "alone", False, labels)
    assert several[1].name == alone[0].name == f"seed-000005{'-class-1.wav' if kind == 'sound' else '.webp'}"
    assert several[1].read_bytes() == alone[0].read_bytes()
    if kind == "sound":
        found = waves.probe(alone[0].read_bytes())
        assert (found.rate, found.samples) == (RATE, 128 * 23)
        assert marks.read(alone[0])["labels"] == ["rising"]
    else:
        assert len(list(clip.frames(alone[0].read_bytes(), 10.0))) == 4


@pytest.mark.parametrize("kind", ["sound", "clip"])
def test_it_is_measured_against_a_floor_and_reported(runs, kind, tmp_path):
    run = runs[kind]
    result = measure(run, samples=32)
    assert "protocol" in str(result)
    if kind == "clip":  # so few that the floor is high, and nothing is far above it
        assert result["shuffled"].value > 0 and result["frozen"].value > 0
        assert result["distance"].value is None and "withheld" in str(result)
        assert result["class_stays"].floor > 0.5 and result["speed"].floor > 0.5
    else:
        assert "above its floor" in str(result) or "at its floor" in str(result)
    assert (run.path / "nearest.png").is_file()
    page = write_report(run, [("trained", result)], tmp_path / "report.html").read_text()
    assert str(run.spec) in page
    playing = {
        "sound": r'<audio controls src="data:audio/wav;base64,([^"]+)"',
        "clip": r"data:image/webp;base64,([^\"]+)",
    }
    (data,) = re.findall(playing[kind], page)
    (tmp_path / f"playing{run.spec.medium.suffix}").write_bytes(base64.b64decode(data))
    assert marks.read(tmp_path / f"playing{run.spec.medium.suffix}")["run"] == run.path.name
    if kind == "sound":
        length = run.spec.medium.samples(run.spec.width)
        assert waves.probe(base64.b64decode(data)).samples == 2 * length + 1600, "one of each class"


def test_a_folder_of_sounds_is_measured(sounds, tmp_path):
    result, skipped = measure_folder(make_sounds(tmp_path / "files"), sounds)
    assert not skipped
    assert "protocol" in str(result)


def test_a_folder_of_clips_is_measured(runs, clips, tmp_path, logged):
    """Animations and folders of frames; generated clips; and files of which several clips are taken."""
    result, skipped = measure_folder(make_clips(tmp_path / "files"), clips)
    assert not skipped
    assert result.samples == len(clips)
    assert result.copies > 0.3  # those that are in the training set
    assert result.made_by.startswith("clips of files")
    write_samples(runs["clip"], range(20), tmp_path / "made", False)
    assert measure_folder(tmp_path / "made", clips)[0].samples == 20
    for clip_folder in (tmp_path / "files" / "stills").iterdir():
        (clip_folder / "frame3.png").write_bytes(b"damaged")
    result, skipped = measure_folder(tmp_path / "files", clips)
    assert {name for name, _ in skipped} == {f"stills/clip{n}" for n in range(4)}


def test_show_draws_a_sheet(sounds, clips):
    for store, words in ((sounds, "sounds "), (clips, "clips ")):
        lines = "\n".join(show(store.path, "shift 0.05"))
        assert words in lines
        assert (store.path / "sheet.png").is_file()
        assert (store.path / "augmented.png").is_file()


def test_what_is_for_pictures_says_so(runs, sounds, clips, tmp_path, fails):
    files = sounds.path.parent / "files"
    for words in (
        ("audit", files),
        ("clean", files, "-o", tmp_path / "x", "--filter", "median"),
        ("audit", sounds.path),
        ("prepare", sounds.path, "-o", tmp_path / "x"),
        ("restore", runs["sound"].path, files, "-o", tmp_path / "x"),
        ("sample", runs["clip"].path, "--walk"),
        ("train", "dae", sounds.path),
        ("train", "dcgan", clips.path, "--train.augment", "contrast"),
        ("train", "dcgan", sounds.path, "--model.augment", "ada"),
        ("train", "fastgan", sounds.path),
        ("train", "dcgan", sounds.path, "--train.mirror", "yes"),
    ):
        assert "pictures" in fails(*words), words
    assert not (tmp_path / "x").exists()


def test_an_export_is_refused_before_the_work(sounds, clips, tmp_path, capsys):
    files, out = sounds.path.parent / "files", ["--format", "parquet", "-o", str(tmp_path / "x")]
    for words, sentence in (
        ([str(files)], f"{files} holds sounds and no pictures"),
        ([str(files), "--medium", "sound"], "--format parquet is for pictures, not for sounds"),
        ([str(clips.path.parent / "files"), "--medium", "clip"], "--format parquet is for pictures, not for clips"),
        ([str(clips.path)], "is of clips"),
    ):
        assert main(["prepare", *words, *out]) == 1
        printed = capsys.readouterr()
        assert sentence in printed.err
        assert not printed.out
        assert not list(tmp_path.iterdir())


def test_the_words_of_the_command_line(tmp_path, capsys):
    folder = make_clips(tmp_path / "files")
    words = [
        "prepare",
        str(folder),
        "--medium",
        "clip",
        "--frames",
        "4",
        "--resolution",
        "16",
        "-o",
        str(tmp_path / "s"),
    ]
    assert main(words) == 0
    out = capsys.readouterr().out
    assert "44 clips of 16x16 grey, 4 frames at 10 a second" in out


def test_a_cover_among_animations_is_no_reason_to_take_them_for_frames(tmp_path):
    """Each animation was one frame of one clip, and its class was gone."""
    for n in range(12):
        (tmp_path / "in" / "ab"[n % 2]).mkdir(parents=True, exist_ok=True)
        first, *rest = moving_square(n, 8)
        first.save(tmp_path / "in" / "ab"[n % 2] / f"{n}.gif", save_all=True, append_images=rest, duration=100)
    moving_square(0)[0].save(tmp_path / "in" / "a" / "00 cover.png")
    prepared = prepare(tmp_path / "in", tmp_path / "s", medium="clip", frames=4, resolution=16)
    assert prepared.store.spec.classes == ("a", "b")
    assert np.bincount(prepared.store.labels).tolist() == [12, 12]
    assert [name for name, _ in prepared.skipped] == ["a/00 cover.png"]


def test_frames_beside_a_folder_of_the_set_s_name(tmp_path):
    for folder in (tmp_path / "set", tmp_path / "set" / "set"):
        folder.mkdir()
        for n, frame in enumerate(moving_square(len(folder.parts), 32)):
            frame.save(folder / f"{n}.png")
    store = prepare(tmp_path / "set", tmp_path / "s", medium="clip", frames=8, resolution=16).store
    assert len(store) == 8


def test_a_row_of_sound_is_no_longer_than_a_day(tmp_path, fails):
    make_sounds(tmp_path / "in", 8)
    assert "seconds is 1e+308" in fails("prepare", tmp_path / "in", "-o", tmp_path / "s", "--seconds", "1e308")
