"""The machine-readable mark of what a system made: an XMP packet with IPTC's digital source type and, as JSON, seeds,
run and weights.

Everything that ganforge writes as a picture, a video or a sound carries it; beside a file that cannot, `FILE.json`
says it. `read` gets it back from all of them."""

from __future__ import annotations

import html
import json
import re
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image, PngImagePlugin

from ganforge.base.files import atomic_file, writing
from ganforge.base.tables import read_json

SUFFIX = ".json"
"""What the name of a file of a format that cannot carry a mark is followed by in the name of the file of its mark."""
JPEG_BYTES = 65_000
"""What fits into one segment of a JPEG file."""
_TERMS = {"generated": "trainedAlgorithmicMedia", "restored": "algorithmicallyEnhanced"}
_PACKET = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"'
    ' xmlns:ganforge="urn:ganforge:"'
    ' Iptc4xmpExt:DigitalSourceType="http://cv.iptc.org/newscodes/digitalsourcetype/{}" ganforge:madeBy="{}"/>'
    "</rdf:RDF></x:xmpmeta>"
)
_MADE_BY = re.compile(r'ganforge:madeBy="([^"]*)"')
_BOX = uuid.UUID("be7acfcb-97a9-42e8-9c71-999491e3afac").bytes  # of XMP in MP4, by the third part of its specification


def text(made_by: Mapping[str, Any], mark: str = "generated") -> str:
    """The JSON of a mark, in ASCII: what was done (`generated` or `restored`), and what did it."""
    return json.dumps({mark: True, **made_by})


def packet(made_by: Mapping[str, Any], mark: str = "generated") -> str:
    """The XMP packet of a mark, in ASCII."""
    return _PACKET.format(_TERMS[mark], html.escape(text(made_by, mark)))


def write_beside(path: Path, made_by: Mapping[str, Any] | None) -> None:
    """Write the mark of a file of a format that cannot carry one to `PATH.json`; without a mark, an older one there is
    removed. DataError where it cannot be written."""
    beside = _beside(path)
    with writing(beside):
        if made_by is None:
            beside.unlink(missing_ok=True)
            return
        with atomic_file(beside) as partial:
            partial.write_text(text(made_by) + "\n", "utf-8")


def _beside(path: Path) -> Path:
    return path.with_name(path.name + SUFFIX)


def add_to_mp4(path: Path, made_by: Mapping[str, Any]) -> None:
    """Add the packet to an MP4 file, as a box of its own at the end. OSError where it cannot be written."""
    data = _BOX + packet(made_by).encode()
    with path.open("ab") as file:
        file.write((len(data) + 8).to_bytes(4, "big") + b"uuid" + data)


def read(path: Path) -> dict[str, Any] | None:
    """What the mark of a PNG, JPEG, WebP, GIF, MP4 or WAV file says, or that beside another file; None where there is
    none. OSError where it cannot be read."""
    if _beside(path).is_file():
        return _record(_beside(path).read_bytes())
    if path.suffix.lower() == ".wav":
        return _wav_comment(path.read_bytes())
    if path.suffix.lower() == ".mp4":
        return _in_packet(_mp4_packet(path))
    with open_marked(path) as image:
        description = getattr(image, "text", {}).get("ganforge")  # older files say it there alone
        return (
            _record(description)
            if description
            else _in_packet(image.info.get("xmp") or image.info.get("comment") or b"")
        )


def open_marked(path: Path) -> Image.Image:
    """A picture that carries a mark, of any size if it is a PNG: Pillow's limit is for strangers' files. OSError where
    it is none."""
    if path.suffix.lower() != ".png":
        return Image.open(path)
    try:
        return PngImagePlugin.PngImageFile(path)
    except SyntaxError as error:
        raise OSError(str(error)) from error


def _in_packet(data: bytes | str) -> dict[str, Any] | None:
    match = _MADE_BY.search(data.decode("utf-8", "replace") if isinstance(data, bytes) else data)
    return _record(html.unescape(match[1])) if match else None


def _record(text: str | bytes) -> dict[str, Any] | None:
    """What JSON says, None where it is no record: anybody may write these fields."""
    try:
        record = read_json(text)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


def _wav_comment(data: bytes) -> dict[str, Any] | None:
    """The comment (ICMT) of a list of kind INFO."""
    at = 12
    while at + 12 <= len(data):
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        inner = (
            data.find(b"ICMT", at + 12, at + 8 + size)
            if data[at : at + 4] + data[at + 8 : at + 12] == b"LISTINFO"
            else -1
        )
        if inner >= 0:
            length = int.from_bytes(data[inner + 4 : inner + 8], "little")
            return _record(data[inner + 8 : inner + 8 + length].rstrip(b"\0"))
        at += 8 + size + size % 2
    return None


def _mp4_packet(path: Path) -> bytes:
    """Of the boxes side by side at the top of the file the one with XMP in it."""
    with path.open("rb") as file:
        while len(head := file.read(8)) == 8:
            size, kind, start = int.from_bytes(head[:4], "big"), head[4:], file.tell() - 8
            if size == 1:
                size = int.from_bytes(file.read(8), "big")
            if kind == b"uuid" and file.read(16) == _BOX:
                return file.read(max(0, size - 24))
            if size < 8:  # 0: to the end of the file
                break
            file.seek(start + size)
    return b""
