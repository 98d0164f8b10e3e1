"""Where pictures come from: a folder or a zip, or what `containers.py` and `binaries.py` read. Originals are only read.

Classes and splits are read off names and tables by `layout.py`, in the same way for folders, zips and tars.
"""

from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath

from ganforge.base import marks
from ganforge.base.errors import DataError, InputError, check_text
from ganforge.base.files import resolved, suffix_of
from ganforge.media import clip, video
from ganforge.media.medium import Unusable
from ganforge.sources import binaries, containers
from ganforge.sources.entry import (
    FILES,
    MAX_FILE_BYTES,
    SIDE_FILES,
    Entry,
    Skip,
    Source,
    Table,
    in_portions,
    plain_name,
    read_file,
)
from ganforge.sources.formats import has_picture_suffix
from ganforge.sources.layout import CAPTIONS, TABLES, Layout, arranged, natural, with_captions
from ganforge.store import provenance
from ganforge.store.provenance import NOWHERE

MAX_ZIP_ENTRIES = 2_000_000
MAX_TEXT_BYTES = 1 << 16
"""Of a text file beside a picture."""
MAX_ZIP_RATIO = 200
PACKED = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"7z\xbc\xaf": "7z",
    b"Rar!": "RAR",
}
"""First bytes of what has to be unpacked first."""
_OTHERS = ("clip", *FILES)
"""Media whose files are known by suffixes of their own."""


def open_source(
    path: Path,
    labels: Path | None = None,
    known: Layout | None = None,
    medium: str | None = "picture",
    column: str | None = None,
) -> Source:
    """The source at `path`: a folder or a zip of pictures, tars, Parquet files, IDX files, CIFAR-10's files, or a
    store; a text, or a CSV of texts.

    Classes and splits are read as `layout.py` says. `labels` (CSV with the columns `file` and `label`, and `group` for
    what must not be split) says the classes instead. `known` is the layout where it was found before: tars would have
    to be read through for it. `medium` is the kind of files that is wanted (see media/), None: pictures where there are
    pictures, else videos, sounds, solids or texts. `column` is that of texts in a CSV or in Parquet. DataError where
    nothing of the kind is there or it cannot be read, InputError for labels of files that have no names, and for a
    column of what is no table."""
    try:
        if not path.exists():
            raise DataError(f"{path} does not exist. Name a folder or a zip of pictures.")
        table = (str(labels), labels.read_bytes()) if labels else None
        read = _folder if path.is_dir() else _file
        source = read(path, table, known, medium, column)
    except OSError as error:
        where = error.filename or path
        raise DataError(
            f"{where} cannot be read: {error.strerror or error}. Check the path and its permissions."
        ) from error
    if source.medium != (medium or source.medium):
        raise InputError(f"{path} holds pictures. For the medium {medium}, name a folder or a zip of its files.")
    if column and not source.column:
        raise InputError(f"{path} is no table of texts, so --column has no effect. Leave it out.")
    return source


def keep_apart(source: Path, out: Path) -> None:
    """InputError where one lies in the other: originals are only read, and what is made of them is no original."""
    for path in (source, out):
        check_text(str(path))
    one, other = resolved(source), resolved(out)
    if one.is_relative_to(other) or other.is_relative_to(one):
        raise InputError(f"{out} and the source {source} lie in each other. Choose another place with --out.")


