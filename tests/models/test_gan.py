"""The sizes of the textbook GAN."""

from __future__ import annotations

import torch

from ganforge import models
from ganforge.media.spec import Spec


def test_the_textbook_sizes_are_the_default_of_gan():
    loaded = models.load("gan")
    system = loaded.system(loaded.config(), Spec(28, 28, 1))
    widths = [
        [m.out_features for m in part if isinstance(m, torch.nn.Linear)]
        for part in (system.generator, system.discriminator)
    ]
    assert widths == [[256, 512, 1024, 784], [1024, 512, 256, 1]]
