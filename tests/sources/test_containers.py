"""WebDataset, Parquet and stores as sources."""

from __future__ import annotations

import json
import math
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from ganforge.cli import main
from ganforge.preparing.prepare import prepare
from ganforge.store import exports
from ganforge.store.store import Store
from hostile import encoded
from synthetic import picture


@pytest.mark.parametrize("kind", ["webdataset", "parquet", "folder"])
def test_formats_there_and_back(pictures, tmp_path, kind, monkeypatch, capsys):
    monkeypatch.setattr(exports, "ROWS_A_FILE", 40)
    store = prepare(pictures, tmp_path / "s", resolution=16, heldout=0.2, stratify=True).store
    assert main(["prepare", str(store.path), "-o", str(tmp_path / kind), "--format", kind]) == 0
    back = prepare(tmp_path / kind, tmp_path / "back").store
    assert back.spec == store.spec
    assert (len(back.train), len(back.heldout)) == (len(store.train), len(store.heldout))

    def contents(s: Store, rows: np.ndarray) -> list[tuple[bytes, int]]:
        return sorted((p.tobytes(), int(n)) for p, n in zip(s.read(rows), s.labels[rows], strict=True))

    assert contents(back, back.train) == contents(store, store.train)
    assert contents(back, back.heldout) == contents(store, store.heldout)
    assert {path.name for path in tmp_path.iterdir()} == {"s", kind, "back"}


def test_hugging_face_image_folders_and_stylegan_zips(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "hf").mkdir()
    rows = []
    for n in range(12):
        Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(tmp_path / "hf" / f"{n}.png")
        rows.append({"file_name": f"{n}.png", "label": ["owl", "fox"][n % 2], "licence": "CC0"})
    (tmp_path / "hf" / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    store = prepare(tmp_path / "hf", tmp_path / "one").store
    assert store.spec.classes == ("fox", "owl")
    assert np.bincount(store.labels).tolist() == [6, 6]
    with zipfile.ZipFile(tmp_path / "sg.zip", "w") as archive:
        for n in range(12):
            archive.write(tmp_path / "hf" / f"{n}.png", f"0000{n % 2}/img{n:08d}.png")
        labels = [[f"0000{n % 2}/img{n:08d}.png", n % 3] for n in range(12)]
        archive.writestr("dataset.json", json.dumps({"labels": labels}))
    store = prepare(tmp_path / "sg.zip", tmp_path / "two").store
    assert store.spec.classes == ("0", "1", "2")
    assert np.bincount(store.labels).tolist() == [4, 4, 4]


def test_a_stray_container_among_pictures_is_no_source(pictures, tmp_path):
    shutil.copytree(pictures / "few", tmp_path / "in")
    (tmp_path / "in" / "stray.tar").write_bytes(b"x" * 1024)
    made = prepare(tmp_path / "in", tmp_path / "s", resolution=16)
    assert made.skipped == [("stray.tar", "not a picture: .tar file")]


@pytest.mark.parametrize(
    ("name", "content"), [("a.tar", b"no tar at all" * 99), ("a.tar.gz", b"\x1f\x8b"), ("a.parquet", b"PAR1 no")]
)
def test_damaged_containers(tmp_path, fails, name, content):
    (tmp_path / name).write_bytes(content)
    fails("prepare", tmp_path / name, "-o", tmp_path / "s")
    assert [path.name for path in tmp_path.iterdir()] == [name]


def _parquet(path: Path, labels: list, kind: pa.DataType, names: list[str] | None = None) -> Path:
    """A file of Hugging Face with a picture for each label."""
    pictures = [{"bytes": encoded(picture(n, 16, 16)), "path": None} for n in range(len(labels))]
    features = {"image": {"_type": "Image"}, "label": {"names": names, "_type": "ClassLabel"}}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})} if names else None
    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    schema = pa.schema([("image", image), ("label", kind)], metadata)
    pq.write_table(pa.table({"image": pictures, "label": labels}, schema), path)
    return path


@pytest.mark.parametrize("missing", [-1, 2, None])
def test_a_number_without_a_name_is_no_class(tmp_path, missing):
    """-1 is what Hugging Face writes where there is no label; it was taken for the last class."""
    path = _parquet(tmp_path / "p.parquet", [0, 1] * 6 + [missing] * 3, pa.int64(), ["cat", "dog"])
    prepared = prepare(path, tmp_path / "s")
    assert np.bincount(prepared.store.labels).tolist() == [6, 6]
    assert [reason for _, reason in prepared.skipped] == ["no label"] * 3


def test_words_beside_the_names_of_classes_are_no_class(tmp_path):
    path = _parquet(tmp_path / "p.parquet", ["cat", "dog"] * 6 + ["bird"], pa.string(), ["cat", "dog"])
    prepared = prepare(path, tmp_path / "s")
    assert prepared.store.spec.classes == ("cat", "dog") and len(prepared.store) == 12
    assert [reason for _, reason in prepared.skipped] == ["no class: 'bird'"]


def test_missing_numbers_of_pandas_are_no_class(tmp_path):
    path = _parquet(tmp_path / "p.parquet", [0.5, 1.5] * 6 + [math.nan], pa.float64())
    prepared = prepare(path, tmp_path / "s")
    assert prepared.store.spec.classes == ("0.5", "1.5") and prepared.skipped_count == 1
