"""Public sets."""

from __future__ import annotations


def test_collect_checks_what_it_gets(tmp_path, fails):
    (tmp_path / "from").mkdir()
    assert "has no train-images" in fails("collect", "mnist", "--from", tmp_path / "from", "--out", tmp_path / "o")
    (tmp_path / "from" / "train-images-idx3-ubyte.gz").write_bytes(b"x" * 9912422)
    assert "is not the original" in fails("collect", "mnist", "--from", tmp_path / "from", "--out", tmp_path / "o")
    assert not (tmp_path / "o").exists()
    assert "Did you mean mnist?" in fails("collect", "mnits")


def test_no_network_is_one_sentence_that_names_both_ways(tmp_path, fails, monkeypatch):
    import urllib.error
    import urllib.request

    def nothing(*_: object, **__: object) -> None:
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setattr(urllib.request, "urlopen", nothing)
    said = fails("collect", "mnist", "--out", tmp_path / "o")
    assert "Connect to the network" in said
    assert "--from FOLDER" in said


def test_digits_need_no_network(tmp_path):
    from ganforge.collecting.collect import collect

    out = collect("digits", tmp_path / "digits")
    assert len(list(out.rglob("*.png"))) == 1797
    lines = (out / "provenance.csv").read_text().splitlines()
    assert len(lines) == 1798
    assert collect("digits", out) == out


def test_shapes_need_no_network_and_are_labelled_by_folder(tmp_path, monkeypatch):
    import csv

    import numpy as np

    from ganforge.collecting import shapes
    from ganforge.collecting.collect import collect

    monkeypatch.setattr(shapes, "COUNT", 2)
    out = collect("shapes", tmp_path / "shapes")
    assert sorted(path.relative_to(out).as_posix() for path in out.rglob("*.npy")) == sorted(
        f"{kind}/{number:04d}.npy" for kind in shapes.KINDS for number in range(2)
    )
    assert np.array_equal(np.load(out / "chair" / "0001.npy"), shapes.shape("chair", 1))
    with (out / "provenance.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["licence"] for row in rows} == {"CC0-1.0"}
    assert {row["label"] for row in rows} == {*shapes.KINDS}
    again = collect("shapes", tmp_path / "again")
    assert all((again / row["file"]).read_bytes() == (out / row["file"]).read_bytes() for row in rows)


def test_spoken_digits_bring_the_split_of_their_authors(tmp_path, real_data, fails):
    from ganforge.collecting.collect import collect
    from ganforge.preparing.prepare import prepare

    out = collect("spoken-digits", tmp_path / "spoken", real_data / "audio-fsdd")
    assert len(list(out.glob("train/?/*.wav"))) == 2700
    assert {path.stem.rsplit("_", 1)[1] for path in out.glob("test/?/*.wav")} == set("01234")
    store = prepare(out, tmp_path / "store").store
    assert (len(store.train), len(store.heldout), store.spec.classes) == (2629, 293, tuple("0123456789"))
    (out / "train" / "7" / "7_theo_9.wav").write_bytes(b"")
    for file in out.glob("*/?/*.wav"):
        file.rename(tmp_path / file.name)
    said = fails("collect", "spoken-digits", "--from", tmp_path, "--out", tmp_path / "again")
    assert "3,000 recordings of spoken digits that are not the 3,000 published ones" in said
    assert not (tmp_path / "again").exists()


def test_a_folder_without_spoken_digits_says_what_is_taken(tmp_path, fails):
    (tmp_path / "from").mkdir()
    words = ("collect", "spoken-digits", "--out", tmp_path / "out", "--from")
    assert "no recordings such as 7_jackson_32.wav" in fails(*words, tmp_path / "from")
    assert "does not exist" in fails(*words, tmp_path / "nothing")
    (tmp_path / "from" / "digits.tar.gz").write_bytes(b"no archive")
    assert "cannot be unpacked" in fails(*words, tmp_path / "from")
