"""Penalties on gradients, for double backward. They stay in eager mode: torch.compile refuses them or drops their
gradient."""

from __future__ import annotations

import torch
from torch import Tensor

from ganforge.nn.layers import only_inputs


def gradients(scores: Tensor, *inputs: Tensor) -> tuple[Tensor, ...]:
    """The gradient of the scores' sum by each of the inputs, themselves differentiable, in one pass.

    Where a score depends on its own picture alone, (N,) and (N, ...) -> (N, ...) holds each score's own gradient.
    """
    with only_inputs():
        return torch.autograd.grad(scores.sum(), inputs, create_graph=True)


def squared_gradient(scores: Tensor, inputs: Tensor) -> Tensor:
    """Squared norm of each score's gradient by its own input: (N,) and (N, ...) -> (N,), itself differentiable.

    `inputs`, in float32, must have required a gradient before `scores` were made of them; under autocast the network's
    precision is the gradient's too. Times gamma / 2 and averaged it is R1 of Mescheder et al. 2018, "Which Training
    Methods for GANs do actually Converge?", eq. 9, on reals, and R2 on fakes; with `(norm - 1)^2` of its root it is the
    gradient penalty of Gulrajani et al. 2017, eq. 3."""
    return gradients(scores, inputs)[0].square().flatten(1).sum(1)


def gamma_for(gamma: float, images: Tensor) -> float:
    """`gamma`, or where it is 0 the weight of R1 that suits (N, C, H, W): 0.0002 H W / N.

    Karras et al. 2020, "Training Generative Adversarial Networks with Limited Data", appendix C.
    """
    count, _, height, width = images.shape
    return gamma or 0.0002 * height * width / count
