"""GAN inversion: the point in the latent space of a generator whose picture is nearest to a given one.

Abdal et al. 2019, "Image2StyleGAN: How to Embed Images Into the StyleGAN Latent Space?", for one style for each layer
(the space W+); the loss here compares pixels at several scales and needs no other network."""

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
from ganforge.base.images import Pixels, check_suffix, enlarge, grid, write_image
from ganforge.media.spec import Spec, to_float, to_uint8
from ganforge.nn.style import noise_seed
from ganforge.runs import RunFolder
from ganforge.sampling import check_generates, drawn, made_by
from ganforge.sources.decode import decode
from ganforge.sources.entry import Skip, read_file
from ganforge.sources.transform import fit
from ganforge.system import StyleSystem, System

CANDIDATES = 128  # seeds of which the best is the start of the search
STEPS = 300
RATE = 0.05  # learning rate of Adam


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
    if not 0 <= steps <= 100_000:
        raise InputError(f"project: --steps is {steps}; it takes 0 to 100,000.")
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


def _start(system: System, target: Tensor) -> tuple[Tensor, dict[str, Tensor], Callable[[Tensor], Tensor]]:
    """(start of the search, tensors that stay fixed, function from a point to its image (1, C, H, W))."""
    with torch.no_grad():
        latents = system.latents(range(CANDIDATES)).to(target.device)
        labels = torch.tensor(drawn(range(CANDIDATES), np.ones(max(1, system.classes))), device=target.device)
        encode = getattr(system, "encode", None)
        if encode is not None and system.restores and (code := encode(target).float()).shape[1:] == latents.shape[1:]:
            latents, labels = torch.cat([code, latents]), torch.cat([labels[:1], labels])
        classes = labels if system.classes else None
        images = torch.cat(
            [
                system.generate(latents[n : n + 32], None if classes is None else classes[n : n + 32])
                for n in range(0, len(latents), 32)
            ]
        )
        best = int(multiscale_mse(images, target).argmin())
        nearest, label = latents[[best]], None if classes is None else classes[[best]]
        fixed = {} if label is None else {"labels": label}
        if not isinstance(system, StyleSystem):
            return nearest.clone(), fixed, lambda point: system.generate(point, label)
        seed = noise_seed(nearest)
        styles = system.styles(nearest, label).contiguous().clone()
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
        pixels, _ = decode(read_file(path), spec.channels, (255, 255, 255), min(spec.height, spec.width))
    except Skip as reason:
        raise DataError(f"{path} cannot be used: {reason}. Give another picture.") from None
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
    point = out.with_name(f"{out.stem}-point.safetensors")
    with writing(point, problems=(OSError, SafetensorError)):
        out.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(point) as partial:
            save_file({name: value.cpu() for name, value in inversion.tensors.items()}, partial)
    sheet = grid(enlarge(np.stack([target, inversion.start, inversion.picture]), 224), 3)
    write_image(out, sheet, {**made_by(run, system), "projected": image.name})
    return inversion, point
