"""vqvae: pictures as a small grid of discrete codes, and a transformer that learns which grids there are.

van den Oord et al. 2017, "Neural Discrete Representation Learning", with a codebook of exponential moving averages
(appendix A.1), in which unused codes are restarted at outputs of the encoder (Dhariwal et al. 2020, "Jukebox", section
3.1). The output of the encoder is batch-normalised, which keeps it near the codes (Łańcucki et al. 2020, "Robust
Training of Vector Quantized Bottleneck Models", section III). The prior is a causal transformer over the codes, row by
row (as in Esser et al. 2021, "Taming Transformers", section 3.2); in each step it is trained on the codes of that step,
and no gradient flows back from it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ganforge.base.config import setting
from ganforge.base.seeds import key
from ganforge.media.spec import Spec
from ganforge.nn.layers import Down, Up
from ganforge.system import Adam, Batch, Phase, Rule, System, base_grid, crop

DECAY = 0.99  # of the averages of the codebook, per step
DEAD = 0.1  # a code used less often than this share of the mean is restarted
Cache = list[tuple[Tensor, Tensor]]


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of the VQ-VAE."""

    codes: int = setting(256, "entries of the codebook", low=2, high=16384)
    latent: int = setting(32, "numbers in an entry", low=1, high=1024)
    grid: int = setting(8, "largest number of codes along the shorter side of a picture", low=1, high=64)
    width: int = setting(64, "channels of the convolutions; half of it at the outermost", low=4, high=1024)
    commitment: float = setting(
        0.25, "weight of the commitment loss, which keeps the encoder near its codes", low=0.0, high=100.0
    )
    prior: int = setting(128, "width of the transformer; each head has 32", low=32, high=2048)
    depth: int = setting(4, "blocks of the transformer", low=1, high=48)
    temperature: float = setting(
        1.0, "temperature of the codes of samples: below 1 likelier, less varied ones; 1 as trained", low=0.05, high=4.0
    )
    lr: float = setting(1e-3, "learning rate of both", low=0.0, high=1.0)


