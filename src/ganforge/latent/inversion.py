"""A given picture as a point of a generator's latent space: what does the generator come nearest to it with?

Abdal et al. 2019, "Image2StyleGAN: How to Embed Images Into the StyleGAN Latent Space?", for one style a layer; the
loss here is of pixels at several scales and needs no other network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from ganforge.base.errors import DataError, InputError
from ganforge.base.files import atomic_file, writing
from ganforge.base.images import Pixels, check_suffix, enlarge, grid, write_png
from ganforge.media.spec import Spec, to_float, to_uint8
from ganforge.nn.style import grain
from ganforge.runs import Run
from ganforge.sampling import check_generates, drawn, made_by
from ganforge.sources.decode import decode
from ganforge.sources.entry import Skip
from ganforge.sources.transform import fit
from ganforge.system import StyleSystem, System

MAX_BYTES = 256 << 20
TRIED = 128  # seeds looked at for a place to start from
STEPS = 300
RATE = 0.05


@dataclass(frozen=True)
class Projected:
    """Where a picture was found."""

    tensors: dict[str, Tensor]
    """`latents` (1, Z) and with classes `labels` (1,), or `styles` (1, L, W) and `grain` (1, K): what the system paints
    it from."""
    start: Pixels
    """(H, W, C), the best that was found without searching."""
    picture: Pixels
    """(H, W, C), the best that was found."""
    error: float
    """Root mean square difference to the target, in levels of 255."""


def project(
    system: System, target: Pixels, steps: int = STEPS, progress: Callable[[int, float], None] | None = None
) -> Projected:
    """Search the styles or, in a system without, the latents for `target` (H, W, C) uint8, with Adam.

    It starts from the best of TRIED seeds, each of the class that it draws where there are classes, or from what the
    system's own encoder says where that is nearer. `progress` hears the step and the error. InputError where pictures
    cannot be searched for."""
    if not 0 <= steps <= 100_000:
        raise InputError(f"project: --steps is {steps}; it takes 0 to 100,000.")
    check_generates(system)
    system.eval().requires_grad_(False)
    device = next(system.parameters()).device
    wanted = to_float(torch.from_numpy(target[None].copy()).to(device), system.spec)
    point, fixed, paint = _start(system, wanted)
    first = best = point.clone()
    lowest = float("inf")
    point.requires_grad_(True)
    optimizer = torch.optim.Adam([point], RATE)
    for step in range(steps + 1):
        optimizer.param_groups[0]["lr"] = RATE * min(1.0, 2 * (1 - step / (steps + 1)))
        distance = scales(paint(point), wanted)[0]
        if distance.item() < lowest:
            lowest, best = distance.item(), point.detach().clone()
        if progress:
            progress(step, lowest)
        if not distance.requires_grad:
            raise InputError("This system's pictures do not follow its latents smoothly, so none can be searched for.")
        (point.grad,) = torch.autograd.grad(distance, point)
        optimizer.step()
    with torch.no_grad():
        start, picture = (to_uint8(paint(p), system.spec)[0].cpu().numpy() for p in (first, best))
    error = float(np.sqrt(np.square(picture.astype(float) - target).mean()))
    name = "styles" if isinstance(system, StyleSystem) else "latents"
    return Projected({name: best.contiguous(), **fixed}, start, picture, error)


def _start(system: System, wanted: Tensor) -> tuple[Tensor, dict[str, Tensor], Callable[[Tensor], Tensor]]:
    """(where to start, what stays as it is, point -> picture)."""
    with torch.no_grad():
        latents = system.latents(range(TRIED)).to(wanted.device)
        labels = torch.tensor(drawn(range(TRIED), np.ones(max(1, system.classes))), device=wanted.device)
        encode = getattr(system, "encode", None)
        if encode is not None and system.restores and (code := encode(wanted).float()).shape[1:] == latents.shape[1:]:
            latents, labels = torch.cat([code, latents]), torch.cat([labels[:1], labels])
        asked = labels if system.classes else None
        images = torch.cat(
            [
                system.generate(latents[n : n + 32], None if asked is None else asked[n : n + 32])
                for n in range(0, len(latents), 32)
            ]
        )
        best = int(scales(images, wanted).argmin())
        nearest, label = latents[[best]], None if asked is None else asked[[best]]
        fixed = {} if label is None else {"labels": label}
        if not isinstance(system, StyleSystem):
            return nearest.clone(), fixed, lambda point: system.generate(point, label)
        grains = grain(nearest)
        styles = system.styles(nearest, label).contiguous().clone()
    return styles, {"grain": grains}, lambda point: system.paint(point, grains)


def scales(images: Tensor, wanted: Tensor) -> Tensor:
    """Mean squared difference of pixels, averaged over the picture and its halvings down to 4 pixels: (N, ...), (1,
    ...) -> (N,)."""
    difference = images - wanted
    found = [difference.square().mean((1, 2, 3))]
    while min(difference.shape[2:]) >= 8:
        difference = F.avg_pool2d(difference, 2)
        found.append(difference.square().mean((1, 2, 3)))
    return torch.stack(found).mean(0)


def read(path: Path, spec: Spec) -> Pixels:
    """A picture file, cut and scaled to `spec` as preparation does by default: (H, W, C) uint8. DataError with the
    reason."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise DataError(f"{path} is larger than {MAX_BYTES >> 20} MiB. Give a smaller picture.")
        pixels, _ = decode(path.read_bytes(), spec.channels, (255, 255, 255), min(spec.height, spec.width))
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}. Give a picture file.") from error
    except Skip as reason:
        raise DataError(f"{path} cannot be used: {reason}. Give another picture.") from None
    fitted: Pixels = fit(pixels[None], spec.height, spec.width, "crop", (255,) * spec.channels)[0]
    return fitted


def write(
    run: Run,
    image: Path,
    out: Path,
    steps: int = STEPS,
    progress: Callable[[int, float], None] | None = None,
    device_name: str = "auto",
) -> tuple[Projected, Path]:
    """Project a file with a run. Writes a picture at `out`, the target, the start and what was found; beside it the
    point, as NAME-point.safetensors, whose path is returned too."""
    run.spec.need_pictures("ganforge project", run.path)
    system = run.build(device_name)
    check_suffix(out, system.spec.channels)
    target = read(image, system.spec)
    found = project(system, target, steps, progress)
    point = out.with_name(f"{out.stem}-point.safetensors")
    with writing(point, problems=(OSError, SafetensorError)):
        out.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(point) as partial:
            save_file({name: value.cpu() for name, value in found.tensors.items()}, partial)
    sheet = grid(enlarge(np.stack([target, found.start, found.picture]), 224), 3)
    write_png(out, sheet, {**made_by(run, system), "projected": image.name})
    return found, point
