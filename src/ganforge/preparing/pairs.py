"""Pairs of two sets of pictures: joined by name, the shape of their rows, and both halves fitted as one."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ganforge.base.errors import DataError, InputError
from ganforge.base.files import resolved
from ganforge.base.images import Pixels
from ganforge.media.pair import Pair
from ganforge.media.spec import Spec
from ganforge.preparing.settings import Settings
from ganforge.preparing.shape import choose
from ganforge.sources import maps
from ganforge.sources.depth import Levels
from ganforge.sources.entry import Entry, Skip, Source, in_portions
from ganforge.sources.formats import refusal
from ganforge.sources.layout import Layout, some
from ganforge.sources.source import open_source
from ganforge.sources.transform import cut, fit, nearest, resize, saliency
from ganforge.store.provenance import Origin

ASPECT = 0.02
"""Share of a side by which two pictures of a pair may differ when they are brought to one size; or one pixel of the
smaller one."""
WORDS = GIVEN, WANTED = "given", "wanted"


@dataclass(frozen=True)
class Half:
    """How the given, or the wanted, pictures are converted; see `convert.Plan`."""

    channels: int
    levels: Levels
    all_grey: bool


def open_pairs(given: Path, wanted: Path, labels: Path | None = None, known: Layout | None = None) -> Source:
    """The pictures of `given`, each with its partner in `wanted`, of the same path without suffix, or with why it has
    none; then the pictures of `wanted` that are nobody's partner. Labels, split and groups are those of `given`;
    `labels` and `known` as for `open_source`. InputError where a source has no named files or one lies in the other,
    DataError where nothing pairs."""
    one, other = resolved(given), resolved(wanted)
    if one.is_relative_to(other) or other.is_relative_to(one):
        raise InputError(
            f"{given} and {wanted} of --pair are one folder or lie in each other. Name two folders or zips."
        )
    sources = open_source(given, labels, known), open_source(wanted)
    for path, source in zip((given, wanted), sources, strict=True):
        if not source.named:
            raise InputError(
                f"{path} holds no files whose names could be joined. Pairs are made of folders, zips and tars of "
                "pictures."
            )
    listed = [list(source.entries()) for source in sources]
    stems = _by_stem(listed[0]), _by_stem(listed[1])
    partners = {
        entries[0].name: stems[1][stem][0]
        for stem, entries in stems[0].items()
        if len(entries) == len(stems[1].get(stem, ())) == 1
    }
    if not partners:
        first = [next(iter(by_stem.values()), None) for by_stem in stems]
        names = [repr(entries[0].name) if entries else "nothing that is a picture" for entries in first]
        raise DataError(
            f"No given picture has a partner: {given} holds {names[0]}, {wanted} {names[1]}. Give the two of a pair "
            "the same path in their folders, apart from the suffix."
        )
    taken = {partner.name for partner in partners.values()}
    entries = [
        replace(entry, partner=partners.get(entry.name) or _alone(entry, *stems, GIVEN, WANTED)) for entry in listed[0]
    ]
    entries += [
        Entry(entry.name, entry.read, partner=_alone(entry, stems[1], stems[0], WANTED, GIVEN))
        for entry in listed[1]
        if entry.name not in taken
    ]
    portions = in_portions(len(entries), lambda start, stop: iter(entries[start:stop]))
    return replace(sources[0], portions=portions, medium=Pair.kind)


def _by_stem(entries: Sequence[Entry]) -> dict[str, list[Entry]]:
    """Those that may be pictures, by their path without suffix."""
    by_stem: dict[str, list[Entry]] = {}
    for entry in entries:
        if not _unusable(entry):
            by_stem.setdefault(_stem(entry.name), []).append(entry)
    return by_stem


def _stem(name: str) -> str:
    return os.path.splitext(name)[0]  # noqa: PTH122 (called a million times, and Path takes far longer)


def _unusable(entry: Entry) -> str:
    """Why a file is not tried as a picture, without reading it; "" where it is."""
    try:
        return refusal(entry.name) if not entry.name.endswith("/") else str(entry.read())  # a folder that is closed
    except Skip as skip:
        return str(skip)


def _alone(entry: Entry, own: dict[str, list[Entry]], others: dict[str, list[Entry]], half: str, other: str) -> str:
    """Why a picture of the one `half` has no partner in the `other`; all of both are in `own` and `others`."""
    if reason := _unusable(entry):
        return f"{reason} ({half})"
    for several, word in ((own[_stem(entry.name)], half), (others.get(_stem(entry.name), []), other)):
        if len(several) > 1:
            return f"several {word} pictures of one name: {some([one.name for one in several])}"
    return f"no partner among the {other} pictures"


# ---------------------------------------------------------------------------------------------------------------- shape


def choose_pair(source: Source, settings: Settings) -> tuple[Spec, tuple[Half, ...], list[str]]:
    """The spec of a set of pairs, how each half is converted, and what the user should know: channels and levels as the
    pictures of each half suggest, the resolution as the wanted ones do. `channels` of the settings are of the wanted
    ones. DataError where the given ones are to be maps of ids and are not."""
    s = settings
    both = [(entry, entry.partner) for entry in source.entries() if isinstance(entry.partner, Entry)]
    given, wanted = (_source(source.name, one) for one in zip(*both, strict=True))
    spec, levels, notes = choose(wanted, s.resolution, s.channels, s.background, s.levels)
    notes = [f"{WANTED}: {note}" for note in notes]
    halves = [Half(spec.channels, levels, s.channels is None and spec.channels == 1)]
    if s.ids:
        medium = Pair(1, maps.palette(given.entries(), s.ids))
        more = ", …" if len(medium.ids) > 24 else ""
        notes.append(f"{GIVEN}: maps of {len(medium.ids)} ids: {', '.join(map(str, medium.ids[:24]))}{more}")
        halves.insert(0, Half(1, Levels(), False))
    else:
        like, levels, others = choose(given, f"{spec.height}x{spec.width}", None, s.background, s.levels)
        medium = Pair(like.channels)
        notes += [f"{GIVEN}: {note.partition('; --')[0]}" for note in others]  # most options are of the wanted ones
        halves.insert(0, Half(like.channels, levels, like.channels == 1))
    channels = medium.given + spec.channels
    return Spec(spec.height, spec.width, channels, source.classes, medium=medium), tuple(halves), notes


def _source(name: str, entries: Sequence[Entry]) -> Source:
    """These entries alone."""
    portions = in_portions(len(entries), lambda start, stop: iter(entries[start:stop]))
    return Source(name, portions, Layout(), False)


# ----------------------------------------------------------------------------------------------------------------- rows


def fit_both(
    given: Pixels, wanted: Pixels, spec: Spec, medium: Pair, mode: str, fills: Sequence[tuple[int, ...]]
) -> Pixels:
    """(h, w, G) and (h', w', W) uint8 of about one aspect ratio -> a row (H, W, G + W) of `spec`: the smaller one is
    enlarged to the size of the other, then both are fitted alike, maps of ids without mixing them. `mode` and `fills`
    (of each half) as for `fit`; the window of `smart` is that of the wanted picture."""
    height, width = max((given.shape[:2], wanted.shape[:2]), key=lambda size: size[0] * size[1])
    if wanted.shape[:2] != (height, width):
        wanted = fit(wanted[None], height, width, "stretch", fills[1])[0]
    weight = saliency(wanted) if mode == "smart" else None
    fitted = []
    for half, fill, resized in zip(
        (given, wanted), fills, (nearest if medium.palette else resize, resize), strict=True
    ):
        one = fit(half[None], height, width, "stretch", fill, resized)
        if weight is not None:
            one = cut(one, spec.height / spec.width, weight)
        fitted.append(fit(one, spec.height, spec.width, "crop" if mode == "smart" else mode, fill, resized)[0])
    return medium.row(*fitted)


def check_aspects(given: tuple[int, int], wanted: tuple[int, int]) -> None:
    """Raises Skip where two sizes (height, width) differ in more than scale, by more than ASPECT."""
    small, large = sorted((given, wanted), key=lambda size: size[0] * size[1])
    long = int(small[1] >= small[0])
    short = large[1 - long] * small[long] / large[long]
    if abs(small[1 - long] - short) > max(1, ASPECT * short):
        raise Skip(
            "two aspect ratios: {}x{} given, {}x{} wanted, more than {:.0%} apart".format(*given, *wanted, ASPECT)
        )


def origin_of(given: Origin, wanted: Origin) -> Origin:
    """The origin of a pair: the name of the given picture, and the sources, licences and authors of both."""
    if given[1:] == wanted[1:]:
        return given
    licences = [origin.licence or "NOASSERTION" for origin in (given, wanted)]
    return Origin(
        given.original,
        "; ".join(dict.fromkeys(filter(None, (given.source, wanted.source)))),
        " AND ".join(dict.fromkeys(licences)) if given.licence or wanted.licence else "",
        "; ".join(dict.fromkeys(filter(None, (given.author, wanted.author)))),
    )
