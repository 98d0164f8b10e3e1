"""The settings of the training loop, and the progress of a run."""

from __future__ import annotations

from dataclasses import dataclass

from ganforge.base import device
from ganforge.base.config import setting
from ganforge.base.errors import InputError
from ganforge.store import augment
from ganforge.training import trackers


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of the loop, the section [train] of run.toml."""

    images: int = setting(1_000_000, "length of the run, in images shown; with --minutes 0 until it is known", low=0)
    minutes: float = setting(0.0, "length of the run in minutes instead; 0: images decide", low=0.0)
    batch: int = setting(128, "images a step", low=1, high=65536)
    seed: int = setting(0, "seed of all randomness", low=0, high=2**32 - 1)
    precision: str = setting("auto", "bf16, fp32 or the faster one", choices=device.PRECISIONS)
    mirror: bool = setting(False, "mirror each picture with probability 1/2; flip in augment")
    augment: str = setting(
        "", f"augmentations of the training pictures, such as flip, rotate 10; of {', '.join(augment.KINDS)}"
    )
    fold: int = setting(-1, "the fold of the store to hold out instead; -1: none", low=-1, high=127)
    balance: float = setting(
        0.0, "0 shows classes as often as they occur, 1 all equally often, 0.5 by the square root", low=0.0, high=1.0
    )
    ema_images: int = setting(20_000, "half-life of the averaged weights, in images", low=0)
    ema_ramp: float = setting(0.05, "the half-life is at most this share of the images shown so far", low=0.0, high=1.0)
    ema_span: int = setting(
        0, "images over which the half-life grows from 0 to ema_images along a cosine; 0: by ema_ramp", low=0
    )
    cooldown: float = setting(
        0.0, "share of the run, at its end, over which learning rates fall linearly", low=0.0, high=1.0
    )
    report: int = setting(0, "images between reports; 0: a twentieth of the run", low=0)
    measure: float = setting(
        0.05,
        "share of the time that measuring samples at reports may take, which finds the best checkpoint; 1: at every "
        "report, 0: never",
        low=0.0,
        high=1.0,
    )
    patience: int = setting(0, "end when the distance has not fallen for so many images; 0: never", low=0)
    keep: str = setting("best", "checkpoints to keep: best (and the two newest), all, or a number (and the best)")

    track: str = setting(
        "tensorboard",
        f"trackers that get the rows of stats.jsonl, where they are installed; of {', '.join(trackers.TRACKERS)}",
    )

    def __post_init__(self) -> None:
        trackers.parse(self.track)
        if self.keep not in ("best", "all") and not (self.keep.isdecimal() and int(self.keep) > 0):
            raise InputError(f"train.keep is {self.keep!r}; it takes best, all, or a number from 1 on.")


@dataclass
class Progress:
    """The progress of a run; saved with each checkpoint."""

    seen: int = 0
    seconds: float = 0.0
    lr_scale: float = 1.0
    """Factor of the rates after the last rollback; it recovers over RECOVERY steps."""
    rollbacks: int = 0
    repeated: int = 0
    """Number of rollbacks of which each came before the rates had recovered from the one before."""
    slowed: int = 0
    """Images shown when the rates were lowered last."""
    collapses: int = 0
    """Number of times that training went back from a collapse: each halves the rates and makes penalties four times as
    strong."""
    measuring: float = 0.0
    """Seconds that scores and PSNRs have taken; they do not count as training."""
    untrained: float = 0.0
    """Fréchet distance of the samples of untrained weights; 0: not measured."""
    score: dict[str, float] | None = None
    """The score of the samples of this checkpoint, where it was measured."""
    skipped: int = 0
    """Number of steps of a phase that were left out because their numbers were not finite."""
    strain: tuple[float, ...] = ()
    """One number for each phase, see `ganforge.training.watchdog`."""
