"""Files of sounds and waves: WAV is read and written here, other formats are read by the extra `sound`."""

from __future__ import annotations

import importlib.util
import io
import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ganforge.base import marks
from ganforge.base.files import atomic_file, suffix_of, writing
from ganforge.media.medium import Unusable

Wave = npt.NDArray[np.float32]
"""(samples,) float32 in [-1, 1]."""

CODED = (".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc", ".au", ".w64", ".caf")
"""Suffixes that the extra `sound` reads."""
SUFFIXES = frozenset((".wav", *CODED))
RATES = (1_000, 384_000)
"""Samples a second that a file may have."""
MOST_CHANNELS = 64
SILENT = 1e-3
"""A sound whose samples are all smaller than this, -60 dB, is left out."""


@dataclass(frozen=True)
class WaveHeader:
    """What a file of a sound says of itself."""

    rate: int
    """Samples a second."""
    samples: int
    """Of each channel; 0 where the file does not say."""

    @property
    def seconds(self) -> float:
        """Its length."""
        return self.samples / self.rate


def read(data: bytes, rate: int, longest: int, shortest: int = 1) -> tuple[Wave, WaveHeader]:
    """The bytes of a sound file -> one channel at `rate`, the mean of the file's own, and the file's header.

    WAV with 8, 16, 24 or 32 bits, or floats of 32 or 64; other formats with the extra `sound`. Unusable where it cannot
    be read, is silent, is cut short, or has fewer than `shortest` or more than `longest` samples at `rate`."""
    header = probe(data)
    most = longest * header.rate / rate
    if header.samples > most:
        raise Unusable(f"too long: {header.seconds:.2f} s, and a row has {longest / rate:.2f} s")
    channels = _samples(data, _wav(data)) if _is_wav(data) else _coded(data, math.ceil(most) + 1)
    if not len(channels):
        raise Unusable("no samples")
    if len(channels) > most:
        raise Unusable(f"too long: over {len(channels) / header.rate:.2f} s, and a row has {longest / rate:.2f} s")
    wave = channels.mean(1, dtype=np.float32)
    if not np.isfinite(wave).all():
        raise Unusable("samples that are no finite numbers")
    _check_loudness(wave, "")
    wave = resample(wave, header.rate, rate)[:longest]
    _check_loudness(wave, f" at {rate:,} Hz")
    if len(wave) < shortest:
        raise Unusable(f"too short: {len(wave):,} samples at {rate:,} Hz, and a window has {shortest:,}")
    return wave, header


def _check_loudness(wave: Wave, where: str) -> None:
    if (loudest := float(np.abs(wave).max())) < SILENT:
        raise Unusable(f"silent: its largest sample{where} is {loudest:.5f} of full scale")


def probe(data: bytes) -> WaveHeader:
    """Rate and length of a sound file. Unusable where it is none, or its rate is not one of RATES."""
    if _is_wav(data):
        wav = _wav(data)
        header = WaveHeader(wav.rate, wav.frames)
    else:
        header = _coded_header(data)
    if not RATES[0] <= header.rate <= RATES[1]:
        raise Unusable(f"rate of {header.rate:,} Hz; {RATES[0]:,} to {RATES[1]:,} are read")
    return header


