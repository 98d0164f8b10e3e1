"""A store exported to the formats of other tools: WebDataset tars, Parquet files and image folders of Hugging Face;
pictures are PNG in all of them.

With each picture go its label and captions, the name of its original file, its source, licence and author, as in
`meta.parquet`. Each export has a data set card and the history of its pictures. sources/ reads all of that back."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from ganforge.base.errors import DataError, InputError, did_you_mean
from ganforge.base.files import atomic_folder, writing
from ganforge.base.images import as_image
from ganforge.store import card, history
from ganforge.store.meta import Origins
from ganforge.store.provenance import public, safe_label
from ganforge.store.store import Store

ROWS_A_FILE = 10_000
FORMATS = ("store", "webdataset", "parquet", "folder")
FIELDS = ("original_file", "source", "licence", "author")
"""What an export says of each picture, beside its label."""
_FILES = {
    "webdataset": "WebDataset tars: for each picture a `.png`, a `.cls` with its class, and a `.json`",
    "parquet": "Parquet files of Hugging Face's datasets: a column `image`, `label`, and columns",
    "folder": "An image folder of Hugging Face's datasets: a folder a class, and beside them a `metadata.jsonl`",
}


@dataclass(frozen=True)
class _Picture:
    row: int
    png: bytes
    label: str | None
    stem: str
    """Of its first name, as it may stand in a path on every system."""
    facts: dict[str, str]
    """What is known of FIELDS."""
    captions: list[str]


def write(store: Store, out: Path, kind: str) -> int:
    """Write a store's pictures as `webdataset`, `parquet` or `folder`, without those set aside; returns how many.

    The folder `out` is complete or not there. InputError for another kind, DataError where it cannot be written.
    """
    if kind not in FORMATS[1:]:
        raise InputError(f"There is no format {kind!r}.{did_you_mean(kind, FORMATS)}")
    store.spec.need_pictures(f"The format {kind}", store.address)
    if out.exists():
        raise DataError(f"{out} exists already. Choose another name, or remove it first.")
    origins = Origins(store)
    writer: Callable[[Store, Iterator[_Picture], Path, str, str], None] = {
        "webdataset": _write_tar, "parquet": _write_parquet, "folder": _write_folder,
    }[kind]  # fmt: skip
    with writing(out), atomic_folder(out) as beside:
        for side, rows in (("train", store.train), ("test", store.heldout)):
            files = max(1, -(-len(rows) // ROWS_A_FILE))
            for number in range(files) if len(rows) else ():
                some = rows[number * ROWS_A_FILE : (number + 1) * ROWS_A_FILE]
                writer(store, _pictures(store, origins, some), beside, side, f"{side}-{number:05d}-of-{files:05d}")
        history.carry(beside, store.path)
        history.record(beside, "export", format=kind, store=store.root)
        sentence = f"{_FILES[kind]} with {', '.join(f'`{name}`' for name in FIELDS)}."
        card.write(beside, card.card(store, out.name, history.read(beside), sentence))
    return len(store.train) + len(store.heldout)


def _pictures(store: Store, origins: Origins, rows: npt.NDArray[np.int64]) -> Iterator[_Picture]:
    for start in range(0, len(rows), 64):
        part = rows[start : start + 64]
        for row, pixels, (name, origin) in zip(part.tolist(), store.read(part), origins[part.tolist()], strict=True):
            file = io.BytesIO()
            as_image(pixels).save(file, "PNG", compress_level=3)
            first = origin.original or name
            values = (first, public(origin.source), origin.licence, origin.author)
            yield _Picture(
                row, file.getvalue(), store.spec.classes[store.labels[row]] if store.labelled else None,
                safe_label(PurePosixPath(first).stem) or f"{row:09d}",
                {field: value for field, value in zip(FIELDS, values, strict=True) if value},
                store.captions_of(row),
            )  # fmt: skip


def _write_tar(store: Store, pictures: Iterator[_Picture], out: Path, side: str, name: str) -> None:
    with tarfile.open(out / f"{name}.tar", "w", format=tarfile.USTAR_FORMAT) as tar:
        for picture in pictures:
            label = {} if picture.label is None else {"label": picture.label}
            members = [("png", picture.png), ("json", json.dumps(label | picture.facts).encode())]
            if picture.label is not None:
                members.insert(1, ("cls", picture.label.encode()))
            if picture.captions:
                members.append(("txt", "\n".join(picture.captions).encode()))
            for suffix, data in members:
                info = tarfile.TarInfo(f"{picture.row:09d}.{suffix}")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))


def _write_parquet(store: Store, pictures: Iterator[_Picture], out: Path, side: str, name: str) -> None:
    features: dict[str, Any] = {"image": {"_type": "Image"}}
    fields = [("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())]))]
    if store.labelled:
        features["label"] = {"names": list(store.spec.classes), "_type": "ClassLabel"}
        fields += [("label", pa.int64())]
    if store.captions is not None:
        features["caption"] = [{"dtype": "string", "_type": "Value"}]
        fields += [("caption", pa.list_(pa.string()))]
    features |= {field: {"dtype": "string", "_type": "Value"} for field in FIELDS}
    fields += [(field, pa.string()) for field in FIELDS]
    schema = pa.schema(fields, {"huggingface": json.dumps({"info": {"features": features}})})
    with pq.ParquetWriter(out / f"{name}.parquet", schema, compression="none") as file:
        batch: list[dict[str, Any]] = []
        for picture in pictures:
            number = {} if picture.label is None else {"label": store.spec.classes.index(picture.label)}
            image = {"bytes": picture.png, "path": f"{picture.stem}.png"}
            words = {"caption": picture.captions} if picture.captions else {}
            batch.append({"image": image, **number, **words, **picture.facts})
            if len(batch) == 1000:
                file.write_table(pa.Table.from_pylist(batch, schema))
                batch = []
        if batch:
            file.write_table(pa.Table.from_pylist(batch, schema))


def _write_folder(store: Store, pictures: Iterator[_Picture], out: Path, side: str, name: str) -> None:
    """train/CLASS/NAME.png and train/metadata.jsonl. The second of two pictures of one name is NAME-ROW.png."""
    (out / side).mkdir(exist_ok=True)
    folders = _class_folders(store.spec.classes)
    with (out / side / "metadata.jsonl").open("a", encoding="utf-8") as table:
        for picture in pictures:
            folder = PurePosixPath("" if picture.label is None else folders[picture.label])
            file = folder / f"{picture.stem}.png"
            (out / side / folder).mkdir(exist_ok=True)
            if (out / side / file).exists():
                file = folder / f"{picture.stem}-{picture.row:09d}.png"
            with (out / side / file).open("xb") as new:
                new.write(picture.png)
            label = {} if picture.label is None else {"label": picture.label}
            words = {"text": picture.captions} if picture.captions else {}
            table.write(json.dumps({"file_name": str(file), **label, **words, **picture.facts}) + "\n")


def _class_folders(classes: Sequence[str]) -> dict[str, str]:
    """The folder of each class: no two are the same, not even where large and small letters are."""
    folders: dict[str, str] = {}
    taken = {"metadata.jsonl"}
    for number, name in enumerate(classes):
        folder = safe_label(name) or f"class-{number}"
        while folder.casefold() in taken:
            folder = f"{folder}-{number}"
        taken.add(folder.casefold())
        folders[name] = folder
    return folders
