"""Where pictures come from: a folder, a zip, IDX files (MNIST), CIFAR-10's binary files. Originals are only read.

Read as well: Hugging Face image folders (`metadata.csv` or `.jsonl` beside the pictures) and StyleGAN's zips (`dataset.json` in them);
WebDataset tars and Parquet files are in `formats.py`.
"""

from __future__ import annotations

import csv
import gzip
import json
import os
import stat
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np

from ganforge.data.kinds import EXTENSIONS, refusal
from ganforge.errors import DataError
from ganforge.images import Pixels

SIDE_FILES = {
    "provenance.csv", "labels.csv", "dropped.csv", "skipped.csv", "history.jsonl", "metadata.csv", "metadata.jsonl", "dataset.json",
}  # fmt: skip
MAX_FILE_BYTES = 256 << 20
MAX_IDX_BYTES = 1 << 30
MAX_ZIP_ENTRIES = 2_000_000
MAX_ZIP_RATIO = 200
SPLITS = {"train": "train", "training": "train", "test": "heldout", "val": "heldout", "valid": "heldout",
          "validation": "heldout", "heldout": "heldout"}  # fmt: skip
ASTRAY = 20
"""Folders are classes where at most one picture in so many lies beside them."""
CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


@dataclass(frozen=True)
class Entry:
    """One picture of a source, not read yet."""

    name: str
    """Its path inside the source, with forward slashes; bytes that are no UTF-8 are written as \\xff."""
    read: Callable[[], bytes | Pixels]
    """Bytes of an image file, or (H, W, C) uint8 pixels."""
    label: str | None = None
    split: str | None = None
    """`train` or `heldout` where the source itself says so."""
    path: Path | None = None
    """The file, where it is one of its own."""


class Skip(Exception):
    """A file that is not used, with the reason."""


Part = Callable[[], Iterator[Entry]]


@dataclass(frozen=True)
class Source:
    """Pictures that can be iterated over again and again, always in the same order."""

    name: str
    classes: tuple[str, ...]
    parts: Callable[[int], list[Part]]
    """The pictures in portions of about so many, each of which can be read alone; files that hold many are a part each."""
    groups: Mapping[str, str] = field(default_factory=dict)
    """File -> what must stay together when the set is split, where a CSV of labels says so."""
    note: str = ""
    """What was made of pictures that lie beside folders of classes."""

    def entries(self) -> Iterator[Entry]:
        """All pictures."""
        for part in self.parts(1 << 14):
            yield from part()


def is_picture(name: str) -> bool:
    """By its suffix; pictures out of a binary file have none."""
    return not refusal(name)


def in_parts(count: int, between: Callable[[int, int], Iterator[Entry]]) -> Callable[[int], list[Part]]:
    """Portions of `count` pictures, of which `between(start, stop)` gives some."""

    def parts(size: int) -> list[Part]:
        return [lambda start=start: between(start, min(start + size, count)) for start in range(0, count, size)]  # type: ignore[misc]

    return parts


def open_source(path: Path, labels: Path | None = None, known: tuple[str, ...] | None = None) -> Source:
    """The source at `path`: a folder or a zip of pictures, tars, Parquet files, IDX files, CIFAR-10's files, or a store.

    Sub-folders directly under it are the classes (a few pictures beside them have none, many mean that there are no classes);
    `labels` (CSV with the columns `file` and `label`, and `group` for what must not be split) says them instead, and so does a
    `labels.csv` inside a folder. `known` are the classes where they were found before: tars would have to be read through for them.
    DataError where nothing of the kind is there.
    """
    from ganforge.data import formats

    if not path.exists():
        raise DataError(f"{path} does not exist. Name a folder or a zip of pictures.")
    if path.is_dir():
        if (path / "manifest.json").is_file() and (path / "splits.npy").is_file():
            return formats.from_store(path)
        if any(path.glob("*-images-idx3-ubyte*")):
            return _idx(path)
        if any(path.glob("data_batch_*.bin")):
            return _cifar10(path)
        names = _walk(path)
        kinds = {PurePosixPath(name).suffix.lower() for name in names}
        if not kinds & EXTENSIONS and (kinds & {".tar", ".parquet"}):
            suffix = ".tar" if ".tar" in kinds else ".parquet"
            found = [path / name for name in names if name.lower().endswith(suffix)]
            return (
                formats.from_tars(path.name, found, known)
                if suffix == ".tar"
                else formats.from_parquet(path.name, found)
            )
        if labels is None and (path / "labels.csv").is_file():
            labels = path / "labels.csv"
        return _files(path, names, labels)
    if path.suffix == ".tar":
        return formats.from_tars(path.stem, [path], known)
    if path.suffix == ".parquet":
        return formats.from_parquet(path.stem, [path])
    if zipfile.is_zipfile(path):
        return _zip(path, labels)
    raise DataError(
        f"{path} is neither a folder nor a zip, a tar or a Parquet file. Put the pictures into one of them."
    )


