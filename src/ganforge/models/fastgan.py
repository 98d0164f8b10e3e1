"""fastgan: a light GAN for sets of a hundred to some thousand pictures, with a self-supervised discriminator.

Liu et al. 2021, "Towards Faster and Stabilized GAN Training for High-fidelity Few-shot Image Synthesis". In the
generator, grids of low resolution gate the channels of those of high resolution (skip-layer excitation, section 3.1).
In the discriminator, two small decoders reconstruct the real picture and a part of it from its features (section 3.2),
which prevents that it memorises the few pictures. The paper compares reconstructions by a pretrained network, this
system by the absolute difference at three scales. For speed, a grid is doubled or halved by one convolution, and the
skips of small pictures are shorter."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrize import register_parametrization

from ganforge.base.config import setting
from ganforge.media.spec import Spec
from ganforge.nn import augment, losses
from ganforge.nn.layers import Down, SpectralNorm
from ganforge.system import Adam, Batch, Phase, System, base_grid, crop


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of FastGAN."""

    latent: int = setting(256, "numbers in a latent", low=1, high=4096)
    width: int = setting(
        32, "channels at the largest inner grid; each halving doubles them, up to 16 times", low=4, high=512
    )
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
    "small": {"width": 16, "latent": 64, "lr": 1e-3, "bound": 10.0},
    "medium": {},
    "large": {"width": 64},
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


class Grow(nn.Sequential):
    """(N, C, H, W) -> (N, out, 2H, 2W): nearest neighbour, a convolution to 2 out channels, and a gated linear unit."""

    def __init__(self, channels: int, out: int, noisy: bool) -> None:
        layer = nn.Conv2d(channels, 2 * out, 3, padding=1, bias=False)
        noise = [NoiseInjection()] if noisy else []
        super().__init__(nn.Upsample(scale_factor=2), layer, *noise, nn.BatchNorm2d(2 * out), Gate())


