"""Augmentations of the discriminator's input: ADA's probability, its averages and its limits."""

from __future__ import annotations

import pytest
import torch

from ganforge.base.errors import InputError
from ganforge.media.spec import Spec
from ganforge.models import dcgan
from ganforge.runs import RunFolder
from ganforge.system import Batch
from ganforge.testing import make_store
from ganforge.training.train import train
from ganforge.transforms import augment
from ganforge.transforms.augment import COLOURS, GEOMETRY, LIMIT, Augment, parse

torch.manual_seed(0)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("kind", augment.KINDS)
def test_augmentations_keep_shape_differ_by_picture_and_pass_gradients(kind, channels):
    x = torch.rand(16, channels, 16, 24, requires_grad=True)
    y = augment.diff_augment(x, (kind,))
    assert y.shape == x.shape
    assert len({row.numpy().tobytes() for row in (y - x).detach()}) > 3
    y.sum().backward()
    assert x.grad is not None and x.grad.abs().sum() > 0


def test_colour_leaves_alpha_alone():
    x = torch.rand(4, 4, 8, 8)
    assert torch.equal(augment.color(x)[:, 3], x[:, 3])


def test_auto_is_ada_for_few_pictures():
    assert augment.for_set(augment.FEW - 1) == "ada" and augment.for_set(augment.FEW) == ""
    assert parse("auto") == parse("none") == parse("") == ((), frozenset(), None)


def test_a_fixed_probability_can_grow():
    fixed, adapting, without = Augment("ada 0.4"), Augment("ada"), Augment("color")
    for module in (fixed, adapting, without):
        module.grow(0.5)
    assert fixed.p.item() == pytest.approx(0.2) and adapting.p == 0


def test_words_of_the_models_list():
    assert parse("color, ada 0.3") == (("color",), frozenset(GEOMETRY + COLOURS), 0.3)
    assert parse("flip, turn") == ((), frozenset({"flip", "turn"}), None)
    for wrong in ("adda", "ada 2", "color 0.3", "flip 0.1, turn 0.2", "ada x", "ada, ada", "ada -1", "ada nan"):
        with pytest.raises(InputError):
            dcgan.Config(augment=wrong)


def test_ada_at_zero_is_the_identity():
    x = torch.rand(8, 3, 16, 16)
    torch.testing.assert_close(Augment("ada")(x), x, atol=2e-5, rtol=0.0)
    assert torch.equal(Augment("")(x), x)
    assert not Augment("").state_dict()


@pytest.mark.parametrize("kind", GEOMETRY + COLOURS)
def test_each_part_changes_some_pictures_and_passes_gradients(kind):
    torch.manual_seed(0)
    x = (torch.rand(64, 3, 16, 16) * 2 - 1).requires_grad_()
    y = Augment(f"{kind} 0.5")(x)
    same = (y - x).abs().flatten(1).amax(1) < 1e-4
    assert 5 < int(same.sum()) < 60
    y.sum().backward()
    assert x.grad is not None and x.grad.abs().sum() > 0


def test_averages_over_draws_are_the_known_mixtures():
    """Of flips with chance p, half mirror; of quarter turns, each of four has p / 4, and so the identity 1 - 3 p /
    4."""
    torch.manual_seed(0)
    x = torch.rand(1, 1, 8, 8)
    many = x.expand(20_000, 1, 8, 8)
    for p in (0.5, 0.8):
        mean = Augment(f"flip {p}")(many).mean(0)
        torch.testing.assert_close(mean, ((1 - p / 2) * x + p / 2 * x.flip(3))[0], atol=0.01, rtol=0.0)
        mean = Augment(f"turn {p}")(many).mean(0)
        turns = sum(x.rot90(k, (2, 3)) for k in range(4)) / 4
        torch.testing.assert_close(mean, ((1 - p) * x + p * turns)[0], atol=0.015, rtol=0.0)
        mean = Augment(f"invert {p}")(many).mean(0)
        torch.testing.assert_close(mean, ((1 - p) * x)[0], atol=0.02, rtol=0.0)


def test_the_chance_moves_towards_the_target_and_keeps_its_limits():
    module, batch = Augment("ada", speed=1000), Batch(torch.zeros(25, 1, 4, 4), None, 0)

    def show(share: float, steps: int) -> float:
        scores = torch.where(torch.arange(25) < 25 * share, 1.0, -1.0)
        for _ in range(steps):
            module.update(scores, batch)
            batch.seen += 25
        return module.p.item()

    assert show(1.0, 3) == 0
    assert show(1.0, 1) == pytest.approx(0.1)
    assert show(0.96, 4) == pytest.approx(0.2)  # mean sign 0.92
    assert show(0.4, 4) == pytest.approx(0.1)
    assert show(1.0, 100) == pytest.approx(LIMIT)
    assert show(0.0, 100) == 0
    module.eval()
    assert module.update(torch.ones(25), batch) == {}
    assert Augment("ada 0.3").update(torch.ones(25), batch) == {}


def test_the_chance_resumes_exactly(tmp_path, monkeypatch):
    monkeypatch.setattr("ganforge.transforms.augment._EVERY", 3)
    store = make_store(tmp_path / "store", Spec(16, 16, 3), 40)
    result = []
    for name, lengths in (("whole", (80,)), ("parts", (40, 56, 80))):
        for length in lengths:
            overrides = {
                "model": {"augment": "ada", "width": 8, "latent": 8},
                "train": {"images": length, "batch": 8, "precision": "fp32"},
            }
            run = train("dcgan", store, tmp_path / name, size="small", device_name="cpu", overrides=overrides)
        result.append(RunFolder(run.path).load()[0])
    assert result[0]["system.augment.p"] > 0
    for key, value in result[0].items():
        assert torch.equal(value, result[1][key]), key


@pytest.mark.slow
def test_strong_flips_do_not_leak():
    """Pictures whose left half is bright, seen through flips with p = 0.4: the generator's are bright on the left.

    A control that is flipped half of the time before anybody sees it comes out mixed, so the test could fail.
    """
    spec = Spec(16, 16, 1)

    def share_of_left(augmented: str, flipped: bool) -> float:
        torch.manual_seed(0)
        system = dcgan.DCGAN(dcgan.Config(latent=8, width=16, augment=augmented), spec)
        optimizer = torch.optim.Adam(system.parameters(), 2e-3, (0.0, 0.99))
        for step in range(400):
            level = torch.rand(32, 1, 1, 1) * 0.4
            images = torch.cat([(0.5 + level).expand(32, 1, 16, 8), (-0.9 + level).expand(32, 1, 16, 8)], 3)
            if flipped:
                images = torch.where(torch.rand(32, 1, 1, 1) < 0.5, images.flip(3), images)
            system.loss(Batch(images, None, 32 * step))["loss"].backward()
            optimizer.step()
            optimizer.zero_grad()
        with torch.no_grad():
            output = system.eval().generate(torch.randn(256, 8))
        left, right = output[..., :8].mean((1, 2, 3)), output[..., 8:].mean((1, 2, 3))
        return float((left > right + 0.5).float().mean())

    assert share_of_left("flip 0.4", False) > 0.95
    assert share_of_left("", True) < 0.9
