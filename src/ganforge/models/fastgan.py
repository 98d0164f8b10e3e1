"""fastgan: a light GAN for sets of a hundred to some thousand pictures, with a self-supervised discriminator.

Liu et al. 2021, "Towards Faster and Stabilized GAN Training for High-fidelity Few-shot Image Synthesis". In the
generator, grids of low resolution gate the channels of those of high resolution (skip-layer excitation, section 3.1),
and so they do in the discriminator. It judges each picture at two scales; the generator has an output for each. Two
small decoders reconstruct the real picture and a part of it from its features (section 3.2), which prevents that it
memorises the few pictures. The paper compares reconstructions by a pretrained network, this system by the features of
the critic of the smaller scale, held fixed (as the learned similarity of Larsen et al. 2016, "Autoencoding beyond
pixels using a learned similarity metric"), and by the absolute difference. Spectral normalisation is on every layer
but the decoders' (Miyato et al. 2018)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ganforge.base.config import setting
from ganforge.media.spec import Spec
from ganforge.nn import losses
from ganforge.nn.layers import Down, Same, spectral
from ganforge.system import Adam, Batch, Phase, System, base_grid, crop
from ganforge.transforms import augment


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of FastGAN."""

    latent: int = setting(256, "numbers in a latent", low=1, high=4096)
    width: int = setting(
        32,
        "channels of a grid of 128 pixels; twice as many at 64 and at 32, 4 times at 16, 8 at 8",
        low=4,
        high=512,
    )
    deep: bool = setting(False, "a second convolution after each halving and every other doubling, as published")
    bound: float = setting(4.0, "largest singular value of the discriminator's last layer", low=0.1, high=1000.0)
    redraw: float = setting(
        1.0, "weight of the reconstruction of real pictures in the discriminator's loss", low=0.0, high=100.0
    )
    lr: float = setting(2e-4, "learning rate of both networks", low=0.0, high=1.0)
    beta1: float = setting(0.5, "beta1 of Adam, the decay of the mean gradient", low=0.0, high=0.999)
    augment: str = setting("color, translation", augment.HELP)

    def __post_init__(self) -> None:
        augment.parse(self.augment)


PRESETS: dict[str, dict[str, Any]] = {
    "small": {"width": 12, "latent": 64, "lr": 1e-3, "bound": 10.0},
    "medium": {},
    "large": {"width": 64, "deep": True, "train.batch": 8, "train.images": 400_000},
}
TRAIN: dict[str, Any] = {"batch": 16, "ema_images": 5_000}


class Gate(nn.Module):
    """The gated linear unit over channels, a * sigmoid(b): (N, 2 C, H, W) -> (N, C, H, W). torch's own leaves
    channels_last."""

    def forward(self, x: Tensor) -> Tensor:
        kept, gate = x.chunk(2, 1)
        return kept * gate.sigmoid()


class NoiseInjection(nn.Module):
    """x + weight * normal noise (N, 1, H, W), in training only; samples have no noise, so that the seed decides all."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        return x + self.weight.to(x.dtype) * torch.randn_like(x[:, :1])


def _channels(config: Config, side: int) -> int:
    """Channels of a grid with this shorter side, by the widths of the paper's networks."""
    side = 2 ** round(math.log2(side))
    return max(4, int(config.width * min(16, (64 if side < 64 else 128) / side)))


class Grow(nn.Sequential):
    """(N, C, H, W) -> (N, out, 2H, 2W): nearest neighbour, a convolution to 2 out channels, and a gated linear unit."""

    def __init__(self, channels: int, out: int, noisy: bool, deep: bool = False) -> None:
        layers: list[nn.Module] = [nn.Upsample(scale_factor=2)]
        for before in [channels, out] if deep else [channels]:
            layer = nn.Conv2d(before, 2 * out, 3, padding=1, bias=False)
            noise = [spectral(layer), NoiseInjection()] if noisy else [layer]
            layers += [*noise, nn.BatchNorm2d(2 * out), Gate()]
        super().__init__(*layers)


