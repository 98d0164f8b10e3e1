"""Sounds as rows: what a byte stands for, and how a sound comes back."""

from __future__ import annotations

import tarfile

import numpy as np
import pytest

from ganforge.base.errors import InputError
from ganforge.media import waves
from ganforge.media.sound import PEAK, Sound

SOUND = Sound.of_rate(8000)
BANDS, FRAMES = 64, 48


def tone(hertz: float) -> np.ndarray:
    return np.sin(2 * np.pi * hertz * np.arange(SOUND.samples(FRAMES)) / 8000).astype(np.float32)


def band_of(hertz: float) -> float:
    """Which band, counted from the lowest, is centred on so many hertz: the inverse of the mel scale."""
    low, high, mel = (2595 * np.log10(1 + f / 700) for f in (SOUND.low, SOUND.high, hertz))
    return float((mel - low) / (high - low) * (BANDS + 1) - 1)


@pytest.mark.parametrize("hertz", [200, 440, 1000, 2500, 3500])
def test_a_tone_lies_in_its_band_and_comes_back_with_its_pitch(hertz):
    row = SOUND.row(tone(hertz), BANDS, FRAMES)
    assert row.shape == (BANDS, FRAMES, 1)
    assert row.dtype == np.uint8
    middle = row[::-1, 10:-10, 0]
    assert np.abs(middle.argmax(0) - band_of(hertz)).max() <= 1, "high notes at the top"
    back = SOUND.wave(row)
    assert back.shape == (SOUND.samples(FRAMES),)
    spectrum = np.abs(np.fft.rfft(back * np.hanning(len(back))))
    width = 700 * 10 ** ((band_of(hertz) + 1) / (BANDS + 1) * (2595 * np.log10(1 + 4000 / 700)) / 2595) / 20 + 16
    assert abs(spectrum.argmax() * 8000 / len(back) - hertz) < width


def test_silence_is_black_and_comes_back_as_silence():
    row = SOUND.row(np.zeros(100, np.float32), BANDS, FRAMES)
    assert not row.any()
    assert not SOUND.wave(row).any()


def test_bytes_are_decibels():
    """Half as loud in the second half: 6.02 dB, which are 6.02 / 80 x 255 levels."""
    wave = tone(1000)
    wave[len(wave) // 2 :] /= 2
    row = SOUND.row(wave, BANDS, FRAMES)[..., 0].astype(float)
    band = row.mean(1).argmax()
    assert row[band, 8:20].mean() - row[band, 28:40].mean() == pytest.approx(20 * np.log10(2) / 80 * 255, abs=1)


def test_loudness_does_not_matter_and_the_rest_of_the_row_is_silent():
    short = tone(440)[:1000]
    rows = [SOUND.row(short * gain, BANDS, FRAMES) for gain in (1, 0.1, 0.001)]
    assert np.abs(rows[0].astype(int) - rows[1]).max() <= 1
    assert np.abs(rows[0].astype(int) - rows[2]).max() <= 1
    assert not rows[0][:, 12:].any()


def test_the_same_row_gives_the_same_sound_and_never_clips():
    row = np.random.default_rng(0).integers(0, 256, (BANDS, FRAMES, 1)).astype(np.uint8)
    one, two = SOUND.wave(row), SOUND.wave(row.copy())
    assert np.array_equal(one, two)
    assert np.abs(one).max() == pytest.approx(PEAK)


def test_what_is_heard_of_rows_is_their_way_through_a_wave_in_any_company():
    rows = np.stack([SOUND.row(tone(hertz), BANDS, FRAMES) for hertz in range(200, 3700, 100)])
    heard = SOUND.as_written(rows)
    assert np.array_equal(heard[[3, 34]], [SOUND.row(SOUND.wave(row), BANDS, FRAMES) for row in rows[[3, 34]]])
    assert SOUND.as_written(rows[:0]).shape == (0, BANDS, FRAMES, 1)
    assert not SOUND.lossless


@pytest.mark.parametrize("hertz", [200, 440, 1000, 2500, 3500])
def test_a_tone_goes_to_a_wave_and_back_within_four_decibels(hertz):
    """Root mean square over the bands within 20 dB of the loudest one, in frames that no end touches."""
    row = SOUND.row(tone(hertz), BANDS, FRAMES)
    middle, heard = (rows[0, :, 4:-4, 0].astype(float) * 80 / 255 for rows in (row[None], SOUND.as_written(row[None])))
    loud = middle > middle.max() - 20
    assert np.sqrt(np.square(middle - heard)[loud].mean()) < 4


def test_settings_follow_the_rate():
    for rate, hop in ((8000, 128), (16000, 256), (22050, 256), (44100, 512)):
        sound = Sound.of_rate(rate)
        assert (sound.hop, sound.window, sound.fft, sound.high) == (hop, 2 * hop, 4 * hop, rate / 2)
        sound.check(64, 48, 1)
        assert sound.width(1.0) % 8 == 0
        assert 1.0 <= sound.seconds(sound.width(1.0)) < 1.0 + 8 * hop / rate
        assert SOUND.row(tone(440), 128, FRAMES).any(1).any(), "more bands than bins at the low end"


@pytest.mark.parametrize("change", [{"rate": 0}, {"hop": 300}, {"low": 5000.0}, {"floor": 3.0}, {"fft": 64}])
def test_settings_of_sounds_that_make_no_sense_are_refused(change):
    with pytest.raises(ValueError, match=r"rate|window|low"):
        Sound(**{**SOUND.__dict__, **change}).check(64, 48, 1)
    with pytest.raises(ValueError, match="1 channel"):
        SOUND.check(64, 48, 3)


def test_several_sounds_make_one_file_with_pauses(tmp_path):
    rows = np.stack([SOUND.row(tone(hertz), BANDS, FRAMES) for hertz in (440, 880)])
    SOUND.write(tmp_path / "a.wav", rows, {"seeds": [0, 1]})
    found, _ = waves.read((tmp_path / "a.wav").read_bytes(), 8000, 1 << 20)
    length = SOUND.samples(FRAMES)
    assert len(found) == 2 * length + 1600
    assert not found[length : length + 1600].any()
    with pytest.raises(InputError, match=r"\.wav"):
        SOUND.write(tmp_path / "a.mp3", rows)


def test_spoken_digits_come_back_near_to_themselves(real_data):
    """Log-spectral distance of 20 digits to their way through a row, over frames that are not silent, in dB."""
    distances = []
    with tarfile.open(real_data / "audio-fsdd" / "fsdd_wav.tar.xz") as tar:
        for n, member in enumerate(tar):
            if n > 20:
                break
            if not member.isfile():
                continue
            try:
                wave, _ = waves.read(tar.extractfile(member).read(), 8000, SOUND.samples(FRAMES))
            except waves.Unusable:
                continue
            row = SOUND.row(wave, BANDS, FRAMES)
            again = SOUND.row(SOUND.wave(row), BANDS, FRAMES)
            loud = row.max(0)[:, 0] > 128
            difference = (row[:, loud].astype(float) - again[:, loud]) * 80 / 255
            distances.append(np.sqrt(np.square(difference).mean(0)).mean())
    assert len(distances) >= 5
    assert np.mean(distances) < 3.5
