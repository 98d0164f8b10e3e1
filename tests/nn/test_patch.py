"""The discriminator of patches."""

from __future__ import annotations

import pytest
import torch

from ganforge.nn.patch import PatchDiscriminator, feature_matching


@pytest.mark.parametrize(("size", "grid"), [((32, 32), (4, 4)), ((17, 30), (3, 4)), ((64, 9), (8, 2))])
@pytest.mark.parametrize("given", [0, 2])
def test_shapes(size, grid, given):
    network = PatchDiscriminator(3, 8, given)
    scores, maps = network(torch.rand(2, 3, *size), torch.rand(2, given, *size) if given else None)
    assert scores.shape == (2, 1, *grid) and scores.dtype == torch.float32
    assert [m.shape[1] for m in maps] == [8, 16, 32, 32]


@pytest.mark.parametrize("halvings", [1, 2, 3])
def test_a_score_sees_a_patch_of_the_stated_size(halvings):
    torch.manual_seed(0)
    network = PatchDiscriminator(1, 4, halvings=halvings).eval()
    images = torch.rand(1, 1, 96, 96, requires_grad=True)
    scores, _ = network(images)
    middle = scores.shape[2] // 2
    (gradient,) = torch.autograd.grad(scores[0, 0, middle, middle], images)
    seen = gradient[0, 0].abs().sum(0).nonzero().flatten()
    assert int(seen.max() - seen.min()) + 1 == network.patch


def test_spectral_norms_bound_every_layer():
    torch.manual_seed(0)
    network = PatchDiscriminator(3, 8)
    for _ in range(20):
        network(torch.rand(1, 3, 16, 16))
    for layer in (*network.layers, network.score):
        assert torch.linalg.matrix_norm(layer.weight.flatten(1), 2).item() == pytest.approx(1, abs=0.02)


def test_bfloat16_gives_finite_gradients():
    network = PatchDiscriminator(4, 8)
    with torch.autocast("cpu", torch.bfloat16):
        scores, maps = network(torch.rand(2, 4, 16, 16))
        loss = scores.mean() + feature_matching([m + 1 for m in maps], maps)
    loss.backward()
    assert scores.dtype == torch.float32
    assert all(p.grad is None or p.grad.isfinite().all() for p in network.parameters())


def test_feature_matching_is_a_mean_of_means_and_teaches_the_fake_alone():
    real = [torch.zeros(2, 3, 4, 4, requires_grad=True), torch.zeros(2, 5, 2, 2, requires_grad=True)]
    fake = [torch.full((2, 3, 4, 4), 2.0, requires_grad=True), torch.full((2, 5, 2, 2), -4.0, requires_grad=True)]
    loss = feature_matching(real, fake)
    assert loss.item() == 3
    loss.backward()
    assert real[0].grad is None and fake[0].grad is not None