class Excitation(nn.Module):
    """Skip-layer excitation (section 3.1): large * gates(small), one gate from 0 to 1 for each picture and channel.

    (N, A, h, w) and (N, B, H, W) -> (N, B, H, W).
    """

    def __init__(self, small: int, large: int) -> None:
        super().__init__()
        self.gates = nn.Sequential(
            nn.AdaptiveAvgPool2d(4),
            nn.Conv2d(small, large, 4, bias=False),
            nn.LeakyReLU(0.1),
            nn.Conv2d(large, large, 1, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, small: Tensor, large: Tensor) -> Tensor:
        gates: Tensor = self.gates(small)
        return large * gates


class Generator(nn.Module):
    """(N, Z) -> (N, C, H, W) in [-1, 1]."""

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__()
        self.spec = spec
        height, width, doublings = base_grid(spec)
        widths = [config.width * 2 ** min(n, 4) for n in range(doublings + 1)][::-1]
        top = 2 * widths[0]
        self.first = nn.Sequential(
            nn.ConvTranspose2d(config.latent, top, (height, width), bias=False), nn.BatchNorm2d(top), Gate()
        )
        self.ups = nn.ModuleList(Grow(a, b, True) for a, b in pairwise(widths))
        self.skip = max(1, min(4, (doublings + 1) // 2))  # doublings between a grid and the one that it excites
        self.excite = nn.ModuleList(
            Excitation(widths[n - self.skip], widths[n]) for n in range(self.skip, doublings + 1)
        )
        self.last = nn.Conv2d(widths[-1], spec.channels, 3, padding=1)

    def forward(self, latents: Tensor) -> Tensor:
        grids = [self.first(latents[:, :, None, None].contiguous(memory_format=torch.channels_last))]
        for up in self.ups:
            x = up(grids[-1])
            if len(grids) >= self.skip:
                x = self.excite[len(grids) - self.skip](grids[len(grids) - self.skip], x)
            grids.append(x)
        return torch.tanh(crop(self.last(grids[-1]), self.spec))


class Half(nn.Module):
    """(N, C, H, W) -> (N, out, H/2, W/2): the mean of a strided and of a pooled path."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.strided = nn.Sequential(Down(channels, out, bias=False), nn.BatchNorm2d(out), nn.LeakyReLU(0.2))
        self.pooled = nn.Sequential(
            nn.AvgPool2d(2), nn.Conv2d(channels, out, 1, bias=False), nn.BatchNorm2d(out), nn.LeakyReLU(0.2)
        )

    def forward(self, x: Tensor) -> Tensor:
        return (self.strided(x) + self.pooled(x)) / 2  # type: ignore[no-any-return]


def _decoder(channels: int, config: Config, spec: Spec, doublings: int) -> nn.Sequential:
    """(N, channels, h, w) -> (N, C, h 2^doublings, w 2^doublings) in [-1, 1]."""
    widths = [channels] + [max(config.width, channels // 2 ** (n + 2)) for n in range(doublings)]
    layers: list[nn.Module] = [Grow(a, b, False) for a, b in pairwise(widths)]
    return nn.Sequential(*layers, nn.Conv2d(widths[-1], spec.channels, 3, padding=1), nn.Tanh())


class Discriminator(nn.Module):
    """Features of images on two grids, 2h x 2w and h x w with a shorter side of about 8; scores on the smaller one; and
    two decoders that reconstruct images from them."""

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__()
        height, width, self.halvings = base_grid(spec, max(1, min(8, min(spec.height, spec.width) // 2)))
        self.grid = (height, width)
        down, right = (side * 2**self.halvings for side in self.grid)
        down, right = down - spec.height, right - spec.width
        self.frame = (right // 2, right - right // 2, down // 2, down - down // 2)
        widths = [config.width * 2 ** min(n, 4) for n in range(self.halvings + 1)]
        self.stem = nn.Sequential(nn.Conv2d(spec.channels, widths[0], 3, padding=1), nn.LeakyReLU(0.2))
        self.halves = nn.ModuleList(Half(a, b) for a, b in pairwise(widths))
        last = nn.Conv2d(widths[-1], 1, min(4, height, width), bias=False)
        register_parametrization(last, "weight", SpectralNorm(last.weight, config.bound))
        self.scores = nn.Sequential(
            nn.Conv2d(widths[-1], widths[-1], 1, bias=False), nn.BatchNorm2d(widths[-1]), nn.LeakyReLU(0.2), last
        )
        doublings = min(4, max(0, self.halvings - 1))  # 8 -> 32 of 64 pixels, 8 -> 128 of 256 and more
        self.whole = _decoder(widths[-1], config, spec, doublings)
        self.part = _decoder(widths[-2], config, spec, doublings)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(N, C, H, W) -> scores (N, K), features on the grid 2h x 2w, features on h x w."""
        x = self.stem(self.framed(images))
        for half in self.halves[:-1]:
            x = half(x)
        small = self.halves[-1](x)
        return self.scores(small).flatten(1).float(), x, small

    def framed(self, images: Tensor) -> Tensor:
        """Padded by replication to sides that can be halved: (N, C, H, W) -> (N, C, H', W')."""
        if any(self.frame):
            images = F.pad(images, self.frame, "replicate")
        return images.contiguous(memory_format=torch.channels_last)

    def redraw(self, images: Tensor, large: Tensor, small: Tensor) -> Tensor:
        """The reconstruction error: of the whole images from the small features, of random windows of a quarter of
        them from the large features. Scalar."""
        height, width = self.grid
        images = self.framed(images).float()
        whole = self.whole(small)
        step = images.shape[2] // large.shape[2]
        top, left = (torch.randint(0, side + 1, (len(images),), device=images.device) for side in self.grid)
        part = self.part(windows(large, top, left, height, width))
        target = windows(images, top * step, left * step, height * step, width * step)
        return multiscale_l1(whole, F.adaptive_avg_pool2d(images, whole.shape[2:])) + multiscale_l1(
            part, F.adaptive_avg_pool2d(target, part.shape[2:])
        )


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
        fakes = self.generator(self.noise(batch))
        batch.shared["fakes"] = fakes.detach()
        return {"loss": -self.discriminator(self.augment(fakes))[0].mean()}

    def discriminator_loss(self, batch: Batch) -> dict[str, Tensor]:
        """The hinge loss over all scores, and the reconstruction of the augmented real images (section 3.2)."""
        images = self.augment(batch.images)
        real, large, small = self.discriminator(images)
        redrawn = self.discriminator.redraw(images, large, small)
        fake = self.discriminator(self.augment(batch.shared["fakes"]))[0]
        loss = losses.hinge(real, fake) + self.config.redraw * redrawn
        report = {"loss": loss, "real": real.mean(), "fake": fake.mean(), "redrawn": redrawn}
        return report | self.augment.update(real, batch)

    def generate(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        images: Tensor = self.generator(latents)
        return images


SYSTEM = FastGAN
