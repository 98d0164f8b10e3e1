"""Collecting from folders, lists and APIs: going on, licences, mixing; a real HTTP server on this machine, behind
--allow-host."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import signal
import subprocess
import sys
import time
import tracemalloc
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from ganforge.base.errors import DataError, InputError, Stopped
from ganforge.base.tables import cell
from ganforge.cli import main
from ganforge.collecting.collect import collect, collect_pictures
from ganforge.collecting.folder import Collected
from ganforge.collecting.journal import CollectionJournal
from ganforge.preparing.prepare import prepare
from ganforge.sources.decode import identify
from ganforge.sources.entry import Skip
from ganforge.sources.source import open_source
from ganforge.store.licences import is_among, spdx, wanted
from ganforge.web import lists
from ganforge.web.fetch import Client
from ganforge.web.guard import Hosts
from ganforge.web.settings import Limits
from served import Site, claims, png, reasons, table, write_list

# ---------------------------------------------------------------------------------------------------------------- resume


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_the_same_command_fetches_only_what_is_missing(tmp_path, site, fast, how):
    site.delay = 0.02
    (tmp_path / "list.txt").write_text("\n".join(site.url(f"/p/{n}.png") for n in range(60)))
    recipe = fast("place = 'list.txt'", limits="at_once = 4")
    command = [sys.executable, "-m", "ganforge.cli", "collect", str(recipe), "-o", str(tmp_path / "o")]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    while site.pictures < 20:
        time.sleep(0.01)
    process.send_signal(how)
    _, said = process.communicate(timeout=20)
    if how == signal.SIGINT:
        assert process.returncode == 3
        assert "The same command goes on" in said
    assert not (tmp_path / "o" / "provenance.csv").exists()
    before = site.pictures
    assert before < 60
    assert main(["collect", str(recipe), "-o", str(tmp_path / "o")]) == 0
    assert site.pictures <= 60 + 4  # those that were under way are asked for once more
    assert len(list((tmp_path / "o").glob("*.png"))) == 60
    assert len(table(tmp_path / "o" / "provenance.csv")) == 60
    asked = site.pictures
    assert main(["collect", str(recipe), "-o", str(tmp_path / "o")]) == 0
    assert site.pictures == asked


def test_other_settings_are_another_folder_and_other_limits_are_not(tmp_path, site, fast):
    (tmp_path / "list.txt").write_text("\n".join(site.url(p) for p in ("/p/1.png", "/terapixel/t.png", "/endless/e")))
    with pytest.raises(DataError, match=r"Nothing was collected.*over the limit of 300"):
        collect_pictures([fast("place = 'list.txt'", limits="bytes = 300")], tmp_path / "o")
    made = collect_pictures([fast("place = 'list.txt'", limits="bytes = 50_000")], tmp_path / "o")
    assert sum(made.kept.values()) == 1
    with pytest.raises(InputError, match="other settings"):
        collect_pictures([tmp_path / "recipe.toml"], tmp_path / "o", seed=1)
    (tmp_path / "list.txt").write_text(site.url("/p/2.png"))
    with pytest.raises(InputError, match="other sources"):
        collect_pictures([tmp_path / "recipe.toml"], tmp_path / "o")


def test_stopped_while_the_pictures_are_put_in_place(tmp_path, monkeypatch):
    local = folder_of(tmp_path / "mine", {"cat": range(4), "dog": range(10, 14)})
    plain, moves = Path.replace, []

    def replace(self: Path, target: Path) -> Path:
        moves.append(target)
        done = plain(self, target)
        if len(moves) == 8 + 3:  # into the blobs, then three into their places
            raise KeyboardInterrupt
        return done

    monkeypatch.setattr(Path, "replace", replace)
    with pytest.raises(Stopped):
        collect_pictures([local], tmp_path / "o")
    monkeypatch.undo()
    assert collect_pictures([local], tmp_path / "o").kept == {"mine": 8}
    assert {path.read_bytes() for path in (tmp_path / "o").rglob("*.png")} == {
        path.read_bytes() for path in local.rglob("*.png")
    }
    assert len(table(tmp_path / "o" / "provenance.csv")) == 8


def test_one_process_at_a_time(tmp_path):
    held = CollectionJournal(tmp_path / "o" / ".collect" / "journal.sqlite")
    with pytest.raises(DataError, match="another process"):
        CollectionJournal(tmp_path / "o" / ".collect" / "journal.sqlite")
    held.close()
    CollectionJournal(tmp_path / "o" / ".collect" / "journal.sqlite").close()


# ----------------------------------------------------------------------------------------------------------- lists and APIs


def test_lists_in_all_formats_and_rows_that_make_no_sense(tmp_path):
    rows = [{"url": f"https://a.example/{n}.png", "label": "x", "licence": "cc0", "author": "=1+1"} for n in range(3)]
    plain = [lists.ListedPicture(row["url"], "x", "cc0", "=1+1") for row in rows]
    assert list(lists.read(write_list(tmp_path / "a.csv", rows))) == plain
    pq.write_table(
        pa.Table.from_pylist([{**row, "URL": row.pop("url"), "other": 1} for row in [dict(r) for r in rows]]),
        tmp_path / "a.parquet",
    )
    assert list(lists.read(tmp_path / "a.parquet")) == plain
    (tmp_path / "b.tsv").write_text("Label\tURL\nx\thttps://a.example/0.png\n\nonly\n")
    assert [found.problem for found in lists.read(tmp_path / "b.tsv")] == ["", "not an address"]
    (tmp_path / "c.csv").write_bytes(b"url,label\nhttps://a/" + b"x" * 200_000 + b",y\n\xff\xfe,z\nhttps://a/ok,w\n")
    found = list(lists.read(tmp_path / "c.csv"))
    assert [bool(one.problem) for one in found] == [True, True, False]
    (tmp_path / "d.csv").write_text("file,label\n")
    with pytest.raises(DataError, match="column url"):
        list(lists.read(tmp_path / "d.csv"))
    (tmp_path / "e.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(DataError, match="Parquet"):
        list(lists.read(tmp_path / "e.parquet"))


def test_a_long_list_is_not_held_in_memory(tmp_path):
    with (tmp_path / "long.txt").open("w") as file:
        for n in range(30_000):
            file.write(f"https://pictures.example/{n:08d}/{'x' * 80}.png\n")
    tracemalloc.start()
    assert sum(1 for _ in lists.read(tmp_path / "long.txt")) == 30_000
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


@pytest.mark.parametrize(
    ("by", "paging"),
    [
        ("page", "by = 'page'\nparameter = 'page'"),
        ("offset", "by = 'offset'\nparameter = 'from'\nstart = 0"),
        ("cursor", "by = 'cursor'\nparameter = 'after'\nnext = 'more'"),
        ("table", "by = 'cursor'\nnext = 'more'"),
        ("link", "by = 'link'\nnext = 'more'"),
    ],
)
def test_apis_page_by_page(tmp_path, site, fast, by, paging, monkeypatch):
    monkeypatch.setenv("TEST_KEY", "s3cret")
    source = f"""name = "museum"
