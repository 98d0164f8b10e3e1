"""autoencoder: pictures to short codes and back, with a mixture of Gaussians fitted to the codes.

Hinton and Salakhutdinov 2006, "Reducing the Dimensionality of Data with Neural Networks", with convolutions. The codes
are not regularised; new pictures are decoded from a mixture of Gaussians, which is fitted to the codes of training
pictures (Ghosh et al. 2020, "From Variational to Deterministic Autoencoders", section 4)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from ganforge.base.config import setting
from ganforge.media.spec import Spec
from ganforge.nn.layers import Down, Up
from ganforge.nn.mixture import Mixture
from ganforge.system import Adam, Batch, CodeSystem, Phase, base_grid, crop


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of the autoencoder."""

    latent: int = setting(32, "numbers in a code", low=1, high=4096)
    width: int = setting(
        32, "channels at the largest inner grid; each halving doubles them, up to 8 times", low=4, high=512
    )
    lr: float = setting(1e-3, "learning rate", low=0.0, high=1.0)


PRESETS: dict[str, dict[str, Any]] = {
    "small": {"width": 16, "latent": 16},
    "medium": {},
    "large": {"width": 64, "latent": 128},
}
TRAIN: dict[str, Any] = {"cooldown": 0.3}


class Autoencoder(nn.Module):
    """Encoder and decoder."""

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__()
        self.spec = spec
        height, width, doublings = base_grid(spec)
        widths = [config.width * 2 ** min(n, 3) for n in range(doublings)]
        top = widths[-1] if widths else spec.channels
        self.grid = (top, height, width)
        self.pad = (width * 2**doublings - spec.width, height * 2**doublings - spec.height)
        encoder: list[nn.Module] = []
        decoder: list[nn.Module] = []
        for inside, outside in zip(widths, [spec.channels, *widths], strict=False):
            encoder += [Down(outside, inside), nn.LeakyReLU(0.2)]
            decoder = [nn.LeakyReLU(0.2), Up(inside, outside), *decoder]
        self.encoder = nn.Sequential(*encoder, nn.Flatten(), nn.Linear(math.prod(self.grid), config.latent))
        self.dense = nn.Linear(config.latent, math.prod(self.grid))
        self.decoder = nn.Sequential(*decoder)

    def encode(self, images: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, Z) float32."""
        right, bottom = self.pad
        x = F.pad(images, (right // 2, right - right // 2, bottom // 2, bottom - bottom // 2), mode="replicate")
        codes: Tensor = self.encoder(x)
        return codes.float()

    def decode(self, codes: Tensor) -> Tensor:
        """(N, Z) -> (N, C, H, W) in [-1, 1]."""
        x = self.decoder(self.dense(codes).unflatten(1, self.grid))
        return crop(x, self.spec).tanh()


class AutoencoderSystem(CodeSystem):
    """Pictures to codes and back."""

    averaged = ("autoencoder",)
    renamed = {"autoencoder.codes.": "prior."}
    restores = True
    config: Config

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        self.autoencoder = Autoencoder(config, spec)
        self.prior = Mixture(config.latent)

    def adam(self) -> dict[str, Adam]:
        return {"autoencoder": Adam(self.config.lr, 0.9, 0.999)}

    def phases(self) -> list[Phase]:
        return [Phase("autoencoder", ("autoencoder",), self.loss)]

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """The mean squared error of the reconstruction."""
        codes = self.autoencoder.encode(batch.images)
        return {"loss": (self.autoencoder.decode(codes).float() - batch.images).square().mean()}

    def decode(self, codes: Tensor, labels: Tensor | None) -> Tensor:
        return self.autoencoder.decode(codes)

    def codes(self, images: Tensor, labels: Tensor | None) -> tuple[Tensor, None]:
        return self.autoencoder.encode(images), None


SYSTEM = AutoencoderSystem
