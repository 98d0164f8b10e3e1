"""Fetching from a real server on this machine that breaks every rule; limits, retries, secrets."""

from __future__ import annotations

import asyncio
import gzip
import time
import tracemalloc

import pytest

from ganforge.collecting.collect import collect_pictures
from ganforge.web.fetch import Client
from ganforge.web.guard import Hosts, Refused
from ganforge.web.settings import Limits
from served import Site, png, reasons


def test_what_a_server_can_do_to_us(tmp_path, site, fast):
    paths = [
        "/p/1.png",
        "/p/2",
        "/zipped/a",
        "/status/404",
        "/status/403",
        "/html/x.jpg",
        "/terapixel/t.png",
        "/bomb/b.png",
        "/huge/h.png",
        "/endless/e.png",
        "/slow/s.png",
        "/short/c.png",
        "/hop/3",
        "/hop/9",
        "/says/x?tag=noai",
        "/status/503",
        "/says/y?tag=noindex",
        "/to?url=https://169.254.169.254/latest/meta-data",
        "/to?url=http://127.0.0.1:1/x.png",
        "/to?url=file:///etc/passwd",
        "/to?url=http://[",
        "/private/a.png",
    ]
    site.robots = "User-agent: *\nDisallow: /private\n"
    listed = tmp_path / "list.txt"
    listed.write_text(
        "# pictures\n\n" + "".join(site.url(path) + "\n" for path in paths) + "no address\n" + site.url("/p/1.png\n")
    )
    recipe = fast("place = 'list.txt'", limits="seconds = 2.0\nbytes = 200_000\ntries = 2")
    start = time.monotonic()
    collected = collect_pictures([recipe], tmp_path / "o")
    assert time.monotonic() - start < 10
    assert sum(collected.kept.values()) == 5
    why = reasons(tmp_path / "o")
    assert collected.skipped == len(paths) - 5 + 2
    for name, part in {
        "404": "status 404",
        "403": "status 403",
        "x.jpg": "not a picture but a page",
        "t.png": "megapixels",
        "b.png": "not a picture",
        "h.png": "10,737,418,240 bytes, over the limit",
        "e.png": "more than 200,000 bytes",
        "s.png": "not finished after 2 seconds",
        "9": "more than 5 redirects",
        "x?tag=noai": "X-Robots-Tag: noai",
        "503": "status 503, 2 times",
        "meta-data": "link-local",
        "a.png": "robots.txt",
        "x.png": "http, where only https",
        "passwd": "file, where only https",
        "no address": "not an address",
        "1.png": "same address",
    }.items():
        assert part in why[name], (name, why[name])
    assert (
        site.requests["/status/503"] == 2 and site.requests["/status/404"] == 1 and site.requests["/short/c.png"] == 2
    )
    assert site.requests["/private/a.png"] == 0 and site.requests["/robots.txt"] == 1
    assert site.headers["/p/1.png"]["User-Agent"].startswith("ganforge/")
    assert not list((tmp_path / "o" / ".collect" / "blobs").iterdir())


def test_a_bomb_that_looks_like_a_picture_ends_at_the_limit(tmp_path):
    """The body unpacks to 640 MB; taking it must neither pass the limit nor need the memory."""
    from ganforge.web import fetch

    bomb = gzip.compress(png(1) + bytes(640 << 20), 1)

    async def chunks():
        yield bomb

    sink = fetch._Sink((tmp_path / "x").open("wb"), 1 << 20, lambda count: None)
    tracemalloc.start()
    with pytest.raises(Refused, match="more than"):
        asyncio.run(fetch._pour(chunks(), "gzip", sink))
    assert tracemalloc.get_traced_memory()[1] < 8 << 20
    tracemalloc.stop()
    assert sink.size <= 1 << 20


def test_retries_wait_as_long_as_they_are_asked_to(tmp_path, site, fast):
    busy = Site()
    listed = tmp_path / "list.txt"
    listed.write_text(
        "\n".join(
            [*map(site.url, ("/flaky/500", "/flaky/429/1")), *map(busy.url, ("/flaky/503/3600", "/flaky/503/3601"))]
        )
    )
    collected = collect_pictures(
        [fast("place = 'list.txt'", limits="per_host = 1")], tmp_path / "o", allow_host=f"{site.host} {busy.host}"
    )
    at = {path: [when for asked, when in site.times if asked == path] for path in site.requests}
    assert len(at["/flaky/500"]) == len(at["/flaky/429/1"]) == 2
    assert at["/flaky/429/1"][1] - at["/flaky/429/1"][0] >= 1
    assert collected.kept == {"list": 1} and collected.duplicates == 1
    assert sum(busy.requests.values()) == 2  # robots.txt and one picture: it asks for an hour, so nobody comes back
    assert len(collected.reasons) == 2 and all("come back in 3,60" in reason for reason in collected.reasons)
    busy.server.shutdown()
    busy.server.server_close()


def test_rate_and_requests_at_once_to_a_host(tmp_path, site, fast):
    (tmp_path / "list.txt").write_text("\n".join(site.url(f"/p/{n}.png") for n in range(8)))
    collect_pictures([fast("place = 'list.txt'", limits="").rename(tmp_path / "r.toml")], tmp_path / "fast")
    site.times.clear()
    (tmp_path / "r.toml").write_text((tmp_path / "r.toml").read_text().replace("rate = 0", "rate = 20.0"))
    collect_pictures([tmp_path / "r.toml"], tmp_path / "slow")
    times = [when for path, when in site.times if path.startswith("/p/")]
    assert times[-1] - times[0] > 7 / 20 - 0.05


def test_the_limit_on_all_bytes(tmp_path, site, fast):
    (tmp_path / "list.txt").write_text("\n".join(site.url(f"/p/{n}.png") for n in range(30)))
    collected = collect_pictures(
        [fast("place = 'list.txt'", limits="total_bytes = 5000\nat_once = 1\nper_host = 1")], tmp_path / "o"
    )
    assert collected.unfinished and "5,000 bytes" in collected.notes[0]
    assert 1 <= sum(collected.kept.values()) < 8


def test_a_secret_stays_with_its_host(tmp_path, site):
    other = Site()

    async def run() -> None:
        async with Client(Limits(rate=0), allowed=Hosts([site.host, other.host])) as client:
            await client.json(site.url(f"/to?url={other.url('/api/page')}"), {"X-Key": "s3cret"})

    asyncio.run(run())
    assert "X-Key" not in other.headers["/api/page"]
    other.server.shutdown()
    other.server.server_close()
