"""From files of text to rows: alphabets, verdicts, sides that nothing leaks across, tables."""

from __future__ import annotations

import csv
import io
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ganforge.cli import main
from ganforge.media.text import Text
from ganforge.preparing.prepare import prepare
from ganforge.sources import containers, entry
from ganforge.store.split import ADJACENT, HELDOUT, TRAIN
from ganforge.store.store import Store

WORDS = [
    "what",
    "light",
    "through",
    "yonder",
    "window",
    "breaks",
    "it",
    "is",
    "the",
    "east",
    "and",
    "juliet",
    "sun",
    "arise",
    "fair",
]


def prose(count: int, seed: int = 0) -> str:
    rng = np.random.default_rng(seed)
    return " ".join(rng.choice(WORDS) + ".,\n"[rng.integers(3)] * (n % 7 == 0) for n in range(count))


def texts_of(store: Store) -> dict[str, str]:
    """Name -> passage."""
    medium = store.spec.medium
    assert isinstance(medium, Text)
    table = pq.read_table(store.path / "meta.parquet", columns=["row", "file"]).to_pylist()
    names = {row["row"]: row["file"] for row in table if row["row"] >= 0}
    return {names[n]: medium.text(row) for n, row in enumerate(store.read(np.arange(len(store))))}


def reasons(store: Store) -> dict[str, str]:
    table = pq.read_table(store.path / "meta.parquet", columns=["file", "dropped"]).to_pylist()
    return {row["file"]: row["dropped"] for row in table if row["dropped"]}


