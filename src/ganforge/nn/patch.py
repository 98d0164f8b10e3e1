"""A discriminator of patches, and feature matching.

Isola et al. 2017, "Image-to-Image Translation with Conditional Adversarial Networks", section 3.2.2: every score sees a
patch of the picture, so that it judges texture, at any size. Weights are spectrally normalised (Miyato et al. 2018)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ganforge.nn.layers import Down, Same, spectral


class PatchDiscriminator(nn.Module):
    """Pictures (N, channels, H, W), and for `given` > 0 what they were made from (N, given, H, W), joined as channels
    -> scores (N, 1, h, w) float32, one a patch, and the maps of the layers before them.

    `halvings` strided convolutions, then two of 3x3; H and W are halved by each, rounded up. A patch is
    `patch` pixels wide."""

    def __init__(self, channels: int, width: int, given: int = 0, halvings: int = 3) -> None:
        super().__init__()
        widths = [channels + given, *(width * 2 ** min(n, 3) for n in range(halvings))]
        downs = [spectral(Down(a, b)) for a, b in pairwise(widths)]
        self.layers = nn.ModuleList([*downs, spectral(Same(widths[-1], widths[-1]))])
        self.score = spectral(Same(widths[-1], 1))
        self.patch = 2**halvings * 4 + 3 * (2**halvings - 1) + 1
        """Side in pixels of what a score depends on."""

    def forward(self, images: Tensor, given: Tensor | None = None) -> tuple[Tensor, list[Tensor]]:
        x = images if given is None else torch.cat([images, given], 1)
        maps = []
        for layer in self.layers:
            x = F.leaky_relu(layer(x), 0.2)
            maps.append(x)
        score: Tensor = self.score(x)
        return score.float(), maps


def feature_matching(real: Sequence[Tensor], fake: Sequence[Tensor]) -> Tensor:
    """Mean absolute difference of the maps of a discriminator, averaged over its layers (Wang et al. 2018,
    "High-Resolution Image Synthesis and Semantic Manipulation with Conditional GANs", eq. 4). Scalar; no gradient
    reaches `real`."""
    terms = [(a.detach().float() - b.float()).abs().mean() for a, b in zip(real, fake, strict=True)]
    return torch.stack(terms).mean()
