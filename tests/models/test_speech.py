"""What is speech's own: a recurrent pair for sounds, feature matching, shifts in time."""

from __future__ import annotations

import pytest
import torch

from ganforge import models
from ganforge.base.errors import InputError
from ganforge.media.sound import Sound
from ganforge.media.spec import Spec
from ganforge.models.speech import Config, Speech, matching
from ganforge.system import Batch
from ganforge.testing import make_store
from ganforge.training.train import train

SPEC = Spec(16, 22, 1, ("a", "b", "c"), medium=Sound.of_rate(8000))
SMALL = {"latent": 8, "embedding": 4, "width": 16, "channels": 8, "critic": 8}


def build(spec: Spec = SPEC, **settings) -> Speech:
    torch.manual_seed(0)
    return Speech(Config(**{**SMALL, **settings}), spec)


@pytest.mark.parametrize(
    "settings", [{}, {"frames": 1}, {"frames": 3}, {"frames": 64}, {"noise": 0}, {"labels": "none"}]
)
def test_any_number_of_frames_a_step_makes_whole_sounds(settings):
    system = build(**settings).eval()
    labels = torch.tensor([0, 1, 2, 0]) % max(1, system.classes)
    sounds = system.generate(system.latents(range(4)), labels)
    assert sounds.shape == (4, 1, 16, 22)
    assert sounds.abs().max() <= 1
    scores, maps = system.discriminator(sounds, labels)
    assert scores.shape == (4,)
    assert [x.shape[2] for x in maps[:-1]] == [22, 11, 6]


def test_the_noise_of_a_moment_changes_nothing_before_it():
    """A recurrent generator: the noise of a step reaches later frames, and as many before it as the convolutions."""
    system = build(frames=2).eval()
    steps = 11
    latents = system.latents([3])
    other = latents.clone()
    other[:, 8 + 8 * 7 : 8 + 8 * 8] += 3  # of the eighth of eleven steps
    assert latents.shape[1] == 8 + steps * 8
    one, two = (system.generate(x, torch.tensor([1])) for x in (latents, other))
    changed = (one != two).any(2).flatten().nonzero().flatten().tolist()
    assert min(changed) >= 14 - 5 and max(changed) == 21


def test_the_discriminator_s_score_is_its_definition_and_mixes_no_sounds():
    """w.h + b + e(class).h, Miyato and Koyama 2018, eq. 3, of the mean of the states."""
    critic = build().discriminator.eval()
    sounds, labels = torch.rand(6, 1, 16, 22) * 2 - 1, torch.arange(6) % 3
    scores, maps = critic(sounds, labels)
    expected = critic.score(maps[-1])[:, 0] + (critic.embedding(labels) * maps[-1]).sum(1)
    torch.testing.assert_close(scores, expected)
    alone = torch.cat([critic(sounds[n : n + 1], labels[n : n + 1])[0] for n in range(6)])
    torch.testing.assert_close(scores, alone, rtol=1e-4, atol=1e-5)


def test_matching_is_the_distance_of_means_and_deviations_over_the_batch():
    real, fake = [torch.tensor([[1.0, 2.0], [3.0, 4.0]])], [torch.tensor([[0.0, 0.0], [0.0, 2.0]])]
    assert float(matching(real, fake)) == pytest.approx((2 + 2) / 2 + (2**0.5 + 0) / 2, abs=1e-3)
    assert matching(real, [real[0].flip(0)]) == 0


def test_maps_that_are_alike_in_the_whole_batch_have_a_gradient():
    """A deviation of 0 has none of its own: silence at the end of every sound."""
    fake = torch.zeros(4, 3, requires_grad=True)
    matching([torch.rand(4, 3)], [fake]).backward()
    assert fake.grad is not None and fake.grad.isfinite().all()
    assert Speech.least_batch(Config(), SPEC) == 2


def test_sounds_are_shifted_in_time_alone_and_each_for_itself():
    system = build(shift=2)
    sounds = torch.arange(22.0).expand(64, 1, 16, 22)
    torch.manual_seed(0)
    shifted = system._shifted(sounds)
    moves = shifted[:, 0, 0, 10] - 10
    assert set(moves.tolist()) == {-2, -1, 0, 1, 2}
    for sound, move in zip(shifted, moves, strict=True):
        assert torch.equal(sound, (torch.arange(22.0) + move).clamp(0, 21).expand(1, 16, 22))
    assert torch.equal(build(shift=0)._shifted(sounds), sounds)


def test_both_networks_learn_and_neither_from_the_other_s_phase():
    system = build(matching=1.0).train()
    batch = Batch(torch.rand(8, 1, 16, 22) * 2 - 1, torch.arange(8) % 3, 0)
    for phase in system.phases():
        system.requires_grad_(False)
        for name in phase.learns:
            system.get_submodule(name).requires_grad_(True)
        report = phase.loss(batch)
        report["loss"].backward()
        assert all(value.isfinite() for value in report.values())
        assert all(p.grad is not None for name in phase.learns for p in system.get_submodule(name).parameters())
        system.zero_grad()


def test_a_store_of_pictures_is_refused_and_what_fits_is_named(tmp_path):
    store = make_store(tmp_path / "pictures", Spec(16, 16, 1, ("a", "b")))
    with pytest.raises(InputError, match=r"speech .*pictures.*cgan"):
        train("speech", store, tmp_path / "run", size="small", overrides={"train": {"images": 64}})
    assert not (tmp_path / "run").exists()
    assert "speech" in models.names()
