"""The codebook and the prior of the VQ-VAE against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ganforge.media.spec import Spec, to_float
from ganforge.models import vqvae
from ganforge.system import Batch
from ganforge.testing import make_store
from ganforge.training.train import train


@pytest.fixture
def small_vqvae():
    torch.manual_seed(0)
    config = vqvae.Config(codes=16, latent=4, width=8, prior=32, depth=2)
    system = vqvae.VQVAE(config, Spec(16, 24, 3))
    images = torch.rand(32, 3, 16, 24) * 2 - 1
    return system, Batch(images, None, 0)


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


def test_tokens_and_perplexity(small_vqvae):
    system, batch = small_vqvae
    report = system.train().loss(batch)
    tokens = system.encode_tokens(batch.images)
    assert tokens.shape == (32, 8, 12)
    assert tokens.dtype == torch.int64
    assert system.decode_tokens(tokens).shape == batch.images.shape
    assert torch.equal(system.restore(batch.images), system.decode_tokens(tokens))
    share = np.bincount(batch.shared["tokens"].flatten().numpy(), minlength=16) / batch.shared["tokens"].numel()
    share = share[share > 0]
    assert report["perplexity"].item() == pytest.approx(np.exp(-(share * np.log(share)).sum()), rel=1e-4)
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


def test_a_low_temperature_draws_the_likeliest_codes(small_vqvae):
    """And 1 draws as trained."""
    prior = small_vqvae[0].prior.eval()
    quantiles = torch.rand(50, 6, dtype=torch.float64)
    with torch.no_grad():
        assert torch.equal(prior.draw(quantiles, 1.0), prior.draw(quantiles))
        cold = prior.draw(quantiles, 1e-4)
        words = torch.full((1, 1), prior.start)
        for _ in range(6):
            words = torch.cat([words, prior(words)[0][:, -1:].argmax(2)], 1)
    assert torch.equal(cold, words[:, 1:].expand(50, -1))
    counts = [len(prior.draw(quantiles, t).unique(dim=0)) for t in (0.05, 1.0)]
    assert counts[0] < counts[1]


@pytest.mark.parametrize(
    ("side", "small", "large"), [(28, 8, 8), (64, 8, 8), (128, 8, 16), (256, 16, 32), (1024, 64, 64)]
)
def test_the_grid_of_codes_follows_the_side(side, small, large):
    grids = {size: preset["grid"].value(Spec(side, side, 3), 0) for size, preset in vqvae.PRESETS.items()}
    assert grids == {"small": small, "medium": small, "large": large}


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
