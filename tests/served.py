"""A real HTTP server on this machine that does what servers do, and the tables that collecting writes."""

from __future__ import annotations

import csv
import gzip
import io
import json
import threading
import time
import zlib
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np
from PIL import Image

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
    """A server whose pages are functions of the request; it counts the requests."""

    def __init__(self) -> None:
        self.requests: Counter[str] = Counter()
        self.times: list[tuple[str, float]] = []
        self.headers: dict[str, dict[str, str]] = {}
        self.robots = ""
        self.delay = 0.0
        site = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                site.requests[self.path] += 1
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
        return sum(count for path, count in self.requests.items() if path.startswith("/p/"))

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
            fresh = self.requests[to.path] == 1
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
            {
                "media": [{"src": f"/p/{n}.png"}],
                "rights": {"licence": "cc-by-4.0"},
                "by": f"<a href='x'>author</a> {n}",
                "kind": "even" if n % 2 == 0 else "odd",
            }
            for n in range(start, min(25, start + 10))
        ]
        answer: dict[str, object] = {"data": {"items": items}}
        if start + 10 < 25:
            answer["more"] = {
                "cursor": start + 10,
                "table": {"after": start + 10, "x": "y"},
                "link": f"/api/link?after={start + 10}",
            }.get(by)
        return to.send(body=json.dumps(answer).encode(), Content_Type="application/json")


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


def folder_of(path: Path, seeds: dict[str, range]) -> Path:
    for label, span in seeds.items():
        (path / label).mkdir(parents=True)
        for seed in span:
            (path / label / f"{seed}.png").write_bytes(png(seed))
    return path
