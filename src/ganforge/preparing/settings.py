"""The settings of `prepare`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ganforge.auditing.settings import Selection
from ganforge.base.config import setting
from ganforge.base.errors import InputError, check_text

HELD_OUT = 0.1


@dataclass(frozen=True, kw_only=True)
class Settings(Selection):
    """Settings of `prepare`, the section [prepare] of a TOML file; docs/prepare.md says what each of them does."""

    medium: str | None = setting(
        None, "what the files are (pictures where there are some, else sounds, solids or texts)",
        choices=("picture", "sound", "clip", "solid", "text"),
    )  # fmt: skip
    pair: Path | None = setting(
        None, "folder or zip of the wanted pictures, each of the same path as the given one, apart from the suffix"
    )
    ids: int | None = setting(
        None, "the given pictures of pairs are maps of at most so many ids of classes", low=2, high=256
    )
    labels: Path | None = setting(None, "CSV with the columns file and label, instead of sub-folders")
    resolution: str | int | None = setting(
        None, "64, or 48x64 (height x width); without it that of the pictures where they agree, else 32, 64 or 128"
    )
    channels: int | None = setting(None, "1 grey, 3 RGB, 4 RGBA (what the pictures are)", choices=(1, 3, 4))
    fit: str = setting(
        "crop", "how pictures of other proportions are fitted", choices=("crop", "smart", "letterbox", "pad", "stretch")
    )
    background: str = setting("white", "colour under transparency and beside a letterbox, a name or #rrggbb")
    levels: str = setting(
        "auto",
        "of pictures of more than 8 bits: auto (by all of them), full, or the values for black and white, 0,4095",
    )
    normalise: str = setting(
        "none", "how bytes become the numbers that a network sees; inverted for samples",
        choices=("none", "unit", "range", "centre", "standard", "image"),
    )  # fmt: skip
    heldout: float | None = setting(
        None, "share kept from training, below 1 (0.1; or the split that the source brings)", low=0, high=1
    )
    stratify: bool = setting(False, "hold out that share of every class")
    folds: int = setting(0, "deal the training pictures into so many folds, 2 or more; 0: none", low=0, high=100)
    per_class: int = setting(0, "at most so many training pictures of a class; 0: all", low=0)
    rate: float | None = setting(
        None, "of sounds samples a second, of clips frames a second (what most files have)", low=0.001
    )
    seconds: float | None = setting(
        None, "length of a row of sound (what nearly all files have)", low=0.001, high=86_400
    )
    frames: int | None = setting(None, "frames of a clip (what nearly all files have, at most 16)", low=2, high=64)
    length: int | None = setting(None, "characters of a passage of text (64)", low=8, high=1024)
    alphabet: str | None = setting(
        None, "characters that passages may hold (those of the texts, at most the 255 most frequent)"
    )
    column: str | None = setting(None, "of CSV or Parquet files: the column of texts (text, or the only one)")
    stride: int | None = setting(
        None, "frames or characters from one beginning of a clip or passage to the next (as many as it has)", low=1
    )
    part_size: int | None = setting(None, "pictures in a part (what fits into 256 MiB)", low=1)
    engine: str = setting("local", "what does the work; ray finds a cluster by RAY_ADDRESS", choices=("local", "ray"))

    def __post_init__(self) -> None:
        """InputError for mistakes that type and range of a single setting do not show."""
        from ganforge.preparing.shape import parse_color, parse_resolution
        from ganforge.sources.survey import parse_levels

        super().__post_init__()
        if self.resolution is not None:
            parse_resolution(self.resolution)
        parse_color(self.background)
        parse_levels(self.levels)
        if self.alphabet is not None:
            self._check_alphabet(self.alphabet)
        if self.heldout == 1:
            raise InputError("prepare.heldout is 1.0; it takes a share from 0 to less than 1.")
        if self.stratify and self.heldout == 0:
            raise InputError(
                "Nothing is held out, so no class gives its share. Leave out --stratify, or say another --heldout."
            )
        if self.ids is not None and self.pair is None:
            raise InputError("--ids says that given pictures are maps. Name the wanted ones too: --pair FOLDER.")
        if self.pair is not None:
            self._check_pair()
        if self.folds == 1:
            raise InputError("prepare.folds is 1; it takes 2 to 100, or 0 for none.")

    @staticmethod
    def _check_alphabet(alphabet: str) -> None:
        """InputError where it cannot be one."""
        check_text(alphabet)
        twice = sorted({char for char in alphabet if alphabet.count(char) > 1})
        if not 1 <= len(alphabet) <= 255 or twice or "\0" in alphabet:
            why = f"{twice[0]!r} twice" if twice else f"{len(alphabet):,} characters"
            raise InputError(f"--alphabet has {why}; it takes 1 to 255 characters, each once, and none of them U+0000.")

    def _check_pair(self) -> None:
        """InputError for settings that make no sense for pairs."""
        if self.medium not in (None, "picture"):
            raise InputError(f"--pair joins pictures, not {self.medium}s. Leave out --medium.")
        if self.audit or self.drop or self.keep:
            raise InputError(
                "An audit is about single pictures, not about pairs. Clean one half first (ganforge clean FOLDER "
                "--audit AUDIT -o CLEANED): what is left out there has no partner then."
            )
        if self.normalise != "none":
            raise InputError(f"--normalise {self.normalise} is for single pictures; pairs take none. Leave it out.")
        if self.ids is not None and self.fit in ("letterbox", "pad"):
            raise InputError(
                f"--fit {self.fit} puts a border around pictures, and a map has no id for it. Use crop, smart or "
                "stretch."
            )
