"""Collecting from folders, lists and APIs: a real HTTP server on this machine, behind --allow-host."""

from __future__ import annotations

import asyncio
import csv
import gzip
import hashlib
import io
import json
import shutil
import signal
import ssl
import subprocess
import sys
import threading
import time
import tracemalloc
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from ganforge.cli import main
from ganforge.collect import collect, mix
from ganforge.data import provenance
from ganforge.data.decode import identify
from ganforge.data.journal import Journal
from ganforge.data.licences import is_among, spdx, wanted
from ganforge.data.sources import Skip, open_source
from ganforge.errors import DataError, InputError, Stopped
from ganforge.gather import Collected
from ganforge.prepare import prepare
from ganforge.web import guard, lists, robots
from ganforge.web.fetch import Client
from ganforge.web.guard import Hosts, Refused
from ganforge.web.terms import Limits

BOMB = gzip.compress(bytes(64 << 20))


def png(seed: int, size: int = 16) -> bytes:
    """A small picture of its own for each seed."""
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def claims(width: int, height: int) -> bytes:
    """A PNG whose header declares a size that its data do not have."""
    body = b"IHDR" + width.to_bytes(4, "big") + height.to_bytes(4, "big") + b"\x08\x02\0\0\0"
    head = b"\x89PNG\r\n\x1a\n" + (13).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")
    return head + png(0)[33:]


