"""A mixture of Gaussians fitted to the codes of an autoencoder, and a smooth map to it from N(0, I).

Decoding a mixture that is fitted to the codes after training gives better pictures than decoding the prior (Ghosh et
al. 2020, "From Variational to Deterministic Autoencoders", section 4). It is fitted by expectation and maximisation
(Dempster et al. 1977), its components doubled by splitting each (Linde, Buzo and Gray 1980) as long as codes that were
held out become more likely."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

MOST = 64  # components
LARGEST = 2**22  # numbers in all covariances together
ROUNDS = 3  # of expectation and maximisation for each number of components
PRIOR = 0.2  # codes for each dimension that the mean covariance of all components counts for in each of them
SMOOTHING = 10  # codes that the weights of all classes together count for in those of one class
FLOOR = 1e-4  # least variance of a component, in units of that of all codes
COPIES = 0.03  # largest share of samples that may be nearer to a code than all but 1 % of held-out codes are
DRAWN = 1_000  # samples for that
STEPS = 16  # of the flow from the normal distribution to the mixture


class Components(NamedTuple):
    """Gaussians of whitened codes."""

    weights: Tensor
    """(C, K), those of each class sum to 1."""
    means: Tensor
    """(K, Z)"""
    covariances: Tensor
    """(K, Z, Z)"""


class Mixture(nn.Module):
    """A mixture of Gaussians with full covariances; classes share the components, each with weights of its own.

    `forward` takes a standard normal vector to the mixture along the probability flow (Song et al. 2021, "Score-Based
    Generative Modeling through Stochastic Differential Equations", section 4.3) of x_t = (1 - t) x + t n, with x from
    the mixture and n from N(0, I). All of it is known in closed form. So the map is continuous, and `inverse` goes the
    way back. With one component it is affine, by the symmetric square root of the covariance.

    The parameters are set by `fit` and have no gradients. A new mixture is N(0, I)."""

    mean: nn.Parameter
    """(Z,), of all codes."""
    root: nn.Parameter
    """(Z, Z), the symmetric square root of the covariance of all codes; the components are of the codes whitened by
    it."""
    weights: nn.Parameter
    """(C, K), C at least 1."""
    means: nn.Parameter
    """(K, Z)"""
    variances: nn.Parameter
    """(K, Z), along the axes."""
    axes: nn.Parameter
    """(K, Z, Z), the eigenvectors of each covariance in columns."""

    def __init__(self, latent: int, classes: int = 0) -> None:
        super().__init__()
        new = {"mean": torch.zeros(latent), "root": torch.eye(latent), **_parameters(_one(latent, max(1, classes)))}
        for name, value in new.items():
            self._set(name, value)

    def _set(self, name: str, value: Tensor) -> None:
        setattr(self, name, nn.Parameter(value.contiguous(), requires_grad=False))

    # the map

    def forward(self, normal: Tensor, labels: Tensor | None = None) -> Tensor:
        """Standard normal (N, Z), and labels (N,) int64 where there are classes -> codes (N, Z) float32."""
        with torch.autocast(normal.device.type, enabled=False):
            whitened = self._flow(normal.float(), labels, _times(self._steps()))
            return self.mean + whitened @ self.root

    def inverse(self, codes: Tensor, labels: Tensor | None = None) -> Tensor:
        """Codes (N, Z) -> (N, Z) float32, which `forward` takes to these codes again, up to the error of the flow's
        steps."""
        with torch.autocast(codes.device.type, enabled=False):
            whitened = (codes.float() - self.mean) @ _inverse(self.root)
            return self._flow(whitened, labels, _times(self._steps())[::-1])

    def _steps(self) -> int:
        return 1 if len(self.means) == 1 else STEPS  # one component needs no more: a step is exact where shares are

    def _flow(self, x: Tensor, labels: Tensor | None, times: list[float]) -> Tensor:
        """(N, Z) at the first of `times` -> (N, Z) at the last, each step by the shares at its middle."""
        log_weights = _of_class(self.weights, labels).log()
        for here, there in pairwise(times):
            middle, along = (here + there) / 2, self._along(x, here)
            halfway = self._move(along, self._shares(along, log_weights, here), here, middle)
            shares = self._shares(self._along(halfway, middle), log_weights, middle)
            x = self._move(along, shares, here, there)
        return x

    def _along(self, x: Tensor, time: float) -> Tensor:
        """(N, Z) -> (N, K, Z), the difference from the mean of each component at `time`, along its axes."""
        return torch.einsum("nz,kzd->nkd", x, self.axes) - (1 - time) * torch.einsum(
            "kz,kzd->kd", self.means, self.axes
        )

    def _spread(self, time: float) -> Tensor:
        """(K, Z), the variances of the components at `time`."""
        return (1 - time) ** 2 * self.variances + time**2

    def _shares(self, along: Tensor, log_weights: Tensor, time: float) -> Tensor:
        """(N, K), the probability of each component."""
        spread = self._spread(time)
        return (log_weights - 0.5 * (along.square() / spread + spread.log()).sum(2)).softmax(1)

    def _move(self, along: Tensor, shares: Tensor, here: float, there: float) -> Tensor:
        """(N, K, Z) at `here` -> (N, Z) at `there`: the paths of the components, in these shares. Along the path of one
        Gaussian a point keeps its distance from the mean in units of the deviation."""
        scaled = along * (self._spread(there) / self._spread(here)).sqrt() * shares[:, :, None]
        return torch.einsum("nkd,kzd->nz", scaled, self.axes) + (1 - there) * shares @ self.means

    # density and fit

    def log_density(self, codes: Tensor, labels: Tensor | None = None) -> Tensor:
        """(N, Z) float32, and labels (N,) where there are classes -> (N,), the logarithm of the density, in nats."""
        covariances = (self.axes * self.variances[:, None]) @ self.axes.mT
        whitened = (codes - self.mean) @ _inverse(self.root)
        joint = _joint(Components(self.weights, self.means, covariances), whitened, labels)
        density: Tensor = joint.logsumexp(1) - torch.linalg.slogdet(self.root).logabsdet
        return density

    @torch.no_grad()
    def fit(self, codes: Tensor, held: Tensor, labels: Tensor | None = None, held_labels: Tensor | None = None) -> None:
        """Fit the mixture to `codes` (N, Z), anew; `held` (M, Z) decide on the number of components. Labels (N,) and
        (M,) int64 where there are classes. All of them on the CPU, where the fit is made on any device.

        The components are doubled as long as the held-out codes become more likely, there are two codes for each
        dimension of each component, and samples are not nearer to the codes than held-out ones (COPIES). The samples
        for that come from torch's global generator. Codes that are not finite change nothing."""
        if not (codes.isfinite().all() and held.isfinite().all()):
            return
        mean = codes.mean(0)
        root = _root((codes - mean).T @ (codes - mean) / len(codes))
        known, unknown = ((part - mean) @ _inverse(root) for part in (codes, held))
        latent, classes = codes.shape[1], len(self.weights)
        kept = _one(latent, classes)
        components = kept._replace(covariances=kept.covariances + 0.01 * _flattest(known))
        most = min(MOST, LARGEST // latent**2, len(codes) // (2 * latent)) if len(held) else 1
        if most > 1:
            least = _joint(kept, unknown, held_labels).logsumexp(1).mean()
            near = _nearest(unknown @ root, known @ root).quantile(0.01)
        while 2 * len(components.means) <= most:
            components = _split(components)
            for _ in range(ROUNDS):
                components = _maximised(known, _joint(components, known, labels).softmax(1), labels, classes)
            likely = _joint(components, unknown, held_labels).logsumexp(1).mean()
            copied = _nearest(_draw(components, held_labels) @ root, known @ root) < near
            if not likely > least or copied.float().mean() > COPIES:
                break
            kept, least = components, likely
        for name, value in (("mean", mean), ("root", root), *_parameters(kept).items()):
            self._set(name, value.to(self.mean.device))

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        """A checkpoint says how many components there are. One of an earlier version has the mean and the covariance of
        an autoencoder's codes instead, and of a VAE nothing: its codes are N(0, I)."""
        state_dict.pop(f"{prefix}batches", None)
        if (covariance := state_dict.pop(f"{prefix}covariance", None)) is not None:
            state_dict[f"{prefix}root"] = _root(covariance)
        for name, value in Mixture(len(self.mean), len(self.weights)).named_parameters():
            state_dict.setdefault(f"{prefix}{name}", value)
        count = len(state_dict[f"{prefix}means"])
        self._set("weights", self.weights.new_empty(len(self.weights), count))
        for name in ("means", "variances", "axes"):
            old = getattr(self, name)
            self._set(name, old.new_empty(count, *old.shape[1:]))
        super()._load_from_state_dict(state_dict, prefix, *args)


def _one(latent: int, classes: int) -> Components:
    """N(0, I) as a mixture of one."""
    return Components(torch.ones(classes, 1), torch.zeros(1, latent), torch.eye(latent)[None])


def _times(steps: int) -> list[float]:
    """From 1 to 0; equal angles between the shares of the normal vector and of the code."""
    angles = [math.pi / 2 * n / steps for n in range(steps)]
    return [math.cos(a) / (math.cos(a) + math.sin(a)) for a in angles] + [0.0]


def _of_class(weights: Tensor, labels: Tensor | None) -> Tensor:
    """The weights (N, K) for the label of each row, or (1, K) where there are no classes."""
    return weights if labels is None or len(weights) == 1 else weights[labels]


def _parameters(components: Components) -> dict[str, Tensor]:
    """Components as the parameters of a Mixture."""
    weights, means, covariances = components
    if len(means) == 1:  # codes of one component are white: any axes will do
        return {"weights": weights, "means": means, "variances": torch.ones_like(means), "axes": covariances}
    variances, axes = torch.linalg.eigh(covariances)
    return {"weights": weights, "means": means, "variances": variances, "axes": axes}


def _root(covariance: Tensor) -> Tensor:
    """(Z, Z) -> its symmetric square root."""
    values, vectors = torch.linalg.eigh(covariance)
    root: Tensor = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
    return root


def _inverse(root: Tensor) -> Tensor:
    """The inverse of a symmetric (Z, Z); 0 in directions that codes hardly vary in."""
    inverse: Tensor = torch.linalg.pinv(root.cpu(), rtol=1e-3, hermitian=True)
    return inverse.to(root.device)


def _joint(components: Components, codes: Tensor, labels: Tensor | None) -> Tensor:
    """(N, K), the logarithm of the joint density of each code and each component."""
    weights, means, covariances = components
    factors = torch.linalg.cholesky(covariances)
    identity = torch.eye(codes.shape[1]).to(codes).expand_as(factors)
    whitenings = torch.linalg.solve_triangular(factors, identity, upper=False)
    squares = [
        ((codes - mean) @ whitening.T).square().sum(1) for mean, whitening in zip(means, whitenings, strict=True)
    ]
    volume = factors.diagonal(dim1=1, dim2=2).log().sum(1) + codes.shape[1] / 2 * math.log(2 * math.pi)
    joint: Tensor = _of_class(weights, labels).log() - 0.5 * torch.stack(squares, 1) - volume
    return joint


def _maximised(codes: Tensor, shares: Tensor, labels: Tensor | None, classes: int) -> Components:
    """The components of codes (N, Z) that belong to them in these shares (N, K).

    Each covariance is shrunk towards the mean one, as in a regularised discriminant analysis (Friedman 1989), so that
    no component closes in on a few codes."""
    codes_of = shares.sum(0)
    means = shares.T @ codes / codes_of.clamp(min=1e-6)[:, None]
    scatter = torch.stack([(codes * share[:, None]).T @ codes for share in shares.unbind(1)])
    scatter -= codes_of[:, None, None] * means[:, :, None] * means[:, None, :]
    weight = PRIOR * codes.shape[1]
    shrunk = (scatter + weight * scatter.sum(0) / len(codes)) / (codes_of + weight)[:, None, None]
    floor = FLOOR * torch.eye(codes.shape[1]).to(codes)
    counts = codes_of[None]
    if labels is not None and classes > 1:
        counts = torch.zeros(classes, shares.shape[1]).to(codes).index_add_(0, labels, shares)
    smoothed = counts + SMOOTHING * codes_of / len(codes)
    return Components(smoothed / smoothed.sum(1, keepdim=True), means, shrunk + floor)


def _flattest(codes: Tensor) -> Tensor:
    """(Z, Z) of white codes: the square of the axis of least kurtosis, along which they are most likely in two heaps
    (Peña and Prieto 2001), by the matrix of fourth moments (Cardoso 1989, "Source separation using higher order
    moments")."""
    moments = (codes * codes.square().sum(1, keepdim=True)).T @ codes
    axis: Tensor = torch.linalg.eigh(moments)[1][:, 0]
    return axis[:, None] * axis


def _split(components: Components) -> Components:
    """Twice as many: each component as two along its longest axis, with the same mean and covariance together."""
    weights, means, covariances = components
    values, vectors = torch.linalg.eigh(covariances)
    step = 0.5 * values[:, -1].sqrt()[:, None] * vectors[:, :, -1]
    rest = covariances - step[:, :, None] * step[:, None, :]
    return Components(
        torch.cat([weights, weights], 1) / 2, torch.cat([means - step, means + step]), torch.cat([rest, rest])
    )


def _draw(components: Components, labels: Tensor | None) -> Tensor:
    """Samples (DRAWN, Z) of the mixture, with labels drawn from these."""
    weights, means, covariances = components
    if len(weights) > 1 and labels is not None:
        rows = weights[labels[torch.randint(len(labels), (DRAWN,), device=labels.device)]]
        chosen = torch.multinomial(rows, 1)[:, 0]
    else:
        chosen = torch.multinomial(weights[0], DRAWN, replacement=True)
    normal = torch.randn(DRAWN, means.shape[1]).to(means)
    return means[chosen] + torch.einsum("nzd,nd->nz", torch.linalg.cholesky(covariances)[chosen], normal)


def _nearest(codes: Tensor, others: Tensor) -> Tensor:
    """(N, Z), (M, Z) -> (N,), the distance of each code to the nearest of the others."""
    return torch.cat([torch.cdist(part, others).amin(1) for part in codes.split(DRAWN)])