class Excitation(nn.Module):
    """Skip-layer excitation (section 3.1): large * gates(small), one gate from 0 to 1 for each picture and channel.

    (N, A, h, w) and (N, B, H, W) -> (N, B, H, W).
    """

    def __init__(self, small: int, large: int) -> None:
        super().__init__()
        self.gates = nn.Sequential(
            nn.AdaptiveAvgPool2d(4),
            spectral(nn.Conv2d(small, large, 4, bias=False)),
            nn.LeakyReLU(0.1),
            spectral(nn.Conv2d(large, large, 1, bias=False)),
            nn.Sigmoid(),
        )

    def forward(self, small: Tensor, large: Tensor) -> Tensor:
        gates: Tensor = self.gates(small)
        return large * gates


class Generator(nn.Module):
    """(N, Z) -> (N, C, H, W) in [-1, 1], and the same picture at the smaller scale."""

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__()
        self.spec = spec
        height, width, doublings = base_grid(spec)
        widths = [_channels(config, min(height, width) * 2**n) for n in range(doublings + 1)]
        top = 2 * widths[0]
        self.first = nn.Sequential(
            spectral(nn.ConvTranspose2d(config.latent, top, (height, width), bias=False)),
            nn.BatchNorm2d(top),
            Gate(),
        )
        self.ups = nn.ModuleList(
            Grow(a, b, True, config.deep and n % 2 == 0) for n, (a, b) in enumerate(pairwise(widths))
        )
        self.skip = max(1, min(4, doublings * 2 // 3))  # doublings between a grid and the one that it excites
        self.excite = nn.ModuleList(
            Excitation(widths[n - self.skip], widths[n]) for n in range(self.skip, doublings + 1)
        )
        self.small = reduced(spec)
        self.low = doublings - halvings(spec)  # the grid of the output at the smaller scale
        self.last = spectral(nn.Conv2d(widths[-1], spec.channels, 3, padding=1))
        self.last_low = spectral(nn.Conv2d(widths[self.low], spec.channels, 1))

    def forward(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        grids = [self.first(latents[:, :, None, None].contiguous(memory_format=torch.channels_last))]
        for up in self.ups:
            x = up(grids[-1])
            if len(grids) >= self.skip:
                x = self.excite[len(grids) - self.skip](grids[len(grids) - self.skip], x)
            grids.append(x)
        low = crop(self.last_low(grids[self.low]), self.small)
        return torch.tanh(crop(self.last(grids[-1]), self.spec)), torch.tanh(low)


def halvings(spec: Spec) -> int:
    """Between the two scales: to a half up to 256 px, above that to about 128 px."""
    return min(base_grid(spec)[2], max(1, round(math.log2(min(spec.height, spec.width) / 128))))


def reduced(spec: Spec) -> Spec:
    """The pictures of the smaller scale."""
    times = 2 ** halvings(spec)
    return Spec(-(-spec.height // times), -(-spec.width // times), spec.channels)


class Half(nn.Module):
    """(N, C, H, W) -> (N, out, H/2, W/2): the mean of a strided and of a pooled path."""

    def __init__(self, channels: int, out: int, deep: bool = False) -> None:
        super().__init__()
        second = [spectral(Same(out, out, bias=False)), nn.BatchNorm2d(out), nn.LeakyReLU(0.2)] if deep else []
        self.strided = nn.Sequential(
            spectral(Down(channels, out, bias=False)), nn.BatchNorm2d(out), nn.LeakyReLU(0.2), *second
        )
        self.pooled = nn.Sequential(
            nn.AvgPool2d(2),
            spectral(nn.Conv2d(channels, out, 1, bias=False)),
            nn.BatchNorm2d(out),
            nn.LeakyReLU(0.2),
        )

    def forward(self, x: Tensor) -> Tensor:
        return (self.strided(x) + self.pooled(x)) / 2  # type: ignore[no-any-return]


def _decoder(channels: int, config: Config, spec: Spec, side: int, doublings: int) -> nn.Sequential:
    """(N, channels, h, w) -> (N, C, h 2^doublings, w 2^doublings) in [-1, 1]; `side` is the shorter of h and w."""
    widths = [channels] + [max(4, _channels(config, side * 2**n) // 2) for n in range(1, doublings + 1)]
    layers: list[nn.Module] = [Grow(a, b, False) for a, b in pairwise(widths)]
    return nn.Sequential(*layers, nn.Conv2d(widths[-1], spec.channels, 3, padding=1), nn.Tanh())


class Scale(nn.Module):
    """The critic of one scale: features of images on two grids, 2h x 2w and h x w with a shorter side of about 8, and
    scores on the smaller one."""

    SKIP = 3  # halvings between a grid and the one that it excites

    def __init__(self, config: Config, spec: Spec, deep: bool) -> None:
        super().__init__()
        height, width, count = base_grid(spec, max(1, min(8, min(spec.height, spec.width) // 2)))
        self.grid = (height, width)
        down, right = height * 2**count - spec.height, width * 2**count - spec.width
        self.frame = (right // 2, right - right // 2, down // 2, down - down // 2)
        self.widths = [_channels(config, min(height, width) * 2**n) for n in range(count, -1, -1)]
        self.stem = nn.Sequential(spectral(Same(spec.channels, self.widths[0], bias=False)), nn.LeakyReLU(0.2))
        self.halves = nn.ModuleList(Half(a, b, deep) for a, b in pairwise(self.widths))
        self.excite = nn.ModuleList(
            Excitation(a, b) for a, b in zip(self.widths, self.widths[self.SKIP :], strict=False)
        )
        wide = self.widths[-1]
        last = spectral(nn.Conv2d(wide, 1, min(4, height, width), bias=False), config.bound)
        self.scores = nn.Sequential(
            spectral(nn.Conv2d(wide, wide, 1, bias=False)), nn.BatchNorm2d(wide), nn.LeakyReLU(0.2), last
        )

    def features(self, images: Tensor) -> list[Tensor]:
        """(N, C, H, W) -> the features of all grids, the largest first."""
        grids = [self.stem(self.framed(images))]
        for n, half in enumerate(self.halves, 1):
            x = half(grids[-1])
            grids.append(self.excite[n - self.SKIP](grids[n - self.SKIP], x) if n >= self.SKIP else x)
        return grids

    def forward(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        """(N, C, H, W) -> scores (N, K) float32, and the features of all grids."""
        grids = self.features(images)
        return self.scores(grids[-1]).flatten(1).float(), grids

    def framed(self, images: Tensor) -> Tensor:
        """Padded by replication to sides that can be halved: (N, C, H, W) -> (N, C, H', W')."""
        if any(self.frame):
            images = F.pad(images, self.frame, "replicate")
        return images.contiguous(memory_format=torch.channels_last)


class Discriminator(nn.Module):
    """Scores of images at two scales, and two decoders that reconstruct images from the features of the larger one."""

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__()
        self.large, self.small = Scale(config, spec, config.deep), Scale(config, reduced(spec), False)
        self.sides = (reduced(spec).height, reduced(spec).width)
        doublings = min(4, max(0, len(self.large.halves) - 1))  # 8 -> 32 of 64 pixels, 8 -> 128 of 256 and more
        side, widths = min(self.large.grid), self.large.widths
        self.whole = _decoder(widths[-1], config, spec, side, doublings)
        self.part = _decoder(widths[-2], config, spec, side, doublings)

    def reduce(self, images: Tensor) -> Tensor:
        """Images at the smaller scale."""
        return F.adaptive_avg_pool2d(images, self.sides)

    def forward(self, images: Tensor, low: Tensor) -> tuple[Tensor, list[Tensor]]:
        """(N, C, H, W) and the same at the smaller scale -> scores (N, K) of both, features of the larger one."""
        scores, grids = self.large(images)
        return torch.cat([scores, self.small(low)[0]], 1), grids

    def redraw(self, images: Tensor, grids: list[Tensor]) -> Tensor:
        """The reconstruction error: of the whole images from the features of the smallest grid, of random windows of a
        quarter of them from those of the grid before. Scalar."""
        height, width = self.large.grid
        images, features = self.large.framed(images).float(), grids[-2]
        step = images.shape[2] // features.shape[2]
        top, left = (torch.randint(0, side + 1, (len(images),), device=images.device) for side in self.large.grid)
        target = windows(images, top * step, left * step, height * step, width * step)
        pairs = [(self.whole(grids[-1]), images), (self.part(windows(features, top, left, height, width)), target)]
        drawn = torch.cat([redrawn for redrawn, _ in pairs]).float()
        targets = torch.cat(
            [F.adaptive_avg_pool2d(original, (drawn.shape[2], drawn.shape[3])) for _, original in pairs]
        )
        return 2 * (multiscale_l1(drawn, targets) + self.difference(drawn, targets))

    def difference(self, images: Tensor, targets: Tensor) -> Tensor:
        """Mean absolute difference of the features that the critic of the smaller scale, held fixed, has of two sets
        of images (N, C, H, W). Scalar."""
        fixed = {name: weight.detach() for name, weight in self.small.named_parameters()}
        both = F.adaptive_avg_pool2d(torch.cat([images, targets]), self.sides)
        _, grids = torch.func.functional_call(self.small, fixed, (both,))
        halves = [grid.float().chunk(2) for grid in grids]
        return torch.stack([(a - b.detach()).abs().mean() for a, b in halves]).mean()


def windows(x: Tensor, top: Tensor, left: Tensor, height: int, width: int) -> Tensor:
    """(N, C, H, W) and (N,) int64 each -> (N, C, height, width), a window of each picture."""
    rows = top[:, None] + torch.arange(height, device=x.device)
    columns = left[:, None] + torch.arange(width, device=x.device)
    n = torch.arange(len(x), device=x.device)[:, None, None]
    return x.permute(0, 2, 3, 1)[n, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def multiscale_l1(image: Tensor, target: Tensor) -> Tensor:
    """Mean absolute difference, averaged over the full, the half and the quarter scale. Scalar."""
    difference = image.float() - target
    scales = [
        F.adaptive_avg_pool2d(difference, (-(-target.shape[2] // 2**n), -(-target.shape[3] // 2**n))) for n in range(3)
    ]
    return torch.stack([scale.abs().mean() for scale in scales]).mean()


class FastGAN(System):
    """A generator with skip-layer excitation and a self-supervised discriminator."""

    averaged = ("generator",)
    revision = 2
    config: Config

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        self.generator = Generator(config, spec)
        self.discriminator = Discriminator(config, spec)
        self.augment = augment.Augment(config.augment)

    def adam(self) -> dict[str, Adam]:
        adam = Adam(self.config.lr, self.config.beta1, 0.999)
        return {"generator": adam, "discriminator": adam}

    def phases(self) -> list[Phase]:
        return [
            Phase("generator", ("generator",), self.generator_loss),
            Phase("discriminator", ("discriminator",), self.discriminator_loss),
        ]

    def generator_loss(self, batch: Batch) -> dict[str, Tensor]:
        """Minus the mean score."""
        large, low = self.generator(self.noise(batch))
        batch.shared["fakes"], batch.shared["low"] = large.detach(), low.detach()
        return {"loss": -self._scores(large, low).mean()}

    def discriminator_loss(self, batch: Batch) -> dict[str, Tensor]:
        """The hinge loss over all scores, and the reconstruction of the augmented real images (section 3.2)."""
        images = self.augment(batch.images)
        real, grids = self.discriminator(images, self.discriminator.reduce(images))
        redrawn = self.discriminator.redraw(images, grids)
        fake = self._scores(batch.shared["fakes"], batch.shared["low"])
        loss = losses.hinge(real, fake) + self.config.redraw * redrawn
        report = {"loss": loss, "real": real.mean(), "fake": fake.mean(), "redrawn": redrawn}
        return report | self.augment.update(real, batch)

    def _scores(self, images: Tensor, low: Tensor) -> Tensor:
        scores: Tensor = self.discriminator(self.augment(images), self.augment(low))[0]
        return scores

    def generate(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        images: Tensor = self.generator(latents)[0]
        return images


SYSTEM = FastGAN