def _folder(path: Path, labels: Table | None, known: Layout | None, medium: str | None, column: str | None) -> Source:
    if (path / "manifest.json").is_file() and (path / "splits.npy").is_file():
        return _unnamed(containers.from_store(path), labels)
    listed = [file.name for file in path.iterdir()]
    for mark, kind in (("run.toml", "a run"), ("findings.parquet", "an audit")):
        if mark in listed:
            raise DataError(
                f"{path} is {kind}, with {mark} in it, and no set of pictures. Name the folder of the originals."
            )
    table = {provenance.NAME: partial(read_file, path / provenance.NAME)} if provenance.NAME in listed else {}
    try:
        origins = provenance.origins(table)
    except Skip as skip:
        raise DataError(f"{path / provenance.NAME} {skip}.") from None
    if any("-images-idx3-ubyte" in name for name in listed):
        return _unnamed(binaries.from_idx(path, origins), labels)
    if any(name.startswith("data_batch_") and name.endswith(".bin") for name in listed):
        return _unnamed(binaries.from_cifar10(path, origins), labels)
    names, closed, raw = _walk(path)
    if not any(map(has_picture_suffix, names)):
        tars, tables, sheets = (
            {name: path / raw.get(name, name) for name in names if name.lower().endswith(suffixes)}
            for suffixes in (".tar", ".parquet", containers.SHEETS)
        )
        if tars:
            return containers.from_tars(path.name, tars, labels, known, origins)
        sheets = {name: file for name, file in sheets.items() if file.name not in SIDE_FILES}
        files = any(_is_of(name, kind) for name in names for kind in _OTHERS)
        if tables:
            return _unnamed(containers.from_parquet(path.name, tables, sheets, origins, medium, column), labels)
        if sheets and (column or (medium in (None, "text") and not files)):
            return _unnamed(containers.texts(path.name, sheets, column), labels)

    def path_of(name: str) -> Path:
        return path / raw.get(name, name)

    def read(name: str) -> bytes:
        if name in closed:
            raise Skip(closed[name])
        return read_file(path_of(name))

    return of_files(path, names, read, labels, path_of, medium)


def _file(path: Path, labels: Table | None, known: Layout | None, medium: str | None, column: str | None) -> Source:
    if not path.is_file():  # a pipe would keep us waiting, a device fill the memory
        raise DataError(f"{path} is neither a folder nor a file. Put the pictures into one of them.")
    with path.open("rb") as file:
        head = file.read(512)
    if head[257:262] == b"ustar" or (path.suffix.lower() == ".tar" and not _packed(head)):
        return containers.from_tars(path.stem, {"": path}, labels, known)
    if head[:4] == b"PAR1" or path.suffix.lower() == ".parquet":
        return _unnamed(containers.from_parquet(path.stem, {path.name: path}, {}, None, medium, column), labels)
    still = medium != "clip" and has_picture_suffix(path.name)
    if not still and any(_is_of(path.name, kind) for kind in _OTHERS):
        return of_files(path, [path.name], lambda name: read_file(path), labels, lambda name: path, medium)
    if medium in (None, "text") and path.suffix.lower() in containers.SHEETS:
        return _unnamed(containers.texts(path.stem, {path.name: path}, column), labels)
    if zipfile.is_zipfile(path):
        return _zip(path, labels, medium)
    if head[:4] == b"PK\3\4":
        raise DataError(f"{path} is a zip whose end is missing: it was cut short. Copy or fetch it again.")
    if kind := _packed(head):
        raise DataError(f"{path} is packed with {kind}, which is not read. Unpack it into a folder first.")
    raise DataError(
        f"{path} is neither a folder nor a zip, a tar, a Parquet file, a text, a sound, a video or a solid. "
        "Put the pictures into one of them."
    )


def _packed(head: bytes) -> str:
    return next((kind for magic, kind in PACKED.items() if head.startswith(magic)), "")


def _unnamed(source: Source, labels: Table | None) -> Source:
    if labels:
        raise InputError(f"{source.name} brings its own labels, so {labels[0]} is not used. Leave out --labels.")
    return replace(source, named=False)


