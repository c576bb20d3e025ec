"""A web server on this machine that serves a folder, with the manners and the trouble of others."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit


@dataclass
class Manners:
    """How a server answers."""

    ranges: bool = True
    #: Answers to ``HEAD``; otherwise this status.
    head: int = 200
    #: What it says of versions: ``ETag``, ``Last-Modified``.
    says: tuple[str, ...] = ("ETag", "Last-Modified")
    #: Sends bodies in chunks, without saying how long they are.
    chunked: bool = False
    #: Sends at most so many bytes of what it is asked for.
    most: int = 1 << 62
    #: Says so many bytes more than there are.
    lies: int = 0
    kind: str = "video/mp4"
    #: Given the method, the path and the headers: a status instead, and headers of it.
    instead: Callable[[str, str, Any], tuple[int, dict[str, str]] | None] = (
        lambda method, path, headers: None
    )
    #: Ends so many answers after half of their bodies.
    cuts: int = 0


@dataclass
class WebServer:
    """``asked`` says what came, ``sent`` how many bytes of bodies went out."""

    folder: Path
    manners: Manners = field(default_factory=Manners)
    asked: list[tuple[str, str, str]] = field(default_factory=list)
    sent: int = 0
    #: The headers of all requests.
    heard: list[dict[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        server = self

        class Handler(_Handler):
            served = server

        self._server = _Quiet(("127.0.0.1", 0), Handler)
        self.host = f"127.0.0.1:{self._server.server_port}"
        self.address = f"http://{self.host}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.02,), daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextmanager
def serving(folder: Path, **manners: Any) -> Iterator[WebServer]:
    server = WebServer(folder, Manners(**manners))
    try:
        yield server
    finally:
        server.close()


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Who closes a connection in the middle has had enough."""


class _Handler(BaseHTTPRequestHandler):
    served: WebServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Nothing."""

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        server, manners = self.served, self.served.manners
        server.asked.append((self.command, self.path, self.headers.get("Range", "")))
        server.heard.append(dict(self.headers))
        instead = manners.instead(self.command, self.path, self.headers)
        if instead is None and self.command == "HEAD" and manners.head != 200:
            instead = manners.head, {}
        if instead is not None:
            self._refuse(*instead)
            return
        path = server.folder / unquote(urlsplit(self.path).path).lstrip("/")
        if not path.is_file():
            self._refuse(404, {})
            return
        data = path.read_bytes()
        mark = f'"{hashlib.sha256(data).hexdigest()[:16]}"'
        said = {"ETag": mark, "Last-Modified": self.date_time_string(int(path.stat().st_mtime))}
        self._send(data, {name: said[name] for name in manners.says})

    def _send(self, data: bytes, said: dict[str, str]) -> None:
        manners, whole = self.served.manners, len(data)
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        condition = self.headers.get("If-Range")
        ranged = manners.ranges and asked and (condition is None or condition in said.values())
        if ranged and asked:
            first, last = int(asked[1]), min(int(asked[2] or whole), whole - 1)
            last = min(last, first + manners.most - 1)
            if first >= whole:
                self._refuse(416, {"Content-Range": f"bytes */{whole}"})
                return
            data = data[first : last + 1]
            said = {**said, "Content-Range": f"bytes {first}-{last}/{whole}"}
        self.send_response(206 if ranged else 200)
        self.send_header("Content-Type", manners.kind)
        for name, value in said.items():
            self.send_header(name, value)
        if manners.chunked:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", str(len(data) + manners.lies))
        self.end_headers()
        if self.command == "HEAD":
            return
        if manners.cuts:
            manners.cuts -= 1
            data, self.close_connection = data[: len(data) // 2], True
        if manners.lies:
            self.close_connection = True
        self._pour(data)

    def _pour(self, data: bytes) -> None:
        server = self.served
        try:
            for start in range(0, len(data), 1 << 16):
                piece = data[start : start + (1 << 16)]
                if server.manners.chunked:
                    self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
                else:
                    self.wfile.write(piece)
                server.sent += len(piece)
            if server.manners.chunked:
                self.wfile.write(b"0\r\n\r\n")
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def _refuse(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()
