"""What the generators with styles share: the mapping network, modulated convolution, noise, mixing.

Karras et al. 2019, "A Style-Based Generator Architecture for Generative Adversarial Networks", and Karras et al. 2020,
"Analyzing and Improving the Image Quality of StyleGAN"."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ganforge.base.seeds import key
from ganforge.nn.equal import HE, EqualLinear, activate, convolve, pixel_norm

GRAINS = 8
_TRACK = 0.01  # share of the newest batch in the running mean of styles


class Mapping(nn.Module):
    """(N, Z) and perhaps (N,) labels -> (N, W), the styles; `centre` (W,) is their running mean.

    Karras et al. 2019, section 2 and appendix C: it learns a hundredth as fast as the rest. A class is embedded and
    stands beside the latent. Without labels, one that was built for classes takes a class from the latent itself, so
    that a seed stays one picture."""

    centre: Tensor

    def __init__(self, latent: int, width: int, layers: int, classes: int = 0, lr: float = 0.01) -> None:
        super().__init__()
        self.classes = classes
        self.embedding = nn.Embedding(classes, width) if classes else None
        widths = [latent + (width if classes else 0), *[width] * layers]
        self.layers = nn.ModuleList(EqualLinear(a, b, lr=lr) for a, b in pairwise(widths))
        self.register_buffer("centre", torch.zeros(width))

    def forward(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        x = pixel_norm(latents)
        if self.embedding is not None:
            if labels is None:
                share = torch.special.ndtr(latents[:, 0])  # uniform from 0 to 1
                labels = (share * self.classes).long().clamp(max=self.classes - 1)
            x = torch.cat([x, pixel_norm(self.embedding(labels))], 1)
        for layer in self.layers:
            x = activate(layer(x))
        return x

    @torch.no_grad()
    def track(self, styles: Tensor) -> None:
        """Move the centre towards the mean of (N, W)."""
        self.centre.lerp_(styles.to(self.centre.dtype).mean(0), _TRACK)


def mixed(first: Tensor, second: Tensor, layers: int, chance: float) -> Tensor:
    """(N, W) twice -> (N, L, W): with a chance of `chance`, layers from a random one on have the second style (2019,
    section 3.1)."""
    count = len(first)
    cut = torch.randint(1, max(2, layers), (count, 1), device=first.device)
    mix = torch.rand(count, 1, device=first.device) < chance
    own = (torch.arange(layers, device=first.device) < cut) | ~mix
    return torch.where(own[:, :, None], first[:, None], second[:, None])


class ModulatedConv(nn.Module):
    """Convolution whose kernel each picture's style scales: (N, I, H, W), (N, W) -> (N, O, H', W').

    Karras et al. 2020, eqs. 1 to 3. Scaling a kernel's inputs is scaling the picture before it, and demodulation is
    scaling the picture after it, so all pictures share one convolution. `step` as in EqualConv; the gain for leaky_relu
    is in the demodulation."""

    def __init__(
        self, style: int, inputs: int, outputs: int, side: int = 3, step: str = "", demodulate: bool = True
    ) -> None:
        super().__init__()
        self.step, self.demodulate = step, demodulate
        self.scale = (inputs * side**2) ** -0.5
        self.affine = EqualLinear(style, inputs, gain=1.0, bias=1.0)
        self.weight = nn.Parameter(torch.randn(outputs, inputs, side, side))

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        scale: Tensor = self.affine(style)
        weight = self.weight * self.scale
        y: Tensor = convolve(x * scale.to(x.dtype)[:, :, None, None], weight, None, self.step, smooth=True)
        if not self.demodulate:
            return y
        with torch.autocast(x.device.type, enabled=False):
            power = scale.to(weight.dtype).square() @ weight.square().sum((2, 3)).T
            gain: Tensor = HE * (power + 1e-8).rsqrt()
        return y * gain.to(y.dtype)[:, :, None, None]


class Noise(nn.Module):
    """Noise for every pixel, the same for all channels of a layer.

    In training it is new for every picture (code None), from torch's generator. For samples it is a mixture, by the
    picture's code (N, K) of unit length, of K fixed fields: normal with variance 1 at every pixel, a function of the
    latent alone, and it moves smoothly where the latent does. All resolutions look at the corners of the same fields.
    """

    fields: Tensor

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(key(0, "noise"))
        fields = torch.randn(GRAINS, height, width, generator=generator)
        self.register_buffer("fields", fields, persistent=False)

    def forward(self, x: Tensor, code: Tensor | None, turn: bool = False) -> Tensor:
        """(N, 1, H, W) for the picture x (N, C, H, W); `turn` gives a second layer of the same size other numbers."""
        count, _, height, width = x.shape
        if code is None:
            return torch.randn(count, 1, height, width, device=x.device, dtype=x.dtype)
        fields = self.fields.flip(1, 2) if turn else self.fields
        corner = fields[: code.shape[1], :height, :width].to(x.dtype)
        noise: Tensor = (code.to(x.dtype) @ corner.flatten(1)).view(count, 1, height, width)
        return noise


def grain(latents: Tensor, truncation: float = 1.0) -> Tensor:
    """(N, Z) -> (N, K) of unit length, the code that chooses a sample's noise; truncation pulls it towards one common
    code."""
    code = F.normalize(latents[:, :GRAINS], dim=1)
    if truncation == 1:
        return code
    common = torch.zeros_like(code)
    common[:, 0] = 1
    return F.normalize(common.lerp(code, truncation), dim=1)
