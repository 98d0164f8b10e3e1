"""The data set card: a README.md for people and for Hugging Face, with counts, licences, authors, sources and what was
done."""

from __future__ import annotations

import html
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ganforge.base.files import writing
from ganforge.media.pair import Pair
from ganforge.store.licences import spdx
from ganforge.store.meta import Counts, counts
from ganforge.store.split import ASIDE
from ganforge.store.store import Store
from ganforge.version import __version__

NAME = "README.md"
STORE = (
    "A store of ganforge: `images-*.npy` are (rows, height, width, channels) uint8, `labels.npy` and `splits.npy` "
    "(0 for training, 1 held out, 2 set aside) have a number a row, `meta.parquet` a row a picture with its name, "
    "hashes, source, licence and author, and `manifest.json` the SHA-256 of all of them. numpy alone reads it; "
    "`ganforge train SYSTEM` takes the folder."
)
"""What lies beside the card of a store."""
MOST = 50  # rows of a table
_SIZES = ((1000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"), (10**7, "1M<n<10M"))
_HUGGING_FACE = {  # the licences that its cards have a word for, which is the identifier in small letters
    "apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause", "cc0-1.0", "cc-by-2.0", "cc-by-2.5", "cc-by-3.0", "cc-by-4.0",
    "cc-by-sa-3.0", "cc-by-sa-4.0", "cc-by-nc-2.0", "cc-by-nc-3.0", "cc-by-nc-4.0", "cc-by-nd-4.0", "cc-by-nc-nd-3.0",
    "cc-by-nc-nd-4.0", "cc-by-nc-sa-2.0", "cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0", "unlicense", "wtfpl", "isc", "zlib",
}  # fmt: skip


def card(store: Store, name: str, steps: Iterable[Mapping[str, Any]], files: str) -> str:
    """The card of a store, or of an export of it, called `name`, as Markdown with a YAML header.

    `steps` are what was done (see history.py), `files` a sentence or two about what lies beside the card. What
    strangers wrote, such as names of authors, is escaped."""
    counted = counts(store)
    shown = len(store.train) + len(store.heldout)
    medium = store.spec.medium
    task = "image-to-image" if isinstance(medium, Pair) else "unconditional-image-generation"
    tasks = [task, *(["image-classification"] if store.labelled else [])]
    header = {
        "pretty_name": name, "license": _licences(counted), "task_categories": tasks,
        "size_categories": [next((word for bound, word in _SIZES if shown < bound), "n>10M")], "tags": ["ganforge"],
    }  # fmt: skip
    lines = ["---", *(f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in header.items()), "---", ""]
    lines += [
        f"# {_plain(name)}",
        "",
        f"{shown:,} {medium.plural} of {store.spec}: {len(store.train):,} for training, {len(store.heldout):,} held "
        f"out. Made by ganforge {__version__}; root hash of the store `{store.root}`.",
        "",
        files,
        "",
    ]
    if isinstance(medium, Pair):
        lines += [f"The first {medium.given} of the channels of a row are given, the others wanted.", ""]
    if isinstance(medium, Pair) and medium.palette:
        numbers = ", ".join(f"{n} is {entry}" for n, entry in enumerate(medium.palette))
        lines += [f"Numbers of the given map, with the id of the class and its colour: {numbers}.", ""]
    if store.spec.classes:
        used = store.labels[(store.splits != ASIDE) & (store.labels >= 0)]
        numbers = np.bincount(used, minlength=len(store.spec.classes)).tolist()
        lines += _table("Classes", "class", dict(zip(store.spec.classes, numbers, strict=True)))
    lines += _table("Licences", "licence", _ordered(counted.licences))
    lines += _table("Authors", "author", _ordered(counted.authors))
    lines += _table("Sources", "source", _ordered(counted.sources))
    lines += ["## What was done", ""]
    lines += [f"- {_plain(str(step.get('at', ''))[:10])} {_plain(str(step['verb']))}: {_facts(step)}" for step in steps]
    lines += ["", *(_table("Left out", "reason", _ordered(counted.dropped)) if counted.dropped else [])]
    return "\n".join(lines).rstrip() + "\n"


def write(folder: Path, text: str) -> None:
    """Write a card into a folder. DataError where it cannot be written."""
    with writing(folder / NAME, "Free some space."):
        (folder / NAME).write_text(text, "utf-8", errors="backslashreplace")


def licences(counted: Counts) -> str:
    """One line: how many pictures of which licence."""
    return (
        ", ".join(f"{name or 'not stated'} {count:,}" for name, count in _ordered(counted.licences).items()) or "none"
    )


def _licences(counted: Counts) -> list[str]:
    words = {(spdx(name) or "other").lower() if name else "unknown" for name in counted.licences}
    return sorted({word if word in _HUGGING_FACE or word == "unknown" else "other" for word in words})


def _ordered(counter: Counter[str]) -> dict[str, int]:
    """The most frequent first, what is not stated last."""
    return dict(sorted(counter.items(), key=lambda pair: (not pair[0], -pair[1], pair[0])))


def _table(title: str, column: str, rows: Mapping[str, int]) -> list[str]:
    some = list(rows.items())[:MOST]
    lines = [f"## {title}", "", f"| {column} | pictures |", "|---|---:|"]
    lines += [f"| {_plain(word) or 'not stated'} | {count:,} |" for word, count in some]
    if len(rows) > MOST:
        lines += [f"| {len(rows) - MOST:,} more | {sum(rows.values()) - sum(count for _, count in some):,} |"]
    return [*lines, ""]


def _facts(step: Mapping[str, Any]) -> str:
    facts = []
    for name, value in step.items():
        if name not in ("verb", "at", "ganforge"):
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            facts.append(f"{name} {text if len(text) <= 120 else text[:119] + '…'}")
    return _plain(", ".join(facts))


def _plain(text: str) -> str:
    """Text that Markdown shows as it is."""
    text = html.escape(" ".join(text.split()), quote=False)
    return re.sub(r"([\\`*_\[\]|])", r"\\\1", text)
