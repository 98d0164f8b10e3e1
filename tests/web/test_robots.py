"""robots.txt as RFC 9309 says, and the headers that keep pictures out of training."""

from __future__ import annotations

import pytest

from ganforge.base.errors import DataError
from ganforge.collecting.collect import collect_pictures
from ganforge.web import robots
from served import Site


@pytest.mark.parametrize(
    ("text", "target", "allowed"),
    [
        ("User-agent: *\nDisallow: /", "/a", False),
        ("User-agent: *\nDisallow:", "/a", True),
        ("User-agent: other\nDisallow: /", "/a", True),
        ("User-agent: *\nDisallow: /\nUser-agent: GanForge\nDisallow: /private", "/a", True),
        ("User-agent: ganforge\nUser-agent: x\nDisallow: /a\n\nUser-agent: ganforge/2\nDisallow: /b", "/b", False),
        ("User-agent: *\nAllow: /a\nDisallow: /", "/abc", True),
        ("User-agent: *\nDisallow: /a\nAllow: /a", "/a", True),
        ("User-agent: *\nDisallow: /*.png$", "/x/y.png", False),
        ("User-agent: *\nDisallow: /*.png$", "/x/y.png?a", True),
        ("User-agent: *\nDisallow: /a*b*c", "/a1b2c3", False),
        ("User-agent: *\nDisallow: /a%3Cd", "/a<d", False),
        ("User-agent: *\nDisallow: /a/ö", "/a/%C3%B6", False),
        ("User-agent: *\nDisallow: /a%2Fb", "/a/b", True),
        ("User-agent: *  # all\r\nDisallow: /a # b\r\n", "/a", False),
        ("Disallow: /\nUser-agent: *\nAllow: /", "/a", True),
        ("User-agent: *\nDisallow: /\nUser-agent: gan\nAllow: /", "/a", False),
        ("User-agent: *\nDisallow: /\nAllow: /index.html", "/", False),
        ("<html>no robots here</html>", "/a", True),
        ("User-agent: *\nDisallow: /", "/robots.txt", True),
        ("\ufeffUser-agent: *\nCrawl-delay: 3\nDisallow: /q?x=1", "/q?x=1&y=2", False),
        ("User-agent: *\nDisallow: " + "/*a" * 3000 + "$", "/" + "a" * 4000, True),
    ],
)
def test_robots_txt_as_the_rfc_says(text, target, allowed):
    assert robots.parse(text, "ganforge").allow(target) is allowed


def test_robots_that_cannot_be_read_forbid_and_missing_ones_do_not(tmp_path, site, fast):
    (tmp_path / "list.txt").write_text(site.url("/p/1.png"))
    plain = Site.answer
    site.answer = lambda to: to.send(500) if to.path == "/robots.txt" else plain(site, to)  # type: ignore[method-assign]
    with pytest.raises(DataError, match=r"its robots\.txt cannot be read: status 500"):
        collect_pictures([fast("place = 'list.txt'", limits="tries = 1")], tmp_path / "o")
    site.answer = lambda to: plain(site, to)  # type: ignore[method-assign]
    assert (
        sum(collect_pictures([tmp_path / "recipe.toml"], tmp_path / "o").kept.values()) == 1
    )  # it failed for now: tried again
    assert site.requests["/p/1.png"] == 1


def test_headers_that_keep_a_picture_out_of_training():
    def out(value: str) -> bool:
        return robots.opted_out([("X-Robots-Tag", value)], "ganforge") is not None

    assert out("noai") and out("noindex, NoImageAI") and out("ganforge: noai") and out("*: noimageai")
    assert out("unavailable_after: 25 Jun 2030 15:00:00 PST, noai")
    assert not out("noindex") and not out("otherbot: noai") and not out("noairline")
    assert robots.opted_out([("tdm-reservation", "1")], "ganforge")
    assert not robots.opted_out([("tdm-reservation", "0")], "ganforge")


def test_a_long_robots_txt_counts_as_far_as_it_is_read(tmp_path, site, fast):
    site.robots = "User-agent: *\nDisallow: /p/1\n" + "#" * (1 << 20) + "\nDisallow: /p/2\n"
    (tmp_path / "list.txt").write_text("\n".join(map(site.url, ("/p/1.png", "/p/2.png"))))
    collected = collect_pictures([fast("place = 'list.txt'")], tmp_path / "o")
    assert collected.kept == {"list": 1} and collected.reasons == {"forbidden by robots.txt": 1}
