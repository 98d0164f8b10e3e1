"""The rights of each picture: stated, allowed, unknown, kept from an earlier collection."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from ganforge.cli import main
from ganforge.collecting.collect import collect_pictures
from ganforge.preparing.prepare import prepare
from served import Site, folder_of, reasons, table, write_list


def rights_list(tmp_path: Path, site: Site) -> Path:
    licences = ["cc0", "https://creativecommons.org/licenses/by/4.0/", "CC BY-NC 2.0", "all rights reserved", ""]
    return write_list(
        tmp_path / "l.csv", [{"url": site.url(f"/p/{n}.png"), "licence": text} for n, text in enumerate(licences)]
    )


def test_only_the_licences_asked_for(tmp_path, site, capsys):
    words = ["collect", str(rights_list(tmp_path, site)), "-o", str(tmp_path / "o"), "--allow-host", site.host]
    assert main([*words, "--licence", "cc0,cc-by"]) == 2
    assert sorted(row["licence"] for row in table(tmp_path / "o" / "provenance.csv")) == ["CC-BY-4.0", "CC0-1.0"]
    assert reasons(tmp_path / "o") == {
        "2.png": "the licence CC-BY-NC-2.0 is not allowed",
        "3.png": "the licence 'all rights reserved' is not known",
        "4.png": "no licence is stated",
    }
    assert site.pictures == 2  # what is not allowed is not fetched either
    printed = capsys.readouterr().out
    assert "2 pictures (l 2), 0 duplicates left out, 3 skipped" in printed


def test_unknown_rights_are_kept_apart(tmp_path, site, capsys):
    words = ["collect", str(rights_list(tmp_path, site)), "--allow-host", site.host]
    assert main([*words, "-o", str(tmp_path / "o")]) == 0
    assert len(table(tmp_path / "o" / "provenance.csv")) == len(list((tmp_path / "o").glob("*.png"))) == 3
    apart = tmp_path / "o-unknown-rights"
    assert [row["licence"] for row in table(apart / "provenance.csv")].count("all rights reserved") == 1
    assert len(list(apart.glob("*.png"))) == 2
    assert "o-unknown-rights: 2 pictures whose rights are unknown" in capsys.readouterr().out
    assert main([*words, "-o", str(tmp_path / "p"), "--unknown-rights", "leave-out"]) == 2
    assert set(reasons(tmp_path / "p").values()) == {"its rights are unknown"}
    assert main([*words, "-o", str(tmp_path / "q"), "--unknown-rights", "mix"]) == 0
    assert len(list((tmp_path / "q").glob("*.png"))) == 5


def test_public_sets_in_a_mix_are_pictures_and_go_on_to_prepare(tmp_path):
    local = folder_of(tmp_path / "mine", {"0": range(10), "1": range(10, 20)})
    assert main(["collect", "digits", str(local), "-o", str(tmp_path / "o"), "--cap-per-class", "15"]) == 0
    rows = table(tmp_path / "o" / "provenance.csv")
    assert Counter(row["label"] for row in rows) == {str(n): 15 for n in range(10)}
    assert {row["licence"] for row in rows if row["source"] == "digits"} == {"CC-BY-4.0"}
    store = prepare(tmp_path / "o", tmp_path / "store").store
    assert (len(store), len(store.spec.classes)) == (150, 10)
    again = collect_pictures(
        [tmp_path / "o"], tmp_path / "again", licence="cc-by"
    )  # where they came from is not forgotten
    assert again.kept == {"o": 150}
    rows = table(tmp_path / "again" / "provenance.csv")
    assert {row["licence"] for row in rows} == {"CC-BY-4.0"}
    assert all(row["address"].startswith("digits#") for row in rows)
