"""GAN inversion: the point in the latent space of a generator whose picture is nearest to a given one.

Abdal et al. 2019, "Image2StyleGAN: How to Embed Images Into the StyleGAN Latent Space?", for one style for each layer
(the space W+); the loss here compares pixels at several scales and needs no other network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ganforge.base.errors import DataError, InputError
from ganforge.base.files import writing
from ganforge.base.images import Pixels, check_suffix, enlarge, grid, write_image
from ganforge.base.tables import write_csv
from ganforge.latent import points
from ganforge.media.spec import Spec, to_float, to_uint8
from ganforge.nn.style import noise_seed
from ganforge.restoring.call import free_stem
from ganforge.runs import RunFolder
from ganforge.sampling import check_generates, drawn, examples_of, made_by
from ganforge.sources.decode import decode, fit_channels
from ganforge.sources.entry import Skip, digest, read_file
from ganforge.sources.formats import refusal
from ganforge.sources.source import keep_apart, open_source
from ganforge.sources.transform import fit
from ganforge.system import StyleSystem, System

CANDIDATES = 128  # seeds of which the best is the start of the search
STEPS = 300
RATE = 0.05  # learning rate of Adam
TABLE = "projected.csv"
Facts = dict[str, Any]
"""What decides about a point: the hash of the weights, the steps, and the SHA-256 of the target's pixels."""


@dataclass(frozen=True)
class Inversion:
    """The result of an inversion."""

    tensors: dict[str, Tensor]
    """The point: `latents` (1, Z) and, with classes, `labels` (1,), the arguments of `generate`; or of a style-based
    system `styles` (1, L, W) and `noise_seed` (1, K), the arguments of `synthesis`."""
    start: Pixels
    """(H, W, C) uint8, the picture that the search started from."""
    picture: Pixels
    """(H, W, C) uint8, the picture of the point."""
    error: float
    """Root mean square difference of `picture` to the target, 0 to 255."""


def invert(
    system: System, target: Pixels, steps: int = STEPS, progress: Callable[[int, float], None] | None = None
) -> Inversion:
    """Search the styles or, in a system without styles, the latent for `target` (H, W, C) uint8, with Adam.

    The search starts from the best of CANDIDATES seeds, each with the label that it draws where there are classes, or
    from the code of the system's own encoder where that is nearer. `progress` is called with the step and the lowest
    loss. InputError where `steps` is out of range or the pictures are not differentiable in the latent."""
    check_steps(steps)
    check_generates(system)
    system.eval().requires_grad_(False)
    device = next(system.parameters()).device
    image = to_float(torch.from_numpy(target[None].copy()).to(device), system.spec)
    point, fixed, render = _start(system, image)
    first = best = point.clone()
    lowest = float("inf")
    point.requires_grad_(True)
    optimizer = torch.optim.Adam([point], RATE)
    for step in range(steps + 1):
        optimizer.param_groups[0]["lr"] = RATE * min(1.0, 2 * (1 - step / (steps + 1)))
        distance = multiscale_mse(render(point), image)[0]
        if distance.item() < lowest:
            lowest, best = distance.item(), point.detach().clone()
        if progress:
            progress(step, lowest)
        if not distance.requires_grad:
            raise InputError("This system's pictures do not follow its latents smoothly, so none can be searched for.")
        (point.grad,) = torch.autograd.grad(distance, point)
        optimizer.step()
    with torch.no_grad():
        start, picture = (to_uint8(render(p), system.spec)[0].cpu().numpy() for p in (first, best))
    error = float(np.sqrt(np.square(picture.astype(float) - target).mean()))
    name = "styles" if isinstance(system, StyleSystem) else "latents"
    return Inversion({name: best.contiguous(), **fixed}, start, picture, error)


def check_steps(steps: int) -> None:
    """InputError for a number of steps that is out of range."""
    if not 0 <= steps <= 100_000:
        raise InputError(f"project: --steps is {steps}; it takes 0 to 100,000.")


def _start(system: System, target: Tensor) -> tuple[Tensor, dict[str, Tensor], Callable[[Tensor], Tensor]]:
    """(start of the search, tensors that stay fixed, function from a point to its image (1, C, H, W))."""
    with torch.no_grad():
        latents = system.latents(range(CANDIDATES)).to(target.device)
        given = dict[str, Tensor]()
        if system.classes:
            given["labels"] = torch.tensor(drawn(range(CANDIDATES), np.ones(system.classes)), device=target.device)
        elif system.captioned:
            given["captions"] = torch.from_numpy(examples_of(system, range(CANDIDATES))).to(target.device)
        encode = getattr(system, "encode", None)
        if encode is not None and system.restores and (code := encode(target).float()).shape[1:] == latents.shape[1:]:
            latents = torch.cat([code, latents])
            given = {name: torch.cat([values[:1], values]) for name, values in given.items()}
        images = torch.cat(
            [
                system.generate(latents[n : n + 32], **{name: values[n : n + 32] for name, values in given.items()})
                for n in range(0, len(latents), 32)
            ]
        )
        best = int(multiscale_mse(images, target).argmin())
        nearest, fixed = latents[[best]], {name: values[[best]] for name, values in given.items()}
        if not isinstance(system, StyleSystem):
            return nearest.clone(), fixed, lambda point: system.generate(point, **fixed)
        seed = noise_seed(nearest)
        styles = system.styles(nearest, fixed.get("labels")).contiguous().clone()
    return styles, {"noise_seed": seed}, lambda point: system.synthesis(point, seed)


