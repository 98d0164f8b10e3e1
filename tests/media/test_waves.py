"""Files of sounds: every kind of WAV, other formats, what is left out and why, and what is written."""

from __future__ import annotations

import io
import struct
import wave as standard

import numpy as np
import pytest

from ganforge.base import marks
from ganforge.base.errors import DataError
from ganforge.media import waves
from ganforge.media.medium import Unusable
from hostile import damaged

RATE = 8000
TONE = (0.5 * np.sin(2 * np.pi * 440 * np.arange(4000) / RATE)).astype(np.float32)


def wav(samples: np.ndarray, bits: int, tag: int = 1, channels: int = 1, extra: bytes = b"", rate: int = RATE) -> bytes:
    """A WAV file of (samples,) floats, by another hand than the one that is tested."""
    if tag == 3:
        data = samples.astype(f"<f{bits // 8}").tobytes()
    elif bits == 8:
        data = np.round(samples * 128 + 128).clip(0, 255).astype(np.uint8).tobytes()
    else:
        whole = np.round(samples.astype(np.float64) * 2 ** (bits - 1)).astype("<i4")
        data = b"".join(int(n).to_bytes(bits // 8, "little", signed=True) for n in whole)
    width = channels * bits // 8
    head = struct.pack("<HHIIHH", tag, channels, rate, rate * width, width, bits)
    chunks = b"fmt " + struct.pack("<I", len(head)) + head + extra + b"data" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


def lying(**fields: int) -> bytes:
    """A WAV of 16 bits with other numbers in its header."""
    data = bytearray(wav(TONE, 16))
    for name, value in fields.items():
        at, length = {"byte_rate": (28, 4), "block": (32, 2), "bits": (34, 2), "size": (40, 4)}[name]
        data[at : at + length] = value.to_bytes(length, "little")
    return bytes(data)


@pytest.mark.parametrize(("bits", "tag"), [(8, 1), (16, 1), (24, 1), (32, 1), (32, 3), (64, 3)])
def test_every_kind_of_wav_reads_as_the_same_wave(bits, tag):
    found, header = waves.read(wav(TONE, bits, tag, extra=b"note\x03\0\0\0abc\0"), RATE, 4000)
    assert (header.rate, header.samples) == (RATE, 4000)
    assert found.dtype == np.float32
    assert np.abs(found - TONE).max() <= (0.5 / 128 + 1e-6 if bits == 8 else 2 ** -(min(bits, 24) - 1))


def test_python_s_own_module_writes_what_is_read():
    buffer = io.BytesIO()
    with standard.open(buffer, "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(np.round(np.stack([TONE, TONE / 2], 1) * 32767).astype("<i2").tobytes())
    found, _ = waves.read(buffer.getvalue(), RATE, 4000)
    assert np.abs(found - 0.75 * TONE).max() < 1e-4, "the mean of the channels"


def test_the_extensible_format_is_its_inner_one():
    inner = struct.pack("<HHIIHH", 0xFFFE, 1, RATE, 2 * RATE, 2, 16) + struct.pack("<HHIH", 22, 16, 4, 1) + bytes(14)
    data = np.round(TONE * 32767).astype("<i2").tobytes()
    body = b"WAVEfmt " + struct.pack("<I", len(inner)) + inner + b"data" + struct.pack("<I", len(data)) + data
    found, _ = waves.read(b"RIFF" + struct.pack("<I", len(body)) + body, RATE, 4000)
    assert np.abs(found - TONE).max() < 1e-4


def test_a_length_that_was_never_written_is_the_rest_of_the_file():
    data = bytearray(wav(TONE, 16))
    data[40:44] = b"\xff" * 4
    assert waves.probe(bytes(data)).samples == 4000


@pytest.mark.parametrize("suffix", ["flac", "ogg", "mp3"])
def test_other_formats_are_read_with_the_extra(suffix):
    soundfile = pytest.importorskip("soundfile", reason="the extra sound is not installed")
    buffer = io.BytesIO()
    soundfile.write(buffer, TONE, RATE, format=suffix.upper())
    found, header = waves.read(buffer.getvalue(), RATE, 8000)
    assert header.rate == RATE
    spectrum = np.abs(np.fft.rfft(found[:4000]))
    assert abs(np.argmax(spectrum) * RATE / 4000 - 440) < 5


def test_another_rate_is_brought_to_the_wanted_one():
    tone = (0.5 * np.sin(2 * np.pi * 440 * np.arange(22050) / 44100)).astype(np.float32)
    found, header = waves.read(wav(tone, 16, rate=44100), RATE, 4000)
    assert header.rate == 44100
    assert len(found) == 4000
    assert np.abs(found[200:-200] - TONE[200:-200]).max() < 5e-3


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not a sound|not a WAV"),
        (b"\x89PNG\r\n\x1a\n" + bytes(64), "not a sound|not a WAV"),
        (wav(TONE, 16)[:3000], "cut short: 2,956 of 8,000 bytes"),
        (wav(TONE, 16)[:30], "cut short"),
        (wav(TONE[:0], 16), "no samples"),
        (wav(TONE * 1e-4, 16), "silent"),
        (wav(np.tile(TONE, 2), 16), "too long: 1.00 s, and a row has 0.50 s"),
        (wav(np.where(np.arange(4000) == 7, np.nan, TONE), 32, 3), "no finite numbers"),
        (wav(TONE, 16, tag=6), "WAV of format 6"),
        (wav(TONE, 16, rate=1), "rate of 1 Hz"),
        (wav(TONE, 16, rate=0), "rate of 0 Hz"),
        (wav(TONE, 16, channels=0), "0 channels"),
        (wav(TONE[:100], 16), "too short: 100 samples at 8,000 Hz, and a window has 256"),
        (lying(block=4), "contradicts itself: 8,000 Hz and 1 channels of 16 bits, in blocks of 4 bytes"),
        (lying(byte_rate=88200), "contradicts itself.* 88,200 bytes a second"),
        (lying(size=600), "header says 600 bytes of samples, and 7,400 more follow"),
        (lying(size=8002), "cut short: 8,000 of 8,002 bytes"),
        (lying(bits=12), "WAV of format 1 with 12 bits"),
    ],
)
def test_what_cannot_be_used_says_why(data, reason):
    with pytest.raises(Unusable, match=reason):
        waves.read(data, RATE, 4000, 256)


@pytest.mark.parametrize("after", [b"LIST\x04\0\0\0INFO", b"\0" * 9, b""])
def test_what_may_follow_the_samples(after):
    assert waves.probe(wav(TONE, 16) + after).samples == 4000


def test_a_rate_of_bytes_that_was_never_written_is_no_lie():
    assert waves.probe(lying(byte_rate=0)).rate == RATE


def test_what_is_above_the_new_rate_s_highest_tone_is_silence_and_is_not_amplified():
    high = (0.5 * np.sin(2 * np.pi * 15_000 * np.arange(22050) / 44100)).astype(np.float32)
    with pytest.raises(Unusable, match="silent: its largest sample at 8,000 Hz"):
        waves.read(wav(np.hanning(22050).astype(np.float32) * high, 16, rate=44100), RATE, 4000)


def test_damage_anywhere_is_a_reason_and_never_another_error():
    whole = wav(TONE[:200], 16)
    for seed in range(300):
        try:
            wave, _ = waves.read(damaged(whole, seed, 3), RATE, 4000)
            assert np.isfinite(wave).all()
        except Unusable as why:
            assert str(why)


def test_what_is_written_is_read_again_with_its_mark(tmp_path):
    path = tmp_path / "a.wav"
    waves.write_wav(path, TONE, RATE, {"seeds": [3], "run": 'ü "x"'})
    found, _ = waves.read(path.read_bytes(), RATE, 4000)
    assert np.abs(found - TONE).max() < 1e-4
    assert marks.read(path) == {"generated": True, "seeds": [3], "run": 'ü "x"'}
    with standard.open(str(path)) as file:
        assert (file.getnchannels(), file.getframerate(), file.getnframes()) == (1, RATE, 4000)
    assert [file.name for file in tmp_path.iterdir()] == ["a.wav"]
    waves.write_wav(path, TONE, RATE)
    assert marks.read(path) is None


def test_a_path_that_cannot_be_written_is_said(tmp_path):
    with pytest.raises(DataError, match="cannot be written"):
        waves.write_wav(tmp_path / "no" / "a.wav", TONE, RATE)