def of_files(
    path: Path,
    names: Sequence[str],
    read: Callable[[str], bytes],
    labels: Table | None,
    path_of: Callable[[str], Path] | None = None,
    medium: str | None = "picture",
) -> Source:
    """Files of one folder or archive, by their relative names; `path_of` gives the path of each, where it is a file of
    its own. For `medium` see `open_source`."""
    tables: dict[str, Callable[[], bytes]] = {}
    files, there = [], {*names}
    for name in names:
        base = name.rsplit("/", 1)[-1]
        if base in TABLES or base in provenance.TABLES or base == CAPTIONS:
            tables[name] = partial(_table, path, read, name)
        if base not in SIDE_FILES and not (name.endswith(marks.SUFFIX) and name.removesuffix(marks.SUFFIX) in there):
            files.append(name)
    own_name = path.resolve().name if path.is_dir() else path.stem
    medium = _medium(path, files, medium)
    clips: dict[str, list[str]] = {}
    if medium == "clip":
        clips = _clips(list(filter(has_picture_suffix, files)), read, own_name)
        frames = {name for names in clips.values() for name in names}
        files = sorted([name for name in files if name not in frames] + list(clips))
    known = [name for name in files if _is_of(name, medium)]
    layout = arranged(sorted([*known, *clips]), str(path), tables, labels)
    if medium == "picture":
        beside = _texts_beside(files, read)
        layout = with_captions(layout, known, str(path), tables, {name: text for name, (_, text) in beside.items()})
        texts = {text for text, _ in beside.values()} if layout.captioned else ()
        files = [name for name in files if name not in texts] if texts else files
    origins = provenance.origins(tables)

    def between(start: int, stop: int) -> Iterator[Entry]:
        for name in files[start:stop]:
            frames = clips.get(name, ())
            yield Entry(
                name,
                partial(read, name),
                label=layout.label(name),
                split=layout.split(name),
                path=path_of(name) if path_of and not frames else None,
                origin=origins.get(frames[0] if frames else name, NOWHERE),
                frames=tuple(partial(read, frame) for frame in frames),
                caption=layout.captions.get(name, ""),
            )

    return Source(own_name, in_portions(len(files), between), layout, layout.split_at is not None, medium)


def _texts_beside(names: Sequence[str], read: Callable[[str], bytes]) -> dict[str, tuple[str, Callable[[], bytes]]]:
    """Picture -> the text file of the same name, and what reads it; of one that cannot be read nothing."""

    def text(name: str) -> bytes:
        try:
            return read(name)[:MAX_TEXT_BYTES]
        except Skip:
            return b""

    there = {name for name in names if name.lower().endswith(".txt")}
    beside = ((name, f"{name.rpartition('.')[0]}.txt") for name in names if there and has_picture_suffix(name))
    return {name: (beside, partial(text, beside)) for name, beside in beside if beside in there}


def _medium(path: Path, names: Sequence[str], medium: str | None) -> str:
    """The kind of medium that these files are read as: `medium`, or what they are. DataError where none of them is of
    that kind."""
    pictures = any(map(has_picture_suffix, names))
    others = [kind for kind in _OTHERS if not pictures and any(_is_of(name, kind) for name in names)]
    if others and medium in ("picture", "clip") and medium not in others:
        raise DataError(f"{path} holds {others[0]}s and no pictures. ganforge prepare makes a store of {others[0]}s.")
    if medium is not None and medium in FILES and not any(_is_of(name, medium) for name in names):
        raise DataError(f"{path} holds no {medium}s: no file ends in {', '.join(sorted(FILES[medium].SUFFIXES))}.")
    return medium or (others[0] if others else "picture")


def _is_of(name: str, medium: str) -> bool:
    """Whether the suffix of `name` is of the files of a medium."""
    if medium == "clip" and suffix_of(name) in video.SUFFIXES:
        return True
    files = FILES.get(medium)
    return suffix_of(name) in files.SUFFIXES if files else has_picture_suffix(name)


def _clips(names: Sequence[str], read: Callable[[str], bytes], root: str) -> dict[str, list[str]]:
    """Folders whose pictures are the frames of one clip -> these, in natural order. A folder in which the
    first file of any suffix is an animation holds clips, each a file of its own, and is not among them. Pictures in no
    folder are the clip `root`."""
    folders: dict[str, list[str]] = {}
    for name in names:
        folders.setdefault(name.rpartition("/")[0], []).append(name)
    while root in folders:
        root = f"_{root}"
    return {
        folder or root: sorted(inside, key=_frame_order)
        for folder, inside in folders.items()
        if not any(_is_animation(name, read) for name in _of_each_suffix(inside))
    }


