"""Which addresses may be requested: public ones over https, and nothing that leads into the user's own network.

A name is resolved once, all of its addresses are checked, and the connection goes to a checked one, so that an answer
that changes between check and connection (DNS rebinding) changes nothing. TLS still verifies the name."""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
from collections.abc import Awaitable, Callable, Collection, Iterable

import httpcore
import httpx

from ganforge.base.errors import InputError
from ganforge.web.settings import Refused

Resolve = Callable[[str, int], Awaitable[list[str]]]
"""(host, port) -> addresses; OSError where there are none."""

MAX_ADDRESS = 4096
_MAX_TRIED = 4

# IANA's registries of special-purpose addresses (RFC 6890 and its updates), without regard to the version of Python.
_SPECIAL = {
    "this network": ("0.0.0.0/8",),
    "unspecified": ("::/128",),
    "loopback": ("127.0.0.0/8", "::1/128"),
    "private": ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"),
    "link-local": ("169.254.0.0/16", "fe80::/10"),
    "site-local": ("fec0::/10",),
    "carrier-grade NAT": ("100.64.0.0/10",),
    "multicast": ("224.0.0.0/4", "ff00::/8"),
    "a cloud's own service": ("168.63.129.16/32",),
    "IPv4-mapped": ("::ffff:0:0/96",),
    "IPv4-compatible": ("::/96",),
    "NAT64": ("64:ff9b::/96", "64:ff9b:1::/48"),
    "Teredo": ("2001::/32",),
    "6to4": ("2002::/16",),
    "reserved": (
        *("192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24"),
        *("240.0.0.0/4", "2001::/23", "2001:db8::/32", "3fff::/20"),
    ),
}
"""Kind -> networks; the first network that holds an address decides, so narrow ones stand before wide ones."""
_NETWORKS = [(ipaddress.ip_network(network), kind) for kind, networks in _SPECIAL.items() for network in networks]
_GLOBAL6 = ipaddress.ip_network("2000::/3")


def special_kind(address: str) -> str | None:
    """The kind of an IP address that is not public, such as "loopback"; None for a public one. ValueError for a text
    that is no IP address."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    for network, kind in _NETWORKS:
        if ip.version == network.version and ip in network:
            return kind
    if isinstance(ip, ipaddress.IPv6Address) and (ip not in _GLOBAL6 or (int(ip) >> 32 & 0xFDFF_FFFF) == 0x5EFE):
        return "reserved"  # outside the global range, or ISATAP, which wraps an IPv4 address
    return None


class Hosts:
    """The hosts that the user allows by name: for them http and private addresses are no obstacle."""

    def __init__(self, words: Collection[str] = ()) -> None:
        """`words` are HOST or HOST:PORT; an IPv6 address with a port stands in square brackets."""
        self.pairs = {_host_and_port(word) for word in words}

    def __contains__(self, host_and_port: tuple[str, int]) -> bool:
        return host_and_port in self.pairs or (host_and_port[0], None) in self.pairs


def _host_and_port(word: str) -> tuple[str, int | None]:
    match = re.fullmatch(
        r"\[?([0-9a-f:.]+:[0-9a-f:.]*)\]|([^\s:/\[\]]+)|(?:\[([0-9a-f:.]+)\]|([^\s:/\[\]]+)):(\d{1,5})", word.lower()
    )
    if not match or (match[5] and not 0 < int(match[5]) < 65536):
        raise InputError(f"The host {word!r} is not understood; it takes HOST or HOST:PORT, such as localhost:8000.")
    return match[1] or match[2] or match[3] or match[4], int(match[5]) if match[5] else None


def parse(address: str | httpx.URL, allowed: Hosts) -> httpx.URL:
    """An address that may be requested as far as its text tells; its name is not resolved yet. Raises Refused."""
    if len(str(address)) > MAX_ADDRESS:
        raise Refused(f"address of {len(str(address)):,} characters, over the limit of {MAX_ADDRESS:,}")
    try:
        url = httpx.URL(address).copy_with(fragment=None)
        host = url.raw_host.decode("ascii")
        port = port_of(url)
    except (httpx.InvalidURL, ValueError, TypeError) as error:
        raise Refused(f"not an address: {error}") from None
    if url.scheme not in ("https", "http"):
        raise Refused(f"{url.scheme or 'no scheme'}, where only https is allowed")
    if not re.fullmatch(r"[a-z0-9._-]+|[0-9a-f:.]+", host) or not 0 < port < 65536:
        raise Refused("not an address")
    if url.scheme == "http" and (host, port) not in allowed:
        raise Refused("http, where only https is allowed")
    if url.userinfo:
        raise Refused("a user name or password in the address")
    if (host, port) not in allowed:
        _check_host(host)
    return url


def port_of(url: httpx.URL) -> int:
    """The port, also where the address leaves it out."""
    return {"https": 443, "http": 80}.get(url.scheme, 0) if url.port is None else url.port


def origin(url: httpx.URL) -> tuple[str, str, int]:
    """(scheme, host, port): the server that an address belongs to."""
    return url.scheme, url.host, port_of(url)


def _check_host(host: str) -> None:
    """Refuse private addresses, and numbers in a spelling of their own, such as 0x7f.1 or 2130706433 for 127.0.0.1."""
    try:
        kind = special_kind(host)
    except ValueError:
        if re.fullmatch(r"\d+|0x[0-9a-f]*", host.rstrip(".").rsplit(".", 1)[-1], re.IGNORECASE):
            raise Refused("an odd spelling of an IP address") from None
        if host.rstrip(".").lower().endswith(("localhost", ".local", ".internal")):
            raise Refused("a name of the local network") from None
        return
    if kind:
        raise Refused(f"{kind} address")


async def resolve(host: str, port: int) -> list[str]:
    """The addresses by the system's resolver. OSError where there are none."""
    entries = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in entries]


class Backend(httpcore.AsyncNetworkBackend):
    """The network as httpcore sees it: every connection passes the check, after redirects too."""

    def __init__(self, allowed: Hosts, resolve: Resolve = resolve) -> None:
        self._allowed, self._resolve = allowed, resolve
        self._network = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Resolve the name, check all its addresses, connect to the first that answers. Raises Refused, or httpcore's
        ConnectError."""
        addresses = await self._addresses(host, port)
        reason: Exception = httpcore.ConnectError("it has no address")
        for address in addresses[:_MAX_TRIED]:
            try:
                return await self._network.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                reason = error
        raise reason

    async def _addresses(self, host: str, port: int) -> list[str]:
        try:
            ipaddress.ip_address(host)
            addresses = [host]
        except ValueError:
            try:
                addresses = list(dict.fromkeys(await self._resolve(host, port)))
            except (OSError, UnicodeError) as error:
                raise httpcore.ConnectError(
                    f"the name cannot be resolved: {getattr(error, 'strerror', None) or error}"
                ) from error
        if (host, port) not in self._allowed:
            for address in addresses:
                if kind := special_kind(address):
                    raise Refused(f"{kind} address ({address})")
        return addresses

    async def sleep(self, seconds: float) -> None:
        """How httpcore waits between tries."""
        await asyncio.sleep(seconds)