def resample(wave: Wave, rate: int, new_rate: int) -> Wave:
    """(samples,) at `rate` -> (samples',) at `new_rate`, through scipy's polyphase filter."""
    if rate == new_rate:
        return wave
    from scipy.signal import resample_poly

    common = math.gcd(rate, new_rate)
    out: Wave = resample_poly(wave, new_rate // common, rate // common).astype(np.float32)
    return out


def _is_wav(data: bytes) -> bool:
    return data[:4] == b"RIFF" and data[8:12] == b"WAVE"


_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_KINDS = {(_PCM, 8), (_PCM, 16), (_PCM, 24), (_PCM, 32), (_FLOAT, 32), (_FLOAT, 64)}
_UNKNOWN = (0, 0xFFFFFFFF)  # lengths that a program writes which does not know how much will follow


class _Wav(NamedTuple):
    """Where the samples of a WAV file are, and how they are written."""

    rate: int
    channels: int
    tag: int
    bits: int
    start: int
    frames: int


def _wav(data: bytes) -> _Wav:
    """The chunks of a WAV file, read here because Python's `wave` knows neither floats nor files that are cut short."""
    rate = channels = tag = bits = block = byte_rate = 0
    at = 12
    while at + 8 <= len(data):
        name, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        at += 8
        if name == b"fmt ":
            if size < 16 or at + 16 > len(data):
                raise Unusable("damaged WAV: its format is cut short")
            tag, channels, rate, byte_rate, block, bits = struct.unpack("<HHIIHH", data[at : at + 16])
            if tag == _EXTENSIBLE and size >= 26:
                tag = int.from_bytes(data[at + 24 : at + 26], "little")
        elif name == b"data":
            if (tag, bits) not in _KINDS or not 1 <= channels <= MOST_CHANNELS:
                raise Unusable(f"WAV of format {tag} with {bits} bits and {channels} channels; PCM and floats are read")
            if block != channels * bits // 8 or byte_rate not in (0, rate * block):
                raise Unusable(
                    f"WAV whose header contradicts itself: {rate:,} Hz and {channels} channels of {bits} bits, in "
                    f"blocks of {block} bytes and {byte_rate:,} bytes a second"
                )
            left = len(data) - at
            size = left if size in _UNKNOWN else size
            if size > left:
                raise Unusable(f"cut short: {left:,} of {size:,} bytes of samples")
            after = data[at + size + size % 2 :]
            if any(after) and not (after[:4].isascii() and after[:4].decode().isprintable()):
                raise Unusable(f"WAV whose header says {size:,} bytes of samples, and {len(after):,} more follow")
            return _Wav(rate, channels, tag, bits, at, size // (channels * bits // 8))
        at += size + size % 2
    raise Unusable("cut short: a WAV without samples")


def _samples(data: bytes, wav: _Wav) -> Wave:
    """(samples, channels) float32 in [-1, 1)."""
    data = data[wav.start : wav.start + wav.frames * wav.channels * wav.bits // 8]
    if wav.bits == 8:  # the only one without a sign
        numbers = np.frombuffer(data, np.uint8).astype(np.float32) / np.float32(128) - np.float32(1)
    elif wav.bits == 24:
        wide = np.zeros((len(data) // 3, 4), np.uint8)
        wide[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
        numbers = wide.view("<i4")[:, 0].astype(np.float32) / np.float32(2**31)
    else:
        numbers = np.frombuffer(data, f"<{'f' if wav.tag == _FLOAT else 'i'}{wav.bits // 8}").astype(np.float32)
        numbers = numbers if wav.tag == _FLOAT else numbers / np.float32(2 ** (wav.bits - 1))
    return numbers.reshape(-1, wav.channels)


def missing(name: str) -> str:
    """Why a sound file of this name cannot be read here; "" where it can."""
    suffix = suffix_of(name)
    if suffix in CODED and importlib.util.find_spec("soundfile") is None:
        return f'{suffix} needs pip install "ganforge[sound]"'
    return "" if suffix in SUFFIXES or suffix in ("", ".") else f"not a sound: {suffix} file"


def _coded_header(data: bytes) -> WaveHeader:
    soundfile = _soundfile()
    try:
        info = soundfile.info(io.BytesIO(data))
    except (RuntimeError, ValueError, TypeError) as error:
        raise Unusable(f"not a sound that can be read: {str(error).splitlines()[0]}") from error
    return WaveHeader(int(info.samplerate), 0 if info.frames >= 1 << 62 else int(info.frames))


def _coded(data: bytes, most: int) -> npt.NDArray[np.float32]:
    """The first `most` samples (samples, channels) of a FLAC, OGG, MP3 and the like."""
    soundfile = _soundfile()
    try:
        samples: npt.NDArray[np.float32] = soundfile.read(io.BytesIO(data), most, dtype="float32", always_2d=True)[0]
    except (RuntimeError, ValueError, TypeError) as error:
        raise Unusable(f"cut short or damaged: {str(error).splitlines()[0]}") from error
    return samples


def _soundfile() -> Any:
    try:
        import soundfile
    except ImportError:
        raise Unusable('not a WAV; other sounds need pip install "ganforge[sound]"') from None
    return soundfile


# ------------------------------------------------------------------------------------------------------- waves -> files


def write_wav(path: Path, wave: Wave, rate: int, made_by: dict[str, Any] | None = None) -> None:
    """Write (samples,) float32 in [-1, 1] as a WAV of one channel with 16 bits; beside its place, then renamed.

    `made_by` stands in it as a LIST/INFO comment. DataError where it cannot be written."""
    samples = (wave * 32767).round().clip(-32768, 32767).astype("<i2").tobytes()
    chunks = [(b"fmt ", struct.pack("<HHIIHH", _PCM, 1, rate, 2 * rate, 2, 16))]
    if made_by is not None:
        information = [(b"ISFT", b"ganforge\0"), (b"ICMT", marks.text(made_by).encode() + b"\0")]
        chunks.append((b"LIST", b"INFO" + b"".join(_chunk(*pair) for pair in information)))
    body = b"WAVE" + b"".join(_chunk(*pair) for pair in [*chunks, (b"data", samples)])
    with writing(path), atomic_file(path) as partial:
        partial.write_bytes(_chunk(b"RIFF", body))


def _chunk(name: bytes, data: bytes) -> bytes:
    return name + len(data).to_bytes(4, "little") + data + b"\0" * (len(data) % 2)