def multiscale_mse(images: Tensor, target: Tensor) -> Tensor:
    """Mean squared error, averaged over the full resolution and its halvings down to 4 pixels: (N, C, H, W),
    (1, C, H, W) -> (N,)."""
    difference = images - target
    errors = [difference.square().mean((1, 2, 3))]
    while min(difference.shape[2:]) >= 8:
        difference = F.avg_pool2d(difference, 2)
        errors.append(difference.square().mean((1, 2, 3)))
    return torch.stack(errors).mean(0)


def read(path: Path, spec: Spec) -> Pixels:
    """A picture file, cropped and resized to `spec` as `prepare` does by default: (H, W, C) uint8. DataError where it
    cannot be read."""
    try:
        return _fitted(read_file(path), spec)
    except Skip as reason:
        raise DataError(f"{path} cannot be used: {reason}. Give another picture.") from None


def _fitted(data: bytes | Pixels, spec: Spec) -> Pixels:
    if isinstance(data, bytes):
        data = decode(data, spec.channels, (255, 255, 255), min(spec.height, spec.width))[0]
    pixels = fit_channels(data, spec.channels)
    fitted: Pixels = fit(pixels[None], spec.height, spec.width, "crop", (255,) * spec.channels)[0]
    return fitted


def write(
    run: RunFolder,
    image: Path,
    out: Path,
    steps: int = STEPS,
    progress: Callable[[int, float], None] | None = None,
    device_name: str = "auto",
) -> tuple[Inversion, Path]:
    """Invert a picture file with a run. Writes a sheet at `out` with the target, the start and the result, and the
    point beside it as NAME-point.safetensors. Returns the inversion and the path of the point. DataError where they
    cannot be written."""
    run.spec.need_pictures("ganforge project", run.path)
    system = run.build(device_name)
    check_suffix(out, system.spec.channels)
    target = read(image, system.spec)
    inversion = invert(system, target, steps, progress)
    point = out.with_name(f"{out.stem}{points.ENDING}")
    facts = {"weights": made_by(run, system)["weights"], "steps": steps, "target": digest(target).hex()}
    _write(run, system, image.name, target, inversion, out, point, facts)
    return inversion, point


def _write(
    run: RunFolder, system: System, name: str, target: Pixels, result: Inversion, out: Path, point: Path, facts: Facts
) -> None:
    """The sheet, and then the point, which says that both are there."""
    with writing(out):
        out.parent.mkdir(parents=True, exist_ok=True)
    sheet = grid(enlarge(np.stack([target, result.start, result.picture]), 224), 3)
    write_image(out, sheet, {**made_by(run, system), "projected": name})
    points.save(point, result.tensors, {**facts, "distance": result.error})


def write_all(
    run: RunFolder,
    source: Path,
    out: Path,
    steps: int = STEPS,
    progress: Callable[[str], None] | None = None,
    device_name: str = "auto",
) -> list[dict[str, Any]]:
    """Invert the pictures of a folder or a zip: for each NAME.png, as `write` makes it, and NAME-point.safetensors in
    the folder `out`, and the table `projected.csv`: file, distance (root mean square, 0 to 255), point, reason.

    A picture whose point an earlier call has written, with the same weights, steps and pixels, is not searched for
    again. A file that cannot be used has a reason in place of a distance. Returns the rows of the table. `progress` is
    called with what is being done. DataError where there is no file, or nothing can be written."""
    run.spec.need_pictures("ganforge project", run.path)
    check_steps(steps)
    keep_apart(source, out)
    system = run.build(device_name)
    weights, rows, taken = made_by(run, system)["weights"], list[dict[str, Any]](), set[str]()
    try:
        for entry in open_source(source).entries():
            row: dict[str, Any] = {"file": entry.name}
            try:
                if why := refusal(entry.name):
                    raise Skip(why)
                target = _fitted(entry.read(), system.spec)
                stem = free_stem(out, entry.name, taken)
                sheet, point = out / f"{stem}.png", out / f"{stem}{points.ENDING}"
                facts = {"weights": weights, "steps": steps, "target": digest(target).hex()}
                distance = _done(point, facts) if sheet.is_file() else None
                if distance is None:
                    if progress:
                        progress(f"{len(rows):,} files; {entry.name}")
                    result = invert(system, target, steps)
                    _write(run, system, entry.name, target, result, sheet, point, facts)
                    distance = result.error
                row |= {"distance": round(distance, 2), "point": point.relative_to(out).as_posix()}
            except Skip as reason:
                row["reason"] = str(reason)
            rows.append(row)
    finally:
        if rows:
            with writing(out / TABLE):
                out.mkdir(parents=True, exist_ok=True)
                write_csv(out / TABLE, ("file", "distance", "point", "reason"), rows)
    if not rows:
        raise DataError(f"{source} holds no files. Name a picture, or a folder or a zip of them.")
    return rows


def _done(point: Path, facts: Facts) -> float | None:
    """The distance of a point that an earlier call has written with the same facts."""
    try:
        known = points.load(point)[1]
    except DataError:
        return None
    same = all(known.get(name) == value for name, value in facts.items())
    return float(known["distance"]) if same and isinstance(known.get("distance"), float) else None
