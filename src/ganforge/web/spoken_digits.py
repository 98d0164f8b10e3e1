"""The Free Spoken Digit Dataset: its recordings, from a copy of its repository or an archive of it.

Archives of a repository are packed anew from time to time, so their bytes prove nothing: the recordings are checked
instead, all of them together."""

from __future__ import annotations

import hashlib
import lzma
import re
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from ganforge.base.errors import DataError

COMMIT = "26eb9aaf76e81b692f806f9140c2d2777410d7a1"
ARCHIVE = f"{COMMIT}.tar.gz"
MOST_BYTES = 64 << 20
"""Of the archive and of its recordings, which have 16 and 21 million."""
TEST = 5
"""Recordings of a speaker's digit with numbers below this one are its authors' test set."""
COUNT, DIGEST = 3_000, "dbd573d7cafe79c4b49f65718115e1304e24e067fa39eff18a660dc6cb9c360f"
"""How many recordings there are, and the SHA-256 of the lines `NAME SHA-256`, in the order of the names."""
_NAME = re.compile(r"(\d)_[a-z]+_(\d+)\.wav")


def unpack(source: Path, out: Path) -> Iterator[tuple[str, str, str]]:
    """Copy the recordings of `source` into `out` as train/DIGIT/NAME and test/DIGIT/NAME, the authors' own split: (file
    in `out`, digit, SHA-256) of each.

    `source` is an archive of the repository, or a folder that has the recordings, a folder `recordings` with them, or
    one archive. DataError where they are not the published ones, OSError where they cannot be read or written."""
    lines, total = [], 0
    for name, data in sorted(_archived(source) if source.is_file() else _lying(source)):
        match = _NAME.fullmatch(name)
        assert match is not None
        target = out / ("test" if int(match[2]) < TEST else "train") / match[1] / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
        digest = hashlib.sha256(data).hexdigest()
        lines.append(f"{name} {digest}\n")
        total += len(data)
        yield target.relative_to(out).as_posix(), match[1], digest
    if hashlib.sha256("".join(lines).encode()).hexdigest() != DIGEST:
        raise DataError(
            f"{source} has {len(lines):,} recordings of spoken digits that are not the {COUNT:,} published ones of the "
            f"revision {COMMIT[:10]}. Check out that revision, or leave out --from."
        )


def _lying(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of each recording in a folder."""
    inner = folder / "recordings"
    files = [file for file in (inner if inner.is_dir() else folder).iterdir() if _NAME.fullmatch(file.name)]
    archives = [file for file in folder.iterdir() if ".tar" in file.suffixes or file.suffix == ".tgz"]
    if not files and len(archives) != 1:
        raise DataError(
            f"{folder} has no recordings such as 7_jackson_32.wav. --from takes a copy of the repository "
            "free-spoken-digit-dataset, its folder recordings, or a folder with one tar of it."
        )
    if not files:
        yield from _archived(archives[0])
    for file in files:
        yield file.name, file.read_bytes()


def _archived(archive: Path) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of each recording in a tar; nothing else of it is read."""
    left = MOST_BYTES
    try:
        with tarfile.open(archive, "r|*") as tar:
            for member in tar:
                name = member.name.rsplit("/", 1)[-1]
                if not member.isreg() or not _NAME.fullmatch(name):
                    continue
                left -= member.size
                if left < 0:
                    raise DataError(f"{archive} has recordings of over {MOST_BYTES >> 20} MiB; the original has fewer.")
                data = tar.extractfile(member)
                assert data is not None
                yield name, data.read()
    except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise DataError(f"{archive} cannot be unpacked: {error}.") from error
