"""Servers of this machine that are no stores: silent ones, and those of web pages."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

WELCOME: Final = b"<!DOCTYPE html>\n<html><head><title>Welcome</title></head></html>"


@contextmanager
def silent() -> Iterator[str]:
    """The address of a server that takes connections and says nothing."""
    with socket.socket() as ear:
        ear.bind(("127.0.0.1", 0))
        ear.listen(64)
        yield f"http://127.0.0.1:{ear.getsockname()[1]}"


@contextmanager
def pages(status: int = 200) -> Iterator[str]:
    """The address of a server that answers everything with a web page."""

    class Pages(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response(status)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(WELCOME)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(WELCOME)

        do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = answer

        def log_message(self, format: str, *_: object) -> None:
            """Nobody reads it."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Pages) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()
