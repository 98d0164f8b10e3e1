"""What is fetched from the web: which addresses, what robots.txt allows, what servers can do; behind --allow-host."""

from __future__ import annotations

import asyncio
import gzip
import shutil
import ssl
import subprocess
import time
import tracemalloc

import pytest

from ganforge.base.errors import DataError, InputError
from ganforge.collecting.collect import collect_pictures
from ganforge.web import guard, robots
from ganforge.web.guard import Hosts, Refused
from served import Site, png, reasons, write_list

# ------------------------------------------------------------------------------------------------------------- the guard


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("127.0.0.1", "loopback"), ("127.255.255.254", "loopback"), ("0.0.0.0", "this network"), ("10.1.2.3", "private"),
        ("172.16.0.1", "private"), ("172.31.255.255", "private"), ("192.168.1.1", "private"), ("169.254.169.254", "link-local"),
        ("100.64.0.1", "carrier-grade NAT"), ("100.127.255.255", "carrier-grade NAT"), ("100.100.100.200", "carrier-grade NAT"),
        ("192.0.0.192", "reserved"), ("192.0.2.1", "reserved"), ("198.18.0.1", "reserved"), ("198.51.100.7", "reserved"),
        ("203.0.113.9", "reserved"), ("224.0.0.1", "multicast"), ("239.255.255.255", "multicast"), ("240.0.0.1", "reserved"),
        ("255.255.255.255", "reserved"), ("168.63.129.16", "a cloud's own service"), ("::1", "loopback"), ("::", "unspecified"),
        ("::ffff:127.0.0.1", "IPv4-mapped"), ("::ffff:8.8.8.8", "IPv4-mapped"), ("::ffff:a9fe:a9fe", "IPv4-mapped"),
        ("::7f00:1", "IPv4-compatible"), ("64:ff9b::7f00:1", "NAT64"), ("64:ff9b::808:808", "NAT64"), ("64:ff9b:1::1", "NAT64"),
        ("2001:0:53aa:64c::1", "Teredo"), ("2002:7f00:1::", "6to4"), ("2002:808:808::1", "6to4"), ("fc00::1", "private"),
        ("fd00:ec2::254", "private"), ("fe80::1", "link-local"), ("fe80::1%eth0", "link-local"), ("fec0::1", "site-local"),
        ("ff02::1", "multicast"), ("2001:db8::1", "reserved"), ("3fff::1", "reserved"), ("100::1", "reserved"),
        ("5f00::1", "reserved"), ("4000::1", "reserved"), ("2600:1::5efe:7f00:1", "reserved"), ("2001:10::1", "reserved"),
        ("8.8.8.8", None), ("1.1.1.1", None), ("172.15.255.255", None), ("172.32.0.1", None), ("100.63.255.255", None),
        ("100.128.0.1", None), ("192.0.1.1", None), ("169.253.1.1", None), ("223.255.255.255", None),
        ("2606:4700:4700::1111", None), ("2a00:1450:4001::200e", None), ("2620:0:862:ed1a::1", None),
    ],
)  # fmt: skip
def test_which_addresses_are_public(address, kind):
    assert guard.special_kind(address) == kind


@pytest.mark.parametrize(
    "address",
    [
        "http://example.org/a.png", "ftp://example.org/a", "file:///etc/passwd", "data:image/png;base64,AA", "//x/y", "x", "",
        "https://", "https://127.0.0.1/", "https://2130706433/", "https://0x7f000001/", "https://0x7f.1/", "https://0177.0.0.1/",
        "https://127.1/", "https://017700000001/", "https://127.0.0.1./", "https://[::1]/", "https://[::ffff:127.0.0.1]/",
        "https://[fe80::1%25eth0]/", "https://localhost/", "https://a.localhost/", "https://LOCALHOST./", "https://printer.local/",
        "https://metadata.google.internal/", "https://user:secret@example.org/", "https://example.org:0/", "https://example.org:99999/",
        "https://169.254.169.254/latest/", "https://①②⑦.0.0.1/", "https://127。0。0。1/", "https://" + "a" * 5000,
        "https://exa mple.org/", "https://example.org\\@127.0.0.1/",
    ],
)  # fmt: skip
def test_addresses_that_are_never_asked(address):
    with pytest.raises(Refused):
        url = guard.parse(address, Hosts())
        pytest.fail(f"{address} came through as {url}")


