"""The U-Net: sizes, receptive field, options."""

from __future__ import annotations

import itertools

import pytest
import torch

from ganforge.nn.unet import ANY, FourierUnit, UNet

OPTIONS = [dict(zip(("gated", "spectral"), on, strict=True)) for on in itertools.product((False, True), repeat=2)]


def ready(*args, **options):
    """A network whose last layer is not zero, in float64."""
    torch.manual_seed(0)
    network = UNet(*args, **options)
    torch.nn.init.normal_(network.last.weight, 0, 0.3)
    return network.double().eval()


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize(("inputs", "outputs", "size"), [(1, 3, (8, 8)), (5, 2, (13, 22)), (4, 1, (1, 7))])
def test_any_size_and_any_channels_and_zero_at_first(inputs, outputs, size, options):
    network = UNet(inputs, outputs, 4, **options)
    out = network(torch.rand(2, inputs, *size))
    assert out.shape == (2, outputs, *size) and out.dtype == torch.float32
    assert not out.any()


@pytest.mark.parametrize(("depth", "blocks", "gated"), [(1, 1, False), (2, 3, False), (3, 1, True)])
def test_one_pixel_changes_what_is_within_the_receptive_radius(depth, blocks, gated):
    network = ready(1, 1, 4, depth, blocks, gated=gated)
    radius = network.receptive_radius
    side = 2 * radius + 40
    images = torch.rand(1, 1, side, 33, dtype=torch.float64)
    reached = 0
    for row in range(radius, radius + network.stride):  # every phase of the coarsest grid
        changed = images.clone()
        changed[:, :, row, 16] += 5
        difference = (network(changed) - network(images))[0, 0].abs().amax(1)
        rows = difference.nonzero().flatten()
        reached = max(reached, row - int(rows.min()), int(rows.max()) - row)
    assert 0.6 * radius < reached <= radius


def test_fourier_units_see_the_whole_picture():
    network = ready(1, 1, 4, 1, 1, spectral=True)
    assert network.receptive_radius == ANY
    images = torch.rand(1, 1, 128, 16, dtype=torch.float64)
    changed = images.clone()
    changed[:, :, 0, 0] += 5
    assert (network(changed) - network(images))[0, 0, -1].abs().max() > 1e-6
    assert FourierUnit(3)(torch.rand(2, 3, 7, 9)).shape == (2, 3, 7, 9)


def test_a_vector_modulates_and_does_not_at_first():
    network = ready(3, 3, 4, vector=5)
    images, vectors = torch.rand(2, 3, 9, 9, dtype=torch.float64), torch.rand(2, 5, dtype=torch.float64)
    assert torch.equal(network(images, vectors), network(images, torch.zeros_like(vectors)))
    for block in network.coarse:
        torch.nn.init.normal_(block.modulation.weight)
    assert not torch.allclose(network(images, vectors), network(images, torch.zeros_like(vectors)))


def test_the_maps_of_the_encoder_half():
    network = ready(2, 1, 4, depth=2, vector=3)
    images, vectors = torch.rand(2, 2, 13, 22, dtype=torch.float64), torch.rand(2, 3, dtype=torch.float64)
    maps = network.encode(images, vectors)
    assert [x.shape[1:] for x in maps] == [(4, 8, 12), (8, 4, 6), (16, 2, 3)]
    assert torch.equal(network.decode(maps, 13, 22, vectors), network(images, vectors))
    assert len(maps) == 3, "they can be used again"


def test_gates_close():
    network = ready(1, 1, 4, gated=True)
    images = torch.rand(1, 1, 8, 8, dtype=torch.float64)
    assert network(images).any()
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith(("first.bias", "one.bias", "two.bias")):
                parameter[-1] = -1e3
        for layer in (*network.downs, *network.ups):
            layer.bias.zero_()
    assert not network(images).any(), "all outputs are multiplied by their gate"


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("autocast", [False, True])
def test_gradients_reach_everything_in_both_precisions(options, autocast):
    torch.manual_seed(0)
    network = UNet(3, 3, 8, vector=4, **options)
    torch.nn.init.normal_(network.last.weight, 0, 0.3)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        loss = network(torch.rand(2, 3, 10, 12), torch.rand(2, 4)).square().mean()
    loss.backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        assert parameter.grad.any() or parameter.ndim == 1, name
