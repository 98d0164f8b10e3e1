"""composed: networks that you write yourself, as lists of layers in a TOML file, checked before they are built.

Three kinds: a GAN (Goodfellow et al. 2014; the losses of Lim and Ye 2017 and Arjovsky et al. 2017, the penalty of
Mescheder et al. 2018, as often as in Karras et al. 2020, "StyleGAN2", appendix B), an autoencoder with a normal
distribution of its codes, and a VAE (Kingma and Welling 2014). The layers: `ganforge layers`; the tables of a file:
`ganforge show system.toml`."""

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
from ganforge.compose.catalogue import RANGES, Shape
from ganforge.compose.network import Network
from ganforge.media.spec import Spec
from ganforge.nn import losses
from ganforge.nn.gaussian import Gaussian
from ganforge.nn.penalties import squared_gradient
from ganforge.system import Adam, Batch, Phase, System

R1_EVERY = 16  # steps
PARTS = {"gan": ("generator", "discriminator"), "autoencoder": ("encoder", "decoder"), "vae": ("encoder", "decoder")}
PLAIN: dict[str, tuple[str, ...]] = {
    "generator": ("dense 256", "leaky_relu", "dense 512", "leaky_relu", "dense pixels", "tanh", "reshape channels height width"),
    "discriminator": ("flatten", "dense 512", "leaky_relu", "dense 256", "leaky_relu", "dense 1"),
    "encoder": ("flatten", "dense 512", "leaky_relu", "dense 256", "leaky_relu", "dense code"),
    "decoder": ("dense 256", "leaky_relu", "dense 512", "leaky_relu", "dense pixels", "tanh", "reshape channels height width"),
}  # fmt: skip


@dataclass(frozen=True)
class Config:
    """Settings of a composed system. A list that is left out is that of a small dense network."""

    kind: str = setting("gan", "gan, autoencoder or vae", choices=tuple(PARTS))
    latent: int = setting(64, "numbers in a latent or code", low=1, high=4096)
    generator: tuple[str, ...] = setting((), "layers of a GAN from latent to picture")
    discriminator: tuple[str, ...] = setting((), "layers of a GAN from picture to one score")
    encoder: tuple[str, ...] = setting(
        (), "layers from picture to code; for a vae to means and log-variances, twice as many"
    )
    decoder: tuple[str, ...] = setting((), "layers from code to picture")
    loss: str = setting(
        "hinge", "of a GAN: hinge, logistic or wasserstein", choices=("hinge", "logistic", "wasserstein")
    )
    r1: float = setting(
        0.0, "weight of a GAN's penalty on the discriminator's gradient at reals", low=0.0, high=10000.0
    )
    beta: float = setting(1.0, "weight of a VAE's prior against the reconstruction", low=0.0, high=1000.0)
    lr: float = setting(2e-4, "learning rate", low=0.0, high=1.0)
    beta1: float = setting(0.5, "Adam's decay of the mean gradient", low=0.0, high=0.999)


PRESETS: dict[str, dict[str, Any]] = {"small": {}, "medium": {}, "large": {}}
TRAIN: dict[str, Any] = {"batch": 64}


def plans(config: Config, spec: Spec) -> dict[str, list[Step]]:
    """The checked networks by name. InputError where a list does not fit itself or the pictures."""
    picture: Shape = (spec.channels, spec.height, spec.width)
    code = config.latent * (2 if config.kind == "vae" else 1)
    words = {
        "height": spec.height, "width": spec.width, "channels": spec.channels, "pixels": spec.pixels,
        "latent": config.latent, "code": code, "classes": len(spec.classes),
    }  # fmt: skip
    ends = {
        "generator": ((config.latent,), picture, "the pictures are"),
        "decoder": ((config.latent,), picture, "the pictures are"),
        "discriminator": (picture, (1,), "a score is"),
        "encoder": (picture, (code,), "a vae's means and log-variances are" if config.kind == "vae" else "a code is"),
    }  # fmt: skip
    made = {}
    for part in PARTS[config.kind]:
        start, end, why = ends[part]
        steps = check(part, getattr(config, part) or PLAIN[part], start, words)
        check_end(part, steps, end, why)
        if end == picture:
            _check_range(part, steps)
        made[part] = steps
    unused = [part for part in PLAIN if getattr(config, part) and part not in made]
    if unused:
        raise InputError(
            f"model.{unused[0]} is of no use to the kind {config.kind}, which has {' and '.join(made)}. Leave it out."
        )
    return made


def _check_range(part: str, steps: list[Step]) -> None:
    """Pictures are from -1 to 1; what a last activation cannot reach cannot be learned."""
    shaping = ("reshape", "unpatches", "crop", "resize", "transpose", "up_sampling", "pixel_shuffle")
    last = next((step for step in reversed(steps) if step.layer not in shaping), steps[-1])
    if RANGES.get(last.layer, "-1 to 1") != "-1 to 1":
        raise InputError(
            f"{part}, layer {last.number} ({last.layer}): it gives {RANGES[last.layer]}, and pictures are from -1 (black) to 1 (white). "
            "End with `tanh`."
        )


