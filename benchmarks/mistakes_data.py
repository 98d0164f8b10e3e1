"""Mistakes in what is given to the tool: audits, tables, layouts, pictures."""

from __future__ import annotations

import os
import shutil
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from mistakes_ground import SHAPE, Ground, Mistake, table


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
        "a byte order mark": {"encoding": "utf-8-sig"}, "line ends of Windows": {"end": "\r\n"},
        "UTF-16": {"encoding": "utf-16"}, "semicolons": {"by": ";"}, "tabs": {"by": "\t"},
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
    names = [f"p{number}.jpg" for number in range(3, 13)]
    for number, name in enumerate(names):
        shutil.copy(ground.picture(number + 2), nested / "sub" / name)
    table(nested.parent / "labels.csv", [("p2.jpg", "one"), *((name, "two") for name in names)])
    yield Mistake(
        "one name in two folders, one row",
        ("prepare", nested, "--labels", nested.parent / "labels.csv", *SHAPE),
        2,
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
