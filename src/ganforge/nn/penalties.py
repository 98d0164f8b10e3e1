"""Gradient penalties, which need a second derivative. They run in eager mode: torch.compile refuses them or drops
their gradient."""

from __future__ import annotations

import torch
from torch import Tensor

from ganforge.nn.layers import only_inputs


def gradients(scores: Tensor, *inputs: Tensor) -> tuple[Tensor, ...]:
    """Gradients of the sum of the scores with respect to each input, differentiable, in one backward pass.

    Scores (N,) and inputs (N, ...) -> (N, ...) each; where a score depends on its own picture only, row n is the
    gradient of score n."""
    with only_inputs():
        return torch.autograd.grad(scores.sum(), inputs, create_graph=True)


def squared_gradient(scores: Tensor, inputs: Tensor) -> Tensor:
    """Squared norm of the gradient of each score with respect to its input: (N,) and (N, ...) -> (N,), differentiable.

    `inputs`, in float32, must have required a gradient before `scores` were computed from them; under autocast the
    gradient has the precision of the network. Times gamma / 2 and averaged it is R1 of Mescheder et al. 2018, "Which
    Training Methods for GANs do actually Converge?", eq. 9, on reals, and R2 on fakes; with `(norm - 1)^2` of its
    root it is the gradient penalty of Gulrajani et al. 2017, eq. 3."""
    return gradients(scores, inputs)[0].square().flatten(1).sum(1)


def gamma_for(gamma: float, images: Tensor) -> float:
    """The weight of R1 for images (N, C, H, W): `gamma`, or where that is 0, 0.0002 H W / N.

    Karras et al. 2020, "Training Generative Adversarial Networks with Limited Data", appendix C.
    """
    count, _, height, width = images.shape
    return gamma or 0.0002 * height * width / count
