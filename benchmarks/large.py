"""Large JPEGs to a small side in one process: our decoder and resize beside Pillow's, and what is lost.

    python benchmarks/large.py [--count 8]

Square pictures of 4 to 11 megapixels with a natural spectrum, quality 90, to 256 and to 64 px.
"""

from __future__ import annotations

import argparse
import io
import time
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image

import common
from ganforge.base.device import keep_memory
from ganforge.base.images import Pixels
from ganforge.nn.losses import decibels
from ganforge.sources.decode import decode
from ganforge.sources.transform import fit


def make(count: int) -> list[bytes]:
    """JPEGs whose amplitude falls with the frequency, as that of photographs does, through a lens that passes a quarter
    of the finest wave."""
    rng, files = np.random.default_rng(0), []
    for _ in range(count):
        height = width = (
            int(rng.integers(260, 420)) * 8
        )  # square: cutting a scaled picture moves it by up to half a pixel, which is no loss
        fy, fx = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None]
        frequency = np.hypot(fy, fx)
        amplitude = np.exp(-((frequency / 0.425) ** 2)) / np.maximum(frequency, 1 / 4000)
        planes = []
        for _ in range(3):
            phase = rng.standard_normal(amplitude.shape) + 1j * rng.standard_normal(amplitude.shape)
            plane = np.fft.irfft2(amplitude * phase, (height, width))
            planes.append((plane - plane.mean()) / plane.std() * 50 + 128)
        file = io.BytesIO()
        Image.fromarray(np.stack(planes, -1).clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=90)
        files.append(file.getvalue())
    return files


def ours(data: bytes, side: int, scaled: bool = True) -> Pixels:
    """What `prepare` does with one file; with `scaled` off the decoder gives every pixel."""
    pixels = decode(data, 3, (255, 255, 255), side if scaled else 1 << 15)[0]
    return fit(pixels[None], side, side, "crop", (255, 255, 255))[0]


def pillow(data: bytes, side: int, draft: bool = False) -> Pixels:
    """Open, convert, cut, Lanczos; with `draft` the decoder may halve first."""
    image: Image.Image = Image.open(io.BytesIO(data))
    if draft:
        image.draft("RGB", (2 * side, 2 * side))  # type: ignore[attr-defined]
    image = image.convert("RGB")
    short = min(image.size)
    left, top = (image.width - short) // 2, (image.height - short) // 2
    box = (left, top, left + short, top + short)
    return np.asarray(
        image.crop(box).resize((side, side), Image.Resampling.LANCZOS, reducing_gap=2.0 if draft else None)
    )


def mean_psnr(errors: list[float]) -> float:
    """dB of the mean of squared errors of bytes."""
    return round(float(decibels(torch.tensor(np.mean(errors)).clamp(min=1e-9), 255)), 1)


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=8)
    asked = parser.parse_args()
    keep_memory()
    torch.set_num_threads(1)
    files = make(asked.count)
    results: dict[str, object] = {
        "megapixels": [round(np.prod(Image.open(io.BytesIO(f)).size) / 1e6, 1) for f in files]
    }
    for side in (256, 64):
        ways: dict[str, Callable[[bytes], Pixels]] = {
            "ours": lambda data, side=side: ours(data, side),
            "ours, every pixel decoded": lambda data, side=side: ours(data, side, False),
            "pillow": lambda data, side=side: pillow(data, side),
            "pillow, draft": lambda data, side=side: pillow(data, side, True),
        }
        spent = dict.fromkeys(ways, 0.0)
        errors: dict[str, list[float]] = {way: [] for way in ways}
        lost: list[float] = []
        for _ in range(3):
            for data in files:
                made = {}
                for way, work in ways.items():
                    start = time.process_time()
                    made[way] = work(data)
                    spent[way] += time.process_time() - start
                full = made["ours, every pixel decoded"].astype(float)
                lost.append(float(np.square(made["ours"].astype(float) - full).mean()))
                for way, pixels in made.items():
                    errors[way].append(float(np.square(pixels.astype(float) - made["pillow"]).mean()))
        results[f"{side} px"] = {
            "times pillow": {way: round(spent["pillow"] / seconds, 2) for way, seconds in spent.items()},
            "PSNR of ours against ours with every pixel decoded, dB": mean_psnr(lost),
            "PSNR against pillow, dB": {way: mean_psnr(error) for way, error in errors.items()},
        }
    common.write("large", results)


if __name__ == "__main__":
    main()
