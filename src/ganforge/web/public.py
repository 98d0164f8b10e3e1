"""Public data sets: where they were published, and the size and MD5 of their files; and sets that are made here."""

from __future__ import annotations

import hashlib
import http.client
import shutil
import tarfile
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ganforge.base.errors import DataError
from ganforge.base.files import file_sha256
from ganforge.base.images import write_image
from ganforge.web import emoji, spoken_digits

_TIMEOUT = 30


@dataclass(frozen=True)
class PublishedFile:
    """One published file."""

    name: str
    md5: str
    """In hexadecimal digits; "" for a member of a published archive."""
    size: int
    """In bytes."""


@dataclass(frozen=True, kw_only=True)
class PublicSet:
    """One public set: its rights, where it was published, and its files."""

    title: str
    licence: str
    author: str
    mirrors: tuple[str, ...] = ()
    """Addresses of the folders that have its files, tried in this order."""
    files: tuple[PublishedFile, ...] = ()
    members: tuple[PublishedFile, ...] = ()
    """Members of a published archive; a folder of the user's may hold them instead of the archive."""
    medium: str = "picture"
    """What `prepare` has to read its files as."""


_MNIST = (
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
)
_MNIST_TRAIN = (
    PublishedFile("train-images-idx3-ubyte.gz", "f68b3c2dcbeaaa9fbdd348bbdeb94873", 9_912_422),
    PublishedFile("train-labels-idx1-ubyte.gz", "d53e105ee54ea40749a09fcbcd1e9432", 28_881),
)

