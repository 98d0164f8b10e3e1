"""Pictures of a source -> one part of a store: decoded, fitted, hashed, on all cores with flat memory."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from ganforge.base.images import Pixels
from ganforge.base.pool import chunks, ordered
from ganforge.media.captions import MOST_WORDS, words_of
from ganforge.media.clip import Clip
from ganforge.media.medium import Unusable
from ganforge.media.pair import Pair
from ganforge.media.spec import Spec, spec_from
from ganforge.media.text import Text
from ganforge.preparing import media, pairs, texts
from ganforge.preparing.pairs import Half
from ganforge.preparing.parts import Meta, finished, new_part
from ganforge.sources import maps
from ganforge.sources.decode import decode, fit_channels
from ganforge.sources.depth import Levels
from ganforge.sources.entry import Entry, Portion, Skip, digest
from ganforge.sources.formats import refusal
from ganforge.sources.transform import fit, stretch

CHUNK = 32
RUN_BYTES = 4 << 20
NEUTRAL = 8  # levels between the channels of a grey that a JPEG keeps in RGB


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All that a worker has to know to make any part of a store."""

    source: str
    labels: str | None
    spec: Spec
    fit: str
    background: tuple[int, int, int]
    stretch: bool
    part_size: int
    parts: int
    listing: str
    """Hash of the first part's names: another source has another one."""
    layout: tuple[int | None, int | None, str]
    """`label_at`, `split_at` and `table` of the source's layout."""
    levels: Levels
    """Of pictures of more than eight bits."""
    all_grey: bool
    """One channel, since no picture that was looked at has colour: one that has is left out, not greyed."""
    refused: Mapping[str, str] = field(default_factory=dict)
    """File -> why an audit refuses it."""
    stride: int = 0
    """Frames or characters from the beginning of a clip or a passage to that of the next; 0 where there are none."""
    block: int = 0
    """Of texts: characters of a text that stay on one side of the split; 0: all."""
    column: str = ""
    """Of texts: the column that holds them, where they stand in a table."""
    wanted: str = ""
    """Of pairs: the source of the wanted pictures."""
    captioned: bool = False
    """Whether pictures have captions."""
    halves: tuple[Half, ...] = ()
    """Of pairs: how given and wanted pictures are converted, in the place of `levels` and `all_grey`."""

    @cached_property
    def fill(self) -> tuple[int, ...]:
        """The background in the channels of a picture or a frame."""
        if self.spec.is_picture and self.spec.channels == 4:
            return (*self.background, 0)
        channels = self.spec.channels
        if isinstance(self.spec.medium, Clip):
            channels //= self.spec.medium.frames
        pixel = np.array([[self.background]], np.uint8)
        return tuple(int(v) for v in fit_channels(pixel, channels)[0, 0])

    @cached_property
    def half_plans(self) -> list[Plan]:
        """Of pairs: the plans by which given and wanted pictures are decoded."""
        size = self.spec.height, self.spec.width
        return [
            replace(self, spec=Spec(*size, half.channels), levels=half.levels, all_grey=half.all_grey, halves=())
            for half in self.halves
        ]

    @cached_property
    def _classes(self) -> frozenset[str]:
        return frozenset(self.spec.classes)

    def check_label(self, entry: Entry) -> None:
        """Raises Skip where there are classes and the label is none of them: that of a folder, say, in which no file
        has the name of a picture. A folder that is not entered has a reason of its own."""
        if self._classes and entry.label not in self._classes and not entry.name.endswith("/"):
            raise Skip("no label" if entry.label is None else f"no class: {entry.label!r}")

    def check_caption(self, entry: Entry) -> None:
        """Raises Skip where there are captions and this picture has none, or one that is too long."""
        if not self.captioned:
            return
        longest = max((len(words_of(line)) for line in entry.caption.splitlines()), default=0)
        if not longest:
            raise Skip("no caption")
        if longest > MOST_WORDS:
            raise Skip(f"a caption of {longest:,} words; at most {MOST_WORDS} are read")

    def to_plain(self) -> dict[str, Any]:
        """As plain values for JSON."""
        return {**asdict(self), "spec": self.spec.to_plain()}

    @staticmethod
    def from_plain(values: Mapping[str, Any]) -> Plan:
        """The inverse of `to_plain`, also through JSON."""
        tuples = {name: tuple(values[name]) for name in ("background", "layout")}
        plain: dict[str, Any] = {"spec": spec_from(values["spec"]), "levels": Levels(**values["levels"])}
        plain["halves"] = tuple(Half(**{**half, "levels": Levels(**half["levels"])}) for half in values["halves"])
        return Plan(**{**values, **tuples, **plain})


