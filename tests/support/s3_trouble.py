"""A server in front of an object store that spoils some of its answers."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients are killed, too."""


class Trouble:
    """``spoiled`` says what becomes of a request, by its method and path.

    A number refuses with that status, and with the code of S3 that may stand behind it. ``lost``:
    it is heard, and the connection breaks before the answer. ``cut``: in the middle of the answer.
    XML is the answer itself.
    """

    def __init__(self, behind: str) -> None:
        self.spoiled: Callable[[str, str], str] = lambda method, path: ""
        #: Method and path of each request.
        self.asked: list[tuple[str, str]] = []
        #: Whether the request being answered is one to copy an object.
        self.copies = False
        trouble = self
        host = behind.partition("://")[2]

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True
            wbufsize = -1  # an answer goes out at once

            def answer(self) -> None:
                sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                trouble.asked.append((self.command, self.path))
                trouble.copies = "x-amz-copy-source" in self.headers
                kind = trouble.spoiled(self.command, self.path)
                if kind[:1].isdigit():
                    status, _, code = kind.partition(" ")
                    said = f"<Error><Code>{code or 'Spoiled'}</Code></Error>".encode()
                    self.say(int(status), {"ETag": '"spoiled"'}, said)
                    return
                if kind.startswith("<"):
                    self.say(200, {"Content-Type": "application/xml"}, kind.encode())
                    return
                there = http.client.HTTPConnection(host)
                headers = {k: v for k, v in self.headers.items() if k.lower() != "connection"}
                there.request(self.command, self.path, body=sent, headers=headers)
                got = there.getresponse()
                said = got.read()
                there.close()
                if kind == "lost":
                    self.close_connection = True
                    return
                self.say(got.status, dict(got.getheaders()), said, half=kind == "cut")

            do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = answer

            def say(
                self, status: int, headers: dict[str, str], said: bytes, half: bool = False
            ) -> None:
                is_head = self.command == "HEAD"
                length = headers.get("Content-Length", "0") if is_head else str(len(said))
                self.send_response_only(status)
                for name, value in headers.items():
                    if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                        self.send_header(name, value)
                self.send_header("Content-Length", length)
                if half:
                    self.close_connection = True
                    if is_head:  # there is no middle
                        return
                self.end_headers()
                if not is_head:
                    self.wfile.write(said[: len(said) // 2] if half else said)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = _Server(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.02,), daemon=True
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
