"""Latent walks as videos and strips, and sheets of style mixing."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ganforge.base import marks
from ganforge.base.errors import InputError, did_you_mean
from ganforge.base.files import atomic_file, writing
from ganforge.base.images import Pixels, as_image, check_suffix, enlarge, grid, write_image
from ganforge.base.seeds import check_seeds
from ganforge.latent.points import read
from ganforge.media.video import write_mp4
from ganforge.nn.style import noise_seed
from ganforge.runs import RunFolder
from ganforge.sampling import (
    Labels,
    Numbers,
    Points,
    Shift,
    check_generates,
    check_truncation,
    chosen,
    drawn,
    examples_of,
    made_by,
    marked,
    paired,
    points,
    portions,
    render,
    told,
)
from ganforge.system import StyleSystem, System

VIDEOS = (".webp", ".gif", ".mp4")
MAX_FRAMES = 10_000
STRIP = 9  # pictures of a strip between two seeds, both ends among them
SECOND = 24  # frames

# walks


def walk(
    system: System,
    seeds: Sequence[int],
    frames: int = 24,
    truncation: float = 1.0,
    labels: Sequence[int] | None = None,
    captions: Numbers | None = None,
) -> Iterator[Pixels]:
    """A walk from each seed to the next and from the last to the first, `frames` pictures each: portions (n, H, W, C)
    uint8.

    The interpolation is spherical in the latents (Shoemake 1985) and, in style-based systems, linear in the styles.
    Picture k * frames is the sample of seed k, with its label in `labels`, or its words in `captions` (N, L), or those
    that it draws; without styles a picture has the class or the words of the nearer seed. InputError for fewer than two
    seeds, more than MAX_FRAMES pictures, or truncation in a system without styles."""
    check_generates(system)
    check_seeds(seeds)
    check_truncation(system, truncation)
    if len(seeds) < 2:
        raise InputError("A walk needs two seeds or more; such as --seeds 3,8,5.")
    check_frames(frames, len(seeds))
    starts = system.latents(seeds)
    given = _given(system, seeds, labels, captions)

    def render(numbers: Tensor) -> Tensor:
        leg, share = numbers // frames, (numbers % frames / frames)[:, None]
        following = (leg + 1) % len(seeds)
        ends = None if given is None else (given[leg], given[following])
        return between(system, starts[leg], starts[following], share, truncation, ends)

    return portions(system, frames * len(seeds), render)


def along(system: System, start: Points, shift: Shift, frames: int = 24) -> Iterator[Pixels]:
    """From each point along the shift and back, against it and back: `frames` pictures each, portions (n, H, W, C)
    uint8. Picture k * frames is that of point k, the next ones follow a sine. InputError for more than MAX_FRAMES
    pictures."""
    count = len(next(iter(start.values())))
    check_frames(frames, count)

    def images(numbers: Tensor) -> Tensor:
        return render(
            system,
            shift.of(chosen(start, numbers // frames), (2 * math.pi * (numbers % frames) / frames).sin()[:, None]),
        )

    return portions(system, frames * count, images)


def check_frames(frames: int, legs: int) -> None:
    """InputError where a walk of so many legs of `frames` pictures has none, or more than MAX_FRAMES."""
    if frames < 1 or frames * legs > MAX_FRAMES:
        raise InputError(f"The walk has {frames * legs:,} frames; it takes 1 to {MAX_FRAMES:,}. Change --frames.")


def between(
    system: System,
    start: Tensor,
    end: Tensor,
    share: Tensor,
    truncation: float = 1.0,
    given: tuple[Tensor, Tensor] | None = None,
) -> Tensor:
    """Pictures between the latents `start` and `end` (N, Z), with their labels (N,) or captions (N, L) each, at a
    `share` (N, 1) from 0 to 1 of the way: (N, C, H, W) in [-1, 1]."""
    device = next(system.parameters()).device
    start, end, share = start.to(device), end.to(device), share.to(device)
    latents = spherical(start, end, share)
    if not isinstance(system, StyleSystem):
        if given is None:
            return system.generate(latents)
        first, second = (one.to(device) for one in given)
        nearer = torch.where((share[:, 0] < 0.5).reshape(-1, *[1] * (first.ndim - 1)), first, second)
        return system.generate(latents, **{"captions" if system.captioned else "labels": nearer})
    ends = (None, None) if given is None else tuple(label.to(device) for label in given)
    first, second = (system.styles(z, label, truncation) for z, label in zip((start, end), ends, strict=True))
    return system.synthesis(first.lerp(second, share[:, :, None]), noise_seed(latents, truncation))


def _given(
    system: System, seeds: Sequence[int], labels: Sequence[int] | None = None, captions: Numbers | None = None
) -> Tensor | None:
    """Labels (N,) int64 or captions (N, L) int64, those given or those that the seeds draw; None for a system that
    takes neither."""
    if system.captioned:
        return torch.from_numpy(examples_of(system, seeds) if captions is None else captions)
    if not system.classes:
        return None
    return torch.tensor(labels if labels is not None else drawn(seeds, np.ones(system.classes)))


def spherical(start: Tensor, end: Tensor, share: Tensor) -> Tensor:
    """(N, Z), (N, Z), (N, 1) in 0..1 -> (N, Z), spherical interpolation (Shoemake 1985); exact at both ends."""
    cosine = torch.nn.functional.cosine_similarity(start, end, dim=1)[:, None]
    angle = cosine.clamp(-1, 1).acos()
    flat = angle.sin() < 1e-4
    sine = torch.where(flat, 1.0, angle.sin())
    arc = ((1 - share) * angle).sin() / sine * start + (share * angle).sin() / sine * end
    return torch.where(flat, start.lerp(end, share), arc)


def write_walk(
    run: RunFolder,
    seeds: Sequence[int] | Path,
    out: Path,
    frames: int = 24,
    truncation: float = 1.0,
    labels: Labels = None,
    device_name: str = "auto",
    shift: Shift | None = None,
    text: str = "",
) -> list[Path]:
    """Write a walk from seed to seed, or from each seed (or each point of the path `seeds`, see
    `ganforge.latent.points`) `along` the shift, as a video at `out` (.webp, .gif or .mp4)
    and as a strip beside it, NAME-strip.png, with one row for each seed. Returns both paths."""
    run.spec.need_pictures("A walk", run.path)
    if out.suffix.lower() not in VIDEOS:
        raise InputError(f"{out} is no video that can be written.{did_you_mean(out.suffix, VIDEOS)}")
    system = run.build(device_name)
    if isinstance(seeds, Path):
        names, start = read(seeds, run, system)
        if shift is None:
            raise InputError("A walk from points needs a direction to go, such as --direction 2:3.")
        shift.check(mark := made_by(run, system))
        mark |= {"projected": names, **shift.mark}
        return _write_frames(out, list(along(system, start, shift, frames)), frames, mark)
    seeds, numbers = paired(run, system, check_seeds(seeds), labels)
    seeds, captions = told(run, system, seeds, [text] if text else [])
    mark = {
        **made_by(run, system),
        **({"text": text} if text else {}),
        "seeds": list(seeds),
        "walk": list(seeds),
        "truncation": truncation,
        **marked(system.spec, numbers),
    }
    if shift is None:
        return _write_frames(out, list(walk(system, seeds, frames, truncation, numbers, captions)), frames, mark)
    shift.check(mark)
    check_generates(system)
    check_truncation(system, truncation)
    with torch.no_grad():
        start = points(system, seeds, numbers, truncation, captions)
    return _write_frames(out, list(along(system, start, shift, frames)), frames, {**mark, **shift.mark})


def _write_frames(out: Path, portions: Sequence[Pixels], frames: int, mark: dict[str, Any]) -> list[Path]:
    """The video and the strip of a walk, of which a leg has so many frames."""
    pictures = np.concatenate(portions)
    legs = len(pictures) // frames
    _make_folder(out)
    write_video(out, pictures, mark)
    strip = out.with_name(f"{out.stem}-strip.png")
    columns = np.linspace(0, frames, STRIP).round().astype(int)
    shown = (np.arange(legs)[:, None] * frames + columns).ravel() % len(pictures)
    write_image(strip, grid(enlarge(pictures[shown], 56), STRIP), mark)
    return [out, strip]


# videos


def write_video(path: Path, pictures: Pixels, mark: dict[str, Any]) -> None:
    """Write (N, H, W, C) uint8 as a looping WebP or GIF, or as MP4, at 24 frames a second, small pictures enlarged,
    with `mark` in it. The file is renamed when it is complete.

    InputError for MP4 where PyAV is not installed; DataError where it cannot be written."""
    pictures = enlarge(pictures, 224)
    with writing(path), atomic_file(path) as partial:
        if path.suffix.lower() == ".mp4":
            write_mp4(partial, [np.asarray(_on_white(picture)) for picture in pictures], SECOND)
            marks.add_to_mp4(partial, mark)
        else:
            first, *rest = (as_image(picture) for picture in pictures)
            field = "xmp" if path.suffix.lower() == ".webp" else "comment"  # the only text that Pillow adds to a GIF
            extra: dict[str, Any] = {"save_all": True, "append_images": rest, "loop": 0, "duration": 1000 // SECOND}
            first.save(partial, **extra | {field: marks.packet(mark).encode()})


def _on_white(picture: Pixels) -> Image.Image:
    image = as_image(picture)
    if image.mode == "RGBA":
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


# style mixing


@torch.no_grad()
def mix(
    system: System, rows: Sequence[int] | Points, columns: Sequence[int], layers: range, truncation: float = 1.0
) -> Iterator[Pixels]:
    """Style mixing (Karras et al. 2019, figure 3): the pictures of the seeds or points `rows` with the styles of the
    seeds `columns` in `layers`, row by row: portions (n, H, W, C) uint8.

    InputError where the system has no styles, or no such layers."""
    check_generates(system)
    check_seeds(columns if isinstance(rows, Mapping) else [*rows, *columns])
    if not isinstance(system, StyleSystem):
        raise InputError(
            "This system has no styles to mix. Train stylegan2 or stylegan, or walk between seeds with --walk."
        )
    check_layers(system, layers)
    device = next(system.parameters()).device
    own = rows if isinstance(rows, Mapping) else points(system, rows, truncation=truncation)
    other = points(system, columns, truncation=truncation)["styles"]
    taken = torch.zeros(system.layers, 1, dtype=torch.bool, device=device)
    taken[layers.start : layers.stop] = True

    def images(numbers: Tensor) -> Tensor:
        row, column = numbers // len(columns), numbers % len(columns)
        return system.synthesis(torch.where(taken, other[column], own["styles"][row]), own["noise_seed"][row])

    return portions(system, len(own["styles"]) * len(columns), images)


def check_layers(system: StyleSystem, layers: range) -> None:
    """InputError where the system lacks one of these styles, or where there is none."""
    if not 0 <= layers.start < layers.stop <= system.layers:
        named = f"{layers.start}-{layers.stop - 1}"
        raise InputError(
            f"The layers {named} are not all there; this system has {system.layers} styles, 0-{system.layers - 1}."
        )


def write_mix(
    run: RunFolder,
    rows: Sequence[int] | Path,
    columns: Sequence[int],
    layers: range | None,
    out: Path,
    truncation: float = 1.0,
    device_name: str = "auto",
) -> Path:
    """Write a sheet of style mixing: at the top the samples of `columns`, at the left those of `rows`, or the pictures
    of the points at that path, between them the mixtures. The default `layers` are the coarser half. Returns `out`."""
    from ganforge.sampling import pictures

    system = run.build(device_name)
    check_suffix(out, system.spec.shown_channels)
    if layers is None:
        layers = range(max(1, system.layers // 2)) if isinstance(system, StyleSystem) else range(1)
    mark: dict[str, Any] = {"columns": list(columns), "layers": [layers.start, layers.stop - 1]}
    if isinstance(rows, Path):
        names, start = read(rows, run, system)
        inner = np.concatenate(list(mix(system, start, columns, layers, truncation)))
        left = np.concatenate(list(portions(system, len(names), lambda n: render(system, chosen(start, n)))))
        mark |= {"seeds": list(columns), "projected": names}
    else:
        inner = np.concatenate(list(mix(system, rows, columns, layers, truncation)))
        left = np.concatenate(list(pictures(system, rows, truncation=truncation)))
        mark |= {"seeds": [*rows, *columns], "rows": list(rows)}
    top = np.concatenate(list(pictures(system, columns, truncation=truncation)))
    sheet = [np.full_like(top[:1], 255), top]
    for n in range(len(left)):
        sheet += [left[n : n + 1], inner[n * len(columns) : (n + 1) * len(columns)]]
    _make_folder(out)
    write_image(out, system.spec.sheet(np.concatenate(sheet), len(columns) + 1), {**made_by(run, system), **mark})
    return out


def _make_folder(out: Path) -> None:
    with writing(out):
        out.parent.mkdir(parents=True, exist_ok=True)