def _files(path: Path, names: list[str], labels: Path | None) -> Source:
    """A folder's files, as paths relative to it."""
    table, groups = _read_labels(labels) if labels else (_metadata(path), {})
    classes, label_of, split_of, note = _structure(names, table)

    def between(start: int, stop: int) -> Iterator[Entry]:
        for name in names[start:stop]:
            file = path / name
            shown = os.fsencode(name).decode("utf-8", "backslashreplace")
            yield Entry(shown, lambda file=file: read_file(file), label_of(name), split_of(name), file)  # type: ignore[misc]

    return Source(path.name, classes, in_parts(len(names), between), groups, note)


def _metadata(path: Path) -> dict[str, str] | None:
    """Labels of a Hugging Face image folder: `file_name` and `label` in a metadata file of the folder or of its splits."""
    table: dict[str, str] = {}
    for folder in (path, *(path / split for split in SPLITS)):
        prefix = "" if folder == path else f"{folder.name}/"
        try:
            if (folder / "metadata.jsonl").is_file():
                lines = (folder / "metadata.jsonl").read_text("utf-8").splitlines()
                rows = [json.loads(line) for line in lines if line.strip()]
            elif (folder / "metadata.csv").is_file():
                with (folder / "metadata.csv").open(newline="", encoding="utf-8-sig") as file:
                    rows = list(csv.DictReader(file))
            else:
                continue
            for row in rows:
                if row.get("file_name") and row.get("label") is not None:
                    table[prefix + str(row["file_name"])] = str(row["label"])
        except (OSError, ValueError, AttributeError, csv.Error) as error:
            raise DataError(f"The metadata file in {folder} cannot be read: {error}.") from error
    return table or None


def _walk(root: Path) -> list[str]:
    """Relative names of all files, sorted; links to folders are not followed, so a loop cannot be entered, but are named."""
    names = []
    for folder, folders, files in os.walk(root, onerror=_cannot_list):
        files += [f for f in folders if (Path(folder) / f).is_symlink()]
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        relative = Path(folder).relative_to(root).as_posix()
        prefix = "" if relative == "." else relative + "/"
        names += [prefix + f for f in sorted(files) if not f.startswith(".") and f not in SIDE_FILES]
    return names


def _cannot_list(error: OSError) -> None:
    raise DataError(f"{error.filename} cannot be listed: {error.strerror}. Check its permissions.") from error


def read_file(path: Path) -> bytes:
    """The bytes of a regular file within the limit. Raises Skip."""
    try:
        info = path.stat()  # before opening: a pipe would keep us waiting
        if not stat.S_ISREG(info.st_mode):
            raise Skip("a link to a folder" if stat.S_ISDIR(info.st_mode) else "not a regular file")
        if info.st_size > MAX_FILE_BYTES:
            raise Skip(f"file of {info.st_size >> 20} MiB, over the limit of {MAX_FILE_BYTES >> 20}")
        with path.open("rb", buffering=0) as file:
            return file.read(info.st_size + 1)  # not the limit: as much memory would be asked for each time
    except OSError as error:
        raise Skip(f"cannot be read: {error.strerror or error}") from error