class Site:
    """A server whose pages are functions of the request; it counts what was asked for."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.times: list[tuple[str, float]] = []
        self.headers: dict[str, dict[str, str]] = {}
        self.robots = ""
        self.delay = 0.0
        site = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                site.asked[self.path] += 1
                site.times.append((self.path, time.monotonic()))
                site.headers[self.path] = dict(self.headers)
                try:
                    site.answer(self)
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True

            def send(self, status: int = 200, body: bytes = b"", **headers: str) -> None:
                self.send_response(status)
                for name, value in {"Content-Length": str(len(body)), **headers}.items():
                    self.send_header(name.replace("_", "-"), value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.host = f"127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def url(self, path: str) -> str:
        return f"http://{self.host}{path}"

    @property
    def pictures(self) -> int:
        """Requests for pictures that were answered or begun."""
        return sum(count for path, count in self.asked.items() if path.startswith("/p/"))

    def answer(self, to) -> None:
        path, query = urlsplit(to.path).path, {k: v[0] for k, v in parse_qs(urlsplit(to.path).query).items()}
        _, kind, *rest = path.split("/")
        if kind == "p":
            time.sleep(self.delay)
            to.send(body=png(int(rest[0].split(".")[0])))
        elif kind == "robots.txt":
            to.send(200 if self.robots else 404, self.robots.encode())
        elif kind == "status":
            to.send(int(rest[0]))
        elif kind == "flaky":
            fresh = self.asked[to.path] == 1
            to.send(int(rest[0]), **({"Retry_After": rest[1]} if len(rest) > 1 else {})) if fresh else to.send(
                body=png(900)
            )
        elif kind == "to":
            to.send(302, Location=query["url"])
        elif kind == "hop":
            to.send(302, Location=f"/hop/{int(rest[0]) - 1}" if int(rest[0]) else "/p/901.png")
        elif kind == "says":
            to.send(body=png(902), X_Robots_Tag=query["tag"])
        elif kind == "html":
            to.send(body=b"<!doctype html><title>no</title>" + b" " * 9000, Content_Type="image/jpeg")
        elif kind == "terapixel":
            to.send(body=claims(1_000_000, 1_000_000), Content_Type="image/png")
        elif kind == "bomb":
            to.send(body=BOMB, Content_Encoding="gzip")
        elif kind == "zipped":
            to.send(body=gzip.compress(png(903)), Content_Encoding="gzip")
        elif kind == "huge":
            to.send_response(200)
            to.send_header("Content-Length", str(10 << 30))
            to.end_headers()
            to.wfile.write(png(904))
            to.close_connection = True
        elif kind in ("endless", "slow"):
            to.send_response(200)
            to.send_header("Connection", "close")
            to.end_headers()
            to.close_connection = True
            data = png(905, 64)
            step = 1 if kind == "slow" else len(data)
            for n in range(1 << 20):
                to.wfile.write(data[(n * step) % len(data) :][:step])
                time.sleep(0.1 if kind == "slow" else 0)
        elif kind == "short":
            to.send(body=png(906)[:100], Content_Length="500")
            to.close_connection = True
        elif kind == "api":
            self.api(to, rest[0], query)
        else:
            to.send(404)

    def api(self, to, by: str, query: dict[str, str]) -> None:
        """25 items, ten a page."""
        if query.get("page") == "4":
            return to.send(404)
        start = {"page": (int(query.get("page", 1)) - 1) * 10, "offset": int(query.get("from", 0))}.get(
            by, int(query.get("after", 0))
        )
        items = [
            {"media": [{"src": f"/p/{n}.png"}], "rights": {"licence": "cc-by-4.0"}, "by": f"<a href='x'>author</a> {n}", "kind": "even" if n % 2 == 0 else "odd"}
            for n in range(start, min(25, start + 10))
        ]  # fmt: skip
        answer: dict[str, object] = {"data": {"items": items}}
        if start + 10 < 25:
            answer["more"] = {
                "cursor": start + 10, "table": {"after": start + 10, "x": "y"}, "link": f"/api/link?after={start + 10}",
            }.get(by)  # fmt: skip
        return to.send(body=json.dumps(answer).encode(), Content_Type="application/json")


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def fast(tmp_path: Path, site: Site) -> Callable[..., Path]:
    """Write a recipe around sources, with limits that suit a test."""

    def write(*sources: str, limits: str = "", top: str = "", name: str = "recipe.toml") -> Path:
        path = tmp_path / name
        tables = "\n".join(f"[[source]]\n{source}" for source in sources)
        usual = "".join(
            f"{line}\n" for line in ("rate = 0", "per_host = 16", "wait = 2.0") if line.split()[0] not in limits
        )
        path.write_text(
            f"allow_host = '{site.host}'\nlicence = []\nunknown_rights = 'mix'\n{top}\n[limits]\n{usual}{limits}\n{tables}\n"
        )
        return path

    return write


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def write_list(path: Path, rows: list[dict[str, str]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["url", "label", "licence", "author"])
        writer.writeheader()
        writer.writerows(rows)
    return path


def reasons(folder: Path) -> dict[str, str]:
    """The last part of each skipped address -> its reason."""
    return {row["address"].rsplit("/", 1)[-1] or row["address"]: row["reason"] for row in table(folder / "skipped.csv")}


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
    assert guard.why_not(address) == kind


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
    made = mix([write_list(tmp_path / "l.csv", rows)], tmp_path / "o", allow_host=site.host, resolve=resolve)
    assert sorted(made.reasons) == ["loopback address (127.0.0.1)", "private address (10.0.0.7)"]
    assert made.reasons["private address (10.0.0.7)"] == 2


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
    made = mix(
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
    made = mix([recipe], tmp_path / "o")
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
    made = mix(
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
    mix([fast("place = 'list.txt'", limits="").rename(tmp_path / "r.toml")], tmp_path / "fast")
    site.times.clear()
    (tmp_path / "r.toml").write_text((tmp_path / "r.toml").read_text().replace("rate = 0", "rate = 20.0"))
    mix([tmp_path / "r.toml"], tmp_path / "slow")
    times = [when for path, when in site.times if path.startswith("/p/")]
    assert times[-1] - times[0] > 7 / 20 - 0.05


def test_the_limit_on_all_bytes(tmp_path, site, fast):
    (tmp_path / "list.txt").write_text("\n".join(site.url(f"/p/{n}.png") for n in range(30)))
    made = mix([fast("place = 'list.txt'", limits="total_bytes = 5000\nat_once = 1\nper_host = 1")], tmp_path / "o")
    assert made.unfinished and "5,000 bytes" in made.notes[0]
    assert 1 <= sum(made.kept.values()) < 8


def test_robots_that_cannot_be_read_forbid_and_missing_ones_do_not(tmp_path, site, fast):
    (tmp_path / "list.txt").write_text(site.url("/p/1.png"))
    plain = Site.answer
    site.answer = lambda to: to.send(500) if to.path == "/robots.txt" else plain(site, to)  # type: ignore[method-assign]
    made = mix([fast("place = 'list.txt'", limits="tries = 1")], tmp_path / "o")
    assert list(made.reasons) == ["its robots.txt cannot be read: status 500"]
    site.answer = lambda to: plain(site, to)  # type: ignore[method-assign]
    assert sum(mix([tmp_path / "recipe.toml"], tmp_path / "o").kept.values()) == 1  # it failed for now: tried again
    assert site.asked["/p/1.png"] == 1


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
    made = mix([fast("place = 'list.txt'", limits="bytes = 300")], tmp_path / "o")
    assert sum(made.kept.values()) == 0
    made = mix([fast("place = 'list.txt'", limits="bytes = 50_000")], tmp_path / "o")
    assert sum(made.kept.values()) == 1
    with pytest.raises(InputError, match="other settings"):
        mix([tmp_path / "recipe.toml"], tmp_path / "o", seed=1)
    (tmp_path / "list.txt").write_text(site.url("/p/2.png"))
    with pytest.raises(InputError, match="other sources"):
        mix([tmp_path / "recipe.toml"], tmp_path / "o")


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
        mix([local], tmp_path / "o")
    monkeypatch.undo()
    assert mix([local], tmp_path / "o").kept == {"mine": 8}
    assert {path.read_bytes() for path in (tmp_path / "o").rglob("*.png")} == {
        path.read_bytes() for path in local.rglob("*.png")
    }
    assert len(table(tmp_path / "o" / "provenance.csv")) == 8


def test_one_process_at_a_time(tmp_path):
    held = Journal(tmp_path / "o" / ".collect" / "journal.sqlite")
    with pytest.raises(DataError, match="another process"):
        Journal(tmp_path / "o" / ".collect" / "journal.sqlite")
    held.close()
    Journal(tmp_path / "o" / ".collect" / "journal.sqlite").close()


# ----------------------------------------------------------------------------------------------------------- lists and APIs


def test_lists_in_all_formats_and_rows_that_make_no_sense(tmp_path):
    rows = [{"url": f"https://a.example/{n}.png", "label": "x", "licence": "cc0", "author": "=1+1"} for n in range(3)]
    plain = [lists.Wanted(row["url"], "x", "cc0", "=1+1") for row in rows]
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
    made = mix([fast(source)], tmp_path / "o")
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
        "2.png": "the licence CC-BY-NC-2.0 is not asked for", "3.png": "the licence 'all rights reserved' is not known",
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
    made = mix([local, tmp_path / "more.zip"], out)
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
        made = mix([recipe], tmp_path / out, **options)
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
    made = mix(
        [write_list(tmp_path / "l.csv", rows)], tmp_path / "o", allow_host=site.host, cap=15, unknown_rights="mix"
    )
    assert made.kept == {"l": 15}
    asked = sum(count for path, count in site.asked.items() if path != "/robots.txt")
    assert asked == 15 + made.duplicates + made.skipped


def test_weights_share_out_a_total(tmp_path, fast):
    for name, start in (("a", 0), ("b", 100), ("c", 200)):
        folder_of(tmp_path / name, {"x": range(start, start + 12)})
    recipe = fast("place = 'a'\nweight = 3.0", "place = 'b'", "place = 'c'\nlicence = 'own'", top="total = 17")
    made = mix([recipe], tmp_path / "o")
    assert made.kept == {"a": 10, "b": 4, "c": 3}
    assert sum("state no licence" in note and note.startswith("14 ") for note in made.notes) == 1
    assert {row["licence"] for row in table(tmp_path / "o" / "provenance.csv") if row["source"] == "c"} == {
        "LicenseRef-own"
    }
    made = mix([recipe], tmp_path / "p", total=30)
    assert made.kept["a"] == 12
    assert "a has 12 of the 18 that are its share" in made.notes


def test_the_first_source_wins_and_the_other_is_noted(tmp_path, site):
    local = folder_of(tmp_path / "mine", {"cat": range(3), "dog": range(50, 53)})
    rows = [{"url": site.url(f"/p/{n}.png"), "label": "tiger", "licence": "cc0", "author": "Ann"} for n in range(1, 5)]
    listed = write_list(tmp_path / "l.csv", rows)
    made = mix([local, listed], tmp_path / "a", allow_host=site.host)
    assert made.kept == {"mine": 6, "l": 2}
    row = next(
        row for row in table(tmp_path / "a" / "provenance.csv") if row["sha256"] == hashlib.sha256(png(1)).hexdigest()
    )
    assert (row["source"], row["label"], row["also"]) == ("mine", "cat", f"l: {site.url('/p/1.png')}")
    made = mix([listed, local], tmp_path / "b", allow_host=site.host)
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
    again = mix([tmp_path / "o"], tmp_path / "again", licence="cc-by")  # where they came from is not forgotten
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
    mix([tmp_path / "cifar"], tmp_path / "o")
    store = prepare(tmp_path / "o", tmp_path / "store").store
    assert (len(store.train), len(store.heldout)) == (20, 20)


def test_some_labels_missing_and_cells_that_are_formulas(tmp_path, site):
    rows = [
        {"url": site.url(f"/p/{n}.png"), "label": "=cmd" if n % 2 else "", "author": "@SUM(A1)", "licence": "cc0"}
        for n in range(6)
    ]
    made = mix([write_list(tmp_path / "l.csv", rows)], tmp_path / "o", allow_host=site.host)
    assert any("3 pictures have no label" in note for note in made.notes)
    assert {row["label"] for row in table(tmp_path / "o" / "labels.csv")} == {"_=cmd"}
    assert {row["author"] for row in table(tmp_path / "o" / "provenance.csv")} == {"'@SUM(A1)"}
    found = list(open_source(tmp_path / "o").entries())
    assert Counter(entry.label for entry in found) == {None: 3, "_=cmd": 3}
    for text in ("=1", "+1", "-1", "@x", " =1", "\t=1", "\r=1"):
        assert provenance.cell(text)[0] == "'"
    assert provenance.cell("a\nb") == "a b"


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
        mix([recipe], tmp_path / "o")
    failing[0] = False
    assert sum(mix([recipe], tmp_path / "o").kept.values()) == 25
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
