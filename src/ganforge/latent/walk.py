"""Ways between pictures: walks through the latent space as strips and videos, and sheets of mixed styles."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ganforge.base import marks
from ganforge.base.errors import InputError, did_you_mean
from ganforge.base.files import atomic_file, writing
from ganforge.base.images import Pixels, as_image, check_suffix, enlarge, grid, write_png
from ganforge.media.spec import to_uint8
from ganforge.nn.style import grain
from ganforge.runs import Run
from ganforge.sampling import (
    CHUNK,
    Labels,
    check_generates,
    check_seeds,
    check_truncation,
    drawn,
    made_by,
    marked,
    paired,
)
from ganforge.system import StyleSystem, System

VIDEOS = (".webp", ".gif", ".mp4")
MAX_FRAMES = 10_000
STRIP = 9  # pictures of a strip between two seeds, both ends among them
SECOND = 24  # frames

# ------------------------------------------------------------------------------------------------------------------ walks


def walk(
    system: System,
    seeds: Sequence[int],
    frames: int = 24,
    truncation: float = 1.0,
    labels: Sequence[int] | None = None,
) -> Iterator[Pixels]:
    """(n, H, W, C) uint8 in portions: from each seed to the next and from the last to the first, `frames` pictures a
    leg.

    Spherical in the latents, linear in the styles where there are any. Picture k * frames is the plain sample of seed
    k, of the label that was given or that the seed draws; without styles a picture is of the class of the nearer seed.
    InputError for fewer than two seeds, more than MAX_FRAMES pictures, or truncation where there is none."""
    check_generates(system)
    check_seeds(seeds)
    check_truncation(system, truncation)
    if len(seeds) < 2:
        raise InputError("A walk needs two seeds or more; such as --seeds 3,8,5.")
    if frames < 1 or frames * len(seeds) > MAX_FRAMES:
        raise InputError(f"The walk has {frames * len(seeds):,} frames; it takes 1 to {MAX_FRAMES:,}. Change --frames.")
    starts = system.latents(seeds)
    classes = _classes(system, seeds, labels)

    def paint(numbers: Tensor) -> Tensor:
        leg, share = numbers // frames, (numbers % frames / frames)[:, None]
        following = (leg + 1) % len(seeds)
        ends = None if classes is None else (classes[leg], classes[following])
        return between(system, starts[leg], starts[following], share, truncation, ends)

    return _portions(system, frames * len(seeds), paint)


def between(
    system: System,
    here: Tensor,
    there: Tensor,
    share: Tensor,
    truncation: float = 1.0,
    labels: tuple[Tensor, Tensor] | None = None,
) -> Tensor:
    """Pictures a share (N, 1) of the way from latents (N, Z), and labels (N,), to others: (N, C, H, W) in [-1, 1]."""
    device = next(system.parameters()).device
    here, there, share = here.to(device), there.to(device), share.to(device)
    latents = spherical(here, there, share)
    if not isinstance(system, StyleSystem):
        if labels is None:
            return system.generate(latents)
        first, second = (label.to(device) for label in labels)
        return system.generate(latents, torch.where(share[:, 0] < 0.5, first, second))
    ends = (None, None) if labels is None else tuple(label.to(device) for label in labels)
    first, second = (system.styles(z, label, truncation) for z, label in zip((here, there), ends, strict=True))
    return system.paint(first.lerp(second, share[:, :, None]), grain(latents, truncation))


def _classes(system: System, seeds: Sequence[int], labels: Sequence[int] | None = None) -> Tensor | None:
    """(N,) int64, the labels given or those that the seeds draw; None for a system without."""
    if not system.classes:
        return None
    return torch.tensor(labels if labels is not None else drawn(seeds, np.ones(system.classes)))


def spherical(here: Tensor, there: Tensor, share: Tensor) -> Tensor:
    """(N, Z), (N, Z), (N, 1) in 0..1 -> (N, Z), along the arc between the two (Shoemake 1985); exact at both ends."""
    cosine = torch.nn.functional.cosine_similarity(here, there, dim=1)[:, None]
    angle = cosine.clamp(-1, 1).acos()
    flat = angle.sin() < 1e-4
    sine = torch.where(flat, 1.0, angle.sin())
    arc = ((1 - share) * angle).sin() / sine * here + (share * angle).sin() / sine * there
    return torch.where(flat, here.lerp(there, share), arc)


def _portions(system: System, count: int, paint: Callable[[Tensor], Tensor]) -> Iterator[Pixels]:
    """Always CHUNK pictures at a time, as plain samples are made."""
    system.eval()
    for start in range(0, count, CHUNK):
        numbers = (torch.arange(start, start + CHUNK)).clamp(max=count - 1)
        with torch.no_grad():
            images = paint(numbers)[: min(CHUNK, count - start)]
        yield to_uint8(images, system.spec).cpu().numpy()


def write_walk(
    run: Run,
    seeds: Sequence[int],
    out: Path,
    frames: int = 24,
    truncation: float = 1.0,
    labels: Labels = None,
    device_name: str = "auto",
) -> list[Path]:
    """A video at `out` (.webp, .gif or .mp4) and a strip beside it, NAME-strip.png, one row for each leg. Returns both
    paths."""
    if out.suffix.lower() not in VIDEOS:
        raise InputError(f"{out} is no video that can be written.{did_you_mean(out.suffix, VIDEOS)}")
    run.spec.need_pictures("A walk", run.path)
    system = run.build(device_name)
    seeds, numbers = paired(run, system, check_seeds(seeds), labels)
    pictures = np.concatenate(list(walk(system, seeds, frames, truncation, numbers)))
    said = {
        **made_by(run, system),
        "seeds": list(seeds),
        "walk": list(seeds),
        "truncation": truncation,
        **marked(system.spec, numbers),
    }
    _make_folder(out)
    write_video(out, pictures, said)
    strip = out.with_name(f"{out.stem}-strip.png")
    columns = np.linspace(0, frames, STRIP).round().astype(int)
    chosen = (np.arange(len(seeds))[:, None] * frames + columns).ravel() % len(pictures)
    write_png(strip, grid(enlarge(pictures[chosen], 56), STRIP), said)
    return [out, strip]


# ----------------------------------------------------------------------------------------------------------------- videos


def write_video(path: Path, pictures: Pixels, said: dict[str, Any]) -> None:
    """(N, H, W, C) uint8 as a looping WebP or GIF, or as MP4, at 24 frames a second, enlarged to be seen; written
    beside and renamed.

    MP4 needs imageio-ffmpeg or OpenCV: InputError where neither is there.
    """
    pictures = enlarge(pictures, 224)
    with writing(path), atomic_file(path) as partial:
        if path.suffix.lower() == ".mp4":
            _write_mp4(partial, pictures)
            marks.add_to_mp4(partial, said)
        else:
            first, *rest = (as_image(picture) for picture in pictures)
            place = "xmp" if path.suffix.lower() == ".webp" else "comment"  # all that Pillow can add to a GIF
            extra: dict[str, Any] = {"save_all": True, "append_images": rest, "loop": 0, "duration": 1000 // SECOND}
            first.save(partial, **extra | {place: marks.packet(said).encode()})


def _write_mp4(path: Path, pictures: Pixels) -> None:
    """H.264 by imageio-ffmpeg, else MPEG-4 by OpenCV."""
    frames = np.stack([np.asarray(_on_white(picture)) for picture in pictures])
    frames = np.pad(frames, ((0, 0), (0, frames.shape[1] % 2), (0, frames.shape[2] % 2), (0, 0)), mode="edge")
    height, width = frames.shape[1:3]
    try:
        from imageio_ffmpeg import write_frames
    except ImportError:
        try:
            import cv2
        except ImportError:
            raise InputError(
                'MP4 needs an encoder: pip install "ganforge[video]", or let --out end in .webp or .gif.'
            ) from None
        video = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), SECOND, (width, height))
        for frame in frames:
            video.write(frame[..., ::-1])
        video.release()
        if not path.is_file():
            raise OSError("OpenCV cannot encode MP4 here") from None
        return
    encoder = write_frames(str(path), (width, height), fps=SECOND, macro_block_size=2)
    encoder.send(None)
    for frame in frames:
        encoder.send(np.ascontiguousarray(frame))
    encoder.close()


def _on_white(picture: Pixels) -> Image.Image:
    image = as_image(picture)
    if image.mode == "RGBA":
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


# ----------------------------------------------------------------------------------------------------------------- mixing


@torch.no_grad()
def mix(
    system: System, rows: Sequence[int], columns: Sequence[int], layers: range, truncation: float = 1.0
) -> Iterator[Pixels]:
    """The rows' pictures with the columns' styles in `layers`, row by row: (n, H, W, C) uint8 in portions (Karras et
    al. 2019, fig. 3).

    InputError where the system has no styles, or fewer than `layers` asks for.
    """
    check_seeds([*rows, *columns])
    if not isinstance(system, StyleSystem):
        raise InputError(
            "This system has no styles to mix. Train stylegan2 or stylegan, or walk between seeds with --walk."
        )
    if not layers or layers.start < 0 or layers.stop > system.layers:
        asked = f"{layers.start}-{layers.stop - 1}"
        raise InputError(
            f"The layers {asked} are not all there; this system has {system.layers} styles, 0-{system.layers - 1}."
        )
    device = next(system.parameters()).device
    own, other = (
        system.styles(
            system.latents(seeds).to(device), None if labels is None else labels.to(device), truncation=truncation
        )
        for seeds, labels in ((s, _classes(system, s)) for s in (rows, columns))
    )
    codes = grain(system.latents(rows).to(device), truncation)
    chosen = torch.zeros(system.layers, 1, dtype=torch.bool, device=device)
    chosen[layers.start : layers.stop] = True

    def paint(numbers: Tensor) -> Tensor:
        row, column = numbers // len(columns), numbers % len(columns)
        return system.paint(torch.where(chosen, other[column], own[row]), codes[row])

    return _portions(system, len(rows) * len(columns), paint)


def write_mix(
    run: Run,
    rows: Sequence[int],
    columns: Sequence[int],
    layers: range | None,
    out: Path,
    truncation: float = 1.0,
    device_name: str = "auto",
) -> Path:
    """A sheet: above the columns' own pictures, at the left the rows', between them the mixtures. The default layers
    are the coarser half."""
    from ganforge.sampling import pictures

    system = run.build(device_name)
    check_suffix(out, system.spec.channels if system.spec.is_picture else 3)
    if layers is None:
        layers = range(max(1, system.layers // 2)) if isinstance(system, StyleSystem) else range(1)
    inner = np.concatenate(list(mix(system, rows, columns, layers, truncation)))
    plain = np.concatenate(list(pictures(system, [*columns, *rows], truncation=truncation)))
    white = np.full_like(plain[:1], 255)
    sheet = [white, plain[: len(columns)]]
    for n in range(len(rows)):
        sheet += [plain[len(columns) + n :][:1], inner[n * len(columns) : (n + 1) * len(columns)]]
    said = {
        "seeds": [*rows, *columns],
        "rows": list(rows),
        "columns": list(columns),
        "layers": [layers.start, layers.stop - 1],
    }
    _make_folder(out)
    write_png(out, system.spec.sheet(np.concatenate(sheet), len(columns) + 1), {**made_by(run, system), **said})
    return out


def _make_folder(out: Path) -> None:
    with writing(out):
        out.parent.mkdir(parents=True, exist_ok=True)
