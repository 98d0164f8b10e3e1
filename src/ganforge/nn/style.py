"""What the style-based generators share: mapping network, modulated convolution, noise, style mixing.

Karras et al. 2019, "A Style-Based Generator Architecture for Generative Adversarial Networks", and Karras et al. 2020,
"Analyzing and Improving the Image Quality of StyleGAN"."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ganforge.base.seeds import key
from ganforge.nn.equal import HE, EqualLinear, activate, convolve, pixel_norm

NOISE_FIELDS = 8
_TRACK = 0.01  # weight of the newest batch in w_avg


class MappingNetwork(nn.Module):
    """Latents z (N, Z), and labels (N,) int64 where there are classes, -> w (N, W); `w_avg` (W,) is the running mean.

    Karras et al. 2019, section 2 and appendix C: its learning rate is a hundredth of that of the other layers. The
    class is embedded and concatenated with the latent. A network with classes that is given no labels takes the class
    from the first number of the latent, so that a seed stays one picture."""

    w_avg: Tensor

    def __init__(self, latent: int, width: int, layers: int, classes: int = 0, lr: float = 0.01) -> None:
        super().__init__()
        self.classes = classes
        self.embedding = nn.Embedding(classes, width) if classes else None
        widths = [latent + (width if classes else 0), *[width] * layers]
        self.layers = nn.ModuleList(EqualLinear(a, b, lr=lr) for a, b in pairwise(widths))
        self.register_buffer("w_avg", torch.zeros(width))

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
        """Move w_avg towards the mean of (N, W)."""
        self.w_avg.lerp_(styles.to(self.w_avg.dtype).mean(0), _TRACK)


def mix_styles(first: Tensor, second: Tensor, layers: int, probability: float) -> Tensor:
    """Style mixing (Karras et al. 2019, section 3.1): (N, W) twice -> (N, L, W).

    With the given probability, the layers from a random one on take the second style of their picture."""
    count = len(first)
    cut = torch.randint(1, max(2, layers), (count, 1), device=first.device)
    mix = torch.rand(count, 1, device=first.device) < probability
    own = (torch.arange(layers, device=first.device) < cut) | ~mix
    return torch.where(own[:, :, None], first[:, None], second[:, None])


class ModulatedConv(nn.Module):
    """Modulated convolution (Karras et al. 2020, eqs. 1 to 3): (N, I, H, W), styles (N, W) -> (N, O, H', W').

    Modulating the weights equals scaling the channels of the input, and demodulating them equals scaling the channels
    of the output, so all pictures of a batch share one convolution. `step` as in EqualConv; the gain for leaky ReLU is
    part of the demodulation."""

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


class NoiseFields(nn.Module):
    """Per-pixel noise, the same for all channels of a layer (Karras et al. 2019, section 2).

    In training it is drawn anew for every picture from torch's global generator (noise seed None). For samples it is a
    linear combination of K fixed fields of normal numbers, whose coefficients are the noise seed (N, K), a vector of
    length 1: again normal with variance 1 at every pixel, a function of the latent alone, and continuous in it. All
    resolutions take the top left corner of the same fields."""

    fields: Tensor

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(key(0, "noise"))
        fields = torch.randn(NOISE_FIELDS, height, width, generator=generator)
        self.register_buffer("fields", fields, persistent=False)

    def forward(self, x: Tensor, noise_seed: Tensor | None, turn: bool = False) -> Tensor:
        """(N, 1, H, W) for the features x (N, C, H, W); `turn` rotates the fields by 180 degrees, so that a second
        layer of the same size gets other numbers."""
        count, _, height, width = x.shape
        if noise_seed is None:
            return torch.randn(count, 1, height, width, device=x.device, dtype=x.dtype)
        fields = self.fields.flip(1, 2) if turn else self.fields
        corner = fields[: noise_seed.shape[1], :height, :width].to(x.dtype)
        noise: Tensor = (noise_seed.to(x.dtype) @ corner.flatten(1)).view(count, 1, height, width)
        return noise


def noise_seed(latents: Tensor, truncation: float = 1.0) -> Tensor:
    """Latents (N, Z) -> (N, K) of length 1, the direction of the first K numbers of the latent, which decides the
    noise of a sample (see NoiseFields). Truncation moves it towards one common noise seed."""
    seed = F.normalize(latents[:, :NOISE_FIELDS], dim=1)
    if truncation == 1:
        return seed
    common = torch.zeros_like(seed)
    common[:, 0] = 1
    return F.normalize(common.lerp(seed, truncation), dim=1)