def convert_part(
    plan: Plan,
    portions: Sequence[Portion],
    number: int,
    path: Path,
    threads: int,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Make part `number` of the source's portions at `path`, unless it is there already. `progress` gets the number
    of files of each chunk."""
    if finished(path):
        return
    entries = portions[number]()
    if isinstance(plan.spec.medium, Text):
        made = texts.portions(entries, plan)  # a text may have a million rows, and each costs next to nothing
    else:
        made = ordered(partial(_convert_chunk, plan=plan), chunks(entries, CHUNK), threads)
    with new_part(path, plan.spec, plan.captioned) as writer:
        for pictures, metas in made:
            writer.add(pictures, metas)
            if progress:
                progress(len(metas))


def _convert_chunk(chunk: list[Entry], plan: Plan) -> tuple[list[Pixels], list[Meta]]:
    """Pictures of one size that follow each other are fitted together: small ones cost more in calls than in pixels."""
    if not plan.spec.is_picture:
        return _other_rows(chunk, plan)
    pictures: list[Pixels] = []
    metas: list[Meta] = []
    run: list[tuple[Pixels, Meta]] = []
    for entry in chunk:
        meta = Meta(entry.name, entry.label, entry.split, origin=entry.origin)
        meta.caption = entry.caption if plan.captioned else None
        metas.append(meta)
        try:
            pixels = _decode(entry, meta, plan)
        except Skip as skip:
            meta.dropped = str(skip)
            continue
        if run and (run[0][0].shape != pixels.shape or len(run) * pixels.nbytes > RUN_BYTES):
            pictures += _fit(run, plan)
            run = []
        run.append((pixels, meta))
    return (pictures + _fit(run, plan) if run else pictures), metas


def _other_rows(chunk: list[Entry], plan: Plan) -> tuple[list[Pixels], list[Meta]]:
    """Of sounds, clips and pairs, file by file; all rows of a file or none."""
    rows: list[Pixels] = []
    metas: list[Meta] = []
    for entry in chunk:
        try:
            medium = plan.spec.medium
            of_file = [_pair(entry, plan, medium)] if isinstance(medium, Pair) else list(media.rows(entry, plan))
            rows += [row for row, _ in of_file]
            metas += [meta for _, meta in of_file]
        except (Skip, Unusable) as reason:
            metas.append(Meta(entry.name, entry.label, entry.split, dropped=str(reason), origin=entry.origin))
    return rows, metas


def _decode(entry: Entry, meta: Meta, plan: Plan) -> Pixels:
    """One picture in the store's channels and its own size; fills in its row. Raises Skip."""
    spec = plan.spec
    if reason := refusal(entry.name):
        raise Skip(reason)
    plan.check_label(entry)
    plan.check_caption(entry)
    if (verdict := plan.refused.get(meta.file)) is not None:
        raise Skip(f"refused by the audit: {verdict}")
    data = entry.read()
    meta.sha256 = digest(data)
    if isinstance(data, bytes):
        channels, side = 0 if plan.all_grey else spec.channels, max(spec.height, spec.width)
        pixels, (meta.height, meta.width) = decode(data, channels, plan.background, side, plan.levels)
    else:
        pixels = data
        meta.height, meta.width = data.shape[:2]
    if plan.all_grey and pixels.shape[2] == 3 and np.ptp(pixels, 2).max(initial=0) > NEUTRAL:
        raise Skip("in colour, unlike the pictures looked at; say --channels 3, or 1 to grey it")
    return fit_channels(pixels, spec.channels)


def _pair(entry: Entry, plan: Plan, medium: Pair) -> tuple[Pixels, Meta]:
    """A row of given and wanted, and its hashes; `height` and `width` are those of the wanted picture. Raises Skip."""
    partner = entry.partner
    if not isinstance(partner, Entry):
        raise Skip(partner)
    plan.check_label(entry)
    metas = Meta(entry.name), Meta(partner.name)
    pixels: list[Pixels] = []
    for half, one, meta, word in zip(plan.half_plans, (entry, partner), metas, pairs.WORDS, strict=True):
        try:
            is_map = one is entry and medium.palette
            pixels.append(_decode_map(one, meta, medium) if is_map else _decode(one, meta, half))
        except Skip as skip:
            raise Skip(f"{str(skip).partition('; say --channels')[0]} ({word})") from None
    given, wanted = metas
    pairs.check_aspects((given.height, given.width), (wanted.height, wanted.width))
    row = pairs.fit_both(pixels[0], pixels[1], plan.spec, medium, plan.fit, [half.fill for half in plan.half_plans])
    return row, Meta(
        entry.name, entry.label, entry.split, wanted.height, wanted.width, digest(given.sha256 + wanted.sha256),
        hashlib.sha256(row.data).digest(), origin=pairs.origin_of(entry.origin, partner.origin),
    )  # fmt: skip


def _decode_map(entry: Entry, meta: Meta, medium: Pair) -> Pixels:
    """One map of ids as numbers of the palette, (H, W, 1), in its own size; fills in its row. Raises Skip."""
    data = entry.read()
    meta.sha256 = digest(data)
    class_map = maps.read(data)
    meta.height, meta.width = class_map.ids.shape
    return maps.numbers(class_map, medium)


def _fit(run: list[tuple[Pixels, Meta]], plan: Plan) -> list[Pixels]:
    """Pictures of one size to the store's."""
    spec = plan.spec
    fitted = fit(np.stack([pixels for pixels, _ in run]), spec.height, spec.width, plan.fit, plan.fill)
    pictures = [np.ascontiguousarray(picture) for picture in (stretch(fitted) if plan.stretch else fitted)]
    for picture, (_, meta) in zip(pictures, run, strict=True):
        meta.pixels_sha256 = hashlib.sha256(picture.data).digest()
    return pictures