endpoint = "{site.url("/api/" + by)}"
limit = 23
[source.parameters]
q = "tulips & more"
[source.paging]
{paging}
[source.fields]
items = "data.items"
address = "media.0.src"
licence = "rights.licence"
author = "by"
label = "kind"
[source.secret]
name = "X-Key"
variable = "TEST_KEY"
prefix = "Key "
"""
    made = collect_pictures([fast(source)], tmp_path / "o")
    assert made.kept == {"museum": 23}
    rows = table(tmp_path / "o" / "provenance.csv")
    row = next(row for row in rows if row["address"] == site.url("/p/7.png"))
    assert (row["licence"], row["author"], row["label"], row["source"]) == ("CC-BY-4.0", "author 7", "odd", "museum")
    assert row["file"].startswith("odd/") and (tmp_path / "o" / row["file"]).read_bytes() == png(7)
    pages = [path for path in site.asked if path.startswith("/api/")]
    assert len(pages) == 3 and sum(site.asked[path] for path in pages) == 3
    assert "q=tulips" in pages[0]
    assert all(site.headers[path]["X-Key"] == "Key s3cret" for path in pages)
    assert "X-Key" not in site.headers["/p/7.png"]
    assert b"s3cret" not in b"".join(p.read_bytes() for p in (tmp_path / "o").rglob("*") if p.is_file())


def test_a_secret_stays_with_its_host(tmp_path, site):
    other = Site()

    async def run() -> None:
        async with Client(Limits(rate=0), allowed=Hosts([site.host, other.host])) as client:
            await client.json(site.url(f"/to?url={other.url('/api/page')}"), {"X-Key": "s3cret"})

    asyncio.run(run())
    assert "X-Key" not in other.headers["/api/page"]
    other.server.shutdown()
    other.server.server_close()


def test_mistakes_in_a_recipe(tmp_path, site, fast, fails):
    out = tmp_path / "o"
    api = f"endpoint = '{site.url('/api/page')}'"
    for text, said in {
        api + "\n[source.paging]\nby = 'pag'": "Did you mean page?",
        api + "\n[source.fields]\nitem = 'x'": "Did you mean items?",
        api + "\n[source.fields]\nitems = 'nothing.here'": "it has data",
        api + "\n[source.secret]\nvariable = 'NO_SUCH_VARIABLE'": "NO_SUCH_VARIABLE",
        api + "\nplace = 'digits'": "either a place or an endpoint",
        "place = 'digits'\nlicense = 'x'": "Did you mean licence?",
        "place = 'nowhere/at.all'": "does not exist",
        "place = 'digits'\nweight = 2.0": "Weights share out a total",
    }.items():
        assert said in fails("collect", fast(text), "-o", out), text
    assert "limits.rte" in fails("collect", fast("place = 'digits'", limits="rte = 1"), "-o", out)
    assert "Did you mean cc-by?" in fails("collect", "digits", "--licence", "ccby4", "-o", out)
    assert "leave-out" in fails("collect", "digits", "--unknown-rights", "leaveout", "-o", out)
    assert "HOST:PORT" in fails("collect", write_list(tmp_path / "l.csv", []), "--allow-host", "http://x", "-o", out)
    assert not out.exists()
    (tmp_path / "in").mkdir()
    assert "in each other" in fails("collect", tmp_path / "in", "-o", tmp_path / "in" / "o")
    assert "something else" in fails("collect", "digits", tmp_path / "in", "-o", tmp_path)


def test_without_httpx_it_says_what_to_install(tmp_path):
    listed = write_list(tmp_path / "l.csv", [])
    code = f"import sys; sys.modules['httpx'] = None; from ganforge.cli import main; sys.exit(main(['collect', {str(listed)!r}]))"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert 'pip install "ganforge[web]"' in done.stderr
    assert not list((tmp_path / "data").iterdir())


# ----------------------------------------------------------------------------------------------------------------- rights


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("CC0", "CC0-1.0"), ("cc0-1.0", "CC0-1.0"), ("Creative Commons Zero", "CC0-1.0"), ("CC BY 4.0", "CC-BY-4.0"),
        ("cc-by-sa-3.0", "CC-BY-SA-3.0"), ("CC BY-NC-ND 2.5", "CC-BY-NC-ND-2.5"), ("by-sa", "CC-BY-SA"), ("CC-BY", "CC-BY"),
        ("Creative Commons Attribution 4.0 International", "CC-BY-4.0"), ("Attribution-NonCommercial-ShareAlike 2.0 Generic", "CC-BY-NC-SA-2.0"),
        ("Creative Commons Attribution-Share Alike 4.0", "CC-BY-SA-4.0"), ("Attribution-NoDerivs License", "CC-BY-ND"),
        ("https://creativecommons.org/licenses/by/4.0/", "CC-BY-4.0"), ("http://creativecommons.org/licenses/by-nc-sa/3.0/deed.fr", "CC-BY-NC-SA-3.0"),
        ("//creativecommons.org/licenses/by-sa/2.0", "CC-BY-SA-2.0"), ("https://creativecommons.org/licenses/by/3.0/de/", "CC-BY-3.0-DE"),
        ("https://creativecommons.org/licenses/by/3.0/xx/", "CC-BY-3.0"), ("https://creativecommons.org/publicdomain/zero/1.0/", "CC0-1.0"),
        ("https://creativecommons.org/publicdomain/mark/1.0/", "CC-PDM-1.0"), ("Public domain", "CC-PDM-1.0"), ("MIT License", "MIT"),
        ("CC BY-SA 3.0 (as commonly stated)", "CC-BY-SA-3.0"), ("CC BY 9.9", None), ("https://creativecommons.org/licenses/by-evil/4.0/", None),
        ("https://creativecommons.org.evil.example/licenses/by/4.0/", None), ("not CC BY 4.0", None), ("CC BY or GFDL", None),
        ("all rights reserved", None), ("unknown", None), ("", None), (None, None), ("Apache-2.0", "Apache-2.0"), ("GFDL-1.2-only", "GFDL-1.2-only"),
    ],
)  # fmt: skip
def test_licences_by_their_identifiers(text, name):
    assert spdx(text) == name


def test_which_licences_are_allowed():
    allowed = wanted(["cc0", "CC-BY"])
    assert allowed == ("CC0-1.0", "CC-BY")
    assert [is_among(name, allowed) for name in ("CC-BY-4.0", "CC-BY-3.0-DE", "CC-BY", "CC-BY-SA-4.0", "CC-BY-NC-2.0", "CC0-1.0", "MIT")] == [
        True, True, True, False, False, True, False]  # fmt: skip
    assert not is_among("CC-BY-3.0", wanted(["cc-by-4.0"]))


def rights_list(tmp_path: Path, site: Site) -> Path:
    said = ["cc0", "https://creativecommons.org/licenses/by/4.0/", "CC BY-NC 2.0", "all rights reserved", ""]
    return write_list(
        tmp_path / "l.csv", [{"url": site.url(f"/p/{n}.png"), "licence": text} for n, text in enumerate(said)]
    )


def test_only_the_licences_asked_for(tmp_path, site, capsys):
    words = ["collect", str(rights_list(tmp_path, site)), "-o", str(tmp_path / "o"), "--allow-host", site.host]
    assert main([*words, "--licence", "cc0,cc-by"]) == 2
    assert sorted(row["licence"] for row in table(tmp_path / "o" / "provenance.csv")) == ["CC-BY-4.0", "CC0-1.0"]
    assert reasons(tmp_path / "o") == {
        "2.png": "the licence CC-BY-NC-2.0 is not allowed", "3.png": "the licence 'all rights reserved' is not known",
        "4.png": "no licence is stated",
    }  # fmt: skip
    assert site.pictures == 2  # what is not allowed is not fetched either
    said = capsys.readouterr().out
    assert "2 pictures (l 2), 0 duplicates left out, 3 skipped" in said


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


# ----------------------------------------------------------------------------------------------------------------- mixing


def folder_of(path: Path, seeds: dict[str, range]) -> Path:
    for label, span in seeds.items():
        (path / label).mkdir(parents=True)
        for seed in span:
            (path / label / f"{seed}.png").write_bytes(png(seed))
    return path


def test_folders_and_zips_keep_bytes_and_labels(tmp_path):
    local = folder_of(tmp_path / "mine", {"cat": range(4), "dog": range(10, 13)})
    (local / "cat" / "notes.txt").write_text("no picture")
    (local / "cat" / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    (local / "cat" / "wide.png").write_bytes(claims(60_000, 60_000))
    with zipfile.ZipFile(tmp_path / "more.zip", "w") as archive:
        for label, seed in (("=evil", 20), ("../up", 22), ("cat", 21), ("dog", 3)):  # 3 is there already, as a cat
            archive.writestr(f"{label}/{seed}.png", png(seed))
    out = tmp_path / "o"
    made = collect_pictures([local, tmp_path / "more.zip"], out)
    assert made.kept == {"mine": 7, "more": 2}
    rows = {row["sha256"]: row for row in table(out / "provenance.csv")}
    assert made.duplicates == 1
    assert sum("more: file:" in row["also"] for row in rows.values()) == 1
    for row in rows.values():
        path = out / row["file"]
        assert path.resolve().is_relative_to(out.resolve())
        assert hashlib.sha256(path.read_bytes()).hexdigest() == row["sha256"]
        assert row["address"].startswith("file:///") and row["retrieved"].endswith("Z")
    assert {png(n) for n in (0, 3, 10, 21)} <= {path.read_bytes() for path in out.rglob("*.png")}
    why = reasons(out)
    assert why["notes.txt"] == "not a picture: .txt file" and "megapixels" in why["wide.png"] and "bad.png" in why
    assert json.loads((out / "history.jsonl").read_text())["verb"] == "collect"
    assert {row["label"] for row in rows.values()} == {"cat", "dog", "_=evil"}


def test_caps_are_chosen_by_the_seed_alone(tmp_path, site, fast):
    folder_of(tmp_path / "mine", {"cat": range(30), "dog": range(100, 130)})
    rows = [{"url": site.url(f"/p/{n}.png"), "label": "cat" if n % 3 else "dog"} for n in range(200, 260)]
    rows[4]["url"] = site.url("/status/404")
    write_list(tmp_path / "l.csv", rows)
    recipe = fast("place = 'mine'\ncap = 20", "place = 'l.csv'\ncap = 25", top="cap_per_class = 24")

    def chosen(out: str, **options: int) -> tuple[Collected, dict[str, str]]:
        made = collect_pictures([recipe], tmp_path / out, **options)
        return made, {row["sha256"]: row["label"] for row in table(tmp_path / out / "provenance.csv")}

    made, first = chosen("a")
    assert made.kept["mine"] == 20
    assert made.kept["l"] == 25
    assert max(Counter(first.values()).values()) <= 24
    assert chosen("b")[1] == first
    assert chosen("c", seed=1)[1] != first
    site.delay = 0.01  # the network answers in another order
    assert chosen("d")[1] == first


def test_a_cap_is_filled_in_spite_of_failures_and_fetches_no_more_than_it_needs(tmp_path, site):
    rows = [{"url": site.url(f"/p/{n // 2}.png?{n}" if n % 4 else f"/status/404?{n}")} for n in range(80)]
    made = collect_pictures(
        [write_list(tmp_path / "l.csv", rows)], tmp_path / "o", allow_host=site.host, cap=15, unknown_rights="mix"
    )
    assert made.kept == {"l": 15}
    asked = sum(count for path, count in site.asked.items() if path != "/robots.txt")
    assert asked == 15 + made.duplicates + made.skipped


def test_weights_share_out_a_total(tmp_path, fast):
    for name, start in (("a", 0), ("b", 100), ("c", 200)):
        folder_of(tmp_path / name, {"x": range(start, start + 12)})
    recipe = fast("place = 'a'\nweight = 3.0", "place = 'b'", "place = 'c'\nlicence = 'own'", top="total = 17")
    made = collect_pictures([recipe], tmp_path / "o")
    assert made.kept == {"a": 10, "b": 4, "c": 3}
    assert sum("state no licence" in note and note.startswith("14 ") for note in made.notes) == 1
    assert {row["licence"] for row in table(tmp_path / "o" / "provenance.csv") if row["source"] == "c"} == {
        "LicenseRef-own"
    }
    made = collect_pictures([recipe], tmp_path / "p", total=30)
    assert made.kept["a"] == 12
    assert "a has 12 of the 18 that are its share" in made.notes


def test_the_first_source_wins_and_the_other_is_noted(tmp_path, site):
    local = folder_of(tmp_path / "mine", {"cat": range(3), "dog": range(50, 53)})
    rows = [{"url": site.url(f"/p/{n}.png"), "label": "tiger", "licence": "cc0", "author": "Ann"} for n in range(1, 5)]
    listed = write_list(tmp_path / "l.csv", rows)
    made = collect_pictures([local, listed], tmp_path / "a", allow_host=site.host)
    assert made.kept == {"mine": 6, "l": 2}
    row = next(
        row for row in table(tmp_path / "a" / "provenance.csv") if row["sha256"] == hashlib.sha256(png(1)).hexdigest()
    )
    assert (row["source"], row["label"], row["also"]) == ("mine", "cat", f"l: {site.url('/p/1.png')}")
    made = collect_pictures([listed, local], tmp_path / "b", allow_host=site.host)
    assert made.kept == {"l": 4, "mine": 4}
    row = next(
        row for row in table(tmp_path / "b" / "provenance.csv") if row["sha256"] == hashlib.sha256(png(1)).hexdigest()
    )
    assert (row["source"], row["author"], row["licence"]) == ("l", "Ann", "CC0-1.0")
    assert row["also"].startswith("mine: file:///")


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


def test_a_split_is_kept_where_all_have_one(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "cifar").mkdir()
    for name in ("data_batch_1", "test_batch"):
        records = rng.integers(0, 256, (20, 3073), dtype=np.uint8)
        records[:, 0] %= 10
        (tmp_path / "cifar" / f"{name}.bin").write_bytes(records.tobytes())
    collect_pictures([tmp_path / "cifar"], tmp_path / "o")
    store = prepare(tmp_path / "o", tmp_path / "store").store
    assert (len(store.train), len(store.heldout)) == (20, 20)


def test_some_labels_missing_and_cells_that_are_formulas(tmp_path, site):
    rows = [
        {"url": site.url(f"/p/{n}.png"), "label": "=cmd" if n % 2 else "", "author": "@SUM(A1)", "licence": "cc0"}
        for n in range(6)
    ]
    made = collect_pictures([write_list(tmp_path / "l.csv", rows)], tmp_path / "o", allow_host=site.host)
    assert any("3 pictures have no label" in note for note in made.notes)
    assert {row["label"] for row in table(tmp_path / "o" / "labels.csv")} == {"_=cmd"}
    assert {row["author"] for row in table(tmp_path / "o" / "provenance.csv")} == {"'@SUM(A1)"}
    found = list(open_source(tmp_path / "o").entries())
    assert Counter(entry.label for entry in found) == {None: 3, "_=cmd": 3}
    for text in ("=1", "+1", "-1", "@x", " =1", "\t=1", "\r=1"):
        assert cell(text)[0] == "'"
    assert cell("a\nb") == "a b"


def test_ctrl_c_while_pages_are_listed_goes_on_at_the_next(tmp_path, site, fast, monkeypatch):
    source = f"""endpoint = "{site.url("/api/page")}"
