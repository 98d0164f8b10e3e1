"""Sources in words and recipes: mistakes, shares, what makes another collection."""

from __future__ import annotations

import json
import re
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from ganforge.base.errors import DataError, InputError
from ganforge.collecting.collect import collect_pictures
from ganforge.collecting.recipe import read
from served import folder_of, table, write_list


def test_mistakes_in_a_recipe(tmp_path, site, fast, fails):
    out = tmp_path / "o"
    api = f"endpoint = '{site.url('/api/page')}'"
    for text, message in {
        api + "\n[source.paging]\nby = 'pag'": "Did you mean page?",
        api + "\n[source.fields]\nitem = 'x'": "Did you mean items?",
        api + "\n[source.fields]\nitems = 'nothing.here'": "it has data",
        api + "\n[source.secret]\nvariable = 'NO_SUCH_VARIABLE'": "NO_SUCH_VARIABLE",
        api + "\nplace = 'digits'": "either a place or an endpoint",
        "place = 'digits'\nlicense = 'x'": "Did you mean licence?",
        "place = 'nowhere/at.all'": "does not exist",
        "place = 'digits'\nweight = 2.0": "Weights share out a total",
    }.items():
        assert message in fails("collect", fast(text), "-o", out), text
    assert "limits.rte" in fails("collect", fast("place = 'digits'", limits="rte = 1"), "-o", out)
    assert "Did you mean cc-by?" in fails("collect", "digits", "--licence", "ccby4", "-o", out)
    assert "leave-out" in fails("collect", "digits", "--unknown-rights", "leaveout", "-o", out)
    assert "HOST:PORT" in fails("collect", write_list(tmp_path / "l.csv", []), "--allow-host", "http://x", "-o", out)
    assert not out.exists()
    (tmp_path / "in").mkdir()
    assert "in each other" in fails("collect", tmp_path / "in", "-o", tmp_path / "in" / "o")
    assert "something else" in fails("collect", "digits", tmp_path / "in", "-o", tmp_path)


def test_weights_share_out_a_total(tmp_path, fast):
    for name, start in (("a", 0), ("b", 100), ("c", 200)):
        folder_of(tmp_path / name, {"x": range(start, start + 12)})
    recipe = fast("place = 'a'\nweight = 3.0", "place = 'b'", "place = 'c'\nlicence = 'own'", top="total = 17")
    collected = collect_pictures([recipe], tmp_path / "o")
    assert collected.kept == {"a": 10, "b": 4, "c": 3}
    assert sum("state no licence" in note and note.startswith("14 ") for note in collected.notes) == 1
    assert {row["licence"] for row in table(tmp_path / "o" / "provenance.csv") if row["source"] == "c"} == {
        "LicenseRef-own"
    }
    collected = collect_pictures([recipe], tmp_path / "p", total=30)
    assert collected.kept["a"] == 12
    assert "a has 12 of the 18 that are its share" in collected.notes


def test_other_settings_are_another_folder_and_other_limits_are_not(tmp_path, site, fast):
    (tmp_path / "list.txt").write_text("\n".join(site.url(p) for p in ("/p/1.png", "/terapixel/t.png", "/endless/e")))
    with pytest.raises(DataError, match=r"Nothing was collected.*over the limit of 300"):
        collect_pictures([fast("place = 'list.txt'", limits="bytes = 300")], tmp_path / "o")
    collected = collect_pictures([fast("place = 'list.txt'", limits="bytes = 50_000")], tmp_path / "o")
    assert sum(collected.kept.values()) == 1
    with pytest.raises(InputError, match="other settings"):
        collect_pictures([tmp_path / "recipe.toml"], tmp_path / "o", seed=1)
    (tmp_path / "list.txt").write_text(site.url("/p/2.png"))
    with pytest.raises(InputError, match="other sources"):
        collect_pictures([tmp_path / "recipe.toml"], tmp_path / "o")


