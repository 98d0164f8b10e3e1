"""Noto Emoji: pictures, from a copy of its repository or an archive of it, with their names in Unicode as captions."""

from __future__ import annotations

import lzma
import re
import tarfile
import unicodedata
import zlib
from collections.abc import Iterator
from pathlib import Path

from ganforge.base.errors import DataError
from ganforge.base.files import file_sha256
from ganforge.base.tables import write_csv

COMMIT = "b3e3051a088047d19fd4d49b1c3ac42fb8c3aaf8"
ARCHIVE = f"{COMMIT}.tar.gz"
FOLDER = "png/128"
MOST_BYTES, MOST_ARCHIVE_BYTES = 256 << 20, 2 << 30
"""Of the pictures together, and of the archive."""
FEWEST = 1_000
"""Pictures that a copy of the set has at least."""
_NAME = re.compile(r"emoji_u([0-9a-f]{4,5}(?:_[0-9a-f]{4,5})*)\.png")
_JOINERS = (0x200D, 0xFE0F)
_LEFT_OUT = (range(0x1F3FB, 0x1F400), range(0x1F1E6, 0x1F200), range(0xE0020, 0xE0080))
"""Skin tones, of which near-copies are made, and flags, whose names say nothing of what is to be seen."""


def caption(name: str) -> str:
    """The caption of a picture by the name of its file: `emoji_u1f468_200d_1f4bb.png` -> `man, personal computer`. ""
    for skin tones, flags, and what this Python's Unicode does not know."""
    match = _NAME.fullmatch(name)
    points = [int(digits, 16) for digits in match[1].split("_")] if match else []
    if any(point in left_out for point in points for left_out in _LEFT_OUT):
        return ""
    words = [unicodedata.name(chr(point), "") for point in points if point not in _JOINERS]
    return ", ".join(words).lower() if all(words) else ""


def unpack(source: Path, out: Path) -> Iterator[tuple[str, str, str]]:
    """Copy the pictures of `source` that have a caption into `out`, and write captions.csv beside them: (file in `out`,
    "", SHA-256) of each.

    `source` is an archive of the repository, or a folder that has the pictures, or a copy of the repository. DataError
    where it has none, OSError where it cannot be read or written."""
    rows = []
    for name, data in sorted(_archived(source) if source.is_file() else _lying(source)):
        target = out / name
        target.write_bytes(data)
        rows.append({"file": name, "caption": caption(name)})
        yield name, "", file_sha256(target)
    if len(rows) < FEWEST:
        raise DataError(
            f"{source} has {len(rows):,} pictures of emoji such as emoji_u1f600.png; the set has more than {FEWEST:,}. "
            f"--from takes a copy of the repository noto-emoji, its folder {FOLDER}, or a tar of it."
        )
    write_csv(out / "captions.csv", ("file", "caption"), rows)


def _lying(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of each picture in a folder."""
    inner = folder / FOLDER
    for file in (inner if inner.is_dir() else folder).iterdir():
        if caption(file.name):
            yield file.name, file.read_bytes()


def _archived(archive: Path) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of each picture in a tar; nothing else of it is read."""
    left = MOST_BYTES
    try:
        with tarfile.open(archive, "r|*") as tar:
            for member in tar:
                folder, _, name = member.name.rpartition("/")
                if not member.isreg() or not folder.endswith(FOLDER) or not caption(name):
                    continue
                left -= member.size
                if left < 0:
                    raise DataError(f"{archive} has pictures of over {MOST_BYTES >> 20} MiB; the original has fewer.")
                data = tar.extractfile(member)
                assert data is not None
                yield name, data.read()
    except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise DataError(f"{archive} cannot be unpacked: {error}.") from error