[source.paging]
by = "page"
[source.fields]
items = "data.items"
address = "media.0.src"
"""
    plain, failing = Site.answer, [True]

    def answer(to) -> None:
        if to.path.startswith("/api/") and "page=2" in to.path and failing[0]:
            to.send(500)
        else:
            plain(site, to)

    site.answer = answer  # type: ignore[method-assign]
    recipe = fast(source, limits="tries = 1")
    with pytest.raises(DataError, match="The same command tries again"):
        collect_pictures([recipe], tmp_path / "o")
    failing[0] = False
    assert sum(collect_pictures([recipe], tmp_path / "o").kept.values()) == 25
    assert [site.asked[f"/api/page?page={n}"] for n in (1, 2, 3, 4)] == [1, 2, 1, 1]  # 4 is not there: the end


def test_content_decides_the_suffix():
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "JPEG")
    assert identify(buffer.getvalue(), ".png") == "jpg"
    for data in (
        b"",
        b"<svg/>",
        b"MZ not",
        b"\x89PNG\r\n\x1a\n",
        b"RIFF\0\0\0\0WEBPVP8 ",
        b"II*\0" + bytes(50),
        b"P6\n99999999 99999999 255\n",
    ):
        with pytest.raises(Skip):
            identify(data)


def test_in_a_notebook_and_from_python(tmp_path, site):
    listed = write_list(tmp_path / "l.csv", [{"url": site.url("/p/1.png"), "licence": "cc0"}])

    async def cell() -> Path:
        return collect([listed], tmp_path / "o", allow_host=site.host)

    assert len(list(asyncio.run(cell()).glob("*.png"))) == 1
