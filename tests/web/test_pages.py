"""APIs, page by page, against a real server on this machine."""

from __future__ import annotations

import pytest

from ganforge.base.errors import DataError
from ganforge.collecting.collect import collect_pictures
from served import Site, png, table


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
    collected = collect_pictures([fast(source)], tmp_path / "o")
    assert collected.kept == {"museum": 23}
    rows = table(tmp_path / "o" / "provenance.csv")
    row = next(row for row in rows if row["address"] == site.url("/p/7.png"))
    assert (row["licence"], row["author"], row["label"], row["source"]) == ("CC-BY-4.0", "author 7", "odd", "museum")
    assert row["file"].startswith("odd/") and (tmp_path / "o" / row["file"]).read_bytes() == png(7)
    pages = [path for path in site.requests if path.startswith("/api/")]
    assert len(pages) == 3 and sum(site.requests[path] for path in pages) == 3
    assert "q=tulips" in pages[0]
    assert all(site.headers[path]["X-Key"] == "Key s3cret" for path in pages)
    assert "X-Key" not in site.headers["/p/7.png"]
    assert b"s3cret" not in b"".join(p.read_bytes() for p in (tmp_path / "o").rglob("*") if p.is_file())


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
    assert [site.requests[f"/api/page?page={n}"] for n in (1, 2, 3, 4)] == [1, 2, 1, 1]  # 4 is not there: the end
