"""Mistakes that people make and damage that happens, planted in a copy of a real set, and what the tool says of each.

    python benchmarks/mistakes.py --data FOLDER [--only PATTERN] [--keep DIR]

FOLDER holds `flowers/flowers128.zip`, of which 300 photographs of five classes are taken. Each mistake is planted by itself, and the command line
is run in a process of its own. What is expected was written down before: an exit code, a word in what is said, what has to be left as
it was, and what may not have been made. A traceback is always wrong. Root may read everything, so as root the commands run without that right.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

import common

EACH = 60
PLAIN = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"] if os.geteuid() == 0 else []


@dataclass(frozen=True)
class Mistake:
    """What was planted, the words of the command, and what is expected of it."""

    planted: str
    words: Sequence[object]
    code: int
    says: str  # a pattern that has to be found in what is said, in any case
    spared: Path | None = None  # left as it was, to the byte
    absent: Path | None = None  # not made
    room: int | None = None  # bytes that a file may have: a disk that is full
    also: Mapping[str, str] = field(default_factory=dict)  # of the environment


class Ground:
    """A real set with a store, an audit and a run of it, and room for copies."""

    def __init__(self, place: Path, flowers: Path) -> None:
        self.place, self.count = place.resolve(), 0
        self.set = self.place / "set"
        with zipfile.ZipFile(flowers) as file:
            names = [name for name in file.namelist() if name.endswith(".jpg")]
            for label in sorted({name.split("/")[0] for name in names}):
                for name in [name for name in names if name.startswith(f"{label}/")][:EACH]:
                    file.extract(name, self.set)
        self.store, self.audit, self.run = (self.place / name for name in ("store", "audit", "run"))
        for words in (
            ("prepare", self.set, "-o", self.store, "--resolution", "32"),
            ("audit", self.set, "-o", self.audit),
            ("train", "gan", self.store, "-o", self.run, *SHORT),
        ):
            code, said = command(words, self.place)
            if code:
                raise SystemExit(f"{words}: {said}")

    def room(self) -> Path:
        """An empty folder of its own."""
        self.count += 1
        made = self.place / f"{self.count:03}"
        made.mkdir()
        return made

    def copy(self, what: Path, name: str | None = None) -> Path:
        """A copy in a room of its own; a set under the name `set`."""
        copied: Path = shutil.copytree(what, self.room() / (name or what.name))
        return copied

    def few(self, name: str = "set") -> Path:
        """Five classes of eight photographs."""
        made = self.room() / name
        for label in self.set.iterdir():
            (made / label.name).mkdir(parents=True)
            for picture in sorted(label.iterdir())[:8]:
                shutil.copy(picture, made / label.name)
        return made

    def picture(self, number: int = 0) -> Path:
        """One of the photographs."""
        return sorted(self.set.rglob("*.jpg"))[number]


SHORT = ("--size", "small", "--images", "1280", "--train.batch", "32", "--train.report", "320")
SHAPE = ("--resolution", "32")


def command(
    words: Sequence[object], place: Path, room: int | None = None, also: Mapping[str, str] = {}
) -> tuple[int, str]:
    """(exit code, what was said) of a command in a process of its own."""

    def limit() -> None:
        if room is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))

    run = subprocess.run(
        [*PLAIN, sys.executable, "-m", "ganforge.cli", *map(str, words)],
        cwd=place, capture_output=True, text=True, errors="replace", timeout=600, stdin=subprocess.DEVNULL,
        env={**os.environ, "GANFORGE_CACHE": str(place / "cache"), **also}, preexec_fn=limit,
    )  # fmt: skip
    return run.returncode, run.stdout + run.stderr


def flip(path: Path, place: float = 0.5) -> None:
    """One bit of a file."""
    data = bytearray(path.read_bytes())
    data[int(len(data) * place)] ^= 1
    path.write_bytes(data)


def table(path: Path, rows: Sequence[Sequence[str]], by: str = ",", end: str = "\n", encoding: str = "utf-8") -> Path:
    """A table of labels."""
    path.write_bytes(end.join(by.join(row) for row in [("file", "label"), *rows]).encode(encoding))
    return path


def content(path: Path) -> str:
    """A hash of names and bytes."""
    found = hashlib.sha256()
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        found.update(str(file.relative_to(path)).encode())
        if file.is_file() and os.access(file, os.R_OK):
            found.update(file.read_bytes())
    return found.hexdigest()


def audits(ground: Ground) -> Iterator[Mistake]:
    """Audits of something else."""
    newer = ground.copy(ground.set)
    shutil.copy(ground.picture(), newer / "daisy" / "new.jpg")
    yield Mistake(
        "a picture new since the audit", ("prepare", newer, "--audit", ground.audit, *SHAPE), 1, "new.jpg", newer
    )
    changed = ground.copy(ground.set)
    shutil.copy(ground.picture(1), changed / ground.picture().relative_to(ground.set))
    yield Mistake(
        "a picture replaced since the audit",
        ("prepare", changed, "--audit", ground.audit, *SHAPE),
        1,
        ground.picture().name,
    )
    other = ground.few()
    yield Mistake("the audit of a larger set", ("prepare", other, "--audit", ground.audit, *SHAPE), 1, "audit")
    yield Mistake(
        "the same, in clean",
        ("clean", other, "--audit", ground.audit, "-o", other.parent / "out"),
        1,
        "audit",
        absent=other.parent / "out",
    )
    yield Mistake(
        "a finding that does not exist",
        ("prepare", ground.set, "--audit", ground.audit, "--keep", "near-unifrom", *SHAPE),
        1,
        "did you mean near.uniform",
    )
    yield Mistake("--drop without an audit", ("prepare", ground.set, "--drop", "blurred", *SHAPE), 1, "audit")
    yield Mistake(
        "a store where an audit is expected", ("prepare", ground.set, "--audit", ground.store, *SHAPE), 1, "audit"
    )
    broken = ground.copy(ground.audit)
    data = (broken / "findings.parquet").read_bytes()
    (broken / "findings.parquet").write_bytes(data[: len(data) // 2])
    yield Mistake("a damaged audit", ("prepare", ground.set, "--audit", broken, *SHAPE), 1, "cannot be read")


def tables(ground: Ground) -> Iterator[Mistake]:
    """Tables of labels."""
    flat = ground.room() / "flat"
    flat.mkdir()
    rows = []
    for label in sorted(ground.set.iterdir()):
        for picture in sorted(label.iterdir())[:8]:
            shutil.copy(picture, flat)
            rows.append((picture.name, label.name))
    csv = flat.parent / "labels.csv"

    def prepare(name: str) -> tuple[object, ...]:
        return ("prepare", flat, "--labels", csv, "-o", flat.parent / name, *SHAPE)

    table(csv, [(f"other-{name}", label) for name, label in rows])
    yield Mistake("labels that match no file", prepare("a"), 1, "row", absent=flat.parent / "a")
    yield Mistake(
        "the same, in audit",
        ("audit", flat, "--labels", csv, "-o", flat.parent / "b"),
        1,
        "row",
        absent=flat.parent / "b",
    )
    table(csv, [*rows, ("gone.jpg", "rose")])
    yield Mistake("a row without a file", prepare("c"), 0, "gone.jpg")
    table(csv, [*rows, (rows[0][0], "another")])
    yield Mistake("two rows for one file", prepare("d"), 1, "another")
    table(csv, rows[1:])
    yield Mistake("a file without a row", prepare("e"), 2, rows[0][0])
    for words, options in {
        "a byte order mark": {"encoding": "utf-8-sig"}, "line ends of Windows": {"end": "\r\n"}, "UTF-16": {"encoding": "utf-16"},
        "semicolons": {"by": ";"}, "tabs": {"by": "\t"},
    }.items():  # fmt: skip
        table(csv, rows, **options)
        yield Mistake(f"labels with {words}", prepare(words), 0, "5 classes")
    table(csv, [(name, "blüte") for name, _ in rows[:20]] + rows[20:], encoding="latin-1")
    yield Mistake("labels in Latin-1", prepare("g"), 1, "UTF-8")
    csv.write_text("picture,kind\n" + "\n".join(",".join(row) for row in rows))
    yield Mistake("columns of other names", prepare("h"), 1, "file.*label")
    csv.write_text("")
    yield Mistake("labels without a line", prepare("i"), 1, "labels.csv")
    yield Mistake("a folder as labels", ("prepare", flat, "--labels", flat, *SHAPE), 1, "flat")
    table(csv, [(name, "") for name, _ in rows])
    yield Mistake("labels that are all empty", prepare("j"), 1, "label")
    table(csv, [(name.upper(), label) for name, label in rows])
    yield Mistake("names in another case", prepare("k"), 1, "row", absent=flat.parent / "k")
    nested = ground.room() / "nested"
    (nested / "sub").mkdir(parents=True)
    shutil.copy(ground.picture(), nested / "p2.jpg")
    shutil.copy(ground.picture(1), nested / "sub" / "p2.jpg")
    shutil.copy(ground.picture(2), nested / "sub" / "p3.jpg")
    table(nested.parent / "labels.csv", [("p2.jpg", "one"), ("p3.jpg", "two")])
    yield Mistake(
        "one name in two folders, one row",
        ("prepare", nested, "--labels", nested.parent / "labels.csv", *SHAPE),
        0,
        "sub/p2.jpg",
    )


def layouts(ground: Ground) -> Iterator[Mistake]:
    """Folders, zips and tars of another shape."""
    wrapped = ground.room() / "set"
    shutil.copytree(ground.few(), wrapped / "set")
    yield Mistake("a folder around the classes", ("prepare", wrapped, *SHAPE), 0, "5 classes")
    split = ground.room() / "set"
    for side in ("train", "test"):
        for label in sorted(ground.set.iterdir()):
            (split / "set" / side / label.name).mkdir(parents=True)
            for picture in sorted(label.iterdir())[4 * (side == "test") :][:4]:
                shutil.copy(picture, split / "set" / side / label.name)
    yield Mistake("a folder around train and test", ("prepare", split, *SHAPE), 0, "5 classes, given split")
    yield Mistake("--heldout of a set with a split", ("prepare", split, *SHAPE, "--heldout", "0.2"), 1, "split")
    few = ground.few()
    archive = few.parent / "set.tar"
    with tarfile.open(archive, "w") as tar:
        tar.add(few, "set")
    yield Mistake("a tar of class folders", ("prepare", archive, *SHAPE), 0, "5 classes")
    packed = few.parent / "set.tar.gz"
    with tarfile.open(packed, "w:gz") as tar:
        tar.add(few, "set")
    yield Mistake("a compressed tar", ("prepare", packed, *SHAPE), 1, "unpack")
    zipped = Path(shutil.make_archive(str(few.parent / "plain"), "zip", few))
    cut = few.parent / "cut.zip"
    cut.write_bytes(zipped.read_bytes()[:-5000])
    yield Mistake("a zip that is cut short", ("prepare", cut, *SHAPE), 1, "cut short|damaged|incomplete")
    inner = few.parent / "inner.zip"
    with zipfile.ZipFile(inner, "w") as file:
        file.write(zipped, "plain.zip")
    yield Mistake("a zip in a zip", ("prepare", inner, *SHAPE), 1, "plain.zip")
    beside = ground.few()
    shutil.copy(zipped, beside / "more.zip")
    yield Mistake("a zip among class folders", ("prepare", beside, *SHAPE), 2, "more.zip")
    fake = few.parent / "fake.zip"
    fake.write_text("<html>404</html>")
    yield Mistake("a web page that is called .zip", ("prepare", fake, *SHAPE), 1, "fake.zip")
    empty = ground.few()
    (empty / "lotus").mkdir()
    yield Mistake("a class folder without pictures", ("prepare", empty, *SHAPE), 0, "read as: 5 classes")
    lone = ground.few()
    (lone / "lotus").mkdir()
    shutil.copy(ground.picture(70), lone / "lotus")
    yield Mistake("a class of one picture", ("prepare", lone, *SHAPE, "--stratify"), 0, "lotus")
    one = ground.room() / "one"
    one.mkdir()
    shutil.copy(ground.picture(), one)
    yield Mistake("a folder of one picture", ("prepare", one, *SHAPE), 1, "picture")
    nothing = ground.room() / "nothing"
    nothing.mkdir()
    for verb in ("prepare", "audit"):
        yield Mistake(f"an empty folder, {verb}", (verb, nothing), 1, "right folder")
    yield Mistake(
        "an empty folder, clean",
        ("clean", nothing, "-o", nothing.parent / "c", "--filter", "median"),
        1,
        "right folder|picture|nothing",
    )
    yield Mistake("an empty folder, collect", ("collect", nothing, "-o", nothing.parent / "d"), 1, "picture|nothing")
    twins = ground.room() / "twins"
    twins.mkdir()
    for number, name in enumerate(("a.jpg", "A.jpg", "a.JPG", *(f"{n}.jpg" for n in range(7)))):
        shutil.copy(ground.picture(number), twins / name)
    yield Mistake("names that differ by case alone", ("prepare", twins, *SHAPE), 0, ": 10 pictures")
    yield Mistake(
        "the same, cleaned",
        ("clean", twins, "-o", twins.parent / "out", "--filter", "median:size=3"),
        0,
        "10 pictures filtered",
    )
    spaced = ground.few("my pictures ü")
    yield Mistake(
        "a name with spaces and a slash behind", ("prepare", f"{spaced}/", *SHAPE), 0, "stores/my pictures ü: 40"
    )
    dot = ground.few()
    yield Mistake("a dot for the folder", ("prepare", f"{dot}/.", *SHAPE), 0, "stores/set")
    locked = ground.few()
    (locked / "roses").chmod(0)
    yield Mistake("a class folder that may not be read", ("prepare", locked, *SHAPE), 2, "roses")
    yield Mistake("the same, in audit", ("audit", locked), 2, "unreadable")
    (locked / "roses").chmod(0o755)
    locked.chmod(0)
    yield Mistake("a source that may not be read", ("prepare", locked, *SHAPE), 1, "permission|may not")
    locked.chmod(0o755)
    linked = ground.few()
    (linked / "lotus").symlink_to("roses")
    yield Mistake("a link to a class folder of the source", ("prepare", linked, *SHAPE), 0, "6 classes")
    outside = ground.few()
    (outside / "lotus").symlink_to(ground.set / "roses")
    strange = ground.few()
    for name in (".DS_Store", "Thumbs.db", "-rf.jpg", "line\nend.jpg"):
        shutil.copy(ground.picture(), strange / "roses" / name)
    os.mkfifo(strange / "roses" / "pipe.jpg")
    (strange / "roses" / "loop.jpg").symlink_to("loop.jpg")
    yield Mistake("a pipe, a loop of links, names of dashes and line ends", ("prepare", strange, *SHAPE), 2, "pipe.jpg")
    yield Mistake(
        "the same, cleaned", ("clean", strange, "-o", strange.parent / "out", "--filter", "median"), 2, "pipe.jpg"
    )
    yield Mistake("a link to a folder elsewhere", ("prepare", outside, *SHAPE), 2, "lotus")


def pictures(ground: Ground) -> Iterator[Mistake]:
    """Colours, formats, bits."""
    mixed = ground.room() / "mixed"
    mixed.mkdir()
    for number in range(300):
        with Image.open(ground.picture(number)) as image:
            image.convert("L" if number < 280 else "RGB").save(mixed / f"{number:03}.png")
    yield Mistake("280 grey pictures before 20 in colour", ("prepare", mixed, *SHAPE), 0, "300 pictures of 32x32 RGB")
    many = ground.room() / "many"
    many.mkdir()
    formats = {"avif": "AVIF", "jp2": "JPEG2000", "mpo": "MPO", "ico": "ICO", "tif": "TIFF", "webp": "WEBP"}
    for number, (suffix, kind) in enumerate(formats.items()):
        with Image.open(ground.picture(number)) as image:
            image.save(many / f"{number}.{suffix}", kind)
            image.rotate(90).save(many / f"{number}-turned.{suffix}", kind)
    try:
        import pillow_heif  # type: ignore[import-not-found]

        pillow_heif.register_heif_opener()
        with Image.open(ground.picture(9)) as image:
            image.save(many / "9.heic", "HEIF")
        count = 13
    except ImportError:
        count = 12
    for verb in ("prepare", "audit"):
        yield Mistake(f"AVIF, JPEG 2000, MPO, ICO, HEIC: {verb}", (verb, many), 0, f"{count} (pictures|files)")
    (many / "drawing.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    (many / "new.jxl").write_bytes(b"\xff\x0a" + bytes(60))
    yield Mistake(
        "SVG and JPEG XL among them", ("prepare", many, *SHAPE, "-o", many.parent / "more"), 2, "drawing.svg.*SVG"
    )
    icons = ground.room() / "icons"
    icons.mkdir()
    for number in range(12):
        icon = Image.new("RGBA", (32, 32), (255, 255, 255, 0) if number % 2 else (0, 130, 0, 255))
        ImageDraw.Draw(icon).rectangle(
            (number, 8, number + 12, 20), (255, 255, 255, 255) if number % 2 else (254, 1, 1, 255)
        )
        icon.save(icons / f"{number}.png")
    yield Mistake("white icons on nothing, red ones on green", ("audit", icons), 0, "0 reject")
    deep = ground.room() / "deep"
    deep.mkdir()
    rng = np.random.default_rng(0)
    for number in range(12):
        Image.fromarray(rng.integers(0, 4096, (40, 40)).astype(np.uint16)).save(deep / f"{number}.png")
    yield Mistake("12 bits in files of 16", ("prepare", deep, *SHAPE), 0, "4,?095")
    spoilt = ground.few()
    for number, name in enumerate(("cut.jpg", "text.jpg", "none.jpg")):
        data = ground.picture(number).read_bytes()
        (spoilt / "roses" / name).write_bytes((data[: len(data) // 2], b"hello", b"")[number])
    yield Mistake("a picture cut short, a text, no bytes", ("prepare", spoilt, *SHAPE), 2, "cut.jpg")
    bad = ground.room() / "bad"
    (bad / "a").mkdir(parents=True)
    with Image.open(ground.picture()) as image:
        image.resize((16, 16)).resize((128, 128), Image.Resampling.BICUBIC).save(bad / "a" / "up.png")
        image.save(bad / "a" / "q.jpg", quality=3)
        image.convert("L").convert("RGB").save(bad / "a" / "grey.png")
    yield Mistake("up-scaling, JPEG quality 3, grey as RGB", ("audit", bad), 0, "compressed")
    yield Mistake("wrong suffixes of an output", ("sample", ground.run, "-o", ground.room() / "out.xyz"), 1, "xyz")
    plain = ground.few()
    recipe = plain.parent / "clean.toml"
    recipe.write_text("[select]\ndrop = []\nfilter = []\n")
    yield Mistake(
        "a recipe that changes nothing",
        ("clean", plain, "-o", plain.parent / "same", "--recipe", recipe),
        1,
        "recipe|nothing|filter",
    )
    yield Mistake("the proposal for clean pictures", ("clean", plain, "--suggest"), 0, "filter|bilateral")
    broken = plain.parent / "broken.png"
    broken.write_bytes(ground.picture().read_bytes()[:600])
    yield Mistake("a damaged picture, projected", ("project", ground.run, broken), 1, "broken.png")
    yield Mistake("a damaged picture in a folder, measured", ("measure", spoilt, "--store", ground.store), 2, "cut.jpg")
    yield Mistake(
        "levels the wrong way round",
        ("prepare", deep, *SHAPE, "--levels", "4095,0", "-o", deep.parent / "l"),
        1,
        "levels",
    )
    yield Mistake(
        "pictures larger than they are asked for", ("prepare", ground.few(), "--resolution", "100000"), 1, "resolution"
    )


def places(ground: Ground) -> Iterator[Mistake]:
    """One thing where another is expected, and places that may not be written."""
    source = ground.few()
    yield Mistake(
        "prepare --out inside the source",
        ("prepare", source, *SHAPE, "-o", source / "out"),
        1,
        "lie in each other",
        source,
    )
    yield Mistake(
        "clean --out inside the source",
        ("clean", source, "-o", source / "out", "--filter", "median"),
        1,
        "lie in each other",
        source,
    )
    yield Mistake(
        "audit --out inside the source",
        ("audit", source, "-o", source / "out"),
        1,
        "lie in each other",
        source,
    )
    yield Mistake("--out that is the source", ("prepare", source, *SHAPE, "-o", source), 1, "is no store", source)
    yield Mistake(
        "--out that is another folder of files",
        ("prepare", source, *SHAPE, "-o", ground.audit),
        1,
        "is no store",
        ground.audit,
    )
    yield Mistake(
        "the same with --overwrite",
        ("prepare", source, *SHAPE, "-o", ground.audit, "--overwrite"),
        1,
        "is no store",
        ground.audit,
    )
    yield Mistake(
        "--out that is the source, with --overwrite",
        ("prepare", source, *SHAPE, "-o", source, "--overwrite"),
        1,
        "is no store",
        source,
    )
    yield Mistake(
        "audit --overwrite over pictures", ("audit", source, "-o", ground.set, "--overwrite"), 1, "set", ground.set
    )
    yield Mistake(
        "a store over itself",
        ("prepare", ground.store, "-o", ground.store, "--overwrite"),
        1,
        "lie in each other",
        ground.store,
    )
    yield Mistake(
        "--out that is a file",
        ("prepare", source, *SHAPE, "-o", ground.picture()),
        1,
        ground.picture().name,
        ground.picture(),
    )
    yield Mistake(
        "a store as the source of clean",
        ("clean", ground.store, "-o", ground.room() / "out", "--filter", "median"),
        1,
        "store",
        ground.store,
    )
    yield Mistake(
        "a store as the source of collect",
        ("collect", ground.store, "-o", ground.room() / "out"),
        0,
        "300 pictures",
        ground.store,
    )
    yield Mistake(
        "a run as the source of prepare", ("prepare", ground.run, *SHAPE, "-o", ground.room() / "out"), 1, "run"
    )
    yield Mistake(
        "an audit as the source of prepare",
        ("prepare", ground.audit, *SHAPE, "-o", ground.room() / "out"),
        1,
        "audit",
    )
    yield Mistake("pictures where a store is expected", ("train", "gan", ground.set, *SHORT), 1, "prepare")
    yield Mistake("a run where a store is expected", ("train", "gan", ground.run, *SHORT), 1, "run|store")
    yield Mistake("a store where a run is expected, sample", ("sample", ground.store), 1, "run", ground.store)
    yield Mistake("a store where a run is expected, measure", ("measure", ground.store), 1, "run", ground.store)
    yield Mistake("a store where a run is expected, train", ("train", ground.store), 1, "store|system")
    yield Mistake("a run that does not exist", ("sample", ground.place / "none"), 1, "none")
    yield Mistake("a file where a folder is expected", ("audit", ground.picture()), 1, ground.picture().name)
    yield Mistake(
        "-o of train that is a store",
        ("train", "gan", ground.store, "-o", ground.store, *SHORT),
        1,
        "store",
        ground.store,
    )
    yield Mistake("-o of sample that is the run", ("sample", ground.run, "-o", ground.run), 1, "png", ground.run)
    locked = ground.room() / "locked"
    locked.mkdir()
    locked.chmod(0o555)
    yield Mistake(
        "--out where nothing may be written",
        ("prepare", source, *SHAPE, "-o", locked / "store"),
        1,
        "permission|written",
        locked,
    )
    yield Mistake(
        "a run where nothing may be written",
        ("train", "gan", ground.store, "-o", locked / "run", *SHORT),
        1,
        "permission|written",
        locked,
    )
    yield Mistake(
        "a full disk, prepare",
        ("prepare", source, *SHAPE, "-o", source.parent / "full"),
        1,
        "large|full|space|room",
        absent=source.parent / "full",
        room=20_000,
    )
    yield Mistake(
        "a full disk, train",
        ("train", "gan", ground.store, "-o", source.parent / "fullrun", *SHORT),
        1,
        "large|full|space|room",
        room=20_000,
    )
    yield Mistake(
        "the same words on a disk with room",
        ("train", "gan", ground.store, "-o", source.parent / "fullrun", *SHORT),
        0,
        "100%",
    )
    yield Mistake(
        "a full disk, sample",
        ("sample", ground.run, "-o", source.parent / "full.png"),
        1,
        "large|full|space|room",
        absent=source.parent / "full.png",
        room=5_000,
    )
    yield Mistake(
        "a store of nothing held out, measured",
        ("prepare", source, *SHAPE, "--heldout", "0", "-o", source.parent / "all"),
        0,
        "0 held out",
    )
    yield Mistake(
        "… trained", ("train", "gan", source.parent / "all", "-o", source.parent / "allrun", *SHORT), 0, "100%"
    )
    yield Mistake("… and measured: no floor", ("measure", source.parent / "allrun", "--samples", "64"), 0, "held.out")


def stores(ground: Ground) -> Iterator[Mistake]:
    """Damaged and moved stores."""
    for name in ("images-00000.npy", "labels.npy", "manifest.json"):
        broken = ground.copy(ground.store)
        flip(broken / name, 0.7)
        yield Mistake(f"a flipped bit in {name}: train", ("train", "gan", broken, *SHORT), 1, f"{name}|root", broken)
    broken = ground.copy(ground.store)
    flip(broken / "images-00000.npy")
    for verb in ("show", "audit", "prepare"):
        yield Mistake(f"a flipped bit in the pixels: {verb}", (verb, broken), 1, "images-00000")
    part = ground.copy(ground.store)
    (part / "images-00000.npy").unlink()
    yield Mistake("a store without a shard", ("train", "gan", part, *SHORT), 1, "images-00000")
    part = ground.copy(ground.store)
    (part / "manifest.json").unlink()
    yield Mistake("a store without its manifest", ("train", "gan", part, *SHORT), 1, "manifest")
    moved = ground.copy(ground.store, "moved")
    run = ground.copy(ground.run)
    text = (run / "run.toml").read_text().replace(str(ground.store), str(ground.place / "gone"))
    (run / "run.toml").write_text(text)
    yield Mistake("a store that moved: train", ("train", run, "--images", "1600"), 1, "--store")
    yield Mistake("a store that moved: measure", ("measure", run), 1, "--store")
    yield Mistake("… and where it is now", ("train", run, "--store", moved, "--images", "1600"), 0, "100%")
    other = ground.room() / "other"
    yield Mistake("(another store)", ("prepare", ground.few(), *SHAPE, "-o", other), 0, "40 pictures")
    yield Mistake(
        "a run with another store", ("train", run, "--store", other, "--images", "1920"), 1, "another|same|other"
    )
    yield Mistake(
        "a run measured against another store",
        ("measure", run, "--store", other, "--samples", "64"),
        0,
        "is not the store that",
    )


def runs(ground: Ground) -> Iterator[Mistake]:
    """Runs under way, damaged, edited."""
    out = ground.room() / "run"
    words = ("train", "gan", ground.store, "-o", out, *SHORT[:2], "--images", "100_000_000", *SHORT[4:])
    training = subprocess.Popen(
        [sys.executable, "-m", "ganforge.cli", *map(str, words)],
        cwd=out.parent,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while not list(out.glob("checkpoints/*/manifest.json")) and training.poll() is None:
        time.sleep(0.2)
    yield Mistake("two processes on one run", words, 1, "process|training|another")
    yield Mistake("samples of a run under way", ("sample", out, "--count", "4"), 0, "samples.png")
    yield Mistake("facts of a run under way", ("show", out), 0, "gan")
    training.send_signal(signal.SIGSTOP)
    yield Mistake("… while it is halted, measured", ("measure", out, "--samples", "64"), 0, "Fr.chet")
    training.kill()
    training.wait()
    yield Mistake("killed, sampled", ("sample", out, "--count", "4"), 0, "samples.png")
    run = ground.copy(ground.run)
    newest = max((run / "checkpoints").iterdir(), key=lambda path: path.name)
    flip(newest / "tensors.safetensors")
    yield Mistake("a damaged newest checkpoint: sample", ("sample", run), 1, newest.name)
    yield Mistake("a damaged newest checkpoint: train", ("train", run, "--images", "1600"), 0, newest.name)
    run = ground.copy(ground.run)
    for tensors in run.glob("checkpoints/*/tensors.safetensors"):
        flip(tensors)
    yield Mistake("all checkpoints damaged", ("train", run, "--images", "1600"), 1, "checkpoint", run / "checkpoints")
    run = ground.copy(ground.run)
    for checkpoint in (run / "checkpoints").iterdir():
        shutil.rmtree(checkpoint)
    yield Mistake("no checkpoint left: sample", ("sample", run), 1, "checkpoint")
    for name, old, new in (("lr", r"lr = \S+", "lr = 0.1"), ("seed", r"seed = \S+", "seed = 9")):
        run = ground.copy(ground.run)
        text = (run / "run.toml").read_text()
        (run / "run.toml").write_text(re.sub(old, new, text, count=1))
        yield Mistake(f"run.toml edited by hand: {name}", ("train", run, "--images", "1600"), 1, name)
    run = ground.copy(ground.run)
    (run / "run.toml").write_text("[run\n")
    yield Mistake("a run.toml that is none", ("sample", run), 1, "run.toml")
    run = ground.copy(ground.run)
    text = (run / "run.toml").read_text()
    (run / "run.toml").write_text(re.sub(r"system = .*", "", text))
    yield Mistake("a run.toml without its system", ("train", run), 1, "system")
    run = ground.copy(ground.run)
    with (run / "stats.jsonl").open("ab") as file:
        file.write(b'{"images": \xff\n{broken')
    yield Mistake("broken lines in stats.jsonl", ("train", run, "--images", "1600"), 0, "100%")
    run = ground.copy(ground.run)
    (run / "samples").rename(run.parent / "samples")
    (run / "samples").symlink_to(run.parent / "samples")
    yield Mistake("a link in a run", ("train", run, "--images", "1600"), 1, "link", run.parent / "samples")
    yield Mistake(
        "resumed with another setting",
        ("train", "gan", ground.store, "-o", ground.run, *SHORT, "--model.lr", "1e-3"),
        1,
        "lr",
        ground.run,
    )
    yield Mistake("a run made shorter", ("train", ground.run, "--images", "640"), 1, "shorter|longer", ground.run)
    yield Mistake(
        "another system in its folder", ("train", "dcgan", ground.store, "-o", ground.run, *SHORT), 1, "gan", ground.run
    )


def options(ground: Ground) -> Iterator[Mistake]:
    """Misspelt, contradictory, without effect, out of range."""
    store, run, few = ground.store, ground.run, ground.few()

    def wrong(planted: str, words: Sequence[object], says: str) -> Mistake:
        return Mistake(planted, words, 1, says)

    train = ("train", "gan", store, "-o", ground.room() / "none")
    yield wrong("--resolutionn", ("prepare", few, "--resolutionn", "32"), "did you mean --resolution")
    yield wrong("a verb misspelt", ("prepair", few), "did you mean prepare")
    yield wrong("a system misspelt", ("train", "dcgn", store), "did you mean dcgan")
    yield wrong("a setting misspelt", (*train, "--model.latnt", "8"), "did you mean.*latent")
    yield wrong("a setting that is no number", (*train, "--model.latent", "many"), "latent")
    yield wrong("a setting out of range", (*train, "--model.latent", "-5"), "latent")
    yield wrong("a batch of none", (*train, "--train.batch", "0"), "batch")
    yield wrong("--images and --minutes", (*train, "--images", "640", "--minutes", "1"), "images|minutes")
    yield wrong("minutes below nothing", (*train, "--minutes", "-3"), "minutes")
    yield wrong("minutes that are no number", (*train, "--minutes", "nan"), "minutes")
    yield wrong("--train.cooldown 1 with minutes", (*train, "--minutes", "1", "--train.cooldown", "1"), "cooldown")
    yield wrong("--size with a run", ("train", run, "--size", "large"), "size")
    yield wrong("--size with a file that says it", (*train, "--config", run / "run.toml", "--size", "large"), "size")
    yield wrong("an option said twice", ("prepare", few, "--resolution", "32", "--resolution", "64"), "twice")
    yield wrong("a resolution of 32x", ("prepare", few, "--resolution", "32x"), "resolution")
    yield wrong("two channels", ("prepare", few, *SHAPE, "--channels", "2"), "channels|1, 3")
    yield wrong(
        "half of everything and more held out", ("prepare", few, *SHAPE, "--heldout", "1.5"), "heldout|held out"
    )
    yield wrong("held out: not a number", ("prepare", few, *SHAPE, "--heldout", "nan"), "heldout|held out")
    yield wrong("a fit that there is not", ("prepare", few, *SHAPE, "--fit", "crp"), "did you mean crop")
    yield wrong("a colour that there is not", ("prepare", few, *SHAPE, "--background", "whit"), "whit")
    yield wrong("a fold of a store without folds", (*train, "--train.fold", "0"), "fold")
    yield wrong("seeds below nothing", ("sample", run, "--seeds=-3"), "seed")
    yield wrong("seeds the wrong way round", ("sample", run, "--seeds", "9-3"), "seed")
    yield wrong("a seed beyond 64 bits", ("sample", run, "--seeds", "99999999999999999999999"), "seed")
    yield wrong("--seeds and --count", ("sample", run, "--seeds", "3", "--count", "4"), "either")
    yield wrong("no pictures", ("sample", run, "--count", "0"), "count")
    yield wrong("--mix-layers alone", ("sample", run, "--mix-layers", "0-1"), "no effect")
    yield wrong("--mix of a system without styles", ("sample", run, "--mix", "1,2"), "style")
    yield wrong("--truncation of a system without styles", ("sample", run, "--truncation", "0.5"), "truncation|style")
    yield wrong("--walk and --each", ("sample", run, "--walk", "--each"), "either")
    yield wrong("--labels of a run without classes", ("sample", run, "--labels", "roses"), "label|class")
    yield wrong("a walk of one seed", ("sample", run, "--walk", "--seeds", "3", "-o", few.parent / "w.webp"), "seed")
    yield wrong("samples for a distance: one", ("measure", run, "--samples", "1"), "samples")
    yield wrong("--device cuda without one", (*train, "--device", "cuda", *SHORT), "cuda|device")
    yield wrong("a device that there is not", ("sample", run, "--device", "gpu"), "gpu")
    yield wrong("restore with a system that cannot", ("restore", run, few, "-o", few.parent / "r"), "restore")
    yield wrong("project of no picture", ("project", run, run / "run.toml"), "run.toml")
    yield wrong(
        "a filter that there is not",
        ("clean", few, "-o", few.parent / "c", "--filter", "medain"),
        "did you mean median",
    )
    yield wrong(
        "a filter's setting out of range", ("clean", few, "-o", few.parent / "c", "--filter", "median:size=4"), "size"
    )
    yield wrong("clean with nothing to do", ("clean", few, "-o", few.parent / "c"), "nothing|filter|audit")
    yield wrong("a shard of none", ("prepare", few, *SHAPE, "--shard", "3/3"), "shard")
    yield wrong("an export without a place", ("prepare", few, *SHAPE, "--format", "parquet"), "out")
    yield wrong(
        "a licence that there is not", ("collect", few, "--licence", "ccc0", "-o", few.parent / "l"), "licence|ccc0"
    )
    yield wrong("a share below nothing", ("collect", few, "--cap", "-1", "-o", few.parent / "l"), "cap")
    yield wrong("a setting of another system", (*train, "--model.beta", "1"), "beta")
    yield wrong("a run's setting changed on going on", ("train", run, "--model.lr", "1e-3", "--images", "1600"), "lr")
    yield wrong("a length of half a picture", (*train, "--images", "0.5"), "images")
    yield wrong("a length without end", (*train, "--images", "1e999"), "images")
    yield wrong("a picture asked for as a store", ("train", "gan", ground.picture()), "store|manifest")
    yield wrong("no store", ("train", "gan"), "which store")
    yield wrong("no words behind a verb", ("prepare",), "source")
    yield wrong("a name that begins with a dash", ("prepare", "-my-pictures"), "-m")
    yield wrong("a class that there is not", ("prepare", few, *SHAPE, "--per-class", "-1"), "per.class|cap")
    yield wrong("one fold", ("prepare", few, *SHAPE, "--folds", "1"), "folds")
    yield wrong("more folds than pictures of a class", ("prepare", few, *SHAPE, "--folds", "50"), "folds")
    yield wrong("measure a folder without a store", ("measure", few), "--store")
    yield wrong("measure three pictures", ("measure", three(ground), "--store", store), "3|16|few")
    yield wrong(
        "a recipe that is no TOML",
        ("clean", few, "-o", few.parent / "c", "--recipe", ground.picture()),
        "toml|recipe|read",
    )
    yield wrong("a collection of a set that there is not", ("collect", "minst"), "did you mean mnist|minst")
    yield wrong("a list without addresses", ("collect", listed(ground), "-o", few.parent / "l"), "url")
    yield wrong("a cache that is a file", ("show", store / "labels.npy"), "labels.npy")
    yield wrong("a layer misspelt", ("layers", "convolutoin"), "did you mean convolution")
    yield wrong("an audit compared with a store", ("audit", "--diff", ground.audit, store), "audit")
    yield wrong("a word too many", ("show", store, "more"), "more")


def three(ground: Ground) -> Path:
    """Three pictures."""
    made = ground.room() / "three"
    made.mkdir()
    for number in range(3):
        shutil.copy(ground.picture(number), made)
    return made


def listed(ground: Ground) -> Path:
    """A list without addresses."""
    made = ground.room() / "list.csv"
    made.write_text("picture,label\na.jpg,rose\n")
    return made


def judge(mistake: Mistake, code: int, said: str, before: str | None) -> list[str]:
    """What is not as it should be."""
    wrong = [] if code == mistake.code else [f"exit code {code}, not {mistake.code}"]
    if not re.search(mistake.says, said, re.I | re.S):
        wrong.append(f"nothing is said of {mistake.says!r}")
    if "Traceback" in said:
        wrong.append("a traceback")
    if mistake.spared and content(mistake.spared) != before:
        wrong.append(f"{mistake.spared.name} is not as it was")
    if mistake.absent and mistake.absent.exists():
        wrong.append(f"{mistake.absent.name} was made")
    return wrong


def sentence(mistake: Mistake, said: str) -> str:
    """The line that says it."""
    lines = [line.strip() for line in said.splitlines() if line.strip()] or [""]
    for line in lines:
        if line.startswith("ganforge: ") or re.search(mistake.says, line, re.I):
            return line
    return lines[-1]


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--data", type=Path, required=True)
    words.add_argument("--only", default="", help="parts whose names fit this pattern alone; nothing is written")
    words.add_argument("--keep", type=Path, help="a folder for what is planted, which is kept")
    asked = words.parse_args()
    place = asked.keep or Path(tempfile.mkdtemp())
    place.mkdir(exist_ok=True)
    ground = Ground(place, asked.data / "flowers" / "flowers128.zip")
    rows: list[dict[str, Any]] = []
    start = time.perf_counter()
    for part in (audits, tables, layouts, pictures, places, stores, runs, options):
        if not re.search(asked.only, part.__name__):
            continue
        for mistake in part(ground):
            before = content(mistake.spared) if mistake.spared else None
            code, said = command(mistake.words, ground.room(), mistake.room, mistake.also)
            wrong = judge(mistake, code, said, before)
            line = sentence(mistake, said).replace(f"{ground.place}/", "")
            rows.append(
                {"part": part.__name__, "planted": mistake.planted, "verb": mistake.words[0], "exit": code, "said": line, "expected": [mistake.code, mistake.says], "wrong": wrong}
            )  # fmt: skip
            print(f"{'WRONG' if wrong else 'right':5}  {code}  {mistake.planted:48.48}  {line[:240]}", flush=True)
            for reason in wrong:
                print(f"{'':9}{reason}", flush=True)
    right = sum(not row["wrong"] for row in rows)
    print(f"{right} of {len(rows)} as they should be")
    if not asked.only:
        common.write(
            "mistakes",
            {"seconds": round(time.perf_counter() - start), "planted": len(rows), "right": right, "mistakes": rows},
        )
    if not asked.keep:
        shutil.rmtree(place)


if __name__ == "__main__":
    main()
