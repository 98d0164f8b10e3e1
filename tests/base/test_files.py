"""Files and folders are written whole or not at all."""

import numpy as np
import pytest

from ganforge.base.errors import DataError, RunError
from ganforge.base.files import (
    atomic_file,
    atomic_folder,
    cannot_write,
    file_sha256,
    intact,
    read_array,
    sealed_file,
    write_array,
    writing,
)


def test_a_file_is_whole_or_as_it_was(tmp_path):
    path = tmp_path / "a.png"
    for text in ("one", "two"):
        with atomic_file(path) as partial:
            assert partial.parent == tmp_path and partial.suffix == ".png" and partial.name.startswith(".")
            partial.write_text(text)
        assert path.read_text() == text
    with pytest.raises(RuntimeError), atomic_file(path) as partial:
        partial.write_text("half")
        raise RuntimeError
    assert path.read_text() == "two"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_of_the_longest_name(tmp_path):
    path = tmp_path / ("n" * 251 + ".txt")
    with atomic_file(path) as partial:
        partial.write_text("x")
    assert path.read_text() == "x"


def test_a_folder_is_whole_or_as_it_was(tmp_path):
    path = tmp_path / "new" / "folder"
    with atomic_folder(path) as partial:
        (partial / "a").write_text("one")
    with pytest.raises(OSError), atomic_folder(path) as partial:
        (partial / "a").write_text("two")
    assert (path / "a").read_text() == "one", "without overwrite, an older folder stays"
    with pytest.raises(RuntimeError), atomic_folder(path, overwrite=True) as partial:
        (partial / "a").write_text("half")
        raise RuntimeError
    assert (path / "a").read_text() == "one"
    with atomic_folder(path, overwrite=True) as partial:
        (partial / "b").write_text("two")
    assert [file.name for file in path.iterdir()] == ["b"]
    assert list(path.parent.iterdir()) == [path]


def test_the_older_folder_stays_where_the_new_one_cannot_be_renamed(tmp_path):
    path = tmp_path / "folder"
    path.mkdir()
    (path / "a").write_text("old")
    with pytest.raises(FileNotFoundError), atomic_folder(path, overwrite=True) as partial:
        partial.rmdir()
    assert (path / "a").read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_one_wording_of_what_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    path = tmp_path / "file" / "x"
    with pytest.raises(DataError, match=r"file/x cannot be written: Not a directory\. Free some space"), writing(path):
        path.write_text("")
    problems = (OSError, ValueError)
    with (
        pytest.raises(RunError, match=r"cannot be written: seven\. Do this\."),
        writing(path, "Do this.", RunError, problems),
    ):
        raise ValueError("seven")
    with pytest.raises(KeyError), writing(path):
        raise KeyError
    assert isinstance(cannot_write(path, OSError(28, "No space left on device"), kind=RunError), RunError)


def test_a_sealed_file_is_known_again(tmp_path):
    path = tmp_path / "a.bin"
    assert not intact(path)
    for data in (b"one", b"two"):
        with sealed_file(path) as partial:
            partial.write_bytes(data)
        assert intact(path)
    assert (tmp_path / "a.bin.sha256").read_text() == f"{file_sha256(path)}  a.bin\n"
    path.write_bytes(b"other")
    assert not intact(path)


def test_an_array_comes_back_or_is_made_again(tmp_path):
    path = tmp_path / "a.npy"
    assert read_array(path) is None
    write_array(path, np.arange(5))
    write_array(path, np.arange(6).reshape(2, 3))
    assert np.array_equal(read_array(path), np.arange(6).reshape(2, 3))
    with path.open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\1")
    assert read_array(path) is None
    write_array(path, np.arange(5))
    (tmp_path / "a.npy.sha256").unlink()
    assert read_array(path) is None


def test_the_hash_of_a_file_from_a_byte_on(tmp_path):
    (tmp_path / "a").write_bytes(b"headabc")
    (tmp_path / "b").write_bytes(b"abc")
    assert file_sha256(tmp_path / "a", 4) == file_sha256(tmp_path / "b")