def test_what_a_journal_remembers_keeps_its_names(tmp_path, fast):
    """Where they change, folders that an earlier version began are taken for other collections."""
    api = "endpoint = 'https://museum.example/api'\n[source.parameters]\nq = 1"
    recipe = read([fast("place = 'digits'\ncap = 3", api)], {"licence": "cc0"})
    selection = recipe.selection()
    assert list(selection) == ["sources", "licences", "seed", "cap_per_class", "unknown_rights"]
    digits, museum = selection["sources"]
    assert list(digits) == list(museum) == ["kind", "name", "path", "source", "cap", "api"]
    assert {name: digits[name] for name in ("kind", "name", "path", "cap", "api")} == {
        "kind": "public",
        "name": "digits",
        "path": "digits",
        "cap": 3,
        "api": None,
    }
    assert " ".join(digits["source"]) == "place endpoint name label licence author labels originals cap weight limit"
    assert museum["api"] == {
        "endpoint": "https://museum.example/api",
        "parameters": (("q", "1"),),
        "paging": {"by": "none", "parameter": "page", "start": 1, "next": ""},
        "fields": {"items": "", "address": "url", "label": "", "licence": "", "author": ""},
        "secret": {"name": "Authorization", "variable": "", "prefix": ""},
        "limit": 10_000,
    }
    limits = "bytes total_bytes seconds pixels redirects tries wait rate per_host at_once allow_host"
    assert " ".join(recipe.permissions()) == limits


PAGE = Path(__file__).parents[2] / "docs" / "collect.md"


def test_the_recipe_for_commons_works_with_a_server_that_answers_like_it(tmp_path, site):
    def answer(to) -> None:
        if not to.path.startswith("/w/api.php"):
            return plain(to)
        start = int(parse_qs(urlsplit(to.path).query).get("gcmcontinue", ["0"])[0])
        pages = [
            {
                "title": f"File:{n}.png",
                "imageinfo": [
                    {
                        "thumburl": site.url(f"/p/{n}.png"),
                        "extmetadata": {
                            "LicenseShortName": {"value": "CC BY-SA 4.0" if n % 2 else "Copyrighted"},
                            "Artist": {"value": f"<a href='//x'>Ann</a> {n}"},
                        },
                    }
                ],
            }
            for n in range(start, start + 3)
        ]
        following = {"continue": {"gcmcontinue": str(start + 3), "continue": "gcmcontinue||"}} if start < 6 else {}
        body = {"batchcomplete": True, "query": {"pages": pages}, **following}
        return to.send(body=json.dumps(body).encode(), Content_Type="application/json")

    plain, site.answer = site.answer, answer
    text, secret, _ = re.findall(r"```toml\n(.*?)```", PAGE.read_text("utf-8"), re.S)
    text = text.replace("https://commons.wikimedia.org", site.url("")).replace("rate = 2.0", "rate = 0")
    (tmp_path / "r.toml").write_text(f"allow_host = '{site.host}'\n{text}")
    collected = collect_pictures([tmp_path / "r.toml"], tmp_path / "o")
    assert collected.kept == {"commons": 4} and collected.reasons == {"the licence 'Copyrighted' is not known": 5}
    rows = {row["address"]: row for row in table(tmp_path / "o" / "provenance.csv")}
    row = rows[site.url("/p/7.png")]
    assert (row["licence"], row["author"], row["label"]) == ("CC-BY-SA-4.0", "Ann 7", "tulip")
    assert "me@example.org" in site.headers["/p/7.png"]["User-Agent"]
    (tmp_path / "r.toml").write_text(text + secret)
    assert read([tmp_path / "r.toml"], {}).sources[0].api.secret.prefix == "Bearer "


def test_the_recipe_of_a_mix_on_the_page_is_read_as_it_stands(tmp_path):
    (tmp_path / "photos").mkdir()
    write_list(tmp_path / "list.csv", [])
    (tmp_path / "r.toml").write_text(re.findall(r"```toml\n(.*?)```", PAGE.read_text("utf-8"), re.S)[2])
    recipe = read([tmp_path / "r.toml"], {})
    assert [(source.kind, source.cap) for source in recipe.sources] == [
        ("local", 6000),
        ("list", 2000),
        ("public", 2000),
    ]