def _structure(
    names: list[str], table: dict[str, str] | None
) -> tuple[tuple[str, ...], Callable[[str], str | None], Callable[[str], str | None], str]:
    """Classes, how a name tells its label and its split, and what is to be said of pictures without a folder."""
    tops = {name.split("/", 1)[0] for name in names if "/" in name}
    has_splits = len(tops) > 1 and tops <= SPLITS.keys()

    def split_of(name: str) -> str | None:
        return SPLITS[name.split("/", 1)[0]] if has_splits and "/" in name else None

    def label_of(name: str) -> str | None:
        if table is not None:
            return table.get(name) or table.get(name.rsplit("/", 1)[-1])
        folders = name.split("/")[:-1][1 if has_splits else 0 :]
        return folders[0] if folders else None

    pictures = [(name, label_of(name)) for name in names if PurePosixPath(name).suffix.lower() in EXTENSIONS]
    classes = tuple(sorted({label for _, label in pictures if label is not None}, key=_natural))
    if table is not None:
        return classes, label_of, split_of, ""
    if len(classes) < 2:
        return (), lambda name: None, split_of, ""
    astray = [name for name, label in pictures if label is None]
    if not astray:
        return classes, label_of, split_of, ""
    some = ", ".join(map(repr, astray[:3])) + (", …" if len(astray) > 3 else "")
    shown = f"{len(astray):,} of {len(pictures):,} pictures ({some})"
    if len(astray) * ASTRAY <= len(pictures):
        return classes, label_of, split_of, f"left out: {shown}, in no folder of a class"
    note = f"no classes, since {shown} lie beside the folders; move them, or name the classes with --labels"
    return (), lambda name: None, split_of, note


def _natural(word: str) -> tuple[int, str]:
    """2 before 10."""
    return (int(word), "") if word.isdecimal() else (1 << 62, word)


def _read_labels(path: Path) -> tuple[dict[str, str], dict[str, str]]:
    """File -> label, and file -> group."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as a CSV of labels: {error}.") from error
    if not rows or not {"file", "label"} <= rows[0].keys():
        found = ", ".join(rows[0]) if rows else "none"
        raise DataError(f"{path} needs the columns file and label; it has {found}.")
    named = [(row["file"].replace("\\", "/"), row) for row in rows if row["file"]]
    groups = {name: row["group"] for name, row in named if row.get("group")}
    return {name: row["label"] for name, row in named if row["label"]}, groups


def _zip(path: Path, labels: Path | None) -> Source:
    try:
        archive = zipfile.ZipFile(path)
        infos = {i.filename: i for i in archive.infolist() if not i.is_dir() and _plain_name(i.filename)}
    except (zipfile.BadZipFile, OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be opened as a zip: {error}.") from error
    if len(infos) > MAX_ZIP_ENTRIES:
        raise DataError(f"{path} holds {len(infos):,} files; the limit is {MAX_ZIP_ENTRIES:,}. Unpack it to a folder.")
    names = sorted(infos)
    common = names[0].split("/")[0] + "/" if names and "/" in names[0] else ""
    tops = {name.split("/")[1] for name in names if name.count("/") > 1}
    strip = len(common) if common and tops and all(n.startswith(common) for n in names) else 0  # one folder around all
    table, groups = _read_labels(labels) if labels else (None, {})
    if table is None and (listed := infos.get(names[0][:strip] + "dataset.json") if names else None):
        table = _stylegan_labels(archive, listed)
    names = [name for name in names if name.rsplit("/", 1)[-1] not in SIDE_FILES]
    classes, label_of, split_of, note = _structure([name[strip:] for name in names], table)

    def read(info: zipfile.ZipInfo) -> bytes:
        if info.flag_bits & 1:
            raise Skip("encrypted inside the zip")
        if info.file_size > MAX_FILE_BYTES or info.file_size > MAX_ZIP_RATIO * max(info.compress_size, 1 << 12):
            raise Skip(f"unpacks from {info.compress_size:,} to {info.file_size:,} bytes, over the limits")
        try:
            with archive.open(info) as member:
                data = member.read(info.file_size + 1)
        except Exception as error:  # what a damaged member raises depends on its method
            raise Skip(f"cannot be unpacked: {error}") from error
        if len(data) > info.file_size:
            raise Skip("longer than the zip says")
        return data

    def between(start: int, stop: int) -> Iterator[Entry]:
        for name in names[start:stop]:
            inner = name[strip:]
            yield Entry(inner, lambda name=name: read(infos[name]), label_of(inner), split_of(inner))  # type: ignore[misc]

    return Source(path.stem, classes, in_parts(len(names), between), groups, note)


def _stylegan_labels(archive: zipfile.ZipFile, listed: zipfile.ZipInfo) -> dict[str, str] | None:
    """`dataset.json` of StyleGAN's tools: {"labels": [[file, number], ...]} or null."""
    try:
        if listed.file_size > MAX_FILE_BYTES:
            raise ValueError(f"it has {listed.file_size:,} bytes")
        found = json.loads(archive.read(listed))
        rows = found.get("labels") if isinstance(found, dict) else None
        return {str(name): str(label) for name, label in rows} if rows else None
    except Exception as error:  # what a damaged member raises depends on its method
        raise DataError(f"dataset.json in {archive.filename} cannot be read: {error}.") from error


