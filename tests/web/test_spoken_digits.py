"""The recordings of spoken digits in an archive: what is taken of it, and what is refused."""

from __future__ import annotations

import hashlib
import io
import tarfile

import pytest

from ganforge.base.errors import DataError
from ganforge.web import public, spoken_digits

FILES = {
    "digits-1/recordings/3_ann_4.wav": b"three",
    "digits-1/recordings/3_ann_5.wav": b"three again",
    "digits-1/recordings/0_bob_49.wav": b"nought",
    "digits-1/README.md": b"no recording",
    "../../9_eve_0.wav.exe": b"no recording",
}
WANTED = {"test/3/3_ann_4.wav": "3", "train/3/3_ann_5.wav": "3", "train/0/0_bob_49.wav": "0"}


def archive(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


@pytest.fixture
def published(monkeypatch):
    recordings = sorted((name.rpartition("/")[2], data) for name, data in FILES.items() if name.endswith(".wav"))
    lines = "".join(f"{name} {hashlib.sha256(data).hexdigest()}\n" for name, data in recordings)
    monkeypatch.setattr(spoken_digits, "DIGEST", hashlib.sha256(lines.encode()).hexdigest())


@pytest.mark.parametrize("kind", ["archive", "folder with an archive", "recordings", "repository"])
def test_recordings_come_with_their_digit_and_side(tmp_path, published, kind):
    source, out = tmp_path / "source", tmp_path / "out"
    source.mkdir()
    if "archive" in kind:
        (source / "digits.tar.gz").write_bytes(archive(FILES))
    else:
        inner = source / "recordings" if kind == "repository" else source
        inner.mkdir(exist_ok=True)
        for name, data in FILES.items():
            (inner / name.rpartition("/")[2]).write_bytes(data)
    rows = list(spoken_digits.unpack(source / "digits.tar.gz" if kind == "archive" else source, out))
    assert {file: digit for file, digit, _ in rows} == WANTED
    for file, _, digest in rows:
        assert hashlib.sha256((out / file).read_bytes()).hexdigest() == digest
    assert sorted(path.relative_to(out).as_posix() for path in out.rglob("*.*")) == sorted(WANTED)


def test_they_are_fetched_and_the_archive_is_removed(tmp_path, published, site, monkeypatch):
    def answer(to) -> None:
        data = archive(FILES)
        to.send_response(200)
        to.send_header("Content-Length", str(len(data)))
        to.end_headers()
        to.wfile.write(data)

    site.answer = answer
    known = public.SETS["spoken-digits"]
    facts = {**vars(known), "mirrors": (site.url("/archive/"),)}
    monkeypatch.setitem(public.SETS, "spoken-digits", public.PublicSet(**facts))
    rows = public.fetch("spoken-digits", tmp_path, None)
    assert {row["file"]: row["label"] for row in rows} == WANTED
    assert rows[0]["address"].startswith(site.url("/archive/")) and rows[0]["licence"] == "CC BY-SA 4.0"
    assert not list(tmp_path.glob("*.gz"))


def test_other_recordings_and_too_large_ones_are_refused(tmp_path, published, monkeypatch):
    (tmp_path / "a.tar.gz").write_bytes(archive({**FILES, "1_ann_0.wav": b"one more"}))
    with pytest.raises(DataError, match=r"4 recordings .* are not the 3,000 published"):
        list(spoken_digits.unpack(tmp_path, tmp_path / "out"))
    (tmp_path / "a.tar.gz").write_bytes(archive(FILES)[:60])
    with pytest.raises(DataError, match="cannot be unpacked"):
        list(spoken_digits.unpack(tmp_path, tmp_path / "out"))
    (tmp_path / "a.tar.gz").write_bytes(archive(FILES))
    monkeypatch.setattr(spoken_digits, "MOST_BYTES", 12)
    with pytest.raises(DataError, match="recordings of over"):
        list(spoken_digits.unpack(tmp_path, tmp_path / "out"))
