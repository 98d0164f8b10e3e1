"""A U-Net of residual blocks for pictures of any size and any number of channels.

Ronneberger et al. 2015, "U-Net", with connections that add; in and out in blocks of 2x2 pixels (Zhang et al. 2018,
"FFDNet", section III-A). Optional: modulation by a vector (Perez et al. 2018, "FiLM"), gated convolutions with one gate
for all channels (Yu et al. 2019, "Free-Form Image Inpainting with Gated Convolution"; Yi et al. 2020, "Contextual
Residual Aggregation", section 3.3), and Fourier units, which see the whole picture (Suvorov et al. 2022,
"Resolution-robust Large Mask Inpainting with Fourier Convolutions", section 2.1)."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ganforge.nn.equal import pixel_norm
from ganforge.nn.layers import Down, Up

ANY = -1
"""The receptive radius of a network that sees the whole picture, of any size."""
_SPECTRAL = 0.75  # of the channels, as in LaMa


class GatedConv(nn.Conv2d):
    """Convolution 3x3 whose outputs are multiplied by one gate in (0, 1) for each pixel: (N, C, H, W) ->
    (N, out, H, W)."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__(channels, out + 1, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = super().forward(x)
        return y[:, :-1] * torch.sigmoid(y[:, -1:])


class FourierUnit(nn.Module):
    """A convolution 1x1 of the spectrum: (N, C, H, W) -> the same shape, float32 or more; all pixels see all pixels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mix = nn.Conv2d(2 * channels, 2 * channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            spectrum = torch.fft.rfft2(x.to(torch.promote_types(x.dtype, torch.float32)), norm="ortho")
            mixed = F.relu(self.mix(torch.cat([spectrum.real, spectrum.imag], 1)))
            real, imaginary = mixed.chunk(2, 1)
            out: Tensor = torch.fft.irfft2(torch.complex(real, imaginary), s=x.shape[2:], norm="ortho")
            return out


class ResidualBlock(nn.Module):
    """Two convolutions 3x3, added to their input: (N, C, H, W), and a vector (N, V) where `vector` is V -> the same
    shape. The pixels' vectors are normalised before the second convolution, and with a vector scaled and shifted; scale
    and shift start as 1 and 0. Without the norm, values grow from block to block until rectifiers die."""

    def __init__(self, channels: int, vector: int = 0, gated: bool = False, spectral: bool = False) -> None:
        super().__init__()
        self.one, self.two = (_convolution(channels, channels, gated) for _ in range(2))
        self.modulation = nn.Linear(vector, 2 * channels) if vector else None
        self.fourier = FourierUnit(int(_SPECTRAL * channels)) if spectral else None
        if self.modulation is not None:
            nn.init.zeros_(self.modulation.weight)
            nn.init.zeros_(self.modulation.bias)

    def forward(self, x: Tensor, vector: Tensor | None = None) -> Tensor:
        inner = pixel_norm(self.one(rectified(x)))
        if self.modulation is not None:
            scale, shift = self.modulation(vector)[:, :, None, None].to(inner.dtype).chunk(2, 1)
            inner = torch.addcmul(shift, inner, 1 + scale)
        y: Tensor = x + self.two(F.relu(inner))
        if self.fourier is not None:
            seen = self.fourier.mix.in_channels // 2
            spectral = self.fourier(pixel_norm(x[:, :seen])).to(y.dtype)
            y = torch.cat([y[:, :seen] + spectral, y[:, seen:]], 1)
        return y


def rectified(x: Tensor) -> Tensor:
    """Leaky, since x is not normalised: where all values are negative, learning goes on."""
    return F.leaky_relu(x, 0.2)


def _convolution(channels: int, out: int, gated: bool) -> nn.Module:
    return GatedConv(channels, out) if gated else nn.Conv2d(channels, out, 3, 1, 1)


class UNet(nn.Module):
    """(N, inputs, H, W), and a vector (N, V) where `vector` is V -> (N, outputs, H, W) float32 or more, zero
    at first.

    `width` channels at half of the picture's resolution, doubled by each of `depth` halvings (1 to 3) up to 4 times;
    `blocks` residual blocks at the coarsest scale, one before and one after at each other one. `gated` and `spectral`
    (at the coarsest scale) as above."""

    def __init__(
        self, inputs: int, outputs: int, width: int, depth: int = 2, blocks: int = 3, *,
        vector: int = 0, gated: bool = False, spectral: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        self.widths = widths = [width * 2 ** min(n, 2) for n in range(depth + 1)]
        """Channels of the maps of `encode`."""
        self.first = _convolution(4 * inputs, width, gated)
        self.before = nn.ModuleList(ResidualBlock(w, vector, gated) for w in widths[:-1])
        self.downs = nn.ModuleList(Down(a, b) for a, b in pairwise(widths))
        self.coarse = nn.ModuleList(ResidualBlock(widths[-1], vector, gated, spectral) for _ in range(blocks))
        self.ups = nn.ModuleList(Up(b, a) for a, b in pairwise(widths))
        self.after = nn.ModuleList(ResidualBlock(w, vector, gated) for w in widths[:-1])
        self.last = nn.Conv2d(width, 4 * outputs, 3, 1, 1, bias=False)
        nn.init.zeros_(self.last.weight)
        self.stride = 2 ** (depth + 1)
        """Pixels of the picture in one pixel of the coarsest scale; the sides are padded to its multiples."""
        # in pixels: first and last convolution, blocks, halvings and their inverses at each scale, blocks at the
        # coarsest one, and the padding
        fine = sum(2 ** (n + 1) * (2 + 2 + 2 + 2) for n in range(depth))
        self.receptive_radius = ANY if spectral else 2 * 2 + fine + self.stride * 2 * blocks + self.stride
        """Radius in pixels of the receptive field, or ANY."""

    def forward(self, images: Tensor, vector: Tensor | None = None) -> Tensor:
        height, width = images.shape[2:]
        return self.decode(self.encode(images, vector), height, width, vector)

    def encode(self, images: Tensor, vector: Tensor | None = None) -> list[Tensor]:
        """The maps of the encoder half, of the padded pictures, the finest first: one for each connection, (N, C, h, w)
        with h and w half of the sides and so on, and the coarsest one before its blocks."""
        height, width = images.shape[2:]
        x = F.pad(images, (0, -width % self.stride, 0, -height % self.stride), mode="replicate")
        x = self.first(F.pixel_unshuffle(x, 2).contiguous(memory_format=torch.channels_last))
        maps = []
        for block, down in zip(self.before, self.downs, strict=True):
            x = block(x, vector)
            maps.append(x)
            x = down(x)
        return [*maps, x]

    def decode(self, maps: list[Tensor], height: int, width: int, vector: Tensor | None = None) -> Tensor:
        """The other half: the maps of `encode`, and the sides of the pictures -> (N, outputs, H, W)."""
        *skips, x = maps
        for block in self.coarse:
            x = block(x, vector)
        for block, up in zip(reversed(self.after), reversed(self.ups), strict=True):
            x = block(up(rectified(x)) + skips.pop(), vector)
        out = F.pixel_shuffle(self.last(rectified(x)), 2)[:, :, :height, :width]
        return out.to(torch.promote_types(out.dtype, torch.float32))
