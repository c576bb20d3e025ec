"""A hub of our own on loopback, for programs that are told ``HF_ENDPOINT``.

It speaks as much of the protocol as ``huggingface_hub`` asks for: which commit a revision is, which
files a commit has, and the files, from any byte on. It can hang up in the middle of a file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import urlsplit


@dataclass
class Hub:
    """One repository at one commit."""

    name: str
    commit: str
    files: Mapping[str, bytes]
    #: After so many bytes of a file it hangs up, as often as is said.
    hang_up_after: int = 0
    hang_ups: int = 0
    #: What was asked for: method, path, and the range if there was one.
    asked: list[tuple[str, str, str | None]] = field(default_factory=list)
    url: str = ""

    def fetched(self) -> list[str]:
        """The files of which bytes were asked for, in turn."""
        return [
            path.rpartition("/")[2]
            for how, path, _ in self.asked
            if how == "GET" and ("/resolve/" in path)
        ]

    def means(self, revision: str) -> bool:
        return revision == "main" or self.commit.startswith(revision)


@contextmanager
def served(hub: Hub) -> Iterator[Hub]:
    """The hub while it answers at its ``url``."""

    class Handler(_Handler):
        pass

    Handler.hub = hub
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def _answer(self, with_body: bool) -> None:
        hub, path = self.hub, urlsplit(self.path).path
        hub.asked.append((self.command, path, self.headers.get("Range")))
        api, files = f"/api/models/{hub.name}", f"/{hub.name}/resolve/"
        if path.startswith(f"{api}/revision/") and hub.means(path.rpartition("/")[2]):
            self._json({"id": hub.name, "sha": hub.commit, "siblings": []})
        elif path.startswith(f"{api}/tree/") and hub.means(path.rpartition("/")[2]):
            self._json([_entry(name, data) for name, data in hub.files.items()])
        elif path.startswith(files):
            revision, _, name = path.removeprefix(files).partition("/")
            data = hub.files.get(name) if hub.means(revision) else None
            if data is None:
                self._refuse("EntryNotFound")
            else:
                self._file(data, with_body)
        else:
            self._refuse("RepoNotFound")

    def _json(self, value: object) -> None:
        data = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _refuse(self, code: str) -> None:
        self.send_response(404)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _file(self, data: bytes, with_body: bool) -> None:
        said = self.headers.get("Range")
        start = int(said.removeprefix("bytes=").partition("-")[0]) if said else 0
        self.send_response(206 if said else 200)
        self.send_header("ETag", f'"{_digest(data)}"')
        self.send_header("X-Repo-Commit", self.hub.commit)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(data) - start))
        if said:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.end_headers()
        if not with_body:
            return
        if self.hub.hang_ups and len(data) - start > self.hub.hang_up_after:
            self.hub.hang_ups -= 1
            self.wfile.write(data[start : start + self.hub.hang_up_after])
            self.close_connection = True
            return
        self.wfile.write(data[start:])


def _entry(name: str, data: bytes) -> dict[str, object]:
    return {"type": "file", "path": name, "size": len(data), "oid": _digest(data)}


def _digest(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
