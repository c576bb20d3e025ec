"""A stand-in of Google's store on this machine, and the trouble that stands in front of it."""

from __future__ import annotations

import copy
import functools
import importlib
import io
import json
import logging
import random
import re
import threading
from collections.abc import Callable
from http.server import HTTPServer
from typing import Any, Protocol
from urllib.parse import parse_qs, quote, unquote, urlsplit


class Spoiled(Protocol):
    """Says what becomes of a request: nothing, or one of the troubles of :class:`FaultyStore`."""

    def __call__(self, method: str, path: str) -> str: ...


def now_and_then(seed: int, often: float) -> Spoiled:
    """Spoil so many of the requests, in a row that is always the same."""
    chance = random.Random(seed)

    def spoiled(method: str, path: str) -> str:
        if chance.random() >= often:
            return ""
        return chance.choice(("429", "503", "reset", "cut", "short"))

    return spoiled


class FaultyStore:
    """A stand-in of Google's store on this machine, with trouble in front of it.

    A number refuses with that status, ``reset`` closes the connection before anything is said,
    ``cut`` in the middle of the answer. ``short`` answers a read with fewer bytes than asked, and
    says so: nobody who does not count them will notice.
    """

    def __init__(self) -> None:
        # By its name: it is not installed everywhere, and its types are unknown.
        emulator: Any = importlib.import_module("gcp_storage_emulator.server")
        logging.getLogger("gcp_storage_emulator").setLevel(logging.ERROR)
        self._emulator = emulator.create_server(
            "127.0.0.1", 0, in_memory=True, default_bucket="bucket"
        )
        self.spoiled: Spoiled = lambda method, path: ""
        self.asked: list[tuple[str, str, str]] = []
        #: Bytes of objects that were read.
        self.sent = 0
        store = self

        class Handler(emulator.RequestHandler):  # type: ignore[misc]
            rfile: Any
            wfile: Any

            def do_GET(self) -> None:
                self.spoil(super().do_GET)

            def do_POST(self) -> None:
                self.spoil(super().do_POST)

            def do_PUT(self) -> None:
                self.spoil(super().do_PUT)

            def do_DELETE(self) -> None:
                self.spoil(super().do_DELETE)

            def spoil(self, answer: Callable[[], None]) -> None:
                trouble = store.spoiled(self.command, self.path)
                store.asked.append((self.command, self.path, trouble))
                if trouble.isdigit():
                    self.rfile.read(int(self.headers.get("Content-Length") or 0))
                    self.send_error(int(trouble))
                    return
                if trouble == "reset":
                    self.close_connection = True
                    return
                sent, wire = self.rfile, self.wfile
                if not self.as_expected():
                    self.rfile = sent
                    self.send_error(412)
                    return
                self.wfile = io.BytesIO()
                answer()
                said = self.wfile.getvalue()
                self.rfile, self.wfile = sent, wire
                if trouble == "short" and "alt=media" in self.path:
                    said = _shortened(said)
                elif trouble == "cut":
                    said = _cut(said)
                self.wfile.write(said)
                if "alt=media" in self.path:
                    store.sent += len(said)

            def as_expected(self) -> bool:
                """Whether objects are of the generations asked for: the stand-in does not look."""
                url = urlsplit(self.path)
                asked = {name: values[0] for name, values in parse_qs(url.query).items()}
                source, _, target = url.path.partition("/rewriteTo/")
                if source.startswith("/upload/"):  # the name stands in front of what is sent
                    sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                    self.rfile = io.BytesIO(sent)
                    if named := re.search(rb'"name": *("[^"]*")', sent):
                        source += f"/{quote(json.loads(named[1]), safe='')}"
                generation, replaced = store.generation(source), store.generation(target or source)
                return all(
                    asked.get(name, found) == found
                    for name, found in (
                        ("ifSourceGenerationMatch", generation),
                        ("ifGenerationMatch", replaced),
                        ("generation", generation),
                    )
                )

        self._server = HTTPServer(
            ("127.0.0.1", 0), functools.partial(Handler, self._emulator._storage)
        )
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.02,), daemon=True
        )
        self._thread.start()

    def kept(self) -> Callable[[], None]:
        """What puts everything back as it is now, faster than it could be written again."""
        storage = self._emulator._storage
        of_files, of_all = ("_files", "_dirs"), ("buckets", "objects", "resumable", "soft_deleted")

        def state() -> list[dict[str, Any]]:
            return [
                {name: copy.deepcopy(getattr(holder, name)) for name in names}
                for holder, names in ((storage._store, of_files), (storage, of_all))
            ]

        now = state()

        def back() -> None:
            for holder, values in zip((storage._store, storage), copy.deepcopy(now), strict=True):
                for name, value in values.items():
                    setattr(holder, name, value)

        return back

    def generation(self, path: str) -> str:
        """Of the object at the end of this path; 0 if there is none."""
        bucket, _, name = path.rpartition("b/")[2].partition("/o/")
        found = self._emulator._storage.objects.get(bucket, {}).get(unquote(name))
        return str(found["generation"]) if found else "0"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _cut(answer: bytes) -> bytes:
    """An answer whose connection broke in the middle of the body."""
    head, body = answer.split(b"\r\n\r\n", 1)
    return head + b"\r\n\r\n" + body[: len(body) // 2]


def _shortened(answer: bytes) -> bytes:
    """An honest answer with half of the body, as a proxy gives it that lost its own connection."""
    head, body = answer.split(b"\r\n\r\n", 1)
    half = body[: len(body) // 2]
    kept = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"content-length")]
    return b"\r\n".join([*kept, b"Content-Length: %d" % len(half)]) + b"\r\n\r\n" + half
