"""dae: a denoising autoencoder, which learns to remove the noise that it adds to clean pictures.

Vincent et al. 2010, "Stacked Denoising Autoencoders", for the idea and the masking noise. The network predicts the
noise, not the picture (Zhang et al. 2017, "Beyond a Gaussian Denoiser", section III), from blocks of 2x2 pixels (Zhang
et al. 2018, "FFDNet", section III-A), in two scales with a connection between equal ones (Ronneberger et al. 2015,
"U-Net"). It has only convolutions, so it restores pictures of any size. It does not generate pictures; its sheets show
noisy, restored and clean pictures, from left to right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ganforge.base.config import setting
from ganforge.image_to_image import ImageToImage, random_crops
from ganforge.media.picture import Picture
from ganforge.media.spec import Spec
from ganforge.nn.layers import Down, Up
from ganforge.nn.losses import decibels
from ganforge.system import Adam, Batch, Phase

KINDS = ("gaussian", "salt_pepper", "speckle", "masking")
BLOCKS = 3  # residual blocks at the coarse scale; `DAE.receptive_radius` depends on them


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of the denoising autoencoder."""

    noise: str = setting("gaussian", "gaussian, salt_pepper, speckle or masking; see `corrupt`", choices=KINDS)
    strength: float = setting(
        0.2, "largest strength of the noise; each picture draws its own, from 0 up to it", low=0.0, high=1.0
    )
    width: int = setting(48, "channels at the finer scale; the coarser one has twice as many", low=4, high=512)
    patch: int = setting(64, "side in pixels of the random crops that larger pictures are trained on", low=8, high=1024)
    lr: float = setting(2e-3, "learning rate", low=0.0, high=1.0)


PRESETS: dict[str, dict[str, Any]] = {"small": {"width": 32, "patch": 32}, "medium": {}, "large": {"width": 96}}
TRAIN: dict[str, Any] = {"batch": 32, "cooldown": 0.5}


def corrupt(images: Tensor, kind: str, strength: Tensor) -> Tensor:
    """(N, C, H, W) in [-1, 1] -> the same with noise, clipped to [-1, 1]; `strength` (N,) from 0 to 1. The alpha
    channel stays as it is.

    gaussian: adds normal numbers with a standard deviation of `strength` times the range from black to white. speckle:
    the same times the brightness, from 0 to 1. salt_pepper: this share of the pixels becomes black or white, one half
    each. masking: this share becomes black."""
    colour, alpha = images[:, :3], images[:, 3:]
    s = strength[:, None, None, None]
    if kind == "gaussian":
        noisy = colour + 2 * s * torch.randn_like(colour)
    elif kind == "speckle":
        noisy = colour + (colour + 1) * s * torch.randn_like(colour)
    else:
        draw = torch.rand_like(colour[:, :1])
        noisy = torch.where(draw < s, -1.0, colour)
        if kind == "salt_pepper":
            noisy = torch.where(draw < s / 2, 1.0, noisy)
    return torch.cat([noisy.clamp(-1, 1), alpha], 1)


class Block(nn.Module):
    """Residual block of two convolutions: (N, C, H, W) -> the same shape."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.one = nn.Conv2d(channels, channels, 3, 1, 1)
        self.two = nn.Conv2d(channels, channels, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.two(F.relu(self.one(F.relu(x))))
        return x + y


class Denoiser(nn.Module):
    """Noisy images (N, C, H, W) of any size -> denoised images of the same shape."""

    def __init__(self, config: Config, channels: int) -> None:
        super().__init__()
        width = config.width
        self.first = nn.Sequential(nn.Conv2d(4 * channels, width, 3, 1, 1), Block(width))
        coarse = [Block(2 * width) for _ in range(BLOCKS)]
        self.coarse = nn.Sequential(Down(width, 2 * width), *coarse, nn.ReLU(), Up(2 * width, width))
        out = nn.Conv2d(width, 4 * channels, 3, 1, 1, bias=False)
        nn.init.zeros_(out.weight)  # it starts as the identity
        self.last = nn.Sequential(Block(width), nn.ReLU(), out)

    def forward(self, images: Tensor) -> Tensor:
        height, width = images.shape[2:]
        padded = F.pad(images, (0, -width % 4, 0, -height % 4), mode="replicate")
        fine = self.first(F.pixel_unshuffle(padded, 2).contiguous(memory_format=torch.channels_last))
        noise = F.pixel_shuffle(self.last(fine + self.coarse(fine)), 2)
        return images - noise[:, :, :height, :width].float()


class DAE(ImageToImage):
    """Noisy pictures -> clean ones."""

    averaged = ("denoiser",)
    media = (Picture,)
    # convolutions on blocks of 2 pixels, and the padding of the last block
    receptive_radius = 2 * (1 + 2 + 2 + 4 * BLOCKS + 2 + 2 + 1) + 4
    config: Config

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        self.denoiser = Denoiser(config, spec.channels)

    def adam(self) -> dict[str, Adam]:
        return {"denoiser": Adam(self.config.lr, 0.9, 0.999)}

    def phases(self) -> list[Phase]:
        return [Phase("denoiser", ("denoiser",), self.loss)]

    def pair(self, images: Tensor, strength: float | None = None) -> tuple[Tensor, Tensor, None]:
        """(N, C, H, W) -> the same with noise, and the pictures themselves. `strength` is a share of the
        largest one."""
        count, device = len(images), images.device
        shares = torch.rand(count, device=device) if strength is None else torch.full((count,), strength, device=device)
        return corrupt(images, self.config.noise, self.config.strength * shares), images, None

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """The mean squared error; beside it the PSNR in dB before (`noisy`) and after (`restored`)."""
        noisy, clean, _ = self.pair(random_crops(batch.images, self.config.patch))
        error = (self.denoiser(noisy) - clean).square().mean()
        before = (noisy - clean).square().mean()
        noisy_db, restored_db = (decibels(e.detach().clamp(min=1e-10), peak=2) for e in (before, error))
        return {"loss": error, "noisy": noisy_db, "restored": restored_db}

    def restore(self, images: Tensor) -> Tensor:
        """(N, C, H, W) in [-1, 1], of any size -> the same shape, without the noise."""
        cleaned: Tensor = self.denoiser(images)
        return cleaned.clamp(-1, 1)


SYSTEM = DAE