@pytest.fixture(scope="module")
def play(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("play") / "play.txt"
    path.write_text(prose(6000), "utf-8")
    return path


def test_a_text_becomes_passages_that_join_to_it(play, tmp_path):
    store = prepare(play, tmp_path / "s").store
    assert (store.spec.height, store.spec.width, store.spec.channels) == (1, 64, 1)
    passages = texts_of(store)
    assert "".join(passages.values()) == play.read_text("utf-8")
    assert list(passages)[:3] == ["play.txt#0", "play.txt#64", "play.txt#128"]
    assert isinstance(store.spec.medium, Text)
    assert set(store.spec.medium.alphabet[1:]) == set(play.read_text("utf-8"))


@pytest.mark.parametrize("stride", [64, 24])
def test_of_one_text_blocks_are_held_out_with_a_gap(play, tmp_path, stride):
    """No character of a held-out passage, nor of the passage beside it, is learned."""
    store = prepare(play, tmp_path / "s", stride=stride).store
    starts = np.array([int(name.rpartition("#")[2]) for name in texts_of(store)])
    trained, held = starts[store.splits == TRAIN], starts[store.splits == HELDOUT]
    assert 0.03 < len(held) / len(starts) < 0.25
    assert np.abs(trained[:, None] - held).min() >= 2 * 64
    blocks = {start // (16 * 64) for start in held.tolist()}
    assert {start for start in starts.tolist() if start // (16 * 64) in blocks} == set(held.tolist())
    assert set(reasons(store).values()) == {ADJACENT}


def test_of_many_texts_whole_ones_are_held_out(tmp_path):
    folder = tmp_path / "poems"
    for n in range(40):
        (folder / ("a", "b")[n % 2]).mkdir(parents=True, exist_ok=True)
        (folder / ("a", "b")[n % 2] / f"{n}.txt").write_text(prose(60, n), "utf-8")
    store = prepare(folder, tmp_path / "s").store
    assert store.spec.classes == ("a", "b")
    sides: dict[str, set[int]] = {}
    for name, side in zip(texts_of(store), store.splits.tolist(), strict=True):
        sides.setdefault(name.rpartition("#")[0], set()).add(side)
    assert len(sides) == 40 and all(len(one) == 1 for one in sides.values())
    assert {TRAIN} in sides.values() and {HELDOUT} in sides.values()
    assert not reasons(store)


def test_files_that_are_no_texts_get_verdicts(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(entry, "MAX_FILE_BYTES", 20_000)
    folder = tmp_path / "mixed"
    folder.mkdir()
    for n in range(4):
        (folder / f"{n}.txt").write_text(prose(300, n), "utf-8")
    (folder / "binary.txt").write_bytes(b"\x7fELF\0\0\1")
    (folder / "empty.txt").write_text("")
    (folder / "latin.txt").write_bytes("caf\u00e9 au lait".encode("latin-1"))
    (folder / "long.txt").write_text("x" * 30_000)
    (folder / "pages.pdf").write_bytes(b"%PDF-1.7")
    (folder / "0.txt.json").write_text("{}")  # a mark, not a file of its own
    assert main(["prepare", str(folder), "-o", str(tmp_path / "s")]) == 2
    given = reasons(Store(tmp_path / "s"))
    assert {name: reason for name, reason in given.items() if reason != ADJACENT} == {
        "binary.txt": "no text: it holds bytes of 0",
        "empty.txt": "empty",
        "latin.txt": "no text in UTF-8: byte 0xe9 at 3; convert it first",
        "long.txt": "file of 0 MiB, over the limit of 0",
        "pages.pdf": "not a text: .pdf file",
    }
    assert "no text in UTF-8" in capsys.readouterr().out


def test_one_line_over_the_limit_leaves_nothing(tmp_path, fails):
    path = tmp_path / "line.txt"
    with path.open("wb") as file:
        file.truncate(2 << 30)  # two gigabytes without a line break, none of them on the disk
    assert "file of 2048 MiB, over the limit of 256" in fails("prepare", path, "-o", tmp_path / "s")
    assert not (tmp_path / "s").exists()


def test_a_character_outside_of_the_alphabet_costs_its_passage(tmp_path):
    path = tmp_path / "t.txt"
    path.write_text(prose(900) + " \u00df " + prose(900, 1), "utf-8")
    at = path.read_text("utf-8").index("\u00df")
    letters = "".join(sorted(set(prose(900))))
    result = prepare(path, tmp_path / "s", alphabet=letters)
    lost = {name: reason for name, reason in reasons(result.store).items() if reason != ADJACENT}
    assert lost == {f"t.txt#{at // 64 * 64}": "outside of the alphabet: '\u00df' (U+00DF)"}
    assert result.unusable == 1


def test_of_more_than_255_characters_the_most_frequent_stay(tmp_path):
    rare = "".join(chr(0x4E00 + n) for n in range(300))
    path = tmp_path / "t.txt"
    path.write_text(prose(3000) + rare, "utf-8")
    result = prepare(path, tmp_path / "s", length=8)
    medium = result.store.spec.medium
    assert isinstance(medium, Text) and len(medium.alphabet) == 256
    assert set(prose(3000)) <= set(medium.alphabet)
    assert any("255 most frequent" in note for note in result.notes)
    assert any("outside of the alphabet" in reason for reason in reasons(result.store).values())


def test_stores_are_equal_however_they_are_made(play, tmp_path):
    one, two = (prepare(play, tmp_path / name).store for name in "ab")
    assert one.root == two.root
    folder = tmp_path / "play"
    folder.mkdir()
    (folder / "play.txt").write_bytes(play.read_bytes())
    with zipfile.ZipFile(tmp_path / "play.zip", "w") as archive:
        archive.write(play, "play.txt")
    for source in (folder, tmp_path / "play.zip"):
        assert prepare(source, tmp_path / f"of-{source.name}").store.root == one.root


# --------------------------------------------------------------------------------------------------------------- tables


def rows(count: int) -> list[dict[str, object]]:
    return [
        {"id": n, "review": prose(5 + n % 30, n), "label": ("good", "bad")[n % 2], "group": f"film {n // 4}"}
        for n in range(count)
    ]


def write_csv(path: Path, table: list[dict[str, object]], delimiter: str = ",") -> Path:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(table[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(table)
    path.write_text(text.getvalue(), "utf-8")
    return path


@pytest.mark.parametrize("kind", ["csv", "tsv", "parquet", "folder of parquet"])
def test_a_column_of_a_table(tmp_path, kind):
    table = rows(200)
    if kind in ("csv", "tsv"):
        source = write_csv(tmp_path / f"reviews.{kind}", table, {"csv": ",", "tsv": "\t"}[kind])
    else:
        source = tmp_path / ("reviews.parquet" if kind == "parquet" else "reviews")
        source.mkdir() if kind != "parquet" else None
        pq.write_table(pa.Table.from_pylist(table), source / "part.parquet" if kind != "parquet" else source)
    store = prepare(source, tmp_path / "s", column="review", length=32).store
    passages = texts_of(store)
    file = "part.parquet" if kind == "folder of parquet" else source.name
    for n in (0, 57, 199):
        parts = [text for name, text in passages.items() if name.startswith(f"{file}/{n:07d}#")]
        assert "".join(parts) == table[n]["review"]
    assert store.spec.classes == ("bad", "good")
    film_sides: dict[int, set[int]] = {}
    for name, side in zip(passages, store.splits.tolist(), strict=True):
        film_sides.setdefault(int(name.rpartition("/")[2].partition("#")[0]) // 4, set()).add(side)
    assert all(len(sides) == 1 for sides in film_sides.values()), "a group is on one side"
    assert {TRAIN} in film_sides.values() and {HELDOUT} in film_sides.values()


def test_a_folder_of_tables_is_read_like_one(tmp_path, fails):
    """CSV, TSV and Parquet together; tables of other programs beside them are none of texts."""
    table, folder = rows(90), tmp_path / "reviews"
    (folder / "more").mkdir(parents=True)
    write_csv(folder / "a.csv", table[:40])
    write_csv(folder / "more" / "b.tsv", table[40:80], "\t")
    (folder / "empty.csv").write_text("id,review\n")
    (folder / "provenance.csv").write_text("file,author\n")
    (folder / "readme.pdf").write_bytes(b"%PDF")
    (folder / "0.txt").write_text(prose(300), "utf-8")
    with_files = prepare(folder, tmp_path / "files", length=32).store
    assert all(name.startswith("0.txt#") for name in texts_of(with_files)), "without --column, files of text are meant"
    assert len(prepare(folder, tmp_path / "csv", column="review", length=32).store) >= 80
    (folder / "0.txt").unlink()
    pq.write_table(pa.Table.from_pylist(table[80:]), folder / "c.parquet")
    store = prepare(folder, tmp_path / "s", column="review", length=32).store
    passages = texts_of(store)
    for n, key in ((7, "a.csv/0000007"), (41, "more/b.tsv/0000001"), (89, "c.parquet/0000009")):
        parts = [text for name, text in passages.items() if name.startswith(f"{key}#")]
        assert "".join(parts) == table[n]["review"]
    assert store.spec.classes == ("bad", "good")
    assert prepare(folder, tmp_path / "t", medium="text", column="review", length=32).store.root == store.root
    write_csv(folder / "d.csv", [{"title": "a", "summary": "b"}] * 9)
    message = fails("prepare", folder, "-o", tmp_path / "x", "--column", "review")
    assert "d.csv has no column 'review'. Say --column with one of: title, summary" in message
    assert not (tmp_path / "x").exists()


def test_the_column_is_found_where_there_is_no_choice(tmp_path):
    table = [{"n": n, "text": prose(20, n)} for n in range(60)]
    pq.write_table(pa.Table.from_pylist(table), tmp_path / "t.parquet")
    assert len(prepare(tmp_path / "t.parquet", tmp_path / "s").store) >= 60


def test_columns_that_cannot_be(tmp_path, fails, play):
    source = write_csv(tmp_path / "two.csv", [{"one": "a", "two": "b"}] * 9)
    assert "2 columns of texts. Say --column with one of: one, two" in fails("prepare", source, "-o", tmp_path / "s")
    assert "no column 'three'" in fails("prepare", source, "-o", tmp_path / "s", "--column", "three")
    assert "--column has no effect" in fails("prepare", play, "-o", tmp_path / "s", "--column", "one")
    (tmp_path / "none.csv").write_text("text\n")
    assert "has no rows" in fails("prepare", tmp_path / "none.csv", "-o", tmp_path / "s")
    (tmp_path / "big.csv").write_text('text\n"' + "x" * 200_000 + '"\n')
    assert "cannot be read as CSV" in fails("prepare", tmp_path / "big.csv", "-o", tmp_path / "s")


def test_cells_without_a_text_get_verdicts(tmp_path):
    table = [{"n": n, "text": None if n == 3 else "" if n == 4 else prose(20, n)} for n in range(60)]
    pq.write_table(pa.Table.from_pylist(table), tmp_path / "t.parquet")
    store = prepare(tmp_path / "t.parquet", tmp_path / "s").store
    assert reasons(store) == {"t.parquet/0000003": "no text in its row", "t.parquet/0000004": "empty"}


def test_a_row_group_over_the_limit_is_not_read(tmp_path, fails, monkeypatch):
    monkeypatch.setattr(containers, "MAX_GROUP_BYTES", 1000)
    pq.write_table(pa.Table.from_pylist([{"text": prose(20, n)} for n in range(60)]), tmp_path / "t.parquet")
    assert "over the limit" in fails("prepare", tmp_path / "t.parquet", "-o", tmp_path / "s")


# ----------------------------------------------------------------------------------------------------- the other verbs


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--resolution", "64"], "--resolution has no effect on files that are read as texts"),
        (["--normalise", "centre"], "--normalise has no effect"),
        (["--length", "4"], "length"),
        (["--alphabet", "aba"], "'a' twice"),
        (["--alphabet", ""], "0 characters"),
        (["--format", "parquet", "--medium", "text"], "for pictures, not for texts"),
    ],
)
def test_settings_that_make_no_sense_for_texts(play, tmp_path, fails, words, says):
    assert says in fails("prepare", play, "-o", tmp_path / "s", *words)
    assert not (tmp_path / "s").exists()


def test_settings_of_texts_are_for_texts(licensed, tmp_path, fails):
    for words in (["--length", "32"], ["--alphabet", "abc"]):
        message = fails("prepare", licensed, "-o", tmp_path / "s", *words)
        assert "has no effect on files that are read as pictures" in message
    assert "holds no texts: no file ends in .txt" in fails(
        "prepare", licensed, "-o", tmp_path / "s", "--medium", "text"
    )


def test_verbs_of_pictures_say_that_these_are_texts(play, tmp_path, fails):
    folder = tmp_path / "texts"
    folder.mkdir()
    (folder / "play.txt").write_bytes(play.read_bytes())
    for words in (["audit", folder], ["clean", folder, "-o", tmp_path / "c", "--filter", "median:size=3"]):
        assert "holds texts and no pictures" in fails(*words)
    assert "holds texts and no pictures" in fails("prepare", play, "-o", tmp_path / "s", "--medium", "clip")


def test_a_store_of_text_is_shown(play, tmp_path, capsys):
    store = prepare(play, tmp_path / "s").store
    assert main(["show", str(store.path)]) == 0
    assert "every file checked" in capsys.readouterr().out
    assert (store.path / "sheet.png").is_file()
    assert main(["show", str(store.path), "--augment", "flip"]) == 1
    assert "which is for pictures and not for passages" in capsys.readouterr().err


def test_the_real_text(real_data, tmp_path):
    text = real_data / "text" / "tinyshakespeare.txt"
    if not text.is_file():
        pytest.skip("no tinyshakespeare.txt among the real data")
    store = prepare(text, tmp_path / "s").store
    assert str(store.spec) == "64 characters of 65"
    assert (len(store), len(store.train), len(store.heldout)) == (17_429, 15_199, 2_000)