def _of_each_suffix(names: Sequence[str]) -> Collection[str]:
    """The first name of each suffix: a still among animations may be the cover of their folder."""
    first: dict[str, str] = {}
    for name in names:
        first.setdefault(PurePosixPath(name).suffix.lower(), name)
    return first.values()


def _frame_order(name: str) -> list[tuple[float, str]]:
    """Sorts frame2 before frame10."""
    return [natural(word) for word in re.split(r"(\d+)", name)]


def _is_animation(name: str, read: Callable[[str], bytes]) -> bool:
    suffix = PurePosixPath(name).suffix.lower()
    if suffix not in clip.SUFFIXES or suffix == ".gif":
        return suffix == ".gif"
    try:
        return clip.probe(read(name)).frames > 1
    except (Skip, Unusable):
        return True  # it is named as one that cannot be read


def _table(path: Path, read: Callable[[str], bytes], name: str) -> bytes:
    try:
        return read(name)
    except Skip as skip:
        raise DataError(f"{name} in {path} {skip}.") from None


def _walk(root: Path) -> tuple[list[str], dict[str, str], dict[str, str]]:
    """Relative names of all files, sorted, a folder's own before those of its folders; folders that are not entered, as
    `name/`, with the reason; and the raw names of those that are no UTF-8.

    Links to folders are followed where these lie inside the source, but not inside one another, so no loop can be
    entered."""
    names: list[str] = []
    closed: dict[str, str] = {}
    raw: dict[str, str] = {}
    top = root.resolve()
    waiting = [("", False)]
    while waiting:
        prefix, linked = waiting.pop()
        try:
            with os.scandir(root / prefix) as listing:
                items = sorted((item for item in listing if not item.name.startswith(".")), key=lambda item: item.name)
        except OSError as error:
            if not prefix:
                raise
            closed[prefix] = f"cannot be listed: {error.strerror}"
            names.append(prefix)
            continue
        folders = []
        for item in items:
            name = prefix + item.name
            if item.is_dir(follow_symlinks=False):
                folders.append((name + "/", linked))
            elif item.is_symlink() and os.path.isdir(item.path):  # noqa: PTH112 (of a DirEntry)
                if why := "inside a linked folder" if linked else _leads_out(item.path, top):
                    closed[name + "/"] = f"a link to a folder {why}"
                    names.append(name + "/")
                else:
                    folders.append((name + "/", True))
            else:
                names.append(name)
        waiting += reversed(folders)
    for n, name in enumerate(names):
        shown = os.fsencode(name).decode("utf-8", "backslashreplace")
        if shown != name:
            names[n], raw[shown] = shown, name
            if name in closed:
                closed[shown] = closed[name]
    return names, closed, raw


def _leads_out(link: str, top: Path) -> str:
    """Why a link to a folder is not followed; nothing where it is."""
    target, here = Path(link).resolve(), Path(link).parent.resolve()
    if not target.is_relative_to(top):
        return "outside of the source"
    return "that it lies in" if here.is_relative_to(target) else ""


def _zip(path: Path, labels: Table | None, medium: str | None) -> Source:
    try:
        archive = zipfile.ZipFile(path)
        infos = {i.filename: i for i in archive.infolist() if not i.is_dir() and plain_name(i.filename)}
    except (zipfile.BadZipFile, OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be opened as a zip: {error}.") from error
    if len(infos) > MAX_ZIP_ENTRIES:
        raise DataError(f"{path} holds {len(infos):,} files; the limit is {MAX_ZIP_ENTRIES:,}. Unpack it to a folder.")
    if not any("/" in name for name in infos):  # some of Windows' tools write the wrong slash
        infos = {name.replace("\\", "/"): info for name, info in infos.items()}
    around = _around(infos)
    files = {name[around:]: infos[name] for name in sorted(infos)}

    def read(name: str) -> bytes:
        info = files[name]
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

    return of_files(path, list(files), read, labels, None, medium)


def _around(names: Collection[str]) -> int:
    """The length of the one folder around all that an archive holds, which is no part of its names."""
    first = next(iter(names), "")
    around = first.split("/")[0] + "/"
    return len(around) if "/" in first and all(name.startswith(around) for name in names) else 0
