"""Public sets: downloads from mirrors, members of archives, files that are not the published ones."""

from __future__ import annotations

import hashlib
import io
import tarfile

import pytest

from ganforge.base.errors import DataError
from ganforge.web import public
from ganforge.web.public import PublicSet, PublishedFile
from served import png


def published(name: str, data: bytes) -> PublishedFile:
    return PublishedFile(name, hashlib.md5(data).hexdigest(), len(data))


def small_set(*files: PublishedFile, **facts: object) -> PublicSet:
    return PublicSet(title="a small set", licence="CC0", author="Ann", files=files, **facts)


def test_the_next_mirror_is_tried_and_files_are_checked(tmp_path, site, monkeypatch):
    def answer(to) -> None:
        if to.path.startswith("/short/"):  # breaks off in the middle of a chunk
            to.send_response(200)
            to.send_header("Transfer-Encoding", "chunked")
            to.end_headers()
            to.wfile.write(b"fff\r\nabc")
            to.close_connection = True
        else:
            plain(to)

    plain, site.answer = site.answer, answer
    mirrors = tuple(map(site.url, ("/status/", "/short/", "/p/")))
    monkeypatch.setitem(public.SETS, "small", small_set(published("7.png", png(7)), mirrors=mirrors))
    (row,) = public.fetch("small", tmp_path, None)
    assert (tmp_path / "7.png").read_bytes() == png(7)
    assert (row["address"], row["licence"], row["source"]) == (site.url("/p/7.png"), "CC0", "small")
    assert row["sha256"] == hashlib.sha256(png(7)).hexdigest()
    monkeypatch.setitem(public.SETS, "small", small_set(published("7.png", png(8)), mirrors=mirrors))
    with pytest.raises(DataError, match="the original"):
        public.fetch("small", tmp_path, None)
    monkeypatch.setitem(public.SETS, "small", small_set(published("7.png", png(7)), mirrors=mirrors[:2]))
    with pytest.raises(DataError, match="--from FOLDER"):
        public.fetch("small", tmp_path, None)


def test_only_the_published_members_of_an_archive_are_written(tmp_path, monkeypatch):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, data in (("set/a.bin", b"aaa"), ("../b.bin", b"bb"), ("set/c.bin", b"not of the set")):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    source, out = tmp_path / "source", tmp_path / "out"
    source.mkdir()
    (source / "set.tar.gz").write_bytes(buffer.getvalue())
    archive = published("set.tar.gz", buffer.getvalue())
    members = (PublishedFile("a.bin", "", 3), PublishedFile("b.bin", "", 2))
    monkeypatch.setitem(public.SETS, "small", small_set(archive, members=members))
    out.mkdir()
    assert [row["file"] for row in public.fetch("small", out, source)] == ["a.bin", "b.bin"]
    assert sorted(path.name for path in tmp_path.rglob("*.bin")) == ["a.bin", "b.bin"]
    monkeypatch.setitem(public.SETS, "small", small_set(archive, members=(*members, PublishedFile("d.bin", "", 1))))
    with pytest.raises(DataError, match=r"lacks d\.bin"):
        public.fetch("small", out, source)