SETS = {
    "digits": PublicSet(
        title="1,797 handwritten digits of 8x8 pixels, embedded in scikit-learn: no network",
        licence="CC BY 4.0",
        author="Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI 1998",
    ),
    "shapes": PublicSet(
        title="4,000 made solids of 32x32x32 voxels, 8 kinds: no network",
        licence="CC0-1.0",
        author="ganforge",
    ),
    "captioned-shapes": PublicSet(
        title="10,000 made pictures of one or two shapes, 64x64 RGB, each with a sentence: no network",
        licence="CC0-1.0",
        author="ganforge",
    ),
    "mnist": PublicSet(
        title="70,000 handwritten digits, 28x28 grey",
        licence="CC BY-SA 3.0 (as commonly stated)",
        author="LeCun, Cortes, Burges",
        mirrors=_MNIST,
        files=(
            *_MNIST_TRAIN,
            PublishedFile("t10k-images-idx3-ubyte.gz", "9fb629c4189551a2d022fa330f9573f3", 1_648_877),
            PublishedFile("t10k-labels-idx1-ubyte.gz", "ec29112dd5afa0611ce80d1b7f02629c", 4_542),
        ),
    ),
    "moving-digits": PublicSet(
        title="6,000 clips of 16 frames: a digit of MNIST that moves and bounces, 32x32 grey",
        licence="CC BY-SA 3.0 (as commonly stated)",
        author="LeCun, Cortes, Burges; moved by ganforge",
        mirrors=_MNIST,
        files=_MNIST_TRAIN,
        medium="clip",
    ),
    "fashion-mnist": PublicSet(
        title="70,000 pieces of clothing, 28x28 grey",
        licence="MIT",
        author="Zalando SE",
        mirrors=(
            "https://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        ),
        files=(
            PublishedFile("train-images-idx3-ubyte.gz", "8d4fb7e6c68d591d4c3dfef9ec88bf0d", 26_421_880),
            PublishedFile("train-labels-idx1-ubyte.gz", "25c81989df183df01b3e8a0aad5dffbe", 29_515),
            PublishedFile("t10k-images-idx3-ubyte.gz", "bef4ecab320f06d8554ea6380940ec79", 4_422_102),
            PublishedFile("t10k-labels-idx1-ubyte.gz", "bb300cfdad3c16e7a12a480ee83cd310", 5_148),
        ),
    ),
    "cifar10": PublicSet(
        title="60,000 photographs of ten kinds, 32x32 RGB",
        licence="none stated by the authors; for research",
        author="Krizhevsky 2009",
        mirrors=("https://www.cs.toronto.edu/~kriz/",),
        files=(PublishedFile("cifar-10-binary.tar.gz", "c32a1d4ab5d03f1284b67883e8d87530", 170_052_171),),
        members=tuple(
            PublishedFile(f"{name}.bin", "", 30_730_000)
            for name in (*(f"data_batch_{n}" for n in range(1, 6)), "test_batch")
        ),
    ),
    "shakespeare": PublicSet(
        title="40,000 lines of Shakespeare's plays, 1.1 MB of text, 65 characters",
        licence="public domain (the repository states none)",
        author="William Shakespeare; collected by Andrej Karpathy, char-rnn",
        mirrors=(
            "https://raw.githubusercontent.com/karpathy/char-rnn/6f9487a6fe5b420b7ca9afb0d7c078e37c1d1b4e/"
            "data/tinyshakespeare/",
        ),
        files=(PublishedFile("input.txt", "6fb458f1232090904fb40fe944165e91", 1_115_394),),
        medium="text",
    ),
    "spoken-digits": PublicSet(
        title="3,000 spoken digits of six speakers, 8 kHz",
        licence="CC BY-SA 4.0",
        author="Zohar Jackson and contributors, Free Spoken Digit Dataset",
        mirrors=("https://github.com/Jakobovski/free-spoken-digit-dataset/archive/",),
        files=(PublishedFile(spoken_digits.ARCHIVE, "", spoken_digits.MOST_BYTES),),
    ),
    "emoji": PublicSet(
        title="more than 1,600 emoji, 128x128 RGBA, each with its name in Unicode as caption",
        licence="Apache-2.0",
        author="Google, Noto Emoji",
        mirrors=("https://github.com/googlefonts/noto-emoji/archive/",),
        files=(PublishedFile(emoji.ARCHIVE, "", emoji.MOST_ARCHIVE_BYTES),),
    ),
}
_PACKED = {"spoken-digits": spoken_digits.unpack, "emoji": emoji.unpack}
"""Sets that come in an archive of a repository, and what unpacks it; such archives are packed anew from time to time,
so their bytes prove nothing."""


def fetch(name: str, out: Path, source: Path | None) -> list[dict[str, str]]:
    """Put the originals of a set into the folder `out`, each checked against its published MD5; `source` is a folder
    that has them already. Returns their rows for `provenance.csv`. Raises DataError, and OSError where `out` cannot be
    written."""
    if name in _PACKED:
        return _packed(name, out, source)
    return _digits(out) if name == "digits" else _files(name, out, source)


def row(name: str, *, file: str, address: str, sha256: str, label: str = "") -> dict[str, str]:
    """A row of `provenance.csv` of a file of the set `name`, retrieved now."""
    return {
        "file": file,
        "source": name,
        "address": address,
        "retrieved": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "licence": SETS[name].licence,
        "author": SETS[name].author,
        "sha256": sha256,
        "label": label,
    }


def _digits(out: Path) -> list[dict[str, str]]:
    from sklearn.datasets import load_digits

    data = load_digits()
    rows = []
    for n, (image, label) in enumerate(zip(data.images, data.target, strict=True)):
        path = out / str(label) / f"{n:04d}.png"
        path.parent.mkdir(exist_ok=True)
        write_image(path, np.round(image * (255 / 16)).astype(np.uint8)[..., None])
        rows.append(
            row(
                "digits",
                file=path.relative_to(out).as_posix(),
                address="scikit-learn, load_digits",
                sha256=file_sha256(path),
                label=str(label),
            )
        )
    return rows


def _packed(name: str, out: Path, source: Path | None) -> list[dict[str, str]]:
    (archive,) = SETS[name].files
    if source is not None and not source.exists():
        raise DataError(f"{source} does not exist. --from takes the folder that holds the files of {name}.")
    given = source or out / archive.name
    address = _download(name, archive, SETS[name].mirrors, given) if source is None else given.resolve().as_uri()
    rows = [
        row(name, file=file, address=f"{address}#{Path(file).name}", sha256=sha256, label=label)
        for file, label, sha256 in _PACKED[name](given, out)
    ]
    if source is None:
        given.unlink()
    return rows


def _files(name: str, out: Path, source: Path | None) -> list[dict[str, str]]:
    public_set = SETS[name]
    files = public_set.files
    if source is not None:
        if source.is_file() and len(files) == 1:  # the only file, under any name
            shutil.copyfile(source, out / files[0].name)
            _check(out / files[0].name, files[0], str(source))
            own = {"file": files[0].name, "address": source.resolve().as_uri()}
            return [row(name, **own, sha256=file_sha256(out / files[0].name))]
        if not source.is_dir():
            raise DataError(
                f"{source} is not a folder. --from takes the folder that holds the original files of {name}."
            )
        if public_set.members and all((source / member.name).is_file() for member in public_set.members):
            files = public_set.members
    rows = []
    for file in files:
        target = out / file.name
        if source is None:
            address = _download(name, file, public_set.mirrors, target)
        elif (source / file.name).is_file():
            shutil.copyfile(source / file.name, target)
            address = (source / file.name).resolve().as_uri()
        else:
            raise DataError(f"{source} has no {file.name}. It needs: {', '.join(f.name for f in public_set.files)}.")
        _check(target, file, address)
        paths = _unpack(target, public_set.members) if target.name.endswith(".tar.gz") else [target]
        rows += [row(name, file=path.name, address=address, sha256=file_sha256(path)) for path in paths]
    return rows


def _check(path: Path, published: PublishedFile, address: str) -> None:
    """DataError where a file is not the published one."""
    if path.stat().st_size != published.size:
        raise DataError(f"{address} has {path.stat().st_size:,} bytes; the original has {published.size:,}.")
    if published.md5:
        with path.open("rb") as file:
            md5 = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
        if md5 != published.md5:
            raise DataError(f"{address} is not the original: its MD5 is {md5}, the published one {published.md5}.")


def _download(name: str, published: PublishedFile, mirrors: tuple[str, ...], target: Path) -> str:
    """Download from the first mirror that answers, with a progress bar. Returns the address. Raises DataError."""
    from rich.console import Console
    from rich.progress import DownloadColumn, Progress, TimeRemainingColumn

    reason = "no mirror is known"
    columns = (*Progress.get_default_columns()[:2], DownloadColumn(), TimeRemainingColumn())
    for mirror in mirrors:
        address = mirror + published.name
        try:
            with (
                urllib.request.urlopen(address, timeout=_TIMEOUT) as answer,
                target.open("wb") as file,
                Progress(*columns, console=Console(stderr=True), transient=True) as bar,
            ):
                task = bar.add_task(published.name, total=published.size)
                while chunk := answer.read(1 << 18):
                    file.write(chunk)
                    bar.advance(task, len(chunk))
                    if file.tell() > published.size:
                        break
            return address
        except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
            reason = str(getattr(error, "reason", error))
    raise DataError(
        f"{name} cannot be fetched ({reason}). Connect to the network and run this again, "
        f"or put {published.name} into a folder and run: ganforge collect {name} --from FOLDER"
    )


def _unpack(archive: Path, members: tuple[PublishedFile, ...]) -> list[Path]:
    """Exactly the named members, by their last name and published size; nothing else of the archive is read. Removes
    the archive. Raises DataError."""
    sizes = {member.name: member.size for member in members}
    written = []
    try:
        with tarfile.open(archive, "r|gz") as tar:
            for member in tar:
                name = member.name.rsplit("/", 1)[-1]
                if name not in sizes or not member.isreg() or member.size != sizes[name]:
                    continue
                data = tar.extractfile(member)
                assert data is not None
                target = archive.with_name(name)
                with target.open("wb") as file:
                    shutil.copyfileobj(data, file)
                written.append(target)
    except tarfile.TarError as error:
        raise DataError(f"{archive.name} cannot be unpacked: {error}.") from error
    archive.unlink()
    if missing := sizes.keys() - {path.name for path in written}:
        raise DataError(f"{archive.name} lacks {', '.join(sorted(missing))}.")
    return written
