"""The proxy that stands in front of stores makes the trouble it is asked for, and no other."""

from __future__ import annotations

import http.client
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

import pytest
from faulty_proxy import ALL, Fault, FaultyProxy, Request, no_trouble, once, seeded
from seaweed import ADMIN, Seaweed

BODY = bytes(range(256)) * 1024


#: A method, a host, how many bytes of a body came, and how many were promised.
Told = list[tuple[str, str, int, int]]


class Listening(ThreadingHTTPServer):
    """A server that keeps what it was told."""

    def __init__(self, told: Told) -> None:
        super().__init__(("127.0.0.1", 0), Keeping)
        self.told = told


class Keeping(BaseHTTPRequestHandler):
    """Answers with a range, unless the request breaks off."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer(206)

    def do_PUT(self) -> None:
        self._answer(200)

    def _answer(self, status: int) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        assert isinstance(self.server, Listening)
        self.server.told.append((self.command, self.headers["Host"], len(body), length))
        if len(body) < length:
            return
        self.send_response(status)
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        self.wfile.write(BODY)

    def log_message(self, format: str, *_: object) -> None:
        """Nobody reads it."""


@pytest.fixture
def told() -> Told:
    return []


@pytest.fixture
def proxy(told: Told) -> Iterator[FaultyProxy]:
    with Listening(told) as server:
        Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        with FaultyProxy(f"http://127.0.0.1:{server.server_port}") as proxy:
            yield proxy
        server.shutdown()


def asked(proxy: FaultyProxy, data: bytes | None = None) -> bytes:
    method = "GET" if data is None else "PUT"
    request = urllib.request.Request(f"{proxy.address}/a", data=data, method=method)
    with urllib.request.urlopen(request, timeout=10) as answer:
        body: bytes = answer.read()
        return body


def test_what_is_asked_and_answered_comes_as_it_was(proxy: FaultyProxy, told: Told) -> None:
    assert asked(proxy) == BODY
    assert asked(proxy, b"sent") == BODY
    host = urlsplit(proxy.address).netloc
    assert told == [("GET", host, 0, 0), ("PUT", host, 4, 4)]
    assert (proxy.requests(), proxy.troubles()) == ({"GET": 1, "PUT": 1}, {})
    assert (proxy.received(), proxy.sent()) == (
        {"GET": 0, "PUT": 4},
        {"GET": len(BODY), "PUT": len(BODY)},
    )


@pytest.mark.parametrize("fault", [Fault.BEFORE, Fault.WITHIN, Fault.LOST, Fault.CUT])
def test_a_connection_breaks_off(fault: Fault, proxy: FaultyProxy, told: Told) -> None:
    proxy.plan = once(fault, when=lambda request: True)
    with pytest.raises((OSError, http.client.HTTPException)):
        asked(proxy, b"x" * 1000)
    assert proxy.troubles() == {fault: 1}
    assert asked(proxy, b"x" * 1000) == BODY
    whole = [sent for _, _, sent, length in told if sent == length]
    assert len(whole) == (2 if fault in (Fault.LOST, Fault.CUT) else 1)


@pytest.mark.parametrize("fault", [Fault.BUSY, Fault.TOO_MANY])
def test_a_store_is_busy(fault: Fault, proxy: FaultyProxy, told: Told) -> None:
    proxy.plan = once(fault, when=lambda request: request.method == "PUT")
    with pytest.raises(urllib.request.HTTPError) as caught:
        asked(proxy, b"x")
    with caught.value as answer:
        assert (answer.code, answer.headers["Retry-After"]) == (int(fault), "1")
        assert b"<Code>SlowDown</Code>" in answer.read()
    assert told == []


def test_an_answer_is_short_twice_or_late(proxy: FaultyProxy, told: Told) -> None:
    proxy.plan = once(Fault.SHORT, when=lambda request: True)
    assert asked(proxy) == BODY[: len(BODY) // 2]
    proxy.plan = once(Fault.TWICE, when=lambda request: True)
    assert asked(proxy) == BODY
    assert len(told) == 3
    proxy.plan = once(Fault.SLOW, when=lambda request: True)
    assert asked(proxy) == BODY


def test_a_seed_makes_the_same_trouble_every_time() -> None:
    request = Request("GET", "/", [])
    rows = [[plan(request) for _ in range(1000)] for plan in (seeded(3, 0.2), seeded(3, 0.2))]
    assert rows[0] == rows[1]
    assert {*rows[0]} == {Fault.NONE, *ALL}
    assert 150 < sum(fault is not Fault.NONE for fault in rows[0]) < 250
    assert no_trouble(request) is Fault.NONE


def test_signatures_are_checked_behind_it(seaweed_server: Seaweed) -> None:
    """SeaweedFS computes them from the Host that it receives: it is the one the client signed."""
    obstore = pytest.importorskip("obstore")
    S3Store = pytest.importorskip("obstore.store").S3Store
    bucket = seaweed_server.bucket()
    with FaultyProxy(seaweed_server.address) as proxy:

        def store(secret: str) -> Any:
            return S3Store(
                bucket,
                endpoint=proxy.address,
                access_key_id=ADMIN[0],
                secret_access_key=secret,
                region="us-east-1",
                client_options={"allow_http": True},
            )

        obstore.put(store(ADMIN[1]), "a b/é#?%.txt", b"signed")
        assert bytes(obstore.get(store(ADMIN[1]), "a b/é#?%.txt").bytes()) == b"signed"
        with pytest.raises(obstore.exceptions.PermissionDeniedError, match="SignatureDoesNotMatch"):
            obstore.put(store("wrong"), "b", b"unsigned")
        assert proxy.requests() == {"PUT": 2, "GET": 1}