def _plain_name(name: str) -> bool:
    """No hidden files and none of what a Mac adds. Nothing is written under these names, so they need no more."""
    return not any(part.startswith((".", "__MACOSX")) for part in name.split("/"))


def _idx(path: Path) -> Source:
    """LeCun's IDX files: `train-` and `t10k-` with images (magic 2051) and labels (magic 2049), gzipped or not."""
    fashion = "fashion" in path.name.lower()
    words = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
    classes = words if fashion else tuple(str(digit) for digit in range(10))

    sets = []
    for prefix, split in (("t10k", "heldout"), ("train", "train")):
        files = sorted(path.glob(f"{prefix}-images-idx3-ubyte*"))
        if files:
            images = read_idx(files[0])
            labels = read_idx(files[0].with_name(files[0].name.replace("images-idx3", "labels-idx1")))
            if images.ndim != 3 or labels.shape != images.shape[:1] or labels.max(initial=0) >= len(classes):
                raise DataError(f"{files[0]} and its labels do not fit: {images.shape} and {labels.shape}.")
            sets.append((prefix, split, images, labels))
    ends = np.cumsum([len(images) for _, _, images, _ in sets])

    def between(start: int, stop: int) -> Iterator[Entry]:
        for row in range(start, stop):
            which = int(np.searchsorted(ends, row, side="right"))
            prefix, split, images, labels = sets[which]
            n = row - int(ends[which]) + len(images)
            yield Entry(f"{prefix}/{n:05d}", lambda image=images[n]: image[..., None], classes[labels[n]], split)  # type: ignore[misc]

    return Source(path.name, classes, in_parts(int(ends[-1]), between))


def read_idx(path: Path) -> Pixels:
    """An IDX file of unsigned bytes, as the array that its header declares. DataError where the two do not agree."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            data = file.read(MAX_IDX_BYTES)
    except (OSError, EOFError, gzip.BadGzipFile) as error:
        raise DataError(f"{path} cannot be read: {error}. Collect it again.") from error
    if len(data) < 8 or data[:3] != b"\x00\x00\x08" or not 1 <= data[3] <= 3:
        raise DataError(f"{path} is not an IDX file of unsigned bytes.")
    shape = [int.from_bytes(data[4 + 4 * i : 8 + 4 * i], "big") for i in range(data[3])]
    start = 4 + 4 * data[3]
    if int(np.prod(shape)) != len(data) - start:
        raise DataError(f"{path} declares the shape {shape} but holds {len(data) - start:,} bytes. Collect it again.")
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)


def _cifar10(path: Path) -> Source:
    """CIFAR-10's binary files: records of one label byte and 3x32x32 pixel bytes, channels first."""

    sets = []
    for file in [path / "test_batch.bin", *sorted(path.glob("data_batch_*.bin"))]:
        if not file.exists():
            continue
        data = np.fromfile(file, np.uint8)
        if data.size % 3073:
            raise DataError(f"{file} holds {data.size:,} bytes, not a multiple of 3,073. Collect it again.")
        records = data.reshape(-1, 3073)
        if records[:, 0].max(initial=0) > 9:
            raise DataError(f"{file} has labels over 9. Collect it again.")
        sets.append((file, records))
    ends = np.cumsum([len(records) for _, records in sets])

    def between(start: int, stop: int) -> Iterator[Entry]:
        for row in range(start, stop):
            which = int(np.searchsorted(ends, row, side="right"))
            file, records = sets[which]
            n = row - int(ends[which]) + len(records)
            image = records[n, 1:].reshape(3, 32, 32).transpose(1, 2, 0)
            split = "heldout" if file.name == "test_batch.bin" else "train"
            yield Entry(f"{file.stem}/{n:05d}", lambda image=image: image, CIFAR10[records[n, 0]], split)  # type: ignore[misc]

    return Source(path.name, CIFAR10, in_parts(int(ends[-1]), between))