def test_addresses_that_may_be_asked():
    for address in (
        "https://example.org/a.png?x=1#part",
        "https://example.org:8443/",
        "https://bücher.example/",
        "https://8.8.8.8/",
    ):
        assert "#" not in str(guard.parse(address, Hosts()))
    allowed = Hosts(["127.0.0.1:8000", "intranet", "[::1]:81"])
    for address in ("http://127.0.0.1:8000/", "http://intranet/", "http://intranet:99/", "http://[::1]:81/"):
        guard.parse(address, allowed)
    for address in ("http://127.0.0.1:8001/", "http://127.0.0.1/", "http://[::1]:82/", "http://intranet.org/"):
        with pytest.raises(Refused):
            guard.parse(address, allowed)
    with pytest.raises(InputError, match="HOST:PORT"):
        Hosts(["http://x/"])


def connect(host: str, answers: list[list[str]], allowed: Hosts | None = None, port: int = 443) -> str:
    """Connect through the guard with a resolver that gives these answers one after another; what came of it."""

    async def resolve(name: str, _: int) -> list[str]:
        asked.append(name)
        return answers.pop(0)

    async def run() -> None:
        stream = await guard.Backend(allowed or Hosts(), resolve).connect_tcp(host, port, timeout=0.2)
        await stream.aclose()

    asked: list[str] = []
    try:
        asyncio.run(run())
    except Exception as error:
        return f"{type(error).__name__}: {error}; {len(asked)} lookups"
    return f"connected; {len(asked)} lookups"


def test_names_are_resolved_once_and_every_address_is_checked(site):
    port = site.server.server_port
    assert connect("evil.example", [["127.0.0.1"]]).startswith("Refused: loopback address (127.0.0.1)")
    assert connect("evil.example", [["8.8.8.8", "10.0.0.1"]]).startswith("Refused: private")
    assert connect("evil.example", [["::ffff:10.0.0.1"]]).startswith("Refused: IPv4-mapped")
    assert "no address" in connect("evil.example", [[]])
    rebinding = [["127.0.0.1"], ["10.0.0.1"]]  # a second look would give another answer
    assert connect("here.example", rebinding, Hosts([f"here.example:{port}"]), port) == "connected; 1 lookups"


def test_a_private_address_by_dns_is_refused_in_a_collection(tmp_path, site):
    async def resolve(host: str, port: int) -> list[str]:
        return ["10.0.0.7"] if host == "inside.example" else ["127.0.0.1"]

    rows = [
        {"url": "https://inside.example/a.png"},
        {"url": "https://loop.example/b.png"},
        {"url": site.url("/to?url=https://inside.example/c.png")},
    ]
    said = r"Nothing was collected .* 2 private address \(10.0.0.7\); 1 loopback address \(127.0.0.1\)"
    with pytest.raises(DataError, match=said):
        collect_pictures([write_list(tmp_path / "l.csv", rows)], tmp_path / "o", allow_host=site.host, resolve=resolve)


@pytest.mark.skipif(not shutil.which("openssl"), reason="openssl makes the certificate")
def test_tls_verifies_the_name_and_not_the_address(tmp_path, site, monkeypatch):
    key, pem = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out", pem, "-days", "2", "-subj",
         "/CN=pictures.example", "-addext", "subjectAltName=DNS:pictures.example"], check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, key)
    site.server.socket = context.wrap_socket(site.server.socket, server_side=True)
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))

    async def resolve(host: str, port: int) -> list[str]:
        return ["127.0.0.1"]

    port = site.server.server_port
    rows = [{"url": f"https://pictures.example:{port}/p/1.png"}, {"url": f"https://other.example:{port}/p/2.png"}]
    hosts = f"pictures.example:{port},other.example:{port}"
    made = collect_pictures(
        [write_list(tmp_path / "l.csv", rows)], tmp_path / "o", allow_host=hosts, resolve=resolve, unknown_rights="mix"
    )
    assert made.kept == {"l": 1}
    assert "certificate is not valid" in next(iter(made.reasons))
    assert site.headers["/p/1.png"]["Host"] == f"pictures.example:{port}"