class Composed(System):
    """One or two networks out of a list."""

    averaged = ("maker",)
    config: Config

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        made = plans(config, spec)
        self.count = len(spec.classes)
        self.restores = config.kind != "gan" and not self.needs_labels(config)
        parts: dict[str, nn.Module] = {name: Network(steps, self.count) for name, steps in made.items()}
        if config.kind == "gan":
            self.discriminator = parts.pop("discriminator")
        if config.kind == "autoencoder":
            parts["codes"] = Gaussian(config.latent)
        self.maker = nn.ModuleDict(parts)

    @classmethod
    def check(cls, config: Config, spec: Spec) -> None:
        made = plans(config, spec)
        spectral = any(step.values.get("spectral") for step in made.get("discriminator", ()))
        if config.kind == "gan" and config.loss == "wasserstein" and not config.r1 and not spectral:
            raise InputError(
                "The loss wasserstein needs a bounded discriminator. Say r1 = 10, or spectral=yes at the discriminator's layers."
            )

    @classmethod
    def needs_labels(cls, config: Config) -> bool:
        """Whether a list has a layer that takes the class."""
        lines = (line for part in PARTS[config.kind] for line in getattr(config, part))
        return any(line.split()[:1] in (["embedding"], ["film"]) for line in lines)

    @classmethod
    def least_batch(cls, config: Config, spec: Spec) -> int:
        steps = (step for steps in plans(config, spec).values() for step in steps)
        return 2 if any(step.layer == "batch_norm" for step in steps) else 1

    def adam(self) -> dict[str, Adam]:
        both = Adam(self.config.lr, self.config.beta1, 0.99)
        return {"maker": both, "discriminator": both} if self.config.kind == "gan" else {"maker": both}

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
        """The fakes' scores, to be raised."""
        fakes = self.maker["generator"](self.noise(batch), batch.labels)
        batch.shared["fakes"] = fakes.detach()
        scores = self._scores(fakes, batch.labels)
        return {"loss": losses.non_saturating(scores) if self.config.loss == "logistic" else -scores.mean()}

    def discriminator_loss(self, batch: Batch) -> dict[str, Tensor]:
        """Reals and fakes apart, each normalised by its own batch where a layer does that."""
        real, fake = (self._scores(x, batch.labels) for x in (batch.images, batch.shared["fakes"]))
        if self.config.loss == "wasserstein":
            loss = fake.mean() - real.mean()
        else:
            loss = losses.hinge(real, fake) if self.config.loss == "hinge" else losses.logistic(real, fake)
        return {"loss": loss, "real": real.mean(), "fake": fake.mean()}

    def r1_loss(self, batch: Batch) -> dict[str, Tensor]:
        """Half the squared gradient at reals, times `r1`, for the steps that it stands for."""
        with contextlib.ExitStack() as plain:
            plain.enter_context(torch.autocast(batch.images.device.type, enabled=False))
            if any(isinstance(layer, nn.RNNBase) for layer in self.discriminator.modules()):
                plain.enter_context(
                    warnings.catch_warnings(action="ignore")
                )  # oneDNN speaks of TF32 when it is switched
                plain.enter_context(torch.backends.cudnn.flags(enabled=False))  # no second derivative in either
                plain.enter_context(torch.backends.mkldnn.flags(enabled=False))
            images = batch.images.detach().requires_grad_()
            penalty = squared_gradient(self._scores(images, batch.labels), images).mean()
        return {"loss": penalty * (self.config.r1 / 2 * R1_EVERY), "penalty": penalty}

    def _scores(self, images: Tensor, labels: Tensor | None) -> Tensor:
        scores: Tensor = self.discriminator(images, labels)
        return scores[:, 0].float()

    def autoencoder_loss(self, batch: Batch) -> dict[str, Tensor]:
        """The mean squared error; the codes' distribution is learned beside it."""
        codes = self.maker["encoder"](batch.images, batch.labels).float()
        gaussian = self.maker["codes"]
        if isinstance(gaussian, Gaussian):
            gaussian.fit(codes)
        return {"loss": (self.maker["decoder"](codes, batch.labels).float() - batch.images).square().mean()}

    def vae_loss(self, batch: Batch) -> dict[str, Tensor]:
        """The negative evidence bound a number of the picture, for a Gaussian of the batch's own variance."""
        mean, log_variance = self.maker["encoder"](batch.images, batch.labels).float().chunk(2, 1)
        log_variance = log_variance.clamp(-12, 12)
        codes = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
        error = (self.maker["decoder"](codes, batch.labels).float() - batch.images).square().mean()
        kl = losses.gaussian_kl(mean, log_variance).mean()
        return {
            "loss": 0.5 * error.clamp_min(1e-6).log() + self.config.beta * kl / self.spec.pixels,
            "error": error,
            "kl": kl,
        }

    def generate(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        """Without labels, where a layer needs them, a picture's class follows from the first number of its latent."""
        if labels is None and self.count:
            share = torch.special.ndtr(latents[:, 0].double())
            labels = (share * self.count).long().clamp(max=self.count - 1)
        if self.config.kind == "gan":
            return self.maker["generator"](latents, labels).clamp(-1, 1)  # type: ignore[no-any-return]
        codes = self.maker["codes"](latents) if self.config.kind == "autoencoder" else latents
        return self.maker["decoder"](codes, labels).clamp(-1, 1)  # type: ignore[no-any-return]

    def encode(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """(N, C, H, W) -> (N, Z), the codes, of a vae their means."""
        codes: Tensor = self.maker["encoder"](images, labels).float()
        return codes[:, : self.config.latent]

    def restore(self, images: Tensor) -> Tensor:
        """(N, C, H, W) in [-1, 1] -> the same, as their codes remember them; not of a GAN, nor where a layer takes the
        class."""
        return self.maker["decoder"](self.encode(images), None).clamp(-1, 1)  # type: ignore[no-any-return]


SYSTEM = Composed
