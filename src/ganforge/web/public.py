"""Public data sets as they were published, and how to know their files."""

from __future__ import annotations

import hashlib
import shutil
import tarfile
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ganforge.base.errors import DataError
from ganforge.base.images import write_png

_TIMEOUT = 30


@dataclass(frozen=True)
class Part:
    """One published file."""

    name: str
    md5: str
    size: int


@dataclass(frozen=True)
class PublicSet:
    """Where a set was published, and how to know its files."""

    what: str
    licence: str
    author: str
    mirrors: tuple[str, ...]
    parts: tuple[Part, ...]
    inside: tuple[Part, ...] = ()
    """Members of a published archive; each of them may lie on disk instead of the archive."""


SETS = {
    "digits": PublicSet(
        "1,797 handwritten digits of 8x8 pixels, embedded in scikit-learn: no network",
        "CC BY 4.0",
        "Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI 1998",
        (),
        (),
    ),
    "mnist": PublicSet(
        "70,000 handwritten digits, 28x28 grey",
        "CC BY-SA 3.0 (as commonly stated)",
        "LeCun, Cortes, Burges",
        ("https://storage.googleapis.com/cvdf-datasets/mnist/", "https://ossci-datasets.s3.amazonaws.com/mnist/"),
        (
            Part("train-images-idx3-ubyte.gz", "f68b3c2dcbeaaa9fbdd348bbdeb94873", 9912422),
            Part("train-labels-idx1-ubyte.gz", "d53e105ee54ea40749a09fcbcd1e9432", 28881),
            Part("t10k-images-idx3-ubyte.gz", "9fb629c4189551a2d022fa330f9573f3", 1648877),
            Part("t10k-labels-idx1-ubyte.gz", "ec29112dd5afa0611ce80d1b7f02629c", 4542),
        ),
    ),
    "fashion-mnist": PublicSet(
        "70,000 pieces of clothing, 28x28 grey",
        "MIT",
        "Zalando SE",
        (
            "https://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        ),
        (
            Part("train-images-idx3-ubyte.gz", "8d4fb7e6c68d591d4c3dfef9ec88bf0d", 26421880),
            Part("train-labels-idx1-ubyte.gz", "25c81989df183df01b3e8a0aad5dffbe", 29515),
            Part("t10k-images-idx3-ubyte.gz", "bef4ecab320f06d8554ea6380940ec79", 4422102),
            Part("t10k-labels-idx1-ubyte.gz", "bb300cfdad3c16e7a12a480ee83cd310", 5148),
        ),
    ),
    "cifar10": PublicSet(
        "60,000 photographs of ten kinds, 32x32 RGB",
        "none stated by the authors; for research",
        "Krizhevsky 2009",
        ("https://www.cs.toronto.edu/~kriz/",),
        (Part("cifar-10-binary.tar.gz", "c32a1d4ab5d03f1284b67883e8d87530", 170052171),),
        tuple(
            Part(f"{name}.bin", "", 30_730_000) for name in (*(f"data_batch_{n}" for n in range(1, 6)), "test_batch")
        ),
    ),
}


def fetch(name: str, out: Path, source: Path | None) -> list[dict[str, str]]:
    """Put the originals of a set into the folder `out`, each checked against its published MD5; `source` is a folder
    that has them already. Returns their rows for `provenance.csv`. Raises DataError."""
    facts = SETS[name]
    return _digits(out, facts) if name == "digits" else _files(name, facts, out, source)


def _row(file: str, name: str, address: str, facts: PublicSet, sha256: str, label: str = "") -> dict[str, str]:
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return {"file": file, "source": name, "address": address, "retrieved": now, "licence": facts.licence, "author": facts.author,
            "sha256": sha256, "label": label}  # fmt: skip


def _digits(out: Path, facts: PublicSet) -> list[dict[str, str]]:
    from sklearn.datasets import load_digits

    data = load_digits()
    rows = []
    for n, (image, label) in enumerate(zip(data.images, data.target, strict=True)):
        path = out / str(label) / f"{n:04d}.png"
        path.parent.mkdir(exist_ok=True)
        write_png(path, np.round(image * (255 / 16)).astype(np.uint8)[..., None])
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        file = path.relative_to(out).as_posix()
        rows.append(_row(file, "digits", "scikit-learn, load_digits", facts, sha256, str(label)))
    return rows


def _files(name: str, facts: PublicSet, out: Path, source: Path | None) -> list[dict[str, str]]:
    if source is not None and not source.is_dir():
        raise DataError(f"{source} is not a folder. --from takes the folder that holds the original files of {name}.")
    found = source is not None and facts.inside and all((source / part.name).is_file() for part in facts.inside)
    rows = []
    for part in facts.inside if found else facts.parts:
        target = out / part.name
        if source is not None:
            if not (source / part.name).is_file():
                raise DataError(f"{source} has no {part.name}. It needs: {', '.join(p.name for p in facts.parts)}.")
            shutil.copyfile(source / part.name, target)
            place = (source / part.name).resolve().as_uri()
        else:
            place = _download(name, part, facts.mirrors, target)
        _check(target, part, place)
        names = _unpack(target, facts.inside) if target.name.endswith(".tar.gz") else [target]
        rows += [_row(path.name, name, place, facts, hashlib.sha256(path.read_bytes()).hexdigest()) for path in names]
    return rows


def _check(path: Path, part: Part, place: str) -> None:
    if path.stat().st_size != part.size:
        raise DataError(f"{place} has {path.stat().st_size:,} bytes; the original has {part.size:,}.")
    if part.md5:
        with path.open("rb") as file:
            md5 = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
        if md5 != part.md5:
            raise DataError(f"{place} is not the original: its MD5 is {md5}, the published one {part.md5}.")


def _download(name: str, part: Part, mirrors: tuple[str, ...], target: Path) -> str:
    from rich.console import Console
    from rich.progress import DownloadColumn, Progress, TimeRemainingColumn

    reason = "no mirror is known"
    for mirror in mirrors:
        try:
            with (
                urllib.request.urlopen(mirror + part.name, timeout=_TIMEOUT) as answer,
                target.open("wb") as file,
                Progress(*Progress.get_default_columns()[:2], DownloadColumn(), TimeRemainingColumn(),
                         console=Console(stderr=True), transient=True) as bar,
            ):  # fmt: skip
                task = bar.add_task(part.name, total=part.size)
                while chunk := answer.read(1 << 18):
                    file.write(chunk)
                    bar.advance(task, len(chunk))
                    if file.tell() > part.size:
                        break
            return mirror + part.name
        except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
            reason = str(getattr(error, "reason", error))
    raise DataError(
        f"{name} cannot be fetched ({reason}). Connect to the network and run this again, or put {part.name} into a folder "
        f"and run: ganforge collect {name} --from FOLDER"
    )


def _unpack(archive: Path, members: tuple[Part, ...]) -> list[Path]:
    """Exactly the named members, by their last name and declared size; nothing else of the archive is looked at."""
    wanted = {part.name: part.size for part in members}
    written = []
    try:
        with tarfile.open(archive, "r|gz") as tar:
            for member in tar:
                name = member.name.rsplit("/", 1)[-1]
                if name not in wanted or not member.isreg() or member.size != wanted[name]:
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
    if {path.name for path in written} != wanted.keys():
        raise DataError(f"{archive.name} lacks {', '.join(sorted(wanted.keys() - {p.name for p in written}))}.")
    return written