# ---------------------------------------------------------------------------------------------------------------- robots


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
        ("<html>no robots here</html>", "/a", True),
        ("User-agent: *\nDisallow: /", "/robots.txt", True),
        ("\ufeffUser-agent: *\nCrawl-delay: 3\nDisallow: /q?x=1", "/q?x=1&y=2", False),
        ("User-agent: *\nDisallow: " + "/*a" * 3000 + "$", "/" + "a" * 4000, True),
    ],
)
def test_robots_txt_as_the_rfc_says(text, target, allowed):
    assert robots.parse(text, "ganforge").allow(target) is allowed


def test_headers_that_keep_a_picture_out_of_training():
    def out(value: str) -> bool:
        return robots.opted_out([("X-Robots-Tag", value)], "ganforge") is not None

    assert out("noai") and out("noindex, NoImageAI") and out("ganforge: noai") and out("*: noimageai")
    assert out("unavailable_after: 25 Jun 2030 15:00:00 PST, noai")
    assert not out("noindex") and not out("otherbot: noai") and not out("noairline")
    assert robots.opted_out([("tdm-reservation", "1")], "ganforge")
    assert not robots.opted_out([("tdm-reservation", "0")], "ganforge")


# --------------------------------------------------------------------------------------------------------------- fetching


def test_what_a_server_can_do_to_us(tmp_path, site, fast):
    paths = [
        "/p/1.png", "/p/2", "/zipped/a", "/status/404", "/status/403", "/html/x.jpg", "/terapixel/t.png", "/bomb/b.png",
        "/huge/h.png", "/endless/e.png", "/slow/s.png", "/short/c.png", "/hop/3", "/hop/9", "/says/x?tag=noai", "/status/503",
        "/says/y?tag=noindex", "/to?url=https://169.254.169.254/latest/meta-data", "/to?url=http://127.0.0.1:1/x.png",
        "/to?url=file:///etc/passwd", "/to?url=http://[", "/private/a.png",
    ]  # fmt: skip
    site.robots = "User-agent: *\nDisallow: /private\n"
    listed = tmp_path / "list.txt"
    listed.write_text(
        "# pictures\n\n" + "".join(site.url(path) + "\n" for path in paths) + "no address\n" + site.url("/p/1.png\n")
    )
    recipe = fast("place = 'list.txt'", limits="seconds = 2.0\nbytes = 200_000\ntries = 2")
    start = time.monotonic()
    made = collect_pictures([recipe], tmp_path / "o")
    assert time.monotonic() - start < 10
    assert sum(made.kept.values()) == 5
    why = reasons(tmp_path / "o")
    assert made.skipped == len(paths) - 5 + 2
    for name, part in {
        "404": "status 404", "403": "status 403", "x.jpg": "not a picture but a page", "t.png": "megapixels", "b.png": "not a picture",
        "h.png": "10,737,418,240 bytes, over the limit", "e.png": "more than 200,000 bytes", "s.png": "not finished after 2 seconds",
        "9": "more than 5 redirects", "x?tag=noai": "X-Robots-Tag: noai", "503": "status 503, 2 times", "meta-data": "link-local",
        "a.png": "robots.txt", "x.png": "http, where only https", "passwd": "file, where only https", "no address": "not an address",
        "1.png": "same address",
    }.items():  # fmt: skip
        assert part in why[name], (name, why[name])
    assert site.asked["/status/503"] == 2 and site.asked["/status/404"] == 1 and site.asked["/short/c.png"] == 2
    assert site.asked["/private/a.png"] == 0 and site.asked["/robots.txt"] == 1
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
    made = collect_pictures(
        [fast("place = 'list.txt'", limits="per_host = 1")], tmp_path / "o", allow_host=f"{site.host} {busy.host}"
    )
    at = {path: [when for asked, when in site.times if asked == path] for path in site.asked}
    assert len(at["/flaky/500"]) == len(at["/flaky/429/1"]) == 2
    assert at["/flaky/429/1"][1] - at["/flaky/429/1"][0] >= 1
    assert made.kept == {"list": 1} and made.duplicates == 1
    assert sum(busy.asked.values()) == 2  # robots.txt and one picture: it asks for an hour, so nobody comes back
    assert len(made.reasons) == 2 and all("come back in 3,60" in reason for reason in made.reasons)
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
    made = collect_pictures(
        [fast("place = 'list.txt'", limits="total_bytes = 5000\nat_once = 1\nper_host = 1")], tmp_path / "o"
    )
    assert made.unfinished and "5,000 bytes" in made.notes[0]
    assert 1 <= sum(made.kept.values()) < 8


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
    assert site.asked["/p/1.png"] == 1
