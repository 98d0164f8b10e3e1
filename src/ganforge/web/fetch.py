"""The guarded, polite client: one address -> one file, with limits on everything that a server could make large."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import ssl
import time
import zlib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, BinaryIO

import httpcore
import httpx

from ganforge.base import seeds
from ganforge.base.tables import read_json
from ganforge.version import __version__
from ganforge.web import guard, robots
from ganforge.web.settings import Failed, LimitReached, Limits, Refused

AGENT = "ganforge"
_CHUNK = 1 << 16
_HEAD = 512
_BACKOFF = 0.5
_LONGEST_DELAY = 30.0
_MANY_HOSTS = 4096
_REDIRECTS = {301, 302, 303, 307, 308}
_TEMPORARY = {408, 425, 429, 500, 502, 503, 504}


class _Retry(Exception):
    """This try failed; the next one should wait for at least `after` seconds."""

    def __init__(self, reason: str, after: float = 0.0) -> None:
        super().__init__(reason)
        self.after = after


@dataclass(frozen=True)
class FetchedFile:
    """A file that was fetched."""

    address: str
    """The final one, after redirects."""
    sha256: str
    size: int


@dataclass
class _Host:
    slots: asyncio.Semaphore
    idle: list[httpcore.AsyncHTTPConnection] = field(default_factory=list)
    rules: asyncio.Task[robots.Rules] | None = None
    delay: float = 0.0
    next_at: float = 0.0
    closed_until: float = 0.0
    users: int = 0


@dataclass
class _Sink:
    """Takes the bytes of one answer up to `limit`: a longer one is refused, or truncated where `truncate` is true.
    Bytes without a `file` stay in `body`."""

    file: BinaryIO | None
    limit: int
    spend: Callable[[int], None]
    """Counts bytes, refused ones too."""
    check_head: Callable[[bytes], object] | None = None
    """Gets the first bytes and may raise."""
    truncate: bool = False
    body: bytearray = field(default_factory=bytearray)
    digest: Any = field(default_factory=hashlib.sha256)
    size: int = 0
    head: bytes = b""

    def restart(self) -> None:
        self.body.clear()
        self.digest, self.size, self.head = hashlib.sha256(), 0, b""
        if self.file:
            self.file.seek(0)
            self.file.truncate()

    def write(self, chunk: bytes) -> bool:
        """Take some bytes; False where no more are needed. Raises Refused."""
        self.spend(len(chunk))
        if self.check_head and len(self.head) < _HEAD:
            self.head += chunk[: _HEAD - len(self.head)]
            if len(self.head) == _HEAD:
                self.check_head(self.head)
        if self.size + len(chunk) > self.limit:
            if not self.truncate:
                raise Refused(f"more than {self.limit:,} bytes")
            chunk = chunk[: self.limit - self.size]
        self.size += len(chunk)
        if self.file:
            self.digest.update(chunk)
            self.file.write(chunk)
        else:
            self.body += chunk
        return self.size < self.limit or not self.truncate


class Client:
    """Fetches many addresses at once. Use it as `async with Client(...) as client`, within one event loop."""

    def __init__(
        self,
        limits: Limits,
        *,
        allowed: guard.Hosts | None = None,
        seed: int = 0,
        contact: str = "",
        spent: int = 0,
        resolve: guard.Resolve = guard.resolve,
    ) -> None:
        """`seed` varies the waits between tries, `contact` is an e-mail or web address that is told to the servers,
        `spent` are the bytes that count against the total already."""
        self.limits, self.seed, self.spent = limits, seed, spent
        self.allowed = allowed or guard.Hosts()
        about = f"; +{contact}" if contact else ""
        self.agent = f"{AGENT}/{__version__} (collects pictures for a data set{about})"
        self._all = asyncio.Semaphore(limits.at_once)
        self._hosts: dict[tuple[str, str, int], _Host] = {}
        self._tls = httpx.create_ssl_context()
        self._network = guard.Backend(self.allowed, resolve)

    async def __aenter__(self) -> Client:
        asyncio.get_running_loop().set_default_executor(
            ThreadPoolExecutor(self.limits.at_once)
        )  # the resolver waits there
        return self

    async def __aexit__(self, *_: object) -> None:
        for host in self._hosts.values():
            if host.rules:
                host.rules.cancel()
            await _close(host)

    async def save(
        self, address: str, target: Path, check_head: Callable[[bytes], object] | None = None
    ) -> FetchedFile:
        """Fetch into `target`. `check_head` gets the first bytes and may raise. Raises Refused, Failed, LimitReached,
        OSError."""
        try:
            with target.open("wb") as file:
                sink = _Sink(file, self.limits.bytes, self._spend, check_head)
                final = await self._get(address, sink, obey_robots=True)
                if check_head and len(sink.head) < _HEAD:
                    check_head(sink.head)
            return FetchedFile(final, sink.digest.hexdigest(), sink.size)
        except BaseException:
            target.unlink(missing_ok=True)
            raise

    async def json(self, address: str, headers: Mapping[str, str] | None = None) -> tuple[Any, str]:
        """(the JSON value at an address, its final address). `headers` go to the address's own origin alone, also after
        redirects. robots.txt is not read: an API is named by the user and has terms of its own. Raises Refused, Failed,
        LimitReached."""
        sink = _Sink(None, self.limits.bytes, self._spend)
        final = await self._get(address, sink, obey_robots=False, headers=headers)
        try:
            return read_json(bytes(sink.body)), final
        except ValueError as error:
            raise Refused(f"not JSON: {error}") from None

    def _spend(self, count: int) -> None:
        self.spent += count
        if self.spent > self.limits.total_bytes:
            raise LimitReached(f"the total of {self.limits.total_bytes:,} bytes is reached")

    async def _get(
        self, address: str, sink: _Sink, *, obey_robots: bool, headers: Mapping[str, str] | None = None
    ) -> str:
        """Try, wait, try again. Returns the final address."""
        for attempt in range(self.limits.tries):
            sink.restart()
            try:
                return await self._follow(address, sink, obey_robots, headers or {})
            except _Retry as retry:
                reason, after = str(retry), retry.after
            if attempt + 1 < self.limits.tries:
                jitter = seeds.key(self.seed, f"retry/{address}", attempt) / 2**63
                await asyncio.sleep(max(after, min(self.limits.wait, _BACKOFF * 2**attempt * (0.5 + jitter))))
        raise Failed(f"{reason}, {self.limits.tries} times" if self.limits.tries > 1 else reason)

    async def _follow(self, address: str, sink: _Sink, obey_robots: bool, headers: Mapping[str, str]) -> str:
        """One try: through the redirects to the end. Each address on the way is checked like the first."""
        url = start = guard.parse(address, self.allowed)
        for _ in range(self.limits.redirects + 1):
            host = self._host(url)
            host.users += 1
            try:
                if obey_robots:
                    await self._check_robots(host, url)
                async with self._turn(host):
                    secret = headers if guard.origin(url) == guard.origin(start) else {}
                    location = await self._request(url, host, sink, {"User-Agent": self.agent, **secret})
            finally:
                host.users -= 1
                if not host.users:
                    await _close(host)
            if location is None:
                return str(url)
            try:
                url = guard.parse(url.join(location), self.allowed)
            except (httpx.InvalidURL, ValueError):
                raise Refused("redirected to something that is not an address") from None
            except Refused as refused:
                raise Refused(f"redirected to: {refused}") from None
        raise Refused(f"more than {self.limits.redirects} redirects", 302)

    async def _request(self, url: httpx.URL, host: _Host, sink: _Sink, headers: Mapping[str, str]) -> str | None:
        """One request; returns the address that it is redirected to, or None."""
        target = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
        sent: list[tuple[bytes | str, bytes | str]] = [
            ("Host", url.netloc),
            ("Accept-Encoding", "identity"),
            *headers.items(),
        ]
        try:
            async with (
                asyncio.timeout(self.limits.seconds),
                self._connection(host, target.origin) as connection,
                connection.stream("GET", target, headers=sent, extensions=_timeouts(self.limits.seconds)) as answer,
            ):
                pairs = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in answer.headers]
                first = dict(reversed(pairs))  # of a header that comes twice
                if answer.status in _REDIRECTS and "location" in first:
                    return first["location"]
                self._check_status(answer.status, first, host)
                if sink.file and (header := robots.opted_out(pairs, AGENT)):
                    raise Refused(f"kept out of training by its server ({header})")
                declared = first.get("content-length", "")
                if declared.isdecimal() and int(declared) > sink.limit and not sink.truncate:
                    raise Refused(f"{int(declared):,} bytes, over the limit of {sink.limit:,}")
                await _pour(answer.aiter_stream(), first.get("content-encoding", ""), sink)
                return None
        except TimeoutError:
            raise Failed(f"not finished after {self.limits.seconds:g} seconds") from None
        except (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError) as error:
            reason = str(error).rstrip(".") or type(error).__name__
            if isinstance(error.__cause__, ssl.SSLCertVerificationError):
                raise Failed(f"its certificate is not valid: {error.__cause__.verify_message}") from None
            raise _Retry(reason) from None

    def _check_status(self, status: int, headers: Mapping[str, str], host: _Host) -> None:
        if status == 200:
            return
        if status not in _TEMPORARY:
            raise Refused(f"status {status}", status)
        after = _seconds(headers.get("retry-after", ""))
        host.closed_until = max(host.closed_until, asyncio.get_running_loop().time() + after)
        if after > self.limits.wait:
            raise Failed(f"status {status}; the host asks to come back in {after:,.0f} seconds")
        raise _Retry(f"status {status}", after)

    @contextlib.asynccontextmanager
    async def _connection(self, host: _Host, origin: httpcore.Origin) -> AsyncIterator[httpcore.AsyncHTTPConnection]:
        """An open connection of the host, or a new one. Not httpcore's pool: it looks through all its connections at
        every request, which at 32 connections takes longer than a small picture."""
        connection = None
        while host.idle and connection is None:
            connection = host.idle.pop()
            if connection.has_expired() or not connection.is_idle():
                await connection.aclose()
                connection = None
        connection = connection or httpcore.AsyncHTTPConnection(
            origin, self._tls, keepalive_expiry=5, network_backend=self._network
        )
        try:
            yield connection
        finally:
            if connection.is_idle():
                host.idle.append(connection)
            else:
                await connection.aclose()

    def _host(self, url: httpx.URL) -> _Host:
        if len(self._hosts) > _MANY_HOSTS:
            now = asyncio.get_running_loop().time()
            self._hosts = {
                origin: host for origin, host in self._hosts.items() if host.users or host.closed_until > now
            }
        origin = guard.origin(url)
        if origin not in self._hosts:
            self._hosts[origin] = _Host(asyncio.Semaphore(self.limits.per_host))
        return self._hosts[origin]

    @contextlib.asynccontextmanager
    async def _turn(self, host: _Host) -> AsyncIterator[None]:
        """Wait until the host may get the next request."""
        async with host.slots:
            now = asyncio.get_running_loop().time()
            start = max(now, host.next_at, host.closed_until)
            if host.closed_until - now > self.limits.wait:
                raise Failed(f"its host asks to come back in {host.closed_until - now:,.0f} seconds")
            delay = min(_LONGEST_DELAY, host.delay)
            host.next_at = start + max(delay, 1 / self.limits.rate if self.limits.rate else 0.0)
            await asyncio.sleep(start - now)
            async with self._all:
                yield

    async def _check_robots(self, host: _Host, url: httpx.URL) -> None:
        """Refused where robots.txt forbids the address. It is fetched once a host, by the first request."""
        if host.rules is None:
            host.rules = asyncio.create_task(self._robots(url))
        rules = await asyncio.shield(host.rules)
        host.delay = rules.delay
        if not rules.allow(url.raw_path.decode("ascii", "replace")):
            raise Refused("forbidden by robots.txt")

    async def _robots(self, url: httpx.URL) -> robots.Rules:
        """RFC 9309, 2.3.1: without a robots.txt all is allowed; where it cannot be reached, nothing is."""
        sink = _Sink(None, robots.MAX_BYTES, self._spend, truncate=True)
        try:
            await self._get(str(url.copy_with(raw_path=b"/robots.txt")), sink, obey_robots=False)
        except Refused as refused:
            if refused.status:
                return robots.Rules()
            raise
        except Failed as failed:
            raise Failed(f"its robots.txt cannot be read: {failed}") from None
        return robots.parse(sink.body.decode("utf-8", "replace"), AGENT)


async def _pour(chunks: AsyncIterator[bytes], encoding: str, sink: _Sink) -> None:
    """Write the body to the sink; it is decompressed in small pieces, so that one that expands without end stops at the
    limit."""
    encoding = encoding.strip().lower()
    if encoding not in ("", "identity", "gzip", "x-gzip", "deflate"):
        raise Refused(f"sent in the encoding {encoding[:30]!r}, which was not requested")
    inflate = zlib.decompressobj(zlib.MAX_WBITS | 32) if encoding not in ("", "identity") else None
    async for chunk in chunks:
        try:
            for piece in _inflated(inflate, chunk) if inflate else (chunk,):
                if not sink.write(piece):
                    return
        except zlib.error as error:
            raise Refused(f"damaged compression: {error}") from None
    if inflate and not inflate.eof:
        raise _Retry("the compressed answer ended early")


def _inflated(inflate: Any, chunk: bytes) -> Iterator[bytes]:
    while chunk and not inflate.eof:
        piece = inflate.decompress(chunk, _CHUNK)
        chunk = inflate.unconsumed_tail
        yield piece


async def _close(host: _Host) -> None:
    while host.idle:
        await host.idle.pop().aclose()


def _timeouts(seconds: float) -> dict[str, Any]:
    """As an extension of httpcore's requests."""
    return {"timeout": {"connect": min(10.0, seconds), "read": seconds, "write": seconds, "pool": seconds}}


def _seconds(text: str) -> float:
    """How long a Retry-After asks to wait: a number of seconds, or a date."""
    if text.strip().isdecimal():
        return min(float(text), 1e9)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return 0.0
