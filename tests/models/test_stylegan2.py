"""StyleGAN2: path lengths, penalties in float32, labels."""

from __future__ import annotations

import pytest
import torch

from ganforge import models
from ganforge.media.spec import Spec
from ganforge.models import stylegan2
from ganforge.models.stylegan2 import path_lengths
from ganforge.nn import style
from ganforge.nn.penalties import squared_gradient
from ganforge.system import Rule
from tiny import new


def test_path_length_of_a_linear_map():
    jacobian, w = torch.randn(5, 12), torch.randn(3, 5, requires_grad=True)
    directions = torch.randn(3, 1, 3, 4)
    lengths = path_lengths((w @ jacobian).view(3, 1, 3, 4), w, directions)
    torch.testing.assert_close(lengths, (directions.flatten(1) @ jacobian.T).norm(dim=1))


@pytest.mark.parametrize("penalty", ["path", "r1"])
def test_penalties_in_float32_have_the_gradient_of_float64(penalty):
    """The penalty's gradient by the weights, which is a second derivative."""
    system = new("stylegan2").requires_grad_(True)
    torch.manual_seed(1)
    latents, images, directions = torch.randn(4, 16), torch.rand(4, 1, 16, 16) * 2 - 1, torch.randn(4, 1, 16, 16)
    result = {}
    for dtype in (torch.float32, torch.float64):
        system.to(dtype).zero_grad()
        if penalty == "path":
            w = system.generator.mapping(latents.to(dtype))
            seed = style.noise_seed(latents.to(dtype))
            output = system.generator(w[:, None].expand(-1, system.layers, -1), seed)
            value = (path_lengths(output, w, directions.to(dtype)) - 1).square().mean()
        else:
            x = images.to(dtype).requires_grad_(True)
            value = squared_gradient(system.discriminator(x), x).mean()
        value.backward()
        result[dtype] = [value.double(), *(p.grad.double() for p in system.parameters() if p.grad is not None)]
    assert len(result[torch.float32]) > 10
    largest = max(double.norm() for double in result[torch.float64])
    for single, double in zip(*result.values(), strict=True):
        assert (single - double).norm() <= 1e-4 * double.norm().clamp(min=1e-4 * largest)  # biases' are 0


def test_outputs_are_added_up_in_float32():
    """A part of a thousandth is lost in bf16."""
    system = new("stylegan2")
    z = system.latents([1, 2])
    styles, seed = system.styles(z), style.noise_seed(z)
    _, *others = system.generator.to_rgb
    for to_rgb in others:
        to_rgb.weight.mul_(1e-3)
    with torch.autocast("cpu", torch.bfloat16):
        image = system.generator(styles, seed)
        for to_rgb in others:
            to_rgb.weight.zero_()
        without = system.generator(styles, seed)
    assert image.dtype == torch.float32
    changed = (image != without).float().mean()
    assert changed > 0.99


@pytest.mark.parametrize(("side", "generator", "discriminator"), [(256, 24.77, 24.0), (1024, 30.37, 29.0)])
def test_large_is_the_published_stylegan2(side, generator, discriminator):
    """Millions of parameters."""
    spec = Spec(side, side, 3)
    preset = models.load("stylegan2").preset("large")["model"]
    model = {n: v.value(spec, 0) if isinstance(v, Rule) else v for n, v in preset.items()}
    with torch.device("meta"):
        system = stylegan2.StyleGAN2(stylegan2.Config(**model), spec)
    counts = [sum(p.numel() for p in part.parameters()) / 1e6 for part in (system.generator, system.discriminator)]
    assert counts == pytest.approx([generator, discriminator], rel=0.001)


def test_labels_choose_the_picture():
    system = new("stylegan2", Spec(16, 16, 1, ("a", "b")), conditional=True)
    latents = system.latents([5, 5])
    one, two = system.generate(latents, torch.tensor([0, 1]))
    assert not torch.allclose(one, two)
