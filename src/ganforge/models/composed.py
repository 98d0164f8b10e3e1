"""composed: networks that you write as lists of layers in a TOML file, checked before they are built.

Three kinds: a GAN (Goodfellow et al. 2014; the losses of Lim and Ye 2017 and Arjovsky et al. 2017, the penalty of
Mescheder et al. 2018, lazily as in Karras et al. 2020, "StyleGAN2", appendix B), an autoencoder, and a VAE (Kingma
and Welling 2014). The layers: `ganforge layers`; the tables of a file: `ganforge show system.toml`."""

from __future__ import annotations

import contextlib
import warnings
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ganforge.base.config import setting
from ganforge.base.errors import InputError
from ganforge.compose.blueprint import Step, check, check_end
from ganforge.compose.catalogue import RANGES
from ganforge.compose.network import Network
from ganforge.compose.shapes import Shape
from ganforge.media.spec import Spec
from ganforge.nn import losses
from ganforge.nn.mixture import Mixture
from ganforge.nn.penalties import squared_gradient
from ganforge.system import Adam, Batch, CodeSystem, Phase

R1_EVERY = 16  # steps
PARTS = {"gan": ("generator", "discriminator"), "autoencoder": ("encoder", "decoder"), "vae": ("encoder", "decoder")}
_TO_PICTURE = (
    *("dense 256", "leaky_relu", "dense 512", "leaky_relu"),
    *("dense pixels", "tanh", "reshape channels height width"),
)
_FROM_PICTURE = ("flatten", "dense 512", "leaky_relu", "dense 256", "leaky_relu")
PLAIN: dict[str, tuple[str, ...]] = {
    "generator": _TO_PICTURE,
    "discriminator": (*_FROM_PICTURE, "dense 1"),
    "encoder": (*_FROM_PICTURE, "dense code"),
    "decoder": _TO_PICTURE,
}


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of a composed system. A list of layers that is left out is that of a small dense network."""

    kind: str = setting("gan", "gan, autoencoder or vae", choices=tuple(PARTS))
    latent: int = setting(64, "numbers in a latent or code", low=1, high=4096)
    generator: tuple[str, ...] = setting((), "layers of a GAN from latent to picture")
    discriminator: tuple[str, ...] = setting((), "layers of a GAN from picture to one score")
    encoder: tuple[str, ...] = setting(
        (), "layers from picture to code, of a vae to means and log-variances (2 x latent)"
    )
    decoder: tuple[str, ...] = setting((), "layers from code to picture")
    loss: str = setting(
        "hinge", "of a GAN: hinge, logistic or wasserstein", choices=("hinge", "logistic", "wasserstein")
    )
    r1: float = setting(0.0, "weight of R1, the gradient penalty of a GAN on real pictures", low=0.0, high=10000.0)
    beta: float = setting(1.0, "weight of a VAE's prior against the reconstruction", low=0.0, high=1000.0)
    lr: float = setting(2e-4, "learning rate", low=0.0, high=1.0)
    beta1: float = setting(0.5, "beta1 of Adam, the decay of the mean gradient", low=0.0, high=0.999)


PRESETS: dict[str, dict[str, Any]] = {"small": {}, "medium": {}, "large": {}}
TRAIN: dict[str, Any] = {"batch": 64}


def plans(config: Config, spec: Spec) -> dict[str, list[Step]]:
    """The checked networks by name. InputError where the shapes of a list do not fit each other or the pictures."""
    picture: Shape = (spec.channels, spec.height, spec.width)
    code = config.latent * (2 if config.kind == "vae" else 1)
    words = {
        "height": spec.height,
        "width": spec.width,
        "channels": spec.channels,
        "pixels": spec.pixels,
        "latent": config.latent,
        "code": code,
        "classes": len(spec.classes),
    }
    ends = {
        "generator": ((config.latent,), picture, "the pictures are"),
        "decoder": ((config.latent,), picture, "the pictures are"),
        "discriminator": (picture, (1,), "a score is"),
        "encoder": (picture, (code,), "a vae's means and log-variances are" if config.kind == "vae" else "a code is"),
    }
    networks = {}
    for part in PARTS[config.kind]:
        start, end, why = ends[part]
        steps = check(part, getattr(config, part) or PLAIN[part], start, words)
        check_end(part, steps, end, why)
        if end == picture:
            _check_range(part, steps)
        networks[part] = steps
    unused = [part for part in PLAIN if getattr(config, part) and part not in networks]
    if unused:
        raise InputError(
            f"model.{unused[0]} is of no use to the kind {config.kind}, which has {' and '.join(networks)}. "
            "Leave it out."
        )
    return networks


def _check_range(part: str, steps: list[Step]) -> None:
    """InputError where the last activation cannot give all values of a picture, -1 to 1."""
    shaping = ("reshape", "unpatches", "crop", "resize", "transpose", "up_sampling", "pixel_shuffle")
    last = next((step for step in reversed(steps) if step.layer not in shaping), steps[-1])
    if RANGES.get(last.layer, "-1 to 1") != "-1 to 1":
        raise InputError(
            f"{part}, layer {last.number} ({last.layer}): it gives {RANGES[last.layer]}, and pictures are from -1 "
            "(black) to 1 (white). End with `tanh`."
        )


class Composed(CodeSystem):
    """A GAN, an autoencoder or a VAE of composed networks."""

    averaged = ("maker",)
    renamed = {".both.": ".scale_and_shift.", "maker.codes.": "prior."}
    config: Config

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        networks = plans(config, spec)
        self.count = len(spec.classes)
        self.restores = config.kind != "gan" and not self.needs_labels(config)
        parts: dict[str, nn.Module] = {name: Network(steps, self.count) for name, steps in networks.items()}
        if config.kind == "gan":
            self.discriminator = parts.pop("discriminator")
            self.fitted = ()
        else:
            self.prior = Mixture(config.latent, self.classes)
        self.maker = nn.ModuleDict(parts)

    @classmethod
    def check(cls, config: Config, spec: Spec) -> None:
        networks = plans(config, spec)
        spectral = any(step.values.get("spectral") for step in networks.get("discriminator", ()))
        if config.kind == "gan" and config.loss == "wasserstein" and not config.r1 and not spectral:
            raise InputError(
                "The loss wasserstein needs a bounded discriminator. Say r1 = 10, or spectral=yes at the "
                "discriminator's layers."
            )

    @classmethod
    def needs_labels(cls, config: Config) -> bool:
        """Whether a network has a layer that takes the class."""
        lines = (line for part in PARTS[config.kind] for line in getattr(config, part))
        return any(line.split()[:1] in (["embedding"], ["film"]) for line in lines)

    @classmethod
    def least_batch(cls, config: Config, spec: Spec) -> int:
        steps = (step for steps in plans(config, spec).values() for step in steps)
        return 2 if any(step.layer == "batch_norm" for step in steps) else 1

    def adam(self) -> dict[str, Adam]:
        adam = Adam(self.config.lr, self.config.beta1, 0.99)
        return {"maker": adam, "discriminator": adam} if self.config.kind == "gan" else {"maker": adam}

    def phases(self) -> list[Phase]:
        if self.config.kind != "gan":
            loss = self.vae_loss if self.config.kind == "vae" else self.autoencoder_loss
            return [Phase(self.config.kind, ("maker",), loss)]
        phases = [
            Phase("generator", ("maker",), self.generator_loss),
            Phase("discriminator", ("discriminator",), self.discriminator_loss),
        ]
        return [*phases, Phase("r1", ("discriminator",), self.r1_loss, R1_EVERY)] if self.config.r1 else phases

    def generator_loss(self, batch: Batch) -> dict[str, Tensor]:
        """The generator's part of the loss: non-saturating, or minus the mean score."""
        fakes = self.maker["generator"](self.noise(batch), batch.labels)
        batch.shared["fakes"] = fakes.detach()
        scores = self._scores(fakes, batch.labels)
        return {"loss": losses.non_saturating(scores) if self.config.loss == "logistic" else -scores.mean()}

    def discriminator_loss(self, batch: Batch) -> dict[str, Tensor]:
        """Real and generated images in separate batches, each normalised by itself where a layer does that."""
        real, fake = (self._scores(x, batch.labels) for x in (batch.images, batch.shared["fakes"]))
        if self.config.loss == "wasserstein":
            loss = fake.mean() - real.mean()
        else:
            loss = losses.hinge(real, fake) if self.config.loss == "hinge" else losses.logistic(real, fake)
        return {"loss": loss, "real": real.mean(), "fake": fake.mean()}

    def r1_loss(self, batch: Batch) -> dict[str, Tensor]:
        """R1 of the real images: r1 / 2 times the squared gradient, times R1_EVERY for the steps without it."""
        with contextlib.ExitStack() as plain:
            plain.enter_context(torch.autocast(batch.images.device.type, enabled=False))
            if any(isinstance(layer, nn.RNNBase) for layer in self.discriminator.modules()):
                # cuDNN and oneDNN have no second derivative of recurrent layers; switching oneDNN warns about TF32
                plain.enter_context(warnings.catch_warnings(action="ignore"))
                plain.enter_context(torch.backends.cudnn.flags(enabled=False))
                plain.enter_context(torch.backends.mkldnn.flags(enabled=False))
            images = batch.images.detach().requires_grad_()
            penalty = squared_gradient(self._scores(images, batch.labels), images).mean()
        return {"loss": penalty * (self.config.r1 / 2 * R1_EVERY), "penalty": penalty}

    def _scores(self, images: Tensor, labels: Tensor | None) -> Tensor:
        scores: Tensor = self.discriminator(images, labels)
        return scores[:, 0].float()

    def autoencoder_loss(self, batch: Batch) -> dict[str, Tensor]:
        """The mean squared error of the reconstruction."""
        codes, _ = self.codes(batch.images, batch.labels)
        return {"loss": (self.maker["decoder"](codes, batch.labels).float() - batch.images).square().mean()}

    def vae_loss(self, batch: Batch) -> dict[str, Tensor]:
        """The negative evidence lower bound per number of the picture, for a Gaussian with the variance of the
        batch."""
        mean, log_variance = self.codes(batch.images, batch.labels)
        assert log_variance is not None
        codes = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
        error = (self.maker["decoder"](codes, batch.labels).float() - batch.images).square().mean()
        kl = losses.gaussian_kl(mean, log_variance).mean()
        return {
            "loss": 0.5 * error.clamp_min(1e-6).log() + self.config.beta * kl / self.spec.pixels,
            "error": error,
            "kl": kl,
        }

    def generate(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        """See System. Where labels are needed and not given, the class follows from the first number of the latent."""
        if labels is None and self.count:
            share = torch.special.ndtr(latents[:, 0].double())
            labels = (share * self.count).long().clamp(max=self.count - 1)
        if self.config.kind == "gan":
            return self.maker["generator"](latents, labels).clamp(-1, 1)  # type: ignore[no-any-return]
        return super().generate(latents, labels)

    def decode(self, codes: Tensor, labels: Tensor | None) -> Tensor:
        return self.maker["decoder"](codes, labels).clamp(-1, 1)  # type: ignore[no-any-return]

    def codes(self, images: Tensor, labels: Tensor | None) -> tuple[Tensor, Tensor | None]:
        codes: Tensor = self.maker["encoder"](images, labels).float()
        if self.config.kind == "autoencoder":
            return codes, None
        mean, log_variance = codes.chunk(2, 1)
        return mean, log_variance.clamp(-12, 12)


SYSTEM = Composed
