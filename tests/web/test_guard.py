"""Which addresses may be requested: by their text, by DNS, after redirects; TLS."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import subprocess

import pytest

from ganforge.base.errors import DataError, InputError
from ganforge.collecting.collect import collect_pictures
from ganforge.web import guard
from ganforge.web.guard import Hosts, Refused
from served import write_list


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("127.0.0.1", "loopback"),
        ("127.255.255.254", "loopback"),
        ("0.0.0.0", "this network"),
        ("10.1.2.3", "private"),
        ("172.16.0.1", "private"),
        ("172.31.255.255", "private"),
        ("192.168.1.1", "private"),
        ("169.254.169.254", "link-local"),
        ("100.64.0.1", "carrier-grade NAT"),
        ("100.127.255.255", "carrier-grade NAT"),
        ("100.100.100.200", "carrier-grade NAT"),
        ("192.0.0.192", "reserved"),
        ("192.0.2.1", "reserved"),
        ("198.18.0.1", "reserved"),
        ("198.51.100.7", "reserved"),
        ("203.0.113.9", "reserved"),
        ("224.0.0.1", "multicast"),
        ("239.255.255.255", "multicast"),
        ("240.0.0.1", "reserved"),
        ("255.255.255.255", "reserved"),
        ("168.63.129.16", "a cloud's own service"),
        ("::1", "loopback"),
        ("::", "unspecified"),
        ("::ffff:127.0.0.1", "IPv4-mapped"),
        ("::ffff:8.8.8.8", "IPv4-mapped"),
        ("::ffff:a9fe:a9fe", "IPv4-mapped"),
        ("::7f00:1", "IPv4-compatible"),
        ("64:ff9b::7f00:1", "NAT64"),
        ("64:ff9b::808:808", "NAT64"),
        ("64:ff9b:1::1", "NAT64"),
        ("2001:0:53aa:64c::1", "Teredo"),
        ("2002:7f00:1::", "6to4"),
        ("2002:808:808::1", "6to4"),
        ("fc00::1", "private"),
        ("fd00:ec2::254", "private"),
        ("fe80::1", "link-local"),
        ("fe80::1%eth0", "link-local"),
        ("fec0::1", "site-local"),
        ("ff02::1", "multicast"),
        ("2001:db8::1", "reserved"),
        ("3fff::1", "reserved"),
        ("100::1", "reserved"),
        ("5f00::1", "reserved"),
        ("4000::1", "reserved"),
        ("2600:1::5efe:7f00:1", "reserved"),
        ("2001:10::1", "reserved"),
        ("8.8.8.8", None),
        ("1.1.1.1", None),
        ("172.15.255.255", None),
        ("172.32.0.1", None),
        ("100.63.255.255", None),
        ("100.128.0.1", None),
        ("192.0.1.1", None),
        ("169.253.1.1", None),
        ("223.255.255.255", None),
        ("2606:4700:4700::1111", None),
        ("2a00:1450:4001::200e", None),
        ("2620:0:862:ed1a::1", None),
    ],
)
def test_which_addresses_are_public(address, kind):
    assert guard.special_kind(address) == kind


@pytest.mark.parametrize(
    "address",
    [
        "http://example.org/a.png",
        "ftp://example.org/a",
        "file:///etc/passwd",
        "data:image/png;base64,AA",
        "//x/y",
        "x",
        "",
        "https://",
        "https://127.0.0.1/",
        "https://2130706433/",
        "https://0x7f000001/",
        "https://0x7f.1/",
        "https://0177.0.0.1/",
        "https://127.1/",
        "https://017700000001/",
        "https://127.0.0.1./",
        "https://[::1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://[fe80::1%25eth0]/",
        "https://localhost/",
        "https://a.localhost/",
        "https://LOCALHOST./",
        "https://printer.local/",
        "https://metadata.google.internal/",
        "https://user:secret@example.org/",
        "https://example.org:0/",
        "https://example.org:99999/",
        "https://169.254.169.254/latest/",
        "https://①②⑦.0.0.1/",
        "https://127。0。0。1/",
        "https://" + "a" * 5000,
        "https://exa mple.org/",
        "https://example.org\\@127.0.0.1/",
    ],
)
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
    message = r"Nothing was collected .* 2 private address \(10.0.0.7\); 1 loopback address \(127.0.0.1\)"
    with pytest.raises(DataError, match=message):
        collect_pictures([write_list(tmp_path / "l.csv", rows)], tmp_path / "o", allow_host=site.host, resolve=resolve)


@pytest.mark.skipif(not shutil.which("openssl"), reason="openssl makes the certificate")
def test_tls_verifies_the_name_and_not_the_address(tmp_path, site, monkeypatch):
    key, pem = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-keyout",
            key,
            "-out",
            pem,
            "-days",
            "2",
            "-subj",
            "/CN=pictures.example",
            "-addext",
            "subjectAltName=DNS:pictures.example",
        ],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, key)
    site.server.socket = context.wrap_socket(site.server.socket, server_side=True)
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))

    async def resolve(host: str, port: int) -> list[str]:
        return ["127.0.0.1"]

    port = site.server.server_port
    rows = [{"url": f"https://pictures.example:{port}/p/1.png"}, {"url": f"https://other.example:{port}/p/2.png"}]
    hosts = f"pictures.example:{port},other.example:{port}"
    collected = collect_pictures(
        [write_list(tmp_path / "l.csv", rows)], tmp_path / "o", allow_host=hosts, resolve=resolve, unknown_rights="mix"
    )
    assert collected.kept == {"l": 1}
    assert "certificate is not valid" in next(iter(collected.reasons))
    assert site.headers["/p/1.png"]["Host"] == f"pictures.example:{port}"
