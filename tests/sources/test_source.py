"""Folders and archives as sources: permissions, links, damage."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from PIL import Image

from ganforge.preparing.prepare import prepare
from ganforge.sources.source import open_source
from ganforge.store.store import Store
from synthetic import write_pictures

NOBODY = """
import ctypes, json, os, sys
import ganforge.api, ganforge.auditing.page, ganforge.showing, rich.console, rich.status, rich.live
from ganforge.cli import main
if os.geteuid() == 0:  # root without the right to pass over modes: the interpreter may be in root's own home
    class Head(ctypes.Structure):
        _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]
    class Data(ctypes.Structure):
        _fields_ = [("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32)]
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.capset(ctypes.byref(Head(0x20080522, 0)), ctypes.byref((Data * 2)())):
        sys.exit(77)
try:
    os.listdir(json.loads(sys.argv[1]))
    sys.exit(77)
except PermissionError:
    pass
sys.exit(main(json.loads(sys.argv[2])))
"""


@pytest.fixture
def restricted() -> Callable[..., tuple[int, str, str]]:
    """Run a command in a process for which `closed`, of mode 000, is closed, also where the tests run as root."""

    def run(closed: Path, *words: object) -> tuple[int, str, str]:
        command = [sys.executable, "-c", NOBODY, json.dumps(str(closed)), json.dumps([str(word) for word in words])]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode == 77:
            pytest.skip("the system lets this process pass over modes")
        assert "Traceback" not in done.stderr, done.stderr
        return done.returncode, done.stdout, done.stderr

    return run


@pytest.fixture
def closing() -> Iterator[Callable[[Path], Path]]:
    done: list[Path] = []

    def close(path: Path) -> Path:
        path.chmod(0)
        done.append(path)
        return path

    yield close
    for path in done:
        path.chmod(0o755)


@pytest.mark.parametrize("verb", ["prepare", "audit", "collect", "clean"])
def test_a_folder_that_cannot_be_listed_is_one_sentence(tmp_path, restricted, closing, verb):
    root = closing(write_pictures(tmp_path / "in", "."))
    more = ["--filter", "median"] if verb == "clean" else []
    code, _, said = restricted(root, verb, root, "-o", tmp_path / "out", *more)
    assert code == 1
    assert f"{root} cannot be read: Permission denied" in said or "Permission denied" in said
    assert len(said.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("verb", ["prepare", "audit", "collect", "clean"])
def test_a_sub_folder_that_cannot_be_listed_is_named_and_stops_nothing(tmp_path, restricted, closing, verb):
    root = write_pictures(tmp_path / "in", "cat", "dog", "lost.d")
    closed = closing(root / "lost.d")
    more = ["--filter", "median"] if verb == "clean" else []
    code, out, said = restricted(closed, verb, root, "-o", tmp_path / "out", *more)
    assert code == 2, said
    where = tmp_path / "out"
    if verb == "prepare":
        assert "left out: 'lost.d/': cannot be listed: Permission denied" in out
        assert "read as: 2 classes" in out and len(Store(where)) == 20
    elif verb == "audit":
        rows = {row["file"]: row for row in pq.read_table(where / "pictures.parquet").to_pylist()}
        assert rows["lost.d/"]["reasons"] == ["unreadable"]
    else:
        table = (where / ("skipped.csv" if verb == "collect" else "dropped.csv")).read_text()
        assert "cannot be listed: Permission denied" in table


def test_files_and_places_that_are_closed(tmp_path, restricted, closing):
    root = write_pictures(tmp_path / "in", "cat", "dog")
    closed = closing(write_pictures(tmp_path / "closed", "."))
    for words, what in (
        (["prepare", closed / "set.zip", "-o", tmp_path / "o"], "Permission denied"),
        (["prepare", root, "-o", closed / "o"], "Permission denied"),
        (["prepare", root, "-o", tmp_path / "o", "--labels", closed / "l.csv"], "Permission denied"),
        (["show", closed / "store"], ""),
    ):
        code, _, said = restricted(closed, *words)
        assert code == 1 and what in said, (words, said)


def test_links_to_folders_are_followed_inside_the_source_only(tmp_path):
    root = write_pictures(tmp_path / "in", "cat", "pool/canines", first=0)
    write_pictures(tmp_path / "outside", ".", first=500)
    (root / "dog").symlink_to("pool/canines")
    (root / "away").symlink_to(tmp_path / "outside")
    (root / "cat" / "up").symlink_to("..")
    (root / "cat" / "twice").symlink_to("../dog")
    made = prepare(root, tmp_path / "store", resolution=16)
    reasons = dict(made.skipped)
    assert reasons == {
        "away/": "a link to a folder outside of the source", "cat/up/": "a link to a folder that it lies in",
    }  # fmt: skip
    assert made.store.spec.classes == ("cat", "dog", "pool")
    files = set(pq.read_table(tmp_path / "store" / "meta.parquet")["file"].to_pylist())
    assert {"dog/3.png", "pool/canines/3.png", "cat/twice/3.png"} <= files


def test_links_between_folders_cannot_multiply_what_is_read(tmp_path):
    root = write_pictures(tmp_path / "in", *(f"d{n}" for n in range(12)), count=1)
    for n in range(11):
        for way in ("a", "b"):
            (root / f"d{n}" / way).symlink_to(f"../d{n + 1}")
    made = prepare(root, tmp_path / "store", resolution=16)
    assert made.skipped_count < 100 and len(made.store) == 12 + 2 * 11
    assert {why for _, why in made.skipped} == {"a link to a folder inside a linked folder"}


@pytest.mark.parametrize("verb", ["prepare", "audit", "collect", "clean"])
def test_what_is_made_never_lies_in_the_source(tmp_path, fails, verb, monkeypatch):
    root = write_pictures(tmp_path / "in", "cat", "dog")
    more = ["--filter", "median"] if verb == "clean" else []
    assert "lie in each other" in fails(verb, root, "-o", root / "made", *more)
    (root / "way").symlink_to(root)
    assert "lie in each other" in fails(verb, root, "-o", root / "way" / "made", *more)
    if verb in ("prepare", "audit"):
        monkeypatch.chdir(root)
        assert f"{'stores' if verb == 'prepare' else 'audits'}/in and the source ." in fails(verb, ".")
    assert {path.name for path in root.iterdir()} == {"cat", "dog", "way"}
    assert {path.name for path in tmp_path.iterdir()} == {"in"}


def test_collecting_nothing_is_a_mistake(tmp_path, fails):
    (tmp_path / "empty").mkdir()
    assert "nothing to collect in empty" in fails("collect", tmp_path / "empty", "-o", tmp_path / "o")
    assert not (tmp_path / "o").exists()
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("a")
    assert "prepare makes a store of texts" in fails("collect", tmp_path / "texts", "-o", tmp_path / "o")
    (tmp_path / "texts" / "a.txt").rename(tmp_path / "texts" / "a.doc")
    assert "Nothing was collected" in fails("collect", tmp_path / "texts", "-o", tmp_path / "o")
    write_pictures(tmp_path / "mine", ".", count=3)
    said = fails("collect", tmp_path / "mine", "-o", tmp_path / "p", "--licence", "cc0")
    assert "Nothing was collected" in said and "no licence is stated" in said


def test_archives_that_cannot_be_read_are_called_what_they_are(tmp_path, fails):
    root = write_pictures(tmp_path / "set", "cat", "dog")
    for path in (
        Path(shutil.make_archive(str(tmp_path / "set"), kind, root)) for kind in ("zip", "gztar", "bztar", "xztar")
    ):
        if path.suffix == ".zip":
            path.write_bytes(path.read_bytes()[:-300])
            assert "is a zip whose end is missing: it was cut short" in fails("prepare", path, "-o", tmp_path / "o")
        else:
            said = fails("prepare", path, "-o", tmp_path / "o")
            assert "is packed with" in said and "Unpack it into a folder first" in said
            path.rename(tmp_path / "x.tar")
            assert "is packed with" in fails("prepare", tmp_path / "x.tar", "-o", tmp_path / "o")
    (tmp_path / "empty.zip").write_bytes(b"")
    assert "neither a folder nor a zip" in fails("prepare", tmp_path / "empty.zip", "-o", tmp_path / "o")


def test_a_tar_is_known_by_its_content(tmp_path):
    root = write_pictures(tmp_path / "set", "cat", "dog")
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("x.txt", "x")
    with tarfile.open(tmp_path / "noname", "w") as tar:
        tar.add(root, ".")
        info = tarfile.TarInfo("last.zip")  # a zip at its end does not make it one
        info.size = len(inner.getvalue())
        tar.addfile(info, io.BytesIO(inner.getvalue()))
    made = prepare(tmp_path / "noname", tmp_path / "o", resolution=16)
    assert (len(made.store), made.store.spec.classes) == (20, ("cat", "dog"))
    assert made.skipped == [("last.zip", "not a picture: .zip file")]


@pytest.mark.parametrize(
    ("name", "medium", "kind"),
    [
        ("a.txt", None, "text"),
        ("a.wav", None, "sound"),
        ("a.npy", None, "solid"),
        ("a.mp4", None, "clip"),
        ("a.mp4", "clip", "clip"),
        ("a.gif", "clip", "clip"),
    ],
)
def test_one_file_of_any_medium_is_a_source(name, medium, kind, tmp_path):
    frames = [Image.new("L", (8, 8), shade) for shade in (0, 255)]
    frames[0].save(tmp_path / name, "GIF", save_all=True, append_images=frames[1:])
    source = open_source(tmp_path / name, medium=medium)
    assert source.medium == kind and source.name == "a"
    (entry,) = source.entries()
    assert (entry.name, entry.read()) == (name, (tmp_path / name).read_bytes())


def test_one_picture_is_no_set(tmp_path, fails):
    write_pictures(tmp_path / "set", "cat")
    picture = next((tmp_path / "set").rglob("*.png"))
    assert "neither a folder nor a zip" in fails("prepare", picture, "-o", tmp_path / "s")


def test_devices_and_pipes_are_no_source(tmp_path, fails):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        assert "neither a folder nor a file" in fails("prepare", path, "-o", tmp_path / "s")