def _grid(factor: int) -> Rule:
    """The factors of van den Oord et al. 2017 and Esser et al. 2021 are 4 to 16; a small picture has 8 codes a side."""
    return Rule(f"side / {factor}, 8 to 64", lambda spec, _: min(64, max(8, min(spec.height, spec.width) // factor)))


PRESETS: dict[str, dict[str, Any]] = {
    "small": {"codes": 128, "width": 32, "prior": 96, "depth": 3, "grid": _grid(16)},
    "medium": {"grid": _grid(16)},
    "large": {"codes": 1024, "latent": 64, "width": 128, "prior": 384, "depth": 8, "grid": _grid(8)},
}
TRAIN: dict[str, Any] = {"batch": 64, "cooldown": 0.3}


class Codebook(nn.Module):
    """Code vectors (K, D), each the moving average of the encoder outputs that it is nearest to; buffers, without
    gradients."""

    vectors: Tensor
    counts: Tensor
    sums: Tensor

    def __init__(self, codes: int, size: int) -> None:
        super().__init__()
        self.register_buffer("vectors", torch.zeros(codes, size))
        self.register_buffer("counts", torch.zeros(codes))  # all unused: the first batch restarts them
        self.register_buffer("sums", torch.zeros(codes, size))

    def nearest(self, vectors: Tensor) -> Tensor:
        """The nearest codes: (N, D) float32 -> indices (N,) int64."""
        distance = self.vectors.square().sum(1) - 2 * vectors @ self.vectors.T
        return distance.argmin(1)

    @torch.no_grad()
    def restart(self, vectors: Tensor) -> None:
        """Move each unused code to a random row of `vectors` (N, D), in every step until it is used."""
        dead = self.counts < DEAD * len(vectors) / len(self.counts)
        drawn = vectors[torch.randint(len(vectors), (len(self.counts),), device=vectors.device)]
        self.vectors.copy_(torch.where(dead[:, None], drawn, self.vectors))
        self.sums.copy_(torch.where(dead[:, None], self.counts[:, None] * drawn, self.sums))

    @torch.no_grad()
    def learn(self, vectors: Tensor, tokens: Tensor) -> None:
        """One step of the averages: encoder outputs (N, D) float32 and the indices of their codes (N,) int64."""
        chosen = F.one_hot(tokens, len(self.counts)).to(vectors.dtype)
        self.counts.lerp_(chosen.sum(0), 1 - DECAY)
        self.sums.lerp_(chosen.T @ vectors, 1 - DECAY)
        used = self.counts[:, None] > 1e-6
        self.vectors.copy_(torch.where(used, self.sums / self.counts.clamp(min=1e-6)[:, None], self.vectors))


class ResidualBlock(nn.Module):
    """Two convolutions and a shortcut: (N, C, H, W) -> the same shape."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.one = nn.Conv2d(channels, channels, 3, 1, 1)
        self.two = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.two(F.relu(self.one(F.relu(x))))
        return x + y


class Autoencoder(nn.Module):
    """Encoder, codebook and decoder."""

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__()
        self.spec = spec
        height, width, doublings = base_grid(spec, config.grid)
        self.grid = (height, width)
        self.pad = (width * 2**doublings - spec.width, height * 2**doublings - spec.height)
        encoder: list[nn.Module] = []
        decoder: list[nn.Module] = []
        before = spec.channels
        for n in range(doublings):
            after = max(1, config.width // 2) if n == 0 and doublings > 1 else config.width
            encoder += [Down(before, after), nn.ReLU()]
            decoder = [nn.ReLU(), Up(after, before), *decoder]
            before = after
        self.encoder = nn.Sequential(
            *encoder,
            nn.Conv2d(before, config.width, 3, 1, 1),
            ResidualBlock(config.width),
            ResidualBlock(config.width),
            nn.ReLU(),
            nn.Conv2d(config.width, config.latent, 1),
            nn.BatchNorm2d(config.latent, affine=False),
        )
        self.decoder = nn.Sequential(
            nn.Conv2d(config.latent, config.width, 3, 1, 1),
            ResidualBlock(config.width),
            ResidualBlock(config.width),
            nn.ReLU(),
            nn.Conv2d(config.width, before, 3, 1, 1),
            *decoder,
        )
        self.codebook = Codebook(config.codes, config.latent)

    def encode(self, images: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, h, w, D) float32, before quantisation."""
        right, bottom = self.pad
        x = F.pad(images, (right // 2, right - right // 2, bottom // 2, bottom - bottom // 2), mode="replicate")
        codes: Tensor = self.encoder(x)
        return codes.permute(0, 2, 3, 1).float()

    def decode(self, codes: Tensor) -> Tensor:
        """(N, h, w, D) -> (N, C, H, W) in [-1, 1]."""
        x: Tensor = self.decoder(codes.permute(0, 3, 1, 2))
        return crop(x, self.spec).tanh()


class TransformerBlock(nn.Module):
    """A block of a causal transformer (Vaswani et al. 2017) with pre-normalisation (Xiong et al. 2020): (N, T, D) ->
    the same shape."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads = max(1, width // 32)
        self.norm, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mixed, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.dense = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor, past: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """(output, (keys, values)). With keys and values of the `past`, x holds the one position that follows them."""
        q, k, v = self.mixed(self.norm(x)).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        if past is not None:
            k, v = torch.cat([past[0], k], 2), torch.cat([past[1], v], 2)
        attended = F.scaled_dot_product_attention(q, k, v, is_causal=past is None)
        x = x + self.out(attended.transpose(1, 2).flatten(2))
        return x + self.dense(self.norm2(x)), (k, v)


class Prior(nn.Module):
    """The distribution of the next code, given those before it."""

    def __init__(self, config: Config, positions: int) -> None:
        super().__init__()
        width = 32 * (config.prior // 32)
        self.start = config.codes  # the start token, which precedes the first code
        self.words, self.places = nn.Embedding(config.codes + 1, width), nn.Embedding(positions, width)
        for table in (self.words, self.places):
            nn.init.normal_(table.weight, 0, 0.02)
        self.blocks = nn.ModuleList(TransformerBlock(width) for _ in range(config.depth))
        self.out = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, config.codes))

    def forward(self, words: Tensor, cache: Cache | None = None) -> tuple[Tensor, Cache]:
        """Codes (N, T) int64 -> logits (N, T, K) of the next code after each, and the cache of keys and values, with
        which the next call takes one position only."""
        first = cache[0][0].shape[2] if cache else 0
        x = self.words(words) + self.places.weight[first : first + words.shape[1]]
        kept: Cache = []
        for n, block in enumerate(self.blocks):
            x, pair = block(x, cache[n] if cache else None)
            kept.append(pair)
        return self.out(x), kept

    def draw(self, quantiles: Tensor, temperature: float = 1.0) -> Tensor:
        """Codes by inverse transform sampling, each from its distribution given those before: quantiles (N, T) from
        0 to 1 -> (N, T) int64. The logits are divided by
        `temperature`."""
        word = torch.full((len(quantiles), 1), self.start, device=quantiles.device)
        drawn: list[Tensor] = []
        cache: Cache | None = None
        for quantile in quantiles.unbind(1):
            logits, cache = self(word, cache)
            bounds = (logits[:, 0].double() / temperature).softmax(1).cumsum(1)
            word = (bounds < quantile[:, None]).sum(1, keepdim=True).clamp(max=self.start - 1)
            drawn.append(word)
        return torch.cat(drawn, 1)


class VQVAE(System):
    """Autoencoder with a codebook, and a prior of its codes."""

    averaged = ("autoencoder", "prior")
    restores = True
    config: Config

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        self.autoencoder = Autoencoder(config, spec)
        self.prior = Prior(config, self.autoencoder.grid[0] * self.autoencoder.grid[1])

    def adam(self) -> dict[str, Adam]:
        return {"autoencoder": Adam(self.config.lr, 0.9, 0.999), "prior": Adam(self.config.lr, 0.9, 0.99)}

    def phases(self) -> list[Phase]:
        return [Phase("autoencoder", ("autoencoder",), self.loss), Phase("prior", ("prior",), self.prior_loss)]

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Mean squared error of the reconstruction and commitment loss (van den Oord et al. 2017, eq. 3), by the
        straight-through estimator. `perplexity`, exp of the entropy of the codes, is the effective number of codes in
        use, 1 to `codes`."""
        codes = self.autoencoder.encode(batch.images)
        flat, book = codes.flatten(0, 2), self.autoencoder.codebook
        with torch.autocast(flat.device.type, enabled=False):
            if self.training:
                book.restart(flat.detach())
            tokens = book.nearest(flat.detach())
            chosen = book.vectors[tokens].view_as(codes)
            if self.training:
                book.learn(flat.detach(), tokens)
        batch.shared["tokens"] = tokens.view(len(codes), -1)
        error = (self.autoencoder.decode(codes + (chosen - codes).detach()).float() - batch.images).square().mean()
        commitment = (codes - chosen).square().mean()
        share = F.one_hot(tokens, self.config.codes).float().mean(0)
        return {
            "loss": error + self.config.commitment * commitment,
            "error": error,
            "perplexity": torch.special.entr(share).sum().exp(),
        }

    def prior_loss(self, batch: Batch) -> dict[str, Tensor]:
        """Cross-entropy of the codes, in nats per code."""
        tokens = batch.shared["tokens"]
        words = F.pad(tokens, (1, 0), value=self.prior.start)[:, :-1]
        logits, _ = self.prior(words)
        return {"loss": F.cross_entropy(logits.float().flatten(0, 1), tokens.flatten())}

    def latents(self, seeds: Iterable[int]) -> Tensor:
        """One normal number for each code of the grid: (N, h*w) float32 on the CPU. `generate` turns them into
        quantiles."""
        count = self.autoencoder.grid[0] * self.autoencoder.grid[1]
        generators = (torch.Generator().manual_seed(key(seed, "latent")) for seed in seeds)
        return torch.stack([torch.randn(count, generator=generator) for generator in generators])

    def generate(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        tokens = self.prior.draw(torch.special.ndtr(latents.double()), self.config.temperature)
        return self.decode_tokens(tokens.unflatten(1, self.autoencoder.grid))

    def encode_tokens(self, images: Tensor) -> Tensor:
        """(N, C, H, W) in [-1, 1] -> (N, h, w) int64."""
        codes = self.autoencoder.encode(images)
        return self.autoencoder.codebook.nearest(codes.flatten(0, 2)).view(codes.shape[:3])

    def decode_tokens(self, tokens: Tensor) -> Tensor:
        """(N, h, w) int64 -> (N, C, H, W) in [-1, 1]."""
        return self.autoencoder.decode(self.autoencoder.codebook.vectors[tokens])

    def restore(self, images: Tensor) -> Tensor:
        """(N, C, H, W) in [-1, 1] -> the same, reconstructed from their codes."""
        return self.decode_tokens(self.encode_tokens(images))


SYSTEM = VQVAE
