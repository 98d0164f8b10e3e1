"""What each filter does to noised photographs: PSNR and SSIM against the originals, milliseconds a picture.

    python benchmarks/clean.py FLOWERS128.ZIP

100 photographs of 128x128 RGB, chosen by key, with planted noise of three kinds and pressed hard as JPEG; each filter
with its best of a few settings by PSNR, and the recipe that `--suggest` proposes. One thread; times are the mean of all
pictures."""

from __future__ import annotations

import argparse
import io
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from common import write
from ganforge.base.images import Pixels, write_image
from ganforge.base.seeds import permuted
from ganforge.cleaning import filters
from ganforge.cleaning.comparison import stages
from ganforge.cleaning.preview import suggest
from ganforge.metrics.fidelity import psnr, ssim
from ganforge.sources.decode import decode

COUNT = 100
SETTINGS = {
    "gaussian": ["gaussian:sigma=0.5", "gaussian:sigma=0.7", "gaussian:sigma=1"],
    "median": ["median:size=3", "median:size=5"],
    "bilateral": [f"bilateral:color={color},space={space}" for color in (17, 20, 30, 50) for space in (1.5, 2)],
    "tv": ["tv:sigma=3", "tv:sigma=6", "tv:sigma=10", "tv:sigma=25"],
    "nlm": ["nlm:sigma=3", "nlm:sigma=6", "nlm:sigma=10", "nlm:sigma=25"],
    "open": ["open"], "close": ["close"], "unsharp": ["unsharp:sigma=1,amount=0.3"],
}  # fmt: skip
TIMED = [
    "gaussian", "median", "bilateral", "tv", "nlm", "erode", "dilate", "open", "close", "otsu", "adaptive",
    "background", "background:method=ball", "unsharp", "upscale:factor=2", "trim",
]  # fmt: skip


def photographs(archive: Path) -> list[Pixels]:
    """COUNT pictures, chosen by key."""
    with zipfile.ZipFile(archive) as file:
        names = sorted(name for name in file.namelist() if name.endswith(".jpg"))
        chosen = permuted(0, "benchmark", len(names), np.arange(COUNT))
        return [decode(file.read(names[n]), 3, (255, 255, 255), 4096)[0] for n in chosen]


def gaussian(sigma: float) -> Callable[[Pixels, np.random.Generator], Pixels]:
    """Additive noise, rounded and cut off at 0 and 255."""
    return lambda pixels, rng: (pixels + rng.normal(0, sigma, pixels.shape)).round().clip(0, 255).astype(np.uint8)


def pepper(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """5 % of the values black or white."""
    draw = rng.random(pixels.shape)
    return np.where(draw < 0.025, 0, np.where(draw > 0.975, 255, pixels)).astype(np.uint8)


def pressed(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """JPEG of quality 10."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=10)
    return np.asarray(Image.open(file))


NOISES: dict[str, Callable[[Pixels, np.random.Generator], Pixels]] = {
    "none": lambda pixels, rng: pixels, "sigma 10": gaussian(10), "sigma 25": gaussian(25),
    "salt and pepper 5 %": pepper, "JPEG quality 10": pressed,
}  # fmt: skip


def quality(chain: list[filters.Filter], spoilt: list[Pixels], originals: list[Pixels]) -> dict[str, float]:
    """Mean PSNR and SSIM after a chain."""
    made = [filters.apply(chain, pixels) for pixels in spoilt]
    pairs = list(zip(made, originals, strict=True))
    return {
        "psnr": round(float(np.mean([psnr(*p) for p in pairs])), 2),
        "ssim": round(float(np.mean([ssim(*p) for p in pairs])), 3),
    }


def main() -> None:
    """All filters on all noises."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("archive", type=Path)
    originals = photographs(parser.parse_args().archive)
    cv2.setNumThreads(1)
    effects: dict[str, dict[str, object]] = {}
    for noise, spoil in NOISES.items():
        rng = np.random.default_rng(0)
        spoilt = [spoil(pixels, rng) for pixels in originals]
        rows: dict[str, object] = {"before": quality([], spoilt, originals)}
        for kind, texts in SETTINGS.items():
            found = {text: quality([filters.parse(text)], spoilt, originals) for text in texts}
            best = max(found, key=lambda text: found[text]["psnr"])
            rows[kind] = {"settings": best, **found[best]}
        with tempfile.TemporaryDirectory() as folder:
            for n, pixels in enumerate(spoilt):
                write_image(Path(folder) / f"{n:03d}.png", pixels)
            recipe, _ = suggest(folder)
        chain = filters.chain(recipe.filters)
        rows["suggested"] = {"settings": " ".join(map(filters.short, chain)), **quality(chain, spoilt, originals)}
        effects[noise] = rows
    times = {text: round(stages(originals, [filters.parse(text)])[1].milliseconds, 3) for text in TIMED}
    write("clean", {"pictures": COUNT, "size": "128x128 RGB", "effects": effects, "milliseconds": times})


if __name__ == "__main__":
    main()
