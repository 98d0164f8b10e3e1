"""Autoencoders, the denoiser and the codebook against closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import median_filter

from ganforge import models
from ganforge.media.spec import Spec, to_float, to_uint8
from ganforge.metrics.fidelity import psnr
from ganforge.models import dae, vqvae
from ganforge.nn.gaussian import HORIZON, Gaussian
from ganforge.restoring import tiled
from ganforge.system import Batch
from ganforge.testing import make_store
from ganforge.training.train import train


def test_gaussian_is_the_mean_and_covariance_of_all_codes_so_far():
    torch.manual_seed(0)
    codes = torch.randn(20, 50, 6) @ torch.randn(6, 6) + torch.randn(6)
    fitted = Gaussian(6)
    for batch in codes:
        fitted.fit(batch)
    flat = codes.flatten(0, 1).double()
    torch.testing.assert_close(fitted.mean.double(), flat.mean(0), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(fitted.covariance.double(), flat.T.cov(correction=0), rtol=1e-4, atol=1e-4)
    drawn = fitted(torch.randn(200_000, 6)).double()
    torch.testing.assert_close(drawn.T.cov(), flat.T.cov(), rtol=0.05, atol=0.1)
    torch.testing.assert_close(drawn.mean(0), flat.mean(0), rtol=0.05, atol=0.05)


def test_gaussian_forgets_and_bears_codes_that_do_not_vary():
    fitted = Gaussian(3)
    for _ in range(12 * HORIZON):
        fitted.fit(torch.zeros(8, 3))
    for _ in range(8 * HORIZON):
        fitted.fit(torch.ones(8, 3))
    assert fitted.mean.min() > 0.999
    assert (fitted(torch.randn(5, 3)) - 1).abs().max() < 0.1


@pytest.mark.parametrize("strength", [0.05, 0.3])
@pytest.mark.parametrize("kind", dae.KINDS)
def test_noise_has_the_stated_statistics(kind, strength):
    torch.manual_seed(0)
    images = torch.full((8, 4, 128, 128), -0.2)
    noisy = dae.corrupt(images, kind, torch.full((8,), strength))
    assert torch.equal(noisy[:, 3], images[:, 3]), "alpha was touched"
    colour = noisy[:, :3]
    assert colour.abs().max() <= 1
    if kind in ("gaussian", "speckle"):
        deviation = 2 * strength if kind == "gaussian" else strength * 0.8
        if deviation < 0.3:
            assert (colour + 0.2).std().item() == pytest.approx(deviation, rel=0.02)
            assert colour.mean().item() == pytest.approx(-0.2, abs=0.002)
        sure = math.erf(0.3 / deviation / math.sqrt(2))  # within 0.3, which nothing clips
        assert ((colour + 0.2).abs() < 0.3).float().mean().item() == pytest.approx(sure, abs=0.01)
    else:
        black, white = (colour == -1).float().mean().item(), (colour == 1).float().mean().item()
        expected = (strength / 2, strength / 2) if kind == "salt_pepper" else (strength, 0.0)
        assert (black, white) == pytest.approx(expected, abs=0.01)
        assert torch.equal(colour[:, 0], colour[:, 2]), "a pixel is hit in all its colours"
        assert ((colour == -0.2) | (colour.abs() == 1)).all()


def test_strengths_are_drawn_by_picture():
    noisy = dae.corrupt(torch.zeros(2, 1, 64, 64), "gaussian", torch.tensor([0.0, 0.1]))
    assert not noisy[0].any()
    assert noisy[1].std().item() == pytest.approx(0.2, rel=0.05)


def test_windows_are_parts_of_their_pictures():
    images = torch.arange(2 * 1 * 20 * 30).reshape(2, 1, 20, 30).float()
    cut = dae.windows(images, 8)
    assert cut.shape == (2, 1, 8, 8)
    for picture, window in zip(images, cut, strict=True):
        top, left = divmod(int(window[0, 0, 0] - picture[0, 0, 0]), 30)
        assert torch.equal(window, picture[:, top : top + 8, left : left + 8])
    assert dae.windows(images, 32) is images


@pytest.mark.parametrize("size", [(100, 150), (97, 161)])
def test_tiles_give_what_the_whole_picture_gives(size):
    torch.manual_seed(0)
    system = dae.DAE(dae.Config(width=8), Spec(32, 32, 3)).double().eval()
    torch.nn.init.normal_(system.denoiser.last[2].weight, 0, 0.1)
    monkey = system.denoiser.forward
    system.denoiser.forward = lambda x: monkey(x).double()
    images = torch.rand(1, 3, *size, dtype=torch.float64) * 2 - 1
    with torch.no_grad():
        whole = system.restore(images)
        torch.testing.assert_close(tiled(system, images, 32), whole, rtol=0, atol=1e-5)
        far = images.clone()
        far[:, :, 0, 0] += 1
        changed = (system.restore(far) - whole).abs().amax((0, 1))
    assert (whole - images).abs().max() > 0.01, "the network does nothing"
    near = max(changed.nonzero().max().item(), 0)
    assert system.reach / 2 < near <= system.reach, near


def test_the_denoiser_beats_the_noise_and_the_median(tmp_path):
    store = make_store(tmp_path / "s", Spec(32, 32, 1), 256)
    loop = {"images": 16 * 120, "batch": 16, "precision": "fp32", "ema_ramp": 0.01}
    run = train(
        "dae", store, tmp_path / "r", size="small", device_name="cpu", overrides={"train": loop, "model": {"width": 16}}
    )
    system = run.build()
    truth = store.read(store.heldout)
    torch.manual_seed(1)
    noisy = to_uint8(dae.corrupt(to_float(torch.from_numpy(truth)), "gaussian", torch.full((len(truth),), 0.15)))
    cleaned = to_uint8(system.restore(to_float(noisy))).numpy()
    before, after = psnr(noisy.numpy(), truth), psnr(cleaned, truth)
    median = psnr(median_filter(noisy.numpy(), (1, 3, 3, 1)), truth)
    assert before < median < after
    assert after > before + 6


def test_codebook_follows_the_closed_form():
    torch.manual_seed(0)
    book = vqvae.Codebook(3, 2)
    start = torch.tensor([[0.0, 0.0], [4.0, 0.0], [0.0, 4.0]])
    book.vectors.copy_(start)
    book.counts.fill_(5.0)
    book.sums.copy_(5 * start)
    counts, sums = book.counts.double().clone(), book.sums.double().clone()
    for _ in range(30):
        vectors = start[torch.randint(3, (15,))] + torch.randn(15, 2)
        tokens = book.nearest(vectors)
        assert torch.equal(tokens, torch.cdist(vectors, book.vectors).argmin(1))
        chosen = torch.nn.functional.one_hot(tokens, 3).double()
        counts = 0.99 * counts + 0.01 * chosen.sum(0)
        sums = 0.99 * sums + 0.01 * chosen.T @ vectors.double()
        book.learn(vectors, tokens)
    torch.testing.assert_close(book.vectors.double(), sums / counts[:, None], rtol=1e-5, atol=1e-5)


def test_dead_codes_are_put_where_the_pictures_are():
    book = vqvae.Codebook(4, 2)
    vectors = torch.randn(40, 2) + 5
    book.restart(vectors)  # none was ever chosen: the first batch places them all
    assert all((vectors == code).all(1).any() for code in book.vectors)
    book.learn(vectors, book.nearest(vectors))
    book.counts.fill_(10.0)
    book.sums.copy_(10 * book.vectors)
    alive = book.vectors.clone()
    book.counts[2] = 0.5
    book.restart(vectors)
    assert torch.equal(book.vectors[[0, 1, 3]], alive[[0, 1, 3]])
    assert (vectors == book.vectors[2]).all(1).any()
    torch.testing.assert_close(book.sums, book.counts[:, None] * book.vectors)


@pytest.fixture
def small_vqvae():
    torch.manual_seed(0)
    config = vqvae.Config(codes=16, latent=4, width=8, prior=32, depth=2)
    system = vqvae.VQVAE(config, Spec(16, 24, 3))
    images = torch.rand(32, 3, 16, 24) * 2 - 1
    return system, Batch(images, None, 0)


def test_tokens_and_perplexity(small_vqvae):
    system, batch = small_vqvae
    said = system.train().loss(batch)
    tokens = system.encode_tokens(batch.images)
    assert tokens.shape == (32, 8, 12)
    assert tokens.dtype == torch.int64
    assert system.decode_tokens(tokens).shape == batch.images.shape
    assert torch.equal(system.restore(batch.images), system.decode_tokens(tokens))
    share = np.bincount(batch.shared["tokens"].flatten().numpy(), minlength=16) / batch.shared["tokens"].numel()
    share = share[share > 0]
    assert said["perplexity"].item() == pytest.approx(np.exp(-(share * np.log(share)).sum()), rel=1e-4)
    assert not batch.shared["tokens"].is_floating_point()  # nothing can flow back from the prior


def test_the_prior_sees_the_past_only_and_its_cache_changes_nothing(small_vqvae):
    prior = small_vqvae[0].prior.eval()
    words = torch.randint(16, (3, 20))
    whole, _ = prior(words)
    other = words.clone()
    other[:, 12:] = 0
    torch.testing.assert_close(prior(other)[0][:, :12], whole[:, :12])
    cache, parts = None, []
    for word in words.split(1, 1):
        logits, cache = prior(word, cache)
        parts.append(logits)
    torch.testing.assert_close(torch.cat(parts, 1), whole, rtol=1e-4, atol=1e-5)


def test_the_prior_draws_from_its_own_distribution(small_vqvae):
    prior = small_vqvae[0].prior.eval()
    with torch.no_grad():
        drawn = prior.draw(torch.rand(20_000, 2, dtype=torch.float64))
        start = torch.full((1, 1), prior.start)
        first = prior(start)[0][0, 0].softmax(0)
    torch.testing.assert_close(torch.bincount(drawn[:, 0], minlength=16) / 20_000, first, rtol=0, atol=0.015)
    given = drawn[drawn[:, 0] == 3, 1]
    second = prior(torch.tensor([[prior.start, 3]]))[0][0, 1].softmax(0)
    torch.testing.assert_close(torch.bincount(given, minlength=16) / len(given), second, rtol=0, atol=0.06)


def test_an_average_of_codebooks_restores(small_vqvae, tmp_path):
    """The averaged encoder and codebook belong together: their reconstruction is about as good as that of the last
    weights."""
    store = make_store(tmp_path / "s", Spec(16, 16, 1), 128)
    model = {"codes": 32, "latent": 8, "width": 16, "prior": 32, "depth": 1}
    loop = {"images": 32 * 100, "batch": 32, "precision": "fp32"}
    run = train(
        "vqvae", store, tmp_path / "r", size="small", device_name="cpu", overrides={"model": model, "train": loop}
    )
    averaged, last = run.build(), run.new_system()
    tensors, _ = run.load()
    last.load_state_dict({k.removeprefix("system."): v for k, v in tensors.items() if k.startswith("system.")})
    images = to_float(torch.from_numpy(store.read(store.train)))
    one, two = ((s.eval().restore(images) - images).square().mean().item() for s in (averaged, last))
    assert one < 1.3 * two
    assert one < 0.5 * images.var().item()


@pytest.mark.parametrize("name", ["autoencoder", "vae", "vqvae"])
def test_autoencoders_restore_by_way_of_their_code(name):
    loaded = models.load(name)
    torch.manual_seed(0)
    system = loaded.system(loaded.config(width=8), Spec(17, 13, 4)).eval()
    images = torch.rand(2, 4, 17, 13) * 2 - 1
    made = system.restore(images)
    assert made.shape == images.shape
    assert made.abs().max() <= 1
